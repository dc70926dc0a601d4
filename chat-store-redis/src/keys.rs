//! Every name in Redis. Pure.
//!
//! A room has one key, and its news a channel of the same name: `<prefix>:{<room>}`, the room percent-encoded, so that no name can reach into another one's
//! key, or choose what the cluster's slot is computed from.

use std::fmt::Write as _;

use chat_core::{NodeId, Progress, RoomId, SubscriberId};

/// How all names begin that this store uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: encoded(prefix) }
    }

    /// Where a room is kept, and the channel of its news.
    pub(crate) fn room(&self, room: &RoomId) -> String {
        format!("{}:{{{}}}", self.prefix, encoded(room.as_str()))
    }

    /// The room whose news a channel carries.
    pub(crate) fn room_of(&self, channel: &str) -> Option<RoomId> {
        let name = channel.strip_prefix(&self.prefix)?.strip_prefix(":{")?.strip_suffix('}')?;
        RoomId::reserved(&decoded(name)?).ok()
    }

    /// Who is in a room, and the seats that one node has there: beside the room's own key, in the same slot.
    pub(crate) fn seats(&self, room: &RoomId, node: NodeId) -> [String; 3] {
        let room = self.room(room);
        [format!("{room}:here"), format!("{room}:users"), format!("{room}:seats:{}", node.0)]
    }

    /// The rooms in which a node may have seats.
    pub(crate) fn rooms_of(&self, node: NodeId) -> String {
        format!("{}:node:{}", self.prefix, node.0)
    }

    /// Until when each node's lease lasts.
    pub(crate) fn leases(&self) -> String {
        format!("{}:{{nodes}}:leases", self.prefix)
    }

    /// The nodes that have taken seats.
    pub(crate) fn nodes(&self) -> String {
        format!("{}:{{nodes}}:seated", self.prefix)
    }

    /// The last ticket.
    pub(crate) fn ticket(&self) -> String {
        format!("{}:ticket", self.prefix)
    }

    /// Where the store's identity is. No room's key ends without a brace.
    pub(crate) fn identity(&self) -> String {
        format!("{}:identity", self.prefix)
    }
}

/// The field of a room's key that says how far a reader is.
pub(crate) fn progress(what: Progress, who: &SubscriberId) -> String {
    format!("p{}{}", what.number(), who.as_str())
}

/// Letters, digits, `-`, `_`, `.` and `~` as they are, every other byte as `%` and two digits.
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            _ => write!(out, "%{byte:02X}").expect("writing to a String does not fail"),
        }
    }
    out
}

fn decoded(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_channel_names_its_room_and_no_name_breaks_out(name in "[^\\p{C}]{1,40}") {
            prop_assume!(RoomId::reserved(&name).is_ok());
            let (keys, room) = (Keys::new("chat"), RoomId::reserved(&name).unwrap());
            let key = keys.room(&room);
            prop_assert_eq!(keys.room_of(&key), Some(room));
            prop_assert_eq!(key.matches(['{', '}']).count(), 2);
            prop_assert!(key.is_ascii());
        }

        #[test]
        fn whatever_else_is_a_channel_names_no_room(channel in "\\PC{0,20}") {
            prop_assert_eq!(Keys::new("chat").room_of(&channel), None);
        }
    }
}
