//! What a process of this machine uses, as the system says it.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Resource, getrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::clock;

/// Processor time used so far, by all its threads, in the kernel as well; that of children that have ended, too.
pub(crate) fn processor_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may contain anything.
    let (_, fields) = stat.rsplit_once(") ").context("an odd stat file")?;
    let ticks: u64 = fields.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
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
pub(crate) fn files_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Raises the limit of open files to what is allowed, also for what is started from here.
pub(crate) fn raise_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    Ok(rustix::process::setrlimit(Resource::Nofile, raised)?)
}

/// Keeps this thread, and what it starts from now on, to one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Asks a process to end.
pub(crate) fn terminate(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("an odd process id")?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::TERM)?)
}
