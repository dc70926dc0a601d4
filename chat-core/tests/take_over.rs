//! A client that is back on another node has its connection there, and nowhere else: whatever becomes of the news.
#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::time::Duration;

use chat_core::fault::{FaultRates, Faults};
use chat_core::*;
use futures_util::FutureExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};

/// More than it takes to be told, and to be told again.
const SOON: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(30);

fn room() -> RoomId {
    RoomId::new("room").unwrap()
}

fn author(name: &str) -> Author {
    Author { id: UserId::new(name).unwrap(), name: DisplayName::new(name).unwrap() }
}

fn connection(name: &str) -> ConnectionId {
    ConnectionId::new(name).unwrap()
}

async fn node(backends: Backends) -> Chat {
    Chat::builder(backends).start().await.unwrap()
}

/// `count` nodes over one store.
async fn nodes(count: usize) -> Vec<Chat> {
    let store = MemoryStore::new();
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(node(Backends::from_store(store.clone())).await);
    }
    nodes
}

/// A reader of a client that is new.
async fn comes(chat: &Chat, user: &str, name: &str) -> Reader {
    let reader = chat.reader_as(Attendee::new(author(user), connection(name)));
    reader.join(&room(), Since::Now).await.unwrap();
    reader
}

/// A reader of a client that is back from `before`, and not let in yet.
async fn knocks(chat: &Chat, user: &str, before: &str, name: &str) -> Reader {
    let attendee = Attendee::new(author(user), connection(name)).in_place_of(connection(before));
    let reader = chat.reader_as(attendee);
    reader.join(&room(), Since::Now).await.unwrap();
    reader
}

async fn is_back(chat: &Chat, user: &str, name: &str) -> Reader {
    let reader = knocks(chat, user, name, name).await;
    reader.take_over();
    reader
}

async fn is_told(reader: &Reader, within: Duration) -> bool {
    timeout(within, poll_fn(|cx| reader.poll_taken_over(cx))).await.is_ok()
}

fn has_it(reader: &Reader) -> bool {
    poll_fn(|cx| reader.poll_taken_over(cx)).now_or_never().is_none()
}

#[tokio::test(start_paused = true)]
async fn the_reader_that_took_a_connection_over_last_has_it() {
    let nodes = nodes(3).await;
    let mut before = comes(&nodes[0], "ada", "phone").await;
    // Back and forth, also on the node where it is.
    for place in [1, 2, 0, 0, 1] {
        let now = is_back(&nodes[place], "ada", "phone").await;
        assert!(is_told(&before, SOON).await, "on {place}");
        assert!(!is_told(&now, LATER).await, "on {place}");
        before = now;
    }
}

#[tokio::test(start_paused = true)]
async fn who_follows_its_own_rooms_is_told_in_whatever_rooms_it_is() {
    let nodes = nodes(2).await;
    let mut readers = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        let attendee = Attendee::new(author("ada"), connection("phone"));
        let attendee = if place == 0 { attendee } else { attendee.in_place_of(connection("phone")) };
        let reader = node.reader_as(attendee);
        reader.follow_own_rooms().await.unwrap();
        let other = RoomId::new(&format!("r{place}")).unwrap();
        reader.join(&other, Since::Now).await.unwrap();
        reader.take_over();
        readers.push(reader);
    }
    assert!(is_told(&readers[0], SOON).await);
    assert!(!is_told(&readers[1], LATER).await);
}

#[tokio::test(start_paused = true)]
async fn nobody_else_is_told() {
    let nodes = nodes(2).await;
    let laptop = comes(&nodes[0], "ada", "laptop").await;
    let bob = comes(&nodes[0], "bob", "phone").await;
    let nobody = nodes[0].reader(author("ada").id);
    nobody.join(&room(), Since::Now).await.unwrap();
    let phone = is_back(&nodes[1], "ada", "phone").await;
    for reader in [&laptop, &bob, &nobody] {
        assert!(!is_told(reader, LATER).await);
    }
    assert!(has_it(&phone));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_begins_anew_ends_the_connection_that_it_had() {
    let nodes = nodes(2).await;
    let before = comes(&nodes[0], "ada", "first").await;
    let now = knocks(&nodes[1], "ada", "first", "second").await;
    now.take_over();
    assert!(is_told(&before, SOON).await);
    assert!(!is_told(&now, LATER).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_let_in_takes_nothing() {
    let nodes = nodes(2).await;
    let before = comes(&nodes[0], "ada", "phone").await;
    let knocks = knocks(&nodes[1], "ada", "phone", "phone").await;
    assert!(!is_told(&before, LATER).await);
    drop(knocks);
    assert!(!is_told(&before, LATER).await);
}

#[tokio::test(start_paused = true)]
async fn who_is_on_its_way_in_is_not_told_of_those_that_were_there_before() {
    let nodes = nodes(3).await;
    let knocks = knocks(&nodes[0], "ada", "phone", "phone").await;
    let other = is_back(&nodes[1], "ada", "phone").await;
    assert!(!is_told(&knocks, LATER).await, "it is not in yet");
    knocks.take_over();
    assert!(is_told(&other, SOON).await);
    assert!(!is_told(&knocks, LATER).await);
}

#[tokio::test(start_paused = true)]
async fn others_see_the_user_stay() {
    let nodes = nodes(3).await;
    let phone = comes(&nodes[0], "ada", "phone").await;
    let bob = comes(&nodes[2], "bob", "phone").await;
    sleep(SOON).await;
    let mut told = Vec::new();
    let hears = async |told: &mut Vec<Told>| {
        while let Ok(step) = timeout(Duration::from_millis(300), bob.next(Budget::default())).await {
            let Step::Notices { notices, .. } = step else { continue };
            told.extend(notices.iter().map(|notice| Told::clone(notice)));
        }
    };
    hears(&mut told).await;
    told.clear();
    let back = is_back(&nodes[1], "ada", "phone").await;
    assert!(is_told(&phone, SOON).await);
    drop(phone);
    for _ in 0..20 {
        sleep(Duration::from_secs(1)).await;
        hears(&mut told).await;
        assert_eq!(told, []);
    }
    let members = nodes[2].members(&author("bob").id, &room(), None, 9).await.unwrap();
    let devices: Vec<_> =
        members.members.iter().map(|member| (member.user.as_str(), member.devices)).collect();
    assert_eq!(devices, [("ada", 1), ("bob", 1)]);
    assert!(has_it(&back));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_heard_nothing_of_it_is_told_again() {
    let store = MemoryStore::new();
    let faults = Faults::new(7, FaultRates::NONE);
    let deaf = node(faults.wrap(Backends::from_store(store.clone()))).await;
    let other = node(Backends::from_store(store.clone())).await;
    let before = comes(&deaf, "ada", "phone").await;
    faults.outage();
    let now = is_back(&other, "ada", "phone").await;
    assert!(!is_told(&before, SOON).await);
    faults.heal();
    assert!(is_told(&before, LATER).await);
    assert!(has_it(&now));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_could_not_ask_the_store_at_once_throws_nobody_out_later() {
    let store = MemoryStore::new();
    let faults = Faults::new(7, FaultRates::NONE);
    let cut_off = node(faults.wrap(Backends::from_store(store.clone()))).await;
    let other = node(Backends::from_store(store.clone())).await;
    let stuck = knocks(&cut_off, "ada", "phone", "phone").await;
    faults.outage();
    stuck.take_over();
    sleep(SOON).await;
    // Its client has gone on, and it does not know.
    let now = is_back(&other, "ada", "phone").await;
    faults.heal();
    assert!(!is_told(&now, LATER).await);
    // One that was in trouble for a moment only is in time.
    let next = knocks(&cut_off, "ada", "phone", "phone").await;
    faults.outage();
    next.take_over();
    sleep(Duration::from_millis(200)).await;
    faults.heal();
    assert!(is_told(&now, SOON).await);
    assert!(has_it(&next));
}

/// Clients of one session on several nodes at about the same time, while news is lost, repeated, late and out of order.
#[test]
fn one_remains_and_never_none() {
    for seed in 0..200 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(one_remains(seed));
    }
}

async fn one_remains(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let store = MemoryStore::seeded(seed);
    let mut nodes = Vec::new();
    for number in 0..3 {
        let faults = Faults::new(seed * 3 + number, FaultRates::NONE);
        let chat = Chat::builder(faults.wrap(Backends::from_store(store.clone())));
        nodes.push((chat.node(NodeId(number + 1)).start().await.unwrap(), faults));
    }
    let mut readers = vec![comes(&nodes[0].0, "ada", "phone").await];
    for (_, faults) in &nodes {
        faults.inflict(FaultRates::STORM);
    }
    for _ in 0..random.random_range(1..6) {
        let (chat, _) = &nodes[random.random_range(0..nodes.len())];
        let attendee = Attendee::new(author("ada"), connection("phone")).in_place_of(connection("phone"));
        let reader = chat.reader_as(attendee);
        while reader.join(&room(), Since::Now).await.is_err() {
            sleep(Duration::from_millis(1)).await;
        }
        reader.take_over();
        readers.push(reader);
        sleep(Duration::from_millis(random.random_range(0..40))).await;
        assert!(readers.iter().any(has_it), "seed {seed}: none remains");
    }
    for (_, faults) in &nodes {
        faults.heal();
    }
    sleep(LATER).await;
    let remaining = readers.iter().filter(|reader| has_it(reader)).count();
    assert_eq!(remaining, 1, "seed {seed}");
}
