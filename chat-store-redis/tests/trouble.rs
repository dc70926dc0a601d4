//! What happens to rooms when Redis, or the way to it, is in trouble: seen through the store, and through engines on top of it.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::time::Duration;

use chat_core::{
    Appended, Attendee, Author, Backends, Body, Budget, Chat, ConnectionId, Delivery, DisplayName, Draft,
    Entry, Heard, Kind, Limits, MessageKey, MessageLog, News, NodeId, Offset, PageLimit, Presence, Reader,
    Replay, RoomId, Seat, Since, Step, StoreError, UserId,
};
use chat_store_redis::{Caution, RedisOptions, RedisStore};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use support::proxy::Proxy;
use support::{Cluster, Server, Watched, eventually};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn draft(key: &str) -> Draft {
    let author = Author { id: user("ada"), name: DisplayName::new("Ada").unwrap() };
    Draft { kind: Kind::Message, author, key: MessageKey::new(key).unwrap(), body: Body::text(key) }
}

fn quick(url: String) -> RedisOptions {
    let mut options = RedisOptions::new(url);
    // Long enough for a machine that is busy with other tests.
    options.response_timeout = Duration::from_secs(2);
    options.connection_timeout = Duration::from_secs(2);
    options.heartbeat_interval = Duration::from_millis(200);
    options
}

async fn append(store: &RedisStore, room: &RoomId, key: &str) -> Entry {
    match store.append(room, draft(key)).await.unwrap() {
        Appended::Fresh { entry, .. } => entry,
        other => panic!("{other:?}"),
    }
}

/// As clients do: again with the same key, until there is an answer. Answers the offset.
async fn post(chat: &Chat, room: &RoomId, key: &str) -> u64 {
    let sure = async {
        loop {
            match chat.post(room, draft(key)).await {
                Ok(receipt) => return receipt.bookmark.offset().get(),
                Err(chat_core::ChatError::Store(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    timeout(SOON * 2, sure).await.expect("the post is stored in the end")
}

async fn node(options: RedisOptions) -> Chat {
    let store = options.connect().await.unwrap();
    let mut limits = Limits::default();
    // Only what must be found out otherwise is tested here.
    limits.sweep_interval = Duration::from_secs(3_600);
    Chat::builder(Backends::from_store(store)).limits(limits).start().await.unwrap()
}

/// The keys of the next so many messages, each with its offset.
async fn read(reader: &Reader, count: usize) -> Vec<(u64, String)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match timeout(SOON, reader.next(Budget::default())).await.expect("the messages come") {
            Step::Run(run) => seen.extend(
                run.entries.iter().map(|entry| (entry.position.offset.get(), entry.key.as_str().to_owned())),
            ),
            other => panic!("{other:?}"),
        }
    }
    seen
}

fn numbered(range: std::ops::RangeInclusive<u64>) -> Vec<(u64, String)> {
    range.map(|number| (number, number.to_string())).collect()
}

#[tokio::test]
async fn what_was_answered_survives_a_kill_of_a_server_that_writes_to_its_disk() {
    let mut server = Server::start_with(&support::DURABLE).await;
    let store = quick(server.url()).connect().await.unwrap();
    let (a, identity) = (room("a"), store.identity().await.unwrap());
    let mut entries = Vec::new();
    for number in 1..=50 {
        entries.push(append(&store, &a, &number.to_string()).await);
    }
    server.kill().await;
    assert!(matches!(
        store.append(&a, draft("51")).await,
        Err(StoreError::Unavailable { .. } | StoreError::Indeterminate { .. })
    ));
    server.restart().await;
    eventually("the store answers again", async || store.bounds(&[room("a")]).await.is_ok()).await;
    let limit = PageLimit { entries: 100.try_into().unwrap(), bytes: 1 << 20 };
    let Replay::Page { entries: kept, .. } = store
        .read(&a, chat_core::Position { offset: Offset::ZERO, ..entries[0].position }, limit)
        .await
        .unwrap()
    else {
        panic!("lost")
    };
    assert_eq!(kept[..50], entries);
    assert_eq!(store.identity().await.unwrap(), identity);
    assert!(
        matches!(store.append(&a, draft("50")).await.unwrap(), Appended::Duplicate { bookmark, .. } if bookmark == entries[49].bookmark())
    );
}

#[tokio::test]
async fn after_a_restart_without_a_disk_whoever_lost_something_is_told_and_nobody_else() {
    let mut server = Server::start().await;
    let (one, other) = (node(quick(server.url())).await, node(quick(server.url())).await);
    let (a, quiet) = (room("a"), room("quiet"));
    let (loses, has_nothing) = (other.reader(user("bob")), other.reader(user("cyd")));
    loses.join(&a, Since::Start).await.unwrap();
    has_nothing.join(&quiet, Since::Start).await.unwrap();
    for number in 1..=3 {
        post(&one, &a, &number.to_string()).await;
    }
    assert_eq!(read(&loses, 3).await, numbered(1..=3));
    server.kill().await;
    server.restart().await;
    // In another life of the room, and no further than before.
    assert_eq!(post(&one, &a, "new").await, 1);
    assert_eq!(post(&one, &quiet, "first").await, 1);
    match timeout(SOON, loses.next(Budget::default())).await.expect("it is told") {
        Step::Lost { room, bounds, .. } => assert_eq!((room, bounds.head.offset().get()), (a, 1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(read(&loses, 1).await, [(1, "new".to_owned())]);
    assert_eq!(read(&has_nothing, 1).await, [(1, "first".to_owned())]);
}

#[tokio::test]
async fn while_redis_stands_still_posts_fail_and_afterwards_each_is_stored_once() {
    let server = Server::start().await;
    let (one, other) = (node(quick(server.url())).await, node(quick(server.url())).await);
    let a = room("a");
    let reader = other.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    post(&one, &a, "1").await;
    server.signal("STOP");
    let failed = timeout(SOON, one.post(&a, draft("2"))).await.expect("it is answered");
    assert!(
        matches!(failed, Err(chat_core::ChatError::Store(StoreError::Indeterminate { .. }))),
        "{failed:?}"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.signal("CONT");
    assert_eq!(post(&one, &a, "2").await, 2);
    assert_eq!(post(&one, &a, "3").await, 3);
    assert_eq!(read(&reader, 3).await, numbered(1..=3));
}

#[tokio::test]
async fn a_node_whose_connections_are_cut_hears_what_it_missed() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port).await;
    let (near, far) = (node(quick(server.url())).await, node(quick(proxy.url())).await);
    let a = room("a");
    let reader = far.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    let mut next = 1;
    for _ in 0..3 {
        post(&near, &a, &next.to_string()).await;
        assert_eq!(read(&reader, 1).await, numbered(next..=next));
        proxy.cut();
        post(&near, &a, &(next + 1).to_string()).await;
        proxy.pass();
        assert_eq!(read(&reader, 1).await, numbered(next + 1..=next + 1));
        // And what it posts itself is stored.
        assert_eq!(post(&far, &a, &(next + 2).to_string()).await, next + 2);
        assert_eq!(read(&reader, 1).await, numbered(next + 2..=next + 2));
        next += 3;
    }
}

#[tokio::test]
async fn a_connection_that_is_dead_without_a_word_is_found_out() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port).await;
    let (near, far) = (node(quick(server.url())).await, node(quick(proxy.url())).await);
    let a = room("a");
    let reader = far.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    post(&near, &a, "1").await;
    assert_eq!(read(&reader, 1).await, numbered(1..=1));
    proxy.swallow();
    post(&near, &a, "2").await;
    // The connections from before stay dead: others must be made.
    proxy.pass();
    assert_eq!(read(&reader, 1).await, numbered(2..=2));
    assert_eq!(post(&far, &a, "3").await, 3);
}

#[tokio::test]
async fn a_connection_to_one_shard_that_is_dead_without_a_word_is_found_out() {
    let (cluster, way) = Cluster::start_with_proxy(3).await;
    let mut options = RedisOptions::cluster(cluster.urls().split_off(1));
    options.response_timeout = Duration::from_secs(2);
    options.heartbeat_interval = Duration::from_millis(200);
    let (near, far) = (node(options.clone()).await, node(options.clone()).await);
    // Rooms in every shard.
    let rooms: Vec<RoomId> = (0..12).map(|number| room(&format!("room {number}"))).collect();
    let reader = far.reader(user("bob"));
    for room in &rooms {
        reader.join(room, Since::Start).await.unwrap();
        post(&near, room, "1").await;
    }
    read(&reader, rooms.len()).await;
    way.swallow();
    way.pass();
    let near = node(options).await;
    for room in &rooms {
        assert_eq!(post(&near, room, "2").await, 2);
    }
    read(&reader, rooms.len()).await;
}

#[tokio::test]
async fn what_the_servers_settings_mean_is_told() {
    let sound = [&support::DURABLE[..], &["--maxmemory", "1gb", "--maxmemory-policy", "noeviction"]].concat();
    let (sound, forgetful) = (Server::start_with(&sound).await, Server::start().await);
    let cautions = async |server: &Server| RedisStore::connect(server.url()).await.unwrap().cautions().await;
    assert_eq!(cautions(&sound).await, []);
    assert_eq!(cautions(&forgetful).await, [Caution::NotPersistent, Caution::NoMemoryBound]);
    let cluster = Cluster::start(2).await;
    let store = RedisOptions::cluster(cluster.urls()).connect().await.unwrap();
    assert_eq!(store.cautions().await, [Caution::NotPersistent, Caution::NoMemoryBound]);
}

#[tokio::test]
async fn what_is_wrong_with_an_address_is_told_and_no_password() {
    let server = Server::start_with(&["--save", "", "--requirepass", "right-one"]).await;
    let with = |login: &str| format!("redis://{login}127.0.0.1:{}", server.port);
    for (url, said) in [
        ("http://localhost".to_owned(), "must look like redis://"),
        ("redis://127.0.0.1:1".to_owned(), "check that it runs"),
        (with(""), "user or the password"),
        (with(":wrong-one@"), "user or the password"),
    ] {
        let error = RedisStore::connect(url.clone()).await.expect_err(&url);
        let text = format!("{error} {error:?}");
        assert!(text.contains(said), "{url}: {text}");
        assert!(!text.contains("wrong-one"), "{text}");
    }
    let store = RedisStore::connect(with(":right-one@")).await.unwrap();
    append(&store, &room("a"), "k").await;
    assert!(!format!("{store:?}").contains("right-one"));
}

#[tokio::test]
async fn a_room_that_was_deleted_or_damaged_is_not_misread() {
    let server = Server::start().await;
    let store = quick(server.url()).connect().await.unwrap();
    let mut connection = server.connection().await;
    let limit = PageLimit { entries: 100.try_into().unwrap(), bytes: 1 << 20 };
    let a = room("a");
    let mut before = Vec::new();
    for number in 1..=3 {
        before.push(append(&store, &a, &number.to_string()).await);
    }
    // One entry of it, by hand.
    redis::cmd("HDEL").arg("chat:{a}").arg("e2").query_async::<()>(&mut connection).await.unwrap();
    let damaged = store.read(&a, before[0].position, limit).await;
    assert!(matches!(damaged, Err(StoreError::Corrupt { .. })), "{damaged:?}");
    // Something else in its place.
    redis::cmd("SET").arg("chat:{b}").arg("x").query_async::<()>(&mut connection).await.unwrap();
    assert!(matches!(store.append(&room("b"), draft("k")).await, Err(StoreError::Corrupt { .. })));
    // All of it.
    let keys: Vec<String> = redis::cmd("KEYS").arg("chat:{a}*").query_async(&mut connection).await.unwrap();
    assert_eq!(keys, ["chat:{a}"], "a room has one key");
    redis::cmd("DEL").arg("chat:{a}").query_async::<()>(&mut connection).await.unwrap();
    assert!(matches!(store.read(&a, before[2].position, limit).await.unwrap(), Replay::Lost { .. }));
    let after = append(&store, &a, "1").await;
    assert_ne!(after.position.epoch, before[0].position.epoch);
    assert!(matches!(store.read(&a, before[0].position, limit).await.unwrap(), Replay::Lost { .. }));
}

#[tokio::test]
async fn old_entries_make_way_and_their_keys_are_remembered_as_long_as_promised() {
    let server = Server::start().await;
    let mut options = quick(server.url());
    options.room_entries_max = Some(5);
    options.keep_keys_for = Duration::from_secs(1);
    let store = options.connect().await.unwrap();
    let a = room("a");
    for number in 1..=20 {
        append(&store, &a, &number.to_string()).await;
    }
    let bounds = store.bounds(std::slice::from_ref(&a)).await.unwrap()[0];
    assert_eq!((bounds.trimmed.offset().get(), bounds.head.offset().get()), (15, 20));
    assert!(matches!(store.append(&a, draft("1")).await.unwrap(), Appended::Duplicate { .. }));
    let fields = async || -> Vec<String> {
        redis::cmd("HKEYS").arg("chat:{a}").query_async(&mut server.connection().await).await.unwrap()
    };
    assert_eq!(fields().await.iter().filter(|field| field.starts_with('e') && *field != "epoch").count(), 5);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    append(&store, &a, "21").await;
    let keys = fields().await.iter().filter(|field| field.starts_with('k')).count();
    assert_eq!(keys, 5, "those that are kept");
    // Facts stay.
    let facts = RoomId::reserved("~facts").unwrap();
    for number in 1..=20 {
        append(&store, &facts, &number.to_string()).await;
    }
    assert_eq!(store.bounds(&[facts]).await.unwrap()[0].trimmed.offset(), Offset::ZERO);
}

#[tokio::test]
async fn what_replicas_have_confirmed_survives_the_primary() {
    let mut primary = Server::start().await;
    let replica = support::replica_of(&primary).await;
    let mut options = RedisOptions::new(primary.url());
    options.replicas_min = 1;
    let store = options.connect().await.unwrap();
    let a = room("a");
    let appends = (1..=50).map(|number| {
        let (store, a) = (store.clone(), a.clone());
        async move { append(&store, &a, &number.to_string()).await }
    });
    let entries = futures_util::future::join_all(appends).await;
    primary.kill().await;
    redis::cmd("REPLICAOF")
        .arg("NO")
        .arg("ONE")
        .query_async::<()>(&mut replica.connection().await)
        .await
        .unwrap();
    let after = quick(replica.url()).connect().await.unwrap();
    for entry in entries {
        let again = after.append(&a, draft(entry.key.as_str())).await.unwrap();
        assert!(
            matches!(again, Appended::Duplicate { bookmark, .. } if bookmark == entry.bookmark()),
            "{again:?}"
        );
    }
}

#[tokio::test]
async fn a_replica_that_was_behind_and_takes_over_is_told_to_those_who_had_seen_more_and_to_nobody_else() {
    let mut primary = Server::start().await;
    let replica = support::replica_of(&primary).await;
    let endpoint = Proxy::start(primary.port).await;
    let (one, other) = (node(quick(endpoint.url())).await, node(quick(endpoint.url())).await);
    let (a, quiet) = (room("a"), room("quiet"));
    let (ahead, behind) = (other.reader(user("bob")), other.reader(user("cyd")));
    for room in [&a, &quiet] {
        assert_eq!(post(&one, room, "1").await, 1);
    }
    ahead.join(&a, Since::Start).await.unwrap();
    behind.join(&quiet, Since::Start).await.unwrap();
    assert_eq!(read(&ahead, 1).await, numbered(1..=1));
    assert_eq!(read(&behind, 1).await, numbered(1..=1));
    let promote = async || {
        let mut connection = replica.connection().await;
        redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async::<()>(&mut connection).await.unwrap();
    };
    eventually("the replica has both", async || {
        let mut connection = replica.connection().await;
        let heads = [("chat:{a}", "head"), ("chat:{quiet}", "head")];
        for (key, field) in heads {
            let head: Option<u64> =
                redis::cmd("HGET").arg(key).arg(field).query_async(&mut connection).await.unwrap();
            if head != Some(1) {
                return false;
            }
        }
        true
    })
    .await;
    // From here on the replica hears nothing more.
    promote().await;
    assert_eq!(post(&one, &a, "2").await, 2);
    assert_eq!(read(&ahead, 1).await, numbered(2..=2));
    primary.kill().await;
    endpoint.lead_to(replica.port);
    // The offset is given out again.
    assert_eq!(post(&one, &a, "another").await, 2);
    assert_eq!(post(&one, &quiet, "2").await, 2);
    match timeout(SOON, ahead.next(Budget::default())).await.expect("it is told") {
        Step::Lost { room, .. } => assert_eq!(room, a),
        other => panic!("{other:?}"),
    }
    let seen = read(&ahead, 2).await;
    assert_eq!(seen, [(1, "1".to_owned()), (2, "another".to_owned())]);
    assert_eq!(read(&behind, 1).await, numbered(2..=2));
}

#[tokio::test]
async fn a_server_that_is_no_primary_any_more_is_left_even_if_it_keeps_its_connections() {
    let primary = Server::start().await;
    let replica = support::replica_of(&primary).await;
    let endpoint = Proxy::start(primary.port).await;
    let mut options = quick(endpoint.url());
    // Nothing but the refusal tells.
    options.heartbeat_interval = Duration::from_secs(3_600);
    let (one, other) = (node(options.clone()).await, node(options).await);
    let a = room("a");
    let reader = other.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    assert_eq!(post(&one, &a, "1").await, 1);
    eventually("the replica has it", async || {
        let head: Option<u64> = redis::cmd("HGET")
            .arg("chat:{a}")
            .arg("head")
            .query_async(&mut replica.connection().await)
            .await
            .unwrap();
        head == Some(1)
    })
    .await;
    endpoint.lead_new_ones_to(replica.port);
    follow(&replica, None).await;
    follow(&primary, Some(&replica)).await;
    support::until_in_step(&primary).await;
    assert_eq!(post(&one, &a, "2").await, 2);
    assert_eq!(read(&reader, 2).await, numbered(1..=2));
}

async fn follow(server: &Server, primary: Option<&Server>) {
    let mut command = redis::cmd("REPLICAOF");
    match primary {
        Some(primary) => command.arg("127.0.0.1").arg(primary.port),
        None => command.arg("NO").arg("ONE"),
    };
    command.query_async::<()>(&mut server.connection().await).await.unwrap();
}

/// Of the primary that these sentinels watch.
fn watched(sentinels: &[Server]) -> RedisOptions {
    let mut options = quick(format!("redis://{}", Watched::NAME));
    options.sentinels = sentinels.iter().map(Server::url).collect();
    options
}

/// What somebody comes to see who reads all the while: how often it was told that something is lost, and all that it has seen since then.
async fn read_to_the_end(reader: Reader, last: &'static str) -> (u32, Vec<(u64, String)>) {
    let (mut losses, mut seen) = (0, Vec::<(u64, String)>::new());
    while seen.last().is_none_or(|(_, key)| key != last) {
        match timeout(SOON * 2, reader.next(Budget::default())).await.expect("everything comes") {
            Step::Run(run) => seen.extend(
                run.entries.iter().map(|entry| (entry.position.offset.get(), entry.key.as_str().to_owned())),
            ),
            Step::Lost { .. } => {
                losses += 1;
                seen.clear();
            }
            other => panic!("{other:?}"),
        }
    }
    (losses, seen)
}

/// Posts one after another, and a reader on another node.
struct Course {
    chat: Chat,
    room: RoomId,
    acknowledged: Vec<(u64, String)>,
    reading: JoinHandle<(u32, Vec<(u64, String)>)>,
}

/// What was acknowledged; how often the reader was told that something is lost, and what it has seen since.
struct Outcome {
    acknowledged: Vec<(u64, String)>,
    losses: u32,
    seen: Vec<(u64, String)>,
}

impl Course {
    async fn begin(options: &RedisOptions, room: RoomId) -> Self {
        let (chat, other) = (node(options.clone()).await, node(options.clone()).await);
        let reader = other.reader(user("bob"));
        reader.join(&room, Since::Start).await.unwrap();
        let reading = tokio::spawn(async move {
            let _other = other;
            read_to_the_end(reader, "last").await
        });
        let mut course = Self { chat, room, acknowledged: Vec::new(), reading };
        for number in 1..=20 {
            course.post(number.to_string()).await;
        }
        course
    }

    async fn post(&mut self, key: String) {
        self.acknowledged.push((post(&self.chat, &self.room, &key).await, key));
    }

    async fn go_on(mut self, trouble: watch::Receiver<bool>) -> Outcome {
        while *trouble.borrow() {
            self.post((self.acknowledged.len() + 1).to_string()).await;
        }
        self.post("last".to_owned()).await;
        let (losses, seen) = self.reading.await.unwrap();
        Outcome { acknowledged: self.acknowledged, losses, seen }
    }
}

impl Outcome {
    fn has_lost_nothing(&self) {
        let wrong = self.acknowledged.iter().zip(&self.seen).find(|(posted, seen)| posted != seen);
        assert_eq!((wrong, self.seen.len()), (None, self.acknowledged.len()), "{} losses", self.losses);
    }

    fn is_right_or_told(&self) {
        if self.losses == 0 {
            self.has_lost_nothing();
        }
        let mut offsets = self.seen.iter().map(|(offset, _)| *offset);
        assert!((1..=self.seen.len() as u64).eq(offsets.by_ref()), "{:?}", self.seen);
        let keys: BTreeSet<_> = self.seen.iter().map(|(_, key)| key).collect();
        assert_eq!(keys.len(), self.seen.len(), "none is repeated");
    }
}

#[tokio::test]
async fn a_primary_that_is_killed_is_followed_by_the_one_that_sentinel_chooses() {
    let Watched { mut servers, sentinels } = Watched::start().await;
    let mut options = watched(&sentinels);
    options.replicas_min = 1;
    let (trouble, is_on) = watch::channel(true);
    let course = tokio::spawn(Course::begin(&options, room("a")).await.go_on(is_on));
    servers[0].kill().await;
    until_promoted(&servers[1..]).await;
    trouble.send_replace(false);
    // It is a replica that was waited for, and has more than the other one.
    course.await.unwrap().has_lost_nothing();
}

#[tokio::test]
async fn a_primary_that_stands_still_and_goes_on_is_left_and_what_all_replicas_have_confirmed_is_not_lost() {
    let Watched { servers, sentinels } = Watched::start().await;
    let careless = watched(&sentinels);
    let mut careful = careless.clone();
    careful.replicas_min = 2;
    let (trouble, is_on) = watch::channel(true);
    let careless = tokio::spawn(Course::begin(&careless, room("a")).await.go_on(is_on.clone()));
    let careful = tokio::spawn(Course::begin(&careful, room("b")).await.go_on(is_on));
    servers[0].signal("STOP");
    until_promoted(&servers[1..]).await;
    // For a while it takes itself for the primary, and one of the replicas believes it.
    servers[0].signal("CONT");
    eventually("it follows the new one", async || is_primary(&servers[0]).await == Some(false)).await;
    trouble.send_replace(false);
    careless.await.unwrap().is_right_or_told();
    careful.await.unwrap().has_lost_nothing();
}

async fn until_promoted(replicas: &[Server]) {
    let is_promoted = async |server| is_primary(server).await == Some(true);
    eventually("a replica is promoted", async || {
        is_promoted(&replicas[0]).await || is_promoted(&replicas[1]).await
    })
    .await;
}

/// Nothing while Sentinel closes its connections.
async fn is_primary(server: &Server) -> Option<bool> {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    let role: redis::Role = redis::cmd("ROLE").query_async(&mut connection).await.ok()?;
    Some(matches!(role, redis::Role::Primary { .. }))
}

#[tokio::test]
async fn a_primary_is_left_when_sentinel_names_another_one_even_if_it_goes_on() {
    let (old, new) = (Server::start().await, Server::start().await);
    let sentinels = [support::sentinel_of(&old, 1, "").await];
    let (one, other) = (node(watched(&sentinels)).await, node(watched(&sentinels)).await);
    let a = room("a");
    let reader = other.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    assert_eq!(post(&one, &a, "1").await, 1);
    assert_eq!(read(&reader, 1).await, numbered(1..=1));
    let mut connection = sentinels[0].connection().await;
    let mut run = async |arguments: &[&str]| {
        redis::cmd("SENTINEL").arg(arguments).query_async::<()>(&mut connection).await.unwrap();
    };
    run(&["REMOVE", Watched::NAME]).await;
    run(&["MONITOR", Watched::NAME, "127.0.0.1", &new.port.to_string(), "1"]).await;
    eventually("posts go there", async || {
        post(&one, &a, "2").await;
        let key = redis::cmd("EXISTS").arg("chat:{a}").query_async::<u64>(&mut new.connection().await).await;
        key.unwrap() == 1
    })
    .await;
    match timeout(SOON, reader.next(Budget::default())).await.expect("news comes from there, too") {
        Step::Run(run) => assert_eq!(run.entries[0].position.offset.get(), 2, "the last of the old one's"),
        Step::Lost { .. } => return,
        other => panic!("{other:?}"),
    }
    let told = timeout(SOON, reader.next(Budget::default())).await.expect("news comes from there, too");
    assert!(matches!(told, Step::Lost { .. }), "{told:?}");
}

#[tokio::test]
async fn the_primary_and_its_sentinels_have_passwords_of_their_own() {
    let primary = Server::start_with(&["--save", "", "--requirepass", "right-one"]).await;
    let more = format!("requirepass another\nsentinel auth-pass {} right-one", Watched::NAME);
    let sentinel = support::sentinel_of(&primary, 1, &more).await;
    let at = |login: &str| format!("redis://{login}127.0.0.1:{}", sentinel.port);
    let primary = |login: &str| format!("redis://{login}{}", Watched::NAME);
    let store = RedisOptions::sentinel(primary(":right-one@"), [at(":another@")]).connect().await.unwrap();
    append(&store, &room("a"), "k").await;
    let shown = format!("{store:?}");
    assert!(!shown.contains("right-one") && !shown.contains("another"), "{shown}");
    for (primary, sentinel, said) in [
        (primary(""), at(":another@"), "user or the password"),
        (primary(":right-one@"), at(""), "their own password"),
        ("redis://:right-one@other".to_owned(), at(":another@"), "No such master with that name"),
    ] {
        let error = RedisOptions::sentinel(primary, [sentinel]).connect().await.expect_err(said);
        let text = format!("{error} {error:?}");
        assert!(text.contains(said) && !text.contains("right-one"), "{text}");
    }
}

#[tokio::test]
async fn what_too_few_replicas_have_is_neither_acknowledged_nor_told() {
    let primary = Server::start().await;
    let mut replica = support::replica_of(&primary).await;
    let mut options = quick(primary.url());
    options.replicas_min = 1;
    let (one, other) = (node(options.clone()).await, node(options).await);
    let a = room("a");
    let reader = other.reader(user("bob"));
    reader.join(&a, Since::Start).await.unwrap();
    assert_eq!(post(&one, &a, "1").await, 1);
    assert_eq!(read(&reader, 1).await, numbered(1..=1));
    replica.kill().await;
    let refused = one.post(&a, draft("2")).await;
    assert!(
        matches!(refused, Err(chat_core::ChatError::Store(StoreError::Indeterminate { .. }))),
        "{refused:?}"
    );
    let told = timeout(Duration::from_millis(300), reader.next(Budget::default())).await;
    assert!(told.is_err(), "{told:?}");
    // A repeat waits again, until there is a replica.
    let (sure, ()) = tokio::join!(post(&one, &a, "2"), async { replica.restart().await });
    assert_eq!(sure, 2);
    assert_eq!(read(&reader, 1).await, numbered(2..=2));
}

#[tokio::test]
async fn a_shard_that_stands_still_holds_up_no_room_of_another_one() {
    let cluster = Cluster::start(3).await.with_replicas().await;
    let mut options = RedisOptions::cluster(cluster.urls());
    options.replicas_min = 1;
    options.response_timeout = SOON * 2;
    options.heartbeat_interval = Duration::from_secs(3_600);
    let store = options.connect().await.unwrap();
    // So many that they are on every connection.
    let (away, mut here) = rooms_away_and_here(&cluster, 300).await;
    here.truncate(20);
    let everywhere = async |key| join_all(here.iter().map(|room| append(&store, room, key))).await;
    everywhere("1").await;
    cluster.primaries[0].signal("STOP");
    let log = store.clone();
    let stuck = tokio::spawn(async move {
        let posts: FuturesUnordered<_> = away.iter().map(|room| log.append(room, draft("1"))).collect();
        posts.into_future().await.0
    });
    // What is posted when those are under way is behind them.
    everywhere("2").await;
    everywhere("3").await;
    assert!(!stuck.is_finished(), "they have waited for the other shard");
    stuck.abort();
}

#[tokio::test]
async fn while_a_shard_stands_still_news_of_the_others_is_heard_and_its_own_afterwards() {
    for cluster in [Cluster::start(3).await, Cluster::start(3).await.with_replicas().await] {
        let mut options = RedisOptions::cluster(cluster.urls().split_off(1));
        options.heartbeat_interval = Duration::from_secs(3_600);
        let store = options.clone().connect().await.unwrap();
        options.response_timeout = Duration::from_millis(500);
        options.connection_timeout = Duration::from_millis(500);
        options.heartbeat_interval = Duration::from_millis(200);
        let mut listener = options.connect().await.unwrap().listen().await.unwrap();
        let (away, here) = rooms_away_and_here(&cluster, 12).await;
        for room in away.iter().chain(&here) {
            // The servers know the script from then on.
            append(&store, room, "0").await;
            listener.interest.watch(room).await.unwrap();
        }
        cluster.primaries[0].signal("STOP");
        let stopped = tokio::time::Instant::now();
        let mut number = 0;
        // Long enough for the connection to be given up, and for several attempts to make another one.
        while stopped.elapsed() < Duration::from_secs(8) {
            number += 1;
            for room in &here {
                let entry = append(&store, room, &number.to_string()).await;
                timeout(SOON / 8, hears_or_is_told(&mut listener.heard, &entry)).await.expect("it is heard");
            }
        }
        cluster.primaries[0].signal("CONT");
        // Whatever waited before is over when this one is heard, or can be found.
        for room in &away {
            let entry = append(&store, room, "last").await;
            timeout(SOON, hears_or_is_told(&mut listener.heard, &entry)).await.expect("it is heard");
        }
    }
}

/// Whoever is told to look finds the entry.
async fn hears_or_is_told(heard: &mut (impl futures_util::Stream<Item = Heard> + Unpin), entry: &Entry) {
    loop {
        match heard.next().await.expect("it does not end") {
            Heard::Interrupted => return,
            Heard::News(News::Appended { entry: other, .. }) if *other == *entry => return,
            Heard::News(_) => {}
        }
    }
}

#[tokio::test]
async fn a_server_is_told_a_script_that_it_does_not_know_though_another_shard_stands_still() {
    let cluster = Cluster::start(3).await.with_replicas().await;
    let (_, here) = rooms_away_and_here(&cluster, 12).await;
    for replicas_min in [0, 1] {
        let mut options = RedisOptions::cluster(cluster.urls());
        options.replicas_min = replicas_min;
        options.heartbeat_interval = Duration::from_secs(3_600);
        // Nobody waits for the shard that stands still.
        options.response_timeout = SOON * 2;
        let store = options.connect().await.unwrap();
        append(&store, &here[0], &format!("before {replicas_min}")).await;
        for primary in &cluster.primaries[1..] {
            let mut forget = redis::cmd("SCRIPT");
            forget.arg("FLUSH").query_async::<()>(&mut primary.connection().await).await.unwrap();
        }
        cluster.primaries[0].signal("STOP");
        let key = format!("after {replicas_min}");
        let appends = here.iter().map(|room| append(&store, room, &key));
        timeout(SOON, join_all(appends)).await.expect("they are stored");
        cluster.primaries[0].signal("CONT");
    }
}

/// Of so many rooms those whose shard is the first, and the others.
async fn rooms_away_and_here(cluster: &Cluster, count: u32) -> (Vec<RoomId>, Vec<RoomId>) {
    // Nobody is chosen in the place of a primary that stands still.
    for server in cluster.primaries.iter().chain(&cluster.replicas) {
        let mut patient = redis::cmd("CONFIG");
        patient.arg("SET").arg("cluster-node-timeout").arg(60_000);
        patient.query_async::<()>(&mut server.connection().await).await.unwrap();
    }
    let mut connection = cluster.primaries[0].connection().await;
    let (mut away, mut here) = (Vec::new(), Vec::new());
    for number in 0..count {
        let mut slot = redis::cmd("CLUSTER");
        slot.arg("KEYSLOT").arg(format!("chat:{{r{number}}}"));
        let slot: u16 = slot.query_async(&mut connection).await.unwrap();
        let rooms = if slot < 16_384 / 3 { &mut away } else { &mut here };
        rooms.push(room(&format!("r{number}")));
    }
    (away, here)
}

/// How often each command was executed by `action`, those within scripts included.
async fn commands(
    server: &Server,
    action: impl Future<Output = ()>,
) -> std::collections::BTreeMap<String, u64> {
    let mut connection = server.connection().await;
    redis::cmd("CONFIG").arg("RESETSTAT").query_async::<()>(&mut connection).await.unwrap();
    action.await;
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
    let counts = info.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    counts.filter(|(name, _)| !name.starts_with("config") && name != "info" && name != "ping").collect()
}

#[tokio::test]
async fn what_each_thing_costs_redis_is_counted() {
    let server = Server::start().await;
    let mut options = RedisOptions::new(server.url());
    options.heartbeat_interval = Duration::from_secs(3_600);
    let (one, other) = (node(options.clone()).await, node(options).await);
    let a = room("a");
    let readers: Vec<Reader> = (0..100).map(|number| other.reader(user(&number.to_string()))).collect();
    readers[0].join(&a, Since::Start).await.unwrap();
    post(&one, &a, "1").await;
    assert_eq!(read(&readers[0], 1).await, numbered(1..=1));

    // Who joins a room that is open costs nothing, if it has a place there, and else a look at where the room begins.
    let head = one.bounds(&a).await.unwrap().head;
    let joins = commands(&server, async {
        for reader in &readers[1..50] {
            reader.join(&a, Since::Bookmark(head)).await.unwrap();
        }
    });
    let joins = joins.await;
    assert_eq!(joins.values().sum::<u64>(), 0, "{joins:?}");
    let joins = commands(&server, async {
        for reader in &readers[50..] {
            reader.join(&a, Since::Start).await.unwrap();
            assert_eq!(read(reader, 1).await, numbered(1..=1));
        }
    });
    let joins = joins.await;
    assert!(joins.values().sum::<u64>() <= 50 && joins.len() <= 1, "{joins:?}");

    // A post is one command, whoever reads it. Delivering it is none.
    let posts = commands(&server, async {
        for number in 2..=11 {
            post(&one, &a, &number.to_string()).await;
        }
        for reader in &readers {
            assert_eq!(read(reader, 10).await, numbered(2..=11));
        }
    });
    let posts = posts.await;
    assert_eq!(posts.get("evalsha"), Some(&10), "{posts:?}");
    assert_eq!(posts.get("publish"), Some(&10), "{posts:?}");
    let outside = posts
        .iter()
        .filter(|(name, _)| !matches!(&name[..], "evalsha" | "publish" | "hget" | "hset" | "hmget" | "time"));
    assert_eq!(outside.count(), 0, "{posts:?}");

    // A room that is opened: it is subscribed to, and looked at.
    let opening = commands(&server, async {
        readers[0].join(&room("b"), Since::Now).await.unwrap();
    })
    .await;
    assert_eq!(
        opening.values().sum::<u64>(),
        opening.get("subscribe").unwrap_or(&0)
            + opening.get("hmget").unwrap_or(&0)
            + opening.get("evalsha").unwrap_or(&0)
            + opening.get("time").unwrap_or(&0),
        "{opening:?}"
    );
    assert_eq!(opening.get("subscribe"), Some(&1), "{opening:?}");
    assert!(opening.values().sum::<u64>() <= 4, "{opening:?}");
}

#[tokio::test]
async fn what_a_client_that_comes_back_costs_redis_is_counted() {
    let server = Server::start().await;
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut options = RedisOptions::new(server.url());
        options.heartbeat_interval = Duration::from_secs(3_600);
        let store = options.connect().await.unwrap();
        // The server knows the script from then on.
        store.ticket().await.unwrap();
        let backends = Backends::from_store(store);
        // What seats cost is counted elsewhere.
        let chat = Chat::builder(backends).without_presence().start().await.unwrap();
        let who = Author { id: user("ada"), name: DisplayName::new("Ada").unwrap() };
        let phone = ConnectionId::new("phone").unwrap();
        let attendee = Attendee::new(who, phone.clone());
        let attendee = if readers.is_empty() { attendee } else { attendee.in_place_of(phone) };
        let reader = chat.reader_as(attendee);
        reader.join(&room("a"), Since::Now).await.unwrap();
        readers.push(reader);
    }
    // A ticket, and what is told of it.
    let back = commands(&server, async {
        readers[1].take_over();
        timeout(SOON, poll_fn(|cx| readers[0].poll_taken_over(cx))).await.unwrap();
    })
    .await;
    assert_eq!((back.get("evalsha"), back.get("publish")), (Some(&1), Some(&1)), "{back:?}");
    let inside = ["evalsha", "publish", "time", "get", "set"];
    assert!(back.keys().all(|name| inside.contains(&name.as_str())), "{back:?}");
}

#[tokio::test]
async fn what_presence_costs_redis_is_counted() {
    let server = Server::start().await;
    let mut options = RedisOptions::new(server.url());
    options.heartbeat_interval = Duration::from_secs(3_600);
    let store = options.connect().await.unwrap();
    let seat = |name: &str, connection: &str| Seat {
        room: room(name),
        user: user("ada"),
        connection: ConnectionId::new(connection).unwrap(),
        node: NodeId(1),
    };
    let ada = DisplayName::new("Ada").unwrap();
    // What a client sends; what scripts do within is the server's own time.
    const SENT: [&str; 5] = ["evalsha", "eval", "sadd", "srem", "script|load"];
    let sent = |counted: &std::collections::BTreeMap<String, u64>| -> u64 {
        SENT.iter().filter_map(|command| counted.get(*command)).sum()
    };
    // So that scripts are known.
    store.renew(NodeId(1), Duration::from_secs(60)).await.unwrap();
    store.enter(&seat("a", "phone"), &ada).await.unwrap();
    store.leave(&seat("a", "phone")).await.unwrap();

    // However many seats the node has.
    for number in 0..50 {
        store.enter(&seat(&format!("room {number}"), "phone"), &ada).await.unwrap();
    }
    let renewal = commands(&server, async {
        store.renew(NodeId(1), Duration::from_secs(60)).await.unwrap();
    });
    assert_eq!(sent(&renewal.await), 1);
    // The seat's own set counts among them: a script's `sadd` cannot be told from a client's here.
    let coming = commands(&server, async {
        store.enter(&seat("b", "phone"), &ada).await.unwrap();
    });
    let coming = coming.await;
    assert!(sent(&coming) <= 4, "{coming:?}");
    assert_eq!(coming.get("evalsha"), Some(&1), "{coming:?}");
    // Who comes to others of its node sends nothing else: the one `sadd` is the script's.
    let joining = commands(&server, async {
        store.enter(&seat("b", "laptop"), &ada).await.unwrap();
        store.leave(&seat("b", "laptop")).await.unwrap();
    });
    let joining = joining.await;
    assert_eq!((joining.get("evalsha"), joining.get("sadd")), (Some(&2), Some(&1)), "{joining:?}");
    assert_eq!(sent(&joining), 2 + 1 + 1, "{joining:?}");
    let going = commands(&server, async {
        store.leave(&seat("b", "phone")).await.unwrap();
    });
    let going = going.await;
    assert!(sent(&going) <= 3, "{going:?}");
    assert_eq!(going.get("evalsha"), Some(&1), "{going:?}");
}

#[tokio::test]
async fn a_nodes_index_names_the_rooms_in_which_it_has_seats_however_many_come_and_go_at_once() {
    let server = Server::start().await;
    let store = quick(server.url()).connect().await.unwrap();
    let mut connection = server.connection().await;
    let name = DisplayName::new("Ada").unwrap();
    let seats: Vec<Seat> = (0..60)
        .map(|number| Seat {
            room: room(&format!("room {}", number % 20)),
            user: user("ada"),
            connection: ConnectionId::new(&format!("c{number}")).unwrap(),
            node: NodeId(1),
        })
        .collect();
    for round in 0..30_usize {
        // Of each room's three seats some are taken and some given up, so that now and then a room empties while somebody comes.
        let changes = seats.iter().enumerate().map(async |(number, seat)| {
            match (number * 7 + number / 20 + round * (1 + number % 3)) % 3 {
                0 => store.enter(seat, &name).await.map(drop),
                _ => store.leave(seat).await.map(drop),
            }
        });
        for change in futures_util::future::join_all(changes).await {
            change.unwrap();
        }
        let mut indexed: Vec<String> =
            redis::cmd("SMEMBERS").arg("chat:node:1").query_async(&mut connection).await.unwrap();
        let mut seated: Vec<String> =
            redis::cmd("KEYS").arg("chat:*:seats:1").query_async(&mut connection).await.unwrap();
        for key in &mut seated {
            *key = key["chat:{".len()..key.len() - "}:seats:1".len()].replace("%20", " ");
        }
        indexed.sort();
        seated.sort();
        assert_eq!(indexed, seated, "round {round}");
    }
}

#[tokio::test]
async fn a_user_with_few_rights_is_enough() {
    let server = Server::start().await;
    let mut connection = server.connection().await;
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("chat").arg("on").arg(">secret").arg("~chat:*").arg("&chat:*").arg("-@all");
    user.arg(&["+@read", "+@write", "+@pubsub", "+@scripting", "+@connection", "+time", "+info"]);
    user.query_async::<()>(&mut connection).await.unwrap();
    let store = RedisStore::connect(format!("redis://chat:secret@127.0.0.1:{}", server.port)).await.unwrap();
    let chat = Chat::builder(Backends::from_store(store.clone())).start().await.unwrap();
    assert_eq!(post(&chat, &room("a"), "1").await, 1);
    let reader = chat.reader(self::user("bob"));
    reader.join(&room("a"), Since::Start).await.unwrap();
    assert_eq!(read(&reader, 1).await, numbered(1..=1));
    // It may not read the settings, and says so.
    assert_eq!(store.cautions().await, [Caution::Unknown]);
}

#[tokio::test]
async fn a_node_is_subscribed_to_the_rooms_in_which_it_has_readers() {
    let server = Server::start().await;
    let store = quick(server.url()).connect().await.unwrap();
    let mut limits = Limits::default();
    limits.linger = Duration::from_millis(50);
    let chat = Chat::builder(Backends::from_store(store)).limits(limits).start().await.unwrap();
    let reader = chat.reader(user("bob"));
    let subscribed = async || -> BTreeSet<String> {
        let channels: Vec<String> =
            redis::cmd("PUBSUB").arg("CHANNELS").query_async(&mut server.connection().await).await.unwrap();
        // Every node follows who is banned.
        channels.into_iter().filter(|channel| channel != "chat:{~moderation}").collect()
    };
    for name in ["a", "b", "c"] {
        reader.join(&room(name), Since::Now).await.unwrap();
    }
    assert_eq!(subscribed().await, ["chat:{a}", "chat:{b}", "chat:{c}"].map(str::to_owned).into());
    reader.leave(&room("b"));
    eventually("b is left", async || !subscribed().await.contains("chat:{b}")).await;
    assert_eq!(subscribed().await.len(), 2);
    drop(reader);
    eventually("all are left", async || subscribed().await.is_empty()).await;
}

#[tokio::test]
async fn a_primary_that_fails_is_followed_by_its_replica() {
    let mut cluster = Cluster::start(3).await.with_replicas().await;
    let mut options = RedisOptions::cluster(cluster.urls());
    options.response_timeout = Duration::from_millis(500);
    options.connection_timeout = Duration::from_millis(500);
    options.heartbeat_interval = Duration::from_millis(200);
    let (one, other) = (node(options.clone()).await, node(options).await);
    // Rooms in every shard.
    let rooms: Vec<RoomId> = (0..12).map(|number| room(&format!("room {number}"))).collect();
    let reader = other.reader(user("bob"));
    for room in &rooms {
        reader.join(room, Since::Start).await.unwrap();
        assert_eq!(post(&one, room, "1").await, 1);
    }
    read(&reader, 12).await;
    // In step, so nothing is lost.
    eventually("the replica has everything", async || {
        let mut connection = cluster.primaries[0].connection().await;
        redis::cmd("WAIT").arg(1).arg(1_000).query_async::<u64>(&mut connection).await.unwrap() == 1
    })
    .await;
    cluster.primaries[0].kill().await;
    let mut expected = BTreeSet::new();
    for room in &rooms {
        assert_eq!(post(&one, room, "2").await, 2);
        expected.insert(room.clone());
    }
    while !expected.is_empty() {
        match timeout(SOON, reader.next(Budget::default())).await.expect("everything comes") {
            Step::Run(run) => {
                assert_eq!(run.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["2"]);
                assert!(expected.remove(&run.room), "{:?} twice", run.room);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_slot_that_moves_takes_its_listeners_along() {
    let cluster = Cluster::start(2).await;
    let mut options = RedisOptions::cluster(cluster.urls());
    options.heartbeat_interval = Duration::from_millis(200);
    let store = options.connect().await.unwrap();
    let a = room("a");
    let mut listener = store.listen().await.unwrap();
    listener.interest.watch(&a).await.unwrap();
    let mut known: BTreeSet<u64> = BTreeSet::new();
    for number in 1..=3 {
        append(&store, &a, &number.to_string()).await;
    }
    cluster.move_slot_of("chat:{a}").await;
    for number in 4..=6 {
        append(&store, &a, &number.to_string()).await;
    }
    // Each is heard, or that some may have been missed: then the room is compared with the log.
    while known.len() < 6 {
        match timeout(SOON, listener.heard.next()).await.expect("it is heard, or told").unwrap() {
            Heard::News(News::Appended { entry, .. }) => drop(known.insert(entry.position.offset.get())),
            Heard::News(other) => panic!("{other:?}"),
            Heard::Interrupted => break,
        }
    }
    let last = append(&store, &a, "7").await;
    loop {
        match timeout(SOON, listener.heard.next()).await.expect("afterwards it is heard again").unwrap() {
            Heard::News(News::Appended { entry, .. }) if *entry == last => return,
            Heard::News(_) => {}
            Heard::Interrupted => {
                drop(store.announce(&News::Grown { room: a.clone(), head: last.bookmark() }).await)
            }
        }
        if known.len() == 7 {
            return;
        }
    }
}
