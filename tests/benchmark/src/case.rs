//! One function with one kind of event.

use crate::answers::Script;
use crate::backend::Heard;
use crate::child::Program;
use crate::error::{Error, Result};
use crate::place;
use crate::runtime::Expected;
use crate::size::Size;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Whose figures are 1.
pub const FLOOR: &str = "echo";

/// One function with one kind of event.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub program: Program,
    pub event: Vec<u8>,
    pub expected: Expected,
    /// What the table holds when the event comes.
    pub items: Arc<Vec<Value>>,
    /// Variables besides those that all have.
    pub environment: Vec<(String, String)>,
    pub size: Option<Size>,
    pub script: Script,
    /// What it asked when it was played: in init, in its first event and in its last.
    pub played: Option<[Heard; 3]>,
}

impl Case {
    /// # Errors
    /// When the event is no JSON.
    pub fn new(name: &str, program: Program, event: &str, expected: Expected) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            program,
            event: compact(event)?,
            expected,
            items: Arc::default(),
            environment: Vec::new(),
            size: None,
            script: Script::default(),
            played: None,
        })
    }

    /// A bare function. It is asked what create-run is asked.
    ///
    /// # Errors
    /// When it is not there.
    pub fn echo(executable: &Path) -> Result<Self> {
        let program = Program::binary(executable.to_path_buf());
        let size = Some(Size::of(executable)?);
        Ok(Self { size, ..Self::new(FLOOR, program, &place::event("create-run/api-gateway-jwt")?, Expected::Json)? })
    }
}

/// As Lambda passes events on: without white space.
fn compact(event: &str) -> Result<Vec<u8>> {
    let event: Value = serde_json::from_str(event).map_err(Error::wrong("a sample event"))?;
    Ok(event.to_string().into_bytes())
}
