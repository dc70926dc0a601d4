//! A piece of UTF-8 text that shares the buffer it was received in.

use std::fmt;
use std::ops::{Deref, Range};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A slice of received text. Cloning and slicing are reference counts, nothing is copied.
///
/// It keeps the whole received message in memory, and no more than about that: copy out what is to be kept for long.
#[derive(Clone, Default)]
pub struct Text {
    whole: Utf8Bytes,
    start: usize,
    end: usize,
}

impl Text {
    /// Checks that `bytes` are UTF-8.
    ///
    /// # Errors
    /// They are not.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        Utf8Bytes::try_from(bytes).map(Self::from)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.whole.as_str().get(self.start..self.end).unwrap_or_default()
    }

    /// The part `range` (in bytes) of this text; empty if that is not a range of whole characters of it.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        if self.as_str().get(range.clone()).is_none() {
            return Self::default();
        }
        Self { whole: self.whole.clone(), start: self.start + range.start, end: self.start + range.end }
    }

    /// Whether it is all of the buffer it shares.
    pub(crate) fn is_whole(&self) -> bool {
        self.len() == self.whole.len()
    }

    /// All but the first `count` bytes.
    pub(crate) fn skip(&self, count: usize) -> Self {
        self.slice(count..self.len())
    }
}

impl From<Utf8Bytes> for Text {
    fn from(whole: Utf8Bytes) -> Self {
        let end = whole.as_str().len();
        Self { whole, start: 0, end }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::from(Utf8Bytes::from(text))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}
