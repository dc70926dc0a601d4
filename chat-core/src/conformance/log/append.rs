//! Rules of [`MessageLog::append`]: once, conflict, dense, visible.

use std::collections::{BTreeMap, BTreeSet};

use crate::conformance::sample::*;
use crate::entry::{Body, Kind};
use crate::id::DisplayName;
use crate::log::{Appended, MessageLog};
use crate::position::{Bookmark, Epoch};

/// The fingerprints of a room are a chain from its first entry on, whoever posts, also across repeats and conflicts.
pub async fn each_fingerprint_continues_the_one_before(store: impl MessageLog + Clone) {
    let room = room("a");
    for number in 0..5 {
        append_fresh(&store, &room, draft_of("ada", &format!("k{number}"), "one")).await;
        append_fresh(&store, &room, draft_of("bob", &format!("k{number}"), "two")).await;
        append(&store, &room, draft_of("ada", "k0", "a conflict")).await;
    }
    let mut before = Bookmark::start(bounds(&store, &room).await.epoch());
    for entry in kept(&store, &room).await {
        assert!(entry.follows(&before), "{entry:?} after {before}");
        before = entry.bookmark();
    }
    assert_eq!(before, bounds(&store, &room).await.head);
}

/// A repeat with a known author and key answers where and when the first one was stored, and stores nothing.
pub async fn a_repeat_answers_the_first_position_and_stores_nothing(store: impl MessageLog + Clone) {
    let room = room("a");
    let first = append_fresh(&store, &room, draft("k")).await;
    append_fresh(&store, &room, draft("another")).await;
    for handle in [store.clone(), store.clone()] {
        let again = append(&handle, &room, draft("k")).await;
        assert_eq!(again, Appended::Duplicate { bookmark: first.bookmark(), at: first.at });
    }
    assert_eq!(offsets(&kept(&store, &room).await), [1, 2]);
}

/// The same draft from many tasks at the same time is stored once, and all are told the same position.
pub async fn the_same_key_from_many_tasks_at_once_is_stored_once(store: impl MessageLog + Clone) {
    let room = room("a");
    for round in 1..=8 {
        let answers = at_once((0..16).map(|_| {
            let (store, room) = (store.clone(), room.clone());
            async move { append(&store, &room, draft(&format!("k{round}"))).await }
        }))
        .await;
        let fresh = answers.iter().filter(|answer| matches!(answer, Appended::Fresh { .. })).count();
        assert_eq!(fresh, 1, "fresh answers in {answers:?}");
        for answer in answers {
            let bookmark = match answer {
                Appended::Fresh { entry, .. } => entry.bookmark(),
                Appended::Duplicate { bookmark, .. } => bookmark,
                Appended::Conflict { .. } => panic!("a conflict between equal drafts"),
            };
            assert_eq!(bookmark, bounds(&store, &room).await.head);
            assert_eq!(bookmark.offset().get(), round);
        }
    }
}

/// Of different drafts with one key at the same time, one is stored and the others are conflicts with it.
pub async fn different_drafts_with_one_key_at_once_leave_one_winner(store: impl MessageLog + Clone) {
    let room = room("a");
    let answers = at_once((0..16).map(|number| {
        let (store, room) = (store.clone(), room.clone());
        async move { append(&store, &room, draft_of("ada", "k", &format!("text {number}"))).await }
    }))
    .await;
    let entries = kept(&store, &room).await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    let head = entries[0].bookmark();
    let conflicts = answers.iter().filter(|answer| **answer == Appended::Conflict { bookmark: head }).count();
    assert_eq!(conflicts, 15, "{answers:?}");
}

/// A known key with another text is a conflict that names the first position, and nothing is stored.
pub async fn another_text_is_a_conflict(store: impl MessageLog + Clone) {
    let texts = ["text ", " text", "Text", "text\0", "", "texu"];
    conflicts(&store, Body::text("text"), texts.map(Body::text).into()).await;
}

/// A known key with other attachments is a conflict, also where only the borders between them differ.
pub async fn other_attachments_are_a_conflict(store: impl MessageLog + Clone) {
    let others = vec![
        body("ab", &[]),
        body("ab", &[b"c"]),
        body("ab", &[b"de", b"c"]),
        body("ab", &[b"cd", b"e"]),
        body("ab", &[b"cde"]),
        body("ab", &[b"c", b"de", b""]),
        body("ab", &[b"", b"c", b"de"]),
        body("abc", &[b"", b"de"]),
        body("a", &[b"bc", b"de"]),
        body("ab", &[b"c", b"d\0"]),
        body("ab", &[b"c", b"D\xff"]),
    ];
    conflicts(&store, body("ab", &[b"c", b"de"]), others).await;
}

async fn conflicts(store: &impl MessageLog, first: Body, others: Vec<Body>) {
    let room = room("a");
    let draft = |body| crate::Draft { body, ..draft("k") };
    let stored = append_fresh(store, &room, draft(first.clone())).await;
    for other in others {
        let answer = append(store, &room, draft(other.clone())).await;
        assert_eq!(answer, Appended::Conflict { bookmark: stored.bookmark() }, "{other:?} after {first:?}");
    }
    let again = append(store, &room, draft(first)).await;
    assert_eq!(again, Appended::Duplicate { bookmark: stored.bookmark(), at: stored.at });
    assert_eq!(kept(store, &room).await, [stored]);
}

/// A known key with another kind of entry is a conflict.
pub async fn another_kind_is_a_conflict(store: impl MessageLog + Clone) {
    let room = room("a");
    let stored = append_fresh(&store, &room, draft("k")).await;
    let answer = append(&store, &room, crate::Draft { kind: Kind::Fact, ..draft("k") }).await;
    assert_eq!(answer, Appended::Conflict { bookmark: stored.bookmark() });
    assert_eq!(kept(&store, &room).await, [stored]);
}

/// The author's display name decides nothing: a repeat under another name is a repeat, and the first name stays.
pub async fn another_display_name_is_no_conflict(store: impl MessageLog + Clone) {
    let room = room("a");
    let stored = append_fresh(&store, &room, draft("k")).await;
    let mut renamed = draft("k");
    renamed.author.name = DisplayName::new("Countess").expect("a valid name");
    let answer = append(&store, &room, renamed).await;
    assert_eq!(answer, Appended::Duplicate { bookmark: stored.bookmark(), at: stored.at });
    assert_eq!(kept(&store, &room).await, [stored]);
}

/// Keys belong to an author and a room: nobody can use up another's, however the parts are spelt.
pub async fn keys_are_apart_per_author_and_room(store: impl MessageLog + Clone) {
    let posts = [
        ("a", "b", "k"),
        ("a", "c", "k"),
        ("b", "b", "k"),
        ("a", "bc", "d"),
        ("a", "b", "cd"),
        ("ab", "c", "d"),
        ("a:b", "c", "d"),
        ("a", "b:c", "d"),
        ("a", "b", "c:d"),
        ("a|b", "c", "d"),
        ("a", "b|c", "d"),
        ("a", "b", "c|d"),
        ("a", "b", "c\0d"),
        ("a", "b c", "d"),
        ("a", "b", "c d"),
        ("a", "b", "c\u{1f}d"),
    ];
    let mut stored = Vec::new();
    for (room_name, author, key) in posts {
        stored.push(append_fresh(&store, &room(room_name), draft_of(author, key, "text")).await);
    }
    for ((room_name, author, key), entry) in posts.into_iter().zip(stored) {
        let again = append(&store, &room(room_name), draft_of(author, key, "text")).await;
        assert_eq!(again, Appended::Duplicate { bookmark: entry.bookmark(), at: entry.at });
    }
}

/// The offsets of a room are 1, 2, 3, … in the order of the calls, and each room counts for itself.
pub async fn offsets_are_dense(store: impl MessageLog + Clone) {
    let (a, b) = (room("a"), room("b"));
    for number in 1..=10 {
        assert_eq!(append_fresh(&store, &a, draft(&format!("{number}"))).await.position.offset.get(), number);
        if number % 2 == 0 {
            let entry = append_fresh(&store, &b, draft(&format!("{number}"))).await;
            assert_eq!(entry.position.offset.get(), number / 2);
        }
    }
    assert_eq!(offsets(&kept(&store, &a).await), Vec::from_iter(1..=10));
    assert_eq!(offsets(&kept(&store, &b).await), Vec::from_iter(1..=5));
}

/// Appends of many tasks at the same time get 1, 2, 3, …, each its own, in an epoch that was minted once.
pub async fn concurrent_appends_are_dense(store: impl MessageLog + Clone) {
    let rooms = ["a", "b"];
    let appended = at_once((0..32).map(|number| {
        let store = store.clone();
        async move {
            let mut entries = Vec::new();
            for step in 0..4 {
                let room = room(rooms[number % 2]);
                entries.push(append_fresh(&store, &room, draft(&format!("{number}-{step}"))).await);
            }
            entries
        }
    }))
    .await;
    for (index, name) in rooms.into_iter().enumerate() {
        let mut expected = BTreeMap::new();
        for entries in appended.iter().skip(index).step_by(2) {
            let numbers = offsets(entries);
            assert!(numbers.is_sorted(), "the appends of one task are in its order: {numbers:?}");
            expected.extend(entries.iter().map(|entry| (entry.position.offset, entry.clone())));
        }
        let entries = kept(&store, &room(name)).await;
        assert_eq!(offsets(&entries), Vec::from_iter(1..=64));
        assert_eq!(entries, Vec::from_iter(expected.into_values()), "what was answered is what is kept");
    }
}

/// A call that is dropped at any point leaves no hole and no half entry, and its repeat is stored once.
pub async fn a_dropped_append_leaves_no_hole(store: impl MessageLog + Clone) {
    let room = room("a");
    let attempts = at_once((0..64_u32).map(|number| {
        let (store, room) = (store.clone(), room.clone());
        async move {
            let draft = draft(&number.to_string());
            let kept = number % 4 == 0;
            let polls = if kept { u32::MAX } else { number % 7 + 1 };
            dropped_after(polls, store.append(&room, draft)).await.map(|answer| answer.expect("append"))
        }
    }))
    .await;
    for (number, attempt) in attempts.into_iter().enumerate() {
        let repeat = append(&store, &room, draft(&number.to_string())).await;
        if let Some(Appended::Fresh { entry, .. }) = attempt {
            assert_eq!(repeat, Appended::Duplicate { bookmark: entry.bookmark(), at: entry.at });
        }
    }
    let entries = kept(&store, &room).await;
    assert_eq!(offsets(&entries), Vec::from_iter(1..=64));
    let keys = entries.iter().map(|entry| entry.key.clone()).collect::<BTreeSet<_>>();
    assert_eq!(keys.len(), 64);
}

/// Repeats and conflicts use up no offset.
pub async fn repeats_and_conflicts_leave_no_hole(store: impl MessageLog + Clone) {
    let room = room("a");
    for number in 1..=4 {
        let key = number.to_string();
        let entry = append_fresh(&store, &room, draft(&key)).await;
        assert_eq!(entry.position.offset.get(), number);
        append(&store, &room, draft(&key)).await;
        append(&store, &room, draft_of("ada", &key, "something else")).await;
    }
    assert_eq!(offsets(&kept(&store, &room).await), [1, 2, 3, 4]);
}

/// What append answered is in every read and in the bounds that begin afterwards, through any handle.
pub async fn an_append_is_visible_to_every_later_read(store: impl MessageLog + Clone) {
    let (room, other) = (room("a"), store.clone());
    for number in 1..=20 {
        let entry = append_fresh(&store, &room, draft(&number.to_string())).await;
        assert_eq!(bounds(&other, &room).await.head, entry.bookmark());
        let (entries, head) = page(&other, &room, at(entry.position.epoch, number - 1), UNLIMITED).await;
        assert_eq!(head, entry.bookmark());
        assert_eq!(entries, [entry]);
    }
}

/// The first append mints the epoch, another one in each room, and later appends keep it.
pub async fn the_first_append_mints_the_epoch(store: impl MessageLog + Clone) {
    let (a, b) = (room("a"), room("b"));
    let entries = fill(&store, &a, 3).await;
    let epoch = entries[0].position.epoch;
    assert_ne!(epoch, Epoch::UNWRITTEN);
    assert!(entries.iter().all(|entry| entry.position.epoch == epoch), "{entries:?}");
    assert_eq!(bounds(&store, &a).await.epoch(), epoch);
    assert_ne!(append_fresh(&store, &b, draft("k")).await.position.epoch, epoch, "epochs are random");
}
