//! A client on its way in: whether it gets the session back that it had, or a new one.

use std::sync::Arc;

use super::event::{Accept, Auth, Recover};
use super::frame::Frame;
use super::namespace::Served;
use super::outbox::Outbox;
use super::recovery::pid::Pid;
use super::recovery::{Claim, Lineage, Resumption};
use super::session::{NotLetIn, Session};
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
    Back { pid_text: String, own: u64, is_sources_only: bool, number: u64 },
}

/// A socket that was let in, whose client has the numbered events up to `own`.
pub(crate) struct Entered {
    pub(crate) socket: Socket,
    pub(crate) own: u64,
}

/// Why a socket was not let in.
pub(crate) enum NotIn {
    /// The connect handler must be asked again, for another socket than `before`.
    Again { before: Socket, arrival: Box<Arrival> },
    /// Its connection has ended, or the client has come back over another one since: this one is of no use.
    TooLate(Socket),
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
        let is_sources_only = pid.is_sources_only;
        let resumption =
            Some(Arc::new(Resumption { id: pid.sid, base: pid.base.unwrap_or_default(), place }));
        match session {
            Ok(session) => {
                let number = session.next_arrival();
                let socket = Socket::new(session, served, outbox.clone(), true, resumption);
                Self { socket, auth, outbox, kind: Kind::Back { pid_text, own, is_sources_only, number } }
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
        resumption: Option<Arc<Resumption>>,
        before: Option<Arc<Session>>,
    ) -> Self {
        let socket = Socket::new(session, served, outbox.clone(), false, resumption);
        Self { socket, auth, outbox, kind: Kind::New { before } }
    }

    /// Lets the client in, as the connect handler has said.
    pub(crate) fn let_in(self, accept: Accept) -> Result<Entered, NotIn> {
        let (socket, served) = (&self.socket, self.socket.served());
        if self.outbox.handle.is_closed() {
            // Its connection has ended while the handler ran: it must not take the session from one that lives.
            return Err(NotIn::TooLate(self.socket));
        }
        match &self.kind {
            Kind::Back { pid_text, own, is_sources_only, number } if accept.recovery == Recover::Yes => {
                match socket.let_in(answer(socket, Some(pid_text)), *own, *is_sources_only, *number) {
                    Ok(()) => Ok(Entered { own: *own, socket: self.socket }),
                    Err(NotLetIn::Overtaken) => Err(NotIn::TooLate(self.socket)),
                    // It has ended, or was given more than it could keep, while the handler ran.
                    Err(NotLetIn::Unrecoverable) => Err(self.again(Recover::No)),
                }
            }
            Kind::Back { .. } => Err(self.again(accept.recovery)),
            Kind::New { before } => {
                if accept.recovery == Recover::Stranger && socket.resumption().is_some() {
                    return Err(self.again(Recover::Stranger));
                }
                let is_sources_only = accept.base.is_some() && !served.has_own();
                let pid = served.recovery().filter(|_| socket.session().is_kept()).map(|recovery| {
                    let pid = Pid {
                        lineage: socket.lineage(),
                        sid: socket.id(),
                        base: accept.base,
                        is_sources_only,
                    };
                    recovery.seal(&pid, &served.name)
                });
                if let Some(before) = before
                    && let Some(old) = served.end(before)
                {
                    old.thrown_out(super::event::DisconnectReason::TakenOver);
                    old.close_connection();
                }
                match socket.let_in(answer(socket, pid.as_deref()), 0, is_sources_only, 0) {
                    Ok(()) => Ok(Entered { own: 0, socket: self.socket }),
                    Err(_) => Err(self.again(Recover::No)),
                }
            }
        }
    }

    /// The same CONNECT, with a new session.
    fn again(self, recovery: Recover) -> NotIn {
        let (served, outbox) = (self.socket.served().clone(), self.outbox);
        let (lineage, resumption, before) = match (recovery, self.kind) {
            (Recover::Stranger, _) => (Lineage::random(), None, None),
            (_, Kind::New { before }) => (self.socket.lineage(), self.socket.resumption(), before),
            (_, Kind::Back { .. }) => {
                let before = Some(self.socket.session().clone());
                (self.socket.lineage(), self.socket.resumption(), before)
            }
        };
        let session = served.session(lineage, self.socket.session().is_kept());
        let arrival = Self::new(session, served, outbox, self.auth, resumption, before);
        NotIn::Again { before: self.socket, arrival: Box::new(arrival) }
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
