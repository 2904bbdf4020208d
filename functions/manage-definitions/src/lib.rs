//! Definitions, versions, drafts and instances; for the operator, processors, compute nodes and tenants.
//!
//! This file finds the way to one small function per route: `definitions.rs` for what is a tenant's own, `discover.rs` for
//! what others let it run, `operator.rs` for the operator.

mod definitions;
mod discover;
mod operator;

use lambda_runtime::LambdaEvent;
use sluice_core::arn::StateMachineArn;
use sluice_core::destination::Destinations;
use sluice_core::id::DefinitionId;
use sluice_core::ports::{Clock, ManageDefinitions, ManageOperator, SaveInstance};
use sluice_edge::http::{Event, Request, Response};
use sluice_edge::identity::IdentityConfig;
use sluice_edge::problem::Problem;
use std::convert::Infallible;
use tracing::Instrument;

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, C> {
    pub store: S,
    pub clock: C,
    pub identity: IdentityConfig,
    pub new_definition_id: fn() -> DefinitionId,
    /// The state machine of a compute node that names none.
    pub runner_arn: Option<StateMachineArn>,
    /// Where the deployment lets webhooks go: the origins of a tenant are among them.
    pub destinations: Destinations,
}

impl<S, C> App<S, C>
where
    S: ManageDefinitions + ManageOperator + SaveInstance,
    C: Clock,
{
    /// Answers one request.
    ///
    /// # Errors
    /// Never: a fault would reach the caller as the gateway's bare 502.
    pub async fn handle(&self, event: LambdaEvent<Event>) -> Result<Response, Infallible> {
        let request = Request::from(event);
        let answer = self.answer(&request).instrument(request.span.clone()).await;
        Ok(request.conclude(answer))
    }

    async fn answer(&self, request: &Request) -> Result<Response, Problem> {
        let caller = &self.identity.caller(request)?;
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["v1", path @ ..] = &segments[..] else {
            return Err(request.no_route());
        };
        let method = request.method.as_str();
        match *path {
            ["workflow-definitions"] => {
                request.allow(&["GET", "POST"])?;
                match method {
                    "GET" => self.list_definitions(request, caller).await,
                    _ => self.create_definition(request, caller).await,
                }
            }
            ["workflow-definitions", definition] => {
                request.allow(&["GET", "PATCH"])?;
                match method {
                    "GET" => self.get_definition(request, caller, definition).await,
                    _ => self.change_definition(request, caller, definition).await,
                }
            }
            ["workflow-definitions", definition, "versions"] => {
                request.allow(&["GET", "POST"])?;
                match method {
                    "GET" => self.list_versions(request, caller, definition).await,
                    _ => self.add_version(request, caller, definition).await,
                }
            }
            ["workflow-definitions", definition, "versions", version] => {
                request.allow(&["GET"])?;
                self.get_version(request, caller, definition, version).await
            }
            ["workflow-definitions", definition, "versions", version, "activate"] => {
                request.allow(&["POST"])?;
                self.activate_version(caller, definition, version).await
            }
            ["workflow-definitions", definition, "versions", version, "deprecate"] => {
                request.allow(&["POST"])?;
                self.deprecate_version(caller, definition, version).await
            }
            ["workflow-definitions", definition, "draft"] => {
                request.allow(&["GET", "PUT", "DELETE"])?;
                match method {
                    "GET" => self.get_draft(request, caller, definition).await,
                    "PUT" => self.save_draft(request, caller, definition).await,
                    _ => self.delete_draft(caller, definition).await,
                }
            }
            ["discoverable-definitions"] => {
                request.allow(&["GET"])?;
                self.discover(request).await
            }
            ["discoverable-definitions", definition] => {
                request.allow(&["GET"])?;
                self.get_discoverable(request, definition).await
            }
            ["discoverable-definitions", definition, "versions", version] => {
                request.allow(&["GET"])?;
                self.get_discoverable_version(request, definition, version).await
            }
            ["workflow-instances"] => {
                request.allow(&["GET", "POST"])?;
                match method {
                    "GET" => self.list_instances(request, caller).await,
                    _ => self.save_instance(request, caller).await,
                }
            }
            ["workflow-instances", instance_id] => {
                request.allow(&["GET"])?;
                self.get_instance(request, caller, instance_id).await
            }
            ["processors"] => {
                request.allow(&["GET"])?;
                self.list_processors(request, caller).await
            }
            ["processors", key] => {
                request.allow(&["GET", "PUT"])?;
                match method {
                    "GET" => self.get_processor(request, caller, key).await,
                    _ => self.save_processor(request, caller, key).await,
                }
            }
            ["compute-nodes"] => {
                request.allow(&["GET"])?;
                self.list_compute_nodes(request, caller).await
            }
            ["compute-nodes", key] => {
                request.allow(&["GET", "PUT"])?;
                match method {
                    "GET" => self.get_compute_node(request, caller, key).await,
                    _ => self.save_compute_node(request, caller, key).await,
                }
            }
            ["compute-nodes", key, "layers", name] => {
                request.allow(&["PUT"])?;
                self.save_layer(request, caller, key, name).await
            }
            ["tenants"] => {
                request.allow(&["GET"])?;
                self.list_tenants(request, caller).await
            }
            ["tenants", tenant] => {
                request.allow(&["GET", "PUT"])?;
                match method {
                    "GET" => self.get_tenant(request, caller, tenant).await,
                    _ => self.save_tenant(request, caller, tenant).await,
                }
            }
            _ => Err(request.no_route()),
        }
    }
}
