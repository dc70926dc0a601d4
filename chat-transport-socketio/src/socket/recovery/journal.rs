//! The sessions of this process, written down in a reserved room of a log, so that they outlive it.
//!
//! Every change of a session is queued here, and one task appends what has come together. What a client is told waits for it: an
//! event, or an answer behind a change, goes out only when it could be found again ([`Journal::is_durable`]). From time to time the state of all
//! sessions is written down anew, and what came before is trimmed.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat_core::{
    Author, DisplayName, Draft, Kind, MessageKey, MessageLog, Offset, PageLimit, Position, Replay, RoomId,
    StoreError, StoreResult, UserId,
};
use tokio::sync::Notify;

use super::record::{self, Kept, Record, Sessions};
use crate::engine::Handle;
use crate::socket::id::SocketId;
use crate::socket::server::Shared;

const ROOM: &str = "~sockets";
/// What goes into one entry, about, in bytes.
const ENTRY_BYTES: usize = 256 * 1024;
/// Changes after which everything is written down anew, in bytes: at least so many, and twice what that takes.
const REWRITE_BYTES: usize = 4 * 1024 * 1024;
const PAUSE_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Journal {
    log: Arc<dyn MessageLog>,
    room: RoomId,
    /// Every change up to this one is stored.
    durable: AtomicU64,
    /// There is something to write, or nothing any more.
    due: Notify,
    /// Something was stored.
    stored: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Record>,
    /// The number of the change that was queued last.
    last: u64,
    /// Connections that have something to say when more is stored.
    waiting: Vec<Arc<Handle>>,
    /// What was there when this process began.
    found: BTreeMap<SocketId, Kept>,
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
            due: Notify::new(),
            stored: Notify::new(),
            state: Mutex::new(State { found, ..State::default() }),
        })
    }

    /// The sessions that an earlier process has left. There the first time only.
    pub(crate) fn take_found(&self) -> BTreeMap<SocketId, Kept> {
        std::mem::take(&mut self.lock().found)
    }

    /// For writing one or more changes in one step with something else.
    pub(crate) fn pen(&self) -> Pen<'_> {
        Pen { journal: self, state: self.lock() }
    }

    /// The number of the change that was queued last.
    pub(crate) fn last(&self) -> u64 {
        self.lock().last
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
        if !state.waiting.iter().any(|waiting| Arc::ptr_eq(waiting, handle)) {
            state.waiting.push(handle.clone());
        }
        false
    }

    /// Writes what is queued, for as long as the journal is open. `server` has the sessions that it is about.
    pub(crate) async fn run(self: Arc<Self>, server: Weak<Shared>) {
        // What an earlier process has left is more than is still true.
        let mut written = REWRITE_BYTES;
        let mut rewrite_at = REWRITE_BYTES;
        loop {
            let Some((records, upto)) = self.next_batch().await else { return };
            written += self.append(&records).await;
            self.durable.fetch_max(upto, Ordering::AcqRel);
            let waiting = std::mem::take(&mut self.lock().waiting);
            waiting.iter().for_each(|handle| handle.wake());
            self.stored.notify_waiters();
            if rewrite_at <= written {
                written = self.rewrite(&server).await;
                rewrite_at = REWRITE_BYTES.max(written * 3);
            }
        }
    }

    /// Waits until everything that is queued now is stored.
    pub(crate) async fn flush(&self) {
        let last = self.lock().last;
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

    /// What goes into the next entry, and the number of its last change; `None` when it is closed.
    async fn next_batch(&self) -> Option<(Vec<Record>, u64)> {
        loop {
            {
                let mut state = self.lock();
                let (mut count, mut bytes) = (0, 0);
                while bytes < ENTRY_BYTES && count < state.queue.len() {
                    bytes += state.queue[count].bytes();
                    count += 1;
                }
                let records: Vec<Record> = state.queue.drain(..count).collect();
                if !records.is_empty() {
                    let upto = state.last - state.queue.len() as u64;
                    return Some((records, upto));
                }
                state.queue = VecDeque::new();
                if state.is_closed {
                    return None;
                }
            }
            self.due.notified().await;
        }
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

    /// Writes down all sessions as they are, and forgets what came before. Answers how many bytes that took.
    async fn rewrite(&self, server: &Weak<Shared>) -> usize {
        let before = match self.log.bounds(std::slice::from_ref(&self.room)).await {
            Ok(bounds) => bounds.first().map(|bounds| bounds.head.position),
            Err(_) => return REWRITE_BYTES,
        };
        let mut written = 0;
        // Once it is gone, the sessions are with it, and what is written down of them is all there is.
        let Some(namespaces) = server.upgrade().map(|server| server.namespaces.all()) else { return 0 };
        for served in namespaces {
            let mut batch = Vec::new();
            let mut bytes = 0;
            for session in served.sessions() {
                let Some(kept) = session.kept(&served.name) else { continue };
                let state = Record::State { sid: session.id, kept };
                bytes += state.bytes();
                batch.push(state);
                if ENTRY_BYTES <= bytes {
                    written += self.append(&std::mem::take(&mut batch)).await;
                    bytes = 0;
                }
            }
            if !batch.is_empty() {
                written += self.append(&batch).await;
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
        written
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

/// The right to write, while it is held.
pub(crate) struct Pen<'a> {
    journal: &'a Journal,
    state: MutexGuard<'a, State>,
}

impl Pen<'_> {
    /// The number that the next change gets.
    pub(crate) fn next(&self) -> u64 {
        self.state.last + 1
    }

    /// Queues a change, and answers its number.
    pub(crate) fn write(&mut self, record: Record) -> u64 {
        self.state.queue.push_back(record);
        self.state.last += 1;
        self.state.last
    }
}

impl Drop for Pen<'_> {
    fn drop(&mut self) {
        self.journal.due.notify_one();
    }
}

async fn read(
    log: &dyn MessageLog,
    room: &RoomId,
    session_bytes_max: usize,
) -> StoreResult<BTreeMap<SocketId, Kept>> {
    let bounds = log.bounds(std::slice::from_ref(room)).await?;
    let Some(bounds) = bounds.first() else { return Ok(BTreeMap::new()) };
    let mut sessions = Sessions::default();
    let mut at = bounds.trimmed.position;
    let limit = PageLimit { entries: NonZeroU32::new(64).expect("not zero"), bytes: 4 * ENTRY_BYTES };
    while at.offset < bounds.head.offset() {
        let Replay::Page { entries, .. } = log.read(room, at, limit).await? else { break };
        let Some(last) = entries.last() else { break };
        at = Position { offset: last.position.offset, ..at };
        for body in entries.iter().filter_map(|entry| entry.body.as_ref()) {
            sessions
                .read(body, session_bytes_max)
                .map_err(|unreadable| StoreError::corrupt("sessions", unreadable))?;
        }
        if at.offset == Offset::ZERO {
            break;
        }
    }
    Ok(sessions.into_kept())
}
