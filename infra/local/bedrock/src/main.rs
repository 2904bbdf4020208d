//! The stand-in as a process: it says in one line of JSON where it is, and serves until its standard input is closed or it is
//! told to stop.

mod cli;

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use sluice_bedrock::{Bedrock, Options};

use crate::cli::Command;

fn main() -> ExitCode {
    match cli::parse().map_err(|error| error.to_string()) {
        Ok(Command::Help) => {
            say(&mut io::stdout(), cli::HELP);
            ExitCode::SUCCESS
        }
        Ok(Command::Serve(options)) => match serve(options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => failed(&reason),
        },
        Err(reason) => failed(&format!("{reason}\n\n{}", cli::HELP)),
    }
}

fn failed(reason: &str) -> ExitCode {
    say(&mut io::stderr(), &format!("sluice-bedrock: {reason}"));
    ExitCode::FAILURE
}

/// To whoever listens; if nobody does any more, it is not for us to end.
fn say(to: &mut impl Write, text: &str) {
    drop(writeln!(to, "{text}").and_then(|()| to.flush()));
}

fn serve(options: Options) -> Result<(), String> {
    // Before anybody is told where it is: who knows of it may stop it at once.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| error.to_string())?;
    let authority_path = options.authority_path.clone();
    let bedrock = Bedrock::start(options).map_err(|error| error.to_string())?;
    let place = json!({
        "doorUrl": bedrock.door_url, "plainUrl": bedrock.plain_url, "controlUrl": bedrock.control_url,
        "authorityPath": authority_path, "pid": std::process::id(),
    });
    say(&mut io::stdout(), &place.to_string());
    let (ended, end) = mpsc::channel();
    let by_signal = ended.clone();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            by_signal.send(()).ok();
        }
    });
    // Whoever started it holds the other end, and it ends with them.
    thread::spawn(move || {
        drop(io::stdin().read_to_end(&mut Vec::new()));
        ended.send(()).ok();
    });
    // An error means that both are gone, which is an end as well.
    end.recv().ok();
    Ok(())
}
