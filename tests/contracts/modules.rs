//! The law of the rooms: modules of one crate do not import each other in a circle, and crates import downwards only,
//! `functions -> {edge, aws} -> core`.
//!
//! A module is a file. What it imports is what its `use` lines and its written-out paths name (see [`source`]); declaring
//! a child with `mod` is no import, re-exporting something of it is. So a parent either offers what its children hold or
//! has something that they use, and never both. The same holds for rooms, a module together with everything below it:
//! two that lie side by side do not import from each other, not even through different files. And the core says where
//! something is by its meaning: a pointer is a wire format's own. Code under `#[cfg(test)]` is left out: a test may look at
//! whatever it tests.

mod source;

use sluice_tests::file;
use source::{Module, imports};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

/// Which modules each module imports.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// The sources of a crate by module.
fn sources(root: &Path) -> BTreeMap<Module, String> {
    fn collect(folder: &Path, at: &[String], sources: &mut BTreeMap<Module, String>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten() {
            let path = entry.path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let module = [at, std::slice::from_ref(&name)].concat();
            if path.is_dir() {
                collect(&path, &module, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let is_root = at.is_empty() && matches!(name.as_str(), "lib" | "main");
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                // A crate's two roots are one: `main.rs` imports its own library by the library's name.
                let text_of = sources.entry(Module(if is_root { Vec::new() } else { module })).or_default();
                text_of.push_str(&text);
            }
        }
    }
    let mut sources = BTreeMap::new();
    collect(root, &[], &mut sources);
    sources
}

fn graph(sources: &BTreeMap<Module, String>) -> Graph {
    let known: BTreeSet<Module> = sources.keys().cloned().collect();
    sources.iter().map(|(module, text)| (module.clone(), imports(module, text, &known))).collect()
}

/// The shortest circle that each module stands in, every circle once, as a sentence.
fn circles(graph: &Graph) -> BTreeSet<String> {
    let names = |path: &[&Module]| path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ");
    let mut circles = BTreeSet::new();
    for start in graph.keys() {
        let mut paths = VecDeque::from([vec![start]]);
        let mut seen = BTreeSet::new();
        while let Some(path) = paths.pop_front() {
            let last = path[path.len() - 1];
            if last == start && path.len() > 1 {
                // The same circle is found from each of its modules: it is told from the first one's side.
                let first = (0..path.len() - 1).min_by_key(|&index| path[index]).unwrap_or(0);
                let turned = [&path[first..path.len() - 1], &path[..=first]].concat();
                circles.insert(names(&turned));
                break;
            }
            for next in &graph[last] {
                if seen.insert(next) {
                    paths.push_back([&path[..], &[next]].concat());
                }
            }
        }
    }
    circles
}

/// What each module imports, where only the rooms that lie side by side in `parent` are told apart.
fn rooms(graph: &Graph, parent: &Module) -> Graph {
    let room = |module: &Module| {
        let is_within = module.0.len() > parent.0.len() && module.0.starts_with(&parent.0);
        is_within.then(|| Module(module.0[..=parent.0.len()].to_vec()))
    };
    let mut rooms = Graph::new();
    for (module, imports) in graph {
        if let Some(from) = room(module) {
            let others = imports.iter().filter_map(room).filter(|to| *to != from);
            rooms.entry(from.clone()).or_default().extend(others);
        }
    }
    rooms
}

/// The circles of a crate, among its modules and among the rooms of each of them.
fn all_circles(sources: &BTreeMap<Module, String>) -> BTreeSet<String> {
    let graph = graph(sources);
    let mut found = circles(&graph);
    for parent in graph.keys() {
        found.extend(circles(&rooms(&graph, parent)));
    }
    found
}

/// The folders of the crates that are deployed, and of what their tests share.
fn crates() -> Vec<String> {
    [crates_in("shared"), crates_in("functions")].concat()
}

fn crates_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(file(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.flatten().filter(|entry| entry.path().join("Cargo.toml").is_file());
    let mut crates: Vec<_> = names.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy())).collect();
    crates.sort();
    crates
}

#[test]
fn no_modules_of_a_crate_import_each_other_in_a_circle() {
    let mut found = Vec::new();
    for name in crates() {
        let sources = sources(&file(&name).join("src"));
        assert!(sources.contains_key(&Module(Vec::new())), "{name} has no root");
        found.extend(all_circles(&sources).into_iter().map(|circle| format!("{name}: {circle}")));
    }
    assert!(found.is_empty(), "modules import each other in a circle:\n{}", found.join("\n"));
}

#[test]
fn crates_import_downwards_only() {
    for name in crates() {
        let below: &[&str] = match name.as_str() {
            "shared/schema" => &[],
            "shared/core" => &["sluice_schema"],
            "shared/aws" | "shared/edge" | "shared/testkit" => &["sluice_core"],
            _ => &["sluice_core", "sluice_aws", "sluice_edge"],
        };
        for (module, text) in sources(&file(&name).join("src")) {
            for found in source::crates(&text).iter().filter(|found| found.starts_with("sluice_")) {
                assert!(below.contains(&found.as_str()), "{name}: {module} imports {found}, which is not below it");
            }
        }
    }
}

/// The texts in a source that begin as a place begins on some wire: a JSON pointer, or what is not in a body. A path of the
/// API is none.
fn pointers(source: &str) -> Vec<String> {
    let is_pointer = |text: &String| {
        let is_json = text.strip_prefix('/').is_some_and(|rest| rest.starts_with(|c: char| c.is_alphabetic()));
        (is_json && !text.starts_with("/v1/"))
            || ["path:", "header:", "query:"].iter().any(|prefix| text.starts_with(prefix))
    };
    source::texts(source).into_iter().filter(is_pointer).collect()
}

#[test]
fn the_core_names_no_pointer_of_a_wire_format() {
    let sources = sources(&file("shared/core/src"));
    assert!(sources.values().any(|text| source::texts(text).len() > 10), "no texts were read");
    for (module, text) in sources {
        let found = pointers(&text);
        assert!(found.is_empty(), "{module} names {found:?}: say it with a Place");
    }
}

#[test]
fn a_planted_pointer_is_found_and_named() {
    for (source, found) in [
        (r#"invalid.add("/name", code, "must be given");"#, vec!["/name"]),
        (r##"let at = format!(r#"/nodes/{index}"#);"##, vec!["/nodes/{index}"]),
        (
            r#"a("path:definition"); b("header:X-Y"); c("query:cursor")"#,
            vec!["path:definition", "header:X-Y", "query:cursor"],
        ),
        (r#"let c = '"'; f("/a~1b") // not "/this""#, vec!["/a~1b"]),
        (r#"/* nor "/this" */ fn f<'a>(x: &'a str) { g("\"/", "/b") }"#, vec!["/b"]),
        (r#"f("a/b", "must be from / to", "/v1/workflow-runs", '/', "/")"#, vec![]),
        ("f(); #[cfg(test)] mod tests { g(\"/name\") }", vec![]),
    ] {
        assert_eq!(pointers(source), found, "{source}");
    }
}

#[test]
fn a_planted_circle_is_found_and_named() {
    let planted = |texts: &[(&str, &str)]| {
        let module = |path: &str| Module(path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect());
        let sources = texts.iter().map(|(path, text)| (module(path), (*text).to_owned())).collect();
        all_circles(&sources).into_iter().collect::<Vec<_>>()
    };
    // Straight down, with everything that looks like an import and is none.
    let clean = [
        ("", "pub mod run;\npub mod usage;\npub(crate) fn now() {}"),
        ("run", "use crate::usage::{self, Ledger};\nuse std::run::Usage;\npub(super) fn of(it: &Ledger) {}"),
        (
            "usage",
            "//! As [`crate::run`] says.\n/* use crate::run::Run; */\nconst SAID: &str = r#\"use crate::run;\"#;\n\
             fn find<'a>(it: &'a str) -> char { it.run(); '\"' }\n#[cfg(test)]\nmod tests { use super::*; use crate::run::Run; }",
        ),
    ];
    assert_eq!(planted(&clean), [""; 0]);
    for (usage, circle) in [
        ("use crate::run::Run;", "run -> usage -> run"),
        ("use crate::{id, run::{Run, RunError as Fault}};", "run -> usage -> run"),
        ("use super::run::*;", "run -> usage -> run"),
        ("pub use super::run;", "run -> usage -> run"),
        ("fn cap(of: &crate::run::Run) {}", "run -> usage -> run"),
        ("mod sums { use super::super::run; }", "run -> usage -> run"),
        ("#[cfg(test)]\nfn early() {}\nuse crate::run;", "run -> usage -> run"),
    ] {
        assert_eq!(planted(&[clean[0], clean[1], ("usage", usage)]), [circle], "{usage}");
    }
    // Of three, of a parent and its child, of the root and a module.
    let three =
        [("a", "use crate::b;"), ("b", "use crate::c::C;"), ("c", "use crate::a::A;"), ("d", "use crate::a::A;")];
    assert_eq!(planted(&three), ["a -> b -> c -> a"]);
    let family = [("ports", "mod run;\npub use run::Recorded;"), ("ports::run", "use super::Page;")];
    assert_eq!(planted(&family), ["ports -> ports::run -> ports"]);
    let inline = [("flow", "mod plan;\nfn go() { plan::make() }"), ("flow::plan", "use crate::flow::Command;")];
    assert_eq!(planted(&inline), ["flow -> flow::plan -> flow"]);
    // Of two rooms, though of no two files.
    let rooms = [
        ("", ""),
        ("flow", ""),
        ("flow::plan", "use crate::ports::Run;"),
        ("flow::try_", ""),
        ("ports", "pub struct Run;"),
        ("ports::queue", "use crate::flow::try_::TRIES;"),
    ];
    assert_eq!(planted(&rooms), ["flow -> ports -> flow"]);
    let root = [("", "mod sfn;\nuse sfn::Engine;"), ("sfn", "use crate::Aws;")];
    assert_eq!(planted(&root), ["crate -> sfn -> crate"]);
}
