//! The changes of sessions that are not stored yet, in their order, each with its number. Pure.
//!
//! It knows how many bytes it holds. A frame that many changes share counts once, and of a session's data only the newest is kept.

use std::collections::{HashMap, VecDeque};

use super::record::{Batch, Record};
use crate::socket::id::SocketId;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Those of the numbers that are missing have become part of an earlier one.
    records: VecDeque<(u64, Record)>,
    /// The number of the change that was queued last.
    last: u64,
    bytes: usize,
    /// Where the frames are, and in how many changes.
    frames: HashMap<(usize, usize), usize>,
    /// The changes that tell a session's data.
    data: HashMap<SocketId, u64>,
}

impl Queue {
    /// Queues a change, and answers its number.
    pub(super) fn push(&mut self, record: Record) -> u64 {
        self.last += 1;
        match &record {
            Record::Data { sid, .. } => {
                let place = self.data.get(sid).and_then(|change| self.place_of(*change));
                if let Some(place) = place {
                    // Where the old one was: what waits for that one finds something that is newer still.
                    self.bytes += record.bytes();
                    self.bytes -= self.records[place].1.bytes();
                    self.records[place].1 = record;
                    return self.last;
                }
                self.data.insert(*sid, self.last);
            }
            // A session that begins under that id has data of its own.
            Record::Begin { sid, .. } | Record::End { sid } => drop(self.data.remove(sid)),
            _ => {}
        }
        self.bytes += cost(&record);
        for frame in record.frames() {
            let count = self.frames.entry(frame.place()).or_default();
            if *count == 0 {
                self.bytes += frame.len();
            }
            *count += 1;
        }
        self.records.push_back((self.last, record));
        self.last
    }

    /// Takes out about so many bytes of the oldest, and the number up to which all changes are in them or were taken before. None: there are none.
    pub(super) fn take(&mut self, bytes: usize) -> Option<(Batch, u64)> {
        let mut batch = Batch::default();
        while batch.bytes() < bytes
            && let Some((change, record)) = self.records.pop_front()
        {
            self.forget(change, &record);
            batch.push(record);
        }
        if self.records.is_empty() {
            self.records = VecDeque::new();
        }
        if batch.records().is_empty() {
            return None;
        }
        Some((batch, self.records.front().map_or(self.last, |(change, _)| change - 1)))
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// What it holds, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn forget(&mut self, change: u64, record: &Record) {
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
        if let Record::Data { sid, .. } = record
            && self.data.get(sid) == Some(&change)
        {
            self.data.remove(sid);
        }
    }

    fn place_of(&self, change: u64) -> Option<usize> {
        self.records.binary_search_by_key(&change, |(change, _)| *change).ok()
    }
}

/// What a change counts for, apart from its frames.
fn cost(record: &Record) -> usize {
    size_of::<(u64, Record)>() + record.bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Args;
    use crate::socket::frame::Frame;
    use crate::socket::recovery::pid::Lineage;
    use crate::socket::recovery::record::{Sessions, write};

    fn sid(number: u8) -> SocketId {
        SocketId::from_bytes([number; 16])
    }

    fn data(number: u8, data: u64) -> Record {
        Record::Data { sid: sid(number), data: data.to_string().into() }
    }

    fn event(number: u8, frame: &Frame) -> Record {
        Record::Event { sid: sid(number), number: 1, frame: frame.clone() }
    }

    fn begin(number: u8) -> Record {
        Record::Begin { sid: sid(number), namespace: "/".into(), lineage: Lineage([number; 16]) }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Begin(u8),
        Data(u8),
        End(u8),
        Take(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => (0..3_u8).prop_map(Step::Begin),
            4 => (0..3_u8).prop_map(Step::Data),
            1 => (0..3_u8).prop_map(Step::End),
            2 => (1..300_usize).prop_map(Step::Take),
        ]
    }

    proptest! {
        /// What is read back is what all changes lead to, and whenever a change counts as stored, it or a newer one of its kind is.
        #[test]
        fn no_change_is_stored_later_than_it_says(steps in prop::collection::vec(step(), 0..40)) {
            let (mut queue, mut stored, mut straight) = (Queue::default(), Sessions::default(), Sessions::default());
            let (mut told, mut durable) = (Vec::new(), 0);
            for step in steps.into_iter().chain([Step::Take(usize::MAX)]) {
                let record = match step {
                    Step::Begin(number) => begin(number),
                    Step::Data(number) => data(number, queue.last() + 1),
                    Step::End(number) => Record::End { sid: sid(number) },
                    Step::Take(bytes) => {
                        if let Some((batch, upto)) = queue.take(bytes) {
                            stored.read(&write(batch.records()), 1_000).unwrap();
                            prop_assert!(durable < upto);
                            durable = upto;
                        }
                        let mut due = Sessions::default();
                        told[..durable as usize].iter().for_each(|record: &Record| {
                            due.read(&write(std::slice::from_ref(record)), 1_000).unwrap();
                        });
                        let (due, stored) = (due.into_kept(), stored.clone().into_kept());
                        prop_assert!(due.keys().eq(stored.keys()));
                        let number = |data: &Option<std::sync::Arc<str>>| data.as_ref().map(|data| data.parse::<u64>().unwrap());
                        for (sid, kept) in &due {
                            prop_assert!(number(&kept.data) <= number(&stored[sid].data));
                        }
                        continue;
                    }
                };
                straight.read(&write(std::slice::from_ref(&record)), 1_000).unwrap();
                told.push(record.clone());
                prop_assert_eq!(queue.push(record), told.len() as u64);
            }
            prop_assert_eq!(durable, queue.last());
            prop_assert_eq!(queue.bytes(), 0);
            prop_assert_eq!(stored.into_kept(), straight.into_kept());
        }
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

    #[test]
    fn of_the_data_of_a_session_the_newest_is_kept() {
        let mut queue = Queue::default();
        for _ in 0..100 {
            queue.push(Record::Data { sid: sid(1), data: "x".repeat(10_000).into() });
        }
        assert!(queue.bytes() < 11_000);
        let (batch, upto) = queue.take(1).unwrap();
        assert_eq!((batch.records().len(), upto), (1, 100));
    }
}
