//! A page of entries, read by one statement that answers one row.
//!
//! Each value of each row that SQLite answers is copied on its way from its thread to the caller's, and each row wakes somebody. So the database
//! joins the entries of a page into one value, which is taken apart here: a page takes about half the processor time that its rows would.

use std::str::{FromStr, from_utf8};
use std::sync::Arc;

use bytes::Bytes;
use chat_core::{
    Author, Body, Bounds, DisplayName, Entry, Epoch, Fingerprint, MessageKey, Offset, PageLimit, Position,
    Replay, RoomId, StoreResult, Timestamp, UserId,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, query};

use crate::body;
use crate::bounds::{self, column, sql_number};
use crate::error::corrupt;
use crate::log::decode_kind;

/// Bodies of a page, in bytes, at which it ends whatever the caller's limit is: far below what fits into one value.
const BODY_BYTES_MAX: usize = 64 << 20;

/// One statement, so that bounds and entries are of one moment. The sizes are summed up before any body is looked at: a body may have many pages of its own.
///
/// `+ 0`, because SQLite plans a statement anew for each value of a parameter that is a limit by itself: a third of the time of a page.
///
/// Each entry is nine numbers, each followed by a space, and then its texts without anything between them; the last five numbers are
/// their lengths in bytes, -1 for what is gone.
const PAGE: &str = "SELECT r.epoch, r.trimmed, r.trimmed_fingerprint, r.redactions, h.offset, h.fingerprint, (
    SELECT group_concat(concat(
        e.offset, ' ', e.at, ' ', e.kind, ' ', e.fingerprint, ' ',
        octet_length(e.author), ' ', octet_length(e.name), ' ', octet_length(e.key), ' ',
        ifnull(octet_length(e.text), -1), ' ', ifnull(octet_length(e.attachments), -1), ' ',
        e.author, e.name, e.key, e.text, e.attachments
    ), '')
    FROM (
        SELECT id, sum(bytes) OVER (ORDER BY offset) - bytes AS bytes_before FROM (
            SELECT id, offset, ifnull(octet_length(text), 0) + ifnull(octet_length(attachments), 0) AS bytes
            FROM entries WHERE room = r.id AND max(r.trimmed, ?2) < offset ORDER BY offset LIMIT ?3 + 0
        )
    ) AS place CROSS JOIN entries AS e ON e.id = place.id
    WHERE place.bytes_before <= ?4
)
FROM rooms AS r LEFT JOIN entries AS h ON h.room = r.id AND h.offset = (SELECT max(offset) FROM entries WHERE room = r.id)
WHERE r.name = ?1";

/// The row of a page; `None` if the room was never written to. For [`decode`].
pub(crate) async fn fetch(
    connection: &mut SqliteConnection,
    room: &RoomId,
    after: Position,
    limit: PageLimit,
) -> Result<Option<SqliteRow>, sqlx::Error> {
    query(PAGE)
        .bind(room.as_str())
        .bind(sql_number(after.offset.get()))
        .bind(i64::from(limit.entries.get()))
        .bind(sql_number(limit.bytes.min(BODY_BYTES_MAX) as u64))
        .fetch_optional(connection)
        .await
}

/// What the row of [`fetch`] says.
pub(crate) fn decode(row: Option<&SqliteRow>, after: Position, limit: PageLimit) -> StoreResult<Replay> {
    let bounds = row.map_or(Ok(Bounds::UNWRITTEN), |row| bounds::bounds(row, 0))?;
    if !bounds.reach_back_to(after) {
        return Ok(Replay::Lost { bounds });
    }
    let joined = match row {
        Some(row) => column::<Option<&[u8]>>(row, 6)?.unwrap_or_default(),
        None => &[],
    };
    let (mut rest, mut entries, mut bytes) = (Rest(joined), Vec::new(), 0_usize);
    let mut expected = after.offset;
    while !rest.0.is_empty() {
        let entry = rest.entry(bounds.epoch()).ok_or_else(|| corrupt("an entry cannot be understood"))?;
        expected = expected.next();
        if entry.position.offset != expected {
            return Err(corrupt(format!("entry {expected} of a room is missing")));
        }
        bytes = bytes.saturating_add(entry.bytes());
        if limit.bytes < bytes && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(Replay::Page { entries, head: bounds.head })
}

/// What is left of a page. Everything answers `None` for what this crate never writes.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn entry(&mut self, epoch: Epoch) -> Option<Entry> {
        let offset = Offset::new(self.number()?)?;
        let at = Timestamp::from_millis(self.number()?);
        let kind = decode_kind(self.number()?).ok()?;
        let fingerprint = Fingerprint::from_number(self.number()?);
        let [author, name, key] = [self.number()?, self.number()?, self.number()?];
        let [text, attachments]: [i64; 2] = [self.number()?, self.number()?];
        let author = Author {
            id: UserId::new(self.text(author)?).ok()?,
            name: DisplayName::new(self.text(name)?).ok()?,
        };
        let key = MessageKey::new(self.text(key)?).ok()?;
        let body = match text {
            -1 => None,
            length => {
                let text: Arc<str> = self.text(usize::try_from(length).ok()?)?.into();
                let attachments = self.attachments(attachments)?;
                Some(Body { text, attachments })
            }
        };
        Some(Entry { position: Position { epoch, offset }, kind, author, key, at, fingerprint, body })
    }

    fn attachments(&mut self, length: i64) -> Option<Arc<[Bytes]>> {
        let blob = match length {
            -1 => None,
            length => Some(self.take(usize::try_from(length).ok()?)?.to_vec()),
        };
        body::split(blob)
    }

    /// Up to the next space.
    fn number<T: FromStr>(&mut self) -> Option<T> {
        let length = self.0.iter().position(|byte| *byte == b' ')?;
        let number = self.text(length)?.parse().ok()?;
        self.take(1)?;
        Some(number)
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        from_utf8(self.take(length)?).ok()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_crate_never_writes_is_refused_without_a_panic() {
        let good: &[u8] = b"1 1700000000000 0 42 3 3 2 5 -1 adaAdak1hello";
        let epoch = Epoch::from_number(7);
        let entry = Rest(good).entry(epoch).unwrap();
        assert_eq!((entry.key.as_str(), &*entry.body.unwrap().text), ("k1", "hello"));
        for cut in 0..good.len() {
            assert_eq!(Rest(&good[..cut]).entry(epoch), None, "{cut} bytes");
        }
        for bad in [
            "1 1 9 42 3 3 2 5 -1 adaAdak1hello",
            "1 1 0 42 3 3 99999999999 5 -1 adaAdak1hello",
            "1 1 0 42 3 3 2 -2 -1 adaAdak1hello",
        ] {
            assert_eq!(Rest(bad.as_bytes()).entry(epoch), None, "{bad}");
        }
    }
}
