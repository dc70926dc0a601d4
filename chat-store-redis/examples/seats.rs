//! Measures how long it takes a node to take all of its seats anew, as it does when it has started again or its lease has lapsed.
//!
//!     cargo run --release -p chat-store-redis --example seats -- redis://127.0.0.1:6379

use std::time::{Duration, Instant};

use chat_core::{ConnectionId, DisplayName, NodeId, Presence, RoomId, Seat, UserId};
use chat_store_redis::{RedisOptions, RedisStore};
use futures_util::{StreamExt, TryStreamExt, stream};

const SEATS: usize = 10_000;
/// As many as the engine has under way.
const AT_ONCE: usize = 32;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    let mut options = match &urls[..] {
        [] => return Err("name a server, or several nodes of a cluster".into()),
        [url] => RedisOptions::new(url),
        urls => RedisOptions::cluster(urls),
    };
    options.prefix = format!("seats-{}", std::process::id());
    let store = options.connect().await?;
    for (node, rooms) in (1..).map(NodeId).zip([1, 100, 10_000]) {
        store.renew(node, Duration::from_secs(60)).await?;
        let begun = Instant::now();
        take(&store, node, rooms).await?;
        let taken = begun.elapsed();
        store.evict(node).await?;
        println!("{SEATS} seats in {rooms} rooms: {:.2} s", taken.as_secs_f64());
    }
    Ok(())
}

async fn take(store: &RedisStore, node: NodeId, rooms: usize) -> Result<(), Box<dyn std::error::Error>> {
    let taking = (0..SEATS).map(|number| async move {
        let seat = Seat {
            room: RoomId::new(&format!("room {}", number % rooms))?,
            user: UserId::new(&format!("user {number}"))?,
            connection: ConnectionId::new("phone")?,
            node,
        };
        store.enter(&seat, &DisplayName::new("Ada")?).await?;
        Ok::<(), Box<dyn std::error::Error>>(())
    });
    stream::iter(taking).buffer_unordered(AT_ONCE).try_collect().await
}
