//! What the facts about one user add up to: which rooms are theirs. Pure.
//!
//! Facts are entries of the user's own reserved room. The offset of the fact that made a room theirs is the room's *handle*: it stays the same
//! for as long as the room is theirs, and never names another one. The log of facts is kept short by snapshots: one says which rooms there were
//! up to an offset, and what it says counts together with the facts after that offset, wherever it stands itself. So it does not
//! matter what was written while it was made, and of several, whoever made them, the one that has come furthest counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::direct::digest;
use crate::entry::{Body, Entry};
use crate::id::{DisplayName, MessageKey, RoomId, UserId};
use crate::mutants::{Mutant, mutated};
use crate::position::{Bookmark, Offset};

/// Facts beyond two for each room that a log may have before it is compacted.
const SLACK: u64 = 32;
/// One part of a snapshot, in bytes of JSON (about); at least one room.
const PART_BYTES_MAX: usize = 32 * 1024;

/// A room of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnRoom {
    /// Which room.
    pub room: RoomId,
    /// Names it among the rooms of its user, for as long as it is theirs: the offset of the fact that made it so.
    pub handle: Offset,
    /// What the room had when it was joined: nobody missed that. 0 in a private room.
    pub from: Offset,
    /// The other one of a private room, as far as is known.
    pub with: Option<With>,
    /// The user wants it: it has joined it, asked for it or answered in it. False for a private room that another one has opened.
    pub asked: bool,
}

/// The other one of a private room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct With {
    /// The identity.
    pub id: UserId,
    /// The name by which it was met first.
    pub name: Option<DisplayName>,
}

impl With {
    pub(crate) fn new(id: UserId, name: Option<DisplayName>) -> Self {
        Self { id, name }
    }
}

/// Something that becomes true of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A room of their choosing is theirs, and had come as far as `from` then.
    Joined { room: RoomId, from: Offset },
    /// It is no longer theirs.
    Left { room: RoomId },
    /// A private room is theirs. Said again, it adds what was not known.
    Direct { room: RoomId, with: Option<With>, asked: bool },
    /// One part of what the rooms were up to an offset.
    Kept { upto: Offset, part: u32, parts: u32, rooms: Vec<OwnRoom> },
}

/// What the facts in a log add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    rooms: BTreeMap<RoomId, OwnRoom>,
    /// When rooms were left, as far as the log still says.
    left: BTreeMap<RoomId, Offset>,
    /// The handles that rooms had until then.
    gone: BTreeMap<Offset, RoomId>,
    /// What is older than this has gone into a snapshot.
    base: Offset,
    /// The last fact that was looked at.
    pub(crate) head: Bookmark,
    /// How many entries the log has.
    entries: u64,
    /// There are facts of a later version among them: they must not be lost to a snapshot.
    is_strange: bool,
}

impl Facts {
    /// `entries` are all that the log keeps, up to `head`.
    pub(crate) fn fold(entries: &[Entry], head: Bookmark) -> Self {
        let mut is_strange = false;
        let mut facts = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry.body.as_ref().map(Fact::read) {
                Some(Some(fact)) => facts.push((entry.position.offset, fact)),
                Some(None) => is_strange = true,
                None => {}
            }
        }
        let (base, rooms) = newest_snapshot(&facts);
        let rooms = rooms.into_iter().map(|own| (own.room.clone(), own)).collect();
        let entries = entries.len() as u64;
        let mut folded =
            Self { rooms, left: BTreeMap::new(), gone: BTreeMap::new(), base, head, entries, is_strange };
        let later = facts.into_iter().filter(|(at, _)| base < *at);
        later.for_each(|(at, fact)| folded.apply(at, fact));
        folded
    }

    fn apply(&mut self, at: Offset, fact: Fact) {
        match fact {
            Fact::Joined { room, from } => {
                let own = OwnRoom { room: room.clone(), handle: at, from, with: None, asked: true };
                self.rooms.entry(room).or_insert(own);
            }
            Fact::Left { room } => {
                if let Some(own) = self.rooms.remove(&room) {
                    self.gone.insert(own.handle, room.clone());
                }
                self.left.insert(room, at);
            }
            Fact::Direct { room, with, asked } => {
                let fresh =
                    OwnRoom { room: room.clone(), handle: at, from: Offset::ZERO, with: None, asked: false };
                let own = self.rooms.entry(room).or_insert(fresh);
                own.asked |= asked;
                match (&mut own.with, with) {
                    (known @ None, with) => *known = with,
                    (Some(known), Some(With { id, name })) if known.id == id && known.name.is_none() => {
                        known.name = name;
                    }
                    _ => {}
                }
            }
            Fact::Kept { .. } => {}
        }
    }

    /// The fact at `at` was written after all that is known.
    pub(crate) fn push(&mut self, at: Bookmark, fact: Fact) {
        self.apply(at.offset(), fact);
        self.head = at;
        self.entries += 1;
    }

    pub(crate) fn get(&self, room: &RoomId) -> Option<&OwnRoom> {
        self.rooms.get(room)
    }

    /// In the order of their names, and the handles of those that were left.
    pub(crate) fn into_rooms(self) -> (Vec<OwnRoom>, BTreeMap<Offset, RoomId>) {
        (self.rooms.into_values().collect(), self.gone)
    }

    /// Rooms that the user wants, or (private ones) that others have opened.
    pub(crate) fn count(&self, asked: bool) -> usize {
        self.rooms.values().filter(|own| own.asked == asked).count()
    }

    /// The key under which `fact` is to be written; none if it says nothing new.
    ///
    /// It is made of what is known, so whoever knows the same writes the same entry: two devices that do the same write one fact. It is never
    /// that of an older fact of which there is no trace any more.
    pub(crate) fn missing(&self, fact: &Fact) -> Option<MessageKey> {
        let key = match fact {
            Fact::Joined { room, .. } => match self.get(room) {
                Some(_) => return None,
                None => format!("joined {} {}", digest(room), self.basis(room)),
            },
            Fact::Left { room } => format!("left {} {}", digest(room), self.get(room)?.handle),
            Fact::Direct { room, with, asked } => match self.get(room) {
                None => format!("direct {} {}", digest(room), self.basis(room)),
                Some(own) => {
                    let known = own.with.as_ref();
                    let asked = if *asked && !own.asked { " asked" } else { "" };
                    let id = if with.is_some() && known.is_none() { " id" } else { "" };
                    let brings_name = with.as_ref().is_some_and(|with| {
                        with.name.is_some()
                            && known.is_none_or(|known| known.id == with.id && known.name.is_none())
                    });
                    let name = if brings_name { " name" } else { "" };
                    if (asked, id, name) == ("", "", "") {
                        return None;
                    }
                    format!("direct {} {}{asked}{id}{name}", digest(room), own.handle)
                }
            },
            Fact::Kept { upto, part, .. } => format!("kept {upto} {part}"),
        };
        Some(MessageKey::new(&key).expect("a short text"))
    }

    /// Since when a room is not theirs, as far as the log says.
    fn basis(&self, room: &RoomId) -> Offset {
        if mutated(Mutant::ForgetWhatWasLeft) {
            return Offset::ZERO;
        }
        self.left.get(room).copied().unwrap_or_default().max(self.base)
    }

    /// Whether the log has become much longer than what it says.
    pub(crate) fn is_due(&self) -> bool {
        2 * self.rooms.len() as u64 + SLACK < self.entries && !self.is_strange
    }

    /// All that is known, in parts. What is older than the head may be trimmed once all of them are stored.
    pub(crate) fn snapshot(&self) -> Vec<Fact> {
        let mut parts: Vec<Vec<OwnRoom>> = vec![Vec::new()];
        let mut bytes = 0;
        for own in self.rooms.values() {
            let cost =
                200 + own.room.as_str().len() + own.with.as_ref().map_or(0, |with| with.id.as_str().len());
            if PART_BYTES_MAX < bytes + cost && 0 < bytes {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += cost;
            if let Some(part) = parts.last_mut() {
                part.push(own.clone());
            }
        }
        let (upto, count) = (self.head.offset(), u32::try_from(parts.len()).unwrap_or(u32::MAX));
        let numbered = (0..).zip(parts);
        numbered.map(|(part, rooms)| Fact::Kept { upto, part, parts: count, rooms }).collect()
    }
}

/// Whether an entry may be the fact that made a private room theirs.
pub(crate) fn brings_private_room(entry: &Entry) -> bool {
    entry.body.as_ref().is_some_and(|body| matches!(Fact::read(body), Some(Fact::Direct { .. })))
}

/// The whole snapshot that has come furthest: up to where, and what it says.
fn newest_snapshot(facts: &[(Offset, Fact)]) -> (Offset, Vec<OwnRoom>) {
    let mut found: BTreeMap<Offset, (u32, BTreeMap<u32, &Vec<OwnRoom>>)> = BTreeMap::new();
    for (_, fact) in facts {
        if let Fact::Kept { upto, part, parts, rooms } = fact {
            let snapshot = found.entry(*upto).or_insert((*parts, BTreeMap::new()));
            snapshot.1.insert(*part, rooms);
        }
    }
    let newest = found.into_iter().rev().find(|(_, (parts, found))| found.len() == *parts as usize);
    newest.map_or((Offset::ZERO, Vec::new()), |(upto, (_, parts))| {
        (upto, parts.into_values().flatten().cloned().collect())
    })
}

/// The stored form. Part of what is stored: fields are only ever added.
#[derive(Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
enum Stored {
    Joined {
        room: String,
        from: u64,
    },
    Left {
        room: String,
    },
    Direct {
        room: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<StoredWith>,
        #[serde(default)]
        asked: bool,
    },
    Kept {
        upto: u64,
        part: u32,
        parts: u32,
        rooms: Vec<StoredRoom>,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredWith {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredRoom {
    room: String,
    handle: u64,
    #[serde(default)]
    from: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    with: Option<StoredWith>,
    #[serde(default)]
    asked: bool,
}

impl Fact {
    pub(crate) fn body(&self) -> Body {
        let stored = match self {
            Self::Joined { room, from } => Stored::Joined { room: room.to_string(), from: from.get() },
            Self::Left { room } => Stored::Left { room: room.to_string() },
            Self::Direct { room, with, asked } => Stored::Direct {
                room: room.to_string(),
                with: with.as_ref().map(StoredWith::from),
                asked: *asked,
            },
            Self::Kept { upto, part, parts, rooms } => {
                let rooms = rooms.iter().map(StoredRoom::from).collect();
                Stored::Kept { upto: upto.get(), part: *part, parts: *parts, rooms }
            }
        };
        Body::text(serde_json::to_string(&stored).expect("texts and numbers have a JSON form"))
    }

    /// `None` for what this version does not know.
    pub(crate) fn read(body: &Body) -> Option<Self> {
        Some(match serde_json::from_str(&body.text).ok()? {
            Stored::Joined { room, from } => {
                Self::Joined { room: RoomId::from_client(&room).ok()?, from: Offset::new(from)? }
            }
            Stored::Left { room } => Self::Left { room: RoomId::from_client(&room).ok()? },
            Stored::Direct { room, with, asked } => {
                let with = with.map(StoredWith::read).map_or(Some(None), |with| with.map(Some))?;
                Self::Direct { room: RoomId::from_client(&room).ok()?, with, asked }
            }
            Stored::Kept { upto, part, parts, rooms } => {
                let rooms = rooms.into_iter().map(StoredRoom::read).collect::<Option<_>>()?;
                Self::Kept { upto: Offset::new(upto)?, part, parts, rooms }
            }
        })
    }
}

impl From<&With> for StoredWith {
    fn from(with: &With) -> Self {
        Self { id: with.id.to_string(), name: with.name.as_ref().map(ToString::to_string) }
    }
}

impl StoredWith {
    fn read(self) -> Option<With> {
        let name = self.name.map(|name| DisplayName::new(&name).ok());
        Some(With { id: UserId::new(&self.id).ok()?, name: name.map_or(Some(None), |name| name.map(Some))? })
    }
}

impl From<&OwnRoom> for StoredRoom {
    fn from(own: &OwnRoom) -> Self {
        Self {
            room: own.room.to_string(),
            handle: own.handle.get(),
            from: own.from.get(),
            with: own.with.as_ref().map(StoredWith::from),
            asked: own.asked,
        }
    }
}

impl StoredRoom {
    fn read(self) -> Option<OwnRoom> {
        Some(OwnRoom {
            room: RoomId::from_client(&self.room).ok()?,
            handle: Offset::new(self.handle)?,
            from: Offset::new(self.from)?,
            with: self.with.map(StoredWith::read).map_or(Some(None), |with| with.map(Some))?,
            asked: self.asked,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::entry::{Author, Kind, Timestamp};
    use crate::position::{Epoch, Fingerprint, Position};

    fn room(number: u8) -> RoomId {
        RoomId::new(&format!("room {number}")).unwrap()
    }

    fn direct(number: u8) -> RoomId {
        RoomId::direct(&UserId::new("me").unwrap(), &other(number))
    }

    fn other(number: u8) -> UserId {
        UserId::new(&format!("user {number}")).unwrap()
    }

    fn at(offset: u64) -> Bookmark {
        let position = Position { epoch: Epoch::from_number(1), offset: Offset::new(offset).unwrap() };
        Bookmark { position, fingerprint: Fingerprint::from_number(offset) }
    }

    /// A log as a store keeps it: what is trimmed is gone, its keys are not.
    #[derive(Default)]
    struct Log {
        entries: Vec<Entry>,
        keys: BTreeSet<String>,
        trimmed: usize,
    }

    impl Log {
        fn read(&self) -> Facts {
            Facts::fold(&self.entries[self.trimmed..], at(self.entries.len() as u64))
        }

        /// As if nothing had ever been compacted.
        fn truth(&self) -> Facts {
            let is_fact =
                |entry: &&Entry| !matches!(Fact::read(entry.body.as_ref().unwrap()), Some(Fact::Kept { .. }));
            let entries: Vec<Entry> = self.entries.iter().filter(is_fact).cloned().collect();
            Facts::fold(&entries, at(self.entries.len() as u64))
        }

        /// Whether it was stored by this call.
        fn append(&mut self, key: MessageKey, fact: &Fact) -> bool {
            if !self.keys.insert(key.to_string()) {
                return false;
            }
            let offset = self.entries.len() as u64 + 1;
            self.entries.push(Entry {
                position: at(offset).position,
                kind: Kind::Fact,
                author: Author { id: UserId::system(), name: DisplayName::new("x").unwrap() },
                key,
                at: Timestamp::from_millis(0),
                fingerprint: at(offset).fingerprint,
                body: Some(fact.body()),
            });
            true
        }

        fn write(&mut self, known: &Facts, fact: &Fact) {
            if let Some(key) = known.missing(fact) {
                self.append(key, fact);
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        /// A device writes by what it knows, which may be old.
        Write(usize, WriteOf),
        /// A device looks.
        Look(usize),
        /// A node begins to compact by what a device knows.
        Compact(usize),
        /// It goes on by one part.
        Part,
        /// Its process ends.
        Crash,
    }

    #[derive(Clone, Debug)]
    enum WriteOf {
        Join(u8),
        Leave(u8),
        Direct(u8, bool, bool),
    }

    impl WriteOf {
        fn fact(&self) -> Fact {
            match *self {
                Self::Join(number) => {
                    Fact::Joined { room: room(number), from: Offset::new(u64::from(number)).unwrap() }
                }
                Self::Leave(number) => Fact::Left { room: room(number) },
                Self::Direct(number, asked, is_named) => {
                    let name = is_named.then(|| DisplayName::new("Name").unwrap());
                    let with = (!asked || is_named).then(|| With::new(other(number), name));
                    Fact::Direct { room: direct(number), with, asked }
                }
            }
        }
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let write = prop_oneof![
            (0..4_u8).prop_map(WriteOf::Join),
            (0..4_u8).prop_map(WriteOf::Leave),
            (0..3_u8, any::<bool>(), any::<bool>())
                .prop_map(|(n, asked, named)| WriteOf::Direct(n, asked, named)),
        ];
        let event = prop_oneof![
            4 => (0..3_usize, write).prop_map(|(device, write)| Event::Write(device, write)),
            4 => (0..3_usize).prop_map(Event::Look),
            1 => (0..3_usize).prop_map(Event::Compact),
            4 => Just(Event::Part),
            1 => Just(Event::Crash),
        ];
        prop::collection::vec(event, 0..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Whatever several devices write by what they know, and however often and far snapshots are made meanwhile, two at a time: the log
        /// adds up to what it would have without them, handles included.
        #[test]
        fn compaction_changes_nothing(events in events()) {
            let mut log = Log::default();
            let mut devices = vec![log.read(); 3];
            let mut compactions: Vec<(Facts, Vec<Fact>)> = Vec::new();
            for event in events {
                match event {
                    Event::Write(device, write) => log.write(&devices[device], &write.fact()),
                    Event::Look(device) => devices[device] = log.read(),
                    Event::Compact(device) if compactions.len() < 2 => {
                        let known = devices[device].clone();
                        let mut parts = one_room_each(&known);
                        parts.reverse();
                        compactions.push((known, parts));
                    }
                    Event::Compact(_) => {}
                    Event::Part => {
                        let Some((known, mut parts)) = compactions.pop() else { continue };
                        match parts.pop() {
                            Some(part) => {
                                log.write(&known, &part);
                                compactions.insert(0, (known, parts));
                            }
                            None => log.trimmed = log.trimmed.max(known.head.offset().get() as usize),
                        }
                    }
                    Event::Crash => drop(compactions.pop()),
                }
                prop_assert_eq!(&log.read().rooms, &log.truth().rooms);
            }
        }

        /// What one who looks asks for becomes true, whatever was there before: no key stands in the way.
        #[test]
        fn what_is_asked_for_becomes_true(events in events(), number in 0..4_u8) {
            let mut log = Log::default();
            for event in events {
                match event {
                    Event::Write(_, write) => log.write(&log.read(), &write.fact()),
                    Event::Compact(_) => {
                        let known = log.read();
                        one_room_each(&known).iter().for_each(|part| log.write(&known, part));
                        log.trimmed = known.head.offset().get() as usize;
                    }
                    _ => {}
                }
            }
            for (fact, is_theirs) in [
                (Fact::Joined { room: room(number), from: Offset::ZERO }, true),
                (Fact::Left { room: room(number) }, false),
                (Fact::Joined { room: room(number), from: Offset::ZERO }, true),
            ] {
                log.write(&log.read(), &fact);
                prop_assert_eq!(log.read().get(&room(number)).is_some(), is_theirs);
                prop_assert_eq!(log.read().missing(&fact), None);
            }
        }

        #[test]
        fn any_body_is_read_without_a_panic(text in "\\PC{0,80}") {
            Fact::read(&Body::text(text));
        }
    }

    /// A snapshot in as many parts as possible.
    fn one_room_each(known: &Facts) -> Vec<Fact> {
        let upto = known.head.offset();
        let parts = (known.rooms.len() as u32).max(1);
        if known.rooms.is_empty() {
            return known.snapshot();
        }
        let part = |(part, own): (u32, &OwnRoom)| Fact::Kept { upto, part, parts, rooms: vec![own.clone()] };
        (0..).zip(known.rooms.values()).map(part).collect()
    }

    #[test]
    fn a_handle_stays_for_as_long_as_the_room_is_theirs() {
        let mut log = Log::default();
        let join = Fact::Joined { room: room(1), from: Offset::ZERO };
        let handle = |log: &Log| log.read().get(&room(1)).map(|own| own.handle.get());
        log.write(&log.read(), &join);
        log.write(&log.read(), &Fact::Joined { room: room(2), from: Offset::ZERO });
        assert_eq!(handle(&log), Some(1));
        let known = log.read();
        known.snapshot().iter().for_each(|part| log.write(&known, part));
        log.trimmed = 2;
        assert_eq!(handle(&log), Some(1));
        log.write(&log.read(), &Fact::Left { room: room(1) });
        log.write(&log.read(), &join);
        assert_eq!(handle(&log), Some(5));
    }

    #[test]
    fn two_devices_that_do_the_same_write_one_fact() {
        let mut log = Log::default();
        let (phone, desk) = (log.read(), log.read());
        let join = Fact::Joined { room: room(1), from: Offset::ZERO };
        log.write(&phone, &join);
        log.write(&desk, &join);
        assert_eq!(log.entries.len(), 1);
        let (phone, desk) = (log.read(), log.read());
        log.write(&phone, &Fact::Left { room: room(1) });
        log.write(&desk, &Fact::Left { room: room(1) });
        assert_eq!(log.entries.len(), 2);
    }

    #[test]
    fn a_private_room_learns_who_the_other_one_is() {
        let mut log = Log::default();
        let fact = |with: Option<With>, asked| Fact::Direct { room: direct(1), with, asked };
        log.write(&log.read(), &fact(None, true));
        log.write(&log.read(), &fact(Some(With::new(other(1), None)), false));
        let name = DisplayName::new("Bob").ok();
        log.write(&log.read(), &fact(Some(With::new(other(1), name.clone())), false));
        log.write(&log.read(), &fact(Some(With::new(other(1), DisplayName::new("Robert").ok())), false));
        let facts = log.read();
        let own = facts.get(&direct(1)).unwrap();
        assert_eq!((own.handle.get(), own.asked, log.entries.len()), (1, true, 3));
        assert_eq!(own.with, Some(With::new(other(1), name)));
    }

    #[test]
    fn a_long_snapshot_has_several_parts_and_none_is_large() {
        let mut facts = Facts::fold(&[], at(0));
        for number in 0..2_000_u64 {
            let user = UserId::new(&format!("{number:0>256}")).unwrap();
            let room = RoomId::direct(&UserId::new("me").unwrap(), &user);
            facts
                .push(at(number + 1), Fact::Direct { room, with: Some(With::new(user, None)), asked: false });
        }
        let parts = facts.snapshot();
        assert!(parts.iter().all(|part| part.body().bytes() < 2 * PART_BYTES_MAX));
        let entries: Vec<Entry> = {
            let mut log = Log::default();
            parts.iter().for_each(|part| log.write(&facts, part));
            log.entries
        };
        assert_eq!(Facts::fold(&entries, at(0)).rooms, facts.rooms);
        assert_eq!(Facts::fold(&entries[1..], at(0)).rooms.len(), 0);
    }

    #[test]
    fn facts_of_a_later_version_are_left_alone_and_keep_the_log_from_being_compacted() {
        let mut log = Log::default();
        for number in 0..100 {
            let key = MessageKey::new(&number.to_string()).unwrap();
            log.append(key, &Fact::Left { room: room(1) });
        }
        assert!(log.read().is_due());
        let strange = Body::text(r#"{"fact":"pinned","room":"room 1"}"#);
        log.entries[3].body = Some(strange);
        assert!(!log.read().is_due());
    }

    /// Other forms would not be read by the next version.
    #[test]
    fn the_stored_form_stays_as_it_is() {
        let with = With::new(other(1), DisplayName::new("Bob").ok());
        let (upto, handle) = (Offset::new(9).unwrap(), Offset::new(3).unwrap());
        let own = OwnRoom { room: room(1), handle, from: upto, with: Some(with.clone()), asked: true };
        let dm = direct(1);
        for (fact, text) in [
            (Fact::Joined { room: room(1), from: upto }, r#"{"fact":"joined","room":"room 1","from":9}"#.to_owned()),
            (Fact::Left { room: room(1) }, r#"{"fact":"left","room":"room 1"}"#.to_owned()),
            (
                Fact::Direct { room: dm.clone(), with: Some(with), asked: false },
                format!(r#"{{"fact":"direct","room":"{dm}","with":{{"id":"user 1","name":"Bob"}},"asked":false}}"#),
            ),
            (
                Fact::Kept { upto, part: 0, parts: 1, rooms: vec![own] },
                r#"{"fact":"kept","upto":9,"part":0,"parts":1,"rooms":[{"room":"room 1","handle":3,"from":9,"with":{"id":"user 1","name":"Bob"},"asked":true}]}"#
                    .to_owned(),
            ),
        ] {
            assert_eq!(*fact.body().text, *text);
            assert_eq!(Fact::read(&fact.body()), Some(fact));
        }
    }
}
