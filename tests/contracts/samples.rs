//! The sample events in `events/<function>/<case>.json`. What each leads to is tested with its function; here is what all have
//! in common, and whether any is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use sluice_edge::event::{Brought, Event, Happening};
use sluice_tests::file;

use crate::template::{EVENT_FUNCTIONS, GOVERNOR, HTTP_FUNCTIONS, routes};

/// Every sample by function and case.
fn samples() -> BTreeMap<(String, String), Value> {
    let mut samples = BTreeMap::new();
    for folder in fs::read_dir(file("events")).expect("events/").flatten() {
        let function = folder.file_name().to_string_lossy().into_owned();
        for sample in fs::read_dir(folder.path()).expect("a function's samples").flatten() {
            let path = sample.path();
            assert!(path.extension().is_some_and(|extension| extension == "json"), "{}", path.display());
            let case = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a readable sample");
            let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            samples.insert((function.clone(), case), value);
        }
    }
    samples
}

fn is_http(function: &str) -> bool {
    HTTP_FUNCTIONS.contains(&function)
}

/// Whether `path` is one of the route `GET /v1/workflow-runs/{runId}`.
fn is_of_route(route: &str, method: &str, path: &str) -> bool {
    let (wanted, pattern) = route.split_once(' ').expect("method and path");
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    wanted == method
        && pattern.len() == path.len()
        && pattern.iter().zip(&path).all(|(part, found)| part == found || (part.starts_with('{') && !found.is_empty()))
}

#[test]
fn every_function_has_samples_and_every_sample_a_function() {
    let of: BTreeSet<String> = samples().into_keys().map(|(function, _)| function).collect();
    let functions = HTTP_FUNCTIONS.into_iter().chain(EVENT_FUNCTIONS).chain([GOVERNOR]).map(str::to_owned).collect();
    assert_eq!(of, functions);
}

#[test]
fn an_http_sample_has_the_form_of_payload_version_2() {
    for ((function, case), event) in samples().iter().filter(|((function, _), _)| is_http(function)) {
        let at = format!("{function}/{case}");
        assert_eq!(event["version"], "2.0", "{at}");
        let context = &event["requestContext"];
        assert_eq!(context["http"]["path"], event["rawPath"], "{at}");
        assert_eq!(context["routeKey"], event["routeKey"], "{at}");
        assert!(context["http"]["method"].is_string() && context["requestId"].is_string(), "{at}");
        assert!(event["rawQueryString"].is_string() && event["isBase64Encoded"].is_boolean(), "{at}");
        for (name, value) in event["headers"].as_object().unwrap_or_else(|| panic!("{at} has no headers")) {
            assert_eq!(*name, name.to_lowercase(), "{at}: AWS sends header names in lower case");
            let is_secret = ["authorization", "cookie", "x-amz-security-token"].contains(&name.as_str());
            let shown = value.as_str().unwrap_or_default();
            assert!(!is_secret || shown.ends_with("redacted"), "{at} shows {name}");
        }
    }
}

#[test]
fn every_route_has_a_sample() {
    let samples = samples();
    for (route, function) in routes() {
        let found = samples.iter().any(|((of, _), event)| {
            let (method, path) = (&event["requestContext"]["http"]["method"], &event["rawPath"]);
            of == function
                && method.as_str().zip(path.as_str()).is_some_and(|(method, path)| is_of_route(&route, method, path))
        });
        assert!(found, "{route}");
    }
}

#[test]
fn every_http_function_has_samples_from_the_gateway_and_from_its_own_url() {
    let samples = samples();
    for function in HTTP_FUNCTIONS {
        for domain in [".execute-api.", ".lambda-url."] {
            let found = samples.iter().any(|((of, _), event)| {
                let from = event["requestContext"]["domainName"].as_str().unwrap_or_default();
                of == function && from.contains(domain)
            });
            assert!(found, "{function} has no sample from {domain}");
        }
    }
}

#[test]
fn every_kind_of_event_that_run_callback_takes_has_a_sample() {
    let mut seen = BTreeSet::new();
    for ((_, case), event) in samples().into_iter().filter(|((function, _), _)| function == "run-callback") {
        let status = event["detail"]["status"].as_str().unwrap_or_default().to_owned();
        let event: Event = serde_json::from_value(event).unwrap_or_else(|error| panic!("{case}: {error}"));
        let happening = match event.read() {
            Brought::Event(happening) => happening,
            Brought::Batch(messages) => {
                seen.insert(if messages.len() == 1 { "message".to_owned() } else { "messages".to_owned() });
                continue;
            }
            Brought::Usage(reported) => {
                seen.insert(if reported.is_ok() { "usage".to_owned() } else { "usage of nothing".to_owned() });
                continue;
            }
        };
        match happening {
            Happening::Ended(end) => seen.insert(format!("{:?}", end.end)),
            Happening::Underway { .. } => seen.insert(status),
            Happening::DeliveryDue(_) => seen.insert("due".to_owned()),
            Happening::SlotFreed(_) => seen.insert("slot freed".to_owned()),
            Happening::Poison(_) => seen.insert("poison".to_owned()),
        };
    }
    let all = [
        "Succeeded",
        "Failed",
        "TimedOut",
        "Aborted",
        "RUNNING",
        "PENDING_REDRIVE",
        "due",
        "message",
        "messages",
        "poison",
        "slot freed",
        "usage",
        "usage of nothing",
    ];
    assert_eq!(seen, all.map(str::to_owned).into());
}
