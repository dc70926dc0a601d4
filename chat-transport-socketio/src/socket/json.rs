//! The outline of a JSON text, without taking it apart: where its top-level elements are and which placeholders it holds.
//!
//! Content is stored and passed on as it was received, byte for byte, so it is checked here, once and fully: a text that is not JSON
//! would break every client it is sent to. No recursion, no copy.

mod object;
mod scan;
#[cfg(test)]
mod tests;
mod token;

use std::ops::Range;

use self::scan::Scan;

/// Levels of nesting that are passed on. The parsers of some clients give up, or overflow their stack, near a thousand.
pub const DEPTH_MAX: usize = 512;
/// Arguments of one event or ack.
pub const ELEMENTS_MAX: usize = 1024;

/// What was found in a JSON text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    /// The elements of the array that the text is; empty if it is no array, or [`arguments`] was not asked for.
    pub(crate) elements: Vec<Range<usize>>,
    /// Every object with a `_placeholder`, in order.
    pub(crate) placeholders: Vec<Placeholder>,
    /// The first character that is not white space.
    pub(crate) first: u8,
}

/// An object that clients take for the place of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    /// Where the digits of its number are; none if it has no number, more than one, or another value than a plain integer there.
    pub(crate) number: Option<Range<usize>>,
}

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not JSON.
    #[error("not JSON: unexpected character at byte {at}")]
    Syntax {
        /// Where it went wrong.
        at: usize,
    },
    /// Nested more deeply than [`DEPTH_MAX`].
    #[error("JSON is nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
    /// More arguments than [`ELEMENTS_MAX`].
    #[error("more than {ELEMENTS_MAX} arguments")]
    TooMany,
}

/// Checks `text` and finds its outline, without its elements: they may be any number.
pub(crate) fn outline(text: &str) -> Result<Outline, JsonError> {
    Scan::new(text, 0).outline(text)
}

/// Checks `text` and finds its outline. Of an array, the elements are arguments: no more than [`ELEMENTS_MAX`].
pub(crate) fn arguments(text: &str) -> Result<Outline, JsonError> {
    Scan::new(text, ELEMENTS_MAX).outline(text)
}
