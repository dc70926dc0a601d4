//! News that a node listens to, until that is ended: then it has to listen anew.

use std::sync::Arc;

use async_trait::async_trait;
use chat_core::*;
use futures_util::StreamExt;
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct Ears {
    inner: Arc<dyn Delivery>,
    end: Arc<Notify>,
}

impl Ears {
    pub(super) fn new(inner: Arc<dyn Delivery>, end: Arc<Notify>) -> Self {
        Self { inner, end }
    }
}

#[async_trait]
impl Delivery for Ears {
    async fn announce(&self, news: &News) -> StoreResult<()> {
        self.inner.announce(news).await
    }

    async fn listen(&self) -> StoreResult<Listener> {
        let Listener { interest, heard } = self.inner.listen().await?;
        let end = self.end.clone();
        let heard = heard.take_until(async move { end.notified().await }).boxed();
        Ok(Listener { interest, heard })
    }

    async fn ticket(&self) -> StoreResult<Ticket> {
        self.inner.ticket().await
    }

    async fn advance(
        &self,
        what: Progress,
        who: &SubscriberId,
        room: &RoomId,
        upto: Position,
    ) -> StoreResult<Position> {
        self.inner.advance(what, who, room, upto).await
    }

    async fn progress(
        &self,
        what: Progress,
        who: &SubscriberId,
        rooms: &[RoomId],
    ) -> StoreResult<Vec<Option<Position>>> {
        self.inner.progress(what, who, rooms).await
    }
}
