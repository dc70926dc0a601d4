//! Faults on demand: wraps any backend so that it fails in every way its contract allows. Test your application with it.
//!
//! A [`Faults`] stands for the connection of one node to the store: it decides, from a seed, which calls are refused, delayed or answered
//! although the answer is lost, and what becomes of news. [`heal`](Faults::heal), [`outage`](Faults::outage) and [`crash`](Faults::crash)
//! change the weather while the application runs. What reaches the store stays in the store, so that a second node with faults of
//! its own can go on with it.
//!
//! Everything stays within the contracts: an application that is right never loses a message over it. Time is tokio's and all randomness
//! comes from the seed, so that on a current-thread runtime with a paused clock one seed is one history.
//!
//! ```
//! use chat_core::fault::{FaultRates, Faults};
//! use chat_core::{Appended, Author, Backends, Body, DisplayName, Draft, Kind, MemoryStore, MessageKey, RoomId, StoreError, UserId};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let faults = Faults::new(7, FaultRates { unconfirmed: 1.0, ..FaultRates::NONE });
//! let backends = faults.wrap(Backends::from_store(MemoryStore::new()));
//! // … build the application on `backends`, as on any others. Here, one call:
//! let room = RoomId::new("lobby")?;
//! let author = Author { id: UserId::new("ada")?, name: DisplayName::new("Ada")? };
//! let draft = Draft { kind: Kind::Message, author, key: MessageKey::new("k")?, body: Body::text("Hello!") };
//! let answer = backends.log.append(&room, draft.clone()).await;
//! assert!(matches!(answer, Err(StoreError::Indeterminate { .. })));
//!
//! // Stored or not? Repeating it with the same key settles that.
//! faults.heal();
//! let position = match backends.log.append(&room, draft).await? {
//!     Appended::Fresh { entry, .. } => entry.position,
//!     Appended::Duplicate { bookmark, .. } | Appended::Conflict { bookmark } => bookmark.position,
//! };
//! assert_eq!(position.offset.get(), 1);
//! # Ok(())
//! # }
//! ```

mod calls;
mod news;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;

use crate::backends::Backends;
use calls::Faulty;

/// How often what goes wrong: probabilities from 0 (never) to 1 (always), drawn anew for each call and for each news of a listener.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRates {
    /// A write is answered `Unavailable`, and nothing happened.
    pub refused: f64,
    /// A write is answered `Indeterminate`; whether it happened is a matter of chance, too.
    pub unconfirmed: f64,
    /// A read is answered `Unavailable`.
    pub unreadable: f64,
    /// A call takes up to `delay_max` before it reaches the store; and, drawn once more, as long again until its answer arrives.
    pub delayed: f64,
    /// The longest of these delays.
    pub delay_max: Duration,
    /// An append that the store has announced says that it has not.
    pub unannounced: f64,
    /// News is not heard.
    pub news_lost: f64,
    /// News is heard twice.
    pub news_repeated: f64,
    /// News is heard after the next one, or `delay_max` later if none comes.
    pub news_reordered: f64,
    /// A listener is told that it was interrupted, although it was not.
    pub interrupted: f64,
    /// A listener hears nothing for up to `silence_max`, and then that it was interrupted.
    pub silenced: f64,
    /// The longest of these silences.
    pub silence_max: Duration,
    /// To listen, to watch or to unwatch is answered `Unavailable`.
    pub unwatchable: f64,
}

impl FaultRates {
    /// Nothing goes wrong. Take the rest from it: `FaultRates { news_lost: 0.5, ..FaultRates::NONE }`.
    pub const NONE: FaultRates = FaultRates {
        refused: 0.0,
        unconfirmed: 0.0,
        unreadable: 0.0,
        delayed: 0.0,
        delay_max: Duration::ZERO,
        unannounced: 0.0,
        news_lost: 0.0,
        news_repeated: 0.0,
        news_reordered: 0.0,
        interrupted: 0.0,
        silenced: 0.0,
        silence_max: Duration::ZERO,
        unwatchable: 0.0,
    };

    /// Everything goes wrong at times: one call in ten, delays up to 100 ms, silences up to 5 s.
    pub const STORM: FaultRates = FaultRates {
        refused: 0.05,
        unconfirmed: 0.05,
        unreadable: 0.1,
        delayed: 0.2,
        delay_max: Duration::from_millis(100),
        unannounced: 0.1,
        news_lost: 0.1,
        news_repeated: 0.1,
        news_reordered: 0.1,
        interrupted: 0.02,
        silenced: 0.02,
        silence_max: Duration::from_secs(5),
        unwatchable: 0.1,
    };
}

/// The faults between one node and its store. Cloning gives another handle to the same faults.
#[derive(Clone, Debug)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    random: Mutex<StdRng>,
    weather: watch::Sender<Weather>,
}

#[derive(Clone, Copy, Debug)]
struct Weather {
    condition: Condition,
    /// How many outages there have been: a listener that was not polled during one must still learn of it.
    outages: u64,
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    Rates(FaultRates),
    Outage,
    Crashed,
}

impl Faults {
    /// Faults that follow from `seed`, as often as `rates` says.
    pub fn new(seed: u64, rates: FaultRates) -> Self {
        let weather = Weather { condition: Condition::Rates(rates), outages: 0 };
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        Self { shared: Arc::new(Shared { random, weather: watch::Sender::new(weather) }) }
    }

    /// The backends as this node sees them. Several may be wrapped: they share weather and randomness.
    pub fn wrap(&self, backends: Backends) -> Backends {
        Backends::from_store(Faulty { inner: backends, faults: self.clone() })
    }

    /// From now on as often as `rates` says; ends an outage.
    pub fn inflict(&self, rates: FaultRates) {
        self.turn(Condition::Rates(rates));
    }

    /// From now on nothing goes wrong; ends an outage. What was lost stays lost.
    pub fn heal(&self) {
        self.inflict(FaultRates::NONE);
    }

    /// The store is away: every call is `Unavailable` (a write under way `Indeterminate`) and nothing is heard, until it
    /// [heals](Self::heal) or the faults are [others](Self::inflict). Then each listener hears that it was interrupted.
    pub fn outage(&self) {
        self.turn(Condition::Outage);
    }

    /// The node dies, for good: from now on no call of these backends returns, those under way included, nothing more reaches the store, and
    /// what its listeners hear ends. The store lives on.
    pub fn crash(&self) {
        self.turn(Condition::Crashed);
    }

    fn turn(&self, condition: Condition) {
        self.shared.weather.send_if_modified(|weather| {
            if matches!(weather.condition, Condition::Crashed) {
                return false;
            }
            if matches!(condition, Condition::Outage) {
                weather.outages += 1;
            }
            weather.condition = condition;
            true
        });
    }

    fn condition(&self) -> Condition {
        self.shared.weather.borrow().condition
    }

    /// The rates that hold now; in an outage nothing is left to chance.
    fn rates(&self) -> FaultRates {
        match self.condition() {
            Condition::Rates(rates) => rates,
            Condition::Outage | Condition::Crashed => FaultRates::NONE,
        }
    }

    fn is_away(&self) -> bool {
        matches!(self.condition(), Condition::Outage)
    }

    /// Runs `call` unless the node crashes, before or meanwhile: then it never returns.
    async fn until_crash<T>(&self, call: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            () = self.crashed() => std::future::pending().await,
            answer = call => answer,
        }
    }

    async fn crashed(&self) {
        let mut weather = self.shared.weather.subscribe();
        let crashed = weather.wait_for(|weather| matches!(weather.condition, Condition::Crashed)).await;
        crashed.expect("the weather lives as long as these faults");
    }

    fn chance(&self, probability: f64) -> bool {
        // Drawn only where there is a choice; a probability outside 0..=1 is never or always.
        0.0 < probability && self.fraction() < probability
    }

    fn up_to(&self, max: Duration) -> Duration {
        const YEAR: Duration = Duration::from_secs(31_536_000);
        max.min(YEAR).mul_f64(self.fraction())
    }

    /// How long a delay takes, if there is one.
    fn delay(&self) -> Duration {
        let rates = self.rates();
        if self.chance(rates.delayed) { self.up_to(rates.delay_max) } else { Duration::ZERO }
    }

    fn fraction(&self) -> f64 {
        self.shared.random.lock().expect("a panic while drawing a number is a bug").random()
    }
}
