//! What a host says about a namespace: who is let in, and what handles the events.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;

use super::event::{Accept, Auth, DisconnectReason, Event, Refusal};
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
    pub(super) connect: Option<Box<ConnectHandler>>,
    pub(super) events: HashMap<String, Box<EventHandler>>,
    pub(super) any: Option<Box<EventHandler>>,
    pub(super) disconnect: Option<Box<DisconnectHandler>>,
}

impl Namespace {
    /// Lets everybody in and ignores every event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decides who is let in. What the handler emits goes out behind the CONNECT answer, and sources that it attaches are pulled after
    /// that. Answer `Ok(())`, or [`Accept`] with more to say, or a [`Refusal`].
    ///
    /// It is asked each time, also for a client that comes back to its session ([`Socket::recovered`]): who may be let in may have changed. If
    /// it answers that the session must not be recovered, or if that ends meanwhile, it is asked once more, with a new socket.
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

    /// Is told when a socket that was let in has left, or its connection was cut. If the session cannot be recovered, its rooms are left by
    /// then, and nothing can be sent to it. This one is not dropped: it runs to its end.
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
