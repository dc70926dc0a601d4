//! One WebSocket: frames in by tungstenite, frames out from one buffer, over the bare TCP stream where there is one.
//!
//! Nothing here waits or decides. A connection that has nothing to write holds no write buffer: it borrows one from the
//! thread while it writes, and keeps only the rest that the socket did not take.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{self, Message as Frame};

use super::packet::Packet;
use super::settings::Settings;
use super::text::Text;
use super::writer::{Framing, Writer};

/// What is read at once. Small, because an idle connection keeps it.
const READ_BUFFER_BYTES: usize = 1024;
/// Written in one go; also the room that a connection offers at a time.
pub(crate) const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// Answers to the peer's own WebSocket pings that may wait for it to read, before nothing more is read from it.
const UNSENT_CONTROL_BYTES_MAX: usize = 4 * 1024;
/// A buffer that grew beyond this (one very large packet) is not kept for the next write.
const SPARE_BUFFER_BYTES_MAX: usize = 4 * WRITE_BUFFER_BYTES;

thread_local! {
    /// The write buffer that the connections of this thread use in turn.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Why nothing more comes over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkEnd {
    /// The peer closed it, or it broke.
    Closed,
    /// The peer broke the protocol.
    Malformed,
}

/// How the peer's side of a WebSocket came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There is nobody to be told.
    Broken,
    /// The peer has said that it leaves.
    Left,
    /// What comes is no WebSocket any more; the peer is told by this code.
    Breach(CloseCode),
}

impl End {
    fn of(error: &tungstenite::Error) -> Self {
        use tungstenite::Error::{AlreadyClosed, Capacity, ConnectionClosed, Io, Protocol, Utf8};
        match error {
            Io(_)
            | ConnectionClosed
            | AlreadyClosed
            | Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => Self::Broken,
            Capacity(_) => Self::Breach(CloseCode::Size),
            Utf8(_) => Self::Breach(CloseCode::Invalid),
            _ => Self::Breach(CloseCode::Protocol),
        }
    }
}

pub(crate) struct WebSocketLink {
    frames: WebSocketContext,
    stream: Stream,
    out: Vec<u8>,
    written: usize,
    /// Bytes in `out` which the peer provoked by WebSocket pings.
    unsent_control: usize,
    /// Nothing more could be read the last time.
    exhausted: bool,
    /// Nothing more counts of what comes.
    end: Option<End>,
    intake: Intake,
}

impl std::fmt::Debug for WebSocketLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocketLink").field("unsent", &self.unsent()).finish_non_exhaustive()
    }
}

impl WebSocketLink {
    /// Takes over a connection that hyper has upgraded. What the peer has sent ahead is kept.
    pub(crate) fn new(upgraded: Upgraded, settings: &Settings) -> Self {
        let (stream, ahead) = Stream::from_upgraded(upgraded);
        if let Stream::Tcp(tcp) = &stream {
            // Acks and single messages would otherwise wait for the peer's delayed ACK. A failure means a dead socket, which the
            // first read tells as well.
            drop(tcp.set_nodelay(true));
            if let Some(bytes) = settings.send_buffer_bytes {
                drop(socket2::SockRef::from(tcp).set_send_buffer_size(bytes));
            }
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(settings.max_payload))
            .max_frame_size(Some(settings.max_payload));
        let frames = if ahead.is_empty() {
            WebSocketContext::new(Role::Server, Some(config))
        } else {
            // A copy of its own: hyper's whole read buffer would stay alive otherwise.
            WebSocketContext::from_partially_read(ahead.to_vec(), Role::Server, Some(config))
        };
        let intake = Intake { fed: ahead.len() as u64, ..Intake::default() };
        Self {
            frames,
            stream,
            out: Vec::new(),
            written: 0,
            unsent_control: 0,
            exhausted: false,
            end: None,
            intake,
        }
    }

    /// The next packet.
    pub(crate) fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Result<Packet, LinkEnd>> {
        if self.exhausted
            && let Stream::Tcp(tcp) = &self.stream
            && tcp.poll_read_ready(cx).is_pending()
        {
            return Poll::Pending;
        }
        loop {
            if self.unsent_control > UNSENT_CONTROL_BYTES_MAX {
                ready!(self.poll_flush(cx)).map_err(|_| LinkEnd::Closed)?;
            }
            let before = self.out.len();
            let fed = &mut self.intake.fed;
            let read = self.frames.read(&mut Wire { stream: &mut self.stream, out: &mut self.out, fed, cx });
            self.unsent_control += self.out.len() - before;
            self.exhausted = false;
            if let Ok(frame) = &read {
                self.intake.count(frame.len());
            }
            return match read {
                Ok(Frame::Text(text)) => {
                    Poll::Ready(Packet::from_text(Text::from(text)).map_err(|_| LinkEnd::Malformed))
                }
                Ok(Frame::Binary(bytes)) => Poll::Ready(Ok(Packet::from_binary(bytes))),
                Ok(Frame::Close(_)) => {
                    // The answer to it waits to be written.
                    self.end = Some(End::Left);
                    continue;
                }
                Ok(_) => continue,
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.exhausted = true;
                    if self.intake.is_oversized_and_empty() && self.frames.can_write() {
                        self.frames = WebSocketContext::new(Role::Server, Some(*self.frames.get_config()));
                        self.intake = Intake::default();
                    }
                    if self.unsent_control > 0 {
                        // Whether all of it went out or not: the rest is written by the next flush.
                        if let Poll::Ready(Err(_)) = self.poll_flush(cx) {
                            return Poll::Ready(Err(LinkEnd::Closed));
                        }
                    }
                    Poll::Pending
                }
                Err(error) => {
                    let end = *self.end.get_or_insert_with(|| End::of(&error));
                    let malformed = matches!(end, End::Breach(_));
                    Poll::Ready(Err(if malformed { LinkEnd::Malformed } else { LinkEnd::Closed }))
                }
            };
        }
    }

    /// The room there is now: none while something is unsent.
    pub(crate) fn writer(&mut self) -> Writer<'_> {
        let limit = if self.unsent() == 0 { WRITE_BUFFER_BYTES } else { 0 };
        self.borrow_buffer();
        Writer::new(&mut self.out, Framing::Frames, limit)
    }

    /// Writes a packet whether there is room or not: for the few bytes of the protocol's own packets.
    pub(crate) fn control(&mut self, packet: &[u8]) {
        self.borrow_buffer();
        Writer::new(&mut self.out, Framing::Frames, 0).text(&[packet]);
    }

    /// Bytes that the socket has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len() - self.written
    }

    /// Hands everything to the socket. Pending: it is full, and the waker is registered.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.keep_only_the_rest();
                    return Poll::Pending;
                }
            }
        }
        self.unsent_control = 0;
        self.return_buffer();
        match &mut self.stream {
            Stream::Tcp(_) => Poll::Ready(Ok(())),
            other => Pin::new(other).poll_flush(cx),
        }
    }

    /// How the peer's side ended, if it did.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    /// The peer has said by other means that it leaves.
    pub(crate) fn left(&mut self) {
        self.end.get_or_insert(End::Left);
    }

    /// Begins the closing handshake, unless the peer did; to be followed by [`Self::poll_closed`].
    pub(crate) fn start_close(&mut self, cx: &mut Context<'_>, code: CloseCode) {
        let code = if let Some(End::Breach(code)) = self.end { code } else { code };
        let frame = CloseFrame { code, reason: Default::default() };
        let fed = &mut self.intake.fed;
        let mut wire = Wire { stream: &mut self.stream, out: &mut self.out, fed, cx };
        // It fails only where the peer has closed already.
        drop(self.frames.close(&mut wire, Some(frame)));
    }

    /// Waits until the peer has taken everything and has closed its side: a socket that is dropped while something unread has come is reset
    /// by the kernel, and the peer would lose what was sent last. What still comes is thrown away.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.poll_flush(cx)).is_err() {
            return Poll::Ready(());
        }
        while !matches!(self.end, Some(End::Broken | End::Breach(_))) {
            let fed = &mut self.intake.fed;
            match self.frames.read(&mut Wire { stream: &mut self.stream, out: &mut self.out, fed, cx }) {
                Ok(Frame::Close(_)) => return Poll::Ready(()),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Poll::Pending;
                }
                Err(_) => self.end = Some(End::Broken),
            }
        }
        if Pin::new(&mut self.stream).poll_shutdown(cx).is_pending() {
            return Poll::Pending;
        }
        let mut scratch = [0; 512];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    fn borrow_buffer(&mut self) {
        if self.out.capacity() == 0 {
            self.out = SPARE.take();
        }
    }

    fn return_buffer(&mut self) {
        self.written = 0;
        let mut buffer = std::mem::take(&mut self.out);
        if buffer.capacity() != 0 && buffer.capacity() <= SPARE_BUFFER_BYTES_MAX {
            buffer.clear();
            SPARE.set(buffer);
        }
    }

    fn keep_only_the_rest(&mut self) {
        if self.out.capacity() < WRITE_BUFFER_BYTES && self.written == 0 {
            return;
        }
        let rest = self.out.get(self.written..).unwrap_or_default().to_vec();
        self.return_buffer();
        self.out = rest;
    }
}

/// Tells when tungstenite's read buffer is larger than an idle connection's should be, and empty, so that it can be replaced: a large
/// message would otherwise keep its memory as long as the connection lasts.
///
/// The bytes fed are compared with the least that the frames which came out can have taken. If they are equal nothing is left
/// over. With fragments or wasteful headers they never are, and the large buffer stays.
#[derive(Default)]
struct Intake {
    fed: u64,
    taken_at_least: u64,
    oversized: bool,
}

impl Intake {
    fn count(&mut self, payload: usize) {
        let header = match payload {
            0..=125 => 6,
            126..=65_535 => 8,
            _ => 14,
        };
        self.taken_at_least += header + payload as u64;
        self.oversized |= READ_BUFFER_BYTES < payload;
    }

    fn is_oversized_and_empty(&self) -> bool {
        self.oversized && self.fed == self.taken_at_least
    }
}

/// What tungstenite reads from and writes its own frames (pongs, close) to.
struct Wire<'a, 'b> {
    stream: &'a mut Stream,
    out: &'a mut Vec<u8>,
    fed: &'a mut u64,
    cx: &'a mut Context<'b>,
}

impl Read for Wire<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(into);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                let read = buffer.filled().len();
                *self.fed += read as u64;
                Ok(read)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Wire<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bare TCP stream under hyper, or whatever else it is (TLS, a test's pipe).
enum Stream {
    Tcp(TcpStream),
    Other(Box<TokioIo<Upgraded>>),
}

impl Stream {
    fn from_upgraded(upgraded: Upgraded) -> (Self, Bytes) {
        // `axum::serve` and hyper-util's `auto` put a layer of their own around the stream; a plain hyper connection does not.
        let upgraded = match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)
        {
            Ok(parts) => return (Self::Tcp(parts.io.into_inner()), parts.read_buf),
            Err(upgraded) => upgraded,
        };
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Self::Tcp(parts.io.into_inner()), parts.read_buf),
            Err(upgraded) => (Self::Other(Box::new(TokioIo::new(upgraded))), Bytes::new()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Other(other) => Pin::new(other).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Other(other) => Pin::new(other).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Other(other) => Pin::new(other).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Other(other) => Pin::new(other).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use axum::Router;
    use axum::body::Body;
    use http::Request;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    const HANDSHAKE: &[u8] =
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    const PONG: [u8; 7] = [0x81, 0x81, 0, 0, 0, 0, b'3'];

    /// An application that makes a link of each request, as it comes out of the upgrade.
    fn linking() -> (Router, mpsc::UnboundedReceiver<WebSocketLink>) {
        let (sender, links) = mpsc::unbounded_channel();
        let app = Router::new().fallback(move |mut request: Request<Body>| {
            let sender = sender.clone();
            async move {
                let upgrade = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    sender.send(WebSocketLink::new(upgrade.await.unwrap(), &Settings::default())).unwrap();
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
        assert!(link.intake.oversized);
        assert!(is_idle(&mut link).await);
        assert!(!link.intake.oversized, "the read buffer is a fresh one");
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
        assert!(link.intake.oversized, "something is left in the read buffer");
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
            assert!(sent < 64 << 20, "it is read from for ever");
        }
        assert!(link.unsent() <= 2 * UNSENT_CONTROL_BYTES_MAX, "{} bytes wait", link.unsent());
    }
}
