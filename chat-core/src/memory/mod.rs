//! [`MemoryStore`]: the smallest correct store, and the model that the others are compared with.
//!
//! News and presence are [`LocalNews`] and [`LocalPresence`], the log of one room is in `room.rs`; here they become one store.

mod room;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::delivery::{Delivery, Listener, News, Progress, Ticket};
use crate::entry::{Draft, Timestamp};
use crate::error::StoreResult;
use crate::id::{DisplayName, NodeId, RoomId, SubscriberId, UserId};
use crate::local_news::LocalNews;
use crate::local_presence::LocalPresence;
use crate::log::{Appended, MessageLog, PageLimit, Replay, StoreIdentity};
use crate::position::{Bounds, Epoch, Position};
use crate::presence::{Changed, Departure, Presence, Renewed, Roster, Seat};
use room::Room;

/// Keeps everything in memory, as long as a handle to it lives. Cloning gives another handle to the same store.
///
/// Complete: it keeps every contract and passes the same conformance kit as the durable stores. Nothing survives the process. Keys are
/// kept as long as the store. No call ever waits or fails.
///
/// ```
/// use chat_core::{Appended, Author, Body, DisplayName, Draft, Kind, MemoryStore, MessageKey, MessageLog, RoomId, UserId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let room = RoomId::new("lobby")?;
/// let draft = Draft {
///     kind: Kind::Message,
///     author: Author { id: UserId::new("ada")?, name: DisplayName::new("Ada")? },
///     key: MessageKey::new("key-1")?,
///     body: Body::text("Hello!"),
/// };
///
/// let first = store.append(&room, draft.clone()).await?;
/// assert!(matches!(&first, Appended::Fresh { entry, .. } if entry.position.offset.get() == 1));
///
/// // However often it is sent: it is stored once.
/// let again = store.append(&room, draft).await?;
/// assert!(matches!(&again, Appended::Duplicate { bookmark, .. } if bookmark.offset().get() == 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    news: LocalNews,
    presence: LocalPresence,
    identity: StoreIdentity,
}

impl MemoryStore {
    /// An empty store with a random identity, on the system's clock.
    pub fn new() -> Self {
        Self::with(StdRng::from_rng(&mut rand::rng()), Clock::System)
    }

    /// An empty store whose identity and epochs follow from `seed`, and whose clock moves on by one millisecond with each append:
    /// equal calls get equal answers, which is what a simulation needs.
    pub fn seeded(seed: u64) -> Self {
        Self::with(StdRng::seed_from_u64(seed), Clock::Logical { millis: 1_700_000_000_000 })
    }

    /// A fault for tests: forgets the newest `entries` entries of a room together with their keys and keeps the epoch, as a store does
    /// that fails over to a replica which had not received them. Their offsets are given out again.
    pub fn roll_back(&self, room: &RoomId, entries: usize) {
        if let Some(room) = self.state().rooms.get_mut(room) {
            room.roll_back(entries);
        }
    }

    fn with(mut random: StdRng, clock: Clock) -> Self {
        Self {
            identity: StoreIdentity(random.random()),
            state: Arc::new(Mutex::new(State {
                rooms: BTreeMap::new(),
                progress: BTreeMap::new(),
                random,
                clock,
            })),
            news: LocalNews::default(),
            presence: LocalPresence::default(),
        }
    }

    // A std mutex: never held across an await, and every critical section is short. Ordered maps, so that nothing depends on hashing.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a panic while holding the store is a bug")
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl MessageLog for MemoryStore {
    async fn append(&self, room: &RoomId, draft: Draft) -> StoreResult<Appended> {
        let mut state = self.state();
        let appended = state.append(room, draft);
        if let Appended::Fresh { entry, .. } = &appended {
            // Under the lock, so that news comes in the order of the log.
            self.news.announce(&News::Appended { room: room.clone(), entry: Arc::new(entry.clone()) });
        }
        Ok(appended)
    }

    async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        Ok(self.state().rooms.get(room).unwrap_or(&Room::UNWRITTEN).read(after, limit))
    }

    async fn bounds(&self, rooms: &[RoomId]) -> StoreResult<Vec<Bounds>> {
        let state = self.state();
        let bounds = |room| state.rooms.get(room).map_or(Bounds::UNWRITTEN, Room::bounds);
        Ok(rooms.iter().map(bounds).collect())
    }

    async fn trim(&self, room: &RoomId, upto: Position) -> StoreResult<()> {
        if let Some(room) = self.state().rooms.get_mut(room) {
            room.trim(upto);
        }
        Ok(())
    }

    async fn redact(&self, room: &RoomId, at: Position) -> StoreResult<()> {
        if let Some(room) = self.state().rooms.get_mut(room) {
            room.redact(at);
        }
        Ok(())
    }

    async fn renew_epoch(&self, room: &RoomId, from: Epoch) -> StoreResult<Bounds> {
        Ok(self.state().renew_epoch(room, from))
    }

    async fn identity(&self) -> StoreResult<StoreIdentity> {
        Ok(self.identity)
    }
}

#[async_trait]
impl Delivery for MemoryStore {
    async fn announce(&self, news: &News) -> StoreResult<()> {
        self.news.announce(news);
        Ok(())
    }

    async fn listen(&self) -> StoreResult<Listener> {
        Ok(self.news.listen())
    }

    async fn ticket(&self) -> StoreResult<Ticket> {
        Ok(self.news.ticket())
    }

    async fn advance(
        &self,
        what: Progress,
        who: &SubscriberId,
        room: &RoomId,
        upto: Position,
    ) -> StoreResult<Position> {
        let mut state = self.state();
        let known = state.progress.entry((what, who.clone(), room.clone())).or_insert(upto);
        if known.epoch != upto.epoch || known.offset < upto.offset {
            *known = upto;
        }
        Ok(*known)
    }

    async fn progress(
        &self,
        what: Progress,
        who: &SubscriberId,
        rooms: &[RoomId],
    ) -> StoreResult<Vec<Option<Position>>> {
        let state = self.state();
        let known = |room: &RoomId| state.progress.get(&(what, who.clone(), room.clone())).copied();
        Ok(rooms.iter().map(known).collect())
    }
}

#[async_trait]
impl Presence for MemoryStore {
    async fn enter(&self, seat: &Seat, name: &DisplayName) -> StoreResult<Changed> {
        self.presence.enter(seat, name).await
    }

    async fn leave(&self, seat: &Seat) -> StoreResult<Changed> {
        self.presence.leave(seat).await
    }

    async fn renew(&self, node: NodeId, lease: Duration) -> StoreResult<Renewed> {
        self.presence.renew(node, lease).await
    }

    async fn roster(&self, room: &RoomId, after: Option<&UserId>, limit: u32) -> StoreResult<Roster> {
        self.presence.roster(room, after, limit).await
    }

    async fn lapsed(&self, limit: u32) -> StoreResult<Vec<NodeId>> {
        self.presence.lapsed(limit).await
    }

    async fn evict(&self, node: NodeId) -> StoreResult<Vec<Departure>> {
        self.presence.evict(node).await
    }
}

#[derive(Debug)]
struct State {
    rooms: BTreeMap<RoomId, Room>,
    progress: BTreeMap<(Progress, SubscriberId, RoomId), Position>,
    random: StdRng,
    clock: Clock,
}

impl State {
    fn append(&mut self, room: &RoomId, draft: Draft) -> Appended {
        let Self { rooms, random, clock, .. } = self;
        let room =
            rooms.entry(room.clone()).or_insert_with(|| Room::new(Epoch::from_random(random.random())));
        room.append(draft, || clock.now())
    }

    fn renew_epoch(&mut self, room: &RoomId, from: Epoch) -> Bounds {
        let Some(room) = self.rooms.get_mut(room) else { return Bounds::UNWRITTEN };
        // Two random epochs of 48 bits may be equal, if hardly ever.
        while room.bounds().epoch() == from {
            room.renew(Epoch::from_random(self.random.random()));
        }
        room.bounds()
    }
}

#[derive(Debug)]
enum Clock {
    System,
    Logical { millis: u64 },
}

impl Clock {
    fn now(&mut self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Logical { millis } => {
                *millis += 1;
                Timestamp::from_millis(*millis)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Author, Body, Entry, Kind};
    use crate::id::{DisplayName, MessageKey, UserId};

    fn draft(key: &str) -> Draft {
        Draft {
            kind: Kind::Message,
            author: Author { id: UserId::new("ada").unwrap(), name: DisplayName::new("Ada").unwrap() },
            key: MessageKey::new(key).unwrap(),
            body: Body::text(key),
        }
    }

    async fn append(store: &MemoryStore, room: &RoomId, key: &str) -> Entry {
        match store.append(room, draft(key)).await.unwrap() {
            Appended::Fresh { entry, .. } => entry,
            other => panic!("expected a fresh entry, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn equal_seeds_give_equal_stores() {
        let room = RoomId::new("a").unwrap();
        let (one, two, other) = (MemoryStore::seeded(1), MemoryStore::seeded(1), MemoryStore::seeded(2));
        assert_eq!(one.identity, two.identity);
        assert_ne!(one.identity, other.identity);
        assert_eq!(append(&one, &room, "k").await, append(&two, &room, "k").await);
        assert_ne!(append(&one, &room, "l").await, append(&other, &room, "l").await);
    }

    #[tokio::test]
    async fn a_roll_back_forgets_the_newest_entries_and_their_keys_but_not_the_epoch() {
        let (store, room) = (MemoryStore::new(), RoomId::new("a").unwrap());
        let mut entries = Vec::new();
        for key in ["1", "2", "3"] {
            entries.push(append(&store, &room, key).await);
        }
        store.roll_back(&room, 2);
        assert_eq!(store.bounds(std::slice::from_ref(&room)).await.unwrap()[0].head, entries[0].bookmark());
        assert_eq!(append(&store, &room, "3").await.position, entries[1].position);
        store.roll_back(&room, 9);
        assert_eq!(append(&store, &room, "1").await.position, entries[0].position);
    }
}
