//! The end of a session: what the peer has sent is still handled, what is due is handed out, the link is closed, the application
//! winds up. All of it within the close timeout, but for the application's last work.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{READS_A_TURN, Session, State, Turn};
use crate::engine::application::{Appetite, Application, CloseReason};
use crate::engine::handle::Request;
use crate::engine::link::Link;
use crate::engine::packet::Packet;
use crate::engine::registry::On;
use crate::engine::websocket::End;

/// A session that is over, for all others.
pub(super) struct Ending {
    reason: CloseReason,
    until: Instant,
    link: LastOfLink,
    work: Work,
}

/// What is still to be done with the link.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastOfLink {
    /// Nothing can be written to it, but the peer has sent more than was read so far.
    Unread,
    /// The closing handshake.
    Closing,
    Gone,
}

enum Work {
    /// The application handles what was received.
    Finishing,
    Last(Pin<Box<dyn Future<Output = ()> + Send>>),
    Done,
}

impl<A: Application> Session<A> {
    /// The client has closed its polling session, and its last GET may still come.
    pub(super) fn turn_leaving(&mut self, cx: &mut Context<'_>, until: Instant) -> Turn {
        let over = self.place.handle.take().0.into_iter().any(|request| match (request, &mut self.link) {
            (Request::Poll(answer), Link::Polling(polling)) => polling.poll(answer).is_ok_and(|()| {
                polling.finish(b"6");
                true
            }),
            _ => false,
        });
        if over || until <= Instant::now() {
            self.end(cx, CloseReason::TransportClosed);
            return Turn::Again;
        }
        self.rest(cx, until)
    }

    /// This side closes: what is due before goes out first.
    pub(super) fn drain(&mut self, reason: CloseReason) {
        let until = Instant::now() + self.settings().close_timeout;
        self.probe = None;
        self.state = State::Draining { reason, until, handed_out: false };
    }

    pub(super) fn turn_draining(&mut self, cx: &mut Context<'_>) -> Turn {
        let State::Draining { reason, until, handed_out } = self.state else { return Turn::Again };
        for request in self.place.handle.take().0 {
            match (request, &mut self.link) {
                // A second GET at a time is refused by being dropped.
                (Request::Poll(answer), Link::Polling(polling)) => _ = polling.poll(answer),
                (Request::Post { taken, .. }, _) => _ = taken.send(()),
                _ => {}
            }
        }
        if until <= Instant::now() {
            self.end(cx, reason);
            return Turn::Again;
        }
        let drained = self.application.poll_drain(cx, &mut self.link.writer(), reason).is_ready();
        // Who polls and was handed something is told of the close by its next GET.
        if drained && self.link.unsent() == 0 && (self.link.has_room() || !handed_out) {
            self.end(cx, reason);
            return Turn::Again;
        }
        let wrote = self.link.unsent() > 0;
        match self.link.poll_flush(cx) {
            Poll::Ready(Err(_)) => self.end(cx, CloseReason::TransportClosed),
            Poll::Ready(Ok(())) if wrote => self.state = State::Draining { reason, until, handed_out: true },
            _ => return self.rest(cx, until),
        }
        Turn::Again
    }

    /// Nobody reaches the session from here on.
    pub(super) fn end(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        self.place.shared.registry.moved(self.place.sid, On::Nothing);
        self.place.handle.end();
        self.probe = None;
        let broken = reason == CloseReason::TransportClosed;
        let link = match &mut self.link {
            Link::Polling(polling) => {
                polling.finish(b"1");
                if broken && polling.is_taking() { LastOfLink::Unread } else { LastOfLink::Gone }
            }
            Link::WebSocket(link) if broken && link.end().is_none() => LastOfLink::Unread,
            Link::WebSocket(link) if link.end() == Some(End::Broken) => LastOfLink::Gone,
            Link::WebSocket(link) => {
                let code = match reason {
                    CloseReason::Malformed => CloseCode::Protocol,
                    CloseReason::Shutdown => CloseCode::Restart,
                    _ => CloseCode::Normal,
                };
                link.start_close(cx, code);
                LastOfLink::Closing
            }
        };
        if link == LastOfLink::Gone {
            self.link = Link::Polling(Box::default());
        }
        let until = Instant::now() + self.settings().close_timeout;
        self.state = State::Ending(Ending { reason, until, link, work: Work::Finishing });
    }

    pub(super) fn turn_ending(&mut self, cx: &mut Context<'_>) -> Turn {
        let State::Ending(ending) = &mut self.state else { return Turn::Again };
        let late = ending.until <= Instant::now();
        let mut again = false;
        let gone = match ending.link {
            LastOfLink::Gone => false,
            LastOfLink::Unread => match read_last(&mut self.application, &mut self.link, cx) {
                Last::More => {
                    again = true;
                    late
                }
                Last::Waits => late,
                Last::Nothing => true,
            },
            LastOfLink::Closing => {
                let closed = match &mut self.link {
                    Link::WebSocket(link) => link.poll_closed(cx).is_ready(),
                    Link::Polling(_) => true,
                };
                closed || late
            }
        };
        if gone {
            ending.link = LastOfLink::Gone;
            // Gives the socket, or the pending POST, back at once.
            self.link = Link::Polling(Box::default());
        }

        if let Work::Finishing = ending.work {
            let hungry = self.application.appetite() == Appetite::Hungry;
            let finished = self.application.poll_finish(cx, ending.reason).is_ready();
            again |= !hungry && self.application.appetite() == Appetite::Hungry;
            if late || (finished && ending.link != LastOfLink::Unread) {
                ending.work = self.application.close(ending.reason).map_or(Work::Done, Work::Last);
            }
        }
        if let Work::Last(work) = &mut ending.work
            && work.as_mut().poll(cx).is_ready()
        {
            ending.work = Work::Done;
        }
        match (ending.link, &ending.work) {
            (LastOfLink::Gone, Work::Done) => Turn::Over,
            (LastOfLink::Gone, Work::Last(_)) => Turn::Rest,
            _ if again => Turn::Again,
            _ => {
                let until = ending.until;
                self.rest(cx, until)
            }
        }
    }
}

/// How far the last reading got.
enum Last {
    /// There may be more, after a turn of the others.
    More,
    /// For the peer's bytes, or for the application to take more.
    Waits,
    Nothing,
}

/// Reads what the peer has sent before its link broke.
fn read_last<A: Application>(application: &mut A, link: &mut Link, cx: &mut Context<'_>) -> Last {
    for _ in 0..READS_A_TURN {
        if application.appetite() != Appetite::Hungry {
            return Last::Waits;
        }
        match link.poll_packet(cx) {
            Poll::Ready(Ok(Packet::Message(message))) => {
                if application.receive(message).is_err() {
                    return Last::Nothing;
                }
            }
            Poll::Ready(Ok(Packet::Close) | Err(_)) => return Last::Nothing,
            Poll::Ready(Ok(_)) => {}
            Poll::Pending => {
                return match link {
                    Link::WebSocket(_) => Last::Waits,
                    // A POST is whole, or not there.
                    Link::Polling(_) => Last::Nothing,
                };
            }
        }
    }
    Last::More
}
