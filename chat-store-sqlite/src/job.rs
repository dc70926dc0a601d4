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

    /// In order. Of two or more, neither half is empty.
    pub(crate) fn halves(mut self) -> [Group; 2] {
        let half = self.len() / 2;
        let appends = self.appends.split_off(half.min(self.appends.len()));
        let advances = self.advances.split_off(half - self.appends.len());
        [self, Group { appends, advances }]
    }
}

#[cfg(test)]
mod tests {
    use chat_core::{Author, Body, DisplayName, Kind, MessageKey, UserId};

    use super::*;

    #[test]
    fn a_group_is_halved_down_to_single_writes_in_their_order() {
        let (room, who) = (RoomId::new("lobby").unwrap(), SubscriberId::new("phone").unwrap());
        let author = Author { id: UserId::new("ada").unwrap(), name: DisplayName::new("Ada").unwrap() };
        for (appends, advances) in [(5, 3), (1, 1), (0, 4), (7, 0), (1, 6)] {
            let mut group = Group::default();
            for n in 0..appends {
                let key = MessageKey::new(&n.to_string()).unwrap();
                let draft =
                    Draft { kind: Kind::Message, author: author.clone(), key, body: Body::text("hello") };
                group.appends.push((Post { room: room.clone(), draft }, oneshot::channel().0));
            }
            for n in 0..advances {
                let reader = ReaderKey { what: Progress::Read, who: who.clone(), room: room.clone() };
                let upto = Position {
                    epoch: Epoch::from_number(n + 1),
                    ..chat_core::Bounds::UNWRITTEN.head.position
                };
                group.advances.push((Advance { reader, upto }, oneshot::channel().0));
            }
            let (mut waiting, mut singles) = (vec![group], Vec::new());
            while let Some(group) = waiting.pop() {
                if group.len() == 1 {
                    let keys = group.appends.iter().map(|(post, _)| post.draft.key.to_string());
                    let epochs =
                        group.advances.iter().map(|(advance, _)| advance.upto.epoch.number().to_string());
                    singles.extend(keys.chain(epochs));
                    continue;
                }
                let [first, second] = group.halves();
                assert!(first.len().abs_diff(second.len()) <= 1);
                waiting.extend([second, first]);
            }
            let expected = (0..appends).chain(1..=advances).map(|n| n.to_string());
            assert_eq!(singles, expected.collect::<Vec<_>>());
        }
    }
}
