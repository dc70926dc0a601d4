//! Names that follow from user ids: the private room of two, and the room of the facts about one. Pure.
//!
//! `dm:<h>.<h>` is the private room of the two users with these hashes, in ascending order; `~u:<h>` has the facts about one user. So who
//! belongs to a private room is seen in its name: no list to be read, none to be kept, and the same answer whether the room exists or not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::id::{InvalidId, RoomId, UserId};
use crate::mutants::{Mutant, mutated};

const DIRECT: &str = "dm:";
const RESERVED: &str = "~";
const FACTS: &str = "~u:";
/// Begins the ids that the application itself writes under.
const SYSTEM: &str = "~chat";

impl RoomId {
    /// The private room of two users, the same whoever asks. A user may have one with itself.
    ///
    /// ```
    /// use chat_core::{RoomId, UserId};
    ///
    /// # fn main() -> Result<(), chat_core::InvalidId> {
    /// let (ada, bob) = (UserId::new("ada")?, UserId::new("bob")?);
    /// let room = RoomId::direct(&ada, &bob);
    /// assert_eq!(room, RoomId::direct(&bob, &ada));
    /// assert!(room.is_direct() && room.is_of(&ada) && !room.is_of(&UserId::new("eve")?));
    /// # Ok(())
    /// # }
    /// ```
    pub fn direct(a: &UserId, b: &UserId) -> Self {
        let (a, b) = (hash(a), hash(b));
        let (first, second) = if a <= b { (a, b) } else { (b, a) };
        Self::plain(&format!("{DIRECT}{first}.{second}"))
    }

    /// A room name as clients send it: one of their choosing, or that of a private room.
    ///
    /// # Errors
    /// As [`RoomId::new`]; [`InvalidId::Reserved`] also for what only looks like a private room.
    pub fn from_client(name: &str) -> Result<Self, InvalidId> {
        match pair(name) {
            Some(_) => Self::reserved(name),
            None => Self::new(name),
        }
    }

    /// Whether it is the private room of two.
    pub fn is_direct(&self) -> bool {
        pair(self.as_str()).is_some()
    }

    /// Whether it is a private room that `user` is one of the two of.
    pub fn is_of(&self, user: &UserId) -> bool {
        pair(self.as_str()).is_some_and(|(first, second)| {
            let hash = hash(user);
            hash == first || hash == second
        })
    }

    /// Where the facts about a user are. Reserved: for no client.
    pub(crate) fn facts_of(user: &UserId) -> Self {
        Self::plain(&format!("{FACTS}{}", hash(user)))
    }

    /// Where the facts about the two of a private room are, in the order of their hashes.
    pub(crate) fn facts_of_both(&self) -> Option<[Self; 2]> {
        let (first, second) = pair(self.as_str())?;
        Some([first, second].map(|hash| Self::plain(&format!("{FACTS}{hash}"))))
    }

    fn plain(name: &str) -> Self {
        Self::reserved(name).expect("a short name of plain characters")
    }
}

impl UserId {
    /// Who writes what no client may write: the facts in reserved rooms.
    pub(crate) fn system() -> Self {
        Self::new(SYSTEM).expect("a plain id")
    }
}

/// Whether the engine itself keeps `who` out of `room`, whatever the application would say: a private room is for the two that it is of, and
/// a reserved one for no client at all.
pub(crate) fn keeps_out(who: &UserId, room: &RoomId) -> bool {
    let name = room.as_str();
    if mutated(Mutant::OpenPrivateRooms) {
        return false;
    }
    name.starts_with(RESERVED) || (name.starts_with(DIRECT) && !room.is_of(who))
}

/// The text form of a user in the names of rooms: 43 characters.
fn hash(user: &UserId) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(user.as_str()))
}

/// A short name for a room in keys.
pub(crate) fn digest(room: &RoomId) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(room.as_str()))
}

/// The hashes in a well-formed name of a private room.
fn pair(name: &str) -> Option<(&str, &str)> {
    let (first, second) = name.strip_prefix(DIRECT)?.split_once('.')?;
    // Strictly: the decoder takes one form of each hash only, so no room has two names.
    let is_hash = |text: &str| {
        let mut bytes = [0; 32];
        text.len() == 43 && URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(32)
    };
    (first <= second && is_hash(first) && is_hash(second)).then_some((first, second))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn users() -> impl Strategy<Value = UserId> {
        "\\PC{1,40}".prop_filter_map("control characters", |id| UserId::new(&id).ok())
    }

    proptest! {
        #[test]
        fn a_private_room_is_of_the_two_and_of_nobody_else(a in users(), b in users(), c in users()) {
            let room = RoomId::direct(&a, &b);
            prop_assert_eq!(&room, &RoomId::direct(&b, &a));
            prop_assert!(room.is_direct() && room.is_of(&a) && room.is_of(&b));
            prop_assert!(!keeps_out(&a, &room) && !keeps_out(&b, &room));
            if c != a && c != b {
                prop_assert!(!room.is_of(&c));
                prop_assert!(keeps_out(&c, &room));
                prop_assert_ne!(&room, &RoomId::direct(&a, &c));
                prop_assert_ne!(RoomId::facts_of(&a), RoomId::facts_of(&c));
            }
        }

        #[test]
        fn a_private_room_leads_to_the_facts_of_both(a in users(), b in users()) {
            let mut facts = [RoomId::facts_of(&a), RoomId::facts_of(&b)];
            facts.sort();
            prop_assert_eq!(RoomId::direct(&a, &b).facts_of_both(), Some(facts));
        }

        #[test]
        fn clients_may_name_the_private_room_and_no_other_reserved_one(a in users(), b in users()) {
            let room = RoomId::direct(&a, &b);
            prop_assert_eq!(room.as_str().len(), 90);
            prop_assert_eq!(RoomId::from_client(room.as_str()), Ok(room));
            prop_assert_eq!(RoomId::from_client(RoomId::facts_of(&a).as_str()), Err(InvalidId::Reserved));
        }

        /// Whatever one character of it is changed to, it is no name of the same room, and either no name or one of others.
        #[test]
        fn what_only_looks_like_the_private_room_is_not(a in users(), b in users(), at in 0..90_usize, other in any::<char>()) {
            let room = RoomId::direct(&a, &b);
            let mut name: Vec<char> = room.as_str().chars().collect();
            name[at] = other;
            let name: String = name.into_iter().collect();
            if let Ok(named) = RoomId::from_client(&name) && named != room {
                prop_assert!(!(named.is_of(&a) && named.is_of(&b)) || a == b);
            }
        }

        #[test]
        fn any_name_is_taken_or_refused_without_a_panic(name in "\\PC{0,200}", dm: bool) {
            let name = if dm { format!("dm:{name}") } else { name };
            if let Ok(room) = RoomId::from_client(&name) {
                prop_assert!(!room.as_str().starts_with('~'));
                prop_assert_eq!(room.is_direct(), room.as_str().starts_with("dm:"));
            }
        }
    }

    #[test]
    fn a_malformed_private_name_is_refused() {
        let (a, b) = ("A".repeat(43), format!("{}B", "A".repeat(42)));
        let c = format!("{}E", "A".repeat(42));
        assert!(RoomId::from_client(&format!("dm:{a}.{c}")).is_ok());
        for name in [
            "dm:".to_owned(),
            "dm:.".to_owned(),
            format!("dm:{a}"),
            format!("dm:{a}."),
            format!("dm:.{a}"),
            format!("dm:{c}.{a}"),
            format!("dm:{a}.{b}"),
            format!("dm:{a}.{c}.{c}"),
            format!("dm:{a}.{c} "),
            format!("dm:{a}={c}"),
            format!("dm:{a}.{}=", "A".repeat(42)),
            format!("dm:{a}.{}/", "A".repeat(42)),
            format!("dm:{a}.{}\0", "A".repeat(42)),
            format!("~dm:{a}.{c}"),
            "~u:x".to_owned(),
            "~".to_owned(),
        ] {
            assert_eq!(RoomId::from_client(&name), Err(InvalidId::Reserved), "{name}");
        }
        for name in
            [format!(" dm:{a}.{c}"), format!("DM:{a}.{c}"), format!("dm{a}.{c}"), "dm\u{2236}x".to_owned()]
        {
            assert!(!RoomId::from_client(&name).unwrap().is_direct(), "{name}: as good as any other");
        }
    }

    /// Part of what is stored: other names would be other rooms.
    #[test]
    fn the_names_stay_as_they_are() {
        let (ada, bob) = (UserId::new("ada").unwrap(), UserId::new("bob").unwrap());
        assert_eq!(RoomId::facts_of(&ada).as_str(), format!("~u:{}", hash(&ada)));
        assert_eq!(hash(&bob), "gbY32PzSxtpjWeaWMROhFw3nleS3JbhNHgtM_Z7FjOk");
        assert_eq!(
            RoomId::direct(&ada, &bob).as_str(),
            format!("dm:{}.{}", hash(&bob).min(hash(&ada)), hash(&ada).max(hash(&bob)))
        );
    }

    #[test]
    fn a_reserved_room_is_for_no_client() {
        let ada = UserId::new("ada").unwrap();
        for name in ["~u:x", "~moderation", "dm:anything", RoomId::facts_of(&ada).as_str()] {
            assert!(keeps_out(&ada, &RoomId::reserved(name).unwrap()), "{name}");
        }
        assert!(!keeps_out(&ada, &RoomId::new("lobby").unwrap()));
    }
}
