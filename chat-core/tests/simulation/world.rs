//! What happens in a run: nodes over one store, clients that post, read and scroll, and trouble; all of it chosen by the seed.
//!
//! Here are the nodes and the record; what the clients do is in `posting.rs`, `reading.rs` and `people.rs`, what befalls them in `trouble.rs`.

mod ears;
mod people;
mod posting;
mod reading;
mod record;
mod trouble;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::fault::{FaultRates, Faults};
use chat_core::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::rule::allows;
use crate::trace::{Event, Trace};
use ears::Ears;
use record::Record;

/// How long a client waits for an answer or for news before it tries another node.
const PATIENCE: Duration = Duration::from_secs(4);
/// After the last fault: longer than any backoff, sweep and patience together.
const QUIET: Duration = Duration::from_secs(60);
/// Longer than a run.
const NEVER: Duration = Duration::from_secs(1_000_000);

/// Everything goes wrong at times, but no news is lost without a word: whoever compares when there is a reason to needs no sweep.
const HONEST_STORM: FaultRates = FaultRates { news_lost: 0.0, ..FaultRates::STORM };

pub(crate) fn run(seed: u64) -> Trace {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let record = runtime.block_on(async {
        let world = World::new(seed).await;
        timeout(Duration::from_secs(36_000), world.live()).await.expect("a run ends")
    });
    drop(runtime);
    Arc::into_inner(record).expect("everything has ended").into_trace()
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
    /// There are people with rooms of their own, and private ones.
    has_people: bool,
    is_calm: Arc<AtomicBool>,
    /// The faults are over, and every room that is watched was compared with the log since.
    settled: CancellationToken,
    record: Arc<Record>,
}

#[derive(Clone)]
struct Node {
    /// `None` while it is down.
    chat: Option<Chat>,
    faults: Faults,
    /// Ends what it listens to.
    deafen: Arc<Notify>,
    /// Its connections are gone.
    down: CancellationToken,
}

/// Asks what the rule [`allows`], which has no word about private rooms; now and then it cannot tell.
#[derive(Debug)]
struct Rule {
    random: Mutex<StdRng>,
    doubtful: f64,
    is_calm: Arc<AtomicBool>,
}

#[async_trait]
impl Authority for Rule {
    async fn allows(&self, who: &Who, room: &RoomId, what: Action) -> StoreResult<bool> {
        if !self.is_calm.load(Ordering::SeqCst) && self.random.lock().unwrap().random_bool(self.doubtful) {
            return Err(StoreError::unavailable("rule", "it cannot tell now"));
        }
        Ok(allows(who.id.as_str(), room, what))
    }
}

impl World {
    async fn new(seed: u64) -> Arc<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let rooms = pick(&mut random, &[1, 1, 2, 2, 3, 3, 8]);
        let mut rooms: Vec<RoomId> = (0..rooms).map(|n| RoomId::new(&format!("room {n}")).unwrap()).collect();
        // By a stream of its own: what else happens in a run is not about it.
        let mut random_people = StdRng::seed_from_u64(!seed);
        let has_people = random_people.random_bool(0.4);
        // One of a poster and a reader, and one of two posters.
        let private = [["poster 0", "reader 0"], ["poster 1", "poster 0"]];
        let private = if has_people { &private[..pick(&mut random_people, &[1, 2])] } else { &[] };
        rooms.extend(private.iter().map(|two| RoomId::direct(&user(two[0]), &user(two[1]))));
        let mut limits = Limits::default();
        limits.tail_entries_max = pick(&mut random, &[1, 3, 256]);
        limits.tail_bytes_max = pick(&mut random, &[1, 700, 1_000_000, 1_000_000]);
        limits.page_entries_max = NonZeroU32::new(pick(&mut random, &[2, 5, 128])).unwrap();
        limits.page_bytes_max = pick(&mut random, &[1, 2_000, 100_000]);
        limits.pages_bytes_max = pick(&mut random, &[0, 3_000, 1_000_000]);
        limits.tails_bytes_max = pick(&mut random, &[2_000, 100_000_000]);
        limits.log_reads_max = NonZeroUsize::new(pick(&mut random, &[1, 8])).unwrap();
        limits.first_visit_entries_max = pick(&mut random, &[None, None, Some(1), Some(4)]);
        limits.linger = Duration::from_secs(pick(&mut random, &[0, 1, 30]));
        limits.idle_rooms_max = NonZeroUsize::new(pick(&mut random, &[1, 10_000])).unwrap();
        let rolls_back = random.random_bool(0.4);
        let is_honest = !rolls_back && random.random_bool(0.4);
        limits.sweep_interval =
            if is_honest { NEVER } else { Duration::from_millis(pick(&mut random, &[500, 5_000])) };
        let rates = match random.random_bool(0.8) {
            true if is_honest => HONEST_STORM,
            true => FaultRates::STORM,
            false => FaultRates::NONE,
        };
        let store = MemoryStore::seeded(seed);
        let record = Record::new(seed, store.clone(), rooms.clone(), limits.first_visit_entries_max);
        let world = Arc::new(Self {
            seed,
            store,
            rooms,
            nodes: Mutex::default(),
            limits,
            rates,
            rolls_back,
            posters: random.random_range(2..=4),
            has_people,
            // Rarely so many that they are not woken all at once.
            readers: if random.random_bool(0.01) { 150 } else { random.random_range(2..=5) },
            is_calm: Arc::default(),
            settled: CancellationToken::new(),
            record: Arc::new(record),
        });
        for _ in 0..random.random_range(1..=3) {
            let node = world.start_node(random.random()).await;
            world.nodes.lock().unwrap().push(node);
        }
        world
    }

    async fn live(self: Arc<Self>) -> Arc<Record> {
        let posters: Vec<_> =
            (0..self.posters).map(|number| tokio::spawn(self.clone().post(number))).collect();
        let people: Vec<_> = (0..people::DEVICES)
            .filter(|_| self.has_people)
            .map(|device| tokio::spawn(self.clone().live_on(device)))
            .collect();
        let trouble = tokio::spawn(self.clone().make_trouble());
        let readers: Vec<_> =
            (0..self.readers).map(|number| tokio::spawn(self.clone().read(number))).collect();
        trouble.await.unwrap();
        for poster in posters {
            poster.await.unwrap();
        }
        for device in people {
            device.await.unwrap();
        }
        self.look_at_everybody().await;
        if self.limits.sweep_interval < NEVER {
            // The second one begins after the last fault, and has to be acted on.
            sleep(2 * self.limits.sweep_interval + 2 * PATIENCE).await;
            self.record.add(Event::Swept);
        }
        self.settled.cancel();
        // Whoever comes now is given copies that are older than the end of the faults.
        let nodes = self.nodes.lock().unwrap().clone();
        for (number, node) in nodes.iter().enumerate() {
            self.clone().read_all(900 + 10 * number, node).await;
        }
        for reader in readers {
            reader.await.unwrap();
        }
        // Takes in what nobody has looked at.
        self.record.now();
        self.record.clone()
    }

    async fn start_node(&self, seed: u64) -> Node {
        let faults = Faults::new(seed, self.rates);
        let deafen = Arc::new(Notify::new());
        let mut backends = faults.wrap(Backends::from_store(self.store.clone()));
        backends.delivery = Arc::new(Ears::new(backends.delivery, deafen.clone()));
        let doubtful = if self.rates == FaultRates::NONE { 0.0 } else { 0.02 };
        let mut number = 0;
        loop {
            number += 1;
            let random = Mutex::new(StdRng::seed_from_u64(seed ^ number));
            let rule = Rule { random, doubtful, is_calm: self.is_calm.clone() };
            let chat = Chat::builder(backends.clone()).limits(self.limits.clone()).authority(rule);
            // Who is there is simulated in `people.rs`.
            let chat = chat.node(NodeId(seed ^ number)).without_presence();
            if let Ok(chat) = chat.start().await {
                return Node { chat: Some(chat), faults, deafen, down: CancellationToken::new() };
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// One of the nodes, if it is not down.
    fn any_node(&self, random: &mut StdRng) -> Option<(Chat, CancellationToken)> {
        let nodes = self.nodes.lock().unwrap();
        let node = &nodes[random.random_range(0..nodes.len())];
        Some((node.chat.clone()?, node.down.clone()))
    }

    async fn pause(&self, random: &mut StdRng, millis_max: u64) {
        sleep(Duration::from_millis(random.random_range(0..millis_max))).await;
    }

    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::SeqCst)
    }

    /// Every actor has its own, so that one more question of one does not change all the others.
    fn random(&self, actor: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ actor)
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn pick<T: Copy>(random: &mut StdRng, choices: &[T]) -> T {
    choices[random.random_range(0..choices.len())]
}
