//! What the rules write, and how they look at a store: names, drafts, whole histories. No rule is here.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, poll_fn};

use crate::entry::{Author, Body, Draft, Entry, Kind};
use crate::id::{ConnectionId, DisplayName, MessageKey, NodeId, RoomId, SubscriberId, UserId};
use crate::log::{Appended, MessageLog, PageLimit, Replay};
use crate::position::{Bookmark, Bounds, Epoch, Offset, Position};
use crate::presence::Seat;

/// How long a rule waits for something that must happen.
pub(super) const SOON: Duration = Duration::from_secs(20);

const VALID: &str = "the kit uses valid names";

pub(super) fn room(name: &str) -> RoomId {
    RoomId::reserved(name).expect(VALID)
}

pub(super) fn user(id: &str) -> UserId {
    UserId::new(id).expect(VALID)
}

pub(super) fn connection(id: &str) -> ConnectionId {
    ConnectionId::new(id).expect(VALID)
}

pub(super) fn name(shown: &str) -> DisplayName {
    DisplayName::new(shown).expect(VALID)
}

pub(super) fn key(key: &str) -> MessageKey {
    MessageKey::new(key).expect(VALID)
}

pub(super) fn subscriber(id: &str) -> SubscriberId {
    SubscriberId::new(id).expect(VALID)
}

pub(super) fn author(id: &str) -> Author {
    Author { id: user(id), name: name("Name") }
}

pub(super) fn seat(room_name: &str, user_id: &str, connection: &str, node: u64) -> Seat {
    Seat {
        room: room(room_name),
        user: user(user_id),
        connection: self::connection(connection),
        node: NodeId(node),
    }
}

/// A message by `ada` whose text tells its key.
pub(super) fn draft(key: &str) -> Draft {
    draft_of("ada", key, &format!("text of {key}"))
}

pub(super) fn draft_of(author_id: &str, message_key: &str, text: &str) -> Draft {
    Draft { kind: Kind::Message, author: author(author_id), key: key(message_key), body: Body::text(text) }
}

pub(super) fn body(text: &str, attachments: &[&'static [u8]]) -> Body {
    Body { text: text.into(), attachments: attachments.iter().map(|part| Bytes::from_static(part)).collect() }
}

pub(super) fn offset(number: u64) -> Offset {
    Offset::new(number).expect("the kit uses small offsets")
}

pub(super) fn at(epoch: Epoch, number: u64) -> Position {
    Position { epoch, offset: offset(number) }
}

/// An epoch that differs from `epoch`.
pub(super) fn other_than(epoch: Epoch) -> Epoch {
    Epoch::from_number(epoch.number() ^ 0b11)
}

pub(super) fn limit(entries: u32, bytes: usize) -> PageLimit {
    PageLimit { entries: NonZeroU32::new(entries).expect("the kit asks for at least one entry"), bytes }
}

pub(super) const UNLIMITED: PageLimit = PageLimit { entries: NonZeroU32::MAX, bytes: usize::MAX };

/// Names that a store may mistake for something else: quotes, wildcards, escapes, other spellings of each other.
pub(super) fn odd_names() -> Vec<String> {
    let plain = [
        "'",
        "''",
        "\"",
        "`",
        "\\",
        "\\\\",
        "'; DROP TABLE entries; --",
        "%",
        "_",
        "a%",
        "a_",
        "ab",
        "*",
        "?",
        "a*",
        "a?",
        "[a-z]",
        "[^a]",
        "{}",
        "{a}",
        "{a}b",
        "{",
        "}",
        "{{}}",
        "$1",
        "?1",
        ":room",
        "@p",
        " ",
        "  ",
        "a",
        "A",
        " a",
        "a ",
        "á",
        "ss",
        "ß",
        "ẞ",
        "i",
        "İ",
        "ı",
        "0",
        "00",
        "1",
        "01",
        "1.0",
        "1e3",
        "-1",
        "true",
        "null",
        "NULL",
        "a/b",
        "../..",
        "a:b",
        "a|b",
        "a,b",
        "a b",
        "%00",
        "\\0",
        "&amp;",
        "<b>",
        "日本",
        "😀",
        "👩\u{200d}👩\u{200d}👧",
        "a\u{202e}b",
        "\u{feff}a",
        "\u{fffd}",
        "\u{10fffd}",
        "dm:a:b",
        "~bans",
    ];
    let longest = ["ü".repeat(128), "😀".repeat(128), format!("{}b", "ü".repeat(127)), "'".repeat(128)];
    plain.into_iter().map(String::from).chain(longest).collect()
}

/// As [`odd_names`], with what only keys and texts may hold.
pub(super) fn odd_texts() -> Vec<String> {
    let more =
        ["\0", "a\0", "a\0b", "\0a", "\n", "a\n", "\r\n", "\t", "\u{7f}", "\u{1b}[0m", "cafe\u{301}", "café"];
    odd_names().into_iter().chain(more.map(String::from)).collect()
}

/// Appends and expects that it is new.
pub(super) async fn append_fresh(store: &impl MessageLog, room: &RoomId, draft: Draft) -> Entry {
    match append(store, room, draft).await {
        Appended::Fresh { entry, .. } => entry,
        other => panic!("expected a fresh entry in {room:?}, got {other:?}"),
    }
}

pub(super) async fn append(store: &impl MessageLog, room: &RoomId, draft: Draft) -> Appended {
    store.append(room, draft).await.expect("append")
}

/// Appends `count` messages with the keys `1`, `2`, ….
pub(super) async fn fill(store: &impl MessageLog, room: &RoomId, count: u64) -> Vec<Entry> {
    let mut entries = Vec::new();
    for number in 1..=count {
        entries.push(append_fresh(store, room, draft(&number.to_string())).await);
    }
    entries
}

pub(super) async fn bounds(store: &impl MessageLog, room: &RoomId) -> Bounds {
    let answers = store.bounds(std::slice::from_ref(room)).await.expect("bounds");
    assert_eq!(answers.len(), 1, "one answer for one room");
    answers[0]
}

pub(super) async fn page(
    store: &impl MessageLog,
    room: &RoomId,
    after: Position,
    limit: PageLimit,
) -> (Vec<Entry>, Bookmark) {
    match store.read(room, after, limit).await.expect("read") {
        Replay::Page { entries, head } => (entries, head),
        Replay::Lost { bounds } => panic!("reading {room:?} after {after:?}: unexpectedly lost, {bounds:?}"),
    }
}

pub(super) async fn expect_lost(store: &impl MessageLog, room: &RoomId, after: Position) {
    let expected = bounds(store, room).await;
    match store.read(room, after, UNLIMITED).await.expect("read") {
        Replay::Lost { bounds } => assert_eq!(bounds, expected, "the bounds of a lost read"),
        page => panic!("reading {room:?} after {after:?}: expected Lost, got {page:?}"),
    }
}

/// Everything that is kept of a room, read in one go.
pub(super) async fn kept(store: &impl MessageLog, room: &RoomId) -> Vec<Entry> {
    let after = bounds(store, room).await.trimmed.position;
    page(store, room, after, UNLIMITED).await.0
}

/// The numbers of the offsets of `entries`.
pub(super) fn offsets(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.position.offset.get()).collect()
}

/// Runs the futures in tasks of their own that begin at the same time, and answers in their order.
pub(super) async fn at_once<F>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let futures = futures.into_iter().collect::<Vec<_>>();
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(futures.len()));
    let tasks = futures.into_iter().map(|future| {
        let start = start.clone();
        tokio::spawn(async move {
            start.wait().await;
            future.await
        })
    });
    let tasks = tasks.collect::<Vec<_>>();
    join_all(tasks).await.into_iter().map(|done| done.expect("a task of the rule")).collect()
}

/// Polls the future at most `polls` times and then drops it, wherever it is.
pub(super) async fn dropped_after<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}
