//! What a host builds and mounts: namespaces with their handlers, the bounds of a connection, and the way to reach its sockets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;

use super::broadcast::Broadcast;
use super::connection::Connection;
use super::namespace::{Namespace, Served};
use super::namespaces::{Dynamic, Found, Namespaces, Pattern};
use super::packet::PacketLimits;
use super::recovery::Recovery;
use super::recovery::journal::Journal;
use super::recovery::suspended::Suspended;
use crate::engine::{Engine, Settings};

/// A Socket.IO server, without the HTTP server around it. Cloning is a reference count.
#[derive(Clone)]
pub struct SocketIo {
    engine: Engine,
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) namespaces: Namespaces,
    pub(crate) limits: Limits,
    pub(crate) journal: Option<Arc<Journal>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(journal) = &self.journal {
            journal.close();
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) packet: PacketLimits,
    pub(crate) namespaces: usize,
    pub(crate) connects: usize,
    pub(crate) outbox_bytes: usize,
    pub(crate) acks: usize,
    pub(crate) connect_timeout: Duration,
}

impl SocketIo {
    /// Begins with the defaults, and no namespace.
    pub fn builder() -> SocketIoBuilder {
        SocketIoBuilder {
            settings: Settings::default(),
            limits: Limits {
                packet: PacketLimits { attachments: 10, bytes: 1_000_000 },
                namespaces: 10,
                connects: 100,
                outbox_bytes: 256 * 1024,
                acks: 1000,
                connect_timeout: Duration::from_secs(45),
            },
            recovery: None,
            namespaces: HashMap::new(),
            pattern: None,
            dynamic_namespaces_max: 100,
        }
    }

    /// What a host mounts: `Router::new().nest_service("/socket.io", io.router())`. Routes of the host's own below that path win.
    pub fn router(&self) -> Router {
        self.engine.router()
    }

    /// All sockets of a namespace; none if there is no such namespace now.
    pub fn namespace(&self, name: &str) -> Option<Broadcast> {
        self.shared.namespaces.find(name).map(Broadcast::new)
    }

    /// The names of the namespaces that are there now, in no order.
    pub fn namespaces(&self) -> Vec<Arc<str>> {
        self.shared.namespaces.names()
    }

    /// The sockets in a room of the namespace `/`. Without such a namespace, nobody.
    pub fn to(&self, room: impl Into<String>) -> Broadcast {
        let nobody = || Broadcast::new(Arc::new(Served::new("/", Namespace::new(), None)));
        self.namespace("/").unwrap_or_else(nobody).to(room)
    }

    /// Connections that are open now, joined to a namespace or not.
    pub fn connections(&self) -> usize {
        self.engine.connections()
    }

    /// Takes no more connections and closes the open ones, without a DISCONNECT, so that the clients come back: here or elsewhere.
    /// Running handlers may end and their acks are handed out, within the close timeout. True: all are gone within `patience`.
    pub async fn shutdown(&self, patience: Duration) -> bool {
        let until = tokio::time::Instant::now() + patience;
        let gone = self.engine.shutdown(patience).await;
        if let Some(journal) = &self.shared.journal {
            return tokio::time::timeout_at(until, journal.flush()).await.is_ok() && gone;
        }
        gone
    }
}

impl std::fmt::Debug for SocketIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketIo").field("namespaces", &self.shared.namespaces).finish_non_exhaustive()
    }
}

/// See [`SocketIo::builder`].
pub struct SocketIoBuilder {
    settings: Settings,
    limits: Limits,
    recovery: Option<Recovery>,
    namespaces: HashMap<String, Namespace>,
    pattern: Option<Pattern>,
    dynamic_namespaces_max: usize,
}

impl SocketIoBuilder {
    /// Has clients that come back recovered: see [the crate's page](crate#connection-state-recovery). Default: they are not.
    #[must_use]
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = Some(recovery);
        self
    }

    /// Settings of the transport below.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Serves a namespace, in place of an earlier one of that name. `/` is the one that clients are in without naming one.
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>, handlers: Namespace) -> Self {
        self.namespaces.insert(name.into(), handlers);
        self
    }

    /// Serves namespaces that are made when the first client asks for them. `pattern` is given the name of each that is asked for and not there, and
    /// answers with its handlers, or `None` for a name that there will never be: that client gets `Invalid namespace`. It must not block, and
    /// should know which names are good, since a client can make up as many as it likes.
    ///
    /// One is dropped when nobody is in it any more, its sessions of clients that are away included, and the host holds no [`Socket`] or
    /// [`Broadcast`] of it. With recovery, it stays for [`Recovery::disconnection_max`] after the last connection was cut.
    ///
    /// ```
    /// use chat_transport_socketio::{Namespace, SocketIo};
    ///
    /// let io = SocketIo::builder().dynamic_namespaces(|name| {
    ///     let number: u32 = name.strip_prefix("/game-")?.parse().ok()?;
    ///     (number < 8).then(|| Namespace::new().on_typed("number", move |_, (): ()| async move { Ok(number) }))
    /// });
    /// ```
    ///
    /// [`Socket`]: crate::Socket
    #[must_use]
    pub fn dynamic_namespaces(
        mut self,
        pattern: impl Fn(&str) -> Option<Namespace> + Send + Sync + 'static,
    ) -> Self {
        self.pattern = Some(Box::new(pattern));
        self
    }

    /// How many [dynamic namespaces](Self::dynamic_namespaces) there may be at a time. Who asks for one more gets no answer: at the connect deadline
    /// its connection is closed, and it will be back, as after [`Refusal::Passing`](crate::Refusal::Passing). Default: 100.
    #[must_use]
    pub fn dynamic_namespaces_max(mut self, namespaces: usize) -> Self {
        self.dynamic_namespaces_max = namespaces;
        self
    }

    /// How long a client may take to be let into its first namespace, and how long its connection stays when none lets it in.
    /// Default: 45 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect_timeout = timeout;
        self
    }

    /// Binary attachments of one received packet. Default: 10.
    #[must_use]
    pub fn attachments_max(mut self, attachments: usize) -> Self {
        self.limits.packet.attachments = attachments;
        self
    }

    /// Bytes of one received packet, attachments included. Default: 1,000,000.
    #[must_use]
    pub fn packet_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.packet.bytes = bytes;
        self
    }

    /// Namespaces that one connection may be in at a time; one more is refused with a `connect_error`. Default: 10.
    #[must_use]
    pub fn namespaces_max(mut self, namespaces: usize) -> Self {
        self.limits.namespaces = namespaces;
        self
    }

    /// CONNECTs of one connection, for as long as it lasts: each may cost a look into a store. At one more, whatever became of
    /// those before, the connection is closed without asking the handlers; a new one begins afresh. Default: 100.
    #[must_use]
    pub fn connects_max(mut self, connects: usize) -> Self {
        self.limits.connects = connects;
        self
    }

    /// Bytes that may wait for one client, apart from what sources hold; each packet counts 160 more than it has. Beyond it emits fail, and nothing more is read from the client
    /// until it has taken some; at twice that, for answers, the connection is closed. A single packet may be larger. Default: 256 KiB.
    #[must_use]
    pub fn outbox_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.outbox_bytes = bytes;
        self
    }

    /// Unanswered [`crate::Ack`]s of one client that tasks of the host may hold; beyond it nothing more is read from the client.
    /// Default: 1000.
    #[must_use]
    pub fn acks_max(mut self, acks: usize) -> Self {
        self.limits.acks = acks;
        self
    }

    /// The server. Its settings are fixed from here on. To be called within a tokio runtime, if there is recovery.
    pub fn build(self) -> SocketIo {
        let mut recovery = self.recovery;
        let journal = recovery.as_ref().and_then(|recovery| recovery.journal.clone());
        let found = journal.as_ref().and_then(|journal| journal.take_found());
        let journal = journal.filter(|_| found.is_some());
        if let Some(recovery) = &mut recovery
            && journal.is_none()
            && recovery.journal.take().is_some()
        {
            tracing::error!(
                "another server writes its sessions down in that log; those of this one end with the process"
            );
        }
        let suspended = recovery.map(|recovery| Arc::new(Suspended::new(recovery)));
        let serve = |(name, handlers): (String, Namespace)| {
            let served = Arc::new(Served::new(&name, handlers, suspended.clone()));
            (name, served)
        };
        let fixed = self.namespaces.into_iter().map(serve).collect();
        let dynamic =
            self.pattern.map(|pattern| Dynamic::new(pattern, self.dynamic_namespaces_max, suspended.clone()));
        let namespaces = Namespaces::new(fixed, dynamic);
        let shared = Arc::new(Shared { namespaces, limits: self.limits, journal });
        if let Some(journal) = &shared.journal {
            for (sid, kept) in found.into_iter().flatten() {
                if let Found::Open(served) = shared.namespaces.find_or_make(&kept.namespace) {
                    served.restore(sid, kept);
                }
            }
            tokio::spawn(journal.clone().run(Arc::downgrade(&shared)));
        }
        let of_connections = shared.clone();
        let engine =
            Engine::new(self.settings, move |opening| Connection::new(of_connections.clone(), opening));
        SocketIo { engine, shared }
    }
}

impl std::fmt::Debug for SocketIoBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketIoBuilder")
            .field("settings", &self.settings)
            .field("limits", &self.limits)
            .field("recovery", &self.recovery)
            .field("namespaces", &self.namespaces)
            .finish_non_exhaustive()
    }
}
