//! Pages of a room's history, backwards: for scrolling up.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::chat::ChatError;
use crate::entry::{Entry, Kind};
use crate::id::RoomId;
use crate::log::{PageLimit, Replay};
use crate::mutants::{Mutant, mutated};
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
    /// Messages in ascending order; entries of other kinds are left out.
    pub messages: Vec<Entry>,
    /// How far back was looked: what is older than this entry is on the pages before. Where it is the oldest that is kept, there are none.
    ///
    /// Usually the first of the messages. A page costs a bounded number of reads, so where very many entries of other kinds stand
    /// in a row it ends before a message was found: ask again with this as `before`.
    pub from: Offset,
    /// What the room holds.
    pub bounds: Bounds,
}

/// Reads of the log for one page. Entries that are no messages cost reads, and there may be any number of them.
const READS_MAX: u32 = 64;

/// The newest messages before `before`, or before the end.
pub(crate) async fn page(
    rooms: &Arc<Rooms>,
    room: &RoomId,
    before: Option<Offset>,
    limit: HistoryLimit,
) -> Result<History, ChatError> {
    let bounds = rooms.bounds(room).await?;
    page_of(rooms, room, bounds, before, limit).await
}

/// The newest message of a room with these bounds. One read where no entry of another kind is newer.
pub(crate) async fn newest_message(
    rooms: &Arc<Rooms>,
    room: &RoomId,
    bounds: Bounds,
) -> Result<Option<Entry>, ChatError> {
    let one = HistoryLimit { messages: 1, ..HistoryLimit::default() };
    let mut page = page_of(rooms, room, bounds, None, one).await?;
    Ok(page.messages.pop())
}

async fn page_of(
    rooms: &Arc<Rooms>,
    room: &RoomId,
    mut bounds: Bounds,
    before: Option<Offset>,
    limit: HistoryLimit,
) -> Result<History, ChatError> {
    let mut newest_first: Vec<Entry> = Vec::new();
    let (mut bytes, mut attachments, mut reads, mut stride) = (0, 0, 0, 1);
    let before = before.filter(|_| !mutated(Mutant::IgnoreBefore));
    let newest = before.map_or(Offset::MAX, |before| before.minus(1));
    let mut upto = newest.min(bounds.head.offset());
    'page: while bounds.trimmed.offset() < upto && reads < READS_MAX {
        let missing = limit.messages.saturating_sub(u32::try_from(newest_first.len()).unwrap_or(u32::MAX));
        let run = match run_up_to(rooms, room, &bounds, upto, missing.max(stride), limit.bytes, &mut reads)
            .await?
        {
            Some(run) => run,
            // What is here already is true, and what has become of the rest is told on the page before.
            None if !newest_first.is_empty() || mutated(Mutant::EndHistoryAtEpoch) => break,
            // Trimmed, forgotten, or of another epoch by now; each turn is a change of the log.
            None => {
                reads += 1;
                bounds = rooms.bounds(room).await?;
                upto = upto.min(bounds.head.offset());
                continue;
            }
        };
        // Where there are no messages, longer and longer strides are taken.
        stride = (stride * 2).min(rooms.limits.page_entries_max.get());
        let skipped = usize::from(mutated(Mutant::SkipInHistory) && !newest_first.is_empty());
        for entry in run.into_iter().rev().skip(skipped) {
            if entry.kind == Kind::Message {
                bytes += entry.bytes();
                attachments += entry.body.as_ref().map_or(0, |body| body.attachments.len());
                let is_full = limit.bytes < bytes
                    || limit.attachments < attachments
                    || limit.messages as usize <= newest_first.len();
                if is_full && !newest_first.is_empty() {
                    break 'page;
                }
                upto = entry.position.offset.minus(1);
                newest_first.push(entry);
            } else {
                upto = entry.position.offset.minus(1);
            }
        }
    }
    newest_first.reverse();
    Ok(History { messages: newest_first, from: upto.next().max(bounds.oldest()), bounds })
}

/// At most `wanted` entries that end in `upto`, as many as fit `bytes`, at least one. `None` if they are not in this log (any more).
///
/// A log is read forward, so a page that is cut short by its size lacks its end: then half as many are asked for.
async fn run_up_to(
    rooms: &Arc<Rooms>,
    room: &RoomId,
    bounds: &Bounds,
    upto: Offset,
    wanted: u32,
    bytes: usize,
    reads: &mut u32,
) -> Result<Option<Vec<Entry>>, ChatError> {
    let kept = upto.get() - bounds.trimmed.offset().get();
    let mut wanted = wanted.min(u32::try_from(kept).unwrap_or(u32::MAX));
    loop {
        let after = Position { epoch: bounds.epoch(), offset: upto.minus(u64::from(wanted)) };
        let limit = PageLimit { entries: NonZeroU32::new(wanted).unwrap_or(NonZeroU32::MIN), bytes };
        *reads += 1;
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
