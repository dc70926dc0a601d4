//! Wakes the readers of large rooms piece by piece, taking turns between rooms, so that one hot room does not delay the others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::room::Room;

#[derive(Default)]
pub(crate) struct Waves {
    queue: Mutex<VecDeque<Arc<Room>>>,
    queued: Notify,
}

impl Waves {
    /// Continues a wave that `room` has begun.
    pub(crate) fn continue_with(&self, room: Arc<Room>) {
        self.queue.lock().expect("a panic while holding the queue is a bug").push_back(room);
        self.queued.notify_one();
    }

    /// Runs for as long as the engine does.
    pub(crate) async fn run(&self) {
        loop {
            let room = self.queue.lock().expect("a panic while holding the queue is a bug").pop_front();
            match room {
                None => self.queued.notified().await,
                Some(room) => {
                    if room.wave() {
                        self.continue_with(room);
                    }
                    // The readers that were woken run before the next piece is.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
