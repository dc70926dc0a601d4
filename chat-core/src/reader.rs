//! [`Reader`]: one connection's cursors over the rooms it is in.
//!
//! A reader is pulled, never pushed to: it holds a place per room and no queue. `cursor.rs` decides what comes next; this file carries the
//! decisions out, one page of the log at a time, and lets rooms take turns.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::authority::Action;
use crate::chat::{Chat, ChatError};
use crate::cursor::{Cursor, Decision};
use crate::error::StoreResult;
use crate::id::{RoomId, UserId};
use crate::limits::Budget;
use crate::mutants::{Mutant, mutated};
use crate::page::{Fetched, Page};
use crate::place::{self, Place, Since};
use crate::position::{Bookmark, Bounds};
use crate::published::Published;
use crate::room::Room;
use crate::rooms::{Backoff, Hold, Rooms};
use crate::wake::{Slot, WakeSet};

/// What a reader does next.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// The next unbroken run of one room.
    Run(Run),
    /// History between the reader's place and `start` is gone. Entries after `start` follow.
    Lost {
        /// Which room.
        room: RoomId,
        /// What is left.
        bounds: Bounds,
        /// Where the reader stands now.
        start: Bookmark,
    },
}

/// Entries of one room, contiguous and ascending; never empty.
#[derive(Debug)]
pub struct Run {
    /// Which room.
    pub room: RoomId,
    /// The entries.
    pub entries: Vec<Arc<Published>>,
}

/// What a reader is told when it joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Where it stands: entries after this follow.
    pub start: Bookmark,
    /// What the room holds.
    pub bounds: Bounds,
    /// History that it asked for is gone; a [`Step::Lost`] comes first.
    pub lost: bool,
}

/// One connection's cursors. Made by [`Chat::reader`]; dropping it leaves every room.
///
/// All methods take `&self`, so that requests and the writer of a connection can share it; there is one task that polls at a time.
///
/// - **In order, once:** every room's entries come with contiguous offsets, whatever is posted meanwhile.
/// - **Fair:** rooms that have something take turns.
/// - **Bounded:** a reader that is not polled holds nothing but its places.
pub struct Reader {
    chat: Chat,
    who: UserId,
    wake: Arc<WakeSet>,
    inner: Mutex<Inner>,
}

struct Inner {
    seats: Vec<Option<Seat>>,
    by_room: BTreeMap<RoomId, Slot>,
    /// Rooms that may have something, each at most once.
    ready: VecDeque<Slot>,
    /// Rooms that wait for the errand under way to end, before they have one of their own.
    behind: VecDeque<Slot>,
    errand: Option<Errand>,
    joins: u64,
}

struct Seat {
    hold: Hold,
    cursor: Cursor,
    ticket: u64,
    is_ready: bool,
    /// Tells a seat from an earlier one in the same slot.
    join: u64,
    /// The log had nothing although the tail says so: the next question waits.
    is_stalled: bool,
    /// A page did not continue the place: one of the two is not what the log has.
    is_doubtful: bool,
}

/// A question to the log. A reader has one at a time, so what it may hold is one page.
struct Errand {
    slot: Slot,
    join: u64,
    found: BoxFuture<'static, Found>,
}

enum Found {
    Page(Arc<Page>),
    Same(Bookmark),
    Lost(Place),
}

impl Reader {
    pub(crate) fn new(chat: Chat, who: UserId) -> Self {
        let wake = Arc::new(WakeSet::new(chat.limits().rooms_per_reader_max));
        let inner = Inner {
            seats: Vec::new(),
            by_room: BTreeMap::new(),
            ready: VecDeque::new(),
            behind: VecDeque::new(),
            errand: None,
            joins: 0,
        };
        Self { chat, who, wake, inner: Mutex::new(inner) }
    }

    /// Joins a room, or moves to another place in a room that it is in.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`], [`ChatError::TooManyRooms`], or [`ChatError::Store`] if the place cannot be found now. Then nothing has changed.
    ///
    /// # Cancellation
    /// Safe: the reader is in the room only when `Ok` is returned.
    pub async fn join(&self, room: &RoomId, since: Since) -> Result<Joined, ChatError> {
        let action = match since {
            Since::Bookmark(_) => Action::Resume,
            _ => Action::Join,
        };
        if !mutated(Mutant::SkipAuthority) {
            self.chat.authorise(&self.who, room, action).await?;
        }
        self.check_space(&self.lock(), room)?;
        let rooms = self.chat.rooms();
        let hold = rooms.open(room).await?;
        let place = place::find(rooms, &hold.room, since).await?;
        // From here on nothing waits, so that the answer to a request goes out before the first entry.
        let mut inner = self.lock();
        self.check_space(&inner, room)?;
        inner.remove(room);
        let slot = inner.free_slot();
        let mut cursor = Cursor::new(place.at);
        if place.lost {
            cursor.lose(place.bounds, place.at);
        }
        inner.joins += 1;
        let ticket = hold.room.wait(self.wake.clone(), slot);
        let seat = Seat {
            hold,
            cursor,
            ticket,
            is_ready: false,
            join: inner.joins,
            is_stalled: false,
            is_doubtful: false,
        };
        inner.seats[slot.0 as usize] = Some(seat);
        inner.by_room.insert(room.clone(), slot);
        drop(inner);
        self.wake.mark(slot);
        Ok(Joined { start: place.at, bounds: place.bounds, lost: place.lost })
    }

    /// Leaves a room; nothing of it is returned any more. `false` if the reader was not in it.
    pub fn leave(&self, room: &RoomId) -> bool {
        self.lock().remove(room)
    }

    /// Whether the reader is in `room`.
    pub fn is_in(&self, room: &RoomId) -> bool {
        self.lock().by_room.contains_key(room)
    }

    /// How far the reader has come in each of its rooms: everything up to there was returned.
    pub fn places(&self) -> Vec<(RoomId, Bookmark)> {
        let inner = self.lock();
        inner
            .by_room
            .iter()
            .filter_map(|(room, slot)| Some((room.clone(), inner.seat(*slot)?.cursor.at())))
            .collect()
    }

    /// What to send next; waits while there is none. Failures of the store are waited out, with growing pauses.
    ///
    /// # Cancellation
    /// Safe: a place moves only when a step is returned.
    pub async fn next(&self, budget: Budget) -> Step {
        poll_fn(|cx| self.poll_next(cx, budget)).await
    }

    /// As [`Reader::next`], for a connection that is a state machine of its own. The last waker is the one that is woken.
    pub fn poll_next(&self, cx: &mut Context<'_>, budget: Budget) -> Poll<Step> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        // Order matters: waker, marks, tails. A post after the marks were taken finds the waker and marks again.
        self.wake.register(cx.waker());
        self.wake.take(|slot| inner.make_ready(slot));
        loop {
            if let Some(step) = inner.run_errand(cx, budget) {
                return Poll::Ready(step);
            }
            let Some(slot) = inner.ready.pop_front() else { return Poll::Pending };
            let is_away = inner.errand.as_ref().is_some_and(|errand| errand.slot == slot);
            let Some(seat) = inner.seat_mut(slot) else { continue };
            seat.is_ready = false;
            if is_away {
                // The answer will be about the place as it is: it must not move meanwhile.
                continue;
            }
            let is_doubtful = seat.is_doubtful;
            let decision = match seat.hold.room.lock().tail.as_ref() {
                Some(tail) => seat.cursor.decide(tail, budget),
                None => Decision::Wait,
            };
            match decision {
                Decision::Deliver(entries) => return Poll::Ready(inner.deliver(slot, entries)),
                Decision::Tell(bounds) => return Poll::Ready(inner.tell(slot, bounds)),
                Decision::Wait => {}
                Decision::Read | Decision::Check if inner.errand.is_some() => inner.behind.push_back(slot),
                Decision::Read if !is_doubtful => inner.send(self.chat.rooms(), slot, Look::ForMore),
                Decision::Read | Decision::Check => inner.send(self.chat.rooms(), slot, Look::AtPlace),
            }
        }
    }

    fn check_space(&self, inner: &Inner, room: &RoomId) -> Result<(), ChatError> {
        let max = self.chat.limits().rooms_per_reader_max;
        if inner.by_room.len() < max || inner.by_room.contains_key(room) {
            return Ok(());
        }
        Err(ChatError::TooManyRooms { max })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("a panic while holding a reader is a bug")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut inner = self.lock();
        for seat in std::mem::take(&mut inner.seats).into_iter().flatten() {
            seat.hold.room.stop_waiting(seat.ticket);
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("who", &self.who)
            .field("rooms", &self.lock().by_room.len())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn seat(&self, slot: Slot) -> Option<&Seat> {
        self.seats.get(slot.0 as usize)?.as_ref()
    }

    fn seat_mut(&mut self, slot: Slot) -> Option<&mut Seat> {
        self.seats.get_mut(slot.0 as usize)?.as_mut()
    }

    fn free_slot(&mut self) -> Slot {
        let free = self.seats.iter().position(Option::is_none).unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        });
        Slot(u32::try_from(free).expect("the number of rooms per reader is limited"))
    }

    fn remove(&mut self, room: &RoomId) -> bool {
        let Some(slot) = self.by_room.remove(room) else { return false };
        if let Some(seat) = self.seats[slot.0 as usize].take() {
            seat.hold.room.stop_waiting(seat.ticket);
        }
        self.ready.retain(|other| *other != slot);
        self.behind.retain(|other| *other != slot);
        self.errand.take_if(|errand| errand.slot == slot);
        true
    }

    fn make_ready(&mut self, slot: Slot) {
        let Some(seat) = self.seat_mut(slot) else { return };
        if !std::mem::replace(&mut seat.is_ready, true) {
            self.ready.push_back(slot);
        }
    }

    /// Asks the log, beginning now.
    fn send(&mut self, rooms: &Arc<Rooms>, slot: Slot, what: Look) {
        let Some(seat) = self.seat_mut(slot) else { return };
        let is_stalled = std::mem::take(&mut seat.is_stalled);
        seat.is_doubtful = false;
        let found = look(rooms.clone(), seat.hold.room.clone(), seat.cursor.at(), what, is_stalled);
        let join = seat.join;
        self.errand = Some(Errand { slot, join, found: found.boxed() });
    }

    /// Goes on with the question under way; the answer may be a step.
    fn run_errand(&mut self, cx: &mut Context<'_>, budget: Budget) -> Option<Step> {
        let Poll::Ready(found) = self.errand.as_mut()?.found.poll_unpin(cx) else { return None };
        let Errand { slot, join, .. } = self.errand.take()?;
        for waiting in std::mem::take(&mut self.behind) {
            self.make_ready(waiting);
        }
        let seat = self.seat_mut(slot).filter(|seat| seat.join == join)?;
        let decision = match found {
            Found::Page(page) => seat.cursor.take(&page, budget),
            Found::Same(at) => {
                seat.cursor.confirm(at);
                // If the tail still contradicts it, the room must be healed first.
                seat.is_stalled = true;
                Decision::Read
            }
            Found::Lost(place) => {
                seat.cursor.lose(place.bounds, place.at);
                // Whatever was wrong with the copies on this node, they are not read again in a tight loop.
                seat.is_stalled = true;
                Decision::Read
            }
        };
        match decision {
            Decision::Deliver(entries) => Some(self.deliver(slot, entries)),
            Decision::Tell(bounds) => Some(self.tell(slot, bounds)),
            // The page was of no use: the next one is not asked for at once.
            Decision::Wait | Decision::Check => {
                seat.is_stalled = true;
                seat.is_doubtful = matches!(decision, Decision::Check);
                self.make_ready(slot);
                None
            }
            Decision::Read => {
                self.make_ready(slot);
                None
            }
        }
    }

    fn deliver(&mut self, slot: Slot, entries: Vec<Arc<Published>>) -> Step {
        let room = self.room_at(slot);
        // There may be more: the room queues up behind the others.
        self.make_ready(slot);
        Step::Run(Run { room, entries })
    }

    fn tell(&mut self, slot: Slot, bounds: Bounds) -> Step {
        let room = self.room_at(slot);
        let start = self.seat(slot).map_or(bounds.trimmed, |seat| seat.cursor.at());
        self.make_ready(slot);
        Step::Lost { room, bounds, start }
    }

    fn room_at(&self, slot: Slot) -> RoomId {
        self.seat(slot).expect("a decision is made for a seat").hold.room.id.clone()
    }
}

/// What to ask the log.
#[derive(Clone, Copy)]
enum Look {
    /// What comes after the place.
    ForMore,
    /// Whether the place still is what it was.
    AtPlace,
}

/// Asks the log until it answers.
async fn look(rooms: Arc<Rooms>, room: Arc<Room>, at: Bookmark, look: Look, is_stalled: bool) -> Found {
    let mut backoff = Backoff::default();
    if is_stalled {
        backoff.wait().await;
    }
    loop {
        let found = match look {
            Look::ForMore => look_for_more(&rooms, &room, at).await,
            Look::AtPlace => place::check_again(&rooms, &room, at).await.map(Found::from),
        };
        match found {
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "history could not be read; trying again"
                );
                backoff.wait().await;
            }
        }
    }
}

async fn look_for_more(rooms: &Arc<Rooms>, room: &Arc<Room>, at: Bookmark) -> StoreResult<Found> {
    Ok(match rooms.pages.holding(&room.id, at.epoch(), at.offset().next()).await? {
        Fetched::Page(page) => {
            // The tail must know of everything that readers have seen: it is what notices that a store has forgotten something.
            rooms.note(&room.id, page.head.position);
            Found::Page(page)
        }
        Fetched::Lost(bounds) if at.offset() < bounds.trimmed.offset() => {
            Found::Lost(place::after_loss(rooms, room).await?)
        }
        // Another epoch, or a log that is behind its own past: the room must find out, too.
        Fetched::Lost(_) => {
            rooms.doubt(room);
            place::check_again(rooms, room, at).await?.into()
        }
    })
}

impl From<Place> for Found {
    fn from(place: Place) -> Self {
        if place.lost { Self::Lost(place) } else { Self::Same(place.at) }
    }
}
