//! Names of things, checked once when they enter: rooms, users, keys, subscribers, connections, nodes.
//!
//! Cloning any of them is a reference count. Limits come from the wire contract, so that every front door agrees.

use std::fmt;
use std::sync::Arc;

use unicode_normalization::is_nfc;

/// Longest room name, in characters.
pub const ROOM_CHARACTERS_MAX: usize = 128;
/// Longest user id, in characters.
pub const USER_CHARACTERS_MAX: usize = 256;
/// Longest display name, in characters.
pub const NAME_CHARACTERS_MAX: usize = 64;
/// Longest reason of an act of moderation, in characters.
pub const REASON_CHARACTERS_MAX: usize = 256;
/// Longest message key, in characters.
pub const KEY_CHARACTERS_MAX: usize = 128;

/// Why a text cannot be used as a name or id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// It has no characters.
    #[error("a {what} must not be empty")]
    Empty {
        /// What was to be named.
        what: &'static str,
    },
    /// It has more characters than are allowed.
    #[error("a {what} has at most {max} characters")]
    TooLong {
        /// What was to be named.
        what: &'static str,
        /// The limit, in characters.
        max: usize,
    },
    /// It contains a control character.
    #[error("a {what} must not contain control characters")]
    ControlCharacter {
        /// What was to be named.
        what: &'static str,
    },
    /// It is not in Unicode normalisation form C, so that two equal-looking names could differ.
    #[error("a {what} must be in Unicode normalisation form C")]
    NotNormalised {
        /// What was to be named.
        what: &'static str,
    },
    /// It begins with a prefix that only the application itself may use.
    #[error("room names that begin with `dm:` or `~` are reserved")]
    Reserved,
}

fn check(what: &'static str, text: &str, max: usize) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty { what });
    }
    // Bytes first: a peer's megabyte is refused without being walked.
    if max * 4 < text.len() || max < text.chars().count() {
        return Err(InvalidId::TooLong { what, max });
    }
    Ok(())
}

fn check_visible(what: &'static str, text: &str, max: usize) -> Result<(), InvalidId> {
    check(what, text, max)?;
    if text.chars().any(char::is_control) {
        return Err(InvalidId::ControlCharacter { what });
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A room: 1–128 characters, Unicode NFC, no control characters.
    RoomId
}

impl RoomId {
    /// A room name as a client may choose it.
    ///
    /// # Errors
    /// [`InvalidId`] if it is empty, too long, not normalised, holds control characters or is [reserved](Self::reserved).
    pub fn new(name: &str) -> Result<Self, InvalidId> {
        if name.starts_with("dm:") || name.starts_with('~') {
            return Err(InvalidId::Reserved);
        }
        Self::reserved(name)
    }

    /// A room name that may also begin with `dm:` or `~`: for the application, for what a store gives back, never for a client.
    ///
    /// # Errors
    /// As [`RoomId::new`], without [`InvalidId::Reserved`].
    pub fn reserved(name: &str) -> Result<Self, InvalidId> {
        const WHAT: &str = "room name";
        check_visible(WHAT, name, ROOM_CHARACTERS_MAX)?;
        if !is_nfc(name) {
            return Err(InvalidId::NotNormalised { what: WHAT });
        }
        Ok(Self(name.into()))
    }
}

text_id! {
    /// A user: the identity that authors posts and scopes their keys. 1–256 characters, no control characters.
    UserId
}

impl UserId {
    /// # Errors
    /// [`InvalidId`] if it is empty, too long or holds control characters.
    pub fn new(id: &str) -> Result<Self, InvalidId> {
        check_visible("user id", id, USER_CHARACTERS_MAX)?;
        Ok(Self(id.into()))
    }

    /// Whether it is of somebody without an account: it begins with [`GUEST_PREFIX`]. Whoever gives ids to accounts refuses such.
    pub fn is_guest(&self) -> bool {
        self.0.starts_with(GUEST_PREFIX)
    }

    /// Whether it is of nobody, since the engine records things in its name: it begins with `~`. Whoever gives ids to accounts refuses such.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('~')
    }
}

/// Begins the ids of those who have no account.
pub const GUEST_PREFIX: &str = "guest:";

text_id! {
    /// Why an act of moderation was done, for the one it was done to: 1–256 characters, no control characters.
    Reason
}

impl Reason {
    /// # Errors
    /// [`InvalidId`] if it is empty, too long or holds control characters.
    pub fn new(reason: &str) -> Result<Self, InvalidId> {
        check_visible("reason", reason, REASON_CHARACTERS_MAX)?;
        Ok(Self(reason.into()))
    }
}

text_id! {
    /// A name shown to people: 1–64 characters, no control characters. Not an identity: two users may share one.
    DisplayName
}

impl DisplayName {
    /// # Errors
    /// [`InvalidId`] if it is empty, too long or holds control characters.
    pub fn new(name: &str) -> Result<Self, InvalidId> {
        check_visible("display name", name, NAME_CHARACTERS_MAX)?;
        Ok(Self(name.into()))
    }
}

text_id! {
    /// The client's own id of a draft, unique per author and room. 1–128 characters of any kind.
    MessageKey
}

impl MessageKey {
    /// # Errors
    /// [`InvalidId`] if it is empty or too long.
    pub fn new(key: &str) -> Result<Self, InvalidId> {
        check("message key", key, KEY_CHARACTERS_MAX)?;
        Ok(Self(key.into()))
    }
}

text_id! {
    /// Who acknowledges what it received: a device or a session of the application's choosing. 1–256 characters, no control characters.
    SubscriberId
}

impl SubscriberId {
    /// # Errors
    /// [`InvalidId`] if it is empty, too long or holds control characters.
    pub fn new(id: &str) -> Result<Self, InvalidId> {
        check_visible("subscriber id", id, USER_CHARACTERS_MAX)?;
        Ok(Self(id.into()))
    }
}

text_id! {
    /// One connection of one user, unique over all nodes. 1–256 characters, no control characters.
    ConnectionId
}

impl ConnectionId {
    /// # Errors
    /// [`InvalidId`] if it is empty, too long or holds control characters.
    pub fn new(id: &str) -> Result<Self, InvalidId> {
        check_visible("connection id", id, USER_CHARACTERS_MAX)?;
        Ok(Self(id.into()))
    }
}

/// One incarnation of one node: a restarted process is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_name_is_checked_in_characters_not_bytes() {
        assert!(RoomId::new(&"ü".repeat(128)).is_ok());
        assert_eq!(RoomId::new(&"ü".repeat(129)), Err(InvalidId::TooLong { what: "room name", max: 128 }));
        assert_eq!(RoomId::new(""), Err(InvalidId::Empty { what: "room name" }));
    }

    #[test]
    fn a_room_name_that_could_be_mistaken_for_another_is_refused() {
        assert_eq!(RoomId::new("cafe\u{301}"), Err(InvalidId::NotNormalised { what: "room name" }));
        assert!(RoomId::new("café").is_ok());
        assert_eq!(RoomId::new("a\nb"), Err(InvalidId::ControlCharacter { what: "room name" }));
    }

    #[test]
    fn reserved_room_names_are_for_the_application_only() {
        assert_eq!(RoomId::new("dm:a:b"), Err(InvalidId::Reserved));
        assert_eq!(RoomId::new("~bans"), Err(InvalidId::Reserved));
        assert!(RoomId::reserved("~bans").is_ok());
    }
}
