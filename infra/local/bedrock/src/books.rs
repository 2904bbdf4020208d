//! The referee's books: every call that came, what it used, and what that costs.
//!
//! **Invariant:** the books are written before what they tell of can be seen outside: a call's input when the model has begun to
//! read it, its output before the frame that shows it is sent. So at every instant they hold at least what a caller knows of, and
//! nothing is ever taken out of them.
//!
//! Decision (2026-11-28): a call whose caller hung up, or that was broken off, costs what it read and what had been written by
//! then; a call that was answered with an error after the model ran costs the whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::decimal::FemtoUsd;
use crate::prices::Model;
use crate::usage::Usage;

/// How a call stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is under way, or waits for a step.
    Open,
    Served,
    /// Before the model ran.
    Refused(&'static str),
    /// After the model ran, wholly or in part.
    Failed(&'static str),
    /// The connection was broken off on purpose.
    Aborted,
    /// Its caller did not wait for the whole.
    HungUp,
}

impl State {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Served => "served",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Aborted => "aborted",
            Self::HungUp => "hungUp",
        }
    }

    const fn error(&self) -> Option<&'static str> {
        match self {
            Self::Refused(error) | Self::Failed(error) => Some(error),
            Self::Open | Self::Served | Self::Aborted | Self::HungUp => None,
        }
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place among all calls, from 1.
    pub call: u64,
    /// By which a test finds it.
    pub name: Option<String>,
    pub request_id: String,
    /// Of Bedrock Runtime, or the path that names none.
    pub operation: String,
    pub model: Option<String>,
    /// The access key id that signed it.
    pub caller: Option<String>,
    /// The tier that serves it.
    pub tier: Option<String>,
    pub max_tokens: Option<u64>,
    pub state: State,
    pub used: Usage,
    /// What its caller is told of its usage.
    pub reported: Option<Usage>,
    pub cost: FemtoUsd,
    /// Frames handed to the connection; a buffered answer is one.
    pub frames: usize,
}

impl Entry {
    fn is(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name) || name.parse() == Ok(self.call)
    }

    fn shown(&self) -> Value {
        json!({
            "call": self.call, "name": self.name, "requestId": self.request_id, "operation": self.operation,
            "model": self.model, "caller": self.caller, "tier": self.tier, "maxTokens": self.max_tokens,
            "state": self.state.name(), "error": self.state.error(), "tokens": self.used, "reported": self.reported,
            "frames": self.frames, "costUsd": self.cost.dollars(), "costPicoUsd": number(self.cost.pico()),
            "costNanoUsd": number(self.cost.nano()),
        })
    }
}

/// What all calls come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub calls: u64,
    /// Exact.
    pub cost: FemtoUsd,
    /// Each call by itself rounded up to whole nano-dollars, as the governor settles them.
    pub settled_nano_usd: u128,
    pub tokens: Usage,
}

fn number(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    gates: HashMap<String, Arc<Semaphore>>,
}

/// The books, and the gates at which stepped calls wait.
pub struct Books {
    inner: Mutex<Inner>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

impl Default for Books {
    fn default() -> Self {
        Self { inner: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Books {
    /// Enters a call; its number is set here.
    pub(crate) fn enter(&self, entry: Entry) -> u64 {
        let call = {
            let mut inner = self.locked();
            let call = inner.entries.len() as u64 + 1;
            inner.entries.push(Entry { call, ..entry });
            call
        };
        self.told();
        call
    }

    pub(crate) fn change(&self, call: u64, change: impl FnOnce(&mut Entry)) {
        let index = usize::try_from(call).unwrap_or_default().wrapping_sub(1);
        if let Some(entry) = self.locked().entries.get_mut(index) {
            change(entry);
        }
        self.told();
    }

    /// What a call has used so far, and what that costs.
    pub(crate) fn used(&self, call: u64, model: &Model, used: Usage) {
        self.change(call, |entry| {
            entry.cost = model.cost(entry.tier.as_deref().unwrap_or("default"), &used);
            entry.used = used;
        });
    }

    /// Where the call of this number waits, or the one that has, or will have, this name.
    pub(crate) fn gate(&self, name: &str) -> Arc<Semaphore> {
        Arc::clone(self.locked().gates.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(0))))
    }

    /// The gate of a call that has come: by its name where it has one, and by its number.
    pub(crate) fn gate_of(&self, call: u64, name: Option<&str>) -> Arc<Semaphore> {
        let gate = self.gate(name.unwrap_or(&call.to_string()));
        self.locked().gates.insert(call.to_string(), Arc::clone(&gate));
        gate
    }

    /// Lets so many frames of a call go, a buffered answer or a silent call's head being one. A call that has not come yet finds
    /// them when it comes under its name.
    pub fn step(&self, name: &str, frames: usize) {
        self.gate(name).add_permits(frames.min(Semaphore::MAX_PERMITS / 2));
    }

    /// Lets all the rest of a call go.
    pub fn release(&self, name: &str) {
        self.gate(name).close();
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.locked().entries.clone()
    }

    /// A call by its name (of several the last) or its number.
    pub fn entry(&self, name: &str) -> Option<Entry> {
        self.locked().entries.iter().rfind(|entry| entry.is(name)).cloned()
    }

    pub fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for entry in &self.locked().entries {
            sum.calls += 1;
            sum.cost.0 += entry.cost.0;
            sum.settled_nano_usd += entry.cost.nano();
            sum.tokens.input += entry.used.input;
            sum.tokens.output += entry.used.output;
            sum.tokens.cache_read += entry.used.cache_read;
            sum.tokens.cache_write_5m += entry.used.cache_write_5m;
            sum.tokens.cache_write_1h += entry.used.cache_write_1h;
            sum.tokens.guardrail_text_units += entry.used.guardrail_text_units;
        }
        sum
    }

    /// As `GET /books` answers.
    pub fn shown(&self) -> Value {
        let (entries, sum) = (self.entries(), self.sum());
        let calls: Vec<Value> = entries.iter().map(Entry::shown).collect();
        json!({
            "calls": calls,
            "sum": {
                "calls": sum.calls, "tokens": sum.tokens, "costUsd": sum.cost.dollars(),
                "costPicoUsd": number(sum.cost.pico()), "settledNanoUsd": number(sum.settled_nano_usd),
            },
        })
    }

    /// As `GET /calls/{name}` answers.
    pub fn shown_call(&self, name: &str) -> Option<Value> {
        self.entry(name).map(|entry| entry.shown())
    }

    /// Waits until something holds of the books; whether it does in the end.
    pub async fn wait(&self, patience: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let mut changes = self.changes.subscribe();
        let wait = async {
            while !holds(self) {
                if changes.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(patience, wait).await.is_ok()
    }

    fn told(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
