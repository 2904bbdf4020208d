//! What a row of the table says of its route: in code, what requests are matched by; in words and schemas, what the API's
//! description is made of.

use crate::problem::Kind;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

/// One row.
#[derive(Debug)]
pub struct Operation {
    pub method: &'static str,
    /// A template, such as `/v1/workflow-runs/{runId}`.
    pub path: &'static str,
    /// What generated clients call it.
    pub name: &'static str,
    pub summary: &'static str,
    pub description: &'static str,
    /// The parameters of its query.
    pub query: &'static [&'static str],
    /// Whether it takes an idempotency key; then it makes a run.
    pub takes_key: bool,
    /// Of what only the operator may do: what that is, as in "only the operator may declare processors".
    pub operator: Option<&'static str>,
    pub body: Option<Body>,
    pub answers: &'static [Answer],
    /// What a 409 may say.
    pub conflicts: &'static [&'static Kind],
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every tenant.
    Tenant,
    /// Only the operator may do this.
    Operator(&'static str),
    /// Whoever holds a report token. No authorizer is asked: the token says all that is to be known of its holder.
    ReportToken,
}

/// A type's schema, and those it is made of.
pub type Described = fn() -> Vec<(String, RefOr<Schema>)>;

/// The schemas of a type and of its parts, by their names; its own first.
pub fn described<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut all = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut all);
    all
}

#[derive(Debug)]
pub struct Body {
    pub schema: Described,
    /// Names and sample events.
    pub samples: &'static [(&'static str, &'static str)],
    pub may_be_missing: bool,
}

/// A success.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub meaning: &'static str,
    /// `None` for an answer without a body.
    pub schema: Option<Described>,
    /// Says where the thing is found.
    pub is_located: bool,
    /// May be the first answer to an idempotency key again.
    pub is_replayable: bool,
}
