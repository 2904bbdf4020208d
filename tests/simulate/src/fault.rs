//! The faults of the matrix that happen around the flows, and the dice that decide when.

use crate::Play;
use sluice_testkit::fault::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

macro_rules! faults {
    ($($name:ident $code:literal $text:literal,)*) => {
        /// A fault of the matrix that the simulation injects.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FaultKind { $($name,)* }

        impl FaultKind {
            pub const ALL: &'static [FaultKind] = &[$(FaultKind::$name,)*];

            /// Its number in the fault matrix.
            pub const fn code(self) -> &'static str {
                match self { $(FaultKind::$name => $code,)* }
            }

            pub const fn text(self) -> &'static str {
                match self { $(FaultKind::$name => $text,)* }
            }
        }
    };
}

faults! {
    CrashBeforeRecord "A01" "crash before the first write",
    RecordReplyLost "A02" "record written, answer lost, caller repeats",
    CrashBeforeStart "A03" "crash after the record, before the start",
    StartReplyLost "A04" "started, answer lost",
    CrashAfterStart "A05" "crash after the start, before the answer; caller repeats",
    StartThrottled "A06" "start throttled for a second, a minute, half an hour",
    ExecutionLimit "A07" "execution limit exceeded",
    StateMachineGone "A08" "state machine deleted between resolve and start",
    ForeignStart "A09" "an execution of the run's name with other input",
    ClosedName "A10" "a start repeated after the execution has closed",
    KilledAtAwait "A11" "Lambda killed between any two awaits",
    RacersSamePayload "A12" "racers with one key and one payload",
    RacersOtherPayload "A13" "racers with one key and two payloads",
    KeyAfterItsTime "A14" "key used again after its time, its record still there",
    StoreTrouble "A15" "throttle, conflict or fault of the store",
    StaleIndex "A16" "index read that lags behind: open runs, queues",
    ClockSkew "A17" "clocks ten minutes apart",
    AliasMoved "A18" "active version changed while a run is made",
    EventLost "B01" "terminal event never comes",
    EventRepeated "B02" "terminal event comes 2 to 10 times",
    EventReordered "B03" "events out of order",
    EventDelayed "B04" "event delayed for up to a day",
    EventBeforeRecord "B05" "event of a run whose record is not there yet",
    ForeignEvent "B06" "event of an execution that is not ours",
    OutputExcluded "B08" "output not in the event",
    CrashBeforeSend "B09" "crash after the terminal write, before the webhook",
    CrashAfterSend "B10" "crash after the receiver's 2xx, before the record of it",
    CallbackGivenUp "B11" "callback throttled until the bus gives its event up",
    EngineRedrive "B12" "redrive in the engine",
    EventAfterPurge "B13" "event of a run whose time is over",
    ReceiverError "C01" "receiver answers 5xx",
    ReceiverHangs "C02" "receiver hangs, though it did the work",
    ReceiverResets "C03" "connection reset",
    ReceiverRetryAfter "C04" "429 or 503 with Retry-After",
    ReceiverForbids "C05" "403",
    ReceiverGone "C06" "410",
    ReceiverRedirects "C07" "redirect",
    CredentialsExpired "C09" "credentials expire between attempts",
    SignatureSkewed "C10" "sender's clock is off by more than a signature allows",
    ReceiverVanished "C11" "no such host",
    Exhausted "C12" "every attempt fails; dead letter; sent again",
    TwoSenders "C13" "two senders of one delivery",
    HostileContext "C14" "context with line breaks, escapes and long numbers",
    ReceiverSlow "C15" "receiver that takes its time, and more than it is given, beside others that do not",
    CancelBeforeStart "D01" "cancel before the start",
    CancelBeforeFinish "D02" "cancel commits before the finish",
    FinishBeforeCancel "D03" "finish commits before the cancel",
    StopTrouble "D04" "stop throttled, failed, or its answer lost",
    CancelRepeated "D05" "several cancels at once",
    CrashAfterStop "D06" "crash after the intent to stop, and the event lost",
    CancelRacesReplay "D07" "cancel races a replay",
    LastCent "E01" "concurrent reports at the last cent of a cap",
    CrashBeforeUsage "E02" "crash after the call, before its report is recorded",
    UsageRepeated "E03" "usage reported twice",
    LedgerTrouble "E04" "ledger throttled, away, or its answer lost",
    EndedWithUsage "E07" "run ends while its usage is being reported",
    ForeignDestination "F05" "callback to an origin that is not on the tenant's list",
    ForeignGuess "F06" "another tenant's run id",
    SweepCrash "G01" "reconciler dies in mid-sweep",
    TwoSweeps "G02" "two reconcilers at once",
    DescribeThrottled "G03" "DescribeExecution throttled",
    HistoryGone "G04" "execution history gone while the record is open",
    PartialOutage "G05" "engine or store away for half an hour",
    OldSchema "G06" "record of the schema before this one, beside new ones",
    FunctionCrowded "G07" "invocations throttled: events wait, and come all at once",
    KilledInControl "S01" "killed while it pauses, resumes or answers",
    AnswerTrouble "S02" "answer to the runner throttled, failed, or its own answer lost",
    FreedLost "S03" "\"Slot Freed\" lost, delayed or repeated",
    LimitMoved "S04" "limit changed while runs wait and take slots",
    CanceledInQueue "S05" "run cancelled while it waits in its queue",
    DispatchKilled "S06" "killed while it dispatches a queue",
    LateUsage "S07" "usage reported after the end",
    WrongToken "S08" "report token expired, or of another run or tenant",
    PurgeCrash "S09" "killed halfway through a purge",
    RetentionRaces "S10" "retention changed or run deleted while others use it",
    ListChanged "S11" "tenant's list of destinations changed under way",
    CatalogChanged "S12" "version, node or processor withdrawn or given back under way, by any of two processes",
    ProcessReplaced "S13" "a process that remembers nothing in the place of one that does",
    ClaimReplyLost "S14" "run claimed, answer lost; claimed again, whatever became of it",
    TenantFloods "S15" "one tenant asks for many runs at once",
    DiedBeforeWrite "T01" "advance-run dies before its write",
    DiedBeforeTelling "T02" "advance-run dies after its write, before it told anybody else",
    DiedBeforeAsker "T03" "advance-run dies after it told others, before the asker",
    DiedAfterAsker "T04" "advance-run dies after it told the asker",
    DiedConcluding "T05" "advance-run dies while it says how a run ended",
    WordTrouble "T06" "a worker's word throttled, failed, or its answer lost",
    TwoChanges "T07" "two changes of one board at once",
    AskedTwice "T08" "asked again while the first invocation still runs",
    AttemptTimedOut "T09" "an attempt takes more time than it has",
    AttemptRepeated "T10" "an attempt fails and is repeated",
    PausedAtLast "T11" "pause while only one node is at work",
    StoppedInLoop "T12" "stop in mid-loop",
    AnswerAtExpiry "T13" "answer when the wait for it runs out",
    TwoWakes "T14" "two reconcilers look after one board",
    OldWake "T15" "board changed since its wake was read",
    Undecided "T16" "a question is given up, and the run with it",
}

/// Faults of the matrix that are not played, each with the reason: what happens outside the flows is tested where it
/// happens.
pub const NOT_SIMULATED: &[(&str, &str, &str)] = &[
    ("B07", "poison event", "events are read in shared/edge, before any flow"),
    ("C08", "endless or dripping answer", "answers are read, and bounded, in shared/aws"),
    ("E05", "unknown model or price", "costs come with the reports: nothing is priced here"),
    ("E06", "stream aborted, usage unknown", "nothing is reserved: what is never reported is never counted"),
    ("F01", "body above the limit", "bounded in shared/edge and in the plan, with no I/O around it"),
    ("F02", "deep JSON, duplicate keys", "parsed in shared/edge, with no I/O around it"),
    ("F03", "hostile JSON Schema", "compiled in the core, with no I/O around it"),
    ("F04", "addresses that lead elsewhere", "a pure check of the core; the guard at the resolver is in shared/aws"),
    ("F07", "forged page token", "bound to its filter in shared/edge"),
    ("F08", "injection into logs and metrics", "written in shared/edge"),
];

/// Decides about faults from the play's seed, and counts them.
#[derive(Clone, Debug)]
pub struct Dice(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rng: fastrand::Rng,
    armed: bool,
    next: u32,
    left_out: BTreeSet<u32>,
    injected: BTreeMap<FaultKind, u64>,
}

impl Dice {
    pub fn new(play: &Play) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: fastrand::Rng::with_seed(play.seed ^ 0x5eed_fa17),
            armed: true,
            next: 0,
            left_out: play.left_out.clone(),
            injected: BTreeMap::new(),
        })))
    }

    /// Whether a fault that happens once in `one_in` times happens now.
    pub fn roll(&self, one_in: u32) -> bool {
        let mut state = lock(&self.0);
        if !state.armed || state.rng.u32(0..one_in) != 0 {
            return false;
        }
        let number = state.next;
        state.next += 1;
        !state.left_out.contains(&number)
    }

    /// [`Self::roll`], counted as `kind`.
    pub fn inject(&self, kind: FaultKind, one_in: u32) -> bool {
        let happens = self.roll(one_in);
        if happens {
            self.count(kind);
        }
        happens
    }

    pub fn count(&self, kind: FaultKind) {
        *lock(&self.0).injected.entry(kind).or_default() += 1;
    }

    pub fn pick(&self, choices: u32) -> u32 {
        lock(&self.0).rng.u32(0..choices)
    }

    /// No more faults.
    pub fn disarm(&self) {
        lock(&self.0).armed = false;
    }

    pub fn is_armed(&self) -> bool {
        lock(&self.0).armed
    }

    pub fn injected(&self) -> BTreeMap<FaultKind, u64> {
        lock(&self.0).injected.clone()
    }

    pub fn rolled(&self) -> u32 {
        lock(&self.0).next
    }
}
