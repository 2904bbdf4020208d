//! What a process remembers of processors' keys and of models, so that a call costs no read of them.
//!
//! **Invariants:** nothing is remembered for longer than [`MOST`], and no more than [`ENTRIES`] of each kind; nothing of a run is.

use jiff::{SignedDuration, Timestamp};
use sluice_core::governor::access::ProcessorKeys;
use sluice_core::governor::model::Model;
use sluice_core::governor::model_id::ModelId;
use sluice_core::id::ProcessorKey;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How long: a deleted key opens nothing after this, and a model's new prices hold.
pub const MOST: SignedDuration = SignedDuration::from_secs(15);
/// How many of each kind.
pub const ENTRIES: usize = 1_000;

/// Clones share one memory.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    keys: Entries<ProcessorKey, ProcessorKeys>,
    models: Entries<ModelId, Arc<Model>>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        // Nothing panics while it is held; and if it did, the entries are each whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keys(&self, processor: &ProcessorKey, now: Timestamp) -> Option<ProcessorKeys> {
        self.lock().keys.get(processor, now)
    }

    pub(crate) fn keep_keys(&self, processor: &ProcessorKey, keys: ProcessorKeys, now: Timestamp) {
        self.lock().keys.keep(processor.clone(), keys, now);
    }

    pub(crate) fn model(&self, id: &ModelId, now: Timestamp) -> Option<Arc<Model>> {
        self.lock().models.get(id, now)
    }

    pub(crate) fn keep_model(&self, id: &ModelId, model: &Arc<Model>, now: Timestamp) {
        self.lock().models.keep(id.clone(), Arc::clone(model), now);
    }
}

#[derive(Debug)]
struct Entries<K, V>(HashMap<K, (V, Timestamp)>);

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V: Clone> Entries<K, V> {
    fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let (value, at) = self.0.get(key)?;
        is_fresh(*at, now).then(|| value.clone())
    }

    fn keep(&mut self, key: K, value: V, now: Timestamp) {
        if self.0.len() >= ENTRIES {
            self.0.retain(|_, (_, at)| is_fresh(*at, now));
        }
        if self.0.len() >= ENTRIES {
            self.0.clear();
        }
        self.0.insert(key, (value, now));
    }
}

fn is_fresh(at: Timestamp, now: Timestamp) -> bool {
    // A clock that was set back remembers nothing.
    (SignedDuration::ZERO..MOST).contains(&now.duration_since(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).expect("a time")
    }

    #[test]
    fn what_is_remembered_is_soon_forgotten() {
        let mut entries = Entries::default();
        entries.keep("a", 1, at(20_000));
        let seen = [0, 19_999, 20_000, 34_999, 35_000, 99_000].map(|now| entries.get(&"a", at(now)));
        assert_eq!(seen, [None, None, Some(1), Some(1), None, None]);
        entries.keep("a", 2, at(36_000));
        assert_eq!(entries.get(&"a", at(36_001)), Some(2));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut entries = Entries::default();
        for number in 0..5 * ENTRIES {
            entries.keep(number, number, at(number as i64));
            assert!(entries.0.len() <= ENTRIES);
            assert_eq!(entries.get(&number, at(number as i64)), Some(number));
        }
    }
}
