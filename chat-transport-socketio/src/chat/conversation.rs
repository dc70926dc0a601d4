//! What is known of one connection: who it is, what it has read, and what is due to it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::vec;

use bytes::Bytes;
use chat_core::{
    Bookmark, Budget, DisplayName, Format, Joined, Published, Reader, RoomId, Run, Since, Step, Told, Typing,
};

use super::identity::Identity;
use super::places::{Mark, Places};
use super::problem::Problem;
use super::rate::Spent;
use super::wire;
use crate::{Frame, Offer, Outlet, Pull, Source};

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
    reader: Reader,
    places: Mutex<Places>,
    pub(super) spent: Arc<Spent>,
    due: Mutex<Option<Due>>,
}

/// What the reader has given and the link has not taken yet, of one room.
#[derive(Debug)]
struct Due {
    room: RoomId,
    what: What,
}

#[derive(Debug)]
enum What {
    Lost(Frame, Bookmark),
    Entries(vec::IntoIter<Arc<Published>>),
    /// They are no entries: no place moves by them.
    Notices(vec::IntoIter<Arc<Published<Told>>>),
}

impl Conversation {
    /// In no room yet. `base` is where the rooms of its `pid` began, if it has one already.
    pub(super) fn new(
        identity: Identity,
        protocol: Protocol,
        reader: Reader,
        spent: Arc<Spent>,
        base: &[(RoomId, Mark)],
    ) -> Self {
        let places = Mutex::new(Places::new(base));
        Self { identity, protocol, reader, places, spent, due: Mutex::default() }
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

    fn due(&self) -> MutexGuard<'_, Option<Due>> {
        self.due.lock().expect("a panic while holding what is due is a bug")
    }
}

/// Where a client is that was told that it `joined`.
pub(super) fn place(joined: &Joined) -> Mark {
    if joined.lost { Mark::untold(joined.start) } else { Mark::at(joined.start) }
}

/// The entries and notices of all rooms of one connection, for as long as it lasts.
#[derive(Debug)]
pub(super) struct Entries(pub(super) Arc<Conversation>);

impl Source for Entries {
    fn poll_pull(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_, '_>) -> Poll<Pull> {
        let Conversation { reader, protocol, .. } = &*self.0;
        let mut places = self.0.places();
        let mut waiting = self.0.due();
        loop {
            if let Some(due) = &mut *waiting
                && due.offer_to(outlet, *protocol, &mut places) == Offer::Full
            {
                return Poll::Ready(Pull::Full);
            }
            *waiting = None;
            // The reader is not asked for what there is no room for.
            if !outlet.has_room_for(1) {
                return Poll::Ready(Pull::Full);
            }
            *waiting = match reader.poll_next(cx, BUDGET) {
                Poll::Ready(step) => Due::from(step),
                Poll::Pending => return Poll::Pending,
            };
        }
    }

    fn place(&self, place: &mut Vec<u8>) {
        self.0.places().write(place);
    }
}

impl Due {
    fn from(step: Step) -> Option<Self> {
        Some(match step {
            Step::Run(Run { room, entries }) => Self { room, what: What::Entries(entries.into_iter()) },
            Step::Lost { room, bounds, start } => {
                let what = What::Lost(wire::history_lost(&room, &bounds, start), start);
                Self { room, what }
            }
            Step::Notices { room, notices } => Self { room, what: What::Notices(notices.into_iter()) },
            // Nothing that these protocols have a word for.
            _ => return None,
        })
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
