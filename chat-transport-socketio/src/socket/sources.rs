//! The sources of one connection, which take turns. What a source is: `source.rs`.

use std::task::{Context, Poll};

use smallvec::SmallVec;

use super::id::SocketId;
use super::source::{Outlet, Pull, Source};
use super::tickets::Tickets;
use crate::engine::{CloseReason, Work, Writer};

#[derive(Default)]
pub(crate) struct Sources {
    /// One, as a rule.
    attached: SmallVec<[(SocketId, Box<dyn Source>); 1]>,
    /// Which one is pulled first.
    next: usize,
}

impl Sources {
    pub(crate) fn attach(&mut self, owner: SocketId, source: Box<dyn Source>) {
        self.attached.push((owner, source));
    }

    /// Drops those of `owner`.
    pub(crate) fn detach(&mut self, owner: SocketId) {
        self.attached.retain(|(of, _)| *of != owner);
    }

    /// Appends where those of `owner` are.
    pub(crate) fn place(&self, owner: SocketId, place: &mut Vec<u8>) {
        self.attached.iter().filter(|(of, _)| *of == owner).for_each(|(_, source)| source.place(place));
    }

    /// Pulls from each in turn, until the link is full or nothing is due. Those of `connecting` wait for its CONNECT to be answered.
    pub(crate) fn pull(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer<'_>,
        tickets: &Tickets,
        connecting: Option<SocketId>,
    ) -> Work {
        let mut looked_at = 0;
        while looked_at < self.attached.len() {
            let index = (self.next + looked_at) % self.attached.len();
            let Some((owner, source)) = self.attached.get_mut(index) else { break };
            looked_at += 1;
            if connecting == Some(*owner) {
                continue;
            }
            match source.poll_pull(cx, &mut Outlet::new(writer, tickets.of(*owner))) {
                Poll::Pending => {}
                Poll::Ready(Pull::Full) => {
                    self.next = index + 1;
                    return Work::WaitsForRoom;
                }
                Poll::Ready(Pull::Ended) => {
                    self.attached.remove(index);
                    looked_at -= 1;
                }
                Poll::Ready(Pull::Broken) => return Work::Close(CloseReason::Closed),
            }
        }
        Work::Done
    }
}
