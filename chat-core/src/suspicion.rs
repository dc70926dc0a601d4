//! Which watched rooms may be behind the log, and when to compare them. Pure: time is an argument, in milliseconds of any clock.
//!
//! A lost *last* notice leaves no hole to see, so every watched room is compared from time to time; at once where there is a reason to.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::RoomId;

#[derive(Debug)]
pub(crate) struct Suspicion {
    interval_ms: u64,
    /// Routine comparisons allowed in a second.
    per_second_max: u64,
    due: BTreeMap<RoomId, u64>,
    queue: BTreeSet<(u64, RoomId)>,
    urgent: BTreeSet<RoomId>,
    /// Routine comparisons cannot begin before this, in microseconds.
    routine_from_us: u64,
}

impl Suspicion {
    pub(crate) fn new(interval_ms: u64, per_second_max: u32) -> Self {
        Self {
            interval_ms: interval_ms.max(1),
            per_second_max: u64::from(per_second_max).max(1),
            due: BTreeMap::new(),
            queue: BTreeSet::new(),
            urgent: BTreeSet::new(),
            routine_from_us: 0,
        }
    }

    /// Begins to care for a room, which is up to date now.
    pub(crate) fn watch(&mut self, room: RoomId, now_ms: u64) {
        self.schedule(room, now_ms.saturating_add(self.interval_ms));
    }

    pub(crate) fn unwatch(&mut self, room: &RoomId) {
        if let Some(due) = self.due.remove(room) {
            self.queue.remove(&(due, room.clone()));
        }
        self.urgent.remove(room);
    }

    /// There is a reason to compare this room now.
    pub(crate) fn suspect(&mut self, room: &RoomId) {
        if self.due.contains_key(room) {
            self.urgent.insert(room.clone());
        }
    }

    /// News of any room may have been missed: compare them all now.
    pub(crate) fn suspect_all(&mut self) {
        self.urgent.extend(self.due.keys().cloned());
    }

    /// At most `max` rooms to compare now: the suspect ones first, then those whose time has come, within the rate.
    /// Each is due again after the interval.
    pub(crate) fn take(&mut self, now_ms: u64, max: usize) -> Vec<RoomId> {
        let mut taken: Vec<RoomId> = Vec::new();
        while taken.len() < max {
            let Some(room) = self.urgent.pop_first() else { break };
            taken.push(room);
        }
        let now_us = now_ms.saturating_mul(1_000);
        while taken.len() < max && self.routine_from_us <= now_us {
            let Some((due, room)) = self.queue.first().cloned() else { break };
            if now_ms < due {
                break;
            }
            self.queue.remove(&(due, room.clone()));
            // An idle second is no credit for a burst.
            self.routine_from_us = self.routine_from_us.max(now_us.saturating_sub(1_000_000 / 10))
                + 1_000_000 / self.per_second_max;
            taken.push(room);
        }
        for room in &taken {
            self.schedule(room.clone(), now_ms.saturating_add(self.interval_ms));
        }
        taken
    }

    /// When to ask again, if nothing is suspected before.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        if !self.urgent.is_empty() {
            return Some(0);
        }
        self.queue.first().map(|(due, _)| (*due).max(self.routine_from_us.div_ceil(1_000)))
    }

    fn schedule(&mut self, room: RoomId, due: u64) {
        if let Some(old) = self.due.insert(room.clone(), due) {
            self.queue.remove(&(old, room.clone()));
        }
        self.queue.insert((due, room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(number: usize) -> RoomId {
        RoomId::new(&format!("room-{number:05}")).unwrap()
    }

    #[test]
    fn every_watched_room_is_compared_once_in_an_interval() {
        let mut suspicion = Suspicion::new(5_000, 1_000);
        (0..10).for_each(|n| suspicion.watch(room(n), 0));
        assert_eq!(suspicion.take(4_999, 100), []);
        assert_eq!(suspicion.take(5_000, 100).len(), 10);
        assert_eq!(suspicion.take(5_000, 100), []);
        assert_eq!(suspicion.next_ms(), Some(10_000));
    }

    #[test]
    fn an_interruption_makes_every_room_due_at_once_whatever_the_rate() {
        let mut suspicion = Suspicion::new(5_000, 1);
        (0..1_000).for_each(|n| suspicion.watch(room(n), 0));
        suspicion.suspect_all();
        assert_eq!(suspicion.next_ms(), Some(0));
        assert_eq!(suspicion.take(1, 600).len(), 600);
        assert_eq!(suspicion.take(1, 600).len(), 400);
    }

    #[test]
    fn routine_comparisons_keep_to_the_rate() {
        let mut suspicion = Suspicion::new(1_000, 100);
        (0..1_000).for_each(|n| suspicion.watch(room(n), 0));
        let compared: usize = (0..1_000).map(|ms| suspicion.take(1_000 + ms, 1_000).len()).sum();
        assert!((100..=115).contains(&compared), "{compared} in a second");
    }

    #[test]
    fn a_room_that_is_not_watched_is_never_compared() {
        let mut suspicion = Suspicion::new(1, 1_000);
        suspicion.watch(room(1), 0);
        suspicion.suspect(&room(1));
        suspicion.unwatch(&room(1));
        suspicion.suspect(&room(1));
        assert_eq!(suspicion.take(1_000_000, 10), []);
        assert_eq!(suspicion.next_ms(), None);
    }
}
