//! What survives a cut connection: one client in one namespace, with its rooms, its data and the events that it may not have received.
//!
//! A session is linked to at most one connection, the newest that was let in. Without one it is suspended: it stays in its rooms and collects
//! events until its client comes back, or until `recovery/suspended.rs` gives it up. Everything here is done under one short lock. What of it
//! outlives the process is in `session/written.rs`.

mod written;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::args::Args;
use super::frame::Frame;
use super::id::SocketId;
use super::namespace::Served;
use super::outbox::{Full, Release, Sort};
use super::recovery::backlog::Backlog;
use super::recovery::journal::Pen;
use super::recovery::pid::Lineage;
use super::recovery::record::Record;
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
    /// The change in the journal that was the last one of this session: what a client is told waits for it.
    written: AtomicU64,
    state: Mutex<State>,
}

pub(crate) struct State {
    /// None once it is over.
    pub(crate) rooms: Option<HashSet<Arc<str>>>,
    /// JSON.
    data: Option<Arc<str>>,
    backlog: Backlog,
    /// Its `pid` promises that it has nothing but its sources: without rooms, data and events of its own it needs no memory of this process.
    is_sources_only: bool,
    /// The journal knows of it.
    is_written: bool,
    /// It was sent what could not be kept, so its client does not get it back, and the journal need not know of it.
    is_lost: bool,
    link: Option<Link>,
    /// The attempts of its client to come back, and which of them was let in last.
    arrivals: u64,
    arrival: u64,
    /// Which suspension it is in, and what it counts for; none while it has a link.
    suspension: Option<Suspension>,
}

/// The connection that has the session.
struct Link {
    socket: Socket,
    /// Its CONNECT is not answered yet.
    is_connecting: bool,
    /// An event did not fit, so nothing behind it may be sent either: the client comes back for it.
    is_behind: bool,
}

struct Suspension {
    number: u64,
    bytes: usize,
    /// Nobody else may hold it while all its clients are away.
    namespace: Arc<Served>,
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

/// Why a client does not get its session back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotLetIn {
    /// It has ended meanwhile, or does not have what the client needs any more.
    Unrecoverable,
    /// The client has come back to it over another connection since.
    Overtaken,
}

impl Session {
    /// `suspended`: where it counts when its client is away; none if it is not to be recovered.
    pub(crate) fn new(id: SocketId, lineage: Lineage, suspended: Option<Arc<Suspended>>) -> Self {
        let state = State {
            rooms: Some(HashSet::new()),
            data: None,
            backlog: Backlog::default(),
            is_sources_only: false,
            is_written: false,
            is_lost: false,
            link: None,
            arrivals: 0,
            arrival: 0,
            suspension: None,
        };
        Self { id, lineage, suspended, written: AtomicU64::new(0), state: Mutex::new(state) }
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

    /// The number of another attempt of its client to come back.
    pub(crate) fn next_arrival(&self) -> u64 {
        let mut state = self.lock();
        state.arrivals += 1;
        state.arrivals
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

    pub(crate) fn set_data(&self, namespace: &Arc<str>, data: Arc<str>) {
        let mut state = self.lock();
        if state.rooms.is_none() {
            return;
        }
        state.data = Some(data.clone());
        self.write(&mut state, namespace, Record::Data { sid: self.id, data });
        self.touched(&mut state, namespace);
        self.settle(state);
    }

    /// Sends an event, now or when the client is back.
    pub(crate) fn emit(
        &self,
        namespace: &Arc<str>,
        frame: Frame,
        delivery: Delivery,
    ) -> Result<(), EmitError> {
        let mut state = self.lock();
        if state.rooms.is_none() {
            return Err(EmitError::Closed);
        }
        let outcome = self.emit_to(&mut state, namespace, frame, delivery);
        self.settle(state);
        outcome
    }

    fn emit_to(
        &self,
        state: &mut State,
        namespace: &Arc<str>,
        frame: Frame,
        delivery: Delivery,
    ) -> Result<(), EmitError> {
        let link = state.link.as_ref().filter(|link| !link.is_behind && !link.socket.is_cut());
        let link = link.map(|link| (link.socket.clone(), link.is_connecting));
        match (link, delivery) {
            (None, Delivery::Volatile) => return Ok(()),
            (Some((socket, is_connecting)), Delivery::Volatile) => {
                let outbox = socket.outbox();
                // It is dropped where it does not fit.
                if is_connecting {
                    let _ = outbox.hold(self.id, frame, Sort::Volatile, || false);
                } else if outbox.handle.is_writable() && outbox.is_empty() {
                    let _ = outbox.push(self.id, frame, Sort::Volatile, self.written());
                }
                return Ok(());
            }
            (Some((socket, true)), _) => {
                let held = socket.outbox().hold(self.id, frame, Sort::Event(None), || false);
                if held.is_err() && delivery == Delivery::Forced {
                    state.fall_behind();
                }
                held?;
                return Ok(());
            }
            (None, _) if self.suspended.is_none() => return Err(EmitError::Closed),
            (Some((socket, false)), _) if self.suspended.is_none() => {
                let pushed = socket.outbox().push(self.id, frame, Sort::Event(None), 0);
                if pushed == Err(Full) && delivery == Delivery::Forced {
                    state.fall_behind();
                }
                return Ok(pushed?);
            }
            (link, _) => {
                let journal = self.journal().cloned();
                if link.is_none()
                    && (state.is_lost || journal.as_ref().is_some_and(|journal| journal.is_full()))
                {
                    return self.lose(state, delivery);
                }
                // Held until both are done, so that what is written down is what is sent.
                let mut pen = journal.as_ref().map(|journal| journal.pen());
                if let Some(pen) = &mut pen {
                    self.begin_with(pen, state, namespace);
                }
                let number = state.backlog.last() + 1;
                if let Some((socket, _)) = link {
                    let change = pen.as_ref().map_or(0, Pen::next);
                    match socket.outbox().push(self.id, frame.clone(), Sort::Event(Some(number)), change) {
                        Err(Full) if delivery == Delivery::Sure => return Err(EmitError::Full),
                        Err(Full) => state.fall_behind(),
                        Ok(()) => {}
                    }
                }
                self.number(state, pen.as_mut(), namespace, frame);
            }
        }
        Ok(())
    }

    /// An event for a client that is away, which nothing can keep: more waits for the journal than it may hold.
    fn lose(&self, state: &mut State, delivery: Delivery) -> Result<(), EmitError> {
        if delivery == Delivery::Sure {
            return Err(EmitError::Full);
        }
        if std::mem::take(&mut state.is_written)
            && let Some(journal) = self.journal()
        {
            self.written.store(journal.pen().write(Record::End { sid: self.id }), Ordering::Release);
        }
        state.is_lost = true;
        state.backlog.lose();
        Ok(())
    }

    /// Numbers an event and keeps it.
    fn number(
        &self,
        state: &mut State,
        pen: Option<&mut Pen<'_>>,
        namespace: &Arc<str>,
        frame: Frame,
    ) -> Option<u64> {
        let bytes_max = self.suspended.as_ref()?.recovery.session_bytes_max;
        let number = state.backlog.push(frame.clone(), bytes_max);
        if let Some(pen) = pen {
            self.write_with(pen, state, namespace, Record::Event { sid: self.id, number, frame });
        }
        Some(number)
    }

    /// The session has something of its own now, which its `pid` does not tell: an event without arguments says so, in its token.
    fn touched(&self, state: &mut State, namespace: &Arc<str>) {
        let is_first = state.is_sources_only && state.backlog.last() == 0;
        if is_first && state.link.as_ref().is_some_and(|link| !link.is_connecting) {
            let frame = Frame::event(namespace, POSITION, &Args::new());
            // If its outbox is full it is closed, and what was not told cannot be acted upon.
            let _ = self.emit_to(state, namespace, frame, Delivery::Forced);
        }
    }

    /// Its rooms have changed. Not to be called while the members are locked: it may give up other sessions.
    pub(crate) fn changed(&self, namespace: &Arc<str>) {
        let mut state = self.lock();
        self.touched(&mut state, namespace);
        self.settle(state);
    }

    /// Links a new session to the connection it is for. Its events are held until it is let in.
    pub(crate) fn begin(&self, socket: &Socket) {
        self.lock().link = Some(Link { socket: socket.clone(), is_connecting: true, is_behind: false });
    }

    /// Lets `socket` in: `answer` goes out, behind it the numbered events after `own`, and what was sent to the socket meanwhile. The connection
    /// that had the session before is returned.
    pub(crate) fn let_in(
        &self,
        socket: &Socket,
        answer: Frame,
        own: u64,
        is_sources_only: bool,
        arrival: u64,
    ) -> Result<Option<Socket>, NotLetIn> {
        let mut state = self.lock();
        if arrival < state.arrival {
            return Err(NotLetIn::Overtaken);
        }
        if state.rooms.is_none() || !state.backlog.reaches_back_to(own) {
            return Err(NotLetIn::Unrecoverable);
        }
        state.arrival = arrival;
        let link = Link { socket: socket.clone(), is_connecting: false, is_behind: false };
        let before = state.link.replace(link).map(|link| link.socket).filter(|before| !before.is(socket));
        state.is_sources_only = is_sources_only;
        if let (Some(suspension), Some(suspended)) = (state.suspension.take(), &self.suspended) {
            suspended.remove(suspension.bytes);
        }
        let namespace = &socket.served().name;
        let missed: Vec<(u64, Frame)> =
            state.backlog.after(own).map(|(own, frame)| (own, frame.clone())).collect();
        let journal = self.journal().cloned();
        let mut pen = journal.as_ref().map(|journal| journal.pen());
        if let Some(pen) = &mut pen
            && !is_sources_only
        {
            // From now on, that the journal does not know a session means that it is over.
            self.begin_with(pen, &mut state, namespace);
        }
        let release = Release { owner: self.id, connected: answer, missed, change: self.written() };
        let number = |frame: &Frame| {
            let number = self.number(&mut state, pen.as_mut(), namespace, frame.clone());
            (number, self.written())
        };
        socket.outbox().release(release, number, || socket.becomes_connected());
        drop(pen);
        if state.data.is_some() || state.rooms.as_ref().is_some_and(|rooms| !rooms.is_empty()) {
            self.touched(&mut state, namespace);
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
            Some(suspended)
                if was_let_in && !(state.is_sources_only && is_empty && !socket.served().has_own()) =>
            {
                let number = self.suspend(&mut state, suspended, socket.served());
                self.settle(state);
                Unlinked::Suspended(number)
            }
            _ => Unlinked::Useless,
        }
    }

    /// Waits for its client from the start: it is from an earlier process.
    pub(crate) fn begin_away(&self, namespace: &Arc<Served>) -> Option<u64> {
        let mut state = self.lock();
        Some(self.suspend(&mut state, self.suspended.as_ref()?, namespace))
    }

    fn suspend(&self, state: &mut State, suspended: &Suspended, namespace: &Arc<Served>) -> u64 {
        let number = suspended.next_number();
        let bytes = state.bytes();
        state.suspension = Some(Suspension { number, bytes, namespace: namespace.clone() });
        suspended.add(bytes);
        number
    }

    /// Its namespace, if it still is in that suspension.
    pub(crate) fn suspended_in(&self, number: u64) -> Option<Arc<Served>> {
        let state = self.lock();
        let suspension = state.suspension.as_ref().filter(|_| state.is_suspended(number))?;
        Some(suspension.namespace.clone())
    }

    /// It is over, if that `is_due` still: its rooms and the connection that it had, to be left.
    pub(crate) fn end_if(
        &self,
        is_due: impl FnOnce(&State) -> bool,
    ) -> Option<(HashSet<Arc<str>>, Option<Socket>)> {
        let mut state = self.lock();
        if !is_due(&state) {
            return None;
        }
        if let Some(journal) = self.journal()
            && std::mem::take(&mut state.is_written)
        {
            journal.pen().write(Record::End { sid: self.id });
        }
        let rooms = state.rooms.take().unwrap_or_default();
        state.backlog = Backlog::default();
        state.data = None;
        if let (Some(suspension), Some(suspended)) = (state.suspension.take(), &self.suspended) {
            suspended.remove(suspension.bytes);
        }
        Some((rooms, state.link.take().map(|link| link.socket)))
    }

    /// Counts what a suspended session takes now, and gives up others if all of them take too much.
    fn settle(&self, mut state: MutexGuard<'_, State>) {
        let (Some(_), Some(suspended)) = (&state.suspension, &self.suspended) else { return };
        let bytes = state.bytes();
        if let Some(suspension) = &mut state.suspension {
            // Under the lock, so that nobody takes away what was not added yet.
            suspended.add(bytes);
            suspended.remove(std::mem::replace(&mut suspension.bytes, bytes));
        }
        drop(state);
        suspended.give_up_what_is_too_much();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a session")
    }
}

impl State {
    /// Whether it still is in that suspension.
    pub(crate) fn is_suspended(&self, number: u64) -> bool {
        self.suspension.as_ref().is_some_and(|suspension| suspension.number == number)
    }

    /// Whether `socket` has it.
    pub(crate) fn is_of(&self, socket: &Socket) -> bool {
        self.link.as_ref().is_some_and(|link| link.socket.is(socket))
    }

    /// Whether nobody has it, and nobody waits for anybody to have it.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.link.is_none() && self.suspension.is_none()
    }

    /// An event does not fit: the connection is closed, and nothing is sent over it behind the gap.
    fn fall_behind(&mut self) {
        if let Some(link) = &mut self.link {
            link.is_behind = true;
            link.socket.overflow();
        }
    }

    fn bytes(&self) -> usize {
        let rooms: usize = self.rooms.iter().flatten().map(|room| ROOM_BYTES + room.len()).sum();
        SESSION_BYTES + rooms + self.data.as_ref().map_or(0, |data| data.len()) + self.backlog.bytes()
    }
}
