//! What is kept of rooms, as rows: shared by reads and by the writer.

use chat_core::{Bookmark, Bounds, Epoch, Fingerprint, Offset, Position, RoomId, StoreResult};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::error::{corrupt, read_failed};
use crate::list::{ListStatement, ROWS_MAX};

/// A room that was written to.
#[derive(Clone, Debug)]
pub(crate) struct RoomRow {
    pub(crate) room: RoomId,
    pub(crate) id: i64,
    pub(crate) bounds: Bounds,
}

/// The rows of those of `rooms` that were written to, in any order.
pub(crate) async fn of_rooms(
    connection: &mut SqliteConnection,
    rooms: &[RoomId],
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    static ROOMS: ListStatement = ListStatement::new(
        "SELECT r.epoch, r.trimmed, r.trimmed_fingerprint, r.redactions, h.offset, h.fingerprint, r.id, r.name FROM",
        1,
        "JOIN rooms AS r ON r.name = column1 LEFT JOIN entries AS h \
         ON h.room = r.id AND h.offset = (SELECT max(offset) FROM entries WHERE room = r.id)",
    );
    let mut rows = Vec::new();
    for rooms in rooms.chunks(ROWS_MAX) {
        let mut query = ROOMS.for_rows(rooms.len());
        for room in rooms {
            query = query.bind(room.as_str());
        }
        rows.append(&mut query.fetch_all(&mut *connection).await?);
    }
    Ok(rows)
}

impl RoomRow {
    /// A row that [`of_rooms`] answered.
    pub(crate) fn decode(row: &SqliteRow) -> StoreResult<Self> {
        let name: &str = column(row, 7)?;
        Ok(Self {
            room: RoomId::reserved(name).map_err(corrupt)?,
            id: column(row, 6)?,
            bounds: bounds(row, 0)?,
        })
    }
}

/// The bounds in six columns: epoch, trimmed, its fingerprint, redactions, and offset and fingerprint of the newest row, if there is one.
pub(crate) fn bounds(row: &SqliteRow, first: usize) -> StoreResult<Bounds> {
    let epoch = Epoch::from_number(number(row, first)?);
    let bookmark = |offset, fingerprint| Bookmark { position: Position { epoch, offset }, fingerprint };
    let trimmed = bookmark(offset(row, first + 1)?, Fingerprint::from_number(number(row, first + 2)?));
    // The newest row is the head only if it was not trimmed. Of what was trimmed, keys are forgotten in the order of their times, and a clock that
    // was set back has the newest go before older ones; where everything was trimmed, `trimmed` is the head and outlives them all.
    let head = match column::<Option<i64>>(row, first + 4)? {
        Some(_) if trimmed.offset() < offset(row, first + 4)? => {
            bookmark(offset(row, first + 4)?, Fingerprint::from_number(number(row, first + 5)?))
        }
        _ => trimmed,
    };
    Ok(Bounds { trimmed, head, redactions: number(row, first + 3)? })
}

pub(crate) fn column<'r, T>(row: &'r SqliteRow, index: usize) -> StoreResult<T>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(index).map_err(read_failed)
}

pub(crate) fn number(row: &SqliteRow, index: usize) -> StoreResult<u64> {
    u64::try_from(column::<i64>(row, index)?).map_err(corrupt)
}

pub(crate) fn offset(row: &SqliteRow, index: usize) -> StoreResult<Offset> {
    Offset::new(number(row, index)?).ok_or_else(|| corrupt("an offset is larger than any can be"))
}

/// For binding: offsets, epochs, fingerprints and times are far below 2^63.
pub(crate) fn sql_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
