//! What is written down of sessions, and how it is read back. Pure.
//!
//! Records only tell changes, and may be read more than once, or after a state that they have led to already: the end is the same.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use chat_core::Body;
use serde::{Deserialize, Serialize};

use super::pid::Lineage;
use crate::socket::frame::Frame;
use crate::socket::id::SocketId;

/// There is always a next number.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// A change of a session.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Begin {
        sid: SocketId,
        namespace: Arc<str>,
        lineage: Lineage,
    },
    Event {
        sid: SocketId,
        number: u64,
        frame: Frame,
    },
    Join {
        sid: SocketId,
        room: Arc<str>,
    },
    Leave {
        sid: SocketId,
        room: Arc<str>,
    },
    Data {
        sid: SocketId,
        data: Arc<str>,
    },
    End {
        sid: SocketId,
    },
    /// All there is of a session.
    State {
        sid: SocketId,
        kept: Kept,
    },
}

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) namespace: Arc<str>,
    pub(crate) lineage: Lineage,
    /// The number of the last event, also if it is not kept any more.
    pub(crate) last: u64,
    pub(crate) events: VecDeque<Frame>,
    pub(crate) rooms: BTreeSet<Arc<str>>,
    pub(crate) data: Option<Arc<str>>,
}

impl Record {
    /// About what it takes beside its frames, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        const FIXED: usize = 64;
        const RECIPIENT: usize = 40;
        match self {
            Self::Event { .. } => RECIPIENT,
            Self::Begin { .. } | Self::End { .. } => FIXED,
            Self::Join { room, .. } | Self::Leave { room, .. } => FIXED + room.len(),
            Self::Data { data, .. } => FIXED + data.len(),
            Self::State { kept, .. } => {
                const PLACE: usize = 8;
                let rooms: usize = kept.rooms.iter().map(|room| PLACE + room.len()).sum();
                let data = kept.data.as_ref().map_or(0, |data| data.len());
                2 * FIXED + kept.events.len() * PLACE + rooms + data
            }
        }
    }

    /// Its frames, which it may share with other records.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &Frame> {
        let (one, many) = match self {
            Self::Event { frame, .. } => (Some(frame), None),
            Self::State { kept, .. } => (None, Some(&kept.events)),
            _ => (None, None),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Records that are to become one entry, and about how many bytes that has.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    records: Vec<Record>,
    /// Where the frames are. The records keep them there.
    frames: HashSet<(usize, usize)>,
    bytes: usize,
}

impl Batch {
    pub(crate) fn push(&mut self, record: Record) {
        self.bytes += record.bytes();
        for frame in record.frames() {
            if self.frames.insert(frame.place()) {
                self.bytes += frame.len();
            }
        }
        self.records.push(record);
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A record as it is stored: bytes are beside it, each once, however many sessions they are for.
#[derive(Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
enum Line<'a> {
    Begin {
        sid: SocketId,
        ns: Cow<'a, str>,
        lineage: Lineage,
    },
    /// Attachment `at` is an event of these sessions, each with its number.
    Event {
        at: usize,
        to: Vec<(SocketId, u64)>,
    },
    Join {
        sid: SocketId,
        room: Cow<'a, str>,
    },
    Leave {
        sid: SocketId,
        room: Cow<'a, str>,
    },
    Data {
        sid: SocketId,
        data: Cow<'a, str>,
    },
    End {
        sid: SocketId,
    },
    State {
        sid: SocketId,
        ns: Cow<'a, str>,
        lineage: Lineage,
        last: u64,
        events: Vec<usize>,
        rooms: Vec<Cow<'a, str>>,
        data: Option<Cow<'a, str>>,
    },
}

/// Several records as one entry of a log.
pub(crate) fn write(records: &[Record]) -> Body {
    let mut frames: Vec<Bytes> = Vec::new();
    // A broadcast is the same buffer for all.
    let mut places: HashMap<(usize, usize), usize> = HashMap::new();
    let mut place_of = |frame: &Frame| {
        *places.entry(frame.place()).or_insert_with(|| {
            frames.push(frame.clone().into_bytes());
            frames.len() - 1
        })
    };
    let mut lines: Vec<Line<'_>> = Vec::new();
    for record in records {
        let line = match record {
            Record::Begin { sid, namespace, lineage } => {
                Line::Begin { sid: *sid, ns: Cow::Borrowed(namespace), lineage: *lineage }
            }
            Record::Event { sid, number, frame } => {
                let at = place_of(frame);
                match lines.last_mut() {
                    Some(Line::Event { at: before, to }) if *before == at => {
                        to.push((*sid, *number));
                        continue;
                    }
                    _ => Line::Event { at, to: vec![(*sid, *number)] },
                }
            }
            Record::Join { sid, room } => Line::Join { sid: *sid, room: Cow::Borrowed(room) },
            Record::Leave { sid, room } => Line::Leave { sid: *sid, room: Cow::Borrowed(room) },
            Record::Data { sid, data } => Line::Data { sid: *sid, data: Cow::Borrowed(data) },
            Record::End { sid } => Line::End { sid: *sid },
            Record::State { sid, kept } => Line::State {
                sid: *sid,
                ns: Cow::Borrowed(&kept.namespace),
                lineage: kept.lineage,
                last: kept.last,
                events: kept.events.iter().map(&mut place_of).collect(),
                rooms: kept.rooms.iter().map(|room| Cow::Borrowed(&**room)).collect(),
                data: kept.data.as_deref().map(Cow::Borrowed),
            },
        };
        lines.push(line);
    }
    let text = serde_json::to_string(&lines).expect("texts and numbers have a JSON form");
    Body { text: text.into(), attachments: frames.into() }
}

/// The sessions that a log tells of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    known: BTreeMap<SocketId, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    kept: Kept,
    /// What its events have, in bytes.
    bytes: usize,
}

/// An entry that no version of this program has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is written down of sessions cannot be read")]
pub(crate) struct Unreadable;

impl Sessions {
    /// Takes the next entry in.
    pub(crate) fn read(&mut self, body: &Body, bytes_max: usize) -> Result<(), Unreadable> {
        let lines: Vec<Line<'_>> = serde_json::from_str(&body.text).map_err(|_| Unreadable)?;
        let frame = |at: usize| {
            let bytes = body.attachments.get(at).ok_or(Unreadable)?;
            Frame::from_bytes(bytes.clone()).ok_or(Unreadable)
        };
        for line in lines {
            match line {
                Line::Begin { sid, ns, lineage } => {
                    self.known.entry(sid).or_insert_with(|| Kept::new(ns.into(), lineage).into());
                }
                Line::Event { at, to } => {
                    let frame = frame(at)?;
                    for (sid, number) in to {
                        if NUMBER_MAX < number {
                            return Err(Unreadable);
                        }
                        if let Some(known) = self.known.get_mut(&sid) {
                            known.push(number, &frame, bytes_max);
                        }
                    }
                }
                Line::Join { sid, room } => {
                    if let Some(known) = self.known.get_mut(&sid) {
                        known.kept.rooms.insert(room.into());
                    }
                }
                Line::Leave { sid, room } => {
                    if let Some(known) = self.known.get_mut(&sid) {
                        known.kept.rooms.remove(&*room);
                    }
                }
                Line::Data { sid, data } => {
                    if let Some(known) = self.known.get_mut(&sid) {
                        known.kept.data = Some(data.into());
                    }
                }
                Line::End { sid } => {
                    self.known.remove(&sid);
                }
                Line::State { sid, ns, lineage, last, events, rooms, data } => {
                    let events = events.into_iter().map(frame).collect::<Result<VecDeque<_>, _>>()?;
                    // Each event has a number of its own, the first one 1.
                    if last < events.len() as u64 || NUMBER_MAX < last {
                        return Err(Unreadable);
                    }
                    let rooms = rooms.into_iter().map(Arc::from).collect();
                    let data = data.map(Arc::from);
                    let kept = Kept { namespace: ns.into(), lineage, last, events, rooms, data };
                    self.known.insert(sid, kept.into());
                }
            }
        }
        Ok(())
    }

    pub(crate) fn into_kept(self) -> BTreeMap<SocketId, Kept> {
        self.known.into_iter().map(|(sid, known)| (sid, known.kept)).collect()
    }
}

impl Kept {
    fn new(namespace: Arc<str>, lineage: Lineage) -> Self {
        Self { namespace, lineage, last: 0, events: VecDeque::new(), rooms: BTreeSet::new(), data: None }
    }
}

impl From<Kept> for Known {
    fn from(kept: Kept) -> Self {
        let bytes = kept.events.iter().map(Frame::len).sum();
        Self { kept, bytes }
    }
}

impl Known {
    fn push(&mut self, number: u64, frame: &Frame, bytes_max: usize) {
        let kept = &mut self.kept;
        if number <= kept.last {
            return;
        }
        if number != kept.last + 1 {
            // What lies between was not written down, so nothing before it can be used.
            kept.events.clear();
            self.bytes = 0;
        }
        kept.last = number;
        kept.events.push_back(frame.clone());
        self.bytes += frame.len();
        while bytes_max < self.bytes
            && let Some(oldest) = kept.events.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Args;

    fn sid(number: u8) -> SocketId {
        SocketId::from_bytes([number; 16])
    }

    fn frame(text: &str) -> Frame {
        Frame::event("/", "e", &Args::one(text).unwrap().binary(&b"bytes"[..]))
    }

    fn begin(number: u8) -> Record {
        Record::Begin { sid: sid(number), namespace: "/".into(), lineage: Lineage([number; 16]) }
    }

    fn read(bodies: &[Body]) -> BTreeMap<SocketId, Kept> {
        let mut sessions = Sessions::default();
        bodies.iter().for_each(|body| sessions.read(body, 1_000).unwrap());
        sessions.into_kept()
    }

    fn story() -> Vec<Record> {
        let shared = frame("shared");
        vec![
            begin(1),
            begin(2),
            begin(3),
            Record::Join { sid: sid(1), room: "tea".into() },
            Record::Join { sid: sid(1), room: "out".into() },
            Record::Event { sid: sid(1), number: 1, frame: shared.clone() },
            Record::Event { sid: sid(2), number: 1, frame: shared },
            Record::Leave { sid: sid(1), room: "out".into() },
            Record::Data { sid: sid(1), data: "[7]".into() },
            Record::Event { sid: sid(1), number: 2, frame: frame("own") },
            Record::End { sid: sid(3) },
        ]
    }

    #[test]
    fn what_is_read_is_what_was_written_however_it_was_cut_into_entries() {
        let whole = read(&[write(&story())]);
        assert_eq!(whole.len(), 2);
        let one = &whole[&sid(1)];
        assert_eq!((one.last, one.rooms.iter().map(|room| &**room).collect::<Vec<_>>()), (2, vec!["tea"]));
        assert_eq!(one.events, [frame("shared"), frame("own")]);
        assert_eq!(one.data.as_deref(), Some("[7]"));
        for cut in 0..story().len() {
            let (story, cut_at) = (story(), cut);
            let (first, second) = story.split_at(cut_at);
            assert_eq!(read(&[write(first), write(second)]), whole, "cut at {cut}");
        }
    }

    /// A state is written down while changes that it has already are still on their way.
    #[test]
    fn changes_that_a_state_has_already_change_nothing() {
        let whole = read(&[write(&story())]);
        let states: Vec<_> =
            whole.iter().map(|(sid, kept)| Record::State { sid: *sid, kept: kept.clone() }).collect();
        for from in 0..story().len() {
            assert_eq!(read(&[write(&states), write(&story()[from..])]), whole, "again from {from}");
        }
    }

    #[test]
    fn a_broadcast_is_stored_once() {
        let shared = frame(&"x".repeat(10_000));
        let records: Vec<_> = (1..100)
            .map(|number| Record::Event { sid: sid(number), number: 1, frame: shared.clone() })
            .collect();
        assert_eq!(write(&records).attachments.len(), 1);
        assert!(write(&records).bytes() < 15_000);
    }

    #[test]
    fn broadcasts_are_stored_once_however_their_recipients_are_mixed() {
        let shared: Vec<_> = ["a", "b", "c"].iter().map(|text| frame(&text.repeat(10_000))).collect();
        let states = (1..20).map(|number| {
            let mut kept = Kept::new("/".into(), Lineage([number; 16]));
            (kept.last, kept.events) = (3, shared.iter().cloned().collect());
            Record::State { sid: sid(number), kept }
        });
        let events = (1..20).flat_map(|number| {
            shared.iter().map(move |frame| Record::Event {
                sid: sid(number),
                number: 1,
                frame: frame.clone(),
            })
        });
        for records in [states.collect::<Vec<_>>(), events.collect()] {
            let mut batch = Batch::default();
            records.into_iter().for_each(|record| batch.push(record));
            let body = write(batch.records());
            assert_eq!(body.attachments.len(), 3);
            assert!(batch.bytes().abs_diff(body.bytes()) < 10_000, "{} for {}", batch.bytes(), body.bytes());
        }
    }

    #[test]
    fn what_a_session_has_beside_its_events_counts() {
        let mut kept = Kept::new("/".into(), Lineage([1; 16]));
        kept.data = Some("7".repeat(10_000).into());
        kept.rooms = (0..100).map(|number| format!("{number:0100}").into()).collect();
        let state = Record::State { sid: sid(1), kept };
        let (counted, taken) = (state.bytes(), write(&[state]).bytes());
        assert!(counted.abs_diff(taken) < 1_000, "{counted} for {taken}");
    }

    #[test]
    fn events_with_a_hole_before_them_cannot_be_used() {
        let records = [
            begin(1),
            Record::Event { sid: sid(1), number: 1, frame: frame("a") },
            Record::Event { sid: sid(1), number: 3, frame: frame("c") },
        ];
        let kept = &read(&[write(&records)])[&sid(1)];
        assert_eq!((kept.last, kept.events.len()), (3, 1));
    }

    /// Also behind a state and behind a hole, and in a time that does not grow with the square of how many there are.
    #[test]
    fn of_many_events_the_newest_that_fit_are_kept() {
        let event = frame("x");
        let records = |numbers: std::ops::RangeInclusive<u64>| -> Vec<_> {
            let event = |number| Record::Event { sid: sid(1), number, frame: event.clone() };
            numbers.map(event).collect()
        };
        let mut sessions = Sessions::default();
        let mut read = |records: &[Record], fit: usize| {
            sessions.read(&write(records), fit * event.len()).unwrap();
            let kept = &sessions.clone().into_kept()[&sid(1)];
            (kept.last, kept.events.len(), Record::State { sid: sid(1), kept: kept.clone() })
        };
        read(&[begin(1)], 10);
        let began = std::time::Instant::now();
        let (last, count, state) = read(&records(1..=60_000), 45_000);
        assert_eq!((last, count), (60_000, 45_000));
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
        read(&[state], 10);
        let (last, count, _) = read(&records(60_001..=60_001), 10);
        assert_eq!((last, count), (60_001, 10));
        let (last, count, _) = read(&records(60_010..=60_015), 10);
        assert_eq!((last, count), (60_015, 6));
        let (last, count, _) = read(&records(60_016..=60_020), 10);
        assert_eq!((last, count), (60_020, 10));
    }

    #[test]
    fn events_that_cannot_have_their_numbers_are_refused() {
        let id = sid(1).to_string();
        let lineage = [1; 16];
        for (last, events) in [(0, vec![0]), (1, vec![0, 0]), (u64::MAX, vec![0])] {
            let state = serde_json::json!([{"t": "state", "sid": id, "ns": "/", "lineage": lineage, "last": last, "events": events, "rooms": [], "data": null}]);
            let body = Body { text: state.to_string().into(), attachments: [frame("e").into_bytes()].into() };
            assert_eq!(Sessions::default().read(&body, 1_000), Err(Unreadable), "{last} {events:?}");
        }
        let begun = serde_json::json!([{"t": "begin", "sid": id, "ns": "/", "lineage": lineage}, {"t": "event", "at": 0, "to": [[id, u64::MAX]]}]);
        let body = Body { text: begun.to_string().into(), attachments: [frame("e").into_bytes()].into() };
        assert_eq!(Sessions::default().read(&body, 1_000), Err(Unreadable));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for text in ["", "{}", "[1]", r#"[{"t":"event","at":0,"to":[]}]"#, r#"[{"t":"begin","sid":"x"}]"#] {
            assert_eq!(Sessions::default().read(&Body::text(text), 1), Err(Unreadable), "{text}");
        }
    }
}
