//! How long a message takes at half of what the server can: first it is found out what that is, then so many are posted a second.

use anyhow::Result;

use super::{MAIN, Scenario, TEXT_BYTES};
use crate::bench::{Bench, Outcome, Size};
use crate::load::{Pace, Stream};
use crate::metric;
use crate::server::Server;

const ROOMS: usize = 50;
const MEMBERS: usize = 20;

struct Latency;

pub(super) fn scenarios(_size: Size) -> Vec<Box<dyn Scenario>> {
    vec![Box::new(Latency)]
}

impl Scenario for Latency {
    fn group(&self) -> &'static str {
        "latency"
    }

    fn name(&self) -> String {
        format!("latency {ROOMS} × {MEMBERS}")
    }

    fn what(&self) -> String {
        format!(
            "{ROOMS} rooms of {MEMBERS} members each (one room of {MEMBERS} where the server has only one), at half of the rate that the same server reached a moment before with two posts under way in each room."
        )
    }

    fn fits(&self, server: &Server) -> bool {
        server.is_one_of(MAIN) || server.is_one_of(&["ours-sqlite", "socketioxide-sqlite"])
    }

    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        let mut pair = bench.start(server)?;
        // Where all are in one room, a thousand members would be another work.
        let rooms = if server.one_room { 1 } else { ROOMS };
        pair.connect(pair.connection(1, rooms, MEMBERS))?;
        let stream = |pace, seconds| vec![Stream { rooms: 0..rooms, posters: 2, pace, seconds }];
        pair.load.post(stream(Pace::UnderWay(1), bench.sized(0.5, 1.0)), TEXT_BYTES)?;
        let most = pair.load.post(stream(Pace::UnderWay(1), bench.sized(1.0, 2.0)), TEXT_BYTES)?;
        let rate = most.answered() as f64 / most.seconds / 2.0;
        let posted = pair.load.post(stream(Pace::PerSecond(rate), bench.sized(2.0, 5.0)), TEXT_BYTES)?;
        let mut outcome = Outcome { amiss: pair.load.check()?, ..Outcome::default() };
        let latency = posted.streams[0].delivery;
        outcome.value(metric::DELIVERY_P99, latency.p99 / 1e3);
        outcome.value(metric::DELIVERY_P50, latency.p50 / 1e3);
        outcome.value(metric::DELIVERY_P999, latency.p999 / 1e3);
        outcome.value(metric::DELIVERY_MAX, latency.max / 1e3);
        outcome.value(metric::POSTS, rate);
        Ok(outcome)
    }
}
