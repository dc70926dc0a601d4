//! SQLite backend of chat-core: rooms in one file, for one process.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("chat.db");
//! use chat_core::{Appended, Author, Body, DisplayName, Draft, Kind, MessageKey, MessageLog, RoomId, UserId};
//! use chat_store_sqlite::SqliteStore;
//!
//! let store = SqliteStore::connect(&path).await?;
//! let author = Author { id: UserId::new("ada")?, name: DisplayName::new("Ada")? };
//! let draft = Draft { kind: Kind::Message, author, key: MessageKey::new("1")?, body: Body::text("\"hello\"") };
//! let Appended::Fresh { entry, .. } = store.append(&RoomId::new("lobby")?, draft).await? else { unreachable!() };
//! assert_eq!(entry.position.offset.get(), 1);
//! store.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is durable when
//! An append is answered after its commit. With [`Durability::PowerCut`], the default, the commit is on the disk by then (`fsync`), as far as
//! the disk tells the truth; with [`Durability::ProcessCrash`] a power cut may take the newest entries, and positions that were confirmed
//! then name other entries later: readers are told by the fingerprint. Positions of readers are as durable as entries. Who is present, and
//! news, live in this process' memory: nobody is online after a restart.
//!
//! Appends that arrive while a commit is under way share the next one, so throughput grows with the number of clients while each waits for
//! about two commits.
//!
//! # What is forgotten when
//! A key is remembered as long as its entry is kept, and at least [`SqliteOptions::keep_keys_for`] after the post. Trimming takes effect at
//! once for every read; what was trimmed leaves the file in the background, a few hundred entries at a time between commits.
//!
//! A redaction has left the file and its write-ahead log when [`redact`](chat_core::MessageLog::redact) returns, unless something reads an
//! old state of the file at that moment, such as a backup; then it is tried again every second. SQLite writes zeros over what it deletes. One
//! thing can escape it: after trimming, it may merge half-empty pages and leave behind a copy of an entry that lay beside the deleted ones, which a
//! later redaction does not find. Entries that lay among trimmed ones are rid of such copies by `VACUUM` while the store is closed.
//!
//! # How to share the file
//! One process owns it; a second one is refused ([`ConnectError::InUse`]) by a lock on the file `<name>.lock` beside it, which the operating
//! system releases when the process ends in whatever way. Symbolic links to the file lead to that lock; a file with hard links is refused
//! ([`ConnectError::ManyNames`]), since SQLite looks for the write-ahead log beside the name that it was opened by. Other programs may read it while it is open (`sqlite3 chat.db`, `.backup`): the
//! tables are described in `migrations/`. A file of an earlier version of this crate is upgraded when it is opened; earlier versions refuse it from
//! then on. A program that *writes* to it holds up appends: after [`SqliteOptions::busy_timeout`] they fail as
//! unavailable, nothing is lost. Do not copy, move, replace or delete `chat.db`, `chat.db-wal` or `chat.db.lock` while the store is
//! open: it notices when one is gone and refuses to write. To restore a backup, stop the server, remove `chat.db-wal` and `chat.db-shm`, and put the file
//! in place. The file belongs on a local disk.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod body;
mod bounds;
mod connect_error;
mod delivery;
mod error;
mod file;
mod forget;
mod job;
mod list;
mod log;
mod open;
mod options;
mod page;
mod presence;
mod readers;
mod retention;
mod rooms;
mod schema;
mod solo;
mod store;
mod turn;
mod upkeep;
mod writer;

pub use connect_error::ConnectError;
pub use error::Problem;
pub use options::{Durability, SqliteOptions};
pub use store::{Figures, SqliteStore};
