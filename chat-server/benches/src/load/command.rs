//! What a load process is asked to do, and what it answers: a line of JSON each, over its standard input and output.
//!
//! Clients and rooms are numbered in the order in which they were made. One command is carried out at a time; in between, the process
//! goes on to read what comes, and to answer heartbeats.

use std::net::SocketAddr;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::dialect::Dialect;
pub(crate) use super::order::Amiss;
pub(crate) use super::script::Mix;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Connects more clients, in new rooms: the answer is [`Answer::Connected`].
    Connect(Connect),
    /// Posts, and waits until everything is delivered: [`Answer::Posted`].
    Post {
        streams: Vec<Stream>,
        text_bytes: usize,
    },
    /// Cuts connections, without saying good-bye: [`Answer::Done`].
    Cut {
        clients: Range<usize>,
    },
    /// Brings clients back that were cut, and waits until they have what they missed: [`Answer::Resumed`]. In two steps: the WebSockets are opened
    /// first, then all CONNECTs sent at once, so that what is measured is the resume.
    Open {
        clients: Range<usize>,
    },
    Resume,
    /// From now on, these clients read nothing, so that the server cannot write to them: [`Answer::Done`].
    Stall {
        clients: Range<usize>,
    },
    /// Lets all clients do what people do, and waits until everybody has everything: [`Answer::Mixed`].
    Mix(Mix),
    /// What was amiss so far: [`Answer::Checked`].
    Check,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Connect {
    pub(crate) dialect: Dialect,
    /// Taken in turn.
    pub(crate) addresses: Vec<SocketAddr>,
    /// New rooms, and how many new clients in each.
    pub(crate) rooms: Vec<(String, usize)>,
    /// How many connections may be on their way at a time.
    pub(crate) under_way: usize,
    /// Whether clients remember what they need to be recovered.
    pub(crate) remember: bool,
}

/// Posts to some rooms.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) rooms: Range<usize>,
    /// How many clients of each room post.
    pub(crate) posters: usize,
    pub(crate) pace: Pace,
    pub(crate) seconds: f64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// Open loop: so many a second in all, in turn over rooms and posters, whatever the server does.
    PerSecond(f64),
    /// Closed loop: each poster keeps so many posts unanswered.
    UnderWay(usize),
    /// The same, until so many were posted in all.
    Count { posts: u64, under_way: usize },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Connected(Connected),
    Posted(Posted),
    Resumed(Resumed),
    Mixed(Mixed),
    Checked(Amiss),
    Done,
    Failed(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Connected {
    pub(crate) clients: usize,
    /// Until the last of them was there.
    pub(crate) seconds: f64,
    /// Why not all of them are there.
    pub(crate) stopped: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Posted {
    /// From the first post to the last delivery.
    pub(crate) seconds: f64,
    /// From the first post to the last answer.
    pub(crate) answered_seconds: f64,
    /// Reads of a socket that brought something: how many deliveries there were in each says how well the server coalesces.
    pub(crate) reads: u64,
    pub(crate) streams: Vec<StreamPosted>,
}

impl Posted {
    pub(crate) fn answered(&self) -> u64 {
        self.streams.iter().map(|stream| stream.answered).sum()
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.streams.iter().map(|stream| stream.deliveries).sum()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StreamPosted {
    pub(crate) posts: u64,
    pub(crate) answered: u64,
    pub(crate) deliveries: u64,
    /// From when a post was due until each of its deliveries.
    pub(crate) delivery: Latency,
    /// From when a post was due until its answer.
    pub(crate) answer: Latency,
}

/// In microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Resumed {
    pub(crate) messages: u64,
    /// How many should have come.
    pub(crate) expected: u64,
    /// From the first CONNECT to the last message.
    pub(crate) seconds: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mixed {
    pub(crate) posted: Posted,
    /// Connections that were cut and came back.
    pub(crate) cuts: u64,
    /// Posts that had no answer yet when the connection was cut, and were posted again.
    pub(crate) again: u64,
}
