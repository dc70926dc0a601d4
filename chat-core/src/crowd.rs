//! Who is in a room, as far as this node knows: a roster, and the changes since. Pure.
//!
//! Changes come in any order, doubled, or not at all. They are taken in the order of their versions; one that comes too early waits for
//! those before it, and if they do not come the roster has to be read anew.

use std::collections::BTreeMap;

use crate::entry::Author;
use crate::id::{DisplayName, UserId};
use crate::presence::{Edge, Roster};

/// Changes that wait for an earlier one. More than a few only wait where that is lost.
const EARLY_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Crowd {
    known: Option<Known>,
    early: BTreeMap<u64, (Author, Edge)>,
    /// Changes were dropped that may be newer than the next roster.
    missed: bool,
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) version: u64,
    pub(crate) count: u64,
    /// `None` where there are too many.
    pub(crate) names: Option<BTreeMap<UserId, DisplayName>>,
}

/// A change, with what the room is after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) who: Author,
    pub(crate) change: Edge,
    pub(crate) version: u64,
    pub(crate) count: u64,
}

/// What a roster has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It is older than what is known.
    Nothing,
    /// What is known is right; perhaps there are names now.
    Same,
    /// Something else than was known.
    Other,
}

impl Crowd {
    pub(crate) fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    pub(crate) fn version(&self) -> Option<u64> {
        self.known.as_ref().map(|known| known.version)
    }

    /// Whether a change waits for one before it, or some were dropped.
    pub(crate) fn has_gap(&self) -> bool {
        self.known.is_some() && (self.missed || !self.early.is_empty())
    }

    /// Takes one change, and those that have waited for it. Names are kept of at most `names_max` people.
    pub(crate) fn hear(&mut self, who: &Author, change: Edge, version: u64, names_max: u64) -> Vec<Applied> {
        if self.version().is_some_and(|known| version <= known) {
            return Vec::new();
        }
        self.early.insert(version, (who.clone(), change));
        let applied = self.catch_up(names_max);
        if EARLY_MAX < self.early.len() {
            self.early.clear();
            self.missed = true;
        }
        applied
    }

    /// Takes a roster that was asked for when the version was `asked`, and the changes that have waited for it.
    pub(crate) fn look(
        &mut self,
        asked: Option<u64>,
        roster: &Roster,
        names_max: u64,
    ) -> (Shown, Vec<Applied>) {
        let shown = match self.version() {
            // What was known when it was asked is gone: the store has lost something.
            Some(_) if asked.is_some_and(|asked| roster.version < asked) => Shown::Other,
            Some(version) if roster.version < version => Shown::Nothing,
            Some(version) if roster.version == version => Shown::Same,
            Some(_) | None => Shown::Other,
        };
        if shown != Shown::Nothing {
            let is_whole = roster.members.len() as u64 == roster.total && roster.total <= names_max;
            let names = roster.members.iter().map(|member| (member.user.clone(), member.name.clone()));
            let names = is_whole.then(|| names.collect());
            self.known = Some(Known { version: roster.version, count: roster.total, names });
            self.missed = false;
        }
        (shown, self.catch_up(names_max))
    }

    /// Applies what continues the version that is known.
    fn catch_up(&mut self, names_max: u64) -> Vec<Applied> {
        let Some(known) = &mut self.known else { return Vec::new() };
        self.early = self.early.split_off(&(known.version + 1));
        let mut applied = Vec::new();
        while let Some((who, change)) = self.early.remove(&(known.version + 1)) {
            known.apply(&who, change, names_max);
            applied.push(Applied { who, change, version: known.version, count: known.count });
        }
        applied
    }
}

impl Known {
    fn apply(&mut self, who: &Author, change: Edge, names_max: u64) {
        self.version += 1;
        match change {
            Edge::Arrived => self.count += 1,
            Edge::Left => self.count = self.count.saturating_sub(1),
            Edge::Renamed => {}
        }
        if let Some(names) = &mut self.names {
            match change {
                Edge::Arrived | Edge::Renamed => names.insert(who.id.clone(), who.name.clone()),
                Edge::Left => names.remove(&who.id),
            };
        }
        self.names.take_if(|_| names_max < self.count);
    }
}
