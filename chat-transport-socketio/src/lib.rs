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
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod chat;
pub mod engine;
mod serve;
mod socket;

pub use serve::{Server, serve};
pub use socket::placeholder;
pub use socket::{
    Accept, Ack, Answer, Args, AskError, Auth, Broadcast, DEPTH_MAX, DisconnectReason, ELEMENTS_MAX,
    EmitError, Event, Frame, JsonError, Namespace, Offer, Outlet, Pull, Refusal, Socket, SocketId, SocketIo,
    SocketIoBuilder, Source,
};
