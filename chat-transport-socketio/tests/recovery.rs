//! Connection state recovery, packet by packet: what the official client cannot be made to do. What it does is tested with it, beside the
//! server's other tests with real clients.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat_core::{
    Action, Author, Authority, Backends, Body, Chat, DisplayName, Draft, Entry, Kind, Measure, MemoryStore,
    MessageKey, MessageLog, PageLimit, Replay, RoomId, StoreError, StoreResult, UserId, Who,
};
use chat_transport_socketio::chat::{self, ChatSettings};
use chat_transport_socketio::engine::Settings;
use chat_transport_socketio::{
    Accept, Args, Auth, DisconnectReason, Event, Namespace, Recovery, Refusal, Socket, SocketIo,
};
use serde_json::{Value, json};
use support::{Got, Ws, calm, quick, resident, start, until};

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

async fn serving(recovery: Recovery, namespace: Namespace) -> (SocketIo, SocketAddr) {
    serving_with(calm(), recovery, namespace).await
}

async fn serving_with(
    settings: Settings,
    recovery: Recovery,
    namespace: Namespace,
) -> (SocketIo, SocketAddr) {
    let io = SocketIo::builder().settings(settings).recovery(recovery).namespace("/", namespace).build();
    let address = start(Router::new().nest_service("/socket.io", io.router())).await;
    (io, address)
}

/// A client that remembers what the official one does.
struct Client {
    ws: Ws,
    sid: String,
    pid: String,
    offset: Option<String>,
    rooms: Option<Value>,
    /// Whether this connection has the pid of the one before.
    recovered: bool,
}

/// What is handed on from one connection to the next.
#[derive(Clone, Default)]
struct Memory {
    pid: Option<String>,
    offset: Option<String>,
    /// What it sends with every CONNECT.
    rooms: Option<Value>,
}

impl Client {
    async fn new(address: SocketAddr) -> Self {
        Self::back(address, Memory::default()).await
    }

    async fn back(address: SocketAddr, memory: Memory) -> Self {
        let mut ws = Self::ask(address, &memory).await;
        let answer = ws.packet().await;
        let answer: Value = serde_json::from_str(answer.strip_prefix("40").expect(&answer)).unwrap();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        let (sid, pid) = (text("sid"), text("pid"));
        let recovered = memory.pid.as_ref() == Some(&pid);
        Self { ws, sid, pid, offset: memory.offset, rooms: memory.rooms, recovered }
    }

    async fn ask(address: SocketAddr, memory: &Memory) -> Ws {
        let mut ws = Ws::open(address, WEBSOCKET).await;
        ws.packet().await;
        let mut auth = json!({ "pid": memory.pid, "offset": memory.offset });
        if let Some(rooms) = &memory.rooms {
            auth["rooms"] = rooms.clone();
        }
        ws.send(&format!("40{auth}")).await;
        ws
    }

    /// The next event, without its token.
    async fn event(&mut self) -> Vec<Value> {
        let packet = self.ws.packet().await;
        let mut args: Vec<Value> = serde_json::from_str(packet.strip_prefix("42").expect(&packet)).unwrap();
        self.offset = Some(args.pop().unwrap().as_str().unwrap().to_owned());
        args
    }

    fn memory(&self) -> Memory {
        Memory { pid: Some(self.pid.clone()), offset: self.offset.clone(), rooms: self.rooms.clone() }
    }

    /// Its connection is cut, and the server notices.
    async fn cut(self, io: &SocketIo) -> Memory {
        let (before, memory) = (io.connections(), self.memory());
        drop(self.ws);
        until("the server has noticed", || io.connections() < before).await;
        memory
    }
}

fn in_a_room() -> Namespace {
    Namespace::new().on_connect(|socket: Socket, _: Auth| async move {
        socket.join("tea");
        Ok::<_, Refusal>(())
    })
}

/// Keeps the socket of the client that came first.
fn remembers_the_first() -> (Arc<Mutex<Option<Socket>>>, Namespace) {
    let first: Arc<Mutex<Option<Socket>>> = Arc::default();
    let namespace = Namespace::new().on_connect({
        let first = first.clone();
        move |socket: Socket, _: Auth| {
            first.lock().unwrap().get_or_insert(socket);
            async { Ok::<_, Refusal>(()) }
        }
    });
    (first, namespace)
}

fn kibibytes(count: usize) -> Args {
    Args::one(&"x".repeat(count * 1024)).unwrap()
}

#[tokio::test]
async fn disconnected_sessions_keep_to_their_bytes_and_the_oldest_go_first() {
    let recovery = Recovery::in_memory().sessions_bytes_max(100 * 1024);
    let (io, address) = serving(recovery, in_a_room()).await;
    let mut memories = Vec::new();
    for _ in 0..8 {
        memories.push(Client::new(address).await.cut(&io).await);
    }
    // Each of the eight keeps it: they count for it one by one.
    io.to("tea").emit_args("e", &kibibytes(30));
    let mut recovered = Vec::new();
    for memory in memories {
        let client = Client::back(address, memory).await;
        recovered.push(client.recovered);
    }
    assert_eq!(recovered, [vec![false; 5], vec![true; 3]].concat());
}

#[tokio::test]
async fn who_missed_more_than_is_kept_is_not_recovered() {
    for (events, recovered) in [(3, true), (5, false)] {
        let (io, address) = serving(Recovery::in_memory().session_bytes_max(8 * 1024), in_a_room()).await;
        let client = Client::new(address).await;
        let sid = client.sid.clone();
        let memory = client.cut(&io).await;
        for _ in 0..events {
            io.to("tea").emit_args("e", &kibibytes(2));
        }
        let client = Client::back(address, memory).await;
        assert_eq!((client.recovered, client.sid == sid), (recovered, recovered), "{events} events");
    }
}

#[tokio::test]
async fn what_was_sent_before_the_last_ping_but_one_is_forgotten_and_the_rest_is_not() {
    let (io, address) = serving_with(quick(), Recovery::in_memory(), in_a_room()).await;
    let mut client = Client::new(address).await;
    io.to("tea").emit("e", "first").unwrap();
    client.event().await;
    let first = client.memory();
    io.to("tea").emit("e", "second").unwrap();
    client.event().await;
    let second = client.memory();
    // Two pings are answered, and a third one comes: the answer to the second was taken in.
    for ping in 0..3 {
        assert_eq!(client.ws.text().await, "2");
        if ping < 2 {
            client.ws.send("3").await;
        }
    }
    client.cut(&io).await;
    assert!(!Client::back(address, first).await.recovered);
    // The other one has ended with it, since it was the same session.
    assert!(!Client::back(address, second).await.recovered);
}

#[tokio::test]
async fn the_newest_position_is_recovered_also_when_everything_was_forgotten() {
    let (io, address) = serving_with(quick(), Recovery::in_memory(), in_a_room()).await;
    let mut client = Client::new(address).await;
    io.to("tea").emit("e", "first").unwrap();
    client.event().await;
    for ping in 0..4 {
        assert_eq!(client.ws.text().await, "2");
        if ping < 3 {
            client.ws.send("3").await;
        }
    }
    let memory = client.cut(&io).await;
    io.to("tea").emit("e", "second").unwrap();
    let mut client = Client::back(address, memory).await;
    assert!(client.recovered);
    assert_eq!(client.event().await, ["e", "second"]);
}

#[tokio::test]
async fn whoever_has_the_old_socket_reaches_the_client_before_and_after_it_is_back() {
    let (first, namespace) = remembers_the_first();
    let (io, address) = serving(Recovery::in_memory(), namespace).await;
    let client = Client::new(address).await;
    let socket = first.lock().unwrap().clone().unwrap();
    let memory = client.cut(&io).await;
    socket.emit("e", "away").unwrap();
    let mut client = Client::back(address, memory).await;
    assert!(client.recovered && !socket.is_connected());
    socket.emit("e", "back").unwrap();
    assert_eq!(client.event().await, ["e", "away"]);
    assert_eq!(client.event().await, ["e", "back"]);
}

#[tokio::test]
async fn a_handler_may_refuse_who_is_back_and_what_it_did_before_touches_no_session() {
    let banned = Arc::new(AtomicBool::new(false));
    let namespace = Namespace::new().on_connect({
        let banned = banned.clone();
        move |socket: Socket, _: Auth| {
            let banned = banned.load(Ordering::SeqCst);
            async move {
                socket.join(if banned { "cell" } else { "tea" });
                if banned { Err(Refusal::permanent("banned")) } else { Ok(()) }
            }
        }
    });
    let (io, address) = serving(Recovery::in_memory(), namespace).await;
    let memory = Client::new(address).await.cut(&io).await;
    banned.store(true, Ordering::SeqCst);
    let mut refused = Client::ask(address, &memory).await;
    assert_eq!(refused.packet().await, r#"44{"message":"banned"}"#);
    io.to("cell").emit("e", "in the cell").unwrap();
    io.to("tea").emit("e", "in tea").unwrap();
    banned.store(false, Ordering::SeqCst);
    let mut client = Client::back(address, memory).await;
    assert!(client.recovered);
    assert_eq!(client.event().await, ["e", "in tea"]);
}

#[tokio::test]
async fn a_handler_that_cannot_resume_is_asked_again_with_a_new_session_of_the_same_lineage() {
    let seen: Arc<Mutex<Vec<(bool, String)>>> = Arc::default();
    let namespace = Namespace::new().on_connect({
        let seen = seen.clone();
        move |socket: Socket, _: Auth| {
            let lineage = format!("{:?}", socket.lineage());
            seen.lock().unwrap().push((socket.recovered(), lineage));
            let base = socket.resumption().map(|before| before.base().to_vec());
            async move {
                if socket.recovered() {
                    return Ok(Accept::afresh());
                }
                socket.join("tea");
                assert!(base.is_none_or(|base| base == b"the base"));
                Ok::<_, Refusal>(Accept::new().base("the base"))
            }
        }
    });
    let (io, address) = serving(Recovery::in_memory(), namespace).await;
    let client = Client::new(address).await;
    let sid = client.sid.clone();
    let memory = client.cut(&io).await;
    io.to("tea").emit("e", "for the old session").unwrap();
    let mut client = Client::back(address, memory).await;
    assert!(!client.recovered && client.sid != sid);
    io.to("tea").emit("e", "for the new one").unwrap();
    assert_eq!(client.event().await, ["e", "for the new one"]);
    let seen = seen.lock().unwrap().clone();
    let recovered: Vec<bool> = seen.iter().map(|(recovered, _)| *recovered).collect();
    assert_eq!(recovered, [false, true, false]);
    assert!(seen.iter().all(|(_, lineage)| *lineage == seen[0].1));
}

#[tokio::test]
async fn a_stranger_with_somebody_elses_pid_gets_nothing_of_it_and_takes_nothing() {
    let lineages: Arc<Mutex<Vec<String>>> = Arc::default();
    let namespace = Namespace::new().on_connect({
        let lineages = lineages.clone();
        move |socket: Socket, _: Auth| {
            lineages.lock().unwrap().push(format!("{:?}", socket.lineage()));
            async move {
                socket.join("tea");
                Ok::<_, Refusal>(if socket.recovered() { Accept::stranger() } else { Accept::new() })
            }
        }
    });
    let (io, address) = serving(Recovery::in_memory(), namespace).await;
    let mut victim = Client::new(address).await;
    let thief = Client::back(address, victim.memory()).await;
    assert!(!thief.recovered && thief.sid != victim.sid);
    io.to("tea").emit("e", "still here").unwrap();
    assert_eq!(victim.event().await, ["e", "still here"]);
    let lineages = lineages.lock().unwrap().clone();
    assert_eq!(lineages[0], lineages[1]);
    assert_ne!(lineages[0], lineages[2]);
}

#[tokio::test]
async fn the_old_connection_is_told_that_another_has_taken_over_and_its_handler_why() {
    let reasons: Arc<Mutex<Vec<DisconnectReason>>> = Arc::default();
    let namespace = in_a_room().on_disconnect({
        let reasons = reasons.clone();
        move |_, reason| {
            reasons.lock().unwrap().push(reason);
            std::future::ready(())
        }
    });
    let (_io, address) = serving(Recovery::in_memory(), namespace).await;
    let mut old = Client::new(address).await;
    let new = Client::back(address, old.memory()).await;
    assert!(new.recovered && new.sid == old.sid);
    assert_eq!(old.ws.text().await, "41");
    old.ws.closed().await;
    until("the handler was told", || !reasons.lock().unwrap().is_empty()).await;
    assert_eq!(*reasons.lock().unwrap(), [DisconnectReason::TakenOver]);
}

#[tokio::test]
async fn an_answer_waits_for_the_change_before_it_to_be_stored() {
    let store = Arc::new(Slow::default());
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let namespace = Namespace::new().on("join", |socket: Socket, mut event: Event| async move {
        socket.join("tea");
        event.ack.take().unwrap().send("done").unwrap();
    });
    let (_io, address) = serving(recovery, namespace).await;
    let mut client = Client::new(address).await;
    store.holds.store(true, Ordering::SeqCst);
    client.ws.send(r#"420["join"]"#).await;
    until("it is about to be stored", || store.waiting.load(Ordering::SeqCst)).await;
    // Nothing comes but the close that follows: the answer did not overtake what it is about.
    let early = tokio::time::timeout(Duration::from_millis(200), client.ws.next()).await;
    assert!(early.is_err(), "{early:?}");
    store.let_all_pass();
    assert_eq!(client.ws.next().await, Got::Text(r#"430["done"]"#.to_owned()));
}

#[tokio::test]
async fn a_connection_whose_answer_waits_for_the_store_beyond_the_connect_deadline_is_closed() {
    let store = Arc::new(Slow::default());
    let io = SocketIo::builder()
        .settings(calm().close_timeout(Duration::from_millis(100)))
        .connect_timeout(Duration::from_secs(1))
        .recovery(Recovery::in_log(store.clone()).await.unwrap())
        .namespace("/", in_a_room())
        .build();
    let address = start(Router::new().nest_service("/socket.io", io.router())).await;
    store.holds.store(true, Ordering::SeqCst);
    let mut late = Client::ask(address, &Memory::default()).await;
    until("it is about to be stored", || store.waiting.load(Ordering::SeqCst)).await;
    assert_eq!(late.next().await, Got::Closed, "nothing was answered");
    store.holds.store(false, Ordering::SeqCst);
    store.go_on.notify_waiters();
    // One that was answered in time stays beyond it.
    let mut client = Client::new(address).await;
    let early = tokio::time::timeout(Duration::from_millis(1200), client.ws.next()).await;
    assert!(early.is_err(), "{early:?}");
    io.to("tea").emit("e", "still here").unwrap();
    assert_eq!(client.event().await, ["e", "still here"]);
}

/// A log that takes its time when it is told to.
#[derive(Debug, Default)]
struct Slow {
    store: MemoryStore,
    holds: AtomicBool,
    waiting: AtomicBool,
    go_on: tokio::sync::Notify,
    /// Another process writes everything down anew, before the next read.
    is_rewritten: AtomicBool,
    /// Nothing can be read from it any more.
    has_lost: AtomicBool,
}

impl Slow {
    fn let_all_pass(&self) {
        self.holds.store(false, Ordering::SeqCst);
        self.go_on.notify_waiters();
    }

    /// Puts the last entry behind itself, and trims what was there.
    async fn rewrite(&self, room: &RoomId) -> StoreResult<()> {
        let entry = written_down(&self.store).await.pop().unwrap();
        let key = MessageKey::new("again").unwrap();
        let body = entry.body.unwrap();
        self.store.append(room, Draft { kind: Kind::Fact, author: entry.author, key, body }).await?;
        self.store.trim(room, entry.position).await
    }
}

/// The entries that tell of sessions.
async fn written_down(log: &dyn MessageLog) -> Vec<Entry> {
    let room = RoomId::reserved("~sockets").unwrap();
    let bounds = log.bounds(std::slice::from_ref(&room)).await.unwrap()[0];
    let (mut at, mut all) = (bounds.trimmed.position, Vec::new());
    let limit = PageLimit { entries: NonZeroU32::new(64).unwrap(), bytes: 1 << 20 };
    while at.offset < bounds.head.offset() {
        let Replay::Page { entries, .. } = log.read(&room, at, limit).await.unwrap() else {
            panic!("trimmed meanwhile")
        };
        at = entries.last().unwrap().position;
        all.extend(entries);
    }
    all
}

#[async_trait::async_trait]
impl MessageLog for Slow {
    async fn append(
        &self,
        room: &chat_core::RoomId,
        draft: chat_core::Draft,
    ) -> chat_core::StoreResult<chat_core::Appended> {
        let go_on = self.go_on.notified();
        if self.holds.load(Ordering::SeqCst) {
            self.waiting.store(true, Ordering::SeqCst);
            go_on.await;
        }
        self.store.append(room, draft).await
    }

    async fn read(
        &self,
        room: &chat_core::RoomId,
        after: chat_core::Position,
        limit: chat_core::PageLimit,
    ) -> chat_core::StoreResult<chat_core::Replay> {
        if self.has_lost.load(Ordering::SeqCst) {
            let bounds = self.store.bounds(std::slice::from_ref(room)).await?[0];
            return Ok(Replay::Lost { bounds });
        }
        if self.is_rewritten.swap(false, Ordering::SeqCst) {
            self.rewrite(room).await?;
        }
        self.store.read(room, after, limit).await
    }

    async fn bounds(&self, rooms: &[chat_core::RoomId]) -> chat_core::StoreResult<Vec<chat_core::Bounds>> {
        self.store.bounds(rooms).await
    }

    async fn trim(&self, room: &chat_core::RoomId, upto: chat_core::Position) -> chat_core::StoreResult<()> {
        self.store.trim(room, upto).await
    }

    async fn redact(&self, room: &chat_core::RoomId, at: chat_core::Position) -> chat_core::StoreResult<()> {
        self.store.redact(room, at).await
    }

    async fn renew_epoch(
        &self,
        room: &chat_core::RoomId,
        from: chat_core::Epoch,
    ) -> chat_core::StoreResult<chat_core::Bounds> {
        self.store.renew_epoch(room, from).await
    }

    async fn identity(&self) -> chat_core::StoreResult<chat_core::StoreIdentity> {
        self.store.identity().await
    }
}

#[tokio::test]
async fn what_is_written_down_of_sessions_does_not_grow_with_time() {
    let store = Arc::new(MemoryStore::new());
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let (io, address) = serving(recovery, in_a_room()).await;
    let memory = Client::new(address).await.cut(&io).await;
    for _ in 0..150 {
        io.to("tea").emit_args("e", &kibibytes(100));
        tokio::task::yield_now().await;
    }
    io.shutdown(Duration::from_secs(20)).await;
    let room = chat_core::RoomId::reserved("~sockets").unwrap();
    let bounds = store.bounds(&[room]).await.unwrap()[0];
    let kept = bounds.head.offset().get() - bounds.trimmed.offset().get();
    assert!(0 < bounds.trimmed.offset().get() && kept < 60, "{kept} entries are kept: {bounds:?}");

    // The next process finds the session, with as many events as it may have.
    let recovery = Recovery::in_log(store).await.unwrap();
    let (_io, address) = serving(recovery, in_a_room()).await;
    assert!(!Client::back(address, memory).await.recovered, "it missed more than is kept");
}

#[tokio::test]
async fn a_broadcast_is_written_down_once_for_all_its_recipients() {
    let store = Arc::new(MemoryStore::new());
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let (io, address) = serving(recovery, in_a_room()).await;
    for _ in 0..100 {
        Client::new(address).await.cut(&io).await;
    }
    io.to("tea").emit_args("e", &kibibytes(100));
    io.shutdown(Duration::from_secs(20)).await;
    let entries = written_down(&*store).await;
    let bytes: usize = entries.iter().filter_map(|entry| entry.body.as_ref()).map(Body::bytes).sum();
    assert!(bytes < 200 * 1024, "{bytes} bytes");
}

#[tokio::test]
async fn what_is_written_down_is_cut_into_entries_also_where_it_is_no_events() {
    let store = Arc::new(MemoryStore::new());
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let (io, address) = serving(recovery, keeping()).await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = Client::new(address).await;
        client.ws.send(&format!(r#"420["keep","{}"]"#, "x".repeat(400_000))).await;
        assert_eq!(client.ws.packet().await, r#"430["done"]"#);
        clients.push(client);
    }
    io.shutdown(Duration::from_secs(20)).await;
    let entries = written_down(&*store).await;
    assert!(1 < entries[0].position.offset.get(), "nothing was written down anew");
    let largest = entries.iter().filter_map(|entry| entry.body.as_ref()).map(Body::bytes).max();
    assert!(largest.is_some_and(|bytes| bytes < 1_000_000), "{largest:?} bytes");
}

#[tokio::test]
async fn nobody_waits_while_all_sessions_are_written_down_anew() {
    let namespace = || {
        keeping().on("fill", |socket: Socket, _: Event| async move {
            socket.emit_args("e", &kibibytes(200)).unwrap();
        })
    };
    let store = Arc::new(Slow::default());
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let (io, address) = serving(recovery, namespace()).await;
    for _ in 0..20 {
        let mut client = Client::new(address).await;
        client.ws.send(r#"42["fill"]"#).await;
        assert_eq!(client.event().await[0], "e");
        client.cut(&io).await;
    }
    io.shutdown(Duration::from_secs(20)).await;

    // The next process begins with that.
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let (_io, address) = serving(recovery, namespace()).await;
    store.holds.store(true, Ordering::SeqCst);
    let mut client = Client::ask(address, &Memory::default()).await;
    until("it is about to be stored", || store.waiting.swap(false, Ordering::SeqCst)).await;
    store.go_on.notify_one();
    assert!(client.packet().await.starts_with("40"));
    until("all is written down anew", || store.waiting.load(Ordering::SeqCst)).await;
    client.send(r#"420["keep",1]"#).await;
    let mut entries = 0;
    loop {
        let answer = tokio::time::timeout(Duration::from_millis(50), client.next()).await;
        if answer.is_ok() {
            assert_eq!(answer, Ok(Got::Text(r#"430["done"]"#.to_owned())));
            break;
        }
        until("an entry is about to be stored", || store.waiting.swap(false, Ordering::SeqCst)).await;
        store.go_on.notify_one();
        entries += 1;
    }
    assert!(entries < 6, "{entries} entries were stored before");
    store.let_all_pass();
}

/// Keeps what a client sends as the data of its session.
fn keeping() -> Namespace {
    Namespace::new().on("keep", |socket: Socket, event: Event| async move {
        socket.set_data(&event.parse::<Value>(0).unwrap()).unwrap();
        if let Some(ack) = event.ack {
            ack.send("done").unwrap();
        }
    })
}

#[tokio::test]
async fn of_data_that_is_set_again_and_again_one_waits_for_the_store() {
    let store = Arc::new(Slow::default());
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let handled = Arc::new(AtomicUsize::new(0));
    let namespace = Namespace::new().on("keep", {
        let handled = handled.clone();
        move |socket: Socket, event: Event| {
            socket.set_data(&event.parse::<Value>(0).unwrap()).unwrap();
            handled.fetch_add(1, Ordering::SeqCst);
            std::future::ready(())
        }
    });
    let (_io, address) = serving(recovery, namespace).await;
    let mut client = Client::new(address).await;
    store.holds.store(true, Ordering::SeqCst);
    let keep = format!(r#"42["keep","{}"]"#, "x".repeat(900_000));
    let before = resident();
    for _ in 0..150 {
        client.ws.send(&keep).await;
    }
    until("all are handled", || handled.load(Ordering::SeqCst) == 150).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 40_000_000, "by {grown} bytes");
    store.let_all_pass();
}

#[tokio::test]
async fn no_handler_runs_while_too_much_waits_for_the_store() {
    let store = Arc::new(Slow::default());
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let handled = Arc::new(AtomicUsize::new(0));
    let namespace = Namespace::new()
        .on("join", |socket: Socket, event: Event| async move {
            socket.join("tea");
            event.ack.unwrap().send("done").unwrap();
        })
        .on("hello", |_: Socket, event: Event| async move { event.ack.unwrap().send("hello").unwrap() })
        .on("tell", {
            let handled = handled.clone();
            move |socket: Socket, event: Event| {
                socket.to("tea").emit_args("told", &Args::from(&event));
                handled.fetch_add(1, Ordering::SeqCst);
                std::future::ready(())
            }
        });
    let (io, address) = serving(recovery, namespace).await;
    let mut listener = Client::new(address).await;
    listener.ws.send(r#"420["join"]"#).await;
    assert_eq!(listener.ws.packet().await, r#"430["done"]"#);
    listener.cut(&io).await;
    let mut other = Client::new(address).await;
    let mut teller = Client::new(address).await;
    store.holds.store(true, Ordering::SeqCst);
    let tell = format!(r#"42["tell","{}"]"#, "x".repeat(900_000));
    let telling = tokio::spawn(async move {
        for _ in 0..30 {
            teller.ws.send(&tell).await;
        }
        teller
    });
    // One is about to be stored, and ten are more than may wait.
    until("some are handled", || 11 <= handled.load(Ordering::SeqCst)).await;
    // Nobody else's handler runs either, though this one has nothing to write down.
    other.ws.send(r#"420["hello"]"#).await;
    let early = tokio::time::timeout(Duration::from_millis(300), other.ws.next()).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(handled.load(Ordering::SeqCst), 11);
    store.let_all_pass();
    assert_eq!(other.ws.packet().await, r#"430["hello"]"#);
    until("all are handled", || handled.load(Ordering::SeqCst) == 30).await;
    drop(telling.await.unwrap());
}

#[tokio::test]
async fn an_application_that_tells_the_absent_more_than_the_journal_may_hold_loses_their_sessions_and_no_memory()
 {
    let store = Arc::new(Slow::default());
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let (io, address) = serving(recovery, in_a_room()).await;
    let told = Client::new(address).await.cut(&io).await;
    store.holds.store(true, Ordering::SeqCst);
    let before = resident();
    for _ in 0..200 {
        io.to("tea").emit_args("e", &kibibytes(900));
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 60_000_000, "by {grown} bytes");
    // One who was not told of any of it, and is told apart.
    assert!(io.to("tea").emit("e", &1).is_ok());
    store.let_all_pass();
    let client = Client::back(address, told.clone()).await;
    assert!(!client.recovered);

    // Nor does the next process take it for complete.
    drop(client);
    io.shutdown(Duration::from_secs(5)).await;
    let recovery = Recovery::in_log(store).await.unwrap();
    let (_io, address) = serving(recovery, in_a_room()).await;
    assert!(!Client::back(address, told).await.recovered);
}

#[tokio::test]
async fn a_second_server_with_the_same_log_leaves_the_first_one_its_sessions() {
    let recovery = Recovery::in_log(Arc::new(MemoryStore::new())).await.unwrap();
    let (_first, address) = serving(recovery.clone(), keeping()).await;
    let mut client = Client::new(address).await;
    let (second, other_address) = serving(recovery.clone(), keeping()).await;
    for address in [address, other_address] {
        let mut client = Client::new(address).await;
        client.ws.send(r#"420["keep",1]"#).await;
        assert_eq!(client.ws.packet().await, r#"430["done"]"#);
    }
    second.shutdown(Duration::from_secs(20)).await;
    drop(SocketIo::builder().recovery(recovery).build());
    for _ in 0..5 {
        client.ws.send(r#"420["keep",1]"#).await;
        assert_eq!(client.ws.packet().await, r#"430["done"]"#);
    }
}

#[tokio::test]
async fn sessions_that_cannot_all_be_read_are_refused_instead_of_forgotten() {
    let store = Arc::new(Slow::default());
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let (io, address) = serving(recovery, Namespace::new()).await;
    Client::new(address).await.cut(&io).await;
    io.shutdown(Duration::from_secs(20)).await;

    store.has_lost.store(true, Ordering::SeqCst);
    let lost = Recovery::in_log(store.clone()).await;
    assert!(matches!(lost, Err(StoreError::Corrupt { .. })), "{lost:?}");
    store.has_lost.store(false, Ordering::SeqCst);
    assert!(Recovery::in_log(store.clone()).await.is_ok());

    let room = RoomId::reserved("~sockets").unwrap();
    let last = written_down(&*store).await.pop().unwrap();
    store.redact(&room, last.position).await.unwrap();
    let redacted = Recovery::in_log(store).await;
    assert!(matches!(redacted, Err(StoreError::Corrupt { .. })), "{redacted:?}");
}

#[tokio::test]
async fn sessions_that_are_written_down_anew_while_they_are_read_are_found() {
    let store = Arc::new(Slow::default());
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let (io, address) = serving(recovery, Namespace::new()).await;
    let memory = Client::new(address).await.cut(&io).await;
    io.shutdown(Duration::from_secs(20)).await;
    drop(io);

    store.is_rewritten.store(true, Ordering::SeqCst);
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    assert!(!store.is_rewritten.load(Ordering::SeqCst), "it was not read");
    let (_io, address) = serving(recovery, Namespace::new()).await;
    assert!(Client::back(address, memory).await.recovered);
}

/// Keeps somebody out of one room, from some time on.
#[derive(Clone, Debug, Default)]
struct Ban(Arc<AtomicBool>);

#[async_trait::async_trait]
impl Authority for Ban {
    async fn allows(&self, _: &Who, room: &RoomId, _: Action) -> StoreResult<bool> {
        Ok(room.as_str() != "secret" || !self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn who_was_banned_from_a_room_meanwhile_is_refused_and_told_which() {
    let ban = Ban::default();
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).authority(ban.clone());
    let chat = chat.start().await.unwrap();
    let recovery = chat::recovery(&chat).await.unwrap();
    let (io, address) = serving(recovery, chat::namespace(chat, ChatSettings::default())).await;
    let rooms = Some(json!({ "general": 0, "secret": 0 }));
    let first = Client::back(address, Memory { rooms, ..Memory::default() }).await;
    let memory = first.cut(&io).await;
    assert!(Client::back(address, memory.clone()).await.recovered, "at first it may come back");
    ban.0.store(true, Ordering::SeqCst);
    let refusal = Client::ask(address, &memory).await.packet().await;
    let refusal: Value = serde_json::from_str(refusal.strip_prefix("44").expect(&refusal)).unwrap();
    assert_eq!(
        (&refusal["data"]["code"], &refusal["data"]["retryable"]),
        (&json!("forbidden"), &json!(false))
    );
    assert!(refusal["message"].as_str().unwrap().contains("secret"), "{refusal}");
    // Without the room in its auth, the token still names it.
    let other = Memory { rooms: Some(json!({ "general": 0 })), ..memory };
    assert!(Client::ask(address, &other).await.packet().await.starts_with("44"));
}

/// Who a client posts as.
async fn author(client: &mut Client) -> String {
    client.ws.send(r#"420["post",{"room":"general","id":"who am I","content":0}]"#).await;
    let (mut authors, mut offset) = (HashMap::new(), None);
    loop {
        if let Some(author) = offset.and_then(|offset| authors.remove(&offset)) {
            return author;
        }
        let packet = client.ws.packet().await;
        if let Some(reply) = packet.strip_prefix("430") {
            let reply: Value = serde_json::from_str(reply).unwrap();
            offset = Some(reply[0]["offset"].as_u64().expect(&packet));
        } else if let Some(event) = packet.strip_prefix(r#"42["message","#) {
            let event: Value = serde_json::from_str(&format!("[{event}")).unwrap();
            let author = event[0]["from"]["id"].as_str().unwrap().to_owned();
            authors.insert(event[0]["offset"].as_u64().unwrap(), author);
        }
    }
}

#[tokio::test]
async fn who_was_banned_by_moderation_while_away_is_refused_and_let_in_again_when_that_ends() {
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).start().await.unwrap();
    let recovery = chat::recovery(&chat).await.unwrap();
    let (io, address) = serving(recovery, chat::namespace(chat.clone(), ChatSettings::default())).await;
    let rooms = Some(json!({ "general": 0 }));
    let mut first = Client::back(address, Memory { rooms, ..Memory::default() }).await;
    let user = UserId::new(&author(&mut first).await).unwrap();
    let memory = first.cut(&io).await;
    let room = Some(RoomId::new("general").unwrap());
    chat.moderate(&Measure::Ban { user: user.clone(), room: room.clone(), until: None, reason: None })
        .await
        .unwrap();
    let refusal = Client::ask(address, &memory).await.packet().await;
    let refusal: Value = serde_json::from_str(refusal.strip_prefix("44").expect(&refusal)).unwrap();
    assert_eq!(refusal["data"]["code"], "forbidden");
    assert!(refusal["message"].as_str().unwrap().contains("general"), "{refusal}");
    chat.moderate(&Measure::Unban { user, room }).await.unwrap();
    assert!(Client::back(address, memory).await.recovered);
}

#[tokio::test]
async fn who_was_signed_out_gets_neither_session_nor_guest_back_by_a_pid_from_before() {
    let chat = quiet().await;
    let recovery = chat::recovery(&chat).await.unwrap();
    let (io, address) = serving(recovery, chat::namespace(chat.clone(), ChatSettings::default())).await;
    let rooms = Some(json!({ "general": 0 }));
    let mut first = Client::back(address, Memory { rooms: rooms.clone(), ..Memory::default() }).await;
    let user = author(&mut first).await;
    let memory = first.cut(&io).await;
    let mut back = Client::back(address, memory.clone()).await;
    assert!(back.recovered, "until then it is its own");
    let sign_out = Measure::SignOut { user: UserId::new(&user).unwrap(), reason: None };
    chat.moderate(&sign_out).await.unwrap();
    loop {
        // What it had not received yet comes first.
        let packet = back.ws.packet().await;
        if packet.starts_with(r#"42["signed_out",{"reason":"signed_out"}"#) {
            break;
        }
        assert!(packet.starts_with(r#"42["message""#), "{packet}");
    }
    assert_eq!(back.ws.packet().await, "41");
    for memory in [memory, back.memory()] {
        let mut other = Client::back(address, memory.clone()).await;
        assert!(!other.recovered);
        assert_ne!(author(&mut other).await, user);
        // The new session is one like any other.
        let memory = other.cut(&io).await;
        assert!(Client::back(address, memory).await.recovered);
    }
}

#[tokio::test]
async fn places_that_are_abridged_are_checked_together() {
    let chat = quiet().await;
    let recovery = chat::recovery(&chat).await.unwrap();
    let (io, address) = serving(recovery, chat::namespace(chat.clone(), ChatSettings::default())).await;
    let names: Vec<String> = (0..9).map(|number| format!("room {number}")).collect();
    let rooms =
        Some(names.iter().map(|name| (name.clone(), json!(0))).collect::<serde_json::Map<_, _>>().into());
    let mut client = Client::back(address, Memory { rooms, ..Memory::default() }).await;
    for name in &names {
        let author = Author { id: UserId::new("ada").unwrap(), name: DisplayName::new("Ada").unwrap() };
        let (key, body) = (MessageKey::new("k").unwrap(), Body::text("1"));
        chat.post(&RoomId::new(name).unwrap(), Draft { kind: Kind::Message, author, key, body })
            .await
            .unwrap();
        assert_eq!(client.event().await[0], "message");
    }
    let memory = client.cut(&io).await;
    let client = Client::back(address, memory.clone()).await;
    assert!(client.recovered);
    client.cut(&io).await;

    // Behind the tag, the number and the count of rooms is what they are checked by together.
    let mut token = URL_SAFE_NO_PAD.decode(memory.offset.as_ref().unwrap()).unwrap();
    token[8] ^= 1;
    let forged = Memory { offset: Some(URL_SAFE_NO_PAD.encode(token)), ..memory };
    let mut client = Client::back(address, forged).await;
    assert!(!client.recovered);
    let mut lost = std::collections::BTreeSet::new();
    while lost.len() < names.len() {
        let event = client.event().await;
        if event[0] == "history_lost" {
            lost.insert(event[1]["room"].as_str().unwrap().to_owned());
        }
    }
}

#[tokio::test]
async fn tokens_stay_short_and_complete_where_a_hundred_rooms_are_joined_one_by_one() {
    let chat = quiet().await;
    let recovery = chat::recovery(&chat).await.unwrap();
    let mut settings = ChatSettings::default();
    settings.requests_per_second = None;
    let (io, address) = serving(recovery, chat::namespace(chat.clone(), settings)).await;
    let names: Vec<String> = (0..100).map(|number| format!("{number:0>36}")).collect();
    let post_to_all = async |key: &str| {
        for name in &names {
            let author = Author { id: UserId::new("ada").unwrap(), name: DisplayName::new("Ada").unwrap() };
            let (key, body) = (MessageKey::new(key).unwrap(), Body::text("1"));
            let draft = Draft { kind: Kind::Message, author, key, body };
            chat.post(&RoomId::new(name).unwrap(), draft).await.unwrap();
        }
    };
    let receive_from_all = async |client: &mut Client| {
        let mut left: std::collections::BTreeSet<String> = names.iter().cloned().collect();
        while !left.is_empty() {
            let event = client.event().await;
            assert_eq!(event[0], "message");
            assert!(left.remove(event[1]["room"].as_str().unwrap()), "once from each");
        }
        client.offset.as_ref().unwrap().len()
    };
    let mut client = Client::back(address, Memory { rooms: Some(json!({})), ..Memory::default() }).await;
    for name in &names {
        client.ws.send(&format!(r#"420["join",{{"room":"{name}"}}]"#)).await;
        assert_eq!(client.event().await[0], "position");
        assert!(client.ws.packet().await.starts_with(r#"430[{"ok":true"#));
    }
    for round in ["one", "two", "three"] {
        post_to_all(round).await;
        let length = receive_from_all(&mut client).await;
        assert!(length <= 600, "{length} characters");
        let memory = client.cut(&io).await;
        // Some is missed as well.
        post_to_all(&format!("{round}, missed")).await;
        client = Client::back(address, memory).await;
        assert!(client.recovered);
        receive_from_all(&mut client).await;
    }
}

#[tokio::test]
async fn a_room_that_was_left_on_another_device_is_still_that_of_a_client_that_is_cut() {
    let chat = quiet().await;
    let recovery = chat::recovery(&chat).await.unwrap();
    let (io, address) = serving(recovery, chat::namespace(chat.clone(), ChatSettings::default())).await;
    let mut client = Client::back(address, Memory { rooms: Some(json!({})), ..Memory::default() }).await;
    client.ws.send(r#"420["join",{"room":"tea"}]"#).await;
    assert_eq!(client.event().await[0], "position");
    client.ws.packet().await;
    client.ws.send(r#"42["post",{"room":"tea","id":"own","content":1}]"#).await;
    let guest = UserId::new(client.event().await[1]["from"]["id"].as_str().unwrap()).unwrap();
    chat.forget_room(&guest, &RoomId::new("tea").unwrap()).await.unwrap();
    let memory = client.cut(&io).await;
    let author = Author { id: UserId::new("ada").unwrap(), name: DisplayName::new("Ada").unwrap() };
    let (key, body) = (MessageKey::new("k").unwrap(), Body::text("1"));
    let draft = Draft { kind: Kind::Message, author, key, body };
    chat.post(&RoomId::new("tea").unwrap(), draft).await.unwrap();
    let mut client = Client::back(address, memory).await;
    assert!(client.recovered);
    assert_eq!(client.event().await[1]["room"], "tea");
}

/// An engine that tells nobody of the others: then only messages are events.
async fn quiet() -> Chat {
    Chat::builder(Backends::from_store(MemoryStore::new())).without_presence().start().await.unwrap()
}

/// In the namespace of a chat, an application's own event to everybody.
async fn mixed() -> (SocketIo, SocketAddr) {
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).start().await.unwrap();
    let recovery = chat::recovery(&chat).await.unwrap().disconnection_max(Duration::from_millis(50));
    let namespace = chat::namespace(chat, ChatSettings::default()).on("own", |_, _| async {});
    serving(recovery, namespace).await
}

#[tokio::test]
async fn who_may_have_missed_an_event_of_the_applications_own_is_only_recovered_from_memory() {
    let (io, address) = mixed().await;
    let rooms = Some(json!({ "general": 0 }));
    let client = Client::back(address, Memory { rooms, ..Memory::default() }).await;
    let memory = client.cut(&io).await;
    io.namespace("/").unwrap().emit("own", &1).unwrap();
    let mut client = Client::back(address, memory).await;
    assert!(client.recovered);
    assert_eq!(client.event().await[..2], [json!("own"), json!(1)]);

    let memory = client.cut(&io).await;
    until("the session was given up", || io.namespace("/").unwrap().members().is_empty()).await;
    assert!(!Client::back(address, memory).await.recovered);
}

#[tokio::test]
async fn nothing_is_sent_behind_an_event_that_did_not_fit() {
    let io = SocketIo::builder()
        .settings(calm())
        .outbox_bytes_max(8 * 1024)
        .recovery(Recovery::in_memory())
        .namespace("/", in_a_room())
        .build();
    let address = start(Router::new().nest_service("/socket.io", io.router())).await;
    let mut client = Client::new(address).await;
    // All in one turn: the connection can take nothing in between.
    let send = |number: usize, kib: usize| {
        io.to("tea").emit_args("e", &Args::one(&number).unwrap().json(&"x".repeat(kib * 1024)).unwrap());
    };
    send(1, 4);
    send(2, 3);
    send(3, 6);
    send(4, 0);
    let mut seen = Vec::new();
    loop {
        match client.ws.next().await {
            Got::Text(text) if text.starts_with("42") => {
                let mut args: Vec<Value> = serde_json::from_str(&text[2..]).unwrap();
                client.offset = args.pop().map(|token| token.as_str().unwrap().to_owned());
                seen.push(args[1].as_u64().unwrap());
            }
            Got::Closed => break,
            _ => {}
        }
    }
    let mut client = Client::back(address, client.memory()).await;
    assert!(client.recovered);
    while seen.len() < 4 {
        seen.push(client.event().await[1].as_u64().unwrap());
    }
    assert_eq!(seen, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_connection_that_was_cut_while_its_handler_ran_takes_no_session_from_the_next_one() {
    let go_on = Arc::new(tokio::sync::Notify::new());
    let asked = Arc::new(Mutex::new(0));
    let namespace = Namespace::new().on_connect({
        let (go_on, asked) = (go_on.clone(), asked.clone());
        move |socket: Socket, _: Auth| {
            let number = {
                let mut asked = asked.lock().unwrap();
                *asked += 1;
                *asked
            };
            let go_on = go_on.clone();
            async move {
                socket.join("tea");
                if number == 2 {
                    go_on.notified().await;
                }
                Ok::<_, Refusal>(())
            }
        }
    });
    let (io, address) = serving(Recovery::in_memory(), namespace).await;
    let memory = Client::new(address).await.cut(&io).await;
    let slow = Client::ask(address, &memory).await;
    until("the slow one is asked", || *asked.lock().unwrap() == 2).await;
    let mut living = Client::back(address, memory).await;
    assert!(living.recovered);
    go_on.notify_one();
    io.to("tea").emit("e", "still here").unwrap();
    assert_eq!(living.event().await, ["e", "still here"]);
    drop(slow);
    until("the slow one is gone", || io.connections() == 1).await;
    io.to("tea").emit("e", "still here").unwrap();
    assert_eq!(living.event().await, ["e", "still here"]);
}

#[tokio::test]
async fn a_session_ends_by_any_socket_that_it_had_also_while_its_client_is_away() {
    let (first, namespace) = remembers_the_first();
    let (io, address) = serving(Recovery::in_memory(), namespace).await;
    let memory = Client::new(address).await.cut(&io).await;
    let mut client = Client::back(address, memory).await;
    assert!(client.recovered);
    // The old one, over whose connection nobody is reached any more.
    let socket = first.lock().unwrap().take().unwrap();
    socket.emit("bye", "banned").unwrap();
    socket.disconnect();
    assert_eq!(client.event().await, ["bye", "banned"], "with its token");
    assert_eq!(client.ws.text().await, "41");
    let memory = client.cut(&io).await;
    let client = Client::back(address, memory).await;
    assert!(!client.recovered);
    let socket = first.lock().unwrap().take().unwrap();
    let memory = client.cut(&io).await;
    socket.disconnect();
    assert!(!Client::back(address, memory).await.recovered);
}

#[tokio::test]
async fn an_answer_waits_for_what_was_sent_to_others_before_it() {
    let store = Arc::new(Slow::default());
    let recovery = Recovery::in_log(store.clone()).await.unwrap();
    let namespace = in_a_room().on("tell", |socket: Socket, mut event: Event| async move {
        socket.broadcast().emit("told", &1).unwrap();
        event.ack.take().unwrap().send("done").unwrap();
    });
    let (_io, address) = serving(recovery, namespace).await;
    let (mut ada, mut bob) = (Client::new(address).await, Client::new(address).await);
    store.holds.store(true, Ordering::SeqCst);
    bob.ws.send(r#"420["tell"]"#).await;
    until("it is about to be stored", || store.waiting.load(Ordering::SeqCst)).await;
    let early = tokio::time::timeout(Duration::from_millis(200), bob.ws.next()).await;
    assert!(early.is_err(), "{early:?}");
    store.holds.store(false, Ordering::SeqCst);
    store.go_on.notify_waiters();
    assert_eq!(bob.ws.next().await, Got::Text(r#"430["done"]"#.to_owned()));
    assert_eq!(ada.event().await[0], "told");
}

#[tokio::test]
async fn an_event_of_the_connect_handlers_own_takes_the_promise_of_sources_only_back() {
    let namespace = Namespace::new()
        .on_connect(|socket: Socket, _: Auth| async move {
            socket.emit("hello", &1).map_err(|_| Refusal::Passing)?;
            Ok(Accept::new().base("the base"))
        })
        .sources_only();
    let recovery = Recovery::in_memory().disconnection_max(Duration::from_millis(50));
    let (io, address) = serving(recovery, namespace).await;
    // It was cut before the event came, and stayed away for longer than that is kept.
    let memory = Client::new(address).await.cut(&io).await;
    until("the session was given up", || io.namespace("/").unwrap().members().is_empty()).await;
    assert!(!Client::back(address, memory).await.recovered);
}

/// Two servers of one chat.
async fn two_nodes() -> ([SocketIo; 2], [SocketAddr; 2], Chat) {
    let store = MemoryStore::new();
    let (mut servers, mut addresses, mut chats) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        let chat = Chat::builder(Backends::from_store(store.clone())).start().await.unwrap();
        let recovery = chat::recovery(&chat).await.unwrap();
        let namespace = chat::namespace(chat.clone(), ChatSettings::default());
        let (io, address) = serving(recovery, namespace).await;
        servers.push(io);
        addresses.push(address);
        chats.push(chat);
    }
    (servers.try_into().unwrap(), addresses.try_into().unwrap(), chats.remove(0))
}

fn full() -> Memory {
    Memory { rooms: Some(json!({ "general": 0 })), ..Memory::default() }
}

/// Reads on until it is told that it has left, and its connection is closed.
async fn is_thrown_out(client: &mut Client) {
    while client.ws.packet().await != "41" {}
    client.ws.closed().await;
}

async fn is_in(client: &mut Client) {
    client.ws.send(r#"427["members",{"room":"general"}]"#).await;
    while !client.ws.packet().await.starts_with(r#"437[{"ok":true"#) {}
}

#[tokio::test]
async fn the_old_connection_on_another_node_is_told_that_another_has_taken_over() {
    for memory in [full(), Memory::default()] {
        let ([here, there], [one, two], _) = two_nodes().await;
        let mut old = Client::back(one, memory).await;
        let mut new = Client::back(two, old.memory()).await;
        assert!(new.recovered && new.sid == old.sid);
        is_thrown_out(&mut old).await;
        // And back again, where it was thrown out.
        let back = Client::back(one, new.memory()).await;
        assert!(back.recovered && back.sid == old.sid);
        is_thrown_out(&mut new).await;
        until("one is left", || (here.connections(), there.connections()) == (1, 0)).await;
    }
}

#[tokio::test]
async fn the_old_connection_on_another_node_ends_also_if_its_session_could_not_be_resumed() {
    let ([here, there], [one, two], _) = two_nodes().await;
    let mut old = Client::back(one, full()).await;
    // In the other protocol.
    let new = Client::back(two, Memory { rooms: None, ..old.memory() }).await;
    assert!(!new.recovered && new.sid != old.sid);
    is_thrown_out(&mut old).await;
    until("one is left", || (here.connections(), there.connections()) == (0, 1)).await;
}

#[tokio::test]
async fn a_connection_on_another_node_that_takes_nothing_more_ends_too() {
    let ([here, _there], [one, two], chat) = two_nodes().await;
    let old = Client::back(one, full()).await;
    for number in 0..300 {
        let author = Author { id: UserId::new("bob").unwrap(), name: DisplayName::new("Bob").unwrap() };
        let key = MessageKey::new(&number.to_string()).unwrap();
        let draft = Draft {
            kind: Kind::Message,
            author,
            key,
            body: Body::text(format!("\"{}\"", "x".repeat(60_000))),
        };
        chat.post(&RoomId::new("general").unwrap(), draft).await.unwrap();
    }
    // More than the kernel takes: the old connection reads nothing.
    let new = Client::back(two, old.memory()).await;
    assert!(new.recovered);
    until("it is closed", || here.connections() == 0).await;
}

#[tokio::test]
async fn a_pid_that_is_not_accepted_closes_nobody_on_any_node() {
    let (_servers, [one, two], _) = two_nodes().await;
    let secret = "the secret of the one who is there";
    let mut victim = {
        let mut ws = Ws::open(one, WEBSOCKET).await;
        ws.packet().await;
        ws.send(&format!(r#"40{{"guest":"{secret}","rooms":{{"general":0}}}}"#)).await;
        let answer: Value = serde_json::from_str(&ws.packet().await[2..]).unwrap();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Client { ws, sid: text("sid"), pid: text("pid"), offset: None, rooms: full().rooms, recovered: false }
    };
    let mut forged = victim.pid.clone().into_bytes();
    forged[30] = if forged[30] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let auths = [
        json!({ "pid": forged, "guest": secret, "rooms": { "general": 0 } }),
        json!({ "pid": victim.pid, "guest": "the secret of somebody else", "rooms": { "general": 0 } }),
        json!({ "pid": victim.pid, "rooms": { "general": 0 } }),
        json!({ "pid": victim.pid, "guest": secret, "rooms": { "general": 0, "dm:nobody's": 0 } }),
    ];
    for (auth, is_let_in) in auths.iter().zip([true, true, true, false]) {
        let mut thief = Ws::open(two, WEBSOCKET).await;
        thief.packet().await;
        thief.send(&format!("40{auth}")).await;
        let answer = thief.packet().await;
        assert_eq!(answer.starts_with("40"), is_let_in, "{auth}: {answer}");
        assert!(!answer.contains(&victim.sid), "{auth}: {answer}");
    }
    // Whatever they had set off is heard before what comes after it.
    let new = Client::back(two, full()).await;
    let newer = Client::back(two, new.memory()).await;
    assert!(newer.recovered);
    is_in(&mut victim).await;
}
