//! The pages: what they say of the code is so, and what they lead to is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sluice_tests::{file, pages, text};

/// Characters of a line of prose at most. Tables and what is between fences may be as long as they must.
const BREATH: usize = 160;
/// Lines of the README at most.
const README_LINES: usize = 120;

/// The lines of a page outside of fences, numbered.
fn prose(page: &str) -> Vec<(usize, &str)> {
    let mut is_fenced = false;
    let is_prose = |(_, line): &(usize, &str)| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        !is_fenced && !is_fence
    };
    page.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(is_prose).collect()
}

#[test]
fn tables_are_what_the_code_makes() {
    let mut tables = 0;
    for page in pages::all() {
        let page_text = text(&page);
        tables += page_text.matches("<!-- made of the code: ").count();
        assert!(
            pages::renewed(&page_text) == page_text,
            "{} has tables that are not what the code makes now; look at what changes and keep it:\n\
             cargo run --quiet -p sluice-tests --bin pages",
            page.display()
        );
    }
    assert_eq!(tables, 13);
}

/// Targets of the links in a line, `[words](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// What a heading can be linked by, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for page in pages::all() {
        let page_text = text(&page);
        for (number, line) in prose(&page_text) {
            for link in links(line).filter(|link| !link.contains("://")) {
                let (path, part) = link.split_once('#').unwrap_or((link, ""));
                let target = match path {
                    "" => page.clone(),
                    _ => page.parent().unwrap_or(Path::new("")).join(path),
                };
                assert!(file(&target).exists(), "{}:{number}: {link} leads nowhere", page.display());
                if !part.is_empty() {
                    let there = text(&target);
                    let mut headings = prose(&there).into_iter().filter(|(_, line)| line.starts_with('#'));
                    let is_there = headings.any(|(_, heading)| anchor(heading) == part);
                    assert!(is_there, "{}:{number}: {link} leads to no heading", page.display());
                }
                followed += 1;
            }
        }
    }
    assert!(followed > 10, "{followed}");
}

/// What stands between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn every_path_that_is_named_is_there() {
    let folders = ["functions/", "shared/", "infra/", "events/", "tests/"];
    let mut named = 0;
    for page in pages::all() {
        let page_text = text(&page);
        for (number, line) in prose(&page_text) {
            let is_path = |word: &&str| folders.iter().any(|folder| word.starts_with(folder)) && !word.contains(' ');
            for path in quoted(line).filter(is_path) {
                // `<verb-object>` and `*` stand for any name: the folder is there.
                let certain = path.split(['<', '*']).next().unwrap_or_default();
                assert!(file(certain).exists(), "{}:{number}: there is no {path}", page.display());
                named += 1;
            }
        }
    }
    assert!(named > 20, "{named}");
}

/// Names of the workspace's packages with their folders.
fn packages() -> Vec<(String, String)> {
    let workspace = text("Cargo.toml");
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).expect("members");
    let mut packages = Vec::new();
    for member in members.split('"').skip(1).step_by(2) {
        let folders: Vec<String> = match member.strip_suffix("/*") {
            Some(above) => fs::read_dir(file(above))
                .expect("a folder")
                .filter_map(Result::ok)
                .map(|entry| format!("{above}/{}", entry.file_name().to_string_lossy()))
                .filter(|folder| file(folder).join("Cargo.toml").exists())
                .collect(),
            None => vec![member.to_owned()],
        };
        for folder in folders {
            let manifest = text(format!("{folder}/Cargo.toml"));
            let name = manifest.lines().find_map(|line| line.strip_prefix("name = ")).expect("a name");
            packages.push((name.trim_matches('"').to_owned(), folder));
        }
    }
    packages
}

#[test]
fn every_cargo_command_names_a_package_and_a_test_that_are_there() {
    let packages = packages();
    let mut commands = BTreeSet::new();
    for page in pages::all() {
        let page_text = text(&page);
        let fenced = page_text.lines().filter(|line| line.contains("cargo "));
        for line in fenced {
            let words: Vec<&str> = line.split([' ', '`']).collect();
            let after = |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1));
            let Some(package) = after("-p") else { continue };
            let found = packages.iter().find(|(name, _)| name == package);
            let (_, folder) = found.unwrap_or_else(|| panic!("{}: no package of {line}", page.display()));
            for (option, below) in [("--test", "tests"), ("--example", "examples"), ("--bin", "src/bin")] {
                let Some(target) = after(option) else { continue };
                let manifest = text(format!("{folder}/Cargo.toml"));
                let is_there = [format!("{folder}/{below}/{target}.rs"), format!("{folder}/{below}/{target}/main.rs")]
                    .iter()
                    .any(|path| file(path).exists())
                    || manifest.contains(&format!("name = \"{target}\""));
                assert!(is_there, "{}: {package} has no {target}: {line}", page.display());
            }
            commands.insert(line.trim().to_owned());
        }
    }
    assert!(commands.len() > 5, "{commands:?}");
}

#[test]
fn a_page_is_read_in_one_breath_a_line_and_the_first_on_one_screen_or_two() {
    for page in pages::all() {
        let page_text = text(&page);
        for (number, line) in prose(&page_text).into_iter().filter(|(_, line)| !line.starts_with('|')) {
            let length = line.chars().count();
            assert!(length <= BREATH, "{}:{number} has {length} characters", page.display());
        }
    }
    let lines = text("README.md").lines().count();
    assert!(lines <= README_LINES, "the README has {lines} lines");
}
