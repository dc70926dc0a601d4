//! The sessions of this process whose clients are away: for how long, and how many bytes, they are kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::time::{Instant, sleep_until};

use super::Recovery;
use crate::socket::session::Session;

/// Places in the queue that may be of sessions whose clients are back, before it is looked through.
const BACK_MAX: usize = 1_000;

pub(crate) struct Suspended {
    pub(crate) recovery: Recovery,
    /// What they take together.
    bytes: AtomicUsize,
    numbers: AtomicU64,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// In the order in which they lost their clients, which is the one in which their time is over. Those whose clients are back may still be here.
    away: VecDeque<Away>,
    /// The length at which those are sorted out.
    sort_out_at: usize,
    /// A task waits for the first one's time.
    has_watchman: bool,
}

struct Away {
    number: u64,
    until: Instant,
    session: Weak<Session>,
}

impl Suspended {
    pub(crate) fn new(recovery: Recovery) -> Self {
        let (bytes, numbers) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { recovery, bytes, numbers, queue: Mutex::default() }
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Ends the session when its time is over, unless its client comes back before. To be called for each suspension.
    pub(crate) fn watch(self: &Arc<Self>, session: &Arc<Session>, number: u64) {
        let until = Instant::now() + self.recovery.disconnection_max;
        let mut queue = self.lock();
        if queue.sort_out_at <= queue.away.len() {
            queue.away.retain(Away::is_away);
            queue.sort_out_at = queue.away.len() * 2 + BACK_MAX;
        }
        queue.away.push_back(Away { number, until, session: Arc::downgrade(session) });
        let needs_watchman = !std::mem::replace(&mut queue.has_watchman, true);
        drop(queue);
        if needs_watchman {
            tokio::spawn(self.clone().keep_watch());
        }
        self.give_up_what_is_too_much();
    }

    /// Those that have been away longest go first.
    pub(crate) fn give_up_what_is_too_much(&self) {
        while self.recovery.sessions_bytes_max < self.bytes.load(Ordering::Relaxed) {
            let Some(away) = self.lock().away.pop_front() else { return };
            away.give_up();
        }
    }

    /// Gives them up when their time is over, until nobody is away.
    async fn keep_watch(self: Arc<Self>) {
        loop {
            let (until, over) = {
                let mut queue = self.lock();
                let Some(first) = queue.away.front() else {
                    queue.has_watchman = false;
                    return;
                };
                let until = first.until;
                let is_due = until <= Instant::now() || !first.is_away();
                (until, if is_due { queue.away.pop_front() } else { None })
            };
            match over {
                Some(away) => away.give_up(),
                None => sleep_until(until).await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while it holds the queue")
    }
}

impl Away {
    fn is_away(&self) -> bool {
        self.session.upgrade().is_some_and(|session| session.suspended_in(self.number).is_some())
    }

    fn give_up(&self) {
        let Some(session) = self.session.upgrade() else { return };
        if let Some(namespace) = session.suspended_in(self.number) {
            drop(namespace.end_if(&session, |state| state.is_suspended(self.number)));
        }
    }
}
