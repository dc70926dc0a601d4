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
    lost: Option<Bounds>,
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
            self.lost = Some(bounds);
        }
    }

    /// The entry at the place is the same in the log, which has `at.epoch()` now.
    pub(crate) fn confirm(&mut self, at: Bookmark) {
        self.at = at;
    }

    /// Decides on one snapshot of the tail, and moves the place with what it delivers.
    pub(crate) fn decide(&mut self, tail: &Tail, budget: Budget) -> Decision {
        if let Some(bounds) = self.lost.take() {
            return Decision::Tell(bounds);
        }
        match tail.view(self.at, budget) {
            View::Run(run) => self.deliver(run),
            View::AtHead => Decision::Wait,
            View::Behind => Decision::Read,
            View::AtOdds => Decision::Check,
        }
    }

    /// Takes from a page what comes next; `Check` if the page is of another epoch, `Wait` if it has nothing new.
    pub(crate) fn take(&mut self, page: &Page, budget: Budget) -> Decision {
        if let Some(bounds) = self.lost.take() {
            return Decision::Tell(bounds);
        }
        if page.epoch != self.at.epoch() {
            return Decision::Check;
        }
        let next = self.at.offset().next();
        let mut rest = page.entries.iter().skip_while(|entry| entry.position.offset < next).peekable();
        if rest.peek().is_none_or(|entry| next < entry.position.offset) {
            return Decision::Wait;
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
