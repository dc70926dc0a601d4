//! What the sockets of one connection have been sent, as far as it matters for their tokens, and what of it has arrived for sure.

use smallvec::SmallVec;

use super::frame::Frame;
use super::id::SocketId;
use super::recovery::token::Tokens;
use super::sources::Sources;
use crate::engine::Writer;

/// One ticket for each socket whose session can be recovered: one, as a rule, which is kept beside the connection.
#[derive(Default)]
pub(crate) struct Tickets(SmallVec<[Ticket; 1]>);

struct Ticket {
    owner: SocketId,
    tokens: Tokens,
    /// Where its sources were when it left.
    retired: Option<Vec<u8>>,
    /// The last numbered event before the ping that is on its way.
    pinged: Option<u64>,
    /// The last numbered event before the ping that was answered last.
    ponged: u64,
}

impl Tickets {
    /// For a client that has the numbered events up to `own`.
    pub(crate) fn add(&mut self, owner: SocketId, own: u64) {
        // A session that comes back over the connection that it has left.
        self.remove(owner);
        self.0.push(Ticket {
            owner,
            tokens: Tokens::new(owner, own),
            retired: None,
            pinged: None,
            ponged: own,
        });
    }

    pub(crate) fn remove(&mut self, owner: SocketId) {
        self.0.retain(|ticket| ticket.owner != owner);
    }

    /// The socket leaves, and its sources with it; what was sent to it before still goes out.
    pub(crate) fn retire(&mut self, owner: SocketId, sources: &Sources) {
        if let Some(ticket) = self.0.iter_mut().find(|ticket| ticket.owner == owner) {
            let mut place = Vec::new();
            sources.place(owner, &mut place);
            ticket.retired = Some(place);
        }
    }

    pub(crate) fn of(&self, owner: SocketId) -> Option<&Tokens> {
        self.0.iter().find(|ticket| ticket.owner == owner).map(|ticket| &ticket.tokens)
    }

    /// Writes an event, which has `number` if it is a numbered one, with its token.
    pub(crate) fn write(
        &mut self,
        writer: &mut Writer<'_>,
        frame: &Frame,
        owner: SocketId,
        number: Option<u64>,
        sources: &Sources,
    ) {
        let Some(ticket) = self.0.iter_mut().find(|ticket| ticket.owner == owner) else {
            return frame.write(writer, None);
        };
        if let Some(number) = number {
            ticket.tokens.advance(number);
        }
        let Ticket { tokens, retired, .. } = ticket;
        let place = |place: &mut Vec<u8>| match retired {
            Some(retired) => place.extend_from_slice(retired),
            None => sources.place(owner, place),
        };
        tokens.token(place, |token| frame.write(writer, Some(token)));
    }

    /// A ping follows what was written so far.
    pub(crate) fn pinged(&mut self) {
        for ticket in &mut self.0 {
            ticket.pinged = Some(ticket.tokens.own());
        }
    }

    /// The ping was answered: the client has what was written before it. Calls `has` with what each had by the pong *before*: clients
    /// answer a ping before they have handed out everything that came ahead of it, and one that is cut right then still names its old place.
    pub(crate) fn ponged(&mut self, mut has: impl FnMut(SocketId, u64)) {
        for ticket in &mut self.0 {
            if let Some(pinged) = ticket.pinged.take() {
                has(ticket.owner, std::mem::replace(&mut ticket.ponged, pinged));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Args;
    use crate::engine::Framing;

    #[test]
    fn what_was_written_two_pongs_ago_has_arrived() {
        let (mut tickets, owner, sources) = (Tickets::default(), SocketId::random(), Sources::default());
        tickets.add(owner, 3);
        let has = |tickets: &mut Tickets| {
            let mut has: Vec<u64> = Vec::new();
            tickets.ponged(|_, own| has.push(own));
            has
        };
        let write = |tickets: &mut Tickets, number| {
            let (mut buffer, frame) = (Vec::new(), Frame::event("/", "e", &Args::new()));
            let mut writer = Writer::new(&mut buffer, Framing::Frames, usize::MAX);
            tickets.write(&mut writer, &frame, owner, Some(number), &sources);
        };
        assert!(has(&mut tickets).is_empty(), "nobody asked for that pong");
        for (number, expected) in [(4, 3), (9, 4), (10, 9)] {
            write(&mut tickets, number);
            tickets.pinged();
            write(&mut tickets, number + 1);
            assert_eq!(has(&mut tickets), vec![expected]);
        }
    }
}
