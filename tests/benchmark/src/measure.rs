//! One process of one function: started, given its first event, and then many more.

use crate::answers::Script;
use crate::backend::{Backend, Heard, Mode};
use crate::case::Case;
use crate::child::{Child, Program};
use crate::error::{Error, Result};
use crate::hold::{Way, hold};
use crate::runtime::Runtime;
use crate::services::Service;
use crate::table::{NAME, Table};
use crate::tls::Authority;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Events between the first and those that are measured.
const WARM_UP: usize = 20;
/// How long each call takes while events are played, so that it can be seen which calls go out side by side, even where
/// the second of them needs a connection first.
const PLAYED_DELAY: Duration = Duration::from_millis(25);
/// Events of one kind that are played: the first, and those after it, which may ask less.
const PLAYED: usize = 3;
const RUNNER_ARN: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:sluice-runner-2";

/// The name of the state machine that new runs take.
pub fn runner_name() -> &'static str {
    RUNNER_ARN.rsplit(':').next().unwrap_or_default()
}

/// What makes a process slow besides itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Condition {
    /// Each call is answered so much later.
    pub delay: Duration,
    /// After init it has no more than this of a CPU.
    pub share: Option<f64>,
}

/// Figures of one process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// From its start until it asked for an event.
    pub init: Duration,
    /// From the first event's leaving to its answer.
    pub first: Duration,
    pub init_cpu: Duration,
    pub first_cpu: Duration,
    /// The same as `first` for those after it, in microseconds.
    pub warm: Vec<f64>,
    /// Of one of these, until it asked for the next.
    pub warm_cpu: Duration,
    /// In bytes.
    pub memory: u64,
    /// Of all these.
    pub calls: usize,
}

/// Everything that a process under test speaks to.
#[derive(Debug)]
pub struct Bench {
    pub runtime: Runtime,
    pub backend: Backend,
    pub authority: Authority,
    /// Where its output goes while events are played.
    pub folder: PathBuf,
    /// Those that this process may use besides the one that is measured on.
    pub cpus: Vec<usize>,
    pub way: Way,
}

impl Bench {
    /// Starts the simulator and the backend on the CPU that this thread is on.
    ///
    /// # Errors
    /// When there is no port, or no certificate.
    pub fn start(folder: &Path, cpus: Vec<usize>) -> Result<Self> {
        let (authority, tls) = Authority::new(folder)?;
        Ok(Self {
            runtime: Runtime::start()?,
            backend: Backend::start(&tls)?,
            authority,
            folder: folder.to_path_buf(),
            cpus,
            way: Way::of_this_machine(),
        })
    }

    /// The environment of a function on Lambda, as `infra/template.yaml` sets it.
    fn command(&self, program: &Program, besides: &[(String, String)]) -> Command {
        let mut command = Command::new(&program.executable);
        command.args(&program.arguments).env_clear().envs([
            ("AWS_LAMBDA_RUNTIME_API", self.runtime.address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "sluice-benchmark"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/sluice-benchmark"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "benchmark"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
            ("LANG", "en_US.UTF-8"),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("TZ", ":UTC"),
            ("SLUICE_TABLE", NAME),
            ("SLUICE_EVENT_BUS", "default"),
            ("SLUICE_RUNNER_ARN", RUNNER_ARN),
            ("SLUICE_CALLBACK_REGIONS", "us-east-1"),
            ("SLUICE_UNLISTED_TENANTS", "open"),
            ("SLUICE_LOG", "info"),
        ]);
        // The only callback that can be reached from here. On a deployment this is not set.
        command.env("SLUICE_EXTRA_CALLBACK_ORIGINS", self.backend.origin(Service::Receiver));
        for service in Service::ALL {
            if let Some(variable) = service.variable() {
                command.env(variable, self.backend.origin(service));
            }
        }
        self.authority.make_trusted_by(&mut command);
        command.envs(besides.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Gives one event to a new process, over the table as it is, and keeps what comes of it. `besides` are variables that only
    /// this one has.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn play_once(
        &mut self,
        program: &Program,
        event: &[u8],
        besides: &[(String, String)],
    ) -> Result<(Vec<u8>, Heard)> {
        self.backend.prepare(Mode::Playing, &Script::default(), Duration::ZERO);
        let log = self.folder.join("made.log");
        self.runtime.forget();
        let mut child = Child::start(self.command(program, besides), Some(&log))?;
        let at = self.runtime.wait_for_next(&mut child)?;
        self.backend.take()?;
        let answered = self.runtime.hand_out(&mut child, at, event)?;
        Ok((answered.body, self.backend.take()?))
    }

    /// Plays a case's event a few times, each over the table as the case says, and takes down what the backend is asked.
    ///
    /// # Errors
    /// When the answer is not what is expected.
    pub fn play(&mut self, case: &mut Case) -> Result<()> {
        self.backend.prepare(Mode::Playing, &Script::default(), PLAYED_DELAY);
        let log = self.folder.join(format!("{}.log", case.name.replace(' ', "-")));
        self.runtime.forget();
        let mut child = Child::start(self.command(&case.program, &case.environment), Some(&log))?;
        let mut at = self.runtime.wait_for_next(&mut child)?;
        let mut heard = vec![self.backend.take()?];
        for _ in 0..PLAYED {
            self.backend.with_table(|table| table.restore(&case.items))?;
            let answered = self.runtime.hand_out(&mut child, at, &case.event)?;
            case.expected.check(&answered.body)?;
            at = self.runtime.wait_for_next(&mut child)?;
            heard.push(self.backend.take()?);
        }
        case.script = self.backend.script();
        let mut heard = heard.into_iter();
        if let (Some(init), Some(first), Some(last)) = (heard.next(), heard.next(), heard.last()) {
            case.played = Some([init, first, last]);
        }
        Ok(())
    }

    /// Measures one process with its first event, and with `warm` events after it.
    ///
    /// # Errors
    /// When an answer is not what is expected.
    pub fn measure(&mut self, case: &mut Case, condition: Condition, warm: usize) -> Result<Sample> {
        let said = |error| match error {
            Error::Wrong(text) => Error::Wrong(format!("{}: {text}", case.name)),
            other @ (Error::Io { .. } | Error::Usage(_) | Error::Noisy(_)) => other,
        };
        self.backend.with_table(|table: &mut Table| table.restore(&case.items))?;
        self.backend.prepare(Mode::Measuring, &case.script, condition.delay);
        let command = self.command(&case.program, &case.environment);
        self.runtime.forget();
        self.backend.take()?;
        let sample = sample(self, command, case, condition, warm).map_err(said)?;
        // What was not foreseen is known the next time.
        case.script = self.backend.script();
        Ok(sample)
    }
}

fn sample(bench: &mut Bench, command: Command, case: &Case, condition: Condition, warm: usize) -> Result<Sample> {
    let mut sample = Sample::default();
    let begun = Instant::now();
    let mut child = Child::start(command, None)?;
    let mut at = bench.runtime.wait_for_next(&mut child)?;
    sample.init = begun.elapsed();
    sample.init_cpu = child.cpu()?;
    let held = condition.share.map(|share| hold(child.pid(), share, bench.way, &bench.cpus)).transpose()?;
    let mut give = |bench: &mut Bench, child: &mut Child| -> Result<Duration> {
        bench.backend.take()?;
        let answered = bench.runtime.hand_out(child, at, &case.event)?;
        case.expected.check(&answered.body)?;
        at = bench.runtime.wait_for_next(child)?;
        Ok(answered.time)
    };
    sample.first = give(bench, &mut child)?;
    sample.first_cpu = child.cpu()?.saturating_sub(sample.init_cpu);
    if warm > 0 {
        for _ in 0..WARM_UP.min(warm) {
            give(bench, &mut child)?;
        }
        let before = child.cpu()?;
        for _ in 0..warm {
            sample.warm.push(give(bench, &mut child)?.as_secs_f64() * 1e6);
        }
        let spent = child.cpu()?.saturating_sub(before);
        sample.warm_cpu = spent.div_f64(warm as f64);
        sample.calls = bench.backend.take()?.calls.len();
    }
    sample.memory = child.peak_memory()?;
    drop(child);
    drop(held);
    Ok(sample)
}
