//! The end of a Socket.IO connection: what was received before it is handled, in order, and then it is told.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chat_transport_socketio::engine::{CloseReason, Settings};
use chat_transport_socketio::{Auth, DisconnectReason, Event, Namespace, Refusal, Socket, SocketIo};
use futures_util::SinkExt;
use support::{Polling, Ws, calm, connected, quick, request, soon, start, until};
use tokio::sync::{Semaphore, mpsc};

/// More than is read ahead of a handler.
const EVENTS: usize = 200;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Event(usize),
    Left(DisconnectReason),
}

/// A server whose handlers wait to be let on, and what they saw.
struct Gated {
    io: SocketIo,
    address: SocketAddr,
    gate: Arc<Semaphore>,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Gated {
    async fn new(settings: Settings) -> Self {
        let (seen, seeing) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let namespace = Namespace::new()
            .on("n", {
                let (seen, gate) = (seen.clone(), gate.clone());
                move |_, mut event: Event| {
                    let (seen, gate) = (seen.clone(), gate.clone());
                    async move {
                        gate.acquire().await.unwrap().forget();
                        seen.send(Seen::Event(event.parse(0).unwrap())).unwrap();
                        // To nobody, if the client is gone.
                        let _ = event.ack.take().map(|ack| ack.send(&"x".repeat(100)));
                    }
                }
            })
            .on("close me", |socket: Socket, _| async move {
                socket.close_connection();
                // Until that has been noticed.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            })
            .on_disconnect(move |_, reason| {
                seen.send(Seen::Left(reason)).unwrap();
                std::future::ready(())
            });
        let io = SocketIo::builder().settings(settings).namespace("/", namespace).build();
        let address = start(Router::new().nest_service("/socket.io", io.router())).await;
        Self { io, address, gate, seen: seeing }
    }

    fn open(&self) {
        self.gate.add_permits(EVENTS);
    }

    async fn saw_all_and_then(&mut self, reason: DisconnectReason) {
        for number in 0..EVENTS {
            assert_eq!(soon(self.seen.recv()).await, Some(Seen::Event(number)));
        }
        assert_eq!(soon(self.seen.recv()).await, Some(Seen::Left(reason)));
        until("it is gone", || self.io.connections() == 0).await;
    }
}

fn event(number: usize) -> String {
    format!(r#"42{number}["n",{number}]"#)
}

async fn with_events(address: SocketAddr) -> Ws {
    let mut ws = connected(address).await;
    for number in 0..EVENTS {
        ws.send(&event(number)).await;
    }
    ws
}

const CLOSED_BY_CLIENT: DisconnectReason = DisconnectReason::Connection(CloseReason::TransportClosed);

#[tokio::test]
async fn events_before_a_disconnect_over_websocket_are_handled() {
    let mut server = Gated::new(calm()).await;
    let mut ws = with_events(server.address).await;
    ws.send("41").await;
    soon(ws.0.close(None)).await.unwrap();
    drop(ws);
    server.open();
    server.saw_all_and_then(DisconnectReason::Client).await;
}

#[tokio::test]
async fn events_before_the_close_of_a_websocket_are_handled() {
    let mut server = Gated::new(calm()).await;
    let mut ws = with_events(server.address).await;
    soon(ws.0.close(None)).await.unwrap();
    server.open();
    server.saw_all_and_then(CLOSED_BY_CLIENT).await;
}

#[tokio::test]
async fn events_before_a_close_packet_are_handled() {
    let mut server = Gated::new(calm()).await;
    let mut ws = with_events(server.address).await;
    ws.send("1").await;
    server.open();
    server.saw_all_and_then(CLOSED_BY_CLIENT).await;
}

#[tokio::test]
async fn events_of_one_that_vanished_are_handled_although_their_answers_cannot_be_sent() {
    let mut server = Gated::new(calm()).await;
    drop(with_events(server.address).await);
    server.open();
    server.saw_all_and_then(CLOSED_BY_CLIENT).await;
}

#[tokio::test]
async fn events_before_a_disconnect_over_polling_are_handled() {
    for (end, reason) in [
        ("\u{1e}41\u{1e}1", DisconnectReason::Client),
        ("\u{1e}41", DisconnectReason::Client),
        ("\u{1e}1", CLOSED_BY_CLIENT),
    ] {
        let mut server = Gated::new(calm().ping_interval(Duration::from_secs(1))).await;
        let session = Polling::open(server.address, "/socket.io/").await;
        session.post("40").await;
        assert!(session.get().await.body.starts_with("40"));
        let events: Vec<_> = (0..EVENTS).map(event).collect();
        let posting = tokio::spawn({
            let (session, body) = (session.clone(), events.join("\u{1e}") + end);
            async move { session.post(&body).await }
        });
        server.open();
        assert_eq!(soon(posting).await.unwrap().status, 200);
        if end.ends_with("41") {
            // The way of a client whose page is closed.
            drop(session.post("1").await);
        }
        server.saw_all_and_then(reason).await;
    }
}

#[tokio::test]
async fn events_that_were_posted_are_handled_when_the_poll_is_given_up() {
    let mut server = Gated::new(calm()).await;
    let session = Polling::open(server.address, "/socket.io/").await;
    session.post("40").await;
    assert!(session.get().await.body.starts_with("40"));
    let get = tokio::spawn({
        let session = session.clone();
        async move { session.get().await }
    });
    // Without acks, which would answer the poll.
    let events: Vec<_> = (0..EVENTS).map(|number| format!(r#"42["n",{number}]"#)).collect();
    let posting = tokio::spawn({
        let session = session.clone();
        async move { session.post(&events.join("\u{1e}")).await }
    });
    server.gate.add_permits(1);
    assert_eq!(soon(server.seen.recv()).await, Some(Seen::Event(0)));
    // The rest of the POST waits for the handler.
    get.abort();
    drop(get.await);
    server.open();
    for number in 1..EVENTS {
        assert_eq!(soon(server.seen.recv()).await, Some(Seen::Event(number)));
    }
    assert_eq!(soon(server.seen.recv()).await, Some(Seen::Left(CLOSED_BY_CLIENT)));
    drop(posting.await);
}

#[tokio::test]
async fn events_before_a_breach_of_the_protocol_are_handled_and_none_behind_it() {
    let mut server = Gated::new(calm().close_timeout(Duration::from_secs(1))).await;
    let mut ws = with_events(server.address).await;
    ws.send("42/elsewhere,[\"n\",1]").await;
    ws.send(&event(EVENTS)).await;
    server.open();
    server.gate.add_permits(1);
    server.saw_all_and_then(DisconnectReason::Connection(CloseReason::Malformed)).await;
}

#[tokio::test]
async fn nothing_more_is_handled_when_the_server_has_closed_the_connection() {
    let mut server = Gated::new(calm()).await;
    let mut ws = connected(server.address).await;
    server.open();
    soon(ws.0.feed(tokio_tungstenite::tungstenite::Message::text(r#"42["close me"]"#))).await.unwrap();
    for number in 0..EVENTS {
        let frame = tokio_tungstenite::tungstenite::Message::text(event(number));
        soon(ws.0.feed(frame)).await.unwrap();
    }
    soon(ws.0.flush()).await.unwrap();
    let reason = DisconnectReason::Connection(CloseReason::Closed);
    assert_eq!(soon(server.seen.recv()).await, Some(Seen::Left(reason)));
}

#[tokio::test]
async fn a_stopping_server_handles_what_was_received_and_answers_it() {
    let mut server = Gated::new(calm()).await;
    let mut ws = connected(server.address).await;
    let few = 10;
    for number in 0..few {
        ws.send(&event(number)).await;
    }
    server.gate.add_permits(1);
    assert_eq!(soon(server.seen.recv()).await, Some(Seen::Event(0)));
    let stop = tokio::spawn({
        let io = server.io.clone();
        async move { io.shutdown(Duration::from_secs(10)).await }
    });
    // From then on it takes no new one.
    while request(server.address, "GET", "/socket.io/?EIO=4&transport=polling", "", b"").await.status == 200 {
    }
    server.open();
    for number in 0..few {
        assert!(ws.text().await.starts_with(&format!("43{number}[")), "{number}");
    }
    ws.closed().await;
    assert!(soon(stop).await.unwrap());
}

/// A polling client, its socket, and its server.
async fn polling_with_socket(settings: Settings) -> (Polling, Socket, SocketIo) {
    let (sockets, mut connecting) = mpsc::unbounded_channel();
    let namespace = Namespace::new().on_connect(move |socket: Socket, _: Auth| {
        sockets.send(socket).unwrap();
        std::future::ready(Ok::<_, Refusal>(()))
    });
    let io = SocketIo::builder().settings(settings).namespace("/", namespace).build();
    let address = start(Router::new().nest_service("/socket.io", io.router())).await;
    let session = Polling::open(address, "/socket.io/").await;
    session.post("40").await;
    assert!(session.get().await.body.starts_with("40"));
    (session, soon(connecting.recv()).await.unwrap(), io)
}

#[tokio::test]
async fn a_polling_client_has_what_is_due_in_one_answer_and_the_close_in_the_next() {
    for stops in [false, true] {
        let (session, socket, io) = polling_with_socket(calm()).await;
        socket.emit("e", &1).unwrap();
        socket.emit("e", &2).unwrap();
        let close = async {
            if stops {
                assert!(io.shutdown(Duration::from_secs(10)).await);
            } else {
                socket.close_connection();
            }
        };
        let polling = async {
            assert_eq!(session.get().await.body, "42[\"e\",1]\u{1e}42[\"e\",2]");
            assert_eq!(session.get().await.body, "1");
            assert_eq!(session.get().await.status, 400);
        };
        tokio::join!(close, polling);
    }
}

#[tokio::test]
async fn a_polling_client_that_does_not_come_for_the_close_is_given_up_at_the_close_timeout() {
    let (session, socket, io) = polling_with_socket(calm().close_timeout(Duration::from_secs(1))).await;
    socket.emit("e", &1).unwrap();
    socket.close_connection();
    assert_eq!(session.get().await.body, r#"42["e",1]"#);
    until("it is gone", || io.connections() == 0).await;
    assert_eq!(session.get().await.status, 400);
}

#[tokio::test]
async fn a_polling_client_to_which_nothing_is_due_is_not_waited_for() {
    let (session, _socket, io) = polling_with_socket(calm().close_timeout(Duration::from_secs(3600))).await;
    assert!(io.shutdown(Duration::from_secs(10)).await);
    assert_eq!(session.get().await.status, 400);
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_dropped_at_the_close_timeout() {
    let mut server = Gated::new(calm().close_timeout(Duration::from_millis(100))).await;
    let mut ws = connected(server.address).await;
    ws.send(&event(0)).await;
    drop(ws);
    assert_eq!(soon(server.seen.recv()).await, Some(Seen::Left(CLOSED_BY_CLIENT)));
    until("it is gone", || server.io.connections() == 0).await;
}

#[tokio::test]
async fn a_deadline_behind_another_alarm_is_kept() {
    // The next ping is due before the close timeout is over.
    let settings = calm().ping_interval(Duration::from_millis(300)).close_timeout(Duration::from_millis(500));
    let mut server = Gated::new(settings).await;
    let mut ws = connected(server.address).await;
    ws.send(&event(0)).await;
    assert!(server.io.shutdown(Duration::from_secs(10)).await);
    assert_eq!(
        soon(server.seen.recv()).await,
        Some(Seen::Left(DisconnectReason::Connection(CloseReason::Shutdown)))
    );
}

#[tokio::test]
async fn one_whose_handler_never_ends_is_given_up_behind_it() {
    let mut server = Gated::new(quick().close_timeout(Duration::from_millis(100))).await;
    // More than is read ahead, so that it cannot be seen whether the client is still there.
    let ws = with_events(server.address).await;
    let given_up = DisconnectReason::Connection(CloseReason::PingTimeout);
    assert_eq!(soon(server.seen.recv()).await, Some(Seen::Left(given_up)));
    until("it is gone", || server.io.connections() == 0).await;
    drop(ws);
}
