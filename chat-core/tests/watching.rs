//! Which rooms a node hears of: those that somebody is in, for a while those that somebody was in, and no others.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::fault::{FaultRates, Faults};
use chat_core::*;
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// News of a memory store, and which rooms are watched. What a listener hears can be ended.
#[derive(Clone, Debug, Default)]
struct Ears {
    store: MemoryStore,
    watched: Arc<Mutex<BTreeSet<RoomId>>>,
    end: Arc<Notify>,
}

impl Ears {
    /// Without the rooms that every node follows for itself.
    fn watched(&self) -> Vec<RoomId> {
        let watched = self.watched.lock().unwrap();
        watched.iter().filter(|room| !room.as_str().starts_with('~')).cloned().collect()
    }
}

#[derive(Debug)]
struct Ear(Arc<dyn Interest>, Arc<Mutex<BTreeSet<RoomId>>>);

#[async_trait]
impl Interest for Ear {
    async fn watch(&self, room: &RoomId) -> StoreResult<()> {
        sleep(Duration::from_millis(5)).await;
        self.1.lock().unwrap().insert(room.clone());
        self.0.watch(room).await
    }

    async fn unwatch(&self, room: &RoomId) -> StoreResult<()> {
        // Slower than watching: what comes late must not undo what was asked for after it.
        sleep(Duration::from_millis(20)).await;
        self.1.lock().unwrap().remove(room);
        self.0.unwatch(room).await
    }
}

#[async_trait]
impl Delivery for Ears {
    async fn announce(&self, news: &News) -> StoreResult<()> {
        self.store.announce(news).await
    }

    async fn listen(&self) -> StoreResult<Listener> {
        let Listener { interest, heard } = self.store.listen().await?;
        self.watched.lock().unwrap().clear();
        let end = self.end.clone();
        let heard = heard.take_until(async move { end.notified().await }).boxed();
        Ok(Listener { interest: Arc::new(Ear(interest, self.watched.clone())), heard })
    }

    async fn ticket(&self) -> StoreResult<Ticket> {
        self.store.ticket().await
    }

    async fn advance(
        &self,
        what: Progress,
        who: &SubscriberId,
        room: &RoomId,
        upto: Position,
    ) -> StoreResult<Position> {
        self.store.advance(what, who, room, upto).await
    }

    async fn progress(
        &self,
        what: Progress,
        who: &SubscriberId,
        rooms: &[RoomId],
    ) -> StoreResult<Vec<Option<Position>>> {
        self.store.progress(what, who, rooms).await
    }
}

fn room(number: usize) -> RoomId {
    RoomId::new(&format!("r{number}")).unwrap()
}

fn user() -> UserId {
    UserId::new("ada").unwrap()
}

async fn start(ears: &Ears) -> Chat {
    let delivery = Arc::new(ears.clone());
    let backends = Backends { delivery, ..Backends::from_store(ears.store.clone()) };
    Chat::builder(backends).start().await.unwrap()
}

fn draft(number: u64) -> Draft {
    let author = Author { id: user(), name: DisplayName::new("ada").unwrap() };
    let key = MessageKey::new(&number.to_string()).unwrap();
    Draft { kind: Kind::Message, author, key, body: Body::text("x") }
}

#[tokio::test(start_paused = true)]
async fn a_room_that_nobody_comes_back_to_is_closed() {
    let ears = Ears::default();
    let chat = start(&ears).await;
    let reader = chat.reader(user());
    reader.join(&room(1), Since::Start).await.unwrap();
    reader.join(&room(2), Since::Start).await.unwrap();
    assert_eq!(ears.watched(), [room(1), room(2)]);
    reader.leave(&room(1));
    sleep(chat.limits().linger / 2).await;
    assert_eq!(ears.watched(), [room(1), room(2)]);
    sleep(chat.limits().linger).await;
    assert_eq!(ears.watched(), [room(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_could_not_be_opened_is_not_watched_for_ever() {
    let ears = Ears::default();
    let faults = Faults::new(1, FaultRates::NONE);
    let log = faults.wrap(Backends::from_store(ears.store.clone())).log;
    let backends =
        Backends { log, delivery: Arc::new(ears.clone()), ..Backends::from_store(ears.store.clone()) };
    let chat = Chat::builder(backends).start().await.unwrap();
    // Behind it, so that what every node reads for itself is read.
    faults.outage();
    for number in 0..100 {
        chat.reader(user()).join(&room(number), Since::Now).await.unwrap_err();
    }
    assert_eq!(ears.watched().len(), 100);
    faults.heal();
    sleep(chat.limits().linger * 2).await;
    assert_eq!(ears.watched(), []);
}

#[tokio::test(start_paused = true)]
async fn rooms_are_closed_as_fast_as_they_are_visited() {
    let ears = Ears::default();
    let chat = start(&ears).await;
    let reader = chat.reader(user());
    for number in 0..20_000 {
        reader.join(&room(number), Since::Now).await.unwrap();
        reader.leave(&room(number));
    }
    sleep(chat.limits().linger + Duration::from_secs(2)).await;
    assert_eq!(ears.watched(), []);
}

#[tokio::test(start_paused = true)]
async fn however_fast_rooms_are_joined_and_left_few_are_watched_that_nobody_is_in() {
    let ears = Ears::default();
    let backends = Backends { delivery: Arc::new(ears.clone()), ..Backends::from_store(ears.store.clone()) };
    let mut limits = Limits::default();
    limits.idle_rooms_max = std::num::NonZeroUsize::new(1_000).unwrap();
    let chat = Chat::builder(backends).limits(limits).start().await.unwrap();
    let reader = chat.reader(user());
    reader.join(&room(0), Since::Now).await.unwrap();
    for wave in 1..20 {
        let joins = (0..500).map(async |number| {
            let reader = chat.reader(user());
            reader.join(&room(wave * 500 + number), Since::Now).await.unwrap();
        });
        futures_util::future::join_all(joins).await;
        let watched = ears.watched().len();
        assert!(watched <= 1_501, "{watched} rooms are watched");
    }
    // Who comes to a room that is open does not wait, and nobody who is in one is put out.
    let again = chat.reader(user());
    timeout(Duration::from_millis(1), again.join(&room(0), Since::Now)).await.unwrap().unwrap();
    assert!(ears.watched().contains(&room(0)));
    sleep(chat.limits().linger * 2).await;
    assert_eq!(ears.watched(), [room(0)]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_while_a_room_is_closed_finds_it_watched() {
    let ears = Ears::default();
    let chat = start(&ears).await;
    for wait_ms in 0..30 {
        chat.reader(user()).join(&room(1), Since::Now).await.unwrap();
        sleep(chat.limits().linger + Duration::from_millis(wait_ms)).await;
        let reader = chat.reader(user());
        reader.join(&room(1), Since::Now).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        assert_eq!(ears.watched(), [room(1)], "{wait_ms} ms after it began to be closed");
        chat.post(&room(1), draft(wait_ms)).await.unwrap();
        let step = timeout(Duration::from_secs(1), reader.next(Budget::default())).await;
        assert!(matches!(step, Ok(Step::Run(_))), "{wait_ms} ms after it began to be closed: {step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_ended_is_replaced_and_what_was_missed_is_seen() {
    let ears = Ears::default();
    let chat = start(&ears).await;
    let readers: Vec<Reader> = (0..100).map(|_| chat.reader(user())).collect();
    for (number, reader) in readers.iter().enumerate() {
        reader.join(&room(number), Since::Now).await.unwrap();
    }
    ears.end.notify_one();
    sleep(Duration::from_millis(1)).await;
    for number in 0..100 {
        // Nobody tells of it.
        ears.store.append(&room(number), draft(0)).await.unwrap();
    }
    for reader in &readers {
        let step = timeout(Duration::from_secs(1), reader.next(Budget::default())).await;
        assert!(matches!(step, Ok(Step::Run(_))), "{step:?}");
    }
    assert_eq!(ears.watched().len(), 100);
}
