//! [`Sweep`]: which rooms have entries that are too old or too many. A few rooms at a time; trimming them is `forget.rs`'s.
//!
//! Rooms that are an application's own (`~…`) are left alone: what is in them are not messages but facts, and their writer knows when they are
//! of no use any more.

use chat_core::{Offset, RoomId, StoreError, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, query, query_as};

use crate::bounds::{column, offset, sql_number};
use crate::error::{Failed, Stage, corrupt};
use crate::forget::{self, STEP_ROWS};
use crate::options::SqliteOptions;
use crate::rooms::Rooms;

/// Rooms that one step looks at.
const STEP_ROOMS: usize = 128;

/// A walk through all rooms.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sweep {
    /// Rooms up to this id were looked at.
    done: i64,
    /// The entries of the next room were looked at up to here, if that is behind what was trimmed.
    looked: Offset,
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swept {
    /// Some room was trimmed.
    pub(crate) trimmed: bool,
    /// The walk has not come to its end.
    pub(crate) more: bool,
}

/// A room with entries to trim.
struct Overdue {
    id: i64,
    room: RoomId,
    upto: Offset,
}

impl Sweep {
    /// Looks at some more rooms, and trims those that need it in one commit.
    pub(crate) async fn step(
        &mut self,
        connection: &mut SqliteConnection,
        rooms: &mut Rooms,
        options: &SqliteOptions,
    ) -> Result<Swept, Failed> {
        if options.retain_for.is_none() && options.room_entries_max.is_none() {
            return Ok(Swept { trimmed: false, more: false });
        }
        let found = query(
            "SELECT r.id, r.name, r.trimmed, (SELECT max(offset) FROM entries WHERE room = r.id), \
             (SELECT at FROM entries WHERE room = r.id AND offset = r.trimmed + 1) \
             FROM rooms AS r WHERE ? < r.id AND r.name NOT GLOB '~*' ORDER BY r.id LIMIT ?",
        )
        .bind(self.done)
        .bind(STEP_ROOMS as i64)
        .fetch_all(&mut *connection)
        .await
        .map_err(Failed::at(Stage::BeforeCommit))?;
        let times = options.retain_for.map(|age| {
            let now = Timestamp::now();
            Times { cutoff: now.minus(age), now }
        });
        let mut overdue = Vec::new();
        let (mut at, mut more) = (*self, found.len() == STEP_ROOMS);
        for row in &found {
            let id = column(row, 0)?;
            // Only the first room may have been looked into by the step before.
            let before = std::mem::replace(&mut at, Sweep { done: id, looked: Offset::ZERO });
            let outcome = overdue_of(connection, row, id, before.looked, options, times.as_ref()).await;
            let Some((due, goes_on_after)) = unless_damaged(id, outcome)? else { continue };
            overdue.extend(due);
            if let Some(looked) = goes_on_after {
                (at, more) = (Sweep { looked, ..before }, true);
                break;
            }
        }
        let trimmed = trim(connection, rooms, &overdue).await?;
        *self = if more { at } else { Self::default() };
        Ok(Swept { trimmed, more })
    }
}

/// What is damaged in one room must not keep the others from being looked at: it is told, and passed by.
fn unless_damaged<T>(room: i64, outcome: Result<T, Failed>) -> Result<Option<T>, Failed> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Failed::Store(error @ StoreError::Corrupt { .. })) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, room, "a damaged room of the database is not trimmed");
            Ok(None)
        }
        Err(failed) => Err(failed),
    }
}

/// What there is to trim of a room, and where its entries are to be looked at further.
async fn overdue_of(
    connection: &mut SqliteConnection,
    row: &SqliteRow,
    id: i64,
    looked: Offset,
    options: &SqliteOptions,
    times: Option<&Times>,
) -> Result<(Option<Overdue>, Option<Offset>), Failed> {
    let Some(oldest) = column::<Option<i64>>(row, 4)? else { return Ok((None, None)) };
    let (trimmed, head) = (offset(row, 2)?, offset(row, 3)?);
    let too_many = options.room_entries_max.map_or(trimmed, |most| head.minus(most));
    let run = match times {
        Some(times) if times.judge(oldest) != Age::Young => {
            old_run(connection, id, trimmed.max(looked), times).await?
        }
        _ => OldRun::default(),
    };
    let upto = too_many.max(run.upto);
    let room = RoomId::reserved(column(row, 1)?).map_err(corrupt)?;
    Ok(((trimmed < upto).then_some(Overdue { id, room, upto }), run.goes_on_after))
}

/// What the time of an entry is compared with.
struct Times {
    /// What is older is to go.
    cutoff: Timestamp,
    now: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Old,
    Young,
    /// From the future: written while the clock was ahead, and nobody knows when.
    Unknown,
}

impl Times {
    fn judge(&self, at: i64) -> Age {
        if at < sql_number(self.cutoff.millis()) {
            Age::Old
        } else if at <= sql_number(self.now.millis()) {
            Age::Young
        } else {
            Age::Unknown
        }
    }
}

/// Entries that are too old, as far as one step has looked.
#[derive(Debug, Default)]
struct OldRun {
    /// The last of them; 0 if there is none.
    upto: Offset,
    /// It may go on: the entries up to here were looked at.
    goes_on_after: Option<Offset>,
}

/// The run of old entries after `after`, up to the first young one.
///
/// Entries are in the order in which they were written, whatever their times say. So one from the future is no younger than an old one behind
/// it, and goes with that: otherwise a clock that was once ahead would keep everything behind it until that time comes. But an old one
/// behind a young one takes nothing with it, since the wrong one of the two may be its own time.
async fn old_run(
    connection: &mut SqliteConnection,
    room: i64,
    after: Offset,
    times: &Times,
) -> Result<OldRun, Failed> {
    let rows: Vec<(i64, i64)> =
        query_as("SELECT offset, at FROM entries WHERE room = ? AND ? < offset ORDER BY offset LIMIT ?")
            .bind(room)
            .bind(sql_number(after.get()))
            .bind(STEP_ROWS)
            .fetch_all(connection)
            .await
            .map_err(Failed::at(Stage::BeforeCommit))?;
    let ages: Vec<Age> =
        rows.iter().map(|(_, at)| times.judge(*at)).take_while(|age| *age != Age::Young).collect();
    let old = ages.iter().rposition(|age| *age == Age::Old).map(|last| last as u64 + 1);
    let is_cut_short = ages.len() == STEP_ROWS as usize;
    Ok(OldRun {
        upto: old.map_or(Offset::ZERO, |old| after.plus(old)),
        goes_on_after: is_cut_short.then(|| after.plus(ages.len() as u64)),
    })
}

/// In one commit. Answers whether anything was trimmed.
async fn trim(
    connection: &mut SqliteConnection,
    rooms: &mut Rooms,
    overdue: &[Overdue],
) -> Result<bool, Failed> {
    let mut sound = Vec::with_capacity(overdue.len());
    for each in overdue {
        let loaded = rooms.load(connection, std::iter::once(&each.room)).await;
        sound.extend(unless_damaged(each.id, loaded)?.map(|()| each));
    }
    if sound.is_empty() {
        return Ok(false);
    }
    let begun = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await;
    begun.map_err(Failed::at(Stage::BeforeCommit))?;
    let mut trimmed = false;
    for Overdue { id, room, upto } in sound {
        let outcome = forget::trim(connection, rooms, room, *upto, Stage::BeforeCommit).await;
        trimmed |= unless_damaged(*id, outcome)?.unwrap_or_default();
    }
    let committed = sqlx::raw_sql("COMMIT").execute(connection).await;
    committed.map_err(Failed::at(Stage::Commit))?;
    Ok(trimmed)
}
