//! Where a reader begins: checks a client's claim against the log, and finds where to go on when history is gone.

use std::sync::Arc;

use crate::error::StoreResult;
use crate::mutants::{Mutant, mutated};
use crate::page::Fetched;
use crate::position::{Bookmark, Bounds, Offset, Position};
use crate::room::Room;
use crate::rooms::Rooms;

/// Where a reader wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After a position that the server gave; checked in full.
    Bookmark(Bookmark),
    /// After a position of which 8 bits of the fingerprint were kept, for want of space: [`Fingerprint::abridged`](crate::Fingerprint::abridged).
    /// One other history in 256 passes for it, so whoever resumes in several rooms keeps something of all their fingerprints together as well.
    Abridged {
        /// The offset of the entry it stands behind.
        offset: Offset,
        /// What is left of its fingerprint.
        fingerprint: u8,
    },
    /// After a bare offset; only checked against the oldest and newest entry kept. 0 is [`Since::Start`].
    Offset(Offset),
    /// With the oldest entry kept, within [`Limits::first_visit_entries_max`](crate::Limits::first_visit_entries_max).
    Start,
    /// With the newest so many entries.
    Last(u64),
    /// With what is posted from now on.
    Now,
}

/// Where a reader does begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// What it has, in the room's present epoch.
    pub(crate) at: Bookmark,
    pub(crate) bounds: Bounds,
    /// History between where it wanted to begin and `at` is gone.
    pub(crate) lost: bool,
}

/// Finds the place for a new reader of an open room. A resume costs no call of the log where the tail can tell.
pub(crate) async fn find(rooms: &Arc<Rooms>, room: &Arc<Room>, since: Since) -> StoreResult<Place> {
    let claim = match since {
        Since::Bookmark(bookmark) => Claim::Bookmark(bookmark),
        Since::Abridged { offset, fingerprint } => Claim::Abridged { offset, fingerprint },
        Since::Offset(offset) if offset != Offset::ZERO => Claim::Offset(offset),
        _ => return first_visit(rooms, room, since).await,
    };
    if mutated(Mutant::ResumeAtHead) {
        let bounds = rooms.bounds(&room.id).await?;
        return Ok(Place { at: bounds.head, bounds, lost: false });
    }
    check(rooms, room, claim).await
}

/// Asks the log, not the tail: another node may have posted or trimmed what this one has not heard of.
async fn first_visit(rooms: &Arc<Rooms>, room: &Arc<Room>, since: Since) -> StoreResult<Place> {
    let bounds = rooms.bounds(&room.id).await?;
    rooms.note(&room.id, bounds.head.position);
    let newest = match since {
        _ if mutated(Mutant::BeginAtHead) => Some(0),
        Since::Now => Some(0),
        Since::Last(newest) => Some(newest),
        _ => first_visit_entries_max(rooms),
    };
    begin_at(rooms, room, bounds, bounds.before_newest(newest)).await
}

/// Checks the place of a reader that the tail or a page contradicts.
pub(crate) async fn check_again(rooms: &Arc<Rooms>, room: &Arc<Room>, at: Bookmark) -> StoreResult<Place> {
    ask_the_log(rooms, room, Claim::Bookmark(at)).await
}

/// Where to go on when everything up to `bounds.trimmed` is gone, or has nothing to do with what the reader knows.
pub(crate) async fn after_loss(rooms: &Arc<Rooms>, room: &Arc<Room>, bounds: Bounds) -> StoreResult<Place> {
    let from = match mutated(Mutant::SkipAfterLoss) {
        true => bounds.head.offset(),
        false => bounds.before_newest(first_visit_entries_max(rooms)),
    };
    Ok(Place { lost: true, ..begin_at(rooms, room, bounds, from).await? })
}

fn first_visit_entries_max(rooms: &Rooms) -> Option<u64> {
    rooms.limits.first_visit_entries_max.filter(|_| !mutated(Mutant::IgnoreFirstVisitMax))
}

/// What a client says it has.
#[derive(Clone, Copy)]
enum Claim {
    Offset(Offset),
    Abridged { offset: Offset, fingerprint: u8 },
    Bookmark(Bookmark),
}

impl Claim {
    fn offset(self) -> Offset {
        match self {
            Self::Offset(offset) | Self::Abridged { offset, .. } => offset,
            Self::Bookmark(bookmark) => bookmark.offset(),
        }
    }

    /// The epoch is not compared: it changes when a store has lost something, and whoever lost nothing by it need not be told.
    /// An equal entry at an equal offset has the same history.
    fn agrees_with(self, found: Bookmark) -> bool {
        match self {
            Self::Offset(_) => true,
            Self::Abridged { fingerprint, .. } => fingerprint == found.fingerprint.abridged(),
            Self::Bookmark(claimed) => {
                claimed.fingerprint == found.fingerprint || mutated(Mutant::BelieveFingerprint)
            }
        }
    }
}

/// Checks a claim; costs no call of the log where the tail confirms it, and a shared page where it lies before the tail.
async fn check(rooms: &Arc<Rooms>, room: &Arc<Room>, claim: Claim) -> StoreResult<Place> {
    let wanted = claim.offset();
    let (known, bounds) = {
        let state = room.lock();
        (state.tail.as_ref().and_then(|tail| tail.bookmark_at(wanted)), state.bounds())
    };
    if let Some(bounds) = bounds {
        let mut found = known.or_else(|| bounds.end_at(wanted));
        if found.is_none() && bounds.reach_back_to(Position { epoch: bounds.epoch(), offset: wanted }) {
            found = match rooms.pages.holding(&room.id, bounds.epoch(), wanted).await? {
                Fetched::Page(page) => page.get(wanted).map(|entry| entry.bookmark()),
                Fetched::Lost(_) => None,
            };
        }
        if let Some(at) = found.filter(|found| claim.agrees_with(*found)) {
            return Ok(Place { at, bounds, lost: mutated(Mutant::CryWolf) });
        }
    }
    ask_the_log(rooms, room, claim).await
}

/// Checks a claim that nothing in memory confirms. Only the log can refuse it.
async fn ask_the_log(rooms: &Arc<Rooms>, room: &Arc<Room>, claim: Claim) -> StoreResult<Place> {
    let mut bounds = rooms.bounds(&room.id).await?;
    let found = rooms.bookmark_at(&room.id, &mut bounds, claim.offset()).await?;
    let Some(at) = found.filter(|found| claim.agrees_with(*found)) else {
        return after_loss(rooms, room, bounds).await;
    };
    let here = room.lock().tail.as_ref().and_then(|tail| tail.bookmark_at(at.offset()));
    if here.is_some_and(|here| here.fingerprint != at.fingerprint) {
        rooms.doubt(room);
    }
    // The client may have it from another node, before this one has heard of it.
    rooms.note(&room.id, at.position);
    Ok(Place { at, bounds, lost: mutated(Mutant::CryWolf) })
}

/// The place before entry `from + 1`.
async fn begin_at(
    rooms: &Arc<Rooms>,
    room: &Arc<Room>,
    mut bounds: Bounds,
    mut from: Offset,
) -> StoreResult<Place> {
    loop {
        let known = room
            .lock()
            .tail
            .as_ref()
            .filter(|tail| tail.epoch() == bounds.epoch())
            .and_then(|tail| tail.bookmark_at(from));
        let known = known.or_else(|| bounds.end_at(from));
        if let Some(at) = known {
            return Ok(Place { at, bounds, lost: false });
        }
        match rooms.pages.holding(&room.id, bounds.epoch(), from).await? {
            Fetched::Page(page) => match page.get(from) {
                Some(entry) => return Ok(Place { at: entry.bookmark(), bounds, lost: false }),
                None => bounds = rooms.bounds(&room.id).await?,
            },
            Fetched::Lost(_) => bounds = rooms.bounds(&room.id).await?,
        }
        from = from.clamp(bounds.trimmed.offset(), bounds.head.offset());
    }
}
