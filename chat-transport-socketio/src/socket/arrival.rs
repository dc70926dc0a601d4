//! A client on its way in: whether it gets the session back that it had, or a new one.

use std::sync::Arc;

use super::event::{Accept, Auth, Recover};
use super::frame::Frame;
use super::namespace::Served;
use super::outbox::Outbox;
use super::recovery::pid::Pid;
use super::recovery::{Claim, Lineage, Resumption};
use super::session::Session;
use super::socket::Socket;

/// A CONNECT that is not answered yet.
pub(crate) struct Arrival {
    pub(crate) socket: Socket,
    pub(crate) auth: Auth,
    outbox: Arc<Outbox>,
    kind: Kind,
}

enum Kind {
    /// It gets a new session, which may be the next one of a client that is known: then what is left of the one before ends.
    New { before: Option<Arc<Session>> },
    /// It gets back the session that its pid names.
    Back { pid_text: String, own: u64, has_base: bool },
}

/// A socket that was let in, whose client has the numbered events up to `own`.
pub(crate) struct Entered {
    pub(crate) socket: Socket,
    pub(crate) own: u64,
}

/// The connect handler must be asked again, for another socket than `before`.
pub(crate) struct Again {
    pub(crate) before: Socket,
    pub(crate) arrival: Box<Arrival>,
}

impl Arrival {
    /// Believes of what the client says about its last connection what was signed here.
    pub(crate) fn of(served: Arc<Served>, outbox: Arc<Outbox>, auth: Auth) -> Self {
        let claim = served.recovery().map_or(Claim::Unwanted, |recovery| recovery.claim(&auth, &served.name));
        let (pid, pid_text, token) = match claim {
            Claim::Session { pid, pid_text, token } => (pid, pid_text, token),
            nobody => {
                let is_kept = matches!(nobody, Claim::Nothing);
                let session = served.session(Lineage::random(), is_kept);
                return Self::new(session, served, outbox, auth, None, None);
            }
        };
        let own = token.as_ref().map_or(0, |token| token.own);
        let place = token.map(|token| token.place);
        let session = served.session_of(&pid, own);
        let has_base = pid.base.is_some();
        let resumption = Some(Resumption { base: pid.base.unwrap_or_default(), place });
        match session {
            Ok(session) => {
                let socket = Socket::new(session, served, outbox.clone(), true, resumption);
                Self { socket, auth, outbox, kind: Kind::Back { pid_text, own, has_base } }
            }
            Err(before) => {
                let session = served.session(pid.lineage, true);
                Self::new(session, served, outbox, auth, resumption, before)
            }
        }
    }

    fn new(
        session: Arc<Session>,
        served: Arc<Served>,
        outbox: Arc<Outbox>,
        auth: Auth,
        resumption: Option<Resumption>,
        before: Option<Arc<Session>>,
    ) -> Self {
        let socket = Socket::new(session, served, outbox.clone(), false, resumption);
        Self { socket, auth, outbox, kind: Kind::New { before } }
    }

    /// Lets the client in, as the connect handler has said.
    pub(crate) fn let_in(self, accept: Accept) -> Result<Entered, Again> {
        let (socket, served) = (&self.socket, self.socket.served());
        match &self.kind {
            Kind::Back { pid_text, own, has_base } if accept.recovery == Recover::Yes => {
                match socket.let_in(answer(socket, Some(pid_text)), *own, *has_base) {
                    Ok(()) => Ok(Entered { own: *own, socket: self.socket }),
                    // It has ended, or was given more than it could keep, while the handler ran.
                    Err(_) => Err(self.again(Recover::No)),
                }
            }
            Kind::Back { .. } => Err(self.again(accept.recovery)),
            Kind::New { before } => {
                if accept.recovery == Recover::Stranger && socket.resumption().is_some() {
                    return Err(self.again(Recover::Stranger));
                }
                let has_base = accept.base.is_some();
                let pid = served.recovery().filter(|_| socket.session().is_kept()).map(|recovery| {
                    let pid = Pid { lineage: socket.lineage(), sid: socket.id(), base: accept.base };
                    recovery.seal(&pid, &served.name)
                });
                if let Some(before) = before
                    && let Some(old) = served.end(before)
                {
                    old.thrown_out(super::event::DisconnectReason::TakenOver);
                    old.close_connection();
                }
                match socket.let_in(answer(socket, pid.as_deref()), 0, has_base) {
                    Ok(()) => Ok(Entered { own: 0, socket: self.socket }),
                    Err(_) => Err(self.again(Recover::No)),
                }
            }
        }
    }

    /// The same CONNECT, with a new session.
    fn again(self, recovery: Recover) -> Again {
        let (served, outbox) = (self.socket.served().clone(), self.outbox);
        let (lineage, resumption, before) = match (recovery, self.kind) {
            (Recover::Stranger, _) => (Lineage::random(), None, None),
            (_, Kind::New { before }) => (self.socket.lineage(), self.socket.resumption().cloned(), before),
            (_, Kind::Back { .. }) => {
                let before = Some(self.socket.session().clone());
                (self.socket.lineage(), self.socket.resumption().cloned(), before)
            }
        };
        let session = served.session(lineage, self.socket.session().is_kept());
        let arrival = Self::new(session, served, outbox, self.auth, resumption, before);
        Again { before: self.socket, arrival: Box::new(arrival) }
    }
}

/// The payload of the CONNECT answer.
fn answer(socket: &Socket, pid: Option<&str>) -> Frame {
    let payload = match pid {
        // Letters, digits, - and _ alone.
        Some(pid) => format!(r#"{{"sid":"{}","pid":"{pid}"}}"#, socket.id()),
        None => format!(r#"{{"sid":"{}"}}"#, socket.id()),
    };
    Frame::connected(socket.namespace(), &payload)
}
