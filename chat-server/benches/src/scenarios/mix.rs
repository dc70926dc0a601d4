//! What looks like a chat: a few large rooms and many small ones, posts in bursts, typing notices, and connections that break and come back.
//!
//! Whoever comes back resumes, and posts again what was not answered. That everything arrives once and in order nevertheless is what this is about.

use anyhow::Result;

use super::{Scenario, TEXT_BYTES};
use crate::bench::{Bench, Outcome, Size};
use crate::load::{Connect, Mix};
use crate::metric;
use crate::server::Server;

const CLIENTS: usize = 2_000;
/// Members of the largest room; the second has half of that, the third a third, …
const LARGEST: usize = 300;
/// The clients of a server that has one room: with as many posts, they come to about as many deliveries.
const ONE_ROOM: usize = 75;
const BURSTS_PER_SECOND: f64 = 100.0;
/// One client of a hundred.
const CUTS_PER_SECOND: f64 = 20.0;
const SERVERS: &[&str] = &[
    "ours-memory",
    "ours-sqlite",
    "socketioxide",
    "socketioxide-sqlite",
    "node",
    "tutorial",
    "tutorial-wal",
];

struct Chat;

pub(super) fn scenarios(_size: Size) -> Vec<Box<dyn Scenario>> {
    vec![Box::new(Chat)]
}

impl Scenario for Chat {
    fn group(&self) -> &'static str {
        "mix"
    }

    fn name(&self) -> String {
        "mix".to_owned()
    }

    fn what(&self) -> String {
        format!(
            "{CLIENTS} clients in rooms of {LARGEST} to 2 (in one room of {ONE_ROOM} where the server has only one) post in bursts of 1 to 5, about {:.0} a second in all, with typing notices; {CUTS_PER_SECOND} connections a second are cut, half of them just behind a post, and come back within a second. Latency is that of messages for which neither their author nor their reader was away.",
            3.0 * BURSTS_PER_SECOND
        )
    }

    fn fits(&self, server: &Server) -> bool {
        server.is_one_of(SERVERS)
    }

    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        let mut pair = bench.start(server)?;
        let sizes = match server.one_room {
            true => vec![ONE_ROOM],
            false => sizes(CLIENTS, LARGEST),
        };
        let rooms = sizes.into_iter().enumerate().map(|(nth, size)| (server.room(nth), size)).collect();
        let connect = pair.connection(0, 0, 0);
        pair.connect(Connect { rooms, remember: true, ..connect })?;
        let mix = Mix {
            seconds: bench.sized(3.0, 10.0),
            bursts_per_second: BURSTS_PER_SECOND,
            cuts_per_second: CUTS_PER_SECOND,
            text_bytes: TEXT_BYTES,
            seed: 1,
        };
        let (mixed, cost) = pair.cost(|load| load.mix(mix))?;
        let deliveries = mixed.posted.deliveries() as f64;
        let mut outcome = Outcome { amiss: pair.load.check()?, ..Outcome::default() };
        outcome.value(metric::SERVER_PER_DELIVERY, cost.server * 1e6 / deliveries);
        outcome.value(metric::LOAD_PER_DELIVERY, cost.load * 1e6 / deliveries);
        outcome.value(metric::DELIVERIES, deliveries / mixed.posted.seconds);
        let latency = mixed.posted.streams[0].delivery;
        outcome.value(metric::DELIVERY_P50, latency.p50 / 1e3);
        outcome.value(metric::DELIVERY_P99, latency.p99 / 1e3);
        outcome.value(metric::DELIVERY_P999, latency.p999 / 1e3);
        outcome.value(metric::RESIDENT_AFTER, pair.server.settled_bytes()? as f64 / 1e6);
        outcome.note = Some(format!("{} connections cut, {} posts repeated", mixed.cuts, mixed.again));
        Ok(outcome)
    }
}

/// The sizes of rooms for so many clients: heavy-tailed, the nth is an nth of the largest, and nobody is alone.
fn sizes(clients: usize, largest: usize) -> Vec<usize> {
    let mut left = clients;
    let mut sizes = Vec::new();
    for nth in 1.. {
        let size = (largest / nth).max(2);
        if left < size + 2 {
            break;
        }
        sizes.push(size);
        left -= size;
    }
    sizes.push(left);
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_heavy_tailed_and_everybody_is_in_one_with_somebody() {
        let sizes = sizes(2_000, 300);
        assert_eq!(sizes.iter().sum::<usize>(), 2_000);
        assert_eq!(sizes[..4], [300, 150, 100, 75]);
        assert!(sizes.iter().all(|&size| 2 <= size));
        assert!(100 < sizes.iter().filter(|&&size| size == 2).count());
    }
}
