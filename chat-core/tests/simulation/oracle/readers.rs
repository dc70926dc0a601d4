//! The laws of those who read: P3, P4, P5 and P7.

use std::collections::BTreeMap;

use chat_core::{Action, Bookmark, Offset, RoomId, Since};

use super::truth::Truth;
use crate::rule::may;
use crate::trace::{Event, Line};

pub(super) struct Readers {
    views: BTreeMap<(usize, RoomId), View>,
    first_visit_entries_max: Option<u64>,
}

/// What a client knows of a room since it came first or was told a loss.
struct View {
    /// What it stood behind then: offset and fingerprint.
    start: (u64, u64),
    given: Vec<Line>,
    /// How many of `given` the client has taken in.
    received: usize,
    is_joined: bool,
    /// It was told in the answer to a join that a loss will be told.
    is_owed: bool,
}

impl View {
    fn at(start: Bookmark) -> Self {
        let start = (start.offset().get(), start.fingerprint.number());
        Self { start, given: Vec::new(), received: 0, is_joined: true, is_owed: false }
    }

    /// What it stands behind.
    fn place(&self) -> (u64, u64) {
        self.given.last().map_or(self.start, Line::id)
    }
}

impl Readers {
    pub(super) fn new(first_visit_entries_max: Option<u64>) -> Self {
        Self { views: BTreeMap::new(), first_visit_entries_max }
    }

    pub(super) fn check(&mut self, truth: &Truth, event: &Event, wrong: &mut Vec<String>) {
        match event {
            Event::Joined { .. } => self.joined(truth, event, wrong),
            Event::Left { reader, room } => {
                if let Some(view) = self.views.get_mut(&(*reader, room.clone())) {
                    view.is_joined = false;
                    view.is_owed = false;
                }
            }
            Event::Cut { reader } => {
                for (_, view) in self.views.iter_mut().filter(|(who, _)| who.0 == *reader) {
                    view.given.truncate(view.received);
                    view.is_joined = false;
                    view.is_owed = false;
                }
            }
            Event::Saw { reader, room, lines, received } => {
                let Some(view) = self.joined_view(*reader, room, wrong) else { return };
                if view.is_owed {
                    wrong.push(format!("reader {reader} saw {room} before it was told of its loss"));
                }
                if lines.is_empty() {
                    wrong.push(format!("reader {reader} saw an empty run of {room}"));
                }
                for line in lines {
                    let expected = view.place().0 + 1;
                    if line.offset != expected {
                        wrong.push(format!(
                            "reader {reader} saw {} instead of {expected} in {room}",
                            line.offset
                        ));
                    }
                    truth.check_line(&format!("reader {reader}"), room, line, wrong);
                    view.given.push(line.clone());
                }
                if *received {
                    view.received = view.given.len();
                }
            }
            Event::ToldLost { reader, room, asked, start, received } => {
                let newest = self.first_visit_entries_max;
                let Some(view) = self.joined_view(*reader, room, wrong) else { return };
                let at = view.place();
                let log = truth.log(room);
                let is_real = log.is_some_and(|log| at.0 < log.trimmed || log.forgotten.contains_key(&at));
                if !is_real {
                    wrong.push(format!(
                        "reader {reader} was told a loss in {room} behind {at:?} that did not happen"
                    ));
                }
                goes_on(truth, *reader, room, *asked, *start, newest, wrong);
                view.is_owed = false;
                // A client that did not live to take it in comes back with its old position.
                if *received {
                    *view = View::at(*start);
                }
            }
            _ => {}
        }
    }

    fn joined(&mut self, truth: &Truth, event: &Event, wrong: &mut Vec<String>) {
        let Event::Joined { reader, name, room, since, asked, start, lost } = event else { return };
        let what = match since {
            Since::Bookmark(_) => Action::Resume,
            _ => Action::Join,
        };
        if !may(name, room, what) {
            wrong.push(format!("{name} was let into {room}"));
        }
        let claimed = match *since {
            Since::Bookmark(bookmark) => Some((bookmark.offset().get(), Some(bookmark.fingerprint.number()))),
            Since::Offset(offset) if offset != Offset::ZERO => Some((offset.get(), None)),
            _ => None,
        };
        let newest = match *since {
            Since::Now => Some(0),
            Since::Last(newest) => Some(newest),
            _ => self.first_visit_entries_max,
        };
        match claimed {
            None if *lost => wrong.push(format!("reader {reader} came first to {room} and was told a loss")),
            Some((offset, fingerprint)) if !lost => {
                let begins = (start.offset().get(), start.fingerprint.number());
                if begins != (offset, fingerprint.unwrap_or(begins.1)) {
                    wrong
                        .push(format!("reader {reader} wanted {room} since {since:?} and begins at {start}"));
                }
            }
            _ => goes_on(truth, *reader, room, *asked, *start, newest, wrong),
        }
        let view = self.views.entry((*reader, room.clone())).or_insert_with(|| View::at(*start));
        if claimed.is_none() {
            *view = View::at(*start);
        }
        view.is_joined = true;
        view.is_owed = *lost;
    }

    fn joined_view(&mut self, reader: usize, room: &RoomId, wrong: &mut Vec<String>) -> Option<&mut View> {
        let view = self.views.get_mut(&(reader, room.clone())).filter(|view| view.is_joined);
        if view.is_none() {
            wrong.push(format!("reader {reader} saw {room}, which it is not in"));
        }
        view
    }

    /// After the faults: everybody is where the log is, and has what the log has.
    pub(super) fn finish(&self, truth: &Truth, wrong: &mut Vec<String>) {
        for ((reader, room), view) in self.views.iter().filter(|(_, view)| view.is_joined) {
            let (head, at) = (truth.log(room).map_or(0, |log| log.head()), view.place());
            if at.0 != head {
                wrong.push(format!("reader {reader} is at {} of {head} in {room}", at.0));
            }
            if view.is_owed {
                wrong.push(format!("reader {reader} was never told of its loss in {room}"));
            }
            let stood = std::iter::once(view.start).filter(|start| start.0 != 0);
            for id in stood.chain(view.given.iter().map(Line::id)) {
                if !truth.log(room).is_some_and(|log| log.has(id)) {
                    wrong.push(format!("reader {reader} was not told that {id:?} of {room} is gone"));
                }
            }
        }
    }
}

/// It begins before the newest `newest` entries that are kept, or before all of them: neither earlier nor later.
fn goes_on(
    truth: &Truth,
    reader: usize,
    room: &RoomId,
    asked: usize,
    start: Bookmark,
    newest: Option<u64>,
    wrong: &mut Vec<String>,
) {
    let began = truth.log(room).map_or(0..=0, |log| log.began(asked, newest));
    let start = start.offset().get();
    if !began.contains(&start) {
        wrong.push(format!("reader {reader} begins after {start} in {room}, and not within {began:?}"));
    }
}
