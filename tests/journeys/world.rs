//! The stacks, and one journey's view of one of them.
//!
//! [`Journey`] asks, each of its own tenant; [`eventually`] waits; [`bodies`] has what is asked for.

mod bodies;
mod silence;
mod stacks;

use std::collections::BTreeMap;
use std::fs;
use std::sync::{MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_local::receiver::Received;
use sluice_local::{Answer, Stack, poll};

pub use bodies::{asking, body, hold, hold_node, holding, instant};
pub use silence::Silence;
pub use stacks::STACK;
use stacks::{FAULTS, TURN};

/// A caller of one stack, as a tenant that nobody else is.
///
/// When it ends well, no function of its stack has ever logged what none may.
pub struct Journey {
    pub stack: &'static Stack,
    pub tenant: String,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Journey {
    pub fn of(tenant: &str) -> Self {
        Self { stack: &STACK, tenant: tenant.to_owned(), _turn: None }
    }

    /// On the stack that may be broken, alone. Whoever breaks it mends it.
    pub fn with_faults(tenant: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { stack: &FAULTS, tenant: tenant.to_owned(), _turn: Some(turn) }
    }

    /// The same stack, as another tenant.
    pub fn neighbour(&self, tenant: &str) -> Self {
        Self { stack: self.stack, tenant: tenant.to_owned(), _turn: None }
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let mut all = vec![("x-dev-tenant", self.tenant.as_str()), JSON[0]];
        all.retain(|(name, _)| headers.iter().all(|(given, _)| given != name));
        all.extend_from_slice(headers);
        let answer = self.stack.request(method, path, &all, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "")
    }

    pub fn post(&self, path: &str, body: impl ToString) -> Answer {
        self.request("POST", path, &[], body.to_string())
    }

    pub fn put(&self, path: &str, body: impl ToString) -> Answer {
        self.request("PUT", path, &[], body.to_string())
    }

    pub fn patch(&self, path: &str, body: impl ToString) -> Answer {
        self.request("PATCH", path, &[], body.to_string())
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], "")
    }

    /// A request about a run that must succeed with this status.
    pub fn tell(&self, run_id: &str, verb: &str, body: impl ToString, status: u16) -> Value {
        let answer = self.post(&format!("{}/{verb}", run_path(run_id)), body);
        assert_eq!(answer.status, status, "{verb}: {}", answer.text());
        answer.json()
    }

    /// Whoever declares what runs where, on the same stack.
    pub fn operator(&self) -> Self {
        self.neighbour(&self.stack.tenant)
    }

    /// What the operator allows this tenant from now on: it counts at once.
    pub fn allow(&self, settings: &Value) {
        let path = format!("/v1/tenants/{}", self.tenant);
        let answer = self.operator().put(&path, settings);
        assert_eq!(answer.status, 200, "{settings}: {}", answer.text());
    }

    /// What is read at a path that must be there.
    pub fn read(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// A definition with one active version; returns its id.
    pub fn define(&self, name: &str, version: &Value) -> String {
        self.define_with(name, json!({}), version)
    }

    /// [`Self::define`], with further fields of the definition.
    pub fn define_with(&self, name: &str, fields: Value, version: &Value) -> String {
        let mut definition = fields;
        definition["name"] = json!(name);
        let made = self.post("/v1/workflow-definitions", definition);
        assert_eq!(made.status, 201, "{name}: {}", made.text());
        self.add_version(name, version, true);
        text(&made.json()["id"])
    }

    pub fn add_version(&self, name: &str, version: &Value, activate: bool) -> Value {
        let mut version = version.clone();
        version["activate"] = json!(activate);
        let added = self.post(&format!("/v1/workflow-definitions/{name}/versions"), version);
        assert_eq!(added.status, 201, "{name}: {}", added.text());
        added.json()
    }

    /// A run of a definition, with further fields of the request.
    pub fn create(&self, definition: &str, fields: Value) -> Value {
        let answer = self.post("/v1/workflow-runs", body(definition, fields));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// [`Self::create`], but for its answer only the new run's id.
    pub fn start(&self, definition: &str, fields: Value) -> String {
        text(&self.create(definition, fields)["id"])
    }

    /// [`Self::start`], once the run's node `ask` waits for its answer.
    pub fn start_asking(&self, definition: &str, fields: Value) -> String {
        let run_id = self.start(definition, fields);
        self.waiting(&run_id, "ask", 1);
        run_id
    }

    /// What is answered to a request for a run under a key.
    pub fn create_with_key(&self, key: &str, request: impl ToString) -> Answer {
        self.request("POST", "/v1/workflow-runs", &[("idempotency-key", key)], request.to_string())
    }

    /// The pages of a list, each as it was answered, from a path that may have a query.
    pub fn pages(&self, path: &str) -> Vec<Value> {
        let mut pages = vec![self.read(path)];
        let joint = if path.contains('?') { '&' } else { '?' };
        while let Some(cursor) = pages.last().and_then(|page| page["nextCursor"].as_str()) {
            let next = self.read(&format!("{path}{joint}cursor={cursor}"));
            pages.push(next);
        }
        pages
    }

    /// Everything in a list, whose pages have it under this name.
    pub fn listed(&self, path: &str, name: &str) -> Vec<Value> {
        self.pages(path).iter().flat_map(|page| list(&page[name])).collect()
    }

    pub fn run(&self, run_id: &str) -> Value {
        self.read(&run_path(run_id))
    }

    /// The run once it is over.
    pub fn ended(&self, run_id: &str) -> Value {
        eventually(&format!("run {run_id} to end"), || {
            let run = self.read(&format!("{}?waitSeconds=20", run_path(run_id)));
            is_terminal(&run).then_some(run)
        })
    }

    /// The run once it has this status.
    pub fn in_status(&self, run_id: &str, status: &str) -> Value {
        eventually(&format!("run {run_id} to be {status}"), || {
            let run = self.run(run_id);
            assert!(run["status"] == status || !is_terminal(&run), "it ended before it was {status}: {run}");
            (run["status"] == status).then_some(run)
        })
    }

    /// The run once this node waits for its answer, at this attempt.
    pub fn waiting(&self, run_id: &str, node_id: &str, attempt: u32) -> Value {
        eventually(&format!("node {node_id} of run {run_id} to wait"), || {
            let run = self.run(run_id);
            assert!(!is_terminal(&run), "it ended before {node_id} waited: {run}");
            let step = self.step(run_id, node_id);
            let waits = step["status"] == "WAITING" && step["attempt"] == attempt;
            (waits && list(&run["waitingNodes"]).contains(&json!(node_id))).then_some(run)
        })
    }

    /// Answers the node `ask` once it waits; returns the run once it is over.
    pub fn answered(&self, run_id: &str) -> Value {
        self.waiting(run_id, "ask", 1);
        self.tell(run_id, "data", json!({"nodeId": "ask", "data": {"approved": true}}), 202);
        self.ended(run_id)
    }

    /// Stops a run; returns it once it is over.
    pub fn canceled(&self, run_id: &str) -> Value {
        let canceled = self.post(&format!("{}/cancel", run_path(run_id)), "");
        assert!(canceled.status == 200 || canceled.status == 202, "{}", canceled.text());
        self.ended(run_id)
    }

    pub fn snapshot(&self, run_id: &str) -> Value {
        self.read(&format!("{}?include=snapshot", run_path(run_id)))["snapshot"].clone()
    }

    /// Ids of the runs that a filter finds, in their order.
    pub fn found(&self, query: &str) -> Vec<String> {
        self.listed(&format!("/v1/workflow-runs{query}"), "runs").iter().map(|run| text(&run["id"])).collect()
    }

    pub fn steps(&self, run_id: &str) -> Vec<Value> {
        self.listed(&format!("{}/steps", run_path(run_id)), "steps")
    }

    pub fn step(&self, run_id: &str, node_id: &str) -> Value {
        self.read(&format!("{}/steps/{node_id}", run_path(run_id)))
    }

    pub fn deliveries(&self, run_id: &str) -> Vec<Value> {
        list(&self.read(&format!("{}/deliveries", run_path(run_id)))["deliveries"])
    }

    /// The deliveries once none of them is owed any more.
    pub fn delivered(&self, run_id: &str) -> Vec<Value> {
        eventually(&format!("the deliveries of run {run_id}"), || {
            let deliveries = self.deliveries(run_id);
            let done = |delivery: &Value| delivery["status"] == "DELIVERED" || delivery["status"] == "DEAD_LETTERED";
            (!deliveries.is_empty() && deliveries.iter().all(done)).then_some(deliveries)
        })
    }

    /// The tenant's own hook.
    pub fn hook(&self) -> String {
        self.stack.receiver.url(&self.tenant)
    }

    /// All requests at the tenant's hook, once there are so many. Every one is signed by run-callback.
    pub fn webhooks(&self, count: usize, patience: Duration) -> Vec<Received> {
        let received = self.stack.receiver.wait(&self.tenant, count, patience);
        let received = received.unwrap_or_else(|error| panic!("{error}"));
        for webhook in &received {
            assert!(webhook.verification.verified, "{:?}", webhook.verification);
            let signer = webhook.verification.signer.as_deref().unwrap_or_default();
            assert!(signer.ends_with(&format!("/{}", self.stack.function_name("run-callback"))), "{signer}");
        }
        received
    }

    /// Items in the table that belong to the tenant.
    pub fn items(&self) -> Vec<Value> {
        let mut items = Vec::new();
        let mut start = Value::Null;
        loop {
            let mut scan = json!({
                "TableName": self.stack.table,
                "ConsistentRead": true,
                "FilterExpression": "begins_with(pk, :tenant)",
                "ExpressionAttributeValues": {":tenant": {"S": format!("T#{}#", self.tenant)}},
            });
            if !start.is_null() {
                scan["ExclusiveStartKey"] = start;
            }
            let page = self.stack.aws("dynamodb", "scan", scan).expect("a scan");
            items.extend(list(&page["Items"]));
            start = page["LastEvaluatedKey"].clone();
            if start.is_null() {
                return items;
            }
        }
    }

    /// Items of one run.
    pub fn items_of(&self, run_id: &str) -> Vec<Value> {
        let pk = format!("T#{}#RUN#{run_id}", self.tenant);
        self.items().into_iter().filter(|item| item["pk"]["S"] == pk).collect()
    }

    /// Slots held and runs queued, by the counter: `TENANT`, or a definition's id.
    pub fn counters(&self) -> BTreeMap<String, (i64, i64)> {
        let number = |value: &Value| value["N"].as_str().map_or(0, |number| number.parse().expect("a number"));
        let counters = self.items().into_iter().filter(|item| item["kind"]["S"] == "slots");
        counters
            .map(|item| {
                let of = text(&item["sk"]["S"]).trim_start_matches("DEF#").to_owned();
                (of, (number(&item["held"]), number(&item["queued"])))
            })
            .collect()
    }

    /// What the engine knows of a run's execution.
    pub fn execution(&self, run: &Value) -> Value {
        let arn = &run["executionArn"];
        let described = self.stack.aws("stepfunctions", "describe_execution", json!({"executionArn": arn}));
        described.unwrap_or_else(|error| panic!("{arn}: {error}"))
    }

    /// Names of all executions whose input names the tenant.
    pub fn executions(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut token = Value::Null;
        loop {
            let mut params = json!({"stateMachineArn": self.stack.runner_arn, "maxResults": 1000});
            if !token.is_null() {
                params["nextToken"] = token;
            }
            let page = self.stack.aws("stepfunctions", "list_executions", params).expect("executions");
            for execution in list(&page["executions"]) {
                let input = &self.execution(&execution)["input"];
                let input: Value = serde_json::from_str(input.as_str().unwrap_or_default()).unwrap_or_default();
                if input["tenantId"] == *self.tenant {
                    names.push(text(&execution["name"]));
                }
            }
            token = page["nextToken"].clone();
            if token.is_null() {
                return names;
            }
        }
    }

    /// One sweep, now.
    pub fn reconcile(&self) {
        let done = self.stack.invoke("reconcile-runs", &json!({})).expect("an answer");
        assert_eq!(done.function_error, None, "{}", done.payload);
    }
}

/// What no function may ever log: that it was denied something, that it broke down, or what is secret.
const NEVER_LOGGED: [&str; 7] = [
    "\"level\":\"ERROR\"",
    "AccessDenied",
    "is not authorized to perform",
    "panicked at",
    "Bearer ey",
    "x-amz-security-token",
    // The callers' own context: see the journey that sends it.
    "12345678901234567890123",
];

impl Drop for Journey {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let path = self.stack.folder.join("functions.log");
        let read = || Some(fs::read_to_string(&path).unwrap_or_default()).filter(|log| !log.is_empty());
        let log = eventually("the functions' log", read);
        let lowered = |line: &str| line.to_lowercase();
        let bad: Vec<&str> = log
            .lines()
            .filter(|line| NEVER_LOGGED.iter().any(|never| lowered(line).contains(&never.to_lowercase())))
            .collect();
        assert!(bad.is_empty(), "{} has {}", path.display(), bad.join("\n"));
    }
}

/// Within this time everything that is under way has happened, on a slow machine too.
pub const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(200);

pub const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

pub fn run_path(run_id: &str) -> String {
    format!("/v1/workflow-runs/{run_id}")
}

pub fn is_terminal(run: &Value) -> bool {
    ["SUCCEEDED", "FAILED", "CANCELED"].iter().any(|status| run["status"] == *status)
}

/// Status and code of a refusal.
pub fn refused(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{} {}", answer.status, answer.text());
    (answer.status, text(&answer.json()["code"]))
}

/// `pointer code` of every error, after the form of a problem was checked.
pub fn errors(answer: &Answer, status: u16) -> Vec<String> {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text());
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    for field in ["type", "title", "detail", "code", "instance"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {problem}");
    }
    assert_eq!(problem["type"], format!("urn:sluice:problem:{}", text(&problem["code"])));
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| format!("{} {}", text(&error["pointer"]), text(&error["code"]))).collect()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub fn list(value: &Value) -> Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}")).clone()
}

/// Asks until there is an answer.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, ask)
}

pub fn within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    poll(what, patience, POLL, || Ok(ask())).unwrap_or_else(|error| panic!("{error}"))
}
