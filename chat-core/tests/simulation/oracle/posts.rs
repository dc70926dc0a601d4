//! The laws of those who post: P1, P2 and P7.

use std::collections::{BTreeMap, BTreeSet};

use chat_core::{Action, RoomId};

use super::truth::Truth;
use crate::rule::may;
use crate::trace::{Event, Line};

#[derive(Default)]
pub(super) struct Posts {
    acked: Vec<(RoomId, String, (u64, u64))>,
    /// The entry that an answer said is new.
    fresh: BTreeSet<(RoomId, (u64, u64))>,
    /// And why. What the store has forgotten is no longer in conflict with anything.
    refused: BTreeMap<(RoomId, String), &'static str>,
    seen: BTreeMap<(RoomId, String), Line>,
}

impl Posts {
    pub(super) fn check(&mut self, truth: &Truth, event: &Event, wrong: &mut Vec<String>) {
        match event {
            Event::Appended { room, line } if !may(&line.author, room, Action::Post) => {
                wrong.push(format!("{} has {line:?}, whose author may not post there", room));
            }
            Event::Acked { room, author, key, text, bookmark, duplicate } => {
                let name = format!("{author}/{key} {text:?} in {room} at {bookmark}");
                if !may(author, room, Action::Post) {
                    wrong.push(format!("acknowledged, but not allowed: {name}"));
                }
                let id = (bookmark.offset().get(), bookmark.fingerprint.number());
                let log = truth.log(room);
                let Some(line) = log.and_then(|log| log.ever(id)) else {
                    return wrong.push(format!("acknowledged, but not stored there: {name}"));
                };
                let same_text = line.text.as_deref() == Some(text.as_str());
                // The store compares contents only for as long as it has them.
                let cannot_tell = *duplicate && log.is_some_and(|log| log.has_no_body(line));
                if &line.author != author || &line.key != key || !(same_text || cannot_tell) {
                    wrong.push(format!("acknowledged, but something else is stored there: {name}, {line:?}"));
                }
                if !duplicate && !self.fresh.insert((room.clone(), id)) {
                    wrong.push(format!("acknowledged as new, twice: {name}"));
                }
                self.acked.push((room.clone(), name, id));
            }
            Event::Refused { room, text, why } => {
                let refused = (room.clone(), text.clone());
                if let Some(line) = self.seen.get(&refused) {
                    // A text may be refused after the store has forgotten that it had it.
                    if !truth.log(room).is_some_and(|log| log.forgotten.contains_key(&line.id())) {
                        wrong.push(format!("refused in {room}, but seen before: {line:?}"));
                    }
                }
                self.refused.insert(refused, why);
            }
            Event::RolledBack { room, .. } => {
                self.refused.retain(|refused, why| refused.0 != *room || *why != "conflict");
            }
            Event::Saw { room, lines, .. } | Event::Paged { room, lines, .. } => {
                for line in lines {
                    let Some(text) = &line.text else { continue };
                    let seen = (room.clone(), text.clone());
                    let is_forgotten =
                        truth.log(room).is_some_and(|log| log.forgotten.contains_key(&line.id()));
                    if self.refused.contains_key(&seen) && !is_forgotten {
                        wrong.push(format!("seen in {room}, but refused before: {line:?}"));
                    }
                    self.seen.insert(seen, line.clone());
                }
            }
            _ => {}
        }
    }

    pub(super) fn finish(&self, truth: &Truth, wrong: &mut Vec<String>) {
        for (room, name, id) in &self.acked {
            // Unless the store itself forgot it, which is on record.
            if !truth.log(room).is_some_and(|log| log.has(*id) || log.forgotten.contains_key(id)) {
                wrong.push(format!("acknowledged and lost: {name}"));
            }
        }
        for (room, log) in truth.logs() {
            let mut seen = BTreeMap::new();
            for line in log.lines.values() {
                // Retries that an engine disguises under other keys have the same text.
                let names = [Some(format!("{}/{}", line.author, line.key)), line.text.clone()];
                for name in names.into_iter().flatten() {
                    if let Some(other) = seen.insert(name.clone(), line.offset) {
                        wrong.push(format!("{name} is in {room} twice, at {other} and {}", line.offset));
                    }
                }
            }
        }
    }
}
