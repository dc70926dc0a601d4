//! The two ways to chat over Socket.IO that the servers speak, as text.
//!
//! The tutorial's: one event, `chat message`. The full one, of `chat-server` alone: many rooms, requests with replies, recovery.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

use super::marker::Marker;

/// How to connect, post and resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Dialect {
    Tutorial,
    /// With recovery, a client resumes by `pid` and token as the official ones do, else by the offset of its room.
    Full {
        recovery: bool,
    },
}

/// Where a client has been before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before<'a> {
    pub(super) offset: u32,
    pub(super) pid: Option<&'a str>,
    pub(super) token: Option<&'a str>,
}

/// What a server says, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// Of the transport: the client may CONNECT now.
    Open,
    Ping,
    Connected,
    Refused,
    /// A chat message; presence and the like are [`Packet::Other`].
    Message(Marker, At),
    Answer {
        ack: u32,
        ok: bool,
    },
    Other(&'a [u8]),
}

/// Where in the packet the text of the message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At(usize);

impl Dialect {
    pub(super) fn connect(self, out: &mut Vec<u8>, room: &str, before: Before<'_>) {
        let offset = before.offset;
        let written = match self {
            Self::Tutorial => write!(out, r#"40{{"room":"{room}","serverOffset":{offset}}}"#),
            Self::Full { recovery: false } => {
                write!(out, r#"40{{"rooms":{{"{room}":{offset}}},"recovery":false}}"#)
            }
            Self::Full { recovery: true } => {
                let pid = before.pid.map_or_else(String::new, |pid| format!(r#","pid":"{pid}""#));
                let token = before.token.map_or_else(String::new, |token| format!(r#","offset":"{token}""#));
                write!(out, r#"40{{"rooms":{{"{room}":{offset}}}{pid}{token}}}"#)
            }
        };
        written.expect("a vector takes everything");
    }

    /// Appends a post. `ack` must be another one for each post of this run, `run` for each run on the same store.
    pub(super) fn post(
        self,
        out: &mut Vec<u8>,
        room: &str,
        (run, ack): (u32, u32),
        text: impl FnOnce(&mut Vec<u8>),
    ) {
        let (before, after) = match self {
            Self::Tutorial => (write!(out, r#"42{ack}["chat message",""#), format!(r#"","b{run}-{ack}"]"#)),
            Self::Full { .. } => (
                write!(out, r#"42{ack}["post",{{"room":"{room}","id":"b{run}-{ack}","content":""#),
                r#""}]"#.to_owned(),
            ),
        };
        before.expect("a vector takes everything");
        text(out);
        out.extend_from_slice(after.as_bytes());
    }

    pub(super) fn typing(self, out: &mut Vec<u8>, room: &str) {
        let written = match self {
            Self::Tutorial => write!(out, r#"42["typing",true]"#),
            Self::Full { .. } => write!(out, r#"42["typing",{{"room":"{room}","typing":true}}]"#),
        };
        written.expect("a vector takes everything");
    }
}

/// Reads what a server has sent, of either dialect.
pub(super) fn read(packet: &[u8]) -> Packet<'_> {
    match packet {
        [b'4', b'2', ..] => match Marker::find(packet) {
            Some((marker, at)) => Packet::Message(marker, At(at)),
            None => Packet::Other(packet),
        },
        [b'4', b'3', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            match number(&rest[..digits]) {
                Some(ack) => {
                    let said = &rest[digits..];
                    Packet::Answer { ack, ok: said == b"[]" || said.starts_with(br#"[{"ok":true"#) }
                }
                None => Packet::Other(packet),
            }
        }
        [b'4', b'0', ..] => Packet::Connected,
        [b'4', b'4', ..] | [b'4', b'1', ..] => Packet::Refused,
        [b'0', ..] => Packet::Open,
        [b'2', ..] => Packet::Ping,
        _ => Packet::Other(packet),
    }
}

/// The offset that the server gave the message of `packet`.
pub(super) fn offset(packet: &[u8], At(at): At) -> Option<u32> {
    const FIELD: &[u8] = br#""offset":"#;
    let begin = match memchr::memmem::find(&packet[..at], FIELD) {
        Some(field) => field + FIELD.len(),
        // The tutorial's: the number behind the text, which has no quotes in it.
        None => at + memchr::memchr(b'"', &packet[at..])? + 2,
    };
    let digits = packet.get(begin..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    number(&packet[begin..begin + digits])
}

/// The recovery token at the end of an event.
pub(super) fn token(packet: &[u8]) -> Option<&str> {
    let rest = packet.strip_suffix(br#""]"#)?;
    let begin = memchr::memrchr(b'"', rest)? + 1;
    std::str::from_utf8(&rest[begin..]).ok()
}

/// The `pid` in the answer to CONNECT.
pub(super) fn pid(packet: &[u8]) -> Option<&str> {
    const FIELD: &[u8] = br#""pid":""#;
    let rest = &packet[memchr::memmem::find(packet, FIELD)? + FIELD.len()..];
    std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: Marker = Marker { room: 1, number: 2, due: 3 };

    fn event(before: &str, after: &str) -> Vec<u8> {
        let mut event = before.as_bytes().to_vec();
        MARKER.write(&mut event, 50);
        event.extend_from_slice(after.as_bytes());
        event
    }

    #[test]
    fn a_message_of_either_dialect_is_read_with_its_offset() {
        let full = r#"42["message",{"room":"r1","offset":43,"pos":"5ae8c0.43.77a0b3","id":"b1","content":""#;
        for event in [
            event(r#"42["chat message",""#, r#"",43]"#),
            event(r#"42["chat message",""#, r#"",43,"a recovery token"]"#),
            event(full, r#"","at":1767225600000},"tQhJmkCCAAMCaQ"]"#),
        ] {
            let Packet::Message(marker, at) = read(&event) else { panic!("no message") };
            assert_eq!((marker, offset(&event, at)), (MARKER, Some(43)));
        }
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(read(b"4317[]"), Packet::Answer { ack: 17, ok: true });
        assert_eq!(read(br#"430[{"ok":true,"offset":3}]"#), Packet::Answer { ack: 0, ok: true });
        assert_eq!(read(br#"430[{"error":{},"ok":false}]"#), Packet::Answer { ack: 0, ok: false });
    }

    #[test]
    fn what_recovery_needs_is_read() {
        assert_eq!(pid(br#"40{"sid":"s","pid":"p1"}"#), Some("p1"));
        assert_eq!(pid(br#"40{"sid":"s"}"#), None);
        assert_eq!(token(br#"42["message",{},"tQhJ"]"#), Some("tQhJ"));
        assert_eq!(token(br#"42["chat message","x",43]"#), None);
    }

    #[test]
    fn who_comes_back_says_how_far_it_was() {
        let written = |dialect: Dialect, before: Before<'_>| {
            let mut out = Vec::new();
            dialect.connect(&mut out, "r1", before);
            String::from_utf8(out).expect("text")
        };
        let before = Before { offset: 5, pid: Some("p"), token: Some("t") };
        assert_eq!(written(Dialect::Tutorial, before), r#"40{"room":"r1","serverOffset":5}"#);
        assert_eq!(
            written(Dialect::Full { recovery: false }, before),
            r#"40{"rooms":{"r1":5},"recovery":false}"#
        );
        assert_eq!(
            written(Dialect::Full { recovery: true }, before),
            r#"40{"rooms":{"r1":5},"pid":"p","offset":"t"}"#
        );
        assert_eq!(written(Dialect::Full { recovery: true }, Before::default()), r#"40{"rooms":{"r1":0}}"#);
    }

    #[test]
    fn posts_are_written_as_the_servers_expect_them() {
        let written = |dialect: Dialect| {
            let mut out = Vec::new();
            dialect.post(&mut out, "r1", (9, 5), |out| out.extend_from_slice(b"hi"));
            String::from_utf8(out).expect("text")
        };
        assert_eq!(written(Dialect::Tutorial), r#"425["chat message","hi","b9-5"]"#);
        assert_eq!(
            written(Dialect::Full { recovery: true }),
            r#"425["post",{"room":"r1","id":"b9-5","content":"hi"}]"#
        );
    }
}
