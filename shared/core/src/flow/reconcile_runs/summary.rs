//! What a sweep did.

use crate::lifecycle::RunStatus;

/// What one sweep did, or a part of it. Every count is a metric or stands in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepSummary {
    /// Open runs found.
    pub open: u32,
    /// Starts repeated.
    pub starts_asked: u32,
    /// Of these, the ones after which the engine had the execution.
    pub started: u32,
    /// Runs that ended otherwise than by a refused start out of a queue.
    pub settled: u32,
    /// How each run ended that ended in this sweep.
    pub ended: Vec<RunStatus>,
    /// Runs whose stop was asked for because their time was up.
    pub timed_out: u32,
    /// Stops asked for again, or because of a report that nobody had counted.
    pub stops_asked: u32,
    /// Runs whose resume or answers the runner was given again.
    pub handed_over: u32,
    /// Runs whose workers were told what they were owed, or whose waits were looked at.
    pub woken: u32,
    /// Pages of running executions that the engine was asked for.
    pub listed: u32,
    /// Executions that the engine was asked about.
    pub described: u32,
    /// Due deliveries handed out.
    pub announced: u32,
    /// Concurrency slots that open runs hold.
    pub slots_held: u32,
    /// Runs that wait for a slot.
    pub queued: u32,
    /// Runs that were given one and started.
    pub dispatched: u32,
    /// Governed calls that cost all that was set aside for them, because nobody knows what they used.
    pub holds_lost: u32,
    /// Governed calls that were settled by their records.
    pub holds_settled: u32,
    /// Quotas that were given back a rest, or charged a cost.
    pub balanced: u32,
    /// Runs whose items were deleted.
    pub purged: u32,
    /// Runs whose time is over, and whose items wait until nothing is owed any more.
    pub put_off: u32,
    /// Whether the bounds cut the sweep short; the next one goes on.
    pub cut_short: bool,
    /// What went wrong, each with its run or shard. The sweep went on.
    pub faults: Vec<String>,
}

impl SweepSummary {
    /// Adds what another part of the sweep did.
    pub fn add(&mut self, part: Self) {
        let Self {
            open,
            starts_asked,
            started,
            settled,
            ended,
            timed_out,
            stops_asked,
            handed_over,
            woken,
            listed,
            described,
            announced,
            slots_held,
            queued,
            dispatched,
            holds_lost,
            holds_settled,
            balanced,
            purged,
            put_off,
            cut_short,
            faults,
        } = part;
        self.open += open;
        self.starts_asked += starts_asked;
        self.started += started;
        self.settled += settled;
        self.ended.extend(ended);
        self.timed_out += timed_out;
        self.stops_asked += stops_asked;
        self.handed_over += handed_over;
        self.woken += woken;
        self.listed += listed;
        self.described += described;
        self.announced += announced;
        self.slots_held += slots_held;
        self.queued += queued;
        self.dispatched += dispatched;
        self.holds_lost += holds_lost;
        self.holds_settled += holds_settled;
        self.balanced += balanced;
        self.purged += purged;
        self.put_off += put_off;
        self.cut_short |= cut_short;
        self.faults.extend(faults);
    }

    /// Notes what went wrong with `what`.
    pub fn fault(&mut self, what: impl std::fmt::Display, error: &dyn std::error::Error) {
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        self.faults.push(format!("{what}: {error}{source}"));
    }

    /// That of a part that was not begun any more.
    pub fn not_begun() -> Self {
        Self { cut_short: true, ..Self::default() }
    }

    /// That of a part in which nothing happened but this.
    pub fn failed(what: impl std::fmt::Display, error: &dyn std::error::Error) -> Self {
        let mut summary = Self::default();
        summary.fault(what, error);
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{StoreError, StoreErrorClass};

    fn of(by: u32, ended: Vec<RunStatus>, faults: Vec<String>) -> SweepSummary {
        SweepSummary {
            open: by,
            starts_asked: 2 * by,
            started: 3 * by,
            settled: 4 * by,
            ended,
            timed_out: 5 * by,
            stops_asked: 6 * by,
            handed_over: 7 * by,
            woken: 8 * by,
            listed: 9 * by,
            described: 10 * by,
            announced: 11 * by,
            slots_held: 12 * by,
            queued: 13 * by,
            dispatched: 14 * by,
            holds_lost: 15 * by,
            holds_settled: 16 * by,
            balanced: 17 * by,
            purged: 18 * by,
            put_off: 19 * by,
            cut_short: false,
            faults,
        }
    }

    #[test]
    fn what_the_parts_of_a_sweep_did_is_what_it_did() {
        use RunStatus::{Canceled, Failed, Succeeded};
        let mut sum = of(1, vec![Failed], vec!["a".to_owned()]);
        sum.add(of(2, vec![Canceled, Succeeded], vec!["b".to_owned()]));
        assert_eq!(sum, of(3, vec![Failed, Canceled, Succeeded], vec!["a".to_owned(), "b".to_owned()]));
        for (cut_short, of_part) in [(false, true), (true, false), (true, true)] {
            let mut sum = SweepSummary { cut_short, ..SweepSummary::default() };
            sum.add(SweepSummary { cut_short: of_part, ..SweepSummary::default() });
            assert!(sum.cut_short, "{cut_short} {of_part}");
        }
    }

    #[test]
    fn a_part_that_was_not_begun_or_failed_says_so() {
        assert_eq!(SweepSummary::not_begun(), SweepSummary { cut_short: true, ..SweepSummary::default() });
        let error = StoreError::new("list open runs", StoreErrorClass::Unavailable, "nobody answers");
        let failed = SweepSummary::failed(format_args!("shard {}", 7), &error);
        let [fault] = failed.faults.as_slice() else { panic!("{failed:?}") };
        assert!(fault.starts_with("shard 7: ") && fault.ends_with(": nobody answers"), "{fault}");
        assert_eq!(SweepSummary { faults: Vec::new(), ..failed }, SweepSummary::default());
    }
}
