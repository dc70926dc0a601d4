//! Which rooms there are on this node, who holds them, and which are idle. `rooms.rs` opens and closes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use crate::id::RoomId;
use crate::room::Room;

#[derive(Default)]
pub(crate) struct Registry {
    watched: BTreeMap<RoomId, Watched>,
    /// Rooms that nobody holds, and since when.
    idle: BTreeSet<(Instant, RoomId)>,
    /// How many nobody holds: those that are idle, and those that are being closed.
    unheld: usize,
}

struct Watched {
    room: Arc<Room>,
    holds: usize,
    idle_since: Option<Instant>,
}

impl Registry {
    /// The room, there until it is let go.
    pub(crate) fn hold(&mut self, id: &RoomId) -> Arc<Room> {
        let is_known = self.watched.contains_key(id);
        let watched = self.watched.entry(id.clone()).or_insert_with(|| Watched {
            room: Arc::new(Room::new(id.clone())),
            holds: 0,
            idle_since: None,
        });
        if watched.holds == 0 && is_known {
            self.unheld -= 1;
        }
        watched.holds += 1;
        if let Some(since) = watched.idle_since.take() {
            self.idle.remove(&(since, id.clone()));
        }
        watched.room.clone()
    }

    pub(crate) fn get(&self, id: &RoomId) -> Option<Arc<Room>> {
        self.watched.get(id).map(|watched| watched.room.clone())
    }

    pub(crate) fn rooms(&self) -> Vec<Arc<Room>> {
        self.watched.values().map(|watched| watched.room.clone()).collect()
    }

    pub(crate) fn is_held(&self, id: &RoomId) -> bool {
        self.watched.get(id).is_some_and(|watched| 0 < watched.holds)
    }

    pub(crate) fn idle_longest_since(&self) -> Option<Instant> {
        self.idle.first().map(|(since, _)| *since)
    }

    pub(crate) fn let_go(&mut self, id: &RoomId) {
        let Some(watched) = self.watched.get_mut(id) else { return };
        watched.holds -= 1;
        if watched.holds == 0 {
            let now = Instant::now();
            watched.idle_since = Some(now);
            self.unheld += 1;
            self.idle.insert((now, id.clone()));
        }
    }

    /// At most `max` of those that have been idle since `upto` or longer; they are not answered again unless somebody holds them in between.
    pub(crate) fn take_idle_since(&mut self, upto: Option<Instant>, max: usize) -> Vec<Arc<Room>> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some((since, id)) = self.idle.first().cloned() else { break };
            if upto.is_none_or(|upto| upto < since) {
                break;
            }
            self.idle.pop_first();
            if let Some(watched) = self.watched.get_mut(&id) {
                watched.idle_since = None;
                taken.push(watched.room.clone());
            }
        }
        taken
    }

    /// Forgets a room that nobody came back to.
    pub(crate) fn remove_idle(&mut self, id: &RoomId) {
        if self.watched.get(id).is_none_or(|watched| 0 < watched.holds) {
            return;
        }
        self.unheld -= 1;
        if let Some(Watched { idle_since: Some(since), .. }) = self.watched.remove(id) {
            self.idle.remove(&(since, id.clone()));
        }
    }

    /// How many rooms nobody holds.
    pub(crate) fn unheld(&self) -> usize {
        self.unheld
    }
}
