//! One reader's stays in its rooms: which of them may have something, whose turn it is, and one question to the log at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use crate::attendance::Attendee;
use crate::backoff::Backoff;
use crate::board::Board;
use crate::cursor::{Cursor, Decision};
use crate::errand::{Found, Look, look};
use crate::id::{DisplayName, RoomId};
use crate::limits::Budget;
use crate::mutants::{Mutant, mutated};
use crate::notices;
use crate::place::Place;
use crate::position::{Bookmark, Bounds};
use crate::published::Published;
use crate::reader::{Run, Step};
use crate::roll_call::RollCall;
use crate::rooms::{Hold, Rooms};
use crate::wake::{Slot, WakeSet};

/// What a notice counts for where bytes are limited.
const NOTICE_BYTES: usize = 128;

pub(crate) struct Turns {
    wake: Arc<WakeSet>,
    stays: Vec<Option<Stay>>,
    /// In the order of their names. A tree would take the memory of eleven rooms for one or two.
    by_room: Vec<(RoomId, Slot)>,
    /// Rooms that may have something, each at most once.
    ready: VecDeque<Slot>,
    /// Rooms that wait for the errand under way to end, before they have one of their own.
    behind: VecDeque<Slot>,
    /// One at a time, so what a reader may hold is one page.
    errand: Option<Errand>,
    joins: u64,
    /// Who the others in its rooms know that is here.
    pub(crate) attending: Option<Box<Attending>>,
}

/// A reader as others see it.
pub(crate) struct Attending {
    pub(crate) attendee: Attendee,
    /// `None` where nobody keeps who is there.
    pub(crate) roll_call: Option<Arc<RollCall>>,
    pub(crate) board: Arc<Board>,
}

struct Stay {
    hold: Hold,
    cursor: Cursor,
    ticket: u64,
    /// Where it is in the room's notices, if it is told of them.
    notices: Option<notices::Place>,
    is_ready: bool,
    /// Tells a stay from an earlier one in the same slot.
    join: u64,
    /// A page did not continue the place: one of the two is not what the log has.
    is_doubtful: bool,
    /// After an answer that was of no use the log is not asked again before this.
    rests_until: Option<Instant>,
    backoff: Backoff,
}

struct Errand {
    slot: Slot,
    join: u64,
    /// What the room had of [`copies_dropped`](crate::room::State::copies_dropped) when it was asked.
    copies_dropped: u64,
    found: BoxFuture<'static, Found>,
}

impl Turns {
    pub(crate) fn new(wake: Arc<WakeSet>, attending: Option<Box<Attending>>) -> Self {
        Self {
            wake,
            stays: Vec::new(),
            by_room: Vec::new(),
            ready: VecDeque::new(),
            behind: VecDeque::new(),
            errand: None,
            joins: 0,
            attending,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_room.len()
    }

    pub(crate) fn is_in(&self, room: &RoomId) -> bool {
        self.find(room).is_ok()
    }

    pub(crate) fn places(&self) -> Vec<(RoomId, Bookmark)> {
        let place = |(room, slot): &(RoomId, Slot)| Some((room.clone(), self.stay(*slot)?.cursor.at()));
        self.by_room.iter().filter_map(place).collect()
    }

    /// Begins a stay in a room, in place of the one that the reader may have there. `is_told` says whether it may learn of the others.
    pub(crate) fn take(&mut self, hold: Hold, place: &Place, is_told: bool) {
        let room = hold.room.id.clone();
        let is_new = !self.end_stay(&room);
        let slot = self.free_slot();
        let mut cursor = Cursor::new(place.at);
        if place.lost {
            cursor.lose(place.bounds, place.at);
        }
        self.joins += 1;
        let mut begun = None;
        let (ticket, notices) = match &self.attending {
            Some(attending) if is_told => {
                begun = Some((attending.board.clone(), hold.room.clone()));
                let has_presence = attending.board.has_presence();
                let (ticket, place) = hold.room.wait_for_notices(self.wake.clone(), slot, has_presence);
                (ticket, Some(place))
            }
            _ => (hold.room.wait(self.wake.clone(), slot), None),
        };
        self.stays[slot.0 as usize] = Some(Stay {
            hold,
            cursor,
            ticket,
            notices,
            is_ready: false,
            join: self.joins,
            is_doubtful: false,
            rests_until: None,
            backoff: Backoff::default(),
        });
        if is_new
            && let Some(Attending { attendee, roll_call: Some(roll_call), .. }) = self.attending.as_deref()
        {
            roll_call.enter(attendee, &room);
        }
        let place = self.find(&room).unwrap_or_else(|place| place);
        self.by_room.reserve_exact(1);
        self.by_room.insert(place, (room, slot));
        self.wake.mark(slot);
        if let Some((board, room)) = begun {
            board.begin(&room);
        }
    }

    pub(crate) fn leave(&mut self, room: &RoomId) -> bool {
        let was_in = self.end_stay(room);
        if was_in
            && let Some(Attending { attendee, roll_call: Some(roll_call), .. }) = self.attending.as_deref()
        {
            roll_call.leave(attendee, room);
        }
        was_in
    }

    /// The others see another name from now on.
    pub(crate) fn rename(&mut self, name: &DisplayName) {
        let Some(Attending { attendee, roll_call, .. }) = self.attending.as_deref_mut() else { return };
        attendee.who.name = name.clone();
        if let Some(roll_call) = roll_call {
            roll_call.rename(attendee, self.by_room.iter().map(|(room, _)| room));
        }
    }

    fn end_stay(&mut self, room: &RoomId) -> bool {
        let Ok(place) = self.find(room) else { return false };
        let (_, slot) = self.by_room.remove(place);
        self.stays[slot.0 as usize] = None;
        self.ready.retain(|other| *other != slot);
        self.behind.retain(|other| *other != slot);
        if self.errand.take_if(|errand| errand.slot == slot).is_some() {
            // Nobody else would tell them that it is their turn.
            let behind = self.behind.drain(..).filter(|_| !mutated(Mutant::StrandOnLeave));
            behind.for_each(|waiting| self.wake.mark(waiting));
        }
        true
    }

    /// Something may have changed for the room at `slot`.
    pub(crate) fn make_ready(&mut self, slot: Slot) {
        let Some(stay) = self.stay_mut(slot) else { return };
        if !std::mem::replace(&mut stay.is_ready, true) {
            self.ready.push_back(slot);
        }
    }

    /// The next step of the room whose turn it is.
    pub(crate) fn poll_step(
        &mut self,
        rooms: &Arc<Rooms>,
        cx: &mut Context<'_>,
        budget: Budget,
    ) -> Poll<Step> {
        loop {
            if let Some(step) = self.poll_errand(rooms, cx, budget) {
                return Poll::Ready(step);
            }
            let Some(slot) = self.ready.pop_front() else { return Poll::Pending };
            let away = self.errand.as_ref().map(|errand| errand.slot);
            let Some(stay) = self.stays.get_mut(slot.0 as usize).and_then(Option::as_mut) else { continue };
            stay.is_ready = false;
            if away == Some(slot) {
                // The answer will be about the place as it is: it must not move meanwhile.
                continue;
            }
            let (decision, notices) = {
                let room = stay.hold.room.lock();
                let decision = match room.tail.as_ref() {
                    Some(tail) => stay.cursor.decide(tail, budget),
                    None => Decision::Wait,
                };
                let notices = match (&decision, &mut stay.notices, room.notices(), &self.attending) {
                    (Decision::Wait, Some(place), Some(notices), Some(attending)) => {
                        let max = budget.entries.min(budget.bytes / NOTICE_BYTES).max(1);
                        notices.read(place, &attending.attendee.who, &rooms.limits, max)
                    }
                    _ => Vec::new(),
                };
                (decision, notices)
            };
            match decision {
                Decision::Deliver(entries) => return Poll::Ready(self.deliver(slot, entries)),
                Decision::Tell(bounds) => return Poll::Ready(self.tell(slot, bounds)),
                Decision::Wait if notices.is_empty() => {}
                Decision::Wait => {
                    let room = self.room_at(slot);
                    self.make_ready(slot);
                    return Poll::Ready(Step::Notices { room, notices });
                }
                // It is marked when its rest is over.
                Decision::Read | Decision::Check if stay.rests() => {}
                Decision::Read | Decision::Check if away.is_some() => self.behind.push_back(slot),
                Decision::Read if !stay.is_doubtful => self.send(rooms, slot, Look::ForMore),
                Decision::Read | Decision::Check => self.send(rooms, slot, Look::AtPlace),
            }
        }
    }

    /// Asks the log, beginning now.
    fn send(&mut self, rooms: &Arc<Rooms>, slot: Slot, what: Look) {
        let Some(stay) = self.stay_mut(slot) else { return };
        stay.is_doubtful = false;
        let copies_dropped = stay.hold.room.lock().copies_dropped();
        let found = look(rooms.clone(), stay.hold.room.clone(), stay.cursor.at(), what).boxed();
        self.errand = Some(Errand { slot, join: stay.join, copies_dropped, found });
    }

    /// Goes on with the question under way; the answer may be a step.
    fn poll_errand(&mut self, rooms: &Arc<Rooms>, cx: &mut Context<'_>, budget: Budget) -> Option<Step> {
        let Poll::Ready(found) = self.errand.as_mut()?.found.poll_unpin(cx) else { return None };
        let Errand { slot, join, copies_dropped, .. } = self.errand.take()?;
        for waiting in std::mem::take(&mut self.behind) {
            self.make_ready(waiting);
        }
        let wake = self.wake.clone();
        let stay = self.stay_mut(slot).filter(|stay| stay.join == join)?;
        match found {
            // Whoever was not polled for long would hand out what is gone.
            Found::Page(_)
                if stay.hold.room.lock().copies_dropped() != copies_dropped
                    && !mutated(Mutant::HandOutOldPages) => {}
            Found::Page(page) => match stay.cursor.take(&page, budget) {
                Decision::Deliver(entries) => return Some(self.deliver(slot, entries)),
                Decision::Tell(bounds) => return Some(self.tell(slot, bounds)),
                Decision::Check => {
                    rooms.pages.disown(&stay.hold.room.id, &page);
                    stay.is_doubtful = true;
                }
                Decision::Wait | Decision::Read => {}
            },
            Found::Same(at) => stay.cursor.confirm(at),
            Found::Lost(place) => stay.cursor.lose(place.bounds, place.at),
            Found::Failed => {}
        }
        // Whatever is wrong with the log or with copies of it, it is not asked in a tight loop.
        stay.rest(slot, wake);
        self.make_ready(slot);
        None
    }

    fn deliver(&mut self, slot: Slot, entries: Vec<Arc<Published>>) -> Step {
        if let Some(stay) = self.stay_mut(slot) {
            stay.backoff = Backoff::default();
            stay.rests_until = None;
        }
        let room = self.room_at(slot);
        // There may be more: the room queues up behind the others.
        self.make_ready(slot);
        Step::Run(Run { room, entries })
    }

    fn tell(&mut self, slot: Slot, bounds: Bounds) -> Step {
        let room = self.room_at(slot);
        let start = self.stay(slot).map_or(bounds.trimmed, |stay| stay.cursor.at());
        self.make_ready(slot);
        Step::Lost { room, bounds, start }
    }

    fn room_at(&self, slot: Slot) -> RoomId {
        self.stay(slot).expect("a decision is made for a stay").hold.room.id.clone()
    }

    fn stay(&self, slot: Slot) -> Option<&Stay> {
        self.stays.get(slot.0 as usize)?.as_ref()
    }

    fn stay_mut(&mut self, slot: Slot) -> Option<&mut Stay> {
        self.stays.get_mut(slot.0 as usize)?.as_mut()
    }

    fn find(&self, room: &RoomId) -> Result<usize, usize> {
        self.by_room.binary_search_by(|(other, _)| other.cmp(room))
    }

    fn free_slot(&mut self) -> Slot {
        let free = self.stays.iter().position(Option::is_none).unwrap_or_else(|| {
            // Most readers have a place or two: space for four would cost more than all else of them.
            self.stays.reserve_exact(1);
            self.stays.push(None);
            self.stays.len() - 1
        });
        Slot(u32::try_from(free).expect("the number of rooms per reader is limited"))
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        if let Some(Attending { attendee, roll_call: Some(roll_call), .. }) = self.attending.as_deref() {
            roll_call.drop_out(attendee, self.by_room.iter().map(|(room, _)| room));
        }
    }
}

impl Stay {
    fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }

    fn rest(&mut self, slot: Slot, wake: Arc<WakeSet>) {
        let until = Instant::now() + self.backoff.grow();
        self.rests_until = Some(until);
        tokio::spawn(async move {
            sleep_until(until).await;
            wake.mark(slot);
        });
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.hold.room.stop_waiting(self.ticket);
    }
}
