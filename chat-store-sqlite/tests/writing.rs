//! How writes are put together: groups, order, batches with repeats in them.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use chat_core::{Appended, Body, Delivery, MessageLog, Progress, StoreError, SubscriberId};
use chat_store_sqlite::{SqliteOptions, SqliteStore};
use sqlx::raw_sql;
use support::{append_all, at, commits_in_log, draft, duplicate, fresh, in_a_row, intruder, kept, room};

// These tests run on one thread: everything that is asked for at once waits together when the writer looks.

#[tokio::test]
async fn appends_that_wait_together_share_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let lobby = room("lobby");
    fresh(store.append(&lobby, draft("first", "the room exists")).await.unwrap());
    let (in_log, before) = (commits_in_log(&path), store.figures());
    let drafts = (0..200).map(|n| store.append(&lobby, draft(&n.to_string(), "hello")));
    in_a_row(drafts).await.into_iter().for_each(|appended| drop(fresh(appended.unwrap())));
    assert_eq!(commits_in_log(&path) - in_log, 1);
    assert_eq!(store.figures().commits - before.commits, 1);
    assert_eq!(store.figures().entries - before.entries, 200);
}

#[tokio::test]
async fn positions_of_readers_share_commits_with_appends_and_cost_none_when_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let (lobby, head) =
        (room("lobby"), fresh(store.append(&room("lobby"), draft("1", "hello")).await.unwrap()).position);
    let in_log = commits_in_log(&path);
    let who: Vec<_> = (0..100).map(|n| SubscriberId::new(&format!("phone {n}")).unwrap()).collect();
    let advances =
        async || in_a_row(who.iter().map(|who| store.advance(Progress::Received, who, &lobby, head))).await;
    let (advanced, appended) = tokio::join!(advances(), store.append(&lobby, draft("2", "hello")));
    assert!(advanced.into_iter().all(|reached| reached.unwrap() == head));
    fresh(appended.unwrap());
    assert_eq!(commits_in_log(&path) - in_log, 1);
    advances().await;
    assert_eq!(commits_in_log(&path) - in_log, 1);
}

#[tokio::test]
async fn what_one_caller_asks_for_in_a_row_is_stored_in_that_order() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(folder.path().join("chat.db")).batch_rows_max(7).queue_jobs_max(10);
    let store = options.connect().await.unwrap();
    let lobby = room("lobby");
    let entries = append_all(&store, &lobby, (1..=100).map(|n| draft(&n.to_string(), "hello"))).await;
    let offsets: Vec<u64> = entries.iter().map(|entry| entry.position.offset.get()).collect();
    assert_eq!(offsets, (1..=100).collect::<Vec<u64>>());
}

#[tokio::test]
async fn redactions_between_appends_have_their_turn_between_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::connect(folder.path().join("chat.db")).await.unwrap();
    let lobby = room("lobby");
    let first = fresh(store.append(&lobby, draft("1", "hello")).await.unwrap());
    let (second, redacted, third, too_early, fourth) = tokio::join!(
        store.append(&lobby, draft("2", "hello")),
        store.redact(&lobby, at(&first, 2)),
        store.append(&lobby, draft("3", "hello")),
        store.redact(&lobby, at(&first, 4)),
        store.append(&lobby, draft("4", "hello")),
    );
    redacted.and(too_early).unwrap();
    let [mut second, third, fourth] = [second, third, fourth].map(|each| fresh(each.unwrap()));
    second.body = None;
    assert_eq!(kept(&store, &lobby).await, [first, second, third, fourth]);
}

#[tokio::test]
async fn repeats_inside_one_batch_and_of_earlier_ones_are_answered_and_leave_no_hole() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::connect(folder.path().join("chat.db")).await.unwrap();
    let (lobby, attic) = (room("lobby"), room("attic"));
    let old = fresh(store.append(&lobby, draft("old", "stored before")).await.unwrap());
    let (again, other, new, same, different, elsewhere, next) = tokio::join!(
        store.append(&lobby, draft("old", "stored before")),
        store.append(&lobby, draft("old", "something else")),
        store.append(&lobby, draft("new", "hello")),
        store.append(&lobby, draft("new", "hello")),
        store.append(&lobby, draft("new", "goodbye")),
        store.append(&attic, draft("new", "another room")),
        store.append(&lobby, draft("next", "hello")),
    );
    assert_eq!(duplicate(again.unwrap()), old.bookmark());
    assert_eq!(other.unwrap(), Appended::Conflict { bookmark: old.bookmark() });
    let new = fresh(new.unwrap());
    assert_eq!(new.position.offset.get(), 2);
    assert_eq!(duplicate(same.unwrap()), new.bookmark());
    assert_eq!(different.unwrap(), Appended::Conflict { bookmark: new.bookmark() });
    assert_eq!(fresh(elsewhere.unwrap()).position.offset.get(), 1);
    assert_eq!(fresh(next.unwrap()).position.offset.get(), 3);
    assert_eq!(kept(&store, &lobby).await.len(), 3);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_takes_no_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        SqliteOptions::new(folder.path().join("chat.db")).body_bytes_max(1000).connect().await.unwrap();
    let lobby = room("lobby");
    let mut large = draft("large", "");
    large.body = Body { text: "".into(), attachments: [Bytes::from(vec![7; 1001])].into() };
    let (before, refused, after) = tokio::join!(
        store.append(&lobby, draft("before", "hello")),
        store.append(&lobby, large),
        store.append(&lobby, draft("after", &"x".repeat(1000))),
    );
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert_eq!([before, after].map(|each| fresh(each.unwrap()).position.offset.get()), [1, 2]);
}

#[tokio::test]
async fn a_row_that_the_database_refuses_takes_no_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let lobby = room("lobby");
    // Nothing that gets this far is refused; so a trigger stands for it.
    let trap = "CREATE TRIGGER trap BEFORE INSERT ON entries WHEN NEW.text = 'poison' \
                BEGIN SELECT raise(ABORT, 'poisoned'); END";
    raw_sql(trap).execute(&mut intruder(&path).await).await.unwrap();
    let (before, refused, after) = tokio::join!(
        store.append(&lobby, draft("1", "hello")),
        store.append(&lobby, draft("2", "poison")),
        store.append(&lobby, draft("3", "hello")),
    );
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert_eq!([before, after].map(|each| fresh(each.unwrap()).position.offset.get()), [1, 2]);
}

#[tokio::test]
async fn many_rooms_in_one_batch_each_count_from_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::connect(folder.path().join("chat.db")).await.unwrap();
    let rooms: Vec<_> = (0..60).map(|n| room(&format!("room {n}"))).collect();
    for offset in 1..=3 {
        let key = offset.to_string();
        let appended = in_a_row(rooms.iter().map(|room| store.append(room, draft(&key, "hello")))).await;
        assert!(appended.into_iter().all(|each| fresh(each.unwrap()).position.offset.get() == offset));
    }
    assert_eq!(store.figures().commits, 3);
}

#[tokio::test]
async fn closing_finishes_what_was_asked_for_and_refuses_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let options = SqliteOptions::new(&path).lock_timeout(Duration::ZERO);
    let store = options.clone().connect().await.unwrap();
    let lobby = room("lobby");
    let drafts = (0..100).map(|n| store.append(&lobby, draft(&n.to_string(), "hello")));
    let (appended, (), ()) = tokio::join!(in_a_row(drafts), store.close(), store.close());
    appended.into_iter().for_each(|each| drop(fresh(each.unwrap())));
    let late = store.append(&lobby, draft("late", "hello")).await;
    assert!(matches!(late, Err(StoreError::Unavailable { .. })), "{late:?}");
    let late = store.bounds(std::slice::from_ref(&lobby)).await;
    assert!(matches!(late, Err(StoreError::Unavailable { .. })), "{late:?}");
    assert!(!support::files(&path)[1].exists(), "everything is in the database itself");
    let store = options.connect().await.unwrap();
    assert_eq!(kept(&store, &lobby).await.len(), 100);
}
