//! Where an entry sits in a room's history, and how a client's claim about it can be checked.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest, Sha1};

use crate::entry::Timestamp;
use crate::id::{MessageKey, UserId};

/// One incarnation of one room's log: 48 random bits, minted by the room's first append and again when a store has lost entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// What a room has that was never written to.
    pub const UNWRITTEN: Epoch = Epoch(0);
    const BITS: u32 = 48;

    /// A new epoch from any random number; never [`Epoch::UNWRITTEN`].
    pub fn from_random(random: u64) -> Self {
        Self((random >> (64 - Self::BITS)).max(1))
    }

    /// The epoch of a number that [`Epoch::number`] gave.
    pub fn from_number(number: u64) -> Self {
        Self(number & ((1 << Self::BITS) - 1))
    }

    /// For storing; below 2^48.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The number of entries up to and including one: 1, 2, 3, … inside a room; 0 is "before the first". At most 2^53 − 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// Before the first entry.
    pub const ZERO: Offset = Offset(0);
    /// The largest offset: what JavaScript can count exactly.
    pub const MAX: Offset = Offset((1 << 53) - 1);

    /// `None` above [`Offset::MAX`].
    pub fn new(number: u64) -> Option<Self> {
        (number <= Self::MAX.0).then_some(Self(number))
    }

    /// As a number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The offset after this one (saturating).
    #[must_use]
    pub fn next(self) -> Self {
        self.plus(1)
    }

    /// `count` further on, at most [`Offset::MAX`].
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count).min(Self::MAX.0))
    }

    /// `count` back, at least 0.
    #[must_use]
    pub fn minus(self, count: u64) -> Self {
        Self(self.0.saturating_sub(count))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an entry sits in a room's history. Names at most one entry, for ever.
///
/// Not `Ord`: offsets of different epochs cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The incarnation of the room's log.
    pub epoch: Epoch,
    /// Which entry of it; 0 is valid in every epoch.
    pub offset: Offset,
}

/// A short digest (48 bits) of an entry's author, key and time, and of the fingerprint of the entry before it: a hash chain.
///
/// So two histories that agree in the fingerprint at an offset agree in everything before it, and an entry whose fingerprint does not
/// continue the one before it belongs to another history: a store that has forgotten entries and given out their offsets again is
/// found out by whoever holds one number. It does not depend on the body, which may be redacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of "before the first entry".
    pub const NONE: Fingerprint = Fingerprint(0);
    const MASK: u64 = (1 << 48) - 1;

    /// The fingerprint of an entry that follows one with the fingerprint `self` ([`Fingerprint::NONE`] for the first entry of a room).
    ///
    /// The first 48 bits of the SHA-1 of `<self>:<at>:<length of author>:<author><key>`, where the numbers are in decimal, the time in
    /// milliseconds and the length in bytes. SHA-1, because stores that run scripts have it; nothing here is a secret or must withstand a
    /// forger. Part of the stored and wire formats: it must not change.
    #[must_use]
    pub fn then(self, author: &UserId, key: &MessageKey, at: Timestamp) -> Self {
        let author = author.as_str();
        let mut hash = Sha1::new();
        hash.update(format!("{}:{}:{}:", self.0, at.millis(), author.len()));
        hash.update(author);
        hash.update(key.as_str());
        let digest = hash.finalize();
        let number = digest.iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self(number.max(1))
    }

    /// The fingerprint of a number that [`Fingerprint::number`] gave.
    pub fn from_number(number: u64) -> Self {
        Self(number & Self::MASK)
    }

    /// For storing; below 2^48.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Its last 8 bits, where there is no space for more.
    pub fn abridged(self) -> u8 {
        (self.0 & 0xff) as u8
    }
}

/// A position that can be checked: what leaves the server as `pos`, and comes back when a client resumes.
///
/// Its text form is `<epoch>.<offset>.<fingerprint>`, epoch and fingerprint in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bookmark {
    /// The entry it stands behind.
    pub position: Position,
    /// The fingerprint of that entry.
    pub fingerprint: Fingerprint,
}

impl Bookmark {
    /// Before the first entry of a room in `epoch`.
    pub fn start(epoch: Epoch) -> Self {
        Self { position: Position { epoch, offset: Offset::ZERO }, fingerprint: Fingerprint::NONE }
    }

    /// Shorthand for `self.position.offset`.
    pub fn offset(&self) -> Offset {
        self.position.offset
    }

    /// Shorthand for `self.position.epoch`.
    pub fn epoch(&self) -> Epoch {
        self.position.epoch
    }
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}.{:x}", self.position.epoch.0, self.position.offset, self.fingerprint.0)
    }
}

/// A text that is not a [`Bookmark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected `<epoch>.<offset>.<fingerprint>` as the server gave it")]
pub struct InvalidBookmark;

impl FromStr for Bookmark {
    type Err = InvalidBookmark;

    fn from_str(text: &str) -> Result<Self, InvalidBookmark> {
        let hex = |part: &str| {
            let plain = part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if part.is_empty() || 12 < part.len() || !plain {
                return Err(InvalidBookmark);
            }
            u64::from_str_radix(part, 16).map_err(|_| InvalidBookmark)
        };
        let mut parts = text.split('.');
        let (Some(epoch), Some(offset), Some(fingerprint), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidBookmark);
        };
        if offset.is_empty() || !offset.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidBookmark);
        }
        let offset = offset.parse().ok().and_then(Offset::new).ok_or(InvalidBookmark)?;
        Ok(Self {
            position: Position { epoch: Epoch(hex(epoch)?), offset },
            fingerprint: Fingerprint(hex(fingerprint)?),
        })
    }
}

/// What a log keeps of a room: everything after `trimmed`, up to and including `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The last entry that was forgotten; offset 0 if none was.
    pub trimmed: Bookmark,
    /// The newest entry; offset 0 in a room that was never written to.
    pub head: Bookmark,
    /// How many bodies were redacted so far: whoever has copies that are older than the last one reads them again.
    pub redactions: u64,
}

impl Bounds {
    /// Of a room that was never written to.
    pub const UNWRITTEN: Bounds = {
        let start = Bookmark {
            position: Position { epoch: Epoch::UNWRITTEN, offset: Offset::ZERO },
            fingerprint: Fingerprint::NONE,
        };
        Bounds { trimmed: start, head: start, redactions: 0 }
    };

    /// The epoch of both ends.
    pub fn epoch(&self) -> Epoch {
        self.head.epoch()
    }

    /// The oldest entry that is still kept; one past the head if none is.
    pub fn oldest(&self) -> Offset {
        self.trimmed.offset().next()
    }

    /// The end that stands at `offset`, if one does: what can be told of the log without reading it.
    pub(crate) fn end_at(&self, offset: Offset) -> Option<Bookmark> {
        [self.trimmed, self.head].into_iter().find(|end| end.offset() == offset)
    }

    /// Before the newest `newest` entries, or before all that are kept.
    pub(crate) fn before_newest(&self, newest: Option<u64>) -> Offset {
        self.trimmed.offset().max(self.head.offset().minus(newest.unwrap_or(u64::MAX)))
    }

    /// Whether everything after `after` is still here, as far as its epoch and offset can tell. Offset 0 is valid in every epoch.
    pub fn reach_back_to(&self, after: Position) -> bool {
        let same_epoch = after.epoch == self.epoch() || after.offset == Offset::ZERO;
        same_epoch && self.trimmed.offset() <= after.offset && after.offset <= self.head.offset()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bookmark_survives_its_text_form(epoch: u64, offset in 0..=Offset::MAX.get(), print: u64) {
            let bookmark = Bookmark {
                position: Position { epoch: Epoch::from_number(epoch), offset: Offset(offset) },
                fingerprint: Fingerprint::from_number(print),
            };
            prop_assert_eq!(bookmark.to_string().parse(), Ok(bookmark));
        }

        #[test]
        fn any_other_text_is_refused_without_a_panic(text in ".{0,40}") {
            if let Ok(bookmark) = text.parse::<Bookmark>() {
                prop_assert!(text.matches('.').count() == 2, "{bookmark}");
            }
        }
    }

    #[test]
    fn signs_and_numbers_that_are_too_large_are_no_bookmarks() {
        for text in [
            "+1.2.3",
            "1.+2.3",
            "1.-2.3",
            "1.9007199254740992.3",
            "1.2",
            "1.2.3.4",
            "",
            "..",
            "1.2.1234567890123",
        ] {
            assert_eq!(text.parse::<Bookmark>(), Err(InvalidBookmark), "{text}");
        }
    }

    #[test]
    fn the_fingerprint_is_part_of_the_stored_format_and_stays_as_it_is() {
        let (author, key) = (UserId::new("ada").unwrap(), MessageKey::new("k-1").unwrap());
        let first = Fingerprint::NONE.then(&author, &key, Timestamp::from_millis(1_700_000_000_000));
        // printf '0:1700000000000:3:adak-1' | sha1sum
        assert_eq!(first.number(), 111_569_344_942_872);
        assert_ne!(first.then(&author, &key, Timestamp::from_millis(1_700_000_000_000)), first);
    }
}
