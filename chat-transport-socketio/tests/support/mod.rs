//! A server on a free port, a WebSocket client and the smallest HTTP client that can poll.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use chat_transport_socketio::engine::Settings;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Nothing here takes longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the protocols' own suites run with.
pub fn quick() -> Settings {
    Settings::default().ping_interval(Duration::from_millis(300)).ping_timeout(Duration::from_millis(200))
}

/// Without heartbeats in the way.
pub fn calm() -> Settings {
    Settings::default().ping_interval(Duration::from_secs(3600))
}

/// Serves `app` until the test ends.
pub async fn start(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(chat_transport_socketio::serve(listener, app, std::future::pending()));
    address
}

/// Fails instead of hanging.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    Text(String),
    Binary(Vec<u8>),
    Closed,
}

pub struct Ws(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Ws {
    pub async fn open(address: SocketAddr, path_and_query: &str) -> Self {
        Self::try_open(address, path_and_query).await.unwrap()
    }

    pub async fn try_open(
        address: SocketAddr,
        path_and_query: &str,
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let url = format!("ws://{address}{path_and_query}");
        Ok(Self(soon(tokio_tungstenite::connect_async(url)).await?.0))
    }

    pub async fn send(&mut self, text: &str) {
        soon(self.0.send(Frame::text(text))).await.unwrap();
    }

    pub async fn send_binary(&mut self, bytes: &[u8]) {
        soon(self.0.send(Frame::binary(bytes.to_vec()))).await.unwrap();
    }

    /// Like [`Self::send`], of anything, where the server may have closed it.
    pub async fn try_send(&mut self, frame: Frame) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        soon(self.0.send(frame)).await
    }

    pub async fn next(&mut self) -> Got {
        loop {
            return match soon(self.0.next()).await {
                Some(Ok(Frame::Text(text))) => Got::Text(text.to_string()),
                Some(Ok(Frame::Binary(bytes))) => Got::Binary(bytes.to_vec()),
                Some(Ok(Frame::Close(_))) => {
                    // The closing handshake ends when this side has read to the end.
                    while let Some(Ok(_)) = soon(self.0.next()).await {}
                    Got::Closed
                }
                Some(Err(_)) | None => Got::Closed,
                Some(Ok(_)) => continue,
            };
        }
    }

    pub async fn text(&mut self) -> String {
        match self.next().await {
            Got::Text(text) => text,
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// The next text that is no ping; pings are answered.
    pub async fn packet(&mut self) -> String {
        loop {
            match self.text().await.as_str() {
                "2" => self.send("3").await,
                text => return text.to_owned(),
            }
        }
    }

    /// Reads, answering nothing, until it is closed.
    pub async fn closed(&mut self) {
        while self.next().await != Got::Closed {}
    }
}

/// A WebSocket in the namespace `/`: past the handshake and the CONNECT answer.
pub async fn connected(address: SocketAddr) -> Ws {
    let mut ws = Ws::open(address, "/socket.io/?EIO=4&transport=websocket").await;
    ws.text().await;
    ws.send("40").await;
    assert!(ws.packet().await.starts_with("40"));
    ws
}

/// A WebSocket handshake, as it is on the wire.
pub fn websocket_request(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A masked WebSocket frame of at most 65,535 bytes; the mask changes nothing.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u8::try_from(payload.len()).ok().filter(|length| *length < 126) {
        Some(length) => bytes.push(0x80 | length),
        None => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    [&bytes[..], &[0; 4], payload].concat()
}

/// Bytes of memory that are in use, in this process. Each test is to be a process of its own, as nextest has it, or the only one that is looked at.
pub fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// One request on a connection of its own.
pub async fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &[u8],
) -> Response {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    // A server that refuses early may have closed before it has read everything.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    Response { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// A polling session.
#[derive(Clone)]
pub struct Polling {
    pub address: SocketAddr,
    pub path: &'static str,
    pub sid: String,
}

impl Polling {
    pub async fn open(address: SocketAddr, path: &'static str) -> Self {
        let opened = request(address, "GET", &format!("{path}?EIO=4&transport=polling"), "", b"").await;
        assert_eq!(opened.status, 200, "{opened:?}");
        let value: serde_json::Value = serde_json::from_str(&opened.body[1..]).unwrap();
        Self { address, path, sid: value["sid"].as_str().unwrap().to_owned() }
    }

    pub fn target(&self) -> String {
        format!("{}?EIO=4&transport=polling&sid={}", self.path, self.sid)
    }

    pub async fn get(&self) -> Response {
        request(self.address, "GET", &self.target(), "", b"").await
    }

    pub async fn post(&self, body: &str) -> Response {
        request(self.address, "POST", &self.target(), "", body.as_bytes()).await
    }

    pub async fn websocket(&self) -> Ws {
        self.try_websocket().await.unwrap()
    }

    pub async fn try_websocket(&self) -> Result<Ws, tokio_tungstenite::tungstenite::Error> {
        Ws::try_open(self.address, &format!("{}?EIO=4&transport=websocket&sid={}", self.path, self.sid)).await
    }
}
