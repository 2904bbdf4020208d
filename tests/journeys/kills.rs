//! A function's process dies at the worst moments, and nothing is lost or doubled.
//!
//! To stop a real process at one exact point without a hook in the product, a gate stands between it and AWS: everything
//! passes but one call, which is kept on its way there (asked for, not done) or on its way back (done, not known). While
//! the function waits for it, the journey looks at what is on record, and then SIGKILLs the process.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};
use sluice_local::receiver::Reply;
use sluice_local::{Answer, Stack};

use crate::world::{
    Journey, PATIENCE, body, eventually, hold, hold_node, holding, instant, is_terminal, list, run_path, text, within,
};

/// Where a process dies.
struct Point {
    /// Also the tenant.
    name: &'static str,
    function: &'static str,
    /// The endpoint that the gate takes the place of, and the call that it keeps.
    endpoint: &'static str,
    keep: Keep,
    prepare: fn(&Journey),
    /// What makes the function come to the point. The answer is that of the one who asked, if anybody did.
    act: fn(&Journey) -> Option<Answer>,
    /// What is on record at the point.
    on_record: fn(&Journey),
    /// How the runs end, once what is left is mended.
    ends: &'static str,
    /// The attempts that come of each run's webhook.
    attempts: RangeInclusive<u32>,
}

/// The call that a gate keeps.
#[derive(Clone, Copy)]
enum Keep {
    /// Of this operation, after so many of them have passed: it never arrives.
    OnTheWayThere(&'static str, usize),
    /// It is done, and its answer never arrives.
    OnTheWayBack(&'static str),
    /// None: somebody else keeps the function waiting.
    Nothing,
}

const SFN: &str = "AWS_ENDPOINT_URL_SFN";
const DYNAMODB: &str = "AWS_ENDPOINT_URL_DYNAMODB";

// Those that stop run-callback come first: nobody else's message is on its way then.
const POINTS: [Point; 10] = [
    Point {
        name: "killed-after-end",
        function: "run-callback",
        endpoint: DYNAMODB,
        // The first transaction of an ended execution is the end of its run.
        keep: Keep::OnTheWayBack("TransactWriteItems"),
        prepare: |acme| drop(acme.define("instant", &instant())),
        act: |acme| {
            assert_eq!(create(acme).status, 201);
            None
        },
        on_record: |acme| {
            assert_eq!(statuses(acme), ["SUCCEEDED"]);
            for delivery in acme.deliveries(&run_ids(acme)[0]) {
                assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("IN_FLIGHT"), &json!([])));
            }
            assert!(acme.stack.receiver.received(&acme.tenant).is_empty());
        },
        ends: "SUCCEEDED",
        // The first was begun with the end, and nobody can know that it never left.
        attempts: 2..=2,
    },
    Point {
        name: "killed-after-webhook",
        function: "run-callback",
        endpoint: SFN,
        keep: Keep::Nothing,
        prepare: |acme| {
            acme.define("instant", &instant());
            // Whoever the queue tells of the second attempt has patience: it takes the webhook, and its answer comes too late.
            acme.stack.receiver.answer_next(&acme.tenant, [Reply::status(500), Reply::status(200).after(PATIENCE)]);
        },
        act: |acme| {
            assert_eq!(create(acme).status, 201);
            None
        },
        on_record: |acme| {
            let received = acme.webhooks(2, PATIENCE);
            assert_eq!(received.len(), 2);
            let deliveries = acme.deliveries(&run_ids(acme)[0]);
            let webhook = deliveries.iter().find(|delivery| delivery["channel"] == "webhook").expect("a webhook");
            assert_eq!((&webhook["status"], list(&webhook["attempts"]).len()), (&json!("IN_FLIGHT"), 1));
        },
        ends: "SUCCEEDED",
        // At least once: nobody knows that the second one arrived.
        attempts: 1..=3,
    },
    Point {
        name: "killed-before-start",
        function: "create-run",
        endpoint: SFN,
        keep: Keep::OnTheWayThere("StartExecution", 0),
        prepare: |acme| drop(acme.define("instant", &instant())),
        act: |acme| Some(create(acme)),
        on_record: |acme| {
            assert_eq!(statuses(acme), ["PENDING"]);
            assert_eq!(acme.executions(), Vec::<String>::new(), "it was recorded and never started");
        },
        ends: "SUCCEEDED",
        attempts: 1..=1,
    },
    Point {
        name: "killed-after-start",
        function: "create-run",
        endpoint: SFN,
        keep: Keep::OnTheWayBack("StartExecution"),
        prepare: |acme| drop(acme.define("instant", &instant())),
        act: |acme| Some(create(acme)),
        on_record: |acme| assert_eq!(acme.executions(), run_ids(acme), "it was recorded and started"),
        ends: "SUCCEEDED",
        attempts: 1..=1,
    },
    Point {
        name: "killed-in-sweep",
        function: "reconcile-runs",
        endpoint: SFN,
        keep: Keep::OnTheWayThere("StartExecution", 1),
        prepare: |acme| {
            acme.define("instant", &instant());
            // Nobody is at home there: two runs are recorded and not started.
            acme.stack.set_environment("create-run", &[(SFN, Some("http://127.0.0.1:1"))]).expect("set");
            let created = [create_with_key(acme, "one"), create_with_key(acme, "two")];
            acme.stack.set_environment("create-run", &[(SFN, None)]).expect("mended");
            assert!(created.iter().all(|answer| answer.status == 201));
        },
        act: |acme| {
            // The first sweeps leave runs alone that are so young. The one that does not is killed.
            eventually("a sweep to be killed", || {
                let swept = acme.stack.invoke("reconcile-runs", &json!({}));
                swept.map_or(Some(()), |swept| swept.function_error.map(drop))
            });
            None
        },
        on_record: |acme| {
            assert_eq!(run_ids(acme).len(), 2);
            assert_eq!(acme.executions().len(), 1, "one is started, the other not");
        },
        ends: "SUCCEEDED",
        attempts: 1..=1,
    },
    Point {
        name: "killed-before-board",
        function: "advance-run",
        endpoint: DYNAMODB,
        // Its first transaction is the first change of the run's board.
        keep: Keep::OnTheWayThere("TransactWriteItems", 0),
        prepare: two_nodes,
        act: unanswered,
        on_record: |acme| {
            assert_eq!(statuses(acme), ["RUNNING"], "it is claimed");
            assert_eq!(step_statuses(acme), ["PENDING", "PENDING"], "and nothing is decided");
        },
        ends: "SUCCEEDED",
        attempts: 1..=1,
    },
    Point {
        name: "killed-after-board",
        function: "advance-run",
        endpoint: DYNAMODB,
        keep: Keep::OnTheWayBack("TransactWriteItems"),
        prepare: two_nodes,
        act: unanswered,
        on_record: |acme| assert_eq!(step_statuses(acme), ["RUNNING", "PENDING"], "what nobody is told of yet"),
        ends: "SUCCEEDED",
        attempts: 1..=1,
    },
    Point {
        name: "killed-after-word",
        function: "advance-run",
        endpoint: SFN,
        keep: Keep::OnTheWayBack("SendTaskSuccess"),
        prepare: two_nodes,
        act: unanswered,
        on_record: |acme| assert_eq!(statuses(acme), ["RUNNING"], "its worker is told"),
        ends: "SUCCEEDED",
        attempts: 1..=1,
    },
    Point {
        name: "killed-before-answer",
        function: "control-run",
        endpoint: SFN,
        keep: Keep::OnTheWayThere("SendTaskSuccess", 0),
        prepare: |acme| {
            acme.define("asking", &json!({"nodes": [{"id": "ask", "type": "external"}]}));
            let run_id = acme.start("asking", json!({"completionCallbackUrl": acme.hook()}));
            eventually("the wait", || (acme.steps(&run_id)[0]["status"] == "WAITING").then_some(()));
        },
        act: |acme| {
            let path = format!("{}/data", run_path(&run_ids(acme)[0]));
            Some(acme.post(&path, json!({"nodeId": "ask", "data": {"approved": true}})))
        },
        on_record: |acme| {
            assert_eq!(statuses(acme), ["RUNNING"], "the answer is on record");
            assert_eq!(acme.steps(&run_ids(acme)[0])[0]["status"], "SUCCEEDED", "and so is the end of its node");
        },
        ends: "SUCCEEDED",
        attempts: 1..=1,
    },
    Point {
        name: "killed-before-stop",
        function: "cancel-run",
        endpoint: SFN,
        keep: Keep::OnTheWayThere("StopExecution", 0),
        prepare: |acme| {
            acme.define("hold", &hold(json!({"maxAttempts": 1})));
            let mut request = holding(json!({"seconds": 25}));
            request["completionCallbackUrl"] = json!(acme.hook());
            let run_id = acme.start("hold", request);
            acme.in_status(&run_id, "RUNNING");
        },
        act: |acme| Some(acme.post(&format!("{}/cancel", run_path(&run_ids(acme)[0])), "")),
        on_record: |acme| {
            assert_eq!(statuses(acme), ["CANCELING"], "the intent is on record");
            assert_eq!(acme.execution(&acme.run(&run_ids(acme)[0]))["status"], "RUNNING");
        },
        ends: "CANCELED",
        attempts: 1..=1,
    },
];

#[test]
fn a_process_that_is_killed_loses_nothing_and_doubles_nothing() {
    let operator = Journey::with_faults("killed");
    let journeys: Vec<(&Point, Journey)> = POINTS.iter().map(|point| (point, operator.neighbour(point.name))).collect();
    for (point, journey) in &journeys {
        kill_at(point, journey);
        // A message in flight is given up for lost after a minute: meanwhile the other points have their turn.
        if point.function != "run-callback" {
            mend(&operator, point, journey);
        }
    }
    for (point, journey) in &journeys {
        mend(&operator, point, journey);
    }
    operator.reconcile();
    for (point, journey) in &journeys {
        is_as_if_nothing_had_happened(point, journey);
    }
}

/// Sweeps until there is nothing left to mend.
fn mend(operator: &Journey, point: &Point, journey: &Journey) {
    within(PATIENCE * 2, &format!("the sweep to mend what was {}", point.name), || {
        operator.reconcile();
        is_whole(journey).then_some(())
    });
}

/// Stops the function's process at the point, and kills it there.
fn kill_at(point: &Point, journey: &Journey) {
    let stack = journey.stack;
    (point.prepare)(journey);
    let gate = Gate::before(stack, point.keep);
    let set = |url: Option<&str>| stack.set_environment(point.function, &[(point.endpoint, url)]).expect(point.name);
    set(Some(&gate.url()));
    let answer = thread::scope(|scope| {
        let asking = scope.spawn(|| (point.act)(journey));
        // It must not be told that it waits for nothing.
        let _kept = (!matches!(point.keep, Keep::Nothing)).then(|| gate.wait(point.name));
        (point.on_record)(journey);
        let victims = processes_with(&format!("{}={}", point.endpoint, gate.url()));
        assert!(!victims.is_empty(), "{}: the function's process is not to be found", point.name);
        let killed = Command::new("kill").arg("-9").args(&victims).status();
        assert!(killed.is_ok_and(|status| status.success()), "{}: {victims:?}", point.name);
        asking.join().expect("an answer")
    });
    set(None);
    let Some(answer) = answer else { return };
    assert!(answer.status >= 500, "{}: {} {}", point.name, answer.status, answer.text());
    if point.function == "create-run" {
        // The caller, who knows nothing, asks again with the same key.
        let again = create(journey);
        assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")), "{}", again.text());
        assert_eq!(run_ids(journey), [text(&again.json()["id"])]);
    }
}

/// Whether every run is over and has said so.
fn is_whole(journey: &Journey) -> bool {
    let runs = list(&journey.read("/v1/workflow-runs")["runs"]);
    let is_told = |run: &Value| {
        let deliveries = journey.deliveries(&text(&run["id"]));
        deliveries.iter().all(|delivery| delivery["status"] == "DELIVERED")
    };
    runs.iter().all(|run| is_terminal(run) && is_told(run))
}

/// One execution for each run, one end, and one message to its caller, who may get it twice.
fn is_as_if_nothing_had_happened(point: &Point, journey: &Journey) {
    let name = point.name;
    let mut run_ids = run_ids(journey);
    run_ids.sort_unstable();
    let mut executions = journey.executions();
    executions.sort_unstable();
    assert_eq!(executions, run_ids, "{name}");
    assert!(statuses(journey).iter().all(|status| status == point.ends), "{name}: {:?}", statuses(journey));
    let expected: Vec<String> = point.attempts.clone().map(|number| number.to_string()).collect();
    let received = journey.webhooks(run_ids.len() * expected.len(), PATIENCE);
    assert_eq!(received.len(), run_ids.len() * expected.len(), "{name}");
    for run_id in &run_ids {
        let told: Vec<_> = received.iter().filter(|webhook| webhook.json()["runId"] == **run_id).collect();
        let attempts: Vec<String> =
            told.iter().filter_map(|webhook| webhook.header("webhook-attempt").map(str::to_owned)).collect();
        assert_eq!(attempts, expected, "{name}");
        for webhook in &told {
            assert_eq!(webhook.header("webhook-id"), Some(format!("{run_id}.1").as_str()), "{name}");
            assert_eq!(webhook.body, told[0].body, "{name}: the same bytes on every attempt");
            assert_eq!(webhook.json()["status"], point.ends, "{name}");
        }
        assert_eq!(journey.deliveries(run_id).len(), 2, "{name}: the webhook, and the event on the bus");
    }
    if point.function == "advance-run" {
        for step in journey.steps(&run_ids[0]) {
            assert_eq!((&step["status"], &step["attempt"]), (&json!("SUCCEEDED"), &json!(1)), "{name}: {step}");
        }
    }
    if name == "killed-before-answer" {
        assert_eq!(journey.step(&run_ids[0], "ask")["result"], json!({"approved": true}));
    }
}

fn two_nodes(journey: &Journey) {
    let nodes = ["one", "two"].map(|id| hold_node(id, json!({"maxAttempts": 1})));
    journey.define("instant", &json!({"nodes": nodes, "edges": [{"from": "one", "to": "two"}]}));
}

/// A run that is made; what happens to it is nobody's answer.
fn unanswered(journey: &Journey) -> Option<Answer> {
    assert_eq!(create(journey).status, 201);
    None
}

fn step_statuses(journey: &Journey) -> Vec<String> {
    journey.steps(&run_ids(journey)[0]).iter().map(|step| text(&step["status"])).collect()
}

fn create(journey: &Journey) -> Answer {
    create_with_key(journey, "key")
}

fn create_with_key(journey: &Journey, key: &str) -> Answer {
    let request = body("instant", json!({"completionCallbackUrl": journey.hook()})).to_string();
    journey.create_with_key(key, request)
}

fn run_ids(journey: &Journey) -> Vec<String> {
    list(&journey.read("/v1/workflow-runs")["runs"]).iter().map(|run| text(&run["id"])).collect()
}

fn statuses(journey: &Journey) -> Vec<String> {
    list(&journey.read("/v1/workflow-runs")["runs"]).iter().map(|run| text(&run["status"])).collect()
}

/// Ids of the processes whose environment has this variable. The local stack's functions are plain processes.
fn processes_with(variable: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc: this journey needs Linux");
    processes
        .flatten()
        .filter(|process| {
            // Other people's processes cannot be read.
            fs::read(process.path().join("environ"))
                .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes()))
        })
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Stands before AWS and passes on what it is asked, but for what it keeps.
struct Gate {
    address: SocketAddr,
    /// The connections of those who wait: open for as long as the gate stands.
    kept: Receiver<TcpStream>,
}

impl Gate {
    fn before(stack: &Stack, keep: Keep) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (waiting, kept) = mpsc::channel();
        let aws = stack.aws_endpoint_url.trim_start_matches("http://").to_owned();
        // What passes was signed for the gate's own address: the emulator's guard takes it by the key.
        let key = format!("\r\n{}: {}\r\n\r\n", stack.emulator_key.0, stack.emulator_key.1);
        let passed: Arc<Mutex<usize>> = Arc::default();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (aws, key, passed, waiting) = (aws.clone(), key.clone(), Arc::clone(&passed), waiting.clone());
                // Whoever is killed breaks off in the middle.
                thread::spawn(move || drop(pass(connection, &aws, &key, keep, &passed, &waiting)));
            }
        });
        Self { address, kept }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a call to keep.
    fn wait(&self, what: &str) -> TcpStream {
        self.kept.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what}: nobody came to the gate"))
    }
}

/// Serves one connection until it ends or a call of it is kept.
fn pass(
    mut near: TcpStream,
    aws: &str,
    key: &str,
    keep: Keep,
    passed: &Mutex<usize>,
    waiting: &Sender<TcpStream>,
) -> io::Result<()> {
    let mut reader = BufReader::new(near.try_clone()?);
    while let Some((head, body)) = read_message(&mut reader)? {
        let operation = header(&head, "x-amz-target").and_then(|target| target.rsplit('.').next()).unwrap_or_default();
        if let Keep::OnTheWayThere(kept, first) = keep
            && kept == operation
        {
            let mut passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
            if *passed >= first {
                drop(waiting.send(near));
                return Ok(());
            }
            *passed += 1;
        }
        let mut far = TcpStream::connect(aws)?;
        far.write_all(&[head.trim_end().as_bytes(), key.as_bytes(), &body].concat())?;
        let Some((answer, answer_body)) = read_message(&mut BufReader::new(far))? else { return Ok(()) };
        if matches!(keep, Keep::OnTheWayBack(kept) if kept == operation) {
            drop(waiting.send(near));
            return Ok(());
        }
        near.write_all(&[answer.as_bytes(), &answer_body].concat())?;
    }
    Ok(())
}

/// The head of an HTTP message with its empty line, and its body; `None` when the connection has ended.
fn read_message(reader: &mut impl BufRead) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
