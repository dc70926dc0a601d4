//! [`Reader`]: one connection's cursors over the rooms it is in.
//!
//! A reader is pulled, never pushed to: it holds a place per room and no queue. `cursor.rs` decides what comes next, `turns.rs` carries the
//! decisions out and lets rooms take turns.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crate::authority::Action;
use crate::chat::{Chat, ChatError};
use crate::id::{DisplayName, RoomId, UserId};
use crate::limits::Budget;
use crate::mutants::{Mutant, mutated};
use crate::notice::{Notice, Told, Typing};
use crate::place::{self, Since};
use crate::position::{Bookmark, Bounds};
use crate::published::Published;
use crate::turns::{Attending, Turns};
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
    /// What is new of the people in a room, in order; never empty. For readers that are [told](Chat::reader_as).
    Notices {
        /// Which room.
        room: RoomId,
        /// The notices.
        notices: Vec<Arc<Published<Told>>>,
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

/// One connection's cursors. Made by [`Chat::reader`] or [`Chat::reader_as`]; dropping it leaves every room.
///
/// All methods take `&self`, so that requests and the writer of a connection can share it; there is one task that polls at a time.
///
/// - **In order, once:** every room's entries come with contiguous offsets, whatever is posted meanwhile.
/// - **Fair:** rooms that have something take turns.
/// - **Bounded:** a reader holds its places and at most one page of the log, and while it is not polled it holds up nobody else.
pub struct Reader {
    chat: Chat,
    who: UserId,
    wake: Arc<WakeSet>,
    turns: Mutex<Turns>,
}

impl Reader {
    pub(crate) fn new(chat: Chat, who: UserId, attending: Option<Attending>) -> Self {
        let wake = Arc::new(WakeSet::new(chat.limits().rooms_per_reader_max));
        let turns = Mutex::new(Turns::new(wake.clone(), attending.map(Box::new)));
        Self { chat, who, wake, turns }
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
            Since::Bookmark(_) | Since::Abridged { .. } => Action::Resume,
            _ => Action::Join,
        };
        if !mutated(Mutant::SkipAuthority) {
            self.chat.authorise(&self.who, room, action).await?;
        }
        let is_told = self.is_told() && self.may_see_members(room).await?;
        self.check_space(&self.lock(), room)?;
        let rooms = self.chat.rooms();
        let hold = rooms.open(room).await?;
        let place = place::find(rooms, &hold.room, since).await?;
        // From here on nothing waits, so that the answer to a request goes out before the first entry.
        let mut turns = self.lock();
        self.check_space(&turns, room)?;
        turns.take(hold, &place, is_told);
        Ok(Joined { start: place.at, bounds: place.bounds, lost: place.lost })
    }

    /// Leaves a room; nothing of it is returned any more. `false` if the reader was not in it.
    pub fn leave(&self, room: &RoomId) -> bool {
        if mutated(Mutant::StayAfterLeave) {
            return self.is_in(room);
        }
        self.lock().leave(room)
    }

    /// Tells the others in a room that the reader's user types, or has stopped. Best effort: it expires by itself, so it is to be said again
    /// every few seconds, and what is said again is not told again.
    ///
    /// # Errors
    /// [`ChatError::NotInRoom`], also for a reader that is [nobody](Chat::reader); [`ChatError::Forbidden`] if the user may not post there.
    pub async fn typing(&self, room: &RoomId, typing: Typing) -> Result<(), ChatError> {
        // Asked first: nothing waits between the look at where the reader is and what is told.
        if typing == Typing::Started && self.is_in(room) {
            self.chat.authorise(&self.who, room, Action::Post).await?;
        }
        let turns = self.lock();
        let attending = turns.attending.as_deref().filter(|_| turns.is_in(room));
        let Some(Attending { attendee, board, .. }) = attending else { return Err(ChatError::NotInRoom) };
        let (who, board) = (attendee.who.clone(), board.clone());
        drop(turns);
        board.tell(room, Notice::Typing { who, typing });
        Ok(())
    }

    /// Shows the reader's user by another name from now on, in all its rooms.
    pub fn rename(&self, name: &DisplayName) {
        self.lock().rename(name);
    }

    /// Whether the reader is in `room`.
    pub fn is_in(&self, room: &RoomId) -> bool {
        self.lock().is_in(room)
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
        let mut turns = self.lock();
        // Order matters: waker, marks, tails. A post after the marks were taken finds the waker and marks again.
        self.wake.register(cx.waker());
        self.wake.take(|slot| turns.make_ready(slot));
        turns.poll_step(self.chat.rooms(), cx, budget)
    }

    fn is_told(&self) -> bool {
        let is_told = |attending: &Attending| attending.attendee.is_told;
        self.lock().attending.as_deref().is_some_and(is_told)
    }

    async fn may_see_members(&self, room: &RoomId) -> Result<bool, ChatError> {
        match self.chat.authorise(&self.who, room, Action::SeeMembers).await {
            Ok(()) => Ok(true),
            Err(ChatError::Forbidden) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn check_space(&self, turns: &Turns, room: &RoomId) -> Result<(), ChatError> {
        let max = self.chat.limits().rooms_per_reader_max;
        if turns.len() < max || turns.is_in(room) {
            return Ok(());
        }
        Err(ChatError::TooManyRooms { max })
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        // What is left by a panic in the middle of a step is at worst a step that is not taken.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("who", &self.who)
            .field("rooms", &self.lock().len())
            .finish_non_exhaustive()
    }
}
