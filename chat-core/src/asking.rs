//! What the log keeps of a room, asked once for all who want to know at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::error::{StoreError, StoreResult};
use crate::id::RoomId;
use crate::log::MessageLog;
use crate::position::Bounds;
use crate::task::in_a_task;

/// Asks for the bounds of rooms; at most one question per room is under way.
pub(crate) struct Asking {
    log: Arc<dyn MessageLog>,
    /// Who waits for the *next* question about a room: the answer under way may be older than what they know of.
    waiting: Mutex<BTreeMap<RoomId, Vec<Answer>>>,
}

type Answer = oneshot::Sender<StoreResult<Bounds>>;

impl Asking {
    pub(crate) fn new(log: Arc<dyn MessageLog>) -> Arc<Self> {
        Arc::new(Self { log, waiting: Mutex::default() })
    }

    /// The bounds of a room at some time after this was called.
    pub(crate) async fn bounds(self: &Arc<Self>, room: &RoomId) -> StoreResult<Bounds> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting();
            let is_first = !waiting.contains_key(room);
            waiting.entry(room.clone()).or_default().push(answer);
            is_first
        };
        if is_first {
            tokio::spawn(self.clone().ask(room.clone()));
        }
        answered.await.unwrap_or_else(|gone| Err(StoreError::unavailable("chat", gone)))
    }

    /// Goes on until nobody wants to know.
    async fn ask(self: Arc<Self>, room: RoomId) {
        loop {
            let answers = {
                let mut waiting = self.waiting();
                let answers = waiting.get_mut(&room).map(std::mem::take).unwrap_or_default();
                if answers.is_empty() {
                    waiting.remove(&room);
                    return;
                }
                answers
            };
            let found = self.ask_once(room.clone()).await;
            for answer in answers {
                // Whoever has gone need not know.
                answer.send(found.clone()).ok();
            }
        }
    }

    async fn ask_once(&self, room: RoomId) -> StoreResult<Bounds> {
        let log = self.log.clone();
        let bounds = in_a_task(async move { log.bounds(&[room]).await }).await?;
        bounds.first().copied().ok_or_else(|| StoreError::corrupt("chat", "the log answered for no room"))
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<RoomId, Vec<Answer>>> {
        self.waiting.lock().expect("a panic while holding the questions is a bug")
    }
}
