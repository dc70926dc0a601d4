//! Rules of [`MessageLog::renew_epoch`].

use crate::conformance::sample::*;
use crate::entry::Entry;
use crate::log::{Appended, MessageLog};
use crate::position::{Bounds, Epoch};

/// The entries, their offsets and fingerprints stay; from then on they are in the new epoch, and positions of the old one are lost.
pub async fn a_new_epoch_keeps_entries_and_offsets(store: impl MessageLog + Clone) {
    let room = room("a");
    let mut entries = fill(&store, &room, 4).await;
    let old = entries[0].position.epoch;
    store.trim(&room, at(old, 1)).await.expect("trim");
    let renewed = store.renew_epoch(&room, old).await.expect("renew_epoch");
    let new = renewed.epoch();
    assert!(new != old && new != Epoch::UNWRITTEN, "{old:?} became {new:?}");
    for entry in &mut entries {
        entry.position.epoch = new;
    }
    assert_eq!(
        renewed,
        Bounds { trimmed: entries[0].bookmark(), head: entries[3].bookmark(), redactions: 0 }
    );
    assert_eq!(bounds(&store, &room).await, renewed);
    assert_eq!(kept(&store, &room).await, entries[1..]);
    expect_lost(&store, &room, at(old, 2)).await;
}

/// After it, appends go on at the next offset of the new epoch, and repeats name the offset of the first in it.
pub async fn appends_go_on_in_the_new_epoch(store: impl MessageLog + Clone) {
    let room = room("a");
    let entries = fill(&store, &room, 3).await;
    let old = entries[0].position.epoch;
    store.trim(&room, at(old, 1)).await.expect("trim");
    let new = store.renew_epoch(&room, old).await.expect("renew_epoch").epoch();
    for entry in entries {
        let moved = Entry { position: at(new, entry.position.offset.get()), ..entry };
        let again = append(&store, &room, draft(moved.key.as_str())).await;
        assert_eq!(again, Appended::Duplicate { bookmark: moved.bookmark(), at: moved.at });
    }
    assert_eq!(append_fresh(&store, &room, draft("next")).await.position, at(new, 4));
}

/// Only the epoch that the room still has can be replaced: a later caller with the old one learns the new one.
pub async fn a_second_renewal_from_the_same_epoch_learns_the_new_one(store: impl MessageLog + Clone) {
    let room = room("a");
    let old = fill(&store, &room, 2).await[0].position.epoch;
    let first = store.renew_epoch(&room, old).await.expect("renew_epoch");
    for from in [old, Epoch::UNWRITTEN, other_than(first.epoch())] {
        assert_eq!(store.renew_epoch(&room, from).await.expect("renew_epoch"), first, "from {from:?}");
    }
    assert_eq!(bounds(&store, &room).await, first);
}

/// Of many renewals at the same time one takes effect, and all are told its epoch.
pub async fn renewals_at_once_agree_on_one_epoch(store: impl MessageLog + Clone) {
    let room = room("a");
    let mut epoch = fill(&store, &room, 2).await[0].position.epoch;
    for _ in 0..4 {
        let answers = at_once((0..8).map(|_| {
            let (store, room) = (store.clone(), room.clone());
            async move { store.renew_epoch(&room, epoch).await.expect("renew_epoch") }
        }))
        .await;
        let now = bounds(&store, &room).await;
        assert_ne!(now.epoch(), epoch);
        assert!(answers.iter().all(|answer| *answer == now), "{answers:?}");
        epoch = now.epoch();
    }
}

/// Other rooms keep their epoch.
pub async fn a_new_epoch_is_of_one_room_only(store: impl MessageLog + Clone) {
    let (a, b) = (room("a"), room("b"));
    let old = fill(&store, &a, 1).await[0].position.epoch;
    fill(&store, &b, 1).await;
    let before = bounds(&store, &b).await;
    store.renew_epoch(&a, old).await.expect("renew_epoch");
    assert_eq!(bounds(&store, &b).await, before);
}
