//! Faults of calls: refused, delayed, answered although the answer is lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;

use super::Faults;
use super::news::Ear;
use crate::backends::Backends;
use crate::delivery::{Delivery, Interest, Listener, News, Progress, Ticket};
use crate::entry::Draft;
use crate::error::{StoreError, StoreResult};
use crate::id::{DisplayName, NodeId, RoomId, SubscriberId, UserId};
use crate::log::{Appended, MessageLog, PageLimit, Replay, StoreIdentity};
use crate::position::{Bounds, Epoch, Position};
use crate::presence::{Changed, Departure, Presence, Renewed, Roster, Seat};

const STORE: &str = "the faulty store";

fn unavailable() -> StoreError {
    StoreError::unavailable(STORE, "an injected fault refused the call")
}

fn indeterminate() -> StoreError {
    StoreError::indeterminate(STORE, "an injected fault lost the answer")
}

/// Backends as one node sees them through its [`Faults`].
#[derive(Clone, Debug)]
pub(super) struct Faulty {
    pub(super) inner: Backends,
    pub(super) faults: Faults,
}

impl Faults {
    async fn write<T>(&self, call: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        self.until_crash(async {
            let rates = self.rates();
            let refused = self.chance(rates.refused);
            let unconfirmed = self.chance(rates.unconfirmed);
            pause(self.delay()).await;
            if refused || self.is_away() {
                return Err(unavailable());
            }
            if unconfirmed && self.chance(0.5) {
                return Err(indeterminate());
            }
            let answer = call.await?;
            pause(self.delay()).await;
            if unconfirmed || self.is_away() { Err(indeterminate()) } else { Ok(answer) }
        })
        .await
    }

    async fn read<T>(&self, call: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        self.harmless(self.rates().unreadable, call).await
    }

    async fn listening<T>(&self, call: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        self.harmless(self.rates().unwatchable, call).await
    }

    /// A call of which it does not matter whether it happened when it fails.
    async fn harmless<T>(&self, failing: f64, call: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        self.until_crash(async {
            let fails = self.chance(failing);
            pause(self.delay()).await;
            if fails || self.is_away() {
                return Err(unavailable());
            }
            let answer = call.await?;
            pause(self.delay()).await;
            if self.is_away() { Err(unavailable()) } else { Ok(answer) }
        })
        .await
    }
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

#[async_trait]
impl MessageLog for Faulty {
    async fn append(&self, room: &RoomId, draft: Draft) -> StoreResult<Appended> {
        let mut appended = self.faults.write(self.inner.log.append(room, draft)).await?;
        if let Appended::Fresh { announced, .. } = &mut appended
            && self.faults.chance(self.faults.rates().unannounced)
        {
            *announced = false;
        }
        Ok(appended)
    }

    async fn read(&self, room: &RoomId, after: Position, limit: PageLimit) -> StoreResult<Replay> {
        self.faults.read(self.inner.log.read(room, after, limit)).await
    }

    async fn bounds(&self, rooms: &[RoomId]) -> StoreResult<Vec<Bounds>> {
        self.faults.read(self.inner.log.bounds(rooms)).await
    }

    async fn trim(&self, room: &RoomId, upto: Position) -> StoreResult<()> {
        self.faults.write(self.inner.log.trim(room, upto)).await
    }

    async fn redact(&self, room: &RoomId, at: Position) -> StoreResult<()> {
        self.faults.write(self.inner.log.redact(room, at)).await
    }

    async fn renew_epoch(&self, room: &RoomId, from: Epoch) -> StoreResult<Bounds> {
        self.faults.write(self.inner.log.renew_epoch(room, from)).await
    }

    async fn identity(&self) -> StoreResult<StoreIdentity> {
        self.faults.read(self.inner.log.identity()).await
    }
}

#[async_trait]
impl Delivery for Faulty {
    async fn announce(&self, news: &News) -> StoreResult<()> {
        self.faults.write(self.inner.delivery.announce(news)).await
    }

    async fn listen(&self) -> StoreResult<Listener> {
        let Listener { interest, heard } = self.faults.listening(self.inner.delivery.listen()).await?;
        let interest = FaultyInterest { inner: interest, faults: self.faults.clone() };
        let heard = Ear::new(heard, self.faults.clone()).heard().boxed();
        Ok(Listener { interest: Arc::new(interest), heard })
    }

    async fn ticket(&self) -> StoreResult<Ticket> {
        self.faults.write(self.inner.delivery.ticket()).await
    }

    async fn advance(
        &self,
        what: Progress,
        who: &SubscriberId,
        room: &RoomId,
        upto: Position,
    ) -> StoreResult<Position> {
        self.faults.write(self.inner.delivery.advance(what, who, room, upto)).await
    }

    async fn progress(
        &self,
        what: Progress,
        who: &SubscriberId,
        rooms: &[RoomId],
    ) -> StoreResult<Vec<Option<Position>>> {
        self.faults.read(self.inner.delivery.progress(what, who, rooms)).await
    }
}

#[derive(Debug)]
struct FaultyInterest {
    inner: Arc<dyn Interest>,
    faults: Faults,
}

#[async_trait]
impl Interest for FaultyInterest {
    async fn watch(&self, room: &RoomId) -> StoreResult<()> {
        self.faults.listening(self.inner.watch(room)).await
    }

    async fn unwatch(&self, room: &RoomId) -> StoreResult<()> {
        self.faults.listening(self.inner.unwatch(room)).await
    }
}

#[async_trait]
impl Presence for Faulty {
    async fn enter(&self, seat: &Seat, name: &DisplayName) -> StoreResult<Changed> {
        self.faults.write(self.inner.presence.enter(seat, name)).await
    }

    async fn leave(&self, seat: &Seat) -> StoreResult<Changed> {
        self.faults.write(self.inner.presence.leave(seat)).await
    }

    async fn renew(&self, node: NodeId, lease: Duration) -> StoreResult<Renewed> {
        self.faults.write(self.inner.presence.renew(node, lease)).await
    }

    async fn roster(&self, room: &RoomId, after: Option<&UserId>, limit: u32) -> StoreResult<Roster> {
        self.faults.read(self.inner.presence.roster(room, after, limit)).await
    }

    async fn lapsed(&self, limit: u32) -> StoreResult<Vec<NodeId>> {
        self.faults.read(self.inner.presence.lapsed(limit)).await
    }

    async fn evict(&self, node: NodeId) -> StoreResult<Vec<Departure>> {
        self.faults.write(self.inner.presence.evict(node)).await
    }
}

/// What the contracts allow and no caller notices may go wrong at any time, and every rule still holds.
#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::fault::FaultRates;
    use crate::memory::MemoryStore;

    fn faulty(rates: FaultRates) -> Faulty {
        Faulty { inner: Backends::from_store(MemoryStore::new()), faults: Faults::new(1, rates) }
    }

    mod calm {
        use super::*;
        crate::conformance!(|| async { (faulty(FaultRates::NONE), ()) });
    }

    mod slow_and_noisy {
        use super::*;
        crate::conformance!(|| async {
            let rates = FaultRates {
                delayed: 0.1,
                delay_max: Duration::from_millis(3),
                unannounced: 0.3,
                news_repeated: 0.3,
                news_reordered: 0.3,
                interrupted: 0.1,
                silenced: 0.05,
                silence_max: Duration::from_millis(20),
                ..FaultRates::NONE
            };
            (faulty(rates), ())
        });
    }
}
