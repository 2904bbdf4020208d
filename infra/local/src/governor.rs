//! The governor on this machine: the deployed function govern-calls behind a door that streams.
//!
//! The emulator buffers what a Function URL answers, and speaks neither TLS nor HTTP/2. So the door here is our own, and so is
//! Lambda between the door and the function: a few processes of the real binary, each with a Runtime API of its own and one call
//! at a time, with the environment that the emulator's copy of the function has, and its role's credentials.

mod door;
mod event;
mod pool;
mod runtime_api;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use sluice_bedrock::certificate::Certificate;
use sluice_bedrock::door::listen;

use crate::bridge::Bridge;
use crate::ministack::{KEY_HEADER, Ministack, REGION};
use crate::server::Servers;
use crate::venv::Venv;
use crate::{Error, place};
use door::Door;
use pool::Pool;

/// The function's short name.
pub(crate) const FUNCTION: &str = "govern-calls";

/// A door that nobody stands behind yet: its address is told to the deployment before there is a function.
pub(crate) struct Frame {
    listener: TcpListener,
    certificate: Certificate,
    /// `https://localhost:PORT`.
    pub(crate) url: String,
    port: u16,
    /// What callers have to trust: a file of PEM.
    pub(crate) authority: PathBuf,
}

impl Frame {
    pub(crate) fn set(folder: &Path) -> Result<Self, Error> {
        let certificate = Certificate::made("Sluice's governor on this machine").map_err(|error| Error::Io {
            what: "making a certificate".to_owned(),
            cause: std::io::Error::other(error),
        })?;
        let authority = folder.join("governor-ca.pem");
        place::written(&authority, &certificate.authority_pem)?;
        let (listener, address) = listen(0).map_err(Error::io("listening on 127.0.0.1"))?;
        let port = address.port();
        Ok(Self { listener, certificate, url: format!("https://localhost:{port}"), port, authority })
    }
}

/// What a process of the function is started from.
pub(crate) struct Function {
    pub(crate) binary: PathBuf,
    pub(crate) arn: String,
    pub(crate) environment: Vec<(String, String)>,
}

impl Function {
    /// As the emulator has it: its settings, and credentials of its role, which the emulator is told of.
    pub(crate) fn deployed(
        name: &str,
        binary: PathBuf,
        bridge: &Bridge,
        servers: &Servers,
        ministack: &Ministack,
    ) -> Result<Self, Error> {
        let found = bridge.aws("lambda", "get_function_configuration", &json!({"FunctionName": name}))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let credentials = credentials(&found, servers, ministack)?;
        let arn = text(&found["FunctionArn"]);
        let settings = found["Environment"]["Variables"].as_object().cloned().unwrap_or_default();
        let mut environment: Vec<(String, String)> =
            settings.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        environment.extend(credentials);
        environment.extend(
            [
                ("AWS_REGION", REGION.to_owned()),
                ("AWS_DEFAULT_REGION", REGION.to_owned()),
                ("AWS_ENDPOINT_URL", ministack.url.clone()),
                ("AWS_LAMBDA_FUNCTION_NAME", name.to_owned()),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", found["MemorySize"].to_string()),
                ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
                ("AWS_LAMBDA_LOG_STREAM_NAME", "local".to_owned()),
                ("_HANDLER", "bootstrap".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        Ok(Self { binary, arn, environment })
    }
}

/// The function's own, by which the emulator and the stand-in for Bedrock know its role.
pub(crate) fn credentials(
    configuration: &Value,
    servers: &Servers,
    ministack: &Ministack,
) -> Result<Vec<(String, String)>, Error> {
    let url = format!("{}/_sluice/credentials", ministack.url);
    let asked = json!({
        "FunctionName": configuration["FunctionName"],
        "FunctionArn": configuration["FunctionArn"],
        "Role": configuration["Role"],
    });
    let headers = [("content-type", "application/json"), (KEY_HEADER, ministack.key.as_str())];
    let answer = servers.request("POST", &url, &headers, asked.to_string().into_bytes())?;
    let made = answer.json();
    let made = made.as_object().filter(|_| answer.status == 200).ok_or_else(|| Error::Http {
        method: "POST".to_owned(),
        url,
        reason: format!("answered {}: {}", answer.status, answer.text()),
    })?;
    Ok(made.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect())
}

/// The running governor. Its processes end when it is dropped.
pub(crate) struct Governor {
    pool: Arc<Pool>,
}

impl Drop for Governor {
    fn drop(&mut self) {
        self.pool.end();
    }
}

impl Governor {
    pub(crate) fn start(
        frame: Frame,
        function: Function,
        venv: &Venv,
        folder: &Path,
        servers: &Servers,
    ) -> Result<Self, Error> {
        let arn = function.arn.clone();
        let pool = Pool::start(function, &venv.program("python"), folder, servers)?;
        let door = Arc::new(Door::new(Arc::clone(&pool), frame.port, &arn));
        servers.serve_tls(frame.listener, frame.certificate.server, door);
        Ok(Self { pool })
    }
}

#[cfg(test)]
mod tests;
