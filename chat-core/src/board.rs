//! Where the notices of this node's rooms are put up, and what they cause: readers are woken, other nodes told, rosters read.
//!
//! What a notice does to a room is decided in `notices.rs`, under the room's lock. A room that nobody here is told notices of has none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::delivery::{Delivery, News};
use crate::error::StoreResult;
use crate::id::{NodeId, RoomId, UserId};
use crate::limits::Limits;
use crate::mutants::{Mutant, mutated};
use crate::notice::Notice;
use crate::notices::{Notices, Outcome};
use crate::presence::{Presence, Roster};
use crate::room::Room;
use crate::rooms::Rooms;
use crate::task::in_a_task;

/// Rosters that are read at the same time.
const ASKED_AT_ONCE: usize = 16;
/// Rooms in which something is done at its time before others have a turn.
const TICKED_AT_ONCE: usize = 64;

pub(crate) struct Board {
    rooms: Arc<Rooms>,
    delivery: Arc<dyn Delivery>,
    presence: Option<Arc<dyn Presence>>,
    /// Tells what this node has announced from what it hears.
    node: NodeId,
    stop: CancellationToken,
    agenda: Mutex<Agenda>,
    planned: Notify,
    /// News may have been missed.
    suspected: Notify,
    asking: Semaphore,
}

impl Board {
    pub(crate) fn new(
        rooms: Arc<Rooms>,
        delivery: Arc<dyn Delivery>,
        presence: Option<Arc<dyn Presence>>,
        node: NodeId,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            rooms,
            delivery,
            presence,
            node,
            stop,
            agenda: Mutex::default(),
            planned: Notify::new(),
            suspected: Notify::new(),
            asking: Semaphore::new(ASKED_AT_ONCE),
        })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.rooms.limits
    }

    pub(crate) fn has_presence(&self) -> bool {
        self.presence.is_some()
    }

    /// Puts up what somebody on this node does, and tells the other nodes.
    pub(crate) fn tell(self: &Arc<Self>, id: &RoomId, notice: Notice) {
        let outcome = self.put_up(id, &notice);
        // Who is there is told in any case: other nodes may have readers where this one has none.
        let is_news = match &notice {
            Notice::Presence { .. } => true,
            Notice::Typing { .. } | Notice::Read { .. } => outcome.is_none_or(|outcome| outcome.news),
        };
        if is_news {
            let news = News::Notice { room: id.clone(), from: self.node, notice };
            crate::post::announce(&self.rooms, self.delivery.clone(), news);
        }
    }

    /// Takes what a node tells.
    pub(crate) fn hear(self: &Arc<Self>, id: &RoomId, from: NodeId, notice: &Notice) {
        if from != self.node {
            self.put_up(id, notice);
        }
    }

    /// News of any room may have been missed.
    pub(crate) fn suspect_all(&self) {
        self.suspected.notify_one();
    }

    /// A reader has begun to be told of a room.
    pub(crate) fn begin(self: &Arc<Self>, room: &Arc<Room>) {
        self.change(room, |notices, _, _| notices.want_first_roster());
    }

    /// A page of who is in a room; `None` where nobody keeps that.
    pub(crate) async fn roster(
        &self,
        room: &RoomId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Option<StoreResult<Roster>> {
        let (presence, room, after) = (self.presence.clone()?, room.clone(), after.cloned());
        Some(in_a_task(async move { presence.roster(&room, after.as_ref(), limit).await }).await)
    }

    /// Does what is due in rooms at its time. Runs for as long as the engine does.
    pub(crate) async fn keep_time(self: &Arc<Self>) {
        loop {
            let (due, next) = self.agenda().take(Instant::now(), TICKED_AT_ONCE);
            if !due.is_empty() {
                for id in due {
                    if let Some(room) = self.rooms.get(&id) {
                        self.change(&room, |notices, limits, now| notices.tick(limits, now));
                    }
                }
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.planned.notified() => {}
                () = at(next) => {}
            }
        }
    }

    /// Compares who is there with the store, now and then: news may be lost without a trace. Runs for as long as the engine does.
    pub(crate) async fn sweep(self: &Arc<Self>) {
        if !self.has_presence() || mutated(Mutant::NeverSweepPresence) {
            return std::future::pending().await;
        }
        loop {
            tokio::select! {
                biased;
                () = self.suspected.notified() => {}
                () = sleep(self.limits().presence_sweep_interval) => {}
            }
            stream::iter(self.rooms.all())
                .for_each_concurrent(ASKED_AT_ONCE, |room| self.compare(room))
                .await;
        }
    }

    async fn compare(self: &Arc<Self>, room: Arc<Room>) {
        let Some(Some(known)) = room.lock().notices().map(Notices::version) else { return };
        // A failure is a matter for the next time.
        if let Some(Ok(Roster { version, .. })) = self.roster(&room.id, None, 0).await
            && version != known
        {
            self.change(&room, |notices, _, _| match notices.version() == Some(version) {
                true => Outcome::default(),
                false => notices.want_roster(),
            });
        }
    }

    fn put_up(self: &Arc<Self>, id: &RoomId, notice: &Notice) -> Option<Outcome> {
        let room = self.rooms.get(id)?;
        let audience = room.lock().audience();
        self.change(&room, |notices, limits, now| notices.hear(notice, audience, limits, now))
    }

    /// Changes the notices of a room under its lock, and starts what follows; `None` where nobody is told of any.
    fn change(
        self: &Arc<Self>,
        room: &Arc<Room>,
        change: impl FnOnce(&mut Notices, &Limits, Instant) -> Outcome,
    ) -> Option<Outcome> {
        let (outcome, due, wave) = {
            let mut state = room.lock();
            let notices = state.notices_mut()?;
            let outcome = change(notices, self.limits(), Instant::now());
            let due = notices.next_due(self.limits());
            (outcome, due, outcome.tell && state.begin_wave_of_notices())
        };
        if wave {
            self.rooms.waves.continue_with(room.clone());
        }
        if let Some(due) = due
            && self.agenda().plan(&room.id, due)
        {
            self.planned.notify_one();
        }
        if outcome.ask {
            let (stop, ask) = (self.stop.clone(), self.clone().ask(room.clone()));
            self.rooms.tasks.spawn(async move { stop.run_until_cancelled_owned(ask).await });
        }
        Some(outcome)
    }

    /// Reads the roster of a room, once for all its readers.
    async fn ask(self: Arc<Self>, room: Arc<Room>) {
        let mut backoff = Backoff::default();
        let limit = u32::try_from(Notices::names_max(self.limits())).unwrap_or(u32::MAX);
        loop {
            // The semaphore is never closed.
            let permit = self.asking.acquire().await;
            let Some(asked) = room.lock().notices().map(Notices::version) else { return };
            match self.roster(&room.id, None, limit).await {
                Some(Ok(roster)) => {
                    self.change(&room, |notices, limits, now| notices.look(asked, &roster, limits, now));
                    return;
                }
                Some(Err(error)) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "who is in a room could not be read; trying again"
                    );
                }
                None => return,
            }
            drop(permit);
            backoff.wait().await;
        }
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().expect("a panic while holding the agenda is a bug")
    }
}

/// In which rooms something is to be done, and when; of each the earliest time.
#[derive(Debug, Default)]
struct Agenda {
    by_time: BTreeSet<(Instant, RoomId)>,
    of_room: BTreeMap<RoomId, Instant>,
}

impl Agenda {
    /// Whether this is now the first of all.
    fn plan(&mut self, room: &RoomId, at: Instant) -> bool {
        match self.of_room.get(room) {
            Some(planned) if *planned <= at => return false,
            Some(planned) => drop(self.by_time.remove(&(*planned, room.clone()))),
            None => {}
        }
        self.of_room.insert(room.clone(), at);
        self.by_time.insert((at, room.clone()));
        self.by_time.first().is_some_and(|(first, id)| *first == at && id == room)
    }

    /// At most `max` rooms whose time has come; if none, when the first one's will.
    fn take(&mut self, now: Instant, max: usize) -> (Vec<RoomId>, Option<Instant>) {
        let mut due = Vec::new();
        while due.len() < max && self.by_time.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, room)) = self.by_time.pop_first() else { break };
            self.of_room.remove(&room);
            due.push(room);
        }
        (due, self.by_time.first().map(|(at, _)| *at))
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
