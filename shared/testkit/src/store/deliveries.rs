//! Deliveries and their attempts.

use super::*;

impl ReceiverHealth for MemoryStore {
    async fn load_health(&self, tenant: &TenantId) -> StoreResult<Health> {
        self.act("load the receivers' health", |tables| {
            Ok(tables.health.get(tenant).cloned().unwrap_or_else(|| Health::unknown(tenant.clone())))
        })
        .await
    }

    async fn change_health(&self, next: &Health) -> StoreResult<bool> {
        self.act("change the receivers' health", |tables| {
            let rev = tables.health.get(&next.tenant_id).map_or(0, |health| health.rev);
            if rev + 1 != next.rev {
                return Ok(false);
            }
            tables.writes += 1;
            tables.health.insert(next.tenant_id.clone(), next.clone());
            Ok(true)
        })
        .await
    }
}

impl Deliveries for MemoryStore {
    async fn load_delivery(&self, delivery: &DeliveryRef) -> StoreResult<Option<Delivery>> {
        self.act("load the delivery", |tables| Ok(tables.deliveries.get(delivery).cloned())).await
    }

    async fn change_delivery(&self, next: &Delivery, attempt: Option<&Attempt>) -> StoreResult<bool> {
        self.act("change the delivery", |tables| {
            let key = reference(next);
            match tables.deliveries.get_mut(&key) {
                Some(current) if current.rev + 1 == next.rev => *current = next.clone(),
                Some(_) | None => return Ok(false),
            }
            tables.writes += 1;
            tables.attempts.entry(key).or_default().extend(attempt.cloned());
            Ok(true)
        })
        .await
    }

    async fn record_late_attempt(&self, delivery: &DeliveryRef, attempt: &Attempt) -> StoreResult<()> {
        self.act("record the late attempt", |tables| {
            let attempts = tables.attempts.entry(delivery.clone()).or_default();
            if attempts.iter().all(|known| known.number != attempt.number) {
                attempts.push(attempt.clone());
                attempts.sort_by_key(|attempt| attempt.number);
                tables.writes += 1;
            }
            Ok(())
        })
        .await
    }

    async fn dead_deliveries(&self, tenant: &TenantId, since: Timestamp, limit: u32) -> StoreResult<Vec<DeliveryRef>> {
        self.act("list dead deliveries", |tables| {
            let mut dead: Vec<&Delivery> = tables
                .deliveries
                .values()
                .filter(|delivery| delivery.tenant_id == *tenant && delivery.status == DeliveryStatus::DeadLettered)
                .filter(|delivery| delivery.ended_at.is_some_and(|ended_at| ended_at >= since))
                .collect();
            dead.sort_by_key(|delivery| delivery.ended_at);
            Ok(dead.into_iter().take(limit as usize).map(reference).collect())
        })
        .await
    }
}
