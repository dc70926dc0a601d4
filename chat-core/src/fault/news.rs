//! Faults of what a listener hears: lost, repeated, late, and silence.

use std::collections::VecDeque;

use futures_util::stream::{BoxStream, Stream, StreamExt, unfold};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Condition, Faults, Weather};
use crate::delivery::{Heard, News};

/// What one listener hears through the faults of its node.
pub(super) struct Ear {
    inner: BoxStream<'static, Heard>,
    faults: Faults,
    weather: watch::Receiver<Weather>,
    /// Outages that this listener knows of.
    outages: u64,
    /// Heard and not handed on yet.
    ready: VecDeque<Heard>,
    /// News that waits until the next one has been heard, and at most so long.
    late: Option<(News, Instant)>,
    /// Until when nothing is heard.
    silent: Option<Instant>,
}

impl Ear {
    pub(super) fn new(inner: BoxStream<'static, Heard>, faults: Faults) -> Self {
        let weather = faults.shared.weather.subscribe();
        let outages = weather.borrow().outages;
        Self { inner, faults, weather, outages, ready: VecDeque::new(), late: None, silent: None }
    }

    /// Ends when the node crashes or the store is closed.
    pub(super) fn heard(self) -> impl Stream<Item = Heard> + Send {
        unfold(self, |mut ear| async move { Some((ear.next().await?, ear)) }).fuse()
    }

    async fn next(&mut self) -> Option<Heard> {
        loop {
            let Weather { condition, outages } = *self.weather.borrow_and_update();
            match condition {
                Condition::Crashed => return None,
                Condition::Outage => self.ready.clear(),
                Condition::Rates(_) if self.outages < outages => {
                    self.outages = outages;
                    self.ready.push_front(Heard::Interrupted);
                }
                Condition::Rates(_) => {}
            }
            if let Some(heard) = self.ready.pop_front() {
                return Some(heard);
            }
            let late = self.late.as_ref().map(|(_, until)| *until);
            tokio::select! {
                biased;
                // The faults are at hand, so the sender is never gone.
                _ = self.weather.changed() => {
                    // Better weather, or worse: what was begun under the old one ends now.
                    self.silent = self.silent.map(|_| Instant::now());
                    self.late = self.late.take().map(|(news, _)| (news, Instant::now()));
                }
                () = at(self.silent) => {
                    self.silent = None;
                    self.ready.push_back(Heard::Interrupted);
                }
                () = at(late) => self.ready.extend(self.late.take().map(|(news, _)| Heard::News(news))),
                heard = self.inner.next() => match heard? {
                    Heard::Interrupted => self.ready.push_back(Heard::Interrupted),
                    Heard::News(news) => self.hear(news),
                },
            }
        }
    }

    fn hear(&mut self, news: News) {
        let (faults, now) = (&self.faults, Instant::now());
        let rates = faults.rates();
        if faults.is_away() || self.silent.is_some() {
            return;
        }
        if faults.chance(rates.silenced) {
            self.silent = Some(now + faults.up_to(rates.silence_max));
            return;
        }
        if faults.chance(rates.news_lost) {
            return;
        }
        if faults.chance(rates.interrupted) {
            self.ready.push_back(Heard::Interrupted);
        }
        if faults.chance(rates.news_repeated) {
            self.ready.push_back(Heard::News(news.clone()));
        }
        if self.late.is_none() && faults.chance(rates.news_reordered) {
            self.late = Some((news, now + faults.up_to(rates.delay_max)));
            return;
        }
        self.ready.push_back(Heard::News(news));
        self.ready.extend(self.late.take().map(|(news, _)| Heard::News(news)));
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
