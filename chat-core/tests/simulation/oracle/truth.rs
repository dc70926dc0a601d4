//! What the store had, and when: replayed from what was taken from the store itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use chat_core::RoomId;

use crate::trace::{Event, Line};

#[derive(Default)]
pub(super) struct Truth {
    rooms: BTreeMap<RoomId, Log>,
    /// From here on no copy may hold a body that was redacted before.
    pub(super) is_swept: bool,
}

/// One room's log.
#[derive(Default)]
pub(super) struct Log {
    /// What is, the trimmed part included.
    pub(super) lines: BTreeMap<u64, Line>,
    pub(super) trimmed: u64,
    /// What the store forgot against its promise.
    pub(super) forgotten: BTreeMap<(u64, u64), Line>,
    redacted: BTreeSet<(u64, u64)>,
    /// What was kept, and from which event on.
    kept: Vec<Kept>,
}

#[derive(Clone, Copy)]
struct Kept {
    from: usize,
    trimmed: u64,
    head: u64,
}

impl Truth {
    pub(super) fn learn(&mut self, now: usize, event: &Event, wrong: &mut Vec<String>) {
        match event {
            Event::Appended { room, line } => {
                let log = self.rooms.entry(room.clone()).or_default();
                // P3.
                if line.offset != log.head() + 1 {
                    wrong.push(format!("{room} has {line:?} after {}", log.head()));
                }
                log.lines.insert(line.offset, line.clone());
                log.note(now);
            }
            Event::Trimmed { room, upto } => {
                let log = self.rooms.entry(room.clone()).or_default();
                log.trimmed = *upto;
                log.note(now);
            }
            Event::RolledBack { room, after } => {
                let log = self.rooms.entry(room.clone()).or_default();
                let gone = log.lines.split_off(&(after + 1));
                log.forgotten.extend(gone.into_values().map(|line| (line.id(), line)));
                log.note(now);
            }
            Event::Redacted { room, offset } => {
                let log = self.rooms.entry(room.clone()).or_default();
                log.redacted.extend(log.lines.get(offset).map(Line::id));
            }
            Event::Swept => self.is_swept = true,
            _ => {}
        }
    }

    pub(super) fn log(&self, room: &RoomId) -> Option<&Log> {
        self.rooms.get(room)
    }

    pub(super) fn logs(&self) -> impl Iterator<Item = (&RoomId, &Log)> {
        self.rooms.iter()
    }

    /// What a client was given, checked against what was ever there.
    pub(super) fn check_line(&self, who: &str, room: &RoomId, line: &Line, wrong: &mut Vec<String>) {
        let log = self.rooms.get(room);
        if !log.is_some_and(|log| log.ever(line.id()).is_some_and(|known| known.is_of(line))) {
            wrong.push(format!("{who} saw in {room} what never was: {line:?}"));
        }
        let is_redacted = log.is_some_and(|log| log.redacted.contains(&line.id()));
        if self.is_swept && is_redacted && line.text.is_some() {
            wrong.push(format!("{who} saw in {room} what was redacted: {line:?}"));
        }
    }
}

impl Log {
    pub(super) fn head(&self) -> u64 {
        self.lines.last_key_value().map_or(0, |(offset, _)| *offset)
    }

    /// The newest that it ever had.
    pub(super) fn head_ever(&self) -> u64 {
        self.kept.iter().map(|kept| kept.head).max().unwrap_or_default()
    }

    /// The entry, wherever it is now.
    pub(super) fn ever(&self, id: (u64, u64)) -> Option<&Line> {
        self.lines.get(&id.0).filter(|line| line.id() == id).or_else(|| self.forgotten.get(&id))
    }

    pub(super) fn has(&self, id: (u64, u64)) -> bool {
        self.lines.get(&id.0).is_some_and(|line| line.id() == id)
    }

    /// The content of it need not be known any more.
    pub(super) fn has_no_body(&self, line: &Line) -> bool {
        line.offset <= self.trimmed || self.redacted.contains(&line.id())
    }

    /// Where the newest `newest` entries of what is kept began, at any time from `asked` to now.
    pub(super) fn began(&self, asked: usize, newest: Option<u64>) -> RangeInclusive<u64> {
        let begin = |kept: &Kept| kept.trimmed.max(kept.head.saturating_sub(newest.unwrap_or(u64::MAX)));
        let earlier = self.kept.partition_point(|kept| kept.from < asked);
        let before = earlier.checked_sub(1).map_or(0, |last| begin(&self.kept[last]));
        let since = self.kept[earlier..].iter().map(begin);
        let (least, most) = since.fold((before, before), |(least, most), at| (least.min(at), most.max(at)));
        least..=most
    }

    /// Whether the store forgot something against its promise from `asked` to now, or was told to forget.
    pub(super) fn shrank_since(&self, asked: usize) -> bool {
        let earlier = self.kept.partition_point(|kept| kept.from < asked);
        let since = &self.kept[earlier.saturating_sub(1)..];
        since.windows(2).any(|pair| pair[1].head < pair[0].head || pair[0].trimmed < pair[1].trimmed)
    }

    /// The newest entry at some time before `asked`, and since then.
    pub(super) fn head_at(&self, asked: usize) -> u64 {
        let earlier = self.kept.partition_point(|kept| kept.from < asked);
        earlier.checked_sub(1).map_or(0, |last| self.kept[last].head)
    }

    fn note(&mut self, now: usize) {
        self.kept.push(Kept { from: now, trimmed: self.trimmed, head: self.head() });
    }
}
