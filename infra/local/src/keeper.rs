//! Children that never outlive this process: each runs under `python/keeper.py`, which ends it (and all it started) when
//! the pipe from here closes. That holds even after a SIGKILL, without any unsafe code here.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sluice_starter::Build;

use crate::Error;
use crate::wait::poll;

/// Every keeper of this process that has not been ended, for `end_all`.
static RUNNING: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

/// Commands that end by themselves (cargo, pip), for `end_all` too.
static PASSING: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

/// How long a keeper may take: it waits 2 s itself before it kills.
const PATIENCE: Duration = Duration::from_secs(5);

/// A first build on a slow machine takes minutes.
const COMMAND_PATIENCE: Duration = Duration::from_secs(3600);

/// How often a command that runs is asked how far it is.
const TELLING: Duration = Duration::from_millis(500);

pub(crate) struct Kept {
    child: Arc<Mutex<Child>>,
    log: PathBuf,
}

impl Kept {
    pub(crate) fn start(keeper: &mut Command, log: &Path) -> Result<Self, Error> {
        let child = keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("starting the keeper"))?;
        let child = Arc::new(Mutex::new(child));
        locked(&RUNNING).push(Arc::clone(&child));
        Ok(Self { child, log: log.to_path_buf() })
    }

    pub(crate) fn has_ended(&self) -> bool {
        !matches!(locked(&self.child).try_wait(), Ok(None))
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        end(&self.child);
        locked(&RUNNING).retain(|other| !Arc::ptr_eq(other, &self.child));
    }
}

/// Runs a command to its end; returns what it wrote to its standard output, where that is piped. What it writes to its
/// standard error, where that is piped, `build` follows; `meanwhile` is called about twice a second.
pub(crate) fn run(
    command: &mut Command,
    build: &Build,
    meanwhile: &mut dyn FnMut(),
) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = command.spawn()?;
    let output = child.stdout.take().map(|mut output| {
        thread::spawn(move || {
            let mut written = Vec::new();
            output.read_to_end(&mut written).map(|_| written)
        })
    });
    let errors = child.stderr.take().map(|errors| {
        let build = build.clone();
        thread::spawn(move || build.follow(errors))
    });
    let child = Arc::new(Mutex::new(child));
    locked(&PASSING).push(Arc::clone(&child));
    let mut told = Instant::now();
    // Polled, so that `end_all` gets at the child meanwhile.
    let ended = poll("a command to end", COMMAND_PATIENCE, Duration::from_millis(20), || {
        if told.elapsed() > TELLING {
            meanwhile();
            told = Instant::now();
        }
        let status = locked(&child).try_wait();
        status.map_err(Error::io("waiting for a command"))
    });
    locked(&PASSING).retain(|other| !Arc::ptr_eq(other, &child));
    if let Some(errors) = errors {
        drop(errors.join());
    }
    let panicked = |_| Err(io::Error::other("reading a command's output panicked"));
    let written = output.map_or(Ok(Vec::new()), |output| output.join().unwrap_or_else(panicked))?;
    Ok((ended.map_err(io::Error::other)?, written))
}

/// Ends every child now and waits for it: for a process that is about to exit without unwinding.
pub fn end_all() {
    for child in locked(&PASSING).iter() {
        drop(locked(child).kill());
    }
    let running: Vec<_> = locked(&RUNNING).drain(..).collect();
    for child in &running {
        // Close all pipes first, so that the keepers work at the same time.
        drop(locked(child).stdin.take());
    }
    for child in &running {
        end(child);
    }
}

fn end(child: &Mutex<Child>) {
    let mut child = locked(child);
    drop(child.stdin.take());
    let ended = poll("a keeper to end", PATIENCE, Duration::from_millis(10), || {
        Ok((!matches!(child.try_wait(), Ok(None))).then_some(()))
    });
    if ended.is_err() {
        // A keeper that hangs is beyond its duty; nothing else can be done about its child from here.
        drop(child.kill());
        drop(child.wait());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks stays usable after a panic elsewhere.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
