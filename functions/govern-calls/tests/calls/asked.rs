//! Asking the function, and what is to be seen of it afterwards.

use crate::support::{Bench, key_of, processor};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::Value;
use sluice_bedrock::books::{Entry, State};
use sluice_core::governor::ledger::Ledger;
use sluice_edge::bedrock::reply::Reply;
use std::collections::BTreeMap;
use std::time::Duration;

/// An answer, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub fn kind(&self) -> &str {
        self.headers.get("x-amzn-errortype").map(String::as_str).unwrap_or_default()
    }
}

impl Bench {
    pub fn ledger(&self) -> Ledger {
        self.world.store.governed(&self.run).expect("a ledger")
    }

    pub async fn reply(&self, event: &Value) -> Reply {
        let event = serde_json::from_str(&event.to_string()).expect("an event");
        let answer = self.app.handle(LambdaEvent::new(event, Context::default()));
        Box::pin(answer).await.unwrap_or_else(|never| match never {})
    }

    pub async fn ask_as(&self, path: &str, bearer: &str, body: &str) -> Answered {
        read(self.reply(&self.event(path, bearer, body)).await).await
    }

    /// A call by the processor of the node.
    pub async fn ask(&self, operation: &str, body: &Value) -> Answered {
        self.ask_as(&self.path(operation), key_of(&processor()).reveal(), &body.to_string()).await
    }

    /// The last call as the referee has it, once it is over.
    pub async fn last(&self) -> Entry {
        let books = &self.bedrock.service().books;
        let is_over = |entry: &Entry| entry.state != State::Open;
        assert!(books.wait(Duration::from_secs(20), |books| books.entries().last().is_some_and(is_over)).await);
        books.entries().pop().expect("a call")
    }

    /// What the referee says that was spent, in whole nano-dollars of each call.
    pub fn referee(&self) -> u64 {
        u64::try_from(self.bedrock.service().books.sum().settled_nano_usd).expect("little")
    }

    /// The operations that were asked of the model, but for counting.
    pub fn called(&self) -> Vec<String> {
        let entries = self.bedrock.service().books.entries();
        entries.into_iter().map(|entry| entry.operation).filter(|operation| operation != "CountTokens").collect()
    }

    /// Nothing is held any more, and what was spent is between the referee's sum and the cap.
    pub fn check(&self, what: &str) {
        let ledger = self.ledger();
        assert!(ledger.holds.is_empty(), "{what}: {:?}", ledger.holds);
        assert!(self.referee() <= ledger.spent.0, "{what}: {} > {:?}", self.referee(), ledger.spent);
        assert!(ledger.cap.is_none_or(|cap| ledger.spent <= cap), "{what}: {:?}", ledger.spent);
    }
}

/// Reads an answer to its end.
pub async fn read(reply: Reply) -> Answered {
    let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    let head = reply.metadata_prelude;
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = reply.stream.collect().await.expect("a body").to_bytes();
    Answered { status: head.status_code.as_u16(), headers, body: String::from_utf8_lossy(&body).into_owned() }
}
