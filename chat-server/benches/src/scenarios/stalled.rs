//! Members that do not read while messages flow: what the server keeps for each of them.

use anyhow::Result;

use super::{MAIN, Scenario};
use crate::bench::{Bench, Outcome, Pair, Size};
use crate::load::{Pace, Stream};
use crate::metric;
use crate::server::Server;

const STALLED: usize = 100;
/// More in all than the system's buffers of a connection take.
const POSTS: u64 = 6_000;
const BYTES: usize = 1_000;

struct Stalled;

pub(super) fn scenarios(_size: Size) -> Vec<Box<dyn Scenario>> {
    vec![Box::new(Stalled)]
}

impl Scenario for Stalled {
    fn group(&self) -> &'static str {
        "stalled"
    }

    fn name(&self) -> String {
        "stalled".to_owned()
    }

    fn what(&self) -> String {
        format!(
            "{STALLED} members of a room do not read, while {POSTS} messages of {BYTES} bytes are posted there."
        )
    }

    fn fits(&self, server: &Server) -> bool {
        server.is_one_of(MAIN)
    }

    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        let mut pair = bench.start(server)?;
        pair.connect(pair.connection(1, 1, STALLED + 1))?;
        // What the messages themselves take is not the readers'.
        grown(&mut pair)?;
        let reading = grown(&mut pair)?;
        pair.load.stall(1..STALLED + 1)?;
        let stalled = grown(&mut pair)?;
        let mut outcome = Outcome { amiss: pair.load.check()?, ..Outcome::default() };
        outcome.value(metric::STALLED_BYTES, (stalled - reading) / STALLED as f64);
        Ok(outcome)
    }
}

/// By how much the server's memory grows by so many messages more.
fn grown(pair: &mut Pair) -> Result<f64> {
    let before = pair.server.settled_bytes()?;
    let pace = Pace::Count { posts: POSTS, under_way: 16 };
    pair.load.post(vec![Stream { rooms: 0..1, posters: 1, pace, seconds: 0.0 }], BYTES)?;
    Ok(pair.server.settled_bytes()? as f64 - before as f64)
}
