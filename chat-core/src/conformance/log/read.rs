//! Rules of [`MessageLog::read`]: runs, limits, lost history.

use crate::conformance::sample::*;
use crate::log::MessageLog;
use crate::position::{Bookmark, Epoch};

/// From every position, in pages of every size: the first entry is one further, and each one after it.
pub async fn a_page_is_the_run_after_the_position(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 7).await;
    let epoch = entries[0].position.epoch;
    for after in 0..=7_usize {
        for size in [1, 2, 3, 7, 8, u32::MAX] {
            let (read, head) = page(&store, &room, at(epoch, after as u64), limit(size, usize::MAX)).await;
            let count = read.len();
            assert_eq!(read, entries[after..after + count], "after {after}, at most {size}");
            assert!(count <= size as usize, "at most {size} entries, not {count}");
            assert_eq!(read.is_empty(), after == 7, "empty only at the head: after {after}");
            assert_eq!(head, entries[6].bookmark(), "the head, whatever part was read");
        }
    }
}

/// A page holds at most so many bytes as asked for, and at least one entry if there is one.
pub async fn a_page_is_limited_in_bytes(store: impl MessageLog + Clone) {
    let room = room("a");
    for (number, length) in [10, 5_000, 1, 1, 300, 20_000, 3].into_iter().enumerate() {
        let text = "x".repeat(length);
        append_fresh(&store, &room, draft_of("ada", &number.to_string(), &text)).await;
    }
    let entries = kept(&store, &room).await;
    let epoch = entries[0].position.epoch;
    for after in 0..entries.len() {
        for count in 1..=entries.len() - after {
            let exact = entries[after..after + count].iter().map(|entry| entry.bytes()).sum::<usize>();
            for bytes in [exact - 1, exact, exact + 1] {
                let (read, _) = page(&store, &room, at(epoch, after as u64), limit(u32::MAX, bytes)).await;
                let held = read.iter().map(|entry| entry.bytes()).sum::<usize>();
                assert!(!read.is_empty(), "at least one entry after {after}");
                assert!(held <= bytes || read.len() == 1, "{held} bytes where {bytes} were allowed");
                assert_eq!(read, entries[after..after + read.len()]);
            }
        }
    }
    for bytes in [0, 1] {
        let (read, _) = page(&store, &room, at(epoch, 1), limit(9, bytes)).await;
        assert_eq!(read, entries[1..2], "one entry, although it is larger than {bytes} bytes");
    }
}

/// Pages read one after the other, each from where the last one ended, are the whole room.
pub async fn pages_join_without_hole_or_repeat(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 25).await;
    let mut read = Vec::new();
    let mut after = at(Epoch::UNWRITTEN, 0);
    while read.len() < 25 {
        let (next, _) = page(&store, &room, after, limit(4, 2_000)).await;
        after = next.last().expect("not empty below the head").position;
        read.extend(next);
    }
    assert_eq!(read, entries);
}

/// A position of another epoch is lost.
pub async fn a_position_of_another_epoch_is_lost(store: impl MessageLog + Clone) {
    let room = room("a");
    let epoch = fill(&store, &room, 3).await[0].position.epoch;
    for offset in 1..=4 {
        expect_lost(&store, &room, at(other_than(epoch), offset)).await;
        expect_lost(&store, &room, at(Epoch::UNWRITTEN, offset)).await;
    }
}

/// A position beyond the head is lost; the head itself is not.
pub async fn a_position_beyond_the_head_is_lost(store: impl MessageLog + Clone) {
    let room = room("a");
    let epoch = fill(&store, &room, 3).await[0].position.epoch;
    expect_lost(&store, &room, at(epoch, 4)).await;
    expect_lost(&store, &room, at(epoch, (1 << 53) - 1)).await;
    assert_eq!(page(&store, &room, at(epoch, 3), UNLIMITED).await.0, []);
}

/// A position before the last trimmed entry is lost; the last trimmed entry itself is not.
pub async fn a_position_before_the_trimmed_one_is_lost(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 5).await;
    let epoch = entries[0].position.epoch;
    store.trim(&room, at(epoch, 3)).await.expect("trim");
    for offset in 0..=2 {
        expect_lost(&store, &room, at(epoch, offset)).await;
    }
    expect_lost(&store, &room, at(Epoch::UNWRITTEN, 0)).await;
    assert_eq!(page(&store, &room, at(epoch, 3), UNLIMITED).await.0, entries[3..]);
}

/// "Before the first" is a valid position in any epoch, as long as the first entry is kept.
pub async fn offset_0_is_valid_in_every_epoch(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 2).await;
    let epoch = entries[0].position.epoch;
    for any in [epoch, other_than(epoch), Epoch::UNWRITTEN] {
        assert_eq!(page(&store, &room, at(any, 0), UNLIMITED).await.0, entries);
    }
}

/// An unwritten room is read as an empty page whose head is the start; any other position in it is lost.
pub async fn an_unwritten_room_is_an_empty_page(store: impl MessageLog + Clone) {
    let room = room("a");
    let some = Epoch::from_random(u64::MAX / 3);
    for epoch in [Epoch::UNWRITTEN, some] {
        let read = page(&store, &room, at(epoch, 0), UNLIMITED).await;
        assert_eq!(read, (Vec::new(), Bookmark::start(Epoch::UNWRITTEN)));
        expect_lost(&store, &room, at(epoch, 1)).await;
    }
}
