//! [`Presence`]: who is in a room right now, per user and per connection.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::StoreResult;
use crate::id::{ConnectionId, DisplayName, NodeId, RoomId, UserId};

/// Who is in a room right now. Two phones are one person.
///
/// A seat lives as long as its node's lease, on the store's clock; one command renews the lease of all of a node's seats.
/// Every sentence below that can be observed has a rule in the conformance kit (feature `conformance`).
#[async_trait]
pub trait Presence: Debug + Send + Sync + 'static {
    /// Takes a seat for a user who is shown as `name`. Taking it again under the same name changes nothing.
    ///
    /// - The edge, whether the *user* arrived by this or is shown by another name than before, is decided atomically and never looks at leases.
    /// - A user has one name in a room, that of the latest call; it stays until the user's last seat there is given up.
    async fn enter(&self, seat: &Seat, name: &DisplayName) -> StoreResult<Changed>;

    /// Gives a seat up. An unknown seat: no change.
    async fn leave(&self, seat: &Seat) -> StoreResult<Changed>;

    /// Extends the lease of every seat of `node` to `lease` from now. [`Renewed::Lapsed`] if it had run out before (or the node was never
    /// heard of): its seats may be gone, so the node takes a new incarnation and enters again. So does a node that had no answer for as long as a lease: a renewal
    /// whose answer was lost may have been the first one after the lapse. A node renews once before its first seat.
    async fn renew(&self, node: NodeId, lease: Duration) -> StoreResult<Renewed>;

    /// The users of a room whose ids come after `after`, each once, in order of their ids (by code point): at most `limit`, of which it may be none.
    /// With the room's version and the number of all its users, as of the same moment. A page costs what it holds, not what the room does.
    /// Seats whose lease has lapsed and that nobody has evicted yet still count.
    async fn roster(&self, room: &RoomId, after: Option<&UserId>, limit: u32) -> StoreResult<Roster>;

    /// Nodes that have seats and no lease, because it has lapsed or never was; at most `limit`.
    async fn lapsed(&self, limit: u32) -> StoreResult<Vec<NodeId>>;

    /// Removes every seat of `node` and its lease, and answers what changed, room by room, one item for each user that left.
    async fn evict(&self, node: NodeId) -> StoreResult<Vec<Departure>>;
}

/// A connection's presence in a room.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seat {
    /// Which room.
    pub room: RoomId,
    /// Whose connection.
    pub user: UserId,
    /// Which connection.
    pub connection: ConnectionId,
    /// The incarnation of the node that holds the connection.
    pub node: NodeId,
}

/// What entering or leaving did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The room's version after it; it grows by one with every edge, and may jump further ahead, never back, while nobody is in the room.
    pub version: u64,
    /// Whether the user arrived, left or was renamed by it.
    pub edge: Option<Edge>,
}

/// What others see of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The first seat was taken.
    Arrived,
    /// The last seat was given up.
    Left,
    /// The user was there already, and is shown by another name from now on.
    Renamed,
}

/// A user who left because of an eviction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Which room.
    pub room: RoomId,
    /// Who left.
    pub user: UserId,
    /// How the user was shown.
    pub name: DisplayName,
    /// The room's version after it.
    pub version: u64,
}

/// The answer to [`Presence::renew`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The lease had not run out.
    Held,
    /// It had; see [`Presence::renew`].
    Lapsed,
}

/// Who is in a room, or a page of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// Grows by one whenever a user arrives, leaves or is renamed.
    pub version: u64,
    /// How many users are in the room, whatever part of them was asked for.
    pub total: u64,
    /// Each user once, in order of their ids.
    pub members: Vec<Member>,
}

/// A user in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// How the user is shown.
    pub name: DisplayName,
    /// On how many connections; at least one.
    pub devices: u32,
}
