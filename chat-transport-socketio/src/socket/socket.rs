//! One client in one namespace over one connection, as handlers and other tasks see it. What outlives the connection is in
//! `session.rs`, how a socket comes and goes in `socket/life.rs`.

mod life;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::args::Args;
use super::asking::{AskError, Asked, IDS};
use super::broadcast::Broadcast;
use super::event::{Answer, DisconnectReason};
use super::frame::Frame;
use super::id::SocketId;
use super::namespace::Served;
use super::outbox::{Full, Outbox, Sort, Wish};
use super::packet;
use super::recovery::{Lineage, Resumption};
use super::session::{Delivery, Session};
use super::source::Source;
use crate::engine::CloseReason;

/// One client in one namespace. Cloning is a reference count.
///
/// What is emitted while the client is away goes to its [session](crate#connection-state-recovery), if that can be recovered; without
/// recovery, or once the session is over, nothing is sent.
#[derive(Clone)]
pub struct Socket {
    inner: Arc<Inner>,
}

struct Inner {
    session: Arc<Session>,
    namespace: Arc<Served>,
    outbox: Arc<Outbox>,
    /// Its client comes back to the session that it had.
    is_back: bool,
    stage: AtomicU8,
    next_ack: AtomicU64,
    own: Mutex<Own>,
}

/// What few sockets have much of.
#[derive(Default)]
struct Own {
    asked: HashMap<u64, Asked>,
    state: Vec<Arc<dyn Any + Send + Sync>>,
    /// What is known of the connection before, until the client is let in.
    resumption: Option<Arc<Resumption>>,
    /// What a handler did before a client that is back was let in: until then the session belongs to the connection before.
    ahead: Vec<Change>,
}

/// A change of a session.
enum Change {
    Join(String),
    Leave(String),
    Data(Arc<str>),
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

/// The event that says nothing but its token.
pub(crate) const POSITION: &str = "position";
/// Answers of one client that may be awaited at a time.
const ASKED_MAX: usize = 1000;

impl Socket {
    /// For a client that is new here, or (`is_back`) has returned to its session.
    pub(crate) fn new(
        session: Arc<Session>,
        namespace: Arc<Served>,
        outbox: Arc<Outbox>,
        is_back: bool,
        resumption: Option<Arc<Resumption>>,
    ) -> Self {
        let inner = Inner {
            session,
            namespace,
            outbox,
            is_back,
            stage: AtomicU8::new(CONNECTING),
            next_ack: AtomicU64::new(0),
            own: Mutex::new(Own { resumption, ..Own::default() }),
        };
        let socket = Self { inner: Arc::new(inner) };
        if !is_back {
            socket.session().begin(&socket);
        }
        socket
    }

    /// Its id: that of its session, so it is new with each connection that was not recovered.
    pub fn id(&self) -> SocketId {
        self.session().id
    }

    /// Whether the client is back in the session that it had before its connection was cut. In a connect handler: whether it will be, if it is
    /// let in now.
    pub fn recovered(&self) -> bool {
        self.inner.is_back
    }

    /// What is handed on from one connection of a client to the next, also when the session is not recovered. Without recovery, another one for
    /// each socket.
    pub fn lineage(&self) -> Lineage {
        self.session().lineage
    }

    /// What is known of the client's connection before this one, for the connect handler: it is gone once the client is let in. It is there also
    /// when the session is not recovered, as long as the client has shown a `pid` that is from here: its sources can go on from it.
    pub fn resumption(&self) -> Option<Arc<Resumption>> {
        self.own().resumption.clone()
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
        self.served().handlers().outgoing(self.id(), &frame);
        self.served().take_own();
        if self.holds(&frame, Sort::Event(None))? {
            return Ok(());
        }
        self.session().emit(&self.served().name, frame, Delivery::Sure)
    }

    /// Sends an event only if the client takes it at once; otherwise it is dropped, which is no error. A client that comes back does not get
    /// it again.
    ///
    /// # Errors
    /// The value has no JSON form, or the session is over.
    pub fn emit_volatile<T: Serialize + ?Sized>(&self, name: &str, arg: &T) -> Result<(), EmitError> {
        self.send_volatile(Frame::event(self.namespace(), name, &Args::one(arg)?))
    }

    /// As [`Self::emit_volatile`], with an event that is encoded already.
    ///
    /// # Errors
    /// The session is over.
    pub fn send_volatile(&self, frame: Frame) -> Result<(), EmitError> {
        self.served().handlers().outgoing(self.id(), &frame);
        if self.holds(&frame, Sort::Volatile)? {
            return Ok(());
        }
        self.session().emit(&self.served().name, frame, Delivery::Volatile)
    }

    /// Tells the client where its sources are now: by an event without arguments, which is not kept. To be sent before the answer to a request
    /// that has changed what they give, since a client that is cut behind the answer would come back to what was before. Does nothing where the
    /// session cannot be recovered.
    pub fn send_position(&self) {
        if self.session().is_kept() && self.is_connected() {
            let frame = Frame::event(self.namespace(), POSITION, &Args::new());
            // If it is not taken, the connection is closed, and the answer does not get out either.
            let _ = self.answer(frame, Sort::Position);
        }
    }

    /// Has the connection pull from `source` once the socket is let in and until it leaves.
    pub fn attach(&self, source: impl Source) {
        self.inner.outbox.wish(Wish::Attach(self.id(), Box::new(source)));
    }

    /// Adds it to a room.
    pub fn join(&self, room: &str) {
        self.change(Change::Join(room.to_owned()));
    }

    /// Takes it out of a room.
    pub fn leave(&self, room: &str) {
        self.change(Change::Leave(room.to_owned()));
    }

    /// The rooms it is in, without the one of its own.
    pub fn rooms_joined(&self) -> Vec<Arc<str>> {
        self.session().lock().rooms.iter().flatten().cloned().collect()
    }

    /// Keeps a value with the session: it is there again when the client is recovered, in place of an earlier one.
    ///
    /// # Errors
    /// The value has no JSON form.
    pub fn set_data<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), serde_json::Error> {
        self.change(Change::Data(serde_json::to_string(data)?.into()));
        Ok(())
    }

    /// The value that [`Self::set_data`] has kept; `None` if there is none, or if it is no `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.session().data()?).ok()
    }

    /// All sockets of its namespace, with itself.
    pub fn to_everybody(&self) -> Broadcast {
        Broadcast::new(self.inner.namespace.clone())
    }

    /// All other sockets of its namespace.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::new(self.inner.namespace.clone()).except(self.id().to_string())
    }

    /// All other sockets in a room.
    pub fn to(&self, room: impl Into<String>) -> Broadcast {
        self.broadcast().to(room)
    }

    /// Leaves the namespace, by the server's will. Its session is over. The official clients do not come back by themselves; the connection stays
    /// for other namespaces. A connect handler refuses instead: before the socket is let in, nothing happens here. Nor does it if the client is
    /// away: [`SocketIo::to`](crate::SocketIo::to) its id reaches the session whatever became of this connection.
    pub fn disconnect(&self) {
        if self.stage() != CONNECTING {
            self.served().throw_out(self.session());
        }
    }

    /// Ends like the connection of a session that is back on another one of this process: the client, should it be there after all, is told that it
    /// has left, and the whole connection is closed. For whoever knows that its client is back on another process. Does nothing where this
    /// socket does not have its session any more.
    pub fn taken_over(&self) {
        if self.served().end_if(self.session(), |state| state.is_of(self)).is_some() {
            self.thrown_out(DisconnectReason::TakenOver);
            self.close_connection();
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

    /// Keeps a value with this connection of the client; it replaces one of the same type. What is to be there again after a recovery is kept
    /// by [`Self::set_data`].
    pub fn set<T: Any + Send + Sync>(&self, value: T) {
        let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
        let mut own = self.own();
        let old = own.state.iter().position(|state| (**state).type_id() == (*value).type_id());
        let replaced = old.map(|index| own.state.swap_remove(index));
        // Most keep one value: no space for four.
        own.state.reserve_exact(1);
        own.state.push(value);
        drop(own);
        drop(replaced);
    }

    /// The value of that type that was [`Self::set`].
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.own().state.iter().find_map(|state| state.clone().downcast().ok())
    }

    /// The value of that type that is kept with the whole connection; the first time it is asked for, its default. Unlike what is [`Self::set`],
    /// it is there again when the client leaves the namespace and comes back, so that what is counted cannot be reset.
    pub fn of_connection<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        self.inner.outbox.kept()
    }

    /// The ack id of the next question to this client alone.
    pub(super) fn next_ack_id(&self) -> u64 {
        self.inner.next_ack.fetch_add(1, Ordering::Relaxed) % IDS
    }

    /// Sends a question, whose answer `asked` waits for.
    pub(super) fn push_asking(&self, id: u64, frame: Frame, asked: Asked) -> Result<(), AskError> {
        if self.is_cut() {
            return Err(EmitError::Closed.into());
        }
        {
            let mut own = self.own();
            own.asked.retain(|_, asked| !asked.is_closed());
            if ASKED_MAX <= own.asked.len() {
                return Err(AskError::TooMany);
            }
            own.asked.insert(id, asked);
        }
        self.served().handlers().outgoing(self.id(), &frame);
        let pushed = match self.holds(&frame, Sort::Asking) {
            Ok(true) => Ok(()),
            Ok(false) => self.answer(frame, Sort::Asking),
            Err(full) => Err(full),
        };
        pushed.map_err(|full| {
            self.forget_asked(id);
            EmitError::from(full).into()
        })
    }

    /// Nobody waits for that answer any more.
    pub(super) fn forget_asked(&self, id: u64) {
        // Dropped behind the lock.
        let _asked = self.own().asked.remove(&id);
    }

    /// Sends a packet behind every change of every session so far: it may be about any of them.
    pub(crate) fn answer(&self, frame: Frame, sort: Sort) -> Result<(), Full> {
        self.inner.outbox.answer(self.id(), frame, sort)
    }

    /// Holds a packet back if the socket is not let in yet.
    fn holds(&self, frame: &Frame, sort: Sort) -> Result<bool, Full> {
        let is_in = || self.stage() != CONNECTING;
        if is_in() {
            return Ok(false);
        }
        self.inner.outbox.hold(self.id(), frame.clone(), sort, is_in)
    }

    fn change(&self, change: Change) {
        // Under the lock, so that a change is either ahead or made when the socket is let in.
        let mut own = self.own();
        if self.inner.is_back && self.stage() == CONNECTING {
            own.ahead.push(change);
            return;
        }
        drop(own);
        self.make(change);
    }

    fn make(&self, change: Change) {
        match change {
            Change::Join(room) => self.inner.namespace.join(self.session(), &room),
            Change::Leave(room) => self.inner.namespace.leave(self.session(), &room),
            Change::Data(data) => {
                self.served().take_own();
                self.session().set_data(&self.served().name, data);
            }
        }
    }

    pub(crate) fn answered(&self, id: u64, args: packet::Args) {
        let asked = self.own().asked.remove(&id);
        if let Some(asked) = asked {
            asked.answer(Answer(args));
        }
    }

    /// Whether nothing more can be sent over its connection.
    pub(crate) fn is_cut(&self) -> bool {
        self.stage() == GONE || self.inner.outbox.handle.is_closed()
    }

    /// Whether that is the same connection of the same client.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.inner.session
    }

    pub(crate) fn served(&self) -> &Arc<Served> {
        &self.inner.namespace
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.inner.outbox
    }

    fn stage(&self) -> u8 {
        self.inner.stage.load(Ordering::Acquire)
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.inner.own.lock().expect("nothing panics while it holds a socket's own data")
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
