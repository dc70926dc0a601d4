//! Durable posts into rooms with no history, and again when they have a long one, which was posted there as everything else is.

use anyhow::Result;

use super::{Scenario, TEXT_BYTES};
use crate::bench::{Bench, Outcome};
use crate::load::{Pace, Stream};
use crate::metric;
use crate::server::Server;

/// One in each room.
const CLIENTS: usize = 16;
/// How many posts each has under way while history is made.
const UNDER_WAY: usize = 16;
/// Who makes history fast enough.
const SERVERS: &[&str] = &["ours-sqlite", "socketioxide-sqlite"];

struct History {
    messages: u64,
}

pub(super) fn scenarios(messages: u64) -> Vec<Box<dyn Scenario>> {
    vec![Box::new(History { messages })]
}

impl Scenario for History {
    fn group(&self) -> &'static str {
        "growth"
    }

    fn name(&self) -> String {
        format!("history {}", self.messages)
    }

    fn what(&self) -> String {
        format!(
            "{CLIENTS} clients in as many rooms, each posts when its last post was answered: first with no history, then with {} messages in these rooms.",
            self.messages
        )
    }

    fn fits(&self, server: &Server) -> bool {
        server.is_one_of(SERVERS)
    }

    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        let mut pair = bench.start(server)?;
        pair.connect(pair.connection(1, CLIENTS, 1))?;
        let stream = |pace, seconds| vec![Stream { rooms: 0..CLIENTS, posters: 1, pace, seconds }];
        let seconds = bench.sized(1.0, 4.0);
        pair.load.post(stream(Pace::UnderWay(1), 0.5), TEXT_BYTES)?;
        let empty = pair.load.post(stream(Pace::UnderWay(1), seconds), TEXT_BYTES)?;
        let history = Pace::Count { posts: self.messages, under_way: UNDER_WAY };
        pair.load.post(stream(history, 0.0), TEXT_BYTES)?;
        let long = pair.load.post(stream(Pace::UnderWay(1), seconds), TEXT_BYTES)?;
        let mut outcome = Outcome { amiss: pair.load.check()?, ..Outcome::default() };
        let per_second = |posted: &crate::load::Posted| posted.answered() as f64 / posted.answered_seconds;
        outcome.value(metric::HISTORY_POSTS, per_second(&long));
        outcome.value(metric::EMPTY_POSTS, per_second(&empty));
        outcome.value(metric::HISTORY_SHARE, per_second(&long) / per_second(&empty));
        Ok(outcome)
    }
}
