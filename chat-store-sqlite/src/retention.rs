//! [`Sweep`]: which rooms have entries that are too old or too many. A few rooms at a time; trimming them is `forget.rs`'s.

use chat_core::{Offset, RoomId, Timestamp};
use sqlx::{SqliteConnection, query, query_as};

use crate::bounds::{column, offset, sql_number};
use crate::error::{Failed, Stage};
use crate::forget::{self, STEP_ROWS};
use crate::options::SqliteOptions;
use crate::rooms::Rooms;

/// Rooms that one step looks at.
const STEP_ROOMS: usize = 128;

/// A walk through all rooms.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// Rooms up to this id were looked at.
    done: i64,
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
    room: RoomId,
    upto: Offset,
    /// Perhaps further than that.
    more: bool,
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
             FROM rooms AS r WHERE ? < r.id ORDER BY r.id LIMIT ?",
        )
        .bind(self.done)
        .bind(STEP_ROOMS as i64)
        .fetch_all(&mut *connection)
        .await
        .map_err(Failed::at(Stage::BeforeCommit))?;
        let cutoff = options.retain_for.map(|age| Timestamp::now().minus(age));
        let mut overdue = Vec::new();
        let mut done = self.done;
        for row in &found {
            done = column(row, 0)?;
            let Some(oldest) = column::<Option<i64>>(row, 4)? else { continue };
            let (trimmed, head) = (offset(row, 2)?, offset(row, 3)?);
            let too_many = options.room_entries_max.map_or(trimmed, |most| head.minus(most));
            let (too_old, more) = match cutoff {
                Some(cutoff) if oldest < sql_number(cutoff.millis()) => {
                    old_run(connection, done, trimmed, cutoff).await?
                }
                _ => (trimmed, false),
            };
            let upto = too_many.max(too_old);
            if trimmed < upto {
                let room = RoomId::reserved(column(row, 1)?).map_err(crate::error::corrupt)?;
                overdue.push(Overdue { room, upto, more });
            }
            if more {
                done -= 1;
                break;
            }
        }
        trim(connection, rooms, &overdue).await?;
        let more = found.len() == STEP_ROOMS || overdue.iter().any(|each| each.more);
        self.done = if more { done } else { 0 };
        Ok(Swept { trimmed: !overdue.is_empty(), more })
    }
}

/// The end of the run of entries after `trimmed` that are older than `cutoff`, and whether it may go on.
async fn old_run(
    connection: &mut SqliteConnection,
    room: i64,
    trimmed: Offset,
    cutoff: Timestamp,
) -> Result<(Offset, bool), Failed> {
    let rows: Vec<(i64, i64)> =
        query_as("SELECT offset, at FROM entries WHERE room = ? AND ? < offset ORDER BY offset LIMIT ?")
            .bind(room)
            .bind(sql_number(trimmed.get()))
            .bind(STEP_ROWS)
            .fetch_all(connection)
            .await
            .map_err(Failed::at(Stage::BeforeCommit))?;
    let old = rows.iter().take_while(|(_, at)| *at < sql_number(cutoff.millis())).count();
    Ok((trimmed.plus(old as u64), old == STEP_ROWS as usize))
}

async fn trim(
    connection: &mut SqliteConnection,
    rooms: &mut Rooms,
    overdue: &[Overdue],
) -> Result<(), Failed> {
    if overdue.is_empty() {
        return Ok(());
    }
    rooms.load(connection, overdue.iter().map(|each| &each.room)).await?;
    let begun = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await;
    begun.map_err(Failed::at(Stage::BeforeCommit))?;
    for Overdue { room, upto, .. } in overdue {
        forget::trim(connection, rooms, room, *upto, Stage::BeforeCommit).await?;
    }
    let committed = sqlx::raw_sql("COMMIT").execute(connection).await;
    committed.map(drop).map_err(Failed::at(Stage::Commit))
}
