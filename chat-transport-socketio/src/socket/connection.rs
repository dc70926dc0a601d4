//! Socket.IO on one connection: which namespaces it is in, which handler runs, and what is written next.
//!
//! The order is the heart of it: run what was received, then write what handlers sent, then pull from the sources. So an ack
//! goes out before the frames that the same handler caused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::arrival::{Arrival, Entered, NotIn};
use super::event::{Accept, Ack, Auth, DisconnectReason, Event, Refusal};
use super::frame::Frame;
use super::id::SocketId;
use super::namespace::Work as Handling;
use super::namespaces::Found;
use super::outbox::{Outbox, Sort, Wish};
use super::packet::{Assembler, Kind, Packet};
use super::server::Shared;
use super::socket::Socket;
use super::sources::Sources;
use super::tickets::Tickets;
use crate::engine::{Appetite, Application, CloseReason, Message, Opening, Text, Work, Writer};

/// What may be received ahead of the handler that runs, in bytes and packets. Enough for a heartbeat, an ack or a close to be
/// noticed behind it.
const AHEAD_BYTES: usize = 16 * 1024;
const AHEAD_PACKETS: usize = 64;
/// Handlers that run before other tasks of the thread get their turn.
const HANDLERS_A_POLL: usize = 32;

pub(crate) struct Connection {
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    assembler: Assembler,
    joined: Vec<Socket>,
    sources: Sources,
    tickets: Tickets,
    /// CONNECTs that came so far.
    connects: u32,
    /// Received, and not handled yet.
    ahead: VecDeque<Packet>,
    ahead_bytes: usize,
    running: Option<Running>,
    /// Those whose disconnect handler is to run.
    departed: Vec<(Socket, DisconnectReason)>,
    /// Namespaces that the server has thrown it out of: what the client sent before it knew is no offence.
    left: Vec<Text>,
    /// Something must be joined by then, every CONNECT be answered, and the client have been told.
    connect_by: Option<Instant>,
    /// The connection ends at that time whatever is joined meanwhile.
    doomed: bool,
}

enum Running {
    Connect { arrival: Box<Arrival>, answer: Handling<Result<Accept, Refusal>> },
    Other(Handling<()>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    AllItCould,
    /// What was read ahead is handled when the peer has taken the answers before.
    UntilTheOutboxWasFull,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, opening: Opening) -> Self {
        let connect_by = Some(Instant::now() + shared.limits.connect_timeout);
        let outbox =
            Arc::new(Outbox::new(opening.handle, shared.journal.clone(), shared.limits.outbox_bytes));
        Self {
            shared,
            outbox,
            assembler: Assembler::default(),
            joined: Vec::new(),
            sources: Sources::default(),
            tickets: Tickets::default(),
            connects: 0,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            running: None,
            departed: Vec::new(),
            left: Vec::new(),
            connect_by,
            doomed: false,
        }
    }

    fn joined(&self, namespace: &str) -> Option<&Socket> {
        self.joined.iter().find(|socket| socket.namespace() == namespace)
    }

    /// Lets handlers run, one after another, until one has to wait or nothing is left to do.
    fn run(&mut self, cx: &mut Context<'_>) -> Result<Ran, CloseReason> {
        for _ in 0..HANDLERS_A_POLL {
            self.take_wishes();
            if self.running.is_some() {
                if self.poll_running(cx).is_pending() {
                    return Ok(Ran::AllItCould);
                }
            } else if let Some((socket, reason)) = self.departed.pop() {
                self.running = socket.served().disconnect(&socket, reason).map(Running::Other);
            } else if self.outbox.is_over_bound() {
                return Ok(Ran::UntilTheOutboxWasFull);
            } else if !self.ahead.is_empty() && self.outbox.waits_for_journal() {
                return Ok(Ran::AllItCould);
            } else if let Some(packet) = self.ahead.pop_front() {
                self.ahead_bytes -= cost(&packet);
                if self.ahead.is_empty() {
                    // Nearly all connections are idle, and its space is a tenth of what such a one takes.
                    self.ahead = VecDeque::new();
                }
                if let Err(reason) = self.handle(packet) {
                    // What comes behind a breach of the protocol does not count.
                    self.ahead = VecDeque::new();
                    self.ahead_bytes = 0;
                    return Err(reason);
                }
            } else {
                return Ok(Ran::AllItCould);
            }
        }
        cx.waker().wake_by_ref();
        Ok(Ran::AllItCould)
    }

    /// Lets handlers run once the connection is over for `reason`: what was received before still counts, unless it is the server that
    /// has no use for it.
    fn run_out(&mut self, cx: &mut Context<'_>, reason: CloseReason) -> Ran {
        if self.doomed {
            return Ran::AllItCould;
        }
        if reason == CloseReason::Closed {
            // Only the handler that runs may end.
            let _ = self.poll_running(cx);
            return Ran::AllItCould;
        }
        // A breach of the protocol changes nothing any more.
        self.run(cx).unwrap_or(Ran::AllItCould)
    }

    /// Whether [`Self::run_out`] is done.
    fn is_idle(&self, reason: CloseReason) -> Poll<()> {
        let rest = reason != CloseReason::Closed && !(self.ahead.is_empty() && self.departed.is_empty());
        if !self.doomed && (rest || self.running.is_some()) { Poll::Pending } else { Poll::Ready(()) }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.running {
            None => {}
            Some(Running::Other(work)) => {
                ready!(work.as_mut().poll(cx));
                self.running = None;
            }
            Some(Running::Connect { answer, .. }) => {
                let answer = ready!(answer.as_mut().poll(cx));
                self.connect_answered(answer);
            }
        }
        Poll::Ready(())
    }

    fn handle(&mut self, packet: Packet) -> Result<(), CloseReason> {
        let Packet { namespace, kind } = packet;
        if let Kind::Connect { auth } = kind {
            return self.connect(&namespace, Auth(auth));
        }
        let Some(socket) = self.joined(&namespace).cloned() else {
            return if self.left.contains(&namespace) { Ok(()) } else { Err(CloseReason::Malformed) };
        };
        match kind {
            Kind::Event { name, ack, args } => {
                let ack = ack.map(|id| Ack::new(id, socket.clone()));
                self.running =
                    socket.served().event(&socket, Event::new(name, args, ack)).map(Running::Other);
            }
            Kind::Disconnect => self.part(&socket, DisconnectReason::Client),
            Kind::Connect { .. } | Kind::Ack { .. } => {}
        }
        Ok(())
    }

    fn connect(&mut self, namespace: &Text, auth: Auth) -> Result<(), CloseReason> {
        if self.joined(namespace).is_some() {
            return Err(CloseReason::Malformed);
        }
        let limits = &self.shared.limits;
        // Told by CONNECT_ERROR it would be final, while a new connection begins afresh.
        if limits.connects <= self.connects as usize {
            return Err(CloseReason::Closed);
        }
        self.connects = self.connects.saturating_add(1);
        let found = match self.shared.namespaces.find_or_make(namespace.as_str()) {
            Found::Unknown => Err("Invalid namespace"),
            Found::Open(_) if limits.namespaces <= self.joined.len() => {
                Err("Too many namespaces on one connection")
            }
            Found::Open(served) => Ok(served),
            Found::TooMany => {
                tracing::warn!("a client asks for a namespace, and there are as many as may be");
                self.come_back_later();
                return Ok(());
            }
        };
        let served = match found {
            Ok(served) => served,
            Err(message) => {
                self.reply(Frame::connect_error(namespace, &format!(r#"{{"message":"{message}"}}"#)));
                return Ok(());
            }
        };
        let arrival = Arrival::of(served, self.outbox.clone(), auth);
        self.ask_to_let_in(arrival);
        Ok(())
    }

    fn ask_to_let_in(&mut self, arrival: Arrival) {
        self.connect_by.get_or_insert(Instant::now() + self.shared.limits.connect_timeout);
        match arrival.socket.served().connect(&arrival.socket, arrival.auth.clone()) {
            Some(answer) => self.running = Some(Running::Connect { arrival: Box::new(arrival), answer }),
            None => self.enter(arrival, Accept::new()),
        }
    }

    fn connect_answered(&mut self, answer: Result<Accept, Refusal>) {
        // What the handler attached belongs to this socket only as long as it is known here.
        self.take_wishes();
        let Some(Running::Connect { arrival, .. }) = self.running.take() else { return };
        let refusal = match answer {
            Ok(accept) => return self.enter(*arrival, accept),
            Err(refusal) => refusal,
        };
        self.detach(&arrival.socket);
        match refusal {
            Refusal::Permanent { message, data } => {
                let mut payload = serde_json::json!({ "message": message });
                if let (Some(data), Some(fields)) = (data, payload.as_object_mut()) {
                    fields.insert("data".to_owned(), data);
                }
                self.reply(Frame::connect_error(arrival.socket.namespace(), &payload.to_string()));
            }
            Refusal::Passing => self.come_back_later(),
        }
    }

    /// Nothing is answered, and at the connect deadline the connection is closed.
    fn come_back_later(&mut self) {
        self.doomed = true;
        self.connect_by.get_or_insert(Instant::now() + self.shared.limits.connect_timeout);
    }

    fn enter(&mut self, arrival: Arrival, accept: Accept) {
        match arrival.let_in(accept) {
            Ok(Entered { socket, own }) => {
                self.left.retain(|left| left.as_str() != socket.namespace());
                if socket.session().is_kept() {
                    self.tickets.add(socket.id(), own);
                }
                self.joined.push(socket);
            }
            Err(NotIn::Again { before, arrival }) => {
                self.detach(&before);
                self.ask_to_let_in(*arrival);
            }
            Err(NotIn::TooLate(socket)) => {
                self.detach(&socket);
                self.outbox.handle.close(CloseReason::Closed);
            }
        }
    }

    /// Lets the connection go on once every CONNECT was answered and the answers were written: they may have to wait for the store.
    fn clear_deadline(&mut self) {
        if self.connect_by.is_some()
            && !self.doomed
            && !self.joined.is_empty()
            && self.connecting().is_none()
            && self.joined.iter().all(|socket| self.outbox.has_answered(socket.id()))
        {
            self.connect_by = None;
        }
    }

    fn part(&mut self, socket: &Socket, reason: DisconnectReason) {
        self.joined.retain(|joined| !joined.is(socket));
        // What is still to go out to it has its token, too.
        self.tickets.retire(socket.id(), &self.sources);
        socket.left();
        self.sources.detach(socket.id());
        self.departed.push((socket.clone(), reason));
        if self.joined.is_empty() {
            self.connect_by.get_or_insert(Instant::now() + self.shared.limits.connect_timeout);
        }
    }

    fn detach(&mut self, socket: &Socket) {
        socket.left();
        self.forget(socket);
    }

    fn forget(&mut self, socket: &Socket) {
        self.sources.detach(socket.id());
        self.tickets.remove(socket.id());
    }

    fn take_wishes(&mut self) {
        for wish in self.outbox.wishes() {
            match wish {
                Wish::Attach(owner, source) => {
                    // Of a socket that is gone already, it is dropped.
                    if self.joined.iter().chain(self.connecting()).any(|socket| socket.id() == owner) {
                        self.sources.attach(owner, source);
                    }
                }
                Wish::Remove(id, reason) => {
                    if let Some(socket) = self.joined.iter().find(|socket| socket.id() == id).cloned() {
                        self.left.push(Text::from(socket.namespace()));
                        self.part(&socket, reason);
                    }
                }
            }
        }
    }

    fn reply(&self, frame: Frame) {
        // A client that lets answers pile up beyond the bound is closed by the outbox.
        let _ = self.outbox.push(SocketId::NOBODY, frame, Sort::Answer, 0);
    }

    /// The socket whose CONNECT is not answered yet.
    fn connecting(&self) -> Option<&Socket> {
        match &self.running {
            Some(Running::Connect { arrival, .. }) => Some(&arrival.socket),
            _ => None,
        }
    }
}

impl Application for Connection {
    fn receive(&mut self, message: Message) -> Result<(), CloseReason> {
        let packet = match self.assembler.take(message, self.shared.limits.packet) {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::debug!(%error, "a client sent a malformed packet");
                return Err(CloseReason::Malformed);
            }
        };
        // An answer is not queued behind events: the handler of one of them may be what waits for it.
        if let Kind::Ack { id, args } = packet.kind {
            if let Some(socket) = self.joined(&packet.namespace) {
                socket.answered(id, args);
            }
            return Ok(());
        }
        self.ahead_bytes += cost(&packet);
        self.ahead.push_back(packet);
        Ok(())
    }

    fn appetite(&self) -> Appetite {
        if self.outbox.is_over_bound() {
            Appetite::Clogged
        } else if AHEAD_BYTES < self.ahead_bytes
            || self.shared.limits.acks <= self.outbox.open_acks()
            || self.outbox.waits_for_journal()
        {
            Appetite::Busy
        } else {
            Appetite::Hungry
        }
    }

    fn poll_work(&mut self, cx: &mut Context<'_>, writer: &mut Writer<'_>) -> Work {
        if self.connect_by.is_some_and(|by| by <= Instant::now()) {
            self.doomed = true;
            return Work::Close(CloseReason::ConnectTimeout);
        }
        loop {
            let ran = match self.run(cx) {
                Ok(ran) => ran,
                Err(reason) => return Work::Close(reason),
            };
            let drained = self.outbox.drain(writer, &mut self.tickets, &self.sources);
            self.clear_deadline();
            if !drained {
                return Work::WaitsForRoom;
            }
            if ran == Ran::AllItCould {
                let connecting = self.connecting().map(Socket::id);
                return self.sources.pull(cx, writer, &self.tickets, connecting);
            }
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>, writer: &mut Writer<'_>, reason: CloseReason) -> Poll<()> {
        loop {
            let ran = self.run_out(cx, reason);
            if !self.outbox.drain(writer, &mut self.tickets, &self.sources) {
                return Poll::Pending;
            }
            if ran == Ran::AllItCould {
                return self.is_idle(reason);
            }
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, reason: CloseReason) -> Poll<()> {
        loop {
            self.outbox.discard();
            if self.run_out(cx, reason) == Ran::AllItCould {
                self.outbox.discard();
                return self.is_idle(reason);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.connect_by
    }

    fn pinged(&mut self) {
        self.tickets.pinged();
    }

    fn ponged(&mut self) {
        let joined = &self.joined;
        self.tickets.ponged(|owner, own| {
            if let Some(socket) = joined.iter().find(|socket| socket.id() == owner) {
                socket.session().trim(own);
            }
        });
    }

    fn close(&mut self, reason: CloseReason) -> Option<Handling<()>> {
        self.take_wishes();
        let joined = std::mem::take(&mut self.joined);
        let mut departed = std::mem::take(&mut self.departed);
        for socket in &joined {
            if reason == CloseReason::Malformed {
                socket.left()
            } else {
                socket.cut()
            }
            self.forget(socket);
        }
        if let Some(Running::Connect { arrival, .. }) = self.running.take() {
            self.detach(&arrival.socket);
        }
        departed.extend(joined.into_iter().map(|socket| (socket, DisconnectReason::Connection(reason))));
        let handlers: Vec<_> = departed
            .iter()
            .filter_map(|(socket, reason)| socket.served().disconnect(socket, *reason))
            .collect();
        if handlers.is_empty() {
            return None;
        }
        Some(Box::pin(async move {
            for handler in handlers {
                handler.await;
            }
        }))
    }
}

impl Drop for Connection {
    /// Also when a handler has panicked, nobody is left behind in a room.
    fn drop(&mut self) {
        for socket in self.joined.iter().chain(self.connecting()) {
            socket.left();
        }
    }
}

/// What a packet that waits for its handler counts for, in bytes.
fn cost(packet: &Packet) -> usize {
    let fixed = AHEAD_BYTES / AHEAD_PACKETS;
    match &packet.kind {
        Kind::Event { name, args, .. } => fixed + name.len() + args.bytes(),
        Kind::Ack { args, .. } => fixed + args.bytes(),
        Kind::Connect { auth } => fixed + auth.as_ref().map_or(0, |auth| auth.len()),
        Kind::Disconnect => fixed,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::task::noop_waker_ref;
    use proptest::prelude::*;

    use super::super::args::Args;
    use super::super::namespace::{Namespace, Served};
    use super::super::namespaces::Namespaces;
    use super::super::packet::PacketLimits;
    use super::super::server::Limits;
    use super::*;
    use crate::engine::{Framing, Handle};

    const OUTBOX_BYTES: usize = 2000;

    /// A connection that echoes, without a network.
    fn connection() -> Connection {
        let namespace = Namespace::new().on_any(|socket: Socket, mut event: Event| async move {
            let args = Args::from(&event);
            // Full or gone: both may be, and neither is this test's business.
            let _ = match event.ack.take() {
                Some(ack) => ack.send_args(&args),
                None => socket.emit_args("back", &args),
            };
        });
        let limits = Limits {
            packet: PacketLimits { attachments: 2, bytes: 1000 },
            namespaces: 2,
            connects: 10,
            outbox_bytes: OUTBOX_BYTES,
            acks: 10,
            connect_timeout: Duration::from_secs(3600),
        };
        let fixed = HashMap::from([("/".to_owned(), Arc::new(Served::new("/", namespace, None)))]);
        let namespaces = Namespaces::new(fixed, None);
        let handle = Arc::new(Handle::new());
        Connection::new(
            Arc::new(Shared { namespaces, limits, journal: None }),
            Opening { handle, peer: None },
        )
    }

    fn message() -> impl Strategy<Value = Message> {
        let packet = prop_oneof![
            Just("0".to_owned()),
            Just("1".to_owned()),
            Just("0/x,".to_owned()),
            (0..5_u8, 0..200_usize).prop_map(|(id, size)| format!(r#"2{id}["e","{}"]"#, "x".repeat(size))),
            Just(r#"2["e",1]"#.to_owned()),
            Just(r#"51-["e",{"_placeholder":true,"num":0}]"#.to_owned()),
            "3[0-9]\\[\\]",
            "[0-6][0-9]{0,3}[-/a,]{0,3}[\\[\\]{}\"e,]{0,8}",
        ];
        prop_oneof![
            8 => packet.prop_map(|text| Message::Text(Text::from(text.as_str()))),
            1 => proptest::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| Message::Binary(Bytes::from(bytes))),
        ]
    }

    proptest! {
        /// Whatever a client sends, and whenever it takes what it is sent: nothing panics, and what is kept for it is bounded.
        #[test]
        fn no_client_makes_it_panic_or_grow(steps in proptest::collection::vec((message(), any::<bool>()), 0..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _inside = runtime.enter();
            let mut connection = connection();
            let mut cx = Context::from_waker(noop_waker_ref());
            for (message, takes) in steps {
                let mut buffer = Vec::new();
                let limit = if takes { 4000 } else { 0 };
                let mut writer = Writer::new(&mut buffer, Framing::Frames, limit);
                if connection.appetite() == Appetite::Hungry && connection.receive(message).is_err() {
                    break;
                }
                if let Work::Close(_) = connection.poll_work(&mut cx, &mut writer) {
                    break;
                }
                let waiting = connection.outbox.bytes();
                prop_assert!(waiting <= OUTBOX_BYTES + 1000, "{} bytes wait", waiting);
                prop_assert!(connection.ahead_bytes <= AHEAD_BYTES + 2000);
            }
            prop_assert!(connection.close(CloseReason::TransportClosed).is_none());
        }
    }
}
