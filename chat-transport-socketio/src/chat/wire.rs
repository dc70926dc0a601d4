//! What goes out: entries and answers, encoded. Pure.
//!
//! The content of a message is passed on as it was received, byte for byte.

use std::borrow::Cow;

use bytes::Bytes;
use chat_core::{
    Author, Bookmark, Bounds, Entry, History, Joined, Kind, Offset, Overview, Receipt, RoomId, Roster,
    Timestamp, Told, Typing, UserId,
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::content;
use super::identity::told_key;
use crate::{Args, Frame, placeholder};

/// The namespace of the chat.
pub(super) const NAMESPACE: &str = "/";
/// The tutorial's event, both ways.
pub(super) const CHAT_MESSAGE: &str = "chat message";

/// What `entry` is in the tutorial's protocol: a `chat message`, or nothing.
pub(super) fn tutorial_event(entry: &Entry) -> Option<Frame> {
    let content = Content::of(entry).filter(|_| entry.kind == Kind::Message)?;
    let args = Args::new().raw(content.json.get()).raw(&entry.position.offset.to_string());
    Some(Frame::event(NAMESPACE, CHAT_MESSAGE, &args.attach(content.attachments.iter().cloned())))
}

/// What `entry` is in the full protocol: a `message`, or nothing.
pub(super) fn full_event(room: &RoomId, entry: &Entry) -> Option<Frame> {
    if entry.kind != Kind::Message {
        return None;
    }
    let content = Content::of(entry);
    let args = args(&Message::new(room, entry, content.as_ref()));
    let attachments = content.map_or(&[][..], |content| content.attachments);
    Some(Frame::event(NAMESPACE, "message", &args.attach(attachments.iter().cloned())))
}

/// `history_lost`: what lies between the client's place and `start` is gone.
pub(super) fn history_lost(room: &RoomId, bounds: &Bounds, start: Bookmark) -> Frame {
    #[derive(Serialize)]
    struct Lost<'a> {
        room: &'a str,
        pos: String,
        oldest: u64,
        head: u64,
    }
    let (oldest, head) = ends(bounds);
    let lost = Lost { room: room.as_str(), pos: start.to_string(), oldest, head };
    Frame::event(NAMESPACE, "history_lost", &args(&lost))
}

/// What is told of the people in a room; nothing where the protocol has no word for it.
pub(super) fn told(room: &RoomId, told: &Told) -> Option<Frame> {
    #[derive(Serialize)]
    struct Notice<'a, T> {
        room: &'a str,
        #[serde(flatten)]
        what: T,
    }
    #[derive(Serialize)]
    struct Presence<'a> {
        user: From<'a>,
        online: bool,
        version: u64,
        count: u64,
    }
    #[derive(Serialize)]
    struct Reset<'a> {
        version: u64,
        count: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        online: Option<Vec<From<'a>>>,
    }
    #[derive(Serialize)]
    struct Types<'a> {
        user: From<'a>,
        typing: bool,
    }
    #[derive(Serialize)]
    struct Id<'a> {
        id: &'a str,
    }
    #[derive(Serialize)]
    struct Read<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<Id<'a>>,
        offset: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    }
    #[derive(Serialize)]
    struct Count {
        count: u64,
    }
    fn event(name: &str, room: &RoomId, what: impl Serialize) -> Frame {
        Frame::event(NAMESPACE, name, &args(&Notice { room: room.as_str(), what }))
    }
    fn id(user: &UserId) -> Option<Id<'_>> {
        Some(Id { id: user.as_str() })
    }
    Some(match told {
        Told::Presence { who, online, version, count } => {
            let user = From::of(who);
            event("presence", room, Presence { user, online: *online, version: *version, count: *count })
        }
        Told::Reset { version, count, online } => {
            let online = online.as_ref().map(|online| online.iter().map(From::of).collect());
            event("presence_reset", room, Reset { version: *version, count: *count, online })
        }
        Told::Typing { who, typing } => {
            event("typing", room, Types { user: From::of(who), typing: *typing == Typing::Started })
        }
        Told::ManyTyping { count } => event("typing", room, Count { count: *count }),
        Told::Read { user, offset } => {
            event("read", room, Read { user: id(user), offset: offset.get(), count: None })
        }
        Told::ManyRead { offset, count } => {
            event("read", room, Read { user: None, offset: offset.get(), count: Some(*count) })
        }
        _ => return None,
    })
}

/// The reply to `members`.
pub(super) fn members(roster: &Roster) -> Args {
    #[derive(Serialize)]
    struct Reply<'a> {
        ok: bool,
        members: Vec<Member<'a>>,
        version: u64,
        total: u64,
    }
    #[derive(Serialize)]
    struct Member<'a> {
        id: &'a str,
        name: &'a str,
        devices: u32,
    }
    let members = roster.members.iter().map(|member| Member {
        id: member.user.as_str(),
        name: member.name.as_str(),
        devices: member.devices,
    });
    let Roster { version, total, .. } = *roster;
    args(&Reply { ok: true, members: members.collect(), version, total })
}

/// The reply to a request that has nothing to add.
pub(super) fn done() -> Args {
    Args::new().raw(r#"{"ok":true}"#)
}

/// The reply to `refresh`.
pub(super) fn refreshed(expires: Option<Timestamp>) -> Args {
    #[derive(Serialize)]
    struct Reply {
        ok: bool,
        /// Null if the token does not end.
        expires: Option<u64>,
    }
    args(&Reply { ok: true, expires: expires.map(Timestamp::millis) })
}

/// The reply to `join`.
pub(super) fn joined(joined: &Joined) -> Args {
    #[derive(Serialize)]
    struct Reply {
        ok: bool,
        pos: String,
        oldest: u64,
        head: u64,
    }
    let (oldest, head) = ends(&joined.bounds);
    args(&Reply { ok: true, pos: joined.start.to_string(), oldest, head })
}

/// The reply to a post, in both protocols.
pub(super) fn receipt(receipt: &Receipt) -> Args {
    #[derive(Serialize)]
    struct Reply {
        ok: bool,
        offset: u64,
        pos: String,
        at: u64,
        duplicate: bool,
    }
    let Receipt { bookmark, at, duplicate } = receipt;
    let (offset, at) = (bookmark.offset().get(), at.millis());
    args(&Reply { ok: true, offset, pos: bookmark.to_string(), at, duplicate: *duplicate })
}

/// The reply to `history`. The messages share one packet, so their placeholders are counted through.
pub(super) fn history(room: &RoomId, history: &History) -> Args {
    #[derive(Serialize)]
    struct Reply<'a> {
        ok: bool,
        messages: Vec<Message<'a>>,
        oldest: u64,
        head: u64,
    }
    let mut attachments: Vec<Bytes> = Vec::new();
    let contents: Vec<_> =
        history.messages.iter().map(|entry| content_behind(entry, &mut attachments)).collect();
    let messages = history.messages.iter().zip(&contents);
    let messages = messages.map(|(entry, content)| Message::new(room, entry, content.as_ref())).collect();
    let (oldest, head) = ends(&history.bounds);
    args(&Reply { ok: true, messages, oldest, head }).attach(attachments)
}

/// The reply to `direct`.
pub(super) fn direct(room: &RoomId) -> Args {
    #[derive(Serialize)]
    struct Reply<'a> {
        ok: bool,
        room: &'a str,
    }
    args(&Reply { ok: true, room: room.as_str() })
}

/// The reply to `read`.
pub(super) fn marked(offset: Offset) -> Args {
    #[derive(Serialize)]
    struct Reply {
        ok: bool,
        offset: u64,
    }
    args(&Reply { ok: true, offset: offset.get() })
}

/// The reply to `rooms`, those of `user`. The messages share one packet, as in `history`.
pub(super) fn rooms(user: &Author, page: &Overview) -> Args {
    #[derive(Serialize)]
    struct Reply<'a> {
        ok: bool,
        user: From<'a>,
        rooms: Vec<Room<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Room<'a> {
        room: &'a str,
        head: u64,
        read: u64,
        unread: u64,
        last: Option<Message<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        with: Option<With<'a>>,
    }
    #[derive(Serialize)]
    struct With<'a> {
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        read: Option<u64>,
    }
    let mut attachments: Vec<Bytes> = Vec::new();
    let contents: Vec<_> =
        page.rooms.iter().map(|seen| content_behind(seen.last.as_ref()?, &mut attachments)).collect();
    let rooms = page.rooms.iter().zip(&contents).map(|(seen, content)| {
        let room = &seen.own.room;
        Room {
            room: room.as_str(),
            head: seen.bounds.head.offset().get(),
            read: seen.read.get(),
            unread: seen.unread(),
            last: seen.last.as_ref().map(|entry| Message::new(room, entry, content.as_ref())),
            with: seen.own.with.as_ref().map(|with| With {
                id: with.id.as_str(),
                name: with.name.as_ref().map(|name| name.as_str()),
                read: seen.read_by_other.map(Offset::get).filter(|&mark| 0 < mark),
            }),
        }
    });
    let next = page.next.as_ref().map(RoomId::as_str);
    let user = From { id: user.id.as_str(), name: user.name.as_str() };
    args(&Reply { ok: true, user, rooms: rooms.collect(), next }).attach(attachments)
}

/// The content of an entry in a packet that has `attachments` already; its own are added.
fn content_behind<'a>(entry: &'a Entry, attachments: &mut Vec<Bytes>) -> Option<Content<'a>> {
    let content = Content::of(entry)?.behind(attachments.len());
    attachments.extend(content.attachments.iter().cloned());
    Some(content)
}

fn ends(bounds: &Bounds) -> (u64, u64) {
    (bounds.oldest().get(), bounds.head.offset().get())
}

fn args(value: &impl Serialize) -> Args {
    Args::one(value).expect("texts and numbers have a JSON form")
}

/// `message`, and an element of `history`.
#[derive(Serialize)]
struct Message<'a> {
    room: &'a str,
    offset: u64,
    pos: String,
    id: Cow<'a, str>,
    from: From<'a>,
    /// Null once it was redacted.
    content: Option<&'a RawValue>,
    at: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
}

#[derive(Serialize)]
struct From<'a> {
    id: &'a str,
    name: &'a str,
}

impl<'a> From<'a> {
    fn of(who: &'a Author) -> Self {
        Self { id: who.id.as_str(), name: who.name.as_str() }
    }
}

impl<'a> Message<'a> {
    fn new(room: &'a RoomId, entry: &'a Entry, content: Option<&'a Content<'_>>) -> Self {
        Self {
            room: room.as_str(),
            offset: entry.position.offset.get(),
            pos: entry.bookmark().to_string(),
            id: told_key(&entry.author.id, &entry.key),
            from: From::of(&entry.author),
            content: content.map(|content| &*content.json),
            at: entry.at.millis(),
            redacted: content.is_none(),
        }
    }
}

/// Content that no client stumbles over.
struct Content<'a> {
    json: Cow<'a, RawValue>,
    attachments: &'a [Bytes],
}

impl<'a> Content<'a> {
    /// `None` where it was redacted. What an application has stored that cannot be sent as it is (no JSON, or placeholders for nothing) is
    /// sent as a string.
    fn of(entry: &'a Entry) -> Option<Self> {
        let body = entry.body.as_ref()?;
        let is_sound = content::check(&body.text, body.attachments.len()).is_ok();
        Some(match serde_json::from_str(&body.text) {
            Ok(json) if is_sound => Self { json: Cow::Borrowed(json), attachments: &body.attachments },
            _ => Self { json: Cow::Owned(string(&body.text)), attachments: &[] },
        })
    }

    /// The same in a packet that has `others` attachments before these.
    fn behind(self, others: usize) -> Self {
        if self.attachments.is_empty() || others == 0 {
            return self;
        }
        let text = placeholder::renumber(self.json.get(), |number| number + others as u64);
        let text = text.expect("it was checked");
        let json = RawValue::from_string(text).expect("other numbers are as good");
        Self { json: Cow::Owned(json), ..self }
    }
}

fn string(text: &str) -> Box<RawValue> {
    to_raw_value(text).expect("a string has a JSON form")
}
