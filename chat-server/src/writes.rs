//! Whether the store takes messages, by what became of the last ones: a disk that is full or read-only still answers every question.
//!
//! Nothing is written to find out. So it is known only as long as somebody posts, and for [`RECENT`] after that.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chat_core::{
    Appended, Backends, Bounds, Draft, Epoch, MessageLog, PageLimit, Position, Replay, RoomId, StoreIdentity,
    StoreResult,
};

/// How long a failure counts when nothing is posted after it. Clients whose post was refused try again sooner than that; and if all
/// of them were sent elsewhere meanwhile, somebody has to try again.
const RECENT: Duration = Duration::from_secs(30);

/// What became of the last append.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes {
    failed: Arc<Mutex<Option<Failure>>>,
}

#[derive(Clone, Debug)]
struct Failure {
    at: Instant,
    reason: String,
}

impl Writes {
    /// The same backends, and what becomes of their appends from now on.
    pub(crate) fn watch(backends: Backends) -> (Backends, Self) {
        let writes = Self::default();
        let log = Arc::new(Watched { log: backends.log, writes: writes.clone() });
        (Backends { log, ..backends }, writes)
    }

    /// Why the store takes no messages, as far as that is known.
    pub(crate) fn failing(&self, now: Instant) -> Option<String> {
        let failed = self.failed.lock().expect("nothing panics while it holds the last failure");
        let failure = failed.as_ref()?;
        (now.saturating_duration_since(failure.at) < RECENT).then(|| failure.reason.clone())
    }

    fn note(&self, outcome: &StoreResult<Appended>, now: Instant) {
        let failure = match outcome {
            Ok(Appended::Fresh { .. }) => None,
            // Nothing had to be written for these.
            Ok(Appended::Duplicate { .. } | Appended::Conflict { .. }) => return,
            Err(error) => Some(Failure { at: now, reason: error.to_string() }),
        };
        *self.failed.lock().expect("nothing panics while it holds the last failure") = failure;
    }
}

/// A log whose appends are noted.
#[derive(Debug)]
struct Watched {
    log: Arc<dyn MessageLog>,
    writes: Writes,
}

#[async_trait]
impl MessageLog for Watched {
    async fn append(&self, room: &RoomId, draft: Draft) -> StoreResult<Appended> {
        let outcome = self.log.append(room, draft).await;
        self.writes.note(&outcome, Instant::now());
        outcome
    }

    async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        self.log.read(room, after, limit).await
    }

    async fn bounds(&self, rooms: &[RoomId]) -> StoreResult<Vec<Bounds>> {
        self.log.bounds(rooms).await
    }

    async fn trim(&self, room: &RoomId, upto: Position) -> StoreResult<()> {
        self.log.trim(room, upto).await
    }

    async fn redact(&self, room: &RoomId, at: Position) -> StoreResult<()> {
        self.log.redact(room, at).await
    }

    async fn renew_epoch(&self, room: &RoomId, from: Epoch) -> StoreResult<Bounds> {
        self.log.renew_epoch(room, from).await
    }

    async fn identity(&self) -> StoreResult<StoreIdentity> {
        self.log.identity().await
    }
}

#[cfg(test)]
mod tests {
    use chat_core::fault::{FaultRates, Faults};
    use chat_core::{Author, Body, DisplayName, Kind, MemoryStore, MessageKey, UserId};

    use super::*;

    fn draft(key: &str) -> Draft {
        let author = Author { id: UserId::new("ada").unwrap(), name: DisplayName::new("Ada").unwrap() };
        Draft { kind: Kind::Message, author, key: MessageKey::new(key).unwrap(), body: Body::text("1") }
    }

    #[tokio::test]
    async fn a_failed_append_counts_until_one_is_stored_or_it_is_long_ago() {
        let faults = Faults::new(1, FaultRates::NONE);
        let (backends, writes) = Writes::watch(faults.wrap(Backends::from_store(MemoryStore::new())));
        let room = RoomId::new("general").unwrap();
        let append = |key| backends.log.append(&room, draft(key));
        append("one").await.unwrap();
        assert_eq!(writes.failing(Instant::now()), None);
        faults.outage();
        append("two").await.unwrap_err();
        let now = Instant::now();
        assert!(writes.failing(now).is_some());
        assert_eq!(writes.failing(now + RECENT), None);
        faults.heal();
        append("one").await.unwrap();
        assert!(writes.failing(Instant::now()).is_some(), "a repeat writes nothing");
        append("two").await.unwrap();
        assert_eq!(writes.failing(Instant::now()), None);
    }
}
