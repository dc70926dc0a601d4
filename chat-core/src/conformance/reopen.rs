//! The rules for a store that outlives its process: what it confirmed is there when it is opened again, one function for each.
//!
//! Each takes a function that opens the store and one that closes it.

use super::delivery::progress;
use super::sample::*;
use crate::delivery::{Delivery, Progress};
use crate::entry::{Body, Draft};
use crate::log::{Appended, MessageLog};
use crate::position::Bounds;

/// Entries and epochs are as they were, and the room goes on after its head.
pub async fn what_was_appended_is_there_after_reopening<S: MessageLog>(
    open: impl AsyncFn() -> S,
    close: impl AsyncFn(S),
) {
    let names = odd_names();
    let store = open().await;
    let mut stored = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let contents = body(name, &[b"", b"\0\xff"]);
        let draft = Draft { body: contents, ..draft_of(name, name, "") };
        stored.push(append_fresh(&store, &room(name), draft).await);
        if number == 0 {
            let large = Draft { body: Body::text("😀\0".repeat(200_000)), ..draft_of(name, "large", "") };
            append_fresh(&store, &room("large"), large).await;
        }
    }
    let large = kept(&store, &room("large")).await;
    close(store).await;

    let store = open().await;
    for (name, entry) in names.iter().zip(stored) {
        assert_eq!(kept(&store, &room(name)).await, std::slice::from_ref(&entry));
        let next = append_fresh(&store, &room(name), draft("next")).await;
        assert_eq!(next.position, at(entry.position.epoch, 2));
    }
    assert!(kept(&store, &room("large")).await == large, "a large entry");
    close(store).await;
}

/// A repeat of what was stored before is a duplicate or a conflict, as it was.
pub async fn keys_are_remembered_after_reopening<S: MessageLog>(
    open: impl AsyncFn() -> S,
    close: impl AsyncFn(S),
) {
    let room = room("a");
    let store = open().await;
    let entries = fill(&store, &room, 4).await;
    store.trim(&room, entries[0].position).await.expect("trim");
    close(store).await;

    let store = open().await;
    for entry in &entries {
        let again = append(&store, &room, draft(entry.key.as_str())).await;
        assert_eq!(again, Appended::Duplicate { bookmark: entry.bookmark(), at: entry.at });
    }
    let other = append(&store, &room, draft_of("ada", "3", "another text")).await;
    assert_eq!(other, Appended::Conflict { bookmark: entries[2].bookmark() });
    close(store).await;
}

/// What was trimmed and redacted stays so.
pub async fn what_was_trimmed_and_redacted_stays_gone_after_reopening<S: MessageLog>(
    open: impl AsyncFn() -> S,
    close: impl AsyncFn(S),
) {
    let room = room("a");
    let store = open().await;
    let mut entries = fill(&store, &room, 4).await;
    store.redact(&room, entries[2].position).await.expect("redact");
    store.trim(&room, entries[1].position).await.expect("trim");
    close(store).await;

    let store = open().await;
    entries[2].body = None;
    assert_eq!(kept(&store, &room).await, entries[2..]);
    let expected = Bounds { trimmed: entries[1].bookmark(), head: entries[3].bookmark(), redactions: 1 };
    assert_eq!(bounds(&store, &room).await, expected);
    close(store).await;
}

/// The end of a room outlives its entries: where everything was trimmed, at once or bit by bit, it goes on after the last one.
pub async fn a_room_trimmed_to_its_head_goes_on_counting_after_reopening<S: MessageLog>(
    open: impl AsyncFn() -> S,
    close: impl AsyncFn(S),
) {
    let store = open().await;
    let mut trimmed = Vec::new();
    for (name, steps) in [("at once", &[3][..]), ("bit by bit", &[1, 2, 3])] {
        let room = room(name);
        let last = fill(&store, &room, 3).await.pop().expect("three entries");
        for &upto in steps {
            store.trim(&room, at(last.position.epoch, upto)).await.expect("trim");
        }
        trimmed.push((room, last));
    }
    close(store).await;

    let store = open().await;
    for (room, last) in &trimmed {
        let now = bounds(&store, room).await;
        assert_eq!((now.trimmed, now.head), (last.bookmark(), last.bookmark()), "{room:?}");
        let next = append_fresh(&store, room, draft("next")).await;
        assert_eq!(next.position, at(last.position.epoch, 4), "an offset is given out once");
        assert!(next.follows(&last.bookmark()), "the chain of fingerprints goes on");
        assert_eq!(page(&store, room, last.position, UNLIMITED).await, (vec![next.clone()], next.bookmark()));
    }
    close(store).await;
}

/// A renewed epoch stays.
pub async fn a_new_epoch_stays_after_reopening<S: MessageLog>(
    open: impl AsyncFn() -> S,
    close: impl AsyncFn(S),
) {
    let room = room("a");
    let store = open().await;
    let old = fill(&store, &room, 2).await[0].position.epoch;
    let renewed = store.renew_epoch(&room, old).await.expect("renew_epoch");
    close(store).await;

    let store = open().await;
    assert_eq!(bounds(&store, &room).await, renewed);
    close(store).await;
}

/// It is the same store: its identity stays.
pub async fn the_identity_stays_after_reopening<S: MessageLog>(
    open: impl AsyncFn() -> S,
    close: impl AsyncFn(S),
) {
    let store = open().await;
    let identity = store.identity().await.expect("identity");
    close(store).await;

    let store = open().await;
    assert!(store.identity().await.expect("identity") == identity, "another identity after reopening");
    close(store).await;
}

/// How far readers have come is remembered, and still never moves back.
pub async fn progress_is_remembered_after_reopening<S: MessageLog + Delivery>(
    open: impl AsyncFn() -> S,
    close: impl AsyncFn(S),
) {
    let room = room("a");
    let store = open().await;
    let entries = fill(&store, &room, 3).await;
    for (what, index) in [(Progress::Received, 2), (Progress::Read, 1)] {
        store.advance(what, &subscriber("s"), &room, entries[index].position).await.expect("advance");
    }
    close(store).await;

    let store = open().await;
    let answer = store.advance(Progress::Received, &subscriber("s"), &room, entries[0].position).await;
    assert_eq!(answer.expect("advance"), entries[2].position);
    assert_eq!(progress(&store, Progress::Received, "s", &room).await, Some(entries[2].position));
    assert_eq!(progress(&store, Progress::Read, "s", &room).await, Some(entries[1].position));
    close(store).await;
}
