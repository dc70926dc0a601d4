//! What is told of people and is no entry: who is there, who types, who has read how far.
//!
//! Notices are best effort, and only the newest state counts. [`Notice`] is what nodes tell each other, [`Told`] what a reader is told.

use crate::entry::Author;
use crate::id::{DisplayName, UserId};
use crate::position::Offset;
use crate::presence::Edge;

/// What a node tells the others of somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Somebody has arrived, left, or is shown by another name.
    Presence {
        /// Who, as shown from now on.
        who: Author,
        /// What has changed.
        change: Edge,
        /// The room's version after it; see [`Changed`](crate::Changed).
        version: u64,
    },
    /// Somebody types, or has stopped.
    Typing {
        /// Who.
        who: Author,
        /// Which of the two.
        typing: Typing,
    },
    /// Somebody has read the room up to here.
    Read {
        /// Who.
        user: UserId,
        /// How far.
        offset: Offset,
    },
}

/// Whether somebody types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing {
    /// From now on, until it is said again or expires.
    Started,
    /// Not any more.
    Stopped,
}

impl Notice {
    /// About what it occupies, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        const SELF: usize = size_of::<Notice>();
        let of = |user: &UserId, name: Option<&DisplayName>| {
            SELF + user.as_str().len() + name.map_or(0, |name| name.as_str().len())
        };
        match self {
            Self::Presence { who, .. } | Self::Typing { who, .. } => of(&who.id, Some(&who.name)),
            Self::Read { user, .. } => of(user, None),
        }
    }
}

/// What a reader is told of the people in a room. In large rooms it is told numbers in place of names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// Somebody has come, gone, or is shown by another name.
    Presence {
        /// Who, as shown from now on.
        who: Author,
        /// Whether it is there.
        online: bool,
        /// The room's version after it.
        version: u64,
        /// How many people are there then.
        count: u64,
    },
    /// Who is there; what was known before does not count any more, neither of this nor of who types.
    Reset {
        /// The version of which this is so.
        version: u64,
        /// How many people are there.
        count: u64,
        /// Each of them, in order of their ids; `None` where they are too many.
        online: Option<Vec<Author>>,
    },
    /// Somebody types, or has stopped.
    Typing {
        /// Who.
        who: Author,
        /// Which of the two.
        typing: Typing,
    },
    /// In a large room: how many type now.
    ManyTyping {
        /// So many.
        count: u64,
    },
    /// Somebody has read the room up to here.
    Read {
        /// Who.
        user: UserId,
        /// How far.
        offset: Offset,
    },
    /// In a large room: some have read further.
    ManyRead {
        /// As far as the furthest of them.
        offset: Offset,
        /// How many, since this was told last.
        count: u64,
    },
}
