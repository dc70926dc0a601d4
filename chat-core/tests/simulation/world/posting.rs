//! Clients that post, and repeat each post until it is answered.

use std::sync::Arc;

use chat_core::*;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::timeout;

use super::{PATIENCE, World, pick};
use crate::trace::{Event, digest};

/// What a client wants to be stored.
#[derive(Clone)]
struct Letter {
    room: RoomId,
    key: String,
    text: String,
    kind: Kind,
}

impl World {
    pub(super) async fn post(self: Arc<Self>, number: u64) {
        let mut random = self.random(1_000 + number);
        let author = format!("poster {number}");
        // In a burst, or for as long as there is trouble.
        let pause_ms_max = pick(&mut random, &[300, 2_000]);
        // Those that were answered or given up.
        let mut sent: Vec<Letter> = Vec::new();
        for count in 0..random.random_range(5..20) {
            self.pause(&mut random, pause_ms_max).await;
            let letter = match random.random_range(0..10) {
                // The same again, as after an answer that did not arrive.
                0 if !sent.is_empty() => sent[random.random_range(0..sent.len())].clone(),
                // Another text under a key that was used.
                1 if !sent.is_empty() => {
                    let used = sent[random.random_range(0..sent.len())].clone();
                    Letter { text: format!("{author} cheats {count}"), ..used }
                }
                _ => self.letter(&mut random, &author, count),
            };
            if self.send(&mut random, &author, &letter).await {
                sent.push(letter);
            }
        }
    }

    fn letter(&self, random: &mut StdRng, author: &str, count: u32) -> Letter {
        // Two of the largest are more than a tail holds.
        let bytes = pick(random, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1_000, 600_000]);
        Letter {
            room: self.rooms[random.random_range(0..self.rooms.len())].clone(),
            key: format!("key {count}"),
            text: format!("{author} says {count}{}", "!".repeat(bytes)),
            kind: if random.random_bool(0.15) { Kind::Fact } else { Kind::Message },
        }
    }

    /// Whether the answer is not "never".
    async fn send(&self, random: &mut StdRng, author: &str, letter: &Letter) -> bool {
        let gives_up = random.random_bool(0.1);
        loop {
            let Letter { room, key, text, .. } = letter.clone();
            let answer = match self.any_node(random) {
                Some((chat, _)) => timeout(PATIENCE, chat.post(&room, draft(author, letter))).await.ok(),
                None => None,
            };
            let text = digest(&text);
            match answer {
                Some(Ok(Receipt { bookmark, duplicate, .. })) => {
                    let author = author.to_owned();
                    self.record.add(Event::Acked { room, author, key, text, bookmark, duplicate });
                    return true;
                }
                Some(Err(ChatError::Conflict { .. })) => {
                    self.record.add(Event::Refused { room, text, why: "conflict" });
                    return false;
                }
                Some(Err(ChatError::Forbidden)) => {
                    self.record.add(Event::Refused { room, text, why: "forbidden" });
                    return false;
                }
                Some(Err(_)) | None => {
                    self.record.add(Event::Failed);
                    if gives_up {
                        return true;
                    }
                    self.pause(random, 500).await;
                }
            }
        }
    }
}

fn draft(author: &str, letter: &Letter) -> Draft {
    let author = Author { id: UserId::new(author).unwrap(), name: DisplayName::new(author).unwrap() };
    let key = MessageKey::new(&letter.key).unwrap();
    Draft { kind: letter.kind, author, key, body: Body::text(letter.text.as_str()) }
}
