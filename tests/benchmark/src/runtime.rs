//! The Lambda Runtime API, for one function at a time.
//!
//! One thread speaks to the function, so that between an event's leaving and its answer's arrival nothing is woken but the
//! function and whom it calls.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use crate::child::Child;
use crate::error::{Error, Result};
use crate::http::{Reader, Request, response};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PATHS: &str = "/2018-06-01/runtime/";
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:sluice-benchmark";
/// How long a function may take for anything before something must be wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a function that says nothing is looked at.
const LOOK: u16 = 200;
/// What an invocation is told that it has: as much as the slowest function has on AWS.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Runtime {
    listener: TcpListener,
    pub address: String,
    connections: Vec<Connection>,
    serial: u64,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    reader: Reader,
}

/// A function's answer, and the time from when the event left to when the answer was here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub time: Duration,
    pub body: Vec<u8>,
}

impl Runtime {
    /// # Errors
    /// When there is no port.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("a port for the Runtime API"))?;
        let address = listener.local_addr().map_err(Error::io("a port for the Runtime API"))?.to_string();
        Ok(Self { listener, address, connections: Vec::new(), serial: 0 })
    }

    /// The next function comes with connections of its own.
    pub fn forget(&mut self) {
        self.connections.clear();
    }

    /// Waits until the function asks for an event. Returns by which connection it did.
    ///
    /// # Errors
    /// When it says that it cannot, ends, or takes far too long.
    pub fn wait_for_next(&mut self, child: &mut Child) -> Result<usize> {
        let (at, request) = self.hear(child)?;
        match request.path.strip_prefix(PATHS) {
            Some("invocation/next") => Ok(at),
            Some(_) | None => Err(unexpected(&request)),
        }
    }

    /// Hands out an event to the function that asked for one by this connection, and waits for its answer.
    ///
    /// # Errors
    /// When it answers with an error, ends, or takes far too long.
    pub fn hand_out(&mut self, child: &mut Child, at: usize, event: &[u8]) -> Result<Answered> {
        self.serial += 1;
        let id = format!("8476a536-e9f4-11e8-9739-{:012x}", self.serial);
        let deadline = (now() + TIMEOUT).as_millis().to_string();
        let trace = format!("Root=1-{:08x}-{:024x};Parent=00f067aa0ba902b7;Sampled=0", now().as_secs(), self.serial);
        let headers = [
            ("content-type", "application/json"),
            ("lambda-runtime-aws-request-id", id.as_str()),
            ("lambda-runtime-deadline-ms", deadline.as_str()),
            ("lambda-runtime-invoked-function-arn", FUNCTION_ARN),
            ("lambda-runtime-trace-id", trace.as_str()),
        ];
        let whole = response(200, &headers, event);
        let begun = Instant::now();
        self.write(at, &whole)?;
        let (at, request) = self.hear(child)?;
        let time = begun.elapsed();
        let said = request.path.strip_prefix(PATHS).and_then(|path| path.strip_prefix("invocation/"));
        if said != Some(format!("{id}/response").as_str()) {
            return Err(unexpected(&request));
        }
        self.write(at, &response(202, &[("content-type", "application/json")], br#"{"status":"OK"}"#))?;
        Ok(Answered { time, body: request.body })
    }

    fn write(&mut self, at: usize, whole: &[u8]) -> Result<()> {
        let connection = self.connections.get_mut(at).ok_or_else(|| Error::Wrong("a connection is gone".to_owned()))?;
        connection.stream.write_all(whole).map_err(Error::io("answering the function"))
    }

    /// The next request, by whichever connection.
    fn hear(&mut self, child: &mut Child) -> Result<(usize, Request)> {
        let end = Instant::now() + PATIENCE;
        loop {
            let Some(ready) = self.ready()? else {
                child.is_alive()?;
                if Instant::now() > end {
                    return Err(Error::Wrong("the function takes too long".to_owned()));
                }
                continue;
            };
            let Some(connection) = self.connections.get_mut(ready) else {
                let (stream, _) = self.listener.accept().map_err(Error::io("accepting the function"))?;
                stream.set_nodelay(true).map_err(Error::io("accepting the function"))?;
                stream.set_read_timeout(Some(PATIENCE)).map_err(Error::io("accepting the function"))?;
                self.connections.push(Connection { stream, reader: Reader::default() });
                continue;
            };
            match connection.reader.read(&mut connection.stream) {
                Ok(Some(request)) => return Ok((ready, request)),
                // Numbers of connections are told to callers only with a request that is answered next.
                Ok(None) | Err(_) => drop(self.connections.remove(ready)),
            }
        }
    }

    /// The number of a connection that brings something, one too many for a new connection, `None` for nothing.
    fn ready(&self) -> Result<Option<usize>> {
        let mut all: Vec<PollFd<'_>> = self
            .connections
            .iter()
            .map(|connection| connection.stream.as_fd())
            .chain([self.listener.as_fd()])
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        match poll(&mut all, PollTimeout::from(LOOK)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(Error::io("waiting for the function")(error)),
        }
        Ok(all.iter().position(|one| one.any().unwrap_or(false)))
    }
}

fn unexpected(request: &Request) -> Error {
    let body = String::from_utf8_lossy(&request.body);
    Error::Wrong(format!("the function said {} {}: {body}", request.method, request.path))
}

#[expect(clippy::disallowed_methods, reason = "a function is told by the clock how long it has")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What stands between the head of a streamed response and its body.
const ZEROS: [u8; 8] = [0; 8];

/// What a function is expected to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A response to an HTTP request with this status.
    Status(u16),
    /// The same, streamed: the status before eight zeros, and after them the body.
    /// Source: <https://docs.aws.amazon.com/lambda/latest/dg/config-rs-invoke-furls.html>
    Streamed(u16),
    /// An event is taken; nothing is said.
    Nothing,
    /// Something.
    Json,
}

impl Expected {
    /// # Errors
    /// When it is not what is expected.
    pub fn check(self, body: &[u8]) -> Result<()> {
        let head = match self {
            Self::Streamed(_) => {
                body.windows(ZEROS.len()).position(|window| window == ZEROS).map_or(body, |end| &body[..end])
            }
            Self::Status(_) | Self::Nothing | Self::Json => body,
        };
        let answer: Value = serde_json::from_slice(head).map_err(Error::wrong("an answer that is no JSON"))?;
        let is_right = match self {
            Self::Status(status) | Self::Streamed(status) => answer["statusCode"] == status,
            Self::Nothing => answer.is_null(),
            Self::Json => true,
        };
        if is_right { Ok(()) } else { Err(Error::Wrong(format!("{self:?} was expected, but the answer is {answer}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_expected_is_right() {
        let created = br#"{"statusCode": 201, "body": "{}"}"#;
        assert!(Expected::Status(201).check(created).is_ok());
        assert!(Expected::Status(202).check(created).is_err());
        let streamed = [&br#"{"statusCode": 200}"#[..], &ZEROS, b"no JSON"].concat();
        assert!(Expected::Streamed(200).check(&streamed).is_ok());
        assert!(Expected::Streamed(429).check(&streamed).is_err());
        assert!(Expected::Nothing.check(created).is_err());
        assert!(Expected::Nothing.check(b"null").is_ok());
        assert!(Expected::Json.check(b"{").is_err());
    }
}
