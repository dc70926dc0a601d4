//! Chat that behaves: durable rooms, exactly-once posts and offset replay, without network or disk.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod authority;
mod backends;
mod chat;
#[cfg(feature = "conformance")]
pub mod conformance;
mod cursor;
mod delivery;
mod entry;
mod error;
pub mod fault;
mod history;
mod id;
mod limits;
mod local_news;
mod local_presence;
mod log;
mod memory;
#[doc(hidden)]
pub mod mutants;
mod page;
mod place;
mod position;
mod presence;
mod published;
mod reader;
mod room;
mod rooms;
mod suspicion;
mod tail;
mod wake;
mod waves;

pub use authority::{Action, Authority, Everyone};
pub use backends::Backends;
pub use chat::{Chat, ChatBuilder, ChatError, Receipt};
pub use delivery::{Delivery, Heard, Interest, Listener, News, Progress};
pub use entry::{Author, Body, Draft, Entry, Kind, Timestamp};
pub use error::{Cause, StoreError, StoreResult};
pub use history::{History, HistoryLimit};
pub use id::{ConnectionId, DisplayName, InvalidId, MessageKey, NodeId, RoomId, SubscriberId, UserId};
pub use id::{KEY_CHARACTERS_MAX, NAME_CHARACTERS_MAX, ROOM_CHARACTERS_MAX, USER_CHARACTERS_MAX};
pub use limits::{Budget, Limits};
pub use local_news::{LISTENER_BYTES_MAX, LISTENER_NEWS_MAX, LocalNews};
pub use local_presence::{EMPTY_ROOMS_MAX, LocalPresence};
pub use log::{Appended, MessageLog, PageLimit, Replay, StoreIdentity};
pub use memory::MemoryStore;
pub use place::Since;
pub use position::{Bookmark, Bounds, Epoch, Fingerprint, InvalidBookmark, Offset, Position};
pub use presence::{Changed, Departure, Edge, Member, Presence, Renewed, Roster, Seat};
pub use published::{Format, Published};
pub use reader::{Joined, Reader, Run, Step};
