//! [`LocalPresence`]: who is in a room, inside one process.
//!
//! What a store embeds whose data belongs to one process, such as [`MemoryStore`](crate::MemoryStore) or one on a local file: nobody
//! is online after a restart, so there is nothing to keep. Time is tokio's, so that a paused clock governs leases too.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::error::StoreResult;
use crate::id::{ConnectionId, DisplayName, NodeId, RoomId, UserId};
use crate::presence::{Changed, Departure, Edge, Member, Presence, Renewed, Roster, Seat};

/// Empty rooms whose version is remembered exactly; see [`LocalPresence`].
pub const EMPTY_ROOMS_MAX: usize = 16_384;

/// Longest lease; a longer one is cut to it, so that no deadline overflows.
const LEASE_MAX: Duration = Duration::from_secs(31_536_000);

/// The in-memory [`Presence`]. Cloning gives another handle to the same seats.
///
/// Memory grows with the seats that are taken. Of the rooms that became empty, the latest [`EMPTY_ROOMS_MAX`] are remembered; the version
/// of one that was forgotten goes on from a larger number, so that it never moves back.
#[derive(Clone, Debug, Default)]
pub struct LocalPresence {
    state: Arc<Mutex<State>>,
}

impl LocalPresence {
    // A std mutex: never held across an await, and nothing inside can panic half way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a panic while holding the seats is a bug")
    }
}

#[async_trait]
impl Presence for LocalPresence {
    async fn enter(&self, seat: &Seat, name: &DisplayName) -> StoreResult<Changed> {
        Ok(self.state().enter(seat, name))
    }

    async fn leave(&self, seat: &Seat) -> StoreResult<Changed> {
        Ok(self.state().leave(seat).0)
    }

    async fn renew(&self, node: NodeId, lease: Duration) -> StoreResult<Renewed> {
        Ok(self.state().renew(node, lease, Instant::now()))
    }

    async fn roster(&self, room: &RoomId, after: Option<&UserId>, limit: u32) -> StoreResult<Roster> {
        Ok(self.state().roster(room, after, limit))
    }

    async fn lapsed(&self, limit: u32) -> StoreResult<Vec<NodeId>> {
        Ok(self.state().lapsed(limit, Instant::now()))
    }

    async fn evict(&self, node: NodeId) -> StoreResult<Vec<Departure>> {
        Ok(self.state().evict(node))
    }
}

#[derive(Debug, Default)]
struct State {
    rooms: BTreeMap<RoomId, Room>,
    /// How many seats each node has. Which they are is not kept twice: an eviction is rare, and looks at all rooms.
    nodes: BTreeMap<NodeId, usize>,
    /// Until when a node's seats live.
    leases: BTreeMap<NodeId, Instant>,
    /// Rooms in the order in which they became empty, with the version they then had.
    emptied: VecDeque<(RoomId, u64)>,
    /// The version of a room that is not in `rooms`: no smaller than that of any that was forgotten.
    forgotten_version: u64,
}

#[derive(Debug)]
struct Room {
    version: u64,
    users: BTreeMap<UserId, Person>,
}

#[derive(Debug)]
struct Person {
    name: DisplayName,
    /// Ascending. Nearly always one or two, of which a list takes the least memory.
    devices: Vec<(ConnectionId, NodeId)>,
}

impl State {
    fn enter(&mut self, seat: &Seat, name: &DisplayName) -> Changed {
        let fresh = Room { version: self.forgotten_version, users: BTreeMap::new() };
        let room = self.rooms.entry(seat.room.clone()).or_insert(fresh);
        let device = (seat.connection.clone(), seat.node);
        let mut is_new = true;
        let edge = match room.users.get_mut(&seat.user) {
            None => {
                room.users.insert(seat.user.clone(), Person { name: name.clone(), devices: vec![device] });
                Some(Edge::Arrived)
            }
            Some(person) => {
                match person.devices.binary_search(&device) {
                    Err(place) => person.devices.insert(place, device),
                    Ok(_) => is_new = false,
                }
                let renamed = person.name != *name;
                person.name.clone_from(name);
                renamed.then_some(Edge::Renamed)
            }
        };
        room.version += u64::from(edge.is_some());
        if is_new {
            *self.nodes.entry(seat.node).or_default() += 1;
        }
        Changed { version: room.version, edge }
    }

    /// With the name of the user, if this was the last seat.
    fn leave(&mut self, seat: &Seat) -> (Changed, Option<DisplayName>) {
        let Some(room) = self.rooms.get_mut(&seat.room) else {
            return (Changed { version: self.forgotten_version, edge: None }, None);
        };
        let (mut gone, mut was_there) = (None, false);
        if let Some(person) = room.users.get_mut(&seat.user) {
            let is_it =
                |device: &(ConnectionId, NodeId)| device.0 == seat.connection && device.1 == seat.node;
            let devices = person.devices.len();
            person.devices.retain(|device| !is_it(device));
            was_there = person.devices.len() < devices;
            if person.devices.is_empty() {
                gone = room.users.remove(&seat.user).map(|person| person.name);
                room.version += 1;
            }
        }
        let version = room.version;
        if gone.is_some() && room.users.is_empty() {
            self.remember_empty(seat.room.clone(), version);
        }
        if was_there && let Some(seats) = self.nodes.get_mut(&seat.node) {
            *seats -= 1;
            if *seats == 0 {
                self.nodes.remove(&seat.node);
            }
        }
        (Changed { version, edge: gone.as_ref().map(|_| Edge::Left) }, gone)
    }

    fn remember_empty(&mut self, room: RoomId, version: u64) {
        self.emptied.push_back((room, version));
        if self.emptied.len() <= EMPTY_ROOMS_MAX {
            return;
        }
        if let Some((oldest, version)) = self.emptied.pop_front() {
            // Another version: somebody has come since, and it is in the queue again or not empty.
            if self.rooms.get(&oldest).is_some_and(|room| room.version == version) {
                self.rooms.remove(&oldest);
                self.forgotten_version = self.forgotten_version.max(version);
            }
        }
    }

    fn renew(&mut self, node: NodeId, lease: Duration, now: Instant) -> Renewed {
        // Nobody evicts a node without seats, so leases that ran out are cleared here; few nodes, so a walk is cheap.
        self.leases.retain(|_, until| now < *until);
        let held = self.leases.insert(node, now + lease.min(LEASE_MAX)).is_some();
        if held { Renewed::Held } else { Renewed::Lapsed }
    }

    fn roster(&self, room: &RoomId, after: Option<&UserId>, limit: u32) -> Roster {
        let Some(room) = self.rooms.get(room) else {
            return Roster { version: self.forgotten_version, total: 0, members: Vec::new() };
        };
        let member = |(user, person): (&UserId, &Person)| Member {
            user: user.clone(),
            name: person.name.clone(),
            devices: u32::try_from(person.devices.len()).unwrap_or(u32::MAX),
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = room.users.range::<UserId, _>((from, Bound::Unbounded)).take(limit as usize);
        Roster { version: room.version, total: room.users.len() as u64, members: page.map(member).collect() }
    }

    fn lapsed(&self, limit: u32, now: Instant) -> Vec<NodeId> {
        let has_lapsed = |node: &NodeId| self.leases.get(node).is_none_or(|until| *until <= now);
        self.nodes.keys().copied().filter(has_lapsed).take(limit as usize).collect()
    }

    fn evict(&mut self, node: NodeId) -> Vec<Departure> {
        self.leases.remove(&node);
        if !self.nodes.contains_key(&node) {
            return Vec::new();
        }
        let mut seats = Vec::new();
        for (room, Room { users, .. }) in &self.rooms {
            for (user, person) in users {
                let devices = person.devices.iter().filter(|(_, of)| *of == node);
                seats.extend(devices.map(|(connection, _)| Seat {
                    room: room.clone(),
                    user: user.clone(),
                    connection: connection.clone(),
                    node,
                }));
            }
        }
        seats
            .into_iter()
            .filter_map(|seat| {
                let (Changed { version, .. }, name) = self.leave(&seat);
                name.map(|name| Departure { room: seat.room, user: seat.user, name, version })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(room: &str) -> Seat {
        Seat {
            room: RoomId::new(room).unwrap(),
            user: UserId::new("ada").unwrap(),
            connection: ConnectionId::new("c").unwrap(),
            node: NodeId(1),
        }
    }

    fn ada() -> DisplayName {
        DisplayName::new("Ada").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_lapses_by_the_paused_clock() {
        let presence = LocalPresence::default();
        presence.renew(NodeId(1), Duration::from_secs(30)).await.unwrap();
        presence.enter(&seat("a"), &ada()).await.unwrap();
        tokio::time::advance(Duration::from_millis(29_999)).await;
        assert_eq!(presence.lapsed(9).await.unwrap(), []);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(presence.lapsed(9).await.unwrap(), [NodeId(1)]);
        assert_eq!(presence.renew(NodeId(1), Duration::from_secs(30)).await.unwrap(), Renewed::Lapsed);
    }

    #[test]
    fn empty_rooms_are_bounded_and_their_versions_never_move_back() {
        let mut state = State::default();
        let first = seat("first");
        for _ in 0..5 {
            state.enter(&first, &ada());
            state.leave(&first);
        }
        for number in 0..2 * EMPTY_ROOMS_MAX {
            let seat = seat(&format!("r{number}"));
            state.enter(&seat, &ada());
            state.leave(&seat);
        }
        assert!(state.rooms.len() <= EMPTY_ROOMS_MAX);
        assert!(state.emptied.len() <= EMPTY_ROOMS_MAX);
        assert!(10 <= state.roster(&first.room, None, 9).version);
        assert!(10 < state.enter(&first, &ada()).version);
    }

    #[test]
    fn a_room_with_somebody_in_it_is_never_forgotten() {
        let mut state = State::default();
        let kept = seat("kept");
        state.enter(&kept, &ada());
        state.leave(&kept);
        state.enter(&kept, &ada());
        for number in 0..2 * EMPTY_ROOMS_MAX {
            let seat = seat(&format!("r{number}"));
            state.enter(&seat, &ada());
            state.leave(&seat);
        }
        assert_eq!(state.roster(&kept.room, None, 9).members.len(), 1);
        assert_eq!(state.roster(&kept.room, None, 9).version, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_lease_of_a_node_that_is_gone_for_good_is_forgotten() {
        let presence = LocalPresence::default();
        for node in 0..100 {
            presence.renew(NodeId(node), Duration::from_secs(1)).await.unwrap();
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        presence.renew(NodeId(100), Duration::from_secs(1)).await.unwrap();
        assert_eq!(presence.state().leases.len(), 1);
    }
}
