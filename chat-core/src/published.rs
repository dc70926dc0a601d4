//! An entry or a notice as every reader on this node shares it, with the bytes that the wire formats made of it.

use std::ops::Deref;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::entry::Entry;

/// One way of writing entries and notices to a client; a transport names its own, from 0 to [`Format::COUNT`] − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format(usize);

impl Format {
    /// How many formats can be cached side by side.
    pub const COUNT: usize = 4;

    /// # Panics
    /// If `number` is not below [`Format::COUNT`]: at compile time, where it is used for a constant.
    pub const fn new(number: usize) -> Self {
        assert!(number < Self::COUNT, "a format's number is below Format::COUNT");
        Self(number)
    }
}

/// An [`Entry`], or a [`Told`](crate::Told), that is shared by all readers of this node.
#[derive(Debug)]
pub struct Published<T = Entry> {
    shared: T,
    encoded: [OnceLock<Bytes>; Format::COUNT],
}

impl<T> Published<T> {
    pub(crate) fn new(shared: T) -> Self {
        Self { shared, encoded: [const { OnceLock::new() }; Format::COUNT] }
    }

    /// What is shared, in `format`: encoded by the first reader that needs it, shared by the others.
    /// `encode` must be a pure function of it (and of the room), the same for every use of `format`.
    pub fn encoded(&self, format: Format, encode: impl FnOnce(&T) -> Bytes) -> Bytes {
        self.encoded[format.0].get_or_init(|| encode(&self.shared)).clone()
    }
}

impl Published {
    /// What it may come to occupy, in bytes: the entry, and as much again for an encoded form.
    pub(crate) fn cost(&self) -> usize {
        self.shared.bytes() * 2
    }

    pub(crate) fn redacted(&self) -> Self {
        Self::new(Entry { body: None, ..self.shared.clone() })
    }
}

impl<T> Deref for Published<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.shared
    }
}
