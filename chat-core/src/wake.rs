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

    /// Wakes the reader for something that is no room's.
    pub(crate) fn wake(&self) {
        self.waker.wake();
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

#[cfg(all(test, chat_loom))]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::Poll;

    use loom::sync::atomic::AtomicUsize;

    use super::*;

    /// `RUSTFLAGS="--cfg chat_loom" cargo test -p chat-core --lib wake` tries the interleavings.
    #[test]
    fn a_reader_never_sleeps_through_a_post() {
        let mut model = loom::model::Builder::new();
        // Every interleaving of so many preemptions; without a bound it takes hours and finds no more.
        model.preemption_bound = Some(3);
        model.check(|| {
            let set = Arc::new(WakeSet::new(2));
            let tails = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
            let posters: Vec<_> = (0..2)
                .map(|room| {
                    let (set, tails) = (set.clone(), tails.clone());
                    loom::thread::spawn(move || {
                        tails[room].store(1, Ordering::Relaxed);
                        set.mark(Slot(room as u32));
                    })
                })
                .collect();
            let mut seen = 0;
            loom::future::block_on(poll_fn(|cx| {
                set.register(cx.waker());
                // A room is looked into only if it was marked.
                set.take(|slot| seen += tails[slot.0 as usize].load(Ordering::Relaxed));
                if seen == 2 { Poll::Ready(()) } else { Poll::Pending }
            }));
            posters.into_iter().for_each(|poster| poster.join().unwrap());
        });
    }
}
