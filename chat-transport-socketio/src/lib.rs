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
//! - Arguments are valid JSON and are passed on as they came, byte for byte ([`Event::arg`], [`Args::raw`]); placeholders that point at no
//!   attachment do not get in with a packet that has some ([`placeholder`]).
//!
//! What bounds a client: [`engine::Settings`] for the transport, [`SocketIoBuilder`] for packets, namespaces and what may wait, [`Server`] for
//! HTTP, and [`DEPTH_MAX`] and [`ELEMENTS_MAX`] for JSON.
//!
//! One connection holds at most, whatever its peer does: what [`engine::Settings`] says for the transport; one packet that is put
//! together, one that is handled, and behind it 16 KiB and one more, each twice [`SocketIoBuilder::packet_bytes_max`]; twice
//! [`SocketIoBuilder::outbox_bytes_max`] and one more answer; and what its sources and handlers keep. With the defaults that is about ten times
//! the largest message for a client that goes to the limits, and a few kilobytes for one that is idle.
//!
//! # What is here
//! - [`SocketIo`], [`Namespace`], [`Socket`], [`Event`], [`Ack`], [`Broadcast`]: the event API. `examples/echo.rs` shows it in a page.
//! - [`Source`], [`Outlet`], [`Frame`]: what a connection pulls from, encoded once for all its readers.
//! - [`engine`]: bare Engine.IO, for something other than Socket.IO on top.
//! - [`serve`] and [`Server`]: an accept loop without Nagle; `axum::serve` does as well.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod chat;
pub mod engine;
mod serve;
mod socket;
mod timed;

pub use serve::{Server, serve};
pub use socket::placeholder;
pub use socket::{
    Accept, Ack, Answer, Args, AskError, Auth, Broadcast, DEPTH_MAX, DisconnectReason, ELEMENTS_MAX,
    EmitError, Event, Frame, JsonError, Namespace, Offer, Outlet, Pull, Refusal, Socket, SocketId, SocketIo,
    SocketIoBuilder, Source,
};
