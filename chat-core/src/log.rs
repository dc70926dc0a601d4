//! [`MessageLog`]: the ordered, durable history of every room, and the single source of truth.

use std::fmt::{self, Debug};
use std::num::NonZeroU32;

use async_trait::async_trait;

use crate::entry::{Draft, Entry, Timestamp};
use crate::error::StoreResult;
use crate::id::RoomId;
use crate::position::{Bookmark, Bounds, Epoch, Position};

/// The ordered, durable history of every room.
///
/// Every sentence below that can be observed has a rule in the conformance kit (feature `conformance`).
/// Times are of the store's clock and never go back within a room by more than that clock does.
#[async_trait]
pub trait MessageLog: Debug + Send + Sync + 'static {
    /// Stores `draft` at the end of `room`, once.
    ///
    /// - **Once:** a second call with the same author and key stores nothing and answers [`Appended::Duplicate`] with the first position;
    ///   this holds as long as the entry is kept, and at least as long as the store promises to keep keys, also when the entry was trimmed or redacted.
    /// - **Conflict:** the same author and key with another body or kind stores nothing and answers [`Appended::Conflict`].
    ///   The author's display name does not count. Where the old body is gone, a repeat is a duplicate.
    /// - **Dense:** offsets of a room's entries are 1, 2, 3, … with no hole, also after a failed or dropped call.
    /// - **Durable and visible:** on `Ok`, the entry survives a crash of this process (as far as this store promises) and any later `read` on any node returns it.
    /// - **Chained:** the fingerprint of an entry continues that of the entry before it ([`Fingerprint::then`](crate::Fingerprint::then)).
    /// - The first append mints the room's [`Epoch`].
    ///
    /// # Errors
    /// [`Unavailable`](crate::StoreError::Unavailable): nothing was stored. [`Indeterminate`](crate::StoreError::Indeterminate): it may have been; call again with the same key.
    ///
    /// # Cancellation
    /// Dropping the future leaves the outcome unknown, as with `Indeterminate`.
    async fn append(&self, room: &RoomId, draft: Draft) -> StoreResult<Appended>;

    /// The run of entries after `after`: the first one is `after.offset + 1`, and each is one further.
    ///
    /// - Empty only if `after` is the head.
    /// - At most `limit.entries` entries and `limit.bytes` bytes ([`Entry::bytes`]), but at least one if there is one.
    /// - [`Replay::Lost`] if `after` is of another epoch (offset 0 is valid in every epoch), before the trimmed offset, or beyond the head.
    /// - Sees every append that returned before this call began.
    async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay>;

    /// What is kept of each room, in the order asked for; [`Bounds::UNWRITTEN`] for a room that was never written to. Asking stores nothing.
    /// Sees every append that returned before this call began.
    ///
    /// # Errors
    /// One room that cannot be answered for fails the whole call: whoever asks about several asks again about parts of them.
    async fn bounds(&self, rooms: &[RoomId]) -> StoreResult<Vec<Bounds>>;

    /// Forgets entries up to and including `upto`. Idempotent; offsets that remain do not change; keys remain.
    /// Another epoch than the room's, or an offset beyond the head: nothing happens.
    async fn trim(&self, room: &RoomId, upto: Position) -> StoreResult<()>;

    /// Removes the body of one entry for good; the entry, its offset and its key remain. Idempotent. A position that names no kept entry: nothing happens.
    /// [`Bounds::redactions`] grows with each body that is removed, in the same step: it is how other nodes find out when news of it is lost.
    async fn redact(&self, room: &RoomId, at: Position) -> StoreResult<()>;

    /// Gives the room a new epoch, if it still has `from`. Its entries, keys and offsets stay and are in the new epoch from then on, also in the
    /// answers to repeats. Answers the bounds as they then are.
    ///
    /// Called by a node that finds what it has seen at odds with the log (a store that forgot entries it had confirmed). Of several nodes that find
    /// the same, one changes the epoch and the others learn the new one. An unwritten room stays unwritten.
    async fn renew_epoch(&self, room: &RoomId, from: Epoch) -> StoreResult<Bounds>;

    /// Made at random with the store and the same for its whole life; another store has another one.
    async fn identity(&self) -> StoreResult<StoreIdentity>;
}

/// How much to read at once. At least one entry is read if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// At most so many entries.
    pub entries: NonZeroU32,
    /// At most so many bytes, counted by [`Entry::bytes`].
    pub bytes: usize,
}

/// The answer to [`MessageLog::append`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It was stored by this call.
    Fresh {
        /// As it was stored.
        entry: Entry,
        /// Whether listeners of this store on other nodes have been told already.
        announced: bool,
    },
    /// It had been stored before.
    Duplicate {
        /// Where the first one is (or was, before it was trimmed).
        bookmark: Bookmark,
        /// When the first one was stored.
        at: Timestamp,
    },
    /// The author has used this key for something else.
    Conflict {
        /// Where that is.
        bookmark: Bookmark,
    },
}

/// The answer to [`MessageLog::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The run that was asked for.
    Page {
        /// Contiguous, ascending; empty only at the head.
        entries: Vec<Entry>,
        /// The newest entry of the room at the time of the read.
        head: Bookmark,
    },
    /// Not everything after the given position is here.
    Lost {
        /// What is.
        bounds: Bounds,
    },
}

/// Names a store for its whole life.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreIdentity(pub [u8; 16]);

impl Debug for StoreIdentity {
    // The key for tokens may be derived from it: it does not belong into a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreIdentity(..)")
    }
}
