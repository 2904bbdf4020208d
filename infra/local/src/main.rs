//! `cargo dev`: the whole of Sluice on this machine, with one run of the sample.

mod cli;
mod terminal;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use sluice_local::sample::{self, BUDGET_USD, Outcome};
use sluice_local::spend::{self, CAP_USD};
use sluice_local::{Error, Event, Stack, end_all};

use crate::cli::{Arguments, Command};
use crate::terminal::{Phases, complaint, line, milliseconds, seconds};

/// Set while there is a stack that ends in an orderly way when it is asked to.
static ORDERLY: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let arguments = match cli::parse() {
        Ok(Command::Start(arguments)) => arguments,
        Ok(Command::Help) => {
            line(cli::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complaint(format_args!("{error}\n\n{}", cli::HELP));
            return ExitCode::from(2);
        }
    };
    let stop = stop_on_signal();
    match develop(&arguments, &stop) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complaint(format_args!("cargo dev: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Before there is a stack a signal ends everything at once, afterwards it asks for an orderly end; a second one insists.
fn stop_on_signal() -> Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    match Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        Ok(mut signals) => drop(thread::spawn(move || {
            for signal in signals.forever() {
                if ORDERLY.swap(false, Ordering::SeqCst) && sender.send(()).is_ok() {
                    continue;
                }
                end_all();
                // As a shell names the end by a signal.
                process::exit(128 + signal);
            }
        })),
        Err(error) => complaint(format_args!("Ctrl-C will not be handled: {error}")),
    }
    receiver
}

/// Whether everything went well.
fn develop(arguments: &Arguments, stop: &Receiver<()>) -> Result<bool, Error> {
    let text = fs::read(&arguments.input)
        .map_err(|cause| Error::Io { what: format!("reading {}", arguments.input.display()), cause })?;

    line("Sluice on this machine");
    let mut phases = Phases::new();
    let started = Stack::start(&arguments.options, &mut |event| match event {
        Event::PhaseStarted { name } => phases.started(name),
        Event::Now { text } => phases.now(text),
        Event::PhaseEnded { name, took } => phases.ended(name, took),
        Event::Note { text } => phases.note(text),
    });
    phases.broken_off();
    let stack = started?;
    ORDERLY.store(true, Ordering::SeqCst);

    for setting in &stack.local_settings {
        line(format_args!("  only here: {setting}"));
    }
    let succeeded = run_sample(&stack, &text, &arguments.input, stop)
        .and_then(|sampled| run_spend(&stack, stop).map(|spent| sampled && spent));
    if arguments.once {
        return succeeded;
    }
    if let Err(error) = &succeeded {
        complaint(format_args!("the sample: {error}"));
    }
    introduce(&stack);
    serve(&stack, stop)?;
    line("\nstopping");
    Ok(true)
}

fn run_sample(stack: &Stack, text: &[u8], input: &Path, stop: &Receiver<()>) -> Result<bool, Error> {
    let title = input.file_name().unwrap_or(input.as_os_str()).to_string_lossy().into_owned();
    line(format_args!("\nThe sample: {} on {} ({} bytes)", sample::PIPELINE, input.display(), text.len()));
    let outcome = sample::run(stack, text, &title, &mut |event| {
        match event {
            sample::Event::Created { run_id } => line(format_args!("  run {run_id}, budget {BUDGET_USD} USD")),
            sample::Event::Step(step) => {
                let took = step.took.map(milliseconds).unwrap_or_default();
                line(format_args!("    {:<14}{:<11}{took:>9}", step.node_id, step.status));
            }
            sample::Event::Status { status } => line(format_args!("  {status}")),
        }
        if stop.try_recv().is_ok() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    show(&outcome);
    Ok(outcome.problems.is_empty())
}

fn run_spend(stack: &Stack, stop: &Receiver<()>) -> Result<bool, Error> {
    line(format_args!("\nUnder a cap: {} asks a model until nobody lets it ({CAP_USD} USD)", spend::SPEND));
    let outcome = spend::run(stack, &mut |event| {
        match event {
            spend::Event::Created { run_id } => line(format_args!("  run {run_id}")),
            spend::Event::Spent { spent, held } => {
                line(format_args!("    spent {spent:>12} USD   set aside {held:>12}"))
            }
        }
        if stop.try_recv().is_ok() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let (budget, status, reason) = (&outcome.budget, &outcome.status, &outcome.termination_reason);
    line(format_args!("\n{status} ({reason}): run {}", outcome.run_id));
    line(format_args!(
        "  budget    {} of {} USD spent by {} calls, {} of them clamped; {} refused",
        budget["spentUsd"], budget["capUsd"], budget["calls"], budget["clamped"], budget["refused"]
    ));
    line(format_args!("  referee   {} USD, by the books of the stand-in for Bedrock", outcome.served));
    for problem in &outcome.problems {
        line(format_args!("  PROBLEM   {problem}"));
    }
    Ok(outcome.problems.is_empty())
}

fn show(outcome: &Outcome) {
    line(format_args!(
        "\n{} ({}) after {}: run {}",
        outcome.status,
        outcome.termination_reason,
        seconds(outcome.took),
        outcome.run_id
    ));
    for step in &outcome.steps {
        let took = step.took.map(milliseconds).unwrap_or_default();
        line(format_args!("  step      {:<14}{:<11}{took:>9}", step.node_id, step.status));
    }
    if let Some(object) = &outcome.object {
        line(format_args!("  output    s3://{}/{} ({} bytes)", object.bucket, object.key, object.bytes));
        let findings = &object.content["findings"];
        let words: Vec<String> = findings["frequencies"]["top"]
            .as_array()
            .into_iter()
            .flatten()
            .take(5)
            .map(|entry| format!("{} {}", entry["word"].as_str().unwrap_or_default(), entry["count"]))
            .collect();
        line(format_args!(
            "            {} words, {} distinct, most frequent: {}; reading ease {}, grade level {}",
            findings["frequencies"]["words"],
            findings["frequencies"]["distinctWords"],
            words.join(", "),
            findings["readability"]["fleschReadingEase"],
            findings["readability"]["fleschKincaidGrade"],
        ));
        let course = findings["course"].as_array().into_iter().flatten();
        let course: Vec<String> = course.map(|part| part["fleschReadingEase"].to_string()).collect();
        if !course.is_empty() {
            line(format_args!("            reading ease from its beginning to its end: {}", course.join(", ")));
        }
    }
    line(format_args!("  budget    {BUDGET_USD} USD, seen exactly so by {}", outcome.budget_seen_by.join(", ")));
    if let Some(webhook) = &outcome.webhook {
        let verdict = if webhook.verification.verified { "webhook verified" } else { "webhook NOT verified" };
        line(format_args!(
            "  webhook   {verdict} (SigV4, by botocore): attempt {}, webhook-id {}, {} bytes",
            webhook.header("webhook-attempt").unwrap_or("?"),
            webhook.header("webhook-id").unwrap_or("?"),
            webhook.body.len()
        ));
        line(format_args!(
            "            signed by {}",
            webhook.verification.signer.as_deref().unwrap_or("nobody known")
        ));
        line(format_args!("            over {}", webhook.verification.signed_headers.join(", ")));
    }
    for problem in &outcome.problems {
        line(format_args!("  PROBLEM   {problem}"));
    }
}

fn introduce(stack: &Stack) {
    let (api, folder) = (&stack.api_url, stack.folder.display());
    line(format_args!(
        "\nThe API          {api}   (x-dev-tenant: NAME acts as another tenant; default and operator: {})",
        stack.tenant
    ));
    line(format_args!("AWS              {}   ({}; new keys for each start:", stack.aws_endpoint_url, stack.region));
    line(format_args!(
        "                 AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={})",
        stack.credentials.access_key_id, stack.credentials.secret_access_key
    ));
    line(format_args!("Webhooks         {}   (any name will do; GET shows what came)", stack.receiver.url("NAME")));
    line("Function URLs    calls to them are signed, as: curl --aws-sigv4 aws:amz:us-east-1:lambda \\");
    line("                   --user $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY ...");
    for (function, url) in &stack.function_urls {
        line(format_args!("  {function:<20} {url}"));
    }
    line(format_args!("Files            {folder}/endpoints.json, functions.env; logs: {folder}/*.log"));
    line("\nTry it:");
    line(format_args!("  curl {api}/v1/workflow-runs"));
    line(format_args!(
        "  curl -X POST {api}/v1/workflow-definitions/{}/invoke -H 'content-type: application/json' \\\n    -d '{{\"executionBudgetUsd\":0.5,\"completionCallbackUrl\":\"{}\"}}'",
        sample::HOLD,
        stack.receiver.url("mine")
    ));
    line(format_args!("  curl {api}/v1/workflow-runs/RUN_ID/steps"));
    line(format_args!("  curl -X POST {api}/v1/workflow-runs/RUN_ID/cancel"));
    line(format_args!("  curl {}", stack.receiver.url("mine")));
    line(format_args!("  curl {api}/v1/workflow-runs -H 'x-dev-tenant: somebody-else'"));
    line("\nCtrl-C stops everything.");
}

/// Shows the webhooks that come in, until it is told to stop.
fn serve(stack: &Stack, stop: &Receiver<()>) -> Result<(), Error> {
    let mut shown = stack.receiver.received_since(0).len();
    loop {
        match stop.recv_timeout(Duration::from_millis(300)) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        for received in stack.receiver.received_since(shown) {
            shown = received.index + 1;
            let body = received.json();
            line(format_args!(
                "webhook at /hooks/{}: run {} {} ({}), attempt {}, {}",
                received.hook,
                body["runId"].as_str().unwrap_or("?"),
                body["status"].as_str().unwrap_or("?"),
                body["terminationReason"].as_str().unwrap_or("?"),
                received.header("webhook-attempt").unwrap_or("?"),
                if received.verification.verified {
                    "verified".to_owned()
                } else {
                    format!("NOT verified: {}", received.verification.problems.join("; "))
                },
            ));
        }
        if stack.has_ended() {
            return Err(Error::Ended { what: "ministack", log: stack.folder.join("ministack.log") });
        }
    }
}
