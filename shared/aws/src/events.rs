//! Sluice's own events on the event bus.

use crate::Engine;
use crate::fault::Fault;
use aws_sdk_eventbridge::operation::put_events::{PutEvents, PutEventsInput};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde::Serialize;
use sluice_core::concurrency::QueueRef;
use sluice_core::delivery::AttemptOutcome;
use sluice_core::id::{RunId, TenantId};
use sluice_core::ports::{AnnounceDue, DeliveryRef, EngineError, EngineResult, PublishStatus};

/// The source of every event of Sluice; the template's rules match it.
pub const SOURCE: &str = "sluice";
pub const DELIVERY_DUE: &str = "Delivery Due";
pub const SLOT_FREED: &str = "Slot Freed";
pub const STATUS_CHANGED: &str = "Workflow Run Status Changed";

/// Entries of one `PutEvents`.
/// Source: <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>
const BATCH: usize = 10;

impl Engine {
    fn entry(&self, detail_type: &str, detail: impl Into<String>) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.event_bus)
            .source(SOURCE)
            .detail_type(detail_type)
            .detail(detail)
            .build()
    }

    /// The call succeeds even where entries fail, so each is looked at.
    async fn put_events(&self, entries: Vec<PutEventsRequestEntry>) -> Result<(), Fault> {
        let put = PutEventsInput::builder().set_entries(Some(entries)).build();
        let answer = self.events.call::<PutEvents>(put).await;
        let answer = answer.map_err(|error| Fault::of(&error))?;
        if answer.failed_entry_count() == 0 {
            return Ok(());
        }
        let first = answer.entries().iter().find(|entry| entry.error_code().is_some());
        let (code, message) = first.map_or((None, None), |entry| (entry.error_code(), entry.error_message()));
        Err(Fault::new(code.unwrap_or("unknown"), message.unwrap_or("an entry was refused")))
    }
}

impl AnnounceDue for Engine {
    async fn announce_due(&self, deliveries: &[DeliveryRef]) -> EngineResult<()> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Detail<'a> {
            tenant_id: &'a TenantId,
            run_id: RunId,
            delivery: u32,
        }
        let detail = |due: &DeliveryRef| {
            let detail = Detail { tenant_id: &due.tenant_id, run_id: due.run_id, delivery: due.number };
            serde_json::to_string(&detail)
        };
        self.announce("announce due deliveries", DELIVERY_DUE, deliveries.iter().map(detail)).await
    }

    async fn announce_free(&self, queues: &[QueueRef]) -> EngineResult<()> {
        self.announce("announce free slots", SLOT_FREED, queues.iter().map(serde_json::to_string)).await
    }
}

impl Engine {
    async fn announce(
        &self,
        operation: &'static str,
        detail_type: &str,
        details: impl Iterator<Item = serde_json::Result<String>>,
    ) -> EngineResult<()> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
            // Callers leave what is not announced to the sweep, so the cause is said here.
            tracing::warn!(error = %source, "failed to {operation}");
            EngineError { operation, source: Some(source) }
        };
        let entries = details.map(|detail| detail.map(|detail| self.entry(detail_type, detail)));
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| failed(error.into()))?;
        for batch in entries.chunks(BATCH) {
            self.put_events(batch.to_vec()).await.map_err(|fault| failed(fault.into()))?;
        }
        Ok(())
    }
}

impl PublishStatus for Engine {
    async fn publish_status(&self, detail: &str) -> AttemptOutcome {
        match self.put_events(vec![self.entry(STATUS_CHANGED, detail)]).await {
            Ok(()) => AttemptOutcome::Delivered { http_status: None },
            Err(fault) => {
                // The outcome keeps only a class, so the cause is said here.
                tracing::warn!(error = %fault, "the event bus did not take a status event");
                AttemptOutcome::Unreachable { error_class: "bus".to_owned() }
            }
        }
    }
}
