//! Carries moderation out: appends what is decided, follows what every node has, and tells the readers that it concerns.
//!
//! What the facts come to is in `moderation.rs`. As long as they could not be read, nobody is let in anywhere: who is banned is not known.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sha1::{Digest, Sha1};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::authority::Action;
use crate::backoff::Backoff;
use crate::chat::ChatError;
use crate::delivery::Delivery;
use crate::entry::{Body, Timestamp};
use crate::error::{StoreError, StoreResult};
use crate::id::{MessageKey, RoomId, UserId};
use crate::limits::Budget;
use crate::log::{PageLimit, Replay};
use crate::moderation::{Measure, Removal, Sanctions};
use crate::people::{Order, People};
use crate::place::{self, Since};
use crate::position::Bookmark;
use crate::post::append_fact;
use crate::reader::Step;
use crate::rooms::{Rooms, shut_down};
use crate::turns::Turns;
use crate::wake::WakeSet;

/// The room of the facts.
const ROOM: &str = "~moderation";
/// So many entries are kept as they came, and as many as there is to remember: then they are written down anew.
const KEPT_ENTRIES_MIN: u64 = 500;

pub(crate) struct Moderating {
    rooms: Arc<Rooms>,
    delivery: Arc<dyn Delivery>,
    people: Arc<People>,
    room: RoomId,
    /// `None` until they could be read.
    sanctions: RwLock<Option<Sanctions>>,
    /// The offset of the last fact that is in force here.
    in_force: watch::Sender<u64>,
    is_compacting: AtomicBool,
    stop: CancellationToken,
}

/// How far the room is followed, and since where it is kept.
#[derive(Clone, Copy)]
struct Followed {
    at: Bookmark,
    /// When the entry there was stored.
    time: Timestamp,
    trimmed: u64,
}

/// How an attempt to follow the room ended.
#[derive(Clone, Copy)]
enum Came {
    Further,
    Nowhere,
}

impl Moderating {
    pub(crate) fn new(
        rooms: Arc<Rooms>,
        delivery: Arc<dyn Delivery>,
        people: Arc<People>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            rooms,
            delivery,
            people,
            room: RoomId::reserved(ROOM).expect("a plain name"),
            sanctions: RwLock::default(),
            in_force: watch::Sender::new(0),
            is_compacting: AtomicBool::new(false),
            stop,
        })
    }

    /// Whether `who` is kept from `action` in `room`; `None`: from being here at all.
    pub(crate) fn check(&self, who: &UserId, room: Option<&RoomId>, action: Action) -> Result<(), ChatError> {
        self.with(|sanctions| {
            if sanctions.len() == 0 {
                return Ok(());
            }
            let now = Timestamp::now();
            if let Some(ban) = sanctions.ban(who, room, now) {
                return Err(ChatError::Banned { removal: Removal::banned(ban) });
            }
            let mute =
                room.filter(|_| action == Action::Post).and_then(|room| sanctions.mute(who, room, now));
            match mute {
                Some(mute) => Err(ChatError::Muted { until: mute.until, reason: mute.reason.clone() }),
                None => Ok(()),
            }
        })?
    }

    /// How far the facts are, for a session that begins now.
    pub(crate) fn mark(&self) -> StoreResult<u64> {
        self.with(Sanctions::upto)
    }

    /// Whether a session of `who` was ended that began at `mark`.
    pub(crate) fn is_signed_out(&self, who: &UserId, mark: u64) -> StoreResult<bool> {
        self.with(|sanctions| sanctions.is_signed_out(who, mark))
    }

    fn with<T>(&self, ask: impl FnOnce(&Sanctions) -> T) -> StoreResult<T> {
        let sanctions = self.sanctions.read().unwrap_or_else(PoisonError::into_inner);
        let unread = || StoreError::unavailable("chat", "who is banned could not be read yet");
        sanctions.as_ref().map(ask).ok_or_else(unread)
    }

    /// Decides on `measure`: stored, and in force here, when this returns.
    pub(crate) async fn decide(&self, measure: &Measure) -> Result<(), ChatError> {
        let max = self.rooms.limits.sanctions_max;
        let (upto, remembered) = self.with(|sanctions| (sanctions.upto(), sanctions.len()))?;
        if measure.adds() && max <= remembered {
            self.change(|sanctions| sanctions.prune(Timestamp::now()));
            if max <= self.with(Sanctions::len)? {
                return Err(ChatError::TooManySanctions { max });
            }
        }
        // Whoever does not know whether it was stored decides again: then it is stored under the same key, or on top of itself.
        let text = measure.to_json();
        let hash = Sha1::digest(text.as_bytes());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let stored = self.append(format!("{upto} {hash}"), text).await?.offset().get();
        let mut in_force = self.in_force.subscribe();
        let arrived = in_force.wait_for(|offset| stored <= *offset);
        match self.stop.run_until_cancelled(arrived).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(shut_down().into()),
        }
    }

    async fn append(&self, key: String, text: String) -> Result<Bookmark, ChatError> {
        let key = MessageKey::new(&key).map_err(|error| StoreError::corrupt("chat", error))?;
        let receipt = append_fact(&self.rooms, &self.delivery, &self.room, key, Body::text(text)).await?;
        Ok(receipt.bookmark)
    }

    /// Runs for as long as the engine does, after the first attempt to read the facts.
    pub(crate) async fn follow(self: Arc<Self>, first: StoreResult<(Bookmark, Timestamp, u64)>) {
        let mut loaded = first;
        let mut backoff = Backoff::default();
        loop {
            let outcome = match loaded {
                Ok((at, time, trimmed)) => self.pursue(Followed { at, time, trimmed }).await,
                Err(error) => Err(error),
            };
            match outcome {
                // Something that it had not seen was trimmed, or the store has lost what it had.
                Ok(Came::Further) => backoff = Backoff::default(),
                Ok(Came::Nowhere) => {}
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "bans and mutes could not be read; trying again"
                ),
            }
            backoff.wait().await;
            loaded = self.load().await;
        }
    }

    /// Reads all facts, and tells whoever they concern.
    pub(crate) async fn load(&self) -> StoreResult<(Bookmark, Timestamp, u64)> {
        let limit = PageLimit {
            entries: self.rooms.limits.page_entries_max,
            bytes: self.rooms.limits.page_bytes_max,
        };
        let mut entries = Vec::new();
        let mut bounds = self.rooms.bounds(&self.room).await?;
        let (mut at, mut time) = (bounds.trimmed, Timestamp::from_millis(0));
        while at.offset() < bounds.head.offset() {
            match self.rooms.pages.read(&self.room, at.position, limit).await? {
                Replay::Page { entries: page, .. } => {
                    let Some(last) = page.last() else { break };
                    (at, time) = (last.bookmark(), last.at);
                    entries.extend(page);
                }
                Replay::Lost { bounds: now } => {
                    bounds = now;
                    at = bounds.trimmed;
                    entries.clear();
                }
            }
        }
        let texts = entries
            .iter()
            .filter_map(|entry| Some((entry.position.offset.get(), &*entry.body.as_ref()?.text)));
        let mut loaded = Sanctions::load(texts);
        loaded.fold(at.offset().get(), None);
        let before = self.replace(loaded);
        self.catch_up(before);
        Ok((at, time, bounds.trimmed.offset().get()))
    }

    /// Whoever is connected and may not be any more is told. `before`: how far the facts were that they were told of.
    fn catch_up(&self, before: Option<u64>) {
        let now = Timestamp::now();
        for who in self.people.ids() {
            let orders = self.with(|sanctions| {
                if let Some(ban) = sanctions.ban(&who, None, now) {
                    return vec![Order::SignOut(Removal::banned(ban))];
                }
                if before.is_some_and(|mark| sanctions.is_signed_out(&who, mark)) {
                    return vec![Order::SignOut(Removal::signed_out(None))];
                }
                let rooms = sanctions.rooms_banned_from(&who, now).into_iter();
                rooms.map(|(room, removal)| Order::Leave(room, removal)).collect()
            });
            for order in orders.unwrap_or_default() {
                self.people.order(&who, &order);
            }
        }
    }

    /// Follows the room from where it was read, until it turns out that something is missing.
    async fn pursue(self: &Arc<Self>, mut followed: Followed) -> StoreResult<Came> {
        let hold = self.rooms.open(&self.room).await?;
        let place = place::find(&self.rooms, &hold.room, Since::Bookmark(followed.at)).await?;
        let mut came = Came::Nowhere;
        if place.lost {
            return Ok(came);
        }
        let wake = Arc::new(WakeSet::new(1));
        let mut turns = Turns::new(wake.clone(), None);
        turns.take(hold, &place, false);
        loop {
            let step = poll_fn(|cx| {
                wake.register(cx.waker());
                wake.take(|slot| turns.make_ready(slot));
                turns.poll_step(&self.rooms, cx, Budget::default())
            });
            let Step::Run(run) = step.await else { return Ok(came) };
            came = Came::Further;
            for entry in run.entries {
                followed.at = entry.bookmark();
                followed.time = entry.at;
                self.enforce(entry.position.offset.get(), entry.body.as_ref().map(|body| &*body.text));
            }
            self.compact(&mut followed);
        }
    }

    /// The fact at `offset` is in force from now on. First it holds for whoever comes, then it is told to who is here: whoever comes in between is
    /// told, too.
    fn enforce(&self, offset: u64, text: Option<&str>) {
        let measure = self.change(|sanctions| sanctions.fold(offset, text)).flatten();
        if let Some((measure, order)) = measure.and_then(|measure| Some((measure.clone(), measure.order()?)))
        {
            self.people.order(measure.user(), &order);
        }
        self.in_force.send_replace(offset);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Sanctions) -> T) -> Option<T> {
        self.sanctions.write().unwrap_or_else(PoisonError::into_inner).as_mut().map(change)
    }

    /// Answers how far those were that it replaces.
    fn replace(&self, loaded: Sanctions) -> Option<u64> {
        let offset = loaded.upto();
        let mut sanctions = self.sanctions.write().unwrap_or_else(PoisonError::into_inner);
        let before = sanctions.replace(loaded).map(|before| before.upto());
        drop(sanctions);
        self.in_force.send_replace(offset);
        before
    }

    /// Writes the facts down anew when there are many more entries than there is to remember, and forgets those before. Several nodes may do so at
    /// a time: they write the same.
    fn compact(self: &Arc<Self>, followed: &mut Followed) {
        let kept = followed.at.offset().get().saturating_sub(followed.trimmed);
        let due = self.change(|sanctions| {
            let remembered = u64::try_from(sanctions.len()).unwrap_or(u64::MAX);
            (KEPT_ENTRIES_MIN.max(remembered) <= kept).then(|| {
                sanctions.prune(followed.time);
                sanctions.snapshot(followed.time)
            })
        });
        let Some(texts) = due.flatten() else { return };
        if self.is_compacting.swap(true, Ordering::AcqRel) {
            return;
        }
        let at = followed.at;
        followed.trimmed = at.offset().get();
        let this = self.clone();
        self.rooms.tasks.spawn(async move {
            if let Err(error) = this.write_down(at, texts).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the facts of moderation were not written down anew; they will be"
                );
            }
            this.is_compacting.store(false, Ordering::Release);
        });
    }

    async fn write_down(&self, at: Bookmark, texts: Vec<String>) -> Result<(), ChatError> {
        for (part, text) in texts.into_iter().enumerate() {
            self.append(format!("snapshot {} {part}", at.offset()), text).await?;
        }
        self.rooms.log.trim(&self.room, at.position).await?;
        self.rooms.pages.forget(&self.room);
        self.rooms.suspect(&self.room);
        Ok(())
    }
}
