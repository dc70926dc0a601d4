//! The load generator: a process of its own, so that its processor time is told from everybody else's, and as cheap as it can be.
//!
//! Never a library's client: frames, markers and the two dialects are read in place, from one buffer.

mod client;
mod command;
mod dialect;
mod frame;
mod generator;
mod marker;
mod mixing;
mod order;
mod posting;
mod script;

use std::io::{self, BufRead as _, Write as _};
use std::ops::Range;

use anyhow::{Result, bail};

pub(crate) use command::{
    Amiss, Answer, Command, Connect, Connected, Mix, Mixed, Pace, Posted, Resumed, Stream,
};
pub(crate) use dialect::Dialect;

use crate::clock;
use client::{Client, State};
use generator::{Generator, Room};

/// How long nothing may happen until what has not come is given up.
const PATIENCE_SECONDS: f64 = 10.0;

/// Carries out what standard input says until it ends.
pub(crate) fn run() -> Result<()> {
    let mut generator = Generator::new()?;
    let mut input = io::stdin().lock();
    let mut line = String::new();
    loop {
        while !generator.asked {
            generator.turn(None)?;
        }
        generator.asked = false;
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let answer = match generator.obey(serde_json::from_str(&line)?) {
            Ok(answer) => answer,
            Err(error) => Answer::Failed(error.to_string()),
        };
        println!("{}", serde_json::to_string(&answer)?);
        io::stdout().flush()?;
    }
}

impl Generator {
    fn obey(&mut self, command: Command) -> Result<Answer> {
        Ok(match command {
            Command::Connect(connect) => Answer::Connected(self.connect(connect)?),
            Command::Post { streams, text_bytes } => Answer::Posted(self.post_all(&streams, text_bytes)?),
            Command::Cut { clients } => {
                self.cut(clients);
                Answer::Done
            }
            Command::Open { clients } => {
                self.open_held(clients)?;
                Answer::Done
            }
            Command::Resume => Answer::Resumed(self.resume()?),
            Command::Stall { clients } => {
                for client in &mut self.clients[clients] {
                    if client.state == State::Joined {
                        self.world.rooms[client.room as usize].readers -= 1;
                        client.state = State::Stalled;
                    }
                }
                Answer::Done
            }
            Command::Mix(mix) => Answer::Mixed(self.mix(&mix)?),
            Command::Check => Answer::Checked(self.check()),
        })
    }

    fn connect(&mut self, connect: Connect) -> Result<Connected> {
        let first = self.clients.len();
        self.world.dialect = connect.dialect;
        self.world.remember = connect.remember;
        self.world.hold = false;
        for (name, members) in connect.rooms {
            let room = u32::try_from(self.world.rooms.len())?;
            let clients = self.clients.len()..self.clients.len() + members;
            let addresses = connect.addresses.iter().cycle().skip(clients.start);
            self.clients.extend(addresses.take(members).map(|&address| Client::new(room, address)));
            self.world.rooms.push(Room {
                name,
                readers: 0,
                clients: clients.collect(),
                posted: 0,
                held_up: Vec::new(),
                order: Default::default(),
                stream: None,
            });
        }
        let (clients, seconds) = self.open_all(first..self.clients.len(), connect.under_way)?;
        Ok(Connected { clients, seconds, stopped: self.world.stopped.take() })
    }

    /// Opens connections until all have arrived or one has failed; how many have arrived, and within how many seconds.
    fn open_all(&mut self, clients: Range<usize>, under_way: usize) -> Result<(usize, f64)> {
        let (count, before, dropped) = (clients.len(), self.world.arrived, self.world.dropped);
        self.world.stopped = None;
        let mut waiting = clients;
        let mut opened = 0;
        let begun = clock::now();
        let (mut seen, mut moved) = (0, begun);
        loop {
            let arrived = self.world.arrived - before;
            while self.world.stopped.is_none() && opened - arrived < under_way {
                let Some(index) = waiting.next() else { break };
                match self.open(index) {
                    Ok(()) => opened += 1,
                    // The limit of open files of this process.
                    Err(error) => self.world.stopped = Some(error.to_string()),
                }
            }
            if seen != arrived {
                (seen, moved) = (arrived, clock::now());
            } else if clock::seconds(clock::now() - moved) > PATIENCE_SECONDS {
                self.world.stopped.get_or_insert_with(|| "the server lets nobody in any more".to_owned());
                return Ok((arrived, clock::seconds(moved - begun)));
            }
            let failed = usize::try_from(self.world.dropped - dropped)?;
            if arrived == count || (self.world.stopped.is_some() && opened <= arrived + failed) {
                return Ok((arrived, clock::seconds(moved - begun)));
            }
            self.turn(Some(clock::now() + 100_000_000))?;
        }
    }

    fn cut(&mut self, clients: Range<usize>) {
        for client in &mut self.clients[clients] {
            if client.state == State::Joined {
                self.world.rooms[client.room as usize].readers -= 1;
            }
            client.close();
        }
    }

    fn open_held(&mut self, clients: Range<usize>) -> Result<()> {
        self.world.hold = true;
        let count = clients.len();
        let (opened, _) = self.open_all(clients, 200)?;
        if opened < count {
            bail!("only {opened} of {count} came back: {:?}", self.world.stopped);
        }
        Ok(())
    }

    fn resume(&mut self) -> Result<Resumed> {
        self.world.hold = false;
        let held: Vec<usize> =
            (0..self.clients.len()).filter(|&index| self.clients[index].state == State::Held).collect();
        let delivered = self.world.delivered;
        let expected = held.iter().map(|&index| self.missed(index)).sum();
        let begun = clock::now();
        for index in held {
            self.join(index);
        }
        let mut progress = (0, begun);
        loop {
            let (messages, now) = (self.world.delivered - delivered, clock::now());
            if progress.0 != messages {
                progress = (messages, now);
            }
            if expected <= messages || clock::seconds(now - progress.1) > PATIENCE_SECONDS {
                let seconds = clock::seconds(self.world.delivered_at.max(begun) - begun);
                return Ok(Resumed { messages, expected, seconds });
            }
            self.turn(Some(now + 100_000_000))?;
        }
    }

    /// How many messages of its room this client has yet to receive.
    fn missed(&self, index: usize) -> u64 {
        let client = &self.clients[index];
        self.world.rooms[client.room as usize].order.check(std::iter::once(&client.reader)).lost
    }

    fn check(&self) -> Amiss {
        let mut amiss = Amiss { dropped: self.world.dropped, ..Amiss::default() };
        for room in &self.world.rooms {
            let readers = room.clients.iter().map(|&index| &self.clients[index]);
            // Who stopped to read, or was sent away, has not been cheated of anything.
            let readers = readers.filter(|client| client.state == State::Joined);
            amiss.add(room.order.check(readers.map(|client| &client.reader)));
        }
        for post in &self.world.posts {
            match (post.answered, self.world.rooms[post.room as usize].order.knows(post.number)) {
                (true, false) => amiss.vanished += 1,
                (false, _) => amiss.unanswered += 1,
                (true, true) => {}
            }
        }
        amiss
    }
}
