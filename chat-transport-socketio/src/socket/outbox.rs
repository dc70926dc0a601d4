//! What waits to be written on one connection and is not pulled: acks, the protocol's own packets, and emits. Bounded in bytes.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::event::DisconnectReason;
use super::frame::Frame;
use super::id::SocketId;
use super::recovery::journal::Journal;
use super::source::Source;
use super::sources::Sources;
use super::tickets::Tickets;
use crate::engine::{CloseReason, Handle, Writer};

/// How many entries an emptied queue may keep room for. Nearly always one waits, and nearly all connections are idle.
const KEPT_CAPACITY: usize = 1;

/// What a packet counts for beside its own bytes: it takes a place in the queue and an allocation, however short it is.
const PACKET_BYTES: usize = 160;

/// One connection, as its sockets see it.
pub(crate) struct Outbox {
    pub(crate) handle: Arc<Handle>,
    /// Where sessions are written down, if they are.
    journal: Option<Arc<Journal>>,
    bytes_max: usize,
    /// A copy of [`Waiting::bytes`], to look at without the lock.
    bytes: AtomicUsize,
    /// Acks that handlers still hold.
    acks: AtomicUsize,
    /// There are wishes: spares most turns of the task the lock.
    wished: AtomicBool,
    waiting: Mutex<Waiting>,
    /// What handlers keep with the connection, one value of a type.
    kept: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    /// What is for sockets whose CONNECT is not answered yet.
    held: Vec<Item>,
    bytes: usize,
    wishes: Vec<Wish>,
}

impl Waiting {
    fn push(&mut self, item: Item) {
        if self.items.is_empty() {
            // Otherwise it would be space for four.
            self.items.reserve_exact(1);
        }
        self.items.push_back(item);
    }
}

/// A packet, and what is needed to give it its token.
struct Item {
    owner: SocketId,
    frame: Frame,
    sort: Sort,
    /// The change in the journal that must be stored before it goes out; 0: none.
    change: u64,
}

/// How far a drain has come, and what it waits for.
enum Drained {
    All,
    ForRoom,
    ForChange(u64),
}

/// What a socket wants of its connection's task.
pub(crate) enum Wish {
    Attach(SocketId, Box<dyn Source>),
    Remove(SocketId, DisconnectReason),
}

/// What goes out when a socket is let in.
pub(crate) struct Release {
    pub(crate) owner: SocketId,
    /// The answer to CONNECT.
    pub(crate) connected: Frame,
    /// The numbered events that its client has missed.
    pub(crate) missed: Vec<(u64, Frame)>,
    /// The change that must be stored before.
    pub(crate) change: u64,
}

/// Nothing was sent: the peer has not taken enough of what waits for it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What a packet is, as far as the outbox is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// An event without ack id: it gets the socket's token. With its number, if its session can be recovered.
    Event(Option<u64>),
    /// The same, but it is never sent again.
    Volatile,
    /// The same, and taken beyond the bound like an answer.
    Position,
    /// An event that asks for an ack.
    Asking,
    /// An answer, or a packet of the protocol: it is taken beyond the bound, and holds up reading instead.
    Answer,
    /// The answer to CONNECT.
    Connected,
}

impl Outbox {
    pub(crate) fn new(handle: Arc<Handle>, journal: Option<Arc<Journal>>, bytes_max: usize) -> Self {
        Self {
            handle,
            journal,
            bytes_max,
            bytes: AtomicUsize::new(0),
            acks: AtomicUsize::new(0),
            wished: AtomicBool::new(false),
            waiting: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// The value of that type that is kept with the connection; the first time its default.
    pub(crate) fn kept<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        let mut kept = self.kept.lock().expect("a default that panics takes the connection with it");
        if let Some(value) = kept.iter().find_map(|value| value.clone().downcast().ok()) {
            return value;
        }
        let value = Arc::new(T::default());
        // Most keep one value: no space for four.
        kept.reserve_exact(1);
        kept.push(value.clone());
        value
    }

    /// Puts a packet of `owner` at the end. It goes out when `change` is stored.
    pub(crate) fn push(&self, owner: SocketId, frame: Frame, sort: Sort, change: u64) -> Result<(), Full> {
        let item = Item { owner, frame, sort, change };
        self.put(self.lock(), item, Waiting::push)
    }

    /// Puts a packet at the end that may be about any change so far, whosever.
    pub(crate) fn answer(&self, owner: SocketId, frame: Frame, sort: Sort) -> Result<(), Full> {
        let change = self.journal.as_ref().map_or(0, |journal| journal.last());
        self.push(owner, frame, sort, change)
    }

    /// Keeps a packet of `owner` until that is let in. False: nothing was done, since it `is_in` by now, which is asked under the lock.
    pub(crate) fn hold(
        &self,
        owner: SocketId,
        frame: Frame,
        sort: Sort,
        is_in: impl FnOnce() -> bool,
    ) -> Result<bool, Full> {
        let waiting = self.lock();
        if is_in() {
            return Ok(false);
        }
        let item = Item { owner, frame, sort, change: 0 };
        self.put(waiting, item, |waiting, item| waiting.held.push(item))?;
        Ok(true)
    }

    fn put(
        &self,
        mut waiting: MutexGuard<'_, Waiting>,
        item: Item,
        put: impl FnOnce(&mut Waiting, Item),
    ) -> Result<(), Full> {
        let bytes = waiting.bytes + cost(&item.frame);
        let is_answer = matches!(item.sort, Sort::Answer | Sort::Position);
        let full = if is_answer {
            // Answers are few: one for each request that was read, and no handler runs beyond the bound. However large the one is that goes
            // beyond it, it is due.
            self.bytes_max.saturating_mul(2) < waiting.bytes
        } else {
            self.bytes_max < bytes && 0 < waiting.bytes
        };
        if full {
            drop(waiting);
            if is_answer {
                self.handle.close(CloseReason::Overflow);
            }
            return Err(Full);
        }
        put(&mut waiting, item);
        self.count(&mut waiting, bytes);
        drop(waiting);
        self.handle.wake();
        Ok(())
    }

    /// Lets a socket's packets go: the answer, the events that its client has missed, and what was held for it, to which `number` gives numbers and
    /// the change to wait for. `switch` is called at the moment from which the socket's packets are no longer to be held.
    pub(crate) fn release(
        &self,
        release: Release,
        mut number: impl FnMut(&Frame) -> (Option<u64>, u64),
        switch: impl FnOnce(),
    ) {
        let Release { owner, connected, missed, mut change } = release;
        let mut waiting = self.lock();
        switch();
        let mut bytes = waiting.bytes + cost(&connected);
        waiting.push(Item { owner, frame: connected, sort: Sort::Connected, change });
        for (number, frame) in missed {
            bytes += cost(&frame);
            waiting.items.push_back(Item { owner, frame, sort: Sort::Event(Some(number)), change });
        }
        for mut item in std::mem::take(&mut waiting.held) {
            if item.owner != owner {
                waiting.held.push(item);
                continue;
            }
            if item.sort == Sort::Event(None) {
                let (number, written) = number(&item.frame);
                item.sort = Sort::Event(number);
                change = written;
            }
            item.change = change;
            waiting.items.push_back(item);
        }
        self.count(&mut waiting, bytes);
        drop(waiting);
        self.handle.wake();
    }

    /// Throws away what was held for `socket`.
    pub(crate) fn forget(&self, socket: SocketId) {
        let mut waiting = self.lock();
        let mut bytes = waiting.bytes;
        waiting.held.retain(|item| {
            let keep = item.owner != socket;
            if !keep {
                bytes -= cost(&item.frame);
            }
            keep
        });
        self.count(&mut waiting, bytes);
    }

    pub(crate) fn wish(&self, wish: Wish) {
        self.lock().wishes.push(wish);
        self.wished.store(true, Ordering::Release);
        self.handle.wake();
    }

    pub(crate) fn wishes(&self) -> Vec<Wish> {
        if !self.wished.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut self.lock().wishes)
    }

    /// Writes what waits as long as there is room and it is stored, with the token of its socket on what bears one. True: nothing waits any more.
    pub(crate) fn drain(&self, writer: &mut Writer<'_>, tickets: &mut Tickets, sources: &Sources) -> bool {
        if self.is_empty() {
            return true;
        }
        loop {
            let change = match self.drain_stored(writer, tickets, sources) {
                Drained::All => return true,
                Drained::ForRoom => return false,
                Drained::ForChange(change) => change,
            };
            let journal = self.journal.as_ref();
            if !journal.is_none_or(|journal| journal.is_durable_or_wakes(change, &self.handle)) {
                return false;
            }
        }
    }

    fn drain_stored(&self, writer: &mut Writer<'_>, tickets: &mut Tickets, sources: &Sources) -> Drained {
        let mut waiting = self.lock();
        while let Some(item) = waiting.items.front() {
            if self.journal.as_ref().is_some_and(|journal| !journal.is_durable(item.change)) {
                return Drained::ForChange(item.change);
            }
            // The token goes beyond that; it is bounded, since the rooms of a connection are.
            if !writer.has_room_for(item.frame.len()) {
                return Drained::ForRoom;
            }
            match item.sort {
                Sort::Event(number) => tickets.write(writer, &item.frame, item.owner, number, sources),
                Sort::Volatile | Sort::Position => {
                    tickets.write(writer, &item.frame, item.owner, None, sources)
                }
                Sort::Asking | Sort::Answer | Sort::Connected => item.frame.write(writer, None),
            }
            let bytes = waiting.bytes - cost(&item.frame);
            waiting.items.pop_front();
            self.count(&mut waiting, bytes);
        }
        if KEPT_CAPACITY < waiting.items.capacity() {
            waiting.items = VecDeque::new();
        }
        Drained::All
    }

    /// Whether the answer to the CONNECT of `socket` has gone out.
    pub(crate) fn has_answered(&self, socket: SocketId) -> bool {
        let waits = |item: &Item| item.owner == socket && item.sort == Sort::Connected;
        !self.lock().items.iter().any(waits)
    }

    /// Throws away what waits: nobody takes it any more.
    pub(crate) fn discard(&self) {
        if !self.is_empty() {
            let mut waiting = self.lock();
            waiting.items = VecDeque::new();
            waiting.held = Vec::new();
            self.count(&mut waiting, 0);
        }
    }

    /// Whether nothing more may be read from the peer before it takes what waits.
    pub(crate) fn is_over_bound(&self) -> bool {
        self.bytes_max < self.bytes()
    }

    /// Whether nothing more may be done for the peer before more of what is written down is stored; the connection is woken then.
    pub(crate) fn waits_for_journal(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.is_over_bound_or_wakes(&self.handle))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// What waits, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn ack_opened(&self) {
        self.acks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ack_closed(&self) {
        self.acks.fetch_sub(1, Ordering::Relaxed);
        self.handle.wake();
    }

    pub(crate) fn open_acks(&self) -> usize {
        self.acks.load(Ordering::Relaxed)
    }

    fn count(&self, waiting: &mut Waiting, bytes: usize) {
        waiting.bytes = bytes;
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics while it holds the outbox")
    }
}

fn cost(frame: &Frame) -> usize {
    PACKET_BYTES + frame.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_count_for_the_memory_they_take_however_short_they_are() {
        let outbox = Outbox::new(Arc::new(Handle::new()), None, 100_000);
        let mut waiting = 0;
        let owner = SocketId::random();
        while outbox.push(owner, Frame::ack("/", 0, &crate::Args::new()), Sort::Event(None), 0).is_ok() {
            waiting += 1;
        }
        let each = size_of::<Item>() + 64;
        assert!(waiting * each <= 100_000, "{waiting} packets of about {each} bytes wait");
    }
}
