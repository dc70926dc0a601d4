//! An object in a JSON text, as far as it may be the placeholder of an attachment.

use std::ops::Range;

use super::Placeholder;

/// What is known of an object that is being read.
#[derive(Default)]
pub(super) struct Object {
    pub(super) key: Key,
    marked: Mark,
    number: Number,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Key {
    Placeholder,
    Number,
    #[default]
    Other,
}

/// `_placeholder`, as clients see it: some take any true-ish value for true, and the last of several counts or the first.
#[derive(Default, PartialEq, Eq)]
enum Mark {
    #[default]
    Absent,
    /// `false` or `null`.
    No,
    Yes,
    Unclear,
}

#[derive(Default)]
enum Number {
    #[default]
    Absent,
    Plain(Range<usize>),
    Unclear,
}

impl Object {
    /// Takes note of the value of the current key, which begins at `start`.
    pub(super) fn note(&mut self, start: usize, value: &str) {
        match std::mem::take(&mut self.key) {
            Key::Placeholder => {
                self.marked = match (&self.marked, value) {
                    (Mark::Absent, "true") => Mark::Yes,
                    (Mark::Absent | Mark::No, "false" | "null") => Mark::No,
                    _ => Mark::Unclear,
                };
            }
            Key::Number => {
                let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                self.number = match (&self.number, plain) {
                    (Number::Absent, true) => Number::Plain(start..start + value.len()),
                    _ => Number::Unclear,
                };
            }
            Key::Other => {}
        }
    }

    /// What it is to the clients, if they may take it for the place of an attachment.
    pub(super) fn placeholder(self) -> Option<Placeholder> {
        match (self.marked, self.number) {
            (Mark::Absent | Mark::No, _) => None,
            (Mark::Yes, Number::Plain(digits)) => Some(Placeholder { number: Some(digits) }),
            _ => Some(Placeholder { number: None }),
        }
    }
}
