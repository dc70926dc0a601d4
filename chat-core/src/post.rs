//! How a draft becomes an entry, and an entry is shown.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::chat::{ChatError, Receipt};
use crate::delivery::{Delivery, News};
use crate::entry::{Author, Body, Draft, Kind, Timestamp};
use crate::error::{StoreError, StoreResult};
use crate::id::{DisplayName, MessageKey, RoomId, UserId};
use crate::log::Appended;
use crate::mutants::{Mutant, mutated};
use crate::position::{Bounds, Position};
use crate::rooms::Rooms;

/// Appends a fact of the engine's own, in a task of its own: whoever goes away does not stop it half way.
pub(crate) async fn append_fact(
    rooms: &Arc<Rooms>,
    delivery: &Arc<dyn Delivery>,
    room: &RoomId,
    key: MessageKey,
    body: Body,
) -> Result<Receipt, ChatError> {
    let author = Author { id: UserId::system(), name: DisplayName::new("chat").expect("a plain name") };
    let draft = Draft { kind: Kind::Fact, author, key, body };
    settled(rooms.tasks.spawn(append(rooms.clone(), delivery.clone(), room.clone(), draft))).await
}

/// The outcome of an append that has a task of its own.
pub(crate) async fn settled(append: JoinHandle<Result<Receipt, ChatError>>) -> Result<Receipt, ChatError> {
    // The runtime is going down, or the store has panicked: it may be stored.
    append.await.unwrap_or_else(|broken| Err(StoreError::indeterminate("chat", broken).into()))
}

/// Log first, then the room: only what is durable is shown.
pub(crate) async fn append(
    rooms: Arc<Rooms>,
    delivery: Arc<dyn Delivery>,
    room: RoomId,
    mut draft: Draft,
) -> Result<Receipt, ChatError> {
    if mutated(Mutant::DropDeduplication) {
        draft.key = crate::MessageKey::new(&format!("{}-{:?}", draft.key, tokio::time::Instant::now()))
            .expect("short enough");
    }
    let shown_anyway = mutated(Mutant::ShowRefused).then(|| draft.clone());
    let (receipt, news) = match rooms.log.append(&room, draft).await {
        Ok(Appended::Fresh { entry, announced }) => {
            let receipt = Receipt { bookmark: entry.bookmark(), at: entry.at, duplicate: false };
            let news =
                (!announced).then(|| News::Appended { room: room.clone(), entry: Arc::new(entry.clone()) });
            rooms.offer(&room, entry);
            (receipt, news)
        }
        Ok(Appended::Duplicate { bookmark, at }) => {
            // The first attempt may have ended between the log and the room.
            rooms.note(&room, bookmark.position);
            let news = News::Grown { room: room.clone(), head: bookmark };
            (Receipt { bookmark, at, duplicate: true }, Some(news))
        }
        Ok(Appended::Conflict { bookmark }) if mutated(Mutant::SwallowConflict) => {
            return Ok(Receipt { bookmark, at: Timestamp::from_millis(0), duplicate: true });
        }
        Ok(Appended::Conflict { bookmark }) => return Err(ChatError::Conflict { bookmark }),
        Err(error) => {
            if matches!(error, StoreError::Indeterminate { .. }) {
                rooms.suspect(&room);
            }
            if let Some(draft) = shown_anyway {
                let Bounds { head, .. } = rooms.bounds(&room).await?;
                let position = Position { epoch: head.epoch(), offset: head.offset().next() };
                let Draft { kind, author, key, body } = draft;
                let at = Timestamp::from_millis(0);
                let fingerprint = head.fingerprint.then(&author.id, &key, at);
                let entry = crate::Entry { position, kind, author, key, at, fingerprint, body: Some(body) };
                rooms.offer(&room, entry);
            }
            return Err(error.into());
        }
    };
    if let Some(news) = news {
        announce(&rooms, delivery, news);
    }
    Ok(receipt)
}

/// Log first, then the copies.
pub(crate) async fn redact(
    rooms: Arc<Rooms>,
    delivery: Arc<dyn Delivery>,
    room: RoomId,
    at: Position,
) -> StoreResult<()> {
    rooms.log.redact(&room, at).await?;
    rooms.redact(&room, at);
    announce(&rooms, delivery, News::Redacted { room, position: at });
    Ok(())
}

/// In a task of its own: an answer does not wait for the other nodes.
pub(crate) fn announce(rooms: &Arc<Rooms>, delivery: Arc<dyn Delivery>, news: News) {
    rooms.tasks.spawn(async move {
        if let Err(error) = delivery.announce(&news).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "news did not get out; what matters the other nodes find out by comparing"
            );
        }
    });
}
