//! Hands out what is due.

use super::sweeper::Sweeper;
use crate::delivery::Receiver;
use crate::ports::{AnnounceDue, Clock, DueDelivery, Sweep};
use std::collections::BTreeMap;

/// Pages of due deliveries that are looked at per shard, for some that their receiver's bound lets through.
const PAGES_PER_SHARD: u32 = 10;

impl<S: Sweep, E: AnnounceDue, C: Clock> Sweeper<'_, S, E, C> {
    pub(super) async fn hand_out_deliveries(&mut self) {
        let mut by_receiver: BTreeMap<Receiver, u32> = BTreeMap::new();
        for (shard, _) in self.shards() {
            if let Err(error) = self.hand_out_shard(shard, &mut by_receiver).await {
                self.fault(format_args!("deliveries of shard {shard}"), &*error);
            }
        }
    }

    async fn hand_out_shard(
        &mut self,
        shard: u8,
        by_receiver: &mut BTreeMap<Receiver, u32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (mut handed_out, mut cursor) = (0, None);
        for _ in 0..PAGES_PER_SHARD {
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
                let Some(receiver) = receiver else {
                    handed_out += 1;
                    due.push(delivery);
                    continue;
                };
                let to_receiver = by_receiver.entry(receiver).or_default();
                if *to_receiver < self.bounds.deliveries_per_receiver {
                    *to_receiver += 1;
                    handed_out += 1;
                    due.push(delivery);
                }
            }
            if !due.is_empty() {
                self.engine.announce_due(&due).await?;
                self.summary.announced += due.len() as u32;
            }
            cursor = page.next;
            if cursor.is_none() || handed_out == self.bounds.deliveries_per_shard {
                return Ok(());
            }
        }
        self.summary.cut_short = true;
        Ok(())
    }
}
