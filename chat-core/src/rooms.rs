//! The rooms that this node watches: opened by the first reader, healed when they fall behind, closed when nobody comes back.
//!
//! The *room* fills a hole, once, from the log; readers only read what is older than its tail. Where tail and log contradict each other, the
//! log has forgotten something that it had confirmed: the room gets a new epoch, and each reader checks its own place.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::WeakShared;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::delivery::Interest;
use crate::entry::Entry;
use crate::error::{StoreError, StoreResult};
use crate::id::RoomId;
use crate::limits::Limits;
use crate::log::{MessageLog, PageLimit, Replay};
use crate::mutants::{Mutant, mutated};
use crate::page::Pages;
use crate::position::{Bookmark, Bounds, Epoch, Offset, Position};
use crate::published::Published;
use crate::room::{Effect, Room};
use crate::suspicion::Suspicion;
use crate::tail::Tail;
use crate::waves::Waves;

/// Rooms compared in one call of the log.
const SWEEP_BATCH: usize = 256;

pub(crate) struct Rooms {
    pub(crate) log: Arc<dyn MessageLog>,
    pub(crate) pages: Arc<Pages>,
    pub(crate) limits: Limits,
    pub(crate) waves: Waves,
    /// What must end before the engine does: posts and their announcements.
    pub(crate) tasks: TaskTracker,
    /// Ends what need not.
    stop: CancellationToken,
    interest: RwLock<Arc<dyn Interest>>,
    watched: Mutex<BTreeMap<RoomId, Watched>>,
    /// Held for reading while a room is opened, for writing while rooms are closed: a late `unwatch` must not undo a new `watch`.
    closing: tokio::sync::RwLock<()>,
    suspicion: Mutex<Suspicion>,
    suspected: Notify,
    started: Instant,
    /// Held by all tails, in bytes.
    tail_bytes: AtomicUsize,
}

struct Watched {
    room: Arc<Room>,
    holds: usize,
    /// Since when nobody holds it.
    idle_since: Instant,
}

/// Keeps a room open.
pub(crate) struct Hold {
    pub(crate) room: Arc<Room>,
    rooms: Arc<Rooms>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut rooms = self.rooms.watched();
        let Some(watched) = rooms.get_mut(&self.room.id) else { return };
        watched.holds -= 1;
        watched.idle_since = Instant::now();
        // A room that could not be opened is in no schedule that would close it.
        if watched.holds == 0 && self.room.lock().tail.is_none() {
            rooms.remove(&self.room.id);
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
        Arc::new(Self {
            pages: Pages::new(log.clone(), &limits),
            log,
            waves: Waves::default(),
            tasks: TaskTracker::new(),
            stop,
            interest: RwLock::new(interest),
            watched: Mutex::default(),
            closing: tokio::sync::RwLock::default(),
            suspicion: Mutex::new(Suspicion::new(interval_ms, limits.sweep_rooms_per_second_max.get())),
            suspected: Notify::new(),
            started: Instant::now(),
            tail_bytes: AtomicUsize::new(0),
            limits,
        })
    }

    /// The room, watched and with its newest entries in memory.
    pub(crate) async fn open(self: &Arc<Self>, id: &RoomId) -> StoreResult<Hold> {
        let hold = self.hold(id);
        loop {
            if hold.room.lock().tail.is_some() {
                return Ok(hold);
            }
            let flight = {
                let mut state = hold.room.lock();
                match state.opening.as_ref().and_then(WeakShared::upgrade) {
                    Some(flight) => flight,
                    None => {
                        let (rooms, room) = (Arc::downgrade(self), hold.room.clone());
                        let flight = async move {
                            let Some(rooms) = rooms.upgrade() else { return Err(shut_down()) };
                            rooms.fetch(&room).await
                        };
                        let flight = flight.boxed().shared();
                        state.opening = flight.downgrade();
                        flight
                    }
                }
            };
            flight.await?;
        }
    }

    /// Watches first and looks second: the other order loses what is posted in between.
    async fn fetch(self: &Arc<Self>, room: &Arc<Room>) -> StoreResult<()> {
        let _closing = self.closing.read().await;
        let interest = self.interest();
        interest.watch(&room.id).await?;
        let (tail, trimmed) = self.load(&room.id).await?;
        self.suspicion().watch(room.id.clone(), self.now_ms());
        self.suspected.notify_one();
        self.restart(room, tail, trimmed);
        Ok(())
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
        self.pages.forget(id);
        if let Some(room) = self.get(id) {
            self.change(&room, |state, _| {
                if let Some(tail) = &mut state.tail {
                    tail.redact(at);
                }
                Effect::default()
            });
        }
    }

    /// Somebody has seen that the tail contradicts the log.
    pub(crate) fn doubt(self: &Arc<Self>, room: &Arc<Room>) {
        self.change(room, |state, _| state.doubt());
    }

    /// Another ear: everything is watched anew, and compared.
    pub(crate) async fn listen_with(&self, interest: Arc<dyn Interest>) -> StoreResult<()> {
        let _closing = self.closing.write().await;
        *self.interest.write().expect("a panic while holding the interest is a bug") = interest.clone();
        let ids: Vec<RoomId> = self.watched().keys().cloned().collect();
        for id in ids {
            interest.watch(&id).await?;
        }
        self.suspect_all();
        Ok(())
    }

    /// Compares rooms with the log when their time has come, and closes those that nobody holds. Runs for as long as the engine does.
    pub(crate) async fn sweep(self: &Arc<Self>) {
        let mut backoff = Backoff::default();
        loop {
            if mutated(Mutant::NeverSweep) {
                return std::future::pending().await;
            }
            let (due, next_ms) = {
                let mut suspicion = self.suspicion();
                let due = suspicion.take(self.now_ms(), SWEEP_BATCH);
                (due, suspicion.next_ms())
            };
            if due.is_empty() {
                let wait = next_ms.map_or(Duration::from_secs(3_600), |next| {
                    Duration::from_millis(next.saturating_sub(self.now_ms()).max(1))
                });
                tokio::select! {
                    biased;
                    () = self.suspected.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                continue;
            }
            let due = self.close_idle(due).await;
            match self.sweep_batch(&due).await {
                Ok(()) => backoff = Backoff::default(),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "rooms could not be compared with the log; trying again"
                    );
                    due.iter().for_each(|id| self.suspicion().suspect(id));
                    backoff.wait().await;
                }
            }
        }
    }

    async fn sweep_batch(self: &Arc<Self>, due: &[RoomId]) -> StoreResult<()> {
        let mut before = Vec::with_capacity(due.len());
        for id in due {
            let Some(room) = self.get(id) else { continue };
            let seen = room.lock().bounds();
            before.extend(seen.map(|seen| (room, seen.head)));
        }
        let ids: Vec<RoomId> = before.iter().map(|(room, _)| room.id.clone()).collect();
        let found = if ids.is_empty() { Vec::new() } else { self.log.bounds(&ids).await? };
        for ((room, seen), bounds) in before.iter().zip(&found) {
            self.change(room, |state, _| state.compare(*seen, bounds));
        }
        Ok(())
    }

    /// Closes the rooms among `ids` that were idle for long enough; answers the others.
    async fn close_idle(&self, ids: Vec<RoomId>) -> Vec<RoomId> {
        let idle =
            |watched: &Watched| watched.holds == 0 && self.limits.linger <= watched.idle_since.elapsed();
        if !ids.iter().any(|id| self.watched().get(id).is_none_or(idle)) {
            return ids;
        }
        let _closing = self.closing.write().await;
        let mut open = Vec::with_capacity(ids.len());
        for id in ids {
            let closed = {
                let mut watched = self.watched();
                match watched.get(&id) {
                    Some(entry) if !idle(entry) => None,
                    Some(_) | None => Some(watched.remove(&id)),
                }
            };
            let Some(closed) = closed else {
                open.push(id);
                continue;
            };
            self.suspicion().unwatch(&id);
            if let Some(Watched { room, .. }) = closed {
                let held = room.lock().tail.take().map_or(0, |tail| tail.bytes());
                self.tail_bytes.fetch_sub(held, Ordering::Relaxed);
            }
            let interest = self.interest();
            if let Err(error) = interest.unwatch(&id).await {
                // Harmless: news of a room that is not there is passed over.
                tracing::debug!(error = &error as &dyn std::error::Error, "a room is still watched");
            }
        }
        open
    }

    /// Compares the tail with the log until it has all that the log is known to have.
    async fn heal(self: Arc<Self>, room: Arc<Room>) {
        let mut backoff = Backoff::default();
        loop {
            match self.heal_once(&room).await {
                Ok(()) => {
                    if !room.lock().goes_on_healing() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a room could not be brought up to date; trying again"
                    );
                    if self.get(&room.id).is_none_or(|watched| !Arc::ptr_eq(&watched, &room)) {
                        room.lock().stop_healing();
                        return;
                    }
                }
            }
            // Also after a success that was not enough: a log that does not show what it has announced must not be asked in a tight loop.
            backoff.wait().await;
        }
    }

    async fn heal_once(self: &Arc<Self>, room: &Arc<Room>) -> StoreResult<()> {
        let (seen, known, gap) = match room.lock().tail.as_ref() {
            Some(tail) => (tail.head(), tail.known(), tail.gap()),
            None => return Ok(()),
        };
        if self.limits.tail_entries_max as u64 <= gap {
            return self.reload_if_agreed(room, seen).await;
        }
        // The entry at the head is read again, to see that it still is the same.
        let after = Position { epoch: seen.epoch(), offset: seen.offset().minus(1) };
        let limit = PageLimit {
            entries: self.limits.page_entries_max.saturating_add(1),
            bytes: self.limits.tail_bytes_max,
        };
        match self.pages.read(&room.id, after, limit).await? {
            Replay::Lost { .. } => self.reload_if_agreed(room, seen).await,
            // Before the first entry every epoch reads alike: another node has renewed it, and this tail has nothing to lose.
            Replay::Page { head, .. } if head.epoch() != seen.epoch() && seen.epoch() != Epoch::UNWRITTEN => {
                self.reload_if_agreed(room, seen).await
            }
            Replay::Page { entries, head } => {
                // What the log is known to have had it must still have; and the entry at the head must be the same.
                let agreed = (known <= head.offset()
                    && (seen.offset() == Offset::ZERO
                        || entries.first().is_some_and(|first| first.bookmark() == seen)))
                    || mutated(Mutant::BelieveFingerprint);
                if !agreed {
                    return self.diverged(room, seen).await;
                }
                room.lock().is_confirmed();
                for entry in entries {
                    let entry = Arc::new(Published::new(entry));
                    if mutated(Mutant::HealSilently) {
                        room.lock().tail.as_mut().map(|tail| tail.offer(entry));
                        continue;
                    }
                    self.change(room, |state, spare| state.offer(entry, &self.limits, spare));
                }
                self.change(room, |state, _| state.note(head.position));
                Ok(())
            }
        }
    }

    /// The tail is too far behind to be filled: it begins anew near the head, if the log still agrees with what was shown.
    async fn reload_if_agreed(self: &Arc<Self>, room: &Arc<Room>, seen: Bookmark) -> StoreResult<()> {
        let mut bounds = self.bounds(&room.id).await?;
        // What is trimmed cannot be compared; whoever needs it is told that it is gone.
        let can_tell = bounds.epoch() == seen.epoch() && bounds.trimmed.offset() <= seen.offset();
        if can_tell
            && self.bookmark_at(&room.id, &mut bounds, seen.offset()).await? != Some(seen)
            && !mutated(Mutant::BelieveFingerprint)
        {
            return self.diverged(room, seen).await;
        }
        self.reload(room).await
    }

    /// The log has forgotten what it had confirmed and this node has shown.
    async fn diverged(self: &Arc<Self>, room: &Arc<Room>, seen: Bookmark) -> StoreResult<()> {
        tracing::warn!(room = %room.id, offset = seen.offset().get(), "the store has lost entries that it had confirmed; the room begins a new epoch");
        self.log.renew_epoch(&room.id, seen.epoch()).await?;
        self.pages.forget(&room.id);
        self.reload(room).await
    }

    /// Begins the tail anew near the head.
    async fn reload(self: &Arc<Self>, room: &Arc<Room>) -> StoreResult<()> {
        let (tail, trimmed) = self.load(&room.id).await?;
        self.restart(room, tail, trimmed);
        Ok(())
    }

    /// What the log, which has `bounds`, has at `offset`: asked now, from no copy. `None` if it is not kept (any more).
    /// If the room has changed its epoch meanwhile, `bounds` become those that it has now.
    pub(crate) async fn bookmark_at(
        &self,
        room: &RoomId,
        bounds: &mut Bounds,
        offset: Offset,
    ) -> StoreResult<Option<Bookmark>> {
        loop {
            if offset < bounds.trimmed.offset() || bounds.head.offset() < offset {
                return Ok(None);
            }
            if let Some(end) = bounds.end_at(offset) {
                return Ok(Some(end));
            }
            let after = Position { epoch: bounds.epoch(), offset: offset.minus(1) };
            match self.pages.read(room, after, PageLimit { entries: NonZeroU32::MIN, bytes: 0 }).await? {
                Replay::Page { entries, .. } => return Ok(entries.first().map(Entry::bookmark)),
                // The bounds of the same moment could not be the same: each turn is a change of the log.
                Replay::Lost { bounds: now } if now != *bounds => *bounds = now,
                Replay::Lost { .. } => return Ok(None),
            }
        }
    }

    /// The bounds of one room.
    pub(crate) async fn bounds(&self, id: &RoomId) -> StoreResult<Bounds> {
        let bounds = self.log.bounds(std::slice::from_ref(id)).await?;
        bounds.first().copied().ok_or_else(|| StoreError::corrupt("chat", "the log answered for no room"))
    }

    /// A tail with the newest entries, and the last trimmed entry.
    async fn load(&self, id: &RoomId) -> StoreResult<(Tail, Bookmark)> {
        let bounds = self.bounds(id).await?;
        let entries = self.limits.page_entries_max;
        let start = bounds.trimmed.offset().max(bounds.head.offset().minus(u64::from(entries.get()) + 1));
        let after = Position { epoch: bounds.epoch(), offset: start };
        let limit = PageLimit { entries: entries.saturating_add(1), bytes: self.limits.tail_bytes_max / 2 };
        let empty = (Tail::after(bounds.head), bounds.trimmed);
        if start == bounds.head.offset() {
            return Ok(empty);
        }
        let Replay::Page { entries, head } = self.pages.read(id, after, limit).await? else {
            // Trimmed or changed between the two calls: the head was true a moment ago, what follows is found by healing.
            return Ok(empty);
        };
        // Large messages: not all of them fit. Those at the head are what the readers need, and they can read pages.
        if entries.last().is_none_or(|last| last.position.offset < bounds.head.offset())
            || head.epoch() != bounds.epoch()
        {
            return Ok(empty);
        }
        let mut entries = entries.into_iter();
        let base = match start == bounds.trimmed.offset() {
            true => Some(bounds.trimmed),
            false => entries.next().map(|entry| entry.bookmark()),
        };
        let Some(base) = base else { return Ok(empty) };
        let mut tail = Tail::after(base);
        for entry in entries {
            tail.offer(Arc::new(Published::new(entry)));
        }
        tail.note(head.position);
        Ok((tail, bounds.trimmed))
    }

    fn restart(self: &Arc<Self>, room: &Arc<Room>, tail: Tail, trimmed: Bookmark) {
        self.change(room, |state, _| state.restart(tail, trimmed));
    }

    /// Changes a room under its lock, and starts what follows from it.
    fn change(
        self: &Arc<Self>,
        room: &Arc<Room>,
        change: impl FnOnce(&mut crate::room::State, usize) -> Effect,
    ) {
        let effect = {
            let mut state = room.lock();
            let held = |state: &crate::room::State| state.tail.as_ref().map_or(0, Tail::bytes);
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
            let (stop, heal) = (self.stop.clone(), self.clone().heal(room.clone()));
            self.tasks.spawn(async move { stop.run_until_cancelled_owned(heal).await });
        }
    }

    fn hold(self: &Arc<Self>, id: &RoomId) -> Hold {
        let mut watched = self.watched();
        let entry = watched.entry(id.clone()).or_insert_with(|| Watched {
            room: Arc::new(Room::new(id.clone())),
            holds: 0,
            idle_since: Instant::now(),
        });
        entry.holds += 1;
        Hold { room: entry.room.clone(), rooms: self.clone() }
    }

    fn get(&self, id: &RoomId) -> Option<Arc<Room>> {
        self.watched().get(id).map(|watched| watched.room.clone())
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<RoomId, Watched>> {
        self.watched.lock().expect("a panic while holding the rooms is a bug")
    }

    fn suspicion(&self) -> MutexGuard<'_, Suspicion> {
        self.suspicion.lock().expect("a panic while holding the suspicion is a bug")
    }

    fn interest(&self) -> Arc<dyn Interest> {
        self.interest.read().expect("a panic while holding the interest is a bug").clone()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

pub(crate) fn shut_down() -> StoreError {
    StoreError::unavailable("chat", "it was shut down")
}

/// Waits longer each time, from 10 ms up to 2 s.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(10))
    }
}

impl Backoff {
    const MAX: Duration = Duration::from_secs(2);

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Self::MAX);
    }
}
