//! People who come, go, rename themselves and type, at several nodes, under faults; and the one law of presence: when the faults are over,
//! within the stated bound everybody who is told knows exactly who is there, and so does the store.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chat_core::fault::{FaultRates, Faults};
use chat_core::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

const GRACE: Duration = Duration::from_secs(2);
const LEASE: Duration = Duration::from_secs(6);
const SWEEP: Duration = Duration::from_secs(5);
/// How long a person waits to be let in.
const PATIENCE: Duration = Duration::from_secs(4);

/// A dead node's lease, the time until somebody looks for it, until news of that which was lost is found out, until those who were cut off
/// are gone; and twice the longest pause between two attempts.
fn bound() -> Duration {
    LEASE + LEASE / 3 + SWEEP + GRACE + Duration::from_secs(4)
}

/// What is wrong after a run; nothing if the law holds.
pub(crate) fn run(seed: u64) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed).await;
        timeout(Duration::from_secs(36_000), world.live()).await.expect("a run ends")
    })
}

struct World {
    seed: u64,
    store: MemoryStore,
    limits: Limits,
    rates: FaultRates,
    rooms: Vec<RoomId>,
    /// Nothing happens after the faults from which could be seen that something was missed.
    ends_quietly: bool,
    nodes: Mutex<Vec<Node>>,
    is_calm: AtomicBool,
    wrong: Mutex<Vec<String>>,
}

#[derive(Clone)]
struct Node {
    chat: Option<Chat>,
    faults: Faults,
    /// Its connections are gone.
    down: CancellationToken,
}

/// One connection of one person, and what it knows of each room.
struct Device {
    user: String,
    number: usize,
    connections: usize,
    names: usize,
    random: StdRng,
}

#[derive(Debug, Default)]
struct View {
    version: u64,
    count: u64,
    online: Option<BTreeMap<String, String>>,
    typing: BTreeSet<String>,
}

/// Somebody who stays.
struct Staying {
    user: String,
    reader: Reader,
    views: BTreeMap<RoomId, View>,
}

impl World {
    async fn new(seed: u64) -> Arc<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut limits = Limits::default();
        limits.presence_grace = GRACE;
        limits.presence_lease = LEASE;
        limits.presence_sweep_interval = SWEEP;
        limits.named_notices_max = [100, 100, 3][random.random_range(0..3)];
        limits.presence_notices_max = [1_000, 1_000, 3][random.random_range(0..3)];
        limits.notices_kept_max = NonZeroUsize::new([1, 3, 512][random.random_range(0..3)]).unwrap();
        let rates = if random.random_bool(0.9) { FaultRates::STORM } else { FaultRates::NONE };
        let rooms = (0..random.random_range(1..=2)).map(|n| RoomId::new(&format!("room {n}")).unwrap());
        let world = Arc::new(Self {
            seed,
            store: MemoryStore::seeded(seed),
            limits,
            rates,
            rooms: rooms.collect(),
            ends_quietly: random.random_bool(0.5),
            nodes: Mutex::default(),
            is_calm: AtomicBool::default(),
            wrong: Mutex::default(),
        });
        for _ in 0..random.random_range(1..=3) {
            let node = world.start_node(random.random()).await;
            world.nodes.lock().unwrap().push(node);
        }
        world
    }

    async fn live(self: Arc<Self>) -> Vec<String> {
        let mut devices = Vec::new();
        for user in 0..4 {
            for number in 0..2 {
                devices.push(tokio::spawn(self.clone().come_and_go(user, number)));
            }
        }
        self.make_trouble().await;
        let mut staying = Vec::new();
        for device in devices {
            staying.extend(device.await.unwrap());
        }
        sleep(bound()).await;
        let mut wrong = std::mem::take(&mut *self.wrong.lock().unwrap());
        for device in &mut staying {
            device.catch_up(&mut wrong).await;
        }
        for room in &self.rooms {
            let Roster { total, members, .. } = self.store.roster(room, None, 1_000).await.unwrap();
            let known: BTreeMap<_, _> =
                members.iter().map(|member| (member.user.to_string(), member.name.to_string())).collect();
            let there = staying.iter().filter(|device| device.reader.is_in(room));
            let there: BTreeSet<_> = there.map(|device| device.user.as_str()).collect();
            if known.keys().map(String::as_str).collect::<BTreeSet<_>>() != there {
                wrong.push(format!("the store knows of {known:?} in {room}, and there are {there:?}"));
            }
            for Staying { user, views, .. } in &staying {
                let Some(view) = views.get(room) else { continue };
                let is_right = match &view.online {
                    Some(online) => *online == known,
                    None => self.limits.named_notices_max < total && view.count == total,
                };
                if !is_right || !view.typing.is_empty() {
                    wrong.push(format!("{user} knows {view:?} of {room}, and the store {known:?}"));
                }
            }
        }
        wrong
    }

    async fn make_trouble(self: &Arc<Self>) {
        let mut random = self.random(1_000);
        for _ in 0..random.random_range(2..10) {
            sleep(Duration::from_millis(random.random_range(0..4_000))).await;
            let number = random.random_range(0..self.nodes.lock().unwrap().len());
            let faults = self.nodes.lock().unwrap()[number].faults.clone();
            match random.random_range(0..3) {
                0 => {
                    faults.crash();
                    let down = {
                        let mut nodes = self.nodes.lock().unwrap();
                        nodes[number].chat = None;
                        nodes[number].down.clone()
                    };
                    down.cancel();
                    let node = self.start_node(random.random()).await;
                    self.nodes.lock().unwrap()[number] = node;
                }
                // Also for so long that leases lapse.
                _ => {
                    faults.outage();
                    sleep(Duration::from_millis(random.random_range(0..15_000))).await;
                    faults.inflict(self.rates);
                }
            }
        }
        self.nodes.lock().unwrap().iter().for_each(|node| node.faults.heal());
        self.is_calm.store(true, Ordering::SeqCst);
    }

    async fn start_node(&self, seed: u64) -> Node {
        let faults = Faults::new(seed, self.rates);
        let backends = faults.wrap(Backends::from_store(self.store.clone()));
        loop {
            let chat = Chat::builder(backends.clone()).limits(self.limits.clone()).node(NodeId(seed));
            if let Ok(chat) = chat.start().await {
                return Node { chat: Some(chat), faults, down: CancellationToken::new() };
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn come_and_go(self: Arc<Self>, user: u64, number: usize) -> Option<Staying> {
        let random = self.random(2_000 + 10 * user + number as u64);
        let mut device = Device { user: format!("user {user}"), number, connections: 0, names: 0, random };
        let is_faithful = device.random.random_bool(0.4);
        let is_away_for_good = self.ends_quietly && !is_faithful;
        let mut sessions = if is_away_for_good { device.random.random_range(1..4) } else { usize::MAX };
        while !self.is_calm() {
            if sessions == 0 {
                return None;
            }
            let Some(node) = self.any_node(&mut device.random) else {
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            sessions -= 1;
            let session = self.session(&mut device, &node, is_faithful);
            if let Some(Some(here)) = node.down.run_until_cancelled(session).await
                && is_faithful
                // Both may have happened at the same moment.
                && !node.down.is_cancelled()
            {
                return Some(here);
            }
            sleep(Duration::from_millis(device.random.random_range(0..4_000))).await;
        }
        if is_away_for_good || device.random.random_bool(0.3) {
            return None;
        }
        let chat = self.any_node(&mut device.random)?.chat?;
        let mut staying = device.connect(&chat);
        for room in &self.rooms {
            if device.random.random_bool(0.8) {
                staying.reader.join(room, Since::Now).await.expect("all is well");
                staying.views.insert(room.clone(), View::default());
            }
        }
        Some(staying)
    }

    /// For a while, or for as long as there are faults.
    async fn session(&self, device: &mut Device, node: &Node, is_faithful: bool) -> Option<Staying> {
        let chat = node.chat.as_ref()?;
        let mut here = device.connect(chat);
        let until = Instant::now() + Duration::from_millis(device.random.random_range(0..8_000));
        while (is_faithful || Instant::now() < until) && !self.is_calm() {
            let room = &self.rooms[device.random.random_range(0..self.rooms.len())];
            // Who stays mostly reads.
            let choices = if is_faithful && !here.views.is_empty() { 60 } else { 8 };
            match device.random.random_range(0..choices) {
                0 | 1 => {
                    if let Ok(Ok(_)) = timeout(PATIENCE, here.reader.join(room, Since::Now)).await {
                        here.views.insert(room.clone(), View::default());
                    }
                }
                2 => {
                    here.reader.leave(room);
                    here.views.remove(room);
                }
                3 => here.reader.rename(&device.another_name()),
                4 => {
                    let typing = [Typing::Started, Typing::Stopped][device.random.random_range(0..2)];
                    let _ = timeout(PATIENCE, here.reader.typing(room, typing)).await;
                }
                5 => sleep(Duration::from_millis(device.random.random_range(0..3_000))).await,
                _ => {
                    let patience = Duration::from_millis(device.random.random_range(0..500));
                    let budget = Budget { entries: device.random.random_range(1..4), bytes: 100_000 };
                    if let Ok(step) = timeout(patience, here.reader.next(budget)).await {
                        here.take(step, &mut self.wrong.lock().unwrap());
                    }
                }
            }
        }
        Some(here)
    }

    fn any_node(&self, random: &mut StdRng) -> Option<Node> {
        let nodes = self.nodes.lock().unwrap();
        let node = nodes[random.random_range(0..nodes.len())].clone();
        node.chat.is_some().then_some(node)
    }

    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::SeqCst)
    }

    fn random(&self, actor: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ actor)
    }
}

impl Device {
    /// Over a new connection, or over the one that it had last.
    fn connect(&mut self, chat: &Chat) -> Staying {
        self.connections += usize::from(self.random.random_bool(0.5));
        let connection = format!("{} {} {}", self.user, self.number, self.connections);
        let name = self.another_name();
        let who = Author { id: UserId::new(&self.user).unwrap(), name };
        let reader = chat.reader_as(Attendee::new(who, ConnectionId::new(&connection).unwrap()));
        Staying { user: self.user.clone(), reader, views: BTreeMap::new() }
    }

    fn another_name(&mut self) -> DisplayName {
        self.names += usize::from(self.random.random_bool(0.3));
        DisplayName::new(&format!("{} {}", self.user, self.names)).unwrap()
    }
}

impl Staying {
    async fn catch_up(&mut self, wrong: &mut Vec<String>) {
        while let Ok(step) = timeout(Duration::from_millis(1), self.reader.next(Budget::default())).await {
            self.take(step, wrong);
        }
    }

    fn take(&mut self, step: Step, wrong: &mut Vec<String>) {
        let Step::Notices { room, notices } = step else { return };
        let Some(view) = self.views.get_mut(&room) else {
            return wrong.push(format!("{} is told of {room}, where it is not", self.user));
        };
        let before = view.version;
        for notice in notices {
            view.take(&notice);
        }
        if view.version < before {
            wrong.push(format!("{} is told version {} of {room} after {before}", self.user, view.version));
        }
    }
}

impl View {
    fn take(&mut self, told: &Told) {
        match told {
            Told::Reset { version, count, online } => {
                (self.version, self.count) = (*version, *count);
                self.typing.clear();
                let name = |who: &Author| (who.id.to_string(), who.name.to_string());
                self.online = online.as_ref().map(|online| online.iter().map(name).collect());
            }
            Told::Presence { who, online, version, count } => {
                (self.version, self.count) = (*version, *count);
                match (&mut self.online, online) {
                    (None, _) => {}
                    (Some(names), true) => drop(names.insert(who.id.to_string(), who.name.to_string())),
                    (Some(names), false) => drop(names.remove(who.id.as_str())),
                }
            }
            Told::Typing { who, typing: Typing::Started } => drop(self.typing.insert(who.id.to_string())),
            Told::Typing { who, typing: Typing::Stopped } => drop(self.typing.remove(who.id.as_str())),
            _ => {}
        }
    }
}
