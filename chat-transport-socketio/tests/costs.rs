//! What a post and a delivery cost, in allocations: counted, hence the same on every machine and under every load.
//!
//! A bound here is a tenth to a fifth above what was counted when it was written. Whoever makes something dearer on purpose raises it, and says why.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::mpsc;

use allocation_counter::{AllocationInfo, measure};
use axum::Router;
use chat_core::{Backends, Chat, MemoryStore};
use chat_transport_socketio::SocketIo;
use chat_transport_socketio::chat::{self, ChatSettings};
use chat_transport_socketio::engine::Settings;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::stream::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{Message as Frame, WebSocket, connect};

const POSTS: u64 = 200;
/// The first posts make what is kept from then on.
const WARM_UP: u64 = 100;

struct Client(WebSocket<MaybeTlsStream<std::net::TcpStream>>);

impl Client {
    fn join(address: SocketAddr) -> Self {
        let mut client =
            Self(connect(format!("ws://{address}/socket.io/?EIO=4&transport=websocket")).unwrap().0);
        client.packet("0");
        client.send(r#"40{"rooms":{"lobby":0}}"#.to_owned());
        client.packet("40");
        client
    }

    fn send(&mut self, packet: String) {
        self.0.send(Frame::text(packet)).unwrap();
    }

    /// The next packet that begins so.
    fn packet(&mut self, beginning: &str) -> String {
        loop {
            let Frame::Text(text) = self.0.read().unwrap() else { continue };
            if text.starts_with(beginning) {
                return text.to_string();
            }
        }
    }
}

#[derive(Default)]
struct Room {
    members: Vec<Client>,
    posted: u64,
}

impl Room {
    fn fill(&mut self, address: SocketAddr, members: usize) {
        while self.members.len() < members {
            self.members.push(Client::join(address));
        }
    }

    /// One post after the other by the first member, each received by all before the next one.
    fn post(&mut self, count: u64) {
        for _ in 0..count {
            self.posted += 1;
            let (number, text) = (self.posted, "x".repeat(100));
            let poster = &mut self.members[0];
            poster.send(format!(
                r#"42{number}["post",{{"room":"lobby","id":"{number}","content":{{"text":"{text}"}}}}]"#
            ));
            let answer = poster.packet("43");
            assert!(answer.contains(r#""ok":true"#), "{answer}");
            for member in &mut self.members {
                let message = member.packet(r#"42["message""#);
                assert!(message.contains(&format!(r#""id":"{number}""#)), "{message}");
            }
        }
    }
}

/// Something that the clients do.
type Step = Box<dyn FnOnce(&mut Room) + Send>;

/// A server in this thread, and its clients in another: so only what the server allocates is counted.
struct Trial {
    runtime: Runtime,
    address: SocketAddr,
    steps: mpsc::Sender<Step>,
}

impl Trial {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = runtime.block_on(serve());
        let (steps, given) = mpsc::channel::<Step>();
        std::thread::spawn(move || {
            let mut room = Room::default();
            given.iter().for_each(|step| step(&mut room));
        });
        Self { runtime, address, steps }
    }

    /// What the server allocates while the clients do something.
    fn cost(&self, step: impl FnOnce(&mut Room) + Send + 'static) -> AllocationInfo {
        let (done, is_done) = oneshot::channel();
        let step = move |room: &mut Room| {
            step(room);
            done.send(()).unwrap();
        };
        self.steps.send(Box::new(step)).unwrap();
        measure(|| self.runtime.block_on(is_done).unwrap())
    }

    fn fill(&self, members: usize) -> AllocationInfo {
        let address = self.address;
        self.cost(move |room| room.fill(address, members))
    }

    fn post(&self, count: u64) -> AllocationInfo {
        self.cost(move |room| room.post(count))
    }
}

async fn serve() -> SocketAddr {
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).start().await.unwrap();
    let mut settings = ChatSettings::default();
    settings.requests_per_second = None;
    settings.user_requests_per_second = None;
    let recovery = chat::recovery(&chat).await.unwrap();
    let namespace = chat::namespace(chat, settings);
    let io = SocketIo::builder()
        .recovery(recovery)
        .settings(Settings::default())
        .namespace("/", namespace)
        .build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().nest_service("/socket.io", io.router());
    tokio::spawn(chat_transport_socketio::serve(listener, app, std::future::pending()));
    address
}

#[test]
#[allow(clippy::cast_precision_loss)]
fn what_a_post_a_delivery_and_an_idle_connection_allocate() {
    let posts_to = |members| {
        let trial = Trial::start();
        trial.fill(10);
        let joined = trial.fill(members);
        trial.post(WARM_UP);
        (joined, trial.post(POSTS))
    };
    let ((_, few), (joined, many)) = (posts_to(10), posts_to(110));

    let delivery = (many.count_total as f64 - few.count_total as f64) / (POSTS * 100) as f64;
    let post = few.count_total as f64 / POSTS as f64 - 10.0 * delivery;
    let (kept, bytes) = (joined.count_current as f64 / 100.0, joined.bytes_current as f64 / 100.0);
    println!(
        "allocations: a post {post:.1}, a delivery {delivery:.2}; an idle connection keeps {kept:.1} with {bytes:.0} bytes"
    );
    assert!(delivery < 1.2, "a delivery makes {delivery} allocations");
    assert!(post < 67.0, "a post makes {post} allocations");
    assert!(bytes < 7200.0, "an idle connection keeps {bytes} bytes");
}
