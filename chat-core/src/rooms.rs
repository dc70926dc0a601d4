//! The rooms that this node watches: opened by the first reader, and closed when nobody comes back.
//!
//! Watching comes before looking, and the other way round when a room is closed; a room's gate keeps the two apart. `heal.rs` keeps an open
//! room at what the log has, `sweep.rs` finds out when it fell behind.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use futures_util::future::{WeakShared, join_all};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::asking::Asking;
use crate::delivery::Interest;
use crate::entry::Entry;
use crate::error::{StoreError, StoreResult};
use crate::id::RoomId;
use crate::limits::Limits;
use crate::log::MessageLog;
use crate::mutants::{Mutant, mutated};
use crate::page::Pages;
use crate::position::{Bounds, Position};
use crate::published::Published;
use crate::registry::Registry;
use crate::room::{Effect, Room, State};
use crate::standing::Standing;
use crate::suspicion::Suspicion;
use crate::tail::Tail;
use crate::task::in_a_task;
use crate::waves::Waves;

/// Rooms that are watched anew, or closed, at the same time.
const AT_ONCE: usize = 64;

pub(crate) struct Rooms {
    pub(crate) log: Arc<dyn MessageLog>,
    pub(crate) pages: Arc<Pages>,
    pub(crate) limits: Limits,
    pub(crate) waves: Waves,
    /// What must end before the engine does: posts and their announcements.
    pub(crate) tasks: TaskTracker,
    /// Ends what need not.
    stop: CancellationToken,
    asking: Arc<Asking>,
    pub(crate) standing: Arc<Standing>,
    interest: RwLock<Arc<dyn Interest>>,
    registry: Mutex<Registry>,
    /// A room has become idle.
    idled: Notify,
    /// Somebody waits for a room to be closed; one was.
    crowded: Notify,
    closed: Notify,
    pub(crate) suspicion: Mutex<Suspicion>,
    pub(crate) suspected: Notify,
    started: Instant,
    /// Held by all tails, in bytes.
    tail_bytes: AtomicUsize,
}

/// Keeps a room open.
pub(crate) struct Hold {
    pub(crate) room: Arc<Room>,
    rooms: Arc<Rooms>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.rooms.registry().let_go(&self.room.id);
        self.rooms.idled.notify_one();
    }
}

/// Ends an attempt to open a room. Whoever waited for it and is not polled still has the answer, which is nothing to those who come later.
struct Landing<'a> {
    room: &'a Room,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        if !mutated(Mutant::KeepFailedOpening) {
            self.room.lock().opening = None;
        }
    }
}

impl Rooms {
    pub(crate) fn new(
        log: Arc<dyn MessageLog>,
        interest: Arc<dyn Interest>,
        limits: Limits,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let interval_ms = u64::try_from(limits.sweep_interval.as_millis()).unwrap_or(u64::MAX);
        let pages = Pages::new(log.clone(), &limits);
        Arc::new(Self {
            standing: Standing::new(pages.clone(), &limits),
            pages,
            asking: Asking::new(log.clone()),
            log,
            waves: Waves::default(),
            tasks: TaskTracker::new(),
            stop,
            interest: RwLock::new(interest),
            registry: Mutex::default(),
            idled: Notify::new(),
            crowded: Notify::new(),
            closed: Notify::new(),
            suspicion: Mutex::new(Suspicion::new(interval_ms, limits.sweep_rooms_per_second_max.get())),
            suspected: Notify::new(),
            started: Instant::now(),
            tail_bytes: AtomicUsize::new(0),
            limits,
        })
    }

    /// The room, watched and with its newest entries in memory.
    pub(crate) async fn open(self: &Arc<Self>, id: &RoomId) -> StoreResult<Hold> {
        let hold = self.hold(id).await;
        loop {
            let flight = {
                let mut state = hold.room.lock();
                if state.tail.is_some() {
                    drop(state);
                    return Ok(hold);
                }
                match state.opening.as_ref().and_then(WeakShared::upgrade) {
                    Some(flight) => flight,
                    None => {
                        let (rooms, room) = (self.clone(), hold.room.clone());
                        let fetch = async move {
                            let _landing = Landing { room: &room };
                            rooms.fetch(&room).await
                        };
                        let flight = in_a_task(fetch).boxed().shared();
                        state.opening = flight.downgrade();
                        flight
                    }
                }
            };
            flight.await?;
        }
    }

    /// A room that is not here yet has to wait while too many are that nobody is in.
    async fn hold(self: &Arc<Self>, id: &RoomId) -> Hold {
        loop {
            let mut closed = pin!(self.closed.notified());
            // From here on no room is closed unheard.
            closed.as_mut().enable();
            {
                let mut registry = self.registry();
                if registry.get(id).is_some() || registry.unheld() < self.limits.idle_rooms_max.get() {
                    return Hold { room: registry.hold(id), rooms: self.clone() };
                }
            }
            self.crowded.notify_one();
            closed.await;
        }
    }

    /// Watches first and looks second: the other order loses what is posted in between.
    async fn fetch(self: &Arc<Self>, room: &Arc<Room>) -> StoreResult<()> {
        let _gate = room.gate.lock().await;
        if !self.is_watched(room) {
            return Err(StoreError::unavailable("chat", "whoever wanted the room has gone"));
        }
        self.suspicion().watch(room.id.clone(), self.now_ms());
        self.suspected.notify_one();
        let interest = self.interest();
        interest.watch(&room.id).await?;
        let doubts = room.lock().doubts();
        let (tail, bounds) = self.load(&room.id).await?;
        self.change(room, |state, spare| state.restart(tail, &bounds, doubts, &self.limits, spare));
        Ok(())
    }

    /// Closes rooms that were idle for long enough. Runs for as long as the engine does.
    pub(crate) async fn close_idle(&self) {
        loop {
            let due = {
                let mut registry = self.registry();
                let is_crowded = self.limits.idle_rooms_max.get() <= registry.unheld();
                let linger = if is_crowded { Duration::ZERO } else { self.limits.linger };
                registry.take_idle_since(Instant::now().checked_sub(linger), AT_ONCE)
            };
            if !due.is_empty() {
                join_all(due.iter().map(|room| self.close(room))).await;
                continue;
            }
            let longest = self.registry().idle_longest_since();
            match longest.and_then(|since| since.checked_add(self.limits.linger)) {
                Some(next) => tokio::select! {
                    biased;
                    () = self.crowded.notified() => {}
                    () = sleep_until(next) => {}
                },
                None => self.idled.notified().await,
            }
        }
    }

    async fn close(&self, room: &Arc<Room>) {
        let _gate = room.gate.lock().await;
        {
            let registry = self.registry();
            if registry.is_held(&room.id) {
                return;
            }
            // Whoever wants the room from here on opens it anew, behind this gate.
            let held = room.lock().tail.take().map_or(0, |tail| tail.bytes());
            self.tail_bytes.fetch_sub(held, Ordering::Relaxed);
        }
        self.suspicion().unwatch(&room.id);
        // Nobody tells this node any more which of the bodies in them are gone.
        if !mutated(Mutant::KeepPagesOfClosedRooms) {
            self.pages.forget(&room.id);
        }
        let interest = self.interest();
        if let Err(error) = interest.unwatch(&room.id).await {
            // Harmless: news of a room that is not there is passed over.
            tracing::debug!(error = &error as &dyn std::error::Error, "a room is still watched");
        }
        self.registry().remove_idle(&room.id);
        self.closed.notify_waiters();
    }

    /// Another ear: everything is watched anew, and compared.
    pub(crate) async fn listen_with(&self, interest: Arc<dyn Interest>) -> StoreResult<()> {
        *self.interest.write().expect("a panic while holding the interest is a bug") = interest.clone();
        let rooms = match mutated(Mutant::ListenToNothing) {
            true => Vec::new(),
            false => self.registry().rooms(),
        };
        let interest = &interest;
        let watch = |room: Arc<Room>| async move {
            let _gate = room.gate.lock().await;
            if self.is_watched(&room) {
                interest.watch(&room.id).await?;
                self.suspect(&room.id);
            }
            Ok(())
        };
        stream::iter(rooms).map(Ok).try_for_each_concurrent(AT_ONCE, watch).await
    }

    /// What was appended, by this node or another. A room that nobody watches needs no telling.
    pub(crate) fn offer(self: &Arc<Self>, id: &RoomId, entry: Entry) {
        let Some(room) = self.get(id) else { return };
        let entry = Arc::new(Published::new(entry));
        self.change(&room, |state, spare| state.offer(entry, &self.limits, spare));
    }

    /// The log has come at least so far.
    pub(crate) fn note(self: &Arc<Self>, id: &RoomId, head: Position) {
        let Some(room) = self.get(id) else { return };
        self.change(&room, |state, _| state.note(head));
    }

    /// Something may have been appended that nobody tells of.
    pub(crate) fn suspect(&self, id: &RoomId) {
        self.suspicion().suspect(id);
        self.suspected.notify_one();
    }

    /// News of any room may have been missed.
    pub(crate) fn suspect_all(&self) {
        self.suspicion().suspect_all();
        self.suspected.notify_one();
    }

    /// The body of an entry is gone: so are the copies of it.
    pub(crate) fn redact(self: &Arc<Self>, id: &RoomId, at: Position) {
        self.drop_copies(id);
        if let Some(room) = self.get(id) {
            self.change(&room, |state, _| state.redact(at));
        }
    }

    /// A body is gone: no page that was read before is handed out any more, not even by a reader that asked for it.
    pub(crate) fn drop_copies(&self, id: &RoomId) {
        self.pages.forget(id);
        if let Some(room) = self.get(id) {
            room.lock().drop_copies();
        }
    }

    /// Somebody has seen that the tail contradicts the log.
    pub(crate) fn doubt(self: &Arc<Self>, room: &Arc<Room>) {
        self.change(room, |state, _| state.doubt());
    }

    /// The bounds of one room, at some time after this was called.
    pub(crate) async fn bounds(&self, id: &RoomId) -> StoreResult<Bounds> {
        self.asking.bounds(id).await
    }

    /// Changes a room under its lock, and starts what follows from it. `change` is told how many bytes the room's tail may have.
    pub(crate) fn change(
        self: &Arc<Self>,
        room: &Arc<Room>,
        change: impl FnOnce(&mut State, usize) -> Effect,
    ) {
        let effect = {
            let mut state = room.lock();
            let held = |state: &State| state.tail.as_ref().map_or(0, Tail::bytes);
            let before = held(&state);
            let others = self.tail_bytes.load(Ordering::Relaxed).saturating_sub(before);
            let effect = change(&mut state, self.limits.tails_bytes_max.saturating_sub(others));
            let after = held(&state);
            // Wrapping on purpose: the sum of all differences is what is held.
            self.tail_bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            effect
        };
        if effect.wave {
            self.waves.continue_with(room.clone());
        }
        if effect.heal {
            self.spawn_until_stopped(self.clone().heal(room.clone()));
        }
    }

    /// What the end of the engine may cut off.
    pub(crate) fn spawn_until_stopped(&self, work: impl Future<Output: Send> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { drop(stop.run_until_cancelled_owned(work).await) });
    }

    /// Those that are watched.
    pub(crate) fn all(&self) -> Vec<Arc<Room>> {
        self.registry().rooms()
    }

    pub(crate) fn get(&self, id: &RoomId) -> Option<Arc<Room>> {
        self.registry().get(id)
    }

    /// Whether this is what the room is now, and not what it was before it was closed.
    pub(crate) fn is_watched(&self, room: &Arc<Room>) -> bool {
        self.get(&room.id).is_some_and(|watched| Arc::ptr_eq(&watched, room))
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().expect("a panic while holding the rooms is a bug")
    }

    pub(crate) fn suspicion(&self) -> MutexGuard<'_, Suspicion> {
        self.suspicion.lock().expect("a panic while holding the suspicion is a bug")
    }

    fn interest(&self) -> Arc<dyn Interest> {
        self.interest.read().expect("a panic while holding the interest is a bug").clone()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

pub(crate) fn shut_down() -> StoreError {
    StoreError::unavailable("chat", "it was shut down")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Author, Body, Draft, Kind};
    use crate::{Backends, Chat, DisplayName, MemoryStore, MessageKey, Since, UserId};

    #[tokio::test(start_paused = true)]
    async fn the_tails_of_all_rooms_keep_to_their_budget() {
        let store = MemoryStore::new();
        let limits = Limits { tails_bytes_max: 1_000_000, ..Limits::default() };
        let chat = Chat::builder(Backends::from_store(store.clone())).limits(limits).start().await.unwrap();
        let ada = UserId::new("ada").unwrap();
        let mut readers = Vec::new();
        for number in 0..100 {
            let room = RoomId::new(&format!("r{number}")).unwrap();
            for key in 0..120 {
                let author = Author { id: ada.clone(), name: DisplayName::new("ada").unwrap() };
                let key = MessageKey::new(&key.to_string()).unwrap();
                let body = Body::text("x".repeat(3_000));
                store.append(&room, Draft { kind: Kind::Message, author, key, body }).await.unwrap();
            }
            let reader = chat.reader(ada.clone());
            reader.join(&room, Since::Now).await.unwrap();
            readers.push(reader);
        }
        let rooms = chat.rooms();
        let held = rooms.tail_bytes.load(Ordering::Relaxed);
        assert!((500_000..=1_000_000).contains(&held), "{held} bytes held");
        let counted: usize =
            rooms.registry().rooms().iter().map(|room| room.lock().tail.as_ref().unwrap().bytes()).sum();
        assert_eq!(held, counted);
        drop(readers);
        tokio::time::sleep(rooms.limits.linger * 2).await;
        assert_eq!(rooms.tail_bytes.load(Ordering::Relaxed), 0);
    }
}
