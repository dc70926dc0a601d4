//! What a session reads from and writes to: a WebSocket, or the HTTP requests of a polling client.

use std::task::{Context, Poll};

use super::packet::Packet;
use super::polling::PollingLink;
use super::websocket::{LinkEnd, WebSocketLink};
use super::writer::Writer;

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all links are WebSockets, and one pointer less is followed a turn"
)]
pub(crate) enum Link {
    WebSocket(WebSocketLink),
    Polling(Box<PollingLink>),
}

impl Link {
    pub(crate) fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Result<Packet, LinkEnd>> {
        match self {
            Self::WebSocket(link) => link.poll_packet(cx),
            Self::Polling(link) => link.poll_packet(cx),
        }
    }

    pub(crate) fn writer(&mut self) -> Writer<'_> {
        match self {
            Self::WebSocket(link) => link.writer(),
            Self::Polling(link) => link.writer(),
        }
    }

    pub(crate) fn control(&mut self, packet: &[u8]) {
        match self {
            Self::WebSocket(link) => link.control(packet),
            Self::Polling(link) => link.control(packet),
        }
    }

    pub(crate) fn unsent(&self) -> usize {
        match self {
            Self::WebSocket(link) => link.unsent(),
            Self::Polling(link) => link.unsent(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        match self {
            Self::WebSocket(link) => link.unsent() == 0,
            Self::Polling(link) => link.is_waiting(),
        }
    }

    /// Whether a POST is not yet taken in.
    pub(crate) fn is_taking(&self) -> bool {
        match self {
            Self::WebSocket(_) => false,
            Self::Polling(link) => link.is_taking(),
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        match self {
            Self::WebSocket(link) => link.poll_flush(cx).map_err(|_| LinkEnd::Closed),
            Self::Polling(link) => link.flush(),
        }
    }
}
