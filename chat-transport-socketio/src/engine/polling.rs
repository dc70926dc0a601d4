//! One polling session's HTTP requests: the GET that waits for data and the POST that is being taken in.

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::packet::{Packet, Payload};
use super::text::Text;
use super::websocket::LinkEnd;
use super::writer::{Framing, Writer};

/// What one GET is answered with, in bytes, a single larger packet excepted.
const RESPONSE_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct PollingLink {
    get: Option<oneshot::Sender<Bytes>>,
    post: Option<(Payload, oneshot::Sender<()>)>,
    out: Vec<u8>,
}

/// The client broke the rule of one request of a kind at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overlap;

impl PollingLink {
    /// A GET waits from now on.
    pub(crate) fn poll(&mut self, answer: oneshot::Sender<Bytes>) -> Result<(), Overlap> {
        if self.get.is_some() {
            return Err(Overlap);
        }
        self.get = Some(answer);
        Ok(())
    }

    /// A POST's packets are read from now on.
    pub(crate) fn post(&mut self, body: Text, taken: oneshot::Sender<()>) -> Result<(), Overlap> {
        if self.post.is_some() {
            return Err(Overlap);
        }
        self.post = Some((Payload::new(body), taken));
        Ok(())
    }

    /// The next packet of the current POST. When there is no more, the POST is answered.
    pub(crate) fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Result<Packet, LinkEnd>> {
        if let Some(packet) = self.post.as_mut().and_then(|(payload, _)| payload.next()) {
            return Poll::Ready(packet.map_err(|_| LinkEnd::Malformed));
        }
        self.finish_post();
        // A GET that is given up is the end of the session, but a POST has come whole before.
        match &mut self.get {
            Some(get) => get.poll_closed(cx).map(|()| Err(LinkEnd::Closed)),
            None => Poll::Pending,
        }
    }

    /// Answers the current POST: what it brought is taken in, or is not wanted any more.
    pub(crate) fn finish_post(&mut self) {
        if let Some((_, taken)) = self.post.take() {
            // An error means that the client gave up waiting; its packets count all the same.
            let _ = taken.send(());
        }
    }

    /// Whether a POST is not yet taken in.
    pub(crate) fn is_taking(&self) -> bool {
        self.post.is_some()
    }

    /// Whether a GET waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.get.is_some()
    }

    /// The room there is: none while no GET waits.
    pub(crate) fn writer(&mut self) -> Writer<'_> {
        let limit = if self.get.is_some() { RESPONSE_BYTES } else { 0 };
        Writer::new(&mut self.out, Framing::Payload, limit)
    }

    /// Writes a packet for this or the next GET.
    pub(crate) fn control(&mut self, packet: &[u8]) {
        Writer::new(&mut self.out, Framing::Payload, 0).text(&[packet]);
    }

    /// Bytes for which no GET has come yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len()
    }

    /// Answers the GET with what is due. Pending: no GET waits for it.
    pub(crate) fn flush(&mut self) -> Poll<Result<(), LinkEnd>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Some(get) = self.get.take() else { return Poll::Pending };
        let sent = get.send(std::mem::take(&mut self.out).into());
        Poll::Ready(sent.map_err(|_| LinkEnd::Closed))
    }

    /// Answers a waiting GET for the last time: with what is due, or with `packet` if nothing is. A close packet has no company: clients see
    /// it at once, and hand out the events of its payload when they are not connected any more.
    pub(crate) fn finish(&mut self, packet: &[u8]) {
        if self.get.is_some() {
            if self.out.is_empty() {
                self.control(packet);
            }
            // Nobody listens any more: it makes no difference.
            let _ = self.flush();
        }
    }
}
