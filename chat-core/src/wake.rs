//! Which of a reader's rooms may have something for it: one bit per room, one waker per reader.
//!
//! Marking is a few instructions and any number of marks before the reader looks are one, so a burst of posts costs a busy reader one wake-up.

use std::task::Waker;

#[cfg(chat_loom)]
use loom::{
    future::AtomicWaker,
    sync::atomic::{AtomicU64, Ordering},
};
#[cfg(not(chat_loom))]
use {
    futures_util::task::AtomicWaker,
    std::sync::atomic::{AtomicU64, Ordering},
};

/// A reader's slot for a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u32);

const BITS: u32 = u64::BITS;

pub(crate) struct WakeSet {
    words: Box<[AtomicU64]>,
    waker: AtomicWaker,
}

impl WakeSet {
    /// Room for slots 0 to `slots` − 1.
    pub(crate) fn new(slots: usize) -> Self {
        let words = slots.div_ceil(BITS as usize).max(1);
        Self { words: (0..words).map(|_| AtomicU64::new(0)).collect(), waker: AtomicWaker::new() }
    }

    /// Marks a slot and wakes the reader, if it was not marked already.
    pub(crate) fn mark(&self, slot: Slot) {
        let Some(word) = self.words.get((slot.0 / BITS) as usize) else { return };
        let bit = 1 << (slot.0 % BITS);
        // AcqRel: whatever was put into the tail before the mark is visible to the reader that takes it.
        if word.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.waker.wake();
        }
    }

    /// To be called *before* [`WakeSet::take`]: a mark made after the take finds this waker.
    pub(crate) fn register(&self, waker: &Waker) {
        #[cfg(not(chat_loom))]
        self.waker.register(waker);
        #[cfg(chat_loom)]
        self.waker.register_by_ref(waker);
    }

    /// The marked slots; clears them. Look into a room only *after* taking its mark, or a post in between is slept through.
    pub(crate) fn take(&self, mut each: impl FnMut(Slot)) {
        for (index, word) in self.words.iter().enumerate() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::AcqRel);
            while bits != 0 {
                each(Slot(index as u32 * BITS + bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
    }
}
