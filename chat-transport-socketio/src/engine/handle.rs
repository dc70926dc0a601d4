//! How others reach a connection's task: HTTP requests of a polling session, a wake-up, and the wish that it ends.
//!
//! No queue of messages is here: data is pulled by the task.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::oneshot;

use super::CloseReason;
use super::text::Text;
use super::websocket::WebSocketLink;

/// An HTTP request of a polling session. Dropping its answer unsent refuses the request.
pub(crate) enum Request {
    /// Waits for data.
    Poll(oneshot::Sender<Bytes>),
    /// Brings packets; answered when they are all taken in.
    Post { body: Text, taken: oneshot::Sender<()> },
    /// A WebSocket that wants to become the session's link.
    Upgrade(Box<WebSocketLink>),
}

/// One connection, as others see it.
pub struct Handle {
    waker: AtomicWaker,
    /// Something is in the inbox: spares most turns of the task the lock.
    news: AtomicBool,
    /// The link has taken everything so far.
    writable: AtomicBool,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    /// Few: a second one of a kind ends the session.
    requests: Vec<Request>,
    close: Option<CloseReason>,
    ended: bool,
}

impl Handle {
    pub(crate) fn new() -> Self {
        Self {
            waker: AtomicWaker::new(),
            news: AtomicBool::new(false),
            writable: AtomicBool::new(false),
            inbox: Mutex::default(),
        }
    }

    /// Has the connection looked after: something is due for it, or it may read again.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Closes the connection once everything that is already due for it was handed out. The first reason counts.
    pub fn close(&self, reason: CloseReason) {
        self.lock().close.get_or_insert(reason);
        self.news.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the peer has taken everything so far, as of the task's last turn: what is sent now goes out at once.
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    pub(crate) fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::Relaxed);
    }

    /// Whether the connection is over; nothing reaches it any more.
    pub fn is_closed(&self) -> bool {
        self.lock().ended
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// False: the session is over, the request was dropped.
    pub(crate) fn request(&self, request: Request) -> bool {
        let mut inbox = self.lock();
        if inbox.ended {
            return false;
        }
        inbox.requests.push(request);
        drop(inbox);
        self.news.store(true, Ordering::Release);
        self.wake();
        true
    }

    /// What has come since the last call.
    pub(crate) fn take(&self) -> (Vec<Request>, Option<CloseReason>) {
        if !self.news.swap(false, Ordering::Acquire) {
            return (Vec::new(), None);
        }
        let mut inbox = self.lock();
        (std::mem::take(&mut inbox.requests), inbox.close)
    }

    pub(crate) fn end(&self) {
        let mut inbox = self.lock();
        inbox.ended = true;
        let requests = std::mem::take(&mut inbox.requests);
        drop(inbox);
        drop(requests);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("nothing panics while it holds the inbox")
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}
