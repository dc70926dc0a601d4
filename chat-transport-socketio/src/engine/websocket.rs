//! One WebSocket: frames in by tungstenite, frames out from one buffer, over the bare TCP stream where there is one.
//!
//! Nothing here waits or decides. A connection that has nothing to write holds no write buffer: it borrows one from the
//! thread while it writes, and keeps only the rest that the socket did not take.

mod intake;
mod stream;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{self, Message as Frame, Utf8Bytes};

use self::intake::Intake;
use self::stream::Stream;
use super::packet::Packet;
use super::settings::Settings;
use super::text::Text;
use super::writer::{Framing, Writer};

/// What is read at once. Small, because an idle connection keeps it.
const READ_BUFFER_BYTES: usize = 512;
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
            if let Some(bytes) = settings.receive_buffer_bytes {
                drop(socket2::SockRef::from(tcp).set_recv_buffer_size(bytes));
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
        let mut intake = Intake::default();
        intake.feed(&ahead);
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
            let intake = &mut self.intake;
            let read =
                self.frames.read(&mut Wire { stream: &mut self.stream, out: &mut self.out, intake, cx });
            self.unsent_control += self.out.len() - before;
            self.exhausted = false;
            return match read {
                Ok(Frame::Text(text)) => {
                    Poll::Ready(Packet::from_text(self.own_text(text)).map_err(|_| LinkEnd::Malformed))
                }
                Ok(Frame::Binary(bytes)) => Poll::Ready(Ok(Packet::from_binary(self.own_bytes(bytes)))),
                Ok(Frame::Close(_)) => {
                    // The answer to it waits to be written.
                    self.end = Some(End::Left);
                    continue;
                }
                Ok(_) => continue,
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.exhausted = true;
                    self.give_back_a_large_buffer();
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

    /// A message that may be a small slice of a large read buffer is copied out of it: it is kept until it is handled, and the buffer would be
    /// kept with it.
    fn own_bytes(&self, bytes: Bytes) -> Bytes {
        if self.is_small(bytes.len()) { Bytes::copy_from_slice(&bytes) } else { bytes }
    }

    fn own_text(&self, text: Utf8Bytes) -> Text {
        if self.is_small(text.len()) { Text::from(text.as_str()) } else { Text::from(text) }
    }

    fn is_small(&self, bytes: usize) -> bool {
        bytes < READ_BUFFER_BYTES || (bytes as u64) < self.intake.largest()
    }

    /// Once everything that has come was handed out: an idle connection would otherwise keep the room for its largest message.
    fn give_back_a_large_buffer(&mut self) {
        let large = self.intake.largest() > READ_BUFFER_BYTES as u64;
        if large && self.intake.is_between_messages() && self.frames.can_write() {
            self.frames = WebSocketContext::new(Role::Server, Some(*self.frames.get_config()));
            self.intake = Intake::default();
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
        let intake = &mut self.intake;
        let mut wire = Wire { stream: &mut self.stream, out: &mut self.out, intake, cx };
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
            let intake = &mut self.intake;
            match self.frames.read(&mut Wire { stream: &mut self.stream, out: &mut self.out, intake, cx }) {
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

/// What tungstenite reads from and writes its own frames (pongs, close) to.
struct Wire<'a, 'b> {
    stream: &'a mut Stream,
    out: &'a mut Vec<u8>,
    intake: &'a mut Intake,
    cx: &'a mut Context<'b>,
}

impl Read for Wire<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(into);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                self.intake.feed(buffer.filled());
                Ok(buffer.filled().len())
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

#[cfg(test)]
mod tests;
