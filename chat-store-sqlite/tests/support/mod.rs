//! Drafts, and a second pair of eyes on the file.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;

use chat_core::{
    Appended, Author, Body, Bookmark, Bounds, DisplayName, Draft, Entry, Kind, MessageKey, MessageLog,
    Offset, PageLimit, Position, Replay, RoomId, UserId,
};
use chat_store_sqlite::SqliteStore;
use futures_util::future::maybe_done;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::time::Instant;

pub fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

pub fn draft(key: &str, text: &str) -> Draft {
    let author = Author { id: UserId::new("ada").unwrap(), name: DisplayName::new("Ada").unwrap() };
    Draft { kind: Kind::Message, author, key: MessageKey::new(key).unwrap(), body: Body::text(text) }
}

/// Polls the calls in the order given until all have answered: what one caller asks for in a row. (`join_all` polls in no particular order.)
pub async fn in_a_row<F: Future>(calls: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut calls: Vec<_> = calls.into_iter().map(|call| Box::pin(maybe_done(call))).collect();
    std::future::poll_fn(|context| {
        let pending =
            calls.iter_mut().map(|call| call.as_mut().poll(context)).filter(Poll::is_pending).count();
        if pending == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    calls.iter_mut().map(|call| call.as_mut().take_output().unwrap()).collect()
}

/// As [`in_a_row`], of appends that store something.
pub async fn append_all(
    store: &SqliteStore,
    room: &RoomId,
    drafts: impl IntoIterator<Item = Draft>,
) -> Vec<Entry> {
    let appended = in_a_row(drafts.into_iter().map(|draft| store.append(room, draft))).await;
    appended.into_iter().map(|each| fresh(each.unwrap())).collect()
}

pub fn fresh(appended: Appended) -> Entry {
    match appended {
        Appended::Fresh { entry, .. } => entry,
        other => panic!("not fresh: {other:?}"),
    }
}

pub fn duplicate(appended: Appended) -> Bookmark {
    match appended {
        Appended::Duplicate { bookmark, .. } => bookmark,
        other => panic!("not a duplicate: {other:?}"),
    }
}

pub async fn bounds(store: &SqliteStore, room: &RoomId) -> Bounds {
    store.bounds(std::slice::from_ref(room)).await.unwrap()[0]
}

/// All entries of a room that are kept.
pub async fn kept(store: &SqliteStore, room: &RoomId) -> Vec<Entry> {
    let limit = PageLimit { entries: 1000.try_into().unwrap(), bytes: usize::MAX };
    let (mut entries, mut after) = (Vec::new(), bounds(store, room).await.trimmed.position);
    loop {
        match store.read(room, after, limit).await.unwrap() {
            Replay::Page { entries: page, .. } => {
                let Some(last) = page.last() else { return entries };
                after = last.position;
                entries.extend(page);
            }
            // It was trimmed meanwhile: once more, from where it now begins.
            Replay::Lost { bounds } => (entries, after) = (Vec::new(), bounds.trimmed.position),
        }
    }
}

pub fn at(entry: &Entry, offset: u64) -> Position {
    Position { offset: Offset::new(offset).unwrap(), ..entry.position }
}

/// Waits until it is so, at most ten seconds.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so().await {
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A connection of another program.
pub async fn intruder(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).foreign_keys(false).connect().await.unwrap()
}

/// The database and what lies beside it.
pub fn files(path: &Path) -> Vec<PathBuf> {
    ["", "-wal", "-shm", ".lock"].map(|suffix| PathBuf::from(format!("{}{suffix}", path.display()))).into()
}

/// Whether an ASCII text is in any of the files.
pub fn is_somewhere(path: &Path, text: &str) -> bool {
    let contents = files(path).into_iter().filter_map(|file| std::fs::read(file).ok());
    contents.into_iter().any(|content| String::from_utf8_lossy(&content).contains(text))
}

/// Commits in the write-ahead log, counted as its format has them: frames that say how large the database is after them.
pub fn commits_in_log(path: &Path) -> usize {
    let log = std::fs::read(&files(path)[1]).unwrap_or_default();
    let number = |at: usize| log.get(at..at + 4).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
    let Some(page_bytes) = number(8) else { return 0 };
    let salt = log[16..24].to_vec();
    let frames = log[32..].chunks_exact(24 + page_bytes as usize);
    frames.take_while(|frame| frame[8..16] == salt).filter(|frame| frame[4..8] != [0; 4]).count()
}
