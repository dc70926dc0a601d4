//! Whether everybody got everything, once, in one order. Pure.
//!
//! What is right is decided by the offset that the server itself gave a message: a reader's messages must come with growing offsets, and
//! none that anybody got, or that was acknowledged, may be missing. The cost per message is one comparison; only what is amiss is looked at closely.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What is known of a room's messages, from all its readers together.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// By number: the offset that the server gave it, 0 as long as nobody has received it.
    offsets: Vec<u32>,
}

/// What one reader has received.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The largest offset received, or the one after which it joined.
    last: u32,
    /// Offsets that were skipped. Empty where nothing is amiss and the server counts each room by itself.
    gaps: Vec<Range<u32>>,
    repeated: u64,
    reordered: u64,
}

/// What was amiss. All zero is what is to be expected of a chat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Amiss {
    /// Deliveries that never came although somebody else got the message.
    pub(crate) lost: u64,
    /// Deliveries that came again.
    pub(crate) repeated: u64,
    /// Deliveries that came behind a later message.
    pub(crate) reordered: u64,
    /// Messages that were answered positively and that nobody ever got.
    pub(crate) vanished: u64,
    /// Posts without an answer, or refused.
    pub(crate) unanswered: u64,
    /// Connections that the server, or the system, ended.
    pub(crate) dropped: u64,
}

impl Amiss {
    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.vanished += other.vanished;
        self.unanswered += other.unanswered;
        self.dropped += other.dropped;
    }
}

/// What a delivery was to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    First,
    Again,
}

impl Room {
    /// The offset of a message, which `read` finds out if nobody has received it before.
    pub(super) fn offset(&mut self, number: u32, read: impl FnOnce() -> Option<u32>) -> Option<u32> {
        let index = number as usize;
        if self.offsets.len() <= index {
            self.offsets.resize(index + 1, 0);
        }
        if self.offsets[index] == 0 {
            self.offsets[index] = read()?;
        }
        Some(self.offsets[index])
    }

    /// Whether somebody has received it.
    pub(super) fn knows(&self, number: u32) -> bool {
        self.offsets.get(number as usize).is_some_and(|&offset| offset != 0)
    }

    /// What is amiss with these readers, now that nothing more is expected.
    pub(super) fn check<'a>(&self, readers: impl Iterator<Item = &'a Reader>) -> Amiss {
        let mut sorted: Vec<u32> = self.offsets.iter().copied().filter(|&offset| offset != 0).collect();
        sorted.sort_unstable();
        let known = |range: &Range<u32>| {
            let before = |end: u32| sorted.partition_point(|&offset| offset < end);
            (before(range.end) - before(range.start)) as u64
        };
        let mut amiss = Amiss::default();
        for reader in readers {
            let behind = reader.last.saturating_add(1)..u32::MAX;
            amiss.lost += reader.gaps.iter().map(known).sum::<u64>() + known(&behind);
            amiss.repeated += reader.repeated;
            amiss.reordered += reader.reordered;
        }
        amiss
    }
}

impl Reader {
    /// The largest offset received: after which a resume begins.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// Takes what was received.
    pub(super) fn take(&mut self, offset: u32) -> Delivery {
        if self.last < offset {
            if self.last + 1 < offset {
                self.gaps.push(self.last + 1..offset);
            }
            self.last = offset;
            return Delivery::First;
        }
        let Some(index) = self.gaps.iter().position(|gap| gap.contains(&offset)) else {
            self.repeated += 1;
            return Delivery::Again;
        };
        self.reordered += 1;
        let gap = self.gaps.swap_remove(index);
        self.gaps
            .extend([gap.start..offset, offset + 1..gap.end].into_iter().filter(|rest| !rest.is_empty()));
        Delivery::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is amiss when these readers get these messages of one room, by offset.
    fn check(received: &[&[u32]]) -> Amiss {
        let mut room = Room::default();
        let mut readers: Vec<Reader> = Vec::new();
        for messages in received {
            let mut reader = Reader::default();
            for &message in *messages {
                let offset = room.offset(message - 1, || Some(message)).expect("known");
                reader.take(offset);
            }
            readers.push(reader);
        }
        room.check(readers.iter())
    }

    #[test]
    fn one_order_for_all_is_right() {
        assert_eq!(check(&[&[1, 2, 3], &[1, 2, 3]]), Amiss::default());
    }

    #[test]
    fn offsets_that_skip_are_right() {
        assert_eq!(check(&[&[2, 5, 9], &[2, 5, 9]]), Amiss::default());
    }

    #[test]
    fn a_message_that_one_reader_never_gets_is_lost_wherever_it_stood() {
        for missing in 1..=4 {
            let rest: Vec<u32> = (1..=4).filter(|&message| message != missing).collect();
            assert_eq!(
                check(&[&rest, &[1, 2, 3, 4]]),
                Amiss { lost: 1, ..Amiss::default() },
                "without {missing}"
            );
            assert_eq!(
                check(&[&[1, 2, 3, 4], &rest]),
                Amiss { lost: 1, ..Amiss::default() },
                "without {missing}"
            );
        }
        assert_eq!(check(&[&[1, 2, 3, 4], &[]]), Amiss { lost: 4, ..Amiss::default() });
    }

    #[test]
    fn a_message_that_comes_again_is_repeated() {
        assert_eq!(check(&[&[1, 2, 2, 3], &[1, 2, 3, 1]]), Amiss { repeated: 2, ..Amiss::default() });
    }

    #[test]
    fn a_message_that_comes_late_is_reordered_and_not_lost() {
        assert_eq!(check(&[&[1, 2, 3], &[1, 3, 2]]), Amiss { reordered: 1, ..Amiss::default() });
        assert_eq!(check(&[&[4, 1, 3, 2]]), Amiss { reordered: 3, ..Amiss::default() });
    }

    #[test]
    fn late_and_again_are_told_apart() {
        let expected = Amiss { lost: 1, repeated: 1, reordered: 1, ..Amiss::default() };
        assert_eq!(check(&[&[1, 2, 3, 4], &[1, 4, 2, 2]]), expected);
    }
}
