//! What of a session is written down, and how it is found again: its side of `recovery/journal.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Session, State};
use crate::socket::id::SocketId;
use crate::socket::recovery::backlog::Backlog;
use crate::socket::recovery::journal::{Journal, Pen};
use crate::socket::recovery::record::{Kept, Record};
use crate::socket::recovery::suspended::Suspended;

impl Session {
    /// What an earlier process has kept, without its rooms.
    pub(crate) fn restored(id: SocketId, kept: Kept, suspended: Arc<Suspended>) -> Self {
        let session = Self::new(id, kept.lineage, Some(suspended));
        {
            let mut state = session.lock();
            state.data = kept.data;
            state.backlog = Backlog::restored(kept.last, kept.events);
            state.is_written = true;
        }
        session
    }

    /// All there is of it, for the journal; none if the journal need not know of it.
    pub(crate) fn kept(&self, namespace: &Arc<str>) -> Option<Kept> {
        let state = self.lock();
        let rooms = state.rooms.as_ref().filter(|_| state.is_written)?;
        Some(Kept {
            namespace: namespace.clone(),
            lineage: self.lineage,
            last: state.backlog.last(),
            events: state.backlog.events().clone(),
            rooms: rooms.iter().cloned().collect(),
            data: state.data.clone(),
        })
    }

    pub(super) fn journal(&self) -> Option<&Arc<Journal>> {
        self.suspended.as_ref()?.recovery.journal.as_ref()
    }

    /// The change that must be stored before the client is told anything more.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Writes a change down, where that is done.
    pub(super) fn write(&self, state: &mut State, namespace: &Arc<str>, record: Record) {
        if let Some(journal) = self.journal() {
            self.write_with(&mut journal.pen(), state, namespace, record);
        }
    }

    pub(super) fn write_with(
        &self,
        pen: &mut Pen<'_>,
        state: &mut State,
        namespace: &Arc<str>,
        record: Record,
    ) {
        if !state.is_lost {
            self.begin_with(pen, state, namespace);
            self.written.store(pen.write(record), Ordering::Release);
        }
    }

    /// The journal learns of the session, if it does not know of it.
    pub(super) fn begin_with(&self, pen: &mut Pen<'_>, state: &mut State, namespace: &Arc<str>) {
        if !state.is_lost && !std::mem::replace(&mut state.is_written, true) {
            let begin = Record::Begin { sid: self.id, namespace: namespace.clone(), lineage: self.lineage };
            self.written.store(pen.write(begin), Ordering::Release);
        }
    }

    /// Writes down that it is in a room now, or not any more.
    pub(crate) fn write_room(&self, state: &mut State, namespace: &Arc<str>, room: Arc<str>, is_in: bool) {
        let sid = self.id;
        let record = if is_in { Record::Join { sid, room } } else { Record::Leave { sid, room } };
        self.write(state, namespace, record);
    }
}
