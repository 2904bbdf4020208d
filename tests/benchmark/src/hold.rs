//! Holds a process to a share of a CPU, as Lambda does by the memory of a function: a quota in each period.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html> (1,769 MB are one CPU)
//!
//! The kernel's own way is the quota of a control group (`cpu.max`). Where none can be made, the process is stopped when it
//! has used its quota of a period, and goes on with the next: the same rule, enforced half a millisecond late at most.

use crate::child::{allow, cpu_of};
use crate::error::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Of a quota, on Lambda.
const PERIOD: Duration = Duration::from_millis(20);
/// How often a process is looked at that has to be stopped by hand.
const LOOK: Duration = Duration::from_micros(500);
const GROUPS: &str = "/sys/fs/cgroup";

/// How processes are held here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ControlGroup,
    StopAndGo,
}

impl Way {
    /// The best that this machine lets us do.
    pub fn of_this_machine() -> Self {
        let probe = Group::path("probe");
        let is_there = fs::create_dir(&probe).is_ok() && probe.join("cpu.max").exists();
        drop(fs::remove_dir(&probe));
        if is_there { Self::ControlGroup } else { Self::StopAndGo }
    }

    pub const fn text(self) -> &'static str {
        match self {
            Self::ControlGroup => "by cpu.max of a control group",
            Self::StopAndGo => "by SIGSTOP and SIGCONT, because no control group with a quota can be made here",
        }
    }
}

/// While this is there, the process has no more than its share.
#[derive(Debug)]
pub enum Held {
    Group(Group),
    Watch(Watch),
}

/// Holds a process from now on.
///
/// # Errors
/// When the kernel does not let us.
pub fn hold(pid: Pid, share: f64, way: Way, cpus: &[usize]) -> Result<Held> {
    let quota = PERIOD.mul_f64(share);
    match way {
        Way::ControlGroup => Group::of(pid, quota).map(Held::Group),
        Way::StopAndGo => Ok(Held::Watch(Watch::over(pid, quota, cpus.to_vec()))),
    }
}

#[derive(Debug)]
pub struct Group {
    path: PathBuf,
}

impl Group {
    fn path(name: impl std::fmt::Display) -> PathBuf {
        PathBuf::from(GROUPS).join(format!("sluice-benchmark-{name}"))
    }

    fn of(pid: Pid, quota: Duration) -> Result<Self> {
        let group = Self { path: Self::path(pid) };
        let path = &group.path;
        fs::create_dir(path).map_err(Error::io(path.display()))?;
        let max = format!("{} {}", quota.as_micros(), PERIOD.as_micros());
        fs::write(path.join("cpu.max"), max).map_err(Error::io(path.display()))?;
        fs::write(path.join("cgroup.procs"), pid.to_string()).map_err(Error::io(path.display()))?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its process has ended: an empty group can be removed.
        drop(fs::remove_dir(&self.path));
    }
}

#[derive(Debug)]
pub struct Watch {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// The one who watches uses other CPUs, where there are any.
    fn over(pid: Pid, quota: Duration, cpus: Vec<usize>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let _elsewhere = allow(&cpus);
            while !ends.load(Ordering::Relaxed) {
                if spend(pid, quota, Instant::now() + PERIOD).is_err() {
                    return;
                }
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Lets the process run until it has had its quota, and lets it stand until the period ends.
fn spend(pid: Pid, quota: Duration, end: Instant) -> nix::Result<()> {
    let before = cpu_of(pid)?;
    while Instant::now() < end {
        let had = cpu_of(pid)?.saturating_sub(before);
        if had >= quota {
            kill(pid, Signal::SIGSTOP)?;
            pause(end.saturating_duration_since(Instant::now()));
            return kill(pid, Signal::SIGCONT);
        }
        pause(LOOK.min(quota - had));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the time that passes is what is waited for")]
fn pause(time: Duration) {
    thread::sleep(time);
}
