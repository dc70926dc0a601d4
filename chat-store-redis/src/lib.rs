//! Redis backend of chat-core: rooms shared by many nodes.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cautions;
mod connect_error;
mod delivery;
mod error;
mod keys;
mod link;
mod log;
mod options;
mod packed;
mod presence;
mod script;
mod store;
mod subscription;

pub use cautions::Caution;
pub use connect_error::ConnectError;
pub use options::RedisOptions;
pub use store::RedisStore;
