//! [`RedisStore`]: connecting, and what its parts share.

use std::sync::Arc;

use chat_core::RoomId;

use crate::connect_error::ConnectError;
use crate::keys::Keys;
use crate::link::{Connector, Link};
use crate::options::RedisOptions;
use crate::presence::Turns;

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
    link: Link,
    turns: Turns,
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
        let keys = Keys::new(&options.prefix);
        Ok(Self { shared: Arc::new(Shared { options, keys, connector, link, turns: Turns::default() }) })
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

    pub(crate) fn turns(&self) -> &Turns {
        &self.shared.turns
    }

    /// For one command or more.
    pub(crate) fn link(&self) -> Link {
        self.shared.link.clone()
    }
}
