//! A namespace in service: its sockets and its rooms. What its handlers are: `handlers.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::asking::IDS;
use super::event::{Accept, Auth, DisconnectReason, Event, Refusal};
pub(crate) use super::handlers::{Namespace, Work};
use super::id::SocketId;
use super::namespaces::Dynamic;
use super::recovery::pid::Pid;
use super::recovery::record::Kept;
use super::recovery::suspended::Suspended;
use super::recovery::{Lineage, Recovery};
use super::session::{Session, State, Unlinked};
use super::socket::Socket;

/// A namespace in service.
pub(crate) struct Served {
    pub(crate) name: Arc<str>,
    handlers: Namespace,
    suspended: Option<Arc<Suspended>>,
    members: Mutex<Members>,
    next_ack: AtomicU64,
    /// Who has to know when it is gone.
    made_by: Weak<Dynamic>,
    has_own: AtomicBool,
}

#[derive(Default)]
struct Members {
    /// Those that were let in, also while their clients are away.
    sessions: HashMap<SocketId, Arc<Session>>,
    rooms: HashMap<Arc<str>, HashMap<SocketId, Arc<Session>>>,
}

impl Served {
    /// `suspended`: where sessions are kept whose clients are away; none, if they are not recovered.
    pub(crate) fn new(name: &str, handlers: Namespace, suspended: Option<Arc<Suspended>>) -> Self {
        Self {
            name: name.into(),
            has_own: AtomicBool::new(handlers.has_own()),
            handlers,
            suspended,
            members: Mutex::default(),
            next_ack: AtomicU64::new(0),
            made_by: Weak::new(),
        }
    }

    /// It was made because a client asked for it.
    pub(crate) fn made_by(mut self, dynamic: Weak<Dynamic>) -> Self {
        self.made_by = dynamic;
        self
    }

    pub(crate) fn recovery(&self) -> Option<&Recovery> {
        self.suspended.as_ref().map(|suspended| &suspended.recovery)
    }

    /// A session of its own for a client that is new here.
    pub(crate) fn session(&self, lineage: Lineage, is_kept: bool) -> Arc<Session> {
        let suspended = self.suspended.clone().filter(|_| is_kept);
        Arc::new(Session::new(SocketId::random(), lineage, suspended))
    }

    /// The session that a client comes back to, with everything that it may have missed; or else what is left of it.
    pub(crate) fn session_of(&self, pid: &Pid, own: u64) -> Result<Arc<Session>, Option<Arc<Session>>> {
        let members = self.lock();
        if let Some(session) = members.sessions.get(&pid.sid) {
            let session = session.clone();
            drop(members);
            return if session.covers(own) { Ok(session) } else { Err(Some(session)) };
        }
        drop(members);
        let is_promised = pid.is_sources_only && own == 0 && !self.has_own();
        let Some(suspended) = self.suspended.as_ref().filter(|_| is_promised) else { return Err(None) };
        // It had nothing but what its sources have, which they find again wherever they are. It is there for others when it is let in.
        Ok(Arc::new(Session::new(pid.sid, pid.lineage, Some(suspended.clone()))))
    }

    /// Whether sessions may have rooms, data or events of an application's own. Until then, what their sources have is all there is.
    pub(crate) fn has_own(&self) -> bool {
        self.has_own.load(Ordering::Acquire)
    }

    /// Something of the application's own goes to sessions from now on.
    pub(crate) fn take_own(&self) {
        if !self.has_own() {
            self.has_own.store(true, Ordering::Release);
        }
    }

    /// Has a session back that an earlier process has left.
    pub(crate) fn restore(self: &Arc<Self>, sid: SocketId, mut kept: Kept) {
        let Some(suspended) = &self.suspended else { return };
        let rooms = std::mem::take(&mut kept.rooms);
        let session = Arc::new(Session::restored(sid, kept, suspended.clone()));
        {
            let mut members = self.lock();
            for room in rooms {
                session.lock().rooms.get_or_insert_default().insert(room.clone());
                members.rooms.entry(room).or_default().insert(sid, session.clone());
            }
            members.sessions.insert(sid, session.clone());
        }
        if let Some(number) = session.begin_away(self) {
            suspended.watch(&session, number);
        }
    }

    /// All of them, also those whose clients are away.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }

    /// None: everybody is let in.
    pub(crate) fn connect(&self, socket: &Socket, auth: Auth) -> Option<Work<Result<Accept, Refusal>>> {
        self.handlers.connect(socket, auth)
    }

    /// None: nobody handles it.
    pub(crate) fn event(&self, socket: &Socket, event: Event) -> Option<Work<()>> {
        self.handlers.event(socket, event)
    }

    pub(crate) fn disconnect(&self, socket: &Socket, reason: DisconnectReason) -> Option<Work<()>> {
        self.handlers.disconnect(socket, reason)
    }

    pub(crate) fn handlers(&self) -> &Namespace {
        &self.handlers
    }

    /// The ack id of the next question to many.
    pub(crate) fn next_ack_id(&self) -> u64 {
        IDS + self.next_ack.fetch_add(1, Ordering::Relaxed) % IDS
    }

    /// False: another session has that id.
    pub(crate) fn enter(&self, session: &Arc<Session>) -> bool {
        let mut members = self.lock();
        let entered = members.sessions.entry(session.id).or_insert_with(|| session.clone());
        Arc::ptr_eq(entered, session)
    }

    pub(crate) fn join(&self, session: &Arc<Session>, room: &str) {
        {
            let mut members = self.lock();
            // Under the lock, so that a session that ends meanwhile leaves this room as well.
            let mut state = session.lock();
            let Some(rooms) = &mut state.rooms else { return };
            let name =
                members.rooms.get_key_value(room).map_or_else(|| Arc::from(room), |(name, _)| name.clone());
            if !rooms.insert(name.clone()) {
                return;
            }
            self.take_own();
            session.write_room(&mut state, &self.name, name.clone(), true);
            members.rooms.entry(name).or_default().insert(session.id, session.clone());
        }
        session.changed(&self.name);
    }

    pub(crate) fn leave(&self, session: &Session, room: &str) {
        {
            let mut members = self.lock();
            let mut state = session.lock();
            let was_in = state.rooms.as_mut().is_some_and(|rooms| rooms.remove(room));
            if !was_in {
                return;
            }
            session.write_room(&mut state, &self.name, room.into(), false);
            members.leave(session.id, room);
        }
        session.changed(&self.name);
    }

    /// `socket`'s connection is over: its session waits for the client, or ends.
    pub(crate) fn unlink(self: &Arc<Self>, socket: &Socket) {
        match socket.session().unlink(socket) {
            Unlinked::NotMine => {}
            // Unless somebody has come back to it in between.
            Unlinked::Useless => drop(self.end_if(socket.session(), State::is_abandoned)),
            Unlinked::Suspended(number) => {
                if let Some(suspended) = &self.suspended {
                    suspended.watch(socket.session(), number);
                }
            }
        }
    }

    /// Takes the session out of everything, for good. Answers the connection that had it.
    pub(crate) fn end(&self, session: &Session) -> Option<Socket> {
        self.end_if(session, |_| true)
    }

    /// The same, if it `is_due` still: asked under the locks, so that nobody can come back to it meanwhile.
    pub(crate) fn end_if(&self, session: &Session, is_due: impl FnOnce(&State) -> bool) -> Option<Socket> {
        let mut members = self.lock();
        let (rooms, socket) = session.end_if(is_due)?;
        if members.sessions.get(&session.id).is_some_and(|known| std::ptr::eq(&**known, session)) {
            members.sessions.remove(&session.id);
        }
        for room in &rooms {
            members.leave(session.id, room);
        }
        socket
    }

    /// Ends the session of a client that was let in, be it here or away.
    pub(crate) fn throw_out(&self, session: &Session) {
        if !self.lock().sessions.contains_key(&session.id) {
            return;
        }
        // The session first: if its connection is cut at this moment, it must not be kept for the client.
        if let Some(socket) = self.end(session) {
            socket.thrown_out(DisconnectReason::Server);
        }
    }

    /// All rooms that somebody is in.
    pub(crate) fn rooms(&self) -> Vec<Arc<str>> {
        self.lock().rooms.keys().cloned().collect()
    }

    /// The sessions in any of `rooms` (in none named: all), without those in `except`. A session's own id is a room.
    pub(crate) fn select(&self, rooms: &[String], except: &[String]) -> Vec<Arc<Session>> {
        let members = self.lock();
        let excluded = |id: &SocketId| {
            except.iter().any(|room| {
                members.rooms.get(room.as_str()).is_some_and(|in_it| in_it.contains_key(id))
                    || SocketId::parse(room) == Some(*id)
            })
        };
        let wanted = |(id, session): (&SocketId, &Arc<Session>)| (!excluded(id)).then(|| session.clone());
        match rooms {
            [] => members.sessions.iter().filter_map(wanted).collect(),
            // A room that is named like a socket has that socket as well.
            [room] if members.rooms.contains_key(room.as_str()) && SocketId::parse(room).is_none() => {
                members.rooms.get(room.as_str()).into_iter().flatten().filter_map(wanted).collect()
            }
            rooms => {
                let mut seen = HashSet::new();
                let mut found = Vec::new();
                for room in rooms {
                    let own = SocketId::parse(room).and_then(|id| members.sessions.get_key_value(&id));
                    for member in members.rooms.get(room.as_str()).into_iter().flatten().chain(own) {
                        if seen.insert(*member.0) {
                            found.extend(wanted(member));
                        }
                    }
                }
                found
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().expect("nothing panics while it holds the members")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(dynamic) = self.made_by.upgrade() {
            dynamic.closed(&self.name);
        }
    }
}

impl Members {
    fn leave(&mut self, session: SocketId, room: &str) {
        if let Some(in_it) = self.rooms.get_mut(room) {
            in_it.remove(&session);
            if in_it.is_empty() {
                self.rooms.remove(room);
            }
        }
    }
}
