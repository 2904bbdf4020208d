//! Why there is no table.

use std::fmt::Display;
use std::io;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}: {cause}")]
    Io { what: String, cause: io::Error },
    /// What the command line asks for is not understood.
    #[error("{0}")]
    Usage(String),
    /// A process, its answers or its calls are not what they must be.
    #[error("{0}")]
    Wrong(String),
    /// The figures would say more about the machine than about the functions.
    #[error("{0}")]
    Noisy(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: what was being done when it failed.
    pub fn io<E: Into<io::Error>>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |cause| Self::Io { what: what.to_string(), cause: cause.into() }
    }

    /// For `map_err`: the same for errors that are not of the system.
    pub fn wrong<E: Display>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |cause| Self::Wrong(format!("{what}: {cause}"))
    }
}
