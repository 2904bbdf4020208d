//! Who acts from outside: callers, and the invocations that events and schedules make.

use super::*;
use sluice_core::budget::MicroUsd;
use sluice_core::flow::create_run::start_input;
use sluice_core::refusal::Thing;
use sluice_core::run::{About, RunSpec};

impl World {
    pub(super) fn instance_clock(&mut self) -> SimClock {
        let skew = if self.dice.inject(F::ClockSkew, 6) { i64::from(self.dice.pick(1_201)) - 600 } else { 0 };
        self.clock.skewed_by(SignedDuration::from_secs(skew))
    }

    pub(super) fn spawn(
        &mut self,
        kind: TaskKind,
        about: Option<(&TenantId, RunId)>,
        what: String,
        future: impl Future<Output = Told> + 'static,
    ) {
        self.note(format_args!("begin {what}"));
        let until = self.clock.true_time() + INVOCATION;
        let about = about.map(|(tenant, run_id)| (tenant.clone(), run_id));
        let received = lock(&self.receiver.received).len();
        self.tasks.push(Task { what, kind, about, until, received, call: None, future: Box::pin(future) });
    }

    /// Whether an invocation of this kind is about the run.
    pub(super) fn is_about(&self, kind: TaskKind, run_id: RunId) -> bool {
        self.tasks.iter().any(|task| task.kind == kind && task.about.as_ref().is_some_and(|(_, id)| *id == run_id))
    }

    /// One of the processes. Now and then a new one has come in its place.
    pub(super) fn some_process(&mut self) -> MemoryStore {
        let index = self.rng.usize(0..self.processes.len());
        if self.dice.inject(F::ProcessReplaced, 8) {
            self.processes[index] = self.store.another_process();
        }
        self.processes[index].clone()
    }

    pub(super) fn some_caller(&mut self) -> Caller {
        self.callers[self.rng.usize(0..self.callers.len())].clone()
    }

    pub(super) fn caller_of(&self, tenant: &TenantId) -> Caller {
        fixture::caller(tenant.as_str())
    }

    fn new_run_id(&mut self, tenant: &TenantId) -> RunId {
        self.made += 1;
        let run_id = fixture::run_id(u128::from(self.rng.u64(..)) << 64 | self.made);
        self.known.push((tenant.clone(), run_id));
        run_id
    }

    pub(super) fn create(&mut self) {
        if self.is_full() {
            return;
        }
        let caller = self.some_caller();
        if self.dice.inject(F::TenantFloods, 24) {
            (0..FLOOD).for_each(|_| self.spawn_create(caller.clone(), None));
            return;
        }
        if self.dice.inject(F::OldSchema, 4) {
            return self.create_as_before(caller);
        }
        let key = self.rng.u32(0..4);
        let key = (key > 0).then(|| (format!("key-{key}"), format!("payload-{}", self.rng.u32(0..2))));
        let racers = if key.is_some() && self.rng.u32(0..4) == 0 { self.rng.u32(2..6) } else { 1 };
        for racer in 0..racers {
            let mut key = key.clone();
            if racer > 0 {
                let other = self.rng.bool();
                self.dice.count(if other { F::RacersOtherPayload } else { F::RacersSamePayload });
                if other && let Some((_, payload)) = &mut key {
                    *payload = format!("payload-{}", self.rng.u32(0..2));
                }
            }
            self.spawn_create(caller.clone(), key);
        }
    }

    /// As many runs as a play looks at.
    fn is_full(&self) -> bool {
        let mut runs = 0;
        self.store.each_run(|_| runs += 1);
        runs >= RUNS || self.made >= 3 * RUNS as u128
    }

    pub(super) fn spawn_create(&mut self, caller: Caller, key: Option<(String, String)>) {
        let run_id = self.new_run_id(&caller.tenant);
        let clock = self.instance_clock();
        let (store, engine, mutation) = (self.some_process(), self.engine.clone(), self.play.mutation);
        let is_course = self.play.only_workers || self.rng.u32(0..3) == 0;
        let command = match is_course {
            true => self.course_command(run_id, key.as_ref()),
            false => self.command(run_id, key.as_ref()),
        };
        if self.dice.inject(F::AliasMoved, 8) {
            self.move_alias(&caller);
        }
        self.ledger.begins(run_id);
        let asked = match &command.source {
            Source::Configuration { definition: DefinitionRef::Id(definition), .. } => {
                let url = command.callback.as_ref().map(|callback| callback.url.clone());
                Some(Asked { definition: *definition, url })
            }
            Source::Configuration { .. } | Source::Instance(_) => None,
        };
        let gone = self.ledger.all_gone(self.clock.true_time());
        let about = caller.tenant.clone();
        let what = format!("create {run_id} for {} with key {key:?}", caller.tenant);
        self.spawn(TaskKind::Create, Some((&about, run_id)), what, async move {
            let policy = fixture::policy();
            if mutation == Some(Mutation::StartBeforeWrite) {
                let input = serde_json::json!({"tenantId": caller.tenant}).to_string();
                let runner = fixture::runner_arn();
                let request = StartRequest { state_machine_arn: &runner, run_id, input: &input };
                let _started_too_early = engine.start_execution(&request).await;
            }
            let (at, claim) = (clock.now(), command.idempotency.clone());
            let mut answer =
                Box::pin(create_run(&store, &engine, &policy, &caller, command, fixture::fresh(run_id), at)).await;
            if mutation == Some(Mutation::GoneRunAnswered)
                && matches!(answer, Err(Refusal::RunExpired { .. }))
                && let Some(claim) = claim
                && let Ok(Some(first)) = store.first_with_key(&caller.tenant, &claim, at).await
            {
                answer = Ok(Accepted { run: first.run, replayed: true, start_delayed: false, ended: None });
            }
            Told::Created(Box::new(Created {
                tenant: caller.tenant,
                run_id,
                is_replay: false,
                key,
                gone,
                answer,
                at,
                asked,
            }))
        });
    }

    /// A run as the deployment before this one records it: without a request, without slots, without what is new in a head.
    fn create_as_before(&mut self, caller: Caller) {
        let run_id = self.new_run_id(&caller.tenant);
        let command = Command { callback: callback(None), ..self.command(run_id, None) };
        self.ledger.contexts.remove(&run_id);
        let (tenant, policy, at) = (caller.tenant.clone(), fixture::policy(), self.clock.true_time());
        let elsewhere = MemoryEngine::default();
        let planned = create_run(&self.before, &elsewhere, &policy, &caller, command, fixture::fresh(run_id), at);
        let planned = sluice_testkit::block_on(planned).is_ok();
        let (run, snapshot) = (
            self.before.run(&tenant, run_id).filter(|_| planned).map(as_before),
            sluice_testkit::block_on(self.before.load_snapshot(&tenant, run_id)),
        );
        let (Some(run), Ok(Some(snapshot))) = (run, snapshot) else { return };
        let (store, engine) = (self.store.clone(), self.engine.clone());
        self.spawn(TaskKind::Other, Some((&tenant, run_id)), format!("create {run_id} as before"), async move {
            let (Ok(text), Ok(input)) =
                (snapshot.to_text(), start_input(&snapshot, &store.record_keys(&run.tenant_id, run_id)))
            else {
                return Told::Nothing;
            };
            sluice_testkit::turn().await;
            store.seed_run(run.clone(), Some(text));
            sluice_testkit::turn().await;
            let request = StartRequest { state_machine_arn: &run.spec.state_machine_arn, run_id, input: &input };
            let _started_later = engine.start_execution(&request).await;
            Told::Nothing
        });
    }

    pub(super) fn move_alias(&mut self, caller: &Caller) {
        let (store, caller, now) = (self.some_process(), caller.clone(), self.clock.now());
        let number = self.rng.u32(1..3);
        self.spawn(TaskKind::Other, None, format!("activate version {number} for {}", caller.tenant), async move {
            let definition = DefinitionRef::Id(fixture::definition_id(7));
            let _whether_it_worked = activate_version(&store, &caller, &definition, number, now).await;
            Told::Nothing
        });
    }

    pub(super) fn cancel(&mut self) {
        let Some((tenant, run_id)) = self.some_run() else {
            return;
        };
        let foreign = self.rng.u32(0..5) == 0;
        let caller = self.callers.iter().find(|caller| (caller.tenant != tenant) == foreign).cloned();
        let Some(caller) = caller else { return };
        if foreign {
            self.dice.count(F::ForeignGuess);
        }
        self.spawn_cancels(&caller, &tenant, run_id);
    }

    pub(super) fn spawn_cancels(&mut self, caller: &Caller, tenant: &TenantId, run_id: RunId) {
        let times = if self.rng.u32(0..3) == 0 { 3 } else { 1 };
        if times > 1 {
            self.dice.count(F::CancelRepeated);
        }
        if self.is_about(TaskKind::Usage, run_id) {
            self.dice.count(F::EndedWithUsage);
        }
        match self.store.run(tenant, run_id).map(|run| (run.status(), self.engine.execution(&run.execution_arn()))) {
            Some((RunStatus::Queued, _)) => self.dice.count(F::CanceledInQueue),
            Some((RunStatus::Pending, None)) => self.dice.count(F::CancelBeforeStart),
            Some((status, Some(execution))) if !status.is_terminal() => {
                self.dice.count(if execution.end.is_some() { F::FinishBeforeCancel } else { F::CancelBeforeFinish });
            }
            _ => {}
        }
        self.count_races(tenant, run_id, crew::Race::Stop);
        for _ in 0..times {
            let (store, engine, clock, caller) =
                (self.store.clone(), self.engine.clone(), self.instance_clock(), caller.clone());
            let mutation = self.play.mutation;
            let was_gone = self.ledger.is_gone(run_id, self.clock.true_time());
            let what = format!("cancel {run_id} by {}", caller.tenant);
            self.spawn(TaskKind::Cancel, Some((tenant, run_id)), what, async move {
                let answer = if mutation == Some(Mutation::CancelSilentlyIgnored) {
                    match store.load_run(&caller.tenant, run_id).await {
                        Ok(Some(run)) => Ok(Canceled::Already(run)),
                        Ok(None) => Err(Refusal::not_found(Thing::WorkflowRun, run_id)),
                        Err(error) => Err(Refusal::Store(error)),
                    }
                } else {
                    Box::pin(cancel_run(&store, &engine, &caller, run_id, clock.now())).await
                };
                Told::Canceled { tenant: caller.tenant, run_id, was_gone, answer: Box::new(answer) }
            });
        }
    }

    pub(super) fn sweep(&mut self) {
        if self.tasks.iter().any(|task| task.kind == TaskKind::Sweep) {
            self.dice.count(F::TwoSweeps);
        }
        let clock = self.instance_clock();
        let (mutation, asked) = (self.play.mutation, Arc::default());
        let engine = SweepEngine { engine: self.engine.clone(), mutation, asked: Arc::clone(&asked) };
        let before = self.ledger.counts(&self.store);
        let woken = self.store.woken(self.clock.true_time());
        if !woken.is_empty() && self.tasks.iter().any(|task| task.kind == TaskKind::Sweep) {
            self.dice.count(F::TwoWakes);
        }
        let store = self.store.clone();
        let bounds = Bounds {
            describes: self.rng.u32(2..20),
            starts: self.rng.u32(2..20),
            deliveries_per_shard: self.rng.u32(2..6),
            deliveries_per_receiver: self.rng.u32(1..4),
            purges_per_shard: 2,
            at_once: self.rng.usize(1..4),
            ..Bounds::of_a_minute(clock.now() + SignedDuration::from_secs(50))
        };
        self.spawn(TaskKind::Sweep, None, "sweep".to_owned(), async move {
            let mut summary = reconcile_runs(&store, &engine, &clock, bounds).await;
            if mutation == Some(Mutation::EndCountedTwice) {
                summary.ended.extend(summary.ended.clone());
            }
            let asked = *lock(&asked);
            Told::Swept(Box::new(Swept { summary, asked, before, woken }))
        });
    }

    pub(super) fn replay(&mut self) {
        if self.is_full() {
            return;
        }
        let ended = self.runs_that(|run| run.status().is_terminal());
        let some = self.some_run();
        let Some((tenant, original)) = self.one_of(&ended).or(some) else {
            return;
        };
        let caller = self.caller_of(&tenant);
        let run_id = self.new_run_id(&tenant);
        let (store, engine, clock) = (self.some_process(), self.engine.clone(), self.instance_clock());
        self.ledger.begins(run_id);
        // It runs where the first one ran.
        if self.with_workers.contains(&original) {
            self.with_workers.insert(run_id);
        }
        let from_node: Option<NodeId> = if self.rng.bool() { "readability".parse().ok() } else { None };
        let version = match self.rng.u32(0..5) {
            0 => Some(VersionRule::Number(self.rng.u32(1..3))),
            1 => Some(VersionRule::Latest),
            2 => Some(VersionRule::Active),
            _ => None,
        };
        let key = (self.rng.bool())
            .then(|| (format!("again-{}", self.rng.u32(0..3)), format!("{original} {from_node:?} {version:?}")));
        let idempotency = key.as_ref().and_then(|(key, payload)| claim(Operation::Replay, key, payload));
        let gone = self.ledger.all_gone(self.clock.true_time());
        let what = format!("replay {original} as {run_id} with key {key:?}");
        if self.rng.u32(0..3) == 0 {
            self.dice.count(F::CancelRacesReplay);
            let chosen = if self.rng.bool() { run_id } else { original };
            self.spawn_cancels(&caller, &tenant, chosen);
        }
        self.spawn(TaskKind::Create, Some((&tenant, run_id)), what, async move {
            let (command, at) =
                (replay_run::Command { from_node, version, name: None, user_id: None, idempotency }, clock.now());
            let policy = fixture::policy();
            let answer = replay_run::replay_run(
                &store,
                &engine,
                &policy,
                &caller,
                original,
                command,
                fixture::fresh(run_id),
                at,
            );
            let answer = Box::pin(answer).await;
            Told::Created(Box::new(Created {
                tenant: caller.tenant,
                run_id,
                is_replay: true,
                key,
                gone,
                answer,
                at,
                asked: None,
            }))
        });
    }

    fn command(&mut self, run_id: RunId, key: Option<&(String, String)>) -> Command {
        let [first, second, _] = definitions();
        let definition = if self.rng.bool() { first } else { second };
        self.with_bounds(fixture::command(DefinitionRef::Id(definition)), run_id, key)
    }

    /// For a run of the second generation, which starts anywhere.
    fn course_command(&mut self, run_id: RunId, key: Option<&(String, String)>) -> Command {
        let [_, _, third] = definitions();
        self.with_workers.insert(run_id);
        let mut source = fixture::active(DefinitionRef::Id(third));
        if let Source::Configuration { compute_node, .. } = &mut source {
            *compute_node = Some(compute_node_of(third));
        }
        let mut command = Command::new(source);
        if self.rng.u32(0..4) == 0 {
            // Either version may be the active one.
            let mut before = self.courses[0].before("readability");
            before.retain(|id| self.courses[1].before("readability").contains(id) && self.rng.bool());
            let given = |id: NodeId| (id.to_string(), serde_json::json!({"n": 3, "list": [1, 2]}));
            let results: serde_json::Map<_, _> = before.into_iter().map(given).collect();
            let start = serde_json::json!({"fromNodeId": "readability", "results": results});
            command.start = serde_json::from_value(start).ok();
        }
        self.with_bounds(command, run_id, key)
    }

    fn with_bounds(&mut self, mut command: Command, run_id: RunId, key: Option<&(String, String)>) -> Command {
        if self.rng.u32(0..10) < 9 {
            let context = self.dice.inject(F::HostileContext, 3).then(|| CONTEXTS[self.rng.usize(0..CONTEXTS.len())]);
            if let Some(context) = context {
                self.ledger.contexts.insert(run_id, context.to_owned());
            }
            command.callback = callback(context);
            if let Some(callback) = &mut command.callback {
                RECEIVERS[self.rng.usize(0..RECEIVERS.len())].clone_into(&mut callback.url);
            }
        }
        command.execution_budget = Ok((self.rng.u32(0..3) == 0).then_some(CAP));
        command.max_run_duration_seconds = (self.rng.u32(0..10) == 0).then(|| self.rng.u64(30..3_600));
        command.retention = (self.rng.u32(0..3) == 0).then(|| seed::rule(&mut self.rng));
        command.idempotency = key.and_then(|(key, payload)| claim(Operation::Create, key, payload));
        command
    }
}

/// Runs that a tenant asks for at once.
const FLOOD: u32 = 6;
/// The cap of runs that have one.
pub(super) const CAP: MicroUsd = MicroUsd(10);
/// What callers want to hear again.
const CONTEXTS: [&str; 3] = [
    r#"{"n":12345678901234567890123,"x":1.10,"k":"\u00e9"}"#,
    r#""a\r\nwebhook-id: b\r\n\r\n{""#,
    r#"[ 1.0e+2 ,"\ud834\udd1e", {"status":"SUCCEEDED"} ]"#,
];

fn callback(context: Option<&str>) -> Option<Callback> {
    let context = context.and_then(|context| RawValue::from_string(context.to_owned()).ok());
    Some(Callback { url: fixture::CALLBACK_URL.to_owned(), context })
}

fn claim(operation: Operation, key: &str, payload: &str) -> Option<IdempotencyClaim> {
    Some(IdempotencyClaim { operation, key: key.parse().ok()?, payload_hash: payload.to_owned() })
}

/// A run without what this schema added to its head.
fn as_before(run: Run) -> Run {
    let about = About { evaluation_of: None, replay_depth: 0, ..run.about };
    let spec = RunSpec {
        compute_node_budget_micro_usd: None,
        definition_owner: None,
        exclude_paused_time: false,
        retention: None,
        ..run.spec
    };
    Run { about, spec, ..run }
}
