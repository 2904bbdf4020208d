//! Who sends, what is recorded of it, and what a webhook says.

use super::{Check, Ledger, broken};
use crate::receiver::Received;
use jiff::Timestamp;
use serde_json::Value;
use sluice_core::ports::DeliveryRef;
use sluice_core::run::Run;
use sluice_core::time::rfc3339_millis;
use sluice_core::usage::{UsageCount, UsageTotals};
use sluice_testkit::store::MemoryStore;

impl Ledger {
    /// What has arrived since the last look.
    pub(super) fn check_received(&mut self, now: Timestamp, received: &[Received]) -> Check {
        for request in &received[self.received_until..] {
            if !self.attempts.insert((request.webhook_id.clone(), request.attempt)) {
                return broken(
                    "D1",
                    format!("attempt {} of webhook {} was sent twice", request.attempt, request.webhook_id),
                );
            }
            if !request.was_terminal {
                return broken("I4", format!("a webhook of run {} left before its end was durable", request.run_id));
            }
            if !self.could_be_listed(now, &request.tenant, &request.url) {
                return broken("I9", format!("a webhook of run {} went where its tenant sends none", request.run_id));
            }
            if let Some(context) = self.contexts.get(&request.run_id)
                && !request.body.contains(&format!(r#""completionCallbackContext":{context}"#))
            {
                return broken("I4", format!("the webhook of run {} has lost its caller's context", request.run_id));
            }
            let first = self.bodies.entry(request.webhook_id.clone()).or_insert_with(|| request.body.clone());
            if *first != request.body {
                return broken("I4", format!("webhook {} has two bodies", request.webhook_id));
            }
        }
        self.received_until = received.len();
        Ok(())
    }

    /// A sender that ended well has recorded every attempt that it made; it may have been purged since.
    pub fn check_recorded(&self, store: &MemoryStore, sent: &[(DeliveryRef, u32)]) -> Check {
        let recorded = store.deliveries();
        for (of, attempt) in sent {
            let found = recorded.iter().find(|(delivery, _)| {
                delivery.tenant_id == of.tenant_id && delivery.run_id == of.run_id && delivery.number == of.number
            });
            if found.is_some_and(|(_, attempts)| attempts.iter().all(|recorded| recorded.number != *attempt)) {
                let (number, run_id) = (of.number, of.run_id);
                return broken("D1", format!("attempt {attempt} of delivery {number} of run {run_id} is not recorded"));
            }
        }
        Ok(())
    }

    /// What is told of the end of a run is what a read says at that moment.
    pub(super) fn check_told_end(&self, run: &Run, store: &MemoryStore) -> Check {
        let had_ended = self.seen.get(&run.run_id).is_some_and(|before| before.status().is_terminal());
        let (Some(ended), false) = (run.state.ended(), had_ended) else { return Ok(()) };
        // A run that never started has used nothing, whatever was reported of it.
        let used = match run.state.started_at() {
            Some(_) => store.used_at_end(&run.tenant_id, run.run_id).unwrap_or_default(),
            None => UsageCount::default(),
        };
        let output = store.output(&run.tenant_id, run.run_id);
        let read = [
            ("status", Value::from(run.status().as_str())),
            ("terminationReason", Value::from(ended.reason.as_str())),
            ("startedAt", run.state.started_at().map(rfc3339_millis).into()),
            ("completedAt", rfc3339_millis(ended.completed_at).into()),
            ("usage", serde_json::to_value(UsageTotals::from(&used)).unwrap_or_default()),
            ("output", output.and_then(|output| serde_json::from_str(&output).ok()).unwrap_or_default()),
        ];
        for (delivery, _) in store.deliveries() {
            if delivery.run_id != run.run_id {
                continue;
            }
            let told: Value = serde_json::from_str(&delivery.body).unwrap_or_default();
            let is_webhook = delivery.channel.as_str() == "webhook";
            // The event on the bus has no output.
            for (what, read) in read.iter().filter(|(what, _)| is_webhook || *what != "output") {
                if told[what] != *read {
                    let text = format!("run {} is told of with {what} {}, and is {read}", run.run_id, told[what]);
                    return broken("W1", text);
                }
            }
        }
        Ok(())
    }
}
