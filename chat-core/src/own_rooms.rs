//! The rooms of a user: reads the facts about them, and writes what is not among them yet.
//!
//! What facts add up to is in `facts.rs`. Nothing of it is kept in memory but which private rooms both users have been told of, so that only their first
//! post costs more than any other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use futures_util::future::{try_join, try_join_all};

use crate::authority::Action;
use crate::chat::{Chat, ChatError, Receipt};
use crate::delivery::Delivery;
use crate::entry::{Author, Entry};
use crate::error::{StoreError, StoreResult};
use crate::facts::{Fact, Facts, OwnRoom, With};
use crate::id::{DisplayName, RoomId, UserId};
use crate::log::{PageLimit, Replay};
use crate::mutants::{Mutant, mutated};
use crate::position::{Bookmark, Epoch, Offset, Position};
use crate::post::append_fact;
use crate::room::Room;
use crate::rooms::{Rooms, shut_down};

/// Private rooms that a node remembers to have told both of; some 4 MB.
const TOLD_MAX: usize = 16_384;
/// How often something is tried that others write to at the same time, or trim.
const TRIES: usize = 8;
/// Facts read at once.
const PAGE: PageLimit = PageLimit { entries: NonZeroU32::new(1_000).expect("not zero"), bytes: 1 << 20 };

/// The rooms of a user, as of one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OwnRooms {
    /// In the order of their names.
    pub rooms: Vec<OwnRoom>,
    /// The last fact that was looked at: what comes after it may change them.
    pub at: Bookmark,
    left: BTreeMap<Offset, RoomId>,
}

impl OwnRooms {
    /// The room that has or had a [handle](OwnRoom::handle). What was left is known until the facts are compacted.
    pub fn named(&self, handle: Offset) -> Option<&RoomId> {
        let own = self.rooms.iter().find(|own| own.handle == handle).map(|own| &own.room);
        own.or_else(|| self.left.get(&handle))
    }
}

impl Chat {
    /// The rooms of a user: those that it has joined, and its private ones. For the application itself: nobody is asked.
    ///
    /// A private room that another one has opened is among them from the moment before its first message is stored.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn own_rooms(&self, who: &UserId) -> Result<OwnRooms, StoreError> {
        Ok(read(self.rooms(), &RoomId::facts_of(who)).await?.into())
    }

    /// Makes a room one of the user's own, once, and answers its handle. If it is not yet, the [`Authority`](crate::Authority) is asked whether the user may
    /// join.
    ///
    /// # Errors
    /// [`ChatError::TooManyOwnRooms`], [`ChatError::Forbidden`], or [`ChatError::Store`]: repeat it.
    pub async fn remember_room(&self, who: &UserId, room: &RoomId) -> Result<Offset, ChatError> {
        let handles = self.remember_rooms(who, std::slice::from_ref(room)).await?;
        handles.first().copied().ok_or_else(|| changing().into())
    }

    /// As [`Chat::remember_room`] for several rooms at once; one call of the log if they are the user's already.
    ///
    /// # Errors
    /// As [`Chat::remember_room`]; then some of them may be the user's.
    pub async fn remember_rooms(&self, who: &UserId, rooms: &[RoomId]) -> Result<Vec<Offset>, ChatError> {
        let place = RoomId::facts_of(who);
        let facts = read(self.rooms(), &place).await?;
        let remember = rooms.iter().map(|room| {
            let (place, facts) = (&place, &facts);
            async move {
                if let Some(own) = facts.get(room) {
                    return Ok(own.handle);
                }
                self.authorise(who, room, Action::Join).await?;
                let fact = match room.is_direct() {
                    true => Fact::Direct { room: room.clone(), with: None, asked: true },
                    false => {
                        Fact::Joined { room: room.clone(), from: self.bounds(room).await?.head.offset() }
                    }
                };
                let (facts, written) = self.make_true(place, fact).await?;
                Ok(facts.get(room).map(|own| own.handle).or(written).ok_or_else(changing)?)
            }
        });
        try_join_all(remember).await
    }

    /// The room is no longer one of the user's own. A private one stays: it is theirs for as long as there are the two.
    ///
    /// # Errors
    /// If the store fails: repeat it.
    pub async fn forget_room(&self, who: &UserId, room: &RoomId) -> Result<(), ChatError> {
        if room.is_direct() {
            return Ok(());
        }
        self.make_true(&RoomId::facts_of(who), Fact::Left { room: room.clone() }).await?;
        Ok(())
    }

    /// The private room of two users. It is the asker's own from then on, and the other one's when something is posted there.
    ///
    /// Whether there is such a user is not looked at.
    ///
    /// # Errors
    /// [`ChatError::TooManyOwnRooms`], [`ChatError::Forbidden`], or [`ChatError::Store`]: repeat it.
    pub async fn direct(&self, who: &Author, other: &UserId) -> Result<RoomId, ChatError> {
        let room = RoomId::direct(&who.id, other);
        self.authorise(&who.id, &room, Action::Join).await?;
        let name = (who.id == *other).then(|| who.name.clone());
        let with = Some(With::new(other.clone(), name));
        let fact = Fact::Direct { room: room.clone(), with, asked: true };
        self.make_true(&RoomId::facts_of(&who.id), fact).await?;
        Ok(room)
    }

    /// Before something is posted to a private room: both have the fact, so that no message is stored that nobody is told of.
    pub(crate) async fn tell_both(
        &self,
        who: &UserId,
        name: &DisplayName,
        room: &RoomId,
    ) -> Result<(), ChatError> {
        let Some([first, second]) = room.facts_of_both() else { return Ok(()) };
        let own = RoomId::facts_of(who);
        let told = (room.clone(), own == first);
        if self.told().contains(&told) || mutated(Mutant::TellNobody) {
            return Ok(());
        }
        let theirs = if own == first { second } else { first };
        let with = Some(With::new(who.clone(), Some(name.clone())));
        if own == theirs {
            self.make_true(&own, Fact::Direct { room: room.clone(), with, asked: true }).await?;
        } else {
            let mine = Fact::Direct { room: room.clone(), with: None, asked: true };
            let to_other = Fact::Direct { room: room.clone(), with, asked: false };
            let others = async {
                let told = self.make_true(&theirs, to_other).await;
                told.map_err(|error| match error {
                    ChatError::TooManyOwnRooms { .. } => ChatError::TheirRoomsFull,
                    other => other,
                })
            };
            try_join(self.make_true(&own, mine), others).await?;
        }
        self.told().insert(told);
        Ok(())
    }

    /// Sees to it that `fact` is among the facts at `place`. Answers them, and where it was written if it was by this call.
    async fn make_true(&self, place: &RoomId, fact: Fact) -> Result<(Facts, Option<Offset>), ChatError> {
        let rooms = self.rooms();
        for _ in 0..TRIES {
            let mut facts = read(rooms, place).await?;
            let Some(key) = facts.missing(&fact) else { return Ok((facts, None)) };
            self.check_count(&facts, &fact)?;
            if rooms.tasks.is_closed() {
                return Err(shut_down().into());
            }
            match append_fact(rooms, self.delivery(), place, key, fact.body()).await {
                Ok(Receipt { bookmark, duplicate: false, .. }) => {
                    if bookmark.offset() == facts.head.offset().next() {
                        facts.push(bookmark, fact);
                    } else {
                        facts = read(rooms, place).await?;
                    }
                    if facts.is_due() {
                        rooms.tasks.spawn(compact(rooms.clone(), self.delivery().clone(), place.clone()));
                    }
                    return Ok((facts, Some(bookmark.offset())));
                }
                // Another one has come first, and said as much or more.
                Ok(_) | Err(ChatError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(changing().into())
    }

    /// Those that a user wants and those that others have opened are counted apart, so that strangers cannot keep anybody from joining rooms.
    fn check_count(&self, facts: &Facts, fact: &Fact) -> Result<(), ChatError> {
        let (room, asked) = match fact {
            Fact::Joined { room, .. } => (room, true),
            Fact::Direct { room, asked, .. } => (room, *asked),
            Fact::Left { .. } | Fact::Kept { .. } => return Ok(()),
        };
        let max = self.limits().rooms_per_user_max;
        if facts.get(room).is_none() && max <= facts.count(asked) {
            return Err(ChatError::TooManyOwnRooms { max });
        }
        Ok(())
    }
}

fn changing() -> StoreError {
    StoreError::unavailable("chat", "the facts about a user change too quickly")
}

/// The rooms of a user, if all facts that the log keeps are in the tail of their open room.
pub(crate) fn in_memory(place: &Room) -> Option<OwnRooms> {
    let state = place.lock();
    let (bounds, tail) = (state.bounds()?, state.tail.as_ref()?);
    let head = tail.head();
    let kept = head.offset().get().saturating_sub(bounds.trimmed.offset().get());
    let all = (0..kept).map(|back| tail.at(head.offset().minus(back)).map(|entry| Entry::clone(entry)));
    let mut entries = all.collect::<Option<Vec<Entry>>>()?;
    entries.reverse();
    Some(Facts::fold(&entries, head).into())
}

impl From<Facts> for OwnRooms {
    fn from(facts: Facts) -> Self {
        let at = facts.head;
        let (rooms, left) = facts.into_rooms();
        Self { rooms, at, left }
    }
}

/// All facts that the log keeps at `place`.
async fn read(rooms: &Arc<Rooms>, place: &RoomId) -> StoreResult<Facts> {
    // Before the first entry every epoch reads alike, so nobody need be asked which it is.
    let mut after = Position { epoch: Epoch::UNWRITTEN, offset: Offset::ZERO };
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..TRIES {
        loop {
            match rooms.pages.read(place, after, PAGE).await? {
                Replay::Page { entries: page, head } => {
                    entries.extend(page);
                    match entries.last() {
                        Some(last) if last.position.offset < head.offset() => after = last.position,
                        _ => return Ok(Facts::fold(&entries, head)),
                    }
                }
                // It was compacted; begun anew with what is left.
                Replay::Lost { bounds } => {
                    entries.clear();
                    after = bounds.trimmed.position;
                    break;
                }
            }
        }
    }
    Err(changing())
}

/// Writes a snapshot, and only then trims what it has taken in. Whoever does so at the same time, or is cut off, does no harm: see `facts.rs`.
async fn compact(rooms: Arc<Rooms>, delivery: Arc<dyn Delivery>, place: RoomId) {
    let compacted = async {
        let facts = read(&rooms, &place).await?;
        if !facts.is_due() {
            return Ok(());
        }
        let upto = facts.head.position;
        if mutated(Mutant::TrimBeforeSnapshot) {
            rooms.log.trim(&place, upto).await?;
        }
        for part in facts.snapshot() {
            let Some(key) = facts.missing(&part) else { continue };
            append_fact(&rooms, &delivery, &place, key, part.body()).await?;
        }
        rooms.log.trim(&place, upto).await?;
        rooms.pages.forget(&place);
        rooms.suspect(&place);
        Ok::<_, ChatError>(())
    };
    if let Err(error) = compacted.await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "the facts about a user were not compacted; the next one does it"
        );
    }
}

/// Which private rooms both users have been told of, by whose post: bounded, the oldest go first.
#[derive(Debug, Default)]
pub(crate) struct Told {
    rooms: BTreeSet<(RoomId, bool)>,
    order: VecDeque<(RoomId, bool)>,
}

impl Told {
    fn contains(&self, told: &(RoomId, bool)) -> bool {
        self.rooms.contains(told)
    }

    fn insert(&mut self, told: (RoomId, bool)) {
        if self.rooms.insert(told.clone()) {
            self.order.push_back(told);
        }
        if TOLD_MAX < self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.rooms.remove(&oldest);
        }
    }
}

/// What [`Chat`] keeps for this file.
pub(crate) type SharedTold = Mutex<Told>;
