//! How many messages a second this store takes and gives, on this machine and disk.
//!
//! `cargo run --release -p chat-store-sqlite --example throughput -- [FOLDER] [SECONDS] [ROOMS]`
//!
//! So many clients each append a message of 100 bytes, wait for the answer, and append the next; then one client reads it all.

use std::time::{Duration, Instant};

use chat_core::{
    Author, Body, DisplayName, Draft, Kind, MessageKey, MessageLog, PageLimit, Replay, RoomId, UserId,
};
use chat_store_sqlite::SqliteStore;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let seconds: f64 = arguments.next().map_or(Ok(3.0), |text| text.parse())?;
    let rooms: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let names = (0..rooms).map(|n| RoomId::new(&format!("room {n}")));
    let rooms: Vec<RoomId> = names.collect::<Result<_, _>>()?;
    for clients in [1, 16, 64, 256] {
        let folder = tempfile::tempdir_in(&folder)?;
        let store = SqliteStore::connect(folder.path().join("chat.db")).await?;
        let begun = Instant::now();
        let tasks: Vec<_> = (0..clients)
            .map(|client| {
                tokio::spawn(post(
                    store.clone(),
                    rooms.clone(),
                    client,
                    begun + Duration::from_secs_f64(seconds),
                ))
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        let (took, figures) = (begun.elapsed().as_secs_f64(), store.figures());
        println!(
            "{clients:4} clients: {:8.0} messages/s in {:6.0} commits/s, {:5.1} in each",
            figures.entries as f64 / took,
            figures.commits as f64 / took,
            figures.entries as f64 / figures.commits as f64,
        );
        read_all(&store, &rooms).await?;
        store.close().await;
    }
    Ok(())
}

async fn post(store: SqliteStore, rooms: Vec<RoomId>, client: u64, until: Instant) -> Result<(), Failure> {
    let author = Author { id: UserId::new(&format!("user {client}"))?, name: DisplayName::new("Somebody")? };
    for (n, room) in (0_u64..).zip(rooms.iter().cycle().skip(client as usize)) {
        if until <= Instant::now() {
            break;
        }
        // As random as the keys of clients are.
        let key = format!("{:016x}-{n}", (client << 40 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let draft = Draft {
            kind: Kind::Message,
            author: author.clone(),
            key: MessageKey::new(&key)?,
            body: Body::text("m".repeat(100)),
        };
        store.append(room, draft).await?;
    }
    Ok(())
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn read_all(store: &SqliteStore, rooms: &[RoomId]) -> Result<(), Failure> {
    let limit = PageLimit { entries: 128.try_into()?, bytes: 1 << 20 };
    let begun = Instant::now();
    let (mut pages, mut count) = (0_u32, 0);
    for (room, bounds) in rooms.iter().zip(store.bounds(rooms).await?) {
        let mut after = bounds.trimmed.position;
        while let Replay::Page { entries, .. } = store.read(room, after, limit).await? {
            let Some(last) = entries.last() else { break };
            after = last.position;
            (pages, count) = (pages + 1, count + entries.len());
        }
    }
    let took = begun.elapsed();
    println!(
        "              {:8.0} read/s, {:?} a page",
        count as f64 / took.as_secs_f64(),
        took / pages.max(1)
    );
    Ok(())
}
