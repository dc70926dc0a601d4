//! What a client sends ([`Draft`]) and what the log keeps ([`Entry`]).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::id::{DisplayName, MessageKey, UserId};
use crate::position::{Bookmark, Fingerprint, Position};

/// A time of the store's clock, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The system's clock; 1970 if it is set before that.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// `age` earlier, at least 1970.
    #[must_use]
    pub fn minus(self, age: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Whose a post is. The id scopes keys; the name is what people see and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The identity.
    pub id: UserId,
    /// The name at the time of the post.
    pub name: DisplayName,
}

/// The content of a post, stored as it was received: a text (the transports put JSON there) and binary attachments.
///
/// Two bodies are equal if text and attachments are equal byte for byte. Cloning is a reference count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The text. The core never looks into it.
    pub text: Arc<str>,
    /// Binary attachments, in order.
    pub attachments: Arc<[Bytes]>,
}

impl Body {
    /// A body without attachments.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), attachments: Arc::new([]) }
    }

    /// Length of text and attachments together, in bytes.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// What sort of entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Somebody said something.
    Message,
    /// Something the application records in the room's order; never shown as a message.
    Fact,
}

impl Kind {
    /// For storing.
    pub fn number(self) -> u8 {
        match self {
            Self::Message => 0,
            Self::Fact => 1,
        }
    }

    /// The kind of a number that [`Kind::number`] gave.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Message),
            1 => Some(Self::Fact),
            _ => None,
        }
    }
}

/// What a client sends: identified by room, author and key, however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What sort of entry it is to become.
    pub kind: Kind,
    /// Whose it is: the identity of the connection, never what a client claims.
    pub author: Author,
    /// The client's own id of it.
    pub key: MessageKey,
    /// The content.
    pub body: Body,
}

/// What the log keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it sits in its room.
    pub position: Position,
    /// What sort of entry it is.
    pub kind: Kind,
    /// Whose it is.
    pub author: Author,
    /// The author's own id of it.
    pub key: MessageKey,
    /// When it was stored, by the store's clock.
    pub at: Timestamp,
    /// Continues the fingerprint of the entry before it: [`Fingerprint::then`].
    pub fingerprint: Fingerprint,
    /// The content; `None` once it was redacted.
    pub body: Option<Body>,
}

impl Entry {
    /// The position behind this entry, as it leaves the server.
    pub fn bookmark(&self) -> Bookmark {
        Bookmark { position: self.position, fingerprint: self.fingerprint }
    }

    /// Whether this is the entry right after `before`, in the same history.
    pub fn follows(&self, before: &Bookmark) -> bool {
        self.position.offset == before.offset().next()
            && self.fingerprint == before.fingerprint.then(&self.author.id, &self.key, self.at)
    }

    /// Roughly what it occupies in memory, in bytes: what page limits and tail budgets count.
    pub fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        FIXED
            + self.author.id.as_str().len()
            + self.author.name.as_str().len()
            + self.key.as_str().len()
            + self.body.as_ref().map_or(0, Body::bytes)
    }
}
