//! Hands out what is due.
//!
//! The deliveries to a receiver in trouble stay due, so they may fill more pages of a shard than a sweep looks at. So half of
//! the pages are the first ones, and the others go on from where the last sweep of this process stopped, until one has come to
//! the end: nobody is hidden behind a dead receiver for longer than it takes to walk past what it is owed.

use super::sweeper::Sweeper;
use crate::delivery::Receiver;
use crate::delivery::health::Health;
use crate::id::TenantId;
use crate::ports::{AnnounceDue, Clock, DueDelivery, ReadCatalog, ReceiverHealth, StoreResult, Sweep};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Pages of due deliveries that are looked at per shard, for some that their receiver's bound lets through.
const PAGES_PER_SHARD: u32 = 10;
/// Of these, those at the front.
const FIRST_PAGES: u32 = PAGES_PER_SHARD / 2;

/// What a sweep has handed out to receivers in trouble, and the health by which it knows them.
#[derive(Default)]
struct Share {
    health: BTreeMap<TenantId, Health>,
    to_troubled: BTreeMap<Receiver, u32>,
}

impl<S: Sweep + ReceiverHealth + ReadCatalog, E: AnnounceDue, C: Clock> Sweeper<'_, S, E, C> {
    pub(super) async fn hand_out_deliveries(&mut self) {
        let mut share = Share::default();
        for (shard, _) in self.shards() {
            if let Err(error) = self.hand_out_shard(shard, &mut share).await {
                self.fault(format_args!("deliveries of shard {shard}"), &*error);
            }
        }
    }

    async fn hand_out_shard(
        &mut self,
        shard: u8,
        share: &mut Share,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (mut handed_out, mut cursor) = (0, None);
        for number in 0..PAGES_PER_SHARD {
            if number == FIRST_PAGES {
                cursor = self.store.memory().place(shard).or(cursor);
            }
            if self.is_out_of_time() {
                return Ok(());
            }
            let page = self.store.due_deliveries(shard, self.clock.now(), cursor.as_deref()).await?;
            let mut due = Vec::new();
            for DueDelivery { delivery, receiver } in page.items {
                if handed_out == self.bounds.deliveries_per_shard {
                    self.summary.cut_short = true;
                    break;
                }
                // The event bus is the deployment's own: nobody's trouble is another's there.
                if let Some(receiver) = receiver
                    && !self.has_share(share, receiver).await?
                {
                    continue;
                }
                handed_out += 1;
                due.push(delivery);
            }
            if !due.is_empty() {
                self.engine.announce_due(&due).await?;
                self.summary.announced += due.len() as u32;
            }
            cursor = page.next;
            if cursor.is_none() {
                self.store.memory().keep_place(shard, None);
                return Ok(());
            }
            if handed_out == self.bounds.deliveries_per_shard {
                return Ok(());
            }
        }
        self.store.memory().keep_place(shard, cursor);
        self.summary.cut_short = true;
        Ok(())
    }

    /// Whether one more delivery to this receiver may be handed out: to one in trouble only so many.
    async fn has_share(&self, share: &mut Share, receiver: Receiver) -> StoreResult<bool> {
        let health = match share.health.entry(receiver.tenant_id.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(self.store.load_health(&receiver.tenant_id).await?),
        };
        if !health.is_troubled(&receiver.origin, self.clock.now()) {
            return Ok(true);
        }
        let handed_out = share.to_troubled.entry(receiver).or_default();
        *handed_out += 1;
        Ok(*handed_out <= self.bounds.deliveries_per_receiver)
    }
}
