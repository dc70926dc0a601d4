//! A log that counts what it is asked, around another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chat_core::{
    Appended, Backends, Bounds, Draft, Epoch, MessageLog, PageLimit, Position, Replay, RoomId, StoreIdentity,
    StoreResult,
};
use tokio::sync::watch;

use crate::client::PATIENCE;

/// How often the log was asked what.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    reads: watch::Sender<usize>,
    bounds: AtomicUsize,
    identity: watch::Sender<usize>,
}

impl Calls {
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
    let calls = Arc::<Calls>::default();
    let log = Counted { inner: backends.log, calls: calls.clone() };
    (Backends { log: Arc::new(log), ..backends }, calls)
}

#[derive(Debug)]
struct Counted {
    inner: Arc<dyn MessageLog>,
    calls: Arc<Calls>,
}

#[async_trait]
impl MessageLog for Counted {
    async fn append(&self, room: &RoomId, draft: Draft) -> StoreResult<Appended> {
        self.inner.append(room, draft).await
    }

    async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        self.calls.reads.send_modify(|reads| *reads += 1);
        self.inner.read(room, after, limit).await
    }

    async fn bounds(&self, rooms: &[RoomId]) -> StoreResult<Vec<Bounds>> {
        self.calls.bounds.fetch_add(1, Ordering::Relaxed);
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
