//! The limit of fan-out and of resume: one thread that writes prepared bytes to sockets, and nothing else.
//!
//! Speaks what `../README.md` calls the common contract (`--frame tutorial`), or as much of the project's full protocol as takes part in a delivery (`--frame ours`): then an event has the bytes
//! that the project's server would send. `--mode singly` writes each event to each member as soon as it is posted; `coalesced` takes in all posts that have arrived, then writes to each member once.
//! `--history N` keeps the newest N events of each room as they were written, and whoever connects gets those after its place in one write.
//!
//! What a chat needs beside is left out: heartbeat, storage, identities, repeats, bounds. What a socket does not take at once is kept for it, however much it is. No fragments, no compression.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::SocketAddr;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Parser, ValueEnum};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sha1::{Digest, Sha1};

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 4096;

/// What the project's server puts where this one knows nothing, in the same number of bytes.
mod filler {
    pub const SID: &str = "vjdonETQrGAHggsDY7rzNQ";
    pub const PID: &str = "AeHsYubQa2TYpD7BTTkC_Wa-N2icRNCsYAeCCwNjuvM1AgMAHGd1ZXN0OjRleGk1dEJyWk5pa1BzRk5PUUw5WmcAAQJyMQAAAAAAAACEdNg6hEMbHwhW5bFB9e8r";
    pub const EPOCH: &str = "645cd19b6152";
    pub const FINGERPRINT: &str = "c211b84263cb";
    pub const GUEST: &str = r#"{"id":"guest:4exi5tBrZNikPsFNOQL9Zg","name":"Guest 4exi"}"#;
    pub const GUEST_WITH_SECRET: &str =
        r#"{"id":"guest:fGgwtgpGTOoxG4ScCd-_8AK_3ygWnvnqqroVONcFt5Q","name":"Guest fGgw"}"#;
    pub const AT_MS: u64 = 1_795_827_894_835;
}

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    #[arg(long, value_enum, default_value = "ours")]
    frame: Protocol,
    #[arg(long, value_enum, default_value = "singly")]
    mode: Mode,
    /// Characters of the recovery token behind each event; 0: no token. Default: 20 with `ours`, which is a token of one room, and 0 with `tutorial`.
    /// A room whose first client has said `"recovery":false` has none.
    #[arg(long)]
    token: Option<usize>,
    /// Events of each room that are kept for those who connect.
    #[arg(long, default_value_t = 0)]
    history: usize,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Protocol {
    Ours,
    Tutorial,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    Singly,
    Coalesced,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(options.listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening");
    let mut chat = Chat::new(&options);
    let mut events = Events::with_capacity(EVENTS_MAX);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut chat)?;
                continue;
            }
            if event.is_writable() {
                chat.writable(event.token().0);
            }
            if event.is_readable() || event.is_read_closed() {
                chat.readable(event.token().0, event.is_read_closed());
            }
        }
        chat.flush();
    }
}

fn accept(listener: &TcpListener, poll: &Poll, chat: &mut Chat) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let index = chat.vacant();
        poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        chat.connections[index] = Some(Connection::new(stream));
    }
}

struct Chat {
    protocol: Protocol,
    mode: Mode,
    token: String,
    history: usize,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    rooms: Vec<Room>,
    names: HashMap<String, usize>,
    /// Rooms with something pending.
    due: Vec<usize>,
    /// Connections whose posts are to be answered.
    answered: Vec<usize>,
    buffer: Vec<u8>,
    text: String,
}

impl Chat {
    fn new(options: &Options) -> Self {
        let token = options.token.unwrap_or(if options.frame == Protocol::Ours { 20 } else { 0 });
        Self {
            protocol: options.frame,
            mode: options.mode,
            token: if token > 0 { format!(",\"{}\"", "A".repeat(token)) } else { String::new() },
            history: options.history,
            connections: Vec::new(),
            free: Vec::new(),
            rooms: Vec::new(),
            names: HashMap::new(),
            due: Vec::new(),
            answered: Vec::new(),
            buffer: vec![0; READ_BYTES],
            text: String::new(),
        }
    }

    fn vacant(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        })
    }

    fn writable(&mut self, index: usize) {
        if let Some(connection) = &mut self.connections[index] {
            let unsent = mem::take(&mut connection.unsent);
            connection.write(&unsent);
        }
    }

    fn readable(&mut self, index: usize, to_the_end: bool) {
        let mut buffer = mem::take(&mut self.buffer);
        while let Some(connection) = &mut self.connections[index] {
            let count = match connection.stream.read(&mut buffer) {
                Ok(count) if count > 0 => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                _ => {
                    self.close(index);
                    break;
                }
            };
            if connection.input.is_empty() {
                self.take_in(index, &mut buffer[..count]);
            } else {
                let mut input = mem::take(&mut connection.input);
                input.extend_from_slice(&buffer[..count]);
                self.take_in(index, &mut input);
            }
            // A short read has emptied the socket: what comes later is another event.
            if count < buffer.len() && !to_the_end {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// Handles what is complete in `bytes`, and keeps the rest.
    fn take_in(&mut self, index: usize, bytes: &mut [u8]) {
        let mut start = 0;
        while let Some(connection) = &mut self.connections[index] {
            if !connection.open {
                let Some(length) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { break };
                let Some(answer) = upgrade(&bytes[..length]) else { return self.close(index) };
                connection.write(&answer);
                connection.open = true;
                start = length + 4;
            }
            let Some((opcode, payload)) = unmask(&mut bytes[start..]) else { break };
            let packet = &bytes[start + payload.start..start + payload.end];
            start += payload.end;
            match (opcode, packet) {
                (TEXT, [b'4', b'2', event @ ..]) => self.event(index, event),
                (TEXT, [b'4', b'0', auth @ ..]) => self.connect(index, auth),
                (TEXT, [b'1'] | [b'4', b'1', ..]) | (CLOSE, _) => return self.close(index),
                (PING, _) => {
                    let mut pong = Vec::new();
                    push_frame(&mut pong, PONG, packet);
                    connection.write(&pong);
                }
                _ => (),
            }
        }
        if let Some(connection) = &mut self.connections[index] {
            connection.input = bytes[start..].to_vec();
        }
    }

    /// Answers a CONNECT, with everything that is kept behind the client's places, in one write.
    fn connect(&mut self, index: usize, auth: &[u8]) {
        let auth: Auth = serde_json::from_slice(auth).unwrap_or_default();
        let recovery = auth.recovery != Some(false);
        let places = match self.protocol {
            Protocol::Ours => auth.rooms,
            Protocol::Tutorial => {
                HashMap::from([(auth.room.unwrap_or_else(|| "general".to_owned()), auth.server_offset)])
            }
        };
        let connected = match self.protocol {
            Protocol::Ours if recovery => format!(r#"40{{"sid":"{}","pid":"{}"}}"#, filler::SID, filler::PID),
            _ => format!(r#"40{{"sid":"{}"}}"#, filler::SID),
        };
        let mut answer = Vec::new();
        push_frame(&mut answer, TEXT, connected.as_bytes());
        // Whoever connects gets what is pending from the history, and not again.
        self.flush();
        for (name, place) in places {
            let room = *self.names.entry(name).or_insert_with_key(|name| {
                self.rooms.push(Room { name: name.clone(), recovery, ..Room::default() });
                self.rooms.len() - 1
            });
            answer.extend_from_slice(self.rooms[room].after(place.offset()));
            self.rooms[room].members.push(index);
            if let Some(connection) = &mut self.connections[index] {
                connection.rooms.push(room);
            }
        }
        if let Some(connection) = &mut self.connections[index] {
            connection.author = if auth.guest.is_some() { filler::GUEST_WITH_SECRET } else { filler::GUEST };
            connection.write(&answer);
        }
    }

    /// Takes in a post; other events are ignored.
    fn event(&mut self, index: usize, event: &[u8]) {
        let digits = event.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (ack, json) = event.split_at(digits);
        let Some(connection) = &mut self.connections[index] else { return };
        let posted = match self.protocol {
            Protocol::Ours => serde_json::from_slice::<(&str, Post)>(json).ok().and_then(|(name, post)| {
                let room = *self.names.get(post.room).filter(|_| name == "post")?;
                Some((room, post.id, post.content))
            }),
            Protocol::Tutorial => serde_json::from_slice::<(&str, &RawValue, IgnoredAny)>(json)
                .ok()
                .filter(|(name, ..)| *name == "chat message")
                .and_then(|(_, text, _)| Some((*connection.rooms.first()?, "", text))),
        };
        let Some((number, id, content)) = posted else { return };
        let room = &mut self.rooms[number];
        let offset = room.last + 1;
        let token = if room.recovery { &*self.token } else { "" };
        let text = &mut self.text;
        text.clear();
        // Writing to a string cannot fail.
        let _ = match self.protocol {
            Protocol::Ours => write!(
                text,
                r#"42["message",{{"room":"{}","offset":{offset},"pos":"{}.{offset}.{}","id":"{id}","from":{},"content":{content},"at":{}}}{token}]"#,
                room.name,
                filler::EPOCH,
                filler::FINGERPRINT,
                connection.author,
                filler::AT_MS,
            ),
            Protocol::Tutorial => write!(text, r#"42["chat message",{content},{offset}{token}]"#),
        };
        if room.pending.is_empty() {
            self.due.push(number);
        }
        room.post(text.as_bytes(), self.history);
        if !ack.is_empty() {
            let ack = String::from_utf8_lossy(ack);
            text.clear();
            let _ = match self.protocol {
                Protocol::Ours => write!(
                    text,
                    r#"43{ack}[{{"ok":true,"offset":{offset},"pos":"{}.{offset}.{}","at":{},"duplicate":false}}]"#,
                    filler::EPOCH,
                    filler::FINGERPRINT,
                    filler::AT_MS,
                ),
                Protocol::Tutorial => write!(text, "43{ack}[]"),
            };
            if connection.answers.is_empty() {
                self.answered.push(index);
            }
            push_frame(&mut connection.answers, TEXT, text.as_bytes());
        }
        if self.mode == Mode::Singly {
            self.flush();
        }
    }

    /// Writes what is pending: once to each member of each room, with the answers to its own posts ahead.
    fn flush(&mut self) {
        for room in self.due.drain(..) {
            let room = &mut self.rooms[room];
            for &member in &room.members {
                let Some(connection) = &mut self.connections[member] else { continue };
                if connection.answers.is_empty() {
                    connection.write(&room.pending);
                } else {
                    let mut bytes = mem::take(&mut connection.answers);
                    bytes.extend_from_slice(&room.pending);
                    connection.write(&bytes);
                }
            }
            room.pending.clear();
        }
        for index in self.answered.drain(..) {
            if let Some(connection) = &mut self.connections[index] {
                let answers = mem::take(&mut connection.answers);
                connection.write(&answers);
            }
        }
    }

    fn close(&mut self, index: usize) {
        let Some(connection) = self.connections[index].take() else { return };
        for room in connection.rooms {
            self.rooms[room].members.retain(|&member| member != index);
        }
        self.answered.retain(|&answered| answered != index);
        self.free.push(index);
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Auth {
    room: Option<String>,
    server_offset: Place,
    rooms: HashMap<String, Place>,
    guest: Option<IgnoredAny>,
    recovery: Option<bool>,
}

/// How far a client is in a room: an offset, or a `pos` that has one in its middle.
#[derive(Deserialize)]
#[serde(untagged)]
enum Place {
    Offset(u64),
    Pos(String),
}

impl Default for Place {
    fn default() -> Self {
        Self::Offset(0)
    }
}

impl Place {
    fn offset(&self) -> u64 {
        match self {
            Self::Offset(offset) => *offset,
            Self::Pos(pos) => pos.split('.').nth(1).and_then(|offset| offset.parse().ok()).unwrap_or(0),
        }
    }
}

/// A `post`, whose room and id need no escapes.
#[derive(Deserialize)]
struct Post<'a> {
    room: &'a str,
    id: &'a str,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Default)]
struct Room {
    name: String,
    recovery: bool,
    members: Vec<usize>,
    /// The offset of the newest event.
    last: u64,
    /// Frames that the members have not been written.
    pending: Vec<u8>,
    /// The newest frames, and where in `kept` each of them begins.
    kept: Vec<u8>,
    begins: Vec<usize>,
}

impl Room {
    fn post(&mut self, event: &[u8], history: usize) {
        self.last += 1;
        push_frame(&mut self.pending, TEXT, event);
        if history == 0 {
            return;
        }
        // Half of it is let go at once, so that this costs little.
        if self.begins.len() == 2 * history {
            let end = self.begins[history];
            self.kept.drain(..end);
            self.begins.drain(..history);
            self.begins.iter_mut().for_each(|begin| *begin -= end);
        }
        self.begins.push(self.kept.len());
        push_frame(&mut self.kept, TEXT, event);
    }

    /// What is kept behind `offset`.
    fn after(&self, offset: u64) -> &[u8] {
        let missed = self.last.saturating_sub(offset).min(self.begins.len() as u64) as usize;
        self.begins.get(self.begins.len() - missed).map_or(&[], |&begin| &self.kept[begin..])
    }
}

struct Connection {
    stream: TcpStream,
    /// Whether it speaks WebSocket yet.
    open: bool,
    rooms: Vec<usize>,
    /// Whom its messages are from, as JSON.
    author: &'static str,
    /// The beginning of a packet whose end has not come.
    input: Vec<u8>,
    /// Answers to posts that go out with the next write.
    answers: Vec<u8>,
    /// What the socket has not taken.
    unsent: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            open: false,
            rooms: Vec::new(),
            author: filler::GUEST,
            input: Vec::new(),
            answers: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// A socket that fails is closed when that is read from it.
    fn write(&mut self, mut bytes: &[u8]) {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
        self.unsent.extend_from_slice(bytes);
    }
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The answer to a WebSocket handshake, with the packet that opens Engine.IO behind it. Its heartbeat is a day away.
fn upgrade(request: &[u8]) -> Option<Vec<u8>> {
    let request = str::from_utf8(request).ok()?;
    let (_, key) = request
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
    let digest =
        Sha1::new().chain_update(key.trim()).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let accept = STANDARD.encode(digest);
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    let open = format!(
        r#"0{{"sid":"{}","upgrades":[],"pingInterval":86400000,"pingTimeout":86400000,"maxPayload":1000000}}"#,
        filler::SID
    );
    push_frame(&mut answer, TEXT, open.as_bytes());
    Some(answer)
}

fn push_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ ..126 => out.push(length as u8),
        length @ ..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// The first frame of a client, unmasked where it lies, if all of it is there: its opcode, and where its payload is.
fn unmask(bytes: &mut [u8]) -> Option<(u8, Range<usize>)> {
    let (opcode, short) = (bytes.first()? & 15, bytes.get(1)? & 127);
    let (mask, length): (usize, u64) = match short {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let start = mask + 4;
    let payload = start..start.checked_add(usize::try_from(length).ok()?)?;
    let mask: [u8; 4] = bytes.get(mask..start)?.try_into().ok()?;
    bytes
        .get_mut(payload.clone())?
        .iter_mut()
        .zip(mask.iter().cycle())
        .for_each(|(byte, mask)| *byte ^= mask);
    Some((opcode, payload))
}
