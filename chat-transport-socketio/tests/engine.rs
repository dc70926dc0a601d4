//! Engine.IO over real sockets: handshake, messages, heartbeat, upgrade, and what is refused.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::Context;
use std::time::Duration;

use axum::Router;
use chat_transport_socketio::engine::{
    Appetite, Application, CloseReason, Engine, Message, Origins, Settings, Transports, Work, Writer,
};
use support::{Got, Polling, Ws, calm, quick, request, soon, start, until, websocket_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Default)]
struct Echo(VecDeque<Message>);

impl Application for Echo {
    fn receive(&mut self, message: Message) -> Result<(), CloseReason> {
        self.0.push_back(message);
        Ok(())
    }

    fn appetite(&self) -> Appetite {
        if self.0.len() < 10 { Appetite::Hungry } else { Appetite::Clogged }
    }

    fn poll_work(&mut self, _: &mut Context<'_>, writer: &mut Writer<'_>) -> Work {
        while let Some(message) = self.0.pop_front() {
            if !writer.has_room_for(message.len()) {
                self.0.push_front(message);
                return Work::WaitsForRoom;
            }
            match message {
                Message::Text(text) => writer.text(&[b"4", text.as_bytes()]),
                Message::Binary(bytes) => writer.binary(&bytes),
            }
        }
        Work::Done
    }
}

async fn echo(settings: Settings) -> (Engine, SocketAddr) {
    let engine = Engine::new(settings, |_| Echo::default());
    let address = start(Router::new().nest_service("/engine.io", engine.router())).await;
    (engine, address)
}

const PATH: &str = "/engine.io/";
const WEBSOCKET: &str = "/engine.io/?EIO=4&transport=websocket";

async fn opened(address: SocketAddr) -> Ws {
    let mut ws = Ws::open(address, WEBSOCKET).await;
    ws.text().await;
    ws
}

fn keys(packet: &str) -> (Vec<String>, serde_json::Value) {
    let value: serde_json::Value = serde_json::from_str(packet.strip_prefix('0').unwrap()).unwrap();
    (value.as_object().unwrap().keys().cloned().collect(), value)
}

#[tokio::test]
async fn the_handshake_has_exactly_its_five_keys() {
    let (_engine, address) = echo(quick()).await;
    let five = ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"];

    let polling = request(address, "GET", "/engine.io/?EIO=4&transport=polling", "", b"").await;
    let (names, value) = keys(&polling.body);
    assert_eq!(names, five);
    assert_eq!(value["upgrades"], serde_json::json!(["websocket"]));
    assert_eq!((&value["pingInterval"], &value["pingTimeout"]), (&300.into(), &200.into()));
    assert_eq!(value["maxPayload"], 1_000_000);
    assert!(polling.head.contains("content-type: text/plain"), "{}", polling.head);

    let (names, value) = keys(&Ws::open(address, WEBSOCKET).await.text().await);
    assert_eq!(names, five);
    assert_eq!(value["upgrades"], serde_json::json!([]));
}

#[tokio::test]
async fn messages_come_back_over_polling_as_they_were_sent() {
    let (_engine, address) = echo(calm()).await;
    let session = Polling::open(address, PATH).await;
    for body in ["4hello", "4test1\u{1e}4test2\u{1e}4test3", "4hello\u{1e}bAQIDBA==", "4\u{20ac}"] {
        let posted = session.post(body).await;
        assert_eq!((posted.status, posted.body.as_str()), (200, "ok"));
        assert_eq!(session.get().await.body, body);
    }
}

#[tokio::test]
async fn messages_come_back_over_websocket_as_they_were_sent() {
    let (_engine, address) = echo(calm()).await;
    let mut ws = opened(address).await;
    ws.send("4hello").await;
    assert_eq!(ws.text().await, "4hello");
    ws.send_binary(&[1, 2, 3, 4]).await;
    assert_eq!(ws.next().await, Got::Binary(vec![1, 2, 3, 4]));
    for size in [125, 126, 65_535, 65_536, 900_000] {
        let text = format!("4{}", "x".repeat(size - 1));
        ws.send(&text).await;
        assert_eq!(ws.text().await, text);
    }
}

#[tokio::test]
async fn a_malformed_packet_ends_the_session() {
    let (engine, address) = echo(calm()).await;
    let session = Polling::open(address, PATH).await;
    assert_eq!(session.post("abc").await.status, 400);
    assert_eq!(session.get().await.status, 400);
    for garbage in ["abc", "", "2"] {
        let mut ws = opened(address).await;
        ws.send(garbage).await;
        ws.closed().await;
    }
    until("all are gone", || engine.connections() == 0).await;
}

#[tokio::test]
async fn a_second_poll_at_a_time_ends_the_session() {
    let (_engine, address) = echo(calm()).await;
    let session = Polling::open(address, PATH).await;
    let first = tokio::spawn({
        let session = session.clone();
        async move { session.get().await }
    });
    // Whichever arrives first waits, and is told that the session is over; the other is refused.
    let second = session.get().await;
    let first = first.await.unwrap();
    let mut seen = [(first.status, first.body), (second.status, String::new())];
    seen.sort_by_key(|(status, _)| *status);
    assert_eq!((seen[0].0, seen[1].0), (200, 400));
    assert_eq!(session.get().await.status, 400);
}

#[tokio::test]
async fn a_poll_that_is_given_up_ends_the_session() {
    let (engine, address) = echo(calm()).await;
    let session = Polling::open(address, PATH).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n\r\n", session.target());
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    until("the session is over", || engine.connections() == 0).await;
    assert_eq!(session.get().await.status, 400);
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let (_engine, address) = echo(quick()).await;
    let session = Polling::open(address, PATH).await;
    let mut ws = opened(address).await;
    for _ in 0..3 {
        assert_eq!(session.get().await.body, "2");
        assert_eq!(session.post("3").await.status, 200);
        assert_eq!(ws.text().await, "2");
        ws.send("3").await;
    }
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed() {
    let (engine, address) = echo(quick()).await;
    let session = Polling::open(address, PATH).await;
    let began = std::time::Instant::now();
    let mut ws = opened(address).await;
    ws.closed().await;
    assert!(began.elapsed() >= Duration::from_millis(450), "not before its deadline");
    until("all are gone", || engine.connections() == 0).await;
    assert_eq!(session.get().await.status, 400);
}

#[tokio::test]
async fn a_client_can_close_its_session() {
    let (_engine, address) = echo(calm()).await;
    for _ in 0..20 {
        // Whichever of the two is first.
        let session = Polling::open(address, PATH).await;
        let (get, post) = tokio::join!(session.get(), session.post("1"));
        assert_eq!((post.status, get.status, get.body.as_str()), (200, 200, "6"));
        assert_eq!(session.get().await.status, 400);
    }

    let mut ws = opened(address).await;
    ws.send("1").await;
    ws.closed().await;
}

#[tokio::test]
async fn a_session_moves_from_polling_to_websocket() {
    let (_engine, address) = echo(calm()).await;
    let session = Polling::open(address, PATH).await;
    let mut ws = session.websocket().await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    assert_eq!(session.get().await.body, "6", "the pending poll returns");
    ws.send("5").await;
    ws.send("4hello").await;
    assert_eq!(ws.text().await, "4hello");

    assert_eq!(session.get().await.status, 400, "HTTP requests are ignored from then on");
    let mut second = session.websocket().await;
    second.closed().await;
    ws.send("4still here").await;
    assert_eq!(ws.text().await, "4still here");
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_the_session_on_polling() {
    let (_engine, address) = echo(calm()).await;
    let session = Polling::open(address, PATH).await;
    for attempt in ["4too early", "abc", "2other"] {
        let mut ws = session.websocket().await;
        ws.send(attempt).await;
        ws.closed().await;
    }
    let mut ws = session.websocket().await;
    ws.send("2probe").await;
    ws.text().await;
    drop(ws);
    session.post("4hello").await;
    let mut body = session.get().await.body;
    while body == "6" {
        body = session.get().await.body;
    }
    assert_eq!(body, "4hello");
}

#[tokio::test]
async fn an_upgrade_that_is_not_finished_in_time_is_given_up() {
    let (_engine, address) = echo(calm().upgrade_timeout(Duration::from_millis(100))).await;
    let session = Polling::open(address, PATH).await;
    let mut ws = session.websocket().await;
    ws.closed().await;
    session.post("4hello").await;
    assert_eq!(session.get().await.body, "4hello");
}

#[tokio::test]
async fn nothing_is_lost_or_reordered_in_an_upgrade_under_traffic() {
    let (_engine, address) = echo(calm()).await;
    for round in 0..20 {
        let session = Polling::open(address, PATH).await;
        let total = 60;
        let half = 10 + round;
        let reader = tokio::spawn({
            let session = session.clone();
            async move {
                let mut seen = Vec::new();
                loop {
                    let response = session.get().await;
                    let pieces: Vec<_> = response.body.split('\u{1e}').map(str::to_owned).collect();
                    let noop = pieces.iter().any(|piece| piece == "6");
                    seen.extend(pieces.into_iter().filter(|piece| piece != "6" && !piece.is_empty()));
                    if noop || response.status != 200 {
                        return seen;
                    }
                }
            }
        });
        for number in 0..half {
            assert_eq!(session.post(&format!("4{number}")).await.status, 200);
        }
        let mut ws = session.websocket().await;
        ws.send("2probe").await;
        assert_eq!(ws.text().await, "3probe");
        for number in half..half + 5 {
            assert_eq!(session.post(&format!("4{number}")).await.status, 200);
        }
        let mut seen = soon(reader).await.unwrap();
        ws.send("5").await;
        for number in half + 5..total {
            ws.send(&format!("4{number}")).await;
        }
        while seen.len() < total {
            seen.push(ws.text().await);
        }
        let expected: Vec<_> = (0..total).map(|number| format!("4{number}")).collect();
        assert_eq!(seen, expected, "round {round}");
    }
}

#[tokio::test]
async fn a_payload_beyond_the_limit_is_refused() {
    let (engine, address) = echo(calm().max_payload(1000)).await;
    let session = Polling::open(address, PATH).await;
    assert_eq!(session.post(&format!("4{}", "x".repeat(1000))).await.status, 413);
    let mut ws = opened(address).await;
    ws.send(&format!("4{}", "x".repeat(998))).await;
    assert_eq!(ws.text().await.len(), 999);
    ws.send(&format!("4{}", "x".repeat(1000))).await;
    ws.closed().await;
    drop(ws);
    until("only the polling one is left", || engine.connections() == 1).await;
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_on_both_transports() {
    let (_engine, address) = echo(calm()).await;
    let target = "/engine.io/?EIO=4&transport=polling";
    let foreign = "Origin: http://evil.example\r\n";
    assert_eq!(request(address, "GET", target, foreign, b"").await.status, 403);
    let upgrade = format!(
        "{foreign}Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    assert_eq!(request(address, "GET", WEBSOCKET, &upgrade, b"").await.status, 403);
    let own = format!("Origin: http://{address}\r\n");
    assert_eq!(request(address, "GET", target, &own, b"").await.status, 200);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_read_the_answers() {
    let origins = Origins::SameAnd(vec!["https://app.example".to_owned()]);
    let (_engine, address) = echo(calm().origins(origins)).await;
    let target = "/engine.io/?EIO=4&transport=polling";
    let headers = "Origin: https://app.example\r\nAccess-Control-Request-Headers: x-token\r\n";
    for method in ["GET", "OPTIONS"] {
        let response = request(address, method, target, headers, b"").await;
        assert!(response.status < 300, "{response:?}");
        assert!(
            response.head.contains("access-control-allow-origin: https://app.example"),
            "{}",
            response.head
        );
    }
}

#[tokio::test]
async fn transports_can_be_switched_off() {
    let (_engine, address) = echo(calm().transports(Transports::WebSocket)).await;
    assert_eq!(request(address, "GET", "/engine.io/?EIO=4&transport=polling", "", b"").await.status, 400);
    let (_engine, address) = echo(calm().transports(Transports::WithoutUpgrade)).await;
    let polling = request(address, "GET", "/engine.io/?EIO=4&transport=polling", "", b"").await;
    assert_eq!(keys(&polling.body).1["upgrades"], serde_json::json!([]));
    let (_engine, address) = echo(calm().transports(Transports::Polling)).await;
    assert!(Ws::try_open(address, WEBSOCKET).await.is_err());
}

#[tokio::test]
async fn connections_are_bounded() {
    let (engine, address) = echo(calm().connections_max(2)).await;
    let first = opened(address).await;
    let _second = Polling::open(address, PATH).await;
    assert!(Ws::try_open(address, WEBSOCKET).await.is_err());
    drop(first);
    until("there is a place again", || engine.connections() < 2).await;
    opened(address).await;
}

#[tokio::test]
async fn a_frame_that_came_together_with_the_handshake_is_not_lost() {
    let (_engine, address) = echo(calm()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(&[websocket_request(WEBSOCKET).as_bytes(), b"\x81\x83\0\0\0\x004hi"].concat())
        .await
        .unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\x81\x034hi") {
        let mut buffer = [0; 512];
        let read = soon(stream.read(&mut buffer)).await.unwrap();
        assert_ne!(read, 0, "closed before the echo");
        seen.extend_from_slice(&buffer[..read]);
    }
}

#[tokio::test]
async fn every_client_is_closed_when_the_server_stops() {
    let (engine, address) = echo(calm()).await;
    let mut ws = opened(address).await;
    let session = Polling::open(address, PATH).await;
    let (get, stopped, ()) =
        tokio::join!(session.get(), engine.shutdown(Duration::from_secs(10)), ws.closed());
    assert!(stopped);
    assert!(get.status == 400 || get.body == "1", "{get:?}");
    assert!(Ws::try_open(address, WEBSOCKET).await.is_err());
}
