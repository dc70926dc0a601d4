//! What a peer can send that it should not, row by row. Each is answered as the protocol says, or its connection is closed; and whatever it
//! is, a client that behaves is served all the while.
//!
//! What the peer of a WebSocket is told when it is closed is in `engine_close.rs`, what single packets are refused for in the tests of their
//! decoders.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use chat_transport_socketio::engine::Settings;
use chat_transport_socketio::{Args, Event, Namespace, Server, Socket, SocketIo};
use futures_util::future::join_all;
use support::{Got, Polling, Response, Ws, frame, request, resident, soon, until, websocket_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATH: &str = "/socket.io/";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const NO_SID: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const PAYLOAD_MAX: usize = 250_000;
/// What bad input may make this process hold, its sender's side included, in bytes.
const HELD_MAX: usize = 24 * 1024 * 1024;

/// A server with short deadlines that echoes, and a client of it that behaves.
struct Ground {
    io: SocketIo,
    address: SocketAddr,
    /// How often a handler was asked to do something, but for the client that behaves.
    handled: Arc<AtomicUsize>,
    rounds: Arc<AtomicU64>,
    witness: tokio::task::JoinHandle<()>,
}

impl Ground {
    async fn new() -> Self {
        // Short, but not so short that a client cannot do on a busy machine what it is to do by then.
        let short = Duration::from_secs(1);
        let settings = Settings::default()
            .max_payload(PAYLOAD_MAX)
            .ping_interval(short / 4)
            .ping_timeout(2 * short)
            .upgrade_timeout(short)
            .body_timeout(short)
            .close_timeout(short / 4);
        let handled = Arc::new(AtomicUsize::new(0));
        let count = handled.clone();
        let namespace = Namespace::new()
            .on("round", |_, mut event: Event| async move {
                event.ack.take().unwrap().send_args(&Args::from(&event)).unwrap();
            })
            .on_any(move |socket: Socket, event: Event| {
                count.fetch_add(1, Ordering::SeqCst);
                async move {
                    let _ = socket.emit_args("back", &Args::from(&event));
                }
            });
        let mut builder = SocketIo::builder()
            .settings(settings)
            .packet_bytes_max(PAYLOAD_MAX)
            .connect_timeout(short)
            .namespace("/", namespace);
        for number in 0..1_000 {
            builder = builder.namespace(format!("/{number}"), Namespace::new());
        }
        let io = builder.build();
        let app = Router::new().nest_service("/socket.io", io.router());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Server::new().head_timeout(short).write_timeout(short).run(
            listener,
            app,
            std::future::pending(),
        ));
        let rounds = Arc::new(AtomicU64::new(0));
        let witness = tokio::spawn(go_round(joined(address).await, rounds.clone()));
        Self { io, address, handled, rounds, witness }
    }

    /// The client that behaves was served, and is.
    async fn is_unharmed(&self, by: &str) {
        let seen = self.rounds.load(Ordering::SeqCst);
        until(by, || self.witness.is_finished() || seen + 2 <= self.rounds.load(Ordering::SeqCst)).await;
        assert!(!self.witness.is_finished(), "a client that behaves was harmed by {by}");
    }

    /// Nobody else is left.
    async fn is_empty_but_for_the_witness(&self) {
        until("the others are gone", || self.io.connections() == 1).await;
        self.is_unharmed("all of it").await;
    }

    async fn connect(&self, begin: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(begin).await.unwrap();
        stream
    }
}

/// Asks for one thing after another, and is answered in that order.
async fn go_round(mut ws: Ws, rounds: Arc<AtomicU64>) {
    for number in 0_u64.. {
        ws.send(&format!(r#"42{number}["round",{number}]"#)).await;
        assert_eq!(ws.packet().await, format!("43{number}[{number}]"));
        rounds.store(number, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}

/// A WebSocket past the handshake.
async fn opened(address: SocketAddr) -> Ws {
    let mut ws = Ws::open(address, WEBSOCKET).await;
    ws.text().await;
    ws
}

/// A WebSocket in the namespace `/`.
async fn joined(address: SocketAddr) -> Ws {
    let mut ws = opened(address).await;
    ws.send("40").await;
    assert!(ws.packet().await.starts_with("40{"));
    ws
}

/// A polling session in the namespace `/`.
async fn joined_by_polling(address: SocketAddr) -> Polling {
    let session = Polling::open(address, PATH).await;
    assert_eq!(session.post("40").await.status, 200);
    assert!(session.get().await.body.contains("40{"));
    session
}

/// Reads until the server has closed the connection, politely or not, and answers what came.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut seen = Vec::new();
    let _ = soon(stream.read_to_end(&mut seen)).await;
    seen
}

#[tokio::test]
async fn a_request_that_is_none_of_the_protocol_is_refused_with_its_code() {
    let ground = Ground::new().await;
    let session = joined_by_polling(ground.address).await;
    let known = session.target();
    let unknown = format!("{POLLING}&sid={NO_SID}");
    let websocket =
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade = format!("Connection: Upgrade\r\n{websocket}");
    let old_version = upgrade.replace(": 13", ": 12");
    let no_key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    for (method, target, headers, status, code) in [
        ("GET", "/socket.io/?transport=polling", "", 400, 5),
        ("GET", "/socket.io/?EIO=3&transport=polling", "", 400, 5),
        ("GET", "/socket.io/?EIO=abc&transport=polling", "", 400, 5),
        ("GET", "/socket.io/?EIO=4%00&transport=polling", "", 400, 5),
        ("GET", "/socket.io/?transport=websocket", &upgrade, 400, 5),
        ("GET", "/socket.io/?EIO=abc&transport=websocket", &upgrade, 400, 5),
        ("GET", "/socket.io/?EIO=4", "", 400, 0),
        ("GET", "/socket.io/?EIO=4&transport=", "", 400, 0),
        ("GET", "/socket.io/?EIO=4&transport=abc", "", 400, 0),
        ("GET", "/socket.io/?EIO=4&transport=webtransport", "", 400, 0),
        ("GET", "/socket.io/?EIO=4&transport=__proto__", "", 400, 0),
        ("GET", "/socket.io/?EIO=4&transport=abc", &upgrade, 400, 0),
        ("POST", POLLING, "", 400, 2),
        ("PUT", POLLING, "", 400, 2),
        ("DELETE", POLLING, "", 400, 2),
        ("BREW", POLLING, "", 400, 2),
        ("GET", &unknown, "", 400, 1),
        ("POST", &unknown, "", 400, 1),
        ("GET", &format!("{POLLING}&sid=short"), "", 400, 1),
        ("GET", &format!("{POLLING}&sid={}", "x".repeat(5_000)), "", 400, 1),
        ("GET", &format!("{POLLING}&sid=__proto__"), "", 400, 1),
        ("GET", &format!("{WEBSOCKET}&sid={NO_SID}"), &upgrade, 400, 1),
        ("PUT", &known, "", 400, 3),
        ("GET", &known.replace("EIO=4", "EIO=3"), "", 400, 3),
        ("GET", &known.replace("polling", "websocket"), "", 400, 3),
        ("GET", WEBSOCKET, "", 400, 3),
        ("GET", POLLING, &upgrade, 400, 3),
        ("GET", WEBSOCKET, &old_version, 400, 3),
        ("GET", WEBSOCKET, no_key, 400, 3),
    ] {
        let row = format!("{method} {} {headers}", &target[..target.len().min(100)]);
        let response = request(ground.address, method, target, headers, b"").await;
        assert_eq!(response.status, status, "{row}: {response:?}");
        let body: serde_json::Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(body["code"], code, "{row}");
        // A pong, which also keeps it alive.
        assert_eq!(session.post("3").await.status, 200, "{row} has not ended a session");
        ground.is_unharmed(&row).await;
    }
    // Most likely a load balancer has sent it to the wrong server: its operator is told what to do.
    let astray = request(ground.address, "GET", &unknown, "", b"").await;
    assert!(astray.body.contains("sticky sessions"), "{astray:?}");
    let elsewhere = request(ground.address, "GET", "/socket.io/x?EIO=4&transport=polling", "", b"").await;
    assert_eq!(elsewhere.status, 404);
    ground.is_empty_but_for_the_witness().await;
}

#[tokio::test]
async fn a_packet_that_is_none_of_the_protocol_ends_its_connection() {
    let ground = Ground::new().await;
    let nested = |levels: usize| "[".repeat(levels);
    let closed = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let rows: Vec<String> = [
        // Types that there are not, or not from clients.
        "4",
        "4abc",
        "4999",
        "47",
        "44{}",
        "4\u{0}",
        "42",
        "43",
        "7",
        "2",
        "2probe",
        // Payloads.
        r#"442["some","data""#,
        r#"42["some","data""#,
        "42{}",
        "42[]",
        "42[true]",
        "42[null]",
        r#"42[{"toString":1}]"#,
        r#"42[["message"]]"#,
        r#"42["message"]x"#,
        r#"42["message",]"#,
        r#"42["message",NaN]"#,
        r#"42["message","\x00"]"#,
        r#"42["\ud800"]"#,
        "42[\"message\",\"\u{0}\"]",
        "41/,{}",
        "41{}",
        "43[]",
        "431{}",
        r#"431["#,
        // CONNECTs.
        "40",
        "40[]",
        r#"40/admin,"invalid""#,
        "40/admin,[]",
        "40/admin,null",
        "40/admin,{",
        "41/admin,{}",
        // Acks.
        r#"42abc["message"]"#,
        r#"42-1["message"]"#,
        r#"421.5["message"]"#,
        r#"429007199254740992["message"]"#,
        r#"4299999999999999999999["message"]"#,
        // Namespaces.
        r#"42/other,["message"]"#,
        r#"42/["message"]"#,
        // Names.
        r#"42["connect"]"#,
        r#"42["connect_error"]"#,
        r#"42["disconnect"]"#,
        r#"42["disconnecting"]"#,
        r#"42["newListener"]"#,
        r#"42["removeListener"]"#,
        r#"42["\u0063onnect"]"#,
        // Attachments.
        "45",
        "451",
        "451-",
        "45a-",
        "45-",
        "451.23-",
        r#"450-["message"]"#,
        r#"45-1-["message"]"#,
        r#"4511-["message"]"#,
        r#"4599999999999999999999-["message"]"#,
        r#"451-["message",{"_placeholder":true,"num":1}]"#,
        r#"451-["message",{"_placeholder":true,"num":-1}]"#,
        r#"451-["message",{"_placeholder":true,"num":0.5}]"#,
        r#"451-["message",{"_placeholder":true,"num":"0"}]"#,
        r#"451-["message",{"_placeholder":true,"num":[0]}]"#,
        r#"451-["message",{"_placeholder":true,"num":18446744073709551616}]"#,
        r#"451-["message",{"_placeholder":true}]"#,
        r#"451-["message",{"_placeholder":1,"num":0}]"#,
        r#"461-1[{"_placeholder":true,"num":1}]"#,
        r#"461-[{"_placeholder":true,"num":0}]"#,
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        format!("42[\"message\",{}", nested(10_000)),
        format!("42[\"message\",{}]", closed(10_000)),
        format!("42[\"message\",{}", nested(200_000)),
        format!("42[\"message\",{}", r#"{"":"#.repeat(20_000)),
        format!("431{}", nested(10_000)),
        format!(r#"40/1,{{"a":{}}}"#, closed(10_000)),
        format!("451-[\"message\",{}", nested(10_000)),
        format!("42[\"message\"{}]", ",0".repeat(10_000)),
        format!("40/{},", "n".repeat(10_000)),
        format!("42{}[\"message\"]", "1".repeat(10_000)),
    ])
    .collect();
    for row in &rows {
        let name = &row[..row.len().min(60)];
        let mut ws = joined(ground.address).await;
        ws.send(row).await;
        assert_eq!(ws.next().await, Got::Closed, "{name}");

        let session = joined_by_polling(ground.address).await;
        let posted = session.post(row).await;
        assert!(matches!(posted.status, 200 | 400), "{name}: {posted:?}");
        // Whether it is over yet is seen by what a poll is told.
        let mut polled = session.get().await;
        while polled.status == 200 {
            assert!(matches!(polled.body.as_str(), "1" | "2"), "{name}: {polled:?}");
            polled = session.get().await;
        }
        assert_eq!(polled.status, 400, "{name}");
        ground.is_unharmed(name).await;
    }
    assert_eq!(ground.handled.load(Ordering::SeqCst), 0, "no handler has seen any of it");
    ground.is_empty_but_for_the_witness().await;
}

/// What a client of a WebSocket sends.
enum Say {
    Text(&'static str),
    Binary(usize),
}

#[tokio::test]
async fn attachments_out_of_turn_end_their_connection() {
    use Say::{Binary, Text};
    const ONE: &str = r#"451-["message",{"_placeholder":true,"num":0}]"#;
    const TWO: &str = r#"452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    const TEN: &str = r#"4510-["message"]"#;
    let ground = Ground::new().await;
    let rows: [(&str, Vec<Say>); 8] = [
        ("one without a header", vec![Binary(1)]),
        ("an empty one without a header", vec![Binary(0)]),
        ("one behind an event that announced none", vec![Text(r#"42/1,["x"]"#), Binary(1)]),
        ("text while one is due", vec![Text(ONE), Text(r#"42["message"]"#)]),
        ("text while the second is due", vec![Text(TWO), Binary(1), Text("41")]),
        ("a header while one is due", vec![Text(ONE), Text(ONE)]),
        ("more than a packet may have", vec![Text(TWO), Binary(PAYLOAD_MAX / 2), Binary(PAYLOAD_MAX / 2)]),
        ("ten large ones", [Text(TEN)].into_iter().chain((0..10).map(|_| Binary(PAYLOAD_MAX / 3))).collect()),
    ];
    for (name, says) in rows {
        let mut ws = joined(ground.address).await;
        ws.send("40/1,").await;
        assert!(ws.packet().await.starts_with("40/1,{"));
        for say in says {
            // It may be closed before everything is sent.
            let _ = match say {
                Text(text) => ws.try_send(text.into()).await,
                Binary(bytes) => ws.try_send(vec![7; bytes].into()).await,
            };
        }
        assert_eq!(ws.next().await, Got::Closed, "{name}");
        ground.is_unharmed(name).await;
    }
    // Fewer than were announced: heartbeats go on, nothing is handled, and what had come is dropped with the connection.
    let mut ws = joined(ground.address).await;
    ws.send(TWO).await;
    ws.send_binary(&[1]).await;
    for _ in 0..3 {
        assert_eq!(ws.text().await, "2");
        ws.send("3").await;
    }
    drop(ws);
    ground.is_empty_but_for_the_witness().await;
    assert_eq!(ground.handled.load(Ordering::SeqCst), 0, "no handler has seen any of it");
}

#[tokio::test]
async fn bytes_that_are_no_frames_end_their_connection_at_any_stage() {
    let ground = Ground::new().await;
    let reserved = frame(0xf1, b"4");
    let invalid = frame(0x81, b"42[\"\xff\xfe\"]");
    let probe = frame(0x81, b"2probe");
    let five = frame(0x81, b"5");
    let connect = frame(0x81, b"40");
    let stages: [(&str, bool, Vec<u8>); 5] = [
        ("right behind the handshake", false, Vec::new()),
        ("behind CONNECT", false, connect.clone()),
        ("in place of a probe", true, Vec::new()),
        ("behind a probe", true, probe.clone()),
        ("behind the upgrade", true, [probe, five, connect].concat()),
    ];
    let garbage: [(&str, &[u8]); 7] = [
        ("reserved bits", &reserved),
        ("text that is no UTF-8", &invalid),
        ("no mask", b"\x81\x0542[1]"),
        ("a continuation of nothing", b"\x80\x80\0\0\0\0"),
        ("a length beyond all bounds", b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"),
        ("a ping that is too long", b"\x89\xfe\x00\x7e\0\0\0\0"),
        ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00"),
    ];
    for (stage, upgrades, before) in &stages {
        for (what, bytes) in garbage {
            let row = format!("{what} {stage}");
            let mut target = WEBSOCKET.to_owned();
            let mut session = None;
            if *upgrades {
                let opened = Polling::open(ground.address, PATH).await;
                target = format!("{WEBSOCKET}&sid={}", opened.sid);
                session = Some(opened);
            }
            let head = websocket_request(&target);
            let mut stream = ground.connect(&[head.as_bytes(), before, bytes].concat()).await;
            let seen = rest(&mut stream).await;
            assert!(seen.starts_with(b"HTTP/1.1 101"), "{row}");
            if let Some(session) = session.filter(|_| stage.ends_with("probe")) {
                assert_eq!(session.post("40").await.status, 200, "{row}: the session goes on by polling");
            }
            ground.is_unharmed(&row).await;
        }
    }
    for bytes in [
        &b"\x16\x03\x01\x00\xa5\x01\x00\x00"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /socket.io/?EIO=4&transport=polling&\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX\x00: y\r\n\r\n",
        b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ] {
        let mut stream = ground.connect(bytes).await;
        rest(&mut stream).await;
        ground.is_unharmed(&String::from_utf8_lossy(bytes)).await;
    }
    let session = joined_by_polling(ground.address).await;
    let posted = request(ground.address, "POST", &session.target(), "", b"42[\"message\",\"\xff\"]").await;
    assert_eq!(posted.status, 400, "a body that is no UTF-8");
    assert_eq!(session.get().await.status, 400);
    assert_eq!(ground.handled.load(Ordering::SeqCst), 0, "no handler has seen any of it");
    ground.is_empty_but_for_the_witness().await;
}

#[tokio::test]
async fn requests_of_one_session_that_get_in_each_others_way_end_only_that_session() {
    let ground = Ground::new().await;
    for _ in 0..20 {
        let session = joined_by_polling(ground.address).await;
        let polls = join_all((0..5).map(|_| session.get())).await;
        let waited = polls.iter().filter(|polled| polled.status == 200).count();
        assert_eq!(waited, 1, "{polls:?}");
        assert_eq!(session.get().await.status, 400);

        let session = joined_by_polling(ground.address).await;
        let posts = join_all((0..5).map(|_| session.post("42[\"message\"]"))).await;
        assert!(posts.iter().all(|posted| matches!(posted.status, 200 | 400)), "{posts:?}");
        ground.is_unharmed("requests at a time").await;
    }
    ground.is_empty_but_for_the_witness().await;
}

#[tokio::test]
async fn an_upgrade_that_is_reset_while_it_is_refused_harms_nobody() {
    let ground = Ground::new().await;
    for number in 0..300 {
        let target = match number % 3 {
            0 => WEBSOCKET.replace("EIO=4", "EIO=abc"),
            1 => format!("{WEBSOCKET}&sid={NO_SID}"),
            // This one is accepted, and reset all the same.
            _ => WEBSOCKET.to_owned(),
        };
        let stream = ground.connect(websocket_request(&target).as_bytes()).await;
        if number % 2 == 0 {
            // In the middle of what it is told, or before.
            tokio::task::yield_now().await;
        }
        // Closed so, it is a reset and no end.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
    }
    ground.is_empty_but_for_the_witness().await;
}

#[tokio::test]
async fn whoever_is_slow_is_closed_at_the_deadline_of_its_stage() {
    /// What is said first, and then again and again; `SID` in it is the id of a polling session.
    type Row = (&'static str, Vec<u8>, Vec<u8>);
    let ground = Ground::new().await;
    let post = |length: &str| format!("POST {POLLING}&sid=SID HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n");
    let websocket = websocket_request(WEBSOCKET);
    let upgrade = websocket_request(&format!("{WEBSOCKET}&sid=SID"));
    let with = |head: &str, frames: &[u8]| [head.as_bytes(), frames].concat();
    let connect = frame(0x81, b"40");
    let probe = frame(0x81, b"2probe");
    let never_ending = b"\x81\xff\0\0\0\0\0\x01\0\0\0\0\0\0";
    let rows: Vec<Row> = vec![
        ("says nothing", vec![], vec![]),
        ("never ends its first line", b"GET /".to_vec(), b"x".to_vec()),
        ("never ends a header", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_vec(), b"y".to_vec()),
        ("never ends its headers", b"GET / HTTP/1.1\r\n".to_vec(), b"X: y\r\n".to_vec()),
        (
            "asks for nothing after an answer",
            with(&format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n"), b""),
            vec![],
        ),
        ("sends no body", with(&post("Content-Length: 1000"), b""), vec![]),
        ("never ends its body", with(&post("Content-Length: 1000"), b"4"), b"2".to_vec()),
        ("never ends its chunks", with(&post("Transfer-Encoding: chunked"), b""), b"1\r\n6\r\n".to_vec()),
        ("never ends the size of a chunk", with(&post("Transfer-Encoding: chunked"), b""), b"0".to_vec()),
        (
            "never ends a body that nobody wants",
            with(&post("Content-Length: 1000").replace("SID", NO_SID), b""),
            b"x".to_vec(),
        ),
        ("never ends a handshake", websocket.trim_end().as_bytes().to_vec(), b"x".to_vec()),
        ("says nothing on a WebSocket", with(&websocket, b""), vec![]),
        ("pings a WebSocket and says nothing", with(&websocket, b""), frame(0x89, b"hi")),
        ("never ends its first frame", with(&websocket, never_ending), b"4".to_vec()),
        ("never ends the head of a frame", with(&websocket, b"\x81\xff\0\0\0\0"), vec![]),
        ("joins and says nothing", with(&websocket, &connect), vec![]),
        (
            "joins and never ends a frame",
            with(&websocket, &[&connect, &never_ending[..]].concat()),
            b"4".to_vec(),
        ),
        (
            "joins and never ends a message",
            with(&websocket, &[connect.clone(), frame(0x01, b"4")].concat()),
            frame(0x00, b""),
        ),
        ("joins and only says noop", with(&websocket, &connect), frame(0x81, b"6")),
        ("joins and only pings the WebSocket", with(&websocket, &connect), frame(0x89, b"hi")),
        ("only says noop", with(&websocket, b""), frame(0x81, b"6")),
        ("does not probe", with(&upgrade, b""), vec![]),
        ("never ends its probe", with(&upgrade, never_ending), b"2".to_vec()),
        ("probes and says nothing", with(&upgrade, &probe), vec![]),
        ("probes and pings the WebSocket", with(&upgrade, &probe), frame(0x89, b"hi")),
        ("upgrades and says nothing", with(&upgrade, &[probe, frame(0x81, b"5")].concat()), vec![]),
    ];
    let slow = rows.into_iter().map(|(row, begin, again)| {
        let ground = &ground;
        async move {
            let sid = Polling::open(ground.address, PATH).await.sid;
            let stream = ground.connect(&with_sid(&begin, &sid)).await;
            let (mut read, mut write) = stream.into_split();
            let drip = async {
                // Not to wait for something: this is how a slow client is slow.
                let mut pace = tokio::time::interval(Duration::from_millis(20));
                loop {
                    pace.tick().await;
                    if again.is_empty() || write.write_all(&again).await.is_err() {
                        // Keeps the connection open, which the server is to close.
                        return std::future::pending::<()>().await;
                    }
                }
            };
            let mut seen = Vec::new();
            let closed = read.read_to_end(&mut seen);
            let closed = async {
                tokio::select! {
                    _ = closed => {}
                    () = drip => {}
                }
            };
            tokio::time::timeout(support::PATIENCE, closed)
                .await
                .unwrap_or_else(|_| panic!("one that {row} stays"));
        }
    });
    join_all(slow).await;
    // Those that only opened a polling session as well.
    ground.is_empty_but_for_the_witness().await;
}

fn with_sid(bytes: &[u8], sid: &str) -> Vec<u8> {
    let Some(at) = bytes.windows(7).position(|window| window == b"sid=SID") else { return bytes.to_vec() };
    [&bytes[..at + 4], sid.as_bytes(), &bytes[at + 7..]].concat()
}

/// Sends `piece` again and again until the server has had enough, and answers how many bytes went out and how what came back begins.
async fn flood(mut stream: TcpStream, piece: &[u8], bytes_max: usize) -> (usize, Vec<u8>) {
    let mut sent = 0;
    let mut seen = Vec::new();
    let (mut read, mut write) = stream.split();
    let sending = async {
        while sent < bytes_max && write.write_all(piece).await.is_ok() {
            sent += piece.len();
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            // It must not be this side whose memory grows.
            seen.extend_from_slice(&buffer[..count.min(1024 - seen.len().min(1024))]);
        }
    };
    let flooded = async {
        tokio::select! {
            () = sending => {}
            () = reading => {}
        }
    };
    soon(flooded).await;
    (sent, seen)
}

#[tokio::test]
async fn a_flood_is_cut_off_and_leaves_nothing_behind() {
    const MEGABYTE: usize = 1024 * 1024;
    let ground = Ground::new().await;
    let before = resident();
    let held = |row: &str| {
        let held = resident().saturating_sub(before);
        assert!(held <= HELD_MAX, "{row}: {held} bytes are held");
    };

    let many: String = (0..2_000).map(|number| format!("X-{number}: y\r\n")).collect();
    assert_eq!(request(ground.address, "GET", POLLING, &many, b"").await.status, 431, "2,000 headers");

    let session = joined_by_polling(ground.address).await;
    let post = |length: &str| format!("POST {} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n", session.target());
    let get = format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\n");
    let chunk = format!("3e8\r\n{}\r\n", "6".repeat(1000));
    let websocket = websocket_request(WEBSOCKET);
    let joining = [websocket.as_bytes(), &frame(0x81, b"40")].concat();
    let unending = [&joining[..], &frame(0x01, b"4")].concat();
    let rows: [(&str, Vec<u8>, Vec<u8>, &str); 10] = [
        ("a header of 20 MB in small pieces", format!("{get}X-Long: ").into(), vec![b'y'; 100], "431"),
        ("20 MB of headers", get.clone().into(), b"X-Many: y\r\n".to_vec(), "431"),
        ("a first line of 20 MB", format!("GET {POLLING}&x=").into(), vec![b'y'; 100], "414|431"),
        ("a body of 20 MB", post("Content-Length: 20000000").into(), vec![b'6'; 1000], "413"),
        ("a body without end", post("Transfer-Encoding: chunked").into(), chunk.into(), "413"),
        (
            "the body of a poll",
            format!("{get}Content-Length: 20000000\r\n\r\n").into(),
            vec![b'6'; 1000],
            "200",
        ),
        ("fragments without end", unending.clone(), frame(0x00, b"x").repeat(100), "101"),
        ("empty fragments without end", unending, frame(0x00, b"").repeat(100), "101"),
        ("pings without end", joining.clone(), frame(0x89, &[b'x'; 100]).repeat(10), "101"),
        ("noops without end", joining, frame(0x81, &[b'6'; 100]).repeat(10), "101"),
    ];
    for (row, begin, piece, status) in rows {
        let stream = ground.connect(&begin).await;
        let (sent, seen) = flood(stream, &piece, 400 * MEGABYTE).await;
        let line = String::from_utf8_lossy(&seen[..seen.len().min(12)]).into_owned();
        // It may have been cut off so hard that the answer was lost.
        let answered = seen.is_empty() || status.split('|').any(|status| line.ends_with(status));
        assert!(answered, "{row}: {line}");
        assert!(sent < 400 * MEGABYTE, "{row}: {sent} bytes were taken");
        held(row);
        ground.is_unharmed(row).await;
    }
    drop(session);
    ground.is_empty_but_for_the_witness().await;
}

#[tokio::test]
async fn very_many_small_things_are_refused_one_by_one() {
    let ground = Ground::new().await;
    let before = resident();
    let mut ws = opened(ground.address).await;
    let (mut entered, mut refused) = (0, 0);
    // A hundred are looked at; at one more the connection is closed, and a new one would begin afresh.
    for number in 0..100 {
        ws.send(&format!("40/{number},")).await;
        let answer = ws.packet().await;
        let prefix = format!("/{number},{{");
        match answer.strip_suffix('}').and_then(|answer| answer.split_once(&prefix)) {
            Some(("40", _)) => entered += 1,
            Some(("44", message)) => {
                assert!(message.contains("Too many"), "{answer}");
                refused += 1;
            }
            _ => panic!("{answer}"),
        }
    }
    assert_eq!((entered, refused), (10, 90), "1,000 namespaces");
    for number in 100..1_000 {
        if ws.try_send(format!("40/{number},").into()).await.is_err() {
            break;
        }
    }
    ws.closed().await;
    ground.is_unharmed("1,000 namespaces").await;

    let body = |packet: &str| packet.repeat((PAYLOAD_MAX - 10) / packet.len());
    for (row, body) in [
        ("CONNECTs", format!("40{}", body("\u{1e}40/x,"))),
        ("events", format!("40{}", body("\u{1e}42[\"e\"]"))),
        ("noops", format!("6{}", body("\u{1e}6"))),
        ("pongs", format!("3{}", body("\u{1e}3"))),
        ("empty messages", format!("4{}", body("\u{1e}4"))),
        ("empty attachments", format!("b{}", body("\u{1e}b"))),
        ("separators", body("\u{1e}")),
    ] {
        let session = Polling::open(ground.address, PATH).await;
        let posted: Response = session.post(&body).await;
        assert!(matches!(posted.status, 200 | 400), "{row}: {posted:?}");
        let held = resident().saturating_sub(before);
        assert!(held <= HELD_MAX, "{row}: {held} bytes are held");
        ground.is_unharmed(row).await;
    }
    ground.is_empty_but_for_the_witness().await;
}
