//! Tells the store which seats this node's connections have, renews its lease, and evicts nodes that have died.
//!
//! What is to be told is decided in `attendance.rs`. Nobody waits for any of it, and while the store is away it is tried again.

use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::attendance::{Attendance, Attendee, Call, ends_at};
use crate::backoff::Backoff;
use crate::board::Board;
use crate::entry::Author;
use crate::error::StoreResult;
use crate::id::{NodeId, RoomId};
use crate::mutants::{Mutant, mutated};
use crate::notice::Notice;
use crate::presence::{Changed, Departure, Edge, Presence, Renewed};
use crate::task::in_a_task;

/// Seats about which the store is told at the same time.
const AT_ONCE: usize = 32;
/// Dead nodes that are evicted in one go.
const EVICTED_AT_ONCE: u32 = 16;

pub(crate) struct RollCall {
    attendance: Mutex<Attendance>,
    changed: Notify,
    presence: Arc<dyn Presence>,
    board: Arc<Board>,
}

impl RollCall {
    pub(crate) fn new(presence: Arc<dyn Presence>, board: Arc<Board>) -> Arc<Self> {
        Arc::new(Self { attendance: Mutex::default(), changed: Notify::new(), presence, board })
    }

    pub(crate) fn enter(&self, attendee: &Attendee, room: &RoomId) {
        if !is_seen(room) {
            return;
        }
        self.attendance().enter(attendee.key(room), &attendee.who.name);
        self.changed.notify_one();
    }

    pub(crate) fn leave(&self, attendee: &Attendee, room: &RoomId) {
        if !is_seen(room) {
            return;
        }
        self.attendance().leave(attendee.key(room));
        self.changed.notify_one();
    }

    /// The reader is gone from all of these.
    pub(crate) fn drop_out<'a>(&self, attendee: &Attendee, rooms: impl Iterator<Item = &'a RoomId>) {
        let until = ends_at(Instant::now(), self.board.limits().presence_grace);
        let mut attendance = self.attendance();
        rooms.filter(|room| is_seen(room)).for_each(|room| attendance.drop_out(attendee.key(room), until));
        self.changed.notify_one();
    }

    pub(crate) fn rename<'a>(&self, attendee: &Attendee, rooms: impl Iterator<Item = &'a RoomId>) {
        let mut attendance = self.attendance();
        rooms
            .filter(|room| is_seen(room))
            .for_each(|room| attendance.rename(attendee.key(room), &attendee.who.name));
        self.changed.notify_one();
    }

    /// Tells the store what differs. Runs for as long as the engine does.
    pub(crate) async fn tell_the_store(&self) {
        let mut backoff = Backoff::default();
        let mut rests_until: Option<Instant> = None;
        let mut calls = FuturesUnordered::new();
        loop {
            let grace = {
                let mut attendance = self.attendance();
                attendance.tick(Instant::now());
                while rests_until.is_none() && calls.len() < AT_ONCE {
                    let Some(call) = attendance.next_call() else { break };
                    calls.push(self.carry_out(call));
                }
                attendance.next_due()
            };
            tokio::select! {
                biased;
                Some((call, answer)) = calls.next(), if !calls.is_empty() => match answer {
                    Ok(changed) => {
                        backoff = Backoff::default();
                        self.attendance().done(call.clone(), true);
                        self.tell(call, changed);
                    }
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "a seat could not be told; trying again");
                        self.attendance().done(call, false);
                        rests_until.get_or_insert_with(|| Instant::now() + backoff.grow());
                    }
                },
                () = at(rests_until) => rests_until = None,
                () = self.changed.notified() => {}
                () = at(grace) => {}
            }
        }
    }

    async fn carry_out(&self, call: Call) -> (Call, StoreResult<Changed>) {
        let presence = self.presence.clone();
        let Call { seat, name, enters } = call.clone();
        let answer = in_a_task(async move {
            match enters {
                true => presence.enter(&seat, &name).await,
                false => presence.leave(&seat).await,
            }
        });
        (call, answer.await)
    }

    fn tell(&self, call: Call, Changed { version, edge }: Changed) {
        let Some(change) = edge else { return };
        let who = Author { id: call.seat.user, name: call.name };
        self.board.tell(&call.seat.room, Notice::Presence { who, change, version });
    }

    /// Keeps the lease, and evicts nodes that did not keep theirs. Runs for as long as the engine does.
    pub(crate) async fn keep_the_lease(&self, mut node: NodeId) {
        let lease = self.board.limits().presence_lease;
        let (mut is_new, mut retired) = (true, Vec::new());
        // For so long at least, counted from when it was asked for.
        let mut held_until = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let presence = self.presence.clone();
            let asked = Instant::now();
            let renewed = in_a_task(async move { presence.renew(node, lease).await }).await;
            // A renewal whose answer was lost may have been the one that came too late: this one says nothing of that.
            let may_hide_a_lapse = held_until <= Instant::now() && !mutated(Mutant::BelieveRenewals);
            match renewed {
                Ok(renewed)
                    if !is_new
                        && (renewed == Renewed::Lapsed || may_hide_a_lapse)
                        && !mutated(Mutant::ForgetLapse) =>
                {
                    tracing::warn!("this node's lease on its seats has lapsed; taking them anew");
                    self.attendance().lapse();
                    retired.push(node);
                    (node, is_new) = (next(node), true);
                    continue;
                }
                Ok(Renewed::Held | Renewed::Lapsed) => {
                    backoff = Backoff::default();
                    held_until = ends_at(asked, lease);
                    if std::mem::take(&mut is_new) {
                        self.attendance().open(node);
                        self.changed.notify_one();
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the lease on this node's seats could not be renewed; trying again"
                    );
                    backoff.wait().await;
                    continue;
                }
            }
            // The old seats are given up once the new ones are taken, so that nobody seems to have left in between.
            if !retired.is_empty() && self.attendance().is_settled() {
                for old in std::mem::take(&mut retired) {
                    if self.evict(old).await.is_err() {
                        retired.push(old);
                    }
                }
            }
            if !mutated(Mutant::NeverEvict) {
                self.evict_the_dead(node).await;
            }
            sleep(lease / 3).await;
        }
    }

    async fn evict_the_dead(&self, node: NodeId) {
        let presence = self.presence.clone();
        let lapsed = in_a_task(async move { presence.lapsed(EVICTED_AT_ONCE).await }).await;
        for dead in lapsed.into_iter().flatten().filter(|dead| *dead != node) {
            if let Err(error) = self.evict(dead).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a dead node's seats could not be given up; trying again later"
                );
            }
        }
    }

    async fn evict(&self, dead: NodeId) -> StoreResult<()> {
        let presence = self.presence.clone();
        let departures = in_a_task(async move { presence.evict(dead).await }).await?;
        for Departure { room, user, name, version } in departures {
            let who = Author { id: user, name };
            self.board.tell(&room, Notice::Presence { who, change: Edge::Left, version });
        }
        Ok(())
    }

    fn attendance(&self) -> MutexGuard<'_, Attendance> {
        self.attendance.lock().expect("a panic while holding the attendance is a bug")
    }
}

/// The incarnation after this one. Each number has one of its own after it, so no two nodes come to have the same but by chance.
fn next(NodeId(number): NodeId) -> NodeId {
    NodeId(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Nobody is there for anybody in a room of the engine's own, such as the one with the facts about a user.
fn is_seen(room: &RoomId) -> bool {
    !room.as_str().starts_with('~')
}
