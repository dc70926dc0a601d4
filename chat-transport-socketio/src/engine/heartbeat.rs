//! When a client is pinged, and when it is given up.
//!
//! Pure: the time is an argument. A peer that is alive answers each ping within the timeout; anything else it sends
//! meanwhile prolongs the wait once, as with the reference server.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next ping is due then.
    Resting(Instant),
    /// A pong is due by then.
    Waiting { until: Instant, prolonged: bool, excused: u32 },
}

/// How often in a row a pong may be late because this side does not read. A handler that takes longer than that loses its connection:
/// nobody could tell whether the peer is still there.
const EXCUSES_MAX: u32 = 10;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Nothing,
    Ping,
    /// No pong came in time.
    Dead,
}

impl Heartbeat {
    pub(crate) fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self { interval, timeout, state: State::Resting(now + interval) }
    }

    /// When to call [`Self::beat`] next.
    pub(crate) fn due(&self) -> Instant {
        match self.state {
            State::Resting(at) => at,
            State::Waiting { until, .. } => until,
        }
    }

    /// What is due at `now`. After [`Beat::Ping`] a pong is awaited.
    pub(crate) fn beat(&mut self, now: Instant) -> Beat {
        if now < self.due() {
            return Beat::Nothing;
        }
        match self.state {
            State::Resting(at) => {
                // Counted from when the ping was due, unless this side was late with it.
                let until = (at + self.timeout).max(now + self.timeout / 2);
                self.state = State::Waiting { until, prolonged: false, excused: 0 };
                Beat::Ping
            }
            State::Waiting { .. } => Beat::Dead,
        }
    }

    /// A pong came.
    pub(crate) fn pong(&mut self, now: Instant) {
        self.state = State::Resting(now + self.interval);
    }

    /// Something else came: the peer lives, its pong is perhaps behind it.
    pub(crate) fn sign_of_life(&mut self, now: Instant) {
        if let State::Waiting { until, prolonged, excused } = &mut self.state {
            *excused = 0;
            if *prolonged {
                return;
            }
            *until = now + self.timeout;
            *prolonged = true;
        }
    }

    /// This side has not read, and does now: the peer's time begins anew.
    pub(crate) fn forgive(&mut self, now: Instant) {
        if let State::Waiting { until, .. } = &mut self.state {
            *until = now + self.timeout;
        }
    }

    /// This side still does not read: the peer's time begins anew, unless that was so too often. False: it is given up.
    pub(crate) fn excuse(&mut self, now: Instant) -> bool {
        if let State::Waiting { until, excused, .. } = &mut self.state {
            if *excused >= EXCUSES_MAX {
                return false;
            }
            *excused += 1;
            *until = now + self.timeout;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(25);
    const TIMEOUT: Duration = Duration::from_secs(20);

    #[test]
    fn a_peer_that_answers_is_pinged_at_each_interval() {
        let start = Instant::now();
        let mut heart = Heartbeat::new(INTERVAL, TIMEOUT, start);
        assert_eq!(heart.beat(start + Duration::from_secs(24)), Beat::Nothing);
        assert_eq!(heart.beat(start + INTERVAL), Beat::Ping);
        heart.pong(start + Duration::from_secs(26));
        assert_eq!(heart.beat(start + Duration::from_secs(50)), Beat::Nothing);
        assert_eq!(heart.beat(start + Duration::from_secs(51)), Beat::Ping);
    }

    #[test]
    fn a_peer_that_does_not_answer_is_given_up_after_the_timeout() {
        let start = Instant::now();
        let mut heart = Heartbeat::new(INTERVAL, TIMEOUT, start);
        assert_eq!(heart.beat(start + INTERVAL), Beat::Ping);
        assert_eq!(heart.beat(start + INTERVAL + TIMEOUT - Duration::from_millis(1)), Beat::Nothing);
        assert_eq!(heart.beat(start + INTERVAL + TIMEOUT), Beat::Dead);
    }

    #[test]
    fn a_late_ping_still_leaves_time_for_its_pong() {
        let start = Instant::now();
        let mut heart = Heartbeat::new(INTERVAL, TIMEOUT, start);
        let late = start + INTERVAL + Duration::from_secs(60);
        assert_eq!(heart.beat(late), Beat::Ping);
        assert_eq!(heart.due(), late + TIMEOUT / 2);
    }

    #[test]
    fn other_traffic_prolongs_the_wait_for_a_pong_once() {
        let start = Instant::now();
        let mut heart = Heartbeat::new(INTERVAL, TIMEOUT, start);
        assert_eq!(heart.beat(start + INTERVAL), Beat::Ping);
        let later = start + INTERVAL + Duration::from_secs(10);
        heart.sign_of_life(later);
        heart.sign_of_life(later + Duration::from_secs(5));
        assert_eq!(heart.due(), later + TIMEOUT);
    }

    #[test]
    fn a_peer_that_is_not_read_from_is_given_up_in_the_end() {
        let start = Instant::now();
        let mut heart = Heartbeat::new(INTERVAL, TIMEOUT, start);
        assert_eq!(heart.beat(start + INTERVAL), Beat::Ping);
        let mut excuses = 0;
        while heart.beat(heart.due()) == Beat::Dead && heart.excuse(heart.due()) {
            excuses += 1;
            assert!(excuses <= EXCUSES_MAX);
        }
        assert_eq!(excuses, EXCUSES_MAX);
        assert_eq!(heart.due(), start + INTERVAL + TIMEOUT * (EXCUSES_MAX + 1));
    }

    #[test]
    fn what_is_read_from_a_peer_excuses_it_afresh() {
        let start = Instant::now();
        let mut heart = Heartbeat::new(INTERVAL, TIMEOUT, start);
        assert_eq!(heart.beat(start + INTERVAL), Beat::Ping);
        for _ in 0..3 * EXCUSES_MAX {
            assert!(heart.excuse(heart.due()));
            heart.forgive(heart.due());
            heart.sign_of_life(heart.due());
        }
    }
}
