//! What must not hold up others: readers that are not polled, rooms that cannot be read, large messages, stores that panic.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::fault::{FaultRates, Faults};
use chat_core::*;
use tokio::time::timeout;

/// On a paused clock: longer than any pause of the engine.
const AN_HOUR: Duration = Duration::from_secs(3_600);
const SLOW: FaultRates =
    FaultRates { delayed: 1.0, delay_max: Duration::from_millis(50), ..FaultRates::NONE };
const DEAF: FaultRates = FaultRates { news_lost: 1.0, ..FaultRates::NONE };

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn draft(key: &str, bytes: usize) -> Draft {
    let author = Author { id: user("ada"), name: DisplayName::new("ada").unwrap() };
    Draft {
        kind: Kind::Message,
        author,
        key: MessageKey::new(key).unwrap(),
        body: Body::text("x".repeat(bytes)),
    }
}

async fn fill(store: &MemoryStore, room: &RoomId, count: u64, bytes: usize) {
    let before = store.bounds(std::slice::from_ref(room)).await.unwrap()[0].head.offset().get();
    for number in before..before + count {
        store.append(room, draft(&number.to_string(), bytes)).await.unwrap();
    }
}

async fn start(backends: Backends, change: impl FnOnce(&mut Limits)) -> Chat {
    let mut limits = Limits::default();
    change(&mut limits);
    Chat::builder(backends).limits(limits).start().await.unwrap()
}

fn poll_once(reader: &Reader) -> Poll<Step> {
    let mut cx = Context::from_waker(futures_util::task::noop_waker_ref());
    reader.poll_next(&mut cx, Budget::default())
}

/// Reads until `count` entries have come.
async fn read(reader: &Reader, count: usize) {
    let mut seen = 0;
    while seen < count {
        match timeout(AN_HOUR, reader.next(Budget::default())).await {
            Ok(Step::Run(run)) => seen += run.entries.len(),
            Ok(step) => panic!("{step:?}"),
            Err(_) => panic!("{seen} of {count} entries an hour later"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_a_room_that_is_being_read_leaves_the_others_their_turn() {
    let (store, a, b) = (MemoryStore::new(), room("a"), room("b"));
    fill(&store, &a, 1_000, 10).await;
    fill(&store, &b, 1_000, 10).await;
    let faults = Faults::new(1, FaultRates::NONE);
    let chat = start(faults.wrap(Backends::from_store(store)), |_| {}).await;
    let reader = chat.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    reader.join(&b, Since::Start).await.unwrap();
    faults.inflict(SLOW);
    assert!(poll_once(&reader).is_pending());
    assert!(reader.leave(&a));
    read(&reader, 1_000).await;
}

#[tokio::test(start_paused = true)]
async fn readers_that_are_not_polled_hold_up_nobody() {
    let store = MemoryStore::new();
    let faults = Faults::new(1, FaultRates::NONE);
    let chat = start(faults.wrap(Backends::from_store(store.clone())), |_| {}).await;
    let mut stalled = Vec::new();
    for number in 0..chat.limits().log_reads_max.get() {
        let room = room(&format!("r{number}"));
        fill(&store, &room, 1_000, 10).await;
        let reader = chat.reader(user("slow"));
        reader.join(&room, Since::Start).await.unwrap();
        stalled.push(reader);
    }
    faults.inflict(SLOW);
    assert!(stalled.iter().all(|reader| poll_once(reader).is_pending()));
    let a = room("a");
    fill(&store, &a, 1_000, 10).await;
    let reader = chat.reader(user("bob"));
    timeout(AN_HOUR, reader.join(&a, Since::Start)).await.expect("a join is answered").unwrap();
    read(&reader, 1_000).await;
    // Nor those who want the same page.
    let reader = chat.reader(user("bob"));
    timeout(AN_HOUR, reader.join(&room("r0"), Since::Start)).await.expect("a join is answered").unwrap();
    read(&reader, 1_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_join_that_is_not_polled_holds_up_nobody() {
    let faults = Faults::new(1, FaultRates::NONE);
    let backends = faults.wrap(Backends::from_store(MemoryStore::new()));
    let chat = start(backends, |limits| limits.linger = Duration::ZERO).await;
    let gone = chat.reader(user("eve"));
    gone.join(&room("idle"), Since::Now).await.unwrap();
    drop(gone);
    faults.inflict(SLOW);
    let (slow, same) = (chat.reader(user("slow")), room("same"));
    let mut join = Box::pin(slow.join(&same, Since::Now));
    assert!(futures_util::poll!(&mut join).is_pending());
    tokio::time::sleep(Duration::from_secs(60)).await;
    for room in [room("other"), same.clone(), room("idle")] {
        let reader = chat.reader(user("bob"));
        timeout(AN_HOUR, reader.join(&room, Since::Now)).await.expect("a join is answered").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_that_failed_and_is_not_polled_makes_no_other_join_fail() {
    let faults = Faults::new(1, FaultRates::NONE);
    let chat = start(faults.wrap(Backends::from_store(MemoryStore::new())), |_| {}).await;
    faults.inflict(FaultRates { unreadable: 1.0, ..SLOW });
    let (slow, a) = (chat.reader(user("slow")), room("a"));
    let mut join = Box::pin(slow.join(&a, Since::Now));
    assert!(futures_util::poll!(&mut join).is_pending());
    tokio::time::sleep(Duration::from_secs(60)).await;
    faults.heal();
    chat.reader(user("bob")).join(&a, Since::Now).await.unwrap();
    join.await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn large_messages_whose_news_was_lost_are_seen_after_a_comparison() {
    let (store, a) = (MemoryStore::new(), room("a"));
    let faults = Faults::new(1, DEAF);
    let chat = start(faults.wrap(Backends::from_store(store.clone())), |_| {}).await;
    let reader = chat.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    fill(&store, &a, 3, 600_000).await;
    read(&reader, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_message_that_was_confirmed_by_a_repeat_stops_nothing() {
    let (store, a) = (MemoryStore::new(), room("a"));
    let faults = Faults::new(1, DEAF);
    let chat = start(faults.wrap(Backends::from_store(store.clone())), |_| {}).await;
    let reader = chat.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    chat.post(&a, draft("0", 600_000)).await.unwrap();
    faults.inflict(FaultRates { unconfirmed: 1.0, ..DEAF });
    while store.bounds(std::slice::from_ref(&a)).await.unwrap()[0].head.offset().get() < 2 {
        chat.post(&a, draft("1", 600_000)).await.unwrap_err();
    }
    faults.heal();
    assert!(chat.post(&a, draft("1", 600_000)).await.unwrap().duplicate);
    for number in 2..200 {
        chat.post(&a, draft(&number.to_string(), 10)).await.unwrap();
    }
    read(&reader, 200).await;
}

/// A memory store with a flaw, and a count of its calls.
#[derive(Clone, Debug, Default)]
struct Counting {
    store: MemoryStore,
    reads: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    /// A room of which most cannot be read.
    corrupt: Option<RoomId>,
    /// Rooms of which not even the bounds can be answered, from then on.
    damaged: Arc<Mutex<Vec<RoomId>>>,
    panics: bool,
    /// As `panics`, for questions about bounds; can be changed.
    asking_panics: Arc<AtomicBool>,
}

impl Counting {
    fn backends(&self) -> Backends {
        Backends { log: Arc::new(self.clone()), ..Backends::from_store(self.store.clone()) }
    }

    fn reads(&self) -> u64 {
        self.reads.swap(0, Ordering::SeqCst)
    }

    fn asked(&self) -> u64 {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

#[async_trait]
impl MessageLog for Counting {
    async fn append(&self, room: &RoomId, draft: Draft) -> StoreResult<Appended> {
        self.store.append(room, draft).await
    }

    async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        assert!(!(self.panics && after.offset == Offset::ZERO), "a bug in a store");
        if self.corrupt.as_ref() == Some(room) && after.offset.get() < 800 {
            return Err(StoreError::corrupt("memory", "a bad row"));
        }
        tokio::task::yield_now().await;
        self.store.read(room, after, limit).await
    }

    async fn bounds(&self, rooms: &[RoomId]) -> StoreResult<Vec<Bounds>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert!(!self.asking_panics.load(Ordering::SeqCst), "a bug in a store");
        if self.damaged.lock().unwrap().iter().any(|room| rooms.contains(room)) {
            return Err(StoreError::corrupt("memory", "a bad row"));
        }
        tokio::task::yield_now().await;
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

/// A memory store of which so many answers take a minute to arrive.
#[derive(Clone, Debug)]
struct Late {
    store: MemoryStore,
    slow: Arc<AtomicU64>,
}

#[async_trait]
impl MessageLog for Late {
    async fn append(&self, room: &RoomId, draft: Draft) -> StoreResult<Appended> {
        self.store.append(room, draft).await
    }

    async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        let answer = self.store.read(room, after, limit).await;
        let less = |slow: u64| slow.checked_sub(1);
        if self.slow.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        answer
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
async fn a_room_that_cannot_be_read_does_not_stop_the_others_of_its_reader() {
    let (store, a, b) = (Counting { corrupt: Some(room("a")), ..Counting::default() }, room("a"), room("b"));
    fill(&store.store, &a, 1_000, 10).await;
    fill(&store.store, &b, 1_000, 10).await;
    let chat = start(store.backends(), |_| {}).await;
    let reader = chat.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    reader.join(&b, Since::Start).await.unwrap();
    read(&reader, 1_000).await;
    // It is not asked for in a tight loop.
    store.reads();
    assert!(timeout(AN_HOUR, reader.next(Budget::default())).await.is_err());
    let reads = store.reads();
    assert!((1_000..3_600).contains(&reads), "{reads} reads in an hour");
}

#[tokio::test(start_paused = true)]
async fn rooms_that_cannot_be_compared_with_the_log_do_not_hide_the_others() {
    let store = Counting::default();
    let faults = Faults::new(1, DEAF);
    let chat = start(faults.wrap(store.backends()), |limits| limits.rooms_per_reader_max = 1_000).await;
    let reader = chat.reader(user("bob"));
    let rooms: Vec<RoomId> = (0..600).map(|number| room(&format!("r{number:03}"))).collect();
    for room in &rooms {
        reader.join(room, Since::Start).await.unwrap();
    }
    let rounds = async || {
        store.asked();
        assert!(timeout(100 * chat.limits().sweep_interval, reader.next(Budget::default())).await.is_err());
        store.asked()
    };
    let usual = rounds().await;
    *store.damaged.lock().unwrap() = vec![rooms[0].clone(), rooms[7].clone(), rooms[599].clone()];
    // Only a comparison tells of these.
    for room in &rooms {
        fill(&store.store, room, 1, 10).await;
    }
    read(&reader, rooms.len() - 3).await;
    // Nor are they asked for in a tight loop.
    let asked = rounds().await;
    assert!(asked <= usual + 100 * 3 * 16, "{asked} questions in a hundred rounds, and {usual} before");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_store_is_a_failure_of_one_question() {
    let (store, a, b) = (Counting { panics: true, ..Counting::default() }, room("a"), room("b"));
    fill(&store.store, &a, 1_000, 10).await;
    let chat = start(store.backends(), |_| {}).await;
    let reader = chat.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    reader.join(&b, Since::Start).await.unwrap();
    assert!(timeout(AN_HOUR, reader.next(Budget::default())).await.is_err());
    fill(&store.store, &b, 5, 10).await;
    read(&reader, 5).await;
}

#[tokio::test(start_paused = true)]
async fn comparing_goes_on_after_a_panic_in_a_store() {
    let (store, a) = (Counting::default(), room("a"));
    let faults = Faults::new(1, DEAF);
    let chat = start(faults.wrap(store.backends()), |_| {}).await;
    let reader = chat.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    store.asking_panics.store(true, Ordering::SeqCst);
    assert!(timeout(AN_HOUR, reader.next(Budget::default())).await.is_err());
    store.asking_panics.store(false, Ordering::SeqCst);
    fill(&store.store, &a, 1, 10).await;
    read(&reader, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_room_of_large_messages_is_read_about_once() {
    for (bytes, rooms) in [(10, 1), (65_536, 1), (65_536, 4), (300_000, 1)] {
        let store = Counting::default();
        let chat = start(store.backends(), |_| {}).await;
        let reader = chat.reader(user("bob"));
        for number in 0..rooms {
            let room = room(&format!("r{number}"));
            fill(&store.store, &room, 256, bytes).await;
            reader.join(&room, Since::Start).await.unwrap();
        }
        store.reads();
        read(&reader, 256 * rooms).await;
        let reads = store.reads();
        assert!(
            reads <= 3 * 256 * rooms as u64,
            "{reads} reads for {rooms} times 256 messages of {bytes} bytes"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_come_at_once_cost_a_handful_of_questions() {
    let (store, a) = (Counting::default(), room("a"));
    fill(&store.store, &a, 1_000, 10).await;
    let chat = start(store.backends(), |_| {}).await;
    let head = chat.bounds(&a).await.unwrap().head;
    let zero = Bookmark::start(Epoch::from_number(7));
    for since in [Since::Start, Since::Now, Since::Last(500), Since::Bookmark(zero), Since::Bookmark(head)] {
        let readers: Vec<Reader> = (0..1_000).map(|_| chat.reader(user("bob"))).collect();
        store.reads();
        store.asked();
        let joins = readers.iter().map(|reader| reader.join(&a, since));
        for joined in futures_util::future::join_all(joins).await {
            assert!(!joined.unwrap().lost);
        }
        let (reads, asked) = (store.reads(), store.asked());
        assert!(reads <= 3 && asked <= 3, "{since:?}: {reads} reads, {asked} questions");
    }
}

/// Only the log can refuse a position, but it is asked for all who come at the same time.
#[tokio::test(start_paused = true)]
async fn a_thousand_positions_that_are_refused_cost_a_handful_of_reads() {
    let (store, a) = (Counting::default(), room("a"));
    fill(&store.store, &a, 1_000, 10).await;
    for (places, reads_max) in [(1, 5), (100, 30), (1_000, 60)] {
        for first_visit in [None, Some(500)] {
            let chat = start(store.backends(), |limits| limits.first_visit_entries_max = first_visit).await;
            let readers: Vec<Reader> = (0..1_000).map(|_| chat.reader(user("bob"))).collect();
            store.reads();
            store.asked();
            let joins = readers.iter().enumerate().map(|(number, reader)| {
                let forged = format!("abc.{}.1", 1_000 - number % places);
                reader.join(&a, Since::Bookmark(forged.parse().unwrap()))
            });
            for joined in futures_util::future::join_all(joins).await {
                assert!(joined.unwrap().lost);
            }
            let (reads, asked) = (store.reads(), store.asked());
            assert!(reads <= reads_max && asked <= 10, "{places} places: {reads} reads, {asked} questions");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_visit_after_a_trim_by_another_node_is_told_no_loss() {
    let (store, a) = (MemoryStore::new(), room("a"));
    fill(&store, &a, 1_000, 10).await;
    let chat = start(Backends::from_store(store.clone()), |_| {}).await;
    let other = chat.reader(user("eve"));
    other.join(&a, Since::Now).await.unwrap();
    let head = store.bounds(std::slice::from_ref(&a)).await.unwrap()[0].head.position;
    store.trim(&a, Position { offset: Offset::new(500).unwrap(), ..head }).await.unwrap();
    let reader = chat.reader(user("bob"));
    let joined = reader.join(&a, Since::Start).await.unwrap();
    assert_eq!((joined.start.offset().get(), joined.lost), (500, false));
    read(&reader, 500).await;
}

#[tokio::test(start_paused = true)]
async fn a_redaction_reaches_other_nodes_though_its_news_was_lost() {
    let (store, a) = (MemoryStore::new(), room("a"));
    let here = start(Backends::from_store(store.clone()), |_| {}).await;
    let faults = Faults::new(1, DEAF);
    let there = start(faults.wrap(Backends::from_store(store.clone())), |_| {}).await;
    fill(&store, &a, 300, 10).await;
    let reader = there.reader(user("eve"));
    reader.join(&a, Since::Start).await.unwrap();
    read(&reader, 300).await;
    let head = store.bounds(std::slice::from_ref(&a)).await.unwrap()[0].head.position;
    // One in a cached page, one in the tail.
    for offset in [2, 299] {
        here.redact(&a, Position { offset: Offset::new(offset).unwrap(), ..head }).await.unwrap();
    }
    tokio::time::sleep(there.limits().sweep_interval + Duration::from_secs(1)).await;
    let reader = there.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    let (mut seen, mut gone) = (0, Vec::new());
    while seen < 300 {
        let Step::Run(run) = reader.next(Budget::default()).await else { panic!() };
        seen += run.entries.len();
        let redacted = run.entries.iter().filter(|entry| entry.body.is_none());
        gone.extend(redacted.map(|entry| entry.position.offset.get()));
    }
    assert_eq!(gone, [2, 299]);
}

/// A reader that asked for a page, and does not look at the answer until the body is gone.
async fn a_page_that_waits(redact: impl AsyncFnOnce(&Chat, &MemoryStore, Position)) -> Vec<bool> {
    let (store, a) = (MemoryStore::new(), room("a"));
    fill(&store, &a, 300, 10).await;
    let faults = Faults::new(1, FaultRates::NONE);
    let chat = start(faults.wrap(Backends::from_store(store.clone())), |_| {}).await;
    let reader = chat.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    faults.inflict(SLOW);
    assert!(poll_once(&reader).is_pending());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let head = store.bounds(std::slice::from_ref(&a)).await.unwrap()[0].head.position;
    redact(&chat, &store, Position { offset: Offset::new(2).unwrap(), ..head }).await;
    let Step::Run(run) = reader.next(Budget::default()).await else { panic!() };
    run.entries.iter().take(3).map(|entry| entry.body.is_some()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_redacted_body_is_not_handed_out_by_a_reader_that_was_not_polled_for_long() {
    let here = a_page_that_waits(async |chat, _, at| chat.redact(&room("a"), at).await.unwrap()).await;
    assert_eq!(here, [true, false, true]);
    // Nobody tells, but the room is compared with the log.
    let elsewhere = a_page_that_waits(async |chat, store, at| {
        store.redact(&room("a"), at).await.unwrap();
        tokio::time::sleep(chat.limits().sweep_interval + Duration::from_secs(1)).await;
    });
    assert_eq!(elsewhere.await, [true, false, true]);
}

/// The first read of the log takes long on its way back.
#[tokio::test(start_paused = true)]
async fn who_comes_after_a_redaction_is_not_given_what_was_read_before_it() {
    let (store, a) = (MemoryStore::new(), room("a"));
    fill(&store, &a, 300, 10).await;
    let late = Late { store: store.clone(), slow: Arc::default() };
    let backends = Backends { log: Arc::new(late.clone()), ..Backends::from_store(store.clone()) };
    let chat = start(backends, |_| {}).await;
    let readers = [chat.reader(user("bob")), chat.reader(user("eve"))];
    for reader in &readers {
        reader.join(&a, Since::Start).await.unwrap();
    }
    late.slow.store(1, Ordering::SeqCst);
    assert!(poll_once(&readers[0]).is_pending());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let head = store.bounds(std::slice::from_ref(&a)).await.unwrap()[0].head.position;
    chat.redact(&a, Position { offset: Offset::new(2).unwrap(), ..head }).await.unwrap();
    for reader in &readers {
        let Step::Run(run) = reader.next(Budget::default()).await else { panic!() };
        assert!(run.entries[1].body.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_redaction_while_nobody_was_in_the_room_reaches_whoever_comes_back() {
    let (store, a) = (MemoryStore::new(), room("a"));
    fill(&store, &a, 300, 10).await;
    let chat = start(Backends::from_store(store.clone()), |limits| limits.linger = Duration::ZERO).await;
    let reader = chat.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    read(&reader, 300).await;
    drop(reader);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let head = store.bounds(std::slice::from_ref(&a)).await.unwrap()[0].head.position;
    store.redact(&a, Position { offset: Offset::new(2).unwrap(), ..head }).await.unwrap();
    let reader = chat.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    let Step::Run(run) = reader.next(Budget::default()).await else { panic!() };
    assert!(run.entries[1].body.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_redaction_that_a_room_learns_of_by_beginning_anew_reaches_its_pages_too() {
    let (store, a) = (MemoryStore::new(), room("a"));
    fill(&store, &a, 300, 10).await;
    let faults = Faults::new(1, FaultRates::NONE);
    let chat = start(faults.wrap(Backends::from_store(store.clone())), |_| {}).await;
    let reader = chat.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    read(&reader, 300).await;
    faults.inflict(DEAF);
    let head = store.bounds(std::slice::from_ref(&a)).await.unwrap()[0].head.position;
    store.redact(&a, Position { offset: Offset::new(2).unwrap(), ..head }).await.unwrap();
    fill(&store, &a, 300, 10).await;
    // What is heard from here on is heard.
    tokio::time::sleep(Duration::from_millis(1)).await;
    faults.heal();
    // So far ahead that the tail begins anew, before the room is compared with the log.
    fill(&store, &a, 1, 10).await;
    tokio::time::sleep(2 * chat.limits().sweep_interval).await;
    let reader = chat.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    let Step::Run(run) = reader.next(Budget::default()).await else { panic!() };
    assert!(run.entries[1].body.is_none());
}
