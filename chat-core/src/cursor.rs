//! One reader's place in one room, and what it does next. Pure: no I/O, no clock, no waiting.
//!
//! The place is the only authority on what was delivered: tail and log may overlap or disagree about freshness without an entry being
//! left out or repeated. `reader.rs` does what a cursor decides.

use std::sync::Arc;

use crate::limits::Budget;
use crate::mutants::{Mutant, mutated};
use crate::page::Page;
use crate::position::{Bookmark, Bounds};
use crate::published::Published;
use crate::tail::{Tail, View, take_within};

#[derive(Debug)]
pub(crate) struct Cursor {
    /// Everything up to here was delivered.
    at: Bookmark,
    /// History after `at` is gone; to be told, with what is left, before anything else.
    /// In a box: nearly always there is none, and each room of each connection has a cursor.
    lost: Option<Box<Bounds>>,
}

/// What a cursor does next.
#[derive(Debug)]
pub(crate) enum Decision {
    /// These were delivered.
    Deliver(Vec<Arc<Published>>),
    /// Nothing is due.
    Wait,
    /// Ask the log for what comes after the place.
    Read,
    /// Ask the log whether the place still is what it was.
    Check,
    /// Tell the reader that history is gone; the place was moved before what is left.
    Tell(Bounds),
}

impl Cursor {
    pub(crate) fn new(at: Bookmark) -> Self {
        Self { at, lost: None }
    }

    pub(crate) fn at(&self) -> Bookmark {
        self.at
    }

    /// History after the place is gone; `start` is where to go on.
    pub(crate) fn lose(&mut self, bounds: Bounds, start: Bookmark) {
        self.at = start;
        if !mutated(Mutant::HideLoss) {
            self.lost = Some(Box::new(bounds));
        }
    }

    /// The entry at the place is the same in the log, which has `at.epoch()` now.
    pub(crate) fn confirm(&mut self, at: Bookmark) {
        self.at = at;
    }

    /// Decides on one snapshot of the tail, and moves the place with what it delivers.
    pub(crate) fn decide(&mut self, tail: &Tail, budget: Budget) -> Decision {
        if let Some(bounds) = self.lost.take() {
            let again = mutated(Mutant::TellLossAgain) && budget.entries.is_multiple_of(2);
            self.lost = again.then(|| bounds.clone());
            return Decision::Tell(*bounds);
        }
        match tail.view(self.at, budget) {
            View::Run(run) => self.deliver(run),
            View::AtHead => Decision::Wait,
            View::Behind => Decision::Read,
            View::AtOdds => Decision::Check,
        }
    }

    /// Takes from a page what comes next; `Check` if the page is of another epoch or history, `Wait` if it has nothing new.
    pub(crate) fn take(&mut self, page: &Page, budget: Budget) -> Decision {
        if let Some(bounds) = self.lost.take() {
            return Decision::Tell(*bounds);
        }
        if page.epoch != self.at.epoch() {
            return Decision::Check;
        }
        let next = self.at.offset().next();
        let mut rest = page.entries.iter().skip_while(|entry| entry.position.offset < next).peekable();
        match rest.peek() {
            Some(entry) if entry.follows(&self.at) || mutated(Mutant::BelieveFingerprint) => {}
            Some(_) => return Decision::Check,
            None => return Decision::Wait,
        }
        let before = self.at;
        let decision = self.deliver(take_within(rest, budget));
        if mutated(Mutant::RepeatPage) && page.entries.len() < 3 {
            self.at = before;
        }
        decision
    }

    fn deliver(&mut self, mut run: Vec<Arc<Published>>) -> Decision {
        if mutated(Mutant::SkipAtHandOver) && 1 < run.len() {
            run.remove(0);
        }
        match run.last() {
            Some(last) => self.at = last.bookmark(),
            None => return Decision::Wait,
        }
        Decision::Deliver(run)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::{Author, Body, Entry, Kind, Timestamp};
    use crate::id::{DisplayName, MessageKey, UserId};
    use crate::position::{Bookmark, Epoch, Position};
    use crate::tail::Offered;

    /// What can happen to one room, its tail and its readers.
    #[derive(Clone, Debug)]
    enum Event {
        /// A post: stored, and its news on the way.
        Post,
        /// News arrives: the n-th of those on the way, and stays on the way if it is to be repeated.
        Hear { which: usize, again: bool },
        /// News is lost.
        Lose { which: usize },
        /// A reader pulls.
        Pull { reader: usize, entries: usize },
        /// The tail forgets its oldest entries.
        Shrink { to: usize },
        /// The room is compared with the log and filled.
        Heal,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            4 => Just(Event::Post),
            5 => (0..8usize, any::<bool>()).prop_map(|(which, again)| Event::Hear { which, again }),
            2 => (0..8usize).prop_map(|which| Event::Lose { which }),
            6 => (0..3usize, 1..5usize).prop_map(|(reader, entries)| Event::Pull { reader, entries }),
            1 => (0..4usize).prop_map(|to| Event::Shrink { to }),
            1 => Just(Event::Heal),
        ];
        prop::collection::vec(event, 0..80)
    }

    struct World {
        log: Vec<Arc<Published>>,
        tail: Tail,
        on_the_way: Vec<usize>,
        readers: Vec<(Cursor, Vec<u64>)>,
    }

    fn epoch() -> Epoch {
        Epoch::from_number(7)
    }

    fn entry_after(before: Bookmark) -> Arc<Published> {
        let author = Author { id: UserId::new("ada").unwrap(), name: DisplayName::new("Ada").unwrap() };
        let (key, at) = (MessageKey::new("k").unwrap(), Timestamp::from_millis(1));
        Arc::new(Published::new(Entry {
            position: Position { epoch: epoch(), offset: before.offset().next() },
            kind: Kind::Message,
            fingerprint: before.fingerprint.then(&author.id, &key, at),
            author,
            key,
            at,
            body: Some(Body::text("x")),
        }))
    }

    impl World {
        fn new() -> Self {
            let start = Bookmark::start(epoch());
            let readers = (0..3).map(|_| (Cursor::new(start), Vec::new())).collect();
            Self { log: Vec::new(), tail: Tail::after(start), on_the_way: Vec::new(), readers }
        }

        fn apply(&mut self, event: &Event) {
            match *event {
                Event::Post => {
                    let head = self.log.last().map_or(Bookmark::start(epoch()), |last| last.bookmark());
                    self.log.push(entry_after(head));
                    self.on_the_way.push(self.log.len() - 1);
                }
                Event::Hear { which, again } if which < self.on_the_way.len() => {
                    let heard = self.on_the_way[which];
                    if !again {
                        self.on_the_way.remove(which);
                    }
                    let offered = self.tail.offer(self.log[heard].clone());
                    assert_ne!(offered, Offered::Contradiction);
                }
                Event::Lose { which } if which < self.on_the_way.len() => {
                    self.on_the_way.remove(which);
                }
                Event::Pull { reader, entries } => self.pull(reader, entries),
                Event::Shrink { to } => self.tail.shrink(to, usize::MAX),
                Event::Heal => self.heal(),
                Event::Hear { .. } | Event::Lose { .. } => {}
            }
        }

        fn heal(&mut self) {
            let head = usize::try_from(self.tail.head().offset().get()).unwrap();
            for entry in &self.log[head..] {
                self.tail.offer(entry.clone());
            }
        }

        fn pull(&mut self, reader: usize, entries: usize) {
            let budget = Budget { entries, bytes: usize::MAX };
            let (cursor, seen) = &mut self.readers[reader];
            let decision = match cursor.decide(&self.tail, budget) {
                Decision::Read => {
                    // Any page that holds the next entry will do.
                    let from = usize::try_from(cursor.at().offset().get()).unwrap() / 4 * 4;
                    let upto = self.log.len().min(from + 4);
                    let head = self.log.last().unwrap().bookmark();
                    cursor
                        .take(&Page { epoch: epoch(), entries: self.log[from..upto].to_vec(), head }, budget)
                }
                decision => decision,
            };
            match decision {
                Decision::Deliver(run) => seen.extend(run.iter().map(|entry| entry.position.offset.get())),
                Decision::Wait => {}
                other => panic!("{other:?}"),
            }
        }

        fn assert_every_reader_saw_a_true_prefix(&self) {
            for (cursor, seen) in &self.readers {
                assert!(seen.iter().copied().eq(1..=cursor.at().offset().get()), "{seen:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// News may be lost, repeated and reordered: every reader still sees every entry once and in order, and one comparison heals all.
        #[test]
        fn lossy_news_never_reaches_a_reader(events in events()) {
            let mut world = World::new();
            for event in &events {
                world.apply(event);
                world.assert_every_reader_saw_a_true_prefix();
            }
            world.heal();
            for reader in 0..world.readers.len() {
                for _ in 0..=world.log.len() {
                    world.pull(reader, 3);
                }
                prop_assert_eq!(world.readers[reader].1.len(), world.log.len());
            }
        }
    }
}
