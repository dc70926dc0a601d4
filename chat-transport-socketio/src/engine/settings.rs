//! Every bound and deadline of a connection, with its unit and the reason for its default.

use std::time::Duration;

use super::origin::Origins;

/// How a client may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transports {
    /// HTTP long-polling, WebSocket, and the change from the first to the second. The default.
    All,
    /// Both, but a session stays on the transport it began with.
    WithoutUpgrade,
    /// WebSocket alone.
    WebSocket,
    /// HTTP long-polling alone.
    Polling,
}

impl Transports {
    pub(crate) fn polling(self) -> bool {
        !matches!(self, Self::WebSocket)
    }

    pub(crate) fn websocket(self) -> bool {
        !matches!(self, Self::Polling)
    }

    pub(crate) fn upgrade(self) -> bool {
        matches!(self, Self::All)
    }
}

/// Settings of the transport. The defaults are those of the reference server, where it has the setting.
///
/// # Memory of one connection
/// What comes is held at most four times [`Self::max_payload`] before the application has it: a buffer that is read into and the pieces of a
/// message, each of which may have grown to twice what is in it; or the body of a POST. A message that the application keeps takes at most
/// twice its length. What goes out waits in one buffer: 16 KiB on a WebSocket, 64 KiB in the answer to a poll, or one larger message
/// (a third more where it is binary and polled). The kernel holds the two buffers of [`Self::send_buffer_bytes`] and
/// [`Self::receive_buffer_bytes`]. All large buffers are given back when the connection is idle.
///
/// A POST counts for its own TCP connection until it has come whole.
///
/// ```
/// use std::time::Duration;
/// use chat_transport_socketio::engine::{Origins, Settings};
///
/// let settings = Settings::default().ping_interval(Duration::from_secs(10)).origins(Origins::Any);
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) max_payload: usize,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) transports: Transports,
    pub(crate) origins: Origins,
    pub(crate) connections_max: usize,
    pub(crate) send_buffer_bytes: Option<usize>,
    pub(crate) receive_buffer_bytes: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1_000_000,
            upgrade_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            transports: Transports::All,
            origins: Origins::default(),
            connections_max: 1_000_000,
            send_buffer_bytes: Some(64 * 1024),
            receive_buffer_bytes: Some(64 * 1024),
        }
    }
}

impl Settings {
    /// Time between the last pong and the next ping. Default: 25 s.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// How long a pong may take; then the connection is closed. While the application is too busy to read it, it may take ten times longer.
    /// Default: 20 s.
    #[must_use]
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.ping_timeout = timeout;
        self
    }

    /// Bytes of one received message, and of the body of one POST. Default: 1,000,000.
    #[must_use]
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// How long the change from long-polling to WebSocket may take. Default: 10 s.
    #[must_use]
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.upgrade_timeout = timeout;
        self
    }

    /// How long the body of a POST, or the HTTP side of a WebSocket handshake, may take. Default: 20 s.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// How long a connection that this side closes may take to hand out what is still due. Default: 5 s.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Default: [`Transports::All`].
    #[must_use]
    pub fn transports(mut self, transports: Transports) -> Self {
        self.transports = transports;
        self
    }

    /// Which web pages may connect. Default: those of the server's own origin.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Connections at a time; one more is answered 503. Default: 1,000,000, which is no bound on most machines: set one that fits yours.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections;
        self
    }

    /// Bytes that the kernel may hold for a peer that does not read (Linux doubles the figure for its own bookkeeping).
    /// Default: 64 KiB. A larger one lets a single far-away reader go faster.
    #[must_use]
    pub fn send_buffer_bytes(mut self, bytes: usize) -> Self {
        self.send_buffer_bytes = Some(bytes);
        self
    }

    /// Leaves the kernel's buffer as the system sizes it (megabytes, for a reader that lags).
    #[must_use]
    pub fn send_buffer_of_the_system(mut self) -> Self {
        self.send_buffer_bytes = None;
        self
    }

    /// Bytes that the kernel may hold of what a peer sends, before this side reads them (Linux doubles the figure). Default: 64 KiB. A larger
    /// one lets a single far-away client send large messages faster.
    #[must_use]
    pub fn receive_buffer_bytes(mut self, bytes: usize) -> Self {
        self.receive_buffer_bytes = Some(bytes);
        self
    }

    /// Leaves the kernel's buffer as the system sizes it (megabytes, for a peer that sends fast).
    #[must_use]
    pub fn receive_buffer_of_the_system(mut self) -> Self {
        self.receive_buffer_bytes = None;
        self
    }
}
