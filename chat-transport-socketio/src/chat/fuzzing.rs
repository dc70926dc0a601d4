//! The decoders of the chat, for any bytes.

use bytes::Bytes;
use chat_core::{Bookmark, Epoch, Fingerprint, Offset, Position, RoomId};

use super::auth::Hello;
use super::content::body;
use super::places::{Base, Mark, Places};
use crate::placeholder;

/// The JSON of a CONNECT.
pub fn hello(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        drop(Hello::parse(Some(text)));
    }
}

/// How many attachments a packet has, and the content of a post in it: what is stored of it can be sent by itself.
pub fn content(data: &[u8]) {
    let Some((count, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let attachments = vec![Bytes::from_static(b"x"); usize::from(count % 4)];
    if let Ok(body) = body(text, &attachments, 10_000) {
        let used: Vec<_> = (0..body.attachments.len()).collect();
        assert_eq!(placeholder::check(&body.text, used.len()), Ok(used));
        assert!(body.bytes() <= 10_000);
    }
}

/// What the chat has in a pid, and in a token behind a pid with a few rooms or many.
pub fn places(data: &[u8]) {
    if let Some(base) = Base::read(data) {
        assert_eq!(base.write(), data);
        assert_eq!(Places::at_base(&base.rooms).rooms.len(), base.rooms.len());
    }
    let Some((count, place)) = data.split_first() else { return };
    let rooms: Vec<_> = (0..count % 16)
        .map(|number| {
            let room = RoomId::new(&format!("room {number}")).expect("a plain name");
            (room, Mark::at(bookmark(number)))
        })
        .collect();
    if let Some(read) = Places::read(&rooms, place) {
        assert!(read.rooms.len() + read.handled.len() <= rooms.len() + place.len());
    }
}

fn bookmark(number: u8) -> Bookmark {
    let position = Position {
        epoch: Epoch::UNWRITTEN,
        offset: Offset::new(u64::from(number) * 1_000).expect("a small number"),
    };
    Bookmark { position, fingerprint: Fingerprint::from_number(u64::from(number)) }
}
