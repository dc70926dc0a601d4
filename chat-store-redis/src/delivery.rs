//! [`Delivery`]: news by publish and subscribe, positions in the room's key.

use async_trait::async_trait;
use chat_core::{
    Delivery, Epoch, Listener, News, Offset, Position, Progress, RoomId, StoreResult, SubscriberId, Ticket,
};
use redis::{Value, cmd};

use crate::error::{corrupt, of_read, of_write};
use crate::script::{ADVANCE, TICKET};
use crate::store::{RedisStore, in_order};
use crate::{keys, packed, subscription};

#[async_trait]
impl Delivery for RedisStore {
    async fn announce(&self, news: &News) -> StoreResult<()> {
        let Some(published) = packed::news(news) else { return Ok(()) };
        let mut publish = cmd(self.connector().publish());
        publish.arg(self.key(news.room())).arg(published);
        let _: Value = publish.query_async(&mut self.link()).await.map_err(of_write)?;
        Ok(())
    }

    async fn listen(&self) -> StoreResult<Listener> {
        subscription::listen(self).await
    }

    async fn ticket(&self) -> StoreResult<Ticket> {
        let ticket: u64 =
            TICKET.key(self.keys().ticket()).invoke_async(&mut self.link()).await.map_err(of_write)?;
        Ok(Ticket(ticket))
    }

    async fn advance(
        &self,
        what: Progress,
        who: &SubscriberId,
        room: &RoomId,
        upto: Position,
    ) -> StoreResult<Position> {
        let (epoch, offset): (u64, u64) = ADVANCE
            .key(self.key(room))
            .arg(keys::progress(what, who))
            .arg(upto.epoch.number())
            .arg(upto.offset.get())
            .invoke_async(&mut self.link())
            .await
            .map_err(of_write)?;
        let offset = Offset::new(offset).ok_or_else(|| corrupt("an offset is too large"))?;
        Ok(Position { epoch: Epoch::from_number(epoch), offset })
    }

    async fn progress(
        &self,
        what: Progress,
        who: &SubscriberId,
        rooms: &[RoomId],
    ) -> StoreResult<Vec<Option<Position>>> {
        let field = keys::progress(what, who);
        let asked = rooms.iter().map(|room| {
            let (key, field, mut link) = (self.key(room), field.clone(), self.link());
            async move {
                let known: Option<Vec<u8>> =
                    cmd("HGET").arg(key).arg(field).query_async(&mut link).await.map_err(of_read)?;
                let read = |packed: Vec<u8>| {
                    packed::position(&packed).ok_or_else(|| corrupt("a position cannot be read"))
                };
                known.map(read).transpose()
            }
        });
        in_order(asked.collect()).await
    }
}
