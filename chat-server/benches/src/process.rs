//! What a process of this machine uses, as the system says it.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::clock;

/// Processor time used so far, by all its threads, in the kernel as well. To the nanosecond, where `/proc/PID/stat` has hundredths of a second.
pub(crate) fn processor_seconds(pid: u32) -> Result<f64> {
    let used = clock_getcpuclockid(id(pid)?).and_then(|clock| clock.now()).context("the process is gone")?;
    Ok(Duration::from(used).as_secs_f64())
}

/// Resident memory in bytes, counted exactly.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).context("an odd smaps file")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// Resident memory, once it has stopped moving.
pub(crate) fn settled_bytes(pid: u32) -> Result<u64> {
    const STILL_SECONDS: f64 = 2.0;
    const PATIENCE_SECONDS: f64 = 30.0;
    const NOISE_BYTES: u64 = 64 * 1024;
    let begun = clock::now();
    let (mut last, mut since) = (resident_bytes(pid)?, begun);
    loop {
        thread::sleep(Duration::from_millis(100));
        let (bytes, now) = (resident_bytes(pid)?, clock::now());
        if NOISE_BYTES < bytes.abs_diff(last) {
            (last, since) = (bytes, now);
        }
        if STILL_SECONDS < clock::seconds(now - since) || PATIENCE_SECONDS < clock::seconds(now - begun) {
            return Ok(bytes);
        }
    }
}

/// How many files a process may have open.
pub(crate) fn files_max() -> Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.1)
}

/// Raises the limit of open files to what is allowed, also for what is started from here.
pub(crate) fn raise_files() -> Result<()> {
    let most = files_max()?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

/// Keeps this thread, and what it starts from now on, to one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

/// Asks a process to end.
pub(crate) fn terminate(pid: u32) -> Result<()> {
    Ok(kill(id(pid)?, Signal::SIGTERM)?)
}

fn id(pid: u32) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(pid)?))
}
