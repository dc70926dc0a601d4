//! The task of one connection: it reads, lets the application work, and writes, in turn.
//!
//! There is no queue between the application and the socket: what is due is pulled into the write buffer when the link has taken
//! the last one. What packets look like is in `packet.rs` and `writer.rs`, when to ping in `heartbeat.rs`, how it ends in
//! `session/ending.rs`.

mod ending;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use self::ending::Ending;
use super::application::{Appetite, Application, CloseReason, Work};
use super::handle::Request;
use super::heartbeat::{Beat, Heartbeat};
use super::link::Link;
use super::packet::Packet;
use super::registry::{On, Registration};
use super::settings::Settings;
use super::upgrade::{Probe, Probed};
use super::websocket::LinkEnd;

/// Packets that are read before the application may write and others get their turn.
const READS_A_TURN: usize = 32;
/// Turns before other tasks of this thread get theirs.
const TURNS_A_POLL: usize = 8;
/// How long a GET may be on its way when the client closes its session by a POST that overtakes it.
const CROSSING_TIME: Duration = Duration::from_millis(100);

pub(crate) struct Session<A> {
    place: Registration,
    application: A,
    link: Link,
    /// A WebSocket on its way to become the link.
    probe: Option<Box<Probe>>,
    heartbeat: Heartbeat,
    timer: Pin<Box<Sleep>>,
    /// When the timer rings; none until it is set for the first time. Kept here because most turns need not look at the timer.
    alarm: Option<Instant>,
    /// Nothing was read for want of appetite.
    held_back: bool,
    state: State,
}

enum State {
    Open,
    /// The client has closed its polling session, and its last GET may still come.
    Leaving {
        until: Instant,
    },
    /// This side closes; what was due before is handed out first.
    Draining {
        reason: CloseReason,
        until: Instant,
        /// Something was.
        handed_out: bool,
    },
    Ending(Ending),
}

enum Turn {
    /// Something happened that may allow more.
    Again,
    /// All that can be done is done; wakers are registered.
    Rest,
    Over,
}

impl<A: Application> Session<A> {
    /// A session that has just been opened over `link`: its first packet says so.
    pub(crate) fn new(place: Registration, application: A, mut link: Link) -> Self {
        let settings = &place.shared.settings;
        let now = Instant::now();
        let heartbeat = Heartbeat::new(settings.ping_interval, settings.ping_timeout, now);
        link.control(opening(&place, &link).as_bytes());
        let timer = Box::pin(tokio::time::sleep_until(heartbeat.due()));
        Self {
            place,
            application,
            link,
            probe: None,
            heartbeat,
            timer,
            alarm: None,
            held_back: false,
            state: State::Open,
        }
    }

    fn settings(&self) -> &Settings {
        &self.place.shared.settings
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        let now = Instant::now();
        // Whatever it rang for: the turn sets it anew.
        let rang = self.alarm.take_if(|alarm| *alarm <= now).is_some();
        match &mut self.state {
            State::Open => match self.turn_open(cx, rang.then_some(now)) {
                Ok(turn) => turn,
                Err(reason) => {
                    self.end(cx, reason);
                    Turn::Again
                }
            },
            State::Leaving { until } => {
                let until = *until;
                self.turn_leaving(cx, until)
            }
            State::Draining { .. } => self.turn_draining(cx),
            State::Ending(_) => self.turn_ending(cx),
        }
    }

    fn turn_open(&mut self, cx: &mut Context<'_>, rang: Option<Instant>) -> Result<Turn, CloseReason> {
        if let Some(now) = rang {
            self.on_time(now)?;
        }
        // What has come over a WebSocket was sent before the requests that have come by now.
        self.turn_probe(cx);
        let (requests, close) = self.place.handle.take();
        for request in requests {
            self.request(request)?;
        }
        if let Some(reason) = close {
            self.drain(reason);
            return Ok(Turn::Again);
        }
        self.turn_probe(cx);
        let mut again = self.read(cx)?;
        if !matches!(self.state, State::Open) {
            return Ok(Turn::Again);
        }
        // The POST that came before the change may just have been taken in.
        again |= self.probe.as_ref().is_some_and(|probe| probe.is_asked()) && !self.link.is_taking();

        let hungry = self.application.appetite() == Appetite::Hungry;
        let work = self.application.poll_work(cx, &mut self.link.writer());
        match work {
            Work::Close(CloseReason::Malformed) => return Err(CloseReason::Malformed),
            Work::Close(reason) => {
                self.drain(reason);
                return Ok(Turn::Again);
            }
            Work::Done | Work::WaitsForRoom => {}
        }
        let wrote = self.link.unsent() > 0;
        if let (Some(probe), Link::Polling(polling)) = (&self.probe, &mut self.link)
            && probe.holds_polling()
            && polling.is_waiting()
            && !wrote
        {
            // The client waits for its GET to return before it moves over.
            polling.control(b"6");
        }
        match self.link.poll_flush(cx) {
            Poll::Ready(Err(LinkEnd::Closed | LinkEnd::Malformed)) => {
                return Err(CloseReason::TransportClosed);
            }
            Poll::Ready(Ok(())) => again |= work == Work::WaitsForRoom && wrote && self.link.has_room(),
            Poll::Pending => {}
        }
        self.place.handle.set_writable(self.link.has_room());
        again |= !hungry && self.application.appetite() == Appetite::Hungry;
        if again {
            return Ok(Turn::Again);
        }
        let mut due = self.heartbeat.due();
        let deadlines = [self.application.deadline(), self.probe.as_ref().and_then(|probe| probe.until())];
        for deadline in deadlines.into_iter().flatten() {
            due = due.min(deadline);
        }
        Ok(self.rest(cx, due))
    }

    /// Reads until nothing comes or nothing more is wanted. True: there may be more, after a turn of the others.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        for _ in 0..READS_A_TURN {
            match self.application.appetite() {
                Appetite::Hungry => {}
                Appetite::Busy => {
                    self.held_back = true;
                    return Ok(false);
                }
                Appetite::Clogged => return Ok(false),
            }
            if std::mem::take(&mut self.held_back) {
                self.heartbeat.forgive(Instant::now());
            }
            match self.link.poll_packet(cx) {
                Poll::Ready(Ok(packet)) => self.packet(packet)?,
                Poll::Ready(Err(LinkEnd::Closed)) => return Err(CloseReason::TransportClosed),
                Poll::Ready(Err(LinkEnd::Malformed)) => return Err(CloseReason::Malformed),
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    fn packet(&mut self, packet: Packet) -> Result<(), CloseReason> {
        let now = Instant::now();
        match packet {
            Packet::Pong => {
                self.heartbeat.pong(now);
                self.application.ponged();
                return Ok(());
            }
            Packet::Message(message) => self.application.receive(message)?,
            Packet::Close => {
                match &mut self.link {
                    Link::WebSocket(link) => link.left(),
                    Link::Polling(polling) => {
                        polling.finish_post();
                        if !polling.is_waiting() {
                            self.state = State::Leaving { until: now + CROSSING_TIME };
                            return Ok(());
                        }
                        polling.finish(b"6");
                    }
                }
                return Err(CloseReason::TransportClosed);
            }
            // Only servers ping in this version of the protocol.
            Packet::Ping(_) => return Err(CloseReason::Malformed),
            Packet::Open | Packet::Upgrade | Packet::Noop => {}
        }
        self.heartbeat.sign_of_life(now);
        Ok(())
    }

    fn on_time(&mut self, now: Instant) -> Result<(), CloseReason> {
        if self.probe.as_ref().and_then(|probe| probe.until()).is_some_and(|until| until <= now) {
            self.probe = None;
        }
        match self.heartbeat.beat(now) {
            Beat::Nothing => {}
            Beat::Ping => {
                self.link.control(b"2");
                self.application.pinged();
            }
            // The pong may be among what this side has not read yet.
            Beat::Dead if self.held_back && self.heartbeat.excuse(now) => {}
            Beat::Dead => return Err(CloseReason::PingTimeout),
        }
        Ok(())
    }

    fn request(&mut self, request: Request) -> Result<(), CloseReason> {
        match (request, &mut self.link) {
            (Request::Poll(answer), Link::Polling(polling)) => {
                polling.poll(answer).map_err(|_| CloseReason::Malformed)
            }
            (Request::Post { body, taken }, Link::Polling(polling)) => {
                polling.post(body, taken).map_err(|_| CloseReason::Malformed)
            }
            (Request::Upgrade(link), Link::Polling(_)) if self.probe.is_none() => {
                self.probe =
                    Some(Box::new(Probe::new(*link, Instant::now() + self.settings().upgrade_timeout)));
                Ok(())
            }
            // A request that crossed the upgrade, or a second upgrade: dropping it refuses it, the session goes on.
            (Request::Poll(_) | Request::Post { .. } | Request::Upgrade(_), _) => Ok(()),
        }
    }

    fn turn_probe(&mut self, cx: &mut Context<'_>) {
        let Some(probe) = &mut self.probe else { return };
        match probe.poll(cx) {
            Probed::Waiting => {}
            Probed::Failed => self.probe = None,
            Probed::Ready { rushed } => {
                let Link::Polling(polling) = &mut self.link else { return };
                if polling.is_taking() {
                    // What was posted before the upgrade is taken in before what comes after it.
                    return;
                }
                let ping_is_due = polling.unsent() > 0;
                // A client that did not wait for the answer to its probe is on the WebSocket already, and a GET of it comes too late: it is
                // refused by being dropped.
                if !rushed {
                    polling.finish(b"6");
                }
                let Some(probe) = self.probe.take() else { return };
                let mut link = probe.into_link();
                if ping_is_due {
                    link.control(b"2");
                }
                self.link = Link::WebSocket(link);
                self.place.shared.registry.moved(self.place.sid, On::WebSocket);
            }
        }
    }

    /// Sleeps until `due` at the latest; an earlier alarm is left alone and costs one turn.
    fn rest(&mut self, cx: &mut Context<'_>, due: Instant) -> Turn {
        if self.alarm.is_none_or(|alarm| due < alarm) {
            self.timer.as_mut().reset(due);
            self.alarm = Some(due);
            if self.timer.as_mut().poll(cx).is_ready() {
                return Turn::Again;
            }
        }
        Turn::Rest
    }
}

impl<A: Application> Future for Session<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.place.handle.register(cx.waker());
        for _ in 0..TURNS_A_POLL {
            match this.turn(cx) {
                Turn::Again => {}
                Turn::Rest => return Poll::Pending,
                Turn::Over => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The first packet of a session.
fn opening(place: &Registration, link: &Link) -> String {
    let settings = &place.shared.settings;
    let upgrades = match link {
        Link::Polling(_) if settings.transports.upgrade() => r#"["websocket"]"#,
        _ => "[]",
    };
    format!(
        r#"0{{"sid":"{}","upgrades":{upgrades},"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
        place.sid,
        settings.ping_interval.as_millis(),
        settings.ping_timeout.as_millis(),
        settings.max_payload,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Connection;

    #[test]
    fn an_idle_connection_is_small() {
        // Thousands of these wait side by side: what is rare is boxed, and there is one timer.
        let bytes = size_of::<Session<Connection>>();
        assert!(bytes <= 920, "a session takes {bytes} bytes");
    }
}
