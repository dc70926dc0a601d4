//! [`Reader`]: one connection's cursors over the rooms it is in.
//!
//! A reader is pulled, never pushed to: it holds a place per room and no queue. `cursor.rs` decides what comes next, `turns.rs` carries the
//! decisions out and lets rooms take turns.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use crate::authority::{Action, Roles, Who};
use crate::chat::{Chat, ChatError};
use crate::facts;
use crate::id::{DisplayName, RoomId};
use crate::limits::Budget;
use crate::moderation::Removal;
use crate::mutants::{Mutant, mutated};
use crate::notice::{Notice, Told, Typing};
use crate::own_rooms::{self, OwnRooms};
use crate::people::{Enlisted, Order};
use crate::place::{self, Since};
use crate::position::{Bookmark, Bounds, Offset};
use crate::published::Published;
use crate::take_over::{TakesOver, Tenure};
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
    /// A reader that [follows](Reader::follow_own_rooms) its user's own rooms: there are private rooms among them that were not, or may be.
    OwnRooms {
        /// The last fact that it has seen.
        upto: Offset,
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
    own: Enlisted,
    /// It joins nothing any more.
    is_signed_out: AtomicBool,
    wake: Arc<WakeSet>,
    turns: Mutex<Turns>,
    /// Where the facts about its user are, once it follows them: a seat that nobody sees, and that is not counted.
    facts: OnceLock<RoomId>,
    /// It has [taken its connection over](Self::take_over).
    has_taken_over: AtomicBool,
}

impl Reader {
    pub(crate) fn new(chat: Chat, who: Who, attending: Option<Attending>) -> Self {
        let wake = Arc::new(WakeSet::new(chat.limits().rooms_per_reader_max + 1));
        let attendee = attending.as_ref().map(|attending| &attending.attendee);
        let connection = attendee.map(|attendee| attendee.connection.clone());
        let is_back = attendee.is_some_and(|attendee| attendee.in_place_of.is_some());
        let tenure = if is_back { Tenure::to_be_drawn() } else { Tenure::first() };
        let own = chat.people().enlist(who, connection, tenure, wake.clone());
        let turns = Mutex::new(Turns::new(wake.clone(), attending.map(Box::new)));
        let (is_signed_out, has_taken_over) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { chat, own, is_signed_out, wake, turns, facts: OnceLock::new(), has_taken_over }
    }

    /// The engine it reads from.
    pub fn chat(&self) -> &Chat {
        &self.chat
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
        let joined = self.take_seat(room, since, action, |_| true).await?;
        Ok(joined.expect("a seat is always taken"))
    }

    /// As [`Reader::join`], unless it is in the room already: then nothing changes, and there is no answer.
    ///
    /// # Errors
    /// As [`Reader::join`].
    ///
    /// # Cancellation
    /// As [`Reader::join`].
    pub async fn join_unless_in(&self, room: &RoomId, since: Since) -> Result<Option<Joined>, ChatError> {
        self.chat.authorise(&self.own.who, room, Action::Join).await?;
        self.take_seat(room, since, Action::Join, |turns| !turns.is_in(room)).await
    }

    /// The rooms of its user, and from then on the reader tells when there are more private ones among them: [`Step::OwnRooms`].
    ///
    /// The facts are read like a room, and are none that it is in: neither counted nor among its [`places`](Self::places). Asking again answers what they are by
    /// then.
    ///
    /// # Errors
    /// [`ChatError::Store`]: repeat it.
    ///
    /// # Cancellation
    /// As [`Reader::join`].
    pub async fn follow_own_rooms(&self) -> Result<OwnRooms, ChatError> {
        let place = self.facts.get_or_init(|| RoomId::facts_of(&self.own.who));
        let rooms = self.chat.rooms();
        let hold = rooms.open(place).await?;
        // Whoever follows finds out what this node has not heard of, so what is in memory will do.
        let here = own_rooms::in_memory(&hold.room);
        let own = match here {
            Some(own) => own,
            None => self.chat.own_rooms(&self.own.who).await?,
        };
        self.take_seat(place, Since::Bookmark(own.at), Action::Resume, |turns| !turns.is_in(place)).await?;
        Ok(own)
    }

    /// Takes a seat, if it is still `wanted` by then.
    async fn take_seat(
        &self,
        room: &RoomId,
        since: Since,
        action: Action,
        wanted: impl Fn(&Turns) -> bool,
    ) -> Result<Option<Joined>, ChatError> {
        if !wanted(&self.lock()) {
            return Ok(None);
        }
        let is_told = self.is_told() && !self.is_facts(room) && self.may_see_members(room).await?;
        self.check_space(&self.lock(), room)?;
        let rooms = self.chat.rooms();
        let hold = rooms.open(room).await?;
        let place = place::find(rooms, &hold.room, since).await?;
        // From here on nothing waits, so that the answer to a request goes out before the first entry.
        let mut turns = self.lock();
        if !wanted(&turns) {
            return Ok(None);
        }
        self.check_space(&turns, room)?;
        if self.is_signed_out.load(Ordering::Relaxed) {
            return Err(ChatError::SignedOut);
        }
        // A ban that came meanwhile either is known here, or finds the reader in the room.
        self.chat.moderating().check(&self.own.who, Some(room), action)?;
        turns.take(hold, &place, is_told);
        Ok(Some(Joined { start: place.at, bounds: place.bounds, lost: place.lost }))
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
            self.chat.authorise(&self.own.who, room, Action::Post).await?;
        }
        let turns = self.lock();
        // An order to leave counts from when it was given: who does not read must not go on to be seen typing.
        let is_in = turns.is_in(room) && !self.own.desk.wants_out_of(room);
        let attending = turns.attending.as_deref().filter(|_| is_in);
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
        self.lock().is_in(room) && !self.own.desk.wants_out_of(room)
    }

    /// How far the reader has come in each of its rooms: everything up to there was returned.
    pub fn places(&self) -> Vec<(RoomId, Bookmark)> {
        let mut places = self.lock().places();
        places.retain(|(room, _)| !self.is_facts(room));
        places
    }

    /// To be called once its client was let in, who is back from [an earlier connection](crate::Attendee::in_place_of): from now on this reader has that
    /// connection, and others on whatever node that go by its name [are told](Self::poll_taken_over). Does nothing where the client is new, or when it
    /// was called before.
    ///
    /// - **One remains:** of several readers of one connection, the one that was the last to call this is never told to go. All others are, soon.
    /// - **Best effort:** it is told by news of one of the reader's rooms ([own ones](Self::follow_own_rooms) first), and once more ten seconds later.
    ///   Who was reached by neither, or is in other rooms, is not told. If the store does not answer within two seconds nobody is, neither of this one
    ///   nor this one of others: it is not known any more which of them came last.
    /// - **Nothing waits for it here.**
    pub fn take_over(&self) {
        let turns = self.lock();
        let attendee = turns.attending.as_deref().map(|attending| &attending.attendee);
        let Some(connection) = attendee.and_then(|attendee| attendee.in_place_of.clone()) else { return };
        let first = || turns.places().into_iter().map(|(room, _)| room).next();
        let Some(room) = self.facts.get().cloned().or_else(first) else { return };
        drop(turns);
        if self.has_taken_over.swap(true, Ordering::Relaxed) {
            return;
        }
        let takes_over =
            TakesOver { desk: Arc::downgrade(&self.own.desk), room, user: self.own.who.clone(), connection };
        self.chat.rooms().spawn_until_stopped(takes_over.tell(self.chat.delivery().clone()));
    }

    /// Whether another reader [has its connection](Self::take_over) by now, so that this one is of no use. If not, the task of `cx` is woken when it
    /// is so, or when [`Self::poll_next`] has something: a connection that takes nothing more can ask this in its place.
    pub fn poll_taken_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.wake.register(cx.waker());
        if self.own.desk.is_taken_over() { Poll::Ready(()) } else { Poll::Pending }
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
        while let Some(order) = self.own.desk.take() {
            if let Some(step) = self.obey(&mut turns, order) {
                return Poll::Ready(step);
            }
        }
        self.wake.take(|slot| turns.make_ready(slot));
        loop {
            let step = ready!(turns.poll_step(self.chat.rooms(), cx, budget));
            match step {
                Step::Run(Run { room, entries }) if self.is_facts(&room) => {
                    let bring = |entry: &Arc<Published>| facts::brings_private_room(entry);
                    let last = entries.last().filter(|_| entries.iter().any(bring));
                    if let Some(last) = last {
                        return Poll::Ready(Step::OwnRooms { upto: last.position.offset });
                    }
                }
                // They were compacted: whoever wants to know looks at what they add up to.
                Step::Lost { room, start, .. } if self.is_facts(&room) => {
                    return Poll::Ready(Step::OwnRooms { upto: start.offset() });
                }
                step => return Poll::Ready(step),
            }
        }
    }

    fn is_facts(&self, room: &RoomId) -> bool {
        self.facts.get().is_some_and(|facts| facts == room)
    }

    /// Does what an act of moderation wants of it.
    fn obey(&self, turns: &mut Turns, order: Order) -> Option<Step> {
        match order {
            Order::Leave(room, removal) => turns.leave(&room).then_some(Step::Removed { room, removal }),
            Order::SignOut(removal) => {
                let rooms: Vec<RoomId> = turns.places().into_iter().map(|(room, _)| room).collect();
                rooms.iter().for_each(|room| {
                    turns.leave(room);
                });
                let is_first = !self.is_signed_out.swap(true, Ordering::Relaxed);
                is_first.then_some(Step::SignedOut { removal })
            }
        }
    }

    fn is_told(&self) -> bool {
        let is_told = |attending: &Attending| attending.attendee.is_told;
        self.lock().attending.as_deref().is_some_and(is_told)
    }

    async fn may_see_members(&self, room: &RoomId) -> Result<bool, ChatError> {
        match self.chat.authorise(&self.own.who, room, Action::SeeMembers).await {
            Ok(()) => Ok(true),
            Err(ChatError::Forbidden) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether there is space for `room`: it is in it already, or may be in one more.
    ///
    /// # Errors
    /// [`ChatError::TooManyRooms`].
    pub fn space_for(&self, room: &RoomId) -> Result<(), ChatError> {
        self.check_space(&self.lock(), room)
    }

    fn check_space(&self, turns: &Turns, room: &RoomId) -> Result<(), ChatError> {
        let max = self.chat.limits().rooms_per_reader_max;
        let facts = usize::from(self.facts.get().is_some_and(|facts| turns.is_in(facts)));
        if turns.len() - facts < max || turns.is_in(room) || self.is_facts(room) {
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
            .field("who", &self.own.who)
            .field("rooms", &self.lock().len())
            .finish_non_exhaustive()
    }
}
