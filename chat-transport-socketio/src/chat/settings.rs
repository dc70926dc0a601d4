//! Every bound of the chat events, with its unit and the reason for its default. What the engine bounds itself is in [`chat_core::Limits`].

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chat_core::RoomId;

use super::accounts::{Accounts, Guests};

/// Settings of the chat events.
///
/// Rooms of one connection and the cap of a first visit are settings of the engine: [`chat_core::Limits`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChatSettings {
    /// The room of connections that speak the tutorial's protocol.
    pub default_room: RoomId,
    /// Who shows a token; `None`: a client that does is refused.
    pub accounts: Option<Arc<dyn Accounts>>,
    /// Whether clients without a token are let in.
    pub guests: Guests,
    /// How long before its token ends a client is told so: time to get another one.
    pub token_notice: Duration,
    /// Requests of one connection in the long run, its CONNECTs included; `None`: no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// Requests of one connection at once, after a rest: what a client that was offline sends when it is back.
    pub requests_burst: NonZeroU32,
    /// Requests of all connections of one user to this node together, in the long run; `None`: no limit.
    pub user_requests_per_second: Option<NonZeroU32>,
    /// The same at once, after a rest.
    pub user_requests_burst: NonZeroU32,
    /// Rooms that one connection joins in the long run, beside those of its CONNECT; `None`: no limit. Joining costs more than other requests.
    pub joins_per_second: Option<NonZeroU32>,
    /// The same at once, after a rest: all the rooms that a connection can be in.
    pub joins_burst: NonZeroU32,
    /// Typing notices and changes of name of one user, over all its connections to this node, in the long run; `None`: no limit. Each is told to
    /// everybody in a room, or in all of the connection's.
    pub notices_per_second: Option<NonZeroU32>,
    /// The same at once, after a rest.
    pub notices_burst: NonZeroU32,
    /// Connections of one user to this node at a time; `None`: no limit.
    pub connections_per_user: Option<NonZeroU32>,
    /// The content of one message, JSON text and attachments together, in bytes.
    pub content_bytes_max: usize,
    /// Private rooms that a connection of the full protocol is put into without asking for them when it begins, the ones that were opened last: what
    /// comes there is to come by itself, and each costs as much as a room that is asked for.
    pub private_rooms_joined_max: usize,
    /// How long a request may take, before it counts as failed for now. The official client's usual wait for an ack is as long.
    pub request_timeout: Duration,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            default_room: RoomId::new("general").expect("a plain name"),
            accounts: None,
            guests: Guests::Welcome,
            token_notice: Duration::from_secs(60),
            requests_per_second: NonZeroU32::new(50),
            requests_burst: NonZeroU32::new(200).expect("not zero"),
            user_requests_per_second: NonZeroU32::new(200),
            user_requests_burst: NonZeroU32::new(800).expect("not zero"),
            joins_per_second: NonZeroU32::new(20),
            joins_burst: NonZeroU32::new(100).expect("not zero"),
            notices_per_second: NonZeroU32::new(5),
            notices_burst: NonZeroU32::new(20).expect("not zero"),
            connections_per_user: NonZeroU32::new(100),
            content_bytes_max: 64 * 1024,
            private_rooms_joined_max: 50,
            request_timeout: Duration::from_secs(10),
        }
    }
}
