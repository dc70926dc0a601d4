//! What is done to the servers. Each scenario is a module that says what it does and what it reports; a new one is added to [`all`].

mod beside;
mod durable;
mod fanout;
mod history;
mod idle;
mod latency;
mod mix;
mod resume;
mod stalled;
mod start;

use anyhow::Result;

use crate::bench::{Bench, Outcome, Size};
use crate::server::Server;

/// Of each message, if nothing else is said: about a line of chat.
const TEXT_BYTES: usize = 100;

/// One of each kind, where the others of the kind would say nothing new.
const MAIN: &[&str] = &["ours-memory", "bare-singly", "bare-coalesced", "socketioxide", "node"];

pub(crate) trait Scenario {
    /// By which `--only` chooses it, with others of the kind.
    fn group(&self) -> &'static str;

    fn name(&self) -> String;

    /// One sentence.
    fn what(&self) -> String;

    /// Whether it can be done to this server.
    fn fits(&self, server: &Server) -> bool;

    /// Does it once, to a server with nothing in it. What is reported first counts most.
    ///
    /// # Errors
    /// Where the server, or the machine, does not get through with it: that is a result, too.
    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome>;
}

/// In the order in which they are done.
pub(crate) fn all(size: Size, history_messages: u64) -> Vec<Box<dyn Scenario>> {
    let mut all: Vec<Box<dyn Scenario>> = Vec::new();
    all.extend(fanout::scenarios(size));
    all.extend(durable::scenarios(size));
    all.extend(latency::scenarios(size));
    all.extend(resume::scenarios(size));
    all.extend(idle::scenarios(size));
    all.extend(stalled::scenarios(size));
    all.extend(start::scenarios(size));
    all.extend(fanout::growth(size));
    all.extend(beside::scenarios(size));
    all.extend(history::scenarios(history_messages));
    all.extend(mix::scenarios(size));
    all
}
