//! Engine.IO 4: a connection of messages over WebSocket or HTTP long-polling, for any [`Application`] on top.
//!
//! [`Engine::router`] is what a host mounts; it runs one task per connection, which reads, lets the application work, and
//! writes, in turn. Socket.IO is one application; a bare echo is another:
//!
//! ```
//! use std::collections::VecDeque;
//! use std::task::{Context, Poll};
//! use chat_transport_socketio::engine::{Application, Appetite, CloseReason, Engine, Message, Settings, Work, Writer};
//!
//! #[derive(Default)]
//! struct Echo(VecDeque<Message>);
//!
//! impl Application for Echo {
//!     fn receive(&mut self, message: Message) -> Result<(), CloseReason> {
//!         self.0.push_back(message);
//!         Ok(())
//!     }
//!     fn appetite(&self) -> Appetite {
//!         if self.0.len() < 100 { Appetite::Hungry } else { Appetite::Clogged }
//!     }
//!     fn poll_work(&mut self, _: &mut Context<'_>, writer: &mut Writer<'_>) -> Work {
//!         while let Some(message) = self.0.front() {
//!             if !writer.has_room_for(message.len()) {
//!                 return Work::WaitsForRoom;
//!             }
//!             match self.0.pop_front() {
//!                 Some(Message::Text(text)) => writer.text(&[b"4", text.as_bytes()]),
//!                 Some(Message::Binary(bytes)) => writer.binary(&bytes),
//!                 None => {}
//!             }
//!         }
//!         Work::Done
//!     }
//! }
//!
//! let engine = Engine::new(Settings::default(), |_opening| Echo::default());
//! let app: axum::Router = axum::Router::new().nest_service("/engine.io", engine.router());
//! ```

mod application;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod handle;
mod handshake;
mod heartbeat;
mod link;
mod origin;
mod packet;
mod polling;
mod registry;
mod service;
mod session;
mod settings;
mod text;
mod upgrade;
mod websocket;
mod writer;

pub use application::{Appetite, Application, CloseReason, Opening, Work};
pub use handle::Handle;
pub use origin::Origins;
pub use packet::Message;
pub use service::Engine;
pub use settings::{Settings, Transports};
pub use text::Text;
#[cfg(test)]
pub(crate) use writer::Framing;
pub use writer::Writer;
