//! What a row of the table says of its route: in code, what requests are matched by; in words and schemas, what the API's
//! description is made of.

use super::{Access, Route, RouteId};
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

impl Operation {
    pub(super) const fn route(&self, id: RouteId, function: &'static str) -> Route {
        let access = match self.operator {
            Some(what) => Access::Operator(what),
            None => Access::Tenant,
        };
        self.route_for(access, id, function)
    }

    pub(super) const fn open_route(&self, id: RouteId, function: &'static str) -> Route {
        self.route_for(Access::ReportToken, id, function)
    }

    const fn route_for(&self, access: Access, id: RouteId, function: &'static str) -> Route {
        Route {
            id,
            name: self.name,
            function,
            method: self.method,
            path: self.path,
            access,
            query: self.query,
            takes_key: self.takes_key,
            takes_body: self.body.is_some(),
        }
    }
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
