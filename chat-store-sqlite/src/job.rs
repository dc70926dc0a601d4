//! What is asked of the writer, and where its answers go.

use chat_core::{Appended, Bounds, Draft, Epoch, Position, Progress, RoomId, StoreResult, SubscriberId};
use tokio::sync::oneshot;

/// Where an answer goes. Nobody may be waiting for it any more.
pub(crate) type Answer<T> = oneshot::Sender<StoreResult<T>>;

/// One thing to write.
pub(crate) enum Job {
    /// Shares its commit with others.
    Append { room: RoomId, draft: Draft, answer: Answer<Appended> },
    /// Shares its commit with others.
    Advance { reader: ReaderKey, upto: Position, answer: Answer<Position> },
    /// Has a commit of its own.
    Solo(Solo),
}

/// What is rare enough for a commit of its own.
pub(crate) enum Solo {
    Trim {
        room: RoomId,
        upto: Position,
        answer: Answer<()>,
    },
    Redact {
        room: RoomId,
        at: Position,
        answer: Answer<()>,
    },
    RenewEpoch {
        room: RoomId,
        from: Epoch,
        answer: Answer<Bounds>,
    },
    /// Finishes what was asked before and ends.
    Close {
        answer: Answer<()>,
    },
}

/// Whose progress it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReaderKey {
    pub(crate) what: Progress,
    pub(crate) who: SubscriberId,
    pub(crate) room: RoomId,
}

/// Appends and advances that share a commit.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) appends: Vec<(Post, Answer<Appended>)>,
    pub(crate) advances: Vec<(Advance, Answer<Position>)>,
}

/// A draft and where it is to go.
pub(crate) struct Post {
    pub(crate) room: RoomId,
    pub(crate) draft: Draft,
}

/// How far a reader has come.
pub(crate) struct Advance {
    pub(crate) reader: ReaderKey,
    pub(crate) upto: Position,
}

impl Group {
    pub(crate) fn len(&self) -> usize {
        self.appends.len() + self.advances.len()
    }

    /// Each on its own, in order.
    pub(crate) fn singly(self) -> impl Iterator<Item = Group> {
        let appends = self.appends.into_iter().map(|each| Group { appends: vec![each], ..Group::default() });
        appends
            .chain(self.advances.into_iter().map(|each| Group { advances: vec![each], ..Group::default() }))
    }
}
