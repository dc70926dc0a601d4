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
}

/// Decides who may do what. Asked on every join, resume, post and history page, before anything else happens.
///
/// It can only narrow what the engine allows: a [private room](RoomId::direct) is for the two, and a room that begins with `~` for no client, whatever it says.
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
