//! A reader's question to the log: what comes after its place, or whether the place still is what it was.

use std::sync::Arc;

use crate::error::StoreResult;
use crate::page::{Fetched, Page};
use crate::place::{self, Place};
use crate::position::Bookmark;
use crate::room::Room;
use crate::rooms::Rooms;

/// What to ask.
#[derive(Clone, Copy)]
pub(crate) enum Look {
    /// What comes after the place.
    ForMore,
    /// Whether the place still is what it was.
    AtPlace,
}

/// The answer.
pub(crate) enum Found {
    /// The page that holds what comes next, if there is anything.
    Page(Arc<Page>),
    /// The place is as it was, in the room's present epoch.
    Same(Bookmark),
    /// History between the place and this one is gone.
    Lost(Place),
    /// There is no answer now.
    Failed,
}

pub(crate) async fn look(rooms: Arc<Rooms>, room: Arc<Room>, at: Bookmark, look: Look) -> Found {
    let found = match look {
        Look::ForMore => look_for_more(&rooms, &room, at).await,
        Look::AtPlace => place::check_again(&rooms, &room, at).await.map(Found::from),
    };
    found.unwrap_or_else(|error| {
        tracing::debug!(error = &error as &dyn std::error::Error, room = %room.id, "a reader has to wait");
        Found::Failed
    })
}

async fn look_for_more(rooms: &Arc<Rooms>, room: &Arc<Room>, at: Bookmark) -> StoreResult<Found> {
    Ok(match rooms.pages.holding(&room.id, at.epoch(), at.offset().next()).await? {
        Fetched::Page(page) => {
            // The tail must know of everything that readers have seen: it is what notices that a store has forgotten something.
            rooms.note(&room.id, page.head.position);
            Found::Page(page)
        }
        Fetched::Lost(bounds) if at.offset() < bounds.trimmed.offset() => {
            Found::Lost(place::after_loss(rooms, room, bounds).await?)
        }
        // Another epoch, or a log that is behind its own past: the room must find out, too.
        Fetched::Lost(_) => {
            rooms.doubt(room);
            place::check_again(rooms, room, at).await?.into()
        }
    })
}

impl From<Place> for Found {
    fn from(place: Place) -> Self {
        if place.lost { Self::Lost(place) } else { Self::Same(place.at) }
    }
}
