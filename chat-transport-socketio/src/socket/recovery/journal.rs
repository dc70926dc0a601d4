//! The sessions of this process, written down in a reserved room of a log, so that they outlive it.
//!
//! Every change of a session is queued here, and one task appends what has come together. What a client is told waits for it: an
//! event, or an answer behind a change, goes out only when it could be found again ([`Journal::is_durable`]). From time to time the state of all
//! sessions is written down anew, and what came before is trimmed.
//!
//! While the log is slow or away, what waits for it is bounded: beyond one bound no client is read from, and no handler of one begins;
//! beyond another, a client that is away and is sent more does not get its session back.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat_core::{
    Author, Bounds, DisplayName, Draft, Kind, MessageKey, MessageLog, PageLimit, Replay, RoomId, StoreError,
    StoreResult, UserId,
};
use tokio::sync::Notify;

use super::queue::Queue;
use super::record::{self, Batch, Kept, Record, Sessions};
use crate::engine::Handle;
use crate::socket::id::SocketId;
use crate::socket::server::Shared;

const ROOM: &str = "~sockets";
/// What it is called in errors.
const SESSIONS: &str = "sessions";
/// What goes into one entry, about, in bytes.
const ENTRY_BYTES: usize = 256 * 1024;
/// Changes after which everything is written down anew, in bytes: at least so many, and twice what that takes.
const REWRITE_BYTES: usize = 4 * 1024 * 1024;
/// Changes that may wait to be stored before no more are taken from clients, in bytes. What the application does by itself is taken beyond it.
const QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Changes that may wait before clients that are away are given up, in bytes: nothing more can be kept for them.
const FULL_BYTES: usize = 4 * QUEUE_BYTES_MAX;
const PAUSE_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Journal {
    log: Arc<dyn MessageLog>,
    room: RoomId,
    /// Every change up to this one is stored.
    durable: AtomicU64,
    /// A copy of the queue's bytes, to look at without the lock.
    queued_bytes: AtomicUsize,
    /// There is something to write, or nothing any more.
    due: Notify,
    /// Something was stored.
    stored: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: Queue,
    /// Connections that have something to say when more is stored, each once.
    waiting: HashMap<usize, Arc<Handle>>,
    /// What was there when this process began, until a server takes it.
    found: Option<BTreeMap<SocketId, Kept>>,
    is_closed: bool,
}

impl Journal {
    /// Reads what an earlier process has left.
    pub(crate) async fn open(log: Arc<dyn MessageLog>, session_bytes_max: usize) -> StoreResult<Self> {
        let room = RoomId::reserved(ROOM).expect("a plain name");
        let found = read(&*log, &room, session_bytes_max).await?;
        Ok(Self {
            log,
            room,
            durable: AtomicU64::new(0),
            queued_bytes: AtomicUsize::new(0),
            due: Notify::new(),
            stored: Notify::new(),
            state: Mutex::new(State { found: Some(found), ..State::default() }),
        })
    }

    /// The sessions that an earlier process has left. None: a server has them already, and the journal is that one's.
    pub(crate) fn take_found(&self) -> Option<BTreeMap<SocketId, Kept>> {
        self.lock().found.take()
    }

    /// For writing one or more changes in one step with something else.
    pub(crate) fn pen(&self) -> Pen<'_> {
        Pen { journal: self, state: self.lock() }
    }

    /// The number of the change that was queued last.
    pub(crate) fn last(&self) -> u64 {
        self.lock().queue.last()
    }

    /// Whether change number `change` is stored.
    pub(crate) fn is_durable(&self, change: u64) -> bool {
        change <= self.durable.load(Ordering::Acquire)
    }

    /// Has the connection woken when more is stored. True: `change` is stored by now, and it is not.
    pub(crate) fn is_durable_or_wakes(&self, change: u64, handle: &Arc<Handle>) -> bool {
        let mut state = self.lock();
        // Under the lock, under which the waiting are taken after the number was raised.
        if self.is_durable(change) {
            return true;
        }
        state.await_with(handle);
        false
    }

    /// Whether so much waits to be stored that no client may have more done. The connection is then woken when some of it is stored.
    pub(crate) fn is_over_bound_or_wakes(&self, handle: &Arc<Handle>) -> bool {
        if self.queued_bytes.load(Ordering::Acquire) <= QUEUE_BYTES_MAX {
            return false;
        }
        let mut state = self.lock();
        let is_over = QUEUE_BYTES_MAX < state.queue.bytes();
        if is_over {
            state.await_with(handle);
        }
        is_over
    }

    /// Whether so much waits to be stored that no more may be kept for clients that are away.
    pub(crate) fn is_full(&self) -> bool {
        FULL_BYTES < self.queued_bytes.load(Ordering::Acquire)
    }

    /// Writes what is queued, for as long as the journal is open. `server` has the sessions that it is about.
    pub(crate) async fn run(self: Arc<Self>, server: Weak<Shared>) {
        // What an earlier process has left is more than is still true.
        let mut written = REWRITE_BYTES;
        let mut rewrite_at = REWRITE_BYTES;
        while self.something_is_queued().await {
            written += self.write_entry().await;
            if rewrite_at <= written {
                let (states, changes) = self.rewrite(&server).await;
                written = states + changes;
                rewrite_at = REWRITE_BYTES.max(states * 3);
            }
        }
    }

    /// Waits until everything that is queued now is stored.
    pub(crate) async fn flush(&self) {
        let last = self.lock().queue.last();
        loop {
            let stored = self.stored.notified();
            tokio::pin!(stored);
            stored.as_mut().enable();
            if self.is_durable(last) {
                return;
            }
            stored.await;
        }
    }

    /// Nothing is written any more once the queue is empty.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.due.notify_one();
    }

    /// False: nothing is, and it is closed.
    async fn something_is_queued(&self) -> bool {
        loop {
            {
                let state = self.lock();
                if 0 < state.queue.bytes() {
                    return true;
                }
                if state.is_closed {
                    return false;
                }
            }
            self.due.notified().await;
        }
    }

    /// Stores the oldest of what is queued. Answers how many bytes that takes.
    async fn write_entry(&self) -> usize {
        let Some((batch, upto)) = self.take_entry() else { return 0 };
        let bytes = self.append(batch.records()).await;
        drop(batch);
        self.durable.fetch_max(upto, Ordering::AcqRel);
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.values().for_each(|handle| handle.wake());
        self.stored.notify_waiters();
        bytes
    }

    fn take_entry(&self) -> Option<(Batch, u64)> {
        let mut state = self.lock();
        let taken = state.queue.take(ENTRY_BYTES);
        self.queued_bytes.store(state.queue.bytes(), Ordering::Release);
        taken
    }

    /// Stores what is queued by now. Answers how many bytes that takes.
    async fn write_queued(&self) -> usize {
        let last = self.lock().queue.last();
        let mut bytes = 0;
        while !self.is_durable(last) {
            bytes += self.write_entry().await;
        }
        bytes
    }

    /// Stores records, however long it takes. Answers how many bytes they have.
    async fn append(&self, records: &[Record]) -> usize {
        let body = record::write(records);
        let bytes = body.bytes();
        let key = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        let draft = Draft {
            kind: Kind::Fact,
            author: Author {
                id: UserId::new(ROOM).expect("a plain id"),
                name: DisplayName::new(ROOM).expect("a plain name"),
            },
            key: MessageKey::new(&key).expect("base64 is a plain key"),
            body,
        };
        let mut pause = Duration::from_millis(20);
        while let Err(error) = self.log.append(&self.room, draft.clone()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "sessions cannot be written down; clients wait until they can"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        bytes
    }

    /// Writes down all sessions as they are, and forgets what came before. Answers how many bytes that took, and how many the changes that were
    /// stored meanwhile.
    async fn rewrite(&self, server: &Weak<Shared>) -> (usize, usize) {
        let before = match self.log.bounds(std::slice::from_ref(&self.room)).await {
            Ok(bounds) => bounds.first().map(|bounds| bounds.head.position),
            Err(_) => return (REWRITE_BYTES, 0),
        };
        let (mut states, mut changes) = (0, 0);
        // Once it is gone, the sessions are with it, and what is written down of them is all there is.
        let Some(namespaces) = server.upgrade().map(|server| server.namespaces.all()) else { return (0, 0) };
        for served in namespaces {
            let mut sessions = served.sessions().into_iter().peekable();
            while sessions.peek().is_some() {
                let mut batch = Batch::default();
                while batch.bytes() < ENTRY_BYTES
                    && let Some(session) = sessions.next()
                {
                    if let Some(kept) = session.kept(&served.name) {
                        batch.push(Record::State { sid: session.id, kept });
                    }
                }
                if batch.records().is_empty() {
                    continue;
                }
                // Nothing is stored between the look at the sessions and this: what becomes of them then must come behind it.
                states += self.append(batch.records()).await;
                drop(batch);
                // What clients wait for does not wait for all the others.
                changes += self.write_queued().await;
            }
        }
        if let Some(before) = before
            && let Err(error) = self.log.trim(&self.room, before).await
        {
            // It is done with the next one.
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "old states of sessions are still there"
            );
        }
        (states, changes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the journal")
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("log", &self.log).finish_non_exhaustive()
    }
}

impl State {
    fn await_with(&mut self, handle: &Arc<Handle>) {
        self.waiting.entry(Arc::as_ptr(handle) as usize).or_insert_with(|| handle.clone());
    }
}

/// The right to write, while it is held.
pub(crate) struct Pen<'a> {
    journal: &'a Journal,
    state: MutexGuard<'a, State>,
}

impl Pen<'_> {
    /// The number that the next change gets.
    pub(crate) fn next(&self) -> u64 {
        self.state.queue.last() + 1
    }

    /// Queues a change, and answers its number.
    pub(crate) fn write(&mut self, record: Record) -> u64 {
        self.state.queue.push(record)
    }
}

impl Drop for Pen<'_> {
    fn drop(&mut self) {
        self.journal.queued_bytes.store(self.state.queue.bytes(), Ordering::Release);
        self.journal.due.notify_one();
    }
}

/// What is written down, from the beginning; again from the new one, if it was written down anew meanwhile.
async fn read(
    log: &dyn MessageLog,
    room: &RoomId,
    session_bytes_max: usize,
) -> StoreResult<BTreeMap<SocketId, Kept>> {
    let mut began_at = None;
    loop {
        let bounds = log.bounds(std::slice::from_ref(room)).await?;
        let Some(bounds) = bounds.first() else { return Ok(BTreeMap::new()) };
        let begins_at = bounds.trimmed.position;
        if began_at.replace(begins_at) == Some(begins_at) {
            return Err(StoreError::corrupt(SESSIONS, "entries are missing"));
        }
        if let Some(kept) = read_between(log, room, *bounds, session_bytes_max).await? {
            return Ok(kept);
        }
    }
}

/// None: not everything is there any more.
async fn read_between(
    log: &dyn MessageLog,
    room: &RoomId,
    bounds: Bounds,
    session_bytes_max: usize,
) -> StoreResult<Option<BTreeMap<SocketId, Kept>>> {
    let mut sessions = Sessions::default();
    let mut at = bounds.trimmed.position;
    let limit = PageLimit { entries: NonZeroU32::new(64).expect("not zero"), bytes: 4 * ENTRY_BYTES };
    while at.offset < bounds.head.offset() {
        let Replay::Page { entries, .. } = log.read(room, at, limit).await? else { return Ok(None) };
        at = entries.last().ok_or_else(|| StoreError::corrupt(SESSIONS, "entries are missing"))?.position;
        for entry in &entries {
            let body = entry.body.as_ref();
            let body = body.ok_or_else(|| StoreError::corrupt(SESSIONS, "an entry was redacted"))?;
            sessions
                .read(body, session_bytes_max)
                .map_err(|unreadable| StoreError::corrupt(SESSIONS, unreadable))?;
        }
    }
    Ok(Some(sessions.into_kept()))
}
