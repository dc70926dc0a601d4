//! Entries and news as they are stored and published, the counterpart of what the scripts pack. Pure.

use std::sync::Arc;

use bytes::Bytes;
use chat_core::{
    Author, Body, Bookmark, ConnectionId, DisplayName, Edge, Entry, Epoch, Fingerprint, Kind, MessageKey,
    News, NodeId, Notice, Offset, Position, RoomId, Ticket, Timestamp, Typing, UserId,
};

/// Added to the kind of an entry whose body was removed.
const REDACTED: u8 = 128;

/// What a body is to a script: opaque bytes.
pub(crate) fn body(body: &Body) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.bytes() + 4 * body.attachments.len());
    for attachment in body.attachments.iter() {
        // What is accepted is far smaller.
        out.extend_from_slice(&u32::try_from(attachment.len()).unwrap_or(u32::MAX).to_be_bytes());
    }
    body.attachments.iter().for_each(|attachment| out.extend_from_slice(attachment));
    out.extend_from_slice(body.text.as_bytes());
    out
}

/// An entry as it is stored. None: that is none.
pub(crate) fn entry(position: Position, packed: &[u8]) -> Option<Entry> {
    let mut rest = packed;
    let at = Timestamp::from_millis(number(&mut rest, 6)?);
    let fingerprint = Fingerprint::from_number(number(&mut rest, 6)?);
    let kind = u8::try_from(number(&mut rest, 1)?).ok()?;
    let [author, key, name, attachments] =
        [number(&mut rest, 2)?, number(&mut rest, 2)?, number(&mut rest, 2)?, number(&mut rest, 2)?];
    let id = UserId::new(text(&mut rest, author)?).ok()?;
    let key = MessageKey::new(text(&mut rest, key)?).ok()?;
    let name = DisplayName::new(text(&mut rest, name)?).ok()?;
    let body = if kind < REDACTED {
        let lengths: Vec<u64> = (0..attachments).map(|_| number(&mut rest, 4)).collect::<Option<_>>()?;
        let attachments =
            lengths.into_iter().map(|length| Some(Bytes::copy_from_slice(slice(&mut rest, length)?)));
        let attachments: Arc<[Bytes]> = attachments.collect::<Option<_>>()?;
        Some(Body { text: std::str::from_utf8(rest).ok()?.into(), attachments })
    } else {
        rest.is_empty().then_some(None)?
    };
    let kind = Kind::from_number(kind & !REDACTED)?;
    Some(Entry { position, kind, author: Author { id, name }, key, at, fingerprint, body })
}

/// News as it is published on the channel of its room.
pub(crate) fn news(news: &News) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match news {
        News::Appended { entry, .. } => {
            out.push(b'A');
            put_position(&mut out, entry.position);
            put_entry(&mut out, entry);
        }
        News::Grown { head, .. } => {
            out.push(b'G');
            put_position(&mut out, head.position);
            put(&mut out, head.fingerprint.number(), 6);
        }
        News::Redacted { position, .. } => {
            out.push(b'R');
            put_position(&mut out, *position);
        }
        News::Notice { from, notice, .. } => {
            out.push(b'N');
            put(&mut out, from.0, 8);
            put_notice(&mut out, notice)?;
        }
        News::TakenOver { user, connection, ticket, .. } => {
            out.push(b'T');
            put(&mut out, ticket.0, 8);
            put(&mut out, user.as_str().len() as u64, 2);
            out.extend_from_slice(user.as_str().as_bytes());
            out.extend_from_slice(connection.as_str().as_bytes());
        }
        // Of a later version of the engine.
        _ => return None,
    }
    Some(out)
}

fn put_notice(out: &mut Vec<u8>, notice: &Notice) -> Option<()> {
    match notice {
        Notice::Presence { who, change, version } => {
            out.push(match change {
                Edge::Arrived => b'a',
                Edge::Left => b'l',
                Edge::Renamed => b'r',
            });
            put(out, *version, 8);
            put_author(out, who);
        }
        Notice::Typing { who, typing } => {
            out.push(if *typing == Typing::Started { b't' } else { b's' });
            put_author(out, who);
        }
        Notice::Read { user, offset } => {
            out.push(b'o');
            put(out, offset.get(), 7);
            out.extend_from_slice(user.as_str().as_bytes());
        }
        _ => return None,
    }
    Some(())
}

fn take_notice(mut rest: &[u8]) -> Option<Notice> {
    let (sort, behind) = rest.split_first()?;
    rest = behind;
    let change = match sort {
        b'a' => Edge::Arrived,
        b'l' => Edge::Left,
        b'r' => Edge::Renamed,
        b't' => return Some(Notice::Typing { who: take_author(rest)?, typing: Typing::Started }),
        b's' => return Some(Notice::Typing { who: take_author(rest)?, typing: Typing::Stopped }),
        b'o' => {
            let offset = Offset::new(number(&mut rest, 7)?)?;
            let user = UserId::new(std::str::from_utf8(rest).ok()?).ok()?;
            return Some(Notice::Read { user, offset });
        }
        _ => return None,
    };
    let version = number(&mut rest, 8)?;
    Some(Notice::Presence { who: take_author(rest)?, change, version })
}

fn put_author(out: &mut Vec<u8>, author: &Author) {
    put(out, author.id.as_str().len() as u64, 2);
    out.extend_from_slice(author.id.as_str().as_bytes());
    out.extend_from_slice(author.name.as_str().as_bytes());
}

fn take_author(mut rest: &[u8]) -> Option<Author> {
    let length = number(&mut rest, 2)?;
    let id = UserId::new(text(&mut rest, length)?).ok()?;
    let name = DisplayName::new(std::str::from_utf8(rest).ok()?).ok()?;
    Some(Author { id, name })
}

/// The news that was published about `room`. None: that is none, or of a later version.
pub(crate) fn heard(room: RoomId, published: &[u8]) -> Option<News> {
    let (sort, mut rest) = published.split_first()?;
    if *sort == b'N' {
        let from = NodeId(number(&mut rest, 8)?);
        return Some(News::Notice { room, from, notice: take_notice(rest)? });
    }
    if *sort == b'T' {
        let (ticket, length) = (Ticket(number(&mut rest, 8)?), number(&mut rest, 2)?);
        let user = UserId::new(text(&mut rest, length)?).ok()?;
        let connection = ConnectionId::new(std::str::from_utf8(rest).ok()?).ok()?;
        return Some(News::TakenOver { room, user, connection, ticket });
    }
    let position = Position {
        epoch: Epoch::from_number(number(&mut rest, 6)?),
        offset: Offset::new(number(&mut rest, 7)?)?,
    };
    match sort {
        b'A' => Some(News::Appended { room, entry: Arc::new(entry(position, rest)?) }),
        b'G' => {
            let fingerprint = Fingerprint::from_number(number(&mut rest, 6)?);
            Some(News::Grown { room, head: Bookmark { position, fingerprint } })
        }
        b'R' => Some(News::Redacted { room, position }),
        _ => None,
    }
}

/// A position as `advance.lua` packs it.
pub(crate) fn position(packed: &[u8]) -> Option<Position> {
    let mut rest = packed;
    let epoch = Epoch::from_number(number(&mut rest, 6)?);
    let offset = Offset::new(number(&mut rest, 7)?)?;
    rest.is_empty().then_some(Position { epoch, offset })
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put(out, entry.at.millis(), 6);
    put(out, entry.fingerprint.number(), 6);
    out.push(entry.kind.number() + if entry.body.is_none() { REDACTED } else { 0 });
    let Author { id, name } = &entry.author;
    let attachments = entry.body.as_ref().map_or(0, |body| body.attachments.len());
    for length in [id.as_str().len(), entry.key.as_str().len(), name.as_str().len(), attachments] {
        put(out, length as u64, 2);
    }
    for text in [id.as_str(), entry.key.as_str(), name.as_str()] {
        out.extend_from_slice(text.as_bytes());
    }
    if let Some(known) = &entry.body {
        out.append(&mut body(known));
    }
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    put(out, position.epoch.number(), 6);
    put(out, position.offset.get(), 7);
}

fn put(out: &mut Vec<u8>, number: u64, bytes: usize) {
    out.extend_from_slice(&number.to_be_bytes()[8 - bytes..]);
}

fn number(rest: &mut &[u8], bytes: u64) -> Option<u64> {
    Some(slice(rest, bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn text<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a str> {
    std::str::from_utf8(slice(rest, length)?).ok()
}

fn slice<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (slice, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = behind;
    Some(slice)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Entry> {
        let body = (".{0,20}", prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..3));
        let body = prop::option::of(body.prop_map(|(text, attachments)| Body {
            text: text.into(),
            attachments: attachments.into_iter().map(Bytes::from).collect(),
        }));
        (0..1_u64 << 47, 1..1_u64 << 53, any::<[u64; 2]>(), "[a-zü]{1,9}", any::<bool>(), body).prop_map(
            |(epoch, offset, [at, print], name, is_fact, body)| Entry {
                position: Position { epoch: Epoch::from_number(epoch), offset: Offset::new(offset).unwrap() },
                kind: if is_fact { Kind::Fact } else { Kind::Message },
                author: Author { id: UserId::new(&name).unwrap(), name: DisplayName::new(&name).unwrap() },
                key: MessageKey::new(&name).unwrap(),
                at: Timestamp::from_millis(at >> 16),
                fingerprint: Fingerprint::from_number(print),
                body,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_published_is_heard(entry in entries()) {
            let room = RoomId::new("a").unwrap();
            let redacted = News::Redacted { room: room.clone(), position: entry.position };
            let grown = News::Grown { room: room.clone(), head: entry.bookmark() };
            let from = NodeId(entry.fingerprint.number() << 9);
            let who = entry.author.clone();
            let version = entry.at.millis();
            let notices = [
                Notice::Presence { who: who.clone(), change: Edge::Arrived, version },
                Notice::Presence { who: who.clone(), change: Edge::Left, version },
                Notice::Presence { who: who.clone(), change: Edge::Renamed, version },
                Notice::Typing { who: who.clone(), typing: Typing::Started },
                Notice::Typing { who: who.clone(), typing: Typing::Stopped },
                Notice::Read { user: who.id, offset: entry.position.offset },
            ];
            let notices = notices.map(|notice| News::Notice { room: room.clone(), from, notice });
            let taken_over = News::TakenOver {
                room: room.clone(),
                user: entry.author.id.clone(),
                connection: ConnectionId::new(entry.key.as_str()).unwrap(),
                ticket: Ticket(version),
            };
            let appended = News::Appended { room: room.clone(), entry: Arc::new(entry) };
            for told in [redacted, grown, taken_over, appended].into_iter().chain(notices) {
                prop_assert_eq!(heard(room.clone(), &news(&told).unwrap()), Some(told));
            }
        }

        #[test]
        fn whatever_is_published_does_no_harm(published: Vec<u8>) {
            let _ = heard(RoomId::new("a").unwrap(), &published);
        }
    }
}
