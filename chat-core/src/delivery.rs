//! [`Delivery`]: news between nodes, which may be lost, and how far each reader has come, which may not.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::entry::Entry;
use crate::error::StoreResult;
use crate::id::{ConnectionId, NodeId, RoomId, SubscriberId, UserId};
use crate::notice::Notice;
use crate::position::{Bookmark, Position};

/// Carries news to the other nodes and remembers positions.
///
/// Every sentence below that can be observed has a rule in the conformance kit (feature `conformance`).
#[async_trait]
pub trait Delivery: Debug + Send + Sync + 'static {
    /// Tells every node that watches the news' room, this one included. Best effort: news may be lost, repeated and reordered.
    async fn announce(&self, news: &News) -> StoreResult<()>;

    /// Begins to listen, watching nothing yet. Every listener hears the news of the rooms that it watches, and
    /// [`Heard::Interrupted`] after any time in which some may have been missed. A dropped listener costs nothing further.
    async fn listen(&self) -> StoreResult<Listener>;

    /// A number for something that all nodes must see in one order: larger than every one that was answered before this call began, to any node, and
    /// answered once. Numbers may be left out, so a store that may forget the last one can go by its clock.
    async fn ticket(&self) -> StoreResult<Ticket>;

    /// Remembers durably that `who` has come as far as `upto` in `room`, and answers how far that is now.
    ///
    /// - Never moves back: within an epoch, the larger offset stays. A position of another epoch replaces what was there.
    /// - [`Progress::Received`] and [`Progress::Read`] are kept apart.
    async fn advance(
        &self,
        what: Progress,
        who: &SubscriberId,
        room: &RoomId,
        upto: Position,
    ) -> StoreResult<Position>;

    /// How far `who` has come in each of `rooms`, in order; `None` where nothing was remembered.
    async fn progress(
        &self,
        what: Progress,
        who: &SubscriberId,
        rooms: &[RoomId],
    ) -> StoreResult<Vec<Option<Position>>>;
}

/// An answer of [`Delivery::ticket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Which position of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Progress {
    /// What the reader's client has acknowledged.
    Received,
    /// What a person has seen.
    Read,
}

impl Progress {
    /// For storing.
    pub fn number(self) -> u8 {
        match self {
            Self::Received => 0,
            Self::Read => 1,
        }
    }
}

/// What one node tells the others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// An entry was appended.
    Appended {
        /// To which room.
        room: RoomId,
        /// The entry.
        entry: Arc<Entry>,
    },
    /// The room has at least come so far; for a node that cannot say which entries are new.
    Grown {
        /// Which room.
        room: RoomId,
        /// An entry that the log certainly has.
        head: Bookmark,
    },
    /// The body of an entry is gone: copies of it must go, too.
    Redacted {
        /// In which room.
        room: RoomId,
        /// Which entry.
        position: Position,
    },
    /// Something about the people in the room that is no entry.
    Notice {
        /// In which room.
        room: RoomId,
        /// The node that tells it; it knows already.
        from: NodeId,
        /// What.
        notice: Notice,
    },
    /// The client of a connection is back on another one, which goes by the same name or not. Whoever has the connection by a smaller ticket, or by
    /// none, has it no longer.
    TakenOver {
        /// A room that the connection is in.
        room: RoomId,
        /// Whose connection.
        user: UserId,
        /// Which one.
        connection: ConnectionId,
        /// Drawn when the client was let in.
        ticket: Ticket,
    },
}

impl News {
    /// The room it is about.
    pub fn room(&self) -> &RoomId {
        match self {
            Self::Appended { room, .. }
            | Self::Grown { room, .. }
            | Self::Redacted { room, .. }
            | Self::Notice { room, .. }
            | Self::TakenOver { room, .. } => room,
        }
    }
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// News of a watched room.
    News(News),
    /// News of any watched room may have been missed before this.
    Interrupted,
}

/// One node's ear.
pub struct Listener {
    /// Which rooms it watches.
    pub interest: Arc<dyn Interest>,
    /// What it hears; ends only when the store is closed.
    pub heard: BoxStream<'static, Heard>,
}

impl Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("interest", &self.interest).finish_non_exhaustive()
    }
}

/// Chooses the rooms whose news a [`Listener`] hears.
#[async_trait]
pub trait Interest: Debug + Send + Sync + 'static {
    /// Returns once it is in force: news announced after that is heard (or `Interrupted` is). Watching twice is watching once.
    async fn watch(&self, room: &RoomId) -> StoreResult<()>;
    /// News of the room need not be heard any more.
    async fn unwatch(&self, room: &RoomId) -> StoreResult<()>;
}
