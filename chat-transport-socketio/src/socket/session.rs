//! What survives a cut connection: one client in one namespace, with its rooms, its data and the events that it may not have received.
//!
//! A session is linked to at most one connection, the newest that was let in. Without one it is suspended: it stays in its rooms and collects
//! events until its client comes back, or until `recovery/suspended.rs` gives it up. Everything here is done under one short lock.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use super::args::Args;
use super::frame::Frame;
use super::id::SocketId;
use super::outbox::{Full, Sort};
use super::recovery::backlog::Backlog;
use super::recovery::pid::Lineage;
use super::recovery::suspended::Suspended;
use super::socket::{EmitError, POSITION, Socket};

/// What a session counts for while it is suspended, beside its data and events, in bytes.
const SESSION_BYTES: usize = 1024;
const ROOM_BYTES: usize = 128;

pub(crate) struct Session {
    pub(crate) id: SocketId,
    pub(crate) lineage: Lineage,
    /// Where it counts while it is suspended; none if it cannot be recovered.
    suspended: Option<Arc<Suspended>>,
    state: Mutex<State>,
}

pub(crate) struct State {
    /// None once it is over.
    pub(crate) rooms: Option<HashSet<Arc<str>>>,
    /// JSON.
    data: Option<Arc<str>>,
    backlog: Backlog,
    /// Its `pid` says where its sources began: without rooms, data and events of its own it needs no memory of this process.
    has_base: bool,
    link: Option<Link>,
    /// Which suspension it is in, and what it counts for; none while it has a link.
    suspension: Option<Suspension>,
}

/// The connection that has the session.
struct Link {
    socket: Socket,
    /// Its CONNECT is not answered yet.
    is_connecting: bool,
}

#[derive(Clone, Copy)]
struct Suspension {
    number: u64,
    bytes: usize,
}

/// How an event is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Kept for a client that is away. Refused if too much waits.
    Sure,
    /// Kept for a client that is away. If too much waits its connection is closed: it comes back and catches up, or finds that it was not recovered.
    Forced,
    /// Dropped, unless the client takes it at once.
    Volatile,
}

/// What becomes of a session that has lost its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unlinked {
    /// Another connection has it.
    NotMine,
    /// It waits for its client; the number of the suspension.
    Suspended(u64),
    /// It is of no use any more, and to be ended.
    Useless,
}

/// The session has ended meanwhile, or does not have what the client needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unrecoverable;

impl Session {
    /// `suspended`: where it counts when its client is away; none if it is not to be recovered.
    pub(crate) fn new(id: SocketId, lineage: Lineage, suspended: Option<Arc<Suspended>>) -> Self {
        let state = State {
            rooms: Some(HashSet::new()),
            data: None,
            backlog: Backlog::default(),
            has_base: false,
            link: None,
            suspension: None,
        };
        Self { id, lineage, suspended, state: Mutex::new(state) }
    }

    /// Whether its client gets a `pid` and tokens.
    pub(crate) fn is_kept(&self) -> bool {
        self.suspended.is_some()
    }

    /// The connection that has it, once it was let in.
    pub(crate) fn socket(&self) -> Option<Socket> {
        let state = self.lock();
        state.link.as_ref().filter(|link| !link.is_connecting).map(|link| link.socket.clone())
    }

    /// Whether a client that has the numbered events up to `own` can be given all the others.
    pub(crate) fn covers(&self, own: u64) -> bool {
        let state = self.lock();
        state.rooms.is_some() && state.backlog.reaches_back_to(own)
    }

    /// The client has the numbered events up to `own`.
    pub(crate) fn trim(&self, own: u64) {
        self.lock().backlog.trim(own);
    }

    pub(crate) fn data(&self) -> Option<Arc<str>> {
        self.lock().data.clone()
    }

    pub(crate) fn set_data(&self, data: Arc<str>) {
        let mut state = self.lock();
        if state.rooms.is_none() {
            return;
        }
        state.data = Some(data);
        self.touched(&mut state);
        self.settle(state);
    }

    /// Sends an event, now or when the client is back.
    pub(crate) fn emit(&self, frame: Frame, delivery: Delivery) -> Result<(), EmitError> {
        let mut state = self.lock();
        if state.rooms.is_none() {
            return Err(EmitError::Closed);
        }
        let outcome = self.emit_to(&mut state, frame, delivery);
        self.settle(state);
        outcome
    }

    fn emit_to(&self, state: &mut State, frame: Frame, delivery: Delivery) -> Result<(), EmitError> {
        let State { link, backlog, .. } = state;
        let Some(Link { socket, is_connecting }) = link.as_ref().filter(|link| !link.socket.is_cut()) else {
            return match (self.suspended.as_ref(), delivery) {
                (_, Delivery::Volatile) => Ok(()),
                (None, _) => Err(EmitError::Closed),
                (Some(suspended), _) => {
                    backlog.push(frame, suspended.recovery.session_bytes_max);
                    Ok(())
                }
            };
        };
        let outbox = socket.outbox();
        if delivery == Delivery::Volatile {
            if *is_connecting {
                let _ = outbox.hold(self.id, frame, Sort::Volatile, || false);
            } else if outbox.handle.is_writable() && outbox.is_empty() {
                // It is dropped where it does not fit.
                let _ = outbox.push(self.id, frame, Sort::Volatile);
            }
            return Ok(());
        }
        if *is_connecting {
            outbox.hold(self.id, frame, Sort::Event(None), || false)?;
            return Ok(());
        }
        let Some(Suspended { recovery, .. }) = self.suspended.as_deref() else {
            let pushed = outbox.push(self.id, frame, Sort::Event(None));
            if pushed == Err(Full) && delivery == Delivery::Forced {
                socket.overflow();
            }
            return Ok(pushed?);
        };
        match outbox.push(self.id, frame.clone(), Sort::Event(Some(backlog.last() + 1))) {
            Err(Full) if delivery == Delivery::Sure => return Err(EmitError::Full),
            Err(Full) => socket.overflow(),
            Ok(()) => {}
        }
        backlog.push(frame, recovery.session_bytes_max);
        Ok(())
    }

    /// The session has something of its own now, which its `pid` does not tell: an event without arguments says so, in its token.
    fn touched(&self, state: &mut State) {
        let is_first = state.has_base && state.backlog.last() == 0;
        if is_first && state.link.as_ref().is_some_and(|link| !link.is_connecting) {
            let namespace = state.link.as_ref().map(|link| link.socket.served().name.clone());
            let frame = Frame::event(namespace.as_deref().unwrap_or("/"), POSITION, &Args::new());
            // If its outbox is full it is closed, and what was not told cannot be acted upon.
            let _ = self.emit_to(state, frame, Delivery::Forced);
        }
    }

    /// Its rooms have changed. Not to be called while the members are locked: it may give up other sessions.
    pub(crate) fn changed(&self) {
        let mut state = self.lock();
        self.touched(&mut state);
        self.settle(state);
    }

    /// Links a new session to the connection it is for. Its events are held until it is let in.
    pub(crate) fn begin(&self, socket: &Socket) {
        self.lock().link = Some(Link { socket: socket.clone(), is_connecting: true });
    }

    /// Lets `socket` in: `answer` goes out, behind it the numbered events after `own`, and what was sent to the socket meanwhile. The connection
    /// that had the session before is returned.
    pub(crate) fn let_in(
        &self,
        socket: &Socket,
        answer: Frame,
        own: u64,
        has_base: bool,
    ) -> Result<Option<Socket>, Unrecoverable> {
        let mut state = self.lock();
        if state.rooms.is_none() || !state.backlog.reaches_back_to(own) {
            return Err(Unrecoverable);
        }
        let link = Link { socket: socket.clone(), is_connecting: false };
        let before = state.link.replace(link).map(|link| link.socket).filter(|before| !before.is(socket));
        state.has_base = has_base;
        if let (Some(suspension), Some(suspended)) = (state.suspension.take(), &self.suspended) {
            suspended.remove(suspension.bytes);
        }
        let State { backlog, .. } = &mut *state;
        let missed: Vec<(u64, Frame)> = backlog.after(own).map(|(own, frame)| (own, frame.clone())).collect();
        let number = |frame: &Frame| {
            self.suspended
                .as_ref()
                .map(|suspended| backlog.push(frame.clone(), suspended.recovery.session_bytes_max))
        };
        socket.outbox().release(self.id, answer, missed, number, || socket.is_let_in());
        if state.data.is_some() || state.rooms.as_ref().is_some_and(|rooms| !rooms.is_empty()) {
            self.touched(&mut state);
        }
        Ok(before)
    }

    /// `socket`'s connection is over, for a reason after which its client comes back.
    pub(crate) fn unlink(&self, socket: &Socket) -> Unlinked {
        let mut state = self.lock();
        if !state.link.as_ref().is_some_and(|link| link.socket.is(socket)) {
            return Unlinked::NotMine;
        }
        let link = state.link.take();
        let was_let_in = link.is_some_and(|link| !link.is_connecting);
        let is_empty = state.backlog.last() == 0
            && state.data.is_none()
            && state.rooms.as_ref().is_none_or(HashSet::is_empty);
        match &self.suspended {
            Some(suspended) if was_let_in && !(state.has_base && is_empty) => {
                let number = self.suspend(&mut state, suspended);
                self.settle(state);
                Unlinked::Suspended(number)
            }
            _ => Unlinked::Useless,
        }
    }

    /// Waits for its client from the start: the pid of an earlier process says all there is to know.
    pub(crate) fn wait(&self) -> Option<u64> {
        let mut state = self.lock();
        state.has_base = true;
        Some(self.suspend(&mut state, self.suspended.as_ref()?))
    }

    fn suspend(&self, state: &mut State, suspended: &Suspended) -> u64 {
        let number = suspended.next_number();
        let bytes = state.bytes();
        state.suspension = Some(Suspension { number, bytes });
        suspended.add(bytes);
        number
    }

    /// Whether it still is in that suspension.
    pub(crate) fn is_suspended(&self, number: u64) -> bool {
        self.lock().suspension.is_some_and(|suspension| suspension.number == number)
    }

    /// Whether `socket` has it.
    pub(crate) fn is_of(&self, socket: &Socket) -> bool {
        self.lock().link.as_ref().is_some_and(|link| link.socket.is(socket))
    }

    /// It is over: its rooms and the connection that it had, to be left.
    pub(crate) fn end(&self) -> (HashSet<Arc<str>>, Option<Socket>) {
        let mut state = self.lock();
        let rooms = state.rooms.take().unwrap_or_default();
        state.backlog = Backlog::default();
        state.data = None;
        if let (Some(suspension), Some(suspended)) = (state.suspension.take(), &self.suspended) {
            suspended.remove(suspension.bytes);
        }
        (rooms, state.link.take().map(|link| link.socket))
    }

    /// Counts what a suspended session takes now, and gives up others if all of them take too much.
    fn settle(&self, mut state: MutexGuard<'_, State>) {
        let bytes = state.bytes();
        let (Some(suspension), Some(suspended)) = (&mut state.suspension, &self.suspended) else { return };
        let before = std::mem::replace(&mut suspension.bytes, bytes);
        drop(state);
        suspended.remove(before);
        suspended.add(bytes);
        suspended.give_up_what_is_too_much();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a session")
    }
}

impl State {
    fn bytes(&self) -> usize {
        let rooms: usize = self.rooms.iter().flatten().map(|room| ROOM_BYTES + room.len()).sum();
        SESSION_BYTES + rooms + self.data.as_ref().map_or(0, |data| data.len()) + self.backlog.bytes()
    }
}
