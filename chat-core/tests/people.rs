//! People in rooms, through the engine: who is there, who types, who has read how far.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::fault::{FaultRates, Faults};
use chat_core::*;
use tokio::time::{Instant, sleep, timeout};

const GRACE: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(30);

fn room() -> RoomId {
    RoomId::new("room").unwrap()
}

fn author(name: &str) -> Author {
    Author { id: UserId::new(name).unwrap(), name: DisplayName::new(name).unwrap() }
}

fn attendee(user: &str, device: &str) -> Attendee {
    Attendee::new(author(user), ConnectionId::new(&format!("{user}'s {device}")).unwrap())
}

async fn chat(store: &MemoryStore) -> Chat {
    Chat::builder(Backends::from_store(store.clone())).start().await.unwrap()
}

/// Somebody in the room, and what it knows of the others.
struct Person {
    reader: Reader,
    online: BTreeMap<String, String>,
    version: u64,
}

impl Person {
    async fn join(chat: &Chat, user: &str, device: &str) -> Self {
        let reader = chat.reader_as(attendee(user, device));
        reader.join(&room(), Since::Now).await.unwrap();
        let mut person = Self { reader, online: BTreeMap::new(), version: 0 };
        person.hears().await;
        person
    }

    /// Everything that it is told now.
    async fn hears(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        while let Ok(step) = timeout(Duration::from_millis(300), self.reader.next(Budget::default())).await {
            let Step::Notices { notices, .. } = step else { continue };
            for told in notices {
                match &**told {
                    Told::Reset { version, online, .. } => {
                        let names = online.iter().flatten();
                        self.online = names.map(|who| (who.id.to_string(), who.name.to_string())).collect();
                        self.version = *version;
                    }
                    Told::Presence { who, online, version, .. } => {
                        assert!(self.version < *version);
                        self.version = *version;
                        match online {
                            true => self.online.insert(who.id.to_string(), who.name.to_string()),
                            false => self.online.remove(who.id.as_str()),
                        };
                    }
                    _ => {}
                }
                all.push(Told::clone(&told));
            }
        }
        all
    }

    fn knows(&self) -> Vec<&str> {
        self.online.keys().map(String::as_str).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_is_told_to_the_others() {
    let chat = chat(&MemoryStore::new()).await;
    let mut ada = Person::join(&chat, "ada", "phone").await;
    assert_eq!(ada.knows(), ["ada"]);
    let mut bob = Person::join(&chat, "bob", "phone").await;
    assert_eq!(bob.knows(), ["ada", "bob"]);
    let told = ada.hears().await;
    assert!(matches!(&told[..], [Told::Presence { online: true, count: 2, .. }]), "{told:?}");
    bob.reader.leave(&room());
    assert!(matches!(&ada.hears().await[..], [Told::Presence { online: false, count: 1, .. }]));
    assert_eq!(ada.knows(), ["ada"]);
    assert_eq!(bob.hears().await, []);
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_is_gone_after_a_grace_and_back_before_it_unnoticed() {
    let chat = chat(&MemoryStore::new()).await;
    let mut ada = Person::join(&chat, "ada", "phone").await;
    let bob = Person::join(&chat, "bob", "phone").await;
    ada.hears().await;
    drop(bob);
    sleep(GRACE - Duration::from_secs(1)).await;
    let bob = Person::join(&chat, "bob", "phone").await;
    sleep(GRACE * 2).await;
    assert_eq!(ada.hears().await, []);
    drop(bob);
    let bob = Person::join(&chat, "bob", "other phone").await;
    sleep(GRACE * 2).await;
    assert_eq!(ada.hears().await, [], "another connection is as good");
    drop(bob);
    let since = Instant::now();
    sleep(GRACE - Duration::from_secs(1)).await;
    assert_eq!(ada.hears().await, []);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(ada.hears().await.len(), 1, "after {:?}", since.elapsed());
    assert_eq!(ada.knows(), ["ada"]);
}

#[tokio::test(start_paused = true)]
async fn two_devices_are_one_person() {
    let chat = chat(&MemoryStore::new()).await;
    let mut ada = Person::join(&chat, "ada", "phone").await;
    let phone = Person::join(&chat, "bob", "phone").await;
    assert_eq!(ada.hears().await.len(), 1);
    let laptop = Person::join(&chat, "bob", "laptop").await;
    let members = chat.members(&author("ada").id, &room(), None, 9).await.unwrap();
    let devices: Vec<_> =
        members.members.iter().map(|member| (member.user.as_str(), member.devices)).collect();
    assert_eq!(devices, [("ada", 1), ("bob", 2)]);
    phone.reader.leave(&room());
    assert_eq!(ada.hears().await, []);
    laptop.reader.leave(&room());
    assert_eq!(ada.hears().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_name_is_told_in_every_room() {
    let chat = chat(&MemoryStore::new()).await;
    let mut ada = Person::join(&chat, "ada", "phone").await;
    let mut bob = Person::join(&chat, "bob", "phone").await;
    ada.hears().await;
    bob.reader.rename(&DisplayName::new("Robert").unwrap());
    let told = ada.hears().await;
    assert!(matches!(&told[..], [Told::Presence { online: true, count: 2, .. }]), "{told:?}");
    assert_eq!(ada.online["bob"], "Robert");
    assert_eq!(bob.hears().await.len(), 1, "other devices of the same user, too");
    let cyd = Person::join(&chat, "cyd", "phone").await;
    assert_eq!(cyd.online["bob"], "Robert");
}

#[tokio::test(start_paused = true)]
async fn people_on_other_nodes_are_told_of_as_well() {
    let store = MemoryStore::new();
    let (here, there) = (chat(&store).await, chat(&store).await);
    let mut ada = Person::join(&here, "ada", "phone").await;
    let mut bob = Person::join(&there, "bob", "phone").await;
    ada.hears().await;
    assert_eq!((ada.knows(), bob.knows()), (vec!["ada", "bob"], vec!["ada", "bob"]));
    bob.reader.typing(&room(), Typing::Started).await.unwrap();
    let typing = |typing| Told::Typing { who: author("bob"), typing };
    assert_eq!(ada.hears().await, [typing(Typing::Started)]);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(ada.hears().await, [typing(Typing::Stopped)], "it expires by itself");
    there.tell_read(&room(), &author("bob").id, Offset::ZERO.next());
    let read = Told::Read { user: author("bob").id, offset: Offset::ZERO.next() };
    assert_eq!(ada.hears().await, [read]);
    assert_eq!(bob.hears().await.len(), 1, "what was read is told to the user's own devices");
    bob.reader.leave(&room());
    ada.hears().await;
    assert_eq!(ada.knows(), ["ada"]);
}

#[tokio::test(start_paused = true)]
async fn typing_is_refused_outside_of_the_room_and_for_nobody() {
    let chat = chat(&MemoryStore::new()).await;
    let ada = chat.reader_as(attendee("ada", "phone"));
    assert!(matches!(ada.typing(&room(), Typing::Started).await, Err(ChatError::NotInRoom)));
    let nobody = chat.reader(author("bob").id);
    nobody.join(&room(), Since::Now).await.unwrap();
    assert!(matches!(nobody.typing(&room(), Typing::Started).await, Err(ChatError::NotInRoom)));
    assert!(matches!(nobody.typing(&room(), Typing::Stopped).await, Err(ChatError::NotInRoom)));
}

#[tokio::test(start_paused = true)]
async fn a_join_does_not_wait_for_presence_which_catches_up() {
    let store = MemoryStore::new();
    let faults = Faults::new(1, FaultRates::NONE);
    let mut backends = Backends::from_store(store.clone());
    backends.presence = faults.wrap(backends.clone()).presence;
    faults.outage();
    let here = Chat::builder(backends).start().await.unwrap();
    let there = chat(&store).await;
    let mut bob = Person::join(&there, "bob", "phone").await;
    let since = Instant::now();
    let ada = here.reader_as(attendee("ada", "phone"));
    ada.join(&room(), Since::Now).await.unwrap();
    assert_eq!(since.elapsed(), Duration::ZERO);
    ada.typing(&room(), Typing::Started).await.unwrap();
    assert!(matches!(&bob.hears().await[..], [Told::Typing { .. }]));
    sleep(Duration::from_secs(20)).await;
    faults.heal();
    sleep(Duration::from_secs(3)).await;
    bob.hears().await;
    assert_eq!(bob.knows(), ["ada", "bob"]);
    let mut ada = Person { reader: ada, online: BTreeMap::new(), version: 0 };
    ada.hears().await;
    assert_eq!(ada.knows(), ["ada", "bob"]);
}

#[tokio::test(start_paused = true)]
async fn when_a_node_dies_its_people_are_gone_with_its_lease() {
    let store = MemoryStore::new();
    let faults = Faults::new(1, FaultRates::NONE);
    let dying = Chat::builder(faults.wrap(Backends::from_store(store.clone()))).start().await.unwrap();
    let here = chat(&store).await;
    let mut ada = Person::join(&here, "ada", "phone").await;
    let _bob = Person::join(&dying, "bob", "phone").await;
    ada.hears().await;
    assert_eq!(ada.knows(), ["ada", "bob"]);
    faults.crash();
    sleep(LEASE + LEASE / 3).await;
    ada.hears().await;
    assert_eq!(ada.knows(), ["ada"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_lease_lapsed_takes_its_seats_anew() {
    let store = MemoryStore::new();
    let faults = Faults::new(1, FaultRates::NONE);
    let away = Chat::builder(faults.wrap(Backends::from_store(store.clone()))).start().await.unwrap();
    let here = chat(&store).await;
    let mut ada = Person::join(&here, "ada", "phone").await;
    let _bob = Person::join(&away, "bob", "phone").await;
    ada.hears().await;
    faults.outage();
    sleep(LEASE * 2).await;
    ada.hears().await;
    assert_eq!(ada.knows(), ["ada"], "it seems to be dead");
    faults.heal();
    sleep(LEASE / 3).await;
    ada.hears().await;
    assert_eq!(ada.knows(), ["ada", "bob"]);
    sleep(LEASE * 3).await;
    ada.hears().await;
    assert_eq!(ada.knows(), ["ada", "bob"]);
    let roster = store.roster(&room(), None, 9).await.unwrap();
    assert!(roster.members.iter().all(|member| member.devices == 1), "{roster:?}");
}

/// Nobody but ada may see who is there.
#[derive(Debug)]
struct OnlyAda;

#[async_trait]
impl Authority for OnlyAda {
    async fn allows(&self, who: &Who, _: &RoomId, action: Action) -> StoreResult<bool> {
        Ok(action != Action::SeeMembers || who.id.as_str() == "ada")
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_the_members_is_told_nothing_and_is_seen() {
    let backends = Backends::from_store(MemoryStore::new());
    let chat = Chat::builder(backends).authority(OnlyAda).start().await.unwrap();
    let mut ada = Person::join(&chat, "ada", "phone").await;
    let mut bob = Person::join(&chat, "bob", "phone").await;
    ada.hears().await;
    assert_eq!(ada.knows(), ["ada", "bob"]);
    ada.reader.typing(&room(), Typing::Started).await.unwrap();
    chat.tell_read(&room(), &author("ada").id, Offset::ZERO.next());
    assert_eq!((bob.hears().await, bob.knows()), (vec![], vec![]));
    let refused = chat.members(&author("bob").id, &room(), None, 9).await;
    assert!(matches!(refused, Err(ChatError::Forbidden)));
}

#[tokio::test(start_paused = true)]
async fn without_presence_nobody_is_told_of_and_typing_is() {
    let backends = Backends::from_store(MemoryStore::new());
    let chat = Chat::builder(backends).without_presence().start().await.unwrap();
    let mut ada = Person::join(&chat, "ada", "phone").await;
    let bob = Person::join(&chat, "bob", "phone").await;
    bob.reader.typing(&room(), Typing::Started).await.unwrap();
    assert_eq!(ada.hears().await.len(), 1);
    let refused = chat.members(&author("bob").id, &room(), None, 9).await;
    assert!(matches!(refused, Err(ChatError::NoPresence)));
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls a reader until it has nothing, and counts what it is told.
fn drain(reader: &Reader, waker: &Waker) -> Vec<Arc<Published<Told>>> {
    let mut told = Vec::new();
    let mut cx = Context::from_waker(waker);
    while let Poll::Ready(step) = reader.poll_next(&mut cx, Budget::default()) {
        if let Step::Notices { notices, .. } = step {
            told.extend(notices);
        }
    }
    told
}

async fn crowd(chat: &Chat, people: usize, is_told: bool) -> Vec<(Reader, Arc<Wakes>)> {
    let mut readers = Vec::new();
    for number in 0..people {
        let attendee = attendee(&format!("user {number}"), "phone");
        let attendee = if is_told { attendee } else { attendee.without_notices() };
        let reader = chat.reader_as(attendee);
        reader.join(&room(), Since::Now).await.unwrap();
        readers.push((reader, Arc::<Wakes>::default()));
        // Those who come at once are not what is counted.
        if number % 100 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    sleep(Duration::from_secs(5)).await;
    for (reader, wakes) in &readers {
        drain(reader, &Waker::from(wakes.clone()));
    }
    readers
}

/// Lets `time` pass; how often readers were woken, how many notices they got, and how many different ones.
async fn cost(readers: &[(Reader, Arc<Wakes>)], time: Duration) -> (usize, usize, usize) {
    sleep(time).await;
    let (mut wakes, mut notices, mut different) = (0, 0, std::collections::BTreeSet::new());
    for (reader, woken) in readers {
        wakes += woken.0.swap(0, Ordering::Relaxed);
        let told = drain(reader, &Waker::from(woken.clone()));
        notices += told.len();
        different.extend(told.iter().map(|told| Arc::as_ptr(told).addr()));
    }
    (wakes, notices, different.len())
}

#[tokio::test(start_paused = true)]
async fn coming_into_a_room_of_10_000_costs_one_shared_number_a_second() {
    let chat = chat(&MemoryStore::new()).await;
    let readers = crowd(&chat, 10_000, true).await;
    let mut others = Vec::new();
    for number in 0..50 {
        let reader = chat.reader_as(attendee(&format!("other {number}"), "phone").without_notices());
        reader.join(&room(), Since::Now).await.unwrap();
        others.push(reader);
    }
    let (wakes, notices, different) = cost(&readers, Duration::from_millis(900)).await;
    assert!(wakes <= 10_000 && notices <= 10_000 && different <= 1, "{wakes} {notices} {different}");
    let (wakes, notices, different) = cost(&readers, Duration::from_millis(900)).await;
    assert_eq!((wakes, notices, different), (10_000, 10_000, 1));
    assert_eq!(cost(&readers, Duration::from_secs(60)).await, (0, 0, 0), "and then nothing");
    let page = chat.members(&author("ada").id, &room(), None, 200).await.unwrap();
    assert_eq!((page.members.len(), page.total), (200, 10_050));
}

#[tokio::test(start_paused = true)]
async fn typing_and_reading_in_a_room_of_1_000_costs_two_shared_numbers_a_second() {
    let chat = chat(&MemoryStore::new()).await;
    let readers = crowd(&chat, 1_000, true).await;
    let everybody_at_once = async || {
        for (number, (reader, _)) in readers.iter().enumerate() {
            reader.typing(&room(), Typing::Started).await.unwrap();
            let user = UserId::new(&format!("user {number}")).unwrap();
            chat.tell_read(&room(), &user, Offset::ZERO.next());
        }
    };
    everybody_at_once().await;
    let (wakes, notices, different) = cost(&readers, Duration::from_millis(900)).await;
    assert_eq!((wakes, notices, different), (1_000, 1_000, 1), "the first who types");
    let (wakes, notices, different) = cost(&readers, Duration::from_millis(900)).await;
    assert_eq!((wakes, notices, different), (1_000, 2_000, 2), "how many type, and have read how far");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_told_notices_is_not_woken_by_them() {
    let chat = chat(&MemoryStore::new()).await;
    let readers = crowd(&chat, 200, false).await;
    let mut ada = Person::join(&chat, "ada", "phone").await;
    let bob = Person::join(&chat, "bob", "phone").await;
    bob.reader.typing(&room(), Typing::Started).await.unwrap();
    assert_ne!(ada.hears().await, []);
    assert_eq!(cost(&readers, Duration::from_secs(60)).await, (0, 0, 0));
    let body = Body::text("hi");
    let draft =
        Draft { kind: Kind::Message, author: author("bob"), key: MessageKey::new("1").unwrap(), body };
    chat.post(&room(), draft).await.unwrap();
    assert_eq!(cost(&readers, Duration::from_secs(1)).await.0, 200, "but by messages");
}
