//! The numbered events of one session that its client may not have received. Pure.
//!
//! Bounded in bytes: what is too much pushes out the oldest, and a client that comes back for that is not recovered.

use std::collections::VecDeque;

use crate::socket::frame::Frame;

/// What an event counts for beside its bytes, which it may share with the backlogs of other sessions.
const EVENT_BYTES: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Backlog {
    events: VecDeque<Frame>,
    /// The number of the last event; the first one has 1.
    last: u64,
    bytes: usize,
}

impl Backlog {
    /// With what an earlier process has kept.
    pub(crate) fn restored(last: u64, events: VecDeque<Frame>) -> Self {
        let bytes = events.iter().map(cost).sum();
        Self { events, last, bytes }
    }

    pub(crate) fn events(&self) -> &VecDeque<Frame> {
        &self.events
    }

    /// Numbers an event and keeps it, within `bytes_max`.
    pub(crate) fn push(&mut self, frame: Frame, bytes_max: usize) -> u64 {
        self.last += 1;
        self.bytes += cost(&frame);
        self.events.push_back(frame);
        while bytes_max < self.bytes {
            self.pop();
        }
        self.last
    }

    /// Numbers an event that is not kept, so nobody who has not received it is recovered.
    pub(crate) fn lose(&mut self) {
        self.last += 1;
        self.trim(self.last);
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// What it holds, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The client has everything up to `number`.
    pub(crate) fn trim(&mut self, number: u64) {
        while !self.events.is_empty() && self.first() <= number {
            self.pop();
        }
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
    }

    /// Whether everything after `number` is still here; a number that was not given out yet is not.
    pub(crate) fn reaches_back_to(&self, number: u64) -> bool {
        self.first() <= number.saturating_add(1) && number <= self.last
    }

    /// The events after `number`, with their own numbers.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = (u64, &Frame)> {
        (self.first()..).zip(&self.events).filter(move |(own, _)| number < *own)
    }

    /// The number of the first event that is kept, or of the next one.
    fn first(&self) -> u64 {
        self.last + 1 - self.events.len() as u64
    }

    fn pop(&mut self) {
        if let Some(frame) = self.events.pop_front() {
            self.bytes -= cost(&frame);
        }
    }
}

fn cost(frame: &Frame) -> usize {
    EVENT_BYTES + frame.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Args;

    fn frame(number: u64) -> Frame {
        Frame::event("/", "e", &Args::one(&number).unwrap())
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push,
        Lose,
        Trim(u64),
    }

    proptest! {
        /// Whoever is told that everything is here gets every event after its own number, once and in order.
        #[test]
        fn nothing_that_is_promised_is_missing(
            steps in prop::collection::vec(prop_oneof![8 => Just(Step::Push), 1 => Just(Step::Lose), 2 => (0..40_u64).prop_map(Step::Trim)], 0..60),
            bytes_max in 0..1_000_usize,
        ) {
            let mut backlog = Backlog::default();
            let mut pushed = 0;
            for step in steps {
                match step {
                    Step::Push => {
                        pushed += 1;
                        prop_assert_eq!(backlog.push(frame(pushed), bytes_max), pushed);
                    }
                    Step::Lose => {
                        backlog.lose();
                        prop_assert!(!backlog.reaches_back_to(pushed));
                        pushed += 1;
                    }
                    Step::Trim(number) => backlog.trim(number),
                }
                prop_assert!(backlog.bytes() <= bytes_max);
                prop_assert_eq!(backlog.bytes() == 0, backlog.events.is_empty());
                for number in 0..=pushed + 2 {
                    let rest: Vec<_> = backlog.after(number).map(|(own, event)| (own, event.clone())).collect();
                    if backlog.reaches_back_to(number) {
                        let expected: Vec<_> = (number + 1..=pushed).map(|own| (own, frame(own))).collect();
                        prop_assert_eq!(rest, expected);
                    }
                }
                prop_assert!(backlog.reaches_back_to(pushed) && !backlog.reaches_back_to(pushed + 1));
            }
        }
    }
}
