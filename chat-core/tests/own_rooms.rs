//! The rooms of a user, private rooms and read marks: what an embedder relies on, one sentence a test.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::fault::{FaultRates, Faults};
use chat_core::*;

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn author(id: &str) -> Author {
    Author { id: user(id), name: DisplayName::new(&id.to_uppercase()).unwrap() }
}

fn draft(id: &str, key: &str) -> Draft {
    Draft {
        kind: Kind::Message,
        author: author(id),
        key: MessageKey::new(key).unwrap(),
        body: Body::text(key),
    }
}

fn offset(number: u64) -> Offset {
    Offset::new(number).unwrap()
}

async fn over(store: &MemoryStore) -> Chat {
    Chat::builder(Backends::from_store(store.clone())).start().await.unwrap()
}

async fn limited(max: usize) -> (MemoryStore, Chat) {
    let store = MemoryStore::new();
    let mut limits = Limits::default();
    limits.rooms_per_user_max = max;
    let chat = Chat::builder(Backends::from_store(store.clone())).limits(limits).start().await.unwrap();
    (store, chat)
}

/// Everything that was written about a user and is kept.
async fn facts(store: &MemoryStore, of: &UserId) -> Vec<Entry> {
    // The name of its room, as the name of the private room with itself has it.
    let direct = RoomId::direct(of, of);
    let hash = direct.as_str().split('.').next_back().unwrap();
    let place = RoomId::reserved(&format!("~u:{hash}")).unwrap();
    let bounds = store.bounds(std::slice::from_ref(&place)).await.unwrap()[0];
    let limit = PageLimit { entries: NonZeroU32::MAX, bytes: usize::MAX };
    match store.read(&place, bounds.trimmed.position, limit).await.unwrap() {
        Replay::Page { entries, .. } => entries,
        lost => panic!("{lost:?}"),
    }
}

async fn names(chat: &Chat, of: &str) -> Vec<String> {
    chat.own_rooms(&user(of)).await.unwrap().rooms.iter().map(|own| own.room.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_room_is_remembered_once_whatever_devices_and_nodes_say_so() {
    let store = MemoryStore::new();
    let (one, other) = (over(&store).await, over(&store).await);
    let ada = user("ada");
    let lobby = room("lobby");
    let all = futures_util::future::join_all(
        [&one, &other, &one, &other].map(|chat| chat.remember_room(&ada, &lobby)),
    );
    let handles: Vec<Offset> = all.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(handles, vec![offset(1); 4]);
    assert_eq!(facts(&store, &ada).await.len(), 1);
    assert_eq!(names(&one, "ada").await, ["lobby"]);
    assert_eq!(names(&one, "bob").await, [""; 0]);
}

/// Those that are a user's by these handles.
async fn rooms_by_handle(chat: &Chat, who: &UserId, handles: &[Offset]) -> Vec<Option<RoomId>> {
    let own = chat.own_rooms(who).await.unwrap().rooms;
    let named = |handle: &Offset| own.iter().find(|own| own.handle == *handle).map(|own| own.room.clone());
    handles.iter().map(named).collect()
}

#[tokio::test(start_paused = true)]
async fn a_handle_names_a_room_for_as_long_as_it_is_theirs() {
    let store = MemoryStore::new();
    let chat = over(&store).await;
    let ada = user("ada");
    let rooms = [room("a"), room("b"), room("c")];
    let handles = chat.remember_rooms(&ada, &rooms).await.unwrap();
    assert_eq!(chat.remember_rooms(&ada, &rooms).await.unwrap(), handles);
    let named = rooms_by_handle(&chat, &ada, &handles).await;
    assert_eq!(named, rooms.clone().map(Some));
    chat.forget_room(&ada, &rooms[1]).await.unwrap();
    chat.forget_room(&ada, &rooms[1]).await.unwrap();
    chat.forget_room(&ada, &room("never")).await.unwrap();
    let again = chat.remember_room(&ada, &rooms[1]).await.unwrap();
    let asked = [handles[1], again, handles[2], offset(99)];
    let named = rooms_by_handle(&chat, &ada, &asked).await;
    assert_eq!(named, [None, Some(rooms[1].clone()), Some(rooms[2].clone()), None]);
}

#[tokio::test(start_paused = true)]
async fn a_private_room_is_closed_to_everybody_else_whether_it_exists_or_not() {
    let store = MemoryStore::new();
    let chat = over(&store).await;
    let eve = user("eve");
    let used = chat.direct(&author("ada"), &user("bob")).await.unwrap();
    chat.post(&used, draft("ada", "secret")).await.unwrap();
    let unused = RoomId::direct(&user("ada"), &user("cid"));
    let reserved = ["~u:x", "~moderation", "dm:x"].map(|name| RoomId::reserved(name).unwrap());
    for room in [used, unused].iter().chain(&reserved) {
        let reader = chat.reader(eve.clone());
        let resume = Since::Bookmark(chat.bounds(room).await.unwrap().head);
        for since in [Since::Start, Since::Now, Since::Last(9), Since::Offset(offset(1)), resume] {
            let refused = reader.join(room, since).await;
            assert!(matches!(refused, Err(ChatError::Forbidden)), "{room}: {refused:?}");
        }
        let refused = reader.join_unless_in(room, Since::Start).await;
        assert!(matches!(refused, Err(ChatError::Forbidden)), "{room}: {refused:?}");
        let refused = chat.post(room, draft("eve", "k")).await;
        assert!(matches!(refused, Err(ChatError::Forbidden)), "{room}: {refused:?}");
        let refused = chat.history(&eve, room, None, HistoryLimit::default()).await;
        assert!(matches!(refused, Err(ChatError::Forbidden)), "{room}: {refused:?}");
        let refused = chat.mark_read(&eve, room, offset(1)).await;
        assert!(matches!(refused, Err(ChatError::Forbidden)), "{room}: {refused:?}");
        let refused = chat.remember_room(&eve, room).await;
        assert!(matches!(refused, Err(ChatError::Forbidden)), "{room}: {refused:?}");
    }
    assert_eq!(facts(&store, &eve).await.len(), 0);
}

/// Allows nothing.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl Authority for Nothing {
    async fn allows(&self, _: &Who, _: &RoomId, _: Action) -> StoreResult<bool> {
        Ok(false)
    }
}

#[tokio::test(start_paused = true)]
async fn the_authority_has_a_say_in_private_rooms_and_own_ones() {
    let store = MemoryStore::new();
    let chat = Chat::builder(Backends::from_store(store.clone())).authority(Nothing).start().await.unwrap();
    let direct = RoomId::direct(&user("ada"), &user("bob"));
    assert!(matches!(chat.direct(&author("ada"), &user("bob")).await, Err(ChatError::Forbidden)));
    assert!(matches!(chat.post(&direct, draft("ada", "k")).await, Err(ChatError::Forbidden)));
    assert!(matches!(chat.remember_room(&user("ada"), &room("lobby")).await, Err(ChatError::Forbidden)));
    assert_eq!(facts(&store, &user("ada")).await.len() + facts(&store, &user("bob")).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_private_room_is_the_askers_at_once_and_the_others_with_the_first_message() {
    let store = MemoryStore::new();
    let chat = over(&store).await;
    let dm = chat.direct(&author("ada"), &user("bob")).await.unwrap();
    assert_eq!(names(&chat, "ada").await, [dm.as_str()]);
    assert_eq!(names(&chat, "bob").await, [""; 0]);
    chat.post(&dm, draft("ada", "hello")).await.unwrap();
    let own = chat.own_rooms(&user("bob")).await.unwrap().rooms.remove(0);
    let with = own.with.clone().unwrap();
    assert_eq!(
        (own.room.clone(), own.asked, with.id, with.name.unwrap().as_str()),
        (dm.clone(), false, user("ada"), "ADA")
    );
    // The answer tells who the other one is, and that the room is wanted.
    chat.post(&dm, draft("bob", "hello back")).await.unwrap();
    let own = chat.own_rooms(&user("ada")).await.unwrap().rooms.remove(0);
    assert_eq!((own.handle, own.with.unwrap().name.unwrap().as_str()), (offset(1), "BOB"));
    assert!(chat.own_rooms(&user("bob")).await.unwrap().rooms[0].asked);
    // And that is all.
    let before = (facts(&store, &user("ada")).await, facts(&store, &user("bob")).await);
    for number in 0..10 {
        chat.post(&dm, draft(if number % 2 == 0 { "ada" } else { "bob" }, &format!("{number}")))
            .await
            .unwrap();
    }
    assert_eq!((facts(&store, &user("ada")).await, facts(&store, &user("bob")).await), before);
}

#[tokio::test(start_paused = true)]
async fn a_user_may_have_a_private_room_with_itself() {
    let chat = over(&MemoryStore::new()).await;
    let dm = chat.direct(&author("ada"), &user("ada")).await.unwrap();
    chat.post(&dm, draft("ada", "note")).await.unwrap();
    let own = chat.own_rooms(&user("ada")).await.unwrap().rooms;
    assert_eq!((own.len(), own[0].with.as_ref().unwrap().id.clone()), (1, user("ada")));
}

#[tokio::test(start_paused = true)]
async fn no_message_of_a_private_room_is_stored_before_both_are_told() {
    let store = MemoryStore::new();
    // Refused at random, and now and then after the store has done it.
    let rates = FaultRates { refused: 0.2, unconfirmed: 0.2, unreadable: 0.1, ..FaultRates::NONE };
    let (mut failed, mut stored) = (0, 0);
    for seed in 0..200 {
        let backends = Faults::new(seed, rates).wrap(Backends::from_store(store.clone()));
        let Ok(chat) = Chat::builder(backends).start().await else { continue };
        let (ada, bob) = (format!("ada {seed}"), format!("bob {seed}"));
        let dm = RoomId::direct(&user(&ada), &user(&bob));
        failed += u32::from(chat.post(&dm, draft(&ada, "k")).await.is_err());
        let head = store.bounds(std::slice::from_ref(&dm)).await.unwrap()[0].head;
        if head.offset() != Offset::ZERO {
            stored += 1;
            for who in [&ada, &bob] {
                assert_eq!(facts(&store, &user(who)).await.len(), 1, "{who}");
            }
        }
    }
    assert!(20 < failed && 20 < stored, "{failed} failed, {stored} stored");
}

#[tokio::test(start_paused = true)]
async fn the_facts_of_a_user_do_not_grow_with_what_it_does() {
    let store = MemoryStore::new();
    let (one, other) = (over(&store).await, over(&store).await);
    let ada = user("ada");
    let kept = one.remember_room(&ada, &room("kept")).await.unwrap();
    for number in 0..500 {
        let chat = if number % 2 == 0 { &one } else { &other };
        let name = room(&format!("r{}", number % 5));
        chat.remember_room(&ada, &name).await.unwrap();
        chat.forget_room(&ada, &name).await.unwrap();
    }
    one.shutdown().await;
    other.shutdown().await;
    assert!(facts(&store, &ada).await.len() < 60);
    let again = over(&store).await;
    assert_eq!(names(&again, "ada").await, ["kept"]);
    assert_eq!(again.remember_room(&ada, &room("kept")).await.unwrap(), kept);
}

#[tokio::test(start_paused = true)]
async fn a_user_has_a_limited_number_of_rooms_and_strangers_cannot_use_them_up() {
    let (_, chat) = limited(3).await;
    let ada = user("ada");
    for number in 0..3 {
        chat.remember_room(&ada, &room(&format!("r{number}"))).await.unwrap();
    }
    let refused = chat.remember_room(&ada, &room("r3")).await;
    assert!(matches!(refused, Err(ChatError::TooManyOwnRooms { max: 3 })), "{refused:?}");
    let refused = chat.direct(&author("ada"), &user("bob")).await;
    assert!(matches!(refused, Err(ChatError::TooManyOwnRooms { max: 3 })), "{refused:?}");
    chat.remember_room(&ada, &room("r2")).await.unwrap();
    // Others can still write to her, up to the same number.
    for number in 0..4 {
        let stranger = format!("stranger {number}");
        let posted = chat.post(&RoomId::direct(&user(&stranger), &ada), draft(&stranger, "hi")).await;
        match number {
            3 => assert!(matches!(posted, Err(ChatError::TheirRoomsFull)), "{posted:?}"),
            _ => drop(posted.unwrap()),
        }
    }
    // And she can answer, and leave and join others.
    let first = RoomId::direct(&user("stranger 0"), &ada);
    chat.post(&first, draft("ada", "hello")).await.unwrap();
    chat.post(&RoomId::direct(&user("stranger 3"), &ada), draft("stranger 3", "hi")).await.unwrap();
    assert!(chat.remember_room(&ada, &room("r3")).await.is_err());
    for number in 0..2 {
        chat.forget_room(&ada, &room(&format!("r{number}"))).await.unwrap();
    }
    chat.remember_room(&ada, &room("r3")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_follows_is_told_of_private_rooms_and_shows_nothing_of_it() {
    let store = MemoryStore::new();
    let (here, there) = (over(&store).await, over(&store).await);
    let bob = here.reader(user("bob"));
    assert_eq!(bob.follow_own_rooms().await.unwrap().rooms, []);
    here.remember_room(&user("bob"), &room("lobby")).await.unwrap();
    assert_eq!(bob.places(), []);
    let dm = there.direct(&author("ada"), &user("bob")).await.unwrap();
    there.post(&dm, draft("ada", "hello")).await.unwrap();
    let step = tokio::time::timeout(Duration::from_secs(60), bob.next(Budget::default())).await.unwrap();
    assert!(matches!(step, Step::OwnRooms { upto } if upto == offset(2)), "{step:?}");
    assert!(bob.join_unless_in(&dm, Since::Start).await.unwrap().is_some());
    assert!(bob.join_unless_in(&dm, Since::Start).await.unwrap().is_none());
    let step = bob.next(Budget::default()).await;
    assert!(matches!(step, Step::Run(Run { room, entries }) if room == dm && entries.len() == 1));
    assert_eq!(bob.places().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn following_takes_none_of_a_readers_rooms() {
    let mut limits = Limits::default();
    limits.rooms_per_reader_max = 64;
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).limits(limits).start().await.unwrap();
    let bob = chat.reader(user("bob"));
    for number in 0..64 {
        bob.join(&room(&format!("r{number}")), Since::Now).await.unwrap();
    }
    bob.follow_own_rooms().await.unwrap();
    assert!(matches!(
        bob.join(&room("one more"), Since::Now).await,
        Err(ChatError::TooManyRooms { max: 64 })
    ));
    chat.direct(&author("bob"), &user("ada")).await.unwrap();
    let step = tokio::time::timeout(Duration::from_secs(60), bob.next(Budget::default())).await.unwrap();
    assert!(matches!(step, Step::OwnRooms { .. }), "{step:?}");
}

#[tokio::test(start_paused = true)]
async fn facts_that_were_compacted_before_a_reader_saw_them_are_told_as_well() {
    let store = MemoryStore::new();
    let chat = over(&store).await;
    let bob = chat.reader(user("bob"));
    bob.follow_own_rooms().await.unwrap();
    let dm = RoomId::direct(&user("ada"), &user("bob"));
    chat.post(&dm, draft("ada", "hello")).await.unwrap();
    for _ in 0..200 {
        chat.remember_room(&user("bob"), &room("lobby")).await.unwrap();
        chat.forget_room(&user("bob"), &room("lobby")).await.unwrap();
    }
    chat.shutdown().await;
    assert!(200 < facts(&store, &user("bob")).await[0].position.offset.get());
    let step = tokio::time::timeout(Duration::from_secs(60), bob.next(Budget::default())).await.unwrap();
    assert!(matches!(step, Step::OwnRooms { .. }), "{step:?}");
    let after = chat.reader(user("bob")).follow_own_rooms().await.unwrap().rooms;
    assert_eq!(after, chat.own_rooms(&user("bob")).await.unwrap().rooms);
    assert_eq!(after.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_mark_never_moves_back_and_never_beyond_the_end() {
    let store = MemoryStore::new();
    let chat = over(&store).await;
    let (ada, lobby) = (user("ada"), room("lobby"));
    assert_eq!(chat.mark_read(&ada, &lobby, offset(5)).await.unwrap(), Offset::ZERO);
    for number in 1..=5 {
        chat.post(&lobby, draft("bob", &format!("{number}"))).await.unwrap();
    }
    for (said, reached) in [(3, 3), (1, 3), (9, 5), (0, 5), (4, 5)] {
        assert_eq!(chat.mark_read(&ada, &lobby, offset(said)).await.unwrap(), offset(reached));
    }
    // A node that has not heard of the room's entries yet says no less.
    let behind = Chat::builder(
        Faults::new(1, FaultRates { news_lost: 1.0, ..FaultRates::NONE })
            .wrap(Backends::from_store(store.clone())),
    );
    let behind = behind.start().await.unwrap();
    let reader = behind.reader(ada.clone());
    reader.join(&room("den"), Since::Now).await.unwrap();
    chat.post(&room("den"), draft("bob", "1")).await.unwrap();
    assert_eq!(chat.mark_read(&ada, &room("den"), offset(1)).await.unwrap(), offset(1));
    assert_eq!(behind.mark_read(&ada, &room("den"), offset(0)).await.unwrap(), offset(1));
    let marks = over(&store).await.read_marks_of(&ada, &[room("other"), lobby]).await.unwrap();
    assert_eq!(marks, [Offset::ZERO, offset(5)]);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_rooms_says_what_is_new_in_each() {
    let store = MemoryStore::new();
    let chat = over(&store).await;
    let ada = user("ada");
    for number in 1..=4 {
        chat.post(&room("lobby"), draft("bob", &format!("{number}"))).await.unwrap();
    }
    chat.remember_rooms(&ada, &[room("lobby"), room("empty")]).await.unwrap();
    chat.direct(&author("ada"), &user("bob")).await.unwrap();
    let cid = RoomId::direct(&user("cid"), &ada);
    chat.post(&cid, draft("cid", "hello")).await.unwrap();
    // What nobody has said anything in is not there yet.
    Chat::direct(&chat, &author("dan"), &ada).await.unwrap();
    chat.post(&room("lobby"), draft("bob", "5")).await.unwrap();
    chat.post(&room("lobby"), Draft { kind: Kind::Fact, ..draft("bob", "6") }).await.unwrap();
    let read_to = chat.mark_read(&ada, &cid, offset(0)).await.unwrap();
    assert_eq!(read_to, Offset::ZERO);
    let list = chat.overview(&ada, None, OverviewLimit::default()).await.unwrap();
    let of = |name: &str| list.rooms.iter().find(|seen| seen.own.room.as_str() == name).unwrap();
    assert_eq!((list.rooms.len(), list.next.clone()), (4, None));
    let lobby = of("lobby");
    let last = lobby.last.as_ref().unwrap();
    assert_eq!((lobby.read, lobby.unread(), last.position.offset), (offset(4), 2, offset(5)));
    assert_eq!((of("empty").unread(), &of("empty").last), (0, &None));
    assert_eq!((of(cid.as_str()).read, of(cid.as_str()).unread()), (offset(0), 1));
    chat.mark_read(&ada, &cid, offset(1)).await.unwrap();
    let other_node = over(&store).await;
    let list = other_node.overview(&ada, None, OverviewLimit::default()).await.unwrap();
    assert_eq!(list.rooms.iter().find(|seen| seen.own.room == cid).unwrap().unread(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_rooms_comes_in_pages_that_are_bounded() {
    let chat = over(&MemoryStore::new()).await;
    let ada = user("ada");
    let rooms: Vec<RoomId> = (0..25).map(|number| room(&format!("r{number:02}"))).collect();
    chat.remember_rooms(&ada, &rooms).await.unwrap();
    for room in &rooms {
        let large = Draft { body: Body::text("x".repeat(10_000)), ..draft("bob", "k") };
        chat.post(room, large).await.unwrap();
    }
    for limit in [
        OverviewLimit { rooms: 7, ..OverviewLimit::default() },
        OverviewLimit { rooms: 1, ..OverviewLimit::default() },
        OverviewLimit { rooms: 25, ..OverviewLimit::default() },
        OverviewLimit { bytes: 25_000, ..OverviewLimit::default() },
        OverviewLimit { bytes: 1, ..OverviewLimit::default() },
    ] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = chat.overview(&ada, after.as_ref(), limit).await.unwrap();
            let bytes: usize = page.rooms.iter().map(|seen| seen.last.as_ref().unwrap().bytes()).sum();
            assert!(
                page.rooms.len() <= limit.rooms as usize && (bytes <= limit.bytes || page.rooms.len() == 1)
            );
            seen.extend(page.rooms.into_iter().map(|seen| seen.own.room));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, rooms, "{limit:?}");
    }
}

/// Says no to one room, for one or for all.
#[derive(Debug)]
struct Without(&'static str, Option<Action>);

#[async_trait]
impl Authority for Without {
    async fn allows(&self, _: &Who, room: &RoomId, action: Action) -> StoreResult<bool> {
        Ok(room.as_str() != self.0 || self.1.is_some_and(|refused| refused != action))
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_that_one_may_no_longer_be_in_is_not_listed() {
    let store = MemoryStore::new();
    let chat = over(&store).await;
    chat.remember_rooms(&user("ada"), &[room("lobby"), room("cellar")]).await.unwrap();
    chat.post(&room("cellar"), draft("bob", "secret")).await.unwrap();
    for (refused, listed) in [(None, false), (Some(Action::History), true)] {
        let rule = Without("cellar", refused);
        let chat = Chat::builder(Backends::from_store(store.clone())).authority(rule).start().await.unwrap();
        let list = chat.overview(&user("ada"), None, OverviewLimit::default()).await.unwrap().rooms;
        assert!(list.iter().all(|seen| seen.last.is_none()), "{list:?}");
        assert_eq!(list.iter().any(|seen| seen.own.room == room("cellar")), listed);
    }
}
