//! Which seats this node's connections should have, and which of them the store knows. Pure; the time is an argument.
//!
//! Readers say where they are and never wait for it. What differs from what the store knows is carried out by `roll_call.rs`, one call of a
//! seat at a time and again until it succeeds. A seat whose connection is gone is given up after a grace, unless the connection is back by then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::authority::Roles;
use crate::entry::Author;
use crate::id::{ConnectionId, DisplayName, NodeId, RoomId, UserId};
use crate::mutants::{Mutant, mutated};
use crate::presence::Seat;

/// Names a seat of this node, whatever its incarnation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) connection: ConnectionId,
    pub(crate) room: RoomId,
    pub(crate) user: UserId,
}

#[derive(Debug, Default)]
pub(crate) struct Attendance {
    /// `None` until it has a lease.
    node: Option<NodeId>,
    held: BTreeMap<Key, Held>,
    /// Seats about which the store is to be told, each at most once.
    due: VecDeque<Key>,
    graces: BTreeSet<(Instant, Key)>,
    namings: u64,
}

#[derive(Debug)]
struct Held {
    name: DisplayName,
    /// Later ones have larger numbers: a user is shown by the latest.
    named: u64,
    /// Readers that are in the room over this connection: a session may change hands.
    readers: u32,
    wanted: Wanted,
    stored: Stored,
    is_due: bool,
    /// A call is under way.
    is_busy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    In,
    InUntil(Instant),
    Out,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    No,
    Yes,
    /// Under another name, or nobody can tell.
    Otherwise,
}

/// What the store is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) seat: Seat,
    pub(crate) name: DisplayName,
    pub(crate) enters: bool,
}

impl Attendance {
    /// A reader is in a room.
    pub(crate) fn enter(&mut self, key: Key, name: &DisplayName) {
        self.namings += 1;
        let fresh = Held {
            name: name.clone(),
            named: self.namings,
            readers: 0,
            wanted: Wanted::In,
            stored: Stored::No,
            is_due: false,
            is_busy: false,
        };
        let held = self.held.entry(key.clone()).or_insert(fresh);
        held.readers += 1;
        if let Wanted::InUntil(until) = std::mem::replace(&mut held.wanted, Wanted::In) {
            self.graces.remove(&(until, key.clone()));
        }
        self.call(key.clone());
        self.rename(key, name);
    }

    /// It has left the room.
    pub(crate) fn leave(&mut self, key: Key) {
        let Some(held) = self.held.get_mut(&key) else { return };
        held.readers = held.readers.saturating_sub(1);
        if held.readers == 0 {
            held.wanted = Wanted::Out;
            self.call(key);
        }
    }

    /// It is gone, and perhaps back before `until`.
    pub(crate) fn drop_out(&mut self, key: Key, until: Instant) {
        let Some(held) = self.held.get_mut(&key) else { return };
        held.readers = held.readers.saturating_sub(1);
        if held.readers == 0 && held.wanted == Wanted::In {
            held.wanted = Wanted::InUntil(until);
            self.graces.insert((until, key));
        }
    }

    /// Its user is shown by another name.
    pub(crate) fn rename(&mut self, key: Key, name: &DisplayName) {
        let Some(held) = self.held.get_mut(&key).filter(|held| held.name != *name) else { return };
        self.namings += 1;
        held.named = self.namings;
        held.name = name.clone();
        if held.stored == Stored::Yes {
            held.stored = Stored::Otherwise;
        }
        self.call(key);
    }

    /// Gives up the seats whose grace is over.
    pub(crate) fn tick(&mut self, now: Instant) {
        while self.graces.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, key)) = self.graces.pop_first() else { return };
            if let Some(held) = self.held.get_mut(&key) {
                held.wanted = Wanted::Out;
                self.call(key);
            }
        }
    }

    /// When the next grace is over.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.graces.first().map(|(until, _)| *until)
    }

    /// The node has a lease.
    pub(crate) fn open(&mut self, node: NodeId) {
        self.node = Some(node);
    }

    /// The node's lease has lapsed: its seats may be gone, and the ones that it takes from now on are others.
    pub(crate) fn lapse(&mut self) {
        self.node = None;
        self.graces.clear();
        self.due.clear();
        self.held.retain(|_, held| held.wanted == Wanted::In);
        let mut order: Vec<_> = self.held.iter().map(|(key, held)| (held.named, key.clone())).collect();
        order.sort_unstable();
        for (_, key) in order {
            if let Some(held) = self.held.get_mut(&key) {
                // A call under way is of the old incarnation, and nothing to the new one.
                (held.stored, held.is_due, held.is_busy) = (Stored::No, false, false);
            }
            self.call(key);
        }
    }

    /// Whether the store knows everything.
    pub(crate) fn is_settled(&self) -> bool {
        self.node.is_some() && self.due.is_empty() && !self.held.values().any(|held| held.is_busy)
    }

    /// What the store is to be told next; [`done`](Self::done) must follow.
    pub(crate) fn next_call(&mut self) -> Option<Call> {
        let node = self.node?;
        while let Some(key) = self.due.pop_front() {
            let Some(held) = self.held.get_mut(&key) else { continue };
            held.is_due = false;
            let enters = match (held.wanted, held.stored) {
                (Wanted::In, Stored::No | Stored::Otherwise) => true,
                (Wanted::Out, Stored::Yes | Stored::Otherwise) => false,
                (Wanted::Out, Stored::No) => {
                    self.held.remove(&key);
                    continue;
                }
                (Wanted::In, Stored::Yes) | (Wanted::InUntil(_), _) => continue,
            };
            held.is_busy = true;
            let Key { connection, room, user } = key;
            return Some(Call {
                seat: Seat { room, user, connection, node },
                name: held.name.clone(),
                enters,
            });
        }
        None
    }

    /// The store was told, or could not be.
    pub(crate) fn done(&mut self, call: Call, is_ok: bool) {
        let Call { seat: Seat { room, user, connection, node }, name, enters } = call;
        let key = Key { connection, room, user };
        let Some(held) = self.held.get_mut(&key).filter(|_| self.node == Some(node)) else { return };
        held.is_busy = false;
        held.stored = match (enters, is_ok) {
            (true, true) if held.name == name => Stored::Yes,
            (true, true) | (_, false) => Stored::Otherwise,
            (false, true) => Stored::No,
        };
        if !is_ok && !enters && mutated(Mutant::LeaveOnce) {
            self.held.remove(&key);
            return;
        }
        self.call(key);
    }

    fn call(&mut self, key: Key) {
        // While a call is under way the next one waits for its answer.
        let Some(held) = self.held.get_mut(&key).filter(|held| !held.is_due && !held.is_busy) else { return };
        let is_right = match held.wanted {
            Wanted::In => held.stored == Stored::Yes,
            Wanted::InUntil(_) => true,
            Wanted::Out => false,
        };
        if !is_right {
            held.is_due = true;
            self.due.push_back(key);
        }
    }
}

/// A connection's user, as the others in its rooms know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendee {
    /// Who, and by which name it is shown.
    pub who: Author,
    /// Over which connection: as many as a user has, they are one person.
    pub connection: ConnectionId,
    pub(crate) is_told: bool,
    pub(crate) roles: Roles,
    pub(crate) in_place_of: Option<ConnectionId>,
}

impl Attendee {
    /// Somebody who is there, and is told of the others.
    pub fn new(who: Author, connection: ConnectionId) -> Self {
        Self { who, connection, is_told: true, roles: Roles::default(), in_place_of: None }
    }

    /// The same, but it is told nothing: its connection has no words for it.
    #[must_use]
    pub fn without_notices(self) -> Self {
        Self { is_told: false, ..self }
    }

    /// The same, with roles: those that the user has from now on, on this node.
    #[must_use]
    pub fn with_roles(self, roles: Roles) -> Self {
        Self { roles, ..self }
    }

    /// The same, but the client is back from an earlier connection, of the same name or another one: see [`Reader::take_over`](crate::Reader::take_over).
    #[must_use]
    pub fn in_place_of(self, connection: ConnectionId) -> Self {
        Self { in_place_of: Some(connection), ..self }
    }

    pub(crate) fn key(&self, room: &RoomId) -> Key {
        Key { connection: self.connection.clone(), room: room.clone(), user: self.who.id.clone() }
    }
}

/// When a grace or a lease that begins `now` is over.
pub(crate) fn ends_at(now: Instant, grace: Duration) -> Instant {
    // As good as never, where the sum has no meaning.
    now.checked_add(grace).unwrap_or(now + Duration::from_secs(31_536_000))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn name(number: u64) -> DisplayName {
        DisplayName::new(&format!("Name {number}")).unwrap()
    }

    fn key(number: u64) -> Key {
        Key {
            connection: ConnectionId::new(&format!("c{number}")).unwrap(),
            room: RoomId::new("room").unwrap(),
            user: UserId::new("ada").unwrap(),
        }
    }

    /// One that holds a lease.
    fn attendance() -> Attendance {
        let mut attendance = Attendance::default();
        attendance.open(NodeId(1));
        attendance
    }

    /// Carries out what is due; what was entered and what was left, in order.
    fn settle(attendance: &mut Attendance) -> Vec<(String, bool)> {
        let mut calls = Vec::new();
        while let Some(call) = attendance.next_call() {
            calls.push((call.seat.connection.to_string(), call.enters));
            attendance.done(call, true);
        }
        assert!(attendance.is_settled());
        calls
    }

    #[test]
    fn a_connection_that_is_back_in_time_keeps_its_seat() {
        let (mut attendance, now) = (attendance(), Instant::now());
        let grace = now + Duration::from_secs(10);
        attendance.enter(key(1), &name(1));
        assert_eq!(settle(&mut attendance), [("c1".into(), true)]);
        attendance.drop_out(key(1), grace);
        assert_eq!(attendance.next_due(), Some(grace));
        attendance.tick(grace - Duration::from_millis(1));
        attendance.enter(key(1), &name(1));
        assert_eq!(attendance.next_due(), None);
        attendance.tick(grace);
        assert_eq!(settle(&mut attendance), []);
        attendance.drop_out(key(1), grace);
        attendance.tick(grace);
        assert_eq!(settle(&mut attendance), [("c1".into(), false)]);
        assert!(attendance.held.is_empty());
    }

    #[test]
    fn a_session_that_changes_hands_keeps_its_seat() {
        let mut attendance = attendance();
        attendance.enter(key(1), &name(1));
        attendance.enter(key(1), &name(1));
        attendance.drop_out(key(1), Instant::now());
        assert_eq!(attendance.next_due(), None);
        assert_eq!(settle(&mut attendance), [("c1".into(), true)]);
        attendance.leave(key(1));
        assert_eq!(settle(&mut attendance), [("c1".into(), false)]);
    }

    #[test]
    fn what_the_store_never_heard_of_needs_no_leaving() {
        let mut attendance = Attendance::default();
        attendance.enter(key(1), &name(1));
        attendance.leave(key(1));
        assert_eq!(attendance.next_call(), None, "there is no lease yet");
        attendance.open(NodeId(1));
        assert_eq!(settle(&mut attendance), []);
        assert!(attendance.held.is_empty());
    }

    #[test]
    fn a_call_that_failed_is_made_again_and_calls_of_one_seat_never_overlap() {
        let mut attendance = attendance();
        attendance.enter(key(1), &name(1));
        let call = attendance.next_call().unwrap();
        attendance.leave(key(1));
        assert_eq!(attendance.next_call(), None);
        attendance.done(call, false);
        // It may have been entered.
        let call = attendance.next_call().unwrap();
        assert!(!call.enters);
        attendance.done(call, false);
        assert_eq!(settle(&mut attendance), [("c1".into(), false)]);
    }

    #[test]
    fn a_lapse_takes_all_seats_anew_the_latest_name_last() {
        let mut attendance = attendance();
        for number in 1..=3 {
            attendance.enter(key(number), &name(1));
        }
        settle(&mut attendance);
        attendance.rename(key(1), &name(2));
        settle(&mut attendance);
        attendance.drop_out(key(3), Instant::now());
        attendance.leave(key(9));
        attendance.rename(key(2), &name(3));
        let of_the_old = attendance.next_call().unwrap();
        attendance.lapse();
        assert_eq!(attendance.next_call(), None);
        attendance.open(NodeId(2));
        attendance.done(of_the_old, true);
        let call = attendance.next_call().unwrap();
        assert_eq!((call.seat.node, call.seat.connection.as_str()), (NodeId(2), "c1"));
        attendance.done(call, true);
        assert_eq!(settle(&mut attendance), [("c2".into(), true)]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter(u64, u64),
        Leave(u64),
        DropOut(u64),
        Rename(u64, u64),
        Pass(u64),
        Call,
        /// The oldest call under way ends: carried out or not, and answered or not.
        Done {
            happens: bool,
            answered: bool,
        },
        Lapse,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..3_u64, 0..3_u64).prop_map(|(key, name)| Step::Enter(key, name)),
            2 => (0..3_u64).prop_map(Step::Leave),
            2 => (0..3_u64).prop_map(Step::DropOut),
            2 => (0..3_u64, 0..3_u64).prop_map(|(key, name)| Step::Rename(key, name)),
            2 => (0..8_u64).prop_map(Step::Pass),
            6 => Just(Step::Call),
            6 => (any::<bool>(), any::<bool>()).prop_map(|(happens, answered)| Step::Done { happens, answered }),
            1 => Just(Step::Lapse),
        ];
        proptest::collection::vec(step, 1..120)
    }

    proptest! {
        /// Whatever fails on the way, the store comes to know exactly the seats of the readers that are there.
        #[test]
        fn the_store_comes_to_know_who_is_there(steps in steps()) {
            let mut attendance = attendance();
            let mut now = Instant::now();
            let mut readers: BTreeMap<Key, u32> = BTreeMap::new();
            let mut store: BTreeMap<Seat, DisplayName> = BTreeMap::new();
            let mut under_way: VecDeque<Call> = VecDeque::new();
            let mut node = 1;
            let carry_out = |store: &mut BTreeMap<Seat, DisplayName>, call: &Call| match call.enters {
                true => drop(store.insert(call.seat.clone(), call.name.clone())),
                false => drop(store.remove(&call.seat)),
            };
            for step in steps {
                match step {
                    Step::Enter(number, shown) => {
                        *readers.entry(key(number)).or_default() += 1;
                        attendance.enter(key(number), &name(shown));
                    }
                    Step::Leave(number) | Step::DropOut(number) => {
                        let Some(count) = readers.get_mut(&key(number)).filter(|count| 0 < **count) else { continue };
                        *count -= 1;
                        match step {
                            Step::Leave(_) => attendance.leave(key(number)),
                            _ => attendance.drop_out(key(number), now + Duration::from_secs(10)),
                        }
                    }
                    Step::Rename(number, shown) => attendance.rename(key(number), &name(shown)),
                    Step::Pass(seconds) => {
                        now += Duration::from_secs(seconds);
                        attendance.tick(now);
                    }
                    Step::Call => under_way.extend(attendance.next_call()),
                    Step::Done { happens, answered } => {
                        let Some(call) = under_way.pop_front() else { continue };
                        if happens {
                            carry_out(&mut store, &call);
                        }
                        attendance.done(call, happens && answered);
                    }
                    Step::Lapse => {
                        store.retain(|seat, _| seat.node != NodeId(node));
                        node += 1;
                        attendance.lapse();
                        attendance.open(NodeId(node));
                    }
                }
                let seats = under_way.iter().filter(|call| call.seat.node == NodeId(node));
                let seats: Vec<_> = seats.map(|call| call.seat.clone()).collect();
                prop_assert_eq!(seats.iter().collect::<BTreeSet<_>>().len(), seats.len(), "one at a time");
            }
            for call in under_way {
                attendance.done(call, false);
            }
            attendance.tick(now + Duration::from_secs(10));
            while let Some(call) = attendance.next_call() {
                carry_out(&mut store, &call);
                attendance.done(call, true);
            }
            prop_assert!(attendance.is_settled());
            let there: BTreeSet<_> = readers.into_iter().filter(|(_, count)| 0 < *count).map(|(key, _)| key).collect();
            let told: BTreeSet<_> = store
                .into_keys()
                .filter(|seat| seat.node == NodeId(node))
                .map(|Seat { room, user, connection, .. }| Key { connection, room, user })
                .collect();
            prop_assert_eq!(told, there.clone());
            prop_assert_eq!(attendance.held.into_keys().collect::<BTreeSet<_>>(), there, "nothing else is kept");
        }
    }
}
