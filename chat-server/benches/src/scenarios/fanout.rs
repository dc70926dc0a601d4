//! One room, many members, and everybody gets everything: at a fixed rate, where each message is a write of its own to each member, and
//! at the limit, where a server that coalesces writes many at a time.

use anyhow::Result;

use super::{MAIN, Scenario, TEXT_BYTES};
use crate::bench::{Bench, Outcome, Size};
use crate::load::{Pace, Stream};
use crate::metric;
use crate::server::Server;

/// So many deliveries a second at the fixed rate, whatever the size of the room: half of what the slowest servers can.
const DELIVERIES_PER_SECOND: usize = 50_000;
/// The same where sizes are compared: no more, since with rooms of one each delivery is a post.
const GROWTH_DELIVERIES_PER_SECOND: usize = 10_000;
/// In which sizes are compared.
const GROWTH: &[&str] = &["ours-memory", "bare-singly", "socketioxide"];
/// Who posts at the limit, and how many posts each has under way.
const POSTERS: usize = 10;
const UNDER_WAY: usize = 10;

struct Fanout {
    group: &'static str,
    rooms: usize,
    members: usize,
    rate: Rate,
    /// None: all.
    servers: Option<&'static [&'static str]>,
}

#[derive(Clone, Copy)]
enum Rate {
    /// So many deliveries a second in all.
    Fixed(usize),
    Limit,
}

pub(super) fn scenarios(size: Size) -> Vec<Box<dyn Scenario>> {
    const FIXED: Rate = Rate::Fixed(DELIVERIES_PER_SECOND);
    let all: &[(usize, usize, Rate)] = match size {
        Size::Quick => &[
            (1, 100, FIXED),
            (1, 100, Rate::Limit),
            (1, 1_000, FIXED),
            (1, 1_000, Rate::Limit),
            (100, 10, FIXED),
            (100, 10, Rate::Limit),
        ],
        Size::Full => &[
            (1, 100, Rate::Limit),
            (1, 1_000, FIXED),
            (1, 1_000, Rate::Limit),
            (1, 10_000, Rate::Limit),
            (1_000, 10, FIXED),
            (1_000, 10, Rate::Limit),
        ],
    };
    let boxed = |&(rooms, members, rate)| {
        // What is to be compared with everybody is compared here.
        let servers = ((rooms, members) != (1, 1_000)).then_some(MAIN);
        Box::new(Fanout { group: "fanout", rooms, members, rate, servers }) as Box<dyn Scenario>
    };
    all.iter().map(boxed).collect()
}

/// The same number of deliveries a second in rooms of more members, and in more rooms.
pub(super) fn growth(size: Size) -> Vec<Box<dyn Scenario>> {
    let sizes: &[(usize, usize)] = match size {
        Size::Quick => &[(1, 10), (1, 1_000), (100, 10), (1, 1), (1_000, 1)],
        Size::Full => &[
            (1, 10),
            (1, 100),
            (1, 1_000),
            (1, 10_000),
            (10, 10),
            (100, 10),
            (1_000, 10),
            (1, 1),
            (10_000, 1),
        ],
    };
    let boxed = |&(rooms, members)| {
        let rate = Rate::Fixed(GROWTH_DELIVERIES_PER_SECOND);
        Box::new(Fanout { group: "growth", rooms, members, rate, servers: Some(GROWTH) }) as Box<dyn Scenario>
    };
    sizes.iter().map(boxed).collect()
}

impl Scenario for Fanout {
    fn group(&self) -> &'static str {
        self.group
    }

    fn name(&self) -> String {
        let rate = match self.rate {
            Rate::Fixed(deliveries) => format!("{}/s", deliveries / self.members),
            Rate::Limit => "limit".to_owned(),
        };
        format!("{} {} × {} {rate}", self.group, self.rooms, self.members)
    }

    fn what(&self) -> String {
        let rooms = match self.rooms {
            1 => format!("One room of {} members", self.members),
            rooms => format!("{rooms} rooms of {} members each", self.members),
        };
        match self.rate {
            Rate::Fixed(deliveries) => format!("{rooms}, {} posts a second.", deliveries / self.members),
            Rate::Limit => format!("{rooms}, {} posts under way at any time.", POSTERS * UNDER_WAY),
        }
    }

    fn fits(&self, server: &Server) -> bool {
        (self.rooms == 1 || !server.one_room)
            && !server.is_one_of(&["node-recovery"])
            && self.servers.is_none_or(|servers| server.is_one_of(servers))
    }

    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        let mut pair = bench.start(server)?;
        pair.connect(pair.connection(1, self.rooms, self.members))?;
        let stream = |seconds| match (self.rate, self.rooms) {
            (Rate::Fixed(deliveries), rooms) => {
                let pace = Pace::PerSecond((deliveries / self.members) as f64);
                Stream { rooms: 0..rooms, posters: POSTERS, pace, seconds }
            }
            (Rate::Limit, 1) => {
                Stream { rooms: 0..1, posters: POSTERS, pace: Pace::UnderWay(UNDER_WAY), seconds }
            }
            (Rate::Limit, rooms) => Stream {
                rooms: 0..rooms.min(POSTERS * UNDER_WAY),
                posters: 1,
                pace: Pace::UnderWay(1),
                seconds,
            },
        };
        // Caches, buffers and compilers warm up.
        pair.load.post(vec![stream(bench.sized(0.5, 1.0))], TEXT_BYTES)?;
        let seconds = bench.sized(2.0, 5.0);
        let (posted, cost) = pair.cost(|load| load.post(vec![stream(seconds)], TEXT_BYTES))?;
        let deliveries = posted.deliveries() as f64;
        let mut outcome = Outcome { amiss: pair.load.check()?, ..Outcome::default() };
        outcome.value(metric::SERVER_PER_DELIVERY, cost.server * 1e6 / deliveries);
        outcome.value(metric::LOAD_PER_DELIVERY, cost.load * 1e6 / deliveries);
        if cost.store != 0.0 {
            outcome.value(metric::STORE_PER_DELIVERY, cost.store * 1e6 / deliveries);
        }
        outcome.value(metric::DELIVERIES, deliveries / posted.seconds);
        outcome.value(metric::PER_READ, deliveries / posted.reads as f64);
        let latency = posted.streams[0].delivery;
        outcome.value(metric::DELIVERY_P50, latency.p50 / 1e3);
        outcome.value(metric::DELIVERY_P99, latency.p99 / 1e3);
        outcome.value(metric::DELIVERY_P999, latency.p999 / 1e3);
        Ok(outcome)
    }
}
