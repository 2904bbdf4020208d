//! ministack, the AWS emulator: on 127.0.0.1 only, with its IAM checks on, in a clean environment, behind the guard of
//! `python/emulator.py`.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use uuid::Uuid;

use crate::keeper::Kept;
use crate::server::Servers;
use crate::venv::Venv;
use crate::wait::poll;
use crate::{Credentials, Error, place};

pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ACCOUNT: &str = "000000000000";
/// Whoever shows the emulator's key in it needs no signature; the guard passes it on to nobody.
pub(crate) const KEY_HEADER: &str = "x-sluice-emulator-key";

const START_ATTEMPTS: u32 = 3;
const START_PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Ministack {
    pub(crate) url: String,
    /// The administrator's, new for each start.
    pub(crate) credentials: Credentials,
    /// What gets in where nobody signs: to the API as the emulator serves it, and to its own paths. New for each start.
    pub(crate) key: String,
    process: Kept,
}

impl Ministack {
    pub(crate) fn start(venv: &Venv, folder: &Path, servers: &Servers) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            // Between finding a free port and ministack's use of it somebody else may take it; then another one is tried.
            match Self::start_once(venv, folder, servers) {
                Err(Error::Ended { .. }) if attempt < START_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    fn start_once(venv: &Venv, folder: &Path, servers: &Servers) -> Result<Self, Error> {
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let log = folder.join("ministack.log");
        // Its process file and the unpacked functions go here instead of the machine's temporary folder.
        let temporary = folder.join("tmp");
        place::made(&temporary)?;
        let temporary = temporary.canonicalize().map_err(Error::io("finding the temporary folder"))?;

        let credentials = Credentials {
            access_key_id: format!("AKIA{}", &random().to_uppercase()[..16]),
            secret_access_key: format!("{}{}", random(), random()),
            session_token: None,
        };
        let key = format!("{}{}", random(), random());
        let mut keeper = Command::new(venv.program("python"));
        keeper.arg(place::python_program("keeper.py")).arg(&log);
        keeper.arg(venv.program("python")).arg(place::python_program("emulator.py"));
        // The functions inherit ministack's environment, and nothing of this shell may reach them.
        keeper
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", &temporary)
            .env("TMPDIR", &temporary)
            .env("LANG", "C.UTF-8")
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("AWS_ACCESS_KEY_ID", &credentials.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key)
            .env("SLUICE_EMULATOR_KEY", &key)
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("AWS_ENDPOINT_URL", &url)
            .env("MINISTACK_REGION", REGION)
            .env("MINISTACK_ACCOUNT_ID", ACCOUNT)
            .env("AUTH", "true")
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            // Also on a machine that has Docker everything runs as plain processes.
            .env("DOCKER_HOST", format!("unix://{}/no-docker.sock", temporary.display()))
            .env("LAMBDA_EXECUTOR", "local");
        let process = Kept::start(&mut keeper, &log)?;

        let ready = format!("{url}/_ministack/ready");
        poll("ministack to be ready; see ministack.log", START_PATIENCE, Duration::from_millis(50), || {
            if process.has_ended() {
                return Err(Error::Ended { what: "ministack", log: process.log().to_path_buf() });
            }
            let answered = servers.request("GET", &ready, &[(KEY_HEADER, &key)], Vec::new());
            Ok(answered.is_ok_and(|answer| answer.status == 200).then_some(()))
        })?;
        Ok(Self { url, credentials, key, process })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.process.has_ended()
    }
}

/// 122 random bits in hexadecimal, from the system's generator.
fn random() -> String {
    Uuid::new_v4().simple().to_string()
}

fn free_port() -> Result<u16, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::io("finding a free port"))
}
