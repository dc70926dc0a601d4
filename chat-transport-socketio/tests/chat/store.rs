//! A log that counts what it is asked, and stores no more posts than it is let, around another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chat_core::{
    Appended, Backends, Bounds, Draft, Epoch, MessageLog, PageLimit, Position, Replay, RoomId, StoreIdentity,
    StoreResult, UserId,
};
use tokio::sync::{Semaphore, watch};

use crate::client::PATIENCE;

/// How often the log was asked what.
#[derive(Debug)]
pub(crate) struct Calls {
    reads: watch::Sender<usize>,
    bounds: AtomicUsize,
    identity: watch::Sender<usize>,
    /// The authors of all appends, in the order in which they came.
    appends: watch::Sender<Vec<UserId>>,
    stored: AtomicUsize,
    /// What was read of facts about people, which are no rooms of theirs: counted by itself.
    facts: AtomicUsize,
    /// Each append takes one, in the order in which they came.
    permits: Semaphore,
}

impl Calls {
    /// The authors of all posts that came to the store, in that order.
    pub(crate) fn authors(&self) -> Vec<UserId> {
        self.appends.borrow().clone()
    }

    /// Waits until so many posts have come to the store.
    pub(crate) async fn appends(&self, times: usize) {
        self.appended_as(|authors| (times <= authors.len()).then_some(())).await;
    }

    /// Waits until a post of `author` has come to the store, behind the first `from` of all: answers how many have come before it.
    pub(crate) async fn appended(&self, author: &UserId, from: usize) -> usize {
        self.appended_as(|authors| Some(from + authors.iter().skip(from).position(|other| other == author)?))
            .await
    }

    async fn appended_as<T>(&self, wanted: impl Fn(&[UserId]) -> Option<T>) -> T {
        let mut appends = self.appends.subscribe();
        let come = appends.wait_for(|authors| wanted(authors).is_some());
        let authors = tokio::time::timeout(PATIENCE, come).await.expect("in time").unwrap();
        wanted(&authors).unwrap()
    }

    /// How many posts are stored.
    pub(crate) fn stored(&self) -> usize {
        self.stored.load(Ordering::SeqCst)
    }

    /// Appends wait from now on, until they are let in.
    pub(crate) fn shut(&self) {
        self.permits.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets so many more appends in.
    pub(crate) fn let_in(&self, appends: usize) {
        self.permits.add_permits(appends);
    }

    pub(crate) fn reads(&self) -> usize {
        *self.reads.borrow()
    }

    /// Waits until so many pages were asked for.
    pub(crate) async fn read(&self, times: usize) {
        reaches(&self.reads, times).await;
    }

    pub(crate) fn bounds(&self) -> usize {
        self.bounds.load(Ordering::Relaxed)
    }

    /// Reads of facts about people, and looks at their bounds.
    pub(crate) fn facts(&self) -> usize {
        self.facts.load(Ordering::Relaxed)
    }

    /// Waits until the store was asked for its identity so many times: once for each attempt to let a first client in.
    pub(crate) async fn identity_asked(&self, times: usize) {
        reaches(&self.identity, times).await;
    }
}

async fn reaches(count: &watch::Sender<usize>, times: usize) {
    let mut count = count.subscribe();
    tokio::time::timeout(PATIENCE, count.wait_for(|count| times <= *count)).await.expect("in time").unwrap();
}

/// `backends` with a log that is counted.
pub(crate) fn counted(backends: Backends) -> (Backends, Arc<Calls>) {
    let calls = Arc::new(Calls {
        reads: watch::Sender::default(),
        bounds: AtomicUsize::default(),
        identity: watch::Sender::default(),
        appends: watch::Sender::default(),
        stored: AtomicUsize::default(),
        facts: AtomicUsize::default(),
        permits: Semaphore::new(Semaphore::MAX_PERMITS),
    });
    let log = Counted { inner: backends.log, calls: calls.clone() };
    (Backends { log: Arc::new(log), ..backends }, calls)
}

/// Not a room that anybody is in.
fn is_facts(room: &RoomId) -> bool {
    room.as_str().starts_with('~')
}

#[derive(Debug)]
struct Counted {
    inner: Arc<dyn MessageLog>,
    calls: Arc<Calls>,
}

#[async_trait]
impl MessageLog for Counted {
    async fn append(&self, room: &RoomId, draft: Draft) -> StoreResult<Appended> {
        if is_facts(room) {
            return self.inner.append(room, draft).await;
        }
        self.calls.appends.send_modify(|appends| appends.push(draft.author.id.clone()));
        self.calls.permits.acquire().await.expect("it is never closed").forget();
        let appended = self.inner.append(room, draft).await;
        self.calls.stored.fetch_add(1, Ordering::SeqCst);
        appended
    }

    async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        match is_facts(room) {
            true => drop(self.calls.facts.fetch_add(1, Ordering::Relaxed)),
            false => self.calls.reads.send_modify(|reads| *reads += 1),
        }
        self.inner.read(room, after, limit).await
    }

    async fn bounds(&self, rooms: &[RoomId]) -> StoreResult<Vec<Bounds>> {
        let count = if rooms.iter().all(is_facts) { &self.calls.facts } else { &self.calls.bounds };
        count.fetch_add(1, Ordering::Relaxed);
        self.inner.bounds(rooms).await
    }

    async fn trim(&self, room: &RoomId, upto: Position) -> StoreResult<()> {
        self.inner.trim(room, upto).await
    }

    async fn redact(&self, room: &RoomId, at: Position) -> StoreResult<()> {
        self.inner.redact(room, at).await
    }

    async fn renew_epoch(&self, room: &RoomId, from: Epoch) -> StoreResult<Bounds> {
        self.inner.renew_epoch(room, from).await
    }

    async fn identity(&self) -> StoreResult<StoreIdentity> {
        self.calls.identity.send_modify(|asked| *asked += 1);
        self.inner.identity().await
    }
}
