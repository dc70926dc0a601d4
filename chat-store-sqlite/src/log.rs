//! [`MessageLog`]: reads go to a reader's connection, everything else into the writer's queue.

use std::collections::HashMap;

use async_trait::async_trait;
use chat_core::{
    Appended, Author, Body, Bounds, DisplayName, Draft, Entry, Epoch, Fingerprint, Kind, MessageKey,
    MessageLog, PageLimit, Position, Replay, RoomId, StoreIdentity, StoreResult, Timestamp, UserId,
};
use futures_util::TryStreamExt;
use sqlx::query;
use sqlx::sqlite::SqliteRow;

use crate::body;
use crate::bounds::{self, RoomRow, column, number, offset, sql_number};
use crate::error::{corrupt, refused};
use crate::job::{Job, Solo};
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
        // One statement, so that bounds and entries are of one moment: first a row of bounds, then the entries. Each value of each row is copied
        // on its way here, so there are no more columns than needed.
        const PAGE: &str = "SELECT 1, r.epoch, r.trimmed, r.trimmed_fingerprint, h.offset, h.fingerprint, NULL, NULL, NULL, NULL \
             FROM rooms AS r LEFT JOIN entries AS h \
             ON h.room = r.id AND h.offset = (SELECT max(offset) FROM entries WHERE room = r.id) WHERE r.name = ?1 \
             UNION ALL SELECT * FROM \
             (SELECT 0, e.offset, e.at, e.kind, e.author, e.name, e.key, e.fingerprint, e.text, e.attachments \
             FROM rooms AS r JOIN entries AS e ON e.room = r.id AND r.trimmed < e.offset AND ?2 < e.offset \
             WHERE r.name = ?1 ORDER BY e.offset LIMIT ?3)";
        let mut reading = self.readers().get().await?;
        let mut page = Page { after, limit, bounds: None, entries: Vec::new(), bytes: 0 };
        let outcome = {
            let mut rows = query(PAGE)
                .bind(room.as_str())
                .bind(sql_number(after.offset.get()))
                .bind(i64::from(limit.entries.get()))
                .fetch(&mut *reading);
            loop {
                match rows.try_next().await {
                    Ok(Some(row)) if page.take(&row)? => {}
                    Ok(_) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
        };
        reading.outcome(outcome)?;
        Ok(page.finish())
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

/// A page while its rows come in.
struct Page {
    after: Position,
    limit: PageLimit,
    /// `None` until the first row: a room that was never written to has none.
    bounds: Option<Bounds>,
    entries: Vec<Entry>,
    bytes: usize,
}

impl Page {
    /// Whether further rows are wanted.
    fn take(&mut self, row: &SqliteRow) -> StoreResult<bool> {
        let Some(bounds) = self.bounds else {
            if column::<i64>(row, 0)? != 1 {
                return Err(corrupt("a page does not begin with its bounds"));
            }
            let bounds = bounds::bounds(row, 1)?;
            self.bounds = Some(bounds);
            return Ok(bounds.reach_back_to(self.after));
        };
        let entry = decode(row, bounds.epoch())?;
        let expected = self.after.offset.plus(self.entries.len() as u64 + 1);
        if entry.position.offset != expected {
            return Err(corrupt(format!("entry {expected} of a room is missing")));
        }
        self.bytes = self.bytes.saturating_add(entry.bytes());
        if self.limit.bytes < self.bytes && !self.entries.is_empty() {
            return Ok(false);
        }
        self.entries.push(entry);
        Ok(true)
    }

    fn finish(self) -> Replay {
        let bounds = self.bounds.unwrap_or(Bounds::UNWRITTEN);
        if bounds.reach_back_to(self.after) {
            Replay::Page { entries: self.entries, head: bounds.head }
        } else {
            Replay::Lost { bounds }
        }
    }
}

/// The entry in the columns from 1 on: offset, at, kind, author, name, key, fingerprint, text, attachments.
fn decode(row: &SqliteRow, epoch: Epoch) -> StoreResult<Entry> {
    Ok(Entry {
        position: Position { epoch, offset: offset(row, 1)? },
        at: Timestamp::from_millis(number(row, 2)?),
        kind: decode_kind(number(row, 3)?)?,
        author: Author {
            id: UserId::new(column(row, 4)?).map_err(corrupt)?,
            name: DisplayName::new(column(row, 5)?).map_err(corrupt)?,
        },
        key: MessageKey::new(column(row, 6)?).map_err(corrupt)?,
        fingerprint: Fingerprint::from_number(number(row, 7)?),
        body: decode_body(row, 8)?,
    })
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
