//! Writes the trace: what clients tell, and before that what the store itself has come to.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Mutex;

use chat_core::*;
use futures_util::FutureExt;

use crate::trace::{Event, Line, Trace};

pub(super) struct Record {
    seed: u64,
    store: MemoryStore,
    rooms: Vec<RoomId>,
    state: Mutex<State>,
}

struct State {
    trace: Trace,
    /// What the trace says of each room.
    known: BTreeMap<RoomId, Known>,
}

#[derive(Default)]
struct Known {
    trimmed: u64,
    redactions: u64,
    /// Whether each entry has a body, from the first one on.
    bodies: Vec<bool>,
    /// Of a private room with entries: both users have the fact that it is theirs.
    is_told: bool,
}

impl Record {
    pub(super) fn new(
        seed: u64,
        store: MemoryStore,
        rooms: Vec<RoomId>,
        first_visit_entries_max: Option<u64>,
    ) -> Self {
        let known = rooms.iter().map(|room| (room.clone(), Known::default())).collect();
        let trace = Trace { events: Vec::new(), first_visit_entries_max };
        Self { seed, store, rooms, state: Mutex::new(State { trace, known }) }
    }

    pub(super) fn add(&self, event: Event) {
        let mut state = self.observe();
        state.trace.events.push(event);
        assert!(state.trace.events.len() < 50_000, "seed {} goes round in circles", self.seed);
    }

    /// How long the trace is now.
    pub(super) fn now(&self) -> usize {
        self.observe().trace.events.len()
    }

    /// To be called when `room` was rolled back to `after`, and right before it [`Record::now`].
    pub(super) fn rolled_back(&self, room: &RoomId, after: u64) {
        let mut state = self.state.lock().unwrap();
        let known = state.known.get_mut(room).unwrap();
        known.bodies.truncate(after as usize);
        state.trace.events.push(Event::RolledBack { room: room.clone(), after });
    }

    pub(super) fn into_trace(self) -> Trace {
        self.state.into_inner().unwrap().trace
    }

    pub(super) fn bounds(&self, room: &RoomId) -> Bounds {
        at_once(self.store.bounds(std::slice::from_ref(room)))[0]
    }

    pub(super) fn lines(&self, room: &RoomId, after: u64) -> Vec<Line> {
        let after = Position { epoch: self.bounds(room).epoch(), offset: Offset::new(after).unwrap() };
        let limit = PageLimit { entries: NonZeroU32::MAX, bytes: usize::MAX };
        match at_once(self.store.read(room, after, limit)) {
            Replay::Page { entries, .. } => entries.iter().map(Line::of).collect(),
            Replay::Lost { .. } => panic!("{after:?} of {room} is not there"),
        }
    }

    /// Takes in what the store has come to, so that it stands before whatever follows from it.
    fn observe(&self) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        let State { trace, known } = &mut *state;
        for room in &self.rooms {
            let (known, bounds) = (known.get_mut(room).unwrap(), self.bounds(room));
            if room.is_direct() && !known.is_told && bounds.head.offset() != Offset::ZERO {
                known.is_told = is_told_to_both(&self.store, room);
                if !known.is_told {
                    trace.events.push(Event::Untold { room: room.clone() });
                }
            }
            if known.bodies.len() as u64 != bounds.head.offset().get() {
                for line in self.lines(room, (known.bodies.len() as u64).max(bounds.trimmed.offset().get())) {
                    known.bodies.push(line.text.is_some());
                    trace.events.push(Event::Appended { room: room.clone(), line });
                }
            }
            if known.redactions != bounds.redactions {
                known.redactions = bounds.redactions;
                for line in self.lines(room, bounds.trimmed.offset().get()) {
                    let body = &mut known.bodies[line.offset as usize - 1];
                    if std::mem::replace(body, line.text.is_some()) && line.text.is_none() {
                        trace.events.push(Event::Redacted { room: room.clone(), offset: line.offset });
                    }
                }
            }
            if known.trimmed != bounds.trimmed.offset().get() {
                known.trimmed = bounds.trimmed.offset().get();
                trace.events.push(Event::Trimmed { room: room.clone(), upto: known.trimmed });
            }
        }
        state
    }
}

/// Whether the facts about each of the two name the room. Nobody leaves a private room, so once is enough.
fn is_told_to_both(store: &MemoryStore, room: &RoomId) -> bool {
    let (_, hashes) = room.as_str().split_once(':').unwrap();
    hashes.split('.').all(|hash| {
        let place = RoomId::reserved(&format!("~u:{hash}")).unwrap();
        let bounds = at_once(store.bounds(std::slice::from_ref(&place)))[0];
        let limit = PageLimit { entries: NonZeroU32::MAX, bytes: usize::MAX };
        let Replay::Page { entries, .. } = at_once(store.read(&place, bounds.trimmed.position, limit)) else {
            return false;
        };
        entries.iter().filter_map(|entry| entry.body.as_ref()).any(|body| body.text.contains(room.as_str()))
    })
}

/// A memory store never waits and never fails.
fn at_once<T>(call: impl Future<Output = StoreResult<T>>) -> T {
    call.now_or_never().unwrap().unwrap()
}
