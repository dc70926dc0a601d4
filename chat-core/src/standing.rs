//! What stands at an offset of a room: asked of the log now, from no copy, and once for all who want to know at the same time.
//!
//! When a store has forgotten something, everybody who was in the room comes back with a place that only the log can refuse.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::error::{StoreError, StoreResult};
use crate::id::RoomId;
use crate::limits::Limits;
use crate::log::{PageLimit, Replay};
use crate::page::Pages;
use crate::position::{Bookmark, Bounds, Epoch, Offset, Position};

/// Asks for entries; at most one question per room and epoch is under way, and it is about all offsets that are asked for.
pub(crate) struct Standing {
    pages: Arc<Pages>,
    page_entries: NonZeroU32,
    page_bytes: usize,
    /// Who waits for the *next* question: the answer under way may be older than what they know of.
    waiting: Mutex<BTreeMap<Room, Vec<Wanted>>>,
}

type Room = (RoomId, u64);

struct Wanted {
    offset: Offset,
    answer: oneshot::Sender<StoreResult<Stands>>,
}

/// What the log says of an offset.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stands {
    /// This entry, or none yet.
    Entry(Option<Bookmark>),
    /// It does not have that place (any more).
    Gone(Bounds),
}

impl Standing {
    pub(crate) fn new(pages: Arc<Pages>, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            pages,
            page_entries: limits.page_entries_max,
            page_bytes: limits.page_bytes_max,
            waiting: Mutex::default(),
        })
    }

    /// What stands at `offset` (1 or more) at some time after this was called.
    pub(crate) async fn at(
        self: &Arc<Self>,
        room: &RoomId,
        epoch: Epoch,
        offset: Offset,
    ) -> StoreResult<Stands> {
        let (answer, answered) = oneshot::channel();
        let room = (room.clone(), epoch.number());
        let is_first = {
            let mut waiting = self.waiting();
            let is_first = !waiting.contains_key(&room);
            waiting.entry(room.clone()).or_default().push(Wanted { offset, answer });
            is_first
        };
        if is_first {
            tokio::spawn(self.clone().ask(room));
        }
        answered.await.unwrap_or_else(|gone| Err(StoreError::unavailable("chat", gone)))
    }

    /// Goes on until nobody wants to know.
    async fn ask(self: Arc<Self>, room: Room) {
        loop {
            let mut wanted = {
                let mut waiting = self.waiting();
                let wanted = waiting.get_mut(&room).map(std::mem::take).unwrap_or_default();
                if wanted.is_empty() {
                    waiting.remove(&room);
                    return;
                }
                wanted
            };
            wanted.sort_by_key(|wanted| wanted.offset);
            while let Some(first) = wanted.first().map(|wanted| wanted.offset) {
                let found = self.read(&room, first, &wanted).await;
                let mut remaining = Vec::new();
                for wanted in wanted {
                    match verdict(&found, &room, first, wanted.offset) {
                        // Whoever has gone need not know.
                        Some(verdict) => drop(wanted.answer.send(verdict)),
                        None => remaining.push(wanted),
                    }
                }
                wanted = remaining;
            }
        }
    }

    /// One read, from the first of the offsets to the last one that may be on the same page.
    async fn read(&self, room: &Room, first: Offset, wanted: &[Wanted]) -> StoreResult<Replay> {
        let end = first.plus(u64::from(self.page_entries.get()));
        let last = wanted.iter().rev().map(|wanted| wanted.offset).find(|offset| *offset < end);
        let entries = last.and_then(|last| u32::try_from(last.get() - first.get() + 1).ok());
        let limit = PageLimit {
            entries: entries.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
            bytes: self.page_bytes,
        };
        let after = Position { epoch: Epoch::from_number(room.1), offset: first.minus(1) };
        self.pages.read(&room.0, after, limit).await
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Room, Vec<Wanted>>> {
        self.waiting.lock().expect("a panic while holding the questions is a bug")
    }
}

/// What a read from `first` on says of `offset`; always something of `first` itself.
fn verdict(
    found: &StoreResult<Replay>,
    room: &Room,
    first: Offset,
    offset: Offset,
) -> Option<StoreResult<Stands>> {
    match found {
        Err(error) => Some(Err(error.clone())),
        Ok(Replay::Page { entries, .. }) => {
            let index = usize::try_from(offset.get() - first.get()).ok()?;
            let entry = entries.get(index).map(crate::entry::Entry::bookmark);
            (entry.is_some() || offset == first).then_some(Ok(Stands::Entry(entry)))
        }
        Ok(Replay::Lost { bounds }) => {
            let before = Position { epoch: Epoch::from_number(room.1), offset: offset.minus(1) };
            (offset == first || !bounds.reach_back_to(before)).then_some(Ok(Stands::Gone(*bounds)))
        }
    }
}
