//! The notices of one room on this node: who is there, who types, who has read how far. Pure; the time is an argument.
//!
//! A small log of its own: in the order in which they came, of each subject only the newest, bounded in number and age. A reader has a place
//! in it and is pulled, so nothing is queued for it. Whoever falls behind, and whoever is new, is told who is there ([`Told::Reset`]).
//!
//! In large rooms numbers are told in place of names, and not more often than at an interval.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::crowd::{Applied, Crowd, Known, Shown};
use crate::entry::Author;
use crate::id::{DisplayName, UserId};
use crate::limits::Limits;
use crate::notice::{Notice, Told, Typing};
use crate::position::Offset;
use crate::presence::{Edge, Roster};
use crate::published::Published;

/// How long a change waits for those before it, until the roster is read.
const GAP_PATIENCE: Duration = Duration::from_millis(100);
/// Readers who have moved since the last notice, told apart; further ones are counted as often as they move.
const MOVED_MAX: usize = 4_096;

/// What a reader is told, shared by all of this node.
pub(crate) type Shared = Arc<Published<Told>>;

/// How far a reader has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Everything up to here was returned, or is of no use.
    at: u64,
    /// Who is there was told as of here; 0 if never.
    baseline: u64,
    /// The reader was told that it is there itself, under this name, before that was known.
    assumed: Option<DisplayName>,
}

/// What follows from a change, outside the room's lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub(crate) struct Outcome {
    /// Readers have something new.
    pub(crate) tell: bool,
    /// The roster must be read.
    pub(crate) ask: bool,
    /// The other nodes should know, if this one was the first.
    pub(crate) news: bool,
}

impl Outcome {
    fn and(self, other: Self) -> Self {
        Self { tell: self.tell || other.tell, ask: self.ask || other.ask, news: self.news || other.news }
    }
}

#[derive(Debug)]
pub(crate) struct Notices {
    /// Whether it is known at all who is there.
    has_presence: bool,
    crowd: Crowd,
    /// Whoever was told who is there was told names.
    told_by_name: bool,
    /// The roster is being read; and is to be read again after that.
    asking: bool,
    ask_again: bool,
    /// A change waits for an earlier one, until then.
    gap_until: Option<Instant>,
    /// Who is there, until that changes.
    reset: OnceLock<Shared>,
    /// Who was told who is there before this has to be told again; so has who has not come so far.
    reset_at: u64,
    forgotten: u64,
    /// The sequence number of the next notice; they begin with 1.
    next: u64,
    kept: BTreeMap<u64, Kept>,
    newest: BTreeMap<Subject, u64>,
    typing: BTreeMap<UserId, Types>,
    expiries: BTreeSet<(Instant, UserId)>,
    due: Due,
    /// Numbers are not told again before this.
    quiet_until: Option<Instant>,
}

/// What a newer notice replaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Presence(UserId),
    Typing(UserId),
    Read(UserId),
    ManyTyping,
    ManyRead,
}

#[derive(Debug)]
struct Kept {
    subject: Subject,
    /// Whether the one whom it is about is told.
    own: Own,
    since: Instant,
    told: Shared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Told,
    /// Unless it was told already that it is there, under this name.
    ToldUnlessAssumed,
    Untold,
}

#[derive(Debug)]
struct Types {
    name: DisplayName,
    until: Instant,
    /// When the other nodes were told last.
    told_at: Instant,
    /// Readers were told of it by name.
    by_name: bool,
}

/// Numbers that changed since they were told.
#[derive(Debug, Default)]
struct Due {
    reset: bool,
    typing: bool,
    read: Option<(Offset, u64)>,
    moved: BTreeSet<UserId>,
}

impl Due {
    fn is_empty(&self) -> bool {
        !self.reset && !self.typing && self.read.is_none()
    }
}

impl Notices {
    pub(crate) fn new(has_presence: bool) -> Self {
        Self {
            has_presence,
            crowd: Crowd::default(),
            told_by_name: true,
            asking: false,
            ask_again: false,
            gap_until: None,
            reset: OnceLock::new(),
            reset_at: u64::from(has_presence),
            forgotten: 0,
            next: 2,
            kept: BTreeMap::new(),
            newest: BTreeMap::new(),
            typing: BTreeMap::new(),
            expiries: BTreeSet::new(),
            due: Due::default(),
            quiet_until: None,
        }
    }

    /// Where a reader begins: it is told who is there, and who types at this moment.
    pub(crate) fn begin(&self) -> Place {
        Place { at: self.next - 1, baseline: 0, assumed: None }
    }

    /// The roster is to be read, if it is not yet.
    pub(crate) fn want_roster(&mut self) -> Outcome {
        let ask = self.has_presence && !std::mem::replace(&mut self.asking, true);
        self.ask_again |= self.has_presence && !ask;
        Outcome { ask, ..Outcome::default() }
    }

    /// The same, if nobody has asked yet.
    pub(crate) fn want_first_roster(&mut self) -> Outcome {
        if self.asking || self.version().is_some() { Outcome::default() } else { self.want_roster() }
    }

    /// The version that is known, for [`look`](Self::look).
    pub(crate) fn version(&self) -> Option<u64> {
        self.crowd.version()
    }

    /// How many people a roster should name.
    pub(crate) fn names_max(limits: &Limits) -> u64 {
        // Twice as many as are told, so that not each departure from a room that is just too large is a reason to read the roster.
        limits.named_notices_max.saturating_mul(2)
    }

    /// Takes the roster that was asked for when the version was `asked`.
    pub(crate) fn look(
        &mut self,
        asked: Option<u64>,
        roster: &Roster,
        limits: &Limits,
        now: Instant,
    ) -> Outcome {
        self.asking = false;
        let is_first = self.version().is_none();
        let (shown, applied) = self.crowd.look(asked, roster, Self::names_max(limits));
        let mut outcome = Outcome::default();
        if shown != Shown::Nothing {
            self.reset = OnceLock::new();
        }
        if shown == Shown::Other {
            // Nobody could be told before.
            self.due.reset |= !is_first && limits.presence_notices_max < roster.total;
            if !is_first && !self.due.reset {
                self.tell_all_anew();
            }
            outcome.tell = is_first || !self.due.reset;
        }
        for change in applied {
            outcome = outcome.and(self.apply(change, limits, now));
        }
        self.mind_the_gap(now);
        if std::mem::take(&mut self.ask_again) {
            outcome = outcome.and(self.want_roster());
        }
        self.mind_the_names(is_first, limits);
        outcome.and(self.tell_numbers(limits, now))
    }

    /// Takes what somebody on this node does, or another node tells. `audience` are the readers here who are told notices.
    pub(crate) fn hear(&mut self, notice: &Notice, audience: u64, limits: &Limits, now: Instant) -> Outcome {
        let outcome = match notice {
            Notice::Presence { who, change, version } if self.has_presence => {
                let mut outcome = Outcome::default();
                for change in self.crowd.hear(who, *change, *version, Self::names_max(limits)) {
                    outcome = outcome.and(self.apply(change, limits, now));
                }
                self.mind_the_gap(now);
                self.mind_the_names(false, limits);
                outcome
            }
            Notice::Presence { .. } => Outcome::default(),
            Notice::Typing { who, typing: Typing::Started } => self.starts(who, audience, limits, now),
            Notice::Typing { who, typing: Typing::Stopped } => self.stops(&who.id, limits, now),
            Notice::Read { user, offset } => self.has_read(user, *offset, audience, limits, now),
        };
        outcome.and(self.tell_numbers(limits, now))
    }

    /// What time alone brings about; to be called at [`next_due`](Self::next_due).
    pub(crate) fn tick(&mut self, limits: &Limits, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some((until, user)) = self.expiries.first().cloned() {
            if now < until {
                break;
            }
            outcome = outcome.and(self.stops(&user, limits, now));
        }
        if self.gap_until.take_if(|until| *until <= now).is_some() {
            outcome = outcome.and(self.want_roster());
        }
        while self.kept.first_key_value().is_some_and(|(_, kept)| kept.since + limits.notices_kept_for <= now)
        {
            self.forget_oldest();
        }
        outcome.and(self.tell_numbers(limits, now))
    }

    /// When there is something to do without anybody doing something.
    pub(crate) fn next_due(&self, limits: &Limits) -> Option<Instant> {
        let expires = self.expiries.first().map(|(until, _)| *until);
        let numbers = self.quiet_until.filter(|_| !self.due.is_empty());
        let forgets = self.kept.first_key_value().map(|(_, kept)| kept.since + limits.notices_kept_for);
        [expires, self.gap_until, numbers, forgets].into_iter().flatten().min()
    }

    /// What comes after `place`, at most about `max` notices; it moves on. `who` need not be told what it does itself.
    pub(crate) fn read(&self, place: &mut Place, who: &Author, limits: &Limits, max: usize) -> Vec<Shared> {
        let head = self.next - 1;
        let is_behind = place.baseline < self.reset_at || place.at.max(place.baseline) < self.forgotten;
        if place.at == head && !is_behind {
            return Vec::new();
        }
        let mut run = Vec::new();
        if is_behind && let Some(reset) = self.reset(who, limits) {
            run.push(reset);
            run.extend(self.typing_upto(place.at, who));
            place.baseline = head;
            place.assumed = self.is_assumed(who).then(|| who.name.clone());
        }
        for (number, kept) in self.kept.range(place.at + 1..) {
            if max <= run.len() {
                return run;
            }
            place.at = *number;
            let is_covered = matches!(kept.subject, Subject::Presence(_)) && *number <= place.baseline;
            if !is_covered && kept.is_told_to(who, place) {
                run.push(kept.told.clone());
            }
        }
        place.at = head;
        run
    }

    /// How many bytes the notices take that are kept, about; without what wire formats made of them.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let author = |who: &Author| who.id.as_str().len() + who.name.as_str().len();
        let of = |kept: &Kept| {
            let told = match &**kept.told {
                Told::Presence { who, .. } | Told::Typing { who, .. } => author(who),
                Told::Read { user, .. } => user.as_str().len(),
                Told::Reset { online, .. } => online.iter().flatten().map(author).sum(),
                Told::ManyTyping { .. } | Told::ManyRead { .. } => 0,
            };
            size_of::<Kept>() + size_of::<Published<Told>>() + size_of::<(Subject, u64)>() + told
        };
        self.kept.values().map(of).sum()
    }

    /// Whether who is there is told by name.
    fn is_named(&self, limits: &Limits) -> bool {
        let named = |known: &Known| known.names.is_some() && known.count <= limits.named_notices_max;
        self.crowd.known().is_some_and(named)
    }

    /// Whether typing and reading is told in numbers. Where nobody knows who is there, those who listen are counted.
    fn is_large(&self, audience: u64, limits: &Limits) -> bool {
        limits.named_notices_max < self.crowd.known().map_or(0, |known| known.count).max(audience)
    }

    fn apply(&mut self, change: Applied, limits: &Limits, now: Instant) -> Outcome {
        let Applied { who, change, version, count } = change;
        self.reset = OnceLock::new();
        let mut outcome = Outcome::default();
        if change == Edge::Left {
            outcome = outcome.and(self.stops(&who.id, limits, now));
        }
        if limits.presence_notices_max < count {
            self.due.reset = true;
            return outcome;
        }
        let lacks_names = self.crowd.known().is_some_and(|known| known.names.is_none());
        if lacks_names && count <= limits.named_notices_max {
            outcome = outcome.and(self.want_roster());
        }
        let own = match change {
            Edge::Arrived => Own::ToldUnlessAssumed,
            Edge::Renamed => Own::Told,
            Edge::Left => Own::Untold,
        };
        let subject = Subject::Presence(who.id.clone());
        let online = change != Edge::Left;
        outcome.and(self.keep(subject, own, Told::Presence { who, online, version, count }, limits, now))
    }

    fn mind_the_gap(&mut self, now: Instant) {
        let until = self.gap_until.unwrap_or(now + GAP_PATIENCE);
        self.gap_until = self.crowd.has_gap().then_some(until);
    }

    /// A room that was too large for names and is not any more: who was told a number is told names.
    fn mind_the_names(&mut self, is_first: bool, limits: &Limits) {
        let is_named = self.is_named(limits);
        self.due.reset |= is_named && !self.told_by_name && !is_first;
        self.told_by_name = is_named;
    }

    fn starts(&mut self, who: &Author, audience: u64, limits: &Limits, now: Instant) -> Outcome {
        let until = now + limits.typing_expiry;
        if let Some(types) = self.typing.get_mut(&who.id) {
            self.expiries.remove(&(types.until, who.id.clone()));
            self.expiries.insert((until, who.id.clone()));
            types.until = until;
            // The other nodes let it expire, too.
            let news = limits.typing_expiry / 2 <= now - types.told_at;
            if news {
                types.told_at = now;
            }
            return Outcome { news, ..Outcome::default() };
        }
        let by_name = !self.is_large(audience, limits);
        self.expiries.insert((until, who.id.clone()));
        self.typing.insert(who.id.clone(), Types { name: who.name.clone(), until, told_at: now, by_name });
        let outcome = Outcome { news: true, ..Outcome::default() };
        if !by_name {
            self.due.typing = true;
            return outcome;
        }
        let told = Told::Typing { who: who.clone(), typing: Typing::Started };
        outcome.and(self.keep(Subject::Typing(who.id.clone()), Own::Untold, told, limits, now))
    }

    fn stops(&mut self, user: &UserId, limits: &Limits, now: Instant) -> Outcome {
        let Some(Types { name, until, by_name, .. }) = self.typing.remove(user) else {
            return Outcome::default();
        };
        self.expiries.remove(&(until, user.clone()));
        let outcome = Outcome { news: true, ..Outcome::default() };
        if !by_name {
            self.due.typing = true;
            return outcome;
        }
        let told = Told::Typing { who: Author { id: user.clone(), name }, typing: Typing::Stopped };
        outcome.and(self.keep(Subject::Typing(user.clone()), Own::Untold, told, limits, now))
    }

    fn has_read(
        &mut self,
        user: &UserId,
        offset: Offset,
        audience: u64,
        limits: &Limits,
        now: Instant,
    ) -> Outcome {
        let outcome = Outcome { news: true, ..Outcome::default() };
        if self.is_large(audience, limits) {
            let is_first = MOVED_MAX <= self.due.moved.len() || self.due.moved.insert(user.clone());
            let (furthest, count) = self.due.read.unwrap_or((offset, 0));
            self.due.read = Some((furthest.max(offset), count + u64::from(is_first)));
            return outcome;
        }
        let subject = Subject::Read(user.clone());
        let newest = self.newest.get(&subject).and_then(|number| self.kept.get(number));
        let is_old = |kept: &Kept| matches!(&**kept.told, Told::Read { offset: told, .. } if offset <= *told);
        if newest.is_some_and(is_old) {
            return Outcome::default();
        }
        outcome.and(self.keep(subject, Own::Told, Told::Read { user: user.clone(), offset }, limits, now))
    }

    /// Tells the numbers that have changed, if they were not told just now.
    fn tell_numbers(&mut self, limits: &Limits, now: Instant) -> Outcome {
        if self.due.is_empty() || self.quiet_until.is_some_and(|until| now < until) {
            return Outcome::default();
        }
        self.quiet_until = Some(now + limits.counted_notices_interval);
        let Due { reset, typing, read, .. } = std::mem::take(&mut self.due);
        if reset {
            self.tell_all_anew();
        }
        if typing {
            let count = self.typing.values().filter(|types| !types.by_name).count() as u64;
            let _ = self.keep(Subject::ManyTyping, Own::Told, Told::ManyTyping { count }, limits, now);
        }
        if let Some((offset, count)) = read {
            let _ = self.keep(Subject::ManyRead, Own::Told, Told::ManyRead { offset, count }, limits, now);
        }
        Outcome { tell: true, ..Outcome::default() }
    }

    /// Each reader is told who is there, before anything that comes after this.
    fn tell_all_anew(&mut self) {
        self.reset_at = self.next;
        self.next += 1;
    }

    fn keep(&mut self, subject: Subject, own: Own, told: Told, limits: &Limits, now: Instant) -> Outcome {
        let number = self.next;
        self.next += 1;
        if let Some(older) = self.newest.insert(subject.clone(), number) {
            self.kept.remove(&older);
        }
        self.kept.insert(number, Kept { subject, own, since: now, told: Arc::new(Published::new(told)) });
        while limits.notices_kept_max.get() < self.kept.len() {
            self.forget_oldest();
        }
        Outcome { tell: true, ..Outcome::default() }
    }

    fn forget_oldest(&mut self) {
        let Some((number, kept)) = self.kept.pop_first() else { return };
        self.newest.remove(&kept.subject);
        // Who has read how far is no more than a courtesy.
        if !matches!(kept.subject, Subject::Read(_) | Subject::ManyRead) {
            self.forgotten = number;
        }
    }

    /// Who is there, `who` included: it is, whether or not that is known here already.
    fn reset(&self, who: &Author, limits: &Limits) -> Option<Shared> {
        let known = self.crowd.known()?;
        let names = known.names.as_ref().filter(|_| self.is_named(limits));
        if names.is_none_or(|names| names.contains_key(&who.id)) {
            let reset = || Arc::new(Published::new(reset_of(known, names, None)));
            return Some(self.reset.get_or_init(reset).clone());
        }
        Some(Arc::new(Published::new(reset_of(known, names, Some(who)))))
    }

    /// Whether that `who` is there is not known here yet, or nobody can tell.
    fn is_assumed(&self, who: &Author) -> bool {
        let names = self.crowd.known().and_then(|known| known.names.as_ref());
        names.is_none_or(|names| !names.contains_key(&who.id))
    }

    /// Who was told to type up to `place`, and does still: a reset counts for that, too.
    fn typing_upto(&self, place: u64, who: &Author) -> Vec<Shared> {
        let of = |subject| self.newest.get(&subject).filter(|number| **number <= place);
        let named = self.typing.iter().filter(|(user, types)| types.by_name && **user != who.id);
        let named = named.filter_map(|(user, _)| of(Subject::Typing(user.clone())));
        let many = of(Subject::ManyTyping).filter(|_| self.typing.values().any(|types| !types.by_name));
        named.chain(many).filter_map(|number| Some(self.kept.get(number)?.told.clone())).collect()
    }
}

impl Kept {
    fn is_told_to(&self, who: &Author, place: &mut Place) -> bool {
        let (Subject::Presence(user) | Subject::Typing(user)) = &self.subject else { return true };
        if *user != who.id {
            return true;
        }
        match &**self.told {
            Told::Presence { who: shown, .. } => {
                let was_assumed = place.assumed.take().as_ref() == Some(&shown.name);
                self.own == Own::Told || (self.own == Own::ToldUnlessAssumed && !was_assumed)
            }
            _ => self.own == Own::Told,
        }
    }
}

fn reset_of(known: &Known, names: Option<&BTreeMap<UserId, DisplayName>>, also: Option<&Author>) -> Told {
    let online = names.map(|names| {
        let mut online: Vec<_> =
            names.iter().map(|(id, name)| Author { id: id.clone(), name: name.clone() }).collect();
        if let Some(who) = also {
            let place = online.partition_point(|other| other.id < who.id);
            online.insert(place, who.clone());
        }
        online
    });
    Told::Reset { version: known.version, count: known.count + u64::from(also.is_some()), online }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::presence::Member;

    fn who(number: u64) -> Author {
        let id = UserId::new(&format!("user {number:05}")).unwrap();
        Author { id, name: DisplayName::new(&format!("User {number}")).unwrap() }
    }

    fn offset(number: u64) -> Offset {
        Offset::new(number).unwrap()
    }

    fn presence(number: u64, change: Edge, version: u64) -> Notice {
        Notice::Presence { who: who(number), change, version }
    }

    fn typing(number: u64, typing: Typing) -> Notice {
        Notice::Typing { who: who(number), typing }
    }

    fn read(number: u64, upto: u64) -> Notice {
        Notice::Read { user: who(number).id, offset: offset(upto) }
    }

    fn roster(version: u64, users: impl IntoIterator<Item = u64>) -> Roster {
        let member = |Author { id, name }| Member { user: id, name, devices: 1 };
        let members: Vec<_> = users.into_iter().map(|number| member(who(number))).collect();
        Roster { version, total: members.len() as u64, members }
    }

    /// A room with people in it, and somebody who is told notices.
    struct Room {
        notices: Notices,
        limits: Limits,
        now: Instant,
        audience: u64,
        place: Place,
    }

    impl Room {
        fn of(people: u64) -> Self {
            let (limits, now) = (Limits::default(), Instant::now());
            let mut notices = Notices::new(true);
            assert!(notices.want_roster().ask);
            let mut roster = roster(1, 0..people);
            roster.members.truncate(Notices::names_max(&limits) as usize);
            assert!(notices.look(None, &roster, &limits, now).tell);
            let place = notices.begin();
            let mut room = Self { notices, limits, now, audience: 1, place };
            assert!(matches!(&room.told()[..], [Told::Reset { version: 1, .. }]));
            room
        }

        fn hear(&mut self, notice: Notice) -> Outcome {
            self.notices.hear(&notice, self.audience, &self.limits, self.now)
        }

        fn told_to(&self, place: &mut Place, number: u64) -> Vec<Told> {
            let told = self.notices.read(place, &who(number), &self.limits, 1_000);
            told.iter().map(|told| Told::clone(told)).collect()
        }

        /// What somebody else is told, who has not looked for a while.
        fn told(&mut self) -> Vec<Told> {
            let mut place = self.place.clone();
            let told = self.told_to(&mut place, 0);
            self.place = place;
            told
        }

        /// Lets time pass, doing what is due at its time.
        fn pass(&mut self, time: Duration) -> Outcome {
            let end = self.now + time;
            let mut outcome = Outcome::default();
            while let Some(due) = self.notices.next_due(&self.limits).filter(|due| *due <= end) {
                self.now = due;
                outcome = outcome.and(self.notices.tick(&self.limits, due));
            }
            self.now = end;
            outcome
        }
    }

    #[test]
    fn who_types_is_told_once_and_again_when_it_stops() {
        let mut room = Room::of(3);
        let second = Duration::from_secs(1);
        let started = Told::Typing { who: who(1), typing: Typing::Started };
        let stopped = Told::Typing { who: who(1), typing: Typing::Stopped };
        assert_eq!(room.hear(typing(1, Typing::Started)), Outcome { tell: true, ask: false, news: true });
        assert_eq!(room.told(), std::slice::from_ref(&started));
        let _ = room.pass(second);
        assert_eq!(room.hear(typing(1, Typing::Started)), Outcome::default(), "said again");
        assert_eq!(room.told(), []);
        assert!(room.hear(typing(1, Typing::Stopped)).news);
        assert_eq!(room.hear(typing(1, Typing::Stopped)), Outcome::default());
        assert_eq!(room.told(), std::slice::from_ref(&stopped));
        let _ = room.hear(typing(1, Typing::Started));
        let _ = room.hear(typing(1, Typing::Stopped));
        assert_eq!(room.told(), [stopped], "only the newest counts");
    }

    #[test]
    fn typing_expires_by_itself_unless_it_is_said_again() {
        let mut room = Room::of(3);
        let _ = room.hear(typing(1, Typing::Started));
        let _ = room.told();
        for _ in 0..3 {
            assert!(!room.pass(Duration::from_secs(4)).tell);
            let again = room.hear(typing(1, Typing::Started));
            assert_eq!((again.tell, again.news), (false, true), "the other nodes let it expire, too");
        }
        assert!(room.pass(Duration::from_secs(6)).tell);
        assert_eq!(room.told(), [Told::Typing { who: who(1), typing: Typing::Stopped }]);
    }

    #[test]
    fn nobody_is_told_its_own_typing_and_coming() {
        let mut room = Room::of(3);
        let mut own = room.notices.begin();
        assert!(matches!(&room.told_to(&mut own, 7)[..], [Told::Reset { .. }]));
        let _ = room.hear(typing(7, Typing::Started));
        let _ = room.hear(presence(7, Edge::Arrived, 2));
        assert_eq!(room.told_to(&mut own, 7), []);
        assert_eq!(room.told().len(), 2);
        let _ = room.hear(presence(7, Edge::Left, 3));
        assert_eq!(room.told_to(&mut own, 7), []);
        let _ = room.hear(presence(7, Edge::Arrived, 4));
        assert_eq!(room.told_to(&mut own, 7).len(), 1, "it may be under the name of another device");
        let _ = room.hear(presence(7, Edge::Renamed, 5));
        assert_eq!(room.told_to(&mut own, 7).len(), 1, "a name may have been changed elsewhere");
        let _ = room.hear(read(7, 5));
        assert_eq!(room.told_to(&mut own, 7).len(), 1, "another device has read");
    }

    #[test]
    fn who_comes_is_told_who_is_there_itself_included_and_who_types() {
        let mut room = Room::of(2);
        let _ = room.hear(typing(1, Typing::Started));
        let _ = room.hear(read(1, 3));
        let mut place = room.notices.begin();
        let online = Some(vec![who(0), who(1), who(7)]);
        let expected = [
            Told::Reset { version: 1, count: 3, online },
            Told::Typing { who: who(1), typing: Typing::Started },
        ];
        assert_eq!(room.told_to(&mut place, 7), expected);
        let _ = room.hear(presence(7, Edge::Arrived, 2));
        assert_eq!(room.told_to(&mut place, 7), []);
        let mut place = room.notices.begin();
        let told = room.notices.read(&mut place, &who(1), &room.limits, 9);
        let mut place = room.notices.begin();
        let again = room.notices.read(&mut place, &who(7), &room.limits, 9);
        assert!(Arc::ptr_eq(&told[0], &again[0]), "it is made once for all that come");
    }

    #[test]
    fn a_change_that_comes_too_early_waits_a_moment_and_then_the_roster_is_read_once() {
        let mut room = Room::of(2);
        assert_eq!(room.hear(presence(4, Edge::Arrived, 3)), Outcome::default());
        assert!(room.hear(presence(3, Edge::Arrived, 2)).tell);
        assert_eq!(room.told().len(), 2);
        assert!(!room.pass(GAP_PATIENCE * 2).ask, "nothing is missing");
        let _ = room.hear(presence(6, Edge::Arrived, 5));
        assert!(room.pass(GAP_PATIENCE).ask);
        let asked = room.notices.version();
        let _ = room.hear(presence(7, Edge::Arrived, 6));
        assert!(!room.pass(GAP_PATIENCE * 3).ask, "it is being read");
        let (limits, now) = (room.limits.clone(), room.now);
        let outcome = room.notices.look(asked, &roster(5, [0, 1, 3, 4, 5, 6]), &limits, now);
        assert!(outcome.tell);
        let told = room.told();
        assert!(matches!(&told[0], Told::Reset { version: 6, count: 7, .. }), "{told:?}");
        assert_eq!(told.len(), 1, "and nothing that the reset has told");
    }

    #[test]
    fn a_store_that_has_gone_back_is_believed() {
        let mut room = Room::of(2);
        let _ = room.hear(presence(5, Edge::Arrived, 2));
        let (asked, limits, now) = (room.notices.version(), room.limits.clone(), room.now);
        let _ = room.notices.look(asked, &roster(1, [0]), &limits, now);
        assert!(matches!(&room.told()[..], [Told::Reset { version: 1, count: 1, .. }]));
        let asked = room.notices.version();
        let _ = room.hear(presence(5, Edge::Arrived, 2));
        let _ = room.notices.look(asked, &roster(1, [0]), &limits, now);
        assert!(
            matches!(&room.told()[..], [Told::Presence { version: 2, .. }]),
            "an answer that was overtaken is not"
        );
    }

    #[test]
    fn in_a_large_room_numbers_are_told_at_most_once_a_second() {
        let mut room = Room::of(101);
        room.limits.presence_notices_max = 101;
        for number in 1..=50 {
            let _ = room.hear(typing(number, Typing::Started));
            let _ = room.hear(read(number, number));
            let _ = room.hear(read(number, number + 1));
        }
        let first = [Told::ManyTyping { count: 1 }];
        assert_eq!(room.told(), first, "the first at once");
        let _ = room.pass(Duration::from_secs(1));
        assert_eq!(
            room.told(),
            [Told::ManyTyping { count: 50 }, Told::ManyRead { offset: offset(51), count: 50 }]
        );
        let _ = room.pass(Duration::from_secs(1));
        for number in 0..20 {
            let _ = room.hear(presence(1_000 + number, Edge::Arrived, 2 + number));
        }
        let told = room.told();
        let [Told::Reset { version: 21, count: 121, online: None }, typing] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(*typing, Told::ManyTyping { count: 50 }, "a reset counts for that, too");
        let _ = room.hear(presence(1_100, Edge::Arrived, 22));
        assert_eq!(room.told(), []);
        let _ = room.pass(Duration::from_secs(1));
        assert!(matches!(&room.told()[..], [Told::Reset { version: 22, count: 122, online: None }, _]));
    }

    #[test]
    fn a_room_that_becomes_small_again_is_told_by_name() {
        let mut room = Room::of(101);
        let _ = room.hear(presence(100, Edge::Left, 2));
        let told = room.told();
        assert!(
            matches!(&told[..], [Told::Reset { count: 100, online: Some(names), .. }] if names.len() == 100)
        );
    }

    #[test]
    fn whoever_falls_behind_what_is_kept_is_told_anew_who_is_there() {
        let mut room = Room::of(2);
        room.limits.notices_kept_max = NonZeroUsize::new(3).unwrap();
        for number in 10..15 {
            let _ = room.hear(presence(number, Edge::Arrived, number - 8));
        }
        let told = room.told();
        assert!(matches!(&told[..], [Told::Reset { version: 6, count: 7, .. }]), "{told:?}");
        let _ = room.hear(presence(20, Edge::Arrived, 7));
        let _ = room.pass(room.limits.notices_kept_for);
        assert!(room.notices.kept.is_empty() && room.notices.newest.is_empty());
        assert!(matches!(&room.told()[..], [Told::Reset { version: 7, .. }]), "old ones are kept for nobody");
        assert_eq!(room.notices.next_due(&room.limits), None);
    }

    #[test]
    fn without_presence_typing_and_reading_are_told_all_the_same() {
        let (limits, now) = (Limits::default(), Instant::now());
        let mut notices = Notices::new(false);
        assert_eq!(notices.want_roster(), Outcome::default());
        let mut place = notices.begin();
        assert_eq!(notices.hear(&presence(1, Edge::Arrived, 1), 2, &limits, now), Outcome::default());
        assert!(notices.hear(&typing(1, Typing::Started), 2, &limits, now).tell);
        assert!(notices.hear(&typing(2, Typing::Started), 101, &limits, now).tell);
        let told = notices.read(&mut place, &who(0), &limits, 9);
        assert!(matches!(&**told[0], Told::Typing { .. }), "{told:?}");
        assert!(matches!(&**told[1], Told::ManyTyping { count: 1 }), "{told:?}");
    }

    /// In a room of a thousand: what a storm of typing and reading leaves behind, and how often readers are woken.
    #[test]
    fn typing_and_reading_in_a_room_of_1_000_cost_two_notices_a_second() {
        let mut room = Room::of(1_000);
        room.audience = 1_000;
        let (mut waves, mut kept_max, mut bytes_max) = (0, 0, 0);
        for step in 0..10_000_u64 {
            let change =
                if step % 2 == 0 { typing(step % 1_000, Typing::Started) } else { read(step % 1_000, step) };
            waves += u64::from(room.hear(change).tell);
            waves += u64::from(room.pass(Duration::from_millis(1)).tell);
            kept_max = kept_max.max(room.notices.kept.len());
            bytes_max = bytes_max.max(room.notices.bytes());
        }
        assert!(waves <= 11, "{waves} waves in ten seconds");
        assert!(kept_max <= 2, "{kept_max} kept");
        assert!(bytes_max <= 1_024, "{bytes_max} bytes kept");
    }

    /// The most that a room ever keeps: each person in as many as there may be, with the longest of names.
    #[test]
    fn the_notices_of_a_room_keep_within_their_bound() {
        let mut room = Room::of(100);
        for number in 0..100 {
            let _ = room.hear(presence(number, Edge::Renamed, 2 + number));
            let _ = room.hear(typing(number, Typing::Started));
            let _ = room.hear(read(number, 7));
        }
        assert_eq!(room.notices.kept.len(), 300);
        let bytes = room.notices.bytes();
        assert!(bytes < 160_000, "{bytes} bytes kept");
    }

    /// What somebody can tell of a room who has been told no more than this.
    #[derive(Debug, Default)]
    struct View {
        version: u64,
        online: BTreeMap<UserId, DisplayName>,
        typing: BTreeSet<UserId>,
    }

    impl View {
        fn take(&mut self, told: &Told) {
            match told.clone() {
                Told::Reset { version, online, .. } => {
                    self.version = version;
                    self.typing.clear();
                    self.online = online.unwrap().into_iter().map(|who| (who.id, who.name)).collect();
                }
                Told::Presence { who, online, version, count } => {
                    assert!(self.version < version, "{version} after {}", self.version);
                    self.version = version;
                    match online {
                        true => drop(self.online.insert(who.id, who.name)),
                        false => drop(self.online.remove(&who.id)),
                    }
                    // What is between two notices is left out only where a newer one of the same person is still to come.
                    assert!(self.online.len() as u64 <= count + 10);
                }
                Told::Typing { who, typing: Typing::Started } => drop(self.typing.insert(who.id)),
                Told::Typing { who, typing: Typing::Stopped } => drop(self.typing.remove(&who.id)),
                _ => {}
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Somebody comes or goes, if that is a change; and how often the news of it arrives, and how late.
        Change {
            user: u64,
            edge: Edge,
            times: usize,
            late: bool,
        },
        Typing {
            user: u64,
            typing: Typing,
        },
        /// A reader looks, and takes at most so much.
        Look {
            reader: usize,
            max: usize,
        },
        /// A reader comes anew.
        Come {
            reader: usize,
        },
        Pass {
            millis: u64,
        },
        /// The roster that was asked for, as it was then or is now.
        Answer {
            stale: bool,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let edge = prop_oneof![Just(Edge::Arrived), Just(Edge::Left), Just(Edge::Renamed)];
        let typing = prop_oneof![Just(Typing::Started), Just(Typing::Stopped)];
        let step = prop_oneof![
            6 => (0..5_u64, edge, 0..3_usize, any::<bool>())
                .prop_map(|(user, edge, times, late)| Step::Change { user, edge, times, late }),
            1 => (0..5_u64, typing).prop_map(|(user, typing)| Step::Typing { user, typing }),
            4 => (0..3_usize, 1..4_usize).prop_map(|(reader, max)| Step::Look { reader, max }),
            1 => (0..3_usize).prop_map(|reader| Step::Come { reader }),
            2 => (0..3_000_u64).prop_map(|millis| Step::Pass { millis }),
            2 => any::<bool>().prop_map(|stale| Step::Answer { stale }),
        ];
        proptest::collection::vec(step, 1..80)
    }

    proptest! {
        /// News may be lost, doubled and late, and rosters old: when that is over and the roster was compared once more, everybody
        /// knows who is there, whatever it was told and however slowly.
        #[test]
        fn every_reader_comes_to_know_who_is_there(steps in steps(), kept in 1..6_usize) {
            let limits = Limits { notices_kept_max: NonZeroUsize::new(kept).unwrap(), ..Limits::default() };
            let mut now = Instant::now();
            let mut notices = Notices::new(true);
            let mut truth: BTreeMap<UserId, (u64, DisplayName)> = BTreeMap::new();
            let mut version = 0;
            let roster_of = |truth: &BTreeMap<UserId, (u64, DisplayName)>, version| {
                let member = |(user, (_, name)): (&UserId, &(u64, DisplayName))|
                    Member { user: user.clone(), name: name.clone(), devices: 1 };
                let members: Vec<_> = truth.iter().map(member).collect();
                Roster { version, total: members.len() as u64, members }
            };
            let mut late: Vec<Notice> = Vec::new();
            // Readers nobody of whom is one of those that come and go.
            let reader = who(99);
            let mut readers: Vec<_> = (0..3).map(|_| (notices.begin(), View::default())).collect();
            let mut asked = notices.want_roster().ask.then(|| (notices.version(), roster_of(&truth, version)));
            for step in steps {
                let outcome = match step {
                    Step::Change { user, edge, times, late: is_late } => {
                        let mut person = who(user);
                        let is_there = truth.contains_key(&person.id);
                        if is_there == (edge == Edge::Arrived) {
                            continue;
                        }
                        version += 1;
                        person.name = DisplayName::new(&format!("Name {version}")).unwrap();
                        match edge {
                            Edge::Left => drop(truth.remove(&person.id)),
                            _ => drop(truth.insert(person.id.clone(), (user, person.name.clone()))),
                        }
                        let notice = Notice::Presence { who: person, change: edge, version };
                        if is_late {
                            late.push(notice);
                            continue;
                        }
                        let mut outcome = Outcome::default();
                        for notice in std::iter::repeat_n(notice, times).chain(late.pop()) {
                            outcome = outcome.and(notices.hear(&notice, 3, &limits, now));
                        }
                        outcome
                    }
                    Step::Typing { user, typing } => {
                        notices.hear(&Notice::Typing { who: who(user), typing }, 3, &limits, now)
                    }
                    Step::Look { reader: number, max } => {
                        let (place, view) = &mut readers[number];
                        let told = notices.read(place, &reader, &limits, max);
                        told.iter().for_each(|told| view.take(told));
                        continue;
                    }
                    Step::Come { reader } => {
                        readers[reader] = (notices.begin(), View::default());
                        continue;
                    }
                    Step::Pass { millis } => {
                        now += Duration::from_millis(millis);
                        notices.tick(&limits, now)
                    }
                    Step::Answer { stale } => match asked.take() {
                        Some((asked, old)) => {
                            let roster = if stale { old } else { roster_of(&truth, version) };
                            notices.look(asked, &roster, &limits, now)
                        }
                        None => continue,
                    },
                };
                if outcome.ask {
                    asked = Some((notices.version(), roster_of(&truth, version)));
                }
                prop_assert!(notices.kept.len() <= kept && notices.newest.len() == notices.kept.len());
            }
            // All is well from here on, and the roster is compared once more.
            let mut ask = notices.want_roster().ask || asked.is_some();
            while ask {
                let asked = notices.version();
                ask = notices.look(asked, &roster_of(&truth, version), &limits, now).ask;
            }
            for _ in 0..100 {
                let Some(due) = notices.next_due(&limits) else { break };
                now = now.max(due);
                let _ = notices.tick(&limits, now);
            }
            prop_assert_eq!(notices.next_due(&limits), None, "and it comes to rest");
            let mut expected: BTreeMap<_, _> =
                truth.into_iter().map(|(user, (_, name))| (user, name)).collect();
            for (place, view) in &mut readers {
                loop {
                    let told = notices.read(place, &reader, &limits, 2);
                    if told.is_empty() {
                        break;
                    }
                    told.iter().for_each(|told| view.take(told));
                }
                expected.insert(reader.id.clone(), reader.name.clone());
                view.online.insert(reader.id.clone(), reader.name.clone());
                prop_assert!(view.typing.is_empty(), "all of it has expired");
                prop_assert_eq!(&view.online, &expected);
            }
        }
    }
}
