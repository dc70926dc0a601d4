//! Rules of [`MessageLog::bounds`] and [`MessageLog::identity`].

use crate::conformance::sample::*;
use crate::log::MessageLog;
use crate::position::{Bounds, Epoch, Offset};

/// Answers come in the order asked for, one for each room of the question, unwritten and repeated ones included.
pub async fn bounds_come_in_the_order_asked_for(store: impl MessageLog + Clone) {
    assert_eq!(store.bounds(&[]).await.expect("bounds"), []);
    let names = ["b", "a", "none", "c", "b", "none", "a"];
    let mut heads = std::collections::BTreeMap::new();
    for (count, name) in [(1, "a"), (2, "b"), (3, "c")] {
        heads.insert(name, fill(&store, &room(name), count).await.pop().map(|entry| entry.bookmark()));
    }
    let answers = store.bounds(&names.map(room)).await.expect("bounds");
    let answered = answers.iter().map(|bounds| bounds.head).collect::<Vec<_>>();
    let expected = names.map(|name| heads.get(name).copied().flatten().unwrap_or(Bounds::UNWRITTEN.head));
    assert_eq!(answered, expected);
}

/// Thousands of rooms can be asked for at once.
pub async fn bounds_of_thousands_of_rooms_are_answered_at_once(store: impl MessageLog + Clone) {
    let rooms = (0..5_000).map(|number| room(&format!("room {number}"))).collect::<Vec<_>>();
    let mut expected = vec![Bounds::UNWRITTEN; rooms.len()];
    for index in (0..rooms.len()).step_by(211) {
        let entry = append_fresh(&store, &rooms[index], draft("k")).await;
        expected[index].head = entry.bookmark();
        expected[index].trimmed.position.epoch = entry.position.epoch;
    }
    assert!(store.bounds(&rooms).await.expect("bounds") == expected, "5,000 rooms, in order");
}

/// Asking about a room, in whatever way, stores nothing: it stays unwritten and begins like any other.
pub async fn asking_about_a_room_stores_nothing(store: impl MessageLog + Clone) {
    let room = room("a");
    let some = Epoch::from_random(u64::MAX / 3);
    for position in [at(Epoch::UNWRITTEN, 0), at(some, 0), at(some, 5)] {
        assert_eq!(bounds(&store, &room).await, Bounds::UNWRITTEN);
        store.read(&room, position, UNLIMITED).await.expect("read");
        store.trim(&room, position).await.expect("trim");
        store.redact(&room, position).await.expect("redact");
        let renewed = store.renew_epoch(&room, position.epoch).await.expect("renew_epoch");
        assert_eq!(renewed, Bounds::UNWRITTEN, "an unwritten room stays unwritten");
    }
    assert_eq!(bounds(&store, &room).await, Bounds::UNWRITTEN);
    let first = append_fresh(&store, &room, draft("k")).await;
    assert_eq!(first.position.offset.get(), 1);
    assert_ne!(first.position.epoch, some, "the epoch is the store's, not one that was asked about");
    assert_ne!(first.position.epoch, Epoch::UNWRITTEN);
}

/// Nothing is trimmed from a room at first: the bounds begin before its first entry, in the room's epoch.
pub async fn the_bounds_of_a_new_room_begin_at_0(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 2).await;
    let bounds = bounds(&store, &room).await;
    assert_eq!(bounds.head, entries[1].bookmark());
    assert_eq!(bounds.trimmed.offset(), Offset::ZERO);
    assert_eq!(bounds.trimmed, crate::Bookmark::start(entries[0].position.epoch));
}

/// The store's identity is the same in every answer and through every handle, and says something.
pub async fn the_identity_stays(store: impl MessageLog + Clone) {
    let identity = store.identity().await.expect("identity");
    append_fresh(&store, &room("a"), draft("k")).await;
    assert!(identity == store.identity().await.expect("identity"), "asked again");
    assert!(identity == store.clone().identity().await.expect("identity"), "asked through another handle");
    assert!(identity.0 != [0; 16], "the identity is random, not empty");
}

/// Another store has another identity.
pub async fn another_store_has_another_identity<S: MessageLog>(one: S, two: S) {
    let (one, two) = (one.identity().await.expect("identity"), two.identity().await.expect("identity"));
    assert!(one != two, "two stores share an identity");
}
