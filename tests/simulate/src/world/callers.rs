//! Who acts from outside: callers, and the invocations that events and schedules make.

use super::*;

impl World {
    pub(super) fn instance_clock(&mut self) -> SimClock {
        let skew = if self.dice.inject(F::ClockSkew, 6) { i64::from(self.dice.pick(1_201)) - 600 } else { 0 };
        self.clock.skewed_by(SignedDuration::from_secs(skew))
    }

    pub(super) fn spawn(&mut self, kind: TaskKind, what: String, future: impl Future<Output = Told> + 'static) {
        self.note(format_args!("begin {what}"));
        let until = self.clock.true_time() + INVOCATION;
        self.tasks.push(Task { what, kind, polls: 0, until, future: Box::pin(future) });
    }

    pub(super) fn create(&mut self) {
        if self.store.runs().len() >= RUNS {
            return;
        }
        let caller = self.callers[self.rng.usize(0..self.callers.len())].clone();
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

    pub(super) fn spawn_create(&mut self, caller: Caller, key: Option<(String, String)>) {
        self.made += 1;
        let run_id = fixture::run_id(u128::from(self.rng.u64(..)) << 64 | self.made);
        let clock = self.instance_clock();
        let (store, engine, mutation) = (self.store.clone(), self.engine.clone(), self.play.mutation);
        let command = command(key.as_ref(), self.rng.u32(0..10) < 7);
        self.known.push((caller.tenant.clone(), run_id));
        if self.dice.inject(F::AliasMoved, 10) {
            self.move_alias(&caller);
        }
        let what = format!("create {run_id} for {} with key {key:?}", caller.tenant);
        self.spawn(TaskKind::Create, what, async move {
            let policy = fixture::policy();
            if mutation == Some(Mutation::StartBeforeWrite) {
                let input = serde_json::json!({"tenantId": caller.tenant}).to_string();
                let request = StartRequest { state_machine_arn: fixture::RUNNER_ARN, run_id, input: &input };
                let _started_too_early = engine.start_execution(&request).await;
            }
            let at = clock.now();
            let answer = create_run(&store, &engine, &policy, &caller, command, run_id, at).await;
            Told::Created { tenant: caller.tenant, key, answer, at }
        });
    }

    pub(super) fn move_alias(&mut self, caller: &Caller) {
        let (store, caller, now) = (self.store.clone(), caller.clone(), self.clock.now());
        let number = self.rng.u32(1..3);
        self.spawn(TaskKind::Other, format!("activate version {number} for {}", caller.tenant), async move {
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
        let times = if self.rng.u32(0..3) == 0 { 3 } else { 1 };
        if times > 1 {
            self.dice.count(F::CancelRepeated);
        }
        match self.store.run(&tenant, run_id).map(|run| (run.status, self.engine.execution(&run.execution_arn()))) {
            Some((RunStatus::Pending, None)) => self.dice.count(F::CancelBeforeStart),
            Some((status, Some(execution))) if !status.is_terminal() => {
                self.dice.count(if execution.end.is_some() { F::FinishBeforeCancel } else { F::CancelBeforeFinish });
            }
            _ => {}
        }
        for _ in 0..times {
            let (store, engine, clock, caller) =
                (self.store.clone(), self.engine.clone(), self.instance_clock(), caller.clone());
            let mutation = self.play.mutation;
            self.spawn(TaskKind::Cancel, format!("cancel {run_id} by {}", caller.tenant), async move {
                let answer = if mutation == Some(Mutation::CancelSilentlyIgnored) {
                    match store.load_run(&caller.tenant, run_id).await {
                        Ok(Some(run)) => Ok(Canceled::Already(run)),
                        Ok(None) => Err(Refusal::NotFound { what: "workflow run", id: run_id.to_string() }),
                        Err(error) => Err(Refusal::Store(error)),
                    }
                } else {
                    cancel_run(&store, &engine, &caller, run_id, clock.now()).await
                };
                Told::Canceled { tenant: caller.tenant, run_id, answer }
            });
        }
    }

    pub(super) fn sweep(&mut self) {
        if self.tasks.iter().any(|task| task.kind == TaskKind::Sweep) {
            self.dice.count(F::TwoSweeps);
        }
        let clock = self.instance_clock();
        let engine = SweepEngine { engine: self.engine.clone(), mutation: self.play.mutation };
        let store = self.store.clone();
        self.spawn(TaskKind::Sweep, "sweep".to_owned(), async move {
            let until = clock.now() + SignedDuration::from_secs(50);
            let bounds = Bounds { describes: 100, deliveries_per_shard: 50, until };
            reconcile_runs(&store, &engine, &clock, bounds).await;
            Told::Nothing
        });
    }

    pub(super) fn callback(&mut self, signal: Signal) {
        let clock = self.instance_clock();
        let (store, engine, receiver, mutation) =
            (self.store.clone(), self.engine.clone(), self.receiver.clone(), self.play.mutation);
        self.spawn(TaskKind::Callback, format!("callback {signal:?}"), async move {
            match handle(&store, &engine, &receiver, &clock, mutation, &signal).await {
                true => Told::Nothing,
                false => Told::Failed(signal),
            }
        });
    }

    /// Pause, resume, answer, send again: what callers do to a run under way.
    pub(super) fn control(&mut self) {
        // Mostly what fits the run; sometimes anything to any run.
        let runs = self.store.runs();
        let of = |fits: fn(&Run) -> bool| {
            runs.iter().filter(|run| fits(run)).map(|run| (run.tenant_id.clone(), run.run_id)).collect::<Vec<_>>()
        };
        let paused = of(|run| run.status == RunStatus::Paused);
        let waiting = of(|run| run.status == RunStatus::WaitingForInput);
        let running = of(|run| run.status == RunStatus::Running);
        let choice = self.rng.u32(0..6);
        let fitting = match choice {
            0..=1 => self.one_of(&running),
            2 => self.one_of(&paused),
            3..=4 => self.one_of(&waiting),
            _ => None,
        };
        let any = self.some_run();
        let Some((tenant, run_id)) = fitting.or(any) else {
            return;
        };
        let Some(caller) = self.callers.iter().find(|caller| caller.tenant == tenant).cloned() else {
            return;
        };
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        match choice {
            0..=1 => self.spawn(TaskKind::Control, format!("pause {run_id}"), async move {
                let answer = pause_run(&store, &caller, run_id, clock.now()).await.map(drop);
                Told::Controlled { run_id, gave: None, answer }
            }),
            2 => self.spawn_resume(caller, run_id),
            3..=4 => self.spawn_answer(caller, run_id),
            _ => self.spawn(TaskKind::Control, format!("send {run_id} again"), async move {
                let answer = redeliver(&store, &engine, &caller, run_id, 1, clock.now()).await.map(drop);
                Told::Controlled { run_id, gave: None, answer }
            }),
        }
    }

    pub(super) fn spawn_resume(&mut self, caller: Caller, run_id: RunId) {
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        self.spawn(TaskKind::Control, format!("resume {run_id}"), async move {
            let answer = resume_run(&store, &engine, &caller, run_id, clock.now()).await.map(drop);
            Told::Controlled { run_id, gave: None, answer }
        });
    }

    pub(super) fn spawn_answer(&mut self, caller: Caller, run_id: RunId) {
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        self.tokens += 1;
        let value = format!("{{\"answer\":{}}}", self.tokens);
        let (Ok(node), Ok(data)) = (WAITING_NODE.parse::<NodeId>(), RawValue::from_string(value.clone())) else {
            return;
        };
        self.ledger.try_answer(run_id, &value);
        self.spawn(TaskKind::Control, format!("answer {run_id} with {value}"), async move {
            let answer = answer_node(&store, &engine, &caller, run_id, &node, &data, clock.now()).await.map(drop);
            Told::Controlled { run_id, gave: Some(value), answer }
        });
    }

    pub(super) fn replay(&mut self) {
        if self.store.runs().len() >= RUNS {
            return;
        }
        let Some((tenant, original)) = self.some_run() else {
            return;
        };
        let Some(caller) = self.callers.iter().find(|caller| caller.tenant == tenant).cloned() else {
            return;
        };
        self.made += 1;
        let run_id = fixture::run_id(u128::from(self.rng.u64(..)) << 64 | self.made);
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        let from_node = if self.rng.bool() { "readability".parse().ok() } else { None };
        self.known.push((tenant.clone(), run_id));
        self.spawn(TaskKind::Create, format!("replay {original} as {run_id}"), async move {
            let (command, at) = (replay_run::Command { from_node, ..replay_run::Command::default() }, clock.now());
            let answer = replay_run::replay_run(&store, &engine, &caller, original, command, run_id, at).await;
            Told::Created { tenant, key: None, answer, at }
        });
    }
}

/// What `run-callback` does with a signal. `false`: it failed, and Lambda may invoke it again.
async fn handle(
    store: &MemoryStore,
    engine: &MemoryEngine,
    receiver: &SimReceiver,
    clock: &SimClock,
    mutation: Option<Mutation>,
    signal: &Signal,
) -> bool {
    let owed = match signal {
        Signal::Due(due) => vec![due.clone()],
        Signal::Ended { arn, tenant, run_id, end, details } => {
            let mut run = match store.load_run(tenant, *run_id).await {
                Ok(Some(run)) if run.execution_arn() == *arn => run,
                Ok(_) => return true,
                Err(_) => return false,
            };
            let mut details = details.clone();
            if details.output.is_none() && *end == EngineEnd::Succeeded {
                match engine.describe_execution(arn).await {
                    Ok(ExecutionState::Ended(_, described)) => details = described,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
            if mutation == Some(Mutation::EventNotIdempotent) {
                run.status = RunStatus::Running;
            }
            match settle(store, run, RunEvent::EngineEnded(*end), &details, clock.now()).await {
                Ok(Some(settlement)) => settlement.owed,
                Ok(None) => Vec::new(),
                Err(_) => return false,
            }
        }
    };
    let mut all_went_well = true;
    for delivery in owed {
        all_went_well &= deliver(store, engine, receiver, clock, &delivery).await.is_ok();
    }
    all_went_well
}

fn command(key: Option<&(String, String)>, with_callback: bool) -> Command {
    let mut command = Command::new(Source::Configuration {
        definition: DefinitionRef::Id(fixture::definition_id(7)),
        version: VersionRule::Active,
        compute_node: None,
        processor_configs: BTreeMap::new(),
        named_at: "/workflowInstanceConfiguration/workflowDefinitionId",
        version_at: "/workflowInstanceConfiguration/version",
    });
    command.variables.variables.insert("language".to_owned(), "en".into());
    if let Ok(node) = "readability".parse() {
        command.processor_params.insert(node, BTreeMap::from([("formula".to_owned(), "flesch".into())]));
    }
    if with_callback {
        command.callback = Some(Callback { url: fixture::CALLBACK_URL.to_owned(), context: None });
    }
    command.idempotency = key.and_then(|(key, payload)| {
        Some(IdempotencyClaim { operation: Operation::Create, key: key.parse().ok()?, payload_hash: payload.clone() })
    });
    command
}
