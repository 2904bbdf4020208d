//! Processes of the function: each takes one call at a time, as Lambda's do, and one that ends is replaced.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::Function;
use super::runtime_api::{Invocation, Outcome, Queue, RuntimeApi};
use crate::keeper::Kept;
use crate::server::{Servers, listen};
use crate::{Error, guard, place};

/// How many calls may be open at once.
const PROCESSES: usize = 6;
/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(250);
/// As the template says.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(900);

pub(super) struct Pool {
    queue: Arc<Queue>,
    function: Function,
    python: PathBuf,
    folder: PathBuf,
    processes: Mutex<Vec<Process>>,
}

struct Process {
    kept: Kept,
    number: usize,
    port: u16,
    api: RuntimeApi,
}

impl Pool {
    pub(super) fn start(
        function: Function,
        python: &Path,
        folder: &Path,
        servers: &Servers,
    ) -> Result<Arc<Self>, Error> {
        let pool = Arc::new(Self {
            queue: Arc::default(),
            function,
            python: python.to_path_buf(),
            folder: folder.to_path_buf(),
            processes: Mutex::default(),
        });
        for number in 0..PROCESSES {
            let (listener, address) = listen(0)?;
            let api = RuntimeApi::new(Arc::clone(&pool.queue));
            let of_port = api.clone();
            servers.serve_behind(listener, guard::admit_program, move |request| of_port.clone().answer(request))?;
            let kept = pool.spawn(number, address.port())?;
            pool.processes().push(Process { kept, number, port: address.port(), api });
        }
        servers.spawn(replace(Arc::downgrade(&pool)));
        Ok(pool)
    }

    /// Hands an event to the next process that is free, and waits until its answer begins.
    #[expect(
        clippy::disallowed_methods,
        reason = "the pool is no part of the product; functions are told the real time"
    )]
    pub(super) async fn invoke(&self, id: String, event: Bytes) -> Outcome {
        let (outcome, answered) = oneshot::channel();
        let deadline = Timestamp::now().saturating_add(TIMEOUT).unwrap_or(Timestamp::MAX);
        let function_arn = self.function.arn.clone();
        let gone = |_closed| "there is no function".to_owned();
        self.queue
            .sender
            .send(Invocation { id, event, deadline, function_arn, outcome })
            .map_err(|_closed| "there is no function".to_owned())?;
        answered.await.map_err(gone)?
    }

    /// Ends every process, for good.
    pub(super) fn end(&self) {
        self.processes().clear();
    }

    fn spawn(&self, number: usize, port: u16) -> Result<Kept, Error> {
        let log = self.folder.join(format!("{}-{number}.log", super::FUNCTION));
        let mut keeper = Command::new(&self.python);
        keeper.arg(place::python_program("keeper.py")).arg(&log).arg(&self.function.binary);
        // Nothing of this shell may reach it.
        keeper.env_clear().envs(self.function.environment.iter().map(|(name, value)| (name, value)));
        keeper.env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{port}"));
        Kept::start(&mut keeper, &log)
    }

    fn processes(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace_ended(&self) {
        for process in self.processes().iter_mut().filter(|process| process.kept.has_ended()) {
            process.api.forget();
            // One that cannot be started is tried again.
            if let Ok(kept) = self.spawn(process.number, process.port) {
                process.kept = kept;
            }
        }
    }
}

async fn replace(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.replace_ended();
    }
}
