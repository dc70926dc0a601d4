//! Quiet rooms, alone, and then beside something loud: whether one room, or one client, takes everybody's time.
//!
//! The loud one has a load process of its own, so that what it has to read does not delay the quiet ones' clients. It shares their core, though.

use std::thread;

use anyhow::Result;

use super::{Scenario, TEXT_BYTES};
use crate::bench::{Bench, Outcome, Size};
use crate::load::{Pace, Stream};
use crate::metric;
use crate::server::Server;

const SERVERS: &[&str] = &["ours-memory", "ours-sqlite", "bare-singly", "socketioxide", "node"];
/// Of a quiet room, and of the one that is flooded.
const MEMBERS: usize = 10;

struct Beside {
    name: &'static str,
    rooms: usize,
    /// In each of them.
    posts_per_second: f64,
    loud: Loud,
}

/// One room.
struct Loud {
    members: usize,
    posters: usize,
    under_way: usize,
}

pub(super) fn scenarios(size: Size) -> Vec<Box<dyn Scenario>> {
    let members = match size {
        Size::Quick => 1_000,
        Size::Full => 10_000,
    };
    let hot = Loud { members, posters: 10, under_way: 1 };
    let flood = Loud { members: MEMBERS, posters: 1, under_way: 100 };
    vec![
        Box::new(Beside { name: "hot room", rooms: 50, posts_per_second: 2.0, loud: hot }),
        Box::new(Beside { name: "flood", rooms: 1, posts_per_second: 10.0, loud: flood }),
    ]
}

impl Scenario for Beside {
    fn group(&self) -> &'static str {
        "growth"
    }

    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn what(&self) -> String {
        let (rooms, loud) = (self.rooms, &self.loud);
        format!(
            "{rooms} {} of {MEMBERS} members, {} posts a second in each; alone, and beside one room of {} in which {} post, each with {} under way.",
            if rooms == 1 { "room" } else { "rooms" },
            self.posts_per_second,
            loud.members,
            loud.posters,
            loud.under_way,
        )
    }

    fn fits(&self, server: &Server) -> bool {
        server.is_one_of(SERVERS)
    }

    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        let mut pair = bench.start(server)?;
        pair.connect(pair.connection(1, self.rooms, MEMBERS))?;
        let mut loud = bench.load()?;
        let connected = loud.connect(pair.connection(self.rooms + 1, 1, self.loud.members))?;
        anyhow::ensure!(
            connected.clients == self.loud.members,
            "not everybody was let in: {:?}",
            connected.stopped
        );
        let quiet = |seconds| {
            let pace = Pace::PerSecond(self.posts_per_second * self.rooms as f64);
            vec![Stream { rooms: 0..self.rooms, posters: MEMBERS, pace, seconds }]
        };
        let (warm_up, seconds) = (1.0, bench.sized(2.0, 5.0));
        pair.load.post(quiet(warm_up), TEXT_BYTES)?;
        let alone = pair.load.post(quiet(seconds), TEXT_BYTES)?.streams[0].delivery;

        let pace = Pace::UnderWay(self.loud.under_way);
        // Longer than what is measured beside it.
        let seconds_loud = warm_up + seconds + 0.5;
        let noise = Stream { rooms: 0..1, posters: self.loud.posters, pace, seconds: seconds_loud };
        let (beside, noise) = thread::scope(|scope| -> Result<_> {
            let noise = scope.spawn(|| loud.post(vec![noise], TEXT_BYTES));
            pair.load.post(quiet(warm_up), TEXT_BYTES)?;
            let beside = pair.load.post(quiet(seconds), TEXT_BYTES)?.streams[0].delivery;
            Ok((beside, noise.join().expect("posting does not panic")?))
        })?;
        let mut outcome = Outcome { amiss: pair.load.check()?, ..Outcome::default() };
        outcome.amiss.add(loud.check()?);
        outcome.value(metric::BESIDE_P99, beside.p99 / 1e3);
        outcome.value(metric::BESIDE_P50, beside.p50 / 1e3);
        outcome.value(metric::BESIDE_MAX, beside.max / 1e3);
        outcome.value(metric::ALONE_P99, alone.p99 / 1e3);
        outcome.value(metric::ALONE_P50, alone.p50 / 1e3);
        outcome.value(metric::LOUD_POSTS, noise.answered() as f64 / noise.answered_seconds);
        Ok(outcome)
    }
}
