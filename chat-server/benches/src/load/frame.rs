//! WebSocket frames, as far as a client needs them that trusts its server: RFC 6455 without fragments, extensions and binary.
//!
//! Frames of a client must be masked; with a key of zeros the masked bytes are the plain ones, which is allowed and costs nothing.

use std::ops::Range;

/// What a client needs of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// Where in the bytes the payload is.
    pub(super) payload: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Close,
    Ping,
    Pong,
    /// Nothing that these servers send.
    Unexpected,
}

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The frame at the beginning of `bytes`; none if it is not there in full.
pub(super) fn first(bytes: &[u8]) -> Option<Frame> {
    let [head, short, ..] = *bytes else { return None };
    let (begin, length): (usize, usize) = match short & !MASKED {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, usize::from(length)),
    };
    let end = begin.checked_add(length)?;
    if bytes.len() < end {
        return None;
    }
    let kind = match head {
        _ if short & MASKED != 0 => Kind::Unexpected,
        0x81 => Kind::Text,
        0x88 => Kind::Close,
        0x89 => Kind::Ping,
        0x8a => Kind::Pong,
        _ => Kind::Unexpected,
    };
    Some(Frame { kind, payload: begin..end })
}

/// Appends a text frame with what `write` appends.
pub(super) fn text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    append(out, 0x1, write);
}

/// Appends the answer to a ping.
pub(super) fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    append(out, 0xa, |out| out.extend_from_slice(payload));
}

fn append(out: &mut Vec<u8>, opcode: u8, write: impl FnOnce(&mut Vec<u8>)) {
    const KEY: [u8; 4] = [0; 4];
    // The longest header, of which the unused part is taken away again: all but a few frames have a header of eight.
    let begin = out.len();
    out.extend_from_slice(&[FINAL | opcode, MASKED | 126, 0, 0]);
    out.extend_from_slice(&KEY);
    let payload = out.len();
    write(out);
    let length = out.len() - payload;
    if let Ok(length @ 126..) = u16::try_from(length) {
        out[begin + 2..begin + 4].copy_from_slice(&length.to_be_bytes());
    } else if length < 126 {
        out[begin + 1] = MASKED | u8::try_from(length).expect("less than 126");
        out.drain(begin + 2..begin + 4);
    } else {
        out[begin + 1] = MASKED | 127;
        out.splice(begin + 2..begin + 4, (length as u64).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server sends it: without mask.
    fn served(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        text(&mut out, |out| out.extend_from_slice(payload));
        let masked = out.len() - payload.len();
        out.drain(masked - 4..masked);
        out[1] &= !MASKED;
        out
    }

    #[test]
    fn a_frame_of_any_length_is_read_as_it_was_written() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let payload = vec![b'x'; length];
            let bytes = served(&payload);
            let frame = first(&bytes).expect("a whole frame");
            assert_eq!(frame.kind, Kind::Text);
            assert_eq!(&bytes[frame.payload.clone()], payload);
            assert_eq!(frame.payload.end, bytes.len());
        }
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_is_not_there_yet() {
        for length in [0, 5, 200, 70_000] {
            let bytes = served(&vec![b'x'; length]);
            for cut in [0, 1, 2, 3, 9, bytes.len() / 2, bytes.len() - 1] {
                if cut < bytes.len() {
                    assert_eq!(first(&bytes[..cut]), None, "{cut} of {}", bytes.len());
                }
            }
        }
    }

    #[test]
    fn a_client_masks_with_zeros() {
        let mut out = Vec::new();
        text(&mut out, |out| out.extend_from_slice(b"3"));
        assert_eq!(out, [0x81, 0x81, 0, 0, 0, 0, b'3']);
        out.clear();
        text(&mut out, |out| out.extend_from_slice(&[b'x'; 200]));
        assert_eq!(out[..8], [0x81, 0xfe, 0, 200, 0, 0, 0, 0]);
        assert_eq!(out.len(), 208);
    }

    #[test]
    fn fragments_binary_and_masked_frames_are_not_expected_of_a_server() {
        for bytes in [&[0x01, 0x01, b'x'][..], &[0x82, 0x01, b'x'], &[0x81, 0x81, 0, 0, 0, 0, b'x']] {
            assert_eq!(first(bytes).map(|frame| frame.kind), Some(Kind::Unexpected));
        }
    }
}
