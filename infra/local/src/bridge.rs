//! The line to `python/bridge.py`: questions go out, answers come back in any order.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::error::AwsError;
use crate::ministack::REGION;
use crate::venv::Venv;
use crate::wait::wait_for;
use crate::{Credentials, Error, place};

type Answer = Result<Value, AwsError>;

pub(crate) struct Bridge {
    asking: Mutex<Asking>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>,
    child: Child,
}

struct Asking {
    last_id: u64,
    pipe: Option<ChildStdin>,
}

impl Bridge {
    /// `administrator` is who asks where nobody else is named.
    pub(crate) fn start(
        venv: &Venv,
        folder: &Path,
        endpoint_url: &str,
        administrator: &Credentials,
    ) -> Result<Self, Error> {
        let log = folder.join("bridge.log");
        let errors = OpenOptions::new().create(true).append(true).open(&log);
        let mut child = Command::new(venv.program("python"))
            .arg(place::python_program("bridge.py"))
            // The credentials of whoever runs this must not be used, not even by accident.
            .envs([("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")])
            .env("AWS_ACCESS_KEY_ID", &administrator.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &administrator.secret_access_key)
            .envs([("AWS_REGION", REGION), ("AWS_DEFAULT_REGION", REGION), ("AWS_ENDPOINT_URL", endpoint_url)])
            .envs([("AWS_EC2_METADATA_DISABLED", "true"), ("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")])
            .envs([("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONUTF8", "1")])
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.map_err(Error::io(format_args!("opening {}", log.display())))?)
            .spawn()
            .map_err(Error::io("starting the bridge to boto3"))?;
        let pipe = child.stdin.take();
        let waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>> = Arc::default();
        if let Some(answers) = child.stdout.take() {
            let waiting = Arc::clone(&waiting);
            thread::spawn(move || {
                for line in BufReader::new(answers).lines().map_while(Result::ok) {
                    hand_out(&line, &waiting);
                }
                // The bridge is gone: dropping the senders tells everyone who still waits.
                locked(&waiting).clear();
            });
        }
        Ok(Self { asking: Mutex::new(Asking { last_id: 0, pipe }), waiting, child })
    }

    pub(crate) async fn ask(&self, mut question: Value) -> Answer {
        let (sender, receiver) = oneshot::channel();
        {
            let mut asking = locked(&self.asking);
            asking.last_id += 1;
            question["id"] = json!(asking.last_id);
            locked(&self.waiting).insert(asking.last_id, sender);
            let sent = asking.pipe.as_mut().is_some_and(|pipe| writeln!(pipe, "{question}").is_ok());
            if !sent {
                return Err(gone());
            }
        }
        receiver.await.unwrap_or_else(|_closed| Err(gone()))
    }

    /// Calls an AWS operation by its boto3 name, as the emulator's administrator.
    pub(crate) fn aws(&self, service: &str, operation: &str, params: &Value) -> Result<Value, Error> {
        let question = json!({"op": "aws", "service": service, "operation": operation, "params": params});
        wait_for(self.ask(question)).map_err(|cause| Error::Aws { call: format!("{service}:{operation}"), cause })
    }

    pub(crate) fn ask_and_wait(&self, question: Value) -> Result<Value, Error> {
        let call = question["op"].as_str().unwrap_or_default().to_owned();
        wait_for(self.ask(question)).map_err(|cause| Error::Aws { call, cause })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        drop(locked(&self.asking).pipe.take());
        drop(self.child.wait());
    }
}

fn hand_out(line: &str, waiting: &Mutex<HashMap<u64, oneshot::Sender<Answer>>>) {
    let Ok(mut answer) = serde_json::from_str::<Value>(line) else {
        return;
    };
    let Some(sender) = answer["id"].as_u64().and_then(|id| locked(waiting).remove(&id)) else {
        return;
    };
    let error = answer["error"].take();
    let result = if error.is_null() {
        Ok(answer["ok"].take())
    } else {
        Err(AwsError {
            code: text(&error["code"]),
            message: text(&error["message"]),
            status: error["status"].as_u64().and_then(|status| u16::try_from(status).ok()),
            detail: error["detail"].clone(),
        })
    };
    // Nobody waits any more: then nobody needs it.
    drop(sender.send(result));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn gone() -> AwsError {
    AwsError {
        code: "BridgeEnded".to_owned(),
        message: "the bridge to boto3 has ended; see bridge.log".to_owned(),
        status: None,
        detail: Value::Null,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
