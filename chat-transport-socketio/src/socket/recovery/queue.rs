//! The changes of sessions that are not stored yet, in their order, each with its number. Pure.
//!
//! It knows how many bytes it holds. A frame that many changes share counts once.

use std::collections::{HashMap, VecDeque};

use super::record::{Batch, Record};

#[derive(Debug, Default)]
pub(super) struct Queue {
    records: VecDeque<Record>,
    /// The number of the change that was queued last.
    last: u64,
    bytes: usize,
    /// Where the frames are, and in how many changes.
    frames: HashMap<(usize, usize), usize>,
}

impl Queue {
    /// Queues a change, and answers its number.
    pub(super) fn push(&mut self, record: Record) -> u64 {
        self.last += 1;
        self.bytes += cost(&record);
        for frame in record.frames() {
            let count = self.frames.entry(frame.place()).or_default();
            if *count == 0 {
                self.bytes += frame.len();
            }
            *count += 1;
        }
        self.records.push_back(record);
        self.last
    }

    /// Takes out about so many bytes of the oldest, and the number up to which all changes are in them or were taken before. None: there are none.
    pub(super) fn take(&mut self, bytes: usize) -> Option<(Batch, u64)> {
        let mut batch = Batch::default();
        while batch.bytes() < bytes
            && let Some(record) = self.records.pop_front()
        {
            self.forget(&record);
            batch.push(record);
        }
        if self.records.is_empty() {
            self.records = VecDeque::new();
        }
        if batch.records().is_empty() {
            return None;
        }
        Some((batch, self.last - self.records.len() as u64))
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// What it holds, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn forget(&mut self, record: &Record) {
        self.bytes -= cost(record);
        for frame in record.frames() {
            if let Some(count) = self.frames.get_mut(&frame.place()) {
                *count -= 1;
                if *count == 0 {
                    self.frames.remove(&frame.place());
                    self.bytes -= frame.len();
                }
            }
        }
    }
}

/// What a change counts for, apart from its frames.
fn cost(record: &Record) -> usize {
    size_of::<Record>() + record.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Args;
    use crate::socket::frame::Frame;
    use crate::socket::id::SocketId;

    fn sid(number: u8) -> SocketId {
        SocketId::from_bytes([number; 16])
    }

    fn event(number: u8, frame: &Frame) -> Record {
        Record::Event { sid: sid(number), number: 1, frame: frame.clone() }
    }

    #[test]
    fn a_broadcast_counts_once_and_is_taken_in_one_piece() {
        let (one, other) = (
            Frame::event("/", "e", &Args::one(&"x".repeat(100_000)).unwrap()),
            Frame::event("/", "e", &Args::one(&"y".repeat(10_000)).unwrap()),
        );
        let mut queue = Queue::default();
        for number in 0..100 {
            queue.push(event(number, &one));
            queue.push(event(number, &other));
        }
        assert!(queue.bytes() < 110_000 + 200 * 300, "{}", queue.bytes());
        let (batch, upto) = queue.take(200_000).unwrap();
        assert_eq!((batch.records().len(), upto, queue.bytes()), (200, 200, 0));
    }
}
