//! Files that are busy, full, read-only, damaged, somebody else's, newer, or gone: a clear error, nothing confirmed that is not stored, and on it goes afterwards.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use chat_core::{Delivery, MessageLog, PageLimit, Progress, Replay, RoomId, StoreError, SubscriberId};
use chat_store_sqlite::{ConnectError, SqliteOptions, SqliteStore};
use sqlx::{Connection, raw_sql};
use support::{at, bounds, draft, eventually, files, fresh, in_a_row, intruder, kept, room};

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(|each| format!("{each}; ")).collect()
}

#[tokio::test]
async fn a_database_that_another_program_writes_to_refuses_appends_and_goes_on_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteOptions::new(&path).busy_timeout(Duration::from_millis(20)).connect().await.unwrap();
    let lobby = room("lobby");
    fresh(store.append(&lobby, draft("1", "hello")).await.unwrap());
    let mut other = intruder(&path).await;
    raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    for target in [&lobby, &room("a new room")] {
        let refused = store.append(target, draft("2", "hello")).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
        assert!(chain(&refused).contains("another program"), "{}", chain(&refused));
    }
    assert_eq!(kept(&store, &lobby).await.len(), 1, "reads go on");
    raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(fresh(store.append(&lobby, draft("2", "hello")).await.unwrap()).position.offset.get(), 2);
    assert_eq!(
        fresh(store.append(&room("a new room"), draft("2", "hello")).await.unwrap()).position.offset.get(),
        1
    );
}

#[tokio::test]
async fn after_a_failure_the_store_looks_again_how_far_a_room_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let lobby = room("lobby");
    fresh(store.append(&lobby, draft("1", "hello")).await.unwrap());
    // Stands for a commit of its own that was reported as failed and had happened.
    let unseen = "INSERT INTO entries (room, offset, at, kind, author, key, fingerprint, name, text) \
                  SELECT room, 2, at, kind, author, '2', 7, name, text FROM entries";
    raw_sql(unseen).execute(&mut intruder(&path).await).await.unwrap();
    let refused = store.append(&lobby, draft("3", "hello")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert_eq!(fresh(store.append(&lobby, draft("3", "hello")).await.unwrap()).position.offset.get(), 3);
}

#[tokio::test]
async fn an_append_waits_for_another_program_that_is_done_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let lobby = room("lobby");
    let mut other = intruder(&path).await;
    raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let waiting = tokio::spawn({
        let (store, lobby) = (store.clone(), lobby.clone());
        async move { store.append(&lobby, draft("1", "hello")).await }
    });
    raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(fresh(waiting.await.unwrap().unwrap()).position.offset.get(), 1);
}

#[tokio::test]
async fn a_full_file_keeps_what_was_confirmed_and_goes_on_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(folder.path().join("chat.db")).file_bytes_max(400 << 10);
    let store = options.keep_keys_for(Duration::ZERO).connect().await.unwrap();
    let (lobby, text) = (room("lobby"), "x".repeat(3000));
    let mut confirmed = Vec::new();
    let refused = loop {
        match store.append(&lobby, draft(&confirmed.len().to_string(), &text)).await {
            Ok(appended) => confirmed.push(fresh(appended)),
            Err(error) => break error,
        }
        assert!(confirmed.len() < 1000, "it never gets full");
    };
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
    assert!(chain(&refused).contains("free some space"), "{}", chain(&refused));
    assert_eq!(kept(&store, &lobby).await, confirmed);
    let count = confirmed.len() as u64;
    store.trim(&lobby, at(&confirmed[0], count - 1)).await.unwrap();
    eventually("there is room again", async || store.append(&lobby, draft("again", &text)).await.is_ok())
        .await;
    let entries = kept(&store, &lobby).await;
    assert_eq!(
        entries.iter().map(|entry| entry.position.offset.get()).collect::<Vec<_>>(),
        [count, count + 1]
    );
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "not a database, but somebody's notes\n".repeat(300);
    fs::write(&path, &text).unwrap();
    let refused = SqliteStore::connect(&path).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Damaged { .. }), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    drop(fs::File::create(&path).unwrap());
    let mut other = intruder(&path).await;
    raw_sql("CREATE TABLE messages (id INTEGER PRIMARY KEY, content TEXT)")
        .execute(&mut other)
        .await
        .unwrap();
    other.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    let refused = SqliteStore::connect(&path).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Foreign { .. }), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_newer_version_is_refused_with_both_versions_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    SqliteStore::connect(&path).await.unwrap().close().await;
    let mut newer = intruder(&path).await;
    raw_sql("PRAGMA user_version = 7").execute(&mut newer).await.unwrap();
    newer.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    let refused = SqliteStore::connect(&path).await.unwrap_err();
    assert!(matches!(refused, ConnectError::SchemaTooNew { found: 7, known: 2, .. }), "{refused:?}");
    assert!(
        refused.to_string().contains("version 7") && refused.to_string().contains("up to 2"),
        "{refused}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_is_told_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::connect(&path).await.unwrap();
    let lobby = room("lobby");
    let mut first = None;
    for n in 0..200 {
        first.get_or_insert(fresh(
            store.append(&lobby, draft(&n.to_string(), &"x".repeat(500))).await.unwrap(),
        ));
    }
    let start = at(&first.unwrap(), 0);
    store.close().await;
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in 10..pages {
        file.seek(SeekFrom::Start(page * 4096)).unwrap();
        file.write_all(&[0x5a; 4096]).unwrap();
    }
    drop(file);
    let store = SqliteStore::connect(&path).await.unwrap();
    let limit = PageLimit { entries: 1000.try_into().unwrap(), bytes: usize::MAX };
    let failed = store.read(&lobby, start, limit).await.unwrap_err();
    assert!(matches!(failed, StoreError::Corrupt { .. }), "{failed:?}");
    assert!(chain(&failed).contains("restore a backup"), "{}", chain(&failed));
    let failed = store.append(&lobby, draft("new", "hello")).await;
    assert!(failed.is_err(), "{failed:?}");
}

/// Has something of one room be as this crate never writes it. The other one is sound.
async fn damage(path: &Path, how: &'static str) -> [RoomId; 2] {
    let store = SqliteStore::connect(path).await.unwrap();
    let rooms = ["damaged", "sound"].map(room);
    for room in &rooms {
        let entry = fresh(store.append(room, draft("1", "hello")).await.unwrap());
        store.advance(Progress::Read, &phone(), room, entry.position).await.unwrap();
    }
    store.close().await;
    raw_sql(how).execute(&mut intruder(path).await).await.unwrap();
    rooms
}

fn phone() -> SubscriberId {
    SubscriberId::new("phone").unwrap()
}

#[tokio::test]
async fn what_is_damaged_takes_nothing_else_of_its_commit_with_it() {
    // A room, a key that is used again, and how far a reader has come; and which of the calls below fail for it.
    for (how, fails) in [
        ("UPDATE rooms SET epoch = -1 WHERE name = 'damaged'", [true, false, true, false, false]),
        ("UPDATE entries SET kind = 99 WHERE room = 1", [false, false, true, false, false]),
        ("UPDATE progress SET epoch = -1 WHERE room = 'damaged'", [false, false, false, true, false]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let [damaged, sound] = damage(&path, how).await;
        let store = SqliteStore::connect(&path).await.unwrap();
        let (head, phone) = (bounds(&store, &sound).await.head.position, phone());
        let (appended, advanced) = tokio::join!(
            in_a_row(
                [(&damaged, "2"), (&sound, "2"), (&damaged, "1")]
                    .map(|(room, key)| store.append(room, draft(key, "hello")))
            ),
            in_a_row([&damaged, &sound].map(|room| store.advance(Progress::Read, &phone, room, head))),
        );
        let appended = appended.into_iter().map(|outcome| outcome.map(drop));
        let outcomes: Vec<_> =
            appended.chain(advanced.into_iter().map(|outcome| outcome.map(drop))).collect();
        for (which, (outcome, fails)) in outcomes.iter().zip(fails).enumerate() {
            let told = matches!(outcome, Err(StoreError::Corrupt { .. }));
            assert_eq!((outcome.is_err(), told), (fails, fails), "{how}: {which} of {outcomes:?}");
        }
    }
}

#[tokio::test]
async fn a_folder_that_does_not_exist_and_a_folder_as_file_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let refused = SqliteStore::connect(folder.path().join("nowhere/chat.db")).await.unwrap_err();
    assert!(matches!(refused, ConnectError::NoFolder { .. }), "{refused:?}");
    let refused = SqliteStore::connect(folder.path()).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Folder { .. }), "{refused:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_may_not_be_written_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    SqliteStore::connect(&path).await.unwrap().close().await;
    let mode = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(&path, mode(0o444)).unwrap();
    if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        // This user may write everything: somebody else has to try.
        run_as_nobody("what_may_not_be_written_is_told");
        return;
    }
    let refused = SqliteStore::connect(&path).await.unwrap_err();
    assert!(matches!(refused, ConnectError::NotWritable { .. }), "{refused:?}");
    fs::set_permissions(&path, mode(0o644)).unwrap();
    fs::remove_file(&files(&path)[3]).unwrap();
    fs::set_permissions(folder.path(), mode(0o555)).unwrap();
    let refused = SqliteStore::connect(&path).await.unwrap_err();
    fs::set_permissions(folder.path(), mode(0o755)).unwrap();
    assert!(matches!(refused, ConnectError::NotWritable { .. }), "{refused:?}");
    SqliteStore::connect(&path).await.unwrap();
}

/// Runs a test of this file as a user who may not write everything: in a process of its own, from a folder that is theirs.
#[cfg(unix)]
fn run_as_nobody(test: &str) {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    const AGAIN: &str = "CHAT_TEST_AS_NOBODY";
    assert!(std::env::var_os(AGAIN).is_none(), "nobody, too, may write everything");
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // The folder of this program may be closed to others.
    let program = folder.path().join("trouble");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let outcome = std::process::Command::new(&program)
        .args(["--exact", test])
        .env(AGAIN, "1")
        .env("TMPDIR", folder.path())
        .current_dir(folder.path())
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&outcome.stdout);
    let passed = outcome.status.success() && told.contains("1 passed");
    assert!(passed, "{told}{}", String::from_utf8_lossy(&outcome.stderr));
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_confirmed_while_another_file_is_in_the_place_of_the_open_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("chat.db"), folder.path().join("aside.db"));
    let store = SqliteStore::connect(&path).await.unwrap();
    let lobby = room("lobby");
    fresh(store.append(&lobby, draft("1", "hello")).await.unwrap());
    for put in [|_: &std::path::Path| (), |path: &std::path::Path| fs::write(path, "another").unwrap()] {
        fs::rename(&path, &aside).unwrap();
        put(&path);
        let refused = store.append(&lobby, draft("2", "hello")).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
        assert!(chain(&refused).contains("put it back or restart"), "{}", chain(&refused));
        fs::rename(&aside, &path).unwrap();
    }
    assert_eq!(fresh(store.append(&lobby, draft("2", "hello")).await.unwrap()).position.offset.get(), 2);
    fs::remove_file(&files(&path)[1]).unwrap();
    let refused = store.append(&lobby, draft("3", "hello")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "the log is gone: {refused:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn another_file_in_the_place_of_the_open_one_is_never_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("chat.db"), folder.path().join("backup.db"));
    let lobby = room("lobby");
    let store = SqliteStore::connect(&path).await.unwrap();
    fresh(store.append(&lobby, draft("1", "hello")).await.unwrap());
    store.close().await;
    fs::copy(&path, &backup).unwrap();
    let store = SqliteStore::connect(&path).await.unwrap();
    fresh(store.append(&lobby, draft("2", "hello")).await.unwrap());
    fs::rename(&backup, &path).unwrap();
    // The first read opens a connection.
    let refused = store.bounds(std::slice::from_ref(&lobby)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_second_store_on_the_same_file_is_refused_until_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(folder.path().join("chat.db")).lock_timeout(Duration::ZERO);
    let store = options.clone().connect().await.unwrap();
    let refused = options.clone().connect().await.unwrap_err();
    assert!(matches!(refused, ConnectError::InUse { .. }), "{refused:?}");
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    store.close().await;
    let again = options.connect().await.unwrap();
    let page = again.read(&room("lobby"), chat_core::Bounds::UNWRITTEN.head.position, one()).await.unwrap();
    assert!(matches!(page, Replay::Page { .. }), "{page:?}");
}

fn one() -> PageLimit {
    PageLimit { entries: 1.try_into().unwrap(), bytes: usize::MAX }
}
