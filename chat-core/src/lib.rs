//! Chat that behaves: durable rooms, exactly-once posts and offset replay, without network or disk.
//!
//! A [`Position`] (epoch, offset) names at most one entry, for ever, and the offsets inside an epoch are 1, 2, 3, … without holes. Replay,
//! live delivery, deduplication at the client, the detection of gaps and paging backwards all follow from that.
//!
//! # The idea
//! There is no live path and no replay path, and no queue per connection. The log is the single source of truth; a [`Reader`] is a set of
//! places in it, one per room, and is *pulled* whenever its connection has room for more:
//!
//! ```text
//! post ──► MessageLog::append (durable, assigns the offset, refuses repeats)
//!              ├──► tail of the room on this node ── wake ──► readers pull
//!              └──► Delivery::announce ──► other nodes ──► their tails
//! ```
//!
//! What a reader needs comes from the room's tail in memory if it is there, else from a page of the log that all readers share. A slow reader
//! just stays behind: it costs no more than an idle one. The place is the only authority on what was delivered, so tail and log may overlap
//! or disagree about freshness without an entry being left out or repeated.
//!
//! # The promises
//! | | | where |
//! |---|---|---|
//! | P1 | **Durable.** A post that was answered positively survives what its store promises to survive. | [`MessageLog::append`] |
//! | P2 | **Once.** A post is identified by room, author and key. However often it is sent it is stored once, and every answer names the same offset; the same key with other content is refused. | [`Chat::post`] |
//! | P3 | **One order.** Offsets are contiguous, and every reader sees them in that order. | [`Reader::next`] |
//! | P4 | **No gap, no repeat.** Whoever resumes after N receives N + 1, N + 2, … and then live entries, whatever is posted meanwhile and however often it is cut. | [`Reader::join`] |
//! | P5 | **Told, not hidden.** History that a reader needs and that is gone is told. A [`Bookmark`] is checked in full, a bare offset only against what is kept. | [`Step::Lost`] |
//! | P6 | **Bounded.** A reader holds places, and at most one page of the log while it waits for it; everything that can grow has a bound. | [`Limits`] |
//! | P7 | **Nobody else's.** Every join, resume, post and history page asks. | [`Authority`] |
//!
//! # Exactly once
//! From the client to the log: the client makes a key, keeps it until it has a receipt, and retries with it. From the log to the client: entries
//! carry positions; the client takes `last + 1`, drops what it has, and resumes with the last position that it has stored *together with the
//! effect*. Together each message takes effect once. Where a promise ends (a key older than the store keeps keys, history that is
//! gone) it ends visibly.
//!
//! # In an application
//! ```
//! use chat_core::{
//!     Author, Backends, Body, Budget, Chat, DisplayName, Draft, Kind, MemoryStore, MessageKey, RoomId, Since, Step, UserId,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chat = Chat::builder(Backends::from_store(MemoryStore::new())).start().await?;
//! let lobby = RoomId::new("lobby")?;
//! let draft = Draft {
//!     kind: Kind::Message,
//!     author: Author { id: UserId::new("ada")?, name: DisplayName::new("Ada")? },
//!     key: MessageKey::new("ada-1")?,
//!     body: Body::text("Hello, lobby!"),
//! };
//! let first = chat.post(&lobby, draft.clone()).await?;
//! let again = chat.post(&lobby, draft).await?;
//! assert_eq!((again.bookmark, again.duplicate), (first.bookmark, true));
//!
//! let reader = chat.reader(UserId::new("bob")?);
//! reader.join(&lobby, Since::Start).await?;
//! let Step::Run(run) = reader.next(Budget::default()).await else { panic!("nothing was lost") };
//! assert_eq!(run.entries[0].bookmark(), first.bookmark);
//! # Ok(())
//! # }
//! ```
//! `examples/embed.rs` goes on from there. Stores are `chat-store-sqlite` and third parties' own: [three traits](MessageLog), and a
//! conformance kit (feature `conformance`) that runs every sentence of their contracts. The Socket.IO transport is
//! `chat-transport-socketio`.
//!
//! # Where to look
//! | to learn how | read |
//! |---|---|
//! | a post becomes an entry, and is announced | `chat.rs`, `post.rs` |
//! | readers are pulled, take turns and wait | `reader.rs`, `turns.rs`, `cursor.rs`, `wake.rs` |
//! | a reader asks the log for what the tail no longer has | `errand.rs`, `page.rs` |
//! | the newest entries are shared, and holes never seen | `tail.rs`, `room.rs`, `waves.rs` |
//! | rooms are opened and closed | `rooms.rs`, `registry.rs` |
//! | a room learns of what it missed | `listen.rs`, `sweep.rs`, `suspicion.rs` |
//! | a room is brought up to what the log has | `heal.rs` |
//! | a client's position is checked | `place.rs`, `standing.rs`, `position.rs` |
//! | history is paged backwards | `history.rs` |
//! | a private room is for the two that its name is made of | `direct.rs` |
//! | a user has rooms, on every device | `facts.rs` (what is known), `own_rooms.rs` (reads and writes it) |
//! | the list of a user's rooms | `overview.rs` |
//! | how far people have seen is kept, in few writes | `read_marks.rs` |
//! | somebody is banned, muted or signed out, on every node | `moderation.rs` (pure), `moderating.rs` |
//! | something reaches all readers of one user; roles are known | `people.rs` |
//! | a client is back while another node believes in its old connection | `take_over.rs` |
//! | people in a room are told of each other | `notices.rs`, `crowd.rs`, `board.rs` |
//! | the store is told who is there | `attendance.rs`, `roll_call.rs` |
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod asking;
mod attendance;
mod authority;
mod backends;
mod backoff;
mod board;
mod chat;
#[cfg(feature = "conformance")]
pub mod conformance;
mod crowd;
mod cursor;
mod delivery;
mod direct;
mod entry;
mod errand;
mod error;
mod facts;
pub mod fault;
mod heal;
mod history;
mod id;
mod limits;
mod listen;
mod local_news;
mod local_presence;
mod log;
mod memory;
mod moderating;
mod moderation;
#[doc(hidden)]
pub mod mutants;
mod notice;
mod notices;
mod overview;
mod own_rooms;
mod page;
mod people;
mod place;
mod position;
mod post;
mod presence;
mod published;
mod read_marks;
mod reader;
mod registry;
mod roll_call;
mod room;
mod rooms;
mod standing;
mod suspicion;
mod sweep;
mod tail;
mod take_over;
mod task;
mod turns;
mod waiting;
mod wake;
mod waves;

pub use attendance::Attendee;
pub use authority::{Action, Authority, Everyone, Roles, Who};
pub use backends::Backends;
pub use chat::{Chat, ChatBuilder, ChatError, Receipt};
pub use delivery::{Delivery, Heard, Interest, Listener, News, Progress, Ticket};
pub use entry::{Author, Body, Draft, Entry, Kind, Timestamp};
pub use error::{Cause, StoreError, StoreResult};
pub use facts::{OwnRoom, With};
pub use history::{History, HistoryLimit};
pub use id::{
    ConnectionId, DisplayName, InvalidId, MessageKey, NodeId, Reason, RoomId, SubscriberId, UserId,
};
pub use id::{GUEST_PREFIX, REASON_CHARACTERS_MAX};
pub use id::{KEY_CHARACTERS_MAX, NAME_CHARACTERS_MAX, ROOM_CHARACTERS_MAX, USER_CHARACTERS_MAX};
pub use limits::{Budget, Limits};
pub use local_news::{LISTENER_BYTES_MAX, LISTENER_NEWS_MAX, LocalNews};
pub use local_presence::{EMPTY_ROOMS_MAX, LocalPresence};
pub use log::{Appended, MessageLog, PageLimit, Replay, StoreIdentity};
pub use memory::MemoryStore;
pub use moderation::{Measure, Removal, RemovalCause};
pub use notice::{Notice, Told, Typing};
pub use overview::{Overview, OverviewLimit, RoomOverview};
pub use own_rooms::OwnRooms;
pub use place::Since;
pub use position::{Bookmark, Bounds, Epoch, Fingerprint, InvalidBookmark, Offset, Position};
pub use presence::{Changed, Departure, Edge, Member, Presence, Renewed, Roster, Seat};
pub use published::{Format, Published};
pub use reader::{Joined, Reader, Run, Step};
