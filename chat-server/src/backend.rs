//! Opens the store that the configuration names: the only place that knows which ones are compiled in.

use std::pin::Pin;

use chat_core::{Backends, MemoryStore};
#[cfg(feature = "redis")]
use chat_store_redis::RedisOptions;

#[cfg(feature = "redis")]
use crate::config::RedisUrl;
use crate::config::{Keep, KeptMessages, StoreUrl};

/// An open store.
pub(crate) struct Opened {
    pub(crate) backends: Backends,
    /// Finishes what is queued and closes the files; to be awaited last, when nothing uses the store any more.
    pub(crate) close: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Why the store cannot be used. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Sqlite(#[from] chat_store_sqlite::ConnectError),
    #[cfg(feature = "redis")]
    #[error(transparent)]
    Redis(#[from] chat_store_redis::ConnectError),
    #[cfg(not(feature = "redis"))]
    #[error("Redis is not compiled into this server: choose --store memory:")]
    NoRedis,
    #[cfg(not(feature = "sqlite"))]
    #[error("{} needs SQLite, which is not compiled into this server: choose --store memory:", .0.display())]
    NotCompiledIn(std::path::PathBuf),
}

/// Opens the store at `url`. The memory store keeps everything as long as it lives, which is told where `keep` says otherwise.
pub(crate) async fn open(url: &StoreUrl, keep: &Keep) -> Result<Opened, OpenError> {
    if 0 < keep.replicas && !matches!(url, StoreUrl::Redis(_)) {
        tracing::warn!("replicas has no effect: only Redis has any");
    }
    match url {
        StoreUrl::Memory => {
            if matches!(keep.messages, KeptMessages::Newest(_)) || keep.age_max.is_some() {
                tracing::warn!(
                    "keep-messages and keep-days have no effect: the memory store keeps everything until it stops"
                );
            }
            Ok(Opened { backends: Backends::from_store(MemoryStore::new()), close: Box::pin(async {}) })
        }
        #[cfg(feature = "sqlite")]
        StoreUrl::Sqlite(path) => {
            let mut options = chat_store_sqlite::SqliteOptions::new(path).keep_keys_for(keep.keys);
            if let Some(age) = keep.age_max {
                options = options.retain_for(age);
            }
            if let KeptMessages::Newest(entries) = keep.messages {
                options = options.room_entries_max(u64::from(entries.get()));
            }
            let store = options.connect().await?;
            let closing = store.clone();
            Ok(Opened {
                backends: Backends::from_store(store),
                close: Box::pin(async move { closing.close().await }),
            })
        }
        #[cfg(feature = "redis")]
        StoreUrl::Redis(redis) => {
            let mut options = match redis {
                RedisUrl::One(url) => RedisOptions::new(url),
                RedisUrl::Cluster(urls) => RedisOptions::cluster(urls),
                RedisUrl::Sentinel { primary, sentinels } => RedisOptions::sentinel(primary, sentinels),
            };
            options.keep_keys_for = keep.keys;
            options.retain_for = keep.age_max;
            options.replicas_min = u32::try_from(keep.replicas).unwrap_or(u32::MAX);
            match keep.messages {
                KeptMessages::StoresDefault => {}
                KeptMessages::All => options.room_entries_max = None,
                KeptMessages::Newest(entries) => options.room_entries_max = Some(u64::from(entries.get())),
            }
            let store = options.connect().await?;
            for caution in store.cautions().await {
                tracing::warn!("{caution}");
            }
            // What was answered is with Redis: there is nothing to finish.
            Ok(Opened { backends: Backends::from_store(store), close: Box::pin(async {}) })
        }
        #[cfg(not(feature = "redis"))]
        StoreUrl::Redis(_) => Err(OpenError::NoRedis),
        #[cfg(not(feature = "sqlite"))]
        StoreUrl::Sqlite(path) => {
            let _ = keep;
            Err(OpenError::NotCompiledIn(path.clone()))
        }
    }
}
