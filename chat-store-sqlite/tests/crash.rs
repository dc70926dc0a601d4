//! Processes that are killed at any moment: what they confirmed is there, once, and another one can go on at once.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chat_core::{Appended, MessageLog, RoomId};
use chat_store_sqlite::{ConnectError, SqliteOptions, SqliteStore};
use rand::RngExt;
use support::{draft, kept, room};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const ROUNDS: usize = 25;
const WRITERS: usize = 8;
/// Where the child finds the database.
const PATH: &str = "CHAT_TEST_CRASH_PATH";
/// The keys each writer of the child begins with, by commas.
const NEXT: &str = "CHAT_TEST_CRASH_NEXT";

fn room_of(writer: usize) -> RoomId {
    room(if writer.is_multiple_of(2) { "even" } else { "odd" })
}

fn key(writer: usize, n: u64) -> String {
    format!("{writer}-{n}")
}

/// This very program, as the process to be killed.
fn child(path: &Path, next: &[u64]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_to_be_killed", "--ignored", "--nocapture"])
        .env(PATH, path)
        .env(NEXT, next.iter().map(u64::to_string).collect::<Vec<_>>().join(","))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// Not a test: appends until it is killed, and prints each position that was confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by the tests of this file"]
async fn the_process_to_be_killed() {
    let Ok(path) = std::env::var(PATH) else { return };
    let next: Vec<u64> = std::env::var(NEXT).unwrap().split(',').map(|n| n.parse().unwrap()).collect();
    let store = SqliteOptions::new(path).batch_rows_max(5).connect().await.unwrap();
    println!("open");
    let writers = next.into_iter().enumerate().map(|(writer, next)| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in next.. {
                let draft = draft(&key(writer, n), &format!("text of {}", key(writer, n)));
                let offset = match store.append(&room_of(writer), draft).await.unwrap() {
                    Appended::Fresh { entry, .. } => entry.position.offset,
                    Appended::Duplicate { bookmark, .. } => bookmark.offset(),
                    Appended::Conflict { .. } => panic!("nobody else uses this key"),
                };
                // One write each, so that a line is there as a whole or not at all.
                std::io::stdout().write_all(format!("stored {writer} {n} {offset}\n").as_bytes()).unwrap();
            }
        })
    });
    futures_util::future::join_all(writers).await;
}

#[tokio::test]
async fn everything_confirmed_before_a_kill_is_there_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let mut confirmed: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    for round in 0..ROUNDS {
        let next: Vec<u64> = (0..WRITERS)
            .map(|writer| {
                confirmed.range((writer, 0)..=(writer, u64::MAX)).next_back().map_or(1, |(id, _)| id.1 + 1)
            })
            .collect();
        let (mut child, mut lines) = child(&path, &next);
        let mut left = rand::rng().random_range(0..120_u32);
        let mut killed = false;
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(stored) = line.strip_prefix("stored ") {
                let [writer, n, offset] = stored.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
                let id = (writer.parse().unwrap(), n.parse().unwrap());
                let before = confirmed.insert(id, offset.parse().unwrap());
                assert_eq!(before, None, "{id:?} was confirmed twice");
            } else if line != "open" {
                continue;
            }
            match left.checked_sub(1) {
                Some(fewer) => left = fewer,
                // What it has printed until it dies is still read: it was confirmed.
                None if !killed => {
                    child.start_kill().unwrap();
                    killed = true;
                }
                None => {}
            }
        }
        assert!(killed, "it ended by itself in round {round}: {:?}", child.wait().await);
        child.wait().await.unwrap();
        check(&path, &confirmed).await;
    }
    assert!(ROUNDS < confirmed.len(), "hardly anything was stored");
}

async fn check(path: &Path, confirmed: &BTreeMap<(usize, u64), u64>) {
    let store = SqliteOptions::new(path).lock_timeout(Duration::ZERO).connect().await.unwrap();
    let mut found = BTreeMap::new();
    for writer in 0..2 {
        let entries = kept(&store, &room_of(writer)).await;
        for (index, entry) in entries.iter().enumerate() {
            assert_eq!(entry.position.offset.get(), index as u64 + 1);
            assert_eq!(*entry.body.as_ref().unwrap().text, format!("text of {}", entry.key));
            let before = found.insert((entry.key.to_string(), writer), entry.position.offset.get());
            assert_eq!(before, None, "{} is there twice", entry.key);
        }
    }
    for ((writer, n), offset) in confirmed {
        assert_eq!(
            found.get(&(key(*writer, *n), writer % 2)),
            Some(offset),
            "confirmed, but not there: {writer} {n}"
        );
    }
    store.close().await;
}

#[tokio::test]
async fn a_second_process_is_refused_as_long_as_the_first_lives_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let (mut child, mut lines) = child(&path, &[1]);
    while lines.next_line().await.unwrap().unwrap() != "open" {}
    let options = SqliteOptions::new(&path).lock_timeout(Duration::ZERO);
    match options.clone().connect().await {
        Err(ConnectError::InUse { process, .. }) => assert_eq!(process, child.id()),
        other => panic!("not refused: {other:?}"),
    }
    child.kill().await.unwrap();
    let store: SqliteStore = options.connect().await.unwrap();
    store.close().await;
}
