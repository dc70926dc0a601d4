//! The log of one room: plain values in and out, no lock, no clock, no randomness.

use std::collections::{BTreeMap, VecDeque};

use crate::entry::{Draft, Entry, Timestamp};
use crate::id::{MessageKey, UserId};
use crate::log::{Appended, PageLimit, Replay};
use crate::position::{Bookmark, Bounds, Epoch, Fingerprint, Offset, Position};

#[derive(Debug)]
pub(super) struct Room {
    epoch: Epoch,
    /// The last entry that was forgotten.
    trimmed: (Offset, Fingerprint),
    /// What is kept: from the one after `trimmed`, each one further.
    entries: VecDeque<Entry>,
    redactions: u64,
    keys: BTreeMap<(UserId, MessageKey), First>,
}

/// What a key was used for first; outlives the entry itself.
#[derive(Debug)]
struct First {
    offset: Offset,
    fingerprint: Fingerprint,
    at: Timestamp,
}

impl Room {
    pub(super) const UNWRITTEN: Room = Room {
        epoch: Epoch::UNWRITTEN,
        trimmed: (Offset::ZERO, Fingerprint::NONE),
        entries: VecDeque::new(),
        redactions: 0,
        keys: BTreeMap::new(),
    };

    pub(super) fn new(epoch: Epoch) -> Self {
        Self { epoch, ..Self::UNWRITTEN }
    }

    pub(super) fn append(&mut self, draft: Draft, now: impl FnOnce() -> Timestamp) -> Appended {
        let Draft { kind, author, key, body } = draft;
        if let Some(first) = self.keys.get(&(author.id.clone(), key.clone())) {
            let kept = self.entry(first.offset);
            let differs = kept.is_some_and(|kept| {
                kept.body.as_ref().is_some_and(|known| *known != body || kept.kind != kind)
            });
            let bookmark = self.bookmark(first.offset, first.fingerprint);
            return if differs {
                Appended::Conflict { bookmark }
            } else {
                Appended::Duplicate { bookmark, at: first.at }
            };
        }
        let head = self.bounds().head;
        let position = Position { epoch: self.epoch, offset: head.offset().next() };
        let at = now();
        let fingerprint = head.fingerprint.then(&author.id, &key, at);
        let entry = Entry { position, kind, author, key, at, fingerprint, body: Some(body) };
        let first = First { offset: position.offset, fingerprint, at };
        self.keys.insert((entry.author.id.clone(), entry.key.clone()), first);
        self.entries.push_back(entry.clone());
        Appended::Fresh { entry, announced: true }
    }

    pub(super) fn read(&self, after: Position, limit: PageLimit) -> Replay {
        let bounds = self.bounds();
        if !bounds.reach_back_to(after) {
            return Replay::Lost { bounds };
        }
        let mut bytes = 0_usize;
        let mut entries = Vec::new();
        for entry in self.entries.range(self.index_after(after.offset)..).take(limit.entries.get() as usize) {
            bytes = bytes.saturating_add(entry.bytes());
            if limit.bytes < bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Replay::Page { entries, head: bounds.head }
    }

    pub(super) fn trim(&mut self, upto: Position) {
        if upto.epoch != self.epoch || self.bounds().head.offset() < upto.offset {
            return;
        }
        let gone = self.index_after(upto.offset);
        if let Some(last) = self.entries.drain(..gone).next_back() {
            self.trimmed = (last.position.offset, last.fingerprint);
        }
    }

    pub(super) fn redact(&mut self, at: Position) {
        if at.epoch == self.epoch
            && let Some(index) = self.index_after(at.offset).checked_sub(1)
            && let Some(entry) = self.entries.get_mut(index)
            && entry.body.take().is_some()
        {
            self.redactions += 1;
        }
    }

    /// Puts everything that is kept into another epoch.
    pub(super) fn renew(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        for entry in &mut self.entries {
            entry.position.epoch = epoch;
        }
    }

    /// Forgets the newest entries together with their keys.
    pub(super) fn roll_back(&mut self, entries: usize) {
        for _ in 0..entries {
            let Some(entry) = self.entries.pop_back() else { return };
            self.keys.remove(&(entry.author.id, entry.key));
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        let trimmed = self.bookmark(self.trimmed.0, self.trimmed.1);
        let head = self.entries.back().map_or(trimmed, Entry::bookmark);
        Bounds { trimmed, head, redactions: self.redactions }
    }

    fn bookmark(&self, offset: Offset, fingerprint: Fingerprint) -> Bookmark {
        Bookmark { position: Position { epoch: self.epoch, offset }, fingerprint }
    }

    /// The index in `entries` of the one after `offset`; 0 if that is trimmed.
    fn index_after(&self, offset: Offset) -> usize {
        offset.get().saturating_sub(self.trimmed.0.get()) as usize
    }

    fn entry(&self, offset: Offset) -> Option<&Entry> {
        self.entries.get(self.index_after(offset).checked_sub(1)?)
    }
}
