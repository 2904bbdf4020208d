//! Where webhooks may go, by tables of URLs.

use proptest::prelude::*;
use sluice_core::destination::{Destinations, URL_BYTES};
use std::collections::BTreeSet;

const REGIONS: [&str; 3] = ["eu-west-1", "us-west-2", "us-gov-east-1"];

fn destinations() -> Destinations {
    Destinations { regions: REGIONS.map(str::to_owned).to_vec(), extra_origins: Vec::new() }
}

/// The lines of a table, without headings, as they would come out of a request's JSON.
fn table(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .map(|line| serde_json::from_str(&format!("\"{line}\"")).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

fn hostile() -> Vec<String> {
    table(include_str!("hostile-urls.txt"))
}

fn good() -> Vec<String> {
    table(include_str!("good-urls.txt"))
}

#[test]
fn no_hostile_url_is_admitted() {
    let urls = hostile();
    let distinct: BTreeSet<&String> = urls.iter().collect();
    assert!(distinct.len() >= 300 && distinct.len() == urls.len(), "{} of {}", distinct.len(), urls.len());
    let admitted: Vec<&String> = urls.iter().filter(|url| destinations().admit(url).is_ok()).collect();
    assert!(admitted.is_empty(), "{admitted:#?}");
    assert!(destinations().admit("").is_err());
}

#[test]
fn a_refusal_is_a_sentence_without_the_url() {
    for url in hostile() {
        let said = destinations().admit(&url).expect_err("refused");
        assert!(said.starts_with("must ") || said.starts_with("is in a region"), "{url}: {said}");
    }
}

#[test]
fn urls_of_functions_are_admitted_as_they_are_written() {
    for url in good() {
        let admitted = destinations().admit(&url).unwrap_or_else(|said| panic!("{url}: {said}"));
        check(&url, &admitted.region, &admitted.url).unwrap_or_else(|fault| panic!("{url}: {fault}"));
    }
}

#[test]
fn nothing_is_admitted_where_no_region_is_allowed() {
    for url in good().iter().chain(&hostile()) {
        assert!(Destinations::default().admit(url).is_err(), "{url}");
    }
}

/// An origin allowed on a laptop opens nothing but itself.
#[test]
fn an_extra_origin_opens_only_itself() {
    let local = Destinations { extra_origins: vec!["http://127.0.0.1:9000".to_owned()], ..destinations() };
    assert!(local.admit("http://127.0.0.1:9000/hook").is_ok_and(|destination| destination.is_extra));
    for url in hostile() {
        assert!(local.admit(&url).is_err(), "{url}");
    }
}

/// What must hold of anything that is admitted, told from the text alone as far as possible.
fn check(text: &str, region: &str, url: &url::Url) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {text:?} is {url}"));
    let rest = text.strip_prefix("https://").ok_or("not https")?;
    let host = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let Some(id) = host.strip_suffix(&format!(".lambda-url.{region}.on.aws")) else {
        return fail("another host");
    };
    if !REGIONS.contains(&region) {
        return fail("another region");
    }
    if !(8..=64).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return fail("no id of a URL");
    }
    if text.len() > URL_BYTES || text.contains('#') {
        return fail("a fragment, or too long");
    }
    // What is sent is what the parser made of it; a second reading of that must come to the same.
    for url in [url, &url::Url::parse(url.as_str()).map_err(|error| error.to_string())?] {
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.port().is_none()
            && url.fragment().is_none()
            && url.scheme() == "https"
            && url.host_str() == Some(host);
        if !is_plain {
            return fail("read otherwise");
        }
    }
    Ok(())
}

fn holds(text: &str) -> Result<(), TestCaseError> {
    match destinations().admit(text) {
        Ok(destination) => check(text, &destination.region, &destination.url).map_err(TestCaseError::fail),
        Err(_) => Ok(()),
    }
}

/// A URL from the tables with something put in, taken out or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let base = proptest::sample::select([good(), hostile()].concat());
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        proptest::sample::select(vec![
            "@",
            ":",
            "/",
            "\\",
            "?",
            "#",
            ".",
            "..",
            "%2e",
            "%00",
            "%40",
            "\t",
            "\n",
            " ",
            "。",
            "．",
            "\u{ad}",
            "[",
            "]",
            ":443",
            "evil.example",
            ".on.aws",
            "https://",
            "lambda-url",
            "eu-west-1",
            "127.0.0.1",
            "A",
            "a",
            "-",
            "xn--",
        ])
        .prop_map(str::to_owned),
    ];
    (base, proptest::collection::vec((any::<proptest::sample::Index>(), 0_usize..4, piece), 0..4)).prop_map(
        |(mut text, edits)| {
            for (at, remove, insert) in edits {
                let mut chars: Vec<char> = text.chars().collect();
                let at = at.index(chars.len() + 1);
                let end = (at + remove).min(chars.len());
                chars.splice(at..end, insert.chars());
                text = chars.into_iter().collect();
            }
            text
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_admitted_is_exactly_a_function_url(text in mutated()) {
        holds(&text)?;
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), path in "[!-~]{0,40}") {
        holds(&text)?;
        holds(&format!("https://{text}.lambda-url.eu-west-1.on.aws/"))?;
        holds(&format!("https://abcdefgh.lambda-url.eu-west-1.on.aws{text}"))?;
        holds(&format!("https://abcdefgh.lambda-url.eu-west-1.on.aws{path}"))?;
    }
}
