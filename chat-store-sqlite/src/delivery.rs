//! [`Delivery`]: progress goes through the writer, like entries; news stays in this process.

use std::collections::HashMap;

use async_trait::async_trait;
use chat_core::{
    Delivery, Epoch, Listener, News, Position, Progress, RoomId, StoreResult, SubscriberId, Ticket,
};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::bounds::{column, number, offset, sql_number};
use crate::error::{Failed, Stage};
use crate::job::{Advance, Job, ReaderKey};
use crate::list::{ListStatement, ROWS_MAX};
use crate::store::SqliteStore;

#[async_trait]
impl Delivery for SqliteStore {
    async fn announce(&self, news: &News) -> StoreResult<()> {
        self.news().announce(news);
        Ok(())
    }

    async fn listen(&self) -> StoreResult<Listener> {
        Ok(self.news().listen())
    }

    async fn ticket(&self) -> StoreResult<Ticket> {
        Ok(self.news().ticket())
    }

    async fn advance(
        &self,
        what: Progress,
        who: &SubscriberId,
        room: &RoomId,
        upto: Position,
    ) -> StoreResult<Position> {
        let reader = ReaderKey { what, who: who.clone(), room: room.clone() };
        self.write(|answer| Job::Advance { reader, upto, answer }).await
    }

    async fn progress(
        &self,
        what: Progress,
        who: &SubscriberId,
        rooms: &[RoomId],
    ) -> StoreResult<Vec<Option<Position>>> {
        let readers: Vec<ReaderKey> =
            rooms.iter().map(|room| ReaderKey { what, who: who.clone(), room: room.clone() }).collect();
        let mut reading = self.readers().get().await?;
        let rows = rows_of(&mut reading, readers.iter()).await;
        let rows = reading.outcome(rows)?;
        drop(reading);
        positions(&rows, readers.len())
    }
}

/// What is remembered of `readers`: for [`positions`].
async fn rows_of(
    connection: &mut SqliteConnection,
    readers: impl ExactSizeIterator<Item = &ReaderKey>,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    static KNOWN: ListStatement = ListStatement::new(
        "SELECT column1, p.epoch, p.offset FROM",
        4,
        "JOIN progress AS p ON p.who = column2 AND p.what = column3 AND p.room = column4",
    );
    let readers: Vec<(usize, &ReaderKey)> = readers.enumerate().collect();
    let mut rows = Vec::new();
    for readers in readers.chunks(ROWS_MAX) {
        let mut query = KNOWN.for_rows(readers.len());
        for (index, ReaderKey { what, who, room }) in readers {
            query = query
                .bind(*index as i64)
                .bind(who.as_str())
                .bind(i64::from(what.number()))
                .bind(room.as_str());
        }
        rows.append(&mut query.fetch_all(&mut *connection).await?);
    }
    Ok(rows)
}

/// The positions in rows of [`rows_of`], in the order of the readers.
fn positions(rows: &[SqliteRow], readers: usize) -> StoreResult<Vec<Option<Position>>> {
    let mut positions = vec![None; readers];
    for row in rows {
        let index = usize::try_from(column::<i64>(row, 0)?).unwrap_or(usize::MAX);
        let position = Position { epoch: Epoch::from_number(number(row, 1)?), offset: offset(row, 2)? };
        if let Some(place) = positions.get_mut(index) {
            *place = Some(position);
        }
    }
    Ok(positions)
}

/// Advances that share a commit.
pub(crate) struct Advanced {
    /// How far each reader has come after its advance, in order.
    pub(crate) reached: Vec<Position>,
    /// What is to be stored: each reader once.
    changed: Vec<Advance>,
}

/// Applies `advances`, one after the other, to what is remembered.
pub(crate) async fn look_up(
    connection: &mut SqliteConnection,
    advances: &[&Advance],
) -> Result<Advanced, Failed> {
    let rows = rows_of(connection, advances.iter().map(|advance| &advance.reader)).await;
    let known = positions(&rows.map_err(Failed::at(Stage::BeforeCommit))?, advances.len())?;
    // Of each reader: what is stored, and how far it has come.
    let mut now: HashMap<&ReaderKey, (Option<Position>, Position)> = HashMap::new();
    let mut reached = Vec::with_capacity(advances.len());
    for (advance, stored) in advances.iter().zip(known) {
        let (_, position) = now.entry(&advance.reader).or_insert((stored, stored.unwrap_or(advance.upto)));
        if position.epoch != advance.upto.epoch || position.offset < advance.upto.offset {
            *position = advance.upto;
        }
        reached.push(*position);
    }
    let changed = now
        .into_iter()
        .filter(|(_, (stored, position))| *stored != Some(*position))
        .map(|(reader, (_, upto))| Advance { reader: reader.clone(), upto });
    Ok(Advanced { reached, changed: changed.collect() })
}

impl Advanced {
    /// Whether there is anything to store.
    pub(crate) fn is_news(&self) -> bool {
        !self.changed.is_empty()
    }

    /// One statement, or none.
    pub(crate) async fn store(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        static STORE: ListStatement = ListStatement::new(
            "INSERT INTO progress (who, what, room, epoch, offset) SELECT * FROM",
            5,
            "WHERE column1 IS NOT NULL ON CONFLICT DO UPDATE SET epoch = excluded.epoch, offset = excluded.offset",
        );
        if !self.is_news() {
            return Ok(());
        }
        let mut query = STORE.for_rows(self.changed.len());
        for Advance { reader: ReaderKey { what, who, room }, upto } in &self.changed {
            query = query.bind(who.as_str()).bind(i64::from(what.number())).bind(room.as_str());
            query = query.bind(sql_number(upto.epoch.number())).bind(sql_number(upto.offset.get()));
        }
        query.execute(connection).await?;
        Ok(())
    }
}
