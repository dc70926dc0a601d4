//! [`LocalNews`]: announcing and listening inside one process.
//!
//! What a store embeds whose data belongs to one process, such as [`MemoryStore`](crate::MemoryStore) or one on a local file.
//! Nothing is durable here and nothing crosses a process boundary.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use futures_util::stream::{Stream, StreamExt};

use crate::delivery::{Heard, Interest, Listener, News, Ticket};
use crate::error::StoreResult;
use crate::id::RoomId;

/// Most news that wait for one listener.
pub const LISTENER_NEWS_MAX: usize = 16_384;
/// Most bytes of entries ([`Entry::bytes`](crate::Entry::bytes)) and notices that wait for one listener.
pub const LISTENER_BYTES_MAX: usize = 8 << 20;

/// Announces and listens inside one process. Cloning gives another handle to the same news.
///
/// News reaches every listener that watches its room, the announcer's own included, in the order in which it was announced. A
/// listener has room for [`LISTENER_NEWS_MAX`] news and [`LISTENER_BYTES_MAX`] bytes; when it falls further behind, everything that
/// waited is dropped and it hears [`Heard::Interrupted`] in its place. Nothing here waits, so nothing can be left half done.
///
/// ```
/// # use chat_core::{Bookmark, Epoch, Heard, LocalNews, News, RoomId};
/// # use futures_util::StreamExt;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let news = LocalNews::default();
/// let mut listener = news.listen();
/// let room = RoomId::new("lobby")?;
/// listener.interest.watch(&room).await?;
///
/// let grown = News::Grown { room, head: Bookmark::start(Epoch::from_random(7)) };
/// news.announce(&grown);
/// assert_eq!(listener.heard.next().await, Some(Heard::News(grown)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct LocalNews {
    shared: Arc<Shared>,
    tickets: Arc<AtomicU64>,
}

impl LocalNews {
    /// Tells every listener that watches the news' room.
    pub fn announce(&self, news: &News) {
        for waker in self.shared.lock().announce(news) {
            waker.wake();
        }
    }

    /// Tells every listener that it may have missed something: for a store that hears of other processes over a connection that it has lost.
    pub fn interrupt(&self) {
        for waker in self.shared.lock().interrupt() {
            waker.wake();
        }
    }

    /// The next of the numbers 1, 2, 3, …, to all handles together.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Begins to listen, watching nothing yet. What it hears never ends; dropping it frees everything kept for it.
    pub fn listen(&self) -> Listener {
        let id = self.shared.lock().admit();
        let ear = Ear { id, shared: self.shared.clone() };
        Listener { interest: Arc::new(LocalInterest { id, shared: self.shared.clone() }), heard: ear.boxed() }
    }
}

#[derive(Debug, Default)]
struct Shared(Mutex<Switchboard>);

impl Shared {
    // A std mutex: never held across an await, and nothing inside can panic half way.
    fn lock(&self) -> MutexGuard<'_, Switchboard> {
        self.0.lock().expect("a panic while holding the switchboard is a bug")
    }
}

/// Ordered maps, so that a simulation wakes listeners in the same order every time.
#[derive(Debug, Default)]
struct Switchboard {
    listeners: BTreeMap<u64, Waiting>,
    watched: BTreeMap<RoomId, BTreeSet<u64>>,
    next_id: u64,
}

/// What one listener has not heard yet.
#[derive(Debug, Default)]
struct Waiting {
    heard: VecDeque<Heard>,
    bytes: usize,
    rooms: BTreeSet<RoomId>,
    waker: Option<Waker>,
}

impl Switchboard {
    fn admit(&mut self) -> u64 {
        self.next_id += 1;
        self.listeners.insert(self.next_id, Waiting::default());
        self.next_id
    }

    fn announce(&mut self, news: &News) -> Vec<Waker> {
        let listening = self.watched.get(news.room()).into_iter().flatten();
        let mut woken = Vec::new();
        for id in listening {
            if let Some(waiting) = self.listeners.get_mut(id) {
                waiting.push(news);
                woken.extend(waiting.waker.take());
            }
        }
        woken
    }

    fn interrupt(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        for waiting in self.listeners.values_mut() {
            waiting.interrupt();
            woken.extend(waiting.waker.take());
        }
        woken
    }

    fn watch(&mut self, id: u64, room: &RoomId) {
        // A listener whose stream was dropped is gone; its interest may outlive it and must not bring it back.
        if let Some(waiting) = self.listeners.get_mut(&id) {
            waiting.rooms.insert(room.clone());
            self.watched.entry(room.clone()).or_default().insert(id);
        }
    }

    fn unwatch(&mut self, id: u64, room: &RoomId) {
        if let Some(waiting) = self.listeners.get_mut(&id) {
            waiting.rooms.remove(room);
            self.forget_watch(id, room);
        }
    }

    fn forget_watch(&mut self, id: u64, room: &RoomId) {
        if let Some(ids) = self.watched.get_mut(room) {
            ids.remove(&id);
            if ids.is_empty() {
                self.watched.remove(room);
            }
        }
    }

    fn dismiss(&mut self, id: u64) {
        if let Some(gone) = self.listeners.remove(&id) {
            for room in &gone.rooms {
                self.forget_watch(id, room);
            }
        }
    }
}

impl Waiting {
    fn push(&mut self, news: &News) {
        if LISTENER_NEWS_MAX <= self.heard.len() || LISTENER_BYTES_MAX < self.bytes + bytes(news) {
            self.interrupt();
        }
        self.bytes += bytes(news);
        self.heard.push_back(Heard::News(news.clone()));
    }

    /// What waited is of no use any more: everything is looked at.
    fn interrupt(&mut self) {
        self.heard.clear();
        self.bytes = 0;
        self.heard.push_back(Heard::Interrupted);
    }

    fn pop(&mut self) -> Option<Heard> {
        let heard = self.heard.pop_front()?;
        if let Heard::News(news) = &heard {
            self.bytes -= bytes(news);
        }
        Some(heard)
    }
}

fn bytes(news: &News) -> usize {
    match news {
        News::Appended { entry, .. } => entry.bytes(),
        News::Notice { notice, .. } => notice.bytes(),
        News::Grown { .. } | News::Redacted { .. } | News::TakenOver { .. } => 0,
    }
}

#[derive(Debug)]
struct LocalInterest {
    id: u64,
    shared: Arc<Shared>,
}

#[async_trait]
impl Interest for LocalInterest {
    async fn watch(&self, room: &RoomId) -> StoreResult<()> {
        self.shared.lock().watch(self.id, room);
        Ok(())
    }

    async fn unwatch(&self, room: &RoomId) -> StoreResult<()> {
        self.shared.lock().unwatch(self.id, room);
        Ok(())
    }
}

/// What one listener hears, until it is dropped.
struct Ear {
    id: u64,
    shared: Arc<Shared>,
}

impl Stream for Ear {
    type Item = Heard;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Heard>> {
        let mut board = self.shared.lock();
        let Some(waiting) = board.listeners.get_mut(&self.id) else { return Poll::Ready(None) };
        match waiting.pop() {
            Some(heard) => Poll::Ready(Some(heard)),
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.shared.lock().dismiss(self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::entry::{Author, Body, Entry, Kind, Timestamp};
    use crate::id::{DisplayName, MessageKey, UserId};
    use crate::position::{Bookmark, Epoch, Fingerprint, Offset, Position};

    fn grown(room: &RoomId, offset: u64) -> News {
        let position = Position { epoch: Epoch::from_random(u64::MAX), offset: Offset::new(offset).unwrap() };
        News::Grown { room: room.clone(), head: Bookmark { position, ..Bookmark::start(position.epoch) } }
    }

    fn appended(room: &RoomId, bytes: usize) -> News {
        let entry = Entry {
            position: Position { epoch: Epoch::from_random(u64::MAX), offset: Offset::new(1).unwrap() },
            kind: Kind::Message,
            author: Author { id: UserId::new("ada").unwrap(), name: DisplayName::new("Ada").unwrap() },
            key: MessageKey::new("k").unwrap(),
            at: Timestamp::from_millis(0),
            fingerprint: Fingerprint::NONE,
            body: Some(Body::text("x".repeat(bytes))),
        };
        News::Appended { room: room.clone(), entry: Arc::new(entry) }
    }

    #[tokio::test]
    async fn a_listener_that_falls_behind_hears_interrupted_and_then_the_newest() {
        let (news, room) = (LocalNews::default(), RoomId::new("a").unwrap());
        let mut listener = news.listen();
        listener.interest.watch(&room).await.unwrap();
        let last = LISTENER_NEWS_MAX as u64 + 1;
        for offset in 1..=last {
            news.announce(&grown(&room, offset));
        }
        assert_eq!(listener.heard.next().await, Some(Heard::Interrupted));
        assert_eq!(listener.heard.next().await, Some(Heard::News(grown(&room, last))));
        assert_eq!(listener.heard.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn an_interruption_is_heard_by_all_and_takes_the_place_of_what_waited() {
        let (news, room) = (LocalNews::default(), RoomId::new("a").unwrap());
        let mut listeners = [news.listen(), news.listen()];
        listeners[0].interest.watch(&room).await.unwrap();
        news.announce(&grown(&room, 1));
        news.interrupt();
        for listener in &mut listeners {
            assert_eq!(listener.heard.next().await, Some(Heard::Interrupted));
            assert_eq!(listener.heard.next().now_or_never(), None);
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_listener_is_bounded_in_bytes_too() {
        let (news, room) = (LocalNews::default(), RoomId::new("a").unwrap());
        let mut listener = news.listen();
        listener.interest.watch(&room).await.unwrap();
        for _ in 0..3 {
            news.announce(&appended(&room, LISTENER_BYTES_MAX / 2));
        }
        let queued = news.shared.lock().listeners.values().map(|waiting| waiting.bytes).sum::<usize>();
        assert!(queued <= LISTENER_BYTES_MAX, "{queued}");
        assert_eq!(listener.heard.next().await, Some(Heard::Interrupted));
        assert!(matches!(listener.heard.next().await, Some(Heard::News(_))));
        assert_eq!(news.shared.lock().listeners.values().map(|waiting| waiting.bytes).sum::<usize>(), 0);
    }

    #[tokio::test]
    async fn a_dropped_listener_costs_nothing_further() {
        let (news, room) = (LocalNews::default(), RoomId::new("a").unwrap());
        let Listener { interest, heard } = news.listen();
        interest.watch(&room).await.unwrap();
        drop(heard);
        interest.watch(&room).await.unwrap();
        news.announce(&grown(&room, 1));
        let board = news.shared.lock();
        assert!(board.listeners.is_empty() && board.watched.is_empty(), "{board:?}");
    }

    #[tokio::test]
    async fn a_room_that_nobody_watches_any_more_is_forgotten() {
        let (news, room) = (LocalNews::default(), RoomId::new("a").unwrap());
        let listener = news.listen();
        listener.interest.watch(&room).await.unwrap();
        listener.interest.unwatch(&room).await.unwrap();
        assert!(news.shared.lock().watched.is_empty());
    }
}
