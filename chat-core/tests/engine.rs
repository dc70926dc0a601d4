//! The engine over the memory store: what an embedder relies on, one sentence a test.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use chat_core::fault::{FaultRates, Faults};
use chat_core::*;

fn room() -> RoomId {
    RoomId::new("general").unwrap()
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn draft(author: &str, key: &str, text: &str) -> Draft {
    let author = Author { id: user(author), name: DisplayName::new(author).unwrap() };
    Draft { kind: Kind::Message, author, key: MessageKey::new(key).unwrap(), body: Body::text(text) }
}

async fn chat() -> (MemoryStore, Chat) {
    let store = MemoryStore::new();
    let chat = Chat::builder(Backends::from_store(store.clone())).start().await.unwrap();
    (store, chat)
}

async fn post(chat: &Chat, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let receipt =
            chat.post(&room(), draft("ada", &format!("k{number}"), &number.to_string())).await.unwrap();
        assert_eq!(receipt.bookmark.offset().get(), number);
    }
}

/// The texts of the next `count` entries.
async fn read(reader: &Reader, count: usize) -> Vec<u64> {
    let mut texts = Vec::new();
    while texts.len() < count {
        match tokio::time::timeout(Duration::from_secs(60), reader.next(Budget::default()))
            .await
            .expect("an entry is due")
        {
            Step::Run(run) => {
                texts.extend(
                    run.entries.iter().map(|e| e.body.as_ref().unwrap().text.parse::<u64>().unwrap()),
                );
            }
            step => panic!("{step:?}"),
        }
    }
    texts
}

fn range(numbers: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    numbers.collect()
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_what_was_and_then_what_comes() {
    let (_, chat) = chat().await;
    post(&chat, 1..=1_000).await;
    let reader = chat.reader(user("bob"));
    let joined = reader.join(&room(), Since::Start).await.unwrap();
    assert_eq!(
        (joined.start.offset().get(), joined.bounds.head.offset().get(), joined.lost),
        (0, 1_000, false)
    );
    assert_eq!(read(&reader, 1_000).await, range(1..=1_000));
    post(&chat, 1_001..=1_010).await;
    assert_eq!(read(&reader, 10).await, range(1_001..=1_010));
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_resumes_right_behind_itself() {
    let (_, chat) = chat().await;
    post(&chat, 1..=700).await;
    for after in [0, 1, 127, 128, 129, 300, 699, 700] {
        let reader = chat.reader(user("bob"));
        reader.join(&room(), Since::Offset(Offset::new(after).unwrap())).await.unwrap();
        let (_, bookmark) = reader.places().remove(0);
        assert_eq!(bookmark.offset().get(), after);
        let again = chat.reader(user("bob"));
        let joined = again.join(&room(), Since::Bookmark(bookmark)).await.unwrap();
        assert!(!joined.lost);
        let count = 700 - usize::try_from(after).unwrap();
        assert_eq!(read(&again, count).await, range(after + 1..=700));
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_the_log_cannot_honour_is_told_as_lost() {
    let (store, chat) = chat().await;
    post(&chat, 1..=300).await;
    let good = chat.bounds(&room()).await.unwrap().head;
    chat.trim(&room(), Position { offset: Offset::new(100).unwrap(), ..good.position }).await.unwrap();
    let other_fingerprint = Bookmark { fingerprint: Fingerprint::from_number(7), ..good };
    let other = Since::Bookmark(other_fingerprint);
    for since in [Since::Offset(Offset::new(301).unwrap()), Since::Offset(Offset::new(99).unwrap()), other] {
        let reader = chat.reader(user("bob"));
        assert!(reader.join(&room(), since).await.unwrap().lost, "{since:?}");
        let Step::Lost { bounds, start, .. } = reader.next(Budget::default()).await else {
            panic!("not told")
        };
        assert_eq!((bounds.oldest().get(), start.offset().get()), (101, 100));
        assert_eq!(read(&reader, 200).await, range(101..=300));
    }
    // Nothing is lost for who stands exactly at the trimmed entry.
    let reader = chat.reader(user("bob"));
    assert!(!reader.join(&room(), Since::Offset(Offset::new(100).unwrap())).await.unwrap().lost);
    drop(store);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgets_is_noticed_by_those_who_lost_something_and_by_nobody_else() {
    let (store, chat) = chat().await;
    post(&chat, 1..=10).await;
    let (ahead, behind) = (chat.reader(user("a")), chat.reader(user("b")));
    ahead.join(&room(), Since::Start).await.unwrap();
    behind.join(&room(), Since::Start).await.unwrap();
    assert_eq!(read(&ahead, 10).await, range(1..=10));
    let one = Budget { entries: 5, bytes: 1_000_000 };
    let Step::Run(run) = behind.next(one).await else { panic!() };
    assert_eq!(run.entries.len(), 5);
    store.roll_back(&room(), 3);
    chat.post(&room(), draft("eve", "other", "8")).await.unwrap();
    let Step::Lost { start, .. } = ahead.next(Budget::default()).await else { panic!("not told") };
    assert_eq!(start.offset().get(), 0);
    assert_eq!(read(&ahead, 8).await, range(1..=8));
    assert_eq!(read(&behind, 3).await, range(6..=8));
}

#[tokio::test(start_paused = true)]
async fn rooms_take_turns() {
    let (_, chat) = chat().await;
    let rooms: Vec<RoomId> = (0..3).map(|n| RoomId::new(&format!("r{n}")).unwrap()).collect();
    let reader = chat.reader(user("bob"));
    for room in &rooms {
        reader.join(room, Since::Start).await.unwrap();
        for number in 0..100 {
            chat.post(room, draft("ada", &number.to_string(), "x")).await.unwrap();
        }
    }
    let mut order = Vec::new();
    for _ in 0..9 {
        let Step::Run(run) = reader.next(Budget { entries: 10, bytes: 1_000_000 }).await else { panic!() };
        order.push(run.room);
    }
    for turn in order.chunks(3) {
        let mut turn = turn.to_vec();
        turn.sort();
        assert_eq!(turn, rooms);
    }
}

#[tokio::test(start_paused = true)]
async fn history_pages_backward_without_hole_or_repeat() {
    let (_, chat) = chat().await;
    post(&chat, 1..=1_000).await;
    let mut before = None;
    let mut seen: Vec<u64> = Vec::new();
    loop {
        let limit = HistoryLimit { messages: 77, bytes: 20_000, attachments: 10 };
        let page = chat.history(&user("bob"), &room(), before, limit).await.unwrap();
        let Some(first) = page.messages.first() else { break };
        before = Some(first.position.offset);
        let mut offsets: Vec<u64> = page.messages.iter().map(|e| e.position.offset.get()).collect();
        offsets.append(&mut seen);
        seen = offsets;
    }
    assert_eq!(seen, range(1..=1_000));
}

/// Allows one thing only.
#[derive(Debug)]
struct Only(Action);

#[async_trait::async_trait]
impl Authority for Only {
    async fn allows(&self, _: &Who, _: &RoomId, action: Action) -> StoreResult<bool> {
        Ok(action == self.0)
    }
}

#[tokio::test]
async fn whoever_may_not_is_refused_each_thing_and_leaves_no_trace() {
    let limit = HistoryLimit::default();
    for allowed in [Action::Join, Action::Resume, Action::Post, Action::History] {
        let (store, outsiders) = chat().await;
        post(&outsiders, 1..=3).await;
        let resumed = Since::Bookmark(outsiders.bounds(&room()).await.unwrap().head);
        let chat = Chat::builder(Backends::from_store(store.clone()))
            .authority(Only(allowed))
            .start()
            .await
            .unwrap();
        let reader = chat.reader(user("bob"));
        let outcome = |action, forbidden: Option<ChatError>| {
            let refused = matches!(forbidden, Some(ChatError::Forbidden));
            assert!(refused != (action == allowed), "{action:?}, allowed {allowed:?}: {forbidden:?}");
        };
        outcome(Action::Join, reader.join(&room(), Since::Start).await.err());
        reader.leave(&room());
        outcome(Action::Resume, reader.join(&room(), resumed).await.err());
        reader.leave(&room());
        outcome(Action::Post, chat.post(&room(), draft("eve", "k", "x")).await.err());
        outcome(Action::History, chat.history(&user("bob"), &room(), None, limit).await.err());
        let stored = outsiders.bounds(&room()).await.unwrap().head.offset().get();
        assert_eq!(stored, if allowed == Action::Post { 4 } else { 3 });
    }
}

#[tokio::test]
async fn a_redacted_message_is_gone_from_memory_too() {
    let (_, chat) = chat().await;
    post(&chat, 1..=3).await;
    let reader = chat.reader(user("bob"));
    reader.join(&room(), Since::Start).await.unwrap();
    let at =
        Position { offset: Offset::new(2).unwrap(), ..chat.bounds(&room()).await.unwrap().head.position };
    chat.redact(&room(), at).await.unwrap();
    let Step::Run(run) = reader.next(Budget::default()).await else { panic!() };
    assert_eq!(run.entries.iter().map(|e| e.body.is_some()).collect::<Vec<_>>(), [true, false, true]);
}

#[tokio::test]
async fn a_room_of_thousands_wakes_every_reader() {
    let (_, chat) = chat().await;
    let mut readers = Vec::new();
    for number in 0..3_000 {
        let reader = chat.reader(user(&format!("u{number}")));
        reader.join(&room(), Since::Now).await.unwrap();
        readers.push(tokio::spawn(async move { read(&reader, 50).await }));
    }
    post(&chat, 1..=50).await;
    for reader in readers {
        assert_eq!(reader.await.unwrap(), range(1..=50));
    }
}

#[tokio::test(start_paused = true)]
async fn an_abridged_position_is_checked_as_far_as_it_goes() {
    let (_, chat) = chat().await;
    post(&chat, 1..=3).await;
    let reader = chat.reader(user("bob"));
    let joined = reader.join(&room(), Since::Last(1)).await.unwrap();
    let at = joined.start;
    assert_eq!(at.offset().get(), 2);
    let fingerprint = at.fingerprint.abridged();
    for (fingerprint, lost) in [(fingerprint, false), (!fingerprint, true)] {
        let since = Since::Abridged { offset: at.offset(), fingerprint };
        let joined = reader.join(&room(), since).await.unwrap();
        assert_eq!((joined.lost, joined.start == at), (lost, !lost));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_finishes_what_was_begun_and_refuses_every_change_after_it() {
    let store = MemoryStore::new();
    let delay_max = Duration::from_millis(50);
    let faults = Faults::new(1, FaultRates { delayed: 1.0, delay_max, ..FaultRates::NONE });
    let chat = Chat::builder(faults.wrap(Backends::from_store(store.clone()))).start().await.unwrap();
    post(&chat, 1..=5).await;
    let head = chat.bounds(&room()).await.unwrap().head.position;
    let at = |offset| Position { offset: Offset::new(offset).unwrap(), ..head };
    let room = room();
    {
        let (trim, redact) = (chat.trim(&room, at(2)), chat.redact(&room, at(4)));
        let begun = futures_util::future::join3(trim, redact, chat.post(&room, draft("ada", "k6", "6")));
        // Begun, and then nobody waits for it any more.
        assert!(futures_util::poll!(&mut Box::pin(begun)).is_pending());
    }
    chat.shutdown().await;
    let after = store.bounds(std::slice::from_ref(&room)).await.unwrap()[0];
    assert_eq!((after.trimmed.offset().get(), after.redactions, after.head.offset().get()), (2, 1, 6));

    let refused = [
        chat.trim(&room, at(3)).await,
        chat.redact(&room, at(5)).await,
        chat.post(&room, draft("ada", "k7", "7")).await.map(drop).map_err(|error| match error {
            ChatError::Store(error) => error,
            other => panic!("{other:?}"),
        }),
    ];
    for outcome in refused {
        assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    }
    assert_eq!(store.bounds(&[room]).await.unwrap(), [after]);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_was_stored_but_not_announced_before_a_crash_is_seen_once_and_a_retry_finds_it() {
    let store = MemoryStore::new();
    let faults = Faults::new(1, FaultRates { unconfirmed: 1.0, ..FaultRates::NONE });
    let crashing = Chat::builder(faults.wrap(Backends::from_store(store.clone()))).start().await.unwrap();
    let living = Chat::builder(Backends::from_store(store.clone())).start().await.unwrap();
    let reader = living.reader(user("bob"));
    reader.join(&room(), Since::Start).await.unwrap();
    let head = async || living.bounds(&room()).await.unwrap().head.offset().get();
    while head().await == 0 {
        // An answer that does not come: it may be stored, and nobody has announced it.
        assert!(crashing.post(&room(), draft("ada", "k1", "1")).await.is_err());
    }
    drop(crashing);
    assert_eq!(read(&reader, 1).await, [1]);
    let again = living.post(&room(), draft("ada", "k1", "1")).await.unwrap();
    assert_eq!((again.duplicate, again.bookmark.offset().get()), (true, 1));
    living.post(&room(), draft("ada", "k2", "2")).await.unwrap();
    assert_eq!(read(&reader, 1).await, [2]);
}
