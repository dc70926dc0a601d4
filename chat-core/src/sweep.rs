//! Compares watched rooms with the log when their time has come: the net below the net, since news may be lost without a trace.

use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::error::{StoreError, StoreResult};
use crate::id::RoomId;
use crate::mutants::{Mutant, mutated};
use crate::rooms::Rooms;
use crate::task::in_a_task;

/// Rooms compared in one call of the log.
const BATCH: usize = 256;

impl Rooms {
    /// Runs for as long as the engine does.
    pub(crate) async fn sweep(self: &Arc<Self>) {
        let mut backoff = Backoff::default();
        loop {
            if mutated(Mutant::NeverSweep) {
                return std::future::pending().await;
            }
            let (due, next_ms) = {
                let mut suspicion = self.suspicion();
                let due = suspicion.take(self.now_ms(), BATCH);
                (due, suspicion.next_ms())
            };
            if due.is_empty() {
                let wait = next_ms.map_or(Duration::from_secs(3_600), |next| {
                    Duration::from_millis(next.saturating_sub(self.now_ms()).max(1))
                });
                tokio::select! {
                    biased;
                    () = self.suspected.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                continue;
            }
            let mut parts = vec![due];
            while let Some(part) = parts.pop() {
                match self.compare(&part).await {
                    Ok(()) => backoff = Backoff::default(),
                    // One room that the log cannot understand fails the whole question, and does so each time.
                    Err(StoreError::Corrupt { .. }) if 1 < part.len() => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second.to_vec(), first.to_vec()]);
                    }
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "rooms could not be compared with the log; trying again"
                        );
                        // Trying again does not help a damaged room: it has its next turn with all others.
                        if !matches!(error, StoreError::Corrupt { .. }) {
                            part.iter().for_each(|id| self.suspicion().suspect(id));
                        }
                        backoff.wait().await;
                    }
                }
            }
        }
    }

    async fn compare(self: &Arc<Self>, due: &[RoomId]) -> StoreResult<()> {
        let mut before = Vec::with_capacity(due.len());
        for id in due {
            let Some(room) = self.get(id) else { continue };
            let seen = room.lock().head();
            before.extend(seen.map(|seen| (room, seen)));
        }
        let ids: Vec<RoomId> = before.iter().map(|(room, _)| room.id.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let log = self.log.clone();
        // A panic of the store must not end the sweep.
        let found = in_a_task(async move { log.bounds(&ids).await }).await?;
        for ((room, seen), bounds) in before.iter().zip(&found) {
            self.change(room, |state, spare| state.compare(*seen, bounds, spare));
        }
        Ok(())
    }
}
