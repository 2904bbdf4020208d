use crate::world::{World, cap, command, raw, with_callback, with_key};
use serde_json::{Value, json};
use sluice_core::budget::MicroUsd;
use sluice_core::canonical::sha256_hex;
use sluice_core::flow::Refusal;
use sluice_core::flow::create_run::{Command, Policy, create_run};
use sluice_core::flow::read_runs::{get_step, list_steps};
use sluice_core::lifecycle::{RunStatus, TerminationReason};
use sluice_core::limits;
use sluice_core::ports::{Clock, LoadRun, StoreErrorClass};
use sluice_core::snapshot::Snapshot;
use sluice_core::step::StepStatus;
use sluice_testkit::fault::Fault;
use sluice_testkit::{block_on, fixture};
use std::collections::BTreeMap;
use std::future::Future;
use std::task::{Context, Poll, Waker};

fn places(refusal: Refusal) -> Vec<(String, &'static str)> {
    let Refusal::Invalid(invalid) = refusal else { panic!("not a refusal of input: {refusal}") };
    invalid.violations.into_iter().map(|violation| (violation.place.to_string(), violation.code.as_str())).collect()
}

#[test]
fn a_run_is_recorded_and_started_under_its_own_id() {
    let world = World::new();
    let accepted = world.create(command(), 1).expect("accepted");
    assert_eq!(accepted.run.status(), RunStatus::Pending);
    assert_eq!(accepted.run.about.name, "run-00000000");
    assert!(!accepted.replayed && !accepted.start_delayed);
    assert_eq!(world.run(accepted.run.run_id), accepted.run);
    let execution = world.engine.execution(&accepted.run.execution_arn()).expect("started");
    assert_eq!(execution.run_id, accepted.run.run_id);
}

#[test]
fn the_execution_input_carries_the_budget_exactly() {
    for (literal, usd, micro) in
        [("0.1", "0.1", 100_000), ("1.25", "1.25", 1_250_000), ("0.000001", "0.000001", 1), ("1e-6", "0.000001", 1)]
    {
        let world = World::new();
        let run = world.create(Command { execution_budget: cap(literal), ..command() }, 1).expect("accepted").run;
        let input = world.engine.execution(&run.execution_arn()).expect("started").input;
        assert!(
            input.contains(&format!("\"executionBudgetUsd\":{usd},\"executionBudgetMicroUsd\":{micro},")),
            "{input}"
        );
        assert!(input.contains("\"computeNodeBudgetUsd\":50,\"computeNodeBudgetMicroUsd\":50000000,"), "{input}");
    }
}

#[test]
fn the_execution_input_says_for_whom_the_run_is() {
    for (user, told) in [(None, Value::Null), (Some("ann@example.com"), Value::from("ann@example.com"))] {
        let world = World::new();
        let user_id = user.map(|user| user.parse().expect("a user"));
        let run = world.create(Command { user_id, ..command() }, 1).expect("accepted").run;
        let input: Value =
            serde_json::from_str(&world.engine.execution(&run.execution_arn()).expect("started").input).expect("JSON");
        assert_eq!(input.get("userId"), Some(&told));
    }
}

#[test]
fn no_cap_and_a_cap_of_zero_are_null_in_the_execution() {
    for budget in [Ok(None), cap("0"), cap("0.000")] {
        let world = World::new();
        let run = world.create(Command { execution_budget: budget, ..command() }, 1).expect("accepted").run;
        let input: Value =
            serde_json::from_str(&world.engine.execution(&run.execution_arn()).expect("started").input).expect("JSON");
        assert_eq!(input["executionBudgetUsd"], Value::Null);
        assert_eq!(input["executionBudgetMicroUsd"], Value::Null);
        assert_eq!(run.spec.execution_budget_micro_usd, None);
    }
}

#[test]
fn the_plan_has_every_node_resolved() {
    let world = World::new();
    let mut command = with_callback(command());
    command.input = Some(raw(r#"{"title": "T", "n": 12345678901234567890123}"#));
    command.data_sources.insert("text".parse().expect("a node"), json!({"key": "a.txt"}));
    command.data_targets.insert("store".parse().expect("a node"), json!({"folder": "reports"}));
    command.tags.insert("frequencies".parse().expect("a node"), "7".parse().expect("a tag"));
    command.layers = vec!["models".parse().expect("a layer")];
    let run = world.create(command, 1).expect("accepted").run;
    let text = world.engine.execution(&run.execution_arn()).expect("started").input;
    assert!(text.contains("12345678901234567890123"), "numbers are passed on as written");
    assert!(!text.contains("lambda-url") && !text.contains("1.10"), "the callback never enters the execution");
    let input: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(input["stages"].as_array().map(Vec::len), Some(3));
    let frequencies = &input["stages"][1][0];
    assert_eq!(
        frequencies["run"]["functionArn"],
        "arn:aws:lambda:eu-west-1:123456789012:function:sluice-processor-word-frequencies:7"
    );
    assert_eq!(frequencies["params"], json!({"top": 20, "language": "en"}));
    assert_eq!(frequencies["dependsOn"], json!(["text"]));
    assert_eq!(input["stages"][1][1]["run"]["functionArn"].as_str().map(|arn| arn.ends_with(":live")), Some(true));
    assert_eq!(input["stages"][0][0]["dataSource"], json!({"key": "a.txt"}));
    assert_eq!(input["stages"][2][0]["dataTarget"], json!({"folder": "reports", "uploadBucket": "uploads"}));
    assert_eq!(input["leaves"], json!(["store"]));
    assert_eq!(input["layers"], json!(["models"]));
}

#[test]
fn every_fault_of_a_request_is_reported_at_once_and_nothing_is_written() {
    let world = World::new();
    let writes = world.store.writes();
    let mut command = command();
    command.name = Some(String::new());
    command.input = Some(raw(r#"{"title": 3}"#));
    command.execution_budget = cap("-1");
    command.max_run_duration_seconds = Some(0);
    command.data_sources.insert("store".parse().expect("a node"), json!({}));
    command.data_targets.insert("store".parse().expect("a node"), json!({"uploadBucket": "mine"}));
    command.processor_params.insert(
        "frequencies".parse().expect("a node"),
        [("top".to_owned(), json!("x")), ("up".to_owned(), json!(1))].into(),
    );
    command.processor_params.remove(&"readability".parse().expect("a node"));
    command.tags.insert("text".parse().expect("a node"), "1".parse().expect("a tag"));
    command.layers = vec!["corpora".parse().expect("a layer"), "nowhere".parse().expect("a layer")];
    command.labels.insert("l".repeat(200), String::new());
    command.variables.variables.clear();
    command.callback = Some(sluice_core::snapshot::Callback { url: "https://example.com/".to_owned(), context: None });
    let mut found = places(world.create(command, 1).expect_err("refused"));
    found.sort();
    let mut expected: Vec<(String, &str)> = [
        ("CallbackUrl", "callback_url_not_allowed"),
        ("DataSources<store>", "unknown_node"),
        (r#"DataTargets<store>{"uploadBucket"}"#, "registry_value"),
        ("ExecutionBudget", "out_of_range"),
        (r#"Input{"title"}"#, "schema_violation"),
        ("Layers[0]", "layer_not_ready"),
        ("Layers[1]", "not_found"),
        ("MaxRunDuration", "out_of_range"),
        ("Name", "out_of_range"),
        (r#"ProcessorParams<frequencies>{"top"}"#, "wrong_type"),
        (r#"ProcessorParams<frequencies>{"up"}"#, "unknown_parameter"),
        (r#"ProcessorParams<readability>{"formula"}"#, "missing_parameter"),
        ("ProcessorTags<text>", "unknown_node"),
        (r#"Document.Nodes<frequencies>.Parameters{"language"}.Default"#, "unresolved_variable"),
    ]
    .map(|(place, code)| (place.to_owned(), code))
    .into();
    expected.push((format!("Labels{{{:?}}}", "l".repeat(200)), "out_of_range"));
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(world.store.writes(), writes);
    assert_eq!(world.engine.starts(), 0);
}

#[test]
fn what_would_not_fit_the_execution_is_refused_before_anything_is_written() {
    let world = World::new();
    let writes = world.store.writes();
    let input = format!("{{\"title\":\"{}\"}}", "x".repeat(262_144));
    let refusal = world.create(Command { input: Some(raw(&input)), ..command() }, 1).expect_err("refused");
    assert_eq!(places(refusal), [("Whole".to_owned(), "too_large")]);
    assert_eq!(world.store.writes(), writes);
}

#[test]
fn the_same_key_and_payload_give_the_first_answer_again() {
    let world = World::new();
    let first = world.create(with_key(command(), "k", "hash"), 1).expect("accepted");
    assert!(world.engine.claim(&world.store, &first.run.execution_arn(), world.clock.now()));
    let writes = world.store.writes();
    let second = world.create(with_key(command(), "k", "hash"), 2).expect("accepted");
    assert!(second.replayed);
    assert_eq!(second.run, first.run, "the answer of then, not the run of now");
    assert_eq!(world.engine.starts(), 1);
    assert_eq!(world.store.writes(), writes);
}

#[test]
fn the_same_key_with_another_payload_is_a_conflict_without_effect() {
    let world = World::new();
    world.create(with_key(command(), "k", "hash"), 1).expect("accepted");
    let writes = world.store.writes();
    let refusal = world.create(with_key(command(), "k", "other"), 2).expect_err("refused");
    assert!(matches!(refusal, Refusal::KeyReused { run_id } if run_id == fixture::run_id(1)));
    assert_eq!((world.engine.starts(), world.store.writes()), (1, writes));
}

#[test]
fn a_replay_is_answered_although_the_request_would_be_refused_today() {
    let world = World::new();
    let first = world.create(with_key(command(), "k", "hash"), 1).expect("accepted");
    let broken = Command { layers: vec!["nowhere".parse().expect("a layer")], ..with_key(command(), "k", "hash") };
    assert_eq!(world.create(broken, 2).expect("accepted").run, first.run);
}

#[test]
fn a_refused_request_does_not_use_up_its_key() {
    let world = World::new();
    let broken = Command { max_run_duration_seconds: Some(0), ..with_key(command(), "k", "hash") };
    world.create(broken, 1).expect_err("refused");
    assert!(!world.create(with_key(command(), "k", "other"), 2).expect("accepted").replayed);
}

#[test]
fn a_key_is_free_again_after_its_time_even_if_its_record_lingers() {
    let world = World::new();
    world.create(with_key(command(), "k", "hash"), 1).expect("accepted");
    world.clock.advance(24 * 3_600 - 1);
    assert!(world.create(with_key(command(), "k", "hash"), 2).expect("accepted").replayed);
    world.clock.advance(1);
    assert!(!world.create(with_key(command(), "k", "hash"), 3).expect("accepted").replayed);
}

#[test]
fn thirty_two_racers_with_one_key_make_one_run() {
    let world = World::new();
    let policy = fixture::policy();
    let mut racers: Vec<_> = (1..=32)
        .map(|id| {
            let command = with_key(command(), "k", "hash");
            let (run_id, now) = (fixture::run_id(id), world.clock.now());
            Box::pin(create_run(
                &world.store,
                &world.engine,
                &policy,
                &world.caller,
                command,
                fixture::fresh(run_id),
                now,
            ))
        })
        .collect();
    let mut answers = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    // Everyone takes one step in turn, so that all of them race through every await.
    while !racers.is_empty() {
        racers.retain_mut(|racer| match racer.as_mut().poll(&mut context) {
            Poll::Ready(answer) => {
                answers.push(answer.expect("accepted"));
                false
            }
            Poll::Pending => true,
        });
    }
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.run == answers[0].run));
    assert_eq!((world.engine.starts(), world.store.runs().len()), (1, 1));
}

#[test]
fn a_start_without_an_answer_is_still_an_accepted_run() {
    for fault in [Fault::Before(StoreErrorClass::Throttled), Fault::After(StoreErrorClass::Unavailable)] {
        let world = World::new();
        world.engine.faults.once("start the execution", fault);
        let accepted = world.create(command(), 1).expect("accepted");
        assert!(accepted.start_delayed);
        assert_eq!(world.run(accepted.run.run_id).status(), RunStatus::Pending);
    }
}

#[test]
fn a_run_of_which_the_store_does_not_say_whether_it_is_recorded_is_named() {
    for (fault, is_recorded) in
        [(Fault::Before(StoreErrorClass::Unavailable), false), (Fault::After(StoreErrorClass::Unavailable), true)]
    {
        let world = World::new();
        world.store.faults.once("record the run", fault);
        let refusal = world.create(command(), 1).expect_err("nobody knows");
        assert!(matches!(refusal, Refusal::Unanswered { run_id, .. } if run_id == fixture::run_id(1)), "{refusal:?}");
        assert_eq!((world.store.runs().len(), world.engine.starts()), (usize::from(is_recorded), 0));
    }
    // Where nothing was recorded for sure, no run is named.
    for class in [StoreErrorClass::Conflict, StoreErrorClass::Throttled, StoreErrorClass::Corrupt] {
        let world = World::new();
        world.store.faults.once("record the run", Fault::Before(class));
        assert!(matches!(world.create(command(), 1), Err(Refusal::Store(_))), "{class:?}");
    }
}

#[test]
fn a_start_that_is_refused_for_good_ends_the_run_and_owes_the_webhook() {
    let world = World::new();
    world.engine.refuse_starts(Some("StateMachineDoesNotExist"));
    let run = world.create(with_callback(command()), 1).expect("accepted").run;
    let run = world.run(run.run_id);
    assert_eq!(
        (run.status(), run.state.ended().map(|ended| ended.reason)),
        (RunStatus::Failed, Some(TerminationReason::StartFailed))
    );
    assert_eq!(
        run.state.ended().and_then(|ended| ended.error.as_ref()).map(|error| error.code.as_str()),
        Some("StateMachineDoesNotExist")
    );
    assert_eq!(world.store.deliveries().len(), 2);
    assert_eq!(world.engine.take_announced().len(), 2);
}

#[test]
fn another_tenants_definition_is_unknown() {
    let mut world = World::new();
    world.caller = fixture::caller("other");
    let refusal = world.create(command(), 1).expect_err("refused");
    assert_eq!(places(refusal), [("Definition".to_owned(), "not_found")]);
}

#[test]
fn dying_at_any_await_leaves_no_execution_without_its_record() {
    let mut steps = 0;
    loop {
        let world = World::new();
        let policy = fixture::policy();
        let now = world.clock.now();
        let command = with_key(command(), "k", "hash");
        let mut creating = Box::pin(create_run(
            &world.store,
            &world.engine,
            &policy,
            &world.caller,
            command,
            fixture::fresh(fixture::run_id(1)),
            now,
        ));
        let mut context = Context::from_waker(Waker::noop());
        let finished = (0..steps).any(|_| creating.as_mut().poll(&mut context).is_ready());
        drop(creating); // killed here
        for execution in world.engine.executions().into_values() {
            assert!(world.store.run(&execution.tenant, execution.run_id).is_some(), "after {steps} steps");
        }
        // The caller repeats: whatever had happened, there is one run, and the sweep starts it if need be.
        let again = world.create(with_key(self::command(), "k", "hash"), 2).expect("accepted");
        world.clock.advance(60);
        world.reconcile();
        assert_eq!((world.store.runs().len(), world.engine.starts()), (1, 1), "after {steps} steps");
        assert!(world.engine.execution(&again.run.execution_arn()).is_some(), "after {steps} steps");
        if finished {
            assert!(steps > 5, "the flow awaits more often than that");
            return;
        }
        steps += 1;
    }
}

#[test]
fn an_equal_configuration_is_one_instance() {
    let world = World::new();
    let first = world.create(command(), 1).expect("accepted").run;
    let second = world.create(command(), 2).expect("accepted").run;
    assert_eq!(first.spec.instance_id, second.spec.instance_id);
    let mut by_instance = command();
    by_instance.source = sluice_core::flow::create_run::Source::Instance(first.spec.instance_id);
    let third = world.create(by_instance, 3).expect("accepted").run;
    assert_eq!((third.spec.instance_id, third.spec.version), (first.spec.instance_id, 1));
    assert_eq!(block_on(async { world.store.runs().len() }), 3);
}

/// What readers compare is the hash of the text that they may see, whatever is hidden from them.
#[test]
fn the_hash_is_of_what_its_readers_may_see() {
    let world = World::new();
    let run = world.create(with_callback(command()), 1).expect("accepted").run;
    let stored = block_on(world.store.load_snapshot(&run.tenant_id, run.run_id)).expect("reads").expect("a snapshot");
    assert_eq!(stored.hash(&stored.to_text().expect("JSON")).expect("a hash"), run.snapshot.hash);
    let owner = fixture::tenant("globex");
    for case in 0..32_u32 {
        let is = |bit: u32| case & (1 << bit) != 0;
        let mut snapshot = stored.clone();
        snapshot.callback = snapshot.callback.filter(|_| is(0));
        snapshot.governor = is(4).then(|| "https://api.example/g/acme.1.2".to_owned());
        snapshot.spec.definition_owner = is(1).then(|| owner.clone());
        for node in &mut snapshot.nodes {
            node.private = is(2);
            node.private_params = node.params.keys().filter(|_| is(3)).cloned().collect();
            node.schema = Some(json!({"type": "object"}));
        }
        let text = snapshot.to_text().expect("JSON");
        let seen = Snapshot { callback: None, ..snapshot.clone() }.as_seen_by_tenant().to_text().expect("JSON");
        assert_eq!(snapshot.hash(&text).expect("a hash"), sha256_hex(&[&seen]), "{case:05b}");
        let read: Snapshot = serde_json::from_str(&text).expect("reads");
        assert_eq!(read.to_text().expect("JSON"), text, "{case:05b}");
    }
}

#[test]
fn a_step_has_no_result_before_it_has_begun() {
    let world = World::new();
    let mut asked = command();
    asked.data_sources.insert("text".parse().expect("a node"), json!({"key": "a.txt"}));
    let run = world.create(asked, 1).expect("accepted").run;
    let check = |status: StepStatus| {
        for node in ["text", "frequencies", "readability", "store"] {
            let (node, now) = (node.parse().expect("a node"), world.clock.now());
            let step = block_on(get_step(&world.store, &world.caller, run.run_id, &node, now)).expect("a step");
            assert_eq!((step.status, step.attempt), (status, 0), "{node}");
            assert_eq!((step.result, step.result_bytes, step.error), (None, None, None), "{node}");
        }
    };
    check(StepStatus::Pending);
    world.cancel(run.run_id).expect("canceled");
    check(StepStatus::Canceled);
}

#[test]
fn a_request_may_be_as_large_as_its_bounds_and_no_larger() {
    let labelled = |labels: BTreeMap<String, String>| Command { labels, ..command() };
    let labels = |count: usize| labelled((0..count).map(|number| (format!("l{number}"), String::new())).collect());
    // Characters, of more than a byte each.
    let label = |name: usize, value: usize| labelled(BTreeMap::from([("ä".repeat(name), "ö".repeat(value))]));
    let (most_of_name, most_of_value) = limits::LABEL_CHARS;
    let together = |more: usize| {
        let value = limits::LABELS_BYTES / 32 - 12;
        let mut labels: BTreeMap<_, _> = (0..32).map(|number| (format!("{number:012}"), "v".repeat(value))).collect();
        labels.entry(format!("{:012}", 7)).and_modify(|last| last.extend(std::iter::repeat_n('v', more)));
        labelled(labels)
    };
    let name = |text: &str| Command { name: Some(text.to_owned()), ..command() };
    let layers = |count: usize| Command { layers: vec!["models".parse().expect("a layer"); count], ..command() };
    let context = |bytes: usize| {
        let mut command = with_callback(command());
        let context = Some(raw(&format!("\"{}\"", "x".repeat(bytes - 2))));
        command.callback = command.callback.map(|callback| sluice_core::snapshot::Callback { context, ..callback });
        command
    };
    let duration = |seconds: u64| Command { max_run_duration_seconds: Some(seconds), ..command() };
    let budget = |usd: &str| Command { execution_budget: cap(usd), ..command() };
    let kept = |max_age_seconds: i64| Command {
        retention: Some(sluice_core::retention::Retention { max_age_seconds, preserve_on_failure: false }),
        ..command()
    };
    let (shortest, longest) = (*limits::DURATION_SECONDS.start(), *limits::DURATION_SECONDS.end());
    let most_chars = limits::DISPLAY_NAME_CHARS;
    let taken = [
        labels(limits::LABELS),
        label(1, 0),
        label(most_of_name, most_of_value),
        together(0),
        name("x"),
        name(&"ä".repeat(most_chars)),
        layers(limits::LAYERS),
        context(limits::CALLBACK_CONTEXT_BYTES),
        duration(shortest),
        duration(longest),
        budget("100000"),
        kept(1),
        kept(limits::RETENTION_SECONDS),
    ];
    for command in taken {
        let answer = World::new().create(command.clone(), 1);
        let run = answer.unwrap_or_else(|refusal| panic!("{refusal:?} of {command:?}")).run;
        assert_eq!(run.about.labels, command.labels);
    }
    let below = |name: &str| format!("Labels{{\"{name}\"}}");
    let refused = [
        (labels(limits::LABELS + 1), "Labels".to_owned(), "too_many"),
        (labels(limits::LABELS * 2), "Labels".to_owned(), "too_many"),
        (label(0, 1), below(""), "out_of_range"),
        (label(most_of_name + 1, 1), below(&"ä".repeat(most_of_name + 1)), "out_of_range"),
        (label(1, most_of_value + 1), below("ä"), "out_of_range"),
        (together(1), "Labels".to_owned(), "too_large"),
        (name(""), "Name".to_owned(), "out_of_range"),
        (name("a\tb"), "Name".to_owned(), "out_of_range"),
        (name(&"ä".repeat(most_chars + 1)), "Name".to_owned(), "out_of_range"),
        (layers(limits::LAYERS + 1), "Layers".to_owned(), "too_many"),
        (context(limits::CALLBACK_CONTEXT_BYTES + 1), "CallbackContext".to_owned(), "too_large"),
        (duration(shortest - 1), "MaxRunDuration".to_owned(), "out_of_range"),
        (duration(longest + 1), "MaxRunDuration".to_owned(), "out_of_range"),
        (budget("100000.000001"), "ExecutionBudget".to_owned(), "out_of_range"),
        (kept(0), "Retention.MaxAge".to_owned(), "out_of_range"),
        (kept(limits::RETENTION_SECONDS + 1), "Retention.MaxAge".to_owned(), "out_of_range"),
    ];
    for (command, place, code) in refused {
        let world = World::new();
        let writes = world.store.writes();
        let refusal = world.create(command.clone(), 1).expect_err("refused");
        assert_eq!(places(refusal), [(place, code)], "{command:?}");
        assert_eq!(world.store.writes(), writes);
    }
}

#[test]
fn no_run_may_cost_more_than_the_deployment_says() {
    let world = World::new();
    let policy = Policy { max_budget: MicroUsd::from_usd(50), ..fixture::policy() };
    for (id, literal, is_taken) in [(1, "49.999999", true), (2, "50", true), (3, "50.000001", false), (4, "99", false)]
    {
        let command = Command { execution_budget: cap(literal), ..command() };
        let (fresh, now) = (fixture::fresh(fixture::run_id(id)), world.clock.now());
        let answer = block_on(create_run(&world.store, &world.engine, &policy, &world.caller, command, fresh, now));
        match answer {
            Ok(accepted) => assert!(is_taken, "{literal}: {accepted:?}"),
            Err(Refusal::Invalid(invalid)) => {
                assert!(!is_taken, "{literal}: {invalid:?}");
                let message = &invalid.violations[0].message;
                assert!(message.contains("50") && !message.contains("100000"), "{message}");
                assert_eq!(places(Refusal::Invalid(invalid)), [("ExecutionBudget".to_owned(), "out_of_range")]);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_steps_of_a_run_are_listed_page_by_page_each_once() {
    let world = World::new();
    let run = world.pending(1);
    let list = |limit: u32, cursor: Option<&str>| {
        block_on(list_steps(&world.store, &world.caller, run.run_id, limit, cursor, world.clock.now()))
    };
    let whole = list(100, None).expect("lists");
    assert_eq!((whole.items.len(), whole.next), (4, None));
    for limit in 1..=5 {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = list(limit, cursor.as_deref()).expect("lists");
            assert!(!page.items.is_empty() && page.items.len() <= limit as usize);
            found.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, whole.items, "{limit} at a time");
    }
    assert_eq!(list(10, Some("4")).expect("the end of the list").items, []);
    for cursor in ["5", "-1", "x", ""] {
        let refused = list(10, Some(cursor));
        let is_corrupt = matches!(&refused, Err(Refusal::Store(error)) if error.class == StoreErrorClass::Corrupt);
        assert!(is_corrupt, "{cursor}: {refused:?}");
    }
}
