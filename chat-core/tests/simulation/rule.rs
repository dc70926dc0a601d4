//! Who may do what: known to the world, which enforces it through the engine, and to the laws.

use chat_core::{Action, RoomId, UserId};

/// What is allowed in all: by the rule, and by the engine itself, which keeps private rooms to their two.
pub(crate) fn may(user: &str, room: &RoomId, what: Action) -> bool {
    let is_theirs = !room.is_direct() || UserId::new(user).is_ok_and(|user| room.is_of(&user));
    is_theirs && allows(user, room, what)
}

/// Nobody whose name ends in 1 may do anything in the first room, and nobody whose name ends in 2 may post there.
pub(crate) fn allows(user: &str, room: &RoomId, what: Action) -> bool {
    if room.as_str() != "room 0" {
        return true;
    }
    match user.chars().next_back() {
        Some('1') => false,
        Some('2') => what != Action::Post,
        _ => true,
    }
}
