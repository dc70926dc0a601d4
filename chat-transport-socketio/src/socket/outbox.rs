//! What waits to be written on one connection and is not pulled: acks, the protocol's own packets, and emits. Bounded in bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::event::DisconnectReason;
use super::frame::Frame;
use super::id::SocketId;
use super::source::Source;
use crate::engine::{CloseReason, Handle, Writer};

/// How many entries an emptied queue may keep room for.
const KEPT_CAPACITY: usize = 16;

/// What a packet counts for beside its own bytes: it takes a place in the queue and an allocation, however short it is.
const PACKET_BYTES: usize = 128;

/// One connection, as its sockets see it.
pub(crate) struct Outbox {
    pub(crate) handle: Arc<Handle>,
    bytes_max: usize,
    /// A copy of [`Waiting::bytes`], to look at without the lock.
    bytes: AtomicUsize,
    /// Acks that handlers still hold.
    acks: AtomicUsize,
    /// There are wishes: spares most turns of the task the lock.
    wished: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    /// What is for sockets whose CONNECT is not answered yet.
    held: Vec<(SocketId, Item)>,
    bytes: usize,
    wishes: Vec<Wish>,
}

/// A packet, and whether it is one that gets a token.
struct Item {
    frame: Frame,
    bears_token: bool,
}

/// What a socket wants of its connection's task.
pub(crate) enum Wish {
    Attach(SocketId, Box<dyn Source>),
    Remove(SocketId, DisconnectReason),
}

/// Nothing was sent: the peer has not taken enough of what waits for it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What a packet is, as far as the outbox is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// An event without ack id: it gets the socket's token.
    Event,
    /// An event that asks for an ack.
    Asking,
    /// An answer, or a packet of the protocol: it is taken beyond the bound, and holds up reading instead.
    Answer,
}

impl Outbox {
    pub(crate) fn new(handle: Arc<Handle>, bytes_max: usize) -> Self {
        Self {
            handle,
            bytes_max,
            bytes: AtomicUsize::new(0),
            acks: AtomicUsize::new(0),
            wished: AtomicBool::new(false),
            waiting: Mutex::default(),
        }
    }

    /// Puts a packet at the end. `hold_for` is asked under the lock: a socket that is not connected yet has its packets held until then.
    pub(crate) fn push(
        &self,
        frame: Frame,
        sort: Sort,
        hold_for: impl FnOnce() -> Option<SocketId>,
    ) -> Result<(), Full> {
        let mut waiting = self.lock();
        let bytes = waiting.bytes + cost(&frame);
        let full = match sort {
            // Answers are few: one for each request that was read, and no handler runs beyond the bound. However large the one is that goes
            // beyond it, it is due.
            Sort::Answer => self.bytes_max.saturating_mul(2) < waiting.bytes,
            Sort::Event | Sort::Asking => self.bytes_max < bytes && 0 < waiting.bytes,
        };
        if full {
            drop(waiting);
            if sort == Sort::Answer {
                self.handle.close(CloseReason::Overflow);
            }
            return Err(Full);
        }
        let item = Item { frame, bears_token: sort == Sort::Event };
        match hold_for() {
            Some(socket) => waiting.held.push((socket, item)),
            None => waiting.items.push_back(item),
        }
        self.count(&mut waiting, bytes);
        drop(waiting);
        self.handle.wake();
        Ok(())
    }

    /// Lets go what was held for `socket`, behind `connected`. `switch` is called at the moment from which the socket's packets are no
    /// longer to be held.
    pub(crate) fn release(&self, socket: SocketId, connected: Frame, switch: impl FnOnce()) {
        let mut waiting = self.lock();
        switch();
        let bytes = waiting.bytes + cost(&connected);
        waiting.items.push_back(Item { frame: connected, bears_token: false });
        for (owner, item) in std::mem::take(&mut waiting.held) {
            if owner == socket { waiting.items.push_back(item) } else { waiting.held.push((owner, item)) }
        }
        self.count(&mut waiting, bytes);
    }

    /// Throws away what was held for `socket`.
    pub(crate) fn forget(&self, socket: SocketId) {
        let mut waiting = self.lock();
        let mut bytes = waiting.bytes;
        waiting.held.retain(|(owner, item)| {
            let keep = *owner != socket;
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

    /// Writes what waits as long as there is room, with `token` on what bears one. True: nothing waits any more.
    pub(crate) fn drain(&self, writer: &mut Writer<'_>, token: Option<&str>) -> bool {
        if self.is_empty() {
            return true;
        }
        let mut waiting = self.lock();
        while let Some(item) = waiting.items.front() {
            if !writer.has_room_for(item.frame.len()) {
                return false;
            }
            item.frame.write(writer, token.filter(|_| item.bears_token));
            let bytes = waiting.bytes - cost(&item.frame);
            waiting.items.pop_front();
            self.count(&mut waiting, bytes);
        }
        if KEPT_CAPACITY < waiting.items.capacity() {
            waiting.items = VecDeque::new();
        }
        true
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
        let outbox = Outbox::new(Arc::new(Handle::new()), 100_000);
        let mut waiting = 0;
        while outbox.push(Frame::ack("/", 0, &crate::Args::new()), Sort::Event, || None).is_ok() {
            waiting += 1;
        }
        let each = size_of::<Item>() + 64;
        assert!(waiting * each <= 100_000, "{waiting} packets of about {each} bytes wait");
    }
}
