//! The rooms of a user as a list shows them: how far each has come, how far it was read, and its newest message.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::authority::Action;
use crate::chat::{Chat, ChatError};
use crate::entry::{Entry, Kind};
use crate::error::{StoreError, StoreResult};
use crate::facts::OwnRoom;
use crate::history;
use crate::id::{RoomId, UserId};
use crate::position::{Bounds, Offset};
use crate::rooms::Rooms;
use crate::task::in_a_task;

/// Rooms whose newest message is looked for at the same time.
const AT_ONCE: usize = 8;

/// How much of a list to return; at least one room, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverviewLimit {
    /// At most so many rooms.
    pub rooms: u32,
    /// Their newest messages have at most so many bytes together, counted by [`Entry::bytes`].
    pub bytes: usize,
    /// And at most so many attachments.
    pub attachments: usize,
}

impl Default for OverviewLimit {
    fn default() -> Self {
        Self { rooms: 200, bytes: 256 * 1024, attachments: 10 }
    }
}

/// A page of a user's rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// In the order of their names.
    pub rooms: Vec<RoomOverview>,
    /// There may be more behind this one: to be given as `after`.
    pub next: Option<RoomId>,
}

/// One room of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomOverview {
    /// Which room.
    pub own: OwnRoom,
    /// What it holds.
    pub bounds: Bounds,
    /// How far the user has seen it; at least [`OwnRoom::from`].
    pub read: Offset,
    /// In a private room: how far the other one has seen it, as far as that is known.
    pub read_by_other: Option<Offset>,
    /// Its newest message; none where there is none, or where the user may not see history.
    pub last: Option<Entry>,
}

impl RoomOverview {
    /// How many messages the user has not seen, at most: entries of other kinds among them are counted as well, and so are its own messages.
    pub fn unread(&self) -> u64 {
        let seen = self.read.max(self.bounds.trimmed.offset());
        self.bounds.head.offset().get().saturating_sub(seen.get())
    }
}

impl Chat {
    /// A page of the rooms of a user, behind the one of the name `after`.
    ///
    /// - Rooms that it may not join any more are left out, and so are private ones in which another one has not said anything yet.
    /// - A page costs one call of the log for the bounds of all its rooms, one for what was read of them, one for what the other one has read of each
    ///   private room, and a read for the newest message of each that is not in memory.
    ///
    /// # Errors
    /// [`ChatError::Store`].
    pub async fn overview(
        &self,
        who: &UserId,
        after: Option<&RoomId>,
        limit: OverviewLimit,
    ) -> Result<Overview, ChatError> {
        let mut left = self.own_rooms(who).await?.rooms;
        left.retain(|own| after.is_none_or(|after| *after < own.room));
        let mut left = left.into_iter();
        let mut page = Overview { rooms: Vec::new(), next: None };
        let (mut bytes, mut attachments) = (0, 0);
        let rooms_max = limit.rooms.max(1) as usize;
        loop {
            let wanted = rooms_max - page.rooms.len();
            let some: Vec<OwnRoom> = left.by_ref().take(wanted).collect();
            if some.is_empty() {
                return Ok(page);
            }
            let names: Vec<RoomId> = some.iter().map(|own| own.room.clone()).collect();
            let bounds = bounds_of(self.rooms(), &names).await?;
            let read = self.read_marks_of(who, &names).await?;
            let looked = some.into_iter().zip(bounds).zip(read).map(|((own, bounds), read)| {
                let room = own.room.clone();
                async move { (room, self.look_at(who, own, bounds, read).await) }
            });
            let mut looked = stream::iter(looked).buffered(AT_ONCE);
            while let Some((_, found)) = looked.next().await {
                let Some(found) = found? else { continue };
                let body = found.last.as_ref().and_then(|last| last.body.as_ref());
                bytes += found.last.as_ref().map_or(0, Entry::bytes);
                attachments += body.map_or(0, |body| body.attachments.len());
                let is_full = limit.bytes < bytes || limit.attachments < attachments;
                if is_full && !page.rooms.is_empty() {
                    page.next = page.rooms.last().map(|last| last.own.room.clone());
                    return Ok(page);
                }
                page.rooms.push(found);
            }
            if rooms_max <= page.rooms.len() {
                page.next = names.last().filter(|_| 0 < left.len()).cloned();
                return Ok(page);
            }
        }
    }

    /// `None` for a room that is not to be shown.
    async fn look_at(
        &self,
        who: &UserId,
        own: OwnRoom,
        bounds: Option<Bounds>,
        read: Offset,
    ) -> Result<Option<RoomOverview>, ChatError> {
        let Some(bounds) = bounds else { return Ok(None) };
        let is_silent = own.room.is_direct() && !own.asked && bounds.head.offset() == Offset::ZERO;
        let may_join = self.may(who, &own.room, Action::Join).await?;
        if is_silent || !may_join {
            return Ok(None);
        }
        let last = match self.may(who, &own.room, Action::History).await? {
            true => newest_message(self.rooms(), &own.room, bounds).await?,
            false => None,
        };
        let head = bounds.head.offset();
        let read_by_other = match &own.with {
            Some(with) => {
                self.read_marks_of(&with.id, std::slice::from_ref(&own.room)).await?.first().copied()
            }
            None => None,
        };
        let read = read.max(own.from).min(head);
        Ok(Some(RoomOverview {
            own,
            bounds,
            read,
            read_by_other: read_by_other.map(|mark| mark.min(head)),
            last,
        }))
    }

    async fn may(&self, who: &UserId, room: &RoomId, action: Action) -> Result<bool, ChatError> {
        match self.authorise(who, room, action).await {
            Ok(()) => Ok(true),
            Err(ChatError::Forbidden | ChatError::Banned { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// In one call. A damaged room is left out, and does not keep anybody from the others.
async fn bounds_of(rooms: &Arc<Rooms>, names: &[RoomId]) -> StoreResult<Vec<Option<Bounds>>> {
    let all = {
        let (log, names) = (rooms.log.clone(), names.to_vec());
        in_a_task(async move { log.bounds(&names).await }).await
    };
    match all {
        Ok(bounds) => Ok(bounds.into_iter().map(Some).collect()),
        Err(StoreError::Corrupt { .. }) => {
            let mut bounds = Vec::with_capacity(names.len());
            for name in names {
                bounds.push(match rooms.bounds(name).await {
                    Err(StoreError::Corrupt { .. }) => None,
                    one => Some(one?),
                });
            }
            Ok(bounds)
        }
        Err(error) => Err(error),
    }
}

/// From memory where the room's newest entry is there, and is a message.
async fn newest_message(
    rooms: &Arc<Rooms>,
    room: &RoomId,
    bounds: Bounds,
) -> Result<Option<Entry>, ChatError> {
    if bounds.head.offset() <= bounds.trimmed.offset() {
        return Ok(None);
    }
    let here = rooms.get(room).and_then(|here| {
        let state = here.lock();
        let tail = state.tail.as_ref()?;
        if tail.epoch() != bounds.epoch() {
            return None;
        }
        tail.at(bounds.head.offset()).map(|entry| Entry::clone(entry))
    });
    if let Some(entry) = here.filter(|entry| entry.kind == Kind::Message && entry.bookmark() == bounds.head) {
        return Ok(Some(entry));
    }
    history::newest_message(rooms, room, bounds).await
}
