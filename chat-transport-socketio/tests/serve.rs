//! The accept loop: what it refuses, and how it stops.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use chat_transport_socketio::Server;
use support::{request, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

/// A server that stops when the sender is used or dropped.
async fn start(
    server: Server,
    app: Router,
) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn(server.run(listener, app, async move { drop(stopped.await) }));
    (address, stop, running)
}

fn hello() -> Router {
    Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
}

#[tokio::test]
async fn the_application_is_told_who_asks() {
    let (address, _stop, _running) = start(Server::new(), hello()).await;
    assert_eq!(request(address, "GET", "/", "", b"").await.body, "127.0.0.1");
}

#[tokio::test]
async fn one_that_takes_too_long_for_its_request_is_closed() {
    let server = Server::new().head_timeout(Duration::from_millis(100));
    let (address, _stop, _running) = start(server, hello()).await;
    for begun in ["", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        // However politely: what counts is that it ends.
        let _ = soon(stream.read_to_end(&mut Vec::new())).await;
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (address, _stop, _running) = start(Server::new(), hello()).await;
    let many: String = (0..2000).map(|number| format!("X-{number}: y\r\n")).collect();
    assert_eq!(request(address, "GET", "/", &many, b"").await.status, 431);
    let long = format!("X-Long: {}\r\n", "y".repeat(100_000));
    let refused = request(address, "GET", "/", &long, b"").await;
    assert!(matches!(refused.status, 431 | 0), "{refused:?}");
    assert_eq!(request(address, "GET", "/", "", b"").await.status, 200);
}

#[tokio::test]
async fn one_that_takes_nothing_of_its_response_is_closed() {
    // More than all buffers between them hold.
    let app = hello().route("/large", get(|| async { "x".repeat(20_000_000) }));
    let server = Server::new().connections_max(1).write_timeout(Duration::from_millis(200));
    let (address, _stop, _running) = start(server, app).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // It is the only one that may be there, and it stays.
    assert_eq!(request(address, "GET", "/", "", b"").await.body, "127.0.0.1");
    drop(stream);
}

#[tokio::test]
async fn one_that_takes_its_response_slowly_is_not_closed() {
    let app = Router::new().route("/large", get(|| async { "x".repeat(3_000_000) }));
    let server = Server::new().write_timeout(Duration::from_millis(300));
    let (address, _stop, _running) = start(server, app).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut taken = 0;
    let mut buffer = vec![0; 100_000];
    loop {
        let read = soon(stream.read(&mut buffer)).await.unwrap();
        if read == 0 {
            break;
        }
        taken += read;
        // Longer in all than the timeout, but never at once.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(3_000_000 <= taken, "{taken}");
}

#[tokio::test]
async fn when_it_stops_requests_in_progress_end_and_no_new_one_begins() {
    let begun = std::sync::Arc::new(Notify::new());
    let go = std::sync::Arc::new(Notify::new());
    let app = Router::new().route(
        "/",
        get({
            let (begun, go) = (begun.clone(), go.clone());
            move || async move {
                begun.notify_one();
                go.notified().await;
                "done"
            }
        }),
    );
    let (address, stop, running) = start(Server::new(), app).await;
    let asked = tokio::spawn(async move { request(address, "GET", "/", "", b"").await });
    soon(begun.notified()).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    stop.send(()).unwrap();
    let _ = soon(idle.read_to_end(&mut Vec::new())).await;
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!running.is_finished());
    go.notify_one();
    assert_eq!(soon(asked).await.unwrap().body, "done");
    soon(running).await.unwrap();
}

#[tokio::test]
async fn it_does_not_wait_for_ever_when_it_stops() {
    let app = Router::new().route("/", get(std::future::pending::<()>));
    let (address, stop, running) = start(Server::new().patience(Duration::from_millis(50)), app).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    drop(stop);
    soon(running).await.unwrap();
}
