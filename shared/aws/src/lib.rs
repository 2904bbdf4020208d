//! Every adapter of Sluice: the ports of `sluice-core` over DynamoDB, Step Functions, EventBridge and signed webhooks; and the client
//! of Bedrock Runtime.
//! No other crate names `aws_sdk_*` or speaks HTTP to the outside.
//!
//! A function's `main.rs` reads [`config::Settings`] and calls [`Aws::connect`] or [`Aws::connect_store`]; nothing else is
//! needed from here.

pub mod bedrock;
pub mod call;
pub mod clients;
pub mod clock;
pub mod config;
mod connector;
mod deadline;
pub mod dynamo;
mod endpoint;
pub mod events;
mod fault;
pub mod ids;
pub mod sfn;
mod sigv4;
pub mod webhook;

use call::Service;
use clients::Clients;
use config::Settings;

/// Everything outside, ready to use. Cheap to clone: all clones share connections and what they remember.
#[derive(Clone, Debug)]
pub struct Aws {
    pub store: dynamo::Store,
    pub engine: Engine,
    pub webhook: webhook::Sender,
    pub clock: clock::SystemClock,
}

/// Step Functions and the event bus.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) sfn: Service,
    pub(crate) events: Service,
    pub(crate) event_bus: String,
}

impl Aws {
    /// Makes the clients, and opens the connections that nearly every first request needs, where that is worth it:
    /// see [`Clients::open`].
    pub async fn connect(settings: &Settings) -> Self {
        let clients = Clients::new(settings);
        clients.open(&[&clients.dynamodb, &clients.sfn]).await;
        let (sfn, events) = (clients.sfn, clients.events);
        Self {
            store: dynamo::Store::new(clients.dynamodb, &settings.table),
            engine: Engine { sfn, events, event_bus: settings.event_bus.clone() },
            webhook: webhook::Sender::new(settings.destinations(), settings.credentials.clone()),
            clock: clock::SystemClock,
        }
    }

    /// The store alone, for functions that call nothing else: they have no other client in them either.
    pub async fn connect_store(settings: &Settings) -> dynamo::Store {
        let clients = Clients::new(settings);
        clients.open(&[&clients.dynamodb]).await;
        dynamo::Store::new(clients.dynamodb, &settings.table)
    }
}
