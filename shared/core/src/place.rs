//! Where in what a caller said something is: a field of the request, and the way down from it.
//!
//! **Invariant:** nothing here is a path of one wire format. Each wire format has its own names for the fields and its own
//! way of writing a path, and renders a [`Place`] so.

use crate::id::NodeId;
use crate::limits;
use std::fmt;

/// What a caller may say, by meaning: the fields of the requests that the core understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The request altogether.
    Whole,

    // What is run.
    /// The definition that is named.
    Definition,
    /// Which of its versions is asked for.
    Version,
    /// What the version itself says, as it was or is to be stored: its nodes, its edges, its schema.
    Document,
    /// The saved instance that is named.
    Instance,
    /// The compute node that is named.
    ComputeNode,
    /// Below it by node: how the instance configures its processors.
    ProcessorConfigs,

    // With what it is run.
    Name,
    Input,
    /// Below it by node.
    DataSources,
    /// Below it by node.
    DataTargets,
    /// Below it by node, and there by the parameter's name.
    ProcessorParams,
    /// Versions of processors, below it by node.
    ProcessorTags,
    Layers,
    /// Below it by the label's name.
    Labels,
    ExecutionBudget,
    MaxRunDuration,
    CallbackUrl,
    CallbackContext,
    Retention,
    /// The run that is evaluated.
    EvaluationOf,
    /// The node from which a run starts, or is replayed.
    FromNode,
    /// Below it by node: what is given in place of the results of nodes that are not run.
    Results,

    // What a definition says of itself.
    DisplayName,
    Description,
    Concurrency,
    /// What a definition is found by.
    DefinitionTags,

    // What the operator declares.
    ContainerName,
    Subnets,
    SecurityGroups,
    Destinations,
    SecretPrefixes,
    OfferedTags,
    /// What a tenant may take of the service.
    TenantLimits,
    /// The ids to which a model answers.
    ModelIds,
    ContextTokens,
    MaxOutputTokens,
    /// What a model costs, and since when.
    Prices,
    /// What may be spent in a day or a month.
    Budget,

    // What is said of a run from outside.
    /// The node that is answered or reported on.
    Node,
    /// What the node is given as its result.
    NodeResult,
    /// The code of the failure that is reported.
    FailureCode,
    /// The calls that are reported.
    Usage,
    CommentText,
    /// How long a report token is to be valid.
    TokenLifetime,
}

/// A named part of something larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    // Of a version's document.
    Nodes,
    Edges,
    InputSchema,
    // Of a node.
    Id,
    Processor,
    Tag,
    Parameters,
    Retry,
    Schema,
    // Of a parameter.
    Default,
    // Of a retry.
    MaxAttempts,
    IntervalSeconds,
    BackoffRate,
    // Of what rules a node's running.
    When,
    Loop,
    /// Of a loop; and when a price ends to hold.
    Until,
    MaxIterations,
    ForEach,
    Items,
    MaxConcurrency,
    MaxItems,
    OnFailure,
    Timeout,
    ExpiresAfter,
    OnExpiry,
    Answer,
    // Of a condition.
    Pointer,
    Equals,
    NotEquals,
    In,
    LessThan,
    GreaterThan,
    All,
    Any,
    Not,
    // Of an edge; and since when a price holds.
    From,
    To,
    // Of a processor's configuration.
    Params,
    // Of a retention.
    MaxAge,
    // Of a concurrency.
    MaxConcurrentRuns,
    // Of a tenant's limits.
    StartsPerMinute,
    WaitsAtOnce,
    OpenRuns,
    Definitions,
    // Of a price.
    Tiers,
    GuardrailTextUnit,
    // Of what tokens cost.
    Input,
    Output,
    CacheRead,
    CacheWrite5m,
    CacheWrite1h,
    LongContext,
    AboveTokens,
    // Of a budget.
    MaxUsd,
    PerUserMaxUsd,
    // Of a reported call.
    CallId,
    NodeId,
    Provider,
    Model,
    InputTokens,
    OutputTokens,
    CachedTokens,
    Latency,
}

/// One step down from a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Part(Part),
    /// An entry of a map that its caller keyed.
    Key(String),
    /// An entry of a list, counted from 0.
    Index(usize),
    /// The entry of a node.
    Node(NodeId),
}

/// Where something is, for good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub field: Field,
    pub steps: Vec<Step>,
}

/// As a developer reads it, in logs and in tests; no wire format writes it so: `Document.Nodes[3].Parameters{"n"}`.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.field)?;
        for step in &self.steps {
            match step {
                Step::Part(part) => write!(formatter, ".{part:?}")?,
                Step::Key(key) => write!(formatter, "{{{key:?}}}")?,
                Step::Index(index) => write!(formatter, "[{index}]")?,
                Step::Node(node) => write!(formatter, "<{node}>")?,
            }
        }
        Ok(())
    }
}

/// Where something is, while it is looked at. It borrows the way from the caller's own loops, so that going down costs
/// nothing: it becomes a [`Place`] only when there is something to say of it.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    Field(Field),
    Part(&'a At<'a>, Part),
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
    Node(&'a At<'a>, &'a NodeId),
    Along(&'a At<'a>, &'a [Step]),
}

impl Field {
    pub const fn at(self) -> At<'static> {
        At::Field(self)
    }
}

impl From<Field> for At<'static> {
    fn from(field: Field) -> Self {
        field.at()
    }
}

impl<'a> From<&At<'a>> for At<'a> {
    fn from(at: &At<'a>) -> Self {
        *at
    }
}

impl<'a> At<'a> {
    pub const fn part(&'a self, part: Part) -> Self {
        Self::Part(self, part)
    }

    pub const fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    pub const fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    pub const fn node(&'a self, node: &'a NodeId) -> Self {
        Self::Node(self, node)
    }

    /// Several steps down at once.
    pub const fn along(&'a self, steps: &'a [Step]) -> Self {
        Self::Along(self, steps)
    }

    /// The same place for good. A key of the caller's is cut to what may be said of it.
    pub fn place(&self) -> Place {
        let mut steps = Vec::new();
        let mut at = self;
        let field = loop {
            at = match at {
                Self::Field(field) => break *field,
                Self::Part(above, part) => {
                    steps.push(Step::Part(*part));
                    above
                }
                Self::Key(above, key) => {
                    steps.push(Step::Key(cut(key)));
                    above
                }
                Self::Index(above, index) => {
                    steps.push(Step::Index(*index));
                    above
                }
                Self::Node(above, node) => {
                    steps.push(Step::Node((*node).clone()));
                    above
                }
                Self::Along(above, along) => {
                    steps.extend(along.iter().rev().map(|step| match step {
                        Step::Key(key) => Step::Key(cut(key)),
                        Step::Part(_) | Step::Index(_) | Step::Node(_) => step.clone(),
                    }));
                    above
                }
            };
        };
        steps.reverse();
        Place { field, steps }
    }
}

/// One character more than is shown of it: whoever renders it sees that something was cut off.
fn cut(key: &str) -> String {
    key.chars().take(limits::VIOLATION_CHARS + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_way_that_was_gone() {
        let node: NodeId = "report".parse().expect("a node");
        let document = Field::Document.at();
        let nodes = document.part(Part::Nodes);
        let third = nodes.index(3);
        assert_eq!(
            third.part(Part::Parameters).key("a \"b\"").place().to_string(),
            r#"Document.Nodes[3].Parameters{"a \"b\""}"#
        );
        assert_eq!(Field::DataTargets.at().node(&node).key("x").place().to_string(), r#"DataTargets<report>{"x"}"#);
        let steps = [Step::Key("a".to_owned()), Step::Index(0)];
        assert_eq!(Field::Input.at().along(&steps).key("b").place().to_string(), r#"Input{"a"}[0]{"b"}"#);
        assert_eq!(Field::Whole.at().place(), Place { field: Field::Whole, steps: Vec::new() });
    }

    #[test]
    fn a_key_as_long_as_a_request_is_cut() {
        let key = "é".repeat(100_000);
        for place in [Field::Labels.at().key(&key).place(), Field::Labels.at().along(&[Step::Key(key.clone())]).place()]
        {
            let Some(Step::Key(kept)) = place.steps.first() else { panic!("{place}") };
            assert_eq!(kept.chars().count(), limits::VIOLATION_CHARS + 1);
        }
    }
}
