//! Keeps an open room at what the log has.
//!
//! The *room* fills a hole, once, from the log; readers only read what is older than its tail. Where tail and log contradict each other, the
//! log has forgotten something that it had confirmed: the room gets a new epoch, and each reader checks its own place.

use std::sync::Arc;

use crate::backoff::Backoff;
use crate::error::StoreResult;
use crate::id::RoomId;
use crate::log::{PageLimit, Replay};
use crate::mutants::{Mutant, mutated};
use crate::position::{Bookmark, Bounds, Epoch, Offset, Position};
use crate::published::Published;
use crate::room::{Effect, Room};
use crate::rooms::Rooms;
use crate::standing::Stands;
use crate::tail::Tail;

impl Rooms {
    /// Compares the tail with the log until it has all that the log is known to have.
    pub(crate) async fn heal(self: Arc<Self>, room: Arc<Room>) {
        let mut backoff = Backoff::default();
        loop {
            let before = room.lock().head();
            match self.heal_once(&room).await {
                Ok(()) => {
                    let mut state = room.lock();
                    if !state.goes_on_healing() {
                        return;
                    }
                    if state.head() != before {
                        backoff = Backoff::default();
                        continue;
                    }
                    // A log that does not show what it has announced must not be asked in a tight loop.
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        room = %room.id,
                        "a room could not be brought up to date; trying again"
                    );
                    if !self.is_watched(&room) {
                        room.lock().stop_healing();
                        return;
                    }
                }
            }
            backoff.wait().await;
        }
    }

    async fn heal_once(self: &Arc<Self>, room: &Arc<Room>) -> StoreResult<()> {
        let (seen, known, gap, doubts, has_stale_bodies) = {
            let state = room.lock();
            let Some(tail) = &state.tail else { return Ok(()) };
            (tail.head(), tail.known(), tail.gap(), state.doubts(), state.has_stale_bodies())
        };
        if has_stale_bodies {
            self.drop_copies(&room.id);
        }
        if has_stale_bodies || self.limits.tail_entries_max as u64 <= gap {
            return self.reload_if_agreed(room, seen).await;
        }
        let limit = PageLimit { entries: self.limits.page_entries_max, bytes: self.limits.tail_bytes_max };
        match self.pages.read(&room.id, seen.position, limit).await? {
            Replay::Lost { .. } => self.reload_if_agreed(room, seen).await,
            // Before the first entry every epoch reads alike: another node has renewed it, and this tail has nothing to lose.
            Replay::Page { head, .. } if head.epoch() != seen.epoch() && seen.epoch() != Epoch::UNWRITTEN => {
                self.reload_if_agreed(room, seen).await
            }
            Replay::Page { entries, head } => {
                // What the log is known to have had it must still have, and it must continue what is shown: a hash chain.
                let continues = match entries.first() {
                    Some(first) => first.follows(&seen),
                    None => (head.offset(), head.fingerprint) == (seen.offset(), seen.fingerprint),
                };
                let agrees = known <= head.offset() && continues;
                if !agrees && !mutated(Mutant::BelieveFingerprint) {
                    return self.diverged(room, seen).await;
                }
                room.lock().is_confirmed(doubts);
                for entry in entries {
                    let entry = Arc::new(Published::new(entry));
                    if mutated(Mutant::HealSilently) {
                        room.lock().tail.as_mut().map(|tail| tail.offer(entry));
                        continue;
                    }
                    self.change(room, |state, spare| state.offer(entry, &self.limits, spare));
                }
                self.change(room, |state, _| state.note(head.position));
                Ok(())
            }
        }
    }

    /// The tail cannot be continued: it begins anew near the head, if the log still agrees with what was shown.
    async fn reload_if_agreed(self: &Arc<Self>, room: &Arc<Room>, seen: Bookmark) -> StoreResult<()> {
        let mut bounds = self.bounds(&room.id).await?;
        // What is trimmed cannot be compared; whoever needs it is told that it is gone.
        let can_tell = bounds.epoch() == seen.epoch() && bounds.trimmed.offset() <= seen.offset();
        if can_tell
            && self.bookmark_at(&room.id, &mut bounds, seen.offset()).await? != Some(seen)
            && !mutated(Mutant::BelieveFingerprint)
        {
            return self.diverged(room, seen).await;
        }
        self.reload(room).await
    }

    /// The log has forgotten what it had confirmed and this node has shown.
    async fn diverged(self: &Arc<Self>, room: &Arc<Room>, seen: Bookmark) -> StoreResult<()> {
        tracing::warn!(room = %room.id, offset = seen.offset().get(), "the store has lost entries that it had confirmed; the room begins a new epoch");
        self.log.renew_epoch(&room.id, seen.epoch()).await?;
        self.pages.forget(&room.id);
        self.reload(room).await
    }

    /// Begins the tail anew near the head.
    async fn reload(self: &Arc<Self>, room: &Arc<Room>) -> StoreResult<()> {
        let doubts = room.lock().doubts();
        let (tail, bounds) = self.load(&room.id).await?;
        // The tail takes over the count, so no comparison would find this out any more.
        if room.lock().redactions() != bounds.redactions {
            self.drop_copies(&room.id);
        }
        self.change(room, |state, spare| match state.tail {
            Some(_) => state.restart(tail, &bounds, doubts, &self.limits, spare),
            // Closed meanwhile.
            None => Effect::default(),
        });
        Ok(())
    }

    /// A tail with the newest entries, and the bounds at or before the time that it is of.
    pub(crate) async fn load(&self, id: &RoomId) -> StoreResult<(Tail, Bounds)> {
        let bounds = self.bounds(id).await?;
        let entries = self.limits.page_entries_max;
        let start = bounds.before_newest(Some(u64::from(entries.get()) + 1));
        let after = Position { epoch: bounds.epoch(), offset: start };
        let limit = PageLimit { entries: entries.saturating_add(1), bytes: self.limits.tail_bytes_max / 2 };
        let empty = (Tail::after(bounds.head), bounds);
        if start == bounds.head.offset() {
            return Ok(empty);
        }
        let Replay::Page { entries, head } = self.pages.read(id, after, limit).await? else {
            // Trimmed or changed between the two calls: the head was true a moment ago, what follows is found by healing.
            return Ok(empty);
        };
        // Large messages: not all of them fit. Those at the head are what the readers need, and they can read pages.
        if entries.last().is_none_or(|last| last.position.offset < bounds.head.offset())
            || head.epoch() != bounds.epoch()
        {
            return Ok(empty);
        }
        let mut entries = entries.into_iter();
        let base = match start == bounds.trimmed.offset() {
            true => Some(bounds.trimmed),
            false => entries.next().map(|entry| entry.bookmark()),
        };
        let Some(base) = base else { return Ok(empty) };
        let mut tail = Tail::after(base);
        for entry in entries {
            tail.offer(Arc::new(Published::new(entry)));
        }
        tail.note(head.position);
        Ok((tail, bounds))
    }

    /// What the log, which has `bounds`, has at `offset`: asked now, from no copy. `None` if it is not kept (any more).
    /// If the room has changed its epoch meanwhile, `bounds` become those that it has now.
    pub(crate) async fn bookmark_at(
        &self,
        room: &RoomId,
        bounds: &mut Bounds,
        offset: Offset,
    ) -> StoreResult<Option<Bookmark>> {
        loop {
            if offset < bounds.trimmed.offset() || bounds.head.offset() < offset {
                return Ok(None);
            }
            if let Some(end) = bounds.end_at(offset) {
                return Ok(Some(end));
            }
            match self.standing.at(room, bounds.epoch(), offset).await? {
                Stands::Entry(entry) => return Ok(entry),
                // The bounds of the same moment could not be the same: each turn is a change of the log.
                Stands::Gone(now) if now != *bounds => *bounds = now,
                Stands::Gone(_) => return Ok(None),
            }
        }
    }
}
