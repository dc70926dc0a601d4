//! Which readers of this node wait for a room to grow, in the order in which they began. Pure.
//!
//! Most rooms have very few: each user's own facts are a room with a reader for each connection. A tree takes the memory of eleven for the
//! first of them, so few are in a list that has no more space than it needs; many are in a tree, where leaving costs little.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::wake::{Slot, WakeSet};

/// So many are a list.
const FEW: usize = 8;

/// A reader that is marked when the room grows.
pub(crate) struct Waiting {
    pub(crate) set: Arc<WakeSet>,
    pub(crate) slot: Slot,
    pub(crate) is_told_notices: bool,
}

/// Those who wait, by ticket.
#[derive(Default)]
pub(crate) struct Waiters {
    next: u64,
    /// Ascending; empty where there are many.
    few: Vec<(u64, Waiting)>,
    many: BTreeMap<u64, Waiting>,
}

impl Waiters {
    /// Answers the ticket to stop it; later ones are larger.
    pub(crate) fn begin(&mut self, waiting: Waiting) -> u64 {
        let ticket = self.next;
        self.next += 1;
        if !self.many.is_empty() {
            self.many.insert(ticket, waiting);
            return ticket;
        }
        self.few.reserve_exact(1);
        self.few.push((ticket, waiting));
        if FEW < self.few.len() {
            self.many = std::mem::take(&mut self.few).into_iter().collect();
        }
        ticket
    }

    pub(crate) fn stop(&mut self, ticket: u64) -> Option<Waiting> {
        match self.few.binary_search_by_key(&ticket, |(ticket, _)| *ticket) {
            Ok(place) => Some(self.few.remove(place).1),
            Err(_) => self.many.remove(&ticket),
        }
    }

    /// Those from a ticket on.
    pub(crate) fn from(&self, ticket: u64) -> impl Iterator<Item = (u64, &Waiting)> {
        let begins = self.few.partition_point(|(few, _)| *few < ticket);
        let few = self.few.iter().skip(begins).map(|(ticket, waiting)| (*ticket, waiting));
        few.chain(self.many.range(ticket..).map(|(ticket, waiting)| (*ticket, waiting)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.few.is_empty() && self.many.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waiting() -> Waiting {
        Waiting { set: Arc::new(WakeSet::new(1)), slot: Slot(0), is_told_notices: false }
    }

    proptest! {
        #[test]
        fn few_or_many_they_are_those_who_began_and_did_not_stop(steps in proptest::collection::vec((0..3_u8, 0..40_u64), 0..120)) {
            let (mut waiters, mut expected) = (Waiters::default(), BTreeMap::new());
            for (step, number) in steps {
                if step < 2 {
                    expected.insert(waiters.begin(waiting()), ());
                } else {
                    prop_assert_eq!(waiters.stop(number).is_some(), expected.remove(&number).is_some());
                }
                let are: Vec<u64> = waiters.from(number).map(|(ticket, _)| ticket).collect();
                let should: Vec<u64> = expected.range(number..).map(|(ticket, ())| *ticket).collect();
                prop_assert_eq!(are, should);
                prop_assert_eq!(waiters.is_empty(), expected.is_empty());
            }
        }
    }

    #[test]
    fn one_who_waits_takes_the_space_of_one() {
        let mut waiters = Waiters::default();
        waiters.begin(waiting());
        assert_eq!(waiters.few.capacity(), 1);
    }
}
