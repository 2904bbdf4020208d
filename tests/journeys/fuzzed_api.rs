//! All that schemathesis makes of the API's description, good and bad: whatever is asked, the answer is one of the
//! description's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sluice_local::program;

use crate::world::{Journey, text};

/// How schemathesis is told to ask.
const SETTINGS: &str = "tests/journeys/fuzzed_api.toml";

/// Parts of the API that are asked side by side, by what their paths match. Not in threads of one schemathesis: its
/// generator does not always survive them.
const PARTS: [(&str, &str); 4] = [
    ("definitions", "^/v1/workflow-definitions(?!.*/invoke$)"),
    ("new-runs", "^/v1/workflow-runs$|/invoke$"),
    ("one-run", "^/v1/workflow-runs/"),
    ("others", "^/v1/(?!workflow-(definitions|runs))"),
];

/// Longer than the whole journey.
const TOKEN_LIFETIME: Duration = Duration::from_secs(1800);

/// The callback URL of the description's examples.
const EXAMPLE_HOOK: &str = "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws/hook";

/// In so many of the good requests an id is one of something that exists.
const KNOWN_IDS: f64 = 0.8;

#[test]
fn whatever_is_asked_the_answer_is_as_described() {
    let acme = Journey::of("fuzzed");
    let world = World::of(&acme);

    let mut document = sluice_tests::json("infra/openapi.json");
    let operations = path_parameters(&mut document).len();
    let mut settings = sluice_tests::text(SETTINGS);
    settings += &dictionary("definition", &[world.pipeline.clone(), "text-report".to_owned()]);
    settings += &dictionary("hook", &[acme.hook()]);
    for (operation, parameters) in path_parameters(&mut document) {
        for (name, parameter) in parameters {
            let Some(ids) = world.ids(&operation, &name) else { continue };
            // The requests at the edges of the description start from examples, all others draw from the dictionary.
            parameter["example"] = json!(ids[0]);
            let key = format!("{operation}-{name}");
            settings += &dictionary(&key, &ids);
            settings += &format!(
                "\n[[operations]]\ninclude-operation-id = \"{operation}\"\n[operations.parameters]\n\
                 \"path.{name}\" = {{ dictionary = \"{key}\", probability = {} }}\n",
                if is_reserved(&name) { 1.0 } else { KNOWN_IDS },
            );
        }
    }
    simplify(&mut document);
    // What the description's examples would have called is called here.
    let document = document.to_string().replace(EXAMPLE_HOOK, &acme.hook());

    let folder = acme.stack.folder.join("fuzzed");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("openapi.json"), document).expect("the description");
    fs::write(folder.join("schemathesis.toml"), settings).expect("the settings");
    let token = |tenant: &str| acme.stack.token(tenant, &json!({}), TOKEN_LIFETIME).expect("a token");
    let schemathesis = program("schemathesis").expect("the Python environment");
    let parts = PARTS.map(|(name, paths)| {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log");
        let started = Command::new(&schemathesis)
            .args(["--no-color", "--config-file", "schemathesis.toml", "run", "openapi.json"])
            .args(["--include-path-regex", paths])
            .current_dir(&folder)
            .env("HOME", &folder)
            .env("API_URL", &acme.stack.gateway_url)
            .env("EMULATOR_KEY", &acme.stack.emulator_key.1)
            .env("TENANT_TOKEN", token(&acme.tenant))
            .env("OPERATOR_TOKEN", token(&acme.stack.tenant))
            .env("REPORT_TOKEN", &world.report_token)
            .stderr(file.try_clone().expect("a log"))
            .stdout(file)
            .spawn();
        (started.expect("schemathesis starts"), log)
    });
    let ended = parts.map(|(mut part, log)| {
        let status = part.wait().expect("schemathesis ends");
        (status, fs::read_to_string(log).expect("what it said"))
    });
    for (status, said) in &ended {
        assert!(status.success(), "{said}");
    }
    let tested =
        ended.iter().filter_map(|(_, said)| said.split("Tested: ").nth(1)?.lines().next()?.parse::<usize>().ok());
    assert_eq!(tested.sum::<usize>(), operations, "every operation was asked");
}

/// What the requests are about, named as in the description's examples.
struct World {
    /// The id of the definition that runs are made of.
    pipeline: String,
    /// The id of another, to be changed.
    workshop: String,
    instance: String,
    ended: String,
    /// Waits for the answer of its node `approve`.
    waiting: String,
    /// To be canceled, paused, answered, deleted.
    spare: BTreeMap<&'static str, String>,
    report_token: String,
}

impl World {
    fn of(acme: &Journey) -> Self {
        let processor = |id: &str| json!({"id": id, "type": "processor", "processor": "echo"});
        let report = json!({
            "nodes": [
                {"id": "text", "type": "data-source"},
                {"id": "frequencies", "type": "processor", "processor": "echo",
                 "parameters": {"top": {"type": "integer", "default": 20}}},
                {"id": "store", "type": "data-target", "processor": "echo"},
            ],
            "edges": [{"from": "text", "to": "frequencies"}, {"from": "frequencies", "to": "store"}],
        });
        let approval = json!({
            "nodes": [{"id": "approve", "type": "external"}, processor("report")],
            "edges": [{"from": "approve", "to": "report"}],
        });
        let pipeline = acme.define_with("text-report", json!({"discoverable": true}), &report);
        let workshop = acme.define("workshop", &report);
        acme.add_version("workshop", &report, false);
        acme.define("approval", &approval);
        let instance = acme.post("/v1/workflow-instances", json!({"workflowDefinitionId": "text-report"}));
        assert!(instance.status < 300, "{}", instance.text());

        let ended = acme.start("text-report", json!({"completionCallbackUrl": acme.hook()}));
        let start = || acme.start("approval", json!({}));
        let waiting = start();
        let spare: BTreeMap<&str, String> =
            ["answerNode", "cancelRun", "pauseRun", "deleteRun"].map(|operation| (operation, start())).into();
        for run_id in spare.values().chain([&waiting]) {
            acme.waiting(run_id, "approve", 1);
        }
        acme.canceled(&spare["deleteRun"]);
        acme.ended(&ended);
        acme.delivered(&ended);
        acme.tell(&ended, "comments", json!({"text": "größer als gestern"}), 201);
        acme.tell(&waiting, "usage", json!({"usage": [{"callId": "c-0", "provider": "acme", "model": "small"}]}), 200);
        let report_token = text(&acme.tell(&waiting, "report-tokens", json!({}), 201)["token"]);
        Self { pipeline, workshop, instance: text(&instance.json()["id"]), ended, waiting, spare, report_token }
    }

    /// Values of an operation's path parameter that exist.
    fn ids(&self, operation: &str, parameter: &str) -> Option<Vec<String>> {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        match (operation, parameter) {
            ("resumeRun", "runId") => Some(vec![self.spare["pauseRun"].clone()]),
            ("reportOnNode" | "createReportToken" | "reportUsage", "runId") => Some(vec![self.waiting.clone()]),
            (_, "runId") => Some(match self.spare.get(operation) {
                Some(own) => vec![own.clone()],
                None => vec![self.ended.clone(), self.waiting.clone()],
            }),
            ("invokeDefinition", "definition") => words(&["text-report"]),
            (_, "definition") => Some(vec![self.workshop.clone(), "workshop".to_owned()]),
            (_, "definitionId") => Some(vec![self.pipeline.clone()]),
            (_, "instanceId") => Some(vec![self.instance.clone()]),
            (_, "nodeId") => words(&["text", "approve"]),
            (_, "number" | "version") => words(&["1", "2"]),
            (_, "key" | "name" | "tenant") if is_reserved(parameter) => words(&["fuzzed-only"]),
            _ => None,
        }
    }
}

/// Whether a name of the operator's is meant: other journeys go by those that exist.
fn is_reserved(parameter: &str) -> bool {
    matches!(parameter, "key" | "name" | "tenant")
}

/// The path's parameters by operation, each made the operation's own, so that what one is told the others are not.
fn path_parameters(document: &mut Value) -> Vec<(String, Vec<(String, &mut Value)>)> {
    let shared = document["components"]["parameters"].clone();
    let paths = document["paths"].as_object_mut().expect("paths");
    let operations = paths.values_mut().flat_map(|path| path.as_object_mut().expect("operations").values_mut());
    operations
        .map(|operation| {
            let id = text(&operation["operationId"]);
            let parameters = operation["parameters"].as_array_mut().into_iter().flatten();
            let own = parameters.map(|parameter| {
                if let Some(reference) = parameter["$ref"].as_str() {
                    *parameter = shared[reference.rsplit('/').next().expect("a name")].clone();
                }
                (text(&parameter["name"]), parameter)
            });
            (id, own.filter(|(_, parameter)| parameter["in"] == "path").collect())
        })
        .collect()
}

/// Leaves out what would keep requests from meaning anything.
fn simplify(document: &mut Value) {
    if let Some(object) = document.as_object_mut() {
        // A pattern says more than its format, and texts with the one but not the other would be looked for in vain, at
        // length.
        let has_text = |object: &Map<String, Value>, name: &str| object.get(name).is_some_and(Value::is_string);
        if has_text(object, "pattern") && has_text(object, "format") {
            object.remove("format");
        }
        // An example's key contradicts the header, or was used: whatever else is wrong would not be seen.
        for key in ["clientToken", "idempotencyKey"] {
            if has_text(object, key) {
                object.remove(key);
            }
        }
        object.values_mut().for_each(simplify);
    } else if let Some(items) = document.as_array_mut() {
        items.iter_mut().for_each(simplify);
    }
}

/// A dictionary in TOML, whose lists of plain texts are written as JSON's are.
fn dictionary(name: &str, values: &[String]) -> String {
    format!("\n[dictionaries.{name}]\nvalues = {}\n", json!(values))
}
