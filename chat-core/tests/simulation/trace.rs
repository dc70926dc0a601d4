//! What happened in a run, in order: the only thing that the checker sees.

use std::collections::BTreeMap;
use std::fmt;

use chat_core::{Bookmark, Entry, HistoryLimit, Kind, RoomId, Since};

/// An entry, as far as the checker compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) offset: u64,
    pub(crate) fingerprint: u64,
    pub(crate) author: String,
    pub(crate) key: String,
    pub(crate) is_message: bool,
    /// `None` once it was redacted.
    pub(crate) text: Option<String>,
    /// What the entry counts for where bytes are limited.
    pub(crate) bytes: usize,
}

impl Line {
    pub(crate) fn of(entry: &Entry) -> Self {
        Self {
            offset: entry.position.offset.get(),
            fingerprint: entry.fingerprint.number(),
            author: entry.author.id.to_string(),
            key: entry.key.to_string(),
            is_message: entry.kind == Kind::Message,
            text: entry.body.as_ref().map(|body| digest(&body.text)),
            bytes: entry.bytes(),
        }
    }

    /// Names one entry of a room, for ever: two histories that give out the same offset do not agree in the fingerprint.
    pub(crate) fn id(&self) -> (u64, u64) {
        (self.offset, self.fingerprint)
    }

    /// The same entry, with the same content as far as both have it.
    pub(crate) fn is_of(&self, other: &Line) -> bool {
        let same_text = self.text.is_none() || other.text.is_none() || self.text == other.text;
        let who = |line: &Line| (line.author.clone(), line.key.clone(), line.is_message);
        self.id() == other.id() && who(self) == who(other) && same_text
    }
}

/// A text as the trace keeps it: what a large one begins with, and its length.
pub(crate) fn digest(text: &str) -> String {
    let begins: String = text.chars().take(40).collect();
    if begins.len() < text.len() { format!("{begins}… ({} bytes)", text.len()) } else { begins }
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The log has a new entry. This and the next three are taken from the store itself, before anything that follows from them.
    Appended { room: RoomId, line: Line },
    /// The log forgot the oldest entries up to this one, as it was told to.
    Trimmed { room: RoomId, upto: u64 },
    /// The log forgot the newest entries after this one, against its promise.
    RolledBack { room: RoomId, after: u64 },
    /// The body of an entry is gone.
    Redacted { room: RoomId, offset: u64 },
    /// A client has an answer that says "stored".
    Acked { room: RoomId, author: String, key: String, text: String, bookmark: Bookmark, duplicate: bool },
    /// A client has an answer that says "never": this text must not be seen by anybody.
    Refused { room: RoomId, text: String, why: &'static str },
    /// A client has an answer that says "try again", or none.
    Failed,
    /// A reader was let in. `asked` is how long the trace was when it wanted to be.
    Joined {
        reader: usize,
        name: String,
        room: RoomId,
        since: Since,
        asked: usize,
        start: Bookmark,
        lost: bool,
    },
    /// A reader left a room.
    Left { reader: usize, room: RoomId },
    /// A reader returned entries; `received` if its client lived to take them in.
    Saw { reader: usize, room: RoomId, lines: Vec<Line>, received: bool },
    /// A reader was told that history is gone, and where it goes on. `asked` is how long the trace was when its place last moved.
    ToldLost { reader: usize, room: RoomId, asked: usize, start: Bookmark, received: bool },
    /// A page of history.
    Paged {
        name: String,
        room: RoomId,
        before: Option<u64>,
        limit: HistoryLimit,
        asked: usize,
        lines: Vec<Line>,
    },
    /// A person wants a room to be one of its own. What does not succeed may have happened all the same, and may do so later.
    RememberAsked { person: String, room: RoomId },
    /// It is. `asked` is how long the trace was when it was wanted; so below.
    Remembered { person: String, room: RoomId, asked: usize, handle: u64 },
    /// A person does not want a room any more.
    ForgetAsked { person: String, room: RoomId },
    /// It is not one of its own.
    Forgot { person: String, room: RoomId, asked: usize },
    /// The rooms of a person, with their handles.
    Listed { person: String, asked: usize, rooms: Vec<(RoomId, u64)> },
    /// All is well, and still a person cannot have a room.
    Stuck { person: String, room: RoomId },
    /// How far a person has read a room.
    MarkedRead { person: String, room: RoomId, asked: usize, reached: u64 },
    /// A room of two has entries, and these of the two have not been told of it. Taken from the store itself.
    Untold { room: RoomId },
    /// A reader's connection was cut.
    Cut { reader: usize },
    /// A reader has nothing more to come; `stayed` if its connection is older than the end of the faults.
    Arrived { stayed: bool },
    /// A node died with all that it held in memory.
    Crash,
    /// A node was shut down as it should be.
    ShutDown,
    /// What a node listens to ended.
    Deafened,
    /// A reader was not polled for a while, with a question to the log under way.
    Napped,
    /// All faults have ended and every watched room was compared with the log after that.
    Swept,
}

#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) events: Vec<Event>,
    /// How much a first visit shows.
    pub(crate) first_visit_entries_max: Option<u64>,
}

impl Trace {
    /// How often each kind of trouble was met.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for event in &self.events {
            let what = match event {
                Event::Appended { .. } => "appended",
                Event::Trimmed { .. } => "trim",
                Event::RolledBack { .. } => "roll back",
                Event::Redacted { .. } => "redact",
                Event::Acked { duplicate: true, .. } => "duplicate",
                Event::Acked { .. } => "acked",
                Event::Refused { why, .. } => why,
                Event::Failed => "failed",
                Event::Joined { since: Since::Bookmark(_), .. } => "resumed",
                Event::Joined { since: Since::Offset(_), .. } => "resumed by offset",
                Event::Joined { .. } => "joined",
                Event::Left { .. } => "left",
                Event::Saw { received: false, .. } => "cut in the middle",
                Event::Saw { .. } => "saw",
                Event::ToldLost { .. } => "told lost",
                Event::Paged { .. } => "paged",
                Event::RememberAsked { .. } | Event::ForgetAsked { .. } => "asked",
                Event::Remembered { .. } => "remembered",
                Event::Forgot { .. } => "forgot",
                Event::Listed { .. } => "listed",
                Event::MarkedRead { .. } => "marked",
                Event::Untold { .. } => "untold",
                Event::Stuck { .. } => "stuck",
                Event::Cut { .. } => "cut",
                Event::Arrived { stayed: true, .. } => "stayed",
                Event::Arrived { .. } => "arrived",
                Event::Crash => "crash",
                Event::ShutDown => "shut down",
                Event::Deafened => "deafened",
                Event::Napped => "napped",
                Event::Swept => "swept",
            };
            *counts.entry(what).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, event) in self.events.iter().enumerate() {
            writeln!(f, "{number} {event:?}")?;
        }
        Ok(())
    }
}
