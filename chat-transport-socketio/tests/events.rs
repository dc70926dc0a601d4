//! The event API over real sockets: checks before handlers, listeners, typed events, questions to many, operations on many sockets,
//! and namespaces that are made when they are asked for.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use chat_transport_socketio::{
    Args, AskError, Auth, Event, Failure, Namespace, Recovery, Refusal, Socket, SocketId, SocketIo,
    SocketIoBuilder,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::{Ws, calm, connected, soon, until};

async fn serving(builder: SocketIoBuilder) -> (SocketIo, SocketAddr) {
    let io = builder.settings(calm()).build();
    let address = start(&io).await;
    (io, address)
}

async fn start(io: &SocketIo) -> SocketAddr {
    support::start(Router::new().nest_service("/socket.io", io.router())).await
}

async fn one(namespace: Namespace) -> (SocketIo, SocketAddr) {
    serving(SocketIo::builder().namespace("/", namespace)).await
}

async fn opened(address: SocketAddr) -> Ws {
    let mut ws = Ws::open(address, "/socket.io/?EIO=4&transport=websocket").await;
    ws.text().await;
    ws
}

/// The JSON that a packet ends in.
fn json_of(packet: &str) -> serde_json::Value {
    serde_json::from_str(packet.trim_start_matches(|c: char| c.is_ascii_digit())).unwrap()
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn read(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Notes its name and refuses clients that say so.
fn gate(
    diary: Diary,
    name: &'static str,
) -> impl Fn(Socket, Auth) -> std::future::Ready<Result<(), Refusal>> {
    move |_, auth: Auth| {
        diary.note(name);
        let refused = auth.parse::<serde_json::Value>().unwrap()["refused_by"] == name;
        std::future::ready(if refused { Err(Refusal::permanent(format!("{name} says no"))) } else { Ok(()) })
    }
}

#[tokio::test]
async fn checks_before_connect_are_asked_in_order_and_the_first_refusal_counts() {
    let diary = Diary::default();
    let namespace = Namespace::new()
        .before_connect(gate(diary.clone(), "first"))
        .before_connect(gate(diary.clone(), "second"))
        .on_connect({
            let diary = diary.clone();
            move |_, _| {
                diary.note("handler");
                std::future::ready(Ok::<_, Refusal>(()))
            }
        });
    let (io, address) = one(namespace).await;
    for (by, answer, asked) in [
        ("first", r#"44{"message":"first says no"}"#, &["first"][..]),
        ("second", r#"44{"message":"second says no"}"#, &["first", "second"]),
        ("nobody", "40{", &["first", "second", "handler"]),
    ] {
        let mut ws = opened(address).await;
        ws.send(&format!(r#"40{{"refused_by":"{by}"}}"#)).await;
        let text = ws.text().await;
        assert!(text.starts_with(answer), "{text}");
        assert_eq!(diary.read(), asked);
    }
    until("those that are refused are not in it", || io.namespace("/").unwrap().sockets().len() <= 1).await;
}

#[tokio::test]
async fn a_check_before_connect_needs_no_connect_handler_and_keeps_what_it_found_with_the_socket() {
    struct User(String);
    let namespace = Namespace::new()
        .before_connect(|socket: Socket, auth: Auth| async move {
            let name = auth.parse::<serde_json::Value>().unwrap()["name"].to_string();
            tokio::task::yield_now().await;
            socket.set(User(name));
            socket.emit("hello", &1).unwrap();
            Ok(())
        })
        .on_typed(
            "who am I",
            |socket: Socket, (): ()| async move { Ok(socket.get::<User>().unwrap().0.clone()) },
        );
    let (_io, address) = one(namespace).await;
    let mut ws = opened(address).await;
    ws.send(r#"40{"name":"ada"}"#).await;
    assert!(ws.text().await.starts_with("40{"));
    assert_eq!(ws.text().await, r#"42["hello",1]"#, "what a check sends goes out when the client is in");
    ws.send(r#"420["who am I"]"#).await;
    assert_eq!(ws.text().await, r#"430["\"ada\""]"#);
}

#[tokio::test]
async fn an_event_is_handled_only_if_every_check_passes_it_on() {
    let diary = Diary::default();
    let namespace = Namespace::new()
        .before_event({
            let diary = diary.clone();
            move |_, event: Event| {
                let diary = diary.clone();
                async move {
                    assert!(event.ack.is_none(), "the ack is set aside");
                    diary.note(format!("first {}", event.name()));
                    tokio::task::yield_now().await;
                    match event.name() {
                        "refused" => Err(Failure::new("no", "not you").data(json!({ "by": "first" }))),
                        "dropped" => Err(Failure::unanswered()),
                        _ => Ok(event),
                    }
                }
            }
        })
        .before_event({
            let diary = diary.clone();
            move |_, event: Event| {
                diary.note(format!("second {}", event.name()));
                let busy = event.name() == "busy";
                std::future::ready(if busy {
                    Err(Failure::new("busy", "later").retryable())
                } else {
                    Ok(event)
                })
            }
        })
        .on_any({
            let diary = diary.clone();
            move |_, mut event: Event| {
                diary.note(format!("handler {}", event.name()));
                if let Some(ack) = event.ack.take() {
                    ack.send_args(&Args::from(&event)).unwrap();
                }
                std::future::ready(())
            }
        });
    let (_io, address) = one(namespace).await;
    let mut ws = connected(address).await;
    ws.send(r#"421["refused",1]"#).await;
    let error = json!({ "code": "no", "message": "not you", "retryable": false, "data": { "by": "first" } });
    assert_eq!(json_of(&ws.text().await), json!([{ "ok": false, "error": error }]));
    assert_eq!(diary.read(), ["first refused"]);
    ws.send(r#"42["refused",1]"#).await;
    ws.send(r#"422["dropped",1]"#).await;
    ws.send(r#"423["busy"]"#).await;
    let error = json!({ "code": "busy", "message": "later", "retryable": true });
    let answer = ws.text().await;
    assert!(answer.starts_with("433["), "neither of the two before was answered: {answer}");
    assert_eq!(json_of(&answer), json!([{ "ok": false, "error": error }]));
    ws.send(r#"424["fine",1,{"2":3}]"#).await;
    assert_eq!(ws.text().await, r#"434[1,{"2":3}]"#);
    let seen = [
        "first refused",
        "first dropped",
        "first busy",
        "second busy",
        "first fine",
        "second fine",
        "handler fine",
    ];
    assert_eq!(diary.read(), seen);
}

#[tokio::test]
async fn a_listener_hears_every_event_that_comes_also_those_that_nobody_handles() {
    let diary = Diary::default();
    let namespace = Namespace::new()
        .on_incoming({
            let diary = diary.clone();
            move |socket: &Socket, event: &Event| {
                assert!(socket.is_connected());
                diary.note(format!("{} {:?}", event.name(), event.arg(0)));
            }
        })
        .before_event(|_, event: Event| async move {
            if event.name() == "refused" { Err(Failure::unanswered()) } else { Ok(event) }
        })
        .on_typed("last", |_, (): ()| async { Ok("done") });
    let (_io, address) = one(namespace).await;
    let mut ws = connected(address).await;
    for packet in [r#"42["nobody's",1]"#, r#"42["refused"]"#, r#"420["last"]"#] {
        ws.send(packet).await;
    }
    assert_eq!(ws.text().await, r#"430["done"]"#);
    assert_eq!(diary.read(), ["nobody's Some(\"1\")", "refused None", "last None"]);
}

#[tokio::test]
async fn a_listener_hears_every_event_that_is_sent_once_for_each_client() {
    let diary = Diary::default();
    let namespace = Namespace::new()
        .on_outgoing({
            let diary = diary.clone();
            move |to, frame| diary.note(format!("{to} {}", frame.event_json().unwrap()))
        })
        .on_typed("send", |socket: Socket, (): ()| async move {
            socket.emit("own", &1).unwrap();
            socket.emit_volatile("maybe", &2).unwrap();
            socket.broadcast().emit("others", &3).unwrap();
            let answer = socket.ask("and you", &Args::one(&4).unwrap(), support::PATIENCE).await.unwrap();
            Ok(answer.parse::<u8>(0).unwrap())
        });
    let (io, address) = one(namespace).await;
    let mut ada = connected(address).await;
    let all = io.namespace("/").unwrap();
    until("Ada is in", || all.sockets().len() == 1).await;
    let adas = all.sockets()[0].id();
    let mut bob = connected(address).await;
    until("Bob is in", || all.sockets().len() == 2).await;
    let bobs = all.sockets().into_iter().map(|socket| socket.id()).find(|id| *id != adas).unwrap();
    ada.send(r#"429["send"]"#).await;
    while !ada.text().await.starts_with("420") {}
    ada.send("430[5]").await;
    assert_eq!(ada.text().await, "439[5]");
    assert_eq!(bob.text().await, r#"42["others",3]"#);
    let sent = [
        format!(r#"{adas} ["own",1]"#),
        format!(r#"{adas} ["maybe",2]"#),
        format!(r#"{bobs} ["others",3]"#),
        format!(r#"{adas} ["and you",4]"#),
    ];
    assert_eq!(diary.read(), sent);
}

#[derive(Deserialize)]
struct Order {
    cups: u32,
    #[serde(default)]
    milk: bool,
}

#[derive(Serialize)]
struct Bill {
    cents: u32,
}

fn tea_house() -> Namespace {
    Namespace::new()
        .on_typed("order", |_: Socket, order: Order| async move {
            tokio::task::yield_now().await;
            match order.cups {
                0 => Err(Failure::new("nothing", "no cups, no tea")),
                13 => Err(Failure::unanswered()),
                cups => Ok(Bill { cents: cups * if order.milk { 300 } else { 250 } }),
            }
        })
        .on_typed("nothing", |_, (): ()| async { Ok(()) })
        .on_typed("unwritable", |_, (): ()| async { Ok(std::collections::HashMap::from([((1, 2), 3)])) })
}

#[tokio::test]
async fn a_typed_handler_is_given_its_argument_and_what_it_returns_is_the_answer() {
    let (_io, address) = one(tea_house()).await;
    let mut ws = connected(address).await;
    for (packet, answer) in [
        (r#"420["order",{"cups":2}]"#, r#"430[{"cents":500}]"#),
        (r#"421["order",{"cups":2,"milk":true},"ignored"]"#, r#"431[{"cents":600}]"#),
        (r#"422["nothing"]"#, "432[null]"),
    ] {
        ws.send(packet).await;
        assert_eq!(ws.text().await, answer);
    }
    ws.send(r#"423["order",{"cups":0}]"#).await;
    let error = json!({ "code": "nothing", "message": "no cups, no tea", "retryable": false });
    assert_eq!(json_of(&ws.text().await), json!([{ "ok": false, "error": error }]));
}

#[tokio::test]
async fn an_argument_of_another_form_is_answered_with_what_is_wrong_and_hurts_nobody() {
    let (_io, address) = one(tea_house()).await;
    let mut ws = connected(address).await;
    for (number, (args, wrong)) in [
        (r#",{"cups":"two"}"#, "invalid type: string \"two\", expected u32"),
        (",{}", "missing field `cups`"),
        (",7", "invalid type: integer `7`"),
        ("", "invalid type: null"),
    ]
    .into_iter()
    .enumerate()
    {
        // Without an ack there is nobody to tell.
        ws.send(&format!(r#"42["order"{args}]"#)).await;
        ws.send(&format!(r#"42{number}["order"{args}]"#)).await;
        let answer = ws.text().await;
        assert!(answer.starts_with(&format!("43{number}[")), "{answer}");
        let reply = &json_of(&answer)[0];
        assert_eq!((&reply["ok"], &reply["error"]["code"]), (&json!(false), &json!("bad_request")));
        assert!(reply["error"]["message"].as_str().unwrap().contains(wrong), "{reply}");
    }
    ws.send(r#"428["unwritable"]"#).await;
    assert_eq!(json_of(&ws.text().await)[0]["error"]["code"], "internal");
    // Unanswered, so that the next one that is answered is the next one.
    ws.send(r#"428["order",{"cups":13}]"#).await;
    ws.send(r#"429["order",{"cups":1}]"#).await;
    assert_eq!(ws.text().await, r#"439[{"cents":250}]"#);
}

/// A client in the namespace `/`, and its id.
async fn identified(address: SocketAddr) -> (Ws, SocketId) {
    let mut ws = opened(address).await;
    ws.send("40").await;
    let answer = ws.text().await;
    let id = json_of(&answer)["sid"].as_str().and_then(SocketId::parse).unwrap();
    (ws, id)
}

/// The ack id of a question.
fn ack_id(question: &str) -> &str {
    let rest = question.strip_prefix("42").unwrap();
    &rest[..rest.find('[').unwrap()]
}

#[tokio::test]
async fn a_question_to_many_brings_in_every_answer_and_says_who_gave_none() {
    let (io, address) = one(Namespace::new()).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(identified(address).await);
    }
    let all = io.namespace("/").unwrap();
    until("all are in", || all.sockets().len() == 4).await;
    let asking = tokio::spawn({
        let some = all.clone().except(clients[3].1.to_string());
        async move { some.ask("ready?", &Args::one(&1).unwrap(), support::PATIENCE).await }
    });
    let mut questions = Vec::new();
    for (ws, _) in &mut clients[..3] {
        questions.push(ws.text().await);
    }
    assert!(questions[0].ends_with(r#"["ready?",1]"#), "{}", questions[0]);
    assert!(questions.iter().all(|question| *question == questions[0]), "it is encoded once: {questions:?}");
    let id = ack_id(&questions[0]).to_owned();
    assert!(id.parse::<i32>().is_ok(), "some clients read it into 32 bits");
    clients[1].0.send(&format!("43{id}[true,2]")).await;
    // One that was not asked, an answer to nothing, and a second answer change nothing.
    clients[3].0.send(&format!("43{id}[9]")).await;
    clients[1].0.send("4377[9]").await;
    clients[1].0.send(&format!("43{id}[9]")).await;
    // The last one leaves, so that nobody is left to wait for.
    let third = clients.remove(2).1;
    let asked = {
        clients[0].0.send(&format!("43{id}[false]")).await;
        soon(asking).await.unwrap()
    };
    let mut answered: Vec<_> =
        asked.answered.iter().map(|(of, answer)| (*of, answer.arg(0).unwrap().to_owned())).collect();
    answered.sort();
    let mut expected = vec![(clients[0].1, "false".to_owned()), (clients[1].1, "true".to_owned())];
    expected.sort();
    assert_eq!(answered, expected);
    assert!(matches!(&asked.missing[..], [(of, AskError::Left)] if *of == third), "{:?}", asked.missing);
    // Nobody, and so no waiting.
    let asked = soon(io.to("empty").ask("ready?", &Args::new(), Duration::MAX)).await;
    assert!(asked.answered.is_empty() && asked.missing.is_empty());
}

#[tokio::test]
async fn a_question_to_many_ends_in_time_and_is_forgotten() {
    let (io, address) = one(Namespace::new()).await;
    let (mut quick, quicks) = identified(address).await;
    let (mut silent, silents) = identified(address).await;
    let all = io.namespace("/").unwrap();
    until("both are in", || all.sockets().len() == 2).await;
    // More often than answers of one client may be awaited.
    for round in 0..1100 {
        let asked = all.ask("ready?", &Args::one(&round).unwrap(), Duration::ZERO).await;
        assert_eq!(asked.answered.len() + asked.missing.len(), 2);
        for (_, why) in &asked.missing {
            assert!(matches!(why, AskError::TimedOut), "{why:?}");
        }
        for ws in [&mut quick, &mut silent] {
            assert!(ws.text().await.ends_with(&format!("[\"ready?\",{round}]")));
        }
    }
    let asking = tokio::spawn(async move { all.ask("now?", &Args::new(), Duration::from_secs(2)).await });
    let id = ack_id(&quick.text().await).to_owned();
    quick.send(&format!("43{id}[]")).await;
    let asked = soon(asking).await.unwrap();
    assert_eq!(asked.answered.iter().map(|(of, _)| *of).collect::<Vec<_>>(), [quicks]);
    assert!(
        matches!(&asked.missing[..], [(of, AskError::TimedOut)] if *of == silents),
        "{:?}",
        asked.missing
    );
}

#[tokio::test]
async fn answers_to_many_take_no_more_memory_than_allowed() {
    let (io, address) = one(Namespace::new()).await;
    let (mut small, smalls) = identified(address).await;
    let (mut large, larges) = identified(address).await;
    let all = io.namespace("/").unwrap().answers_bytes_max(10_000);
    until("both are in", || all.sockets().len() == 2).await;
    let asking = tokio::spawn(async move { all.ask("?", &Args::new(), support::PATIENCE).await });
    let id = ack_id(&large.text().await).to_owned();
    large.send(&format!("43{id}[\"{}\"]", "x".repeat(10_000))).await;
    small.send(&format!("43{id}[1]")).await;
    let asked = soon(asking).await.unwrap();
    assert_eq!(asked.answered.iter().map(|(of, _)| *of).collect::<Vec<_>>(), [smalls]);
    assert!(matches!(&asked.missing[..], [(of, AskError::TooLarge)] if *of == larges), "{:?}", asked.missing);
}

/// Rooms, for clients that are recovered.
fn rooms() -> Namespace {
    Namespace::new()
        .on_typed("join", |socket: Socket, room: String| async move {
            socket.join(&room);
            Ok(())
        })
        .on_typed("rooms", |socket: Socket, (): ()| async move {
            let mut rooms: Vec<String> = socket.rooms_joined().iter().map(|room| room.to_string()).collect();
            rooms.sort();
            Ok(rooms)
        })
}

async fn ask(ws: &mut Ws, event: &str) -> String {
    ws.send(&format!("4299{event}")).await;
    loop {
        let text = ws.text().await;
        if let Some(answer) = text.strip_prefix("4399") {
            return answer.to_owned();
        }
    }
}

#[tokio::test]
async fn many_sockets_are_counted_and_moved_between_rooms() {
    let (io, address) = one(rooms()).await;
    let all = io.namespace("/").unwrap();
    let mut clients = Vec::new();
    for room in ["a", "a", "b"] {
        let (mut ws, id) = identified(address).await;
        ask(&mut ws, &format!(r#"["join","{room}"]"#)).await;
        clients.push((ws, id));
    }
    let named = |rooms: Vec<Arc<str>>| {
        let mut rooms: Vec<String> = rooms.iter().map(|room| room.to_string()).collect();
        rooms.sort();
        rooms
    };
    assert_eq!((all.count(), io.to("a").count(), io.to("b").count(), io.to("c").count()), (3, 2, 1, 0));
    assert_eq!(named(all.rooms()), ["a", "b"]);
    assert_eq!(io.to("b").members(), [clients[2].1]);

    io.to("a").join("c");
    io.to(clients[2].1.to_string()).join("c");
    io.to("c").except("b").leave("a");
    assert_eq!((io.to("a").count(), io.to("c").count()), (0, 3));
    assert_eq!(named(io.to("b").rooms()), ["b", "c"]);
    assert_eq!(named(all.rooms()), ["b", "c"], "an empty room is none");
    let (ws, _) = &mut clients[0];
    assert_eq!(ask(ws, r#"["rooms"]"#).await, r#"[["c"]]"#);
    // Nobody, and no room that is left behind.
    io.to("empty").join("d");
    assert_eq!(named(all.rooms()), ["b", "c"]);
}

#[tokio::test]
async fn a_room_that_is_disconnected_is_empty_at_once_and_the_others_stay() {
    let diary = Diary::default();
    let namespace = rooms().on_disconnect({
        let diary = diary.clone();
        move |_, reason| {
            diary.note(format!("{reason:?}"));
            std::future::ready(())
        }
    });
    let (io, address) = one(namespace).await;
    let mut clients = Vec::new();
    for room in ["game", "game", "other"] {
        let (mut ws, _) = identified(address).await;
        ask(&mut ws, &format!(r#"["join","{room}"]"#)).await;
        clients.push(ws);
    }
    io.to("game").emit("over", &1).unwrap();
    io.to("game").disconnect();
    assert_eq!((io.to("game").members().len(), io.namespace("/").unwrap().members().len()), (0, 1));
    for ws in &mut clients[..2] {
        assert_eq!(ws.text().await, r#"42["over",1]"#, "what was sent before is still due");
        assert_eq!(ws.text().await, "41");
        // The connection stays, and the client may come again.
        ws.send("40").await;
        assert!(ws.text().await.starts_with("40{"));
    }
    assert_eq!(ask(&mut clients[2], r#"["rooms"]"#).await, r#"[["other"]]"#);
    until("the handler is told", || diary.0.lock().unwrap().len() == 2).await;
    assert_eq!(diary.read(), ["Server", "Server"]);
}

#[tokio::test]
async fn sessions_whose_clients_are_away_are_members_and_moved_and_ended_with_the_others() {
    let builder = SocketIo::builder().recovery(Recovery::in_memory()).namespace("/", rooms());
    let (io, address) = serving(builder).await;
    let mut away = Vec::new();
    for room in ["stays", "goes"] {
        let mut ws = opened(address).await;
        ws.send("40").await;
        let connected = json_of(&ws.text().await);
        ask(&mut ws, &format!(r#"["join","{room}"]"#)).await;
        away.push(connected);
        drop(ws);
    }
    let all = io.namespace("/").unwrap();
    until("both are away", || all.count() == 0).await;
    assert_eq!(all.members().len(), 2);
    let asked = all.ask("?", &Args::new(), support::PATIENCE).await;
    assert!(
        asked.missing.iter().all(|(_, why)| matches!(why, AskError::Emit(_))) && asked.missing.len() == 2
    );
    io.to("stays").join("more");
    io.to("goes").disconnect();
    assert_eq!(io.to("goes").members(), []);
    assert_eq!(all.members().len(), 1);
    for (connected, rooms, same) in [(&away[0], r#"[["more","stays"]]"#, true), (&away[1], "[[]]", false)] {
        let mut ws = opened(address).await;
        ws.send(&format!("40{}", json!({ "pid": connected["pid"] }))).await;
        assert_eq!(json_of(&ws.text().await)["sid"] == connected["sid"], same);
        assert_eq!(ask(&mut ws, r#"["rooms"]"#).await, rooms);
    }
}

#[tokio::test]
async fn a_client_on_its_way_back_to_a_session_that_is_ended_meanwhile_gets_a_new_one() {
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let go = Arc::new(tokio::sync::Notify::new());
    let namespace = rooms().on_connect({
        let go = go.clone();
        move |socket: Socket, _| {
            let (arrived, go) = (arrived.clone(), go.clone());
            async move {
                arrived.send(socket.recovered()).unwrap();
                if socket.recovered() {
                    go.notified().await;
                }
                Ok::<_, Refusal>(())
            }
        }
    });
    let builder = SocketIo::builder().recovery(Recovery::in_memory()).namespace("/", namespace);
    let (io, address) = serving(builder).await;
    let mut ws = opened(address).await;
    ws.send("40").await;
    let connected = json_of(&ws.text().await);
    ask(&mut ws, r#"["join","game"]"#).await;
    drop(ws);
    until("it is away", || io.to("game").count() == 0).await;
    let mut ws = opened(address).await;
    ws.send(&format!("40{}", json!({ "pid": connected["pid"] }))).await;
    for recovered in [false, true] {
        assert_eq!(soon(arrivals.recv()).await, Some(recovered));
    }
    io.to("game").disconnect();
    go.notify_one();
    assert_ne!(json_of(&ws.text().await)["sid"], connected["sid"]);
    assert_eq!(soon(arrivals.recv()).await, Some(false), "the handler is asked again, about a new socket");
    assert_eq!(ask(&mut ws, r#"["rooms"]"#).await, "[[]]");
}

#[tokio::test]
async fn what_is_kept_with_a_connection_goes_with_it_and_what_is_kept_with_the_session_stays() {
    struct Draft(String);
    let namespace = Namespace::new()
        .on_typed("write", |socket: Socket, text: String| async move {
            socket.set_data(&text).map_err(|_| Failure::new("internal", "no text"))?;
            socket.set(Draft(text));
            Ok(())
        })
        .on_typed("read", |socket: Socket, (): ()| async move {
            Ok((socket.data::<String>(), socket.get::<Draft>().map(|draft| draft.0.clone())))
        });
    let (io, address) =
        serving(SocketIo::builder().recovery(Recovery::in_memory()).namespace("/", namespace)).await;
    let mut ws = opened(address).await;
    ws.send("40").await;
    let pid = json_of(&ws.text().await)["pid"].clone();
    ask(&mut ws, r#"["write","tea"]"#).await;
    assert_eq!(ask(&mut ws, r#"["read"]"#).await, r#"[["tea","tea"]]"#);
    drop(ws);
    until("it is cut", || io.namespace("/").unwrap().count() == 0).await;
    let mut ws = opened(address).await;
    ws.send(&format!("40{}", json!({ "pid": pid }))).await;
    ws.text().await;
    assert_eq!(ask(&mut ws, r#"["read"]"#).await, r#"[["tea",null]]"#);
}

/// Namespaces `/game-0` to `/game-999`, each with its name and rooms.
fn game(name: &str) -> Option<Namespace> {
    let number: u32 = name.strip_prefix("/game-")?.parse().ok().filter(|number| *number < 1000)?;
    Some(rooms().on_typed("number", move |_, (): ()| async move { Ok(number) }))
}

#[tokio::test]
async fn a_namespace_is_made_when_it_is_asked_for_and_dropped_when_nobody_is_in_it() {
    let builder = SocketIo::builder().namespace("/", Namespace::new()).dynamic_namespaces(game);
    let (io, address) = serving(builder).await;
    assert!(io.namespace("/game-7").is_none());
    let (mut ada, mut bob) = (opened(address).await, opened(address).await);
    for ws in [&mut ada, &mut bob] {
        ws.send("40/game-7,").await;
        assert!(ws.text().await.starts_with("40/game-7,{"));
    }
    ada.send(r#"42/game-7,0["number"]"#).await;
    assert_eq!(ada.text().await, "43/game-7,0[7]");
    io.namespace("/game-7").unwrap().emit("both", &1).unwrap();
    for ws in [&mut ada, &mut bob] {
        assert_eq!(ws.text().await, r#"42/game-7,["both",1]"#, "they are in the same one");
    }
    bob.send("40/game-8,").await;
    bob.text().await;
    let mut names: Vec<_> = io.namespaces().iter().map(|name| name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["/", "/game-7", "/game-8"]);

    ada.send("41/game-7,").await;
    bob.send("41/game-8,").await;
    until("only the empty one is gone", || io.namespace("/game-8").is_none()).await;
    until("Ada has left", || io.namespace("/game-7").unwrap().count() == 1).await;
    drop(bob);
    until("the other one is gone as well", || io.namespace("/game-7").is_none()).await;
    assert_eq!(io.namespaces().len(), 1);
    // It can be made again.
    ada.send("40/game-7,").await;
    assert!(ada.text().await.starts_with("40/game-7,{"));
}

#[tokio::test]
async fn a_name_that_fits_no_pattern_is_invalid_and_leaves_nothing_behind() {
    let (io, address) = serving(SocketIo::builder().dynamic_namespaces(game)).await;
    let mut ws = opened(address).await;
    for name in ["/", "/game-", "/game-1000", "/other"] {
        let prefix = if name == "/" { "44".to_owned() } else { format!("44{name},") };
        ws.send(&format!("40{name},")).await;
        assert_eq!(ws.text().await, format!(r#"{prefix}{{"message":"Invalid namespace"}}"#));
    }
    assert!(io.namespaces().is_empty());
}

#[tokio::test]
async fn naming_a_thousand_namespaces_makes_only_as_many_as_may_be() {
    let builder = SocketIo::builder()
        .connect_timeout(Duration::from_secs(1))
        .connects_max(1000)
        .namespaces_max(1000)
        .dynamic_namespaces(game)
        .dynamic_namespaces_max(3);
    let (io, address) = serving(builder).await;
    let mut others = opened(address).await;
    others.send("40/game-0,").await;
    others.text().await;
    let mut ws = opened(address).await;
    for number in 0..1000 {
        ws.send(&format!("40/game-{number},")).await;
    }
    for number in 0..3 {
        assert!(ws.text().await.starts_with(&format!("40/game-{number},")));
    }
    ws.closed().await;
    until("what was made for it is gone", || io.namespaces().len() == 1).await;
    // Who is refused for now is refused for now alone.
    let mut ws = opened(address).await;
    ws.send("40/game-999,").await;
    assert!(ws.text().await.starts_with("40/game-999,{"));
    drop(others);
}

#[tokio::test]
async fn one_that_is_refused_by_a_namespace_that_was_made_for_it_leaves_none() {
    let pattern = |_: &str| {
        Some(Namespace::new().before_connect(|_, _| std::future::ready(Err(Refusal::permanent("not you")))))
    };
    let (io, address) = serving(SocketIo::builder().dynamic_namespaces(pattern)).await;
    let mut ws = opened(address).await;
    ws.send("40/x,").await;
    assert_eq!(ws.text().await, r#"44/x,{"message":"not you"}"#);
    until("it is gone", || io.namespaces().is_empty()).await;
}

#[tokio::test]
async fn a_session_whose_client_is_away_keeps_the_namespace_that_it_is_in_until_it_is_over() {
    let recovery = Recovery::in_memory().disconnection_max(Duration::from_secs(2));
    let (io, address) = serving(SocketIo::builder().recovery(recovery).dynamic_namespaces(game)).await;
    let mut ws = opened(address).await;
    ws.send("40/game-1,").await;
    let connected: serde_json::Value = serde_json::from_str(&ws.text().await["40/game-1,".len()..]).unwrap();
    ws.send(r#"42/game-1,0["join","a"]"#).await;
    ws.text().await;
    drop(ws);
    until("it is away", || io.namespace("/game-1").unwrap().count() == 0).await;
    let mut ws = opened(address).await;
    ws.send(&format!("40/game-1,{}", json!({ "pid": connected["pid"] }))).await;
    assert!(ws.text().await.contains(connected["sid"].as_str().unwrap()), "it is the same session");
    ws.send(r#"42/game-1,0["rooms"]"#).await;
    assert_eq!(ws.text().await, r#"43/game-1,0[["a"]]"#);
    drop(ws);
    until("it is given up", || io.namespaces().is_empty()).await;
}
