//! Many sockets of a namespace: sending to all of them, and moving them about. Asking them is in `asking.rs`.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use super::args::Args;
use super::asking::ANSWERS_BYTES_MAX;
use super::frame::Frame;
use super::id::SocketId;
use super::namespace::Served;
use super::session::{Delivery, Session};
use super::socket::{EmitError, Socket};

/// The sockets of a namespace, or some of them. What is sent is encoded once.
///
/// A client that takes too little to be sent more has its connection closed, so that it comes back and catches up: it is never
/// skipped in silence.
///
/// It is a way to name sockets, not a list of them: whom it reaches is looked up each time. They are those of this process, so there is no `local`.
///
/// ```no_run
/// # use chat_transport_socketio::SocketIo;
/// # fn run(io: SocketIo) -> Result<(), chat_transport_socketio::EmitError> {
/// let players = io.to("game 7").to("game 8").except("watchers");
/// players.emit("news", "both games end in a minute")?;
/// println!("{} are told", players.count());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Broadcast {
    pub(super) namespace: Arc<Served>,
    rooms: Vec<String>,
    except: Vec<String>,
    pub(super) answers_bytes_max: usize,
}

impl Broadcast {
    pub(crate) fn new(namespace: Arc<Served>) -> Self {
        Self { namespace, rooms: Vec::new(), except: Vec::new(), answers_bytes_max: ANSWERS_BYTES_MAX }
    }

    /// Only those in this room, or in another one named so; a socket's id is a room.
    #[must_use]
    pub fn to(mut self, room: impl Into<String>) -> Self {
        self.rooms.push(room.into());
        self
    }

    /// Not those in this room; a socket's id is a room.
    #[must_use]
    pub fn except(mut self, room: impl Into<String>) -> Self {
        self.except.push(room.into());
        self
    }

    /// Bytes that the answers to one [question](Self::ask) may take together; who answers beyond it is [missing]. Each
    /// counts 256 more than it has. Default: 16 MiB.
    ///
    /// [missing]: crate::AskError::TooLarge
    #[must_use]
    pub fn answers_bytes_max(mut self, bytes: usize) -> Self {
        self.answers_bytes_max = bytes;
        self
    }

    /// The sockets it reaches now; those whose clients are away are not among them.
    pub fn sockets(&self) -> Vec<Socket> {
        self.sessions().iter().filter_map(|session| session.socket()).collect()
    }

    /// How many clients it reaches now; those that are away do not count.
    pub fn count(&self) -> usize {
        self.sessions().iter().filter(|session| session.socket().is_some()).count()
    }

    /// The ids of all that get what is emitted, also of those whose clients are [away](crate#connection-state-recovery) and get it later.
    pub fn members(&self) -> Vec<SocketId> {
        self.sessions().iter().map(|session| session.id).collect()
    }

    /// The rooms in which those are that it reaches, each once: of a whole namespace, all its rooms.
    pub fn rooms(&self) -> Vec<Arc<str>> {
        if self.rooms.is_empty() && self.except.is_empty() {
            return self.namespace.rooms();
        }
        let mut rooms = HashSet::new();
        for session in self.sessions() {
            rooms.extend(session.lock().rooms.iter().flatten().cloned());
        }
        rooms.into_iter().collect()
    }

    /// Adds all of them to a room, also those whose clients are away.
    ///
    /// ```no_run
    /// # use chat_transport_socketio::SocketIo;
    /// # fn run(io: SocketIo) {
    /// // Everybody in the lobby gets into the game, and nobody waits there any more.
    /// let lobby = io.to("lobby");
    /// lobby.join("game 7");
    /// io.to("game 7").leave("lobby");
    /// # }
    /// ```
    pub fn join(&self, room: &str) {
        self.sessions().iter().for_each(|session| self.namespace.join(session, room));
    }

    /// Takes all of them out of a room, also those whose clients are away.
    pub fn leave(&self, room: &str) {
        self.sessions().iter().for_each(|session| self.namespace.leave(session, room));
    }

    /// Has all of them leave the namespace, by the server's will: see [`Socket::disconnect`]. The sessions of clients that are away are over as
    /// well: those come back without their rooms and data.
    ///
    /// Not reached are one whose connect handler is running, and a session that takes no memory [while its client is
    /// away](crate#connection-state-recovery). What keeps a client out for good is the connect handler.
    pub fn disconnect(&self) {
        self.sessions().iter().for_each(|session| self.namespace.throw_out(session));
    }

    /// Sends an event with one argument.
    ///
    /// # Errors
    /// The value has no JSON form.
    pub fn emit<T: Serialize + ?Sized>(&self, name: &str, arg: &T) -> Result<(), EmitError> {
        self.emit_args(name, &Args::one(arg)?);
        Ok(())
    }

    /// Sends an event.
    pub fn emit_args(&self, name: &str, args: &Args) {
        self.send(&Frame::event(&self.namespace.name, name, args));
    }

    /// Sends an event that is encoded already, for this namespace.
    pub fn send(&self, frame: &Frame) {
        self.send_as(frame, Delivery::Forced);
    }

    /// Sends an event with one argument to those clients that take it at once; the others do not get it.
    ///
    /// # Errors
    /// The value has no JSON form.
    pub fn emit_volatile<T: Serialize + ?Sized>(&self, name: &str, arg: &T) -> Result<(), EmitError> {
        self.emit_args_volatile(name, &Args::one(arg)?);
        Ok(())
    }

    /// Sends an event to those clients that take it at once; the others do not get it.
    pub fn emit_args_volatile(&self, name: &str, args: &Args) {
        self.send_as(&Frame::event(&self.namespace.name, name, args), Delivery::Volatile);
    }

    fn send_as(&self, frame: &Frame, delivery: Delivery) {
        if delivery != Delivery::Volatile {
            self.namespace.take_own();
        }
        for session in self.sessions() {
            self.namespace.handlers().outgoing(session.id, frame);
            // Who is too full is closed, and who is gone meanwhile is not missed.
            let _ = session.emit(&self.namespace.name, frame.clone(), delivery);
        }
    }

    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        self.namespace.select(&self.rooms, &self.except)
    }
}

impl std::fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broadcast")
            .field("namespace", &self.namespace.name)
            .field("rooms", &self.rooms)
            .field("except", &self.except)
            .finish()
    }
}
