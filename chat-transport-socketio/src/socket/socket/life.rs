//! How a socket comes in and goes: the moments at which its session changes hands.

use std::sync::atomic::Ordering;

use super::{CONNECTED, GONE, Socket};
use crate::socket::event::DisconnectReason;
use crate::socket::frame::Frame;
use crate::socket::outbox::{Sort, Wish};
use crate::socket::session::NotLetIn;

impl Socket {
    /// Lets it in: `answer` goes out, behind it the numbered events after `own`, and then what was sent before. Another connection that had the
    /// session is thrown out.
    /// `arrival`: which one it is of the client's attempts to come back.
    pub(crate) fn let_in(
        &self,
        answer: Frame,
        own: u64,
        is_sources_only: bool,
        arrival: u64,
    ) -> Result<(), NotLetIn> {
        if !self.inner.namespace.enter(self.session()) {
            // Somebody else has come back to it by the same pid, and has made it anew.
            return Err(NotLetIn::Overtaken);
        }
        let before = self.session().let_in(self, answer, own, is_sources_only, arrival)?;
        if let Some(before) = before {
            before.thrown_out(DisconnectReason::TakenOver);
            before.close_connection();
        }
        let ahead = {
            let mut own = self.own();
            own.resumption = None;
            std::mem::take(&mut own.ahead)
        };
        ahead.into_iter().for_each(|change| self.make(change));
        Ok(())
    }

    /// From here on it is connected.
    pub(crate) fn becomes_connected(&self) {
        let _own = self.own();
        self.inner.stage.store(CONNECTED, Ordering::Release);
    }

    /// The client is told that it has left.
    pub(crate) fn thrown_out(&self, reason: DisconnectReason) {
        let stage = &self.inner.stage;
        if stage.compare_exchange(CONNECTED, GONE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // If it does not take even this, its connection is closed.
            let _ = self.answer(Frame::disconnect(self.namespace()), Sort::Answer);
            self.inner.outbox.wish(Wish::Remove(self.id(), reason));
        }
    }

    /// It has left: its session is over, if it still has it.
    pub(crate) fn left(&self) {
        self.gone();
        drop(self.inner.namespace.end_if(self.session(), |state| state.is_of(self)));
    }

    /// Its connection is over, and its client may be back.
    pub(crate) fn cut(&self) {
        if self.stage() != CONNECTED {
            return self.left();
        }
        self.gone();
        self.inner.namespace.unlink(self);
    }

    /// Nobody waits for its answers any more.
    fn gone(&self) {
        self.inner.stage.store(GONE, Ordering::Release);
        self.inner.outbox.forget(self.id());
        let asked = std::mem::take(&mut self.own().asked);
        drop(asked);
    }
}
