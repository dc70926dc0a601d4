//! Follows the WebSocket frames in what a peer sends, by their headers alone, to know what tungstenite's read buffer holds. Pure.
//!
//! tungstenite makes room for a whole frame as soon as it has read its header, keeps that buffer for what comes next, and hands out
//! messages as slices of it. So it is known here how large the buffer may have become, and when it is empty.

/// Type and length: what comes before the mask.
const HEADER_BYTES_MAX: usize = 10;
const MASK_BYTES: u64 = 4;

#[derive(Debug, Default)]
pub(super) struct Intake {
    header: [u8; HEADER_BYTES_MAX],
    /// Of the header, bytes that have come.
    known: usize,
    /// Bytes of the current frame that are still to come.
    left: u64,
    /// A message has begun, and its last piece has not come yet.
    in_pieces: bool,
    largest: u64,
}

impl Intake {
    /// What has been read from the peer.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if 0 < self.left {
                let skipped = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.left -= skipped as u64;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.header.get_mut(self.known) {
                *place = *first;
            }
            self.known += 1;
            bytes = rest;
            self.header_grew();
        }
    }

    fn header_grew(&mut self) {
        let [first, second, extended @ ..] = &self.header;
        let length = match (second & 0x7f, self.known) {
            (short @ ..126, 2) => u64::from(short),
            (126, 4) => extended.iter().take(2).fold(0, |length, byte| length << 8 | u64::from(*byte)),
            (127, HEADER_BYTES_MAX) => extended.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            _ => return,
        };
        let mask = if second & 0x80 == 0 { 0 } else { MASK_BYTES };
        let is_control = first & 0x08 != 0;
        if !is_control {
            let is_last = first & 0x80 != 0;
            self.in_pieces = !is_last;
        }
        self.left = length.saturating_add(mask);
        self.largest = self.largest.max(length);
        self.known = 0;
    }

    /// Bytes of the largest frame so far: the read buffer may have grown to about twice that.
    pub(super) fn largest(&self) -> u64 {
        self.largest
    }

    /// Whether every message that has begun has come whole.
    pub(super) fn is_between_messages(&self) -> bool {
        self.known == 0 && self.left == 0 && !self.in_pieces
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

    use super::*;

    /// The frames of one message, with a ping in between where it is in pieces.
    fn message() -> impl Strategy<Value = Vec<Frame>> {
        let size = prop_oneof![0..130_usize, 65_530..65_540_usize];
        (proptest::collection::vec(size, 1..4), any::<bool>()).prop_map(|(sizes, pinged)| {
            let last = sizes.len() - 1;
            let mut frames = Vec::new();
            for (index, size) in sizes.into_iter().enumerate() {
                let kind = if index == 0 { Data::Text } else { Data::Continue };
                frames.push(Frame::message(vec![b'x'; size], OpCode::Data(kind), index == last));
                if pinged && index < last {
                    frames.push(Frame::ping(vec![b'p'; 3]));
                }
            }
            frames
        })
    }

    proptest! {
        /// However the bytes are cut, it is between two messages exactly where one has ended.
        #[test]
        fn it_knows_where_messages_end(
            messages in proptest::collection::vec(message(), 1..4),
            cuts in proptest::collection::vec(1..100_usize, 1..20),
        ) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            let mut largest = 0;
            for mut frame in messages.into_iter().map(|frames| (frames.len(), frames)).flat_map(|(count, frames)| {
                frames.into_iter().enumerate().map(move |(index, frame)| (frame, index + 1 == count))
            }) {
                largest = largest.max(frame.0.payload().len() as u64);
                prop_assert!(frame.0.header().opcode != OpCode::Control(Control::Close));
                frame.0.header_mut().mask = Some([1, 2, 3, 4]);
                frame.0.format(&mut bytes).unwrap();
                if frame.1 {
                    ends.push(bytes.len());
                }
            }
            let mut intake = Intake::default();
            let mut at = 0;
            for cut in cuts.into_iter().cycle() {
                let end = (at + cut).min(bytes.len());
                intake.feed(&bytes[at..end]);
                prop_assert_eq!(intake.is_between_messages(), ends.contains(&end), "at {}", end);
                at = end;
                if at == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(intake.largest(), largest);
        }
    }
}
