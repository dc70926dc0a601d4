//! One connection: what it has still to write, what it has half read, and how far it is.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::frame;
use super::order::Reader;

pub(super) struct Client {
    pub(super) room: u32,
    pub(super) address: SocketAddr,
    pub(super) socket: Option<TcpStream>,
    pub(super) state: State,
    /// When it last came to its room.
    pub(super) joined_at: u64,
    pub(super) reader: Reader,
    /// What could not be written yet.
    out: Vec<u8>,
    /// The beginning of a frame of which the rest has not come yet.
    rest: Vec<u8>,
    /// What it needs to be recovered.
    pub(super) pid: Option<String>,
    pub(super) token: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not connected.
    Away,
    /// Waits for the answer to its HTTP request.
    Upgrading,
    /// Waits for the transport's first packet.
    Opening,
    /// Could CONNECT, but is not to yet.
    Held,
    /// Waits for the answer to CONNECT.
    Joining,
    Joined,
    /// Joined, but does not read.
    Stalled,
}

impl Client {
    pub(super) fn new(room: u32, address: SocketAddr) -> Self {
        Self {
            room,
            address,
            socket: None,
            state: State::Away,
            joined_at: 0,
            reader: Reader::default(),
            out: Vec::new(),
            rest: Vec::new(),
            pid: None,
            token: String::new(),
        }
    }

    pub(super) fn open(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let mut socket = TcpStream::connect(self.address)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        self.socket = Some(socket);
        self.state = State::Upgrading;
        self.rest.clear();
        // The key is any, since nobody looks at the answer to it.
        self.out = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            self.address
        )
        .into_bytes();
        Ok(())
    }

    pub(super) fn close(&mut self) {
        self.socket = None;
        self.state = State::Away;
        self.out = Vec::new();
        self.rest = Vec::new();
    }

    /// Takes a text frame to be written by the next [`Self::flush`]; whether it is the first.
    pub(super) fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let first = self.out.is_empty();
        frame::text(&mut self.out, write);
        first
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        frame::pong(&mut self.out, payload);
    }

    /// Writes as much as the socket takes; the rest when it is writable again.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let mut written = 0;
        while written < self.out.len() {
            match socket.write(&self.out[written..]) {
                Ok(count) => written += count,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.drain(..written);
        Ok(())
    }

    /// Reads once, behind what is left of the last time; how many bytes of `buffer` there are now, and whether there may be more.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<(usize, bool)>> {
        let Some(socket) = &mut self.socket else { return Ok(None) };
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        match socket.read(&mut buffer[kept..]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            // A read that does not fill the buffer has emptied the socket: epoll(7).
            Ok(count) => Ok(Some((kept + count, kept + count == buffer.len()))),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.rest.clear();
        self.rest.extend_from_slice(rest);
    }
}
