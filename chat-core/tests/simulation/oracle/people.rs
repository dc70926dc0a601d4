//! The laws of people: what they were told is theirs stays so until somebody wants it otherwise, handles keep their meaning, read marks never
//! move back, and nobody is written to without being told.

use std::collections::{BTreeMap, BTreeSet};

use chat_core::RoomId;

use super::truth::Truth;
use crate::trace::Event;

#[derive(Default)]
pub(super) struct People {
    rooms: BTreeMap<(String, RoomId), Membership>,
    /// What each handle names.
    handles: BTreeMap<(String, u64), RoomId>,
    /// How far somebody was told that it has read, and when; of rooms of which nothing was forgotten, since what was read there is gone.
    marks: BTreeMap<(String, RoomId), Vec<(usize, u64)>>,
    forgotten: BTreeSet<RoomId>,
}

/// What is known of one room of one person.
#[derive(Default)]
struct Membership {
    /// Wishes that were not answered: they may take effect at any time.
    remembers_open: u64,
    forgets_open: u64,
    /// When the last of those that were answered ended.
    remember_ended: usize,
    forget_ended: usize,
    /// Since when it surely is theirs, or surely not; for those that ask later.
    is_sure: Option<(usize, Option<u64>)>,
}

impl People {
    pub(super) fn check(&mut self, truth: &Truth, now: usize, event: &Event, wrong: &mut Vec<String>) {
        match event {
            Event::RememberAsked { person, room } => {
                let known = self.membership(person, room);
                known.remembers_open += 1;
                known.is_sure = known.is_sure.filter(|(_, handle)| handle.is_some());
            }
            Event::ForgetAsked { person, room } => {
                let known = self.membership(person, room);
                known.forgets_open += 1;
                known.is_sure = known.is_sure.filter(|(_, handle)| handle.is_none());
            }
            Event::Remembered { person, room, asked, handle } => {
                self.named(person, room, *handle, wrong);
                let known = self.membership(person, room);
                known.remembers_open -= 1;
                known.remember_ended = now;
                if let Some((since, Some(before))) = known.is_sure
                    && since < *asked
                    && before != *handle
                {
                    wrong.push(format!("{person} had {room} as {before}, and then as {handle}"));
                }
                if known.forgets_open == 0 && known.forget_ended < *asked {
                    known.is_sure = Some((now, Some(*handle)));
                }
            }
            Event::Forgot { person, room, asked } => {
                let known = self.membership(person, room);
                known.forgets_open -= 1;
                known.forget_ended = now;
                if known.remembers_open == 0 && known.remember_ended < *asked {
                    known.is_sure = Some((now, None));
                }
            }
            Event::Listed { person, asked, rooms } => {
                for (room, handle) in rooms {
                    self.named(person, room, *handle, wrong);
                }
                let of_person = self.rooms.iter().filter(|((who, _), _)| who == person);
                for ((_, room), known) in of_person {
                    let Some((_, expected)) = known.is_sure.filter(|(since, _)| since < asked) else {
                        continue;
                    };
                    let found = rooms.iter().find(|(other, _)| other == room).map(|(_, handle)| *handle);
                    if found != expected {
                        wrong.push(format!("{person} has {room} as {found:?} instead of {expected:?}"));
                    }
                }
            }
            Event::MarkedRead { person, room, asked, reached } => {
                if room.is_direct() && 0 < *reached {
                    wrong.push(format!("{person} has read {room}, a private one of others"));
                }
                if truth.log(room).is_none_or(|log| log.head_ever() < *reached) && 0 < *reached {
                    wrong.push(format!("{person} has read {room} up to {reached}, which never was"));
                }
                if self.forgotten.contains(room) {
                    return;
                }
                let marks = self.marks.entry((person.clone(), room.clone())).or_default();
                let before = marks.iter().filter(|(when, _)| when < asked).map(|(_, reached)| *reached).max();
                if Some(*reached) < before {
                    wrong
                        .push(format!("{person} had read {room} up to {before:?}, and then up to {reached}"));
                }
                marks.push((now, *reached));
            }
            Event::RolledBack { room, .. } => drop(self.forgotten.insert(room.clone())),
            Event::Stuck { person, room } => {
                wrong.push(format!("{person} cannot have {room} though all is well"))
            }
            Event::Untold { room } => wrong.push(format!("{room} has entries, and not both were told of it")),
            _ => {}
        }
    }

    fn membership(&mut self, person: &str, room: &RoomId) -> &mut Membership {
        self.rooms.entry((person.to_owned(), room.clone())).or_default()
    }

    /// A handle names one room, for ever.
    fn named(&mut self, person: &str, room: &RoomId, handle: u64, wrong: &mut Vec<String>) {
        let named = self.handles.entry((person.to_owned(), handle)).or_insert_with(|| room.clone());
        if named != room {
            wrong.push(format!("handle {handle} of {person} names {named}, and then {room}"));
        }
    }
}
