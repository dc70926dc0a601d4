//! How content leaves the file: trimming and redaction at once, erasing and the end of keys in the background, in small steps.

use chat_core::{Bookmark, Fingerprint, Offset, Position, RoomId, Timestamp};
use sqlx::{AssertSqlSafe, Row, SqliteConnection, query, query_as, raw_sql};

use crate::bounds::sql_number;
use crate::error::{Failed, Stage, corrupt};
use crate::options::SqliteOptions;
use crate::rooms::{Room, Rooms};

/// Entries that one step erases at most, and keys that one step forgets.
pub(crate) const STEP_ROWS: u32 = 512;
/// Bytes of bodies after which a step ends.
const STEP_BYTES: i64 = 1 << 20;
/// How long a checkpoint waits for readers of an old state; posts wait with it.
const CHECKPOINT_WAIT_MS: u32 = 100;

/// Hides the entries of a loaded room up to `upto`, if that is between its bounds. Answers whether anything changed.
///
/// `stage` is that of its one write. [`erase_step`] does the rest.
pub(crate) async fn trim(
    connection: &mut SqliteConnection,
    rooms: &mut Rooms,
    room: &RoomId,
    upto: Offset,
    stage: Stage,
) -> Result<bool, Failed> {
    let Some(Room { id: Some(id), mut bounds }) = rooms.get(room) else { return Ok(false) };
    if upto <= bounds.trimmed.offset() || bounds.head.offset() < upto {
        return Ok(false);
    }
    let found: Option<(i64,)> = query_as("SELECT fingerprint FROM entries WHERE room = ? AND offset = ?")
        .bind(id)
        .bind(sql_number(upto.get()))
        .fetch_optional(&mut *connection)
        .await
        .map_err(Failed::at(Stage::BeforeCommit))?;
    let (fingerprint,) = found.ok_or_else(|| corrupt(format!("entry {upto} of a room is missing")))?;
    query("UPDATE rooms SET trimmed = ?, trimmed_fingerprint = ? WHERE id = ?")
        .bind(sql_number(upto.get()))
        .bind(fingerprint)
        .bind(id)
        .execute(connection)
        .await
        .map_err(Failed::at(stage))?;
    let position = Position { epoch: bounds.epoch(), offset: upto };
    bounds.trimmed =
        Bookmark { position, fingerprint: Fingerprint::from_number(fingerprint.cast_unsigned()) };
    rooms.set(room.clone(), Room { id: Some(id), bounds });
    Ok(true)
}

/// Removes the body of a kept entry of a loaded room. Answers whether there was one; then a [`scrub`] is due.
pub(crate) async fn redact(
    connection: &mut SqliteConnection,
    rooms: &mut Rooms,
    room: &RoomId,
    at: Position,
) -> Result<bool, Failed> {
    let Some(Room { id: Some(id), mut bounds }) = rooms.get(room) else { return Ok(false) };
    if at.epoch != bounds.epoch() || at.offset <= bounds.trimmed.offset() {
        return Ok(false);
    }
    let done = query(
        "UPDATE entries SET text = NULL, attachments = NULL WHERE room = ? AND offset = ? AND text IS NOT NULL",
    )
    .bind(id)
    .bind(sql_number(at.offset.get()))
    .execute(connection)
    .await
    .map_err(Failed::at(Stage::Commit))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    // A trigger has counted it.
    bounds.redactions += 1;
    rooms.set(room.clone(), Room { id: Some(id), bounds });
    Ok(true)
}

/// Copies the write-ahead log into the file and empties it, so that what was overwritten in the file is nowhere else.
/// `false` if somebody reads an old state.
pub(crate) async fn scrub(
    connection: &mut SqliteConnection,
    options: &SqliteOptions,
) -> Result<bool, sqlx::Error> {
    set_busy_timeout(connection, CHECKPOINT_WAIT_MS).await?;
    let outcome: Result<(i64, i64, i64), _> =
        query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await;
    let usual = u32::try_from(options.busy_timeout.as_millis()).unwrap_or(u32::MAX);
    set_busy_timeout(connection, usual.min(i32::MAX as u32)).await?;
    Ok(outcome?.0 == 0)
}

async fn set_busy_timeout(connection: &mut SqliteConnection, millis: u32) -> Result<(), sqlx::Error> {
    raw_sql(AssertSqlSafe(format!("PRAGMA busy_timeout = {millis}"))).execute(connection).await?;
    Ok(())
}

/// Leaves nothing but keys of some trimmed entries, and not even those of old ones. Answers whether there is more to do.
///
/// Rooms up to the id `passed` have had their turn; after a failure, the one that it was in is among them.
pub(crate) async fn erase_step(
    connection: &mut SqliteConnection,
    keys_since: Timestamp,
    passed: &mut i64,
) -> Result<bool, sqlx::Error> {
    let found: Option<(i64, i64, i64)> = query_as(
        "SELECT id, erased, trimmed FROM rooms WHERE erased < trimmed AND ? < id ORDER BY id LIMIT 1",
    )
    .bind(*passed)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((room, erased, trimmed)) = found else {
        *passed = 0;
        return Ok(false);
    };
    let before = std::mem::replace(passed, room);
    let upto = step_end(connection, room, erased, trimmed).await?;
    raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    query("DELETE FROM entries WHERE room = ? AND ? < offset AND offset <= ? AND at < ?")
        .bind(room)
        .bind(erased)
        .bind(upto)
        .bind(sql_number(keys_since.millis()))
        .execute(&mut *connection)
        .await?;
    query(
        "UPDATE entries SET name = NULL, text = NULL, attachments = NULL \
         WHERE room = ? AND ? < offset AND offset <= ?",
    )
    .bind(room)
    .bind(erased)
    .bind(upto)
    .execute(&mut *connection)
    .await?;
    query("UPDATE rooms SET erased = ? WHERE id = ?").bind(upto).bind(room).execute(&mut *connection).await?;
    raw_sql("COMMIT").execute(&mut *connection).await?;
    *passed = before;
    Ok(true)
}

/// How far a step goes, by rows and by bytes.
async fn step_end(
    connection: &mut SqliteConnection,
    room: i64,
    erased: i64,
    trimmed: i64,
) -> Result<i64, sqlx::Error> {
    let rows = query(
        "SELECT offset, coalesce(octet_length(text), 0) + coalesce(octet_length(attachments), 0) FROM entries \
         WHERE room = ? AND ? < offset AND offset <= ? ORDER BY offset LIMIT ?",
    )
    .bind(room)
    .bind(erased)
    .bind(trimmed)
    .bind(STEP_ROWS)
    .fetch_all(connection)
    .await?;
    let mut bytes = 0_i64;
    for row in &rows {
        bytes = bytes.saturating_add(row.try_get(1)?);
        if STEP_BYTES < bytes {
            return row.try_get(0);
        }
    }
    // Fewer than were asked for: those were all.
    match rows.last() {
        Some(row) if rows.len() == STEP_ROWS as usize => row.try_get(0),
        _ => Ok(trimmed),
    }
}

/// Forgets some keys of erased entries that are older than they need be. Answers whether there may be more.
pub(crate) async fn purge_step(
    connection: &mut SqliteConnection,
    keys_since: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = query(
        "DELETE FROM entries WHERE id IN \
         (SELECT id FROM entries WHERE name IS NULL AND at < ? ORDER BY at LIMIT ?)",
    )
    .bind(sql_number(keys_since.millis()))
    .bind(STEP_ROWS)
    .execute(connection)
    .await?;
    Ok(u64::from(STEP_ROWS) <= done.rows_affected())
}
