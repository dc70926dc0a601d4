//! Socket.IO packets as they are sent: encoded once, shared by all recipients, written with a token per connection.
//!
//! Pure. What is received is in `packet.rs`.

use bytes::{BufMut, Bytes, BytesMut};

use super::args::Args;
use crate::engine::Writer;

/// An encoded packet. Cloning is a reference count.
///
/// One buffer holds everything, so that whoever caches encoded entries can keep it as plain [`Bytes`]. A text that begins with `4` (Engine.IO's
/// type for a message) is the whole packet; otherwise lengths come first, then the text, then the attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
}

/// Marks a buffer with attachments; no packet's text begins so.
const WITH_ATTACHMENTS: u8 = 0;
const LENGTH_BYTES: usize = 4;

impl Frame {
    /// An event for a namespace: `name` and `args`.
    pub fn event(namespace: &str, name: &str, args: &Args) -> Self {
        let name = serde_json::Value::from(name).to_string();
        Self::with_args(b'2', namespace, None, Some(&name), args)
    }

    pub(crate) fn event_with_ack(namespace: &str, id: u64, name: &str, args: &Args) -> Self {
        let name = serde_json::Value::from(name).to_string();
        Self::with_args(b'2', namespace, Some(id), Some(&name), args)
    }

    pub(crate) fn ack(namespace: &str, id: u64, args: &Args) -> Self {
        Self::with_args(b'3', namespace, Some(id), None, args)
    }

    pub(crate) fn connected(namespace: &str, payload: &str) -> Self {
        Self::plain(b'0', namespace, payload)
    }

    pub(crate) fn disconnect(namespace: &str) -> Self {
        Self::plain(b'1', namespace, "")
    }

    pub(crate) fn connect_error(namespace: &str, payload: &str) -> Self {
        Self::plain(b'4', namespace, payload)
    }

    fn plain(kind: u8, namespace: &str, payload: &str) -> Self {
        let mut text = String::with_capacity(namespace.len() + payload.len() + 3);
        text.push('4');
        text.push(char::from(kind));
        put_namespace(&mut text, namespace);
        text.push_str(payload);
        Self { bytes: text.into() }
    }

    fn with_args(kind: u8, namespace: &str, id: Option<u64>, name: Option<&str>, args: &Args) -> Self {
        let mut text =
            String::with_capacity(args.json.len() + name.map_or(0, str::len) + namespace.len() + 32);
        text.push('4');
        if args.attachments.is_empty() {
            text.push(char::from(kind));
        } else {
            // The types with attachments are the plain ones plus three.
            text.push(char::from(kind + 3));
            text.push_str(&args.attachments.len().to_string());
            text.push('-');
        }
        put_namespace(&mut text, namespace);
        if let Some(id) = id {
            text.push_str(&id.to_string());
        }
        text.push('[');
        text.push_str(name.unwrap_or_default());
        if name.is_some() && !args.json.is_empty() {
            text.push(',');
        }
        text.push_str(&args.json);
        text.push(']');
        if args.attachments.is_empty() {
            Self { bytes: text.into() }
        } else {
            Self::join(&text, &args.attachments)
        }
    }

    fn join(text: &str, attachments: &[Bytes]) -> Self {
        let total: usize = attachments.iter().map(Bytes::len).sum();
        let mut bytes =
            BytesMut::with_capacity(1 + (2 + attachments.len()) * LENGTH_BYTES + text.len() + total);
        bytes.put_u8(WITH_ATTACHMENTS);
        bytes.put_u32(length(attachments.len()));
        bytes.put_u32(length(text.len()));
        for attachment in attachments {
            bytes.put_u32(length(attachment.len()));
        }
        bytes.put_slice(text.as_bytes());
        for attachment in attachments {
            bytes.put_slice(attachment);
        }
        Self { bytes: bytes.freeze() }
    }

    /// The frame that [`Self::into_bytes`] was called on; none if `bytes` cannot be one.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        let frame = Self { bytes };
        (frame.bytes.first() == Some(&b'4') || frame.parts().is_some()).then_some(frame)
    }

    /// Itself as one buffer, for a cache.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Where its buffer is, and how long: the same for all clones, and for nothing else while one of them lives.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.bytes.as_ptr() as usize, self.bytes.len())
    }

    /// The event's name; none if the packet is no event.
    pub fn event_name(&self) -> Option<String> {
        // Only the first value is looked at, however much follows.
        let open = self.event_json()?.strip_prefix('[')?;
        serde_json::Deserializer::from_str(open).into_iter().next()?.ok()
    }

    /// The event as the JSON text of its name and arguments, `["name",…]`, without token; none if the packet is no event.
    pub fn event_json(&self) -> Option<&str> {
        let text = if self.bytes.first() == Some(&b'4') { &self.bytes[..] } else { self.parts()?.0 };
        let mut rest = std::str::from_utf8(text).ok()?;
        if let Some(with_attachments) = rest.strip_prefix("45") {
            rest = with_attachments.split_once('-')?.1;
        } else {
            rest = rest.strip_prefix("42")?;
        }
        if rest.starts_with('/') {
            rest = rest.split_once(',')?.1;
        }
        Some(rest.trim_start_matches(|digit: char| digit.is_ascii_digit()))
    }

    /// What it takes on the wire, about: in bytes, without token.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a packet has at least its type.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes it. Every event that a connection sends comes by here, so this is where it gets the connection's token: as one more,
    /// last, argument. Nothing but an event without ack id may be given one.
    pub(crate) fn write(&self, writer: &mut Writer<'_>, token: Option<&str>) {
        let plain = self.bytes.first() == Some(&b'4');
        let (text, attachments) = if plain {
            (&self.bytes[..], Attachments::default())
        } else {
            match self.parts() {
                Some(parts) => parts,
                None => return,
            }
        };
        match (token, text.split_last()) {
            (Some(token), Some((bracket, open))) => {
                writer.text(&[open, b",\"", token.as_bytes(), b"\"", std::slice::from_ref(bracket)]);
            }
            _ => writer.text(&[text]),
        }
        for attachment in attachments {
            writer.binary(attachment);
        }
    }

    /// Text and attachments of a frame that has some.
    fn parts(&self) -> Option<(&[u8], Attachments<'_>)> {
        let rest = self.bytes.strip_prefix(&[WITH_ATTACHMENTS])?;
        let (count, rest) = take_length(rest)?;
        let (text, rest) = take_length(rest)?;
        let (lengths, rest) = rest.split_at_checked(count.checked_mul(LENGTH_BYTES)?)?;
        let (text, data) = rest.split_at_checked(text)?;
        let attachments = Attachments { lengths, data };
        let total: usize = attachments.clone().map(<[u8]>::len).sum();
        (total == data.len() && attachments.clone().count() == count).then_some((text, attachments))
    }
}

#[derive(Clone, Default)]
struct Attachments<'a> {
    lengths: &'a [u8],
    data: &'a [u8],
}

impl<'a> Iterator for Attachments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, lengths) = take_length(self.lengths)?;
        let (attachment, data) = self.data.split_at_checked(length)?;
        (self.lengths, self.data) = (lengths, data);
        Some(attachment)
    }
}

fn take_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    Some((usize::try_from(u32::from_be_bytes(*length)).ok()?, rest))
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("a packet is far smaller than 4 GB")
}

fn put_namespace(text: &mut String, namespace: &str) {
    if namespace != "/" {
        text.push_str(namespace);
        text.push(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Framing;

    fn written(frame: &Frame, token: Option<&str>) -> String {
        let mut buffer = Vec::new();
        frame.write(&mut Writer::new(&mut buffer, Framing::Payload, usize::MAX), token);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn packets_are_written_as_the_protocol_says() {
        let args = Args::new().json(&1).unwrap().raw(r#"{"a": 1.0}"#);
        assert_eq!(written(&Frame::event("/", "x\"y", &args), None), r#"42["x\"y",1,{"a": 1.0}]"#);
        assert_eq!(written(&Frame::event("/n", "x", &Args::new()), None), r#"42/n,["x"]"#);
        assert_eq!(written(&Frame::event_with_ack("/", 7, "x", &Args::new()), None), r#"427["x"]"#);
        assert_eq!(written(&Frame::ack("/n", 0, &Args::new()), None), "43/n,0[]");
        assert_eq!(written(&Frame::connected("/", r#"{"sid":"s"}"#), None), r#"40{"sid":"s"}"#);
        assert_eq!(written(&Frame::disconnect("/n"), None), "41/n,");
    }

    #[test]
    fn attachments_follow_the_text_that_announces_them() {
        let args = Args::new().binary(&b"\x01\x02\x03\x04"[..]).binary(&b""[..]);
        let text = "452-[\"x\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]\u{1e}bAQIDBA==\u{1e}b";
        let frame = Frame::event("/", "x", &args);
        assert_eq!(written(&frame, None), text);
        let cached = Frame::from_bytes(frame.clone().into_bytes()).unwrap();
        assert_eq!(cached, frame);
        let token = "452-[\"x\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1},\"t\"]\u{1e}bAQIDBA==\u{1e}b";
        assert_eq!(written(&cached, Some("t")), token);
    }

    #[test]
    fn an_event_tells_its_name_and_arguments_whatever_is_around_them() {
        let args = Args::one(&[1]).unwrap().binary(&b"x"[..]);
        for (frame, name, json) in [
            (Frame::event("/", "x\"y", &Args::new()), "x\"y", r#"["x\"y"]"#),
            (Frame::event("/a[b", "e", &Args::one("5-,").unwrap()), "e", r#"["e","5-,"]"#),
            (Frame::event_with_ack("/n", 7, "e", &args), "e", r#"["e",[1],{"_placeholder":true,"num":0}]"#),
        ] {
            assert_eq!((frame.event_name().as_deref(), frame.event_json()), (Some(name), Some(json)));
        }
        for frame in [Frame::ack("/", 0, &args), Frame::disconnect("/"), Frame::connected("/", "{}")] {
            assert_eq!((frame.event_name(), frame.event_json()), (None, None));
        }
    }

    #[test]
    fn a_token_is_the_last_argument_and_the_only_one_if_there_is_none() {
        assert_eq!(
            written(&Frame::event("/", "x", &Args::one("a").unwrap()), Some("tok")),
            r#"42["x","a","tok"]"#
        );
        assert_eq!(written(&Frame::event("/n", "x", &Args::new()), Some("tok")), r#"42/n,["x","tok"]"#);
    }

    #[test]
    fn a_buffer_that_is_no_frame_is_refused() {
        for bytes in
            [&b""[..], b"2[]", b"\0", b"\0\0\0\0\x01\0\0\0\x01\0\0\0\x09x", b"\0\xff\xff\xff\xff\0\0\0\0"]
        {
            assert_eq!(Frame::from_bytes(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
    }
}
