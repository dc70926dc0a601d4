//! [`RedisStore`]: connecting, and what its parts share.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use chat_core::{RoomId, StoreResult};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connect_error::ConnectError;
use crate::keys::Keys;
use crate::link::{Connector, Link};
use crate::options::RedisOptions;
use crate::presence::Turns;
use crate::replicated::Replicated;

/// Rooms in Redis; see [the crate](crate). Cloning gives another handle to the same store.
#[derive(Clone, Debug)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: RedisOptions,
    keys: Keys,
    connector: Connector,
    link: RwLock<Link>,
    turns: Turns,
    replicated: Option<Replicated>,
    _stop: DropGuard,
}

impl RedisStore {
    /// Connects to one Redis server, with the defaults of [`RedisOptions`].
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub async fn connect(url: impl Into<String>) -> Result<Self, ConnectError> {
        RedisOptions::new(url).connect().await
    }

    pub(crate) async fn open(options: RedisOptions) -> Result<Self, ConnectError> {
        let connector = Connector::new(&options)?;
        let link = connector.connect().await.map_err(ConnectError::from_redis)?;
        let replicated = match options.replicas_min {
            0 => None,
            _ => {
                let own = connector.connect().await.map_err(ConnectError::from_redis)?;
                Some(Replicated::start(own, &options))
            }
        };
        let keys = Keys::new(&options.prefix);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            options,
            keys,
            connector,
            link: RwLock::new(link),
            turns: Turns::default(),
            replicated,
            _stop: stop.clone().drop_guard(),
        });
        tokio::spawn(stop.run_until_cancelled_owned(keep(Arc::downgrade(&shared))));
        Ok(Self { shared })
    }

    pub(crate) fn options(&self) -> &RedisOptions {
        &self.shared.options
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    pub(crate) fn key(&self, room: &RoomId) -> String {
        self.shared.keys.room(room)
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.shared.connector
    }

    /// Where appends go that wait for replicas.
    pub(crate) fn replicated(&self) -> Option<&Replicated> {
        self.shared.replicated.as_ref()
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.shared.turns
    }

    /// For one command or more.
    pub(crate) fn link(&self) -> Link {
        self.shared.link()
    }
}

/// Questions under way at once on behalf of one call. They share a connection, so more would only wait in it.
const AT_ONCE: usize = 256;

/// The answers to many questions, in their order.
pub(crate) async fn in_order<T>(questions: Vec<impl Future<Output = StoreResult<T>>>) -> StoreResult<Vec<T>> {
    stream::iter(questions).buffered(AT_ONCE).try_collect().await
}

impl Shared {
    fn link(&self) -> Link {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes another connection where the one there is does not answer: it may be dead without anybody having said so. One that was closed comes
/// back by itself.
async fn keep(shared: Weak<Shared>) {
    loop {
        let Some(interval) = shared.upgrade().map(|shared| shared.options.heartbeat_interval) else { return };
        tokio::time::sleep(interval).await;
        let Some(shared) = shared.upgrade() else { return };
        let answer = shared.link().ping().await;
        if answer.is_err_and(|error| error.is_timeout())
            && let Ok(link) = shared.connector.connect().await
        {
            *shared.link.write().unwrap_or_else(PoisonError::into_inner) = link;
        }
    }
}
