//! The verbs, one file each: what a caller or an event asks for, decided purely, then carried out through the ports.

pub mod cancel_run;
pub mod control_run;
pub mod create_run;
pub mod deliver;
pub mod manage_definitions;
pub mod read_runs;
pub mod reconcile_runs;
pub mod replay_run;
pub mod settle_run;

use crate::invalid::Invalid;
use crate::ports::StoreError;

/// Why a request was refused, whichever flow refused it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Bad input. Nothing was written.
    #[error("the request is invalid: {0}")]
    Invalid(Invalid),
    /// What the path names does not exist, or belongs to another tenant.
    #[error("there is no {what} {id}")]
    NotFound { what: &'static str, id: String },
    /// The caller may not do this at all.
    #[error("only the operator may {0}")]
    OperatorOnly(&'static str),
    /// It cannot be done to the thing as it is now.
    #[error("{message}")]
    Conflict { code: &'static str, message: String },
    /// The idempotency key was first used with another payload.
    #[error("this idempotency key was first used with another request, which made run {run_id}")]
    KeyReused { run_id: crate::id::RunId },
    #[error("the store could not be used")]
    Store(#[source] StoreError),
}

pub type Answer<T> = Result<T, Refusal>;
