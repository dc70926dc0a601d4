//! Plays a script: everybody posts, types, goes away and comes back, and in the end has everything.
//!
//! A client that comes back asks for what it missed, and posts again, under the same id, what was not answered, as a client of a chat has to.

use anyhow::Result;

use super::PATIENCE_SECONDS;
use super::client::State;
use super::command::{Mixed, Posted};
use super::generator::{Generator, Measured};
use super::order::Amiss;
use super::posting;
use super::script::{self, Act, Mix};
use crate::clock;

/// How often it is looked whether everything has come.
const LOOK_NANOSECONDS: u64 = 20_000_000;

/// How far a script is.
#[derive(Default)]
struct Playing {
    /// Clients that have something to be posted as soon as they are in their room, and what: posts by ack id.
    waiting: Vec<(usize, Vec<u32>)>,
    /// Each client's posts that may not have been answered.
    under_way: Vec<Vec<u32>>,
    cuts: u64,
    again: u64,
}

impl Generator {
    pub(super) fn mix(&mut self, mix: &Mix) -> Result<Mixed> {
        let script = script::write(mix, self.clients.len());
        let mut playing = Playing { under_way: vec![Vec::new(); self.clients.len()], ..Playing::default() };
        self.world.hold = false;
        self.world.streams = vec![Measured::new()];
        for room in &mut self.world.rooms {
            room.stream = Some(0);
        }
        let reads = self.world.reads;
        let begun = clock::now();
        let mut acts = script.into_iter().map(|(at, act)| (begun + at, act)).peekable();
        let mut progress = ((0, 0), begun);
        loop {
            let now = clock::now();
            self.world.answered.clear();
            while let Some((due, act)) = acts.next_if(|&(due, _)| due <= now) {
                self.act(act, due, &mut playing, mix.text_bytes)?;
            }
            self.post_what_waited(&mut playing, mix.text_bytes);
            let counted = (self.world.delivered, self.world.streams[0].answered);
            if progress.0 != counted {
                progress = (counted, now);
            }
            match acts.peek() {
                Some(&(due, _)) => self.turn(Some(due.min(now + LOOK_NANOSECONDS)))?,
                None if self.all_is_there() || PATIENCE_SECONDS < clock::seconds(now - progress.1) => break,
                None => self.turn(Some(now + LOOK_NANOSECONDS))?,
            }
        }
        for room in &mut self.world.rooms {
            room.stream = None;
        }
        let streams = std::mem::take(&mut self.world.streams);
        let posted = Posted {
            seconds: clock::seconds(self.world.delivered_at.max(begun) - begun),
            answered_seconds: clock::seconds(self.world.answered_at.max(begun) - begun),
            reads: self.world.reads - reads,
            streams: streams.iter().map(posting::posted).collect(),
        };
        Ok(Mixed { posted, cuts: playing.cuts, again: playing.again })
    }

    fn act(&mut self, act: Act, due: u64, playing: &mut Playing, text_bytes: usize) -> Result<()> {
        match act {
            Act::Type(client) if self.clients[client].state == State::Joined => self.type_notice(client),
            Act::Type(_) => {}
            Act::Post(client) => {
                let ack = u32::try_from(self.world.posts.len())?;
                match self.clients[client].state == State::Joined {
                    true => self.post(client, due, text_bytes)?,
                    false => {
                        self.note(client, due)?;
                        self.wait_to_post(client, vec![ack], playing);
                    }
                }
                let under_way = &mut playing.under_way[client];
                under_way.retain(|&ack| !self.world.posts[ack as usize].answered);
                under_way.push(ack);
            }
            // Who was on the way, or was thrown out by the server, stays what it is.
            Act::Cut(client) if self.clients[client].state == State::Joined => {
                playing.cuts += 1;
                self.cut(client..client + 1);
                let mut unanswered = std::mem::take(&mut playing.under_way[client]);
                unanswered.retain(|&ack| !self.world.posts[ack as usize].answered);
                playing.again += unanswered.len() as u64;
                playing.under_way[client].clone_from(&unanswered);
                self.wait_to_post(client, unanswered, playing);
            }
            Act::Cut(_) => {}
            Act::Return(client) if self.clients[client].state == State::Away => self.open(client)?,
            Act::Return(_) => {}
        }
        Ok(())
    }

    fn wait_to_post(&mut self, client: usize, posts: Vec<u32>, playing: &mut Playing) {
        let numbers = posts.iter().map(|&ack| self.world.posts[ack as usize].number);
        self.world.rooms[self.clients[client].room as usize].held_up.extend(numbers);
        playing.waiting.push((client, posts));
    }

    fn post_what_waited(&mut self, playing: &mut Playing, text_bytes: usize) {
        playing.waiting.retain(|(client, posts)| {
            let there = self.clients[*client].state == State::Joined;
            if there {
                posts.iter().for_each(|&ack| self.send_post(*client, ack, text_bytes));
            }
            !there
        });
    }

    /// Whether everybody is in their room and has everything.
    fn all_is_there(&self) -> bool {
        self.clients.iter().all(|client| client.state == State::Joined) && {
            // What came twice or late stays so, whatever comes.
            let Amiss { lost, vanished, unanswered, .. } = self.check();
            (lost, vanished, unanswered) == (0, 0, 0)
        }
    }
}
