//! What a client can make the server hold: the memory of this process is looked at, so each case is a process of its own (as nextest
//! has it) or comes after the other.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;

use axum::Router;
use chat_transport_socketio::{Event, Namespace, SocketIo};
use support::{Polling, Ws, calm, connected, request, resident, soon, start};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as RawFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

const PAYLOAD_MAX: usize = 1_000_000;
/// Fewer than are read ahead of a handler.
const ROUNDS: usize = 40;
/// As the crate's documentation has it.
const HELD_MAX: usize = 10 * PAYLOAD_MAX;

/// A server whose handler of `wait` never ends and says when it began.
async fn waiting() -> (SocketIo, SocketAddr, mpsc::UnboundedReceiver<()>) {
    let (begun, begins) = mpsc::unbounded_channel();
    let namespace = Namespace::new()
        .on("wait", move |_, _| {
            begun.send(()).unwrap();
            std::future::pending()
        })
        .on("n", |_, _: Event| async {});
    let io = SocketIo::builder().settings(calm()).namespace("/", namespace).build();
    let address = start(Router::new().nest_service("/socket.io", io.router())).await;
    (io, address, begins)
}

/// An answer on this tells that everything before was read: it overtakes events.
async fn everything_was_read(ws: &mut Ws) {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    soon(ws.0.send(Message::Ping("x".into()))).await.unwrap();
    while !matches!(soon(ws.0.next()).await, Some(Ok(Message::Pong(_)))) {}
}

#[tokio::test]
async fn small_events_between_large_frames_hold_only_themselves() {
    let (_io, address, mut begins) = waiting().await;
    let mut ws = connected(address).await;
    ws.send(r#"42["wait"]"#).await;
    soon(begins.recv()).await;
    // A packet that says nothing, and is not queued.
    let noop = format!("6{}", "x".repeat(PAYLOAD_MAX - 1));
    ws.send(&noop).await;
    everything_was_read(&mut ws).await;
    let before = resident();
    for _ in 0..ROUNDS {
        ws.send(&noop).await;
        ws.send(r#"42["n",1]"#).await;
    }
    everything_was_read(&mut ws).await;
    let held = resident().saturating_sub(before);
    assert!(held <= HELD_MAX, "{held} bytes are held for {ROUNDS} small events");
}

#[tokio::test]
async fn small_events_in_large_posts_hold_only_themselves() {
    let (_io, address, mut begins) = waiting().await;
    let session = Polling::open(address, "/socket.io/").await;
    session.post("40").await;
    session.post(r#"42["wait"]"#).await;
    soon(begins.recv()).await;
    let body = format!("42[\"n\",1]\u{1e}6{}", "x".repeat(PAYLOAD_MAX - 20));
    let before = resident();
    for _ in 0..ROUNDS {
        let posted = request(address, "POST", &session.target(), "", body.as_bytes()).await;
        assert_eq!(posted.status, 200);
    }
    let held = resident().saturating_sub(before);
    assert!(held <= HELD_MAX, "{held} bytes are held for {ROUNDS} small events");
}

#[tokio::test]
async fn a_message_in_pieces_leaves_no_buffer_behind() {
    let (_io, address, _begins) = waiting().await;
    let before = resident();
    let mut connections = Vec::new();
    for _ in 0..ROUNDS {
        let mut ws = connected(address).await;
        let half = PAYLOAD_MAX / 2;
        for (kind, last, byte) in [(Data::Text, false, b'6'), (Data::Continue, true, b'x')] {
            let frame = RawFrame::message(vec![byte; half], OpCode::Data(kind), last);
            futures_util::SinkExt::send(&mut ws.0, tokio_tungstenite::tungstenite::Message::Frame(frame))
                .await
                .unwrap();
        }
        everything_was_read(&mut ws).await;
        connections.push(RestOf::of(ws));
    }
    let held = resident().saturating_sub(before);
    assert!(held <= HELD_MAX, "{held} bytes are held for {ROUNDS} idle connections");
}

/// A connection that stays open without the buffers of its client.
struct RestOf(#[expect(dead_code, reason = "it is open")] tokio::net::TcpStream);

impl RestOf {
    fn of(ws: Ws) -> Self {
        match ws.0.into_inner() {
            tokio_tungstenite::MaybeTlsStream::Plain(stream) => Self(stream),
            _ => panic!("there is no TLS here"),
        }
    }
}
