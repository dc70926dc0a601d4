//! How many requests one connection may make: so many at once, so many a second. Pure; the time is an argument.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// So many a second in the long run, and so many at once after a rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Between two requests in the long run.
    interval: Duration,
    /// How far ahead of that pace a connection may be.
    ahead_max: Duration,
}

impl Rate {
    pub(super) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let interval = Duration::from_secs(1) / per_second.get();
        Self { interval, ahead_max: interval.saturating_mul(burst.get() - 1) }
    }
}

/// What one connection has used of its [`Rate`].
#[derive(Debug, Default)]
pub(super) struct Spent {
    /// When it would be back at the pace; in the past for a connection that rests.
    even_at: Mutex<Option<Instant>>,
}

impl Spent {
    /// Whether nothing was used of it yet.
    pub(super) fn is_unused(&self) -> bool {
        self.even_at.lock().expect("nothing panics while it counts").is_none()
    }

    /// Uses one request, or says how long to wait for it. A refused one costs nothing.
    pub(super) fn take(&self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let mut kept = self.even_at.lock().expect("nothing panics while it counts");
        let even_at = kept.map_or(now, |even_at| even_at.max(now));
        match (even_at - now).checked_sub(rate.ahead_max).filter(|wait| !wait.is_zero()) {
            Some(wait) => Err(wait),
            None => {
                *kept = Some(even_at + rate.interval);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate::new(NonZeroU32::new(per_second).unwrap(), NonZeroU32::new(burst).unwrap())
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_the_pace_holds() {
        let (rate, now) = (rate(10, 3), Instant::now());
        let spent = Spent::default();
        for _ in 0..3 {
            assert_eq!(spent.take(rate, now), Ok(()));
        }
        assert_eq!(spent.take(rate, now), Err(Duration::from_millis(100)));
        assert_eq!(spent.take(rate, now + Duration::from_millis(40)), Err(Duration::from_millis(60)));
        assert_eq!(spent.take(rate, now + Duration::from_millis(100)), Ok(()));
        assert_eq!(spent.take(rate, now + Duration::from_millis(100)), Err(Duration::from_millis(100)));
    }

    proptest! {
        #[test]
        fn no_schedule_gets_more_than_the_burst_and_the_pace(pauses in proptest::collection::vec(0..300_u64, 1..200)) {
            let (rate, start) = (rate(10, 5), Instant::now());
            let spent = Spent::default();
            let (mut now, mut taken) = (start, 0_u64);
            for pause in pauses {
                now += Duration::from_millis(pause);
                taken += u64::from(spent.take(rate, now).is_ok());
                let elapsed = u64::try_from((now - start).as_millis()).unwrap();
                prop_assert!(taken <= 5 + elapsed / 100);
            }
        }

        #[test]
        fn who_waits_as_long_as_told_is_let_through(pauses in proptest::collection::vec(0..50_u64, 1..100)) {
            let rate = rate(10, 5);
            let spent = Spent::default();
            let mut now = Instant::now();
            for pause in pauses {
                now += Duration::from_millis(pause);
                if let Err(wait) = spent.take(rate, now) {
                    now += wait;
                    prop_assert_eq!(spent.take(rate, now), Ok(()));
                }
            }
        }
    }
}
