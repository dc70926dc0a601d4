//! Rules of [`MessageLog::trim`] and [`MessageLog::redact`]: what is gone, and what must stay.

use std::num::NonZeroU32;

use crate::conformance::sample::*;
use crate::entry::{Entry, Kind};
use crate::log::{Appended, MessageLog, PageLimit, Replay};
use crate::position::{Bounds, Epoch, Position};

/// Entries up to and including the given one are forgotten; the others stay where they are, and the room goes on after its head.
pub async fn trim_forgets_up_to_and_including_the_position(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 5).await;
    trim(&store, &room, entries[1].position).await;
    assert_eq!(kept(&store, &room).await, entries[2..]);
    let expected = Bounds { trimmed: entries[1].bookmark(), head: entries[4].bookmark(), redactions: 0 };
    assert_eq!(bounds(&store, &room).await, expected, "with the fingerprint of the last trimmed entry");
    let next = append_fresh(&store, &room, draft("next")).await;
    assert_eq!(next.position, at(entries[0].position.epoch, 6));
}

/// A room that was trimmed to its head keeps its epoch and its count.
pub async fn a_room_trimmed_to_its_head_goes_on_counting(store: impl MessageLog + Clone) {
    let room = room("a");
    let last = fill(&store, &room, 3).await.pop().expect("three entries");
    trim(&store, &room, last.position).await;
    let empty = Bounds { trimmed: last.bookmark(), head: last.bookmark(), redactions: 0 };
    assert_eq!(bounds(&store, &room).await, empty);
    assert_eq!(page(&store, &room, last.position, UNLIMITED).await, (Vec::new(), last.bookmark()));
    let next = append_fresh(&store, &room, draft("next")).await;
    assert_eq!(next.position, at(last.position.epoch, 4));
    assert_eq!(kept(&store, &room).await, [next]);
}

/// Trimming again, or less than before, changes nothing.
pub async fn trim_is_idempotent(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 5).await;
    trim(&store, &room, entries[2].position).await;
    let before = bounds(&store, &room).await;
    for upto in [0, 1, 2, 3] {
        trim(&store, &room, at(entries[0].position.epoch, upto)).await;
        assert_eq!(bounds(&store, &room).await, before, "after trimming to {upto} once more");
    }
    assert_eq!(kept(&store, &room).await, entries[3..]);
}

/// Trimming beyond the head or in another epoch changes nothing.
pub async fn trim_beyond_the_head_or_in_another_epoch_does_nothing(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 3).await;
    let epoch = entries[0].position.epoch;
    let before = bounds(&store, &room).await;
    for upto in [at(epoch, 4), at(epoch, (1 << 53) - 1), at(other_than(epoch), 2), at(Epoch::UNWRITTEN, 2)] {
        trim(&store, &room, upto).await;
        assert_eq!(bounds(&store, &room).await, before, "after trimming to {upto:?}");
    }
    assert_eq!(kept(&store, &room).await, entries);
}

/// Only the given room is trimmed.
pub async fn trim_leaves_other_rooms_alone(store: impl MessageLog + Clone) {
    let rooms = ["a", "a%", "_", "A", "b"].map(room);
    for room in &rooms {
        fill(&store, room, 2).await;
    }
    let head = bounds(&store, &rooms[1]).await.head.position;
    trim(&store, &rooms[1], head).await;
    for room in [&rooms[0], &rooms[2], &rooms[3], &rooms[4]] {
        assert_eq!(kept(&store, room).await.len(), 2, "{room:?}");
    }
}

/// Keys outlive what was trimmed: a repeat is a duplicate of the first position, whatever its content, and stores nothing.
pub async fn keys_outlive_trimmed_entries(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 4).await;
    for upto in [1, 3, 4] {
        trim(&store, &room, at(entries[0].position.epoch, upto)).await;
        for entry in &entries {
            let again = append(&store, &room, draft(entry.key.as_str())).await;
            assert_eq!(
                again,
                Appended::Duplicate { bookmark: entry.bookmark(), at: entry.at },
                "trimmed to {upto}"
            );
        }
    }
    is_duplicate_of(&store, &entries[0], crate::Draft { body: body("other", &[]), ..draft("1") }).await;
    assert_eq!(bounds(&store, &room).await.head, entries[3].bookmark());
}

/// A redacted entry keeps everything but its body.
pub async fn redact_removes_the_body_and_nothing_else(store: impl MessageLog + Clone) {
    let room = room("a");
    let mut entries = fill(&store, &room, 3).await;
    let fact = crate::Draft { kind: Kind::Fact, body: body("text", &[b"part"]), ..draft("fact") };
    entries.push(append_fresh(&store, &room, fact).await);
    for index in [1, 3] {
        redact(&store, &room, entries[index].position).await;
        entries[index].body = None;
        assert_eq!(kept(&store, &room).await, entries);
    }
    assert_eq!(bounds(&store, &room).await.head, entries[3].bookmark());
}

/// Each body that is redacted counts once, so that copies elsewhere are known to be old: also in a new epoch and after trimming.
pub async fn redactions_are_counted(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 3).await;
    let epoch = entries[0].position.epoch;
    assert_eq!(bounds(&store, &room).await.redactions, 0);
    for (which, count) in [(1, 1), (1, 1), (0, 2), (9, 2)] {
        redact(&store, &room, at(epoch, which + 1)).await;
        assert_eq!(bounds(&store, &room).await.redactions, count, "after redacting entry {}", which + 1);
    }
    trim(&store, &room, at(epoch, 3)).await;
    assert_eq!(bounds(&store, &room).await.redactions, 2);
    let limit = PageLimit { entries: NonZeroU32::MIN, bytes: 0 };
    match store.read(&room, at(epoch, 1), limit).await.expect("read") {
        Replay::Lost { bounds } => assert_eq!(bounds.redactions, 2, "in the bounds of what is lost"),
        page => panic!("expected Lost, got {page:?}"),
    }
    assert_eq!(store.renew_epoch(&room, epoch).await.expect("renew").redactions, 2);
    assert_eq!(bounds(&store, &room).await.redactions, 2);
}

/// A repeat of a redacted entry is a duplicate, also with other content: nothing is left to compare with.
pub async fn a_repeat_of_a_redacted_entry_is_a_duplicate(store: impl MessageLog + Clone) {
    let room = room("a");
    let entry = append_fresh(&store, &room, draft("k")).await;
    redact(&store, &room, entry.position).await;
    is_duplicate_of(&store, &entry, draft("k")).await;
    is_duplicate_of(&store, &entry, crate::Draft { body: body("other", &[b"x"]), ..draft("k") }).await;
    assert_eq!(kept(&store, &room).await, [Entry { body: None, ..entry }], "the body is not back");
}

/// A position that names no kept entry redacts nothing; redacting twice is redacting once.
pub async fn redact_is_idempotent_and_ignores_what_names_no_entry(store: impl MessageLog + Clone) {
    let room = room("a");
    let mut entries = fill(&store, &room, 4).await;
    let epoch = entries[0].position.epoch;
    trim(&store, &room, at(epoch, 1)).await;
    let nothing =
        [at(epoch, 0), at(epoch, 1), at(epoch, 5), at(other_than(epoch), 2), at(Epoch::UNWRITTEN, 2)];
    for position in nothing {
        redact(&store, &room, position).await;
        assert_eq!(kept(&store, &room).await, entries[1..], "after redacting {position:?}");
    }
    for _ in 0..2 {
        redact(&store, &room, entries[2].position).await;
        entries[2].body = None;
        assert_eq!(kept(&store, &room).await, entries[1..]);
    }
}

/// An entry that was redacted and then trimmed leaves the same fingerprint behind.
pub async fn a_redacted_entry_keeps_its_fingerprint_when_trimmed(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 2).await;
    redact(&store, &room, entries[0].position).await;
    trim(&store, &room, entries[0].position).await;
    assert_eq!(bounds(&store, &room).await.trimmed, entries[0].bookmark());
}

async fn trim(store: &impl MessageLog, room: &crate::RoomId, upto: Position) {
    store.trim(room, upto).await.expect("trim");
}

async fn redact(store: &impl MessageLog, room: &crate::RoomId, at: Position) {
    store.redact(room, at).await.expect("redact");
}

async fn is_duplicate_of(store: &impl MessageLog, entry: &Entry, draft: crate::Draft) {
    let again = append(store, &room("a"), draft).await;
    assert_eq!(again, Appended::Duplicate { bookmark: entry.bookmark(), at: entry.at });
}
