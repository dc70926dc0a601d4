//! [`Presence`]: in memory. One process owns the file, and nobody is online after a restart.

use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    Changed, Departure, DisplayName, NodeId, Presence, Renewed, RoomId, Roster, Seat, StoreResult, UserId,
};

use crate::store::SqliteStore;

#[async_trait]
impl Presence for SqliteStore {
    async fn enter(&self, seat: &Seat, name: &DisplayName) -> StoreResult<Changed> {
        self.seats().enter(seat, name).await
    }

    async fn leave(&self, seat: &Seat) -> StoreResult<Changed> {
        self.seats().leave(seat).await
    }

    async fn renew(&self, node: NodeId, lease: Duration) -> StoreResult<Renewed> {
        self.seats().renew(node, lease).await
    }

    async fn roster(&self, room: &RoomId, after: Option<&UserId>, limit: u32) -> StoreResult<Roster> {
        self.seats().roster(room, after, limit).await
    }

    async fn lapsed(&self, limit: u32) -> StoreResult<Vec<NodeId>> {
        self.seats().lapsed(limit).await
    }

    async fn evict(&self, node: NodeId) -> StoreResult<Vec<Departure>> {
        self.seats().evict(node).await
    }
}
