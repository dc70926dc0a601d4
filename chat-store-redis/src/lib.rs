//! Redis backend of chat-core: rooms shared by many nodes, on one Redis server or a Redis Cluster (7.0 or newer; one server may be 6).
//! Or Valkey: `CHAT_REDIS_SERVER=valkey-server cargo test -p chat-store-redis` was run with its versions 8.1.8 and 9.1.2.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use chat_core::{Backends, Chat};
//! use chat_store_redis::RedisStore;
//!
//! let store = RedisStore::connect("redis://127.0.0.1:6379").await?;
//! for caution in store.cautions().await {
//!     eprintln!("{caution}");
//! }
//! let chat = Chat::builder(Backends::from_store(store)).start().await?;
//! # Ok(())
//! # }
//! ```
//! A cluster: [`RedisOptions::cluster`]. A primary that Redis Sentinel watches: [`RedisOptions::sentinel`]. Every node that uses the same Redis with
//! the same [`prefix`](RedisOptions::prefix) serves the same rooms; nothing else need be told to them.
//!
//! # What is durable when
//! An append is answered when Redis has answered, so what holds is decided by Redis' settings. [`RedisStore::cautions`] looks at them.
//!
//! | setting | what holds |
//! |---|---|
//! | `appendonly yes`, `appendfsync always` | What was acknowledged survives a crash of Redis, and a power cut as far as the disk tells the truth. |
//! | `appendonly yes`, `appendfsync everysec` | A crash may take what was acknowledged in the last second or two. |
//! | only `save`, or nothing | A crash takes everything since the last snapshot, or everything. |
//! | `maxmemory-policy noeviction` | When memory is full posts fail, and clients try again. |
//! | any other policy | Redis removes rooms when memory is full, each as a whole. |
//! | a replica that takes over (Cluster, Sentinel, or a managed endpoint) | Replication is behind by some milliseconds, or by as long as the two were apart. What was not replicated yet is lost. |
//!
//! *Whatever is lost is told:* the fingerprints in clients' positions show that a room's history is another one, whatever its numbers say, and exactly those who
//! had seen what is gone get [`Step::Lost`](chat_core::Step::Lost). Who lost nothing notices nothing.
//!
//! While Redis is away posts fail ([`Unavailable`](chat_core::StoreError::Unavailable), or
//! [`Indeterminate`](chat_core::StoreError::Indeterminate) if the answer is missing) and may be repeated with the same key; connections come back by themselves.
//!
//! # Waiting for replicas
//! With [`RedisOptions::replicas_min`] an append is answered, and told to other nodes, only when so many replicas have it (`WAIT`, once for all appends that
//! come together). If they do not confirm it in time the append fails as [`Indeterminate`](chat_core::StoreError::Indeterminate): it is on the primary,
//! and a repeat with the same key waits again. Until then a node that compares the room with the log may see it. Replicas confirm that they have received
//! it, not that it is on their disks; and a failover to a replica that was not among them loses it all the same. Sentinel promotes the one that it
//! knows to be the furthest; a primary that it has taken for dead and that goes on may be believed by another replica for a second. Where that
//! must not lose anything, all replicas are waited for.
//!
//! # Which server is asked
//! With Sentinel: the sentinels are asked where the primary is, and a majority of them waited for, at each connection and each
//! [`heartbeat_interval`](RedisOptions::heartbeat_interval), and the one that knows of the latest failover is believed; the server itself is asked for its
//! `ROLE` (which its user must be allowed to ask). Connections to any other one are given up. One server, or a managed endpoint: the address is connected
//! to anew when a connection is lost or dead, and when the server there takes no writes any more.
//!
//! # What is forgotten when
//! Memory is finite, so [`RedisOptions::room_entries_max`] is 10,000 unless said otherwise; [`RedisOptions::retain_for`] bounds the age.
//! Old entries make way when newer ones are appended. A key is remembered as long as its entry, and at least [`RedisOptions::keep_keys_for`] after the post; the keys of
//! entries that have made way are forgotten with later appends. Rooms whose names begin with `~` keep everything.
//!
//! # What is where
//! | name | what |
//! |---|---|
//! | `<prefix>:{<room>}` | One hash with all of a room's log: its state, entries, keys, and how far each reader is. One key, so no part of a room can be evicted or deleted without the rest; it is described in `src/scripts/room.lua`. |
//! | the channel of the same name | The room's news: entries with their bodies. `SPUBLISH` in a cluster, `PUBLISH` otherwise. |
//! | `<prefix>:{<room>}:here`, `:users`, `:seats:<node>` | Who is in the room. |
//! | `<prefix>:node:<node>`, `<prefix>:{nodes}:leases`, `:seated` | Where a node may have seats, and until when. |
//! | `<prefix>:ticket` | The last number that put something in order. It is never behind the server's clock, so nothing is lost with it. |
//! | `<prefix>:identity` | The store's identity: keys of clients' recovery derive from it, so whoever can read it can forge them. |
//!
//! Names of rooms are percent-encoded in keys. What belongs to a room is in one slot of the cluster.
//!
//! # What it costs
//! A post is one script, which also publishes; delivering is nothing, whoever reads. Opening a room on a node is one subscription and two or three
//! questions; joining a room that is open is nothing, or one question where it begins at the start. Renewing a node's lease is one command. `tests/trouble.rs` counts.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cautions;
mod connect_error;
mod delivery;
mod error;
mod keys;
mod line;
mod link;
mod log;
mod options;
mod packed;
mod presence;
mod replicated;
mod script;
mod sentinels;
mod store;
mod subscription;

pub use cautions::Caution;
pub use connect_error::ConnectError;
pub use options::RedisOptions;
pub use store::RedisStore;
