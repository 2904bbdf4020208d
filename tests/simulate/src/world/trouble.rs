//! What the store and the engine suffer.

use super::*;

fn is_away(outage: &Mutex<BTreeMap<&'static str, Timestamp>>, who: &str, clock: &SimClock) -> bool {
    lock(outage).get(who).is_some_and(|until| clock.true_time() < *until)
}

pub(super) fn arm_store(
    store: &MemoryStore,
    dice: &Dice,
    clock: &SimClock,
    outage: &Arc<Mutex<BTreeMap<&'static str, Timestamp>>>,
) {
    let (dice, clock, outage) = (dice.clone(), clock.clone(), Arc::clone(outage));
    store.faults.set(move |operation| {
        if is_away(&outage, "store", &clock) {
            return Some(Fault::Before(StoreErrorClass::Unavailable));
        }
        if operation == "record the run" && dice.inject(F::RecordReplyLost, 8) {
            return Some(Fault::After(StoreErrorClass::Unavailable));
        }
        if operation == "keep the open index up to date" {
            return dice.inject(F::StaleIndex, 10).then_some(Fault::Before(StoreErrorClass::Unavailable));
        }
        if dice.inject(F::StoreTrouble, 25) {
            let class = [StoreErrorClass::Conflict, StoreErrorClass::Throttled, StoreErrorClass::Unavailable]
                [dice.pick(3) as usize];
            let after = class == StoreErrorClass::Unavailable && dice.pick(2) == 0;
            return Some(if after { Fault::After(class) } else { Fault::Before(class) });
        }
        None
    });
}

pub(super) fn arm_engine(
    engine: &MemoryEngine,
    dice: &Dice,
    clock: &SimClock,
    outage: &Arc<Mutex<BTreeMap<&'static str, Timestamp>>>,
) {
    let (dice, clock, outage) = (dice.clone(), clock.clone(), Arc::clone(outage));
    let mut throttled_until = Timestamp::UNIX_EPOCH;
    engine.faults.set(move |operation| {
        let failed = Some(Fault::Before(StoreErrorClass::Throttled));
        if is_away(&outage, "engine", &clock) {
            return failed;
        }
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
                if dice.inject(F::ExecutionLimit, 16) {
                    return failed;
                }
                dice.inject(F::StartReplyLost, 8).then_some(Fault::After(StoreErrorClass::Unavailable))
            }
            "stop the execution" => dice.inject(F::StopTrouble, 3).then(|| {
                let class = StoreErrorClass::Unavailable;
                if dice.pick(2) == 0 { Fault::After(class) } else { Fault::Before(class) }
            }),
            "describe the execution" => {
                dice.inject(F::DescribeThrottled, 5).then_some(Fault::Before(StoreErrorClass::Throttled))
            }
            "answer the task" => dice.inject(F::AnswerTrouble, 3).then(|| {
                let class = StoreErrorClass::Unavailable;
                if dice.pick(2) == 0 { Fault::After(class) } else { Fault::Before(class) }
            }),
            "announce due deliveries" | "publish the status" => {
                dice.roll(12).then_some(Fault::Before(StoreErrorClass::Unavailable))
            }
            _ => None,
        }
    });
}
