//! [`Reader`]: one connection's cursors over the rooms it is in.
//!
//! A reader is pulled, never pushed to: it holds a place per room and no queue. `cursor.rs` decides what comes next, `seats.rs` carries the
//! decisions out and lets rooms take turns.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crate::authority::{Action, Roles, Who};
use crate::chat::{Chat, ChatError};
use crate::id::RoomId;
use crate::limits::Budget;
use crate::moderation::Removal;
use crate::mutants::{Mutant, mutated};
use crate::people::{Enlisted, Order};
use crate::place::{self, Since};
use crate::position::{Bookmark, Bounds};
use crate::published::Published;
use crate::seats::Seats;
use crate::wake::WakeSet;

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
    /// The reader was taken out of a room by an act of [moderation](crate::Measure). Nothing of the room follows, unless it joins it again.
    Removed {
        /// Which room.
        room: RoomId,
        /// Why.
        removal: Removal,
    },
    /// The reader was taken out of all its rooms, and joins none any more: its connection is to be ended.
    SignedOut {
        /// Why.
        removal: Removal,
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
/// - **Bounded:** a reader holds its places and at most one page of the log, and while it is not polled it holds up nobody else.
pub struct Reader {
    chat: Chat,
    own: Enlisted,
    /// It joins nothing any more.
    is_signed_out: AtomicBool,
    wake: Arc<WakeSet>,
    seats: Mutex<Seats>,
}

impl Reader {
    pub(crate) fn new(chat: Chat, who: Who) -> Self {
        let wake = Arc::new(WakeSet::new(chat.limits().rooms_per_reader_max));
        let own = chat.people().enlist(who, wake.clone());
        let seats = Mutex::new(Seats::new(wake.clone()));
        Self { chat, own, is_signed_out: AtomicBool::new(false), wake, seats }
    }

    /// The roles of the user are these from now on, on this node.
    pub fn set_roles(&self, roles: Roles) {
        self.own.set_roles(roles);
    }

    /// Joins a room, or moves to another place in a room that it is in.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`], [`ChatError::Banned`], [`ChatError::TooManyRooms`], [`ChatError::SignedOut`], or [`ChatError::Store`] if the place
    /// cannot be found now. Then nothing has changed.
    ///
    /// # Cancellation
    /// Safe: the reader is in the room only when `Ok` is returned.
    pub async fn join(&self, room: &RoomId, since: Since) -> Result<Joined, ChatError> {
        let action = match since {
            Since::Bookmark(_) | Since::Abridged { .. } => Action::Resume,
            _ => Action::Join,
        };
        if !mutated(Mutant::SkipAuthority) {
            self.chat.authorise(&self.own.who, room, action).await?;
        }
        self.check_space(&self.lock(), room)?;
        let rooms = self.chat.rooms();
        let hold = rooms.open(room).await?;
        let place = place::find(rooms, &hold.room, since).await?;
        // From here on nothing waits, so that the answer to a request goes out before the first entry.
        let mut seats = self.lock();
        self.check_space(&seats, room)?;
        if self.is_signed_out.load(Ordering::Relaxed) {
            return Err(ChatError::SignedOut);
        }
        // A ban that came meanwhile either is known here, or finds the reader in the room.
        self.chat.moderating().check(&self.own.who, Some(room), action)?;
        seats.take(hold, &place);
        Ok(Joined { start: place.at, bounds: place.bounds, lost: place.lost })
    }

    /// Leaves a room; nothing of it is returned any more. `false` if the reader was not in it.
    pub fn leave(&self, room: &RoomId) -> bool {
        if mutated(Mutant::StayAfterLeave) {
            return self.is_in(room);
        }
        self.lock().leave(room)
    }

    /// Whether the reader is in `room`.
    pub fn is_in(&self, room: &RoomId) -> bool {
        self.lock().is_in(room) && !self.own.desk.wants_out_of(room)
    }

    /// How far the reader has come in each of its rooms: everything up to there was returned.
    pub fn places(&self) -> Vec<(RoomId, Bookmark)> {
        self.lock().places()
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
        let mut seats = self.lock();
        // Order matters: waker, marks, tails. A post after the marks were taken finds the waker and marks again.
        self.wake.register(cx.waker());
        while let Some(order) = self.own.desk.take() {
            if let Some(step) = self.obey(&mut seats, order) {
                return Poll::Ready(step);
            }
        }
        self.wake.take(|slot| seats.make_ready(slot));
        seats.poll_step(self.chat.rooms(), cx, budget)
    }

    /// Does what an act of moderation wants of it.
    fn obey(&self, seats: &mut Seats, order: Order) -> Option<Step> {
        match order {
            Order::Leave(room, removal) => seats.leave(&room).then_some(Step::Removed { room, removal }),
            Order::SignOut(removal) => {
                let rooms: Vec<RoomId> = seats.places().into_iter().map(|(room, _)| room).collect();
                rooms.iter().for_each(|room| {
                    seats.leave(room);
                });
                let is_first = !self.is_signed_out.swap(true, Ordering::Relaxed);
                is_first.then_some(Step::SignedOut { removal })
            }
        }
    }

    fn check_space(&self, seats: &Seats, room: &RoomId) -> Result<(), ChatError> {
        let max = self.chat.limits().rooms_per_reader_max;
        if seats.len() < max || seats.is_in(room) {
            return Ok(());
        }
        Err(ChatError::TooManyRooms { max })
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        // What is left by a panic in the middle of a step is at worst a step that is not taken.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("who", &self.own.who)
            .field("rooms", &self.lock().len())
            .finish_non_exhaustive()
    }
}
