//! The `pid`: what a client hands back to be taken for the one it was. Pure.
//!
//! It holds all that a server must know to go on: the session's lineage, its socket id, and the *base*: what the handlers said about where
//! the connection began. It is authenticated with the server's key, and bound to the namespace; it is not encrypted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::socket::id::SocketId;
use crate::varint::take_bytes;

const VERSION: u8 = 1;
const SEAL_BYTES: usize = 16;
/// The largest pid that is looked at, in characters: 100 rooms with the longest names have less.
const CHARACTERS_MAX: usize = 100_000;

/// What is handed on from one connection of a client to the next, whether or not the session is recovered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Lineage(pub(crate) [u8; 16]);

impl Lineage {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    /// 128 random bits.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Debug for Lineage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// What a pid says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pid {
    pub(crate) lineage: Lineage,
    /// Another session has another one, so it also tells the tokens of one from those of another.
    pub(crate) sid: SocketId,
    /// What the connect handler gave; `None` if the session has nothing that outlives this process.
    pub(crate) base: Option<Vec<u8>>,
    /// The session never gets anything but what its sources give.
    pub(crate) is_sources_only: bool,
}

impl Pid {
    /// Its text form.
    pub(crate) fn seal(&self, key: &[u8; 32], namespace: &str) -> String {
        let base = self.base.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(34 + base.len() + SEAL_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.lineage.0);
        bytes.extend_from_slice(&self.sid.bytes());
        bytes.push(match (self.base.is_some(), self.is_sources_only) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        });
        bytes.extend_from_slice(base);
        sealed(bytes, key, namespace)
    }

    /// What `text` says, if it was sealed with this key for this namespace.
    pub(crate) fn open(text: &str, key: &[u8; 32], namespace: &str) -> Option<Self> {
        if CHARACTERS_MAX < text.len() {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (said, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL_BYTES)?)?;
        mac(key, namespace, said).verify_truncated_left(seal).ok()?;
        let mut said = said;
        let [VERSION] = take_bytes(&mut said)? else { return None };
        let lineage = Lineage(take_bytes(&mut said)?);
        let sid = SocketId::from_bytes(take_bytes(&mut said)?);
        let [what] = take_bytes(&mut said)?;
        let base = (what != 0).then(|| said.to_vec());
        Some(Self { lineage, sid, base, is_sources_only: what == 2 })
    }
}

pub(crate) fn sealed(mut bytes: Vec<u8>, key: &[u8; 32], namespace: &str) -> String {
    let seal = mac(key, namespace, &bytes).finalize().into_bytes();
    bytes.extend_from_slice(&seal[..SEAL_BYTES]);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn mac(key: &[u8; 32], namespace: &str, bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    // No namespace contains a zero byte's worth of ambiguity: its length comes first.
    mac.update(&(namespace.len() as u64).to_be_bytes());
    mac.update(namespace.as_bytes());
    mac.update(bytes);
    mac
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn pid(base: Option<Vec<u8>>) -> Pid {
        let is_sources_only = base.as_ref().is_some_and(|base| base.len() % 2 == 0);
        Pid { lineage: Lineage([1; 16]), sid: SocketId::from_bytes([2; 16]), base, is_sources_only }
    }

    proptest! {
        #[test]
        fn a_pid_says_what_was_sealed(base: Option<Vec<u8>>) {
            let pid = pid(base);
            prop_assert_eq!(Pid::open(&pid.seal(&KEY, "/"), &KEY, "/"), Some(pid));
        }

        #[test]
        fn a_changed_pid_says_nothing(base: Vec<u8>, at: prop::sample::Index, to in "[A-Za-z0-9_-]") {
            let text = pid(Some(base)).seal(&KEY, "/");
            let at = at.index(text.len());
            let changed = format!("{}{to}{}", &text[..at], &text[at + 1..]);
            prop_assume!(changed != text);
            prop_assert_eq!(Pid::open(&changed, &KEY, "/"), None);
            prop_assert_eq!(Pid::open(&text[..at], &KEY, "/"), None);
        }

        #[test]
        fn any_other_text_says_nothing(text in ".{0,200}") {
            prop_assert_eq!(Pid::open(&text, &KEY, "/"), None);
        }
    }

    #[test]
    fn a_pid_of_another_key_or_namespace_says_nothing() {
        let text = pid(None).seal(&KEY, "/");
        assert_eq!(Pid::open(&text, &[8; 32], "/"), None);
        assert_eq!(Pid::open(&text, &KEY, "/custom"), None);
        assert_eq!(Pid::open(&"x".repeat(CHARACTERS_MAX + 1), &KEY, "/"), None);
    }
}
