//! One client in one namespace, as handlers and other tasks see it.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;

use super::args::Args;
use super::broadcast::Broadcast;
use super::event::{Answer, DisconnectReason};
use super::frame::Frame;
use super::id::SocketId;
use super::namespace::Served;
use super::outbox::{Full, Outbox, Sort, Wish};
use super::packet;
use super::source::Source;
use crate::engine::CloseReason;

/// One client in one namespace. Cloning is a reference count; a clone may outlive the connection, and then sends nothing.
#[derive(Clone)]
pub struct Socket {
    inner: Arc<Inner>,
}

struct Inner {
    id: SocketId,
    namespace: Arc<Served>,
    outbox: Arc<Outbox>,
    stage: AtomicU8,
    next_ack: AtomicU64,
    own: Mutex<Own>,
}

/// What few sockets have much of.
struct Own {
    /// None once the socket is gone.
    rooms: Option<HashSet<Arc<str>>>,
    asked: HashMap<u64, oneshot::Sender<Answer>>,
    data: Vec<Arc<dyn Any + Send + Sync>>,
}

const CONNECTING: u8 = 0;
const CONNECTED: u8 = 1;
const GONE: u8 = 2;

/// Why something was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The socket is gone.
    #[error("the socket is disconnected")]
    Closed,
    /// The client has not taken enough of what waits for it; nothing was added.
    #[error("the client has not taken what was sent before")]
    Full,
    /// The value has no JSON form.
    #[error("the value cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl From<Full> for EmitError {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The event was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// No answer came in time. It may have been received all the same.
    #[error("the client did not answer in time")]
    TimedOut,
    /// The socket left before it answered.
    #[error("the client left before it answered")]
    Left,
    /// As many answers of this client are awaited as may be.
    #[error("too many answers of this client are awaited")]
    TooMany,
}

/// Answers of one client that may be awaited at a time.
const ASKED_MAX: usize = 1000;

impl Socket {
    pub(crate) fn new(namespace: Arc<Served>, outbox: Arc<Outbox>) -> Self {
        let own = Own { rooms: Some(HashSet::new()), asked: HashMap::new(), data: Vec::new() };
        let inner = Inner {
            id: SocketId::random(),
            namespace,
            outbox,
            stage: AtomicU8::new(CONNECTING),
            next_ack: AtomicU64::new(0),
            own: Mutex::new(own),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Its id, new with each connection.
    pub fn id(&self) -> SocketId {
        self.inner.id
    }

    /// The name of its namespace.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace.name
    }

    /// Whether it is let in and has not left.
    pub fn is_connected(&self) -> bool {
        self.inner.stage.load(Ordering::Acquire) == CONNECTED
    }

    /// Sends an event with one argument.
    ///
    /// # Errors
    /// Nothing was sent: see [`EmitError`].
    pub fn emit<T: Serialize + ?Sized>(&self, name: &str, arg: &T) -> Result<(), EmitError> {
        self.emit_args(name, &Args::one(arg)?)
    }

    /// Sends an event.
    ///
    /// # Errors
    /// Nothing was sent: see [`EmitError`].
    pub fn emit_args(&self, name: &str, args: &Args) -> Result<(), EmitError> {
        self.send(Frame::event(self.namespace(), name, args))
    }

    /// Sends an event that is encoded already, for this socket's namespace.
    ///
    /// # Errors
    /// Nothing was sent: see [`EmitError`].
    pub fn send(&self, frame: Frame) -> Result<(), EmitError> {
        self.push(frame, Sort::Event)
    }

    /// Sends an event only if the client takes it at once; otherwise it is dropped, which is no error.
    ///
    /// # Errors
    /// The socket is gone, or the value has no JSON form.
    pub fn emit_volatile<T: Serialize + ?Sized>(&self, name: &str, arg: &T) -> Result<(), EmitError> {
        if !self.inner.outbox.handle.is_writable() || !self.inner.outbox.is_empty() {
            return Ok(());
        }
        self.emit(name, arg)
    }

    /// Sends an event and waits for the client's answer. Not to be awaited by a handler of this same client for long: until it returns, the
    /// client's further events wait.
    ///
    /// # Errors
    /// See [`AskError`].
    ///
    /// # Cancellation
    /// When the future is dropped, the answer is ignored.
    pub async fn ask(&self, name: &str, args: &Args, timeout: Duration) -> Result<Answer, AskError> {
        let id = self.inner.next_ack.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut own = self.own();
            own.asked.retain(|_, asked| !asked.is_closed());
            if ASKED_MAX <= own.asked.len() {
                return Err(AskError::TooMany);
            }
            own.asked.insert(id, sender);
        }
        let frame = Frame::event_with_ack(self.namespace(), id, name, args);
        if let Err(error) = self.push(frame, Sort::Asking) {
            self.own().asked.remove(&id);
            return Err(error.into());
        }
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(AskError::Left),
            Err(_) => {
                self.own().asked.remove(&id);
                Err(AskError::TimedOut)
            }
        }
    }

    /// Has the connection pull from `source` once the socket is let in and until it leaves.
    pub fn attach(&self, source: impl Source) {
        self.inner.outbox.wish(Wish::Attach(self.id(), Box::new(source)));
    }

    /// Adds it to a room.
    pub fn join(&self, room: &str) {
        self.inner.namespace.join(self, room);
    }

    /// Takes it out of a room.
    pub fn leave(&self, room: &str) {
        self.inner.namespace.leave(self, room);
    }

    /// The rooms it is in, without the one of its own.
    pub fn rooms_joined(&self) -> Vec<Arc<str>> {
        self.rooms().iter().flatten().cloned().collect()
    }

    /// All other sockets of its namespace.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::new(self.inner.namespace.clone()).except(self.id().to_string())
    }

    /// All other sockets in a room.
    pub fn to(&self, room: impl Into<String>) -> Broadcast {
        self.broadcast().to(room)
    }

    /// Leaves the namespace, by the server's will. The official clients do not come back by themselves; the connection stays for other
    /// namespaces. A connect handler refuses instead: before the socket is let in, nothing happens here.
    pub fn disconnect(&self) {
        let stage = &self.inner.stage;
        if stage.compare_exchange(CONNECTED, GONE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // If it does not take even this, its connection is closed.
            let _ = self.inner.outbox.push(Frame::disconnect(self.namespace()), Sort::Answer, || None);
            self.inner.outbox.wish(Wish::Remove(self.id(), DisconnectReason::Server));
        }
    }

    /// Closes the whole connection, with what is due handed out first. The official clients come back by themselves, unless
    /// [`Self::disconnect`] was called before.
    pub fn close_connection(&self) {
        self.inner.outbox.handle.close(CloseReason::Closed);
    }

    /// Closes it as one that takes too little.
    pub(crate) fn overflow(&self) {
        self.inner.outbox.handle.close(CloseReason::Overflow);
    }

    /// Keeps a value with the socket; it replaces one of the same type.
    pub fn set<T: Any + Send + Sync>(&self, value: T) {
        let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
        let mut own = self.own();
        let old = own.data.iter().position(|data| (**data).type_id() == (*value).type_id());
        let replaced = old.map(|index| own.data.swap_remove(index));
        own.data.push(value);
        drop(own);
        drop(replaced);
    }

    /// The value of that type that was [`Self::set`].
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.own().data.iter().find_map(|data| data.clone().downcast().ok())
    }

    fn push(&self, frame: Frame, sort: Sort) -> Result<(), EmitError> {
        let stage = || self.inner.stage.load(Ordering::Acquire);
        if stage() == GONE || self.inner.outbox.handle.is_closed() {
            return Err(EmitError::Closed);
        }
        self.inner.outbox.push(frame, sort, || (stage() == CONNECTING).then_some(self.id()))?;
        Ok(())
    }

    /// Lets it in: `answer` goes out, and behind it what was sent before.
    pub(crate) fn connected(&self, answer: Frame) {
        self.inner.namespace.enter(self);
        let stage = &self.inner.stage;
        self.inner.outbox.release(self.id(), answer, || stage.store(CONNECTED, Ordering::Release));
    }

    /// It is gone: out of all rooms, and nobody waits for its answers any more.
    pub(crate) fn gone(&self) {
        self.inner.stage.store(GONE, Ordering::Release);
        self.inner.namespace.exit(self);
        self.inner.outbox.forget(self.id());
        let asked = std::mem::take(&mut self.own().asked);
        drop(asked);
    }

    pub(crate) fn answered(&self, id: u64, args: packet::Args) {
        if let Some(asked) = self.own().asked.remove(&id) {
            // Whoever asked may have stopped waiting.
            let _ = asked.send(Answer(args));
        }
    }

    pub(crate) fn served(&self) -> &Arc<Served> {
        &self.inner.namespace
    }

    pub(crate) fn rooms(&self) -> Rooms<'_> {
        Rooms(self.own())
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.inner.own.lock().expect("nothing panics while it holds a socket's own data")
    }
}

/// The rooms of a socket, locked.
pub(crate) struct Rooms<'a>(MutexGuard<'a, Own>);

impl std::ops::Deref for Rooms<'_> {
    type Target = Option<HashSet<Arc<str>>>;

    fn deref(&self) -> &Self::Target {
        &self.0.rooms
    }
}

impl std::ops::DerefMut for Rooms<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0.rooms
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id())
            .field("namespace", &self.namespace())
            .finish_non_exhaustive()
    }
}
