//! A stand-in for Bedrock Runtime on a laptop, and the referee of what was spent.
//!
//! It speaks the wire well enough that SDKs as they are take it for Bedrock: the operations that write or count text, over TLS
//! with HTTP/2 and HTTP/1.1, signatures checked, limits kept, streams in AWS' own frames, usage as each API and family tells it. The
//! words it writes mean nothing, but are the same for the same request. It fails as it is told to (see [`play`]), and it keeps
//! books of its own (see [`books`]): what a governor says was spent is held against them.
//!
//! ```no_run
//! use sluice_bedrock::{Bedrock, Options};
//!
//! let bedrock = Bedrock::start(Options::test())?;
//! // AWS_ENDPOINT_URL_BEDROCK_RUNTIME=<door_url>, AWS_CA_BUNDLE=<a file with authority_pem>, and the keys of the options.
//! let spent = bedrock.service().books.sum().cost;
//! # Ok::<(), sluice_bedrock::Error>(())
//! ```

mod answer;
mod ask;
pub mod books;
mod cache;
pub mod certificate;
mod control;
pub mod decimal;
pub mod door;
pub mod family;
pub mod fault;
mod generation;
pub mod play;
pub mod prices;
mod service;
mod signature;
mod start;
mod target;
pub mod tokens;
pub mod usage;

pub use service::{Script, Service};
pub use signature::{Key, Keys};
pub use start::{Bedrock, Error, Options};
