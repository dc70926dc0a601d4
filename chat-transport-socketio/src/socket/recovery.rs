//! Connection state recovery: what a server keeps so that a client that comes back is the one it was.
//!
//! The client carries its own place: the `pid` of its CONNECT and the token at the end of the last event that it received. What it says is
//! read in `recovery/`, what is kept for it is in `session.rs`, and how the two meet in `connection.rs` and `namespace.rs`.

pub(crate) mod backlog;
pub(crate) mod journal;
pub(crate) mod pid;
mod queue;
pub(crate) mod record;
pub(crate) mod suspended;
pub(crate) mod token;

use std::sync::Arc;
use std::time::Duration;

use chat_core::{MessageLog, StoreError};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;

use self::journal::Journal;
pub use self::pid::Lineage;
use self::pid::Pid;
use self::token::Token;
use super::event::Auth;
use super::id::SocketId;

/// Connection state recovery, switched on by [`SocketIoBuilder::recovery`](crate::SocketIoBuilder::recovery). The crate's page says when it succeeds.
#[derive(Clone)]
pub struct Recovery {
    key: [u8; 32],
    pub(crate) disconnection_max: Duration,
    pub(crate) session_bytes_max: usize,
    pub(crate) sessions_bytes_max: usize,
    pub(crate) journal: Option<Arc<Journal>>,
}

impl Recovery {
    /// For sessions that end with this process: nobody else knows its key.
    pub fn in_memory() -> Self {
        Self::with_key(rand::random())
    }

    /// With a key that other nodes and later processes have as well. It must be secret: whoever has it can be any guest.
    pub fn with_key(key: [u8; 32]) -> Self {
        Self {
            key,
            disconnection_max: Duration::from_secs(120),
            session_bytes_max: 256 * 1024,
            sessions_bytes_max: 64 * 1024 * 1024,
            journal: None,
        }
    }

    /// For sessions that outlive this process: their rooms, data and events are written down in a reserved room of `log`, from which the key is derived as
    /// well. Reads what an earlier process has left there; those sessions wait for their clients from when the server is built.
    ///
    /// An event, and an answer behind a change of the session, goes out when it is stored: this is the price. A broadcast is stored once, with the ids
    /// of its recipients. While more than 8 MiB of changes wait for the log, no client is read from and none of their handlers begins; what the host sends
    /// to disconnected clients is still taken. One process at a time may use a log so, and in it one server: of
    /// those that are built with clones of this, the first. The others keep their sessions in memory, and log an error.
    ///
    /// # Errors
    /// The log cannot be read, or [`StoreError::Corrupt`]: not all that was written down is there, or something else is.
    pub async fn in_log(log: Arc<dyn MessageLog>) -> Result<Self, StoreError> {
        let mut key =
            Hmac::<Sha256>::new_from_slice(&log.identity().await?.0).expect("HMAC takes keys of any length");
        key.update(b"socket sessions, version 1");
        let mut recovery = Self::with_key(key.finalize().into_bytes().into());
        let journal = Journal::open(log, recovery.session_bytes_max).await?;
        recovery.journal = Some(Arc::new(journal));
        Ok(recovery)
    }

    /// How long the rooms, data and events of a disconnected session are kept. What sources can resume is not kept here, and does not
    /// need it. Default: 2 minutes.
    #[must_use]
    pub fn disconnection_max(mut self, time: Duration) -> Self {
        self.disconnection_max = time;
        self
    }

    /// Bytes of events that are kept for one session, connected or not, because its client may not have received them. Beyond it the oldest
    /// go, and a client that comes back for them is not recovered. Default: 256 KiB.
    #[must_use]
    pub fn session_bytes_max(mut self, bytes: usize) -> Self {
        self.session_bytes_max = bytes;
        self
    }

    /// Bytes that all disconnected sessions together may take. Beyond it those that have been disconnected longest are given up.
    /// Default: 64 MiB.
    #[must_use]
    pub fn sessions_bytes_max(mut self, bytes: usize) -> Self {
        self.sessions_bytes_max = bytes;
        self
    }

    pub(crate) fn seal(&self, pid: &Pid, namespace: &str) -> String {
        pid.seal(&self.key, namespace)
    }

    /// What a client says of the connection before this one.
    pub(crate) fn claim(&self, auth: &Auth, namespace: &str) -> Claim {
        let Ok(said) = serde_json::from_str::<Said<'_>>(auth.raw().unwrap_or("{}")) else {
            return Claim::Nothing;
        };
        if said.recovery.is_some_and(|recovery| recovery.get() == "false") {
            return Claim::Unwanted;
        }
        let text = |json: Option<&RawValue>| serde_json::from_str::<String>(json?.get()).ok();
        let Some(pid_text) = text(said.pid) else { return Claim::Nothing };
        let Some(pid) = Pid::open(&pid_text, &self.key, namespace) else {
            tracing::debug!("a client came back with a pid that is not from here");
            return Claim::Nothing;
        };
        // An application may have an `offset` of its own.
        let token = [said.position, said.offset]
            .into_iter()
            .filter_map(text)
            .find_map(|text| Token::parse(&text, pid.sid));
        Claim::Session { pid, pid_text, token }
    }
}

/// Not printed: it holds a key.
impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovery")
            .field("disconnection_max", &self.disconnection_max)
            .field("session_bytes_max", &self.session_bytes_max)
            .field("sessions_bytes_max", &self.sessions_bytes_max)
            .finish_non_exhaustive()
    }
}

/// The fields of `auth` that concern recovery. Whatever is in them, it is no error: they are the client library's, or an application's.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    pid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    offset: Option<&'a RawValue>,
    #[serde(borrow, default)]
    position: Option<&'a RawValue>,
    #[serde(borrow, default)]
    recovery: Option<&'a RawValue>,
}

/// What a client says of the connection before this one.
pub(crate) enum Claim {
    /// That there was none, or nothing that can be believed.
    Nothing,
    /// That it does not want a `pid` or tokens.
    Unwanted,
    Session {
        pid: Pid,
        pid_text: String,
        /// How far it is; none if it has received nothing, or something that is no token.
        token: Option<Token>,
    },
}

/// What is known of the connection before this one: [`Socket::resumption`](crate::Socket::resumption).
#[derive(Clone, PartialEq, Eq)]
pub struct Resumption {
    pub(crate) id: SocketId,
    pub(crate) base: Vec<u8>,
    pub(crate) place: Option<Vec<u8>>,
}

impl Resumption {
    /// The id of the client's socket on the connection before. It is that of this one where the session is recovered.
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// What the connect handler said about the beginning of the session: [`Accept::base`](crate::Accept::base).
    pub fn base(&self) -> &[u8] {
        &self.base
    }

    /// What the sources said ([`Source::place`](crate::Source::place)) of the last event that the client received. None: it received none.
    /// It comes from the client and may be anything.
    pub fn place(&self) -> Option<&[u8]> {
        self.place.as_deref()
    }
}

/// Not printed: it is part of what the client has to itself.
impl std::fmt::Debug for Resumption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resumption").finish_non_exhaustive()
    }
}
