//! The parameters of paths, parsed once: what names nothing that could be is answered before a function is called.

use crate::fault::Faults;
use crate::http::Request;
use crate::problem::Problem;
use sluice_core::definition::VersionRule;
use sluice_core::id::{
    ComputeNodeKey, DefinitionId, DefinitionRef, InstanceId, InvalidId, LayerName, ModelKey, NodeId, ProcessorKey,
    RunId, TenantId,
};
use sluice_core::refusal::{Refusal, Thing};
use sluice_core::violation::ViolationCode;
use std::str::FromStr;

/// Something that a path names.
pub trait PathParameter: Sized {
    /// Reads the text that stands where the template has `{name}`.
    ///
    /// # Errors
    /// 404 for the name of something that is there or not; 400 for a name that its caller gives.
    fn read(name: &'static str, text: &str) -> Result<Self, Problem>;

    /// Says in the log which thing the request is about.
    fn log(&self, _request: &Request) {}
}

/// The texts of a path where its template has parameters, in their order.
#[derive(Debug)]
pub struct Parameters<'a> {
    request: &'a Request,
    rest: std::vec::IntoIter<(&'static str, String)>,
}

impl<'a> Parameters<'a> {
    pub(super) fn new(request: &'a Request, texts: Vec<(&'static str, String)>) -> Self {
        Self { request, rest: texts.into_iter() }
    }

    /// The next one.
    ///
    /// # Errors
    /// As [`PathParameter::read`]; 404 when the template has no more.
    pub(super) fn take<T: PathParameter>(&mut self) -> Result<T, Problem> {
        // A test holds every row's parameters to its template: there is always a next one.
        let (name, text) = self.rest.next().unwrap_or_default();
        let parameter = T::read(name, &text)?;
        parameter.log(self.request);
        Ok(parameter)
    }

    /// Said when a variant has all that it takes.
    pub(super) fn finish(&self) {
        debug_assert!(self.rest.len() == 0, "a row takes fewer parameters than its template has");
    }
}

/// A version of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionNumber(pub u32);

/// A delivery of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryNumber(pub u32);

/// An input of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputNumber(pub u32);

/// An item of a fan-out, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemIndex(pub u32);

/// An iteration of a loop, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IterationNumber(pub u32);

/// A key of a processor, by its id. Whether there is such a key, is found out where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessorKeyId(pub String);

impl PathParameter for ProcessorKeyId {
    fn read(_: &'static str, text: &str) -> Result<Self, Problem> {
        Ok(Self(text.to_owned()))
    }
}

fn not_found(what: Thing, text: &str) -> Problem {
    Refusal::not_found(what, text).into()
}

/// A number from 1 in its only spelling.
fn number(what: Thing, text: &str) -> Result<u32, Problem> {
    let number = text.parse::<u32>().ok().filter(|number| *number > 0 && number.to_string() == text);
    number.ok_or_else(|| not_found(what, text))
}

impl PathParameter for RunId {
    fn read(_: &'static str, text: &str) -> Result<Self, Problem> {
        text.parse().map_err(|InvalidId(_)| not_found(Thing::WorkflowRun, text))
    }

    fn log(&self, request: &Request) {
        request.about_run(*self);
    }
}

impl PathParameter for VersionNumber {
    fn read(_: &'static str, text: &str) -> Result<Self, Problem> {
        number(Thing::Version, text).map(Self)
    }
}

impl PathParameter for DeliveryNumber {
    fn read(_: &'static str, text: &str) -> Result<Self, Problem> {
        number(Thing::Delivery, text).map(Self)
    }
}

impl PathParameter for InputNumber {
    fn read(_: &'static str, text: &str) -> Result<Self, Problem> {
        number(Thing::Input, text).map(Self)
    }
}

impl PathParameter for ItemIndex {
    fn read(_: &'static str, text: &str) -> Result<Self, Problem> {
        let index = text.parse::<u32>().ok().filter(|index| index.to_string() == text);
        index.map(Self).ok_or_else(|| not_found(Thing::StepItem, text))
    }
}

impl PathParameter for IterationNumber {
    fn read(_: &'static str, text: &str) -> Result<Self, Problem> {
        number(Thing::StepIteration, text).map(Self)
    }
}

/// Names of things that are there or not: what can name none is not found.
macro_rules! found_or_not {
    ($($type:ty: $what:ident),+ $(,)?) => {
        $(impl PathParameter for $type {
            fn read(_: &'static str, text: &str) -> Result<Self, Problem> {
                text.parse().map_err(|_| not_found(Thing::$what, text))
            }
        })+
    };
}

found_or_not!(
    NodeId: Step,
    DefinitionRef: WorkflowDefinition,
    // A name is unique in its tenant only, so that another's definition is named by its id.
    DefinitionId: DiscoverableDefinition,
    VersionRule: Version,
    InstanceId: WorkflowInstance,
);

/// Names that their callers give: what is none is invalid, and they are told why.
macro_rules! given {
    ($($type:ty),+) => {
        $(impl PathParameter for $type {
            fn read(name: &'static str, text: &str) -> Result<Self, Problem> {
                <Self as FromStr>::from_str(text).map_err(|InvalidId(message)| {
                    Faults::one(format!("path:{name}"), ViolationCode::Invalid, message).into()
                })
            }
        })+
    };
}

given!(ProcessorKey, ComputeNodeKey, ModelKey, LayerName, TenantId);
