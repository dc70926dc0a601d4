//! The one clock of all processes of a run.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of this machine's monotonic clock, the same in every process.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).expect("the machine has been started in the past");
    let nanoseconds = u64::try_from(time.tv_nsec).expect("less than a second");
    seconds * 1_000_000_000 + nanoseconds
}

/// As nanoseconds.
pub(crate) fn nanoseconds(seconds: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).expect("within a lifetime")
}

/// From nanoseconds.
pub(crate) fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}
