//! The other side of every call: AWS's services, and the receiver of webhooks, over TLS on this machine.
//!
//! A thread for each connection blocks on it. While events are played, the embedded table answers, and what it says is taken
//! down; while functions are measured, that is said again ([`crate::answers`]), and nothing is written any more.

use crate::answers::{Asked, Script, is_read};
use crate::calls::Call;
use crate::error::{Error, Result};
use crate::http::{Reader, chunk, response, streamed};
use crate::services::{self, Answer, Body, Service};
use crate::table::Table;
use crate::tls::HOST;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How answers are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The table answers and changes, and the answers are taken down.
    #[default]
    Playing,
    /// What was taken down is said again. Nothing changes.
    Measuring,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    table: Table,
    script: Script,
    asked: Asked,
    delay: Duration,
    heard: Heard,
    /// Why no measurement can be believed.
    fault: Option<String>,
}

/// What the backend saw since it was last asked.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub calls: Vec<Call>,
    pub connections: u32,
    /// What was asked, each with its body. Only while events are played.
    pub asked: Vec<(String, Value)>,
    /// Questions that were not asked while the event was played: the table answered them.
    pub unforeseen: u32,
}

/// Clones share one backend.
#[derive(Clone, Debug)]
pub struct Backend {
    state: Arc<Mutex<State>>,
    begun: Instant,
    ports: Vec<(Service, u16)>,
}

impl Backend {
    /// Serves each service at a port of its own for as long as this process lives.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(tls: &Arc<ServerConfig>) -> Result<Self> {
        let state = State {
            mode: Mode::default(),
            table: Table::empty()?,
            script: Script::default(),
            asked: Asked::default(),
            delay: Duration::ZERO,
            heard: Heard::default(),
            fault: None,
        };
        let mut backend = Self { state: Arc::new(Mutex::new(state)), begun: Instant::now(), ports: Vec::new() };
        let mut listeners = Vec::new();
        for service in Service::ALL {
            let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("a port for the backend"))?;
            let port = listener.local_addr().map_err(Error::io("a port for the backend"))?.port();
            backend.ports.push((service, port));
            listeners.push((service, listener));
        }
        for (service, listener) in listeners {
            let (backend, tls) = (backend.clone(), Arc::clone(tls));
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (backend, tls) = (backend.clone(), Arc::clone(&tls));
                    // Its process was ended, or says itself what is wrong.
                    thread::spawn(move || drop(backend.serve(service, stream, tls)));
                }
            });
        }
        Ok(backend)
    }

    /// Where a service is.
    pub fn origin(&self, service: Service) -> String {
        let port = self.ports.iter().find(|(one, _)| *one == service).map_or(0, |(_, port)| *port);
        format!("https://{HOST}:{port}")
    }

    /// Answers so from now on.
    pub fn prepare(&self, mode: Mode, script: &Script, delay: Duration) {
        let mut state = self.state();
        (state.mode, state.script, state.delay) = (mode, script.clone(), delay);
        state.asked = Asked::default();
    }

    /// The script so far.
    pub fn script(&self) -> Script {
        self.state().script.clone()
    }

    /// The table, while nobody asks it.
    ///
    /// # Errors
    /// Those of `with`.
    pub fn with_table<T>(&self, with: impl FnOnce(&mut Table) -> Result<T>) -> Result<T> {
        with(&mut self.state().table)
    }

    /// An event begins: what the backend saw until now.
    ///
    /// # Errors
    /// When it saw something that no measurement can be believed with.
    pub fn take(&self) -> Result<Heard> {
        let mut state = self.state();
        state.asked = Asked::default();
        state.fault.take().map_or(Ok(()), |fault| Err(Error::Wrong(fault)))?;
        Ok(std::mem::take(&mut state.heard))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, service: Service, stream: TcpStream, tls: Arc<ServerConfig>) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        self.state().heard.connections += 1;
        let connection = ServerConnection::new(tls).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        let mut reader = Reader::default();
        while let Some(request) = reader.read(&mut stream)? {
            let began = self.begun.elapsed();
            let operation = match service {
                Service::Receiver => services::POST,
                Service::Bedrock if request.path.ends_with("/converse") => services::CONVERSE,
                Service::Bedrock if request.path.ends_with("/converse-stream") => services::CONVERSE_STREAM,
                Service::Bedrock => request.path.as_str(),
                Service::DynamoDb | Service::StepFunctions | Service::EventBridge => {
                    request.target.rsplit('.').next().unwrap_or_default()
                }
            };
            let body = String::from_utf8_lossy(&request.body);
            let (answer, delay) = self.answer(service, operation, &body);
            if !delay.is_zero() {
                pause(delay);
            }
            let headers = |kind: &'static str| [("content-type", kind), ("x-amzn-requestid", "B3NCHM4RK")];
            let pieces = match &answer.body {
                Body::Whole(body) => {
                    vec![response(answer.status, &headers("application/x-amz-json-1.0"), body.as_bytes())]
                }
                Body::Streamed(pieces) => {
                    let head = streamed(answer.status, &headers("application/vnd.amazon.eventstream"));
                    let chunks = pieces.iter().map(Vec::as_slice).chain([&b""[..]]).map(chunk);
                    [head].into_iter().chain(chunks).collect()
                }
            };
            let ended = self.begun.elapsed();
            self.state().heard.calls.push(Call { name: operation.to_owned(), began, ended });
            for piece in pieces {
                stream.write_all(&piece)?;
                stream.flush()?;
            }
        }
        Ok(())
    }

    fn answer(&self, service: Service, operation: &str, body: &str) -> (Arc<Answer>, Duration) {
        let mut state = self.state();
        let state = &mut *state;
        let answer = match state.mode {
            Mode::Measuring => match state.script.answer(&mut state.asked, operation, body) {
                Some(answer) => answer,
                None => state.improvise(service, operation, body),
            },
            Mode::Playing => state.play(service, operation, body),
        };
        (answer, state.delay)
    }
}

impl State {
    /// The real thing.
    fn play(&mut self, service: Service, operation: &str, body: &str) -> Arc<Answer> {
        self.heard.asked.push((operation.to_owned(), serde_json::from_str(body).unwrap_or_default()));
        let answer = Arc::new(match service {
            Service::DynamoDb => self.table.call(operation, body),
            Service::StepFunctions | Service::EventBridge | Service::Bedrock | Service::Receiver => {
                services::answer(operation, body)
            }
        });
        if let Err(error) = self.script.note(&mut self.asked, operation, body, Arc::clone(&answer)) {
            self.fault = Some(error.to_string());
        }
        answer
    }

    /// What was not asked while the event was played, such as a key of the minute: the table stands still, so it is asked
    /// once. A write is taken and forgotten.
    fn improvise(&mut self, service: Service, operation: &str, body: &str) -> Arc<Answer> {
        self.heard.unforeseen += 1;
        let answer = match service {
            Service::DynamoDb if is_read(operation) => self.table.call(operation, body),
            Service::DynamoDb => Answer::whole(200, "{}".to_owned()),
            Service::StepFunctions | Service::EventBridge | Service::Bedrock | Service::Receiver => {
                services::answer(operation, body)
            }
        };
        let answer = Arc::new(answer);
        if let Err(error) = self.script.note(&mut self.asked, operation, body, Arc::clone(&answer)) {
            self.fault = Some(error.to_string());
        }
        answer
    }
}

#[expect(clippy::disallowed_methods, reason = "a call that takes a while is what is asked for")]
fn pause(delay: Duration) {
    thread::sleep(delay);
}
