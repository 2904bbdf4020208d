//! Models, and the ids to which they answer.

use super::lists::every_page;
use super::*;
use crate::contract::sample::noon;
use crate::contract::{at_once, becomes};
use crate::fixture;
use jiff::SignedDuration;
use sluice_core::caller::Caller;
use sluice_core::flow::Refusal;
use sluice_core::flow::manage_models::{delete_model, save_model};
use sluice_core::governor::declaration::{ModelDeclaration, PriceDeclaration, RatesDeclaration, TierDeclaration};
use sluice_core::governor::model::Model;
use sluice_core::governor::model_id::ModelId;
use sluice_core::id::ModelKey;
use sluice_core::operator::Tenants;
use sluice_core::ports::ModelSaved;
use sluice_core::refusal::ConflictCode;
use std::collections::{BTreeMap, BTreeSet};

fn id(text: &str) -> ModelId {
    text.parse().expect("an id")
}

fn key(text: &str) -> ModelKey {
    text.parse().expect("a key")
}

fn declared(key_text: &str, ids: &[&str]) -> ModelDeclaration {
    let literal = |text: &str| Some(text.to_owned());
    let rates = RatesDeclaration {
        input: literal("1.1"),
        output: literal("5.5"),
        cache_write_5m: literal("0.000000001"),
        ..RatesDeclaration::default()
    };
    let price = |from: &str, until: Option<&str>| PriceDeclaration {
        from: literal(from),
        until: until.map(str::to_owned),
        tiers: BTreeMap::from([("default".to_owned(), TierDeclaration { rates: rates.clone(), long: None })]),
        guardrail_text_unit: literal("0.00015"),
    };
    ModelDeclaration {
        key: key(key_text),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        tenants: Tenants::everyone(),
        context_tokens: 200_000,
        max_output_tokens: 64_000,
        counts_tokens: true,
        caches_unasked: false,
        prices: vec![price("2026-01-01T00:00:00Z", Some("2026-06-01T00:00:00Z")), price("2026-06-01T00:00:00Z", None)],
    }
}

/// A model as it is stored, in this revision.
pub fn model(key: &str, ids: &[&str], rev: u64) -> Model {
    Model { rev, ..declared(key, ids).read(noon()).expect("a model") }
}

async fn found(store: &impl Ports, text: &str) -> Option<Model> {
    store.find_model(&id(text)).await.expect("an answer").map(|model| Model::clone(&model))
}

async fn stored(store: &impl Ports, text: &str) -> Option<Model> {
    store.get(&key(text)).await.expect("an answer").map(|model| Model::clone(&model))
}

pub async fn a_model_is_found_by_each_of_its_ids_until_it_gives_them_up(ground: &impl Ground) {
    let store = &ground.ports();
    assert_eq!((found(store, "a.one").await, stored(store, "haiku").await), (None, None));
    let first = model("haiku", &["a.one", "us.a.one"], 1);
    assert_eq!(store.save_model(&first, None).await.expect("an answer"), ModelSaved::Done);
    for id in ["a.one", "us.a.one"] {
        assert_eq!(found(store, id).await.as_ref(), Some(&first), "{id}");
    }
    assert_eq!(stored(store, "haiku").await.as_ref(), Some(&first));
    // One id stays, one goes, one is new; and what is found is what was declared last.
    let second = Model { context_tokens: 7, ..model("haiku", &["us.a.one", "eu.a.one"], 2) };
    assert_eq!(store.save_model(&second, Some(&first)).await.expect("an answer"), ModelSaved::Done);
    assert_eq!(found(store, "a.one").await, None);
    for id in ["us.a.one", "eu.a.one"] {
        assert_eq!(found(store, id).await.as_ref(), Some(&second), "{id}");
    }
    assert!(store.delete_model(&second).await.expect("an answer"));
    for id in ["a.one", "us.a.one", "eu.a.one"] {
        assert_eq!(found(store, id).await, None, "{id}");
    }
    assert_eq!(stored(store, "haiku").await, None);
}

pub async fn an_id_belongs_to_one_model(ground: &impl Ground) {
    let store = &ground.ports();
    let haiku = model("haiku", &["a.one", "us.a.one"], 1);
    assert_eq!(store.save_model(&haiku, None).await.expect("an answer"), ModelSaved::Done);
    let other = model("other", &["a.two", "us.a.one"], 1);
    let taken = ModelSaved::IdTaken(id("us.a.one"), key("haiku"));
    assert_eq!(store.save_model(&other, None).await.expect("an answer"), taken);
    assert_eq!((stored(store, "other").await, found(store, "a.two").await), (None, None), "nothing was written");
    let other = model("other", &["a.two"], 1);
    assert_eq!(store.save_model(&other, None).await.expect("an answer"), ModelSaved::Done);
    let greedy = model("other", &["a.one"], 2);
    let taken = ModelSaved::IdTaken(id("a.one"), key("haiku"));
    assert_eq!(store.save_model(&greedy, Some(&other)).await.expect("an answer"), taken);
    assert_eq!(found(store, "a.two").await, Some(other.clone()));
    // What is given up is free.
    assert!(store.delete_model(&haiku).await.expect("an answer"));
    assert_eq!(store.save_model(&greedy, Some(&other)).await.expect("an answer"), ModelSaved::Done);
    assert_eq!((found(store, "a.one").await, found(store, "a.two").await), (Some(greedy), None));
}

pub async fn a_model_is_written_over_the_one_that_was_seen_and_no_other(ground: &impl Ground) {
    let store = &ground.ports();
    let first = model("haiku", &["a.one"], 1);
    let second = model("haiku", &["a.two"], 2);
    assert_eq!(store.save_model(&second, Some(&first)).await.expect("an answer"), ModelSaved::Stale, "there is none");
    assert!(!store.delete_model(&first).await.expect("an answer"));
    assert_eq!(store.save_model(&first, None).await.expect("an answer"), ModelSaved::Done);
    assert_eq!(store.save_model(&first, None).await.expect("an answer"), ModelSaved::Stale, "there is one");
    assert_eq!(store.save_model(&second, Some(&first)).await.expect("an answer"), ModelSaved::Done);
    assert_eq!(store.save_model(&second, Some(&first)).await.expect("an answer"), ModelSaved::Stale);
    assert!(!store.delete_model(&first).await.expect("an answer"));
    assert_eq!((found(store, "a.one").await, found(store, "a.two").await), (None, Some(second.clone())));
    // One that was deleted and declared anew is another one, although it has the first's revision.
    assert!(store.delete_model(&second).await.expect("an answer"));
    let anew = Model { updated_at: noon() + SignedDuration::from_millis(1), ..model("haiku", &["a.three"], 1) };
    assert_eq!(store.save_model(&anew, None).await.expect("an answer"), ModelSaved::Done);
    assert_eq!(store.save_model(&second, Some(&first)).await.expect("an answer"), ModelSaved::Stale);
    assert!(!store.delete_model(&first).await.expect("an answer"));
    assert_eq!(found(store, "a.three").await, Some(anew));
}

pub async fn models_are_listed_by_key_as_they_were_declared_last(ground: &impl Ground) {
    let store = &ground.ports();
    let mut expected = Vec::new();
    for name in ["c", "a", "b"] {
        let first = model(name, &[&format!("{name}.one"), &format!("{name}.two")], 1);
        assert_eq!(store.save_model(&first, None).await.expect("an answer"), ModelSaved::Done);
        let last = Model { caches_unasked: true, ..model(name, &[&format!("{name}.two")], 2) };
        assert_eq!(store.save_model(&last, Some(&first)).await.expect("an answer"), ModelSaved::Done);
        expected.push(last);
    }
    expected.sort_by(|a, b| a.key.cmp(&b.key));
    let page = async |cursor: Option<String>| store.list_models(2, cursor.as_deref()).await.expect("a page");
    becomes((expected, 2), || ground.pause(), async || every_page(page).await).await;
}

pub async fn of_racing_models_one_gets_the_id(ground: &impl Ground) {
    let store = &ground.ports();
    let operator = &Caller { is_operator: true, ..fixture::caller("operator") };
    let racers = (0..4_u32).map(|number| async move {
        let name = format!("model-{number}");
        (key(&name), save_model(store, operator, declared(&name, &["a.one", &format!("{name}.own")]), noon()).await)
    });
    let answers = at_once(racers).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, answer)| answer.is_ok());
    let winners: BTreeSet<ModelKey> = won.into_iter().map(|(key, _)| key).collect();
    let holder = found(store, "a.one").await.map(|model| model.key);
    assert_eq!(winners, holder.into_iter().collect(), "as many as have it");
    assert_eq!(lost.len(), 3);
    for (key, answer) in lost {
        // One that was in the way of others for too long is told to come again.
        let is_refused = match &answer {
            Err(Refusal::Conflict { code, .. }) => *code == ConflictCode::ModelIdTaken,
            Err(Refusal::Store(error)) => error.is_conflict(),
            Err(_) | Ok(_) => false,
        };
        assert!(is_refused, "{key}: {answer:?}");
        assert_eq!(found(store, &format!("{key}.own")).await, None, "nothing was written of {key}");
    }
    let writers = (0..4_u32).map(|number| async move {
        let ids = [format!("x.{number}"), "x.all".to_owned()];
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        save_model(store, operator, declared("shared", &ids), noon()).await.map(|model| model.rev)
    });
    let revs: BTreeSet<u64> = at_once(writers).await.into_iter().map(|answer| answer.expect("saved")).collect();
    assert_eq!(revs, BTreeSet::from([1, 2, 3, 4]), "none undoes another");
    let last = stored(store, "shared").await.expect("a model");
    for number in 0..4 {
        let one = format!("x.{number}");
        assert_eq!(found(store, &one).await.is_some(), last.ids.contains(&id(&one)), "{one}");
    }
    delete_model(store, operator, &last.key).await.expect("deleted");
    assert_eq!(found(store, "x.all").await, None);
}
