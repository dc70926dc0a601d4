//! Connections that are opened and abandoned at every stage of a handshake leave nothing behind: no session, no open file, no memory.
//!
//! `CHAT_ABANDONED=100000 cargo nextest run -p chat-transport-socketio --test abandoned --no-capture` opens as many as that, in a minute and a half, and says what was held
//! after each batch.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use chat_transport_socketio::engine::Settings;
use chat_transport_socketio::{Args, Auth, Namespace, Recovery, Refusal, Socket, SocketIo};
use futures_util::StreamExt;
use support::{frame, resident, soon, start, until, websocket_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Opened if nobody asks for more: a few seconds in a debug build.
const CONNECTIONS: usize = 16_000;
/// After each of these everything must be gone.
const BATCH: usize = 4_000;
/// At a time.
const TOGETHER: usize = 100;
/// A closed connection keeps its port for a while, so that there must be more than one to connect to.
const PORTS: usize = 4;
/// What an allocator may keep, and the clients, which are part of this process.
const SLACK_BYTES: usize = 3 * 1024 * 1024;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const ATTACHMENT: &[u8] = br#"451-["message",{"_placeholder":true,"num":0}]"#;

/// How far a client comes before it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Polling {
    Head,
    Asked,
    Opened,
    Joining,
    Joined,
    Waiting,
    HalfAPost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum WebSocket {
    Head,
    Asked,
    Opened,
    Joining,
    Joined,
    HalfAFrame,
    HalfAPacket,
    Leaving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Upgrade {
    Asked,
    Opened,
    Probed,
    Answered,
    Moving,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Nothing,
    Polling(Polling),
    WebSocket(WebSocket),
    Upgrade(Upgrade),
}

const STAGES: [Stage; 21] = [
    Stage::Nothing,
    Stage::Polling(Polling::Head),
    Stage::Polling(Polling::Asked),
    Stage::Polling(Polling::Opened),
    Stage::Polling(Polling::Joining),
    Stage::Polling(Polling::Joined),
    Stage::Polling(Polling::Waiting),
    Stage::Polling(Polling::HalfAPost),
    Stage::WebSocket(WebSocket::Head),
    Stage::WebSocket(WebSocket::Asked),
    Stage::WebSocket(WebSocket::Opened),
    Stage::WebSocket(WebSocket::Joining),
    Stage::WebSocket(WebSocket::Joined),
    Stage::WebSocket(WebSocket::HalfAFrame),
    Stage::WebSocket(WebSocket::HalfAPacket),
    Stage::WebSocket(WebSocket::Leaving),
    Stage::Upgrade(Upgrade::Asked),
    Stage::Upgrade(Upgrade::Opened),
    Stage::Upgrade(Upgrade::Probed),
    Stage::Upgrade(Upgrade::Answered),
    Stage::Upgrade(Upgrade::Moving),
];

/// One TCP connection of a client. It fails where the server has closed it: on a busy machine a deadline may come before the client does.
struct Client(TcpStream);

impl Client {
    async fn open(address: SocketAddr) -> Self {
        Self(soon(TcpStream::connect(address)).await.unwrap())
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        soon(self.0.write_all(bytes)).await
    }

    /// Reads until `end` has come, and answers everything.
    async fn receive(&mut self, end: &str) -> io::Result<String> {
        let mut seen = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let count = soon(self.0.read(&mut buffer)).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            seen.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&seen);
            if text.contains(end) {
                return Ok(text.into_owned());
            }
            if text.starts_with("HTTP/1.1 4") {
                return Err(io::ErrorKind::NotConnected.into());
            }
        }
    }

    async fn get(&mut self, target: &str) -> io::Result<()> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await
    }

    async fn post(&mut self, target: &str, length: usize, body: &str) -> io::Result<()> {
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        self.send([head.as_bytes(), body.as_bytes()].concat().as_slice()).await
    }

    /// A polling session, whose target this is.
    async fn polling(&mut self) -> io::Result<String> {
        self.get(POLLING).await?;
        let opened = self.receive("}").await?;
        let sid = opened.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap();
        Ok(format!("{POLLING}&sid={sid}"))
    }

    async fn come(&mut self, address: SocketAddr, stage: Stage, second: &mut Option<Self>) -> io::Result<()> {
        match stage {
            Stage::Nothing => Ok(()),
            Stage::Polling(Polling::Head) => self.send(b"GET /socket.io/?EIO=4&tra").await,
            Stage::Polling(Polling::Asked) => self.get(POLLING).await,
            Stage::Polling(stage) => {
                let target = self.polling().await?;
                if Polling::Joining <= stage {
                    self.post(&target, 2, "40").await?;
                }
                if Polling::Joined <= stage {
                    self.receive("ok").await?;
                    self.get(&target).await?;
                    self.receive("40{").await?;
                }
                match stage {
                    Polling::Waiting => self.get(&target).await,
                    Polling::HalfAPost => self.post(&target, 900_000, "42[").await,
                    _ => Ok(()),
                }
            }
            Stage::WebSocket(stage) => {
                let request = websocket_request(WEBSOCKET);
                let request = if stage == WebSocket::Head { request.trim_end() } else { &request };
                self.send(request.as_bytes()).await?;
                if WebSocket::Opened <= stage {
                    self.receive("}").await?;
                }
                if WebSocket::Joining <= stage {
                    self.send(&frame(0x81, b"40")).await?;
                }
                if WebSocket::Joined <= stage {
                    self.receive("42[\"hello").await?;
                }
                match stage {
                    // The first bytes of 900,000.
                    WebSocket::HalfAFrame => self.send(b"\x81\xff\0\0\0\0\0\x0d\xbb\xa0\0\0\0\x0042[").await,
                    WebSocket::HalfAPacket => self.send(&frame(0x81, ATTACHMENT)).await,
                    WebSocket::Leaving => self.send(&frame(0x81, b"41")).await,
                    _ => Ok(()),
                }
            }
            Stage::Upgrade(stage) => {
                let target = self.polling().await?;
                let ws = second.insert(Self::open(address).await);
                ws.send(websocket_request(&target.replace("polling", "websocket")).as_bytes()).await?;
                if Upgrade::Opened <= stage {
                    ws.receive("\r\n\r\n").await?;
                }
                if Upgrade::Probed <= stage {
                    ws.send(&frame(0x81, b"2probe")).await?;
                }
                if Upgrade::Answered <= stage {
                    ws.receive("3probe").await?;
                }
                if Upgrade::Moving <= stage { ws.send(&frame(0x81, b"5")).await } else { Ok(()) }
            }
        }
    }
}

/// Whether the client came as far as it wanted to.
async fn abandon(address: SocketAddr, stage: Stage, resets: bool) -> bool {
    let mut client = Client::open(address).await;
    let mut second = None;
    let came = client.come(address, stage, &mut second).await;
    for Client(stream) in [Some(client), second].into_iter().flatten() {
        if resets {
            // As the network does where a client is no more; else as its operating system.
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    came.is_ok()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_abandoned_at_any_stage_leave_nothing_behind() {
    let connections = std::env::var("CHAT_ABANDONED").map_or(CONNECTIONS, |number| number.parse().unwrap());
    // Who joined has a room and an event to be recovered, for as long as that lasts.
    let namespace = Namespace::new().on_connect(|socket: Socket, _: Auth| async move {
        socket.join(&format!("home of {}", socket.id()));
        socket.emit_args("hello", &Args::one("you").unwrap()).map_err(|_| Refusal::Passing)
    });
    let short = Duration::from_secs(1);
    let settings = Settings::default()
        .ping_interval(short / 4)
        .ping_timeout(short)
        .upgrade_timeout(short)
        .body_timeout(short)
        .close_timeout(short);
    let io = SocketIo::builder()
        .settings(settings)
        .connect_timeout(short)
        .recovery(Recovery::in_memory().disconnection_max(short))
        .namespace("/", namespace)
        .build();
    let mut addresses = Vec::new();
    for _ in 0..PORTS {
        addresses.push(start(Router::new().nest_service("/socket.io", io.router())).await);
    }
    let files = open_files();
    let mut held = Vec::new();
    let mut came = 0;
    for batch in 0..connections.div_ceil(BATCH) {
        let opened = (batch * BATCH..(batch + 1) * BATCH).map(|number| {
            let stage = STAGES[number % STAGES.len()];
            tokio::spawn(abandon(addresses[number % PORTS], stage, (number / STAGES.len()).is_multiple_of(2)))
        });
        let mut opened = futures_util::stream::iter(opened).buffer_unordered(TOGETHER);
        while let Some(outcome) = opened.next().await {
            came += usize::from(outcome.unwrap());
        }
        until("all sessions and files are closed", || io.connections() == 0 && open_files() <= files).await;
        held.push(resident());
    }
    let connections = held.len() * BATCH;
    assert!(connections / 10 * 9 <= came, "only {came} of {connections} came as far as they wanted to");
    println!("held after each batch: {held:?}");
    // The first batches fill the allocator's pools.
    let (first, rest) = held.split_at(held.len() / 2);
    let (before, after) = (first.iter().max().unwrap(), rest.last().unwrap());
    assert!(*after <= before + SLACK_BYTES, "memory grows: {held:?}");
}
