//! Cursors: they carry no authority.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::world::{Journey, errors, instant, run_path, text};

#[test]
fn a_forged_cursor_leads_nowhere() {
    let owner = Journey::of("sweep-cursor-owner");
    let forger = owner.neighbour("sweep-cursor-forger");
    // The same lists of both, two things long.
    let lists = |tenant: &Journey| {
        for name in ["first", "second"] {
            tenant.define(name, &instant());
            let saved = tenant.post("/v1/workflow-instances", json!({"workflowDefinitionId": name, "version": 1}));
            assert_eq!(saved.status, 201, "{}", saved.text());
        }
        tenant.add_version("first", &instant(), false);
        let runs = ["first", "second"].map(|name| {
            let run_id = tenant.start(name, json!({"labels": {"of": "both"}}));
            tenant.ended(&run_id);
            run_id
        });
        for number in ["1", "2"] {
            let call = json!({"callId": number, "provider": "acme", "model": "small"});
            tenant.tell(&runs[0], "usage", json!({"usage": [call]}), 200);
            tenant.tell(&runs[0], "comments", json!({"text": number}), 201);
        }
        [
            "/v1/workflow-runs?limit=1".to_owned(),
            "/v1/workflow-runs?label=of:both&limit=1".to_owned(),
            "/v1/workflow-definitions?limit=1".to_owned(),
            "/v1/workflow-definitions/first/versions?limit=1".to_owned(),
            "/v1/workflow-instances?limit=1".to_owned(),
            format!("{}/usage?limit=1", run_path(&runs[0])),
            format!("{}/comments?limit=1", run_path(&runs[0])),
        ]
    };
    let (owners, forgers) = (lists(&owner), lists(&forger));
    // Ids of the owner's runs, definitions and instances, at the end of their keys.
    let keys = owner.items().into_iter().map(|item| text(&item["pk"]["S"]));
    let secrets: Vec<String> =
        keys.filter_map(|key| Some(key.rsplit_once('#')?.1.to_owned()).filter(|id| id.len() == 36)).collect();
    assert!(secrets.len() > 5, "{secrets:?}");
    for (theirs, mine) in owners.iter().zip(&forgers) {
        let [theirs, own] =
            [(&owner, theirs), (&forger, mine)].map(|(tenant, path)| unsealed(&text(&tenant.read(path)["nextCursor"])));
        let place = |cursor: &Value| {
            text(&cursor["after"]).split_once('.').map(|(digest, at)| (digest.to_owned(), at.to_owned()))
        };
        let ((their_digest, their_place), (own_digest, own_place)) =
            place(&theirs).zip(place(&own)).unwrap_or_else(|| panic!("{theirs} {own}"));
        let ask = |after: String| {
            let sealed = json!({"v": own["v"], "list": own["list"], "after": after});
            forger.get(&format!("{mine}&cursor={}", URL_SAFE_NO_PAD.encode(sealed.to_string())))
        };
        for after in [format!("{their_digest}.{their_place}"), format!("{their_digest}.{own_place}")] {
            assert_eq!(errors(&ask(after), 400), ["query:cursor invalid_cursor"], "{mine}");
        }
        // Another's place in one's own list is a place, and no more than that.
        let placed = ask(format!("{own_digest}.{their_place}"));
        assert!([200, 400].contains(&placed.status), "{mine}: {} {}", placed.status, placed.text());
        assert!(!secrets.iter().any(|secret| placed.text().contains(secret.as_str())), "{mine}: {}", placed.text());
    }
}

/// What a cursor is made of.
pub fn unsealed(cursor: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).expect("base64");
    serde_json::from_slice(&bytes).expect("JSON")
}
