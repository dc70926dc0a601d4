//! Until when a client is signed in by its token, and when it is to be told that this comes to an end.
//!
//! There is no task for it: the connection looks when it pulls, and is woken by a timer that only those have whose token ends.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use chat_core::Timestamp;
use tokio::time::{Sleep, sleep};

use super::accounts::until;

/// The end of one client's token, which another token moves.
#[derive(Debug, Default)]
pub(super) struct SignedIn(Option<Box<Mutex<Term>>>);

#[derive(Debug)]
struct Term {
    ends: Option<Timestamp>,
    /// When the client is told that it ends; none once it was.
    notice: Option<Timestamp>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What has become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The token ends at that time.
    Expires(Timestamp),
    /// It has ended.
    Expired,
}

impl SignedIn {
    /// For a client that never has to show another token.
    pub(super) fn for_good() -> Self {
        Self(None)
    }

    /// For a client with an account. `notice` is how long before the end it is told.
    pub(super) fn until(ends: Option<Timestamp>, notice: Duration) -> Self {
        Self(Some(Box::new(Mutex::new(Term::new(ends, notice)))))
    }

    /// Whether the client has an account.
    pub(super) fn has_account(&self) -> bool {
        self.0.is_some()
    }

    /// Another token was shown.
    pub(super) fn extend(&self, ends: Option<Timestamp>, notice: Duration) {
        if let Some(mut term) = self.term() {
            *term = Term::new(ends, notice);
        }
    }

    /// Whether its time is over.
    pub(super) fn has_expired(&self) -> bool {
        self.term().is_some_and(|term| term.ends.is_some_and(|ends| ends <= Timestamp::now()))
    }

    /// What is due now; if nothing is, the task of `cx` is woken when something is.
    pub(super) fn poll_due(&self, cx: &mut Context<'_>) -> Poll<Due> {
        let Some(mut term) = self.term() else { return Poll::Pending };
        let Some(ends) = term.ends else { return Poll::Pending };
        loop {
            let now = Timestamp::now();
            if ends <= now {
                return Poll::Ready(Due::Expired);
            }
            let next = match term.notice {
                Some(notice) if notice <= now => {
                    term.notice = None;
                    term.timer = None;
                    return Poll::Ready(Due::Expires(ends));
                }
                notice => notice.unwrap_or(ends),
            };
            let timer = term.timer.get_or_insert_with(|| Box::pin(sleep(until(next))));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            term.timer = None;
        }
    }

    fn term(&self) -> Option<MutexGuard<'_, Term>> {
        let term = self.0.as_ref()?;
        Some(term.lock().expect("nothing panics while it looks at the time"))
    }
}

impl Term {
    fn new(ends: Option<Timestamp>, notice: Duration) -> Self {
        Self { ends, notice: ends.map(|ends| ends.minus(notice)), timer: None }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn from_now(millis: u64) -> Timestamp {
        Timestamp::from_millis(Timestamp::now().millis() + millis)
    }

    async fn next(signed_in: &SignedIn) -> Due {
        poll_fn(|cx| signed_in.poll_due(cx)).await
    }

    #[tokio::test]
    async fn the_notice_comes_once_and_then_the_end() {
        let ends = from_now(80);
        let signed_in = SignedIn::until(Some(ends), Duration::from_millis(60));
        assert!(!signed_in.has_expired());
        assert_eq!(next(&signed_in).await, Due::Expires(ends));
        assert!(Timestamp::now() < ends);
        assert_eq!(next(&signed_in).await, Due::Expired);
        assert!(ends <= Timestamp::now() && signed_in.has_expired());
    }

    #[tokio::test]
    async fn a_token_that_ends_sooner_than_the_notice_is_told_of_at_once() {
        let ends = from_now(60_000);
        let signed_in = SignedIn::until(Some(ends), Duration::from_secs(3_600));
        assert_eq!(next(&signed_in).await, Due::Expires(ends));
    }

    #[tokio::test]
    async fn another_token_moves_the_end_and_has_a_notice_of_its_own() {
        let signed_in = SignedIn::until(Some(from_now(1)), Duration::ZERO);
        let ends = from_now(60_000);
        signed_in.extend(Some(ends), Duration::from_secs(3_600));
        assert_eq!(next(&signed_in).await, Due::Expires(ends));
        signed_in.extend(None, Duration::ZERO);
        assert!(futures_util::poll!(poll_fn(|cx| signed_in.poll_due(cx))).is_pending());
        assert!(signed_in.has_account() && !signed_in.has_expired());
    }

    #[test]
    fn who_never_has_to_show_another_token_costs_one_pointer() {
        assert_eq!(size_of::<SignedIn>(), size_of::<usize>());
        assert!(!SignedIn::for_good().has_account());
    }
}
