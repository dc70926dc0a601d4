//! How content leaves the file: redaction, trimming, retention, and how long keys stay.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use chat_core::{Body, Draft, MessageLog, PageLimit, Replay, RoomId};
use chat_store_sqlite::{SqliteOptions, SqliteStore};
use sqlx::{AssertSqlSafe, query_scalar, raw_sql};
use support::{
    append_all, at, bounds, draft, duplicate, eventually, fresh, in_a_row, intruder, is_somewhere, kept, room,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn rows(path: &Path) -> i64 {
    query_scalar("SELECT count(*) FROM entries").fetch_one(&mut intruder(path).await).await.unwrap()
}

#[tokio::test]
async fn a_redaction_leaves_no_byte_of_the_content_in_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    // Bodies of many sizes in rooms that take turns: what makes SQLite split pages and move rows about.
    let rooms: Vec<_> = (0..20).map(|n| room(&format!("room {n}"))).collect();
    let secret = |n: usize| format!("[secret {n:04}]");
    let mut entries = Vec::new();
    for round in 0..10 {
        let drafts = rooms.iter().enumerate().map(|(index, room)| {
            let n = round * rooms.len() + index;
            let mut draft = draft(&n.to_string(), &format!("{}{}", secret(n), "x".repeat(n * 37 % 6000)));
            let attachment = Bytes::from(format!("{}{}", "y".repeat(n * 91 % 9000), secret(n)));
            draft.body = Body { attachments: [attachment].into(), ..draft.body };
            store.append(room, draft)
        });
        entries.extend(in_a_row(drafts).await.into_iter().map(|appended| fresh(appended.unwrap())));
    }
    assert!((0..entries.len()).all(|n| is_somewhere(&path, &secret(n))));
    let every_third = || (0..entries.len()).filter(|n| n % 3 == 0);
    for n in every_third() {
        store.redact(&rooms[n % rooms.len()], entries[n].position).await.unwrap();
        assert!(!is_somewhere(&path, &secret(n)), "{n} is still there");
    }
    let others = (0..entries.len()).filter(|n| n % 3 != 0);
    others.for_each(|n| assert!(is_somewhere(&path, &secret(n)), "{n} was lost"));
}

#[tokio::test]
async fn a_redaction_that_a_reader_holds_up_is_completed_when_it_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let lobby = room("lobby");
    let entry = fresh(store.append(&lobby, draft("1", "[the secret]")).await.unwrap());
    let mut backup = intruder(&path).await;
    raw_sql("BEGIN; SELECT count(*) FROM entries").execute(&mut backup).await.unwrap();
    store.redact(&lobby, entry.position).await.unwrap();
    assert!(kept(&store, &lobby).await[0].body.is_none());
    assert!(is_somewhere(&path, "[the secret]"), "the reader's state is kept for it");
    assert_eq!(fresh(store.append(&lobby, draft("2", "hello")).await.unwrap()).position.offset.get(), 2);
    raw_sql("COMMIT").execute(&mut backup).await.unwrap();
    eventually("the content is gone", async || !is_somewhere(&path, "[the secret]")).await;
}

#[tokio::test]
async fn a_redaction_is_counted_and_trimming_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let lobby = room("lobby");
    let entries = append_all(&store, &lobby, numbered(1..=4)).await;
    for index in [0, 2, 2] {
        store.redact(&lobby, entries[index].position).await.unwrap();
    }
    assert_eq!(bounds(&store, &lobby).await.redactions, 2);
    store.trim(&lobby, entries[1].position).await.unwrap();
    eventually("all is erased", async || !is_pending(&path).await).await;
    store.redact(&lobby, entries[1].position).await.unwrap();
    let now = bounds(&store, &lobby).await;
    assert_eq!(now.redactions, 2);
    let limit = PageLimit { entries: 10.try_into().unwrap(), bytes: usize::MAX };
    let lost = store.read(&lobby, entries[0].position, limit).await.unwrap();
    assert_eq!(lost, Replay::Lost { bounds: now });
}

#[tokio::test]
async fn a_redaction_that_cannot_be_counted_does_not_happen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let lobby = room("lobby");
    let entry = fresh(store.append(&lobby, draft("1", "hello")).await.unwrap());
    let trap =
        "CREATE TRIGGER trap BEFORE UPDATE OF redactions ON rooms BEGIN SELECT raise(ABORT, 'refused'); END";
    raw_sql(trap).execute(&mut intruder(&path).await).await.unwrap();
    let refused = store.redact(&lobby, entry.position).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(kept(&store, &lobby).await, std::slice::from_ref(&entry));
    raw_sql("DROP TRIGGER trap").execute(&mut intruder(&path).await).await.unwrap();
    store.redact(&lobby, entry.position).await.unwrap();
    assert!(kept(&store, &lobby).await[0].body.is_none());
    assert_eq!(bounds(&store, &lobby).await.redactions, 1);
}

#[tokio::test]
async fn trimmed_content_leaves_the_files_and_its_keys_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let lobby = room("lobby");
    let drafts = (1..=1500).map(|n| store.append(&lobby, draft(&n.to_string(), &format!("[secret {n:04}]"))));
    let entries: Vec<_> =
        in_a_row(drafts).await.into_iter().map(|appended| fresh(appended.unwrap())).collect();
    store.trim(&lobby, entries[1400].position).await.unwrap();
    assert_eq!(kept(&store, &lobby).await, entries[1401..]);
    eventually("the content is gone", async || {
        (1..=1401).step_by(50).all(|n| !is_somewhere(&path, &format!("[secret {n:04}]")))
    })
    .await;
    assert_eq!(rows(&path).await, 1500, "each still has its key");
    assert_eq!(
        duplicate(store.append(&lobby, draft("1", "other text")).await.unwrap()),
        entries[0].bookmark()
    );
}

#[tokio::test]
async fn what_was_trimmed_counts_as_gone_also_before_it_is_erased() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::connect(folder.path().join("chat.db")).await.unwrap();
    let lobby = room("lobby");
    let entries = append_all(&store, &lobby, numbered(1..=1500)).await;
    // Asked for in a row: the second comes when one step of erasing is done at most.
    let trim = store.trim(&lobby, entries[1499].position);
    let (trimmed, again) = tokio::join!(trim, store.append(&lobby, draft("1500", "other text")));
    trimmed.unwrap();
    assert_eq!(duplicate(again.unwrap()), entries[1499].bookmark());
}

#[tokio::test]
async fn keys_of_trimmed_entries_are_forgotten_after_their_time_and_those_of_kept_ones_never() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let lobby = room("lobby");
    let first = append_all(&store, &lobby, numbered(1..=1200)).await.remove(0);
    store.trim(&lobby, at(&first, 1100)).await.unwrap();
    eventually("all is erased", async || !is_pending(&path).await).await;
    store.close().await;
    // Eight days later. One of the redacted entries is kept, too: its row looks much like a forgotten one.
    age(&path, 8 * DAY, 1..=1200).await;
    let store = SqliteStore::connect(&path).await.unwrap();
    store.redact(&lobby, at(&first, 1150)).await.unwrap();
    eventually("the keys are forgotten", async || rows(&path).await == 100).await;
    duplicate(store.append(&lobby, draft("1150", "hello")).await.unwrap());
    duplicate(store.append(&lobby, draft("1200", "hello")).await.unwrap());
    let again = fresh(store.append(&lobby, draft("1", "hello")).await.unwrap());
    assert_eq!(again.position.offset.get(), 1201);
}

#[tokio::test]
async fn a_room_trimmed_to_its_head_goes_on_counting_also_when_its_keys_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let options = SqliteOptions::new(&path).keep_keys_for(Duration::ZERO);
    let store = options.clone().connect().await.unwrap();
    let lobby = room("lobby");
    fresh(store.append(&lobby, draft("1", "hello")).await.unwrap());
    let head = fresh(store.append(&lobby, draft("2", "hello")).await.unwrap());
    eventually("the clock has moved on", async || head.at < chat_core::Timestamp::now()).await;
    store.trim(&lobby, head.position).await.unwrap();
    eventually("nothing is left", async || rows(&path).await == 0).await;
    store.close().await;
    let store = options.connect().await.unwrap();
    let bounds = bounds(&store, &lobby).await;
    assert_eq!((bounds.trimmed, bounds.head), (head.bookmark(), head.bookmark()));
    assert_eq!(fresh(store.append(&lobby, draft("1", "hello")).await.unwrap()).position, at(&head, 3));
}

#[tokio::test]
async fn a_room_goes_on_counting_when_its_newest_key_is_forgotten_before_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    // In the first room the newest keys are forgotten while it is erased, in the second one later.
    let rooms = [room("erased"), room("purged")];
    let mut heads = Vec::new();
    for room in &rooms {
        heads.extend(append_all(&store, room, numbered(1..=10)).await.pop());
    }
    store.trim(&rooms[1], heads[1].position).await.unwrap();
    eventually("all is erased", async || !is_pending(&path).await).await;
    store.close().await;
    // The clock was set back by some days before the last two entries; now those are eight days old, and the ones before younger.
    age(&path, 8 * DAY, 9..=10).await;

    let store = SqliteStore::connect(&path).await.unwrap();
    store.trim(&rooms[0], heads[0].position).await.unwrap();
    eventually("the newest keys are forgotten", async || rows(&path).await == 2 * 8).await;
    store.close().await;

    let store = SqliteStore::connect(&path).await.unwrap();
    for (room, head) in rooms.iter().zip(&heads) {
        let now = bounds(&store, room).await;
        assert_eq!((now.trimmed, now.head), (head.bookmark(), head.bookmark()));
        let entry = fresh(store.append(room, draft("next", "hello")).await.unwrap());
        assert_eq!(entry.position, at(head, 11));
        assert!(entry.follows(&head.bookmark()), "the chain goes on, too");
        assert_eq!(kept(&store, room).await, std::slice::from_ref(&entry));
    }
}

#[tokio::test]
async fn rooms_are_trimmed_to_the_largest_number_of_entries() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(folder.path().join("chat.db")).room_entries_max(10);
    let store = options.retention_interval(Duration::from_millis(5)).connect().await.unwrap();
    let rooms: Vec<_> = (0..200).map(|n| room(&format!("room {n}"))).collect();
    let (large, small) = (&rooms[199], &rooms[0]);
    let firsts = in_a_row(rooms.iter().map(|room| store.append(room, draft("1", "hello")))).await;
    firsts.into_iter().for_each(|each| drop(fresh(each.unwrap())));
    let head = append_all(&store, large, numbered(2..=700)).await.pop().unwrap();
    eventually("the room is trimmed", async || kept(&store, large).await.len() == 10).await;
    let bounds = bounds(&store, large).await;
    assert_eq!((bounds.oldest().get(), bounds.head), (691, head.bookmark()));
    assert_eq!(kept(&store, small).await.len(), 1);
    duplicate(store.append(large, draft("5", "hello")).await.unwrap());
}

#[tokio::test]
async fn rooms_of_the_applications_own_are_not_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(folder.path().join("chat.db")).room_entries_max(3);
    let store = options.retention_interval(Duration::from_millis(5)).connect().await.unwrap();
    let (facts, lobby) = (RoomId::reserved("~facts").unwrap(), room("lobby"));
    append_all(&store, &facts, numbered(1..=10)).await;
    append_all(&store, &lobby, numbered(1..=10)).await;
    eventually("the lobby is trimmed", async || bounds(&store, &lobby).await.trimmed.offset().get() == 7)
        .await;
    assert_eq!(bounds(&store, &facts).await.trimmed.offset().get(), 0);
}

#[tokio::test]
async fn entries_that_are_too_old_are_trimmed_and_younger_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let (lobby, attic) = (room("lobby"), room("attic"));
    append_all(&store, &lobby, numbered(1..=1300)).await;
    fresh(store.append(&attic, draft("1", "hello")).await.unwrap());
    store.close().await;
    // More than one step's worth is older than ten days.
    age(&path, 10 * DAY, 1..=1100).await;
    let store = SqliteOptions::new(&path).retain_for(9 * DAY).connect().await.unwrap();
    eventually("the old ones are trimmed", async || kept(&store, &lobby).await.len() == 200).await;
    eventually("their keys, too, are old enough", async || rows(&path).await == 201 - 1).await;
    // The attic's only entry has offset 1, and was made older with the others.
    assert!(kept(&store, &attic).await.is_empty());
    assert_eq!(fresh(store.append(&attic, draft("2", "hello")).await.unwrap()).position.offset.get(), 2);
}

#[tokio::test]
async fn entries_from_the_future_go_with_the_old_ones_behind_them_and_keep_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let rooms = ["old, ahead, old", "ahead, old", "long ahead, old", "ahead only"].map(room);
    let heads = in_a_row(rooms.iter().map(|room| append_all(&store, room, numbered(1..=1300)))).await;
    store.close().await;
    // The last ten of each are from now. The clock was some years ahead before, for more than one step's worth of entries in the third room.
    age(&path, 100 * DAY, 1..=1290).await;
    for (index, ahead) in [2..=2, 1..=1, 1..=1100, 1..=1290].into_iter().enumerate() {
        let sql = format!(
            "UPDATE entries SET at = at + {} WHERE room = {} AND offset BETWEEN {} AND {}",
            (5000 * DAY).as_millis(),
            index + 1,
            ahead.start(),
            ahead.end()
        );
        raw_sql(AssertSqlSafe(sql)).execute(&mut intruder(&path).await).await.unwrap();
    }
    let options = SqliteOptions::new(&path).retain_for(9 * DAY).retention_interval(Duration::from_millis(5));
    let store = options.connect().await.unwrap();
    for (room, head) in rooms.iter().zip(&heads).take(3) {
        eventually("the old ones are trimmed", async || kept(&store, room).await.len() == 10).await;
        assert_eq!(bounds(&store, room).await.head, head.last().unwrap().bookmark());
    }
    assert_eq!(kept(&store, &rooms[3]).await.len(), 1300, "nothing says that these are old");
}

#[tokio::test]
async fn an_entry_that_looks_old_takes_no_younger_one_before_it_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let (lobby, last) = (room("lobby"), room("the last one"));
    append_all(&store, &lobby, numbered(1..=9)).await;
    append_all(&store, &last, numbered(1..=3)).await;
    store.close().await;
    // The machine had started with its clock at 1970, wrote one entry, and then learnt the time.
    let sql = "UPDATE entries SET at = 5000 WHERE room = 1 AND offset = 5";
    raw_sql(sql).execute(&mut intruder(&path).await).await.unwrap();
    age(&path, 10 * DAY, 1..=2).await;
    let options = SqliteOptions::new(&path).retain_for(9 * DAY).retention_interval(Duration::from_millis(5));
    let store = options.connect().await.unwrap();
    eventually("all rooms were looked at", async || kept(&store, &last).await.len() == 1).await;
    let left: Vec<u64> = kept(&store, &lobby).await.iter().map(|entry| entry.position.offset.get()).collect();
    assert_eq!(left, [3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn a_damaged_room_is_not_trimmed_and_keeps_no_other_from_being_trimmed() {
    for damage in [
        "UPDATE rooms SET epoch = -1 WHERE name = 'damaged'",
        "UPDATE rooms SET trimmed = -1 WHERE name = 'damaged'; UPDATE entries SET offset = 0 WHERE room = 1 AND offset = 1",
        "UPDATE rooms SET name = '' WHERE name = 'damaged'",
        "DELETE FROM entries WHERE room = 1 AND offset = 20",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let store = SqliteStore::connect(&path).await.unwrap();
        let [damaged, sound] = ["damaged", "sound"].map(room);
        append_all(&store, &damaged, numbered(1..=30)).await;
        append_all(&store, &sound, numbered(1..=30)).await;
        store.close().await;
        raw_sql(damage).execute(&mut intruder(&path).await).await.unwrap();
        let before = rows(&path).await;
        let store = SqliteOptions::new(&path).room_entries_max(10).connect().await.unwrap();
        eventually(damage, async || kept(&store, &sound).await.len() == 10).await;
        store.close().await;
        assert_eq!(rows(&path).await, before, "{damage}");
    }
}

#[tokio::test]
async fn a_room_that_cannot_be_erased_keeps_no_other_from_being_erased_and_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let [damaged, sound, large] = ["damaged", "sound", "large"].map(room);
    let damaged_head = fresh(store.append(&damaged, draft("1", "[in the damaged one]")).await.unwrap());
    let sound_head = fresh(store.append(&sound, draft("1", "[in the sound one]")).await.unwrap());
    append_all(&store, &large, numbered(1..=30)).await;
    store.close().await;
    // Stands for a damaged page.
    let trap = "CREATE TRIGGER trap BEFORE UPDATE OF name ON entries WHEN OLD.room = 1 \
                BEGIN SELECT raise(ABORT, 'damaged'); END";
    raw_sql(trap).execute(&mut intruder(&path).await).await.unwrap();
    let options = SqliteOptions::new(&path).room_entries_max(10).retention_interval(Duration::from_millis(5));
    let store = options.connect().await.unwrap();
    store.trim(&damaged, damaged_head.position).await.unwrap();
    store.trim(&sound, sound_head.position).await.unwrap();
    eventually("the sound one is erased", async || !is_somewhere(&path, "[in the sound one]")).await;
    eventually("the large one is trimmed", async || kept(&store, &large).await.len() == 10).await;
    assert!(is_somewhere(&path, "[in the damaged one]"));
    raw_sql("DROP TRIGGER trap").execute(&mut intruder(&path).await).await.unwrap();
    eventually("it is tried again", async || !is_somewhere(&path, "[in the damaged one]")).await;
}

fn numbered(keys: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = Draft> {
    keys.map(|n| draft(&n.to_string(), "hello"))
}

/// Makes entries with these offsets look older.
async fn age(path: &Path, by: Duration, offsets: std::ops::RangeInclusive<u64>) {
    let sql = format!(
        "UPDATE entries SET at = at - {} WHERE offset BETWEEN {} AND {}",
        by.as_millis(),
        offsets.start(),
        offsets.end()
    );
    raw_sql(AssertSqlSafe(sql)).execute(&mut intruder(path).await).await.unwrap();
}

/// Whether something trimmed is not erased yet.
async fn is_pending(path: &Path) -> bool {
    let sql = "SELECT EXISTS (SELECT 1 FROM rooms WHERE erased < trimmed)";
    query_scalar::<_, i64>(sql).fetch_one(&mut intruder(path).await).await.unwrap() == 1
}
