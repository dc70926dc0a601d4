//! Rules of what is stored: every name, key and body comes back exactly as it went in.

use bytes::Bytes;

use crate::conformance::sample::*;
use crate::entry::{Author, Body, Draft, Kind};
use crate::id::DisplayName;
use crate::log::{Appended, MessageLog};
use crate::position::Bounds;

/// Every part of an entry is read as it was appended, for each kind.
pub async fn an_entry_is_read_as_it_was_appended(store: impl MessageLog + Clone) {
    let room = room("a");
    for (number, kind) in [Kind::Message, Kind::Fact].into_iter().enumerate() {
        let draft = Draft {
            kind,
            author: Author { id: user("id\"'"), name: DisplayName::new("Náme 😀").expect("a valid name") },
            key: key(&format!("key {number}")),
            body: body("{\"text\":\"x\"}", &[b"one", b"", b"\0\xff"]),
        };
        let stored = append_fresh(&store, &room, draft.clone()).await;
        let read = kept(&store, &room).await.pop().expect("an entry");
        assert_eq!(read, stored);
        assert_eq!(read.body, Some(draft.body));
        assert_eq!((read.kind, read.author, read.key), (kind, draft.author, draft.key));
    }
}

/// Texts and attachments of any content and size come back byte for byte.
pub async fn bodies_come_back_byte_for_byte(store: impl MessageLog + Clone) {
    let room = room("a");
    let every_byte = Bytes::from_iter((0..=u8::MAX).cycle().take(70_000));
    let with = |attachments: Vec<Bytes>| Body { text: "t".into(), attachments: attachments.into() };
    let mut bodies = odd_texts().into_iter().map(Body::text).collect::<Vec<_>>();
    bodies.push(Body::text(""));
    bodies.push(Body::text("😀\0'".repeat(150_000)));
    bodies.push(with(vec![every_byte.clone()]));
    bodies.push(with(vec![Bytes::new(), every_byte.slice(1..), Bytes::new()]));
    bodies.push(with(vec![Bytes::from(vec![0; 900_000])]));
    bodies.push(with((0..10_u8).map(|number| Bytes::from(vec![number; 3])).collect()));
    for (number, body) in bodies.iter().enumerate() {
        append_fresh(&store, &room, Draft { body: body.clone(), ..draft(&number.to_string()) }).await;
    }
    let entries = kept(&store, &room).await;
    assert_eq!(entries.len(), bodies.len());
    for (entry, body) in entries.iter().zip(bodies) {
        // Not assert_eq: a difference would print a megabyte.
        assert!(entry.body.as_ref() == Some(&body), "the body at {:?} differs", entry.position);
        let again = append(&store, &room, Draft { body, ..draft(entry.key.as_str()) }).await;
        assert_eq!(again, Appended::Duplicate { bookmark: entry.bookmark(), at: entry.at });
    }
}

/// A room may have any valid name, and no two names are one room.
pub async fn rooms_of_any_name_are_apart(store: impl MessageLog + Clone) {
    let rooms = odd_names().iter().map(|name| room(name)).collect::<Vec<_>>();
    let mut stored = Vec::new();
    for room in &rooms {
        assert_eq!(bounds(&store, room).await, Bounds::UNWRITTEN, "{room:?} before its first entry");
        stored.push(append_fresh(&store, room, draft_of("ada", "k", room.as_str())).await);
    }
    let answers = store.bounds(&rooms).await.expect("bounds");
    for ((room, entry), answer) in rooms.iter().zip(stored).zip(answers) {
        assert_eq!(answer.head, entry.bookmark(), "{room:?}");
        assert_eq!(kept(&store, room).await, [entry], "{room:?}");
    }
}

/// An author may have any valid id, and no two ids are one author.
pub async fn authors_of_any_id_are_apart(store: impl MessageLog + Clone) {
    let drafts = odd_names().iter().map(|id| draft_of(id, "k", "text")).collect();
    are_apart(&store, drafts).await;
}

/// A key may be any valid text, control characters included, and no two texts are one key.
pub async fn keys_of_any_text_are_apart(store: impl MessageLog + Clone) {
    let drafts = odd_texts().iter().map(|key| draft_of("ada", key, "text")).collect();
    are_apart(&store, drafts).await;
}

async fn are_apart(store: &impl MessageLog, drafts: Vec<Draft>) {
    let room = room("a");
    let mut stored = Vec::new();
    for draft in &drafts {
        stored.push(append_fresh(store, &room, draft.clone()).await);
    }
    for (draft, entry) in drafts.into_iter().zip(&stored) {
        assert_eq!((&entry.author, &entry.key), (&draft.author, &draft.key));
        let again = append(store, &room, draft).await;
        assert_eq!(again, Appended::Duplicate { bookmark: entry.bookmark(), at: entry.at });
    }
    assert_eq!(kept(store, &room).await, stored);
}
