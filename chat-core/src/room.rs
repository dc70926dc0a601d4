//! One room on this node: its tail, and the readers that wait for it.
//!
//! Everything here is done under one short lock and never waits. `rooms.rs` opens rooms and compares them with the log; `waves.rs` wakes
//! the readers of large rooms piece by piece.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::{BoxFuture, WeakShared};

use crate::error::StoreResult;
use crate::id::RoomId;
use crate::limits::Limits;
use crate::position::{Bookmark, Bounds, Position};
use crate::published::Published;
use crate::tail::{Offered, Tail};
use crate::wake::{Slot, WakeSet};

/// Readers woken at once, without a pause for others. Waking one takes about 0.2 µs.
pub(crate) const WAVE_READERS: usize = 128;

pub(crate) struct Room {
    pub(crate) id: RoomId,
    state: Mutex<State>,
}

pub(crate) struct State {
    /// `None` until the room was opened.
    pub(crate) tail: Option<Tail>,
    /// The last trimmed entry, as far as is known.
    pub(crate) trimmed: Bookmark,
    /// Growth that was heard of before the room was open.
    noted: Option<Position>,
    /// Something contradicts the tail: the log must decide.
    at_odds: bool,
    /// A task is comparing the tail with the log.
    healing: bool,
    pub(crate) opening: Option<WeakShared<BoxFuture<'static, StoreResult<()>>>>,
    waiting: BTreeMap<u64, (Arc<WakeSet>, Slot)>,
    next_waiting: u64,
    wave: Wave,
}

/// How far the readers of a large room were woken.
#[derive(Default)]
struct Wave {
    under_way: bool,
    next: u64,
    /// The room grew since the wave began.
    again: bool,
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
            noted: None,
            at_odds: false,
            healing: false,
            opening: None,
            waiting: BTreeMap::new(),
            next_waiting: 0,
            wave: Wave::default(),
        };
        Self { id, state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A std mutex: the guard is never held across an await.
        self.state.lock().expect("a panic while holding a room is a bug")
    }

    /// A reader that wants to be marked when the room grows. Answers the ticket to stop it.
    pub(crate) fn wait(&self, set: Arc<WakeSet>, slot: Slot) -> u64 {
        let mut state = self.lock();
        let ticket = state.next_waiting;
        state.next_waiting += 1;
        state.waiting.insert(ticket, (set, slot));
        ticket
    }

    pub(crate) fn stop_waiting(&self, ticket: u64) {
        self.lock().waiting.remove(&ticket);
    }

    /// Wakes some more readers; `true` if more remain.
    pub(crate) fn wave(&self) -> bool {
        self.lock().wave()
    }
}

impl State {
    /// Puts the tail in place, anew or again, and wakes every reader.
    pub(crate) fn restart(&mut self, mut tail: Tail, trimmed: Bookmark) -> Effect {
        if let Some(noted) = self.noted.take() {
            tail.note(noted);
        }
        self.tail = Some(tail);
        self.trimmed = trimmed;
        self.at_odds = false;
        Effect { wave: self.begin_wave(), heal: self.begin_heal() }
    }

    /// Takes an entry. `spare` are the bytes that the tails of this node may still grow by.
    pub(crate) fn offer(&mut self, entry: Arc<Published>, limits: &Limits, spare: usize) -> Effect {
        let Some(tail) = &mut self.tail else {
            self.hear_early(entry.position);
            return Effect::default();
        };
        match tail.offer(entry) {
            Offered::Shown => {
                let roomy = tail.bytes() <= spare;
                tail.shrink(if roomy { limits.tail_entries_max.max(1) } else { 1 }, limits.tail_bytes_max);
                Effect { wave: self.begin_wave(), heal: false }
            }
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
        self.at_odds |= tail.epoch() != head.epoch;
        Effect { wave: false, heal: self.begin_heal() }
    }

    /// Compares what a sweep found with what was here *before* it asked.
    pub(crate) fn compare(&mut self, before: Bookmark, bounds: &Bounds) -> Effect {
        let differs = bounds.epoch() != before.epoch()
            || bounds.head.offset() < before.offset()
            || (bounds.head.offset() == before.offset() && bounds.head != before);
        if !differs {
            self.trimmed = bounds.trimmed;
        }
        // An unwritten room that was written to meanwhile only has grown.
        self.at_odds |= differs && before.offset() != crate::Offset::ZERO;
        self.note(bounds.head.position)
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
        self.at_odds = true;
        Effect { wave: false, heal: self.begin_heal() }
    }

    /// The log was asked and agrees with the tail.
    pub(crate) fn is_confirmed(&mut self) {
        self.at_odds = false;
    }

    /// What is here; `None` until the room is open.
    pub(crate) fn bounds(&self) -> Option<Bounds> {
        self.tail.as_ref().map(|tail| Bounds { trimmed: self.trimmed, head: tail.head() })
    }

    fn wants_healing(&self) -> bool {
        self.tail.as_ref().is_some_and(|tail| self.at_odds || tail.is_behind())
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
        if self.wave.under_way {
            self.wave.again = true;
            return false;
        }
        self.wave = Wave::default();
        self.wave.under_way = self.wave();
        self.wave.under_way
    }

    fn wave(&mut self) -> bool {
        let from = self.wave.next;
        let mut last = from;
        for (ticket, (set, slot)) in self.waiting.range(from..).take(WAVE_READERS) {
            set.mark(*slot);
            last = ticket + 1;
        }
        self.wave.next = last;
        if self.waiting.range(last..).next().is_some() {
            return true;
        }
        let again = std::mem::take(&mut self.wave.again);
        self.wave.next = 0;
        self.wave.under_way = again && !self.waiting.is_empty();
        self.wave.under_way
    }
}
