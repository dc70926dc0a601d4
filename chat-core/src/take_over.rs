//! One connection, several readers: which of them has it.
//!
//! A client that was cut off may be back on another node while the one before still believes in the old connection. Once it was let in there, its new
//! reader draws a ticket, and news of that goes by a room that the old one has as well. Whoever hears of a larger ticket than its own has lost the
//! connection. All nodes see the tickets in one order, so whatever becomes of the news, the reader that drew last is never told to go; and when
//! all of it was heard, no other is left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::delivery::{Delivery, News, Ticket};
use crate::error::StoreResult;
use crate::id::{ConnectionId, RoomId, UserId};
use crate::people::Desk;

/// A ticket that takes longer is of no use: the client may have gone on to another node meanwhile, whose ticket would be the smaller one. The official
/// clients do not come back sooner than in half a second.
const PROMPT: Duration = Duration::from_millis(400);
/// A node that had lost its way to the store is told when it has found it again.
const AGAIN: Duration = Duration::from_secs(10);
/// Who is about to draw is not compared with anybody before.
const NOT_DRAWN: u64 = u64::MAX;

/// By which ticket a reader has its connection, and the largest that was heard of.
#[derive(Debug)]
pub(crate) struct Tenure {
    own: AtomicU64,
    newest: AtomicU64,
}

impl Tenure {
    /// The first reader of a connection has it by none.
    pub(crate) fn first() -> Self {
        Self { own: AtomicU64::new(0), newest: AtomicU64::new(0) }
    }

    /// One that is to draw.
    pub(crate) fn to_be_drawn() -> Self {
        Self { own: AtomicU64::new(NOT_DRAWN), newest: AtomicU64::new(0) }
    }

    pub(crate) fn draw(&self, Ticket(ticket): Ticket) {
        self.own.store(ticket, Ordering::SeqCst);
    }

    pub(crate) fn hear(&self, Ticket(ticket): Ticket) {
        self.newest.fetch_max(ticket, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.own.load(Ordering::SeqCst) < self.newest.load(Ordering::SeqCst)
    }
}

/// A reader whose client is back from `connection`.
pub(crate) struct TakesOver {
    pub(crate) desk: Weak<Desk>,
    pub(crate) room: RoomId,
    pub(crate) user: UserId,
    pub(crate) connection: ConnectionId,
}

impl TakesOver {
    /// Tells the other nodes. Ends early when the reader is gone, or has lost the connection itself.
    pub(crate) async fn tell(self, delivery: Arc<dyn Delivery>) {
        let Self { desk, room, user, connection } = self;
        let is_here = || desk.upgrade().is_some_and(|desk| !desk.is_taken_over());
        let drawn = timeout(PROMPT, while_here(&is_here, || delivery.ticket())).await;
        let Ok(Some(ticket)) = drawn else { return };
        if let Some(desk) = desk.upgrade() {
            desk.draw(ticket);
        }
        let news = News::TakenOver { room, user, connection, ticket };
        for pause in [Duration::ZERO, AGAIN] {
            sleep(pause).await;
            while_here(&is_here, || delivery.announce(&news)).await;
        }
    }
}

/// Tries until it succeeds, unless nobody is there any more.
async fn while_here<T, F: Future<Output = StoreResult<T>>>(
    is_here: &impl Fn() -> bool,
    attempt: impl Fn() -> F,
) -> Option<T> {
    let mut backoff = Backoff::default();
    while is_here() {
        match attempt().await {
            Ok(answer) => return Some(answer),
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "other nodes could not be told that a client is back; trying again"
            ),
        }
        backoff.wait().await;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_has_not_drawn_yet_is_compared_with_what_it_heard_when_it_has() {
        let (early, late) = (Tenure::to_be_drawn(), Tenure::to_be_drawn());
        for tenure in [&early, &late] {
            tenure.hear(Ticket(5));
            assert!(!tenure.is_over());
        }
        early.draw(Ticket(4));
        late.draw(Ticket(6));
        assert!(early.is_over() && !late.is_over());
        let first = Tenure::first();
        assert!(!first.is_over());
        first.hear(Ticket(1));
        assert!(first.is_over());
    }

    proptest! {
        /// News may be lost, repeated and late: who drew last stays. If each hears all of it, nobody else does.
        #[test]
        fn exactly_one_remains_when_all_was_heard_and_never_none(
            readers in 1..5_usize,
            heard in prop::collection::vec((0..5_usize, 0..5_usize), 0..40),
        ) {
            let tenures: Vec<Tenure> = (0..readers).map(|_| Tenure::to_be_drawn()).collect();
            let ticket = |reader: usize| Ticket(reader as u64 + 1);
            let remaining = || tenures.iter().map(Tenure::is_over).filter(|is_over| !is_over).count();
            for (number, (reader, other)) in heard.iter().enumerate() {
                if number < readers {
                    tenures[number].draw(ticket(number));
                }
                // Nobody hears of a ticket before it is drawn.
                if *reader < readers && *other < readers.min(number + 1) {
                    tenures[*reader].hear(ticket(*other));
                }
                prop_assert!(!tenures[readers - 1].is_over());
            }
            for (reader, tenure) in tenures.iter().enumerate() {
                tenure.draw(ticket(reader));
                (0..readers).rev().for_each(|other| tenure.hear(ticket(other)));
            }
            prop_assert_eq!(remaining(), 1);
            prop_assert!(!tenures[readers - 1].is_over());
        }
    }
}
