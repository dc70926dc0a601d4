//! [`SqliteOptions`]: what can be chosen when a file is opened, with defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::connect_error::ConnectError;
use crate::store::SqliteStore;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a positive answer to an append survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: each commit waits for the disk (`synchronous = FULL`).
    PowerCut,
    /// The end of this process in any way, but not of the machine (`synchronous = NORMAL`): many times as fast where one client waits.
    ProcessCrash,
}

/// How to open a store. Everything but the path has a default.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    pub(crate) path: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) busy_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) readers: u32,
    pub(crate) queue_jobs_max: usize,
    pub(crate) batch_rows_max: usize,
    pub(crate) batch_bytes_max: usize,
    pub(crate) body_bytes_max: usize,
    pub(crate) file_bytes_max: Option<u64>,
    pub(crate) keep_keys_for: Duration,
    pub(crate) retain_for: Option<Duration>,
    pub(crate) room_entries_max: Option<u64>,
    pub(crate) retention_interval: Duration,
}

impl SqliteOptions {
    /// The defaults for the file at `path`, which is created if there is none. Its folder must exist.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            durability: Durability::PowerCut,
            busy_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
            readers: 4,
            queue_jobs_max: 4096,
            batch_rows_max: 256,
            batch_bytes_max: 4 << 20,
            body_bytes_max: 64 << 20,
            file_bytes_max: None,
            keep_keys_for: 7 * DAY,
            retain_for: None,
            room_entries_max: None,
            retention_interval: Duration::from_secs(60),
        }
    }

    /// What a positive answer survives. Default: [`Durability::PowerCut`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long a write waits for another program that has locked the file, before it fails as unavailable. Default: 5 s.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How long opening waits for another process that still has the file, such as one that is just stopping. Default: 2 s.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Most reads at once; each takes a thread while there is work for it. At least 1. Default: 4.
    #[must_use]
    pub fn readers(mut self, connections: u32) -> Self {
        self.readers = connections.max(1);
        self
    }

    /// Most writes that wait for their turn; further callers wait for a place. At least 1. Default: 4,096.
    #[must_use]
    pub fn queue_jobs_max(mut self, jobs: usize) -> Self {
        self.queue_jobs_max = jobs.max(1);
        self
    }

    /// Most writes that share a commit, 1 to 1,024. Default: 256.
    #[must_use]
    pub fn batch_rows_max(mut self, rows: usize) -> Self {
        self.batch_rows_max = rows.clamp(1, crate::list::ROWS_MAX);
        self
    }

    /// A commit takes in no further writes once their bodies reach so many bytes. Default: 4 MiB.
    #[must_use]
    pub fn batch_bytes_max(mut self, bytes: usize) -> Self {
        self.batch_bytes_max = bytes;
        self
    }

    /// A larger body is refused with an error, so that one post cannot hold up all others. At most 512 MiB. Default: 64 MiB.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes.min(512 << 20);
        self
    }

    /// The database file grows no larger than this (rounded down to pages of 4 KiB); then appends fail as unavailable until something was
    /// forgotten. The write-ahead log comes on top. Default: as large as the disk allows.
    #[must_use]
    pub fn file_bytes_max(mut self, bytes: u64) -> Self {
        self.file_bytes_max = Some(bytes);
        self
    }

    /// For how long after a post its key is remembered at least, when the entry itself was trimmed. Default: 7 days.
    #[must_use]
    pub fn keep_keys_for(mut self, age: Duration) -> Self {
        self.keep_keys_for = age;
        self
    }

    /// Entries older than this are trimmed, but for those in rooms of the application's own (`~…`). Default: kept for ever.
    #[must_use]
    pub fn retain_for(mut self, age: Duration) -> Self {
        self.retain_for = Some(age);
        self
    }

    /// The oldest entries of a room that has more than this are trimmed, but for rooms of the application's own (`~…`). Default: no limit.
    #[must_use]
    pub fn room_entries_max(mut self, entries: u64) -> Self {
        self.room_entries_max = Some(entries);
        self
    }

    /// How often all rooms are looked through for entries to trim and keys to forget. Default: 60 s.
    #[must_use]
    pub fn retention_interval(mut self, interval: Duration) -> Self {
        self.retention_interval = interval;
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// [`ConnectError`] says what to do. A file that is not this store's, or of a newer version, is left as it is.
    pub async fn connect(self) -> Result<SqliteStore, ConnectError> {
        SqliteStore::open(self).await
    }
}
