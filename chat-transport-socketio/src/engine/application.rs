//! What a connection carries: the contract between Engine.IO and what runs on top of it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::handle::Handle;
use super::packet::Message;
use super::writer::Writer;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed the connection, or it broke.
    TransportClosed,
    /// The peer did not answer a ping in time.
    PingTimeout,
    /// The peer broke the protocol.
    Malformed,
    /// The peer did not do in time what it must begin with.
    ConnectTimeout,
    /// The peer takes less than is due for it, and more cannot be held.
    Overflow,
    /// This side closed it.
    Closed,
    /// The server stops.
    Shutdown,
}

/// Whether an application takes another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appetite {
    /// Yes.
    Hungry,
    /// Not now: it is busy with what it has. The peer is not to blame, and its ping timeout is extended, up to ten times.
    Busy,
    /// Not before the peer has taken what is due for it.
    Clogged,
}

/// How far [`Application::poll_work`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing more can be done now; the waker is registered for what can change that.
    Done,
    /// It goes on when there is room again.
    WaitsForRoom,
    /// The connection is to be closed.
    Close(CloseReason),
}

/// What is known when a connection opens.
#[derive(Debug)]
pub struct Opening {
    /// Reaches the connection from elsewhere.
    pub handle: Arc<Handle>,
    /// The peer's address, where the host passes it on (`axum::extract::ConnectInfo`, or the accept loop).
    pub peer: Option<SocketAddr>,
}

/// What runs on one connection, inside its task: every method is called in turn, never at the same time, and must not block.
pub trait Application: Send + Unpin + 'static {
    /// Takes a message in. It is called only while there is [`Appetite::Hungry`].
    ///
    /// # Errors
    /// The connection is closed for that reason.
    fn receive(&mut self, message: Message) -> Result<(), CloseReason>;

    /// Whether another message is read. While it is not, the peer is held back by its own full socket.
    fn appetite(&self) -> Appetite;

    /// Does what can be done now, and writes what is due as long as `writer` has room. Called after messages have been received, when
    /// there is room again, and after every wake-up.
    fn poll_work(&mut self, cx: &mut Context<'_>, writer: &mut Writer<'_>) -> Work;

    /// Like [`Self::poll_work`] once the connection is to be closed from this side, for `reason`: only what was due before is still
    /// written, and work in progress may end. Ready when that is done, given up at the close timeout. Nothing is received any more.
    fn poll_drain(&mut self, cx: &mut Context<'_>, writer: &mut Writer<'_>, reason: CloseReason) -> Poll<()> {
        let _ = (cx, writer, reason);
        Poll::Ready(())
    }

    /// When to call [`Self::poll_work`] at the latest.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// A ping goes out behind everything that was written so far.
    fn pinged(&mut self) {}

    /// The peer has answered a ping: it has received what was written before.
    fn ponged(&mut self) {}

    /// The link is gone, and nothing can be written any more: handles what was received before. [`Self::receive`] may still be called, with
    /// what the peer had sent by then. Ready when that is done, given up at the close timeout.
    fn poll_finish(&mut self, cx: &mut Context<'_>, reason: CloseReason) -> Poll<()> {
        let _ = (cx, reason);
        Poll::Ready(())
    }

    /// The connection is over. What is returned runs to its end before the task ends.
    fn close(&mut self, reason: CloseReason) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let _ = reason;
        None
    }
}
