//! What happens in a run: nodes over one store, clients that post and read, and trouble; all of it chosen by the seed.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::fault::{FaultRates, Faults};
use chat_core::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};

use crate::trace::{Event, Line, Trace};

/// How long a client waits for an answer or for news before it tries another node.
const PATIENCE: Duration = Duration::from_secs(4);
/// After the last fault: longer than any backoff, sweep and patience together.
const QUIET: Duration = Duration::from_secs(60);

pub(crate) fn run(seed: u64) -> Trace {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let trace = runtime.block_on(async {
        let world = World::new(seed).await;
        timeout(Duration::from_secs(3_600), world.live()).await.expect("a run ends")
    });
    drop(runtime);
    Arc::into_inner(trace).expect("everything has ended").into_inner().unwrap()
}

struct World {
    seed: u64,
    store: MemoryStore,
    rooms: Vec<RoomId>,
    nodes: Mutex<Vec<Node>>,
    limits: Limits,
    rates: FaultRates,
    rolls_back: bool,
    posters: u64,
    readers: usize,
    is_calm: AtomicBool,
    trace: Arc<Mutex<Trace>>,
}

struct Node {
    /// `None` while it is down.
    chat: Option<Chat>,
    faults: Faults,
}

/// The first room is not for everybody.
#[derive(Debug)]
struct Rule {
    closed: RoomId,
}

fn may(user: &str, room: &RoomId, closed: &RoomId) -> bool {
    room != closed || !user.ends_with('1')
}

#[async_trait]
impl Authority for Rule {
    async fn allows(&self, who: &UserId, room: &RoomId, _: Action) -> StoreResult<bool> {
        Ok(may(who.as_str(), room, &self.closed))
    }
}

impl World {
    async fn new(seed: u64) -> Arc<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let rooms =
            (0..random.random_range(1..=3)).map(|n| RoomId::new(&format!("room {n}")).unwrap()).collect();
        let mut limits = Limits::default();
        limits.tail_entries_max = pick(&mut random, &[1, 3, 256]);
        limits.page_entries_max = NonZeroU32::new(pick(&mut random, &[2, 5, 128])).unwrap();
        limits.page_bytes_max = pick(&mut random, &[1, 2_000, 100_000]);
        limits.pages_bytes_max = pick(&mut random, &[0, 3_000, 1_000_000]);
        limits.tails_bytes_max = pick(&mut random, &[2_000, 100_000_000]);
        limits.sweep_interval = Duration::from_millis(pick(&mut random, &[500, 5_000]));
        limits.linger = Duration::from_secs(pick(&mut random, &[0, 1, 30]));
        let rates = if random.random_bool(0.8) { FaultRates::STORM } else { FaultRates::NONE };
        let world = Arc::new(Self {
            seed,
            store: MemoryStore::seeded(seed),
            rooms,
            nodes: Mutex::default(),
            limits,
            rates,
            rolls_back: random.random_bool(0.4),
            posters: random.random_range(2..=4),
            readers: random.random_range(2..=5),
            is_calm: AtomicBool::new(false),
            trace: Arc::default(),
        });
        for _ in 0..random.random_range(1..=3) {
            let node = world.node(random.random()).await;
            world.nodes.lock().unwrap().push(node);
        }
        world
    }

    async fn live(self: Arc<Self>) -> Arc<Mutex<Trace>> {
        let mut tasks = Vec::new();
        for number in 0..self.posters {
            tasks.push(tokio::spawn(self.clone().post(number)));
        }
        let trouble = tokio::spawn(self.clone().make_trouble());
        let readers: Vec<_> =
            (0..self.readers).map(|number| tokio::spawn(self.clone().read(number))).collect();
        trouble.await.unwrap();
        for task in tasks.into_iter().chain(readers) {
            task.await.unwrap();
        }
        for room in &self.rooms {
            let bounds = self.bounds(room).await;
            let lines = self.lines(room, bounds.trimmed.offset()).await;
            self.record(Event::End { room: room.clone(), lines });
        }
        self.trace.clone()
    }

    async fn node(&self, seed: u64) -> Node {
        let faults = Faults::new(seed, self.rates);
        if self.is_calm() {
            faults.heal();
        }
        let backends = faults.wrap(Backends::from_store(self.store.clone()));
        loop {
            let chat = Chat::builder(backends.clone())
                .limits(self.limits.clone())
                .authority(Rule { closed: self.rooms[0].clone() });
            if let Ok(chat) = chat.start().await {
                return Node { chat: Some(chat), faults };
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// A client that posts, and repeats each post until it is answered.
    async fn post(self: Arc<Self>, number: u64) {
        let mut random = self.random(1_000 + number);
        let author = format!("poster {number}");
        let mut done: Vec<(RoomId, String, String)> = Vec::new();
        for count in 0..random.random_range(5..20) {
            self.pause(&mut random, 300).await;
            let mut room = self.rooms[random.random_range(0..self.rooms.len())].clone();
            let (mut key, mut text) = (format!("key {count}"), format!("{author} says {count}"));
            match random.random_range(0..10) {
                // The same again, as after an answer that did not arrive.
                0 if !done.is_empty() => (room, key, text) = done[random.random_range(0..done.len())].clone(),
                // Another text under a key that was used.
                1 if !done.is_empty() => {
                    (room, key, _) = done[random.random_range(0..done.len())].clone();
                    text = format!("{author} cheats {count}");
                }
                _ => {}
            }
            let gives_up = random.random_bool(0.1);
            loop {
                let answer = match self.any_node(&mut random) {
                    Some(chat) => timeout(PATIENCE, chat.post(&room, draft(&author, &key, &text))).await.ok(),
                    None => None,
                };
                match answer {
                    Some(Ok(receipt)) => {
                        done.push((room.clone(), key.clone(), text.clone()));
                        let (room, author, key) = (room.clone(), author.clone(), key.clone());
                        self.record(Event::Acked {
                            room,
                            author,
                            key,
                            bookmark: receipt.bookmark,
                            duplicate: receipt.duplicate,
                        });
                        break;
                    }
                    Some(Err(ChatError::Conflict { .. })) => {
                        break self.record(Event::Refused { room, text, why: "conflict" });
                    }
                    Some(Err(ChatError::Forbidden)) => {
                        break self.record(Event::Refused { room, text, why: "forbidden" });
                    }
                    Some(Err(_)) | None => {
                        self.record(Event::Failed);
                        if gives_up {
                            break;
                        }
                        self.pause(&mut random, 500).await;
                    }
                }
            }
        }
    }

    /// A client that reads, is cut off now and then, and comes back to any node with what it has.
    async fn read(self: Arc<Self>, number: usize) {
        let mut random = self.random(2_000 + number as u64);
        let name = format!("reader {number}");
        let mut places: Vec<Option<Bookmark>> = vec![None; self.rooms.len()];
        loop {
            // Asked before the session: the last one begins after the last fault.
            let is_last = self.is_calm();
            if let Some(chat) = self.any_node(&mut random) {
                self.session(&mut random, number, &chat, &name, &mut places, is_last).await;
                if is_last {
                    return;
                }
            }
            self.record(Event::Cut { reader: number });
            self.pause(&mut random, 1_000).await;
        }
    }

    async fn session(
        &self,
        random: &mut StdRng,
        number: usize,
        chat: &Chat,
        name: &str,
        places: &mut [Option<Bookmark>],
        is_last: bool,
    ) {
        let reader = chat.reader(UserId::new(name).unwrap());
        for (room, place) in self.rooms.iter().zip(places.iter_mut()) {
            let since = match *place {
                None => pick(random, &[Since::Start, Since::Now, Since::Last(3)]),
                Some(bookmark) if !self.rolls_back && random.random_bool(0.2) => match bookmark.offset() {
                    // A bare 0 is a first visit.
                    Offset::ZERO => Since::Bookmark(bookmark),
                    offset => Since::Offset(offset),
                },
                Some(bookmark) => Since::Bookmark(bookmark),
            };
            let joined = loop {
                match timeout(PATIENCE, reader.join(room, since)).await {
                    Ok(Ok(joined)) => break Some(joined),
                    Ok(Err(ChatError::Forbidden)) => break None,
                    _ if !is_last => return,
                    _ => {}
                }
            };
            if let Some(Joined { start, lost, .. }) = joined {
                let resumed = place.is_some();
                let is_allowed = may(name, room, &self.rooms[0]);
                self.record(Event::Joined { reader: number, room: room.clone(), resumed, start, is_allowed });
                if !lost {
                    *place = Some(start);
                }
            }
        }
        let steps = if is_last { usize::MAX } else { random.random_range(1..20) };
        let patience = if is_last { QUIET } else { PATIENCE };
        for _ in 0..steps {
            let budget =
                Budget { entries: random.random_range(1..=6), bytes: pick(random, &[1, 1_000, 100_000]) };
            let Ok(step) = timeout(patience, reader.next(budget)).await else { return };
            let received = is_last || random.random_bool(0.9);
            match step {
                Step::Run(run) => {
                    let place = self.rooms.iter().position(|room| *room == run.room).unwrap();
                    if received {
                        places[place] = run.entries.last().map(|entry| entry.bookmark());
                    }
                    let lines = run.entries.iter().map(|entry| Line::of(entry)).collect();
                    self.record(Event::Saw { reader: number, room: run.room, lines, received });
                }
                Step::Lost { room, start, .. } => {
                    let place = self.rooms.iter().position(|other| *other == room).unwrap();
                    if received {
                        places[place] = Some(start);
                    }
                    self.record(Event::ToldLost { reader: number, room, start, received });
                }
                _ => {}
            }
            if !received {
                return;
            }
        }
    }

    async fn make_trouble(self: Arc<Self>) {
        let mut random = self.random(3_000);
        for _ in 0..random.random_range(2..12) {
            self.pause(&mut random, 3_000).await;
            let room = self.rooms[random.random_range(0..self.rooms.len())].clone();
            match random.random_range(0..6) {
                0 | 1 => self.crash(&mut random).await,
                2 => {
                    let bounds = self.bounds(&room).await;
                    let offset =
                        random.random_range(bounds.trimmed.offset().get()..=bounds.head.offset().get());
                    let upto = Position { offset: Offset::new(offset).unwrap(), ..bounds.head.position };
                    let mut lines = self.lines(&room, bounds.trimmed.offset()).await;
                    lines.retain(|line| line.offset <= offset);
                    if !lines.is_empty() {
                        self.store.trim(&room, upto).await.unwrap();
                        self.record(Event::Trimmed { room, lines });
                    }
                }
                3 | 4 if self.rolls_back => {
                    let bounds = self.bounds(&room).await;
                    let mut lines = self.lines(&room, bounds.trimmed.offset()).await;
                    let lost = random.random_range(0..4).min(lines.len());
                    let lines = lines.split_off(lines.len() - lost);
                    if !lines.is_empty() {
                        self.store.roll_back(&room, lost);
                        self.record(Event::RolledBack { room, lines });
                    }
                }
                _ => {
                    let faults =
                        self.nodes.lock().unwrap().iter().map(|node| node.faults.clone()).collect::<Vec<_>>();
                    let faults = &faults[random.random_range(0..faults.len())];
                    faults.outage();
                    self.pause(&mut random, 4_000).await;
                    if !self.is_calm() {
                        faults.inflict(self.rates);
                    }
                }
            }
        }
        self.is_calm.store(true, Ordering::SeqCst);
        let faults: Vec<Faults> = self.nodes.lock().unwrap().iter().map(|node| node.faults.clone()).collect();
        faults.iter().for_each(Faults::heal);
    }

    /// A node dies with all that it held in memory; another incarnation of it starts some time later.
    async fn crash(&self, random: &mut StdRng) {
        let number = {
            let mut nodes = self.nodes.lock().unwrap();
            let number = random.random_range(0..nodes.len());
            nodes[number].faults.crash();
            nodes[number].chat = None;
            number
        };
        self.record(Event::Crash);
        self.pause(random, 2_000).await;
        let node = self.node(random.random()).await;
        self.nodes.lock().unwrap()[number] = node;
    }

    fn any_node(&self, random: &mut StdRng) -> Option<Chat> {
        let nodes = self.nodes.lock().unwrap();
        nodes[random.random_range(0..nodes.len())].chat.clone()
    }

    async fn bounds(&self, room: &RoomId) -> Bounds {
        self.store.bounds(std::slice::from_ref(room)).await.unwrap()[0]
    }

    async fn lines(&self, room: &RoomId, after: Offset) -> Vec<Line> {
        let epoch = self.bounds(room).await.epoch();
        let limit = PageLimit { entries: NonZeroU32::MAX, bytes: usize::MAX };
        match self.store.read(room, Position { epoch, offset: after }, limit).await.unwrap() {
            Replay::Page { entries, .. } => entries.iter().map(Line::of).collect(),
            Replay::Lost { .. } => Vec::new(),
        }
    }

    async fn pause(&self, random: &mut StdRng, millis_max: u64) {
        sleep(Duration::from_millis(random.random_range(0..millis_max))).await;
    }

    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::SeqCst)
    }

    fn record(&self, event: Event) {
        let mut trace = self.trace.lock().unwrap();
        trace.events.push(event);
        assert!(trace.events.len() < 100_000, "seed {} goes round in circles", self.seed);
    }

    /// Every actor has its own, so that one more question of one does not change all the others.
    fn random(&self, actor: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ actor)
    }
}

fn pick<T: Copy>(random: &mut StdRng, choices: &[T]) -> T {
    choices[random.random_range(0..choices.len())]
}

fn draft(author: &str, key: &str, text: &str) -> Draft {
    let author = Author { id: UserId::new(author).unwrap(), name: DisplayName::new(author).unwrap() };
    Draft { kind: Kind::Message, author, key: MessageKey::new(key).unwrap(), body: Body::text(text) }
}
