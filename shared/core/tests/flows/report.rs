use crate::world::{World, cap, command, raw};
use sluice_core::budget::NanoUsd;
use sluice_core::flow::control_run::pause_run;
use sluice_core::flow::create_run::Command;
use sluice_core::flow::read_runs::{Given, Whole, get_input, list_inputs};
use sluice_core::flow::report_run::{NodeReport, Reported, comment_on, create_report_token, open_report, report_run};
use sluice_core::flow::{Answer, Refusal};
use sluice_core::id::NodeId;
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus};
use sluice_core::limits;
use sluice_core::ports::{Clock, LoadRun, ReadRuns};
use sluice_core::refusal::ConflictCode;
use sluice_core::report::{NodeOutcome, Progress};
use sluice_core::run::{Run, RunError, RunSpec};
use sluice_core::step::{Step, StepStatus};
use sluice_core::usage::LlmCall;
use sluice_testkit::{block_on, fixture};

const NODE: &str = "frequencies";

impl World {
    pub fn token(&self, run: &Run, node: Option<&str>) -> String {
        let (node, now) = (node.map(node_id), self.clock.now());
        let made = block_on(create_report_token(&self.store, &self.caller, run.run_id, node, 600, "s3cret", now));
        made.expect("made").0.reveal().to_owned()
    }

    pub fn report(&self, token: &str, run: &Run, node: &str, report: NodeReport) -> Answer<Reported> {
        let (node, now) = (node_id(node), self.clock.now());
        let opened = block_on(open_report(&self.store, token, run.run_id, now))?;
        block_on(report_run(&self.store, &self.engine, opened, &node, report, now))
    }

    /// A run whose node waits for somebody outside.
    fn waiting(&self, id: u128) -> Run {
        self.make_wait(self.running(id))
    }

    fn make_wait(&self, run: Run) -> Run {
        let now = self.clock.now();
        self.store.update_run(&run.tenant_id, run.run_id, |run| run.awaiting(NODE, now));
        self.store.begin_wait(&run.tenant_id, run.run_id, &node_id(NODE), "a-task-token");
        self.engine.wait_for(&run.execution_arn(), "a-task-token");
        self.step(&run, NODE, StepStatus::Waiting);
        self.run(run.run_id)
    }

    fn step(&self, run: &Run, node: &str, status: StepStatus) {
        let now = self.clock.now();
        let step = Step {
            run_id: run.run_id,
            node_id: node_id(node),
            node_type: "processor".to_owned(),
            stage: 0,
            status,
            attempt: 1,
            started_at: Some(now),
            ended_at: (status == StepStatus::Succeeded).then_some(now),
            result: None,
            result_bytes: None,
            error: None,
            progress: None,
            iteration: None,
            fan: None,
        };
        self.store.seed_step(&run.tenant_id, step);
    }
}

fn node_id(text: &str) -> NodeId {
    text.parse().expect("a node")
}

fn success(value: &str) -> NodeReport {
    NodeReport { outcome: Some(NodeOutcome::Result(value.to_owned())), ..NodeReport::default() }
}

#[test]
fn a_token_and_a_report_are_for_a_node_of_the_run() {
    let world = World::new();
    let run = world.running(1);
    let of_all = world.token(&run, None);
    let unknown = |refused: Option<Refusal>| {
        let Some(Refusal::Invalid(invalid)) = refused else { panic!("{refused:?}") };
        let [violation] = invalid.violations.as_slice() else { panic!("{invalid:?}") };
        assert_eq!((violation.place.to_string(), violation.code.as_str()), ("Node".to_owned(), "unknown_node"));
    };
    for node in ["text", "frequencies", "readability", "store"] {
        world.token(&run, Some(node));
    }
    for node in ["nobody", "Text", "text2"] {
        let now = world.clock.now();
        let made =
            create_report_token(&world.store, &world.caller, run.run_id, Some(node_id(node)), 600, "s3cret", now);
        unknown(block_on(made).err());
        unknown(world.report(&of_all, &run, node, success("1")).err());
    }
}

#[test]
fn a_worker_reports_success_with_its_token() {
    let world = World::new();
    let run = world.waiting(1);
    let token = world.token(&run, None);
    let reported = world.report(&token, &run, NODE, success(r#"{"n":1.10}"#)).expect("taken");
    assert_eq!(reported.run.status(), RunStatus::Running);
    assert_eq!(world.engine.take_answer("a-task-token").as_deref(), Some(r#"{"n":1.10}"#));
    let again = world.report(&token, &run, NODE, success("2"));
    assert!(matches!(again, Err(Refusal::Conflict { code: ConflictCode::NotWaiting, .. })), "{again:?}");
}

#[test]
fn a_worker_reports_failure() {
    let world = World::new();
    let run = world.waiting(1);
    let token = world.token(&run, Some(NODE));
    let failure = NodeOutcome::Failure(RunError { code: "Gpu.Lost".to_owned(), message: "gone".to_owned() });
    world.report(&token, &run, NODE, NodeReport { outcome: Some(failure), ..NodeReport::default() }).expect("taken");
    assert_eq!(world.engine.take_answer("a-task-token").as_deref(), Some("Gpu.Lost"));
}

#[test]
fn a_worker_cannot_speak_for_the_engine() {
    let world = World::new();
    let run = world.waiting(1);
    let token = world.token(&run, None);
    for code in ["States.Timeout", "DynamoDb.ConditionalCheckFailedException", "Sluice.StepClosed", "", "a\nb"] {
        let failure = NodeOutcome::Failure(RunError { code: code.to_owned(), message: String::new() });
        let refused = world.report(&token, &run, NODE, NodeReport { outcome: Some(failure), ..NodeReport::default() });
        let Err(Refusal::Invalid(invalid)) = refused else { panic!("{code}: {refused:?}") };
        assert_eq!(invalid.violations[0].place.to_string(), "FailureCode", "{code}");
    }
}

#[test]
fn progress_shows_on_the_step_and_only_while_it_is_under_way() {
    let world = World::new();
    let run = world.waiting(1);
    let token = world.token(&run, None);
    let progress = Progress { percent: Some(40), message: Some("half".to_owned()), at: world.clock.now() };
    let report = NodeReport { progress: Some(progress.clone()), ..NodeReport::default() };
    world.report(&token, &run, NODE, report.clone()).expect("taken");
    let step = block_on(world.store.load_step(&run.tenant_id, run.run_id, &node_id(NODE))).expect("reads");
    assert_eq!(step.expect("a step").progress, Some(progress));
    let not_begun = world.report(&token, &run, "store", report);
    assert!(matches!(not_begun, Err(Refusal::Conflict { code: ConflictCode::NotWaiting, .. })), "{not_begun:?}");
}

#[test]
fn a_token_opens_its_own_run_until_it_expires_and_nothing_else() {
    let world = World::new();
    let (run, other) = (world.waiting(1), world.waiting(2));
    let token = world.token(&run, Some(NODE));
    let is_invalid = |answer: Answer<Reported>| matches!(answer, Err(Refusal::InvalidReportToken));
    assert!(is_invalid(world.report(&token, &other, NODE, success("1"))), "another run");
    assert!(is_invalid(world.report(&format!("{token}x"), &run, NODE, success("1"))), "another secret");
    assert!(is_invalid(world.report("nonsense", &run, NODE, success("1"))));
    let yours = token.replacen("srt.61636d65", "srt.6f74686572", 1);
    assert!(is_invalid(world.report(&yours, &run, NODE, success("1"))), "another tenant");
    assert!(matches!(world.report(&token, &run, "store", success("1")), Err(Refusal::Invalid(_))), "another node");
    world.clock.advance(600);
    assert!(is_invalid(world.report(&token, &run, NODE, success("1"))), "expired");
}

#[test]
fn a_token_does_not_outlive_its_run() {
    let world = World::new();
    let run = world.waiting(1);
    let token = world.token(&run, None);
    world.end(&run, EngineEnd::Failed, None).expect("settled");
    let late = world.report(&token, &run, NODE, success("1"));
    assert!(matches!(late, Err(Refusal::Conflict { code: ConflictCode::RunEnded, .. })), "{late:?}");
    let now = world.clock.now();
    let made = block_on(create_report_token(&world.store, &world.caller, run.run_id, None, 600, "s", now));
    assert!(matches!(made, Err(Refusal::Conflict { code: ConflictCode::RunEnded, .. })));
}

#[test]
fn a_run_keeps_the_sequence_of_its_inputs_and_what_each_led_to() {
    let world = World::new();
    world.clock.advance(1);
    let run = world.waiting(1);
    world.step(&run, "text", StepStatus::Succeeded);
    world.clock.advance(10);
    let token = world.token(&run, None);
    world.report(&token, &run, NODE, success(r#"{"ok":true}"#)).expect("taken");
    world.clock.advance(5);
    world.step(&run, "readability", StepStatus::Succeeded);
    let now = world.clock.now();
    let page = block_on(list_inputs(&world.store, &world.caller, run.run_id, 100, None, now)).expect("lists");
    let segments = page.items;
    let produced: Vec<Vec<&str>> =
        segments.iter().map(|segment| segment.produced.iter().map(|step| step.node_id.as_str()).collect()).collect();
    assert_eq!(produced, [vec!["text"], vec!["readability"]]);
    assert_eq!(segments[0].given, Given::Start(None));
    assert_eq!(segments[1].given, Given::Data(node_id(NODE), Whole::Value(r#"{"ok":true}"#.to_owned())));
    assert!(segments[1].by.starts_with("report-token:"));
    assert_eq!((segments[0].sequence, segments[1].sequence, page.next), (1, 2, None));
    // One by one they are the same, whichever way they are come by.
    for (at, segment) in segments.iter().enumerate() {
        let cursor = (at > 0).then(|| at.to_string());
        let list = list_inputs(&world.store, &world.caller, run.run_id, 1, cursor.as_deref(), now);
        let page = block_on(list).expect("lists");
        assert_eq!((page.items.as_slice(), page.next.is_some()), (std::slice::from_ref(segment), at == 0));
        let found = block_on(get_input(&world.store, &world.caller, run.run_id, segment.sequence, now));
        assert_eq!(found.expect("found"), *segment);
    }
    for sequence in [0, 3, u32::MAX] {
        let found = block_on(get_input(&world.store, &world.caller, run.run_id, sequence, now));
        assert!(matches!(found, Err(Refusal::NotFound { .. })), "{sequence}");
    }
}

#[test]
fn a_step_that_ends_as_an_answer_is_given_comes_of_that_answer() {
    let world = World::new();
    let run = world.waiting(1);
    world.clock.advance(10);
    let token = world.token(&run, None);
    world.report(&token, &run, NODE, success("1")).expect("taken");
    world.step(&run, "readability", StepStatus::Succeeded);
    let now = world.clock.now();
    let page = block_on(list_inputs(&world.store, &world.caller, run.run_id, 100, None, now)).expect("lists");
    let produced: Vec<usize> = page.items.iter().map(|segment| segment.produced.len()).collect();
    assert_eq!(produced, [0, 1]);
}

#[test]
fn a_large_start_is_listed_by_its_size_and_found_whole() {
    let world = World::new();
    for (id, bytes) in [(1, limits::LISTED_VALUE_BYTES), (2, limits::LISTED_VALUE_BYTES + 1)] {
        let input = format!("{{\"title\":\"{}\"}}", "x".repeat(bytes - 12));
        let command = Command { input: Some(raw(&input)), ..command() };
        let (run, now) = (world.create(command, id).expect("accepted").run, world.clock.now());
        let page = block_on(list_inputs(&world.store, &world.caller, run.run_id, 100, None, now)).expect("lists");
        let whole = Given::Start(Some(Whole::Value(input)));
        let shown = if id == 1 { whole.clone() } else { Given::Start(Some(Whole::Bytes(bytes))) };
        assert_eq!(page.items[0].given, shown);
        let found = block_on(get_input(&world.store, &world.caller, run.run_id, 1, now)).expect("found");
        assert_eq!(found.given, whole);
    }
}

#[test]
fn a_large_answer_is_listed_by_its_size_and_found_whole() {
    let world = World::new();
    let run = world.waiting(1);
    let (small, large) = (limits::LISTED_VALUE_BYTES, limits::LISTED_VALUE_BYTES + 1);
    let token = world.token(&run, None);
    for (sequence, bytes) in [(2, small), (3, large)] {
        let value = format!("\"{}\"", "x".repeat(bytes - 2));
        world.report(&token, &run, NODE, success(&value)).expect("taken");
        // The node is tried again, and waits with another token.
        world.store.begin_wait(&run.tenant_id, run.run_id, &node_id(NODE), &format!("token-{sequence}"));
        let now = world.clock.now();
        world.store.update_run(&run.tenant_id, run.run_id, |run| run.awaiting(NODE, now));
        let page = block_on(list_inputs(&world.store, &world.caller, run.run_id, 100, None, now)).expect("lists");
        let whole = Whole::Value(value);
        let shown = if bytes == small { whole.clone() } else { Whole::Bytes(large) };
        let last = page.items.last().expect("an input");
        assert_eq!((last.sequence, &last.given), (sequence, &Given::Data(node_id(NODE), shown)));
        let found = block_on(get_input(&world.store, &world.caller, run.run_id, sequence, now)).expect("found");
        assert_eq!(found.given, Given::Data(node_id(NODE), whole));
    }
}

#[test]
fn paused_time_is_left_out_of_the_duration_where_the_definition_says_so() {
    let world = World::new();
    let limited = sluice_core::flow::create_run::Command { max_run_duration_seconds: Some(100), ..command() };
    for (id, exclude_paused_time) in [(1, false), (2, true)] {
        let run = world.create(limited.clone(), id).expect("accepted").run;
        assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
        world.store.update_run(&run.tenant_id, run.run_id, |run| {
            Some(Run { spec: RunSpec { exclude_paused_time, ..run.spec.clone() }, ..run.clone() })
        });
        block_on(pause_run(&world.store, &world.engine, &world.caller, run.run_id, world.clock.now()))
            .expect("accepted");
        let now = world.clock.now();
        world.store.update_run(&run.tenant_id, run.run_id, |run| run.parked("token", now));
        assert_eq!(world.run(run.run_id).deadline().is_none(), exclude_paused_time, "no deadline while paused");
        world.clock.advance(500);
        let now = world.clock.now();
        world.store.update_run(&run.tenant_id, run.run_id, |run| run.after(RunEvent::Resumed, now));
        let resumed = world.run(run.run_id);
        assert_eq!(resumed.status(), RunStatus::Running);
        assert_eq!(resumed.state.times().map(|times| times.paused_ms), Some(500_000));
        assert_eq!(resumed.deadline().is_some_and(|deadline| deadline <= now), !exclude_paused_time);
    }
}

#[test]
fn a_run_can_be_commented_on_open_or_ended() {
    let world = World::new();
    let run = world.running(1);
    let comment = |id: &str, text: &str| {
        let now = world.clock.now();
        block_on(comment_on(&world.store, &world.caller, run.run_id, id.to_owned(), text.to_owned(), now))
    };
    comment("1", "looks odd").expect("added");
    world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
    comment("2", "was fine").expect("added");
    assert!(matches!(comment("3", "  "), Err(Refusal::Invalid(_))));
    let listed = block_on(world.store.list_comments(&run.tenant_id, run.run_id, 10, None)).expect("lists");
    assert_eq!(listed.items.iter().map(|one| one.text.as_str()).collect::<Vec<_>>(), ["looks odd", "was fine"]);
    assert!(block_on(world.store.load_run(&fixture::tenant("other"), run.run_id)).expect("reads").is_none());
}

#[test]
fn a_result_whose_calls_took_its_run_above_the_cap_is_not_taken_and_its_calls_count() {
    for (cost, is_taken) in [(10_000, true), (10_001, false)] {
        let world = World::new();
        let capped = sluice_core::flow::create_run::Command { execution_budget: cap("0.00001"), ..command() };
        let run = world.create(capped, 1).expect("accepted").run;
        assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
        let run = world.make_wait(world.run(run.run_id));
        let call = LlmCall {
            call_id: "a-call".to_owned(),
            node_id: Some(node_id(NODE)),
            provider: "acme".to_owned(),
            model: "small".to_owned(),
            input_tokens: 1,
            output_tokens: 1,
            cached_tokens: 0,
            cost_nano_usd: NanoUsd(cost),
            latency_ms: 1,
            reported_at: world.clock.now(),
        };
        let report = NodeReport { usage: vec![call], ..success("1") };
        match world.report(&world.token(&run, None), &run, NODE, report) {
            Ok(reported) => assert!(is_taken, "{reported:?}"),
            Err(Refusal::Conflict { code, message }) => {
                assert!(!is_taken, "{message}");
                assert_eq!(code, ConflictCode::WrongStatus);
                assert!(message.contains("takes no results"), "{message}");
            }
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(world.engine.take_answer("a-task-token").is_some(), is_taken);
        let status = if is_taken { RunStatus::Running } else { RunStatus::Canceling };
        let spent = world.store.used(&run.tenant_id, run.run_id).spent();
        assert_eq!((world.run(run.run_id).status(), spent), (status, NanoUsd(cost)));
    }
}

#[test]
fn a_token_lives_and_a_comment_and_an_error_are_as_long_as_their_bounds_say() {
    let world = World::new();
    let run = world.waiting(1);
    let (shortest, longest) = (*limits::REPORT_TOKEN_SECONDS.start(), *limits::REPORT_TOKEN_SECONDS.end());
    for (seconds, is_taken) in [(shortest - 1, false), (shortest, true), (longest, true), (longest + 1, false)] {
        let now = world.clock.now();
        let made = block_on(create_report_token(&world.store, &world.caller, run.run_id, None, seconds, "s", now));
        match made {
            Ok((_, token)) => {
                assert!(is_taken, "{seconds}");
                assert_eq!(token.expires_at, now + jiff::SignedDuration::from_secs(seconds));
            }
            Err(refused) => assert!(!is_taken && matches!(refused, Refusal::Invalid(_)), "{seconds}: {refused:?}"),
        }
    }
    let most = limits::COMMENT_CHARS;
    for (id, (text, is_taken)) in
        [("ä".to_owned(), true), ("ä".repeat(most), true), ("ä".repeat(most + 1), false), (String::new(), false)]
            .into_iter()
            .enumerate()
    {
        let (id, now) = (id.to_string(), world.clock.now());
        let added = block_on(comment_on(&world.store, &world.caller, run.run_id, id, text.clone(), now));
        match added {
            Ok(comment) => assert_eq!((true, comment.text), (is_taken, text)),
            Err(refused) => assert!(!is_taken && matches!(refused, Refusal::Invalid(_)), "{refused:?}"),
        }
    }
    let token = world.token(&run, None);
    for (code, is_taken) in [
        ("ä".repeat(RunError::CODE_CHARS + 1), false),
        (String::new(), false),
        ("ä".repeat(RunError::CODE_CHARS), true),
    ] {
        let failure = NodeOutcome::Failure(RunError { code: code.clone(), message: String::new() });
        let reported = world.report(&token, &run, NODE, NodeReport { outcome: Some(failure), ..NodeReport::default() });
        assert_eq!(reported.is_ok(), is_taken, "{code}: {reported:?}");
    }
}
