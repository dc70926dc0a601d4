//! The sessions of this process whose clients are away: for how long, and how many bytes, they are kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::Recovery;
use crate::socket::namespace::Served;
use crate::socket::session::Session;

pub(crate) struct Suspended {
    pub(crate) recovery: Recovery,
    /// What they take together.
    bytes: AtomicUsize,
    numbers: AtomicU64,
    /// In the order in which they lost their clients. Those that have them back are still here until they reach the front.
    queue: Mutex<VecDeque<Away>>,
}

#[derive(Clone)]
struct Away {
    number: u64,
    session: Weak<Session>,
    namespace: Arc<Served>,
}

impl Suspended {
    pub(crate) fn new(recovery: Recovery) -> Self {
        Self { recovery, bytes: AtomicUsize::new(0), numbers: AtomicU64::new(0), queue: Mutex::default() }
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
    pub(crate) fn watch(self: &Arc<Self>, session: &Arc<Session>, number: u64, namespace: &Arc<Served>) {
        let away = Away { number, session: Arc::downgrade(session), namespace: namespace.clone() };
        {
            let mut queue = self.lock();
            let is_back =
                |away: &Away| away.session.upgrade().is_none_or(|session| !session.is_suspended(away.number));
            while queue.front().is_some_and(is_back) {
                queue.pop_front();
            }
            queue.push_back(away.clone());
        }
        let time = self.recovery.disconnection_max;
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            away.give_up();
        });
        self.give_up_what_is_too_much();
    }

    /// Those that have been away longest go first.
    pub(crate) fn give_up_what_is_too_much(&self) {
        while self.recovery.sessions_bytes_max < self.bytes.load(Ordering::Relaxed) {
            let Some(away) = self.lock().pop_front() else { return };
            away.give_up();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Away>> {
        self.queue.lock().expect("nothing panics while it holds the queue")
    }
}

impl Away {
    fn give_up(&self) {
        if let Some(session) = self.session.upgrade().filter(|session| session.is_suspended(self.number)) {
            self.namespace.end(&session);
        }
    }
}
