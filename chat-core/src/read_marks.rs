//! How far people have seen: many requests, few writes.
//!
//! At most one write for a user and a room is under way, and whatever comes meanwhile goes into the next one: so a client that says each of a hundred
//! messages costs two or three.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::board::Board;
use crate::chat::{Chat, ChatError};
use crate::delivery::{Delivery, Progress};
use crate::direct::keeps_out;
use crate::error::{StoreError, StoreResult};
use crate::id::{RoomId, SubscriberId, UserId};
use crate::mutants::{Mutant, mutated};
use crate::notice::Notice;
use crate::position::{Bounds, Offset, Position};
use crate::rooms::shut_down;

impl Chat {
    /// Remembers durably that a user has seen a room up to `offset`, or up to its end if that is less, and answers how far it has seen it now. Never moves
    /// back. Those in the room are [told](Chat::tell_read).
    ///
    /// The application asks whether the user is in the room; the engine only keeps private rooms to their two.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`], or [`ChatError::Store`]: repeat it.
    ///
    /// # Cancellation
    /// Safe: it goes on in a task of its own.
    pub async fn mark_read(&self, who: &UserId, room: &RoomId, offset: Offset) -> Result<Offset, ChatError> {
        if keeps_out(who, room) {
            return Err(ChatError::Forbidden);
        }
        if self.rooms().tasks.is_closed() {
            return Err(shut_down().into());
        }
        if offset == Offset::ZERO {
            // Nothing to remember, and no room to look at: this node may not have heard that there is one.
            let marks = self.read_marks_of(who, std::slice::from_ref(room)).await?;
            return Ok(marks.first().copied().unwrap_or_default());
        }
        let head = match self.rooms().get(room).and_then(|here| here.lock().bounds()) {
            Some(Bounds { head, .. }) if offset <= head.offset() => head,
            // Another node may have posted what this one has not heard of.
            _ => self.bounds(room).await?.head,
        };
        if head.offset() == Offset::ZERO {
            return Ok(Offset::ZERO);
        }
        let upto = Position { offset: offset.min(head.offset()), ..head.position };
        Ok(self.read_marks().advance(who, room, upto).await?.offset)
    }

    /// How far a user has seen each of `rooms`; 0 where it was never said.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn read_marks_of(&self, who: &UserId, rooms: &[RoomId]) -> Result<Vec<Offset>, StoreError> {
        let marks = self.delivery().progress(Progress::Read, &subscriber(who), rooms).await?;
        Ok(marks.into_iter().map(|mark| mark.map_or(Offset::ZERO, |mark| mark.offset)).collect())
    }
}

/// Ids of users and of subscribers are made of the same characters.
fn subscriber(who: &UserId) -> SubscriberId {
    SubscriberId::new(who.as_str()).expect("a user id is a subscriber id")
}

type Answer = oneshot::Sender<StoreResult<Position>>;

pub(crate) struct ReadMarks {
    delivery: Arc<dyn Delivery>,
    /// Where the others in a room are told.
    board: Option<Arc<Board>>,
    /// Whoever is in here has a task that writes.
    waiting: Mutex<BTreeMap<(UserId, RoomId), Option<Next>>>,
}

/// What goes into the next write.
struct Next {
    upto: Position,
    answers: Vec<Answer>,
}

impl ReadMarks {
    pub(crate) fn new(delivery: Arc<dyn Delivery>, board: Option<Arc<Board>>) -> Arc<Self> {
        Arc::new(Self { delivery, board, waiting: Mutex::default() })
    }

    async fn advance(self: &Arc<Self>, who: &UserId, room: &RoomId, upto: Position) -> StoreResult<Position> {
        let (answer, answered) = oneshot::channel();
        let key = (who.clone(), room.clone());
        let is_first = {
            let mut waiting = self.waiting();
            let is_first = !waiting.contains_key(&key);
            let next = waiting.entry(key.clone()).or_default();
            let next = next.get_or_insert_with(|| Next { upto, answers: Vec::new() });
            // Of another epoch: the later one is what the room has now.
            if next.upto.epoch != upto.epoch || next.upto.offset < upto.offset {
                next.upto = upto;
            }
            next.answers.push(answer);
            is_first
        };
        if is_first {
            tokio::spawn(self.clone().write(key));
        }
        answered.await.unwrap_or_else(|gone| Err(StoreError::unavailable("chat", gone)))
    }

    /// Goes on until there is nothing more to write.
    async fn write(self: Arc<Self>, key: (UserId, RoomId)) {
        let (who, room) = &key;
        let subscriber = subscriber(who);
        loop {
            let next = {
                let mut waiting = self.waiting();
                match waiting.get_mut(&key).and_then(Option::take) {
                    Some(next) => next,
                    None => {
                        waiting.remove(&key);
                        return;
                    }
                }
            };
            let reached = match mutated(Mutant::MarkReadInMemory) {
                true => Ok(next.upto),
                false => self.delivery.advance(Progress::Read, &subscriber, room, next.upto).await,
            };
            // Here, and only here, it is durable and may be told to the others in the room: once for each write.
            if let (Ok(reached), Some(board)) = (&reached, &self.board) {
                board.tell(room, Notice::Read { user: who.clone(), offset: reached.offset });
            }
            for answer in next.answers {
                // Whoever has gone need not know.
                answer.send(reached.clone()).ok();
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(UserId, RoomId), Option<Next>>> {
        self.waiting.lock().expect("a panic while holding the read marks is a bug")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{FaultRates, Faults};
    use crate::position::Epoch;
    use crate::{Backends, MemoryStore};
    use std::time::Duration;

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch::from_number(1), offset: Offset::new(offset).unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_reads_is_a_few_writes_and_each_answer_is_durable() {
        let slow = FaultRates { delayed: 1.0, delay_max: Duration::from_secs(1), ..FaultRates::NONE };
        let store = MemoryStore::new();
        let backends = Faults::new(7, slow).wrap(Backends::from_store(store.clone()));
        let marks = ReadMarks::new(backends.delivery, None);
        let (who, room) = (UserId::new("ada").unwrap(), RoomId::new("lobby").unwrap());
        let began = tokio::time::Instant::now();
        let all = (1..=1_000).map(|offset| {
            let (marks, store, who, room) = (marks.clone(), store.clone(), who.clone(), room.clone());
            async move {
                let reached = marks.advance(&who, &room, at(offset)).await.unwrap();
                assert!(offset <= reached.offset.get());
                let rooms = std::slice::from_ref(&room);
                let kept = store.progress(Progress::Read, &subscriber(&who), rooms).await.unwrap();
                assert!(Some(offset) <= kept[0].map(|kept| kept.offset.get()));
            }
        });
        futures_util::future::join_all(all).await;
        assert!(began.elapsed() <= Duration::from_secs(4), "one after the other would take minutes");
        tokio::task::yield_now().await;
        assert!(marks.waiting().is_empty());
    }
}
