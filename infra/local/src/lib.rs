//! The stack on a laptop: the real function binaries and the real template on a local AWS emulator (ministack), without an
//! AWS account and without Docker. `cargo dev` is one user of it, the end-to-end tests are another.
//!
//! What the emulator lacks compared with AWS is supplied here, in the open: a token issuer and a proxy in front of the API,
//! the local-development tenant for Function URLs (whose events carry no authorizer on ministack), a webhook receiver that
//! verifies SigV4 with botocore, the callback origins that are allowed on this machine only, a lock at the tables, and a guard
//! at every port that keeps web pages out.
//!
//! A test binary shares one stack among its tests; its methods block, take `&self`, and may be called from many threads. A
//! static is never dropped, but everything the stack started ends with the process, whichever way that ends.
//!
//! ```no_run
//! use std::sync::LazyLock;
//! use std::time::Duration;
//! use sluice_local::receiver::Reply;
//! use sluice_local::{Options, Stack};
//!
//! static STACK: LazyLock<Stack> =
//!     LazyLock::new(|| Stack::start(&Options::test("journeys"), &mut |_| {}).expect("a running stack"));
//!
//! STACK.receiver.answer_next("mine", [Reply::status(500), Reply::hang_up()]);
//! let run = STACK.request("POST", "/v1/workflow-definitions/hold/invoke", &[("content-type", "application/json")],
//!     format!(r#"{{"completionCallbackUrl":"{}"}}"#, STACK.receiver.url("mine")))?;
//! let attempts = STACK.receiver.wait("mine", 3, Duration::from_secs(90))?;
//! assert!(attempts.iter().all(|attempt| attempt.verification.verified));
//! assert!(attempts[0].body == attempts[2].body);
//! # Ok::<(), sluice_local::Error>(())
//! ```

mod binaries;
mod bridge;
mod deploy;
mod error;
mod files;
mod gateway;
mod governor;
mod guard;
mod keeper;
mod ministack;
pub mod place;
mod progress;
pub mod receiver;
pub mod sample;
mod server;
pub mod spend;
mod stack;
mod venv;
mod wait;

pub use error::{AwsError, Error};
pub use keeper::end_all;
pub use progress::{Event, PHASES};
pub use receiver::Receiver;
pub use server::Answer;
pub use stack::{Credentials, Invocation, Options, Stack};
pub use venv::program;
pub use wait::poll;
