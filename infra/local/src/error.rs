use std::fmt::Display;
use std::path::PathBuf;

/// Why the local stack cannot do what it was asked; each reads as one sentence for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Python(String),
    #[error("port {port} on 127.0.0.1 is in use: stop what listens there, or choose another with --port N")]
    PortInUse { port: u16 },
    #[error("another stack is running with the state folder {folder}: stop it first")]
    FolderInUse { folder: PathBuf },
    #[error("{what} failed: {cause}")]
    Io { what: String, cause: std::io::Error },
    #[error("{command} failed; see {log}", log = log.display())]
    Command { command: String, log: PathBuf },
    #[error("the build failed: {0}")]
    Build(String),
    #[error("{what} ended unexpectedly; see {log}", log = log.display())]
    Ended { what: &'static str, log: PathBuf },
    #[error("{call}: {cause}")]
    Aws { call: String, cause: AwsError },
    #[error("deploying {stack} failed: {reason}")]
    Deploy { stack: String, reason: String },
    #[error("{method} {url}: {reason}")]
    Http { method: String, url: String, reason: String },
    #[error("{0}")]
    Sample(String),
    #[error("waited {seconds} s in vain for {what}")]
    Timeout { what: String, seconds: u64 },
}

impl Error {
    pub(crate) fn io(what: impl Display) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Self::Io { what: what.to_string(), cause }
    }

    /// The AWS error code, where an AWS call was refused.
    pub fn aws_code(&self) -> Option<&str> {
        if let Self::Aws { cause, .. } = self { Some(&cause.code) } else { None }
    }
}

/// What an AWS service (or the bridge to it) answered instead of a result.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {message}")]
pub struct AwsError {
    pub code: String,
    pub message: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// What the error carries beside code and message, such as `CancellationReasons`.
    pub detail: serde_json::Value,
}
