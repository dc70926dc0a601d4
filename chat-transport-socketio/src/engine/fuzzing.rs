//! The decoders of Engine.IO, for any bytes.

use bytes::Bytes;

use super::packet::{Message, Packet, Payload};
use super::text::Text;
use super::writer::{Framing, Writer};

/// The body of a POST: its messages, written again, read the same.
pub fn payload(data: &[u8]) {
    let Ok(text) = Text::from_bytes(Bytes::copy_from_slice(data)) else { return };
    let packets: Result<Vec<_>, _> = Payload::new(text).collect();
    let messages: Vec<_> = messages_of(packets.unwrap_or_default());
    let bytes = written(|writer| {
        for message in &messages {
            match message {
                Message::Text(text) => writer.text(&[b"4", text.as_bytes()]),
                Message::Binary(bytes) => writer.binary(bytes),
            }
        }
    });
    assert_eq!(read(bytes), messages);
}

/// What was written to a polling client.
pub(crate) fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    write(&mut Writer::new(&mut buffer, Framing::Payload, usize::MAX));
    buffer
}

/// The messages in what this side has written.
pub(crate) fn read(bytes: Vec<u8>) -> Vec<Message> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let text = Text::from_bytes(bytes.into()).expect("this side writes UTF-8");
    messages_of(Payload::new(text).map(|packet| packet.expect("this side writes packets")).collect())
}

fn messages_of(packets: Vec<Packet>) -> Vec<Message> {
    let message = |packet| match packet {
        Packet::Message(message) => Some(message),
        _ => None,
    };
    packets.into_iter().filter_map(message).collect()
}
