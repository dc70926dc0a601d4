//! The event loop of the load generator: one thread, one epoll, one buffer that all connections are read into.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::client::{Client, State};
use super::dialect::{self, Before, Dialect, Packet};
use super::order::{self, Delivery};
use crate::clock;

pub(super) const STANDARD_INPUT: Token = Token(usize::MAX - 1);
const TIMER: Token = Token(usize::MAX - 2);
/// What one read takes at most, the beginning of a frame from the read before included.
const BUFFER_BYTES: usize = 1 << 20;

pub(super) struct Generator {
    poll: Poll,
    events: Events,
    /// epoll waits whole milliseconds, which is too coarse for due times.
    timer: TimerFd,
    /// For when it is set.
    wakes: u64,
    buffer: Vec<u8>,
    /// Whether standard input has something to read.
    pub(super) asked: bool,
    pub(super) clients: Vec<Client>,
    pub(super) world: World,
}

/// What all connections have in common.
pub(super) struct World {
    pub(super) dialect: Dialect,
    pub(super) rooms: Vec<Room>,
    /// By ack id.
    pub(super) posts: Vec<Post>,
    pub(super) streams: Vec<Measured>,
    /// Whether clients keep their tokens.
    pub(super) remember: bool,
    /// Whether clients are to wait before they CONNECT.
    pub(super) hold: bool,
    /// Clients that have something to write.
    pub(super) to_flush: Vec<usize>,
    /// Clients whose post was answered.
    pub(super) answered: Vec<usize>,
    /// How many clients have come so far: held or in their rooms.
    pub(super) arrived: usize,
    /// Connections that ended without being asked to, and why the first of them did.
    pub(super) dropped: u64,
    pub(super) stopped: Option<String>,
    /// First deliveries of any message, and when the last of them was.
    pub(super) delivered: u64,
    pub(super) delivered_at: u64,
    pub(super) answered_at: u64,
    /// How often a socket had something.
    pub(super) reads: u64,
}

pub(super) struct Room {
    pub(super) name: String,
    /// Those that are there and read.
    pub(super) readers: u64,
    pub(super) clients: Vec<usize>,
    /// How many were posted.
    pub(super) posted: u32,
    /// Posts that were sent later than they were due, or again: how late these are says nothing of the server.
    pub(super) held_up: Vec<u32>,
    pub(super) order: order::Room,
    /// Which stream of the present command posts here.
    pub(super) stream: Option<usize>,
}

pub(super) struct Post {
    pub(super) room: u32,
    pub(super) number: u32,
    pub(super) due: u64,
    pub(super) answered: bool,
}

/// What is counted of a stream.
pub(super) struct Measured {
    pub(super) posts: u64,
    pub(super) answered: u64,
    pub(super) deliveries: u64,
    pub(super) delivery: Histogram<u64>,
    pub(super) answer: Histogram<u64>,
}

impl Measured {
    pub(super) fn new() -> Self {
        // Microseconds to an hour, by three digits.
        let histogram = || Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("fitting bounds");
        Self { posts: 0, answered: 0, deliveries: 0, delivery: histogram(), answer: histogram() }
    }
}

impl Generator {
    pub(super) fn new() -> Result<Self> {
        let poll = Poll::new()?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_fd().as_raw_fd()), TIMER, Interest::READABLE)?;
        poll.registry().register(
            &mut SourceFd(&io::stdin().as_raw_fd()),
            STANDARD_INPUT,
            Interest::READABLE,
        )?;
        Ok(Self {
            poll,
            events: Events::with_capacity(4_096),
            timer,
            wakes: 0,
            buffer: vec![0; BUFFER_BYTES],
            asked: false,
            clients: Vec::new(),
            world: World {
                dialect: Dialect::Tutorial,
                rooms: Vec::new(),
                posts: Vec::new(),
                streams: Vec::new(),
                remember: false,
                hold: false,
                to_flush: Vec::new(),
                answered: Vec::new(),
                arrived: 0,
                dropped: 0,
                stopped: None,
                delivered: 0,
                delivered_at: 0,
                answered_at: 0,
                reads: 0,
            },
        })
    }

    /// Takes what has happened, waiting for it until `until` at most.
    pub(super) fn turn(&mut self, until: Option<u64>) -> Result<()> {
        self.flush();
        let now = clock::now();
        let wait = match until {
            Some(until) if until <= now => Some(Duration::ZERO),
            // To wake early does no harm, to set the timer each time would cost a system call.
            Some(until) if now < self.wakes && self.wakes <= until => None,
            Some(until) => {
                self.wakes = until;
                let at = TimeSpec::from_duration(Duration::from_nanos(until));
                self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
                None
            }
            None => None,
        };
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            match event.token() {
                TIMER => {}
                STANDARD_INPUT => self.asked = true,
                Token(index) => {
                    let client = &mut self.clients[index];
                    let result = match event.is_writable() {
                        true => client.flush(),
                        false => Ok(()),
                    };
                    let result = match result {
                        Ok(()) if event.is_readable() && client.state != State::Stalled => {
                            self.world.read(client, index, &mut self.buffer)
                        }
                        Ok(()) => Ok(()),
                        Err(error) => Err(error.into()),
                    };
                    if let Err(error) = result {
                        self.world.gone(client, &error.to_string());
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins to connect a client.
    pub(super) fn open(&mut self, index: usize) -> Result<()> {
        Ok(self.clients[index].open(self.poll.registry(), Token(index))?)
    }

    pub(super) fn join(&mut self, index: usize) {
        self.world.join(&mut self.clients[index], index);
    }

    /// Posts to the client's room; what was due at `due`.
    pub(super) fn post(&mut self, index: usize, due: u64, text_bytes: usize) -> Result<()> {
        let ack = self.note(index, due)?;
        self.send_post(index, ack, text_bytes);
        Ok(())
    }

    /// Counts a post of the client, which is still to be sent; its ack id.
    pub(super) fn note(&mut self, index: usize, due: u64) -> Result<u32> {
        let world = &mut self.world;
        let room = &mut world.rooms[self.clients[index].room as usize];
        let ack = u32::try_from(world.posts.len())?;
        world.posts.push(Post { room: self.clients[index].room, number: room.posted, due, answered: false });
        room.posted += 1;
        if let Some(stream) = room.stream {
            world.streams[stream].posts += 1;
        }
        Ok(ack)
    }

    /// Sends a post: the same text under the same id each time.
    pub(super) fn send_post(&mut self, index: usize, ack: u32, text_bytes: usize) {
        let world = &mut self.world;
        let post = &world.posts[ack as usize];
        let room = &world.rooms[post.room as usize].name;
        let marker = super::marker::Marker { room: post.room, number: post.number, due: post.due };
        let first = self.clients[index].send(|out| {
            world.dialect.post(out, room, (std::process::id(), ack), |out| marker.write(out, text_bytes));
        });
        if first {
            world.to_flush.push(index);
        }
    }

    /// Says to the client's room that it types.
    pub(super) fn type_notice(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let room = &self.world.rooms[client.room as usize].name;
        if client.send(|out| self.world.dialect.typing(out, room)) {
            self.world.to_flush.push(index);
        }
    }

    fn flush(&mut self) {
        while let Some(index) = self.world.to_flush.pop() {
            let client = &mut self.clients[index];
            if let Err(error) = client.flush() {
                self.world.gone(client, &error.to_string());
            }
        }
    }
}

impl World {
    /// Reads all that the client's socket has.
    fn read(&mut self, client: &mut Client, index: usize, buffer: &mut [u8]) -> Result<()> {
        while let Some((end, more)) = client.read(buffer)? {
            let now = clock::now();
            self.reads += 1;
            let mut begin = 0;
            if client.state == State::Upgrading {
                let Some(head) = memchr::memmem::find(&buffer[..end], b"\r\n\r\n") else {
                    client.keep(&buffer[..end]);
                    continue;
                };
                if !buffer.starts_with(b"HTTP/1.1 101") {
                    bail!("refused: {}", String::from_utf8_lossy(&buffer[..end.min(100)]));
                }
                begin = head + 4;
                client.state = State::Opening;
            }
            while let Some(frame) = super::frame::first(&buffer[begin..end]) {
                let payload = &buffer[begin + frame.payload.start..begin + frame.payload.end];
                begin += frame.payload.end;
                match frame.kind {
                    super::frame::Kind::Text => self.take(client, index, payload, now)?,
                    super::frame::Kind::Ping => {
                        client.pong(payload);
                        self.to_flush.push(index);
                    }
                    super::frame::Kind::Pong => {}
                    super::frame::Kind::Close => {
                        bail!("closed by the server: {}", String::from_utf8_lossy(payload))
                    }
                    super::frame::Kind::Unexpected => bail!("an unexpected frame"),
                }
            }
            client.keep(&buffer[begin..end]);
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Takes one packet of the server.
    fn take(&mut self, client: &mut Client, index: usize, packet: &[u8], now: u64) -> Result<()> {
        match dialect::read(packet) {
            Packet::Message(marker, at) => {
                let room = self.rooms.get_mut(marker.room as usize).filter(|_| marker.room == client.room);
                let room = room.ok_or_else(|| anyhow!("a message of another room"))?;
                let offset = room.order.offset(marker.number, || dialect::offset(packet, at));
                let offset = offset.ok_or_else(|| anyhow!("a message without an offset"))?;
                if client.reader.take(offset) == Delivery::First {
                    self.delivered += 1;
                    self.delivered_at = now;
                }
                if let Some(stream) = room.stream {
                    let stream = &mut self.streams[stream];
                    stream.deliveries += 1;
                    // What was missed is as late as the client was away.
                    if client.joined_at <= marker.due && !room.held_up.contains(&marker.number) {
                        stream.delivery.saturating_record(now.saturating_sub(marker.due) / 1_000);
                    }
                }
                if self.remember
                    && let Some(token) = dialect::token(packet)
                {
                    client.token.clear();
                    client.token.push_str(token);
                }
            }
            Packet::Answer { ack, ok } => {
                let post = self.posts.get_mut(ack as usize).filter(|post| !post.answered);
                let post = post.ok_or_else(|| anyhow!("an answer to nothing"))?;
                post.answered = ok;
                if !ok {
                    self.stopped.get_or_insert_with(|| String::from_utf8_lossy(packet).into_owned());
                    return Ok(());
                }
                if let Some(stream) = self.rooms[post.room as usize].stream {
                    let stream = &mut self.streams[stream];
                    stream.answered += 1;
                    stream.answer.saturating_record(now.saturating_sub(post.due) / 1_000);
                    self.answered.push(index);
                    self.answered_at = now;
                }
            }
            Packet::Open if self.hold => {
                client.state = State::Held;
                self.arrived += 1;
            }
            Packet::Open => self.join(client, index),
            Packet::Connected => {
                if self.remember {
                    client.pid = dialect::pid(packet).map(str::to_owned);
                }
                client.state = State::Joined;
                client.joined_at = now;
                self.rooms[client.room as usize].readers += 1;
                self.arrived += 1;
            }
            Packet::Refused => bail!("refused: {}", String::from_utf8_lossy(packet)),
            Packet::Ping => {
                client.send(|out| out.push(b'3'));
                self.to_flush.push(index);
            }
            Packet::Other(_) => {}
        }
        Ok(())
    }

    fn join(&mut self, client: &mut Client, index: usize) {
        let (room, dialect) = (&self.rooms[client.room as usize].name, self.dialect);
        client.state = State::Joining;
        // The token stays what it is until another one comes, as with the official clients.
        let (pid, token, offset) = (client.pid.clone(), client.token.clone(), client.reader.last());
        let before = Before {
            offset,
            pid: pid.as_deref(),
            token: Some(token.as_str()).filter(|token| !token.is_empty()),
        };
        client.send(|out| dialect.connect(out, room, before));
        self.to_flush.push(index);
    }

    /// The connection is no more.
    fn gone(&mut self, client: &mut Client, why: &str) {
        if client.state == State::Joined {
            self.rooms[client.room as usize].readers -= 1;
        }
        client.close();
        self.dropped += 1;
        self.stopped.get_or_insert_with(|| why.to_owned());
    }
}
