//! Who is banned, muted or signed out: what the facts in the reserved room `~moderation` come to. Pure.
//!
//! Every node folds the same facts in the same order, so all come to the same. The facts are appended and followed in `moderating.rs`.
//! So that the room does not grow for ever, the fold is written down as a snapshot from time to time, and what lies before it is trimmed.
//! A snapshot says up to which offset it goes, since facts may be appended while it is written; it is the same whoever writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entry::Timestamp;
use crate::id::{InvalidId, Reason, RoomId, UserId};
use crate::people::Order;

/// Users whose sessions were ended, as far as each is remembered.
const SIGN_OUTS_MAX: usize = 10_000;
/// Facts in one entry of a snapshot: about as long as a long message.
const PART_FACTS: usize = 500;

/// An act of moderation.
///
/// It holds on every node, and after every restart: [`Chat::moderate`](crate::Chat::moderate).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Keeps a user out of a room, or out of the whole chat. Replaces an earlier ban from the same place.
    Ban {
        /// Whom.
        user: UserId,
        /// Out of which room; `None`: everywhere.
        room: Option<RoomId>,
        /// For how long; `None`: until [`Measure::Unban`].
        until: Option<Timestamp>,
        /// What the user is told.
        reason: Option<Reason>,
    },
    /// Ends a ban. A ban from everywhere and one from a room are two things.
    Unban {
        /// Whose.
        user: UserId,
        /// The place of the ban.
        room: Option<RoomId>,
    },
    /// Keeps a user from posting to a room, or at all. Replaces an earlier mute in the same place.
    Mute {
        /// Whom.
        user: UserId,
        /// In which room; `None`: everywhere.
        room: Option<RoomId>,
        /// For how long; `None`: until [`Measure::Unmute`].
        until: Option<Timestamp>,
        /// What the user is told.
        reason: Option<Reason>,
    },
    /// Ends a mute. A mute everywhere and one in a room are two things.
    Unmute {
        /// Whose.
        user: UserId,
        /// The place of the mute.
        room: Option<RoomId>,
    },
    /// Takes a user's connections out of a room. They may come back.
    Kick {
        /// Whom.
        user: UserId,
        /// Out of which room.
        room: RoomId,
        /// What the user is told.
        reason: Option<Reason>,
    },
    /// Ends a user's connections, and the sessions that they could be resumed with. Who can still show who they are may connect anew.
    SignOut {
        /// Whom.
        user: UserId,
        /// What the user is told.
        reason: Option<Reason>,
    },
}

/// Why a reader was taken out of a room, or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// What was done.
    pub cause: RemovalCause,
    /// For how long; `None`: for good, or until the client comes back.
    pub until: Option<Timestamp>,
    /// In the words of whoever did it.
    pub reason: Option<Reason>,
}

/// What took a reader out of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemovalCause {
    /// [`Measure::Kick`].
    Kicked,
    /// [`Measure::Ban`].
    Banned,
    /// [`Measure::SignOut`].
    SignedOut,
}

impl Removal {
    pub(crate) fn kicked(reason: Option<Reason>) -> Self {
        Self { cause: RemovalCause::Kicked, until: None, reason }
    }

    pub(crate) fn banned(sentence: &Sentence) -> Self {
        Self { cause: RemovalCause::Banned, until: sentence.until, reason: sentence.reason.clone() }
    }

    pub(crate) fn signed_out(reason: Option<Reason>) -> Self {
        Self { cause: RemovalCause::SignedOut, until: None, reason }
    }
}

impl Measure {
    /// Whom it is about.
    pub fn user(&self) -> &UserId {
        match self {
            Self::Ban { user, .. }
            | Self::Unban { user, .. }
            | Self::Mute { user, .. }
            | Self::Unmute { user, .. }
            | Self::Kick { user, .. }
            | Self::SignOut { user, .. } => user,
        }
    }

    /// The one room it is about; none if it is about all of them.
    pub fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Ban { room, .. }
            | Self::Unban { room, .. }
            | Self::Mute { room, .. }
            | Self::Unmute { room, .. } => room.as_ref(),
            Self::Kick { room, .. } => Some(room),
            Self::SignOut { .. } => None,
        }
    }

    /// Whether it takes something from the user, as opposed to giving it back.
    pub fn is_against(&self) -> bool {
        !matches!(self, Self::Unban { .. } | Self::Unmute { .. })
    }

    /// Whether there is more to remember after it.
    pub(crate) fn adds(&self) -> bool {
        matches!(self, Self::Ban { .. } | Self::Mute { .. })
    }

    /// What the user's readers must do at once.
    pub(crate) fn order(&self) -> Option<Order> {
        match self.clone() {
            Self::Ban { room, until, reason, .. } => {
                let removal = Removal::banned(&Sentence { until, reason });
                Some(room.map_or_else(
                    || Order::SignOut(removal.clone()),
                    |room| Order::Leave(room, removal.clone()),
                ))
            }
            Self::Kick { room, reason, .. } => Some(Order::Leave(room, Removal::kicked(reason))),
            Self::SignOut { reason, .. } => Some(Order::SignOut(Removal::signed_out(reason))),
            Self::Unban { .. } | Self::Mute { .. } | Self::Unmute { .. } => None,
        }
    }

    /// As it is stored.
    pub(crate) fn to_json(&self) -> String {
        let mut about = About::of(self.user(), self.room());
        let fact: Making = match self {
            Self::Ban { until, reason, .. } => {
                about.sentence(*until, reason.as_ref());
                Fact::Ban
            }
            Self::Mute { until, reason, .. } => {
                about.sentence(*until, reason.as_ref());
                Fact::Mute
            }
            Self::Kick { reason, .. } => {
                about.sentence(None, reason.as_ref());
                Fact::Kick
            }
            Self::SignOut { reason, .. } => {
                about.sentence(None, reason.as_ref());
                Fact::SignOut
            }
            Self::Unban { .. } => Fact::Unban,
            Self::Unmute { .. } => Fact::Unmute,
        };
        json(&fact(about))
    }
}

/// How long something lasts, and why it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) until: Option<Timestamp>,
    pub(crate) reason: Option<Reason>,
}

impl Sentence {
    fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

type Sentences = BTreeMap<UserId, BTreeMap<Option<RoomId>, Sentence>>;

/// What all facts so far come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sanctions {
    /// The offset of the last fact.
    upto: u64,
    bans: Sentences,
    mutes: Sentences,
    /// At which offset the sessions of a user ended.
    sign_outs: BTreeMap<UserId, u64>,
    /// Ends of sessions up to this offset are forgotten, so whoever's session began before it has none.
    forgotten: u64,
}

impl Sanctions {
    /// What the entries of the room come to: each with its offset, time, and text if it is not gone. They begin right behind what was trimmed.
    pub(crate) fn load<'a>(entries: impl Iterator<Item = (u64, &'a str)> + Clone) -> Self {
        let facts = || entries.clone().filter_map(|(offset, text)| Some((offset, parse(text)?)));
        let mut this = Self::default();
        // A snapshot counts when all of it is there. Trimmed is only what lies before such a one.
        let mut parts: BTreeMap<u64, BTreeMap<u32, Part>> = BTreeMap::new();
        for (_, fact) in facts() {
            if let Fact::Snapshot(part) = fact {
                parts.entry(part.upto).or_default().insert(part.part, part);
            }
        }
        let whole = |parts: &BTreeMap<u32, Part>| {
            let of = parts.values().next().map_or(0, |part| part.of);
            (0..of).all(|number| parts.contains_key(&number)) && 0 < of
        };
        if let Some((upto, parts)) = parts.into_iter().rev().find(|(_, parts)| whole(parts)) {
            for fact in parts.into_values().flat_map(|part| part.facts) {
                this.restore(fact);
            }
            this.upto = upto;
        }
        for (offset, fact) in facts() {
            this.take(offset, &fact);
        }
        this
    }

    /// Folds one more entry; answers what was done by it, if it is of such a kind.
    pub(crate) fn fold(&mut self, offset: u64, text: Option<&str>) -> Option<Measure> {
        let measure = text.and_then(parse).and_then(|fact| self.take(offset, &fact));
        self.upto = self.upto.max(offset);
        measure
    }

    fn take(&mut self, offset: u64, fact: &Fact) -> Option<Measure> {
        if offset <= self.upto {
            return None;
        }
        self.upto = offset;
        let measure = fact.measure()?;
        match measure.clone() {
            Measure::Ban { user, room, until, reason } => {
                put(&mut self.bans, user, room, Sentence { until, reason })
            }
            Measure::Mute { user, room, until, reason } => {
                put(&mut self.mutes, user, room, Sentence { until, reason });
            }
            Measure::Unban { user, room } => remove(&mut self.bans, &user, &room),
            Measure::Unmute { user, room } => remove(&mut self.mutes, &user, &room),
            Measure::SignOut { user, .. } => self.sign_out(user, offset),
            Measure::Kick { .. } => {}
        }
        Some(measure)
    }

    fn restore(&mut self, fact: Fact) {
        match fact {
            Fact::Forgotten(offset) => self.forgotten = self.forgotten.max(offset),
            Fact::SignOut(About { user, at: Some(at), .. }) => {
                if let Ok(user) = UserId::new(&user) {
                    self.sign_outs.insert(user, at);
                }
            }
            fact => match fact.measure() {
                Some(Measure::Ban { user, room, until, reason }) => {
                    put(&mut self.bans, user, room, Sentence { until, reason });
                }
                Some(Measure::Mute { user, room, until, reason }) => {
                    put(&mut self.mutes, user, room, Sentence { until, reason });
                }
                _ => {}
            },
        }
    }

    fn sign_out(&mut self, user: UserId, offset: u64) {
        self.sign_outs.insert(user, offset);
        if SIGN_OUTS_MAX < self.sign_outs.len() {
            let first = self.sign_outs.iter().min_by_key(|(_, offset)| **offset);
            if let Some((user, offset)) = first.map(|(user, offset)| (user.clone(), *offset)) {
                self.sign_outs.remove(&user);
                self.forgotten = self.forgotten.max(offset);
            }
        }
    }

    /// The offset of the last fact.
    pub(crate) fn upto(&self) -> u64 {
        self.upto
    }

    /// How many bans and mutes are remembered.
    pub(crate) fn len(&self) -> usize {
        let count = |sentences: &Sentences| sentences.values().map(BTreeMap::len).sum::<usize>();
        count(&self.bans) + count(&self.mutes)
    }

    /// Forgets what is over.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        for sentences in [&mut self.bans, &mut self.mutes] {
            sentences.retain(|_, places| {
                places.retain(|_, sentence| sentence.holds(now));
                !places.is_empty()
            });
        }
    }

    /// The ban that keeps a user out of everything, or of `room`.
    pub(crate) fn ban(&self, who: &UserId, room: Option<&RoomId>, now: Timestamp) -> Option<&Sentence> {
        find(&self.bans, who, room, now)
    }

    /// The mute that keeps a user from posting to `room`.
    pub(crate) fn mute(&self, who: &UserId, room: &RoomId, now: Timestamp) -> Option<&Sentence> {
        find(&self.mutes, who, Some(room), now)
    }

    /// The rooms that a user is banned from.
    pub(crate) fn rooms_banned_from(&self, who: &UserId, now: Timestamp) -> Vec<(RoomId, Removal)> {
        let places = self.bans.get(who).into_iter().flatten();
        let holds = places.filter(|(_, sentence)| sentence.holds(now));
        holds.filter_map(|(room, sentence)| Some((room.clone()?, Removal::banned(sentence)))).collect()
    }

    /// Whether a session of `who` that began when [`Sanctions::upto`] was `began` has been ended.
    pub(crate) fn is_signed_out(&self, who: &UserId, began: u64) -> bool {
        began < self.forgotten || self.sign_outs.get(who).is_some_and(|ended| began < *ended)
    }

    /// All of it, as texts of entries; what is over at `now` is left out. The same for the same facts and the same time.
    pub(crate) fn snapshot(&self, now: Timestamp) -> Vec<String> {
        let mut facts = vec![Fact::Forgotten(self.forgotten)];
        for (user, offset) in &self.sign_outs {
            facts.push(Fact::SignOut(About { at: Some(*offset), ..About::of(user, None) }));
        }
        let kinds: [(&Sentences, Making); 2] = [(&self.bans, Fact::Ban), (&self.mutes, Fact::Mute)];
        for (sentences, kind) in kinds {
            for (user, places) in sentences {
                for (room, sentence) in places.iter().filter(|(_, sentence)| sentence.holds(now)) {
                    let mut about = About::of(user, room.as_ref());
                    about.sentence(sentence.until, sentence.reason.as_ref());
                    facts.push(kind(about));
                }
            }
        }
        let of = u32::try_from(facts.len().div_ceil(PART_FACTS)).unwrap_or(u32::MAX);
        let mut texts = Vec::new();
        let mut facts = facts.into_iter().peekable();
        while facts.peek().is_some() {
            let part = u32::try_from(texts.len()).unwrap_or(u32::MAX);
            let facts = facts.by_ref().take(PART_FACTS).collect();
            texts.push(json(&Fact::Snapshot(Part { upto: self.upto, part, of, facts })));
        }
        texts
    }
}

fn put(sentences: &mut Sentences, user: UserId, room: Option<RoomId>, sentence: Sentence) {
    sentences.entry(user).or_default().insert(room, sentence);
}

fn remove(sentences: &mut Sentences, user: &UserId, room: &Option<RoomId>) {
    if let Some(places) = sentences.get_mut(user) {
        places.remove(room);
        if places.is_empty() {
            sentences.remove(user);
        }
    }
}

fn find<'a>(
    sentences: &'a Sentences,
    who: &UserId,
    room: Option<&RoomId>,
    now: Timestamp,
) -> Option<&'a Sentence> {
    let places = sentences.get(who)?;
    let holds = |sentence: &&Sentence| sentence.holds(now);
    let everywhere = places.get(&None).filter(holds);
    everywhere.or_else(|| places.get(&Some(room?.clone())).filter(holds))
}

/// What makes a fact of one kind.
type Making = fn(About) -> Fact;

/// The body of an entry of the room.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fact {
    Ban(About),
    Unban(About),
    Mute(About),
    Unmute(About),
    Kick(About),
    SignOut(About),
    Snapshot(Part),
    /// Only in a snapshot.
    Forgotten(u64),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct About {
    user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Only in a snapshot, where it is not the offset of the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Part {
    upto: u64,
    part: u32,
    of: u32,
    facts: Vec<Fact>,
}

impl About {
    fn of(user: &UserId, room: Option<&RoomId>) -> Self {
        let room = room.map(|room| room.as_str().to_owned());
        Self { user: user.as_str().to_owned(), room, until: None, reason: None, at: None }
    }

    fn sentence(&mut self, until: Option<Timestamp>, reason: Option<&Reason>) {
        self.until = until.map(Timestamp::millis);
        self.reason = reason.map(|reason| reason.as_str().to_owned());
    }

    fn read(&self) -> Result<(UserId, Option<RoomId>, Sentence), InvalidId> {
        let room = self.room.as_deref().map(RoomId::reserved).transpose()?;
        let until = self.until.map(Timestamp::from_millis);
        let reason = self.reason.as_deref().map(Reason::new).transpose()?;
        Ok((UserId::new(&self.user)?, room, Sentence { until, reason }))
    }
}

impl Fact {
    /// None: it is no such thing, or not one that can be.
    fn measure(&self) -> Option<Measure> {
        let (Self::Ban(about)
        | Self::Unban(about)
        | Self::Mute(about)
        | Self::Unmute(about)
        | Self::Kick(about)
        | Self::SignOut(about)) = self
        else {
            return None;
        };
        let (user, room, Sentence { until, reason }) = about.read().ok()?;
        Some(match self {
            Self::Ban(_) => Measure::Ban { user, room, until, reason },
            Self::Unban(_) => Measure::Unban { user, room },
            Self::Mute(_) => Measure::Mute { user, room, until, reason },
            Self::Unmute(_) => Measure::Unmute { user, room },
            Self::Kick(_) => Measure::Kick { user, room: room?, reason },
            _ => Measure::SignOut { user, reason },
        })
    }
}

/// A fact of a later version is none to this one.
fn parse(text: &str) -> Option<Fact> {
    serde_json::from_str(text).ok()
}

fn json(fact: &Fact) -> String {
    serde_json::to_string(fact).expect("texts and numbers have a JSON form")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn room(name: &str) -> Option<RoomId> {
        Some(RoomId::new(name).unwrap())
    }

    fn time(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// The room, as the log keeps it.
    #[derive(Default)]
    struct Log {
        entries: Vec<(u64, String)>,
        head: u64,
    }

    impl Log {
        fn append(&mut self, text: String) -> u64 {
            self.head += 1;
            self.entries.push((self.head, text));
            self.head
        }

        fn load(&self) -> Sanctions {
            Sanctions::load(self.entries.iter().map(|(offset, text)| (*offset, text.as_str())))
        }

        fn trim(&mut self, upto: u64) {
            self.entries.retain(|(offset, _)| upto < *offset);
        }
    }

    fn ban(who: &str, place: Option<RoomId>, until: Option<u64>) -> Measure {
        let reason = Some(Reason::new("spam").unwrap());
        Measure::Ban { user: user(who), room: place, until: until.map(time), reason }
    }

    #[test]
    fn a_ban_holds_in_its_place_until_it_ends_or_is_lifted() {
        let mut log = Log::default();
        log.append(ban("ada", room("a"), Some(100)).to_json());
        log.append(ban("bob", None, None).to_json());
        let state = log.load();
        let a = room("a").unwrap();
        assert!(state.ban(&user("ada"), Some(&a), time(99)).is_some());
        assert!(state.ban(&user("ada"), Some(&a), time(100)).is_none());
        assert!(state.ban(&user("ada"), room("b").as_ref(), time(0)).is_none());
        assert!(state.ban(&user("ada"), None, time(0)).is_none(), "a ban from one room is none from all");
        assert!(state.ban(&user("bob"), Some(&a), time(0)).is_some());
        assert!(state.mute(&user("bob"), &a, time(0)).is_none());
        log.append(Measure::Unban { user: user("bob"), room: room("a") }.to_json());
        assert!(log.load().ban(&user("bob"), Some(&a), time(0)).is_some(), "it was another ban that ended");
        log.append(Measure::Unban { user: user("bob"), room: None }.to_json());
        assert!(log.load().ban(&user("bob"), None, time(0)).is_none());
    }

    #[test]
    fn a_session_that_began_before_the_sign_out_is_over_and_a_later_one_is_not() {
        let mut state = Sanctions::default();
        let out = Measure::SignOut { user: user("ada"), reason: None };
        assert_eq!(state.fold(7, Some(&out.to_json())), Some(out));
        assert!(state.is_signed_out(&user("ada"), 6));
        assert!(!state.is_signed_out(&user("ada"), 7));
        assert!(!state.is_signed_out(&user("bob"), 0));
    }

    #[test]
    fn beyond_the_bound_the_oldest_sign_outs_are_forgotten_and_the_sessions_before_them_with_them() {
        let mut state = Sanctions::default();
        for number in 1..=SIGN_OUTS_MAX as u64 + 1 {
            let out = Measure::SignOut { user: user(&format!("u{number}")), reason: None };
            state.fold(number, Some(&out.to_json()));
        }
        assert_eq!(state.sign_outs.len(), SIGN_OUTS_MAX);
        assert!(state.is_signed_out(&user("u1"), 0), "nobody gets back what was taken");
        assert!(!state.is_signed_out(&user("u1"), 1));
    }

    #[test]
    fn what_cannot_be_understood_is_passed_over() {
        let mut state = Sanctions::default();
        for text in [
            "",
            "{}",
            "null",
            r#"{"exile":{"user":"ada"}}"#,
            r#"{"ban":{"user":""}}"#,
            r#"{"kick":{"user":"a"}}"#,
        ] {
            assert_eq!(state.fold(state.upto() + 1, Some(text)), None, "{text}");
        }
        assert_eq!(state.fold(7, None), None);
        assert_eq!(state.upto(), 7);
        assert_eq!(state, Sanctions { upto: 7, ..Sanctions::default() });
    }

    fn measures() -> impl Strategy<Value = Measure> {
        let who = prop::sample::select(vec!["ada", "bob", "eve"]);
        let place = prop::sample::select(vec![None, room("a"), room("b")]);
        let until = prop::option::of(0..200_u64);
        (0..6_u8, who, place, until).prop_map(|(kind, who, place, until)| {
            let (user, until) = (user(who), until.map(time));
            match kind {
                0 => Measure::Ban { user, room: place, until, reason: None },
                1 => Measure::Unban { user, room: place },
                2 => Measure::Mute { user, room: place, until, reason: None },
                3 => Measure::Unmute { user, room: place },
                4 => Measure::Kick { user, room: RoomId::new("a").unwrap(), reason: None },
                _ => Measure::SignOut { user, reason: None },
            }
        })
    }

    #[derive(Clone, Debug)]
    enum Event {
        Append(Measure),
        /// A node begins a snapshot, of what it has folded so far.
        Begin,
        /// The next part of it is stored.
        Write,
    }

    proptest! {
        /// Facts come between the parts of a snapshot, which may be left unfinished; whoever loads the room then comes to what
        /// whoever followed it has.
        #[test]
        fn loading_comes_to_the_same_as_following(
            events in prop::collection::vec(prop_oneof![
                6 => measures().prop_map(Event::Append),
                1 => Just(Event::Begin),
                2 => Just(Event::Write),
            ], 0..80),
        ) {
            let (mut log, mut follower) = (Log::default(), Sanctions::default());
            let now = time(100);
            let mut writing: Option<(u64, Vec<String>)> = None;
            for event in events {
                let text = match event {
                    Event::Append(measure) => measure.to_json(),
                    Event::Begin => {
                        let mut parts = follower.snapshot(now);
                        parts.reverse();
                        writing = Some((follower.upto(), parts));
                        continue;
                    }
                    Event::Write => match writing.as_mut().and_then(|(_, parts)| parts.pop()) {
                        Some(text) => text,
                        None => continue,
                    },
                };
                let offset = log.append(text.clone());
                follower.fold(offset, Some(&text));
                if let Some((upto, _)) = writing.take_if(|(_, parts)| parts.is_empty()) {
                    log.trim(upto);
                }
                let mut loaded = log.load();
                let mut followed = follower.clone();
                loaded.prune(now);
                followed.prune(now);
                prop_assert_eq!(loaded, followed);
            }
        }
    }

    #[test]
    fn a_large_snapshot_comes_in_parts_and_counts_only_when_it_is_whole() {
        let mut log = Log::default();
        let mut state = Sanctions::default();
        for number in 0..PART_FACTS * 2 {
            let text = ban(&format!("u{number}"), None, None).to_json();
            state.fold(log.append(text.clone()), Some(&text));
        }
        let parts = state.snapshot(time(0));
        assert_eq!(parts.len(), 3);
        for text in &parts[..2] {
            log.append(text.clone());
        }
        assert_eq!(log.load().len(), PART_FACTS * 2, "nothing was trimmed yet, so nothing is missing");
        log.append(parts[2].clone());
        log.trim(state.upto());
        assert_eq!(log.entries.len(), 3);
        let loaded = log.load();
        assert_eq!((loaded.len(), &loaded.bans), (PART_FACTS * 2, &state.bans));
    }
}
