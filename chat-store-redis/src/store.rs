//! [`RedisStore`]: connecting, and what its parts share.

use std::sync::Arc;

use chat_core::{RoomId, StoreResult};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::connect_error::ConnectError;
use crate::keys::Keys;
use crate::line::Line;
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
    line: Arc<Line>,
    turns: Turns,
    replicated: Option<Replicated>,
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
        connector.ask_sentinels().await?;
        let line = Line::open(&connector).await.map_err(ConnectError::from_redis)?;
        let replicated = match options.replicas_min {
            0 => None,
            _ => Some(Replicated::start(&connector, &options).await.map_err(ConnectError::from_redis)?),
        };
        let keys = Keys::new(&options.prefix);
        let shared = Shared { options, keys, connector, line, turns: Turns::default(), replicated };
        Ok(Self { shared: Arc::new(shared) })
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
        self.shared.line.link()
    }
}

/// Questions under way at once on behalf of one call. They share a connection, so more would only wait in it.
const AT_ONCE: usize = 256;

/// The answers to many questions, in their order.
pub(crate) async fn in_order<T>(questions: Vec<impl Future<Output = StoreResult<T>>>) -> StoreResult<Vec<T>> {
    stream::iter(questions).buffered(AT_ONCE).try_collect().await
}
