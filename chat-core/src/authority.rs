//! [`Authority`]: who may do what in which room.

use std::fmt::Debug;
use std::sync::Arc;

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
    /// Ban, mute and remove others; and be safe from that.
    Manage,
}

/// Who wants to do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The identity.
    pub id: UserId,
    /// What the accounts of the application say of the user. They are known of those who have a [`Reader`](crate::Reader) on this node, by
    /// the last one that was made or [told](crate::Reader::set_roles); of others there are none.
    pub roles: Roles,
}

/// The roles of one user: texts that mean something to the application. Cloning is a reference count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles(Option<Arc<[String]>>);

impl Roles {
    /// Whether `role` is among them.
    pub fn contain(&self, role: &str) -> bool {
        self.iter().any(|own| own == role)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|roles| roles.iter()).map(String::as_str)
    }
}

impl FromIterator<String> for Roles {
    fn from_iter<T: IntoIterator<Item = String>>(roles: T) -> Self {
        let roles: Arc<[String]> = roles.into_iter().collect();
        Self(Some(roles).filter(|roles| !roles.is_empty()))
    }
}

impl From<UserId> for Who {
    /// Without roles.
    fn from(id: UserId) -> Self {
        Self { id, roles: Roles::default() }
    }
}

/// Decides who may do what. Asked on every join, resume, post, history page, list of members and act of moderation, before anything else happens.
///
/// It can only narrow what the engine allows: a [private room](RoomId::direct) is for the two, and a room that begins with `~` for no client, whatever it says.
/// Bans and mutes ([`Measure`](crate::Measure)) are the engine's own business: whoever is banned is refused without being asked about.
///
/// ```
/// use async_trait::async_trait;
/// use chat_core::{Action, Authority, RoomId, StoreResult, Who};
///
/// /// Guests only read, and moderators manage.
/// #[derive(Debug)]
/// struct HelpDesk;
///
/// #[async_trait]
/// impl Authority for HelpDesk {
///     async fn allows(&self, who: &Who, _room: &RoomId, action: Action) -> StoreResult<bool> {
///         Ok(match action {
///             Action::Post => !who.id.is_guest(),
///             Action::Manage => who.roles.contain("moderator"),
///             _ => true,
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait Authority: Debug + Send + Sync + 'static {
    /// Whether `who` may do `action` in `room`.
    ///
    /// # Errors
    /// If it cannot be told now: the request fails and may be repeated. Nothing is allowed by an error.
    async fn allows(&self, who: &Who, room: &RoomId, action: Action) -> StoreResult<bool>;
}

/// Everybody may do everything, except [manage](Action::Manage).
#[derive(Clone, Copy, Debug, Default)]
pub struct Everyone;

#[async_trait]
impl Authority for Everyone {
    async fn allows(&self, _: &Who, _: &RoomId, action: Action) -> StoreResult<bool> {
        Ok(action != Action::Manage)
    }
}
