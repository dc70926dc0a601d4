//! Who is connected to this node: each user's roles, and the readers of the user's connections.
//!
//! It is how something reaches all connections of one user without looking at the others. What that is, a reader finds on its
//! [`Desk`] the next time it is polled, before it returns anything else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::authority::{Roles, Who};
use crate::delivery::Ticket;
use crate::id::{ConnectionId, RoomId, UserId};
use crate::moderation::Removal;
use crate::take_over::Tenure;
use crate::wake::WakeSet;

#[derive(Default)]
pub(crate) struct People(Mutex<BTreeMap<UserId, Person>>);

struct Person {
    roles: Roles,
    desks: Vec<Arc<Desk>>,
}

/// Where a reader finds what others want of it.
pub(crate) struct Desk {
    wake: Arc<WakeSet>,
    orders: Mutex<Vec<Order>>,
    /// None: it reads for no connection.
    connection: Option<ConnectionId>,
    tenure: Tenure,
}

/// What a reader is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// To leave a room.
    Leave(RoomId, Removal),
    /// To leave all rooms, for good.
    SignOut(Removal),
}

/// A reader's place among the people; it is given up when this is dropped.
pub(crate) struct Enlisted {
    pub(crate) who: UserId,
    pub(crate) desk: Arc<Desk>,
    people: Arc<People>,
}

impl People {
    /// Enlists a reader of `who`, whose roles are these from now on.
    pub(crate) fn enlist(
        self: &Arc<Self>,
        who: Who,
        connection: Option<ConnectionId>,
        tenure: Tenure,
        wake: Arc<WakeSet>,
    ) -> Enlisted {
        let Who { id, roles } = who;
        let desk = Arc::new(Desk { wake, orders: Mutex::default(), connection, tenure });
        let mut people = self.lock();
        // Most users have one connection.
        let nobody = || Person { roles: Roles::default(), desks: Vec::with_capacity(1) };
        let person = people.entry(id.clone()).or_insert_with(nobody);
        person.roles = roles;
        person.desks.push(desk.clone());
        drop(people);
        Enlisted { who: id, desk, people: self.clone() }
    }

    /// The user with the roles that are known.
    pub(crate) fn who(&self, id: &UserId) -> Who {
        let roles = self.lock().get(id).map(|person| person.roles.clone()).unwrap_or_default();
        Who { id: id.clone(), roles }
    }

    /// Everybody who is connected.
    pub(crate) fn ids(&self) -> Vec<UserId> {
        self.lock().keys().cloned().collect()
    }

    /// Puts an order on every desk of a user.
    pub(crate) fn order(&self, id: &UserId, order: &Order) {
        for desk in self.desks(id) {
            desk.lock().push(order.clone());
            desk.wake.wake();
        }
    }

    /// Somebody has a connection of a user by that ticket.
    pub(crate) fn taken_over(&self, id: &UserId, connection: &ConnectionId, ticket: Ticket) {
        let mut desks: Vec<Arc<Desk>> = Vec::new();
        if let Some(person) = self.lock().get(id) {
            desks.extend(
                person.desks.iter().filter(|desk| desk.connection.as_ref() == Some(connection)).cloned(),
            );
        }
        for desk in desks {
            desk.tenure.hear(ticket);
            desk.wake.wake();
        }
    }

    fn desks(&self, id: &UserId) -> Vec<Arc<Desk>> {
        self.lock().get(id).map(|person| person.desks.clone()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UserId, Person>> {
        self.0.lock().expect("a panic while holding the people is a bug")
    }
}

impl Desk {
    /// The order that came first.
    pub(crate) fn take(&self) -> Option<Order> {
        let mut orders = self.lock();
        if orders.is_empty() { None } else { Some(orders.remove(0)) }
    }

    /// The reader has its connection by this ticket.
    pub(crate) fn draw(&self, ticket: Ticket) {
        self.tenure.draw(ticket);
        self.wake.wake();
    }

    /// Whether another reader has the connection by now.
    pub(crate) fn is_taken_over(&self) -> bool {
        self.tenure.is_over()
    }

    /// Whether the reader is to leave `room`, and has not done so yet.
    pub(crate) fn wants_out_of(&self, room: &RoomId) -> bool {
        self.lock().iter().any(|order| match order {
            Order::Leave(left, _) => left == room,
            Order::SignOut(_) => true,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Order>> {
        self.orders.lock().expect("a panic while holding the orders is a bug")
    }
}

impl Enlisted {
    /// The user's roles are these from now on.
    pub(crate) fn set_roles(&self, roles: Roles) {
        if let Some(person) = self.people.lock().get_mut(&self.who) {
            person.roles = roles;
        }
    }
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        let mut people = self.people.lock();
        let Some(person) = people.get_mut(&self.who) else { return };
        person.desks.retain(|desk| !Arc::ptr_eq(desk, &self.desk));
        if person.desks.is_empty() {
            people.remove(&self.who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada(roles: &[&str]) -> Who {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Who { id: UserId::new("ada").unwrap(), roles }
    }

    fn enlist(people: &Arc<People>, who: Who) -> Enlisted {
        people.enlist(who, None, Tenure::first(), Arc::new(WakeSet::new(1)))
    }

    #[test]
    fn the_roles_of_a_user_are_those_told_last_and_known_as_long_as_somebody_is_connected() {
        let people = Arc::new(People::default());
        let id = ada(&[]).id;
        let phone = enlist(&people, ada(&["staff"]));
        let laptop = enlist(&people, ada(&["admin"]));
        assert!(people.who(&id).roles.contain("admin") && !people.who(&id).roles.contain("staff"));
        phone.set_roles(Roles::default());
        assert_eq!(people.who(&id).roles, Roles::default());
        laptop.set_roles(ada(&["admin"]).roles);
        drop(phone);
        assert!(people.who(&id).roles.contain("admin"));
        drop(laptop);
        assert_eq!(people.who(&id), ada(&[]));
        assert!(people.ids().is_empty());
    }

    #[test]
    fn an_order_is_on_every_desk_of_the_user_and_on_no_other() {
        let people = Arc::new(People::default());
        let room = RoomId::new("r").unwrap();
        let (one, two) = (enlist(&people, ada(&[])), enlist(&people, ada(&[])));
        let bob = enlist(&people, UserId::new("bob").unwrap().into());
        let order = Order::Leave(room.clone(), Removal::kicked(None));
        people.order(&one.who, &order);
        for enlisted in [&one, &two] {
            assert!(enlisted.desk.wants_out_of(&room));
            assert_eq!(enlisted.desk.take(), Some(order.clone()));
            assert!(!enlisted.desk.wants_out_of(&room));
        }
        assert_eq!(bob.desk.take(), None);
    }
}
