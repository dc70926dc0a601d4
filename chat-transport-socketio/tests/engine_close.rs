//! How a WebSocket is closed: what the peer is told, and with which code.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use chat_transport_socketio::engine::{
    Appetite, Application, CloseReason, Engine, Message, Settings, Work, Writer,
};
use futures_util::{SinkExt, StreamExt};
use support::{Ws, calm, frame, soon, start, until, websocket_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

struct Deaf;

impl Application for Deaf {
    fn receive(&mut self, _: Message) -> Result<(), CloseReason> {
        Ok(())
    }

    fn appetite(&self) -> Appetite {
        Appetite::Hungry
    }

    fn poll_work(&mut self, _: &mut std::task::Context<'_>, _: &mut Writer<'_>) -> Work {
        Work::Done
    }
}

async fn deaf(settings: Settings) -> (Engine, SocketAddr) {
    let engine = Engine::new(settings, |_| Deaf);
    let address = start(Router::new().nest_service("/engine.io", engine.router())).await;
    (engine, address)
}

const WEBSOCKET: &str = "/engine.io/?EIO=4&transport=websocket";

async fn opened(address: SocketAddr) -> Ws {
    let mut ws = Ws::open(address, WEBSOCKET).await;
    ws.text().await;
    ws
}

/// The code of the Close frame that comes.
async fn close_code(ws: &mut Ws) -> Option<CloseCode> {
    match soon(ws.0.next()).await {
        Some(Ok(Frame::Close(frame))) => Some(frame.map_or(CloseCode::Status, |frame| frame.code)),
        _ => None,
    }
}

#[tokio::test]
async fn a_close_is_answered_by_a_close_with_the_same_code() {
    let (engine, address) = deaf(calm()).await;
    for code in [CloseCode::Normal, CloseCode::Away, CloseCode::Library(4001)] {
        let mut ws = opened(address).await;
        soon(ws.0.send(Frame::Close(Some(CloseFrame { code, reason: "".into() })))).await.unwrap();
        assert_eq!(close_code(&mut ws).await, Some(code));
        assert!(soon(ws.0.next()).await.is_none(), "the server ends the connection, cleanly");
    }
    let mut ws = opened(address).await;
    soon(ws.0.send(Frame::Close(None))).await.unwrap();
    assert_eq!(close_code(&mut ws).await, Some(CloseCode::Status), "none for none");
    until("all are gone", || engine.connections() == 0).await;
}

#[tokio::test]
async fn a_close_packet_and_a_malformed_one_close_the_websocket_properly() {
    let (_engine, address) = deaf(calm()).await;
    for (packet, code) in [("1", CloseCode::Normal), ("abc", CloseCode::Protocol)] {
        let mut ws = opened(address).await;
        ws.send(packet).await;
        assert_eq!(close_code(&mut ws).await, Some(code), "{packet}");
    }
}

#[tokio::test]
async fn a_breach_of_the_websocket_protocol_is_told_with_its_code() {
    let (engine, address) = deaf(calm().max_payload(1000)).await;
    let handshake = websocket_request(WEBSOCKET);
    for (name, bytes, code) in [
        ("a reserved bit", frame(0xf1, b"4"), 1002_u16),
        ("an unknown type", frame(0x83, b"4"), 1002),
        ("no mask", b"\x81\x014".to_vec(), 1002),
        ("a continuation of nothing", frame(0x80, b"4"), 1002),
        ("no UTF-8", frame(0x81, b"4\xff\xff"), 1007),
        ("too large", frame(0x81, &[b'4'; 1001]), 1009),
        ("too large in pieces", [frame(0x01, &[b'4'; 600]), frame(0x80, &[b'4'; 600])].concat(), 1009),
        ("absurdly large", b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(), 1009),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[handshake.as_bytes(), &bytes].concat()).await.unwrap();
        let mut seen = Vec::new();
        soon(stream.read_to_end(&mut seen)).await.unwrap();
        let expected = [&[0x88, 2][..], &code.to_be_bytes()].concat();
        assert!(seen.ends_with(&expected), "{name}: {:?}", &seen[seen.len() - 4..]);
    }
    until("all are gone", || engine.connections() == 0).await;
}

#[tokio::test]
async fn one_that_never_takes_the_close_is_let_go_of_at_the_close_timeout() {
    let (engine, address) = deaf(calm().close_timeout(Duration::from_millis(100))).await;
    let mut ws = opened(address).await;
    soon(ws.0.send(Frame::Close(None))).await.unwrap();
    // Its socket stays open.
    until("it is gone", || engine.connections() == 0).await;
    drop(ws);
}
