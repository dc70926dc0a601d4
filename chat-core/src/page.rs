//! Pages of the log, shared by all readers that are behind: equal reads under way are joined, the last ones are cached.
//!
//! Pages begin at multiples of the page size, so that readers at different places of a room ask for the same pages, and 10,000 clients
//! that come back cost about as many log reads as one. A page that ends at the head is still growing and is not cached.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::Semaphore;

use crate::error::{StoreError, StoreResult};
use crate::id::RoomId;
use crate::limits::Limits;
use crate::log::{MessageLog, PageLimit, Replay};
use crate::mutants::{Mutant, mutated};
use crate::position::{Bookmark, Bounds, Epoch, Offset, Position};
use crate::published::Published;
use crate::task::in_a_task;

/// A run of one room's entries.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) epoch: Epoch,
    /// Contiguous and ascending.
    pub(crate) entries: Vec<Arc<Published>>,
    /// The newest entry of the room when the page was read.
    pub(crate) head: Bookmark,
}

impl Page {
    pub(crate) fn get(&self, offset: Offset) -> Option<&Arc<Published>> {
        let first = self.entries.first()?.position.offset;
        self.entries.get(usize::try_from(offset.get().checked_sub(first.get())?).ok()?)
    }

    fn last(&self) -> Option<Offset> {
        self.entries.last().map(|entry| entry.position.offset)
    }
}

/// The answer of the log.
#[derive(Clone, Debug)]
pub(crate) enum Fetched {
    /// The page that holds the wanted entry, or the last one if the room has not come so far.
    Page(Arc<Page>),
    /// The wanted entry is no longer there, or the epoch is another one.
    Lost(Bounds),
}

type Key = (RoomId, u64, Offset);
type Flight = BoxFuture<'static, StoreResult<Fetched>>;

pub(crate) struct Pages {
    log: Arc<dyn MessageLog>,
    permits: Semaphore,
    page_entries: NonZeroU32,
    page_bytes: usize,
    cache_bytes_max: usize,
    state: Mutex<State>,
    /// For the reads under way, which put what they found into the cache.
    this: Weak<Pages>,
}

#[derive(Default)]
struct State {
    /// Each with a number of its own, so that one which has landed does not take off the list what took its place.
    under_way: BTreeMap<Key, (u64, WeakShared<Flight>)>,
    flights: u64,
    cached: BTreeMap<Key, Arc<Page>>,
    /// In order of arrival: what is evicted first.
    order: VecDeque<Key>,
    bytes: usize,
}

impl Pages {
    pub(crate) fn new(log: Arc<dyn MessageLog>, limits: &Limits) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            log,
            permits: Semaphore::new(limits.log_reads_max.get()),
            page_entries: limits.page_entries_max,
            page_bytes: limits.page_bytes_max,
            cache_bytes_max: limits.pages_bytes_max,
            state: Mutex::default(),
            this: this.clone(),
        })
    }

    /// The page that holds entry `wanted` (1 or more) of `room` in `epoch`.
    pub(crate) async fn holding(&self, room: &RoomId, epoch: Epoch, wanted: Offset) -> StoreResult<Fetched> {
        let before = wanted.minus(1);
        let mut after = before.minus(before.get() % u64::from(self.page_entries.get()));
        loop {
            match self.page(room, epoch, after).await? {
                Fetched::Page(page) => match page.last() {
                    // Cut short by its size: not walked through, but begun anew where the reader is.
                    Some(last) if last < wanted && last < page.head.offset() => after = before,
                    _ => return Ok(Fetched::Page(page)),
                },
                // The start of the page is trimmed, the entry that is wanted is not.
                Fetched::Lost(bounds)
                    if bounds.epoch() == epoch
                        && after < bounds.trimmed.offset()
                        && bounds.reach_back_to(Position { epoch, offset: before }) =>
                {
                    after = bounds.trimmed.offset();
                }
                lost => return Ok(lost),
            }
        }
    }

    /// One read of the log outside the pages, under the same permits.
    pub(crate) async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        let (this, room) = (self.this.clone(), room.clone());
        in_a_task(async move { alive(&this)?.read_here(&room, after, limit).await }).await
    }

    async fn read_here(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let replay = self.log.read(room, after, limit).await;
        if let Err(error) = &replay {
            let error = error as &dyn std::error::Error;
            match &replay {
                // Nobody but an operator can do something about it.
                Err(StoreError::Corrupt { .. }) => {
                    tracing::error!(error, %room, after = after.offset.get(), "history cannot be read");
                }
                _ => tracing::warn!(error, %room, "history could not be read"),
            }
        }
        replay
    }

    /// Drops one page, which has turned out not to be what the log has.
    pub(crate) fn disown(&self, room: &RoomId, page: &Arc<Page>) {
        let Some(first) = page.entries.first() else { return };
        let key = (room.clone(), page.epoch.number(), first.position.offset.minus(1));
        let mut state = self.lock();
        if state.cached.get(&key).is_some_and(|cached| Arc::ptr_eq(cached, page)) {
            state.evict(&key);
            state.order.retain(|other| *other != key);
        }
    }

    /// Drops what is cached of a room; what is being read of it is neither shared with those who come from here on nor cached.
    pub(crate) fn forget(&self, room: &RoomId) {
        let mut state = self.lock();
        for key in keys_of(&state.cached, room) {
            state.evict(&key);
        }
        for key in keys_of(&state.under_way, room) {
            state.under_way.remove(&key);
        }
        state.order.retain(|key| key.0 != *room);
    }

    async fn page(&self, room: &RoomId, epoch: Epoch, after: Offset) -> StoreResult<Fetched> {
        let key = (room.clone(), epoch.number(), after);
        let flight = {
            let mut state = self.lock();
            if let Some(page) = state.cached.get(&key) {
                return Ok(Fetched::Page(page.clone()));
            }
            match state.under_way.get(&key).and_then(|(_, flight)| flight.upgrade()) {
                Some(flight) => flight,
                None => {
                    state.flights += 1;
                    let flight = self.launch(key.clone(), state.flights);
                    if let Some(weak) = flight.downgrade() {
                        let number = state.flights;
                        state.under_way.insert(key, (number, weak));
                    }
                    flight
                }
            }
        };
        flight.await
    }

    fn launch(&self, key: Key, number: u64) -> Shared<Flight> {
        let this = self.this.clone();
        in_a_task(async move { alive(&this)?.fetch(key, number).await }).boxed().shared()
    }

    async fn fetch(&self, key: Key, number: u64) -> StoreResult<Fetched> {
        let landing = Landing { pages: self, key: &key, number };
        let (epoch, after) = (Epoch::from_number(key.1), key.2);
        // A page that begins elsewhere ends where the aligned one would have.
        let size = u64::from(self.page_entries.get());
        let entries = u32::try_from(size - after.get() % size)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(self.page_entries);
        let limit = PageLimit { entries, bytes: self.page_bytes };
        Ok(match self.read_here(&key.0, Position { epoch, offset: after }, limit).await? {
            Replay::Lost { bounds } => Fetched::Lost(bounds),
            Replay::Page { entries, head } => {
                let full = entries.len() == limit.entries.get() as usize;
                let entries: Vec<_> =
                    entries.into_iter().map(|entry| Arc::new(Published::new(entry))).collect();
                let page = Arc::new(Page { epoch: head.epoch(), entries, head });
                let closed = mutated(Mutant::CacheGrowingPages)
                    || full
                    || page.last().is_some_and(|last| last < head.offset());
                if landing.land() && closed {
                    self.lock().insert(key.clone(), page.clone(), self.cache_bytes_max);
                }
                Fetched::Page(page)
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a panic while holding the pages is a bug")
    }
}

fn alive(pages: &Weak<Pages>) -> StoreResult<Arc<Pages>> {
    pages.upgrade().ok_or_else(|| StoreError::unavailable("chat", "it was shut down"))
}

/// Takes a read off the list of those under way, also when everybody who waited for it has gone.
struct Landing<'a> {
    pages: &'a Pages,
    key: &'a Key,
    number: u64,
}

impl Landing<'_> {
    /// Whether it was still on the list: if not, its pages were dropped meanwhile.
    fn land(&self) -> bool {
        let mut state = self.pages.lock();
        let is_listed = state.under_way.get(self.key).is_some_and(|(number, _)| *number == self.number);
        if is_listed {
            state.under_way.remove(self.key);
        }
        is_listed
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.land();
    }
}

impl State {
    fn insert(&mut self, key: Key, page: Arc<Page>, bytes_max: usize) {
        self.bytes += cost(&page);
        if let Some(old) = self.cached.insert(key.clone(), page) {
            self.bytes -= cost(&old);
        } else {
            self.order.push_back(key);
        }
        while bytes_max < self.bytes {
            let Some(oldest) = self.order.pop_front() else { return };
            self.evict(&oldest);
        }
    }

    fn evict(&mut self, key: &Key) {
        if let Some(page) = self.cached.remove(key) {
            self.bytes -= cost(&page);
        }
    }
}

fn keys_of<T>(map: &BTreeMap<Key, T>, room: &RoomId) -> Vec<Key> {
    let first = (room.clone(), 0, Offset::ZERO);
    map.range(first..).map(|(key, _)| key).take_while(|key| key.0 == *room).cloned().collect()
}

fn cost(page: &Page) -> usize {
    page.entries.iter().map(|entry| entry.cost()).sum()
}
