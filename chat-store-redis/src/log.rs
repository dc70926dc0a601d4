//! [`MessageLog`]: each call is one script, or one command.

use async_trait::async_trait;
use chat_core::{
    Appended, Bookmark, Bounds, Draft, Entry, Epoch, Fingerprint, MessageLog, Offset, PageLimit, Position,
    Replay, RoomId, StoreError, StoreIdentity, StoreResult, Timestamp,
};
use redis::{FromRedisValue, Value, cmd};

use crate::error::{STORE, corrupt, of_read, of_write};
use crate::packed;
use crate::script::{APPEND, READ, REDACT, RENEW_EPOCH, TRIM};
use crate::store::{RedisStore, in_order};

#[async_trait]
impl MessageLog for RedisStore {
    async fn append(&self, room: &RoomId, draft: Draft) -> StoreResult<Appended> {
        let options = self.options();
        if options.body_bytes_max < draft.body.bytes() || usize::from(u16::MAX) < draft.body.attachments.len()
        {
            let what = format!("a body has at most {} bytes and 65,535 attachments", options.body_bytes_max);
            return Err(StoreError::unavailable(STORE, what));
        }
        let Draft { kind, author, key, body } = draft;
        let (entries_max, retain_for) = match room.as_str().starts_with('~') {
            // Facts: their writer knows when they are of no use any more.
            true => (0, None),
            false => (options.room_entries_max.unwrap_or(0), options.retain_for),
        };
        let name = self.key(room);
        let replicated = self.replicated();
        let publish = if replicated.is_some() { "" } else { self.connector().publish() };
        let number = |number: u64| number.to_string().into_bytes();
        let args: Vec<Vec<u8>> = vec![
            author.id.as_str().into(),
            key.as_str().into(),
            author.name.as_str().into(),
            packed::body(&body),
            number(kind.number().into()),
            number(body.attachments.len() as u64),
            number(Epoch::from_random(rand::random()).number()),
            name.clone().into(),
            publish.into(),
            number(entries_max),
            number(retain_for.map_or(0, millis)),
            number(millis(options.keep_keys_for)),
        ];
        let call = APPEND.key(&name).arg(args);
        let answer = match replicated {
            Some(replicated) => replicated.append(name, call).await?,
            None => call.invoke_async(&mut self.link()).await.map_err(of_write)?,
        };
        let (outcome, epoch, offset, print, at): (String, u64, u64, u64, u64) =
            redis::from_redis_value(answer).map_err(|_| corrupt("an answer is no receipt"))?;
        let bookmark = bookmark(epoch, offset, print)?;
        let at = Timestamp::from_millis(at);
        Ok(match outcome.as_str() {
            "fresh" => {
                let Bookmark { position, fingerprint } = bookmark;
                let entry = Entry { position, kind, author, key, at, fingerprint, body: Some(body) };
                Appended::Fresh { entry, announced: self.replicated().is_none() }
            }
            "duplicate" => Appended::Duplicate { bookmark, at },
            _ => Appended::Conflict { bookmark },
        })
    }

    async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        let answer: Vec<Value> = READ
            .key(self.key(room))
            .arg(after.offset.get())
            .arg(limit.entries.get())
            .arg(limit.bytes)
            .invoke_async(&mut self.link())
            .await
            .map_err(of_read)?;
        let (head, entries) = answer.split_at_checked(BOUNDS).ok_or_else(|| corrupt("an answer is short"))?;
        let bounds = bounds(head)?;
        if !bounds.reach_back_to(after) {
            return Ok(Replay::Lost { bounds });
        }
        let mut offset = after.offset;
        let entries = entries.iter().map(|value| {
            offset = offset.next();
            let Value::BulkString(bytes) = value else { return Err(corrupt("an entry is no string")) };
            packed::entry(Position { epoch: bounds.epoch(), offset }, bytes)
                .ok_or_else(|| corrupt("an entry cannot be read"))
        });
        Ok(Replay::Page { entries: entries.collect::<StoreResult<_>>()?, head: bounds.head })
    }

    async fn bounds(&self, rooms: &[RoomId]) -> StoreResult<Vec<Bounds>> {
        let asked = rooms.iter().map(|room| {
            let (key, mut link) = (self.key(room), self.link());
            async move {
                let mut ask = cmd("HMGET");
                ask.arg(key).arg(&["epoch", "head", "print", "trimmed", "tprint", "redactions"]);
                let values: Vec<Option<u64>> = ask.query_async(&mut link).await.map_err(of_read)?;
                let [epoch, head, print, trimmed, tprint, redactions] = values[..] else {
                    return Err(corrupt("an answer is short"));
                };
                let number = Option::unwrap_or_default;
                Ok(Bounds {
                    trimmed: bookmark(number(epoch), number(trimmed), number(tprint))?,
                    head: bookmark(number(epoch), number(head), number(print))?,
                    redactions: number(redactions),
                })
            }
        });
        in_order(asked.collect()).await
    }

    async fn trim(&self, room: &RoomId, upto: Position) -> StoreResult<()> {
        let keep_keys_for = millis(self.options().keep_keys_for);
        loop {
            let left: u64 = TRIM
                .key(self.key(room))
                .arg(upto.epoch.number())
                .arg(upto.offset.get())
                .arg(keep_keys_for)
                .invoke_async(&mut self.link())
                .await
                .map_err(of_write)?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    async fn redact(&self, room: &RoomId, at: Position) -> StoreResult<()> {
        let _: u64 = REDACT
            .key(self.key(room))
            .arg(at.epoch.number())
            .arg(at.offset.get())
            .invoke_async(&mut self.link())
            .await
            .map_err(of_write)?;
        Ok(())
    }

    async fn renew_epoch(&self, room: &RoomId, from: Epoch) -> StoreResult<Bounds> {
        let fresh = loop {
            let fresh = Epoch::from_random(rand::random());
            // Two random epochs of 48 bits may be equal, if hardly ever.
            if fresh != from {
                break fresh;
            }
        };
        let answer: Vec<Value> = RENEW_EPOCH
            .key(self.key(room))
            .arg(from.number())
            .arg(fresh.number())
            .invoke_async(&mut self.link())
            .await
            .map_err(of_write)?;
        bounds(&answer)
    }

    async fn identity(&self) -> StoreResult<StoreIdentity> {
        let (key, mut link) = (self.keys().identity(), self.link());
        loop {
            let known: Option<Vec<u8>> =
                cmd("GET").arg(&key).query_async(&mut link).await.map_err(of_read)?;
            if let Some(known) = known {
                let known = known.try_into().map_err(|_| corrupt("the identity has not 16 bytes"))?;
                return Ok(StoreIdentity(known));
            }
            // Whoever comes first makes it; read again, since somebody else may have been first.
            let mut make = cmd("SET");
            make.arg(&key).arg(&rand::random::<[u8; 16]>()).arg("NX");
            let _: Value = make.query_async(&mut link).await.map_err(of_write)?;
        }
    }
}

const BOUNDS: usize = 6;

/// What `room.lua` answers as bounds.
fn bounds(values: &[Value]) -> StoreResult<Bounds> {
    let number = |index: usize| {
        let value = values.get(index).ok_or_else(|| corrupt("an answer is short"))?;
        u64::from_redis_value_ref(value).map_err(|_| corrupt("an answer is no number"))
    };
    Ok(Bounds {
        trimmed: bookmark(number(0)?, number(3)?, number(4)?)?,
        head: bookmark(number(0)?, number(1)?, number(2)?)?,
        redactions: number(5)?,
    })
}

fn bookmark(epoch: u64, offset: u64, print: u64) -> StoreResult<Bookmark> {
    let offset = Offset::new(offset).ok_or_else(|| corrupt("an offset is too large"))?;
    let position = Position { epoch: Epoch::from_number(epoch), offset };
    Ok(Bookmark { position, fingerprint: Fingerprint::from_number(print) })
}

fn millis(time: std::time::Duration) -> u64 {
    // What scripts can count.
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(1 << 50)
}
