//! What lies between a node and Redis: passes everything on, until it is told to cut, or to be silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    /// What comes is taken and goes nowhere; nobody is told.
    Swallow,
    /// Connections are closed, and new ones at once.
    Cut,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    /// How often all connections that were open have died.
    deaths: Arc<AtomicU64>,
    port: Arc<AtomicU16>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(watch::channel(Mode::Pass).0);
        let port = Arc::new(AtomicU16::new(port));
        let deaths = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn({
            let (mode, port, deaths) = (mode.clone(), port.clone(), deaths.clone());
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    if *mode.borrow() == Mode::Cut {
                        continue;
                    }
                    let Ok(server) = TcpStream::connect(("127.0.0.1", port.load(Ordering::SeqCst))).await
                    else {
                        continue;
                    };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let born = deaths.load(Ordering::SeqCst);
                    for (from, to) in [(from_client, to_server), (from_server, to_client)] {
                        let deaths = deaths.clone();
                        let is_dead = move || born < deaths.load(Ordering::SeqCst);
                        tokio::spawn(pass(from, to, mode.subscribe(), is_dead));
                    }
                }
            }
        });
        Self { address, mode, deaths, port, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn pass(&self) {
        self.mode.send_replace(Mode::Pass);
    }

    /// Connections that are open now will never say anything again, not even once it passes.
    pub(crate) fn swallow(&self) {
        self.deaths.fetch_add(1, Ordering::SeqCst);
        self.mode.send_replace(Mode::Swallow);
    }

    /// New connections lead to another server. Those that are open stay.
    pub(crate) fn lead_new_ones_to(&self, port: u16) {
        self.port.store(port, Ordering::SeqCst);
    }

    /// As a managed endpoint does when it fails over: the same address is another server from now on.
    pub(crate) fn lead_to(&self, port: u16) {
        self.lead_new_ones_to(port);
        self.cut();
        self.pass();
    }

    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    is_dead: impl Fn() -> bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            changed = mode.changed() => {
                if changed.is_err() || *mode.borrow_and_update() == Mode::Cut {
                    return;
                }
            }
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if is_dead() || *mode.borrow() == Mode::Swallow => {}
                Ok(count) => if to.write_all(&buffer[..count]).await.is_err() { return },
            }
        }
    }
}
