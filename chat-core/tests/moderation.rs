//! Bans, mutes, kicks and sign-outs, as the engine carries them out: on several nodes, over restarts, against whoever is here.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::fault::{FaultRates, Faults};
use chat_core::*;
use tokio::sync::Notify;
use tokio::time::timeout;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

async fn node(store: &MemoryStore) -> Chat {
    Chat::builder(Backends::from_store(store.clone())).start().await.unwrap()
}

fn ban(who: &str, place: Option<&str>) -> Measure {
    Measure::Ban { user: user(who), room: place.map(room), until: None, reason: None }
}

fn draft(who: &str, key: &str) -> Draft {
    let author = Author { id: user(who), name: DisplayName::new(who).unwrap() };
    Draft { kind: Kind::Message, author, key: MessageKey::new(key).unwrap(), body: Body::text("x") }
}

/// The next step of a reader that must come.
async fn next(reader: &Reader) -> Step {
    timeout(Duration::from_secs(60), reader.next(Budget::default())).await.expect("a step comes")
}

#[tokio::test(start_paused = true)]
async fn a_ban_reaches_readers_on_every_node_and_nothing_of_the_room_comes_after_it() {
    let store = MemoryStore::new();
    let (here, there) = (node(&store).await, node(&store).await);
    let (near, far) = (here.reader(user("eve")), there.reader(user("eve")));
    let bob = here.reader(user("bob"));
    for reader in [&near, &far, &bob] {
        reader.join(&room("a"), Since::Now).await.unwrap();
        reader.join(&room("b"), Since::Now).await.unwrap();
    }
    // It waits to be read when the ban comes.
    here.post(&room("a"), draft("bob", "before")).await.unwrap();
    here.moderate(&ban("eve", Some("a"))).await.unwrap();
    assert!(!near.is_in(&room("a")), "from the answer on");
    here.post(&room("a"), draft("bob", "after")).await.unwrap();
    assert!(matches!(next(&near).await, Step::Removed { room: left, .. } if left == room("a")));
    loop {
        match next(&far).await {
            Step::Removed { room: left, removal } => {
                assert_eq!((left, removal.cause), (room("a"), RemovalCause::Banned));
                break;
            }
            // What came before it on that node.
            Step::Run(run) => assert_eq!(run.room, room("a")),
            step => panic!("{step:?}"),
        }
    }
    here.post(&room("a"), draft("bob", "later")).await.unwrap();
    here.post(&room("b"), draft("bob", "other room")).await.unwrap();
    for reader in [&near, &far] {
        assert!(matches!(next(reader).await, Step::Run(run) if run.room == room("b")));
        assert!(matches!(reader.join(&room("a"), Since::Start).await, Err(ChatError::Banned { .. })));
    }
    assert!(matches!(next(&bob).await, Step::Run(_)));
    for chat in [&here, &there] {
        let history = chat.history(&user("eve"), &room("a"), None, HistoryLimit::default()).await;
        assert!(matches!(history, Err(ChatError::Banned { .. })));
        assert!(matches!(chat.post(&room("a"), draft("eve", "k")).await, Err(ChatError::Banned { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_kick_a_mute_and_a_sign_out_reach_every_node() {
    let store = MemoryStore::new();
    let (here, there) = (node(&store).await, node(&store).await);
    let (near, far) = (here.reader(user("eve")), there.reader(user("eve")));
    let mark = there.moderation_mark().unwrap();
    for reader in [&near, &far] {
        reader.join(&room("a"), Since::Now).await.unwrap();
        reader.join(&room("b"), Since::Now).await.unwrap();
    }
    here.moderate(&Measure::Kick { user: user("eve"), room: room("a"), reason: None }).await.unwrap();
    for reader in [&near, &far] {
        let step = next(reader).await;
        assert!(
            matches!(&step, Step::Removed { room: left, removal } if *left == room("a") && removal.cause == RemovalCause::Kicked),
            "{step:?}"
        );
        assert!(reader.is_in(&room("b")));
    }
    let mute = Measure::Mute { user: user("eve"), room: Some(room("b")), until: None, reason: None };
    here.moderate(&mute).await.unwrap();
    here.moderate(&Measure::SignOut { user: user("eve"), reason: None }).await.unwrap();
    for (chat, reader) in [(&here, &near), (&there, &far)] {
        assert!(matches!(next(reader).await, Step::SignedOut { .. }));
        // It was decided before, so it is known as well.
        assert!(matches!(chat.post(&room("b"), draft("eve", "k")).await, Err(ChatError::Muted { .. })));
        assert!(chat.is_signed_out(&user("eve"), mark).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_holds_after_a_restart_also_when_there_was_much_of_it() {
    let store = MemoryStore::new();
    let chat = node(&store).await;
    chat.moderate(&ban("eve", None)).await.unwrap();
    let reason = Some(Reason::new("calm down").unwrap());
    let mute = Measure::Mute { user: user("bob"), room: Some(room("a")), until: None, reason };
    chat.moderate(&mute).await.unwrap();
    let mark = chat.moderation_mark().unwrap();
    chat.moderate(&Measure::SignOut { user: user("ada"), reason: None }).await.unwrap();
    let facts = RoomId::reserved("~moderation").unwrap();
    for round in 0..2_000 {
        let measure = match round % 2 {
            0 => ban("carl", Some("a")),
            _ => Measure::Unban { user: user("carl"), room: Some(room("a")) },
        };
        chat.moderate(&measure).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let bounds = chat.bounds(&facts).await.unwrap();
    let kept = bounds.head.offset().get() - bounds.trimmed.offset().get();
    assert!(kept < 1_100, "{kept} entries are kept of {}", bounds.head.offset());
    chat.shutdown().await;
    let again = node(&store).await;
    assert!(matches!(again.admits(&user("eve")), Err(ChatError::Banned { .. })));
    let posted = again.post(&room("a"), draft("bob", "k")).await;
    assert!(
        matches!(&posted, Err(ChatError::Muted { reason: Some(why), .. }) if why.as_str() == "calm down"),
        "{posted:?}"
    );
    again.post(&room("b"), draft("bob", "k")).await.unwrap();
    again.post(&room("a"), draft("carl", "k")).await.unwrap();
    assert!(again.is_signed_out(&user("ada"), mark).unwrap());
    assert!(!again.is_signed_out(&user("ada"), again.moderation_mark().unwrap()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_sign_out_ends_all_readers_of_the_user_and_they_join_nothing_any_more() {
    let chat = node(&MemoryStore::new()).await;
    let (one, two, bob) = (chat.reader(user("eve")), chat.reader(user("eve")), chat.reader(user("bob")));
    for reader in [&one, &bob] {
        reader.join(&room("a"), Since::Now).await.unwrap();
    }
    chat.moderate(&Measure::SignOut { user: user("eve"), reason: None }).await.unwrap();
    chat.post(&room("a"), draft("bob", "k")).await.unwrap();
    for reader in [&one, &two] {
        assert!(
            matches!(next(reader).await, Step::SignedOut { removal } if removal.cause == RemovalCause::SignedOut)
        );
        assert!(matches!(reader.join(&room("a"), Since::Start).await, Err(ChatError::SignedOut)));
        assert!(
            timeout(Duration::from_secs(60), reader.next(Budget::default())).await.is_err(),
            "nothing more comes"
        );
    }
    assert!(matches!(next(&bob).await, Step::Run(_)));
    chat.reader(user("eve")).join(&room("a"), Since::Start).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn as_long_as_it_is_not_known_who_is_banned_nobody_gets_anywhere() {
    let store = MemoryStore::new();
    node(&store).await.moderate(&ban("eve", None)).await.unwrap();
    let faults = Faults::new(1, FaultRates::NONE);
    faults.outage();
    let backends = Backends::from_store(store);
    let log = faults.wrap(backends.clone()).log;
    let chat = Chat::builder(Backends { log, ..backends }).start().await.unwrap();
    for who in ["eve", "bob"] {
        let joined = chat.reader(user(who)).join(&room("a"), Since::Now).await;
        assert!(matches!(joined, Err(ChatError::Store(_))), "{joined:?}");
        assert!(matches!(chat.admits(&user(who)), Err(ChatError::Store(_))));
    }
    faults.heal();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(matches!(chat.admits(&user("eve")), Err(ChatError::Banned { .. })));
    chat.reader(user("bob")).join(&room("a"), Since::Now).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_end_that_has_come_lets_the_user_in_without_a_word() {
    let chat = node(&MemoryStore::new()).await;
    let until = Timestamp::from_millis(Timestamp::now().millis() + 30);
    let ban = Measure::Ban { user: user("eve"), room: Some(room("a")), until: Some(until), reason: None };
    chat.moderate(&ban).await.unwrap();
    let reader = chat.reader(user("eve"));
    assert!(matches!(reader.join(&room("a"), Since::Now).await, Err(ChatError::Banned { .. })));
    while Timestamp::now() <= until {
        std::thread::yield_now();
    }
    reader.join(&room("a"), Since::Now).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_more_is_remembered_than_the_limit_and_what_is_over_makes_room() {
    let mut limits = Limits::default();
    limits.sanctions_max = 2;
    let backends = Backends::from_store(MemoryStore::new());
    let chat = Chat::builder(backends).limits(limits).start().await.unwrap();
    let soon = Timestamp::from_millis(Timestamp::now().millis() + 30);
    let short = Measure::Mute { user: user("bob"), room: None, until: Some(soon), reason: None };
    chat.moderate(&short).await.unwrap();
    chat.moderate(&ban("eve", None)).await.unwrap();
    while Timestamp::now() <= soon {
        std::thread::yield_now();
    }
    chat.moderate(&ban("carl", None)).await.unwrap();
    assert!(matches!(chat.moderate(&ban("dora", None)).await, Err(ChatError::TooManySanctions { max: 2 })));
    chat.moderate(&Measure::Unban { user: user("eve"), room: None }).await.unwrap();
    chat.moderate(&ban("dora", None)).await.unwrap();
}

/// Thinks about each question until it is told to answer.
#[derive(Debug)]
struct Slow {
    asked: Arc<Notify>,
    answer: Arc<Notify>,
}

#[async_trait]
impl Authority for Slow {
    async fn allows(&self, _: &Who, _: &RoomId, _: Action) -> StoreResult<bool> {
        self.asked.notify_one();
        self.answer.notified().await;
        Ok(true)
    }
}

#[tokio::test(start_paused = true)]
async fn a_ban_that_comes_while_somebody_joins_keeps_them_out() {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = Slow { asked: asked.clone(), answer: answer.clone() };
    let backends = Backends::from_store(MemoryStore::new());
    let chat = Chat::builder(backends).authority(slow).start().await.unwrap();
    for place in [Some("a"), None] {
        let reader = Arc::new(chat.reader(user("eve")));
        let joining = tokio::spawn({
            let reader = reader.clone();
            async move { reader.join(&room("a"), Since::Now).await }
        });
        asked.notified().await;
        chat.moderate(&ban("eve", place)).await.unwrap();
        answer.notify_one();
        let joined = joining.await.unwrap();
        assert!(matches!(joined, Err(ChatError::Banned { .. })), "{joined:?}");
        assert!(!reader.is_in(&room("a")));
        chat.moderate(&Measure::Unban { user: user("eve"), room: place.map(room) }).await.unwrap();
    }
}

/// Lets moderators manage.
#[derive(Debug)]
struct Moderators;

#[async_trait]
impl Authority for Moderators {
    async fn allows(&self, who: &Who, _: &RoomId, action: Action) -> StoreResult<bool> {
        Ok(action != Action::Manage || who.roles.contain("moderator"))
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_manages_a_room_does_so_in_that_room_and_as_long_as_they_may() {
    let backends = Backends::from_store(MemoryStore::new());
    let chat = Chat::builder(backends).authority(Moderators).start().await.unwrap();
    let roles = || ["moderator".to_owned()].into_iter().collect::<Roles>();
    let boss = chat.reader(Who { id: user("boss"), roles: roles() });
    let _peer = chat.reader(Who { id: user("peer"), roles: roles() });
    let _bob = chat.reader(user("bob"));
    let forbidden = |outcome: Result<(), ChatError>| matches!(outcome, Err(ChatError::Forbidden));
    assert!(forbidden(chat.moderate_for(&user("bob"), &ban("eve", Some("a"))).await));
    assert!(forbidden(chat.moderate_for(&user("boss"), &ban("eve", None)).await), "not everywhere");
    let sign_out = Measure::SignOut { user: user("eve"), reason: None };
    assert!(forbidden(chat.moderate_for(&user("boss"), &sign_out).await));
    let against = chat.moderate_for(&user("boss"), &ban("peer", Some("a"))).await;
    assert!(matches!(against, Err(ChatError::ManagesToo)));
    chat.moderate_for(&user("boss"), &ban("eve", Some("a"))).await.unwrap();
    chat.admits(&user("eve")).unwrap();
    boss.set_roles(Roles::default());
    let unban = Measure::Unban { user: user("eve"), room: Some(room("a")) };
    assert!(forbidden(chat.moderate_for(&user("boss"), &unban).await));
    boss.set_roles(roles());
    chat.moderate(&ban("boss", Some("a"))).await.unwrap();
    let banned = chat.moderate_for(&user("boss"), &unban).await;
    assert!(matches!(banned, Err(ChatError::Banned { .. })), "also from managing");
}

#[tokio::test(start_paused = true)]
async fn a_list_of_rooms_leaves_out_one_that_the_user_is_banned_from_and_tells_the_others() {
    let chat = node(&MemoryStore::new()).await;
    let eve = user("eve");
    chat.remember_rooms(&eve, &[room("a"), room("b")]).await.unwrap();
    chat.moderate(&ban("eve", Some("a"))).await.unwrap();
    let list = async || {
        let page = chat.overview(&eve, None, OverviewLimit::default()).await.unwrap();
        page.rooms.into_iter().map(|listed| listed.own.room).collect::<Vec<_>>()
    };
    assert_eq!(list().await, [room("b")]);
    chat.moderate(&Measure::Unban { user: eve.clone(), room: Some(room("a")) }).await.unwrap();
    assert_eq!(list().await, [room("a"), room("b")]);
}

#[tokio::test(start_paused = true)]
async fn who_was_taken_out_of_a_room_does_not_type_there_even_before_its_reader_is_polled() {
    let chat = node(&MemoryStore::new()).await;
    let as_who = |name: &str| {
        let who = Author { id: user(name), name: DisplayName::new(name).unwrap() };
        chat.reader_as(Attendee::new(who, ConnectionId::new(name).unwrap()))
    };
    let (eve, bob) = (as_who("eve"), as_who("bob"));
    for reader in [&eve, &bob] {
        reader.join(&room("a"), Since::Now).await.unwrap();
    }
    chat.moderate(&ban("eve", Some("a"))).await.unwrap();
    for typing in [Typing::Started, Typing::Stopped] {
        assert!(matches!(eve.typing(&room("a"), typing).await, Err(ChatError::NotInRoom)), "{typing:?}");
    }
}
