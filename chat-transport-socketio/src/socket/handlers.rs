//! What a host says about a namespace: who is let in, and what handles the events.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::event::{Accept, Ack, Auth, DisconnectReason, Event, Refusal};
use super::failure::Failure;
use super::frame::Frame;
use super::id::SocketId;
use super::socket::Socket;

pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Gate = dyn Fn(Socket, Auth) -> Work<Result<(), Refusal>> + Send + Sync;
type ConnectHandler = dyn Fn(Socket, Auth) -> Work<Result<Accept, Refusal>> + Send + Sync;
type Filter = dyn Fn(Socket, Event) -> Work<Result<Event, Failure>> + Send + Sync;
type EventHandler = dyn Fn(Socket, Event) -> Work<()> + Send + Sync;
type DisconnectHandler = dyn Fn(Socket, DisconnectReason) -> Work<()> + Send + Sync;
type IncomingListener = dyn Fn(&Socket, &Event) + Send + Sync;
type OutgoingListener = dyn Fn(SocketId, &Frame) + Send + Sync;

/// The handlers of one namespace.
///
/// Handlers of one connection run one after another, in the order in which its packets came, inside the connection's task, which goes on
/// writing and pinging meanwhile. Until a handler returns, no further event of that connection is handled, and soon none is read: that
/// is what holds a fast client back. So a handler must not block the thread, and must not wait for an ack of its own client longer than
/// it can afford.
///
/// An event goes by the [listeners](Self::on_incoming), then through the [checks](Self::before_event), and then to the one handler that it has:
/// by its name ([`Self::on`], [`Self::on_typed`]), or else [`Self::on_any`].
///
/// When the connection ends, what was received before is still handled, in order, and then the disconnect handler is called. What handlers
/// send by then goes nowhere, and at the close timeout the one that runs is dropped where it stands: spawn what has to be finished.
/// Only [`Socket::disconnect`] and [`Socket::close_connection`] leave unhandled what has not begun.
#[derive(Default)]
pub struct Namespace {
    gates: Vec<Box<Gate>>,
    connect: Option<Box<ConnectHandler>>,
    incoming: Vec<Box<IncomingListener>>,
    filters: Vec<Box<Filter>>,
    events: HashMap<String, Box<EventHandler>>,
    any: Option<Box<EventHandler>>,
    outgoing: Vec<Box<OutgoingListener>>,
    disconnect: Option<Box<DisconnectHandler>>,
    is_sources_only: bool,
}

impl Namespace {
    /// Lets everybody in and ignores every event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Is asked before the connect handler; several are asked in the order in which they were added. The first [`Refusal`] counts, and nobody
    /// is asked after it.
    ///
    /// ```
    /// use chat_transport_socketio::{Auth, Namespace, Refusal, Socket};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Credentials {
    ///     token: String,
    /// }
    /// struct User(String);
    ///
    /// let namespace = Namespace::new().before_connect(|socket: Socket, auth: Auth| async move {
    ///     let said: Credentials = auth.parse().map_err(|_| Refusal::permanent("a token is needed"))?;
    ///     socket.set(User(said.token)); // looked up, in earnest
    ///     Ok(())
    /// });
    /// ```
    #[must_use]
    pub fn before_connect<F, Fut>(mut self, check: F) -> Self
    where
        F: Fn(Socket, Auth) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.gates.push(Box::new(move |socket, auth| Box::pin(check(socket, auth))));
        self
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

    /// Is asked before an event is handled; several are asked in the order in which they were added. `Ok` with the event passes it on, and a
    /// [`Failure`] ends it here: the client's ack gets it, or gets nothing if it is [`Failure::unanswered`].
    ///
    /// The ack is set aside meanwhile: [`Event::ack`] is `None` here, and is there again in the handler.
    ///
    /// ```
    /// use chat_transport_socketio::{Event, Failure, Namespace, Socket};
    ///
    /// struct Muted;
    ///
    /// let namespace = Namespace::new().before_event(|socket: Socket, event: Event| async move {
    ///     if event.name() == "say" && socket.get::<Muted>().is_some() {
    ///         return Err(Failure::new("muted", "you may listen for now"));
    ///     }
    ///     Ok(event)
    /// });
    /// ```
    #[must_use]
    pub fn before_event<F, Fut>(mut self, check: F) -> Self
    where
        F: Fn(Socket, Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Event, Failure>> + Send + 'static,
    {
        self.filters.push(Box::new(move |socket, event| Box::pin(check(socket, event))));
        self
    }

    /// Handles the events of that name, in place of an earlier handler of the name.
    #[must_use]
    pub fn on<F, Fut>(mut self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Socket, Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.events.insert(name.into(), Box::new(move |socket, event| Box::pin(handler(socket, event))));
        self.is_sources_only = false;
        self
    }

    /// Promises that its sockets are sent nothing but what their sources give, and have neither rooms nor data: then a session with a
    /// [base](crate::Accept::base) is recovered without any memory of it, also after a crash. Handlers that are added later take the promise back, and
    /// so does the first event that is sent all the same.
    #[must_use]
    pub fn sources_only(mut self) -> Self {
        self.is_sources_only = true;
        self
    }

    /// Whether it has not promised to be of sources only.
    pub(crate) fn has_own(&self) -> bool {
        !self.is_sources_only
    }

    /// Handles the events of that name by their first argument, as a `T`; one that is absent is read as `null`, and further ones are ignored.
    /// What the handler returns is the answer: `Ok` as it is, and a [`Failure`] in its own form. An argument that is no `T` fails with the code
    /// `bad_request` and does not get to the handler.
    ///
    /// For events with several arguments or attachments there is [`Self::on`].
    ///
    /// ```
    /// use chat_transport_socketio::{Failure, Namespace, Socket};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Deserialize)]
    /// struct Order {
    ///     cups: u32,
    /// }
    /// #[derive(Serialize)]
    /// struct Bill {
    ///     cents: u32,
    /// }
    ///
    /// // In the client: const { cents } = await socket.emitWithAck('order', { cups: 2 });
    /// let namespace = Namespace::new().on_typed("order", |_socket: Socket, order: Order| async move {
    ///     let cents = order.cups.checked_mul(250).ok_or_else(|| Failure::new("too_many", "that is a lot of tea"))?;
    ///     Ok(Bill { cents })
    /// });
    /// ```
    #[must_use]
    pub fn on_typed<T, R, F, Fut>(self, name: impl Into<String>, handler: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        F: Fn(Socket, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        self.on(name, move |socket, mut event| {
            let ack = event.ack.take();
            let answer = event.parse(0).map(|payload| handler(socket, payload));
            async move {
                let answer = match answer {
                    Ok(answer) => answer.await,
                    Err(error) => {
                        tracing::debug!(event = event.name(), "an argument is not what is expected");
                        Err(Failure::malformed(&error))
                    }
                };
                match answer {
                    Ok(value) => reply(ack, &value),
                    Err(failure) => failure.answer(ack),
                }
            }
        })
    }

    /// Handles the events that have no handler of their own. What listens to every event is [`Self::on_incoming`].
    #[must_use]
    pub fn on_any<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.any = Some(Box::new(move |socket, event| Box::pin(handler(socket, event))));
        self
    }

    /// Listens to every event from a client, before it is checked or handled, and also if nobody handles it. For logs and counters: it can hold up
    /// nothing and change nothing.
    ///
    /// ```
    /// # use chat_transport_socketio::Namespace;
    /// let namespace = Namespace::new().on_incoming(|socket, event| println!("{} from {}", event.name(), socket.id()));
    /// ```
    #[must_use]
    pub fn on_incoming(mut self, listener: impl Fn(&Socket, &Event) + Send + Sync + 'static) -> Self {
        self.incoming.push(Box::new(listener));
        self
    }

    /// Listens to every event that is sent to a client: emitted to its socket, broadcast, or with a question. It is called where the event is
    /// sent, once for each client, also for those that are away and will have it later, and for volatile events that are dropped on the way. It
    /// must not send anything itself, which it would hear again.
    ///
    /// What a [`Source`](crate::Source) gives (the entries of the [`chat`](crate::chat)) is not among it: that is not sent by anybody, but pulled by each
    /// connection for itself. Nor are acks.
    ///
    /// ```
    /// # use chat_transport_socketio::Namespace;
    /// let namespace = Namespace::new().on_outgoing(|to, frame| {
    ///     println!("{} to {to}, {} bytes", frame.event_name().unwrap_or_default(), frame.len());
    /// });
    /// ```
    #[must_use]
    pub fn on_outgoing(mut self, listener: impl Fn(SocketId, &Frame) + Send + Sync + 'static) -> Self {
        self.outgoing.push(Box::new(listener));
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

    /// None: everybody is let in.
    pub(super) fn connect(&self, socket: &Socket, auth: Auth) -> Option<Work<Result<Accept, Refusal>>> {
        if self.gates.is_empty() {
            return self.connect.as_ref().map(|handler| handler(socket.clone(), auth));
        }
        let socket = socket.clone();
        Some(Box::pin(async move {
            let handlers = socket.served().handlers();
            for gate in &handlers.gates {
                gate(socket.clone(), auth.clone()).await?;
            }
            match &handlers.connect {
                Some(handler) => handler(socket.clone(), auth).await,
                None => Ok(Accept::new()),
            }
        }))
    }

    /// None: nobody handles it.
    pub(super) fn event(&self, socket: &Socket, mut event: Event) -> Option<Work<()>> {
        self.incoming.iter().for_each(|listener| listener(socket, &event));
        if self.filters.is_empty() {
            return Some(self.handler(&event)?(socket.clone(), event));
        }
        let socket = socket.clone();
        Some(Box::pin(async move {
            let handlers = socket.served().handlers();
            let ack = event.ack.take();
            for filter in &handlers.filters {
                event = match filter(socket.clone(), event).await {
                    Ok(event) => event,
                    Err(failure) => return failure.answer(ack),
                };
            }
            event.ack = ack;
            if let Some(handler) = handlers.handler(&event) {
                handler(socket.clone(), event).await;
            }
        }))
    }

    pub(super) fn disconnect(&self, socket: &Socket, reason: DisconnectReason) -> Option<Work<()>> {
        self.disconnect.as_ref().map(|handler| handler(socket.clone(), reason))
    }

    /// An event is sent to `to`.
    pub(super) fn outgoing(&self, to: SocketId, frame: &Frame) {
        self.outgoing.iter().for_each(|listener| listener(to, frame));
    }

    fn handler(&self, event: &Event) -> Option<&EventHandler> {
        self.events.get(event.name()).or(self.any.as_ref()).map(|handler| &**handler)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("events", &self.events.keys()).finish_non_exhaustive()
    }
}

/// Answers with what a handler has returned.
fn reply<R: Serialize>(ack: Option<Ack>, value: &R) {
    let Some(ack) = ack else { return };
    match crate::Args::one(value) {
        // A client that is gone needs no answer.
        Ok(args) => drop(ack.send_args(&args)),
        Err(error) => {
            tracing::error!(%error, "an answer has no JSON form");
            Failure::new("internal", "the answer cannot be written as JSON").answer(Some(ack));
        }
    }
}
