//! [`RedisOptions`]: where Redis is, and every bound of the store, with its unit and the reason for its default.

use std::time::Duration;

use crate::connect_error::ConnectError;
use crate::store::RedisStore;

/// Where Redis is and how it is used. Made by [`RedisOptions::new`], ended by [`connect`](Self::connect).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisOptions {
    /// `redis://` or, encrypted, `rediss://`, with `user:password@` where that is needed; of a cluster, some of its nodes. May contain a
    /// password, so it is not shown by `Debug`.
    pub urls: Vec<String>,
    /// Redis Cluster: its slots are asked for, and `urls` are where to begin.
    pub cluster: bool,
    /// Addresses of sentinels, each with its own user and password where that is needed. They are asked where the primary is, at every connection
    /// and every [`heartbeat_interval`](Self::heartbeat_interval); the host in `urls` is the name by which they know it, and all else there
    /// applies to it. None, the default: `urls` says where Redis is.
    pub sentinels: Vec<String>,
    /// How all names of this store begin in Redis: several chats may share one.
    pub prefix: String,
    /// Newest entries kept of one room; `None`: all. Memory is finite, so there is a default: 10,000. Rooms that begin with `~` keep all theirs.
    pub room_entries_max: Option<u64>,
    /// How long entries are kept; `None`, the default: for ever. A room in which nothing was posted for so long is gone as a whole.
    pub retain_for: Option<Duration>,
    /// How long a key is remembered at least after its post, whatever becomes of the entry. 7 days.
    pub keep_keys_for: Duration,
    /// The largest body, text and attachments together, in bytes. A script holds all others up while it handles it.
    pub body_bytes_max: usize,
    /// How many replicas must have an entry before it is acknowledged and told. 0, the default: none. Then a failover loses nothing that was
    /// acknowledged, if it promotes one of those, and posts fail while there are too few. See [the crate](crate#waiting-for-replicas).
    pub replicas_min: u32,
    /// How long an answer may take before the call fails. 5 seconds: a failover takes longer, and clients try again.
    pub response_timeout: Duration,
    /// How long connecting may take.
    pub connection_timeout: Duration,
    /// How often a connection is asked whether it still is one, so how late a dead one may be noticed. 5 seconds.
    pub heartbeat_interval: Duration,
}

impl RedisOptions {
    /// The defaults, for one Redis server.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            cluster: false,
            sentinels: Vec::new(),
            prefix: "chat".to_owned(),
            room_entries_max: Some(10_000),
            retain_for: None,
            keep_keys_for: Duration::from_secs(7 * 24 * 3600),
            body_bytes_max: 16 * 1024 * 1024,
            replicas_min: 0,
            response_timeout: Duration::from_secs(5),
            connection_timeout: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(5),
        }
    }

    /// The defaults, for a Redis Cluster some of whose nodes are `urls`.
    pub fn cluster(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { urls: urls.into_iter().map(Into::into).collect(), cluster: true, ..Self::new("") }
    }

    /// The defaults, for a primary that Redis Sentinel watches: `redis://user:password@NAME`, the name being the one that `sentinels` have for it,
    /// and where they are.
    pub fn sentinel(
        primary: impl Into<String>,
        sentinels: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self { sentinels: sentinels.into_iter().map(Into::into).collect(), ..Self::new(primary) }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub async fn connect(self) -> Result<RedisStore, ConnectError> {
        RedisStore::open(self).await
    }
}

impl std::fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisOptions")
            .field("cluster", &self.cluster)
            .field("prefix", &self.prefix)
            .field("room_entries_max", &self.room_entries_max)
            .field("retain_for", &self.retain_for)
            .field("keep_keys_for", &self.keep_keys_for)
            .finish_non_exhaustive()
    }
}
