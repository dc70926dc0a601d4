//! Where one connection is in each of its rooms, as its `pid` and its tokens say it. Pure.
//!
//! The `pid` has the rooms that the connection began with, by name; a token only says how far each has moved since. Those that were joined later
//! it names by their [handles](chat_core::OwnRoom::handle), which follow one another as a rule. So a token is short: about 8 bytes for the first rooms that have moved, and 3 each when there are many.

use chat_core::{Bookmark, Epoch, Fingerprint, Offset, Position, RoomId, Since, UserId};
use smallvec::SmallVec;

use super::conversation::Protocol;
use crate::varint::{put, take, take_bytes};

/// When more rooms have moved than this, their fingerprints are abridged in tokens, and all of them are checked together.
const FULL_FINGERPRINTS_MAX: usize = 8;

/// Where a client is in its rooms, as its token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) rooms: Vec<(RoomId, Since)>,
    /// The rooms that were joined later, by their handles.
    pub(super) handled: Vec<(Offset, Since)>,
    /// The fingerprints of the places that are [abridged](Since::Abridged), each bit added up without carry: what abridging leaves unsaid of each is
    /// said of all of them together.
    pub(super) sum: Option<Fingerprint>,
    /// How many facts about its user it has seen since it began: see [`Base::facts`].
    pub(super) facts: u64,
}

/// How far the client is in one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    offset: Offset,
    fingerprint: Fingerprint,
}

impl Mark {
    pub(super) fn at(bookmark: Bookmark) -> Self {
        Self { offset: bookmark.offset(), fingerprint: bookmark.fingerprint }
    }

    /// At a place that the client has come to by a loss of which it was not told yet: whoever resumes there must be told. No entry has this fingerprint.
    pub(super) fn untold(bookmark: Bookmark) -> Self {
        let fingerprint = Fingerprint::from_number(!bookmark.fingerprint.number());
        Self { offset: bookmark.offset(), fingerprint }
    }

    /// As a claim.
    pub(super) fn since(self) -> Since {
        // Only the fingerprint tells histories apart.
        let position = Position { epoch: Epoch::UNWRITTEN, offset: self.offset };
        Since::Bookmark(Bookmark { position, fingerprint: self.fingerprint })
    }
}

/// What a `pid` says of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) author: UserId,
    /// How far moderation was when the session began: one that was ended since is over.
    pub(super) mark: u64,
    pub(super) protocol: Protocol,
    /// The last fact about its user that it had seen: private rooms that came later are news.
    pub(super) facts: Offset,
    pub(super) rooms: Vec<(RoomId, Mark)>,
}

impl Base {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = vec![2 + u8::from(self.protocol == Protocol::Full)];
        put(&mut out, self.mark);
        put_text(&mut out, self.author.as_str());
        put(&mut out, self.facts.get());
        put(&mut out, self.rooms.len() as u64);
        self.rooms.iter().for_each(|(room, mark)| put_named(&mut out, room, *mark));
        out
    }

    /// It was signed, so what cannot be read is of another version.
    pub(super) fn read(mut bytes: &[u8]) -> Option<Self> {
        let protocol = match take_bytes(&mut bytes)? {
            [2] => Protocol::Tutorial,
            [3] => Protocol::Full,
            // 0 and 1 had no mark.
            _ => return None,
        };
        let mark = take(&mut bytes)?;
        let author = UserId::new(take_text(&mut bytes)?).ok()?;
        let facts = Offset::new(take(&mut bytes)?)?;
        let count = take(&mut bytes)?;
        let rooms = (0..count).map(|_| take_named(&mut bytes)).collect::<Option<_>>()?;
        bytes.is_empty().then_some(Self { author, mark, protocol, facts, rooms })
    }
}

/// The rooms of one connection.
#[derive(Debug)]
pub(super) struct Places {
    /// Those of the pid, and where the client is in them now; none in one that it has left.
    base: SmallVec<[(RoomId, Mark, Option<Mark>); 1]>,
    /// Those that were joined later: first those without a handle, then in the order of their handles.
    later: Vec<Later>,
    /// The last fact about its user that the base says was seen, and how many more were since.
    facts: (Offset, u64),
}

#[derive(Debug)]
struct Later {
    /// Names the room among those of the user; none if it is not theirs.
    handle: Option<Offset>,
    room: RoomId,
    mark: Mark,
}

impl Places {
    /// Nowhere yet, after a connection that began with `base`.
    pub(super) fn new(base: &[(RoomId, Mark)]) -> Self {
        let base = base.iter().map(|(room, mark)| (room.clone(), *mark, None)).collect();
        Self { base, later: Vec::new(), facts: (Offset::ZERO, 0) }
    }

    /// The base says that the facts up to there were seen.
    pub(super) fn begin_facts(&mut self, base: Offset) {
        self.facts = (base, 0);
    }

    /// The facts about its user up to there were seen, and what follows from them is in here.
    pub(super) fn see_facts(&mut self, upto: Offset) {
        self.facts.1 = self.facts.1.max(upto.get().saturating_sub(self.facts.0.get()));
    }

    /// The last fact about its user that was seen.
    pub(super) fn facts(&self) -> Offset {
        self.facts.0.plus(self.facts.1)
    }

    /// The client has come further in `room`, which it is in. Quick for those that are in one room only: there is nothing to look up.
    pub(super) fn advance(&mut self, room: &RoomId, mark: Mark) {
        match (&mut self.base[..], &self.later[..]) {
            ([(_, _, now @ Some(_))], []) => *now = Some(mark),
            _ => self.set(room, mark),
        }
    }

    /// The client is there in `room` now.
    pub(super) fn set(&mut self, room: &RoomId, mark: Mark) {
        if let Some((_, _, now)) = self.base.iter_mut().find(|(name, ..)| name == room) {
            *now = Some(mark);
        } else if let Some(later) = self.later.iter_mut().find(|later| later.room == *room) {
            later.mark = mark;
        } else {
            self.later.insert(0, Later { handle: None, room: room.clone(), mark });
        }
    }

    /// The room is one of the user's own, by that handle.
    pub(super) fn name(&mut self, room: &RoomId, handle: Offset) {
        if let Some(later) = self.later.iter_mut().find(|later| later.room == *room) {
            later.handle = Some(handle);
            self.later.sort_by_key(|later| later.handle);
        }
    }

    /// The client has left `room`.
    pub(super) fn remove(&mut self, room: &RoomId) {
        if let Some((_, _, now)) = self.base.iter_mut().find(|(name, ..)| name == room) {
            *now = None;
        }
        self.later.retain(|later| later.room != *room);
    }

    /// Appends what a token says.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let has_moved = |(_, base, now): &&(RoomId, Mark, Option<Mark>)| now.is_some_and(|now| now != *base);
        let named = self.later.iter().take_while(|later| later.handle.is_none()).count();
        let (named, handled) = self.later.split_at(named);
        let is_full = self.base.len() + handled.len() <= FULL_FINGERPRINTS_MAX
            || self.base.iter().filter(has_moved).count() + handled.len() <= FULL_FINGERPRINTS_MAX;
        let has_seen_more = 0 < self.facts.1;
        let flags = u64::from(!handled.is_empty()) << 2 | u64::from(has_seen_more) << 1 | u64::from(is_full);
        put(out, (named.len() as u64) << 3 | flags);
        if has_seen_more {
            put(out, self.facts.1);
        }
        if !is_full {
            let moved = self.base.iter().filter(has_moved).filter_map(|(_, _, now)| *now);
            let marks = moved.chain(handled.iter().map(|later| later.mark));
            put_fingerprint(out, sum(marks.map(|mark| mark.fingerprint)));
        }
        let put_print = |out: &mut Vec<u8>, fingerprint: Fingerprint| match is_full {
            true => put_fingerprint(out, fingerprint),
            false => out.push(fingerprint.abridged()),
        };
        for (_, base, now) in &self.base {
            match now {
                None => put(out, LEFT),
                Some(now) if now == base => put(out, UNMOVED),
                Some(now) => {
                    put(out, MOVED + zigzag(now.offset.get() as i64 - base.offset.get() as i64));
                    put_print(out, now.fingerprint);
                }
            }
        }
        if !handled.is_empty() {
            put_runs(out, handled.iter().filter_map(|later| later.handle));
            for later in handled {
                put(out, later.mark.offset.get());
                put_print(out, later.mark.fingerprint);
            }
        }
        named.iter().for_each(|later| put_named(out, &later.room, later.mark));
    }

    /// Where a client is that has a token with `place`, after a connection that began with `base`. None: it is no such thing.
    pub(super) fn read(base: &[(RoomId, Mark)], mut place: &[u8]) -> Option<Read> {
        let head = take(&mut place)?;
        let (named, has_handled, has_seen_more, is_full) =
            (head >> 3, head & 4 == 4, head & 2 == 2, head & 1 == 1);
        let facts = if has_seen_more { take(&mut place)? } else { 0 };
        let sum = if is_full { None } else { Some(take_fingerprint(&mut place)?) };
        let take_since = |place: &mut &[u8], offset: Offset| {
            Some(match is_full {
                true => Mark { offset, fingerprint: take_fingerprint(place)? }.since(),
                false => {
                    let [fingerprint] = take_bytes(place)?;
                    Since::Abridged { offset, fingerprint }
                }
            })
        };
        let mut rooms = Vec::new();
        for (room, mark) in base {
            let since = match take(&mut place)? {
                LEFT => continue,
                UNMOVED => mark.since(),
                moved => {
                    let offset = (mark.offset.get() as i64).checked_add(unzigzag(moved - MOVED))?;
                    take_since(&mut place, u64::try_from(offset).ok().and_then(Offset::new)?)?
                }
            };
            rooms.push((room.clone(), since));
        }
        let mut handled = Vec::new();
        if has_handled {
            // What is left has a byte for each, at least.
            for handle in take_runs(&mut place)? {
                let offset = Offset::new(take(&mut place)?)?;
                handled.push((handle, take_since(&mut place, offset)?));
            }
        }
        for _ in 0..named {
            let (room, mark) = take_named(&mut place)?;
            rooms.push((room, mark.since()));
        }
        place.is_empty().then_some(Read { rooms, handled, sum, facts })
    }

    /// Where a client is that has received nothing since a connection that began with `base`.
    pub(super) fn at_base(base: &[(RoomId, Mark)]) -> Read {
        let rooms = base.iter().map(|(room, mark)| (room.clone(), mark.since())).collect();
        Read { rooms, handled: Vec::new(), sum: None, facts: 0 }
    }
}

/// What [`Read::sum`] is for these.
pub(super) fn sum(fingerprints: impl IntoIterator<Item = Fingerprint>) -> Fingerprint {
    let number = fingerprints.into_iter().fold(0, |sum, fingerprint| sum ^ fingerprint.number());
    Fingerprint::from_number(number)
}

const LEFT: u64 = 0;
const UNMOVED: u64 = 1;
/// And by how much.
const MOVED: u64 = 2;

/// Small numbers of either sign as small ones without.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Ascending handles, as runs of such that follow one another: the distance to each run, and its length.
fn put_runs(out: &mut Vec<u8>, handles: impl Iterator<Item = Offset>) {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let mut next = 0;
    for handle in handles.map(Offset::get) {
        match runs.last_mut() {
            Some((_, length)) if handle == next => *length += 1,
            _ => runs.push((handle - next, 1)),
        }
        next = handle + 1;
    }
    put(out, runs.len() as u64);
    for (distance, length) in runs {
        put(out, distance);
        put(out, length);
    }
}

fn take_runs(bytes: &mut &[u8]) -> Option<Vec<Offset>> {
    let (mut handles, mut next) = (Vec::new(), 0_u64);
    for _ in 0..take(bytes)? {
        next = next.checked_add(take(bytes)?)?;
        let length = take(bytes)?;
        // Of each something more must follow.
        if bytes.len() as u64 <= length || (bytes.len() as u64) < handles.len() as u64 + length {
            return None;
        }
        for _ in 0..length {
            handles.push(Offset::new(next)?);
            next += 1;
        }
    }
    Some(handles)
}

fn put_named(out: &mut Vec<u8>, room: &RoomId, mark: Mark) {
    put_text(out, room.as_str());
    put(out, mark.offset.get());
    put_fingerprint(out, mark.fingerprint);
}

fn take_named(bytes: &mut &[u8]) -> Option<(RoomId, Mark)> {
    let room = RoomId::from_client(take_text(bytes)?).ok()?;
    let offset = Offset::new(take(bytes)?)?;
    Some((room, Mark { offset, fingerprint: take_fingerprint(bytes)? }))
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(take(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

fn put_fingerprint(out: &mut Vec<u8>, fingerprint: Fingerprint) {
    out.extend_from_slice(&fingerprint.number().to_be_bytes()[2..]);
}

fn take_fingerprint(bytes: &mut &[u8]) -> Option<Fingerprint> {
    let number: [u8; 6] = take_bytes(bytes)?;
    Some(Fingerprint::from_number(number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room(number: usize) -> RoomId {
        RoomId::new(&format!("room {number}")).unwrap()
    }

    /// Some follow one another, and some do not.
    fn handle(number: usize) -> Offset {
        Offset::new(number as u64 + number as u64 / 7 * 1_000).unwrap()
    }

    fn mark(offset: u64, print: u64) -> Mark {
        Mark { offset: Offset::new(offset).unwrap(), fingerprint: Fingerprint::from_number(print) }
    }

    fn marks() -> impl Strategy<Value = Mark> {
        (prop_oneof![0..300_u64, 0..=Offset::MAX.get()], any::<u64>()).prop_map(|(o, p)| mark(o, p))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(usize, Mark),
        Name(usize),
        Remove(usize),
    }

    proptest! {
        /// Whatever rooms a client has joined, moved in and left: its token says so.
        #[test]
        fn a_token_says_where_the_client_is(
            base in prop::collection::vec(marks(), 0..20),
            steps in prop::collection::vec(
                prop_oneof![
                    3 => (0..30_usize, marks()).prop_map(|(r, m)| Step::Set(r, m)),
                    2 => (0..30_usize).prop_map(Step::Name),
                    1 => (0..30_usize).prop_map(Step::Remove),
                ],
                0..60,
            ),
            facts in prop::collection::vec(0..=Offset::MAX.get(), 0..4),
        ) {
            let base: Vec<_> = base.into_iter().enumerate().map(|(n, mark)| (room(n), mark)).collect();
            let mut places = Places::new(&base);
            let mut model = std::collections::BTreeMap::new();
            for (name, mark) in &base {
                places.set(name, *mark);
                model.insert(name.clone(), *mark);
            }
            for step in steps {
                match step {
                    Step::Set(number, mark) => {
                        places.set(&room(number), mark);
                        model.insert(room(number), mark);
                    }
                    Step::Name(number) => places.name(&room(number), handle(number)),
                    Step::Remove(number) => {
                        places.remove(&room(number));
                        model.remove(&room(number));
                    }
                }
            }
            let began = facts.first().map_or(Offset::ZERO, |facts| Offset::new(*facts).unwrap());
            places.begin_facts(began);
            facts.iter().for_each(|facts| places.see_facts(Offset::new(*facts).unwrap()));
            let mut place = Vec::new();
            places.write(&mut place);
            let read = Places::read(&base, &place).unwrap();
            prop_assert_eq!(began.plus(read.facts), places.facts());
            prop_assert_eq!(places.facts().get(), facts.iter().copied().max().unwrap_or(0));
            prop_assert_eq!(read.rooms.len() + read.handled.len(), model.len());
            let mut unsaid = Vec::new();
            let by_handle = |told: Offset| room((0..30).find(|number| handle(*number) == told).unwrap());
            let handled = read.handled.into_iter().map(|(handle, since)| (by_handle(handle), since));
            for (name, since) in read.rooms.into_iter().chain(handled) {
                let mark = model[&name];
                if since == (Since::Abridged { offset: mark.offset, fingerprint: mark.fingerprint.abridged() }) {
                    unsaid.push(mark.fingerprint);
                } else {
                    prop_assert_eq!(since, mark.since());
                }
            }
            prop_assert_eq!(read.sum.unwrap_or_default(), sum(unsaid));
            for cut in 0..place.len() {
                prop_assert_eq!(Places::read(&base, &place[..cut]), None);
            }
        }

        #[test]
        fn any_other_place_is_refused_without_a_panic(place: Vec<u8>, count in 0..4_usize) {
            let base: Vec<_> = (0..count).map(|n| (room(n), mark(5, 5))).collect();
            if let Some(read) = Places::read(&base, &place) {
                prop_assert!(read.rooms.len() <= count + place.len());
            }
        }

        #[test]
        fn a_base_says_where_a_connection_began(rooms in prop::collection::vec(marks(), 0..20), full: bool, facts in 0..=Offset::MAX.get(), cut: prop::sample::Index) {
            let rooms = rooms.into_iter().enumerate().map(|(n, mark)| (room(n), mark)).collect();
            let protocol = if full { Protocol::Full } else { Protocol::Tutorial };
            let base = Base { author: UserId::new("ada").unwrap(), mark: 300, protocol, facts: Offset::new(facts).unwrap(), rooms };
            let bytes = base.write();
            prop_assert_eq!(Base::read(&bytes), Some(base));
            prop_assert_eq!(Base::read(&bytes[..cut.index(bytes.len())]), None);
        }
    }

    #[test]
    fn a_token_is_short() {
        let written = |rooms: usize, moved: u64| {
            let base: Vec<_> = (0..rooms).map(|n| (room(n), mark(1_000_000, 7))).collect();
            let mut places = Places::new(&base);
            base.iter().for_each(|(room, _)| places.set(room, mark(1_000_000 + moved, u64::MAX)));
            let mut place = Vec::new();
            places.write(&mut place);
            place.len()
        };
        assert_eq!((written(1, 5), written(1, 100_000)), (1 + 1 + 6, 1 + 3 + 6));
        assert_eq!((written(100, 50), written(100, 8_000)), (7 + 100 * 2, 7 + 100 * 3));
    }

    #[test]
    fn a_token_is_short_also_where_rooms_were_joined_later() {
        let mut places = Places::new(&[]);
        let later = |number: usize| RoomId::new(&format!("{number:0>36}")).unwrap();
        for number in 0..100 {
            places.set(&later(number), mark(1_000_000, u64::MAX));
            places.name(&later(number), Offset::new(5_000 + number as u64).unwrap());
        }
        let mut place = Vec::new();
        places.write(&mut place);
        assert_eq!(place.len(), 1 + 6 + 4 + 100 * 4);
        (1..100).for_each(|number| places.remove(&later(number)));
        place.clear();
        places.write(&mut place);
        assert_eq!(place.len(), 1 + 4 + 3 + 6);
    }

    #[test]
    fn a_loss_that_was_not_told_matches_nothing() {
        let bookmark: Bookmark = "1.7.abc".parse().unwrap();
        let (told, untold) = (Mark::at(bookmark), Mark::untold(bookmark));
        assert_ne!(told.fingerprint, untold.fingerprint);
        assert_ne!(told.fingerprint.abridged(), untold.fingerprint.abridged());
    }
}
