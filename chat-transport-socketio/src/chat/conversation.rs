//! What is known of one connection: who it is, what it has read, and what is due to it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::vec;

use bytes::Bytes;
use chat_core::{Bookmark, Budget, Format, Joined, Published, Reader, Roles, RoomId, Run, Since, Step};

use super::identity::Identity;
use super::moderation;
use super::places::{Mark, Places};
use super::problem::Problem;
use super::rate::Spent;
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
    lost: Option<(Frame, Bookmark)>,
    /// What is told of the connection itself.
    told: Option<Frame>,
    entries: vec::IntoIter<Arc<Published>>,
    /// Nothing follows: the client is signed out.
    is_last: bool,
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
        let (joins, due) = (Spent::default(), Mutex::default());
        Self { identity, protocol, signed_in, reader, places, spent, joins, user, due }
    }

    /// Joins a room, or moves to another place in it. When it returns, nothing of the old place follows, and nothing of the new one has
    /// been pulled yet.
    pub(super) async fn join(&self, room: &RoomId, since: Since) -> Result<Joined, Problem> {
        let joined = self.reader.join(room, since).await?;
        self.forget(room);
        self.places().set(room, place(&joined));
        Ok(joined)
    }

    /// Leaves a room. When it returns, nothing of it follows.
    pub(super) fn leave(&self, room: &RoomId) {
        self.reader.leave(room);
        self.forget(room);
        self.places().remove(room);
    }

    /// What its `pid` will say of its rooms: they are all there is so far.
    pub(super) fn rebase(&self, base: &[(RoomId, Mark)]) {
        let mut places = Places::new(base);
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

/// The entries of all rooms of one connection, for as long as it lasts.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) conversation: Arc<Conversation>,
    /// To end the connection of a client that is signed out. It keeps nothing alive, since it goes with the socket.
    pub(super) socket: Socket,
}

impl Source for Entries {
    fn poll_pull(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_, '_>) -> Poll<Pull> {
        let Conversation { reader, protocol, signed_in, .. } = &*self.conversation;
        let mut places = self.conversation.places();
        let mut waiting = self.conversation.due();
        // What was taken out of a room before its client was gets nothing of it any more.
        let is_over = signed_in.has_expired();
        waiting.take_if(|due| due.has_entries() && (is_over || !reader.is_in(&due.room)));
        loop {
            if let Some(due) = &mut *waiting {
                if due.offer_to(outlet, *protocol, &mut places) == Offer::Full {
                    return Poll::Ready(Pull::Full);
                }
                if due.is_last {
                    self.socket.disconnect();
                    return Poll::Ready(Pull::Ended);
                }
            }
            *waiting = None;
            // The reader is not asked for what there is no room for.
            if !outlet.has_room_for(1) {
                return Poll::Ready(Pull::Full);
            }
            if let Poll::Ready(due) = signed_in.poll_due(cx) {
                *waiting = Some(Box::new(Due::of_time(due)));
                continue;
            }
            *waiting = match reader.poll_next(cx, BUDGET) {
                Poll::Ready(step) => Due::from(step, *protocol, &mut places).map(Box::new),
                Poll::Pending => return Poll::Pending,
            };
        }
    }

    fn place(&self, place: &mut Vec<u8>) {
        self.conversation.places().write(place);
    }
}

impl Due {
    fn from(step: Step, protocol: Protocol, places: &mut Places) -> Option<Self> {
        Some(match step {
            Step::Run(Run { room, entries }) => {
                Self { room, lost: None, told: None, entries: entries.into_iter(), is_last: false }
            }
            Step::Lost { room, bounds, start } => {
                let lost = Some((wire::history_lost(&room, &bounds, start), start));
                Self { room, lost, told: None, entries: Vec::new().into_iter(), is_last: false }
            }
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

    fn telling(frame: Frame) -> Self {
        let room = RoomId::reserved("~").expect("a plain name");
        Self { room, lost: None, told: Some(frame), entries: Vec::new().into_iter(), is_last: false }
    }

    fn last(frame: Frame) -> Self {
        Self { is_last: true, ..Self::telling(frame) }
    }

    fn has_entries(&self) -> bool {
        self.lost.is_some() || !self.entries.as_slice().is_empty()
    }

    /// Offers one after another, until all are taken or there is no more room.
    fn offer_to(&mut self, outlet: &mut Outlet<'_, '_>, protocol: Protocol, places: &mut Places) -> Offer {
        if let Some(told) = &self.told {
            if outlet.offer(told, |place| places.write(place)) == Offer::Full {
                return Offer::Full;
            }
            self.told = None;
        }
        let mut offer = |frame: &Frame, at: Bookmark| {
            outlet.offer(frame, |place| {
                places.advance(&self.room, Mark::at(at));
                places.write(place);
            })
        };
        if let Some((lost, start)) = &self.lost {
            if offer(lost, *start) == Offer::Full {
                return Offer::Full;
            }
            self.lost = None;
        }
        // An entry that this protocol has no word for is not passed over in the tokens either, but by the next one.
        while let Some(entry) = self.entries.as_slice().first() {
            if let Some(frame) = frame(protocol, &self.room, entry)
                && offer(&frame, entry.bookmark()) == Offer::Full
            {
                return Offer::Full;
            }
            self.entries.next();
        }
        Offer::Taken
    }
}

/// An entry as a protocol tells it, encoded once for all its readers; `None` where it says nothing of such an entry.
fn frame(protocol: Protocol, room: &RoomId, entry: &Published) -> Option<Frame> {
    const TUTORIAL: Format = Format::new(0);
    const FULL: Format = Format::new(1);
    let bytes = match protocol {
        Protocol::Tutorial => entry.encoded(TUTORIAL, |entry| cached(wire::tutorial_event(entry))),
        Protocol::Full => entry.encoded(FULL, |entry| cached(wire::full_event(room, entry))),
    };
    Frame::from_bytes(bytes)
}

/// No frame is empty, so emptiness stands for none.
fn cached(frame: Option<Frame>) -> Bytes {
    frame.map(Frame::into_bytes).unwrap_or_default()
}
