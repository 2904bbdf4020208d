//! A version made ready for its runs: what never changes about it is worked out once, when it is first needed, and kept.

use crate::definition::{Layout, Version};
use crate::id::{ProcessorKey, TenantId};
use crate::operator::Processor;
use crate::place::At;
use crate::template::{self, CompiledSchema};
use crate::violation::{Invalid, ViolationCode};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A version, or a draft as it was read, with its layout and its compiled input schema.
#[derive(Debug)]
pub struct PreparedVersion {
    version: Version,
    bytes: usize,
    /// `None` when the document has a fault.
    layout: OnceLock<Option<Layout>>,
    input_schema: OnceLock<Result<CompiledSchema, String>>,
}

impl From<Version> for PreparedVersion {
    fn from(version: Version) -> Self {
        let bytes = serde_json::to_string(&version.document).map_or(0, |text| text.len());
        Self { version, bytes, layout: OnceLock::new(), input_schema: OnceLock::new() }
    }
}

impl Deref for PreparedVersion {
    type Target = Version;

    fn deref(&self) -> &Version {
        &self.version
    }
}

impl Clone for PreparedVersion {
    fn clone(&self) -> Self {
        Self::from(self.version.clone())
    }
}

impl PartialEq for PreparedVersion {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

impl PreparedVersion {
    /// The size of its document as JSON text.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn into_version(self) -> Version {
        self.version
    }

    /// The order in which it runs, if `tenant` may run it on these processors as they are now.
    ///
    /// # Errors
    /// Every violation, as [`VersionDocument::check`](crate::definition::VersionDocument::check_stored) finds them.
    pub fn layout(
        &self,
        tenant: &TenantId,
        processors: &BTreeMap<ProcessorKey, Arc<Processor>>,
    ) -> Result<Cow<'_, Layout>, Invalid> {
        let document = &self.version.document;
        let layout = self.layout.get_or_init(|| document.check_alone().ok());
        match layout {
            Some(layout) if document.check_processors(tenant, processors).is_ok() => Ok(Cow::Borrowed(layout)),
            // Both halves again, to say everything that is wrong in its order.
            Some(_) | None => document.check_stored(tenant, processors).map(Cow::Owned),
        }
    }

    /// Checks a run's input.
    pub fn check_input(&self, input: &Value, at: &At<'_>, invalid: &mut Invalid) {
        let Some(schema) = &self.version.document.input_schema else { return };
        match self.input_schema.get_or_init(|| template::compile_schema(schema)) {
            Ok(compiled) => compiled.check(schema, input, at, invalid),
            Err(message) => invalid.add(at, ViolationCode::InvalidSchema, message),
        }
    }
}
