//! [`Rooms`]: what the writer knows of rooms without asking the database, since nobody else changes them.

use std::collections::HashMap;

use chat_core::{Bookmark, Bounds, Epoch, RoomId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, query};

use crate::bounds::{self, RoomRow, sql_number};
use crate::error::{Failed, Stage};
use crate::list::ListStatement;

/// Rooms remembered at once; some 10 MB.
const KNOWN_MAX: usize = 65_536;

/// A room as the writer sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// `None` until its row is stored.
    pub(crate) id: Option<i64>,
    pub(crate) bounds: Bounds,
}

impl Room {
    /// A room before its first entry.
    pub(crate) fn new() -> Self {
        let start = Bookmark::start(Epoch::from_random(rand::random()));
        Self { id: None, bounds: Bounds { trimmed: start, head: start, redactions: 0 } }
    }
}

/// Rooms that were written to. To be [cleared](Rooms::clear) after any failed write.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    known: HashMap<RoomId, Room>,
}

impl Rooms {
    /// Makes sure that those of `wanted` that were written to are known.
    pub(crate) async fn load<'a>(
        &mut self,
        connection: &mut SqliteConnection,
        wanted: impl Iterator<Item = &'a RoomId> + Clone,
    ) -> Result<(), Failed> {
        let mut unknown: Vec<RoomId> =
            wanted.clone().filter(|room| !self.known.contains_key(*room)).cloned().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        if KNOWN_MAX < self.known.len() + unknown.len() {
            self.known.clear();
            unknown = wanted.cloned().collect();
        }
        unknown.sort_unstable();
        unknown.dedup();
        let rows = bounds::of_rooms(connection, &unknown).await.map_err(Failed::at(Stage::BeforeCommit))?;
        for row in &rows {
            let RoomRow { room, id, bounds } = RoomRow::decode(row)?;
            self.known.insert(room, Room { id: Some(id), bounds });
        }
        Ok(())
    }

    /// `None` for a room that was not written to, if it was loaded.
    pub(crate) fn get(&self, room: &RoomId) -> Option<Room> {
        self.known.get(room).copied()
    }

    /// After the commit.
    pub(crate) fn set(&mut self, room: RoomId, is: Room) {
        self.known.insert(room, is);
    }

    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }
}

/// Stores new rooms with their epochs; answers rows for [`created`].
pub(crate) async fn create(
    connection: &mut SqliteConnection,
    rooms: &[(RoomId, Epoch)],
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    static CREATE: ListStatement = ListStatement::new(
        "INSERT INTO rooms (name, epoch) SELECT * FROM",
        2,
        "WHERE column1 IS NOT NULL RETURNING id, name",
    );
    let mut query = CREATE.for_rows(rooms.len());
    for (room, epoch) in rooms {
        query = query.bind(room.as_str()).bind(sql_number(epoch.number()));
    }
    query.fetch_all(connection).await
}

/// The ids in rows of [`create`].
pub(crate) fn created(rows: &[SqliteRow]) -> Result<HashMap<&str, i64>, sqlx::Error> {
    rows.iter().map(|row| Ok((row.try_get(1)?, row.try_get(0)?))).collect()
}

/// Gives a room another epoch.
pub(crate) async fn set_epoch(
    connection: &mut SqliteConnection,
    id: i64,
    epoch: Epoch,
) -> Result<(), sqlx::Error> {
    query("UPDATE rooms SET epoch = ? WHERE id = ?")
        .bind(sql_number(epoch.number()))
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}
