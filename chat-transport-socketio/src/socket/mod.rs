//! Socket.IO 5 on top of [`crate::engine`]: namespaces, events, acks, rooms, and sources that a connection pulls from.

mod args;
mod arrival;
mod asking;
mod broadcast;
mod connection;
mod event;
mod failure;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod handlers;
mod id;
mod json;
mod namespace;
mod namespaces;
mod outbox;
mod packet;
pub mod placeholder;
mod recovery;
mod server;
mod session;
#[expect(clippy::module_inception, reason = "the file is named after what is in it")]
mod socket;
mod source;
mod sources;
mod tickets;

pub use args::Args;
pub use asking::{Answers, AskError};
pub use broadcast::Broadcast;
#[cfg(test)]
pub(crate) use connection::Connection;
pub use event::{Accept, Ack, Answer, Auth, DisconnectReason, Event, Refusal};
pub use failure::Failure;
pub use frame::Frame;
pub use handlers::Namespace;
pub use id::SocketId;
pub use json::{DEPTH_MAX, ELEMENTS_MAX, JsonError};
pub use recovery::{Lineage, Recovery, Resumption};
pub use server::{SocketIo, SocketIoBuilder};
pub use socket::{EmitError, Socket};
pub use source::{Offer, Outlet, Pull, Source};
