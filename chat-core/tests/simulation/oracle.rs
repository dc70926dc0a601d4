//! The laws, each a statement about a trace. Knows nothing of the engine.

use std::collections::{BTreeMap, BTreeSet};

use chat_core::RoomId;

use crate::trace::{Event, Line, Trace};

/// Everything that is wrong with a trace; empty if the promises were kept.
pub(crate) fn violations(trace: &Trace) -> Vec<String> {
    let logs = Logs::of(trace);
    let mut wrong = Vec::new();
    acknowledged_posts_are_in_the_log(trace, &logs, &mut wrong);
    every_draft_is_there_at_most_once(&logs, &mut wrong);
    the_log_is_contiguous(&logs, &mut wrong);
    nobody_saw_what_was_refused(trace, &logs, &mut wrong);
    nobody_was_let_in_who_may_not(trace, &mut wrong);
    readers_saw_a_contiguous_true_run(trace, &logs, &mut wrong);
    wrong
}

/// What the store had, taken from the store itself.
#[derive(Default)]
struct Logs {
    /// At the end, the trimmed part included.
    last: BTreeMap<RoomId, BTreeMap<u64, Line>>,
    /// Everything that ever was.
    ever: BTreeMap<RoomId, BTreeSet<Line>>,
    rolled_back: BTreeMap<RoomId, BTreeSet<Line>>,
    doubles: Vec<String>,
}

impl Logs {
    fn of(trace: &Trace) -> Self {
        let mut logs = Self::default();
        for event in &trace.events {
            let (room, lines, is_kept) = match event {
                Event::Trimmed { room, lines } => (room, lines, true),
                Event::RolledBack { room, lines } => (room, lines, false),
                Event::End { room, lines } => (room, lines, true),
                _ => continue,
            };
            logs.ever.entry(room.clone()).or_default().extend(lines.iter().cloned());
            for line in lines {
                if !is_kept {
                    logs.rolled_back.entry(room.clone()).or_default().insert(line.clone());
                } else if let Some(other) =
                    logs.last.entry(room.clone()).or_default().insert(line.offset, line.clone())
                {
                    logs.doubles.push(format!("{room} had {other:?} and {line:?} at one offset"));
                }
            }
        }
        logs
    }

    fn at(&self, room: &RoomId, offset: u64) -> Option<&Line> {
        self.last.get(room)?.get(&offset)
    }
}

/// P1, P2: unless the store itself forgot it, which is on record.
fn acknowledged_posts_are_in_the_log(trace: &Trace, logs: &Logs, wrong: &mut Vec<String>) {
    for event in &trace.events {
        let Event::Acked { room, author, key, bookmark, .. } = event else { continue };
        let is_it = |line: &Line| {
            &line.author == author
                && &line.key == key
                && line.offset == bookmark.offset().get()
                && line.fingerprint == bookmark.fingerprint.number()
        };
        if !logs.ever.get(room).is_some_and(|lines| lines.iter().any(is_it)) {
            wrong.push(format!("acknowledged but not stored there: {author}/{key} in {room} at {bookmark}"));
        }
        let is_there = logs.at(room, bookmark.offset().get()).is_some_and(is_it);
        let was_forgotten = logs.rolled_back.get(room).is_some_and(|lines| lines.iter().any(is_it));
        if !is_there && !was_forgotten {
            wrong.push(format!("acknowledged and lost: {author}/{key} in {room} at {bookmark}"));
        }
    }
}

/// P2: one row per room, author and key, answered or not.
fn every_draft_is_there_at_most_once(logs: &Logs, wrong: &mut Vec<String>) {
    for (room, lines) in &logs.last {
        let mut seen = BTreeMap::new();
        for line in lines.values() {
            // Retries that an engine disguises under other keys have the same text.
            for name in [format!("{}/{}", line.author, line.key), line.text.clone()] {
                if let Some(other) = seen.insert(name.clone(), line.offset) {
                    wrong.push(format!("{name} is stored twice in {room}, at {other} and {}", line.offset));
                }
            }
        }
    }
}

/// P3.
fn the_log_is_contiguous(logs: &Logs, wrong: &mut Vec<String>) {
    wrong.extend(logs.doubles.iter().cloned());
    for (room, lines) in &logs.last {
        if !lines.keys().copied().eq(1..=lines.len() as u64) {
            wrong.push(format!("{room} has a hole"));
        }
    }
}

/// P2, P7.
fn nobody_saw_what_was_refused(trace: &Trace, logs: &Logs, wrong: &mut Vec<String>) {
    let refused: BTreeSet<(&RoomId, &String)> = trace
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Refused { room, text, .. } => Some((room, text)),
            _ => None,
        })
        .collect();
    for event in &trace.events {
        let Event::Saw { reader, room, lines, .. } = event else { continue };
        // A text may be refused after the store has forgotten that it had it.
        let was_there = |line: &Line| logs.rolled_back.get(room).is_some_and(|gone| gone.contains(line));
        for line in lines.iter().filter(|line| refused.contains(&(room, &line.text)) && !was_there(line)) {
            wrong.push(format!("reader {reader} saw in {room} what was refused: {line:?}"));
        }
    }
}

/// P7.
fn nobody_was_let_in_who_may_not(trace: &Trace, wrong: &mut Vec<String>) {
    for event in &trace.events {
        if let Event::Joined { reader, room, is_allowed: false, .. } = event {
            wrong.push(format!("reader {reader} was let into {room}"));
        }
    }
}

/// What a reader was given since it last was told a loss (or came first), and what its client has of it.
struct View {
    given: Vec<Line>,
    start: u64,
    /// How many of `given` the client has taken in.
    received: usize,
}

/// P3, P4, P5: contiguous, true, without repeat, told exactly what was lost, and up to the head in the end.
fn readers_saw_a_contiguous_true_run(trace: &Trace, logs: &Logs, wrong: &mut Vec<String>) {
    let mut views: BTreeMap<(usize, RoomId), View> = BTreeMap::new();
    // What is gone so far, at this point of the trace.
    let mut trimmed: BTreeMap<RoomId, u64> = BTreeMap::new();
    let mut forgotten: BTreeMap<RoomId, BTreeSet<Line>> = BTreeMap::new();
    for event in &trace.events {
        match event {
            Event::Trimmed { room, lines } => {
                let upto = lines.last().map_or(0, |line| line.offset);
                let trimmed = trimmed.entry(room.clone()).or_default();
                *trimmed = upto.max(*trimmed);
            }
            Event::RolledBack { room, lines } => {
                forgotten.entry(room.clone()).or_default().extend(lines.iter().cloned())
            }
            Event::Joined { reader, room, resumed, start, .. } => {
                let start = start.offset().get();
                let view = views.entry((*reader, room.clone())).or_insert_with(|| View {
                    given: Vec::new(),
                    start,
                    received: 0,
                });
                if !*resumed {
                    *view = View { given: Vec::new(), start, received: 0 };
                }
            }
            Event::Cut { reader } => {
                for ((other, _), view) in &mut views {
                    if other == reader {
                        view.given.truncate(view.received);
                    }
                }
            }
            Event::Saw { reader, room, lines, received } => {
                let Some(view) = views.get_mut(&(*reader, room.clone())) else {
                    wrong.push(format!("reader {reader} saw {room}, which it is not in"));
                    continue;
                };
                for line in lines {
                    let expected = view.given.last().map_or(view.start, |last| last.offset) + 1;
                    if line.offset != expected {
                        wrong.push(format!(
                            "reader {reader} saw {} instead of {expected} in {room}",
                            line.offset
                        ));
                    }
                    if !logs.ever.get(room).is_some_and(|ever| ever.contains(line)) {
                        wrong.push(format!("reader {reader} saw in {room} what never was: {line:?}"));
                    }
                    view.given.push(line.clone());
                }
                if *received {
                    view.received = view.given.len();
                }
            }
            Event::ToldLost { reader, room, start, received } => {
                let Some(view) = views.get_mut(&(*reader, room.clone())) else { continue };
                let at = view.given.last().map_or(view.start, |last| last.offset);
                let is_trimmed = at < trimmed.get(room).copied().unwrap_or_default();
                let gone = forgotten.get(room);
                let is_forgotten = gone.is_some_and(|gone| view.given.iter().any(|line| gone.contains(line)))
                    // What it began behind is gone, though it never saw it.
                    || gone.is_some_and(|gone| gone.iter().any(|line| line.offset <= view.start));
                if !is_trimmed && !is_forgotten {
                    wrong.push(format!(
                        "reader {reader} was told a loss in {room} behind {at} that did not happen"
                    ));
                }
                // A client that did not live to take it in comes back with its old position.
                if *received {
                    *view = View { given: Vec::new(), start: start.offset().get(), received: 0 };
                }
            }
            _ => {}
        }
    }
    for ((reader, room), view) in &views {
        let head = logs.last.get(room).map_or(0, |lines| lines.len() as u64);
        let at = view.given.last().map_or(view.start, |last| last.offset);
        if at != head {
            wrong.push(format!("reader {reader} is at {at} of {head} in {room}"));
        }
        for line in &view.given {
            if logs.at(room, line.offset) != Some(line) {
                wrong.push(format!("reader {reader} was not told that {line:?} of {room} is gone"));
            }
        }
    }
}
