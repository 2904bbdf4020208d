//! Every route of the API, asked for another tenant's things and for things that nobody has: the answers are the same.
//!
//! The rows follow the table of routes: a route without a row fails, and so does a row without a route.

mod cursors;
mod rows;
mod shared;
mod things;
mod tokens;

use serde_json::json;
use sluice_edge::route::ROUTES;

use crate::world::{Journey, instant};
use rows::{ROWS, Told};
use things::{anonymous, check, fillings, things_of};

#[test]
fn every_route_answers_a_stranger_as_if_there_were_nothing() {
    let routed: Vec<&str> = ROUTES.iter().map(|route| route.name).collect();
    let swept: Vec<&str> = ROWS.iter().map(|(id, _)| *id).collect();
    assert_eq!(routed, swept, "a row for every route, in the order of the routes");

    let owner = Journey::of("sweep-owner");
    let stranger = owner.neighbour("sweep-stranger");
    let things = things_of(&owner);
    // The minute's sweep may come in between: what has ended is swept once, and rests from then on.
    owner.reconcile();
    let (owned, strange) = (owner.items(), stranger.items());
    for (route, (_, asks)) in ROUTES.iter().zip(ROWS) {
        assert!(!asks.is_empty() || !route.path.contains('{'), "{} takes an id", route.name);
        for (query, body, told) in *asks {
            for filled in fillings(&things, [route.path, query, body]) {
                let mut answers = filled.iter().map(|texts| {
                    let [path, query, body] = texts;
                    let answer = stranger.request(route.method, &format!("{path}{query}"), &[], body.as_str());
                    check(route.name, *told, &answer);
                    anonymous(&things, &answer)
                });
                let first = answers.next().expect("an answer");
                assert!(answers.all(|answer| answer == first), "{}: {filled:?}: {first:?}", route.name);
            }
        }
    }
    assert_eq!(owner.items(), owned, "nothing of the owner's has changed");
    assert_eq!((stranger.items(), strange), (Vec::new(), Vec::new()), "and nothing was written for the stranger");

    // The same requests were good ones: to the owner they are answered otherwise. What is deleted is deleted last.
    let (last, first): (Vec<_>, Vec<_>) = ROUTES.iter().zip(ROWS).partition(|(route, _)| route.method == "DELETE");
    for (route, (_, asks)) in first.into_iter().chain(last) {
        for (query, body, told) in *asks {
            if matches!(told, Told::Forbidden | Told::NoToken | Told::Unlisted) {
                continue;
            }
            let mut theirs = Vec::new();
            for filled in fillings(&things, [route.path, query, body]) {
                let [path, query, body] = &filled[0];
                let answer = owner.request(route.method, &format!("{path}{query}"), &[], body.as_str());
                let is_theirs = answer.status < 300 || answer.status == 409;
                // A cursor goes on with the list that it is of: one of one run's list opens no other run's.
                let of_another_list = query.contains("cursor=") && answer.status == 400;
                let told_well = is_theirs || of_another_list;
                assert!(told_well, "{}: {path}{query} {body}: {} {}", route.name, answer.status, answer.text());
                match told {
                    Told::Nothing(list) => assert_ne!(answer.json()[list], json!([]), "{}: {query}", route.name),
                    Told::NoneSent => assert_ne!(answer.json()["redelivered"], 0, "{}", route.name),
                    Told::Missing | Told::At(_) | Told::Unlisted | Told::NoToken | Told::Forbidden => {}
                }
                theirs.push(is_theirs);
            }
            assert!(theirs.contains(&true), "{}: {query} {body}", route.name);
        }
    }
    stranger.define("secret-plan", &instant());
}
