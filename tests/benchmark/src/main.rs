//! `cargo run --release -p benchmark`: see `--help`, or the README beside this crate.

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("the benchmark asks the kernel for CPU time and memory as Linux tells them: it runs on Linux only");
    ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use benchmark::Error;
    use std::io::Write;

    match run::benchmark() {
        Ok(text) => {
            let mut out = std::io::stdout().lock();
            if writeln!(out, "{}", text.trim_end()).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("benchmark: {error}");
            match error {
                Error::Usage(_) => ExitCode::from(2),
                Error::Noisy(_) => {
                    eprintln!(
                        "so no figure of this machine would mean anything now (--despite-noise prints them nevertheless)"
                    );
                    ExitCode::from(3)
                }
                Error::Io { .. } | Error::Wrong(_) => ExitCode::FAILURE,
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod run {
    use benchmark::case::Case;
    use benchmark::cases;
    use benchmark::cli::{self, Arguments, HELP};
    use benchmark::measure::Bench;
    use benchmark::place::{self, ECHO, FUNCTIONS};
    use benchmark::report::{Setting, json, markdown};
    use benchmark::rounds::measure;
    use benchmark::world::{MAKERS, World};
    use benchmark::{Error, Result, child, peers};

    /// Makes everything ready, measures, and returns what is printed.
    pub fn benchmark() -> Result<String> {
        let arguments = cli::parse(lexopt::Parser::from_env())?;
        if arguments.help {
            return Ok(HELP.to_owned());
        }
        let names = cases::chosen(&arguments.only);
        if names.is_empty() {
            return Err(Error::Usage(format!("no case is called {:?}", arguments.only)));
        }
        let folder = place::folder()?;
        let binaries = built(&arguments, &names)?;
        // Before anything is pinned: they may be built or fetched.
        let peers = if arguments.peers { peers::ready(&folder)? } else { Vec::new() };

        let cpus = child::cpus()?;
        let cpu = arguments.cpu.or(cpus.last().copied()).unwrap_or_default();
        child::pin(cpu)?;
        let mut bench = Bench::start(&folder, cpus.into_iter().filter(|other| *other != cpu).collect())?;
        said("making what is measured");
        let world = World::make(&mut bench, &binaries)?;
        let mut cases = cases::of(&names, &binaries, &world)?;
        let mut echo = Case::echo(&place::release()?.join(ECHO))?;
        for case in &mut cases {
            bench.play(case)?;
        }
        for peer in peers {
            let mut case = peers::case(peer, &mut bench, &binaries, &world)?;
            bench.play(&mut case)?;
            cases.push(case);
        }
        let outcome = measure(&mut bench, &mut echo, &mut cases, &arguments.plan, &mut said)?;
        let noise = outcome.noise();
        if !noise.is_empty() && !arguments.plan.despite_noise {
            return Err(Error::Noisy(noise.join("; ")));
        }
        let (system_roots, way) = (bench.authority.system_roots, bench.way.text());
        let setting = Setting { plan: &arguments.plan, cpu, system_roots, way };
        Ok(match arguments.json {
            true => format!("{:#}", json(&setting, &echo, &cases, &outcome)),
            false => markdown(&setting, &echo, &cases, &outcome),
        })
    }

    /// The folder with the binaries of the cases, of those that make what the table holds, and of echo.
    fn built(arguments: &Arguments, names: &[(&str, &str)]) -> Result<std::path::PathBuf> {
        let release = place::release()?;
        if arguments.build {
            said("building the functions");
            place::build(&FUNCTIONS, &FUNCTIONS)?;
        }
        place::build(&["benchmark"], &[ECHO])?;
        let binaries = arguments.binaries.clone().unwrap_or(release);
        let mut functions = MAKERS.to_vec();
        functions.extend(names.iter().map(|(_, function)| function));
        functions.sort_unstable();
        functions.dedup();
        let missing = cases::missing(&functions, &binaries);
        if missing.is_empty() {
            return Ok(binaries);
        }
        let (missing, folder) = (missing.join(", "), binaries.display());
        Err(Error::Usage(format!("{missing}: not in {folder}; --build builds all functions (it takes its time)")))
    }

    fn said(text: &str) {
        eprintln!("benchmark: {text}");
    }
}
