//! What is measured: an ordinary event of each function, from the repository's samples.

use crate::case::Case;
use crate::child::Program;
use crate::error::Result;
use crate::measure::runner_name;
use crate::place;
use crate::runtime::Expected;
use crate::size::Size;
use crate::world::World;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What the table holds when an event comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    /// A definition and its runs; the sample's run is one that is running: its first worker is at its first node.
    Run,
    /// The same; somebody waits for the end of the sample's run.
    ToldRun,
    /// The same, where the model calls of runs are governed.
    GovernedRun,
    /// Nothing.
    Empty,
}

/// Name, function, sample event, what it must be answered, and what the table holds.
const CASES: [(&str, &str, &str, Expected, Ground); 17] = [
    ("create-run by name", "create-run", "create-run/api-gateway-jwt", Expected::Status(201), Ground::Run),
    ("invoke-definition", "invoke-definition", "invoke-definition/api-gateway-jwt", Expected::Status(202), Ground::Run),
    ("cancel-run", "cancel-run", "cancel-run/running", Expected::Status(202), Ground::Run),
    ("read-runs get", "read-runs", "read-runs/get-run", Expected::Status(200), Ground::Run),
    ("read-runs list", "read-runs", "read-runs/list-runs", Expected::Status(200), Ground::Run),
    ("control-run pause", "control-run", "control-run/pause", Expected::Status(202), Ground::Run),
    ("control-run usage", "control-run", "control-run/usage", Expected::Status(200), Ground::Run),
    ("control-run comment", "control-run", "control-run/comment", Expected::Status(201), Ground::Run),
    (
        "manage-definitions get",
        "manage-definitions",
        "manage-definitions/get-definition",
        Expected::Status(200),
        Ground::Run,
    ),
    (
        "manage-definitions put draft",
        "manage-definitions",
        "manage-definitions/put-draft",
        Expected::Status(200),
        Ground::Run,
    ),
    ("run-callback end", "run-callback", "run-callback/succeeded", Expected::Nothing, Ground::Run),
    ("run-callback end with webhook", "run-callback", "run-callback/succeeded", Expected::Nothing, Ground::ToldRun),
    ("run-callback usage", "run-callback", "run-callback/usage-reported", Expected::Json, Ground::Run),
    // A worker ends one node, and is given the next.
    ("advance-run", "advance-run", "advance-run/result", Expected::Nothing, Ground::Run),
    // A call that is granted, made and settled.
    ("govern-calls converse", "govern-calls", "govern-calls/converse", Expected::Streamed(200), Ground::GovernedRun),
    (
        "govern-calls converse-stream",
        "govern-calls",
        "govern-calls/converse-stream",
        Expected::Streamed(200),
        Ground::GovernedRun,
    ),
    ("reconcile-runs of nothing", "reconcile-runs", "reconcile-runs/scheduler", Expected::Nothing, Ground::Empty),
];

/// The runs that the samples speak of.
const SAMPLE_RUNS: [&str; 2] = ["3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f", "9c1e7d52-8f3b-4a6c-b0d9-4e2f6a8b1c3d"];

/// The state machine that their executions are of; those of the runs here are of the one that new runs take.
const SAMPLE_MACHINE: &str = "sluice-runner";

/// The grant, and the key of a processor, that they have.
const SAMPLE_GRANT: &str = "00000000000000000000000000000007";
const SAMPLE_KEY: &str = "spk.word-frequencies.0000000000000000000000000000000100000000000000000000000000000002";

/// The case that peers are compared with.
pub const CREATE: &str = "create-run by name";
/// Names of cases and their functions: those whose name, or whose function's, contains one of `only`, or all.
pub fn chosen(only: &[String]) -> Vec<(&'static str, &'static str)> {
    let is_chosen = |text: &str| only.is_empty() || only.iter().any(|part| text.contains(part.as_str()));
    let all = CASES.iter().map(|(name, function, ..)| (*name, *function));
    all.filter(|(name, function)| is_chosen(name) || is_chosen(function)).collect()
}

/// The same request as create-run's, answered by a program in another language.
///
/// # Errors
/// When there is no such sample.
pub fn peer(name: &str, program: Program, world: &World) -> Result<Case> {
    let case = Case::new(name, program, &place::event("create-run/api-gateway-jwt")?, Expected::Status(201))?;
    Ok(Case { items: Arc::clone(&world.items), ..case })
}

/// The cases of these names.
///
/// # Errors
/// When a sample or a binary is not there.
pub fn of(names: &[(&str, &str)], binaries: &Path, world: &World) -> Result<Vec<Case>> {
    let mut sizes: BTreeMap<&str, Size> = BTreeMap::new();
    let chosen = CASES.iter().filter(|(name, ..)| names.iter().any(|(chosen, _)| chosen == name));
    chosen
        .map(|(name, function, event, expected, ground)| {
            let mut event = place::event(event)?;
            let (run, items) = match ground {
                Ground::Run => (&world.run, Arc::clone(&world.items)),
                Ground::ToldRun => (&world.told_run, Arc::clone(&world.items)),
                Ground::GovernedRun => {
                    let governed = &world.governed;
                    event = event.replace(SAMPLE_GRANT, &governed.grant).replace(SAMPLE_KEY, &governed.key);
                    (&governed.run, Arc::clone(&governed.items))
                }
                Ground::Empty => (&world.run, Arc::default()),
            };
            for sample in SAMPLE_RUNS {
                let execution = format!(":{SAMPLE_MACHINE}:{sample}");
                event = event.replace(&execution, &format!(":{}:{run}", runner_name())).replace(sample, run);
            }
            let case = Case::new(name, Program::binary(binaries.join(function)), &event, *expected)?;
            let size = match sizes.get(function) {
                Some(size) => *size,
                None => Size::of(&case.program.executable)?,
            };
            sizes.insert(function, size);
            Ok(Case { items, size: Some(size), ..case })
        })
        .collect()
}

/// The binaries that are needed, and are not there.
pub fn missing(functions: &[&str], binaries: &Path) -> Vec<String> {
    functions.iter().filter(|name| !binaries.join(name).is_file()).map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_measured() {
        for function in place::FUNCTIONS {
            assert!(CASES.iter().any(|(_, measured, ..)| *measured == function), "{function}");
        }
    }

    #[test]
    fn every_case_has_its_sample() {
        for (name, function, event, ..) in CASES {
            assert!(event.starts_with(function), "{name}");
            let event = place::event(event).expect(name);
            Case::new(name, Program::binary(std::path::PathBuf::new()), &event, Expected::Json).expect(name);
        }
    }

    #[test]
    fn cases_are_chosen_by_their_name_or_function() {
        assert_eq!(chosen(&[]).len(), CASES.len());
        assert_eq!(chosen(&["create".to_owned()]), [(CREATE, "create-run")]);
        assert_eq!(chosen(&["control-run".to_owned()]).len(), 3);
        assert!(chosen(&["unheard".to_owned()]).is_empty());
    }
}
