//! One room on this node: its tail, and the readers that wait for it.
//!
//! Everything here is done under one short lock and never waits. `rooms.rs` opens rooms, `heal.rs` brings them up to date with the log, and
//! `waves.rs` wakes the readers of large rooms piece by piece.

use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::{BoxFuture, WeakShared};

use crate::error::StoreResult;
use crate::id::RoomId;
use crate::limits::Limits;
use crate::mutants::{Mutant, mutated};
use crate::notices::{self, Notices};
use crate::position::{Bookmark, Bounds, Position};
use crate::published::Published;
use crate::tail::{Offered, Tail};
use crate::waiting::{Waiters, Waiting};
use crate::wake::{Slot, WakeSet};

/// Readers woken at once, without a pause for others. Waking one takes about 0.2 µs.
pub(crate) const WAVE_READERS: usize = 128;

pub(crate) struct Room {
    pub(crate) id: RoomId,
    /// Held while the room is opened, watched anew or closed: a late `unwatch` must not undo a new `watch`.
    pub(crate) gate: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

pub(crate) struct State {
    /// `None` until the room was opened.
    pub(crate) tail: Option<Tail>,
    /// The last trimmed entry, as far as is known.
    trimmed: Bookmark,
    /// How many bodies had been redacted when the tail was read, and at the last comparison.
    redactions: u64,
    redactions_found: u64,
    /// How often copies of entries were dropped, since a body in them is gone.
    copies_dropped: u64,
    /// Growth that was heard of before the room was open.
    noted: Option<Position>,
    /// How often something contradicted the tail, and up to which time the log has decided that nothing does.
    doubts: u64,
    doubts_settled: u64,
    /// A task is comparing the tail with the log.
    healing: bool,
    /// The head when the room was last compared with the log.
    compared: Bookmark,
    pub(crate) opening: Option<WeakShared<BoxFuture<'static, StoreResult<()>>>>,
    waiting: Waiters,
    wave: Wave,
    /// There are any for as long as somebody here is told of them.
    notices: Option<Box<Notices>>,
    /// How many that are.
    audience: u64,
}

/// How far the readers of a large room were woken.
#[derive(Default)]
struct Wave {
    under_way: bool,
    next: u64,
    /// The room has something new since the wave began.
    again: bool,
    /// There are only notices: whoever is not told of them sleeps on.
    of_notices: bool,
}

/// What remains to be done after a change, outside the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub(crate) struct Effect {
    /// More readers are to be woken: a wave must be started.
    pub(crate) wave: bool,
    /// The tail must be compared with the log: a task must be started.
    pub(crate) heal: bool,
}

impl Room {
    pub(crate) fn new(id: RoomId) -> Self {
        let state = State {
            tail: None,
            trimmed: Bounds::UNWRITTEN.trimmed,
            redactions: 0,
            redactions_found: 0,
            copies_dropped: 0,
            noted: None,
            doubts: 0,
            doubts_settled: 0,
            healing: false,
            compared: Bounds::UNWRITTEN.head,
            opening: None,
            waiting: Waiters::default(),
            wave: Wave::default(),
            notices: None,
            audience: 0,
        };
        Self { id, gate: tokio::sync::Mutex::default(), state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A std mutex: the guard is never held across an await.
        self.state.lock().expect("a panic while holding a room is a bug")
    }

    /// A reader that wants to be marked when the room grows. Answers the ticket to stop it.
    pub(crate) fn wait(&self, set: Arc<WakeSet>, slot: Slot) -> u64 {
        self.lock().waiting.begin(Waiting { set, slot, is_told_notices: false })
    }

    /// The same for a reader that is told notices, and where it is in them.
    pub(crate) fn wait_for_notices(
        &self,
        set: Arc<WakeSet>,
        slot: Slot,
        has_presence: bool,
    ) -> (u64, notices::Place) {
        let mut state = self.lock();
        state.audience += 1;
        let ticket = state.waiting.begin(Waiting { set, slot, is_told_notices: true });
        (ticket, state.notices.get_or_insert_with(|| Box::new(Notices::new(has_presence))).begin())
    }

    pub(crate) fn stop_waiting(&self, ticket: u64) {
        let mut state = self.lock();
        if state.waiting.stop(ticket).is_some_and(|waiting| waiting.is_told_notices) {
            state.audience -= 1;
            if state.audience == 0 {
                state.notices = None;
            }
        }
    }

    /// Wakes some more readers; `true` if more remain.
    pub(crate) fn wave(&self) -> bool {
        self.lock().wave()
    }
}

impl State {
    /// Puts a tail of the room's `bounds` in place, for the first time or anew, and wakes every reader. The log was asked for it after so many
    /// [doubts](State::doubts): those that came since may be about what it did not have yet. `spare` are the bytes that it may have.
    pub(crate) fn restart(
        &mut self,
        mut tail: Tail,
        bounds: &Bounds,
        doubts: u64,
        limits: &Limits,
        spare: usize,
    ) -> Effect {
        if let Some(noted) = self.noted.take() {
            tail.note(noted);
        }
        // What was known of the same history still is.
        if let Some(old) = &self.tail
            && old.epoch() == tail.epoch()
        {
            tail.note(Position { epoch: old.epoch(), offset: old.known() });
        }
        // The readers can do with pages.
        let entries_max = if tail.bytes() <= spare { limits.tail_entries_max } else { 0 };
        tail.shrink(entries_max, limits.tail_bytes_max);
        self.tail = Some(tail);
        self.trimmed = bounds.trimmed;
        self.redactions = bounds.redactions;
        self.redactions_found = bounds.redactions;
        self.is_confirmed(doubts);
        Effect { wave: self.begin_wave(), heal: self.begin_heal() }
    }

    /// Takes an entry. `spare` are the bytes that the tail may have.
    pub(crate) fn offer(&mut self, entry: Arc<Published>, limits: &Limits, spare: usize) -> Effect {
        let Some(tail) = &mut self.tail else {
            self.hear_early(entry.position);
            return Effect::default();
        };
        let offered = tail.offer(entry);
        let (entries_max, bytes_max) =
            if tail.bytes() <= spare { (limits.tail_entries_max, limits.tail_bytes_max) } else { (1, 0) };
        tail.shrink(entries_max.max(1), bytes_max);
        match offered {
            Offered::Shown => Effect { wave: self.begin_wave(), heal: false },
            Offered::Known => Effect::default(),
            Offered::Early => Effect { wave: false, heal: self.begin_heal() },
            // Part of what was offered before may have become visible.
            Offered::Contradiction => Effect { wave: self.begin_wave(), ..self.doubt() },
        }
    }

    /// Takes note that the log has come at least so far.
    pub(crate) fn note(&mut self, head: Position) -> Effect {
        let Some(tail) = &mut self.tail else {
            self.hear_early(head);
            return Effect::default();
        };
        tail.note(head);
        if tail.epoch() != head.epoch {
            self.doubts += 1;
        }
        Effect { wave: false, heal: self.begin_heal() }
    }

    /// Compares what a sweep found with what was here *before* it asked. `spare` are the bytes that the tail may have.
    pub(crate) fn compare(&mut self, before: Bookmark, bounds: &Bounds, spare: usize) -> Effect {
        let differs = bounds.epoch() != before.epoch()
            || bounds.head.offset() < before.offset()
            || (bounds.head.offset() == before.offset() && bounds.head != before);
        if !differs {
            self.trimmed = bounds.trimmed;
        }
        self.redactions_found = bounds.redactions;
        // An unwritten room that was written to meanwhile only has grown.
        if differs && before.offset() != crate::Offset::ZERO {
            self.doubts += 1;
        }
        // Nothing was posted for a while, and busier rooms need the memory.
        if std::mem::replace(&mut self.compared, before) == before
            && let Some(tail) = &mut self.tail
            && spare < tail.bytes()
        {
            tail.shrink(0, 0);
        }
        self.note(bounds.head.position)
    }

    pub(crate) fn redact(&mut self, at: Position) -> Effect {
        if let Some(tail) = &mut self.tail {
            tail.redact(at);
        }
        Effect::default()
    }

    /// Whether the tail must still be compared with the log; if not, the task that does so ends.
    pub(crate) fn goes_on_healing(&mut self) -> bool {
        self.healing = self.wants_healing();
        self.healing
    }

    pub(crate) fn stop_healing(&mut self) {
        self.healing = false;
    }

    /// Somebody has seen that the tail contradicts the log.
    pub(crate) fn doubt(&mut self) -> Effect {
        self.doubts += 1;
        Effect { wave: false, heal: self.begin_heal() }
    }

    /// What was read of the log before this may have a body that is gone.
    pub(crate) fn drop_copies(&mut self) {
        self.copies_dropped += 1;
    }

    pub(crate) fn copies_dropped(&self) -> u64 {
        self.copies_dropped
    }

    /// A body was redacted, and perhaps not here: the news of it may be lost.
    pub(crate) fn has_stale_bodies(&self) -> bool {
        self.redactions != self.redactions_found && !mutated(Mutant::RedactOnNewsOnly)
    }

    /// How many bodies had been redacted when the tail was read.
    pub(crate) fn redactions(&self) -> u64 {
        self.redactions
    }

    pub(crate) fn doubts(&self) -> u64 {
        self.doubts
    }

    /// The log was asked after so many [doubts](State::doubts), and agrees with the tail.
    pub(crate) fn is_confirmed(&mut self, doubts: u64) {
        self.doubts_settled = self.doubts_settled.max(doubts);
    }

    /// The newest entry that is shown; `None` until the room is open.
    pub(crate) fn head(&self) -> Option<Bookmark> {
        self.tail.as_ref().map(Tail::head)
    }

    /// What is here; `None` until the room is open.
    pub(crate) fn bounds(&self) -> Option<Bounds> {
        let of_tail =
            |tail: &Tail| Bounds { trimmed: self.trimmed, head: tail.head(), redactions: self.redactions };
        self.tail.as_ref().map(of_tail)
    }

    pub(crate) fn notices(&self) -> Option<&Notices> {
        self.notices.as_deref()
    }

    pub(crate) fn notices_mut(&mut self) -> Option<&mut Notices> {
        self.notices.as_deref_mut()
    }

    /// How many readers here are told notices.
    pub(crate) fn audience(&self) -> u64 {
        self.audience
    }

    fn wants_healing(&self) -> bool {
        let contradicted = self.doubts_settled < self.doubts || self.has_stale_bodies();
        self.tail.as_ref().is_some_and(|tail| contradicted || tail.is_behind())
    }

    fn begin_heal(&mut self) -> bool {
        let begins = !self.healing && self.wants_healing();
        self.healing |= begins;
        begins
    }

    fn hear_early(&mut self, position: Position) {
        if self.noted.is_none_or(|noted| noted.epoch != position.epoch || noted.offset < position.offset) {
            self.noted = Some(position);
        }
    }

    /// Wakes the readers, or the first of them; `true` if a wave must be queued for the others.
    pub(crate) fn begin_wave(&mut self) -> bool {
        self.begin_wave_for(false)
    }

    /// The same for those who are told notices.
    pub(crate) fn begin_wave_of_notices(&mut self) -> bool {
        self.begin_wave_for(true)
    }

    fn begin_wave_for(&mut self, of_notices: bool) -> bool {
        if self.wave.under_way {
            self.wave.again = true;
            // From here on for everybody; those before are woken again.
            self.wave.of_notices &= of_notices;
            return false;
        }
        self.wave = Wave { of_notices, ..Wave::default() };
        self.wave.under_way = self.wave();
        self.wave.under_way
    }

    fn wave(&mut self) -> bool {
        let from = self.wave.next;
        let mut last = from;
        for (ticket, Waiting { set, slot, is_told_notices }) in self.waiting.from(from).take(WAVE_READERS) {
            let is_for_it = *is_told_notices || !self.wave.of_notices;
            if is_for_it && (!mutated(Mutant::WakeEveryOther) || ticket.is_multiple_of(2)) {
                set.mark(*slot);
            }
            last = ticket + 1;
        }
        self.wave.next = last;
        if self.waiting.from(last).next().is_some() {
            return true;
        }
        let again = std::mem::take(&mut self.wave.again);
        self.wave.next = 0;
        self.wave.under_way = again && !self.waiting.is_empty();
        self.wave.under_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{Epoch, Fingerprint, Offset};

    #[test]
    fn what_is_heard_while_the_log_is_read_is_compared_with_it_once_more() {
        let at = |epoch, offset| Position {
            epoch: Epoch::from_number(epoch),
            offset: Offset::new(offset).expect("a small offset"),
        };
        let room = Room::new(RoomId::new("room").expect("a name"));
        let mut state = room.lock();
        let limits = Limits::default();
        let head = Bookmark { position: at(7, 3), fingerprint: Fingerprint::from_number(1) };
        let bounds = Bounds { trimmed: head, head, redactions: 0 };
        let _ = state.restart(Tail::after(head), &bounds, 0, &limits, usize::MAX);
        // The log has forgotten the room, and is read.
        assert!(state.doubt().heal);
        let doubts = state.doubts();
        // Somebody posts meanwhile: the first entry of another life.
        let _ = state.note(at(8, 1));
        let read = Bounds::UNWRITTEN;
        let _ = state.restart(Tail::after(read.head), &read, doubts, &limits, usize::MAX);
        assert!(state.goes_on_healing(), "what was read did not have it yet");
    }
}
