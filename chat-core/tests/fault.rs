//! Faults on demand: each kind happens, stays within the contracts, ends when told to, and follows from the seed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use chat_core::fault::{FaultRates, Faults};
use chat_core::*;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout};

const ALWAYS: f64 = 1.0;
const NONE: FaultRates = FaultRates::NONE;

struct World {
    store: MemoryStore,
    faults: Faults,
    backends: Backends,
    room: RoomId,
}

fn world(rates: FaultRates) -> World {
    seeded(1, rates)
}

fn seeded(seed: u64, rates: FaultRates) -> World {
    let store = MemoryStore::seeded(seed);
    let faults = Faults::new(seed, rates);
    let backends = faults.wrap(Backends::from_store(store.clone()));
    World { store, faults, backends, room: RoomId::new("a").unwrap() }
}

fn draft(number: u64) -> Draft {
    Draft {
        kind: Kind::Message,
        author: Author { id: UserId::new("ada").unwrap(), name: DisplayName::new("Ada").unwrap() },
        key: MessageKey::new(&number.to_string()).unwrap(),
        body: Body::text("text"),
    }
}

impl World {
    async fn append(&self, number: u64) -> StoreResult<Appended> {
        self.backends.log.append(&self.room, draft(number)).await
    }

    /// What the store really has.
    async fn stored(&self) -> u64 {
        self.store.bounds(std::slice::from_ref(&self.room)).await.unwrap()[0].head.offset().get()
    }

    async fn listen(&self) -> Listener {
        let listener = self.backends.delivery.listen().await.unwrap();
        listener.interest.watch(&self.room).await.unwrap();
        listener
    }

    fn grown(&self, number: u64) -> News {
        let position = Position { epoch: Epoch::from_random(u64::MAX), offset: Offset::new(number).unwrap() };
        let head = Bookmark { position, fingerprint: Fingerprint::NONE };
        News::Grown { room: self.room.clone(), head }
    }

    /// News from another node.
    async fn announce(&self, number: u64) {
        self.store.announce(&self.grown(number)).await.unwrap();
    }

    /// What the listener hears until it hears nothing for an hour: numbers of news, 0 for `Interrupted`.
    async fn heard(&self, listener: &mut Listener) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Ok(Some(heard)) = timeout(Duration::from_secs(3_600), listener.heard.next()).await {
            numbers.push(match heard {
                Heard::News(News::Grown { head, .. }) => head.offset().get(),
                Heard::News(News::Appended { entry, .. }) => 1_000 + entry.position.offset.get(),
                Heard::News(other) => panic!("{other:?} was not announced"),
                Heard::Interrupted => 0,
            });
        }
        numbers
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_has_not_happened() {
    let world = world(FaultRates { refused: ALWAYS, ..NONE });
    assert!(matches!(world.append(1).await, Err(StoreError::Unavailable { .. })));
    assert_eq!(world.stored().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_write_may_have_happened_or_not() {
    let world = world(FaultRates { unconfirmed: ALWAYS, ..NONE });
    for number in 1..=100 {
        assert!(matches!(world.append(number).await, Err(StoreError::Indeterminate { .. })));
    }
    let stored = world.stored().await;
    assert!((20..=80).contains(&stored), "{stored} of 100 were stored");
}

#[tokio::test(start_paused = true)]
async fn reads_fail_without_writes_failing() {
    let world = world(FaultRates { unreadable: ALWAYS, ..NONE });
    world.append(1).await.unwrap();
    let read = world.backends.log.bounds(std::slice::from_ref(&world.room)).await;
    assert!(matches!(read, Err(StoreError::Unavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn delays_come_before_and_after_what_happens() {
    let delay_max = Duration::from_secs(1);
    let world = world(FaultRates { delayed: ALWAYS, delay_max, ..NONE });
    let mut stored_before_the_answer = 0;
    for number in 1..=20 {
        let (begun, mut append) = (Instant::now(), Box::pin(world.append(number)));
        let answered = loop {
            match timeout(Duration::from_millis(10), &mut append).await {
                Ok(answer) => break answer,
                Err(_) => stored_before_the_answer += u64::from(world.stored().await == number),
            }
        };
        answered.unwrap();
        assert!(begun.elapsed() <= 2 * delay_max + Duration::from_millis(20));
    }
    assert!(0 < stored_before_the_answer);
}

#[tokio::test(start_paused = true)]
async fn an_announced_append_may_say_that_it_was_not() {
    let world = world(FaultRates { unannounced: ALWAYS, ..NONE });
    assert!(matches!(world.append(1).await, Ok(Appended::Fresh { announced: false, .. })));
    world.faults.heal();
    assert!(matches!(world.append(2).await, Ok(Appended::Fresh { announced: true, .. })));
}

#[tokio::test(start_paused = true)]
async fn news_is_lost_repeated_and_reordered() {
    for (rates, expected) in [
        (NONE, vec![1, 2, 3, 4]),
        (FaultRates { news_lost: ALWAYS, ..NONE }, vec![]),
        (FaultRates { news_repeated: ALWAYS, ..NONE }, vec![1, 1, 2, 2, 3, 3, 4, 4]),
        (FaultRates { news_reordered: ALWAYS, delay_max: Duration::from_secs(9), ..NONE }, vec![2, 1, 4, 3]),
        (FaultRates { interrupted: ALWAYS, ..NONE }, vec![0, 1, 0, 2, 0, 3, 0, 4]),
    ] {
        let world = world(rates);
        let mut listener = world.listen().await;
        for number in 1..=4 {
            world.announce(number).await;
        }
        assert_eq!(world.heard(&mut listener).await, expected, "{rates:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn late_news_is_heard_although_nothing_follows() {
    let world = world(FaultRates { news_reordered: ALWAYS, delay_max: Duration::from_secs(9), ..NONE });
    let mut listener = world.listen().await;
    world.announce(1).await;
    assert_eq!(world.heard(&mut listener).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_silence_ends_with_interrupted() {
    let silence_max = Duration::from_secs(60);
    let world = world(FaultRates { silenced: ALWAYS, silence_max, ..NONE });
    let mut listener = world.listen().await;
    let begun = Instant::now();
    world.announce(1).await;
    world.announce(2).await;
    assert_eq!(listener.heard.next().await, Some(Heard::Interrupted));
    assert!(Duration::from_secs(1) < begun.elapsed() && begun.elapsed() <= silence_max);
    // Healing ends a silence at once.
    world.announce(3).await;
    assert_eq!(listener.heard.next().now_or_never(), None);
    world.faults.heal();
    let begun = Instant::now();
    assert_eq!(listener.heard.next().await, Some(Heard::Interrupted));
    assert!(begun.elapsed() < Duration::from_secs(1));
    world.announce(4).await;
    assert_eq!(world.heard(&mut listener).await, [4]);
}

#[tokio::test(start_paused = true)]
async fn watching_fails() {
    let world = world(NONE);
    let listener = world.listen().await;
    world.faults.inflict(FaultRates { unwatchable: ALWAYS, ..NONE });
    assert!(world.backends.delivery.listen().await.is_err());
    assert!(listener.interest.watch(&world.room).await.is_err());
    assert!(listener.interest.unwatch(&world.room).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_everything_is_unavailable_until_it_heals() {
    let world = world(NONE);
    let mut listener = world.listen().await;
    world.faults.outage();
    assert!(matches!(world.append(1).await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(world.backends.log.identity().await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(world.backends.delivery.listen().await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(world.backends.presence.lapsed(1).await, Err(StoreError::Unavailable { .. })));
    world.announce(1).await;
    assert_eq!(world.heard(&mut listener).await, [0_u64; 0]);
    world.faults.heal();
    world.append(1).await.unwrap();
    assert_eq!(listener.heard.next().await, Some(Heard::Interrupted));
    assert!(matches!(listener.heard.next().await, Some(Heard::News(News::Appended { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_listener_learns_of_an_outage_that_it_slept_through() {
    let world = world(NONE);
    let mut listener = world.listen().await;
    world.faults.outage();
    world.faults.heal();
    assert_eq!(world.heard(&mut listener).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_an_outage_overtakes_is_unconfirmed() {
    let delay_max = Duration::from_secs(1);
    let (mut indeterminate, mut stored) = (0, 0);
    for seed in 0..20 {
        let world = seeded(seed, FaultRates { delayed: ALWAYS, delay_max, ..NONE });
        let mut append = Box::pin(world.append(1));
        if timeout(Duration::from_millis(600), &mut append).await.is_ok() {
            continue; // Two short delays: it was over before the outage.
        }
        world.faults.outage();
        if matches!(append.await, Err(StoreError::Indeterminate { .. })) {
            indeterminate += 1;
            stored += world.stored().await;
        }
    }
    assert!(0 < indeterminate);
    assert_eq!(stored, indeterminate, "what had not happened was refused");
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_no_call_returns_and_the_store_lives_on() {
    let world = world(FaultRates { delayed: ALWAYS, delay_max: Duration::from_secs(1), ..NONE });
    let mut listener = world.listen().await;
    let mut under_way = Box::pin(world.append(1));
    assert_eq!((&mut under_way).now_or_never().map(drop), None);
    world.faults.crash();
    let forever = Duration::from_secs(1_000_000);
    assert!(timeout(forever, under_way).await.is_err());
    assert!(timeout(forever, world.append(2)).await.is_err());
    assert!(timeout(forever, world.backends.log.identity()).await.is_err());
    assert_eq!(world.stored().await, 0, "nothing more reached the store");
    assert_eq!(listener.heard.next().await, None);
    assert_eq!(listener.heard.next().await, None, "and stays ended");

    world.faults.heal();
    assert!(timeout(forever, world.append(3)).await.is_err(), "a dead node stays dead");
    let other = Faults::new(2, NONE).wrap(Backends::from_store(world.store.clone()));
    other.log.append(&world.room, draft(4)).await.unwrap();
    assert_eq!(world.stored().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_ends_what_a_waiting_listener_hears() {
    let world = world(NONE);
    let mut listener = world.listen().await;
    let waiting = tokio::spawn(async move { listener.heard.next().await });
    tokio::task::yield_now().await;
    world.faults.crash();
    assert_eq!(waiting.await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn senseless_rates_are_never_or_always() {
    let world = world(FaultRates {
        refused: f64::NAN,
        unconfirmed: -1.0,
        unannounced: 7.0,
        delayed: f64::INFINITY,
        delay_max: Duration::MAX,
        ..NONE
    });
    assert!(matches!(world.append(1).await, Ok(Appended::Fresh { announced: false, .. })));
}

/// Everything that happens to a small node in a storm, as text.
fn history(seed: u64) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let world = seeded(seed, FaultRates { unwatchable: 0.0, ..FaultRates::STORM });
        let begun = Instant::now();
        let mut listener = world.listen().await;
        let hearing = async { world.heard(&mut listener).await };
        let posting = async {
            let mut lines = Vec::new();
            for number in 1..=60 {
                let answer = world.append(number).await;
                lines.push(format!("{:?} {answer:?}", begun.elapsed()));
                world.announce(number).await;
            }
            lines
        };
        format!("{:?}", tokio::join!(biased; posting, hearing))
    })
}

#[test]
fn one_seed_is_one_history() {
    let histories = (0..4).map(history).collect::<Vec<_>>();
    assert_eq!(histories, (0..4).map(history).collect::<Vec<_>>());
    assert_eq!(histories.iter().collect::<BTreeSet<_>>().len(), 4);
}
