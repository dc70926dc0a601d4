//! The one clock of all processes of a run.

use std::time::Duration;

use nix::time::ClockId;

/// Nanoseconds of this machine's monotonic clock, the same in every process.
pub(crate) fn now() -> u64 {
    let time = Duration::from(ClockId::CLOCK_MONOTONIC.now().expect("every machine has this clock"));
    u64::try_from(time.as_nanos()).expect("the machine was started within the last centuries")
}

/// As nanoseconds.
pub(crate) fn nanoseconds(seconds: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).expect("within a lifetime")
}

/// From nanoseconds.
pub(crate) fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}
