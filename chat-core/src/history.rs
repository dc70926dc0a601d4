//! Pages of a room's history, backwards: for scrolling up.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::chat::ChatError;
use crate::entry::{Entry, Kind};
use crate::id::RoomId;
use crate::log::{PageLimit, Replay};
use crate::position::{Bounds, Offset, Position};
use crate::rooms::Rooms;

/// How much of the history to return; at least one message, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimit {
    /// At most so many messages.
    pub messages: u32,
    /// At most so many bytes, counted by [`Entry::bytes`].
    pub bytes: usize,
    /// At most so many attachments.
    pub attachments: usize,
}

impl Default for HistoryLimit {
    fn default() -> Self {
        Self { messages: 200, bytes: 256 * 1024, attachments: 10 }
    }
}

/// A page of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Messages in ascending order; entries of other kinds are left out. Empty only where nothing older is kept.
    pub messages: Vec<Entry>,
    /// What the room holds.
    pub bounds: Bounds,
}

/// The newest messages before `before`, or before the end.
pub(crate) async fn page(
    rooms: &Arc<Rooms>,
    room: &RoomId,
    before: Option<Offset>,
    limit: HistoryLimit,
) -> Result<History, ChatError> {
    let bounds = rooms.bounds(room).await?;
    let mut upto = bounds.head.offset();
    if let Some(before) = before {
        upto = upto.min(before.minus(1));
    }
    let mut newest_first: Vec<Entry> = Vec::new();
    let (mut bytes, mut attachments) = (0, 0);
    while bounds.trimmed.offset() < upto {
        let wanted =
            limit.messages.saturating_sub(u32::try_from(newest_first.len()).unwrap_or(u32::MAX)).max(1);
        let Some(run) = run_up_to(rooms, room, &bounds, upto, wanted, limit.bytes).await? else { break };
        for entry in run.into_iter().rev() {
            upto = entry.position.offset.minus(1);
            if entry.kind != Kind::Message {
                continue;
            }
            bytes += entry.bytes();
            attachments += entry.body.as_ref().map_or(0, |body| body.attachments.len());
            let is_full = limit.bytes < bytes
                || limit.attachments < attachments
                || limit.messages as usize <= newest_first.len();
            if is_full && !newest_first.is_empty() {
                newest_first.reverse();
                return Ok(History { messages: newest_first, bounds });
            }
            newest_first.push(entry);
        }
    }
    newest_first.reverse();
    Ok(History { messages: newest_first, bounds })
}

/// At most `wanted` entries that end in `upto`, as many as fit `bytes`, at least one. `None` if they were trimmed meanwhile.
///
/// A log is read forward, so a page that is cut short by its size lacks its end: then half as many are asked for.
async fn run_up_to(
    rooms: &Arc<Rooms>,
    room: &RoomId,
    bounds: &Bounds,
    upto: Offset,
    wanted: u32,
    bytes: usize,
) -> Result<Option<Vec<Entry>>, ChatError> {
    let kept = upto.get() - bounds.trimmed.offset().get();
    let mut wanted = wanted.min(u32::try_from(kept).unwrap_or(u32::MAX));
    loop {
        let after = Position { epoch: bounds.epoch(), offset: upto.minus(u64::from(wanted)) };
        let limit = PageLimit { entries: NonZeroU32::new(wanted).unwrap_or(NonZeroU32::MIN), bytes };
        match rooms.pages.read(room, after, limit).await? {
            Replay::Lost { .. } => return Ok(None),
            Replay::Page { entries, .. }
                if entries.last().is_some_and(|last| last.position.offset == upto) =>
            {
                return Ok(Some(entries));
            }
            Replay::Page { .. } if wanted <= 1 => return Ok(None),
            Replay::Page { .. } => wanted /= 2,
        }
    }
}
