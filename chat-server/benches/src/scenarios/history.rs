//! Durable posts into rooms with no history, and again when they have a long one, which was posted there as everything else is.

use anyhow::Result;

use super::{Scenario, TEXT_BYTES};
use crate::bench::{Bench, Outcome};
use crate::load::{Pace, Stream};
use crate::metric;
use crate::server::Server;

const ROOMS: usize = 16;
/// Of each room: one posts while it is measured, all while history is made, which is quicker.
const MEMBERS: usize = 16;

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
            "{ROOMS} rooms of {MEMBERS} members, one of each posts when the last post was answered: first with no history, then with {} messages in these rooms.",
            self.messages
        )
    }

    fn fits(&self, server: &Server) -> bool {
        // The others would take too long to make history.
        server.is_one_of(&["ours-sqlite"])
    }

    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        let mut pair = bench.start(server)?;
        pair.connect(pair.connection(1, ROOMS, MEMBERS))?;
        let stream = |posters, pace, seconds| vec![Stream { rooms: 0..ROOMS, posters, pace, seconds }];
        let seconds = bench.sized(1.0, 4.0);
        pair.load.post(stream(1, Pace::UnderWay(1), 0.5), TEXT_BYTES)?;
        let empty = pair.load.post(stream(1, Pace::UnderWay(1), seconds), TEXT_BYTES)?;
        let history = Pace::Count { posts: self.messages, under_way: 1 };
        pair.load.post(stream(MEMBERS, history, 0.0), TEXT_BYTES)?;
        let long = pair.load.post(stream(1, Pace::UnderWay(1), seconds), TEXT_BYTES)?;
        let mut outcome = Outcome { amiss: pair.load.check()?, ..Outcome::default() };
        let per_second = |posted: &crate::load::Posted| posted.answered() as f64 / posted.answered_seconds;
        outcome.value(metric::HISTORY_POSTS, per_second(&long));
        outcome.value(metric::EMPTY_POSTS, per_second(&empty));
        outcome.value(metric::HISTORY_SHARE, per_second(&long) / per_second(&empty));
        Ok(outcome)
    }
}
