//! Takes in what other nodes tell.

use std::sync::Arc;

use futures_util::StreamExt;

use crate::backoff::Backoff;
use crate::board::Board;
use crate::delivery::{Delivery, Heard, Listener, News};
use crate::mutants::{Mutant, mutated};
use crate::people::People;
use crate::rooms::Rooms;

/// Runs for as long as the engine does; listens anew when there is nothing more to hear.
pub(crate) async fn listen(
    rooms: Arc<Rooms>,
    board: Arc<Board>,
    people: Arc<People>,
    delivery: Arc<dyn Delivery>,
    mut listener: Listener,
) {
    let mut backoff = Backoff::default();
    loop {
        while let Some(heard) = listener.heard.next().await {
            backoff = Backoff::default();
            match heard {
                Heard::News(News::Appended { room, entry }) => {
                    rooms.offer(&room, Arc::unwrap_or_clone(entry))
                }
                Heard::News(News::Grown { room, head }) => rooms.note(&room, head.position),
                Heard::News(News::Redacted { room, position }) => rooms.redact(&room, position),
                Heard::News(News::Notice { room, from, notice }) => board.hear(&room, from, &notice),
                Heard::News(News::TakenOver { user, connection, ticket, .. }) => {
                    people.taken_over(&user, &connection, ticket)
                }
                Heard::Interrupted if mutated(Mutant::NeverSweep) || mutated(Mutant::IgnoreInterruptions) => {
                }
                Heard::Interrupted => {
                    rooms.suspect_all();
                    board.suspect_all();
                }
            }
        }
        backoff.wait().await;
        match delivery.listen().await {
            Ok(again) => match rooms.listen_with(again.interest.clone()).await {
                Ok(()) => {
                    listener = again;
                    board.suspect_all();
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "rooms could not be watched again; trying again"
                ),
            },
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "news cannot be heard; trying again")
            }
        }
    }
}
