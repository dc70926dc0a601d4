//! Posts that are on the disk before they are answered: so many clients, each in a room of its own, each with one post under way.

use anyhow::Result;
use serde::Deserialize;

use super::{Scenario, TEXT_BYTES};
use crate::bench::{Bench, Outcome, Size};
use crate::load::{Pace, Stream};
use crate::metric;
use crate::server::Server;

struct Durable {
    clients: usize,
}

pub(super) fn scenarios(size: Size) -> Vec<Box<dyn Scenario>> {
    let clients: &[usize] = match size {
        Size::Quick => &[1, 64],
        Size::Full => &[1, 16, 64, 256],
    };
    clients.iter().map(|&clients| Box::new(Durable { clients }) as Box<dyn Scenario>).collect()
}

impl Scenario for Durable {
    fn group(&self) -> &'static str {
        "durable"
    }

    fn name(&self) -> String {
        format!("durable {}", self.clients)
    }

    fn what(&self) -> String {
        format!(
            "{} clients in as many rooms (one room where the server has only one), each posts when its last post was answered.",
            self.clients
        )
    }

    fn fits(&self, server: &Server) -> bool {
        server.durable
    }

    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        if server.measures_itself() {
            return self.bare(bench, server);
        }
        let mut pair = bench.start(server)?;
        pair.connect(pair.connection(1, self.clients, 1))?;
        let stream = |seconds| match server.one_room {
            true => Stream { rooms: 0..1, posters: self.clients, pace: Pace::UnderWay(1), seconds },
            false => Stream { rooms: 0..self.clients, posters: 1, pace: Pace::UnderWay(1), seconds },
        };
        pair.load.post(vec![stream(bench.sized(0.5, 1.0))], TEXT_BYTES)?;
        let seconds = bench.sized(2.0, 4.0);
        let (posted, cost) = pair.cost(|load| load.post(vec![stream(seconds)], TEXT_BYTES))?;
        let answered = posted.answered() as f64;
        let mut outcome = Outcome { amiss: pair.load.check()?, ..Outcome::default() };
        outcome.value(metric::POSTS, answered / posted.answered_seconds);
        outcome.value(metric::SERVER_PER_POST, cost.server * 1e6 / answered);
        outcome.value(metric::LOAD_PER_POST, cost.load * 1e6 / answered);
        if cost.store != 0.0 {
            outcome.value(metric::STORE_PER_POST, cost.store * 1e6 / answered);
        }
        outcome.value(metric::ANSWER_P50, posted.streams[0].answer.p50 / 1e3);
        outcome.value(metric::ANSWER_P99, posted.streams[0].answer.p99 / 1e3);
        Ok(outcome)
    }
}

impl Durable {
    /// Lets the bare program put so many rows a time into the same database: what the disk and SQLite allow.
    fn bare(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        #[derive(Deserialize)]
        struct Said {
            rows_per_second: f64,
            cpu_us_per_row: f64,
        }
        let (batches, seconds) = (self.clients.to_string(), bench.sized("2", "4"));
        let said = bench.place.output_alone(server, &["--batches", &batches, "--seconds", seconds])?;
        let said: Said = serde_json::from_slice(&said)?;
        let mut outcome = Outcome::default();
        outcome.value(metric::POSTS, said.rows_per_second);
        outcome.value(metric::SERVER_PER_POST, said.cpu_us_per_row);
        Ok(outcome)
    }
}
