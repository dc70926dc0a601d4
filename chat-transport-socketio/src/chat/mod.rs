//! The chat events on top of [`chat_core::Chat`]: the tutorial's protocol, and the full one.
//!
//! `PROTOCOL.md` beside this crate's manifest is the contract with clients. Everything here is built on the public event API of this
//! crate, so an application can have events of its own in the same namespace:
//!
//! ```
//! use chat_core::{Backends, Chat, MemoryStore};
//! use chat_transport_socketio::chat::{self, ChatSettings};
//! use chat_transport_socketio::SocketIo;
//!
//! # async fn run() -> Result<axum::Router, chat_core::StoreError> {
//! let chat = Chat::builder(Backends::from_store(MemoryStore::new())).start().await?;
//! let recovery = chat::recovery(&chat).await?;
//! let namespace = chat::namespace(chat, ChatSettings::default()).on("wave", |socket, _event| async move {
//!     // A notice may be dropped.
//!     let _ = socket.broadcast().emit("wave", &socket.id().to_string());
//! });
//! let io = SocketIo::builder().namespace("/", namespace).recovery(recovery).build();
//! Ok(axum::Router::new().nest_service("/socket.io", io.router()))
//! # }
//! ```
//!
//! Where things are: `auth.rs` what a client says when it connects, `accounts.rs` and `identity.rs` who it is by that, `signed_in.rs` until when, `service.rs` how it is let in and
//! its events are handed out, `tutorial.rs` and `full.rs` the requests of the two protocols, `conversation.rs` one connection's state and
//! the source it is pulled from, `places.rs` how far it is, `content.rs` what is kept of a post, `wire.rs` what goes out, `problem.rs` the error codes,
//! `moderation.rs` what those ask for who manage a room, `users.rs` what the connections of one user share.

mod accounts;
mod auth;
mod content;
mod conversation;
mod fields;
mod full;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod identity;
mod moderation;
mod places;
mod problem;
mod rate;
mod service;
mod settings;
mod signed_in;
mod tutorial;
mod users;
mod wire;

use std::sync::Arc;

use chat_core::{Chat, StoreError};

pub use accounts::{Account, Accounts, Guests, TOKEN_BYTES_MAX, Unverified};
pub use settings::ChatSettings;

use crate::{Namespace, Recovery};

/// Recovery with a key that derives from the store of `chat`, so that every node and every later process over the same store recovers its
/// clients: [`SocketIoBuilder::recovery`](crate::SocketIoBuilder::recovery).
///
/// # Errors
/// The store cannot be asked who it is.
pub async fn recovery(chat: &Chat) -> Result<Recovery, StoreError> {
    Ok(Recovery::with_key(identity::derive(chat.store_identity().await?, "recovery, version 1")))
}

/// The chat events as the namespace `/` of a server; in another one nobody is let in.
///
/// Handlers that are added to it ([`Namespace::on`], [`Namespace::on_typed`]) are asked before the chat is; [`Namespace::on_connect`] and [`Namespace::on_any`]
/// are taken. Checks ([`Namespace::before_connect`], [`Namespace::before_event`]) are for the chat's events as well. What the chat answers has the
/// form of a [`Failure`](crate::Failure) where it fails, so a page needs to know only one. `examples/mixed.rs` shows all of it.
pub fn namespace(chat: Chat, settings: ChatSettings) -> Namespace {
    let service = Arc::new(service::Service::new(chat, settings));
    let of_events = service.clone();
    Namespace::new()
        .on_connect(move |socket, auth| {
            let service = service.clone();
            async move { service.connect(socket, auth).await }
        })
        .on_any(move |socket, event| {
            let service = of_events.clone();
            async move { service.handle(socket, event).await }
        })
        .sources_only()
}
