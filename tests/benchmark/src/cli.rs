//! The command line.

use crate::error::{Error, Result};
use crate::rounds::Plan;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use std::path::PathBuf;
use std::time::Duration;

pub const HELP: &str = "\
cargo run --release -p benchmark: what the functions cost beside a bare one, measured on this machine

Measures release binaries of this repository on one CPU: cold and warm time, CPU, memory, size, and their round trips by name.
It prints one Markdown table. tests/benchmark/README.md says how to read it. It needs Linux.

  --build            build the functions first (otherwise they have to be there)
  --bin-dir DIR      measure the binaries in DIR (default: those beside this program)
  --only TEXT        only cases whose name, or whose function's, contains TEXT (repeatable)
  --rounds N         rounds (default 9)
  --warm N           warm requests a round and function (default 300)
  --colds N          cold starts a round and function (default 3)
  --delay-ms MS      measure besides with each AWS call answered MS later
  --share S          measure besides with each process held to S of a CPU after init (512 MB on Lambda: 0.29)
  --no-peers         leave out the same create-run in Python and Node, whose packages are fetched once
  --cpu N            the CPU that everything runs on (default: the last one)
  --json             print JSON instead of the table
  --despite-noise    print although echo differs from itself by more than 3 % (otherwise: exit code 3 and no table)
  --help             this text";

#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    pub plan: Plan,
    pub build: bool,
    pub binaries: Option<PathBuf>,
    pub only: Vec<String>,
    pub peers: bool,
    pub cpu: Option<usize>,
    pub json: bool,
    pub help: bool,
}

/// # Errors
/// When there is an argument that is not known, or that makes no sense.
pub fn parse(parser: lexopt::Parser) -> Result<Arguments> {
    read(parser).map_err(|error| Error::Usage(format!("{error}\n\n{HELP}")))
}

fn read(mut parser: lexopt::Parser) -> std::result::Result<Arguments, lexopt::Error> {
    let plan = Plan { rounds: 9, warm: 300, colds: 3, delay: None, share: None, despite_noise: false };
    let mut arguments = Arguments {
        plan,
        build: false,
        binaries: None,
        only: Vec::new(),
        peers: true,
        cpu: None,
        json: false,
        help: false,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("build") => arguments.build = true,
            Long("bin-dir") => arguments.binaries = Some(parser.value()?.into()),
            Long("only") => arguments.only.push(parser.value()?.string()?),
            Long("rounds") => arguments.plan.rounds = some(&mut parser)?,
            Long("warm") => arguments.plan.warm = some(&mut parser)?,
            Long("colds") => arguments.plan.colds = some(&mut parser)?,
            Long("delay-ms") => arguments.plan.delay = Some(Duration::from_millis(parser.value()?.parse()?)),
            Long("share") => {
                let share: f64 = parser.value()?.parse()?;
                if !(0.01..=1.0).contains(&share) {
                    return Err("--share is between 0.01 and 1".into());
                }
                arguments.plan.share = Some(share);
            }
            Long("no-peers") => arguments.peers = false,
            Long("cpu") => arguments.cpu = Some(parser.value()?.parse()?),
            Long("json") => arguments.json = true,
            Long("despite-noise") => arguments.plan.despite_noise = true,
            Long("help") | Short('h') => arguments.help = true,
            Long(_) | Short(_) | Value(_) => return Err(argument.unexpected()),
        }
    }
    Ok(arguments)
}

/// A number above 0.
fn some(parser: &mut lexopt::Parser) -> std::result::Result<usize, lexopt::Error> {
    let number = parser.value()?.parse()?;
    if number == 0 { Err("nothing is measured 0 times".into()) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Result<Arguments> {
        parse(lexopt::Parser::from_args(text.split_whitespace()))
    }

    #[test]
    fn everything_has_a_default() {
        let given = arguments("").expect("nothing");
        assert_eq!((given.plan.rounds, given.plan.warm, given.peers, given.json), (9, 300, true, false));
        assert_eq!((given.plan.delay, given.plan.share), (None, None));
    }

    #[test]
    fn modes_come_besides() {
        let given = arguments("--delay-ms 5 --share 0.29 --only create --only cancel --no-peers").expect("arguments");
        assert_eq!((given.plan.delay, given.plan.share), (Some(Duration::from_millis(5)), Some(0.29)));
        assert_eq!(given.only, ["create", "cancel"]);
    }

    #[test]
    fn nonsense_is_refused_with_the_help() {
        for text in ["--rounds 0", "--rounds many", "--share 2", "--share 0", "--frobnicate", "word", "--bin-dir"] {
            let error = arguments(text).expect_err(text).to_string();
            assert!(error.contains("--bin-dir DIR"), "{error}");
        }
    }
}
