//! What happened in a run, in order: the only thing that the checker sees.

use std::collections::BTreeMap;
use std::fmt;

use chat_core::{Bookmark, RoomId};

/// An entry, as far as the checker compares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) offset: u64,
    pub(crate) author: String,
    pub(crate) key: String,
    pub(crate) text: String,
    pub(crate) fingerprint: u64,
}

impl Line {
    pub(crate) fn of(entry: &chat_core::Entry) -> Self {
        Self {
            offset: entry.position.offset.get(),
            author: entry.author.id.to_string(),
            key: entry.key.to_string(),
            text: entry.body.as_ref().map_or_else(String::new, |body| body.text.to_string()),
            fingerprint: entry.fingerprint.number(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A client has an answer that says "stored".
    Acked { room: RoomId, author: String, key: String, bookmark: Bookmark, duplicate: bool },
    /// A client has an answer that says "never": this text must not be seen by anybody.
    Refused { room: RoomId, text: String, why: &'static str },
    /// A client has an answer that says "try again", or none.
    Failed,
    /// A reader was let in.
    Joined { reader: usize, room: RoomId, resumed: bool, start: Bookmark, is_allowed: bool },
    /// A reader returned entries; `received` if its client lived to take them in.
    Saw { reader: usize, room: RoomId, lines: Vec<Line>, received: bool },
    /// A reader was told that history is gone, and where it goes on.
    ToldLost { reader: usize, room: RoomId, start: Bookmark, received: bool },
    /// A reader's connection was cut.
    Cut { reader: usize },
    /// A node died with all that it held in memory.
    Crash,
    /// The store forgot these: the oldest, as it was told to.
    Trimmed { room: RoomId, lines: Vec<Line> },
    /// The store forgot these: the newest, against its promise.
    RolledBack { room: RoomId, lines: Vec<Line> },
    /// The end: what the log has, and where each reader is.
    End { room: RoomId, lines: Vec<Line> },
}

#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) events: Vec<Event>,
}

impl Trace {
    /// How often each kind of trouble was met.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for event in &self.events {
            let what = match event {
                Event::Acked { duplicate: true, .. } => "duplicate",
                Event::Acked { .. } => "acked",
                Event::Refused { why, .. } => why,
                Event::Failed => "failed",
                Event::Joined { resumed: true, .. } => "resumed",
                Event::Joined { .. } => "joined",
                Event::Saw { received: false, .. } => "cut in the middle",
                Event::Saw { .. } => "saw",
                Event::ToldLost { .. } => "told lost",
                Event::Cut { .. } => "cut",
                Event::Crash => "crash",
                Event::Trimmed { .. } => "trim",
                Event::RolledBack { .. } => "roll back",
                Event::End { .. } => "end",
            };
            *counts.entry(what).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            writeln!(f, "{event:?}")?;
        }
        Ok(())
    }
}
