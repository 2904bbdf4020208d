//! A process under test: started as Lambda starts it, and what the kernel knows of it.

use crate::error::{Error, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::Duration;

/// How to start a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub executable: PathBuf,
    pub arguments: Vec<PathBuf>,
}

impl Program {
    pub fn binary(executable: PathBuf) -> Self {
        Self { executable, arguments: Vec::new() }
    }
}

/// Ended when dropped.
#[derive(Debug)]
pub struct Child {
    process: Process,
    name: String,
}

impl Child {
    /// Starts it. What it prints goes to `log`, or nowhere.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, log: Option<&Path>) -> Result<Self> {
        let name = command.get_program().display().to_string();
        let (out, err) = match log {
            None => (Stdio::null(), Stdio::null()),
            Some(path) => {
                let file = File::options().create(true).append(true).open(path).map_err(Error::io(path.display()))?;
                let twin = file.try_clone().map_err(Error::io(path.display()))?;
                (file.into(), twin.into())
            }
        };
        let process = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        Ok(Self { process: process.map_err(Error::io(format_args!("starting {name}")))?, name })
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// # Errors
    /// When it has ended, which no function does by itself.
    pub fn is_alive(&mut self) -> Result<()> {
        match self.process.try_wait().map_err(Error::io(&self.name))? {
            None => Ok(()),
            Some(status) => Err(Error::Wrong(format!("{} has ended: {status}", self.name))),
        }
    }

    /// The time that all its threads have had on a CPU, those that have ended included.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> Result<Duration> {
        cpu_of(self.pid()).map_err(Error::io(&self.name))
    }

    /// The most memory that it ever had, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn peak_memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(&path).map_err(Error::io(&path))?;
        peak(&status).ok_or_else(|| Error::Wrong(format!("{path} does not tell VmHWM")))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have been stopped; an end that does not come is the kernel's.
        let _ended = kill(self.pid(), Signal::SIGKILL);
        let _reaped = self.process.wait();
    }
}

pub(crate) fn cpu_of(pid: Pid) -> nix::Result<Duration> {
    let time = clock_gettime(clock_getcpuclockid(pid)?)?;
    Ok(Duration::from(time))
}

fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1_024)
}

/// The CPUs that this process may use.
///
/// # Errors
/// When the kernel does not say.
pub fn cpus() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(Error::io("asking for the CPUs"))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

/// Keeps this thread, and every thread and process that it starts from now on, on one CPU.
///
/// # Errors
/// When there is no such CPU.
pub fn pin(cpu: usize) -> Result<()> {
    allow(&[cpu])
}

/// Lets this thread use these CPUs.
///
/// # Errors
/// When one of them is not there.
pub fn allow(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu).map_err(Error::io(format_args!("CPU {cpu}")))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(Error::io(format_args!("using the CPUs {cpus:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_bytes() {
        let status = "Name:\techo\nVmPeak:\t  9999 kB\nVmHWM:\t    2960 kB\nVmRSS:\t    10 kB\n";
        assert_eq!(peak(status), Some(2_960 * 1_024));
        assert_eq!(peak("Name:\techo\n"), None);
    }

    #[test]
    fn a_process_is_told_of_and_ended() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "while :; do :; done"]);
        let mut child = Child::start(command, None).expect("a process");
        let pid = child.pid();
        while child.cpu().expect("its time") < Duration::from_millis(2) {
            child.is_alive().expect("alive");
        }
        drop(child);
        assert!(cpu_of(pid).is_err(), "it still runs");
    }
}
