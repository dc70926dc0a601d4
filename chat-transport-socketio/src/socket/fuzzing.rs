//! The decoders of Socket.IO and of recovery, for any bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use chat_core::Body;
use serde::de::IgnoredAny;

use super::args::Args;
use super::event::{Auth, Event};
use super::frame::Frame;
use super::id::SocketId;
use super::json::JsonError;
use super::packet::{Assembler, Kind, Packet, PacketLimits};
use super::placeholder::{self, PlaceholderError};
use super::recovery::Recovery;
use super::recovery::backlog::Backlog;
use super::recovery::pid::{self, Pid};
use super::recovery::record::{self, Record, Sessions};
use super::recovery::token::{Token, Tokens};
use crate::engine::fuzzing::{read, written};
use crate::engine::{Message, Text};

const LIMITS: PacketLimits = PacketLimits { attachments: 10, bytes: 1_000_000 };
/// For what is written again, which may be a little longer.
const WIDER: PacketLimits = PacketLimits { attachments: 10, bytes: 2_000_000 };
const KEY: [u8; 32] = [7; 32];

/// Messages, one a line, those that begin with `b` binary: an event that they make up is read the same when it is sent on.
pub fn packets(data: &[u8]) {
    let mut assembler = Assembler::default();
    for line in data.split(|byte| *byte == b'\n') {
        let message = match line.strip_prefix(b"b") {
            Some(bytes) => Message::Binary(Bytes::copy_from_slice(bytes)),
            None => match Text::from_bytes(Bytes::copy_from_slice(line)) {
                Ok(text) => Message::Text(text),
                Err(_) => return,
            },
        };
        match assembler.take(message, LIMITS) {
            Ok(Some(packet)) => sent_on(packet),
            Ok(None) => {}
            // Nothing more may be offered.
            Err(_) => return,
        }
    }
}

fn sent_on(packet: Packet) {
    let Packet { namespace, kind } = packet;
    let Kind::Event { name, args, .. } = kind else { return };
    // A polling client cannot be told of such a namespace; no such namespace is served.
    if namespace.contains('\u{1e}') {
        return;
    }
    let event = Event::new(name, args, None);
    let frame = Frame::event(&namespace, event.name(), &Args::from(&event));
    let mut assembler = Assembler::default();
    let mut again = None;
    for message in read(written(|writer| frame.write(writer, None))) {
        again = assembler.take(message, WIDER).expect("what is sent can be received");
    }
    let again = again.expect("what is sent is whole");
    let Kind::Event { name, args, .. } = again.kind else { panic!("an event is sent as something else") };
    let again_event = Event::new(name, args, None);
    assert_eq!((again.namespace, again_event.name()), (namespace, event.name()));
    assert_eq!(again_event.attachments(), event.attachments());
    assert_eq!(again_event.len(), event.len());
    (0..event.len()).for_each(|index| assert_eq!(again_event.arg(index), event.arg(index)));
}

/// How many attachments there are, and a text: checked and renumbered, and compared with another parser.
pub fn placeholders(data: &[u8]) {
    let Some((attachments, text)) = data.split_first() else { return };
    let attachments = usize::from(attachments % 4);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let checked = placeholder::check(text, attachments);
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    match &checked {
        Err(PlaceholderError::Json(JsonError::Syntax { .. })) => assert!(!is_json, "{text:?}"),
        Err(PlaceholderError::Json(_)) => {}
        // The other parser gives up at 128 levels.
        _ => assert!(is_json || 120 < text.len(), "{text:?}"),
    }
    if let Ok(used) = checked {
        assert_eq!(placeholder::renumber(text, |number| number).as_deref(), Ok(text));
        let moved = placeholder::renumber(text, |number| number + 1).expect("it was checked");
        let moved_used: Vec<_> = used.iter().map(|number| number + 1).collect();
        assert_eq!(placeholder::check(&moved, attachments + 1), Ok(moved_used));
    }
}

/// The JSON of a CONNECT, as far as recovery looks at it.
pub fn claim(data: &[u8]) {
    if let Ok(text) = Text::from_bytes(Bytes::copy_from_slice(data)) {
        drop(Recovery::with_key(KEY).claim(&Auth(Some(text)), "/"));
    }
}

/// A pid as a client shows it, and one with a true seal.
pub fn pid(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        // Nobody has the key, so nothing is opened but what `KEY` has sealed.
        let _ = Pid::open(text, &KEY, "/");
    }
    if let Some(pid) = Pid::open(&pid::sealed(data.to_vec(), &KEY, "/"), &KEY, "/") {
        let text = pid.seal(&KEY, "/");
        assert_eq!(Pid::open(&text, &KEY, "/").as_ref(), Some(&pid));
        assert_eq!(Pid::open(&text, &KEY, "/other"), None);
    }
}

/// A token as a client shows it, and one of the session that it is shown to.
pub fn token(data: &[u8]) {
    let sid = SocketId::NOBODY;
    if let Ok(text) = std::str::from_utf8(data) {
        drop(Token::parse(text, sid));
    }
    let text = URL_SAFE_NO_PAD.encode([&[0; 6], data].concat());
    if let Some(token) = Token::parse(&text, sid) {
        let tokens = Tokens::new(sid, token.own);
        tokens.token(|place| place.extend_from_slice(&token.place), |again| assert_eq!(again, text));
    }
}

/// An entry of the journal, its text and its attachments one a line: the sessions that it tells of can be gone on with, and written down again.
pub fn journal(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Ok(text) = std::str::from_utf8(lines.next().unwrap_or_default()) else { return };
    let attachments: Vec<_> = lines.map(Bytes::copy_from_slice).collect();
    let Some(kept) = sessions(&Body { text: text.into(), attachments: attachments.into() }) else { return };
    let states: Vec<_> =
        kept.iter().map(|(sid, kept)| Record::State { sid: *sid, kept: kept.clone() }).collect();
    assert_eq!(sessions(&record::write(&states)).as_ref(), Some(&kept));
    for kept in kept.into_values() {
        let (last, count) = (kept.last, kept.events.len());
        let mut backlog = Backlog::restored(last, kept.events);
        assert_eq!(backlog.after(0).count(), count);
        assert!(backlog.reaches_back_to(last));
        backlog.push(Frame::event("/", "e", &Args::new()), 1_000);
        backlog.trim(last);
        assert_eq!(backlog.after(last).count(), 1);
    }
}

fn sessions(body: &Body) -> Option<std::collections::BTreeMap<SocketId, record::Kept>> {
    let mut sessions = Sessions::default();
    sessions.read(body, 1_000).ok()?;
    Some(sessions.into_kept())
}

/// A frame out of a cache or a log.
pub fn frame(data: &[u8]) {
    let Some(frame) = Frame::from_bytes(Bytes::copy_from_slice(data)) else { return };
    let plain = written(|writer| frame.write(writer, None));
    let with_token = written(|writer| frame.write(writer, Some("token")));
    assert!(plain.len() <= with_token.len());
    assert_eq!(frame.into_bytes(), data);
}
