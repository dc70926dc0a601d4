//! An accept loop for HTTP/1 with what a chat needs and `axum::serve` leaves to the system: no Nagle, small buffers, deadlines for the head
//! of a request and for a client that takes nothing of the response, and bounds on headers and connections.
//!
//! Hosts with a loop of their own lose little: on the upgrade to WebSocket the socket is set up again.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::timed::Timed;

/// Bounds of [`Server::run`].
#[derive(Clone, Debug)]
pub struct Server {
    head_timeout: Duration,
    write_timeout: Duration,
    head_bytes: usize,
    headers: usize,
    connections: usize,
    send_buffer_bytes: usize,
    receive_buffer_bytes: usize,
    patience: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            head_bytes: 16 * 1024,
            headers: 100,
            connections: 1_000_000,
            send_buffer_bytes: 64 * 1024,
            receive_buffer_bytes: 64 * 1024,
            patience: Duration::from_secs(10),
        }
    }
}

impl Server {
    /// The defaults: 10 s and 16 KiB for the head of a request, 20 s without a byte taken of a response, 100 headers, 1,000,000 connections, 64 KiB of send buffer and as many
    /// to receive, 10 s for requests
    /// in progress when it stops.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the head of a request may take, and how long a connection may be idle between two.
    #[must_use]
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// How long a client may take nothing of the response that is written to it; then its connection is closed.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Bytes of the head of a request (at least 8 KiB); a larger one is answered 431.
    #[must_use]
    pub fn head_bytes_max(mut self, bytes: usize) -> Self {
        self.head_bytes = bytes.max(8 * 1024);
        self
    }

    /// TCP connections that are in the hands of HTTP at a time (a WebSocket is not any more); others wait to be accepted.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections = connections.min(Semaphore::MAX_PERMITS);
        self
    }

    /// Bytes that the kernel may hold for a peer that does not read.
    #[must_use]
    pub fn send_buffer_bytes(mut self, bytes: usize) -> Self {
        self.send_buffer_bytes = bytes;
        self
    }

    /// Bytes that the kernel may hold of what a peer sends, before they are read.
    #[must_use]
    pub fn receive_buffer_bytes(mut self, bytes: usize) -> Self {
        self.receive_buffer_bytes = bytes;
        self
    }

    /// How long requests in progress may take when it stops.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Serves `app` until `stop` is ready, then accepts nothing more and waits for the requests in progress. Connections that became
    /// WebSockets are not its own any more: see [`crate::SocketIo::shutdown`], to be called when `stop` is ready.
    pub async fn run(self, listener: TcpListener, app: Router, stop: impl Future<Output = ()> + Send) {
        let places = Arc::new(Semaphore::new(self.connections));
        let (stopped, stopping) = watch::channel(());
        let mut stop = pin!(stop);
        loop {
            let accepted = async {
                let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = &mut stop => break,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = self.connection(stream, peer, app.clone(), stopping.clone());
                    tokio::spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of file descriptors or memory: nothing is gained by asking again at once.
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        drop(stopping);
        drop(stopped);
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        // Out of patience: what still runs goes on in its own task, and nobody waits for it.
        let _ = tokio::time::timeout(self.patience, places.acquire_many(all)).await;
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        app: Router,
        mut stopping: watch::Receiver<()>,
    ) -> impl Future<Output = ()> + Send + 'static {
        // A failure means a dead socket, which reading from it tells as well.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_send_buffer_size(self.send_buffer_bytes);
        let _ = socket2::SockRef::from(&stream).set_recv_buffer_size(self.receive_buffer_bytes);
        let app = TowerToHyperService::new(app);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            app.call(request)
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.head_timeout)
            .max_headers(self.headers)
            .max_buf_size(self.head_bytes);
        let connection = http
            .serve_connection(TokioIo::new(Timed::new(stream, self.write_timeout)), service)
            .with_upgrades();
        async move {
            let mut connection = pin!(connection);
            tokio::select! {
                // What ends a connection (a reset, a head that is too large or too slow) was answered where it could be.
                _ = &mut connection => {}
                _ = stopping.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        }
    }
}

/// Serves `app` with the defaults of [`Server`].
pub async fn serve(listener: TcpListener, app: Router, stop: impl Future<Output = ()> + Send) {
    Server::new().run(listener, app, stop).await;
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
