//! Meters.

use super::*;

impl CountOnMeter for MemoryStore {
    async fn count(&self, count: &Count) -> StoreResult<()> {
        self.act("count on a meter", |tables| {
            tables.writes += 1;
            *tables.meters.entry(count.key.clone()).or_default() += count.by;
            Ok(())
        })
        .await
    }
}

impl MemoryStore {
    /// What was counted in a window.
    pub fn counted(&self, key: &MeterKey) -> i64 {
        lock(&self.tables).meters.get(key).copied().unwrap_or_default()
    }
}
