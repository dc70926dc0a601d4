//! Socket.IO 5 over Engine.IO 4 for unmodified clients, as a router for any axum application.
//!
//! ```no_run
//! use chat_transport_socketio::{Namespace, SocketIo, serve};
//!
//! # async fn run() -> std::io::Result<()> {
//! let io = SocketIo::builder()
//!     .namespace(
//!         "/",
//!         Namespace::new().on("hello", |socket, mut event| async move {
//!             if let Some(ack) = event.ack.take() {
//!                 let _ = ack.send(&format!("hello, {}", socket.id()));
//!             }
//!         }),
//!     )
//!     .build();
//! let app = axum::Router::new().nest_service("/socket.io", io.router());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! serve(listener, app, std::future::pending()).await;
//! # Ok(())
//! # }
//! ```
//!
//! # How a connection works
//! One task per connection reads, lets handlers run, and writes, in turn. Nothing is queued between a [`Source`] and the socket: the
//! connection pulls when its link can take more, so a reader that is slow costs no more than one that is idle. What is not pulled (acks and
//! emits) waits in an outbox that is bounded in bytes; a client that does not take its answers is not read from.
//!
//! What handlers may rely on:
//! - Those of one connection run one after another, in the order in which its packets came ([`Namespace`]).
//! - What they send goes out in that order, and before anything that a [`Source`] gives afterwards.
//! - A connection whose end is not told by DISCONNECT or a `connect_error` brings the official clients back by themselves. So a passing
//!   trouble closes the connection ([`Refusal::Passing`], [`Pull::Broken`], [`Socket::close_connection`], [`SocketIo::shutdown`]), and only
//!   what is for good is told ([`Refusal::Permanent`], [`Socket::disconnect`]).
//! - What is asked before them ([`Namespace::before_connect`], [`Namespace::before_event`]) runs in the same order: no event is handled by one that was
//!   not let in, and none while the event before it is checked.
//! - Arguments are valid JSON and are passed on as they came, byte for byte ([`Event::arg`], [`Args::raw`]); placeholders that point at no
//!   attachment do not get in with a packet that has some ([`placeholder`]).
//!
//! What bounds a client: [`engine::Settings`] for the transport, [`SocketIoBuilder`] for packets, namespaces and what may wait, [`Server`] for
//! HTTP, and [`DEPTH_MAX`] and [`ELEMENTS_MAX`] for JSON.
//!
//! One connection holds at most, whatever its peer does: what [`engine::Settings`] says for the transport; one packet that is put
//! together, one that is handled, and behind it 16 KiB and one more, each twice [`SocketIoBuilder::packet_bytes_max`]; twice
//! [`SocketIoBuilder::outbox_bytes_max`] and one more answer; with recovery, [`Recovery::session_bytes_max`]; and what its sources and handlers keep. With the defaults that is about ten times
//! the largest message for a client that goes to the limits, and a few kilobytes for one that is idle.
//!
//! # Connection state recovery
//! With [`SocketIoBuilder::recovery`], a client whose connection was cut comes back as the one it was: `socket.recovered` is true, it has its id,
//! its rooms, its data ([`Socket::set_data`]) and every event that it missed, once and in order.
//!
//! The client carries its own place. CONNECT gives it a `pid`, and every event without ack id ends in one more string, a *token*. The official clients
//! hand the last string that they received back when they reconnect. So a server knows what they have, and need not guess it from what it wrote.
//!
//! **It succeeds** when the client shows a `pid` from here, the connect handler lets it in, and all of this is still there:
//! - its *session*: rooms, data, and the events that it may not have received. A session without a client is kept for
//!   [`Recovery::disconnection_max`], within [`Recovery::sessions_bytes_max`] for all of them; the events of one within [`Recovery::session_bytes_max`]. They
//!   are numbered, and forgotten when a later ping was answered, and one more after that. In a namespace [of sources only](Namespace::sources_only), such as that of the chat alone, sessions have
//!   nothing of this: they take no memory while their clients are away, and are recovered without it.
//!   With [`Recovery::in_log`], sessions are also written down, and so outlive the process: after a crash they wait for their clients as if these had just been cut. Then an
//!   event goes out when it is stored, and so does an answer behind any change: what a client knows of can be found again.
//! - what its sources need: the connect handler says by [`Accept::base`] where they begin, [`Source::place`] says how far they are, and both come back in
//!   [`Socket::resumption`]. Sources over a durable log are recovered after a crash and on another node, if those have the same
//!   [key](Recovery::with_key). The [`chat`] is such a source.
//!
//! So it does not depend on whether the server has noticed that the old connection is dead (the new one takes the session over and the old one is closed), on whether
//! anything was received before, or on how long it was quiet. **It does not succeed** with a `pid` of
//! another key, or when part of the above is gone: a session also ends by [`Socket::disconnect`], [`Broadcast::disconnect`] or a DISCONNECT of the client, and is given up when its time or the memory for it is
//! over. (Of sources only, it begins again at the client's next CONNECT, if the connect handler lets that in.) Then the client gets a new session of the same [lineage](Socket::lineage), and `socket.recovered` is false.
//!
//! **It costs** a token on each event: 12 bytes and its quotes, and what the sources add (for the chat about 11 in one room). A kept event takes 64 bytes and its own, which
//! it shares with the other recipients of a broadcast. Volatile events have a token too, but are not kept. Events that ask for an ack
//! ([`Socket::ask`]) have none and are not kept: the protocol has no place for it.
//!
//! If a client comes back on two connections at once, the one that came last has the session; the other one is disconnected for good
//! ([`DisconnectReason::TakenOver`]), or closed before it was let in. Between processes, whoever knows that the client is back elsewhere calls
//! [`Socket::taken_over`]; the chat does.
//!
//! **Whoever has a `pid` is the client**, as far as this crate can tell: it is a secret of the client's, and a connect handler that knows better
//! (a user's token, say) answers [`Accept::stranger`].
//!
//! # What is here
//! - [`SocketIo`], [`Namespace`], [`Socket`], [`Event`], [`Ack`], [`Broadcast`]: the event API. `examples/mixed.rs` shows it beside the chat, in a page to be
//!   read first.
//! - [`comparison`]: what of the official server is here, what is not, and why.
//! - [`Source`], [`Outlet`], [`Frame`]: what a connection pulls from, encoded once for all its readers.
//! - [`Recovery`], [`Resumption`]: connection state recovery.
//! - [`engine`]: bare Engine.IO, for something other than Socket.IO on top.
//! - [`serve`] and [`Server`]: an accept loop without Nagle; `axum::serve` does as well.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod chat;
pub mod engine;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod serve;
mod socket;
mod timed;
mod varint;

#[doc = include_str!("../COMPARISON.md")]
pub mod comparison {
    // For the links in it.
    #[cfg(doc)]
    use crate::*;
}

pub use serve::{Server, serve};
pub use socket::placeholder;
pub use socket::{
    Accept, Ack, Answer, Answers, Args, AskError, Auth, Broadcast, DEPTH_MAX, DisconnectReason, ELEMENTS_MAX,
    EmitError, Event, Failure, Frame, JsonError, Lineage, Namespace, Offer, Outlet, Pull, Recovery, Refusal,
    Resumption, Socket, SocketId, SocketIo, SocketIoBuilder, Source,
};
