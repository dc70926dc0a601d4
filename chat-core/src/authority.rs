//! [`Authority`]: who may do what in which room.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::StoreResult;
use crate::id::{RoomId, UserId};

/// What somebody wants to do in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Receive what is posted from now on, or from a place that the client names.
    Join,
    /// Go on receiving after a cut: asked again, since a ban may have come between.
    Resume,
    /// Post.
    Post,
    /// Read pages of history.
    History,
    /// Learn who is in the room, who types and who has read how far. Whoever may not, joins without being told.
    SeeMembers,
}

/// Decides who may do what. Asked on every join, resume, post and history page, and before anybody learns of others, before anything else happens.
#[async_trait]
pub trait Authority: Debug + Send + Sync + 'static {
    /// Whether `who` may do `action` in `room`.
    ///
    /// # Errors
    /// If it cannot be told now: the request fails and may be repeated. Nothing is allowed by an error.
    async fn allows(&self, who: &UserId, room: &RoomId, action: Action) -> StoreResult<bool>;
}

/// Everybody may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everyone;

#[async_trait]
impl Authority for Everyone {
    async fn allows(&self, _: &UserId, _: &RoomId, _: Action) -> StoreResult<bool> {
        Ok(true)
    }
}
