//! Puts Engine.IO packets into a connection's write buffer, in the framing of its link, and says when the buffer is full.
//!
//! The buffer is filled with what is due and then written in one go: one contiguous write per wake-up.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::packet::SEPARATOR;

/// How packets are told apart on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One WebSocket frame each.
    Frames,
    /// The body of an HTTP response: separated by [`SEPARATOR`], binary as base64.
    Payload,
}

/// The room that a link has right now.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
    framing: Framing,
    limit: usize,
}

impl<'a> Writer<'a> {
    /// Writes into `buffer` until it holds `limit` bytes; 0: there is no room at all.
    pub(crate) fn new(buffer: &'a mut Vec<u8>, framing: Framing, limit: usize) -> Self {
        Self { buffer, framing, limit }
    }

    /// Whether `bytes` more may be written now. Into an empty buffer that has room, anything may.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        if self.buffer.is_empty() { self.limit != 0 } else { self.buffer.len() + bytes <= self.limit }
    }

    /// Writes one text packet, its type digit included, that consists of `parts`.
    pub fn text(&mut self, parts: &[&[u8]]) {
        match self.framing {
            Framing::Frames => self.header(Data::Text, parts.iter().map(|part| part.len()).sum()),
            Framing::Payload => self.separate(),
        }
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
    }

    /// Writes one binary message.
    pub fn binary(&mut self, bytes: &[u8]) {
        match self.framing {
            Framing::Frames => {
                self.header(Data::Binary, bytes.len());
                self.buffer.extend_from_slice(bytes);
            }
            Framing::Payload => {
                self.separate();
                self.buffer.push(b'b');
                self.buffer.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            }
        }
    }

    fn header(&mut self, data: Data, length: usize) {
        let header = FrameHeader { opcode: OpCode::Data(data), ..FrameHeader::default() };
        header.format(length as u64, self.buffer).expect("writing into memory does not fail");
    }

    fn separate(&mut self) {
        if !self.buffer.is_empty() {
            self.buffer.push(SEPARATOR);
        }
    }
}
