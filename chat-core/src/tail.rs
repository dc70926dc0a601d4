//! The newest entries of one room, kept in memory and shared by every reader on this node.
//!
//! A ring addressed by offset. It takes entries in any order and any number of times, and shows only the unbroken run, so a reader never sees
//! a hole. Pure: no I/O, no clock, no waiting. `room.rs` heals holes and wakes readers, `cursor.rs` falls back to the log where the ring has moved on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::limits::Budget;
use crate::mutants::{Mutant, mutated};
use crate::position::{Bookmark, Epoch, Offset, Position};
use crate::published::Published;

/// Entries held beyond a hole, in entries; further ones are dropped and read from the log when the hole is healed.
const EARLY_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Tail {
    /// What stands before the first entry of the run.
    base: Bookmark,
    run: VecDeque<Arc<Published>>,
    run_bytes: usize,
    early: BTreeMap<Offset, Arc<Published>>,
    /// The log is known to have come so far.
    known: Offset,
}

/// What became of an offered entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// The run grew.
    Shown,
    /// It was there already.
    Known,
    /// It lies beyond a hole: [`Tail::is_behind`].
    Early,
    /// It contradicts what is here: another epoch, or another entry at the same offset. The log must decide.
    Contradiction,
}

/// What a reader finds.
#[derive(Debug)]
pub(crate) enum View {
    /// The run after its position; never empty.
    Run(Vec<Arc<Published>>),
    /// It has everything that is shown.
    AtHead,
    /// The ring begins later: read the log.
    Behind,
    /// Its position is of another epoch or another history: check it against the log.
    AtOdds,
}

impl Tail {
    /// Shows nothing yet, and continues after `base`.
    pub(crate) fn after(base: Bookmark) -> Self {
        Self { base, run: VecDeque::new(), run_bytes: 0, early: BTreeMap::new(), known: base.offset() }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.base.epoch()
    }

    /// The newest entry of the run.
    pub(crate) fn head(&self) -> Bookmark {
        self.run.back().map_or(self.base, |entry| entry.bookmark())
    }

    fn head_offset(&self) -> Offset {
        self.base.offset().plus(self.run.len() as u64)
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.run_bytes + self.early.values().map(|entry| entry.cost()).sum::<usize>()
    }

    /// Whether the log is known to have more than is shown.
    pub(crate) fn is_behind(&self) -> bool {
        self.head_offset() < self.known
    }

    /// How far the log is known to have come.
    pub(crate) fn known(&self) -> Offset {
        self.known
    }

    /// How many entries are known to be missing.
    pub(crate) fn gap(&self) -> u64 {
        self.known.get().saturating_sub(self.head_offset().get())
    }

    /// Takes note that the log has come at least so far. An offset of another epoch says nothing.
    pub(crate) fn note(&mut self, head: Position) {
        self.adopt(head.epoch);
        if head.epoch == self.epoch() {
            self.known = self.known.max(head.offset);
        }
    }

    /// Takes an entry, in any order, any number of times.
    pub(crate) fn offer(&mut self, entry: Arc<Published>) -> Offered {
        self.adopt(entry.position.epoch);
        if entry.position.epoch != self.epoch() {
            return Offered::Contradiction;
        }
        let offset = entry.position.offset;
        let head = self.head_offset();
        if offset <= head {
            return match self.bookmark_at(offset) {
                Some(here) if here.fingerprint != entry.fingerprint => Offered::Contradiction,
                _ => Offered::Known,
            };
        }
        self.known = self.known.max(offset);
        let next = head.next();
        if next < offset && !mutated(Mutant::ShowAcrossHoles) {
            self.early.insert(offset, entry);
            if EARLY_MAX < self.early.len() {
                self.early.pop_last();
            }
            return Offered::Early;
        }
        // A hash chain: an entry of another history does not fit, even if its offset does.
        if !entry.follows(&self.head()) && !mutated(Mutant::ShowAcrossHoles) {
            return Offered::Contradiction;
        }
        self.push(entry);
        while let Some(entry) = self.early.remove(&self.head_offset().next()) {
            if !entry.follows(&self.head()) {
                self.early.clear();
                return Offered::Contradiction;
            }
            self.push(entry);
        }
        Offered::Shown
    }

    /// What a reader that has everything up to `at` takes next.
    pub(crate) fn view(&self, at: Bookmark, budget: Budget) -> View {
        let same_epoch =
            at.epoch() == self.epoch() || (at.offset() == Offset::ZERO && self.base.offset() == Offset::ZERO);
        if !same_epoch {
            return View::AtOdds;
        }
        // It has checked its place against the log, which is ahead of this node: the tail will come.
        if self.head_offset() < at.offset() {
            return View::AtHead;
        }
        if at.offset() < self.base.offset() {
            return View::Behind;
        }
        let agrees = self.bookmark_at(at.offset()).is_some_and(|here| here.fingerprint == at.fingerprint);
        if !agrees && !mutated(Mutant::BelieveFingerprint) {
            return View::AtOdds;
        }
        let skip = usize::try_from(at.offset().get() - self.base.offset().get()).unwrap_or(usize::MAX);
        let run = take_within(self.run.iter().skip(skip), budget);
        if run.is_empty() { View::AtHead } else { View::Run(run) }
    }

    /// The entry at `offset`, if it is in the run.
    pub(crate) fn at(&self, offset: Offset) -> Option<&Arc<Published>> {
        let index = offset.get().checked_sub(self.base.offset().get() + 1)?;
        self.run.get(usize::try_from(index).ok()?)
    }

    /// The bookmark at `offset`, if it can be told from here.
    pub(crate) fn bookmark_at(&self, offset: Offset) -> Option<Bookmark> {
        if offset == self.base.offset() {
            Some(self.base)
        } else {
            self.at(offset).map(|entry| entry.bookmark())
        }
    }

    /// Forgets what lies beyond a hole and then the oldest entries until at most so much remains; the newest one may be larger.
    pub(crate) fn shrink(&mut self, entries_max: usize, bytes_max: usize) {
        while bytes_max < self.bytes() && self.early.pop_last().is_some() {}
        while entries_max < self.run.len() || (bytes_max < self.run_bytes && 1 < self.run.len()) {
            let Some(oldest) = self.run.pop_front() else { return };
            self.run_bytes -= oldest.cost();
            self.base = oldest.bookmark();
        }
    }

    /// Replaces an entry by itself without its body.
    pub(crate) fn redact(&mut self, at: Position) {
        if at.epoch != self.epoch() {
            return;
        }
        self.early.remove(&at.offset);
        let Some(index) = at.offset.get().checked_sub(self.base.offset().get() + 1) else { return };
        if let Some(entry) = usize::try_from(index).ok().and_then(|index| self.run.get_mut(index)) {
            self.run_bytes -= entry.cost();
            *entry = Arc::new(entry.redacted());
            self.run_bytes += entry.cost();
        }
    }

    /// The first append gives a room its epoch.
    fn adopt(&mut self, epoch: Epoch) {
        if self.epoch() == Epoch::UNWRITTEN {
            self.base = Bookmark::start(epoch);
        }
    }

    fn push(&mut self, entry: Arc<Published>) {
        self.run_bytes += entry.cost();
        self.run.push_back(entry);
    }
}

/// The first entries that fit `budget`; always one, if there is one.
pub(crate) fn take_within<'a>(
    entries: impl Iterator<Item = &'a Arc<Published>>,
    budget: Budget,
) -> Vec<Arc<Published>> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for entry in entries.take(budget.entries.max(1)) {
        bytes += entry.bytes();
        if budget.bytes < bytes && !taken.is_empty() {
            break;
        }
        taken.push(entry.clone());
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Author, Body, Entry, Kind, Timestamp};
    use crate::id::{DisplayName, MessageKey, UserId};

    fn epoch() -> Epoch {
        Epoch::from_number(7)
    }

    /// The entries of a room, which somebody tells apart by their author.
    fn history(author: &str, entries: usize) -> Vec<Arc<Published>> {
        continued(Bookmark::start(epoch()), author, entries)
    }

    fn continued(mut before: Bookmark, author: &str, entries: usize) -> Vec<Arc<Published>> {
        let author = Author { id: UserId::new(author).unwrap(), name: DisplayName::new(author).unwrap() };
        let (key, at) = (MessageKey::new("k").unwrap(), Timestamp::from_millis(1));
        let mut next = || {
            let entry = Entry {
                position: Position { epoch: before.epoch(), offset: before.offset().next() },
                kind: Kind::Message,
                author: author.clone(),
                key: key.clone(),
                at,
                fingerprint: before.fingerprint.then(&author.id, &key, at),
                body: Some(Body::text("x")),
            };
            before = entry.bookmark();
            Arc::new(Published::new(entry))
        };
        (0..entries).map(|_| next()).collect()
    }

    fn tail() -> Tail {
        Tail::after(Bookmark::start(epoch()))
    }

    fn shown(tail: &Tail) -> Vec<u64> {
        let budget = Budget { entries: 1_000, bytes: usize::MAX };
        match tail.view(tail.base, budget) {
            View::Run(run) => run.iter().map(|entry| entry.position.offset.get()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_lies_beyond_a_hole_is_shown_when_the_hole_is_filled() {
        let (mut tail, log) = (tail(), history("ada", 3));
        assert_eq!(tail.offer(log[2].clone()), Offered::Early);
        assert_eq!(tail.offer(log[0].clone()), Offered::Shown);
        assert_eq!(shown(&tail), [1]);
        assert!(tail.is_behind());
        assert_eq!(tail.offer(log[1].clone()), Offered::Shown);
        assert_eq!(shown(&tail), [1, 2, 3]);
        assert!(!tail.is_behind());
    }

    #[test]
    fn however_much_lies_beyond_a_hole_little_of_it_is_kept_and_the_rest_is_known_to_be_missing() {
        let (mut tail, log) = (tail(), history("ada", 1_000));
        log[1..].iter().for_each(|entry| _ = tail.offer(entry.clone()));
        assert_eq!(tail.early.len(), EARLY_MAX);
        assert_eq!(tail.gap(), 1_000);
    }

    #[test]
    fn an_entry_of_another_history_never_shows_even_where_its_offset_fits() {
        let (ours, theirs) = (history("ada", 3), history("eve", 3));
        let mut tail = tail();
        assert_eq!(tail.offer(ours[0].clone()), Offered::Shown);
        assert_eq!(tail.offer(ours[0].clone()), Offered::Known);
        assert_eq!(tail.offer(theirs[0].clone()), Offered::Contradiction);
        assert_eq!(tail.offer(theirs[1].clone()), Offered::Contradiction);
        // Nor when it came early, and the hole before it is filled by another history.
        assert_eq!(tail.offer(theirs[2].clone()), Offered::Early);
        assert_eq!(tail.offer(ours[1].clone()), Offered::Contradiction);
        assert_eq!(shown(&tail), [1, 2]);
    }

    #[test]
    fn a_reader_of_another_history_is_sent_to_the_log() {
        let (mut tail, theirs) = (tail(), history("eve", 2));
        history("ada", 3).into_iter().for_each(|entry| _ = tail.offer(entry));
        let view = tail.view(theirs[1].bookmark(), Budget::default());
        assert!(matches!(view, View::AtOdds), "{view:?}");
    }

    #[test]
    fn the_newest_entry_stays_however_large_it_is() {
        let (mut tail, log) = (tail(), history("ada", 3));
        log.iter().for_each(|entry| _ = tail.offer(entry.clone()));
        tail.shrink(100, 0);
        assert_eq!(shown(&tail), [3]);
        assert_eq!(tail.bytes(), log[2].cost());
        tail.shrink(0, 0);
        assert_eq!((tail.bytes(), tail.head().offset().get()), (0, 3));
    }
}
