//! What a connection pulls from: the contract between a stream of frames and the link that takes them.
//!
//! There is no queue in between. A reader that is slow simply is not asked, and costs what its source keeps: a position.

use std::task::{Context, Poll};

use super::frame::Frame;
use super::recovery::token::Tokens;
use crate::engine::Writer;

/// Frames for one socket, pulled whenever its connection can take more.
///
/// It runs inside the connection's task, after everything that handlers have sent before (an ack goes out before the frames that the same
/// handler caused), and it is dropped with the socket. What it has put into the outlet may be lost with the connection: only the
/// client knows what it received.
pub trait Source: Send + 'static {
    /// Puts what is due into `outlet`, until that is full or nothing is due.
    ///
    /// - `Poll::Pending`: nothing is due now; `cx`'s waker is registered for when something is.
    /// - [`Pull::Full`]: the outlet took no more; called again when there is room.
    ///
    /// It must not block. At most one page that waits for room should be held.
    fn poll_pull(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_, '_>) -> Poll<Pull>;

    /// Says where it is: what the client will have when it has received everything that was put into the outlet so far. It comes back in
    /// [`Resumption::place`](crate::Resumption::place) if the client does not receive more than that. Appends nothing if there is nothing to go on from.
    ///
    /// Called for each event that the socket is sent by others, so it should be short: it is at the end of each.
    fn place(&self, place: &mut Vec<u8>);
}

/// How a pull ended, other than for want of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// The outlet is full; there is more.
    Full,
    /// Nothing will ever come again: the source is dropped, the socket stays.
    Ended,
    /// It cannot go on for a passing cause: the connection is closed, and the client will be back.
    Broken,
}

/// Whether a frame was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is on its way.
    Taken,
    /// There is no room: nothing was taken.
    Full,
}

/// The room that a connection has now.
#[derive(Debug)]
pub struct Outlet<'a, 'b> {
    writer: &'a mut Writer<'b>,
    tokens: Option<&'a Tokens>,
}

impl<'a, 'b> Outlet<'a, 'b> {
    pub(crate) fn new(writer: &'a mut Writer<'b>, tokens: Option<&'a Tokens>) -> Self {
        Self { writer, tokens }
    }

    /// Whether a frame of `bytes` (as [`Frame::len`] tells) would be taken. An empty outlet takes one of any size.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.writer.has_room_for(bytes)
    }

    /// Offers a frame, which must be an event of the socket's namespace. If the session can be recovered, its token goes with it as one more
    /// argument; `place` adds where the source is with this frame, as [`Source::place`] says it from then on.
    pub fn offer(&mut self, frame: &Frame, place: impl FnOnce(&mut Vec<u8>)) -> Offer {
        if !self.has_room_for(frame.len()) {
            return Offer::Full;
        }
        match &self.tokens {
            Some(tokens) => tokens.token(place, |token| frame.write(self.writer, Some(token))),
            None => frame.write(self.writer, None),
        }
        Offer::Taken
    }
}
