//! A namespace: its handlers, its sockets and its rooms.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use super::event::{Accept, Auth, DisconnectReason, Event, Refusal};
use super::id::SocketId;
use super::socket::Socket;

pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type ConnectHandler = dyn Fn(Socket, Auth) -> Work<Result<Accept, Refusal>> + Send + Sync;
type EventHandler = dyn Fn(Socket, Event) -> Work<()> + Send + Sync;
type DisconnectHandler = dyn Fn(Socket, DisconnectReason) -> Work<()> + Send + Sync;

/// The handlers of one namespace.
///
/// Handlers of one connection run one after another, in the order in which its packets came, inside the connection's task, which goes on
/// writing and pinging meanwhile. Until a handler returns, no further event of that connection is handled, and soon none is read: that
/// is what holds a fast client back. So a handler must not block the thread, and must not wait for an ack of its own client longer than
/// it can afford.
///
/// When the connection ends, what was received before is still handled, in order, and then the disconnect handler is called. What handlers
/// send by then goes nowhere, and at the close timeout the one that runs is dropped where it stands: spawn what has to be finished.
/// Only [`Socket::disconnect`] and [`Socket::close_connection`] leave unhandled what has not begun.
#[derive(Default)]
pub struct Namespace {
    connect: Option<Box<ConnectHandler>>,
    events: HashMap<String, Box<EventHandler>>,
    any: Option<Box<EventHandler>>,
    disconnect: Option<Box<DisconnectHandler>>,
}

impl Namespace {
    /// Lets everybody in and ignores every event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decides who is let in. What the handler emits goes out behind the CONNECT answer, and sources that it attaches are pulled after
    /// that. Answer `Ok(())`, or [`Accept`] with more to say, or a [`Refusal`].
    #[must_use]
    pub fn on_connect<F, Fut, A>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, Auth) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, Refusal>> + Send + 'static,
        A: Into<Accept>,
    {
        self.connect = Some(Box::new(move |socket, auth| {
            let answer = handler(socket, auth);
            Box::pin(async move { answer.await.map(Into::into) })
        }));
        self
    }

    /// Handles the events of that name.
    #[must_use]
    pub fn on<F, Fut>(mut self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Socket, Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.events.insert(name.into(), Box::new(move |socket, event| Box::pin(handler(socket, event))));
        self
    }

    /// Handles the events that have no handler of their own.
    #[must_use]
    pub fn on_any<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.any = Some(Box::new(move |socket, event| Box::pin(handler(socket, event))));
        self
    }

    /// Is told when a socket that was let in has left. Its rooms are left by then, and nothing can be sent to it. This one is not dropped:
    /// it runs to its end.
    #[must_use]
    pub fn on_disconnect<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, DisconnectReason) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.disconnect = Some(Box::new(move |socket, reason| Box::pin(handler(socket, reason))));
        self
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("events", &self.events.keys()).finish_non_exhaustive()
    }
}

/// A namespace in service.
pub(crate) struct Served {
    pub(crate) name: Arc<str>,
    handlers: Namespace,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    sockets: HashMap<SocketId, Socket>,
    rooms: HashMap<Arc<str>, HashMap<SocketId, Socket>>,
}

impl Served {
    pub(crate) fn new(name: &str, handlers: Namespace) -> Self {
        Self { name: name.into(), handlers, members: Mutex::default() }
    }

    /// None: everybody is let in.
    pub(crate) fn connect(&self, socket: &Socket, auth: Auth) -> Option<Work<Result<Accept, Refusal>>> {
        self.handlers.connect.as_ref().map(|handler| handler(socket.clone(), auth))
    }

    /// None: nobody handles it.
    pub(crate) fn event(&self, socket: &Socket, event: Event) -> Option<Work<()>> {
        let handler = self.handlers.events.get(event.name()).or(self.handlers.any.as_ref())?;
        Some(handler(socket.clone(), event))
    }

    pub(crate) fn disconnect(&self, socket: &Socket, reason: DisconnectReason) -> Option<Work<()>> {
        self.handlers.disconnect.as_ref().map(|handler| handler(socket.clone(), reason))
    }

    pub(crate) fn enter(&self, socket: &Socket) {
        self.lock().sockets.insert(socket.id(), socket.clone());
    }

    pub(crate) fn join(&self, socket: &Socket, room: &str) {
        let mut members = self.lock();
        // Under the lock, so that a socket that is leaving meanwhile leaves this room as well.
        let Some(rooms) = &mut *socket.rooms() else { return };
        let name =
            members.rooms.get_key_value(room).map_or_else(|| Arc::from(room), |(name, _)| name.clone());
        if rooms.insert(name.clone()) {
            members.rooms.entry(name).or_default().insert(socket.id(), socket.clone());
        }
    }

    pub(crate) fn leave(&self, socket: &Socket, room: &str) {
        let mut members = self.lock();
        if let Some(rooms) = &mut *socket.rooms() {
            rooms.remove(room);
        }
        members.leave(socket.id(), room);
    }

    /// Takes the socket out for good.
    pub(crate) fn exit(&self, socket: &Socket) {
        let mut members = self.lock();
        members.sockets.remove(&socket.id());
        for room in socket.rooms().take().unwrap_or_default() {
            members.leave(socket.id(), &room);
        }
    }

    /// The sockets in any of `rooms` (in none named: all), without those in `except`. A socket's own id is a room.
    pub(crate) fn select(&self, rooms: &[String], except: &[String]) -> Vec<Socket> {
        let members = self.lock();
        let excluded = |id: &SocketId| {
            except.iter().any(|room| {
                members.rooms.get(room.as_str()).is_some_and(|in_it| in_it.contains_key(id))
                    || SocketId::parse(room) == Some(*id)
            })
        };
        let wanted = |(id, socket): (&SocketId, &Socket)| (!excluded(id)).then(|| socket.clone());
        match rooms {
            [] => members.sockets.iter().filter_map(wanted).collect(),
            [room] if members.rooms.contains_key(room.as_str()) => {
                members.rooms.get(room.as_str()).into_iter().flatten().filter_map(wanted).collect()
            }
            rooms => {
                let mut seen = HashSet::new();
                let mut found = Vec::new();
                for room in rooms {
                    let own = SocketId::parse(room).and_then(|id| members.sockets.get_key_value(&id));
                    for member in members.rooms.get(room.as_str()).into_iter().flatten().chain(own) {
                        if seen.insert(*member.0) {
                            found.extend(wanted(member));
                        }
                    }
                }
                found
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().expect("nothing panics while it holds the members")
    }
}

impl Members {
    fn leave(&mut self, socket: SocketId, room: &str) {
        if let Some(in_it) = self.rooms.get_mut(room) {
            in_it.remove(&socket);
            if in_it.is_empty() {
                self.rooms.remove(room);
            }
        }
    }
}
