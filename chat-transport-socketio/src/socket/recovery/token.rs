//! The token at the end of each event: how far its receiver is. Pure.
//!
//! It begins with a part of the socket's id, so that a string of the application, or a token of another session, is never taken for one. It is
//! not authenticated: a client can only tell lies about itself, and what it may read is asked again in any case.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::socket::id::SocketId;
use crate::varint::{put, take, take_bytes};

const TAG_BYTES: usize = 6;
/// The largest token that is looked at, in characters: 100 rooms joined later, with the longest names, have less.
const CHARACTERS_MAX: usize = 100_000;

/// Makes the tokens of one socket on one connection. Small, since every idle connection has one.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// The number of the last numbered event that was written.
    own: u64,
    tag: [u8; TAG_BYTES],
}

thread_local! {
    /// Where tokens are put together: one for all connections of a thread stays in the processor's cache, which one for each does not.
    static SCRATCH: RefCell<(Vec<u8>, String)> = const { RefCell::new((Vec::new(), String::new())) };
}

impl Tokens {
    /// For a client that has the numbered events up to `own`.
    pub(crate) fn new(sid: SocketId, own: u64) -> Self {
        Self { own, tag: tag(sid) }
    }

    /// The last numbered event that was written.
    pub(crate) fn own(&self) -> u64 {
        self.own
    }

    /// The numbered event `own` is written next.
    pub(crate) fn advance(&mut self, own: u64) {
        self.own = own;
    }

    /// Gives `then` the token of the event that is written now. `place` adds what the socket's sources say of where they are then.
    pub(crate) fn token<R>(&self, place: impl FnOnce(&mut Vec<u8>), then: impl FnOnce(&str) -> R) -> R {
        // Taken out, so that whatever is called may make tokens as well.
        let (mut bytes, mut text) = SCRATCH.take();
        bytes.clear();
        bytes.extend_from_slice(&self.tag);
        put(&mut bytes, self.own);
        place(&mut bytes);
        text.clear();
        URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
        let result = then(&text);
        SCRATCH.set((bytes, text));
        result
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) own: u64,
    pub(crate) place: Vec<u8>,
}

impl Token {
    /// What `text` says, if it is a token of that session.
    pub(crate) fn parse(text: &str, sid: SocketId) -> Option<Self> {
        if CHARACTERS_MAX < text.len() {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut rest = &bytes[..];
        if take_bytes(&mut rest)? != tag(sid) {
            return None;
        }
        let own = take(&mut rest)?;
        Some(Self { own, place: rest.to_vec() })
    }
}

fn tag(sid: SocketId) -> [u8; TAG_BYTES] {
    let bytes = sid.bytes();
    std::array::from_fn(|index| bytes[index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_says_how_far_the_client_is(id: [u8; 16], own: u64, place: Vec<u8>) {
            let sid = SocketId::from_bytes(id);
            let mut tokens = Tokens::new(sid, 0);
            tokens.advance(own);
            let text = tokens.token(|bytes| bytes.extend_from_slice(&place), str::to_owned);
            prop_assert_eq!(Token::parse(&text, sid), Some(Token { own, place }));
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        }

        #[test]
        fn a_string_of_the_application_is_no_token(id: [u8; 16], text in ".{0,60}") {
            prop_assume!(id != [0; 16]);
            prop_assert_eq!(Token::parse(&text, SocketId::from_bytes(id)), None);
        }
    }

    #[test]
    fn a_token_of_another_session_counts_as_absent() {
        let text = Tokens::new(SocketId::from_bytes([1; 16]), 3).token(|_| (), str::to_owned);
        assert_eq!(Token::parse(&text, SocketId::from_bytes([2; 16])), None);
    }
}
