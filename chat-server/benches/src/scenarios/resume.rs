//! Everybody was cut off, something was posted, and all come back at once.
//!
//! The WebSockets are open before the clock starts; it runs from the first CONNECT to the last message. Clients of ours come back as
//! the official ones do, by `pid` and token; where the clients do without, and with the others, by the offset of the last message.

use anyhow::Result;

use super::{Scenario, TEXT_BYTES};
use crate::bench::{Bench, Outcome, Size};
use crate::load::{Connect, Pace, Stream};
use crate::metric;
use crate::server::Server;

/// So many are brought back by every server that can, more by some.
const FEW: usize = 1_000;
const OF_MANY: &[&str] = &["ours-memory", "ours-sqlite", "bare-coalesced", "socketioxide-sqlite"];

struct Resume {
    clients: usize,
    missed: u64,
}

pub(super) fn scenarios(size: Size) -> Vec<Box<dyn Scenario>> {
    let sizes: &[(usize, u64)] = match size {
        Size::Quick => &[(1_000, 200)],
        Size::Full => &[(1_000, 200), (10_000, 100)],
    };
    sizes.iter().map(|&(clients, missed)| Box::new(Resume { clients, missed }) as Box<dyn Scenario>).collect()
}

impl Scenario for Resume {
    fn group(&self) -> &'static str {
        "resume"
    }

    fn name(&self) -> String {
        format!("resume {} × {}", self.clients, self.missed)
    }

    fn what(&self) -> String {
        format!(
            "{} clients of one room come back at once, each has missed {} messages.",
            self.clients, self.missed
        )
    }

    fn fits(&self, server: &Server) -> bool {
        server.resumes && (self.clients <= FEW || server.is_one_of(OF_MANY))
    }

    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        const BEFORE: u64 = 10;
        let mut pair = bench.start(server)?;
        // The first one stays, and posts.
        let connect = pair.connection(1, 1, self.clients + 1);
        pair.connect(Connect { remember: true, ..connect })?;
        let all = 1..self.clients + 1;
        let stream = |posts| Stream {
            rooms: 0..1,
            posters: 1,
            pace: Pace::Count { posts, under_way: 16 },
            seconds: 0.0,
        };
        pair.load.post(vec![stream(BEFORE)], TEXT_BYTES)?;
        pair.load.cut(all.clone())?;
        pair.load.post(vec![stream(self.missed)], TEXT_BYTES)?;
        pair.load.open(all)?;
        let (resumed, cost) = pair.cost(|load| load.resume())?;
        let messages = resumed.messages as f64;
        let mut outcome = Outcome { amiss: pair.load.check()?, ..Outcome::default() };
        outcome.value(metric::RESUMED, messages / resumed.seconds);
        outcome.value(metric::SERVER_PER_RESUMED, cost.server * 1e6 / messages);
        outcome.value(metric::LOAD_PER_RESUMED, cost.load * 1e6 / messages);
        Ok(outcome)
    }
}
