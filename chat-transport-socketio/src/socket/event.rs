//! What a handler is given: an event and its ack, the client's credentials, the reason of a departure.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::args::Args;
use super::frame::Frame;
use super::outbox::Sort;
use super::packet;
use super::socket::{EmitError, Socket};
use crate::engine::{CloseReason, Text};

/// An event from a client: a name and arguments.
#[derive(Debug)]
pub struct Event {
    name: String,
    args: packet::Args,
    /// Present if the client asked for an answer.
    pub ack: Option<Ack>,
}

impl Event {
    pub(crate) fn new(name: String, args: packet::Args, ack: Option<Ack>) -> Self {
        Self { name, args, ack }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many arguments there are.
    pub fn len(&self) -> usize {
        self.args.elements.len()
    }

    /// Whether there are no arguments.
    pub fn is_empty(&self) -> bool {
        self.args.elements.is_empty()
    }

    /// One argument as the JSON text that came. It is valid JSON; its placeholders point at attachments if there are any, and are the
    /// client's own invention if there are none.
    pub fn arg(&self, index: usize) -> Option<&str> {
        self.args.get(index)
    }

    /// One argument as a value of its own; an absent one is read as `null`.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn parse<T: DeserializeOwned>(&self, index: usize) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.arg(index).unwrap_or("null"))
    }

    /// The binary attachments, in the order of their numbers.
    pub fn attachments(&self) -> &[Bytes] {
        &self.args.attachments
    }
}

impl packet::Args {
    pub(crate) fn get(&self, index: usize) -> Option<&str> {
        self.text.get(self.elements.get(index)?.clone())
    }
}

/// What a client answered to an event that asked for it.
#[derive(Debug)]
pub struct Answer(pub(crate) packet::Args);

impl Answer {
    /// One argument as the JSON text that came.
    pub fn arg(&self, index: usize) -> Option<&str> {
        self.0.get(index)
    }

    /// One argument as a value of its own; an absent one is read as `null`.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn parse<T: DeserializeOwned>(&self, index: usize) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.arg(index).unwrap_or("null"))
    }

    /// The binary attachments, in the order of their numbers.
    pub fn attachments(&self) -> &[Bytes] {
        &self.0.attachments
    }
}

/// The answer that a client waits for. Dropped unused, nothing is sent, and the client goes on waiting (and retries, if it was told to).
pub struct Ack {
    id: u64,
    socket: Socket,
}

impl Ack {
    pub(crate) fn new(id: u64, socket: Socket) -> Self {
        socket.outbox().ack_opened();
        Self { id, socket }
    }

    /// Answers with one value.
    ///
    /// # Errors
    /// The value has no JSON form, or the connection is over.
    pub fn send<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EmitError> {
        self.send_args(&Args::one(value)?)
    }

    /// Answers with several values, or binary ones.
    ///
    /// # Errors
    /// The connection is over. (One that lets too many answers pile up is closed.)
    pub fn send_args(self, args: &Args) -> Result<(), EmitError> {
        if self.socket.outbox().handle.is_closed() {
            return Err(EmitError::Closed);
        }
        let frame = Frame::ack(self.socket.namespace(), self.id, args);
        self.socket.answer(frame, Sort::Answer).map_err(|_| EmitError::Full)
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        self.socket.outbox().ack_closed();
    }
}

impl std::fmt::Debug for Ack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ack").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a client sent with its CONNECT: a JSON object, or nothing. Not printed by `Debug`, since it holds secrets.
#[derive(Clone, Default)]
pub struct Auth(pub(crate) Option<Text>);

impl Auth {
    /// The JSON text, if there was any.
    pub fn raw(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The object as a value; without one, as the empty object.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.raw().unwrap_or("{}"))
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Auth(..)" } else { "Auth(none)" })
    }
}

/// The answer to a CONNECT that is let in.
#[derive(Clone, Default)]
pub struct Accept {
    pub(crate) base: Option<Vec<u8>>,
    pub(crate) recovery: Recover,
}

/// Whether a client that is back gets its session back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recover {
    #[default]
    Yes,
    No,
    /// It is not even who it was.
    Stranger,
}

impl Accept {
    /// With nothing to add.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says where the socket's sources begin. It comes back as [`Resumption::base`](crate::Resumption::base), also in another process with the same
    /// key; so in a namespace [of sources only](crate::Namespace::sources_only) a session is recovered without any memory of it.
    /// It is signed, not encrypted, and travels with each CONNECT. Where the session is recovered, it keeps the base that it had.
    #[must_use]
    pub fn base(mut self, base: impl Into<Vec<u8>>) -> Self {
        self.base = Some(base.into());
        self
    }

    /// Lets it in, but not into the session that it had: not everything that it missed can be given to it. The connect handler is called again,
    /// with a new socket of the same lineage. For a client that is not back, the same as [`Accept::new`].
    pub fn afresh() -> Self {
        Self { recovery: Recover::No, ..Self::default() }
    }

    /// Lets it in, but its `pid` counts as absent: it is not who it was. The connect handler is called again, with a new socket.
    pub fn stranger() -> Self {
        Self { recovery: Recover::Stranger, ..Self::default() }
    }
}

impl std::fmt::Debug for Accept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accept").field("recovery", &self.recovery).finish_non_exhaustive()
    }
}

impl From<()> for Accept {
    fn from((): ()) -> Self {
        Self::new()
    }
}

/// Why a client is not let in.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// For good. The client gets a `connect_error`, and the official ones do not come back by themselves.
    Permanent {
        /// For the client's `error.message`.
        message: String,
        /// For the client's `error.data`.
        data: Option<serde_json::Value>,
    },
    /// Not now. The client gets no answer; its connection is closed at the connect deadline, and it will be back.
    Passing,
}

impl Refusal {
    /// For good, with a message.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::Permanent { message: message.into(), data: None }
    }
}

/// Why a socket left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client left this namespace.
    Client,
    /// The server disconnected it from this namespace.
    Server,
    /// Its client is back on another connection, which has the session now.
    TakenOver,
    /// Its connection ended.
    Connection(CloseReason),
}
