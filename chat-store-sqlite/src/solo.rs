//! What the writer does on its own, outside of groups: trimming, redaction, a new epoch.

use chat_core::{Bounds, Epoch, Position, RoomId, StoreError};

use crate::error::{Failed, Stage};
use crate::forget;
use crate::job::{Answer, Solo};
use crate::rooms::{self, Room};
use crate::writer::Writer;

impl Writer {
    /// Does it and answers.
    pub(crate) async fn settle_solo(&mut self, solo: Solo) {
        match solo {
            Solo::Trim { room, upto, answer } => {
                let outcome = self.trim(&room, upto).await;
                self.answer(answer, outcome).await;
            }
            Solo::Redact { room, at, answer } => {
                let outcome = self.redact(&room, at).await;
                self.answer(answer, outcome).await;
            }
            Solo::RenewEpoch { room, from, answer } => {
                let outcome = self.renew_epoch(&room, from).await;
                self.answer(answer, outcome).await;
            }
            Solo::Close { .. } => unreachable!("closing is a matter of the loop"),
        }
    }

    async fn answer<T>(&mut self, answer: Answer<T>, outcome: Result<T, Failed>) {
        if let Err(failed) = &outcome {
            self.recover(failed).await;
        }
        answer.send(outcome.map_err(StoreError::from)).ok();
    }

    async fn trim(&mut self, room: &RoomId, upto: Position) -> Result<(), Failed> {
        let (connection, rooms) = self.ready().await?;
        rooms.load(connection, std::iter::once(room)).await?;
        if rooms.get(room).is_some_and(|room| room.bounds.epoch() == upto.epoch)
            && forget::trim(connection, rooms, room, upto.offset, Stage::Commit).await?
        {
            self.committed()?;
            self.upkeep.erase_now();
        }
        Ok(())
    }

    async fn redact(&mut self, room: &RoomId, at: Position) -> Result<(), Failed> {
        let (connection, rooms) = self.ready().await?;
        rooms.load(connection, std::iter::once(room)).await?;
        if forget::redact(connection, rooms, room, at).await? {
            self.committed()?;
            self.upkeep.scrub_now();
            // Before the answer, so that the content is usually gone by then. A failure is upkeep's, which tries again: the entry *is* redacted.
            self.keep_up().await;
        }
        Ok(())
    }

    async fn renew_epoch(&mut self, room: &RoomId, from: Epoch) -> Result<Bounds, Failed> {
        let (connection, rooms) = self.ready().await?;
        rooms.load(connection, std::iter::once(room)).await?;
        let Some(Room { id: Some(id), mut bounds }) = rooms.get(room) else { return Ok(Bounds::UNWRITTEN) };
        if bounds.epoch() == from {
            // Two random epochs of 48 bits may be equal, if hardly ever.
            let mut epoch = from;
            while epoch == from {
                epoch = Epoch::from_random(rand::random());
            }
            rooms::set_epoch(connection, id, epoch).await.map_err(Failed::at(Stage::Commit))?;
            bounds.trimmed.position.epoch = epoch;
            bounds.head.position.epoch = epoch;
            rooms.set(room.clone(), Room { id: Some(id), bounds });
            self.committed()?;
        }
        Ok(bounds)
    }
}
