//! Pages of history: what they cost, and what becomes of one while the log changes.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chat_core::*;

fn room() -> RoomId {
    RoomId::new("a").unwrap()
}

fn user() -> UserId {
    UserId::new("ada").unwrap()
}

async fn fill(store: &MemoryStore, kind: Kind, count: u64) {
    let author = Author { id: user(), name: DisplayName::new("ada").unwrap() };
    let before = bounds(store).await.head.offset().get();
    for number in before..before + count {
        let (author, key) = (author.clone(), MessageKey::new(&number.to_string()).unwrap());
        store.append(&room(), Draft { kind, author, key, body: Body::text("x") }).await.unwrap();
    }
}

async fn bounds(store: &MemoryStore) -> Bounds {
    store.bounds(&[room()]).await.unwrap()[0]
}

/// A memory store that counts its reads, and whose room gets a new epoch before some of them.
#[derive(Clone, Debug, Default)]
struct Watched {
    store: MemoryStore,
    reads: Arc<AtomicU64>,
    renewals: Arc<AtomicU64>,
}

impl Watched {
    async fn chat(&self) -> Chat {
        let backends = Backends { log: Arc::new(self.clone()), ..Backends::from_store(self.store.clone()) };
        Chat::builder(backends).start().await.unwrap()
    }
}

#[async_trait]
impl MessageLog for Watched {
    async fn append(&self, room: &RoomId, draft: Draft) -> StoreResult<Appended> {
        self.store.append(room, draft).await
    }

    async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let less = |left: u64| left.checked_sub(1);
        if self.renewals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            self.store.renew_epoch(room, bounds(&self.store).await.epoch()).await?;
        }
        self.store.read(room, after, limit).await
    }

    async fn bounds(&self, rooms: &[RoomId]) -> StoreResult<Vec<Bounds>> {
        self.store.bounds(rooms).await
    }

    async fn trim(&self, room: &RoomId, upto: Position) -> StoreResult<()> {
        self.store.trim(room, upto).await
    }

    async fn redact(&self, room: &RoomId, at: Position) -> StoreResult<()> {
        self.store.redact(room, at).await
    }

    async fn renew_epoch(&self, room: &RoomId, from: Epoch) -> StoreResult<Bounds> {
        self.store.renew_epoch(room, from).await
    }

    async fn identity(&self) -> StoreResult<StoreIdentity> {
        self.store.identity().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_that_gets_another_epoch_meanwhile_still_has_its_messages() {
    let log = Watched::default();
    fill(&log.store, Kind::Message, 10).await;
    let chat = log.chat().await;
    log.renewals.store(2, Ordering::SeqCst);
    let page = chat.history(&user(), &room(), None, HistoryLimit::default()).await.unwrap();
    assert_eq!((page.messages.len(), page.from.get()), (10, 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_behind_many_entries_of_other_kinds_costs_few_reads() {
    let log = Watched::default();
    fill(&log.store, Kind::Message, 1).await;
    fill(&log.store, Kind::Fact, 3_000).await;
    let chat = log.chat().await;
    let limit = HistoryLimit { messages: 1, ..HistoryLimit::default() };
    let page = chat.history(&user(), &room(), None, limit).await.unwrap();
    assert_eq!((page.messages.len(), page.from.get()), (1, 1));
    let reads = log.reads.load(Ordering::SeqCst);
    assert!(reads < 50, "{reads} reads");
}

#[tokio::test(start_paused = true)]
async fn a_page_costs_a_bounded_number_of_reads_and_says_how_far_back_it_looked() {
    let log = Watched::default();
    fill(&log.store, Kind::Message, 3).await;
    fill(&log.store, Kind::Fact, 20_000).await;
    let chat = log.chat().await;
    let (mut before, mut found, mut pages) = (None, 0, 0);
    while found == 0 {
        log.reads.store(0, Ordering::SeqCst);
        let page = chat.history(&user(), &room(), before, HistoryLimit::default()).await.unwrap();
        let reads = log.reads.load(Ordering::SeqCst);
        assert!(reads < 100, "{reads} reads");
        assert!(before.is_none_or(|before| page.from < before));
        (before, found, pages) = (Some(page.from), page.messages.len(), pages + 1);
    }
    assert_eq!((found, before), (3, Offset::new(1)));
    assert!(pages < 10, "{pages} pages");
}

#[tokio::test(start_paused = true)]
async fn the_page_before_begins_where_this_one_ends() {
    let log = Watched::default();
    for count in [5, 3, 1, 7] {
        fill(&log.store, Kind::Message, count).await;
        fill(&log.store, Kind::Fact, count).await;
    }
    let chat = log.chat().await;
    let limit = HistoryLimit { messages: 3, ..HistoryLimit::default() };
    let (mut before, mut seen) = (None, 0);
    while before != Offset::new(1) {
        let page = chat.history(&user(), &room(), before, limit).await.unwrap();
        (before, seen) = (Some(page.from), seen + page.messages.len());
    }
    assert_eq!(seen, 16);
}
