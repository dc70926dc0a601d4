//! A memory store with one flaw of choice: what a backend's author may get wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::*;
use futures_util::{FutureExt, StreamExt};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    // Append.
    NoDeduplication,
    FreshTwice,
    ConflictsAreSwallowed,
    AttachmentsAreNotCompared,
    KindsAreNotCompared,
    NamesAreCompared,
    KeysAreSharedByAuthors,
    KeysIgnoreTrailingNul,
    RoomsIgnoreCase,
    DroppedAppendsLeaveAHole,
    ConflictsLeaveAHole,
    AttachmentsAreJoined,
    // Read and bounds.
    ReadsFromThePosition,
    ReadsIgnoreTheEntryLimit,
    ReadsIgnoreTheByteLimit,
    LargeEntriesAreNotRead,
    PageHeadIsItsLastEntry,
    EpochsAreNotCompared,
    BeyondTheHeadIsEmpty,
    TrimmedIsSkippedSilently,
    BoundsAreStale,
    BoundsAreSorted,
    AskingMintsAnEpoch,
    EveryHandleHasAnIdentity,
    // Trim, redact, renew.
    TrimKeepsTheLast,
    TrimIgnoresTheEpoch,
    TrimForgetsTheFingerprint,
    TrimForgetsTheHead,
    TrimForgetsKeys,
    RedactDoesNothing,
    RedactForgetsKeys,
    RedactionsAreNotCounted,
    RedactionsAreForgottenWhenTrimmed,
    LossTellsNoRedactions,
    RenewIgnoresFrom,
    // Delivery.
    NothingIsHeard,
    EverythingIsHeard,
    WatchingTakesAWhile,
    UnwatchIsForAll,
    LaggingIsSilent,
    AppendsAreNotAnnounced,
    TicketsStandStill,
    TicketsAreNumberedByTime,
    ProgressMovesBack,
    ProgressSticksToItsEpoch,
    ProgressKindsAreOne,
    // Presence.
    EveryDeviceArrives,
    SeatsAreCounted,
    VersionsSkip,
    RosterIsUnordered,
    FirstNamesStay,
    RenamesAreSilent,
    PagesBeginAtTheUser,
    PagesAreUnlimited,
    TotalIsOfThePage,
    DeparturesHaveNoNames,
    LapsedSeatsVanish,
    LeasesLastForever,
    EvictionsAreNotTold,
    EvictionsAreToldAgain,
}

#[derive(Clone, Debug)]
pub(crate) struct Flawed {
    flaw: Flaw,
    store: MemoryStore,
    notes: Arc<Mutex<Notes>>,
}

/// What a flaw has to remember.
#[derive(Debug, Default)]
struct Notes {
    counter: u64,
    bounds: BTreeMap<RoomId, Bounds>,
    interests: Vec<Arc<dyn Interest>>,
    departures: BTreeMap<NodeId, Vec<Departure>>,
}

impl Flawed {
    pub(crate) fn new(flaw: Flaw) -> Self {
        Self { flaw, store: MemoryStore::seeded(1), notes: Arc::default() }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    fn count(&self) -> u64 {
        self.notes().counter += 1;
        self.notes().counter
    }

    /// Stores the draft although its key is known.
    async fn store_anyway(&self, room: &RoomId, mut draft: Draft) -> StoreResult<Appended> {
        draft.key = MessageKey::new(&format!("again-{}", self.count())).unwrap();
        self.store.append(room, draft).await
    }

    async fn entry(&self, room: &RoomId, at: Position) -> Option<Entry> {
        let after = Position { offset: at.offset.minus(1), ..at };
        let limit = PageLimit { entries: std::num::NonZeroU32::MIN, bytes: 0 };
        match self.store.read(room, after, limit).await.unwrap() {
            Replay::Page { entries, .. } => entries.into_iter().next(),
            Replay::Lost { .. } => None,
        }
    }

    async fn one_bounds(&self, room: &RoomId) -> Bounds {
        self.store.bounds(std::slice::from_ref(room)).await.unwrap()[0]
    }
}

/// Leaves something behind when it is dropped.
struct Hole<'a>(Option<(&'a Flawed, &'a RoomId, Draft)>);

impl Drop for Hole<'_> {
    fn drop(&mut self) {
        if let Some((flawed, room, draft)) = self.0.take() {
            flawed.store_anyway(room, draft).now_or_never().unwrap().unwrap();
        }
    }
}

#[async_trait]
impl MessageLog for Flawed {
    async fn append(&self, room: &RoomId, mut draft: Draft) -> StoreResult<Appended> {
        let lower = RoomId::reserved(&room.as_str().to_lowercase());
        let room = &if self.is(Flaw::RoomsIgnoreCase) { lower.unwrap() } else { room.clone() };
        if self.is(Flaw::KeysAreSharedByAuthors) {
            draft.author.id = UserId::new("everybody").unwrap();
        }
        if self.is(Flaw::KeysIgnoreTrailingNul) && 1 < draft.key.as_str().len() {
            draft.key = MessageKey::new(draft.key.as_str().trim_end_matches('\0')).unwrap();
        }
        if self.is(Flaw::AttachmentsAreJoined) {
            let joined = draft.body.attachments.concat().into();
            draft.body.attachments =
                if draft.body.attachments.is_empty() { [].into() } else { [joined].into() };
        }
        if self.is(Flaw::DroppedAppendsLeaveAHole) {
            let mut hole = Hole(Some((self, room, draft.clone())));
            tokio::task::yield_now().await;
            hole.0 = None;
        }
        let answer = self.store.append(room, draft.clone()).await?;
        match (&answer, self.flaw) {
            (Appended::Duplicate { .. } | Appended::Conflict { .. }, Flaw::NoDeduplication) => {
                self.store_anyway(room, draft).await
            }
            (Appended::Duplicate { bookmark, .. }, Flaw::FreshTwice) => {
                let entry = self.entry(room, bookmark.position).await.unwrap();
                Ok(Appended::Fresh { entry, announced: true })
            }
            (Appended::Conflict { bookmark }, Flaw::ConflictsAreSwallowed) => {
                let at = self.entry(room, bookmark.position).await.unwrap().at;
                Ok(Appended::Duplicate { bookmark: *bookmark, at })
            }
            (Appended::Conflict { bookmark }, Flaw::AttachmentsAreNotCompared) => {
                let kept = self.entry(room, bookmark.position).await.unwrap();
                let same = kept.body.as_ref().unwrap().text == draft.body.text;
                Ok(if same { Appended::Duplicate { bookmark: *bookmark, at: kept.at } } else { answer })
            }
            (Appended::Conflict { bookmark }, Flaw::KindsAreNotCompared) => {
                let kept = self.entry(room, bookmark.position).await.unwrap();
                let same = kept.body == Some(draft.body);
                Ok(if same { Appended::Duplicate { bookmark: *bookmark, at: kept.at } } else { answer })
            }
            (Appended::Duplicate { bookmark, .. }, Flaw::NamesAreCompared) => {
                let kept = self.entry(room, bookmark.position).await.unwrap();
                let same = kept.author == draft.author;
                Ok(if same { answer } else { Appended::Conflict { bookmark: *bookmark } })
            }
            (Appended::Conflict { .. }, Flaw::ConflictsLeaveAHole) => {
                self.store_anyway(room, draft).await?;
                Ok(answer)
            }
            (Appended::Duplicate { bookmark, .. }, Flaw::TrimForgetsKeys)
                if bookmark.offset() <= self.one_bounds(room).await.trimmed.offset() =>
            {
                self.store_anyway(room, draft).await
            }
            (Appended::Duplicate { bookmark, .. }, Flaw::RedactForgetsKeys)
                if self.entry(room, bookmark.position).await.is_some_and(|kept| kept.body.is_none()) =>
            {
                self.store_anyway(room, draft).await
            }
            _ => Ok(answer),
        }
    }

    async fn read(&self, room: &RoomId, mut after: Position, mut limit: PageLimit) -> StoreResult<Replay> {
        let bounds = self.one_bounds(room).await;
        match self.flaw {
            Flaw::ReadsFromThePosition => after.offset = after.offset.minus(1),
            Flaw::ReadsIgnoreTheEntryLimit => limit.entries = std::num::NonZeroU32::MAX,
            Flaw::ReadsIgnoreTheByteLimit => limit.bytes = usize::MAX,
            Flaw::EpochsAreNotCompared => after.epoch = bounds.epoch(),
            Flaw::BeyondTheHeadIsEmpty if bounds.head.offset() < after.offset => after = bounds.head.position,
            Flaw::TrimmedIsSkippedSilently if after.offset < bounds.trimmed.offset() => {
                after = bounds.trimmed.position;
            }
            _ => {}
        }
        let mut replay = self.store.read(room, after, limit).await?;
        if let (Flaw::LossTellsNoRedactions, Replay::Lost { bounds }) = (self.flaw, &mut replay) {
            bounds.redactions = 0;
        }
        if let Replay::Page { entries, head } = &mut replay {
            match self.flaw {
                Flaw::LargeEntriesAreNotRead => entries.retain(|entry| entry.bytes() <= limit.bytes),
                Flaw::PageHeadIsItsLastEntry => *head = entries.last().map_or(*head, Entry::bookmark),
                _ => {}
            }
        }
        Ok(replay)
    }

    async fn bounds(&self, rooms: &[RoomId]) -> StoreResult<Vec<Bounds>> {
        let mut rooms = rooms.to_vec();
        if self.is(Flaw::BoundsAreSorted) {
            rooms.sort();
        }
        let mut answers = self.store.bounds(&rooms).await?;
        for (room, bounds) in rooms.iter().zip(&mut answers) {
            match self.flaw {
                Flaw::BoundsAreStale => *bounds = *self.notes().bounds.entry(room.clone()).or_insert(*bounds),
                Flaw::AskingMintsAnEpoch if *bounds == Bounds::UNWRITTEN => {
                    bounds.head.position.epoch = Epoch::from_random(u64::MAX);
                }
                Flaw::TrimForgetsTheFingerprint => bounds.trimmed.fingerprint = Fingerprint::NONE,
                Flaw::RedactionsAreNotCounted => bounds.redactions = 0,
                Flaw::RedactionsAreForgottenWhenTrimmed if bounds.trimmed == bounds.head => {
                    bounds.redactions = 0
                }
                _ => {}
            }
        }
        Ok(answers)
    }

    async fn trim(&self, room: &RoomId, mut upto: Position) -> StoreResult<()> {
        match self.flaw {
            Flaw::TrimKeepsTheLast => upto.offset = upto.offset.minus(1),
            Flaw::TrimIgnoresTheEpoch => upto.epoch = self.one_bounds(room).await.epoch(),
            Flaw::TrimForgetsTheHead if upto == self.one_bounds(room).await.head.position => {
                self.store.roll_back(room, 1);
                upto.offset = upto.offset.minus(1);
            }
            _ => {}
        }
        self.store.trim(room, upto).await
    }

    async fn redact(&self, room: &RoomId, at: Position) -> StoreResult<()> {
        if self.is(Flaw::RedactDoesNothing) {
            return Ok(());
        }
        self.store.redact(room, at).await
    }

    async fn renew_epoch(&self, room: &RoomId, from: Epoch) -> StoreResult<Bounds> {
        let current = self.one_bounds(room).await.epoch();
        self.store.renew_epoch(room, if self.is(Flaw::RenewIgnoresFrom) { current } else { from }).await
    }

    async fn identity(&self) -> StoreResult<StoreIdentity> {
        let mut identity = self.store.identity().await?;
        if self.is(Flaw::EveryHandleHasAnIdentity) {
            identity.0[0] = u8::try_from(self.count()).unwrap();
        }
        Ok(identity)
    }
}

#[derive(Debug)]
struct FlawedInterest {
    flawed: Flawed,
    interest: Arc<dyn Interest>,
}

#[async_trait]
impl Interest for FlawedInterest {
    async fn watch(&self, room: &RoomId) -> StoreResult<()> {
        if self.flawed.is(Flaw::WatchingTakesAWhile) {
            let (interest, room) = (self.interest.clone(), room.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                interest.watch(&room).await.unwrap();
            });
            return Ok(());
        }
        self.interest.watch(room).await
    }

    async fn unwatch(&self, room: &RoomId) -> StoreResult<()> {
        let all = self.flawed.notes().interests.clone();
        let of = if self.flawed.is(Flaw::UnwatchIsForAll) { all } else { vec![self.interest.clone()] };
        for interest in of {
            interest.unwatch(room).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Delivery for Flawed {
    async fn announce(&self, news: &News) -> StoreResult<()> {
        let all = self.notes().interests.clone();
        if self.is(Flaw::EverythingIsHeard) {
            for interest in all {
                interest.watch(news.room()).await?;
            }
        }
        if self.is(Flaw::NothingIsHeard) {
            return Ok(());
        }
        self.store.announce(news).await
    }

    async fn listen(&self) -> StoreResult<Listener> {
        if self.is(Flaw::AppendsAreNotAnnounced) {
            return MemoryStore::new().listen().await;
        }
        let Listener { interest, heard } = self.store.listen().await?;
        self.notes().interests.push(interest.clone());
        let interest = Arc::new(FlawedInterest { flawed: self.clone(), interest });
        let silent = self.is(Flaw::LaggingIsSilent);
        let heard =
            heard.filter(move |heard| std::future::ready(!(silent && *heard == Heard::Interrupted))).boxed();
        Ok(Listener { interest, heard })
    }

    async fn ticket(&self) -> StoreResult<Ticket> {
        match self.flaw {
            Flaw::TicketsStandStill => Ok(Ticket(1)),
            Flaw::TicketsAreNumberedByTime => Ok(Ticket(self.count() / 4)),
            _ => self.store.ticket().await,
        }
    }

    async fn advance(
        &self,
        mut what: Progress,
        who: &SubscriberId,
        room: &RoomId,
        mut upto: Position,
    ) -> StoreResult<Position> {
        if self.is(Flaw::ProgressKindsAreOne) {
            what = Progress::Read;
        }
        let known = self.store.progress(what, who, std::slice::from_ref(room)).await?[0];
        if let Some(known) = known {
            match self.flaw {
                Flaw::ProgressMovesBack => {
                    let elsewhere = Position { epoch: Epoch::UNWRITTEN, ..upto };
                    self.store.advance(what, who, room, elsewhere).await?;
                }
                Flaw::ProgressSticksToItsEpoch => upto.epoch = known.epoch,
                _ => {}
            }
        }
        self.store.advance(what, who, room, upto).await
    }

    async fn progress(
        &self,
        mut what: Progress,
        who: &SubscriberId,
        rooms: &[RoomId],
    ) -> StoreResult<Vec<Option<Position>>> {
        if self.is(Flaw::ProgressKindsAreOne) {
            what = Progress::Read;
        }
        self.store.progress(what, who, rooms).await
    }
}

#[async_trait]
impl Presence for Flawed {
    async fn enter(&self, seat: &Seat, name: &DisplayName) -> StoreResult<Changed> {
        let (mut seat, mut name) = (seat.clone(), name.clone());
        if self.is(Flaw::FirstNamesStay) {
            let known = self.store.roster(&seat.room, None, u32::MAX).await?.members;
            let known = known.into_iter().find(|member| member.user == seat.user);
            name = known.map_or(name, |known| known.name);
        }
        if self.is(Flaw::SeatsAreCounted) {
            let count = self.count();
            seat.connection = ConnectionId::new(&format!("{}-{count}", seat.connection)).unwrap();
        }
        let mut changed = self.store.enter(&seat, &name).await?;
        match self.flaw {
            Flaw::RenamesAreSilent if changed.edge == Some(Edge::Renamed) => changed.edge = None,
            Flaw::EveryDeviceArrives => changed.edge = Some(Edge::Arrived),
            Flaw::VersionsSkip => changed.version *= 2,
            _ => {}
        }
        Ok(changed)
    }

    async fn leave(&self, seat: &Seat) -> StoreResult<Changed> {
        self.store.leave(seat).await
    }

    async fn renew(&self, node: NodeId, lease: Duration) -> StoreResult<Renewed> {
        let longest = Duration::from_secs(1_000_000);
        self.store.renew(node, if self.is(Flaw::LeasesLastForever) { longest } else { lease }).await
    }

    async fn roster(&self, room: &RoomId, after: Option<&UserId>, limit: u32) -> StoreResult<Roster> {
        let limit = if self.is(Flaw::PagesAreUnlimited) { u32::MAX } else { limit };
        let mut roster = self.store.roster(room, after, limit).await?;
        if let (Flaw::PagesBeginAtTheUser, Some(after)) = (self.flaw, after) {
            let all = self.store.roster(room, None, u32::MAX).await?.members;
            roster.members = all.into_iter().filter(|member| *after <= member.user).collect();
            roster.members.truncate(limit as usize);
        }
        if self.is(Flaw::TotalIsOfThePage) {
            roster.total = roster.members.len() as u64;
        }
        if self.is(Flaw::RosterIsUnordered) {
            roster.members.reverse();
        }
        if self.is(Flaw::LapsedSeatsVanish) && !self.store.lapsed(1).await?.is_empty() {
            roster.members.clear();
        }
        Ok(roster)
    }

    async fn lapsed(&self, limit: u32) -> StoreResult<Vec<NodeId>> {
        self.store.lapsed(limit).await
    }

    async fn evict(&self, node: NodeId) -> StoreResult<Vec<Departure>> {
        let mut departures = self.store.evict(node).await?;
        match self.flaw {
            Flaw::DeparturesHaveNoNames => {
                departures.iter_mut().for_each(|gone| gone.name = DisplayName::new("?").unwrap());
                Ok(departures)
            }
            Flaw::EvictionsAreNotTold => Ok(Vec::new()),
            Flaw::EvictionsAreToldAgain => {
                Ok(self.notes().departures.entry(node).or_insert(departures).clone())
            }
            _ => Ok(departures),
        }
    }
}
