//! [`Chat`]: the engine's front door. Wires the parts and forwards; what they do is in their own files.

use std::fmt;
use std::sync::{Arc, MutexGuard};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::attendance::Attendee;
use crate::authority::{Action, Authority, Everyone, Who};
use crate::backends::Backends;
use crate::board::Board;
use crate::delivery::Delivery;
use crate::direct;
use crate::entry::{Draft, Timestamp};
use crate::error::StoreError;
use crate::history::{self, History, HistoryLimit};
use crate::id::{NodeId, Reason, RoomId, UserId};
use crate::limits::Limits;
use crate::listen::listen;
use crate::log::StoreIdentity;
use crate::moderating::Moderating;
use crate::moderation::{Measure, Removal};
use crate::mutants::{Mutant, mutated};
use crate::notice::Notice;
use crate::own_rooms::{SharedTold, Told};
use crate::people::People;
use crate::position::{Bookmark, Bounds, Offset, Position};
use crate::post::{append, redact, settled};
use crate::presence::Roster;
use crate::read_marks::ReadMarks;
use crate::reader::Reader;
use crate::roll_call::RollCall;
use crate::rooms::{Rooms, shut_down};
use crate::turns::Attending;

/// Why the engine refused something.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The store failed; see there whether to try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The [`Authority`] does not allow it, or the room is a private one of others, or reserved.
    #[error("not allowed in this room")]
    Forbidden,
    /// The user is [banned](Measure::Ban) from this room, or from the chat.
    #[error("banned{}", told(removal.until, removal.reason.as_ref()))]
    Banned {
        /// For how long, and why.
        removal: Removal,
    },
    /// The user is [muted](Measure::Mute).
    #[error("muted{}", told(*until, reason.as_ref()))]
    Muted {
        /// For how long; `None`: until it is lifted.
        until: Option<Timestamp>,
        /// In the words of whoever did it.
        reason: Option<Reason>,
    },
    /// The reader was [signed out](Measure::SignOut): it is in no room any more.
    #[error("signed out")]
    SignedOut,
    /// Nothing can be done against somebody who [manages](Action::Manage) the room as well.
    #[error("this user manages the room, too")]
    ManagesToo,
    /// As many bans and mutes as are remembered.
    #[error("at most {max} bans and mutes are remembered; lift some")]
    TooManySanctions {
        /// The limit.
        max: usize,
    },
    /// The author has used the key for something else in this room.
    #[error("this id was used for another message")]
    Conflict {
        /// Where that is.
        bookmark: Bookmark,
    },
    /// The body is too large.
    #[error("a message has at most {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// The reader is in as many rooms as it can be.
    #[error("a connection can be in at most {max} rooms")]
    TooManyRooms {
        /// The limit.
        max: usize,
    },
    /// The user has as many rooms of its own as it may.
    #[error("a user has at most {max} rooms of its own; leave one first")]
    TooManyOwnRooms {
        /// The limit.
        max: usize,
    },
    /// The other one of a private room has as many of them that it never answered in as it may.
    #[error("the other user takes no more private rooms for now")]
    TheirRoomsFull,
    /// The reader is not in the room.
    #[error("not in this room")]
    NotInRoom,
    /// Nobody keeps who is there; see [`ChatBuilder::without_presence`].
    #[error("who is there is not kept here")]
    NoPresence,
}

/// For how long, and why, as an end of a sentence.
fn told(until: Option<Timestamp>, reason: Option<&Reason>) -> String {
    let until = until.map(|until| format!(" until {} (milliseconds since 1970)", until.millis()));
    let reason = reason.map(|reason| format!(": {reason}"));
    format!("{}{}", until.unwrap_or_default(), reason.unwrap_or_default())
}

/// The answer to a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the message is: the same for every repeat.
    pub bookmark: Bookmark,
    /// When it was stored.
    pub at: Timestamp,
    /// It had been stored before this call.
    pub duplicate: bool,
}

/// The engine. Cloning it is a reference count; the last clone (readers included) that is dropped ends its background tasks.
#[derive(Clone)]
pub struct Chat {
    shared: Arc<Shared>,
}

struct Shared {
    rooms: Arc<Rooms>,
    delivery: Arc<dyn Delivery>,
    authority: Arc<dyn Authority>,
    told: SharedTold,
    read_marks: Arc<ReadMarks>,
    people: Arc<People>,
    moderating: Arc<Moderating>,
    board: Arc<Board>,
    /// `None` where nobody keeps who is there.
    roll_call: Option<Arc<RollCall>>,
    /// Ends the background tasks.
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

/// Settings of a [`Chat`] to be.
#[derive(Debug)]
pub struct ChatBuilder {
    backends: Backends,
    limits: Limits,
    authority: Arc<dyn Authority>,
    node: Option<NodeId>,
    has_presence: bool,
}

impl ChatBuilder {
    /// Other bounds than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Who may do what; [`Everyone`] everything but manage, if not said otherwise.
    #[must_use]
    pub fn authority(mut self, authority: impl Authority) -> Self {
        self.authority = Arc::new(authority);
        self
    }

    /// Does not keep who is there: nobody is told of anybody's coming and going, and [`Chat::members`] is refused.
    #[must_use]
    pub fn without_presence(mut self) -> Self {
        self.has_presence = false;
        self
    }

    /// The number of this node, which no other has or had over the same store; a random one, if not said otherwise.
    #[must_use]
    pub fn node(mut self, node: NodeId) -> Self {
        self.node = Some(node);
        self
    }

    /// Begins to listen for news, on the current tokio runtime.
    ///
    /// # Errors
    /// If the store cannot be listened to.
    pub async fn start(self) -> Result<Chat, StoreError> {
        let Backends { log, delivery, presence } = self.backends;
        let listener = delivery.listen().await?;
        let stop = CancellationToken::new();
        let rooms = Rooms::new(log, listener.interest.clone(), self.limits, stop.clone());
        spawn_until(&stop, {
            let rooms = rooms.clone();
            async move { rooms.waves.run().await }
        });
        spawn_until(&stop, {
            let rooms = rooms.clone();
            async move { rooms.sweep().await }
        });
        spawn_until(&stop, {
            let rooms = rooms.clone();
            async move { rooms.close_idle().await }
        });
        let node = self.node.unwrap_or_else(|| NodeId(rand::random()));
        let presence = self.has_presence.then_some(presence);
        let board = Board::new(rooms.clone(), delivery.clone(), presence.clone(), node, stop.clone());
        spawn_until(&stop, {
            let board = board.clone();
            async move { board.keep_time().await }
        });
        spawn_until(&stop, {
            let board = board.clone();
            async move { board.sweep().await }
        });
        let roll_call = presence.map(|presence| RollCall::new(presence, board.clone()));
        if let Some(roll_call) = &roll_call {
            spawn_until(&stop, {
                let roll_call = roll_call.clone();
                async move { roll_call.tell_the_store().await }
            });
            spawn_until(&stop, {
                let roll_call = roll_call.clone();
                async move { roll_call.keep_the_lease(node).await }
            });
        }
        let people = Arc::new(People::default());
        spawn_until(&stop, listen(rooms.clone(), board.clone(), people.clone(), delivery.clone(), listener));
        let moderating = Moderating::new(rooms.clone(), delivery.clone(), people.clone(), stop.clone());
        // Before anybody is served, if the store is there; else nobody is let in before it is.
        let loaded = moderating.load().await;
        spawn_until(&stop, moderating.clone().follow(loaded));
        let _stop_on_drop = stop.clone().drop_guard();
        let (told, read_marks) =
            (SharedTold::default(), ReadMarks::new(delivery.clone(), Some(board.clone())));
        Ok(Chat {
            shared: Arc::new(Shared {
                rooms,
                delivery,
                authority: self.authority,
                told,
                read_marks,
                people,
                moderating,
                board,
                roll_call,
                stop,
                _stop_on_drop,
            }),
        })
    }
}

impl Chat {
    /// An engine over `backends`.
    pub fn builder(backends: Backends) -> ChatBuilder {
        ChatBuilder {
            backends,
            limits: Limits::default(),
            authority: Arc::new(Everyone),
            node: None,
            has_presence: true,
        }
    }

    /// Stores a draft, once, and wakes the room's readers.
    ///
    /// - **Durable:** on `Ok` the message is stored.
    /// - **Once:** a repeat with the same author and key answers the position of the first.
    /// - The engine does not ask whether the author is in the room; the [`Authority`] is asked whether it may post.
    /// - **Told:** before the first message of a [private room](RoomId::direct) is stored, the room is one of both users' [own](Chat::own_rooms).
    ///
    /// # Errors
    /// [`ChatError::Store`] with [`Unavailable`](StoreError::Unavailable) (nothing was stored) or [`Indeterminate`](StoreError::Indeterminate) (it
    /// may have been): repeat it with the same key. [`ChatError::Conflict`], [`ChatError::TooLarge`] and [`ChatError::Forbidden`] are final; for a private room there are also [`ChatError::TheirRoomsFull`]
    /// and [`ChatError::TooManyOwnRooms`].
    ///
    /// # Cancellation
    /// Safe: the post goes on in a task of its own, so that what was stored is also shown.
    pub async fn post(&self, room: &RoomId, draft: Draft) -> Result<Receipt, ChatError> {
        let who = draft.author.id.clone();
        self.post_for(&who, room, draft).await
    }

    /// As [`Chat::post`], for somebody who posts in another's name (a scope of keys that several share, a bot of theirs): the [`Authority`] is
    /// asked whether `who` may post.
    ///
    /// # Errors
    /// As [`Chat::post`].
    ///
    /// # Cancellation
    /// Safe, as [`Chat::post`].
    pub async fn post_for(&self, who: &UserId, room: &RoomId, draft: Draft) -> Result<Receipt, ChatError> {
        let max = self.limits().body_bytes_max;
        if max < draft.body.bytes() {
            return Err(ChatError::TooLarge { max });
        }
        if !mutated(Mutant::PostUnasked) {
            self.authorise(who, room, Action::Post).await?;
        }
        self.check_running()?;
        self.tell_both(who, &draft.author.name, room).await?;
        let append = append(self.shared.rooms.clone(), self.shared.delivery.clone(), room.clone(), draft);
        let append = self.shared.rooms.tasks.spawn(append);
        if mutated(Mutant::AnswerBeforeCommit) {
            let Bounds { head, .. } = Bounds::UNWRITTEN;
            return Ok(Receipt { bookmark: head, at: Timestamp::from_millis(0), duplicate: false });
        }
        settled(append).await
    }

    /// A reader of `who`, in no room yet. It only reads: the others do not see that it is there, and it is not told of them. The roles of `who` are
    /// those that the user has from now on, on this node.
    pub fn reader(&self, who: impl Into<Who>) -> Reader {
        Reader::new(self.clone(), who.into(), None)
    }

    /// A reader for a connection whose user is there for the others, in no room yet, and which is told who is there with it, who types and
    /// who has read how far: [`Step::Notices`](crate::Step::Notices).
    ///
    /// - **Seen soon, never waited for:** a join does not wait for the store to know of it. Until the store can be told it is tried again.
    /// - **Gone at once or after a grace:** who [leaves](Reader::leave) a room with its last connection there is gone from it at once; who drops the
    ///   reader is gone after [`Limits::presence_grace`], unless a reader of the same connection is back by then.
    /// - **Late by a bound:** while the store answers, everybody who is told knows a change at once, and after a loss of news within
    ///   [`Limits::presence_sweep_interval`]. When a node dies, its users are gone after [`Limits::presence_lease`] and a third of it more.
    pub fn reader_as(&self, attendee: Attendee) -> Reader {
        let who = Who { id: attendee.who.id.clone(), roles: attendee.roles.clone() };
        let (board, roll_call) = (self.shared.board.clone(), self.shared.roll_call.clone());
        Reader::new(self.clone(), who, Some(Attending { attendee, roll_call, board }))
    }

    /// A page of the people in a room, in order of their ids: at most `limit` of those after `after`.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`], [`ChatError::NoPresence`], or [`ChatError::Store`].
    pub async fn members(
        &self,
        who: &UserId,
        room: &RoomId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Roster, ChatError> {
        self.authorise(who, room, Action::SeeMembers).await?;
        let roster = self.shared.board.roster(room, after, limit).await.ok_or(ChatError::NoPresence)?;
        Ok(roster?)
    }

    /// Tells those in a room how far `user` has read it. Best effort, and nothing is remembered: who comes later is not told. For the
    /// application itself: nobody is asked.
    pub fn tell_read(&self, room: &RoomId, user: &UserId, upto: Offset) {
        self.shared.board.tell(room, Notice::Read { user: user.clone(), offset: upto });
    }

    /// Whether `who` may be here at all. To be asked after [`Chat::reader`]: whoever is banned in between is told by that reader.
    ///
    /// # Errors
    /// [`ChatError::Banned`], or [`ChatError::Store`] while it is not known.
    pub fn admits(&self, who: &UserId) -> Result<(), ChatError> {
        self.shared.moderating.check(who, None, Action::Join)
    }

    /// Bans, mutes, removes or signs out somebody, or ends that. For the application itself: nobody is asked.
    ///
    /// - **Durable:** when this returns `Ok` it is stored, and holds after every restart and on every node that has heard of it.
    /// - **At once:** from then on no entry reaches a reader of this node that was taken out of a room, and whoever is kept out does not come in.
    ///   Other nodes do the same as soon as they have heard of it.
    /// - **Told:** the readers concerned return [`Step::Removed`](crate::Step::Removed) or [`Step::SignedOut`](crate::Step::SignedOut).
    ///
    /// ```
    /// use chat_core::{Backends, Chat, ChatError, Measure, MemoryStore, RoomId, Since, Step, UserId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = Chat::builder(Backends::from_store(MemoryStore::new())).start().await?;
    /// let (lobby, eve) = (RoomId::new("lobby")?, UserId::new("eve")?);
    /// let reader = chat.reader(eve.clone());
    /// reader.join(&lobby, Since::Now).await?;
    ///
    /// let ban = Measure::Ban { user: eve, room: Some(lobby.clone()), until: None, reason: None };
    /// chat.moderate(&ban).await?;
    /// assert!(matches!(reader.next(Default::default()).await, Step::Removed { room, .. } if room == lobby));
    /// assert!(matches!(reader.join(&lobby, Since::Now).await, Err(ChatError::Banned { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ChatError::Store`]: it may have been stored; repeat it. [`ChatError::TooManySanctions`].
    ///
    /// # Cancellation
    /// What is stored is carried out, whether or not somebody waits for it.
    pub async fn moderate(&self, measure: &Measure) -> Result<(), ChatError> {
        self.check_running()?;
        self.shared.moderating.decide(measure).await
    }

    /// As [`Chat::moderate`], in the name of `who`, who must be allowed to [manage](Action::Manage) the room; for a measure that is about all
    /// rooms there is nobody to ask, so it is refused. Nothing can be done against somebody who may manage the room as well, as far as that is
    /// known here: see [`Who::roles`].
    ///
    /// # Errors
    /// As [`Chat::moderate`]; [`ChatError::Forbidden`], [`ChatError::Banned`], [`ChatError::ManagesToo`].
    pub async fn moderate_for(&self, who: &UserId, measure: &Measure) -> Result<(), ChatError> {
        let room = measure.room().ok_or(ChatError::Forbidden)?;
        self.authorise(who, room, Action::Manage).await?;
        if measure.is_against() {
            let target = self.shared.people.who(measure.user());
            if self.shared.authority.allows(&target, room, Action::Manage).await? {
                return Err(ChatError::ManagesToo);
            }
        }
        self.moderate(measure).await
    }

    /// How far moderation is, to be kept with a session that begins now: see [`Chat::is_signed_out`].
    ///
    /// # Errors
    /// It is not known yet.
    pub fn moderation_mark(&self) -> Result<u64, StoreError> {
        self.shared.moderating.mark()
    }

    /// Whether a session of `who` that began at [`mark`](Chat::moderation_mark) was ended by [`Measure::SignOut`] since.
    ///
    /// # Errors
    /// It is not known yet.
    pub fn is_signed_out(&self, who: &UserId, mark: u64) -> Result<bool, StoreError> {
        self.shared.moderating.is_signed_out(who, mark)
    }

    /// The newest messages of a room before `before`, or before its end, for scrolling up.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`], or [`ChatError::Store`].
    pub async fn history(
        &self,
        who: &UserId,
        room: &RoomId,
        before: Option<crate::Offset>,
        limit: HistoryLimit,
    ) -> Result<History, ChatError> {
        if !mutated(Mutant::ScrollUnasked) {
            self.authorise(who, room, Action::History).await?;
        }
        history::page(&self.shared.rooms, room, before, limit).await
    }

    /// What the log keeps of a room. For the application itself: nobody is asked.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn bounds(&self, room: &RoomId) -> Result<Bounds, StoreError> {
        self.shared.rooms.bounds(room).await
    }

    /// Removes the body of one message for good, here and on the other nodes. For the application itself: nobody is asked.
    ///
    /// # Errors
    /// If the store fails; repeat it. [`Unavailable`](StoreError::Unavailable) after [`shutdown`](Self::shutdown).
    ///
    /// # Cancellation
    /// Safe: it goes on in a task of its own, so that what is gone from the store goes from memory, too.
    pub async fn redact(&self, room: &RoomId, at: Position) -> Result<(), StoreError> {
        self.check_running()?;
        let redact = redact(self.shared.rooms.clone(), self.shared.delivery.clone(), room.clone(), at);
        let redacted = self.shared.rooms.tasks.spawn(redact).await;
        redacted.unwrap_or_else(|broken| Err(StoreError::indeterminate("chat", broken)))
    }

    /// Forgets the messages of a room up to and including `upto`. For the application itself: nobody is asked.
    ///
    /// # Errors
    /// As [`redact`](Self::redact).
    ///
    /// # Cancellation
    /// As [`redact`](Self::redact).
    pub async fn trim(&self, room: &RoomId, upto: Position) -> Result<(), StoreError> {
        self.check_running()?;
        let (rooms, room) = (self.shared.rooms.clone(), room.clone());
        let trim = async move {
            rooms.log.trim(&room, upto).await?;
            rooms.pages.forget(&room);
            rooms.suspect(&room);
            Ok(())
        };
        let trimmed = self.shared.rooms.tasks.spawn(trim).await;
        trimmed.unwrap_or_else(|broken| Err(StoreError::indeterminate("chat", broken)))
    }

    /// Names the store for its whole life; fails while the store is away.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn store_identity(&self) -> Result<StoreIdentity, StoreError> {
        self.shared.rooms.log.identity().await
    }

    /// The bounds it works within.
    pub fn limits(&self) -> &Limits {
        &self.shared.rooms.limits
    }

    /// Changes nothing more, neither by posts nor otherwise, and returns when what is under way has ended and the background tasks are told to.
    pub async fn shutdown(&self) {
        self.shared.rooms.tasks.close();
        self.shared.stop.cancel();
        self.shared.rooms.tasks.wait().await;
    }

    fn check_running(&self) -> Result<(), StoreError> {
        if self.shared.rooms.tasks.is_closed() { Err(shut_down()) } else { Ok(()) }
    }

    pub(crate) fn rooms(&self) -> &Arc<Rooms> {
        &self.shared.rooms
    }

    pub(crate) fn delivery(&self) -> &Arc<dyn Delivery> {
        &self.shared.delivery
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.shared.told.lock().expect("a panic while holding what was told is a bug")
    }

    pub(crate) fn read_marks(&self) -> &Arc<ReadMarks> {
        &self.shared.read_marks
    }

    pub(crate) fn people(&self) -> &Arc<People> {
        &self.shared.people
    }

    pub(crate) fn moderating(&self) -> &Moderating {
        &self.shared.moderating
    }

    pub(crate) async fn authorise(
        &self,
        who: &UserId,
        room: &RoomId,
        action: Action,
    ) -> Result<(), ChatError> {
        // First, so that a stranger gets the same answer whatever the room is, and at the same cost.
        if direct::keeps_out(who, room) {
            return Err(ChatError::Forbidden);
        }
        self.shared.moderating.check(who, Some(room), action)?;
        match self.shared.authority.allows(&self.shared.people.who(who), room, action).await? {
            true => Ok(()),
            false => Err(ChatError::Forbidden),
        }
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat").field("limits", self.limits()).finish_non_exhaustive()
    }
}

fn spawn_until(stop: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled_owned(task).await });
}
