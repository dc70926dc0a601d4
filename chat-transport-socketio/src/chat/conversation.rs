//! What is known of one connection: who it is, what it has read, and what is due to it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::vec;

use bytes::Bytes;
use chat_core::{
    Bookmark, Budget, DisplayName, Format, Joined, Offset, OwnRoom, OwnRooms, Published, Reader, Roles,
    RoomId, Run, Since, Step, Told, Typing,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::identity::Identity;
use super::moderation;
use super::places::{Mark, Places};
use super::problem::Problem;
use super::rate::Spent;
use super::service::patiently;
use super::signed_in::{self, SignedIn};
use super::users::Connected;
use super::wire;
use crate::{Frame, Offer, Outlet, Pull, Socket, Source};

/// What is asked of the reader at once: about what a link takes in one go, since what it does not take is held here.
const BUDGET: Budget = Budget { entries: 128, bytes: 16 * 1024 };

/// Which of the two protocols a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tutorial,
    Full,
}

/// One connection, as its handlers and its [`Source`] share it.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) identity: Identity,
    pub(super) protocol: Protocol,
    pub(super) signed_in: SignedIn,
    reader: Reader,
    places: Mutex<Places>,
    pub(super) spent: Arc<Spent>,
    /// Rooms that are to become its user's own, and could not yet.
    unremembered: Mutex<Vec<RoomId>>,
    /// Joins alone.
    pub(super) joins: Spent,
    pub(super) user: Connected,
    /// In a box: nearly always there is none.
    due: Mutex<Option<Box<Due>>>,
}

/// What the reader has given and the link has not taken yet, of one room.
#[derive(Debug)]
struct Due {
    room: RoomId,
    what: What,
    /// Nothing follows: the client is signed out.
    is_last: bool,
}

#[derive(Debug)]
enum What {
    Lost(Frame, Bookmark),
    Entries(vec::IntoIter<Arc<Published>>),
    /// They are no entries: no place moves by them.
    Notices(vec::IntoIter<Arc<Published<Told>>>),
    /// Something about the connection itself.
    Told(Frame),
}

impl Conversation {
    /// In no room yet. `base` is where the rooms of its `pid` began, if it has one already.
    pub(super) fn new(
        identity: Identity,
        protocol: Protocol,
        signed_in: SignedIn,
        reader: Reader,
        spent: Arc<Spent>,
        user: Connected,
        base: &[(RoomId, Mark)],
    ) -> Self {
        let places = Mutex::new(Places::new(base));
        let (joins, due, unremembered) = (Spent::default(), Mutex::default(), Mutex::default());
        Self { identity, protocol, signed_in, reader, places, spent, unremembered, joins, user, due }
    }

    /// Joins a room, or moves to another place in it. When it returns, nothing of the old place follows, and nothing of the new one has
    /// been pulled yet.
    pub(super) async fn join(&self, room: &RoomId, since: Since) -> Result<Joined, Problem> {
        let joined = self.reader.join(room, since).await?;
        self.forget(room);
        self.places().set(room, place(&joined));
        Ok(joined)
    }

    /// Joins one of its user's rooms that it is not in yet, from its beginning.
    async fn enter(&self, own: &OwnRoom) -> Result<(), Problem> {
        if let Some(joined) = self.reader.join_unless_in(&own.room, Since::Start).await? {
            let mut places = self.places();
            places.set(&own.room, place(&joined));
            places.name(&own.room, own.handle);
        }
        Ok(())
    }

    /// A room that it has joined is one of its user's own, by that handle: tokens need not name it.
    pub(super) fn name(&self, room: &RoomId, handle: Offset) {
        self.places().name(room, handle);
    }

    /// The rooms of its user, which it follows from then on. Its `pid` says `base` of them, if it has one already.
    pub(super) async fn follow(&self, base: Option<Offset>) -> Result<OwnRooms, Problem> {
        let own = self.reader.follow_own_rooms().await?;
        let mut places = self.places();
        places.begin_facts(base.unwrap_or(own.at.offset()));
        places.see_facts(own.at.offset());
        drop(places);
        Ok(own)
    }

    /// These rooms are to become its user's own: see [`Self::remember`].
    pub(super) fn remember_later(&self, rooms: Vec<RoomId>) {
        *self.unremembered() = rooms;
    }

    /// Makes its user's own what is to be.
    pub(super) async fn remember(&self) -> Result<(), Problem> {
        let rooms = self.unremembered().clone();
        if rooms.is_empty() {
            return Ok(());
        }
        let handles = self.reader.chat().remember_rooms(self.identity.id(), &rooms).await?;
        rooms.iter().zip(handles).for_each(|(room, handle)| self.name(room, handle));
        *self.unremembered() = Vec::new();
        Ok(())
    }

    fn has_unremembered(&self) -> bool {
        !self.unremembered().is_empty()
    }

    fn unremembered(&self) -> MutexGuard<'_, Vec<RoomId>> {
        self.unremembered.lock().expect("a panic while holding the names of rooms is a bug")
    }

    /// Joins the private rooms that have become its user's since it looked last, if there `may_be_news`, and stores what is to be remembered.
    /// Only what they are and the facts about them say which, so it does no harm to look too often.
    async fn catch_up(self: Arc<Self>, may_be_news: bool) {
        const PAUSE: Duration = Duration::from_secs(2);
        if may_be_news {
            self.join_news().await;
        }
        match self.remember().await {
            // News does not wait until something can be stored.
            Err(problem) if problem.is_passing() => tokio::time::sleep(PAUSE).await,
            Err(problem) => {
                tracing::debug!(code = ?problem.code, "rooms did not become a user's own");
                *self.unremembered() = Vec::new();
            }
            Ok(()) => {}
        }
    }

    async fn join_news(&self) {
        let seen = self.places().facts();
        let own = patiently(|| async { Ok(self.reader.chat().own_rooms(self.identity.id()).await?) }).await;
        let Ok(OwnRooms { rooms, at, .. }) = own else { return };
        for own in news(&rooms, seen) {
            if let Err(problem) = patiently(|| self.enter(own)).await {
                // It is listed by `rooms` all the same, if it may be.
                tracing::debug!(code = ?problem.code, "a private room was not joined");
            }
        }
        self.places().see_facts(at.offset());
    }

    /// Whether one room more may be joined.
    pub(super) fn space_for(&self, room: &RoomId) -> Result<(), Problem> {
        Ok(self.reader.space_for(room)?)
    }

    /// Leaves a room. When it returns, nothing of it follows.
    pub(super) fn leave(&self, room: &RoomId) {
        self.reader.leave(room);
        self.forget(room);
        self.places().remove(room);
    }

    /// What its `pid` will say of its rooms: they are all there is so far.
    pub(super) fn rebase(&self, base: &[(RoomId, Mark)], facts: Offset) {
        let mut places = Places::new(base);
        places.begin_facts(facts);
        base.iter().for_each(|(room, mark)| places.set(room, *mark));
        *self.places() = places;
    }

    /// The user has these roles from now on.
    pub(super) fn set_roles(&self, roles: Roles) {
        self.reader.set_roles(roles);
    }

    pub(super) fn is_in(&self, room: &RoomId) -> bool {
        self.reader.is_in(room)
    }

    /// Tells the others in a room that the client types, or has stopped.
    pub(super) async fn typing(&self, room: &RoomId, typing: Typing) -> Result<(), Problem> {
        Ok(self.reader.typing(room, typing).await?)
    }

    /// Shows the client by another name from now on, in its rooms and on what it posts.
    pub(super) fn rename(&self, name: DisplayName) -> Result<(), Problem> {
        self.identity.rename(name.clone())?;
        self.reader.rename(&name);
        Ok(())
    }

    fn forget(&self, room: &RoomId) {
        self.due().take_if(|due| due.room == *room);
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().expect("a panic while holding the places is a bug")
    }

    fn due(&self) -> MutexGuard<'_, Option<Box<Due>>> {
        self.due.lock().expect("a panic while holding what is due is a bug")
    }
}

/// Where a client is that was told that it `joined`.
pub(super) fn place(joined: &Joined) -> Mark {
    if joined.lost { Mark::untold(joined.start) } else { Mark::at(joined.start) }
}

/// The private rooms of a user that have become theirs after the fact `seen`, in that order.
pub(super) fn news(rooms: &[OwnRoom], seen: Offset) -> Vec<&OwnRoom> {
    let is_news = |own: &&OwnRoom| own.room.is_direct() && seen < own.handle;
    let mut news: Vec<&OwnRoom> = rooms.iter().filter(is_news).collect();
    news.sort_by_key(|own| own.handle);
    news
}

/// The entries of all rooms of one connection, for as long as it lasts.
pub(super) struct Entries {
    conversation: Arc<Conversation>,
    /// To end the connection of a client that is signed out, or is back elsewhere. It keeps nothing alive, since it goes with the socket.
    socket: Socket,
    /// Private rooms are being joined that have become its user's, or what is to be remembered is stored.
    catching_up: Option<BoxFuture<'static, ()>>,
    /// And there may be more since that began.
    is_behind: bool,
    /// Its client was let in.
    is_in: bool,
}

impl Entries {
    pub(super) fn new(conversation: Arc<Conversation>, socket: Socket) -> Self {
        Self { conversation, socket, catching_up: None, is_behind: false, is_in: false }
    }

    fn poll_catch_up(&mut self, cx: &mut Context<'_>) {
        while self.is_behind || self.catching_up.is_some() || self.conversation.has_unremembered() {
            let conversation = &self.conversation;
            let catching_up = self.catching_up.get_or_insert_with(|| {
                let may_be_news = std::mem::take(&mut self.is_behind);
                conversation.clone().catch_up(may_be_news).boxed()
            });
            if catching_up.poll_unpin(cx).is_pending() {
                return;
            }
            self.catching_up = None;
        }
    }

    /// Until the outlet is full, or there is something else to do.
    fn poll_entries(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_, '_>) -> Poll<Pulled> {
        let Conversation { reader, protocol, signed_in, .. } = &*self.conversation;
        let mut places = self.conversation.places();
        let mut waiting = self.conversation.due();
        // What was taken out of a room before its client was gets nothing of it any more.
        let is_over = signed_in.has_expired();
        waiting.take_if(|due| due.is_of_a_room() && (is_over || !reader.is_in(&due.room)));
        if waiting.is_some() && !outlet.has_room_for(1) {
            return Poll::Ready(Pulled::Full);
        }
        let mut next = waiting.take().map(|due| *due);
        loop {
            if let Some(mut due) = next {
                if due.offer_to(outlet, *protocol, &mut places) == Offer::Full {
                    *waiting = Some(Box::new(due));
                    return Poll::Ready(Pulled::Full);
                }
                if due.is_last {
                    self.socket.disconnect();
                    return Poll::Ready(Pulled::Ended);
                }
            }
            // The reader is not asked for what there is no room for.
            if !outlet.has_room_for(1) {
                return Poll::Ready(Pulled::Full);
            }
            if let Poll::Ready(due) = signed_in.poll_due(cx) {
                next = Some(Due::of_time(due));
                continue;
            }
            next = match reader.poll_next(cx, BUDGET) {
                Poll::Ready(Step::OwnRooms { .. }) => return Poll::Ready(Pulled::OwnRooms),
                Poll::Ready(step) => Due::from(step, *protocol, &mut places),
                Poll::Pending => return Poll::Pending,
            };
        }
    }
}

enum Pulled {
    Full,
    /// The connection is to end.
    Ended,
    /// Its user may have private rooms that are not joined yet.
    OwnRooms,
}

impl Source for Entries {
    fn poll_pull(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_, '_>) -> Poll<Pull> {
        let reader = &self.conversation.reader;
        if !std::mem::replace(&mut self.is_in, true) {
            reader.take_over();
        }
        // Also of a client that takes nothing more: it may be one that is gone.
        if reader.poll_taken_over(cx).is_ready() {
            self.socket.taken_over();
            return Poll::Ready(Pull::Ended);
        }
        loop {
            self.poll_catch_up(cx);
            match ready!(self.poll_entries(cx, outlet)) {
                Pulled::Full => return Poll::Ready(Pull::Full),
                Pulled::Ended => return Poll::Ready(Pull::Ended),
                Pulled::OwnRooms => self.is_behind = true,
            }
        }
    }

    fn place(&self, place: &mut Vec<u8>) {
        self.conversation.places().write(place);
    }
}

impl Due {
    fn from(step: Step, protocol: Protocol, places: &mut Places) -> Option<Self> {
        Some(match step {
            Step::Run(Run { room, entries }) => Self::of(room, What::Entries(entries.into_iter())),
            Step::Lost { room, bounds, start } => {
                let what = What::Lost(wire::history_lost(&room, &bounds, start), start);
                Self::of(room, what)
            }
            Step::Notices { room, notices } => Self::of(room, What::Notices(notices.into_iter())),
            Step::Removed { room, removal } => {
                places.remove(&room);
                match protocol {
                    Protocol::Full => Self::telling(moderation::removed(&room, &removal)),
                    // It was the only one.
                    Protocol::Tutorial => Self::last(moderation::signed_out(&removal)),
                }
            }
            Step::SignedOut { removal } => Self::last(moderation::signed_out(&removal)),
            // Nothing that these protocols have a word for.
            _ => return None,
        })
    }

    fn of_time(due: signed_in::Due) -> Self {
        match due {
            signed_in::Due::Expires(at) => Self::telling(moderation::token_expiring(at)),
            signed_in::Due::Expired => Self::last(moderation::signed_out_by_time()),
        }
    }

    fn of(room: RoomId, what: What) -> Self {
        Self { room, what, is_last: false }
    }

    fn telling(frame: Frame) -> Self {
        Self::of(RoomId::reserved("~").expect("a plain name"), What::Told(frame))
    }

    fn last(frame: Frame) -> Self {
        Self { is_last: true, ..Self::telling(frame) }
    }

    /// Whether it is about a room, rather than the connection itself.
    fn is_of_a_room(&self) -> bool {
        !matches!(self.what, What::Told(_))
    }

    /// Offers one after another, until all are taken or there is no more room.
    fn offer_to(&mut self, outlet: &mut Outlet<'_, '_>, protocol: Protocol, places: &mut Places) -> Offer {
        let mut offer = |frame: &Frame, at: Option<Bookmark>| {
            outlet.offer(frame, |place| {
                if let Some(at) = at {
                    places.advance(&self.room, Mark::at(at));
                }
                places.write(place);
            })
        };
        match &mut self.what {
            What::Told(told) => return offer(told, None),
            What::Lost(lost, start) => return offer(lost, Some(*start)),
            // An entry that this protocol has no word for is not passed over in the tokens either, but by the next one.
            What::Entries(entries) => {
                while let Some(entry) = entries.as_slice().first() {
                    if let Some(frame) = frame(protocol, &self.room, entry)
                        && offer(&frame, Some(entry.bookmark())) == Offer::Full
                    {
                        return Offer::Full;
                    }
                    entries.next();
                }
            }
            What::Notices(notices) => {
                while let Some(notice) = notices.as_slice().first() {
                    if let Some(frame) = notice_frame(&self.room, notice)
                        && offer(&frame, None) == Offer::Full
                    {
                        return Offer::Full;
                    }
                    notices.next();
                }
            }
        }
        Offer::Taken
    }
}

const TUTORIAL: Format = Format::new(0);
const FULL: Format = Format::new(1);

/// An entry as a protocol tells it, encoded once for all its readers; `None` where it says nothing of such an entry.
fn frame(protocol: Protocol, room: &RoomId, entry: &Published) -> Option<Frame> {
    let bytes = match protocol {
        Protocol::Tutorial => entry.encoded(TUTORIAL, |entry| cached(wire::tutorial_event(entry))),
        Protocol::Full => entry.encoded(FULL, |entry| cached(wire::full_event(room, entry))),
    };
    Frame::from_bytes(bytes)
}

/// A notice as the full protocol tells it, encoded once for all its readers. In the tutorial's nobody is told any.
fn notice_frame(room: &RoomId, notice: &Published<Told>) -> Option<Frame> {
    Frame::from_bytes(notice.encoded(FULL, |told| cached(wire::told(room, told))))
}

/// No frame is empty, so emptiness stands for none.
fn cached(frame: Option<Frame>) -> Bytes {
    frame.map(Frame::into_bytes).unwrap_or_default()
}
