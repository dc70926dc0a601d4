//! A link at the end of a real socket, without a session.

use std::future::poll_fn;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const PONG: [u8; 7] = [0x81, 0x81, 0, 0, 0, 0, b'3'];

/// An application that makes a link of each request, as it comes out of the upgrade.
fn linking() -> (Router, mpsc::UnboundedReceiver<WebSocketLink>) {
    let (sender, links) = mpsc::unbounded_channel();
    let app = Router::new().fallback(move |mut request: Request<Body>| {
        let sender = sender.clone();
        async move {
            let upgrade = hyper::upgrade::on(&mut request);
            // Less than the system's own.
            let settings = Settings::default().receive_buffer_bytes(16 * 1024);
            tokio::spawn(async move {
                sender.send(WebSocketLink::new(upgrade.await.unwrap(), &settings)).unwrap();
            });
            http::StatusCode::SWITCHING_PROTOCOLS
        }
    });
    (app, links)
}

async fn linked() -> (TcpStream, WebSocketLink) {
    let (app, mut links) = linking();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(crate::serve(listener, app, std::future::pending()));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(HANDSHAKE).await.unwrap();
    (client, links.recv().await.unwrap())
}

/// A text message of `bytes`, with the header that every client writes.
fn large(bytes: usize) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 127];
    frame.extend((bytes as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.push(b'4');
    frame.resize(frame.len() + bytes - 1, b'x');
    frame
}

async fn packet(link: &mut WebSocketLink) -> Result<Packet, LinkEnd> {
    poll_fn(|cx| link.poll_packet(cx)).await
}

async fn is_idle(link: &mut WebSocketLink) -> bool {
    poll_fn(|cx| Poll::Ready(link.poll_packet(cx).is_pending())).await
}

#[tokio::test]
async fn the_bare_socket_is_found_under_each_server_and_answers_at_once() {
    for server in ["ours", "axum"] {
        let (app, mut links) = linking();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            match server {
                "ours" => crate::serve(listener, app, std::future::pending()).await,
                _ => axum::serve(listener, app).await.unwrap(),
            }
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(HANDSHAKE).await.unwrap();
        let link = links.recv().await.unwrap();
        let Stream::Tcp(tcp) = &link.stream else { panic!("not bare under {server}") };
        assert!(tcp.nodelay().unwrap(), "{server}");
        let kernel = socket2::SockRef::from(tcp).send_buffer_size().unwrap();
        assert!(kernel <= 2 * 64 * 1024, "{server}: {kernel}");
        let kernel = socket2::SockRef::from(tcp).recv_buffer_size().unwrap();
        assert!(kernel <= 2 * 16 * 1024, "{server}: {kernel}");
    }
}

#[tokio::test]
async fn memory_for_a_large_message_is_let_go_of() {
    let (mut client, mut link) = linked().await;
    let message = large(500_000);
    let sent = tokio::spawn(async move {
        client.write_all(&message).await.unwrap();
        client
    });
    let received = packet(&mut link).await.unwrap();
    assert!(matches!(received, Packet::Message(message) if message.len() == 499_999));
    assert_eq!(link.intake.largest(), 500_000);
    assert!(is_idle(&mut link).await);
    assert_eq!(link.intake.largest(), 0, "the read buffer is a fresh one");
    let mut client = sent.await.unwrap();
    client.write_all(&PONG).await.unwrap();
    assert_eq!(packet(&mut link).await, Ok(Packet::Pong));
}

#[tokio::test]
async fn half_a_frame_behind_a_large_message_is_not_thrown_away() {
    let (mut client, mut link) = linked().await;
    let (half, rest) = PONG.split_at(3);
    client.write_all(&[&large(10_000), half].concat()).await.unwrap();
    packet(&mut link).await.unwrap();
    assert!(is_idle(&mut link).await);
    assert_ne!(link.intake.largest(), 0, "something is left in the read buffer");
    client.write_all(rest).await.unwrap();
    assert_eq!(packet(&mut link).await, Ok(Packet::Pong));
}

#[tokio::test]
async fn one_that_pings_and_takes_no_pongs_costs_little() {
    let (mut client, mut link) = linked().await;
    let pings = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'x'; 125]].concat().repeat(100);
    let mut sent = 0;
    loop {
        tokio::select! {
            biased;
            packet = packet(&mut link) => panic!("a WebSocket ping is no packet: {packet:?}"),
            result = client.write_all(&pings) => result.unwrap(),
            // It is not read from any more, and all the buffers between are full.
            () = tokio::time::sleep(Duration::from_millis(300)) => break,
        }
        sent += pings.len();
        // More than the kernel holds on both sides.
        assert!(sent < 16 << 20, "it is read from for ever");
    }
    assert!(link.unsent() <= 2 * UNSENT_CONTROL_BYTES_MAX, "{} bytes wait", link.unsent());
}
