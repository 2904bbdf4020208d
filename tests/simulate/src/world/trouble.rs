//! What the store and the engine suffer.

use super::*;

/// What goes on around the ports.
#[derive(Debug, Default)]
pub(super) struct Weather {
    /// Until when the store and the engine are away.
    pub away: BTreeMap<&'static str, Timestamp>,
    /// When a read of a queue lagged behind last.
    pub lagged_at: Option<Timestamp>,
}

fn is_away(weather: &Mutex<Weather>, who: &str, clock: &SimClock) -> bool {
    lock(weather).away.get(who).is_some_and(|until| clock.true_time() < *until)
}

pub(super) fn arm_store(store: &MemoryStore, dice: &Dice, clock: &SimClock, weather: &Arc<Mutex<Weather>>) {
    let (dice, clock, weather) = (dice.clone(), clock.clone(), Arc::clone(weather));
    store.faults.set(move |operation| {
        let trouble = || {
            let class = [StoreErrorClass::Conflict, StoreErrorClass::Throttled, StoreErrorClass::Unavailable]
                [dice.pick(3) as usize];
            let after = class == StoreErrorClass::Unavailable && dice.pick(2) == 0;
            Some(if after { Fault::After(class) } else { Fault::Before(class) })
        };
        match operation {
            // These two do not fail: they let an index lag behind.
            "keep the open index up to date" => {
                dice.inject(F::StaleIndex, 10).then_some(Fault::Before(StoreErrorClass::Unavailable))
            }
            "keep the queue index up to date" => dice.inject(F::StaleIndex, 10).then(|| {
                lock(&weather).lagged_at = Some(clock.true_time());
                Fault::Before(StoreErrorClass::Unavailable)
            }),
            _ if is_away(&weather, "store", &clock) => Some(Fault::Before(StoreErrorClass::Unavailable)),
            "record the run" if dice.inject(F::RecordReplyLost, 8) => Some(Fault::After(StoreErrorClass::Unavailable)),
            // Somebody else writes the ledger, here also while nobody does: both ways of a report are to be gone.
            "report at once" if dice.pick(2) == 0 => Some(Fault::Before(StoreErrorClass::Conflict)),
            "report at once"
            | "list the run's calls"
            | "look up the calls"
            | "begin a report"
            | "record the calls"
            | "count a report" => {
                if dice.inject(F::LedgerTrouble, 8) {
                    trouble()
                } else {
                    None
                }
            }
            _ if dice.inject(F::StoreTrouble, 25) => trouble(),
            _ => None,
        }
    });
}

pub(super) fn arm_engine(engine: &MemoryEngine, dice: &Dice, clock: &SimClock, weather: &Arc<Mutex<Weather>>) {
    let (dice, clock, weather) = (dice.clone(), clock.clone(), Arc::clone(weather));
    let mut throttled_until = Timestamp::UNIX_EPOCH;
    engine.faults.set(move |operation| {
        let failed = Some(Fault::Before(StoreErrorClass::Throttled));
        if is_away(&weather, "engine", &clock) {
            return failed;
        }
        let before_or_after = || {
            let class = StoreErrorClass::Unavailable;
            if dice.pick(2) == 0 { Fault::After(class) } else { Fault::Before(class) }
        };
        match operation {
            "start the execution" => {
                if dice.is_armed() && clock.true_time() < throttled_until {
                    dice.count(F::StartThrottled);
                    return failed;
                }
                if dice.inject(F::StartThrottled, 10) {
                    throttled_until =
                        clock.true_time() + SignedDuration::from_secs([1, 60, 1_800][dice.pick(3) as usize]);
                    return failed;
                }
                if dice.inject(F::ExecutionLimit, 12) {
                    return failed;
                }
                dice.inject(F::StartReplyLost, 8).then_some(Fault::After(StoreErrorClass::Unavailable))
            }
            "stop the execution" => dice.inject(F::StopTrouble, 3).then(before_or_after),
            "describe the execution" => {
                dice.inject(F::DescribeThrottled, 2).then_some(Fault::Before(StoreErrorClass::Throttled))
            }
            "answer the task" => dice.inject(F::AnswerTrouble, 3).then(before_or_after),
            "announce due deliveries" | "announce free slots" | "publish the status" => {
                dice.roll(12).then_some(Fault::Before(StoreErrorClass::Unavailable))
            }
            _ => None,
        }
    });
}
