//! Who a connection is, and in whose name it posts.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat_core::{
    Author, DisplayName, GUEST_PREFIX, InvalidId, MessageKey, NAME_CHARACTERS_MAX, StoreIdentity, UserId,
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::accounts::Account;
use super::auth::{Hello, Secret};
use super::problem::{Code, Problem};
use crate::Lineage;

/// Begins the ids of all guests.
const GUEST: &str = GUEST_PREFIX;
/// The scope that guests without a secret share in the tutorial's protocol. `*` is in no other guest's id.
const SHARED: &str = "guest:*";
/// Begins the ids that the tutorial's page makes in every tab that was never connected.
const UNDEFINED: &str = "undefined-";

/// Turns guests' secrets into their public ids. The same on every node and after every start, since it derives from the store's identity.
pub(super) struct GuestKey([u8; 32]);

impl GuestKey {
    pub(super) fn derive(store: StoreIdentity) -> Self {
        Self(derive(store, "guest ids, version 1"))
    }

    fn id_of(&self, secret: &Secret) -> UserId {
        guest_id(&keyed_hash(&self.0, secret.expose().as_bytes()))
    }
}

impl fmt::Debug for GuestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuestKey(..)")
    }
}

/// Who a connection is.
#[derive(Debug)]
pub(super) struct Identity {
    author: Author,
    /// By which name it is shown since it has asked for another.
    renamed: Mutex<Option<DisplayName>>,
    lineage: Lineage,
    /// Whether the author is the same on every connection of the client, also without a `pid`.
    lasts: bool,
}

impl Identity {
    /// The guest that `hello` speaks of, or one that lives as long as its lineage.
    pub(super) fn of(hello: &Hello, key: &GuestKey, lineage: Lineage) -> Self {
        let (id, lasts) = match &hello.guest {
            Some(secret) => (key.id_of(secret), true),
            None => (guest_id(lineage.bytes()), false),
        };
        let name = hello.name.clone().unwrap_or_else(|| default_name(&id));
        Self { author: Author { id, name }, renamed: Mutex::default(), lineage, lasts }
    }

    /// Somebody who has an account.
    pub(super) fn of_account(account: &Account, lineage: Lineage) -> Self {
        let id = account.id.clone();
        let name = account.name.clone().unwrap_or_else(|| {
            let text: String = id.as_str().chars().take(NAME_CHARACTERS_MAX).collect();
            DisplayName::new(&text).expect("the beginning of an id is a name")
        });
        Self { author: Author { id, name }, renamed: Mutex::default(), lineage, lasts: true }
    }

    pub(super) fn id(&self) -> &UserId {
        &self.author.id
    }

    /// Whether it is the same on every connection of the client, also without a `pid`.
    pub(super) fn lasts(&self) -> bool {
        self.lasts
    }

    /// In whose name a post of the full protocol is stored, and by which others see it.
    pub(super) fn author(&self) -> Author {
        let renamed = self.renamed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Author { id: self.author.id.clone(), name: renamed.unwrap_or_else(|| self.author.name.clone()) }
    }

    /// Has another name from now on. Guests alone: the name of anybody else is not for the client to choose.
    pub(super) fn rename(&self, name: DisplayName) -> Result<(), Problem> {
        if !self.author.id.as_str().starts_with(GUEST) {
            return Err(Problem::new(Code::Forbidden, "only guests choose their names"));
        }
        *self.renamed.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
        Ok(())
    }

    /// In whose name a post of the tutorial's protocol is stored.
    ///
    /// Who has no lasting identity shares a scope of keys with all others like it, so that a client that sends again over a new connection
    /// is not stored twice: its keys contain a random id.
    pub(super) fn tutorial_author(&self) -> Author {
        if self.lasts {
            return self.author();
        }
        Author { id: UserId::new(SHARED).expect("a plain id"), name: self.author().name }
    }

    /// The key under which a post of the tutorial's protocol is stored: its own, or a new one.
    ///
    /// Every tab that was never connected counts from `undefined-0`, also two tabs of one guest. Such an id only names something within a lineage.
    ///
    /// # Errors
    /// It is empty or too long.
    pub(super) fn tutorial_key(&self, client_offset: Option<&str>) -> Result<MessageKey, InvalidId> {
        match client_offset {
            None => MessageKey::new(&encoded(&rand::random::<[u8; 16]>())),
            Some(key) => match key.strip_prefix(UNDEFINED) {
                Some(rest) => {
                    MessageKey::new(key)?;
                    // However long the rest is, there is space for the lineage.
                    let rest = encoded(&Sha256::digest(rest));
                    MessageKey::new(&format!("{UNDEFINED}{}-{rest}", encoded(self.lineage.bytes())))
                }
                None => MessageKey::new(key),
            },
        }
    }
}

/// What others are told of the key of an entry: the key itself, by which an author's page knows its own message.
///
/// But not where strangers share a scope of keys: there a key names the client's socket, and whoever has seen one could use up the next.
pub(super) fn told_key<'a>(author: &UserId, key: &'a MessageKey) -> Cow<'a, str> {
    if author.as_str() != SHARED {
        return Cow::Borrowed(key.as_str());
    }
    let hash = Sha256::digest(key.as_str());
    Cow::Owned(encoded(hash.get(..16).unwrap_or_default()))
}

/// Whether that is nobody in particular: the scope that several guests share.
pub(super) fn is_shared(user: &UserId) -> bool {
    user.as_str() == SHARED
}

fn guest_id(bytes: &[u8]) -> UserId {
    UserId::new(&format!("{GUEST}{}", encoded(bytes))).expect("base64 of a few bytes is a plain id")
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn default_name(id: &UserId) -> DisplayName {
    let tail: String = id.as_str().chars().skip(GUEST.len()).take(4).collect();
    DisplayName::new(&format!("Guest {tail}")).expect("base64 is plain text")
}

/// A key for one purpose, the same for everyone who has the store.
pub(super) fn derive(store: StoreIdentity, purpose: &str) -> [u8; 32] {
    keyed_hash(&store.0, format!("chat {purpose}").as_bytes())
}

fn keyed_hash(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(auth: &str, store: [u8; 16]) -> Identity {
        let key = GuestKey::derive(StoreIdentity(store));
        Identity::of(&Hello::parse(Some(auth)).unwrap(), &key, Lineage::random())
    }

    const SECRET: &str = r#"{"guest":"0123456789abcdef","name":"Ada"}"#;

    #[test]
    fn the_same_secret_is_the_same_guest_on_every_connection_to_a_store() {
        assert_eq!(identity(SECRET, [1; 16]).id(), identity(SECRET, [1; 16]).id());
        assert_ne!(identity(SECRET, [1; 16]).id(), identity(SECRET, [2; 16]).id());
        let other = r#"{"guest":"0123456789abcdeF"}"#;
        assert_ne!(identity(SECRET, [1; 16]).id(), identity(other, [1; 16]).id());
    }

    #[test]
    fn a_public_id_is_a_full_hash_and_shows_nothing_of_the_secret() {
        let id = identity(SECRET, [1; 16]).id().clone();
        let hash = URL_SAFE_NO_PAD.decode(id.as_str().strip_prefix("guest:").unwrap()).unwrap();
        assert_eq!(hash.len(), 32);
        assert!(!id.as_str().contains("0123456789"));
        assert_eq!(format!("{:?}", GuestKey::derive(StoreIdentity([1; 16]))), "GuestKey(..)");
    }

    /// It is part of what is stored: another one would make strangers of all guests.
    #[test]
    fn the_public_id_of_a_secret_stays_as_it_is() {
        assert_eq!(
            identity(SECRET, [7; 16]).id().as_str(),
            "guest:YzCGseEX_xGXq_E-Mp_iliI4WC3rqnoWgNljl5Zug4I"
        );
    }

    #[test]
    fn without_a_secret_every_connection_is_somebody_else() {
        assert_ne!(identity("{}", [1; 16]).id(), identity("{}", [1; 16]).id());
    }

    #[test]
    fn a_guest_has_its_own_name_or_one_made_from_its_id() {
        assert_eq!(identity(SECRET, [1; 16]).author().name.as_str(), "Ada");
        let nameless = identity("{}", [1; 16]).author();
        assert_eq!(nameless.name.as_str(), format!("Guest {}", &nameless.id.as_str()[6..10]));
    }

    #[test]
    fn a_guest_that_renames_itself_stays_who_it_is() {
        let guest = identity(SECRET, [1; 16]);
        let (before, name) = (guest.author(), DisplayName::new("Countess").unwrap());
        guest.rename(name.clone()).unwrap();
        assert_eq!(guest.author(), Author { name, ..before });
    }

    #[test]
    fn guests_without_a_secret_share_one_scope_in_the_tutorials_protocol() {
        let (one, other) = (identity("{}", [1; 16]), identity("{}", [1; 16]));
        assert_eq!(one.tutorial_author().id, other.tutorial_author().id);
        assert_eq!(one.tutorial_key(Some("sid-0")), other.tutorial_key(Some("sid-0")));
        let guest = identity(SECRET, [1; 16]);
        assert_eq!(guest.tutorial_author().id, *guest.id());
    }

    #[test]
    fn an_id_from_a_tab_that_never_was_connected_only_counts_within_its_lineage() {
        let (one, other) = (identity(SECRET, [1; 16]), identity(SECRET, [1; 16]));
        assert_eq!(one.tutorial_key(Some("undefined-0")), one.tutorial_key(Some("undefined-0")));
        assert_ne!(one.tutorial_key(Some("undefined-0")), other.tutorial_key(Some("undefined-0")));
        assert_ne!(one.tutorial_key(Some("undefined-0")), one.tutorial_key(Some("undefined-1")));
        assert!(one.tutorial_key(Some(&format!("undefined-{}", "0".repeat(118)))).is_ok());
        assert!(one.tutorial_key(Some(&format!("undefined-{}", "0".repeat(119)))).is_err());
    }

    #[test]
    fn a_key_of_the_shared_scope_is_told_to_nobody() {
        let key = MessageKey::new("tQhJmkCC4xpVPkZ2jX6Ocg-1").unwrap();
        let (guest, shared) = (identity(SECRET, [1; 16]), UserId::new(SHARED).unwrap());
        assert_eq!(told_key(guest.id(), &key), key.as_str());
        assert!(!told_key(&shared, &key).contains("tQhJ"));
        assert_eq!(told_key(&shared, &key), told_key(&shared, &key));
    }

    #[test]
    fn a_post_without_an_id_gets_one_of_its_own() {
        let one = identity(SECRET, [1; 16]);
        assert_ne!(one.tutorial_key(None), one.tutorial_key(None));
        assert!(one.tutorial_key(Some("")).is_err());
        assert!(one.tutorial_key(Some(&"x".repeat(129))).is_err());
    }
}
