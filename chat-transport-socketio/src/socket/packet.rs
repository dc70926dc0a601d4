//! Socket.IO 5 packets as they are received, and the assembly of those with attachments. Pure.
//!
//! Arguments are checked but not parsed: they are kept as the JSON text that came. What is sent is in `frame.rs`.

use std::ops::Range;

use bytes::Bytes;

use super::json::{self, JsonError};
use super::placeholder::{self, PlaceholderError};
use crate::engine::{Message, Text};

/// Bytes of a namespace's name.
const NAMESPACE_BYTES_MAX: usize = 256;
/// The largest integer that a JavaScript client counts to without loss.
const ACK_ID_MAX: u64 = (1 << 53) - 1;
/// They have a meaning of their own inside the official clients and servers.
const RESERVED_NAMES: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A whole packet from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// `/` or a name that begins so.
    pub(crate) namespace: Text,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With the JSON object the client authenticates with, if any.
    Connect {
        auth: Option<Text>,
    },
    Disconnect,
    Event {
        name: String,
        ack: Option<u64>,
        args: Args,
    },
    Ack {
        id: u64,
        args: Args,
    },
}

/// Arguments as they came: a JSON array's elements, and what its placeholders stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) text: Text,
    pub(crate) elements: Vec<Range<usize>>,
    pub(crate) attachments: Vec<Bytes>,
}

impl Args {
    /// What they take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let attachments: usize = self.attachments.iter().map(|bytes| size_of::<Bytes>() + bytes.len()).sum();
        self.text.len() + self.elements.capacity() * size_of::<Range<usize>>() + attachments
    }
}

/// What is wrong with a packet. The connection is closed for any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PacketError {
    #[error("no such type of packet")]
    UnknownType,
    #[error("a packet of this type has no such payload")]
    Payload,
    #[error("the event's name is reserved, or no string")]
    EventName,
    #[error("the ack id is not an integer below 2^53")]
    AckId,
    #[error("the namespace's name is too long")]
    Namespace,
    #[error("none, or more attachments than allowed")]
    AttachmentCount,
    #[error("the packet is larger than allowed")]
    TooLarge,
    #[error("text, while attachments are due")]
    TextBetween,
    #[error("an attachment that no packet announced")]
    Stray,
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Placeholder(#[from] PlaceholderError),
}

/// Bounds of one packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketLimits {
    pub(crate) attachments: usize,
    /// Text and attachments together.
    pub(crate) bytes: usize,
}

/// Puts packets together from messages, in order.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// Boxed, since few connections ever send attachments.
    waiting: Option<Box<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    packet: Packet,
    due: usize,
    bytes: usize,
}

impl Assembler {
    /// The packet that `message` completes, if it does. After an error nothing more may be offered.
    pub(crate) fn take(
        &mut self,
        message: Message,
        limits: PacketLimits,
    ) -> Result<Option<Packet>, PacketError> {
        match (message, self.waiting.take()) {
            (Message::Text(_), Some(_)) => Err(PacketError::TextBetween),
            (Message::Binary(_), None) => Err(PacketError::Stray),
            (Message::Text(text), None) => {
                if limits.bytes < text.len() {
                    return Err(PacketError::TooLarge);
                }
                let (packet, due) = decode(&text, limits.attachments)?;
                if due == 0 {
                    return Ok(Some(packet));
                }
                self.waiting = Some(Box::new(Waiting { packet, due, bytes: text.len() }));
                Ok(None)
            }
            (Message::Binary(bytes), Some(mut waiting)) => {
                waiting.bytes += bytes.len();
                if limits.bytes < waiting.bytes {
                    return Err(PacketError::TooLarge);
                }
                if let Kind::Event { args, .. } | Kind::Ack { args, .. } = &mut waiting.packet.kind {
                    args.attachments.push(bytes);
                }
                waiting.due -= 1;
                if waiting.due == 0 {
                    return Ok(Some(waiting.packet));
                }
                self.waiting = Some(waiting);
                Ok(None)
            }
        }
    }
}

/// The packet in `text`, and how many attachments are to follow.
fn decode(text: &Text, attachments_max: usize) -> Result<(Packet, usize), PacketError> {
    let kind = *text.as_bytes().first().ok_or(PacketError::UnknownType)?;
    if !(b'0'..=b'6').contains(&kind) {
        return Err(PacketError::UnknownType);
    }
    let mut rest = text.skip(1);

    let mut due = 0;
    if let b'5' | b'6' = kind {
        let (count, after) = rest.split_once('-').ok_or(PacketError::AttachmentCount)?;
        due = decimal(count).and_then(|n| usize::try_from(n).ok()).ok_or(PacketError::AttachmentCount)?;
        if due < 1 || attachments_max < due {
            return Err(PacketError::AttachmentCount);
        }
        rest = rest.skip(rest.len() - after.len());
    }

    let namespace = if rest.starts_with('/') {
        let end = rest.find(',').unwrap_or(rest.len());
        if NAMESPACE_BYTES_MAX < end {
            return Err(PacketError::Namespace);
        }
        let namespace = rest.slice(0..end);
        rest = rest.skip((end + 1).min(rest.len()));
        namespace
    } else {
        Text::from("/")
    };

    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let ack = match digits {
        0 => None,
        _ => {
            let id = rest.get(..digits).and_then(decimal).filter(|id| *id <= ACK_ID_MAX);
            Some(id.ok_or(PacketError::AckId)?)
        }
    };
    let data = rest.skip(digits);

    let kind = match kind {
        b'0' => Kind::Connect { auth: object(data)? },
        b'1' if data.is_empty() => Kind::Disconnect,
        b'2' | b'5' => event(data, ack, due)?,
        b'3' | b'6' => Kind::Ack { id: ack.ok_or(PacketError::AckId)?, args: args(data, due)? },
        // A client has no connection to refuse.
        _ => return Err(PacketError::Payload),
    };
    Ok((Packet { namespace, kind }, due))
}

fn object(data: Text) -> Result<Option<Text>, PacketError> {
    if data.is_empty() {
        return Ok(None);
    }
    match json::outline(&data)?.first {
        b'{' => Ok(Some(data)),
        _ => Err(PacketError::Payload),
    }
}

fn event(data: Text, ack: Option<u64>, attachments: usize) -> Result<Kind, PacketError> {
    let mut args = args(data, attachments)?;
    if args.elements.is_empty() {
        return Err(PacketError::Payload);
    }
    let first = args.elements.remove(0);
    let raw = args.text.get(first).unwrap_or_default();
    let name = match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).map_err(|_| PacketError::EventName)?,
        // The official server takes numbers for names, too.
        Some(b'-' | b'0'..=b'9') => raw.to_owned(),
        _ => return Err(PacketError::EventName),
    };
    if RESERVED_NAMES.contains(&name.as_str()) {
        return Err(PacketError::EventName);
    }
    Ok(Kind::Event { name, ack, args })
}

fn args(data: Text, attachments: usize) -> Result<Args, PacketError> {
    let outline = json::arguments(&data)?;
    if outline.first != b'[' {
        return Err(PacketError::Payload);
    }
    // In a packet without attachments such an object is content like any other.
    if 0 < attachments {
        placeholder::check_outline(&data, &outline, attachments)?;
    }
    Ok(Args { text: data, elements: outline.elements, attachments: Vec::new() })
}

/// A number in plain digits, as the clients write it.
fn decimal(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: PacketLimits = PacketLimits { attachments: 10, bytes: 1000 };

    fn take(text: &str) -> Result<Option<Packet>, PacketError> {
        Assembler::default().take(Message::Text(Text::from(text)), LIMITS)
    }

    fn one(text: &str) -> Packet {
        take(text).unwrap().unwrap()
    }

    fn elements(args: &Args) -> Vec<&str> {
        args.elements.iter().map(|range| &args.text[range.clone()]).collect()
    }

    #[test]
    fn the_packets_of_the_protocols_examples_are_understood() {
        assert_eq!(one("0"), Packet { namespace: Text::from("/"), kind: Kind::Connect { auth: None } });
        assert_eq!(
            one(r#"0/admin,{"token":"123"}"#),
            Packet {
                namespace: Text::from("/admin"),
                kind: Kind::Connect { auth: Some(Text::from(r#"{"token":"123"}"#)) }
            }
        );
        assert_eq!(one("0/admin").namespace, Text::from("/admin"));
        assert_eq!(one("1/admin,").kind, Kind::Disconnect);
        let Kind::Event { name, ack, args } = one(r#"2/admin,456["project:delete",123]"#).kind else {
            panic!()
        };
        assert_eq!((name.as_str(), ack, elements(&args)), ("project:delete", Some(456), vec!["123"]));
        let Kind::Ack { id, args } = one("3/admin,456[]").kind else { panic!() };
        assert_eq!((id, args.elements.len()), (456, 0));
    }

    #[test]
    fn attachments_complete_the_packet_that_announced_them() {
        let mut assembler = Assembler::default();
        let text = r#"52-/admin,9["hello",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
        assert_eq!(assembler.take(Message::Text(Text::from(text)), LIMITS), Ok(None));
        assert_eq!(assembler.take(Message::Binary(Bytes::from_static(b"a")), LIMITS), Ok(None));
        let packet = assembler.take(Message::Binary(Bytes::from_static(b"b")), LIMITS).unwrap().unwrap();
        let Kind::Event { ack: Some(9), args, .. } = packet.kind else { panic!() };
        assert_eq!(args.attachments, [Bytes::from_static(b"a"), Bytes::from_static(b"b")]);
    }

    #[test]
    fn every_malformed_packet_is_refused() {
        use PacketError::*;
        for (text, error) in [
            ("", UnknownType),
            ("abc", UnknownType),
            ("999", UnknownType),
            (r#"0/admin,"invalid""#, Payload),
            ("0[]", Payload),
            ("1/admin,{}", Payload),
            ("4", Payload),
            ("5", AttachmentCount),
            ("51", AttachmentCount),
            ("5a-", AttachmentCount),
            ("51.23-", AttachmentCount),
            ("50-[\"a\"]", AttachmentCount),
            ("511-[\"a\"]", AttachmentCount),
            ("2[true]", EventName),
            (r#"2[{"toString":1}]"#, EventName),
            (r#"2["disconnecting"]"#, EventName),
            (r#"2["\ud800"]"#, EventName),
            ("2[]", Payload),
            ("2{}", Payload),
            ("3[]", AckId),
            (r#"29007199254740992["a"]"#, AckId),
        ] {
            assert_eq!(take(text), Err(error), "{text}");
        }
        for text in ["2", "2[1", r#"2["some","data""#, r#"2abc["a"]"#, r#"2-1["a"]"#] {
            assert!(matches!(take(text), Err(Json(JsonError::Syntax { .. }))), "{text}");
        }
        assert!(matches!(take(r#"51-["a",{"_placeholder":true,"num":1}]"#), Err(Placeholder(_))));
        assert_eq!(take(&format!("0/{},", "n".repeat(300))), Err(Namespace));
    }

    #[test]
    fn attachments_out_of_turn_are_refused() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.take(Message::Binary(Bytes::new()), LIMITS), Err(PacketError::Stray));
        assert_eq!(assembler.take(Message::Text(Text::from(r#"51-["a"]"#)), LIMITS), Ok(None));
        assert_eq!(
            assembler.take(Message::Text(Text::from("2[\"b\"]")), LIMITS),
            Err(PacketError::TextBetween)
        );
    }

    #[test]
    fn the_bytes_of_a_packet_are_bounded_attachments_included() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.take(Message::Text(Text::from(r#"52-["a"]"#)), LIMITS), Ok(None));
        assert_eq!(assembler.take(Message::Binary(Bytes::from(vec![0; 900])), LIMITS), Ok(None));
        assert_eq!(
            assembler.take(Message::Binary(Bytes::from(vec![0; 99])), LIMITS),
            Err(PacketError::TooLarge)
        );
        assert_eq!(take(&format!("2[\"{}\"]", "x".repeat(1000))), Err(PacketError::TooLarge));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(messages in proptest::collection::vec(
            prop_oneof![
                r#"[0-7]{0,2}(-|/a,|)[0-9]{0,17}[\[\]{}"a,:0-9]{0,12}"#.prop_map(|text| Message::Text(Text::from(text.as_str()))),
                ".{0,30}".prop_map(|text| Message::Text(Text::from(text.as_str()))),
                proptest::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| Message::Binary(bytes.into())),
            ],
            0..6,
        )) {
            let mut assembler = Assembler::default();
            for message in messages {
                if assembler.take(message, LIMITS).is_err() {
                    break;
                }
            }
        }
    }
}
