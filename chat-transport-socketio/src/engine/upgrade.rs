//! A WebSocket that is being tried as the new link of a polling session.
//!
//! The client sends `2probe`, is answered `3probe`, waits for its last GET and POST to return, and sends `5`: from then on the
//! WebSocket is the link. Whatever else it sends ends the attempt, not the session.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::packet::Packet;
use super::websocket::WebSocketLink;

#[derive(Debug)]
pub(crate) struct Probe {
    link: WebSocketLink,
    stage: Stage,
    rushed: bool,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fresh,
    Answered,
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    Waiting,
    /// The client asked for the change.
    Ready {
        /// It did not wait for the answer to its probe.
        rushed: bool,
    },
    Failed,
}

impl Probe {
    pub(crate) fn new(link: WebSocketLink, until: Instant) -> Self {
        Self { link, stage: Stage::Fresh, rushed: false, until }
    }

    /// When the attempt is given up. Never, once the client has asked for the change: it is on the WebSocket already.
    pub(crate) fn until(&self) -> Option<Instant> {
        (!self.is_asked()).then_some(self.until)
    }

    /// Whether the client has asked for the change.
    pub(crate) fn is_asked(&self) -> bool {
        self.stage == Stage::Asked
    }

    /// Whether GETs are to return at once.
    pub(crate) fn holds_polling(&self) -> bool {
        self.stage == Stage::Answered
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Probed {
        let began_at = self.stage;
        while self.stage != Stage::Asked {
            match self.link.poll_packet(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(Packet::Ping(data)))
                    if data.as_str() == "probe" && self.stage == Stage::Fresh =>
                {
                    self.link.control(b"3probe");
                    self.stage = Stage::Answered;
                }
                Poll::Ready(Ok(Packet::Upgrade)) => {
                    self.stage = Stage::Asked;
                    self.rushed = began_at == Stage::Fresh;
                }
                Poll::Ready(_) => return Probed::Failed,
            }
        }
        match self.link.poll_flush(cx) {
            Poll::Ready(Err(_)) => Probed::Failed,
            _ if self.stage == Stage::Asked => Probed::Ready { rushed: self.rushed },
            _ => Probed::Waiting,
        }
    }

    pub(crate) fn into_link(self) -> WebSocketLink {
        self.link
    }
}
