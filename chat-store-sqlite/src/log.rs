//! [`MessageLog`]: reads go to a reader's connection, everything else into the writer's queue.

use std::collections::HashMap;

use async_trait::async_trait;
use chat_core::{
    Appended, Body, Bounds, Draft, Epoch, Kind, MessageLog, PageLimit, Position, Replay, RoomId,
    StoreIdentity, StoreResult,
};
use sqlx::sqlite::SqliteRow;

use crate::body;
use crate::bounds::{self, RoomRow, column};
use crate::error::{corrupt, refused};
use crate::job::{Job, Solo};
use crate::page;
use crate::store::SqliteStore;

#[async_trait]
impl MessageLog for SqliteStore {
    async fn append(&self, room: &RoomId, draft: Draft) -> StoreResult<Appended> {
        if self.options().body_bytes_max < draft.body.bytes() {
            return Err(refused(format!("a body has at most {} bytes", self.options().body_bytes_max)));
        }
        self.write(|answer| Job::Append { room: room.clone(), draft, answer }).await
    }

    async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        let mut reading = self.readers().get().await?;
        let row = page::fetch(&mut reading, room, after, limit).await;
        let row = reading.outcome(row)?;
        drop(reading);
        page::decode(row.as_ref(), after, limit)
    }

    async fn bounds(&self, rooms: &[RoomId]) -> StoreResult<Vec<Bounds>> {
        let mut reading = self.readers().get().await?;
        let rows = bounds::of_rooms(&mut reading, rooms).await;
        let rows = reading.outcome(rows)?;
        drop(reading);
        let mut known = HashMap::with_capacity(rows.len());
        for row in &rows {
            let RoomRow { room, bounds, .. } = RoomRow::decode(row)?;
            known.insert(room, bounds);
        }
        Ok(rooms.iter().map(|room| known.get(room).copied().unwrap_or(Bounds::UNWRITTEN)).collect())
    }

    async fn trim(&self, room: &RoomId, upto: Position) -> StoreResult<()> {
        self.write(|answer| Job::Solo(Solo::Trim { room: room.clone(), upto, answer })).await
    }

    async fn redact(&self, room: &RoomId, at: Position) -> StoreResult<()> {
        self.write(|answer| Job::Solo(Solo::Redact { room: room.clone(), at, answer })).await
    }

    async fn renew_epoch(&self, room: &RoomId, from: Epoch) -> StoreResult<Bounds> {
        self.write(|answer| Job::Solo(Solo::RenewEpoch { room: room.clone(), from, answer })).await
    }

    async fn identity(&self) -> StoreResult<StoreIdentity> {
        Ok(self.known_identity())
    }
}

pub(crate) fn decode_kind(number: u64) -> StoreResult<Kind> {
    let kind = u8::try_from(number).ok().and_then(Kind::from_number);
    kind.ok_or_else(|| corrupt(format!("{number} is no kind of entry")))
}

/// The body in two columns, text and attachments; `None` if it is gone.
pub(crate) fn decode_body(row: &SqliteRow, first: usize) -> StoreResult<Option<Body>> {
    let Some(text) = column::<Option<&str>>(row, first)? else { return Ok(None) };
    let attachments = body::split(column(row, first + 1)?);
    let attachments = attachments.ok_or_else(|| corrupt("attachments of an entry are damaged"))?;
    Ok(Some(Body { text: text.into(), attachments }))
}
