//! Engine.IO 4 packets as they are received: a WebSocket frame each, or several in the body of a POST.
//!
//! Pure: no I/O. What a packet means is decided in `session.rs`; how packets are written is in `writer.rs`.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::text::Text;

/// Between the packets of one HTTP body (the record separator).
pub(crate) const SEPARATOR: u8 = 0x1e;

/// The clients pad, but a missing pad loses no information.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the application of a connection sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
}

impl Message {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A packet from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Open,
    Close,
    /// Clients ping only to probe a link for an upgrade.
    Ping(Text),
    Pong,
    Message(Message),
    Upgrade,
    Noop,
}

/// Not a packet of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Engine.IO packet")]
pub(crate) struct Malformed;

impl Packet {
    /// A packet out of a text frame.
    pub(crate) fn from_text(text: Text) -> Result<Self, Malformed> {
        let kind = *text.as_bytes().first().ok_or(Malformed)?;
        Ok(match kind {
            b'0' => Self::Open,
            b'1' => Self::Close,
            b'2' => Self::Ping(text.skip(1)),
            b'3' => Self::Pong,
            b'4' => Self::Message(Message::Text(text.skip(1))),
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            _ => return Err(Malformed),
        })
    }

    /// A binary frame is always a message.
    pub(crate) fn from_binary(bytes: Bytes) -> Self {
        Self::Message(Message::Binary(bytes))
    }
}

/// The packets in the body of a POST, decoded one at a time so that a body of tiny packets costs no more than its own bytes.
#[derive(Debug)]
pub(crate) struct Payload {
    rest: Option<Text>,
}

impl Payload {
    pub(crate) fn new(body: Text) -> Self {
        Self { rest: Some(body) }
    }
}

impl Iterator for Payload {
    type Item = Result<Packet, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        // A packet that is kept until it is handled must not keep the whole body: where there are others beside it, it is copied out.
        let piece = match rest.as_bytes().iter().position(|byte| *byte == SEPARATOR) {
            Some(at) => {
                self.rest = Some(rest.skip(at + 1));
                Text::from(rest.get(..at).unwrap_or_default())
            }
            None if rest.is_whole() => rest,
            None => Text::from(rest.as_str()),
        };
        Some(match piece.strip_prefix('b') {
            Some(encoded) => {
                BASE64.decode(encoded).map(|bytes| Packet::from_binary(bytes.into())).map_err(|_| Malformed)
            }
            None => Packet::from_text(piece),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::writer::{Framing, Writer};
    use super::*;

    #[test]
    fn a_body_of_text_and_binary_packets_is_taken_apart() {
        let packets: Result<Vec<_>, _> = Payload::new(Text::from("4hello\u{1e}bAQIDBA==\u{1e}3")).collect();
        assert_eq!(
            packets,
            Ok(vec![
                Packet::Message(Message::Text(Text::from("hello"))),
                Packet::Message(Message::Binary(Bytes::from_static(&[1, 2, 3, 4]))),
                Packet::Pong,
            ])
        );
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for text in ["", "abc", "7", "\u{e9}"] {
            assert_eq!(Packet::from_text(Text::from(text)), Err(Malformed), "{text:?}");
        }
        assert_eq!(Payload::new(Text::from("4a\u{1e}")).last(), Some(Err(Malformed)));
        assert_eq!(Payload::new(Text::from("b?")).last(), Some(Err(Malformed)));
    }

    fn messages() -> impl Strategy<Value = Vec<Message>> {
        let text = "[^\u{1e}]{0,20}".prop_map(|text| Message::Text(Text::from(text.as_str())));
        let binary = proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| Message::Binary(Bytes::from(bytes)));
        proptest::collection::vec(prop_oneof![text, binary], 1..8)
    }

    proptest! {
        #[test]
        fn a_payload_reads_back_as_it_was_written(messages in messages()) {
            let mut buffer = Vec::new();
            let mut writer = Writer::new(&mut buffer, Framing::Payload, usize::MAX);
            for message in &messages {
                match message {
                    Message::Text(text) => writer.text(&[b"4", text.as_bytes()]),
                    Message::Binary(bytes) => writer.binary(bytes),
                }
            }
            let read: Result<Vec<_>, _> = Payload::new(Text::from_bytes(buffer.into()).unwrap()).collect();
            prop_assert_eq!(read, Ok(messages.into_iter().map(Packet::Message).collect()));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            for packet in Payload::new(Text::from(text.as_str())) {
                drop(packet);
            }
        }
    }
}
