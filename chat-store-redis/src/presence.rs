//! [`Presence`]: seats per room, and per node an index of the rooms it has seats in, which is written before the first seat is taken.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::MutexGuard;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    Changed, Departure, DisplayName, Edge, Member, NodeId, Presence, Renewed, RoomId, Roster, Seat,
    StoreResult, UserId,
};
use futures_util::future::try_join;
use redis::{FromRedisValue, Value, cmd};
use tokio::sync::Mutex;

use crate::error::{corrupt, of_read, of_write};
use crate::script::{Call, ENTER, EVICT, LAPSED, LEAVE, RENEW, ROSTER, Script};
use crate::store::{RedisStore, in_order};

/// Seats that one step of an eviction gives up: nobody else is served meanwhile.
const EVICT_SEATS: usize = 200;

/// Keeps a node's index of its rooms in step with its seats: who takes the first seat in a room and who gives up the last one take turns. Those in
/// between need not wait for anybody, and the scripts tell who is mistaken about that.
#[derive(Debug)]
pub(crate) struct Turns(Vec<Turn>);

#[derive(Debug, Default)]
struct Turn {
    turn: Mutex<()>,
    /// How many seats a node has in a room, as the server has said last.
    seats: std::sync::Mutex<HashMap<(NodeId, RoomId), u64>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self((0..64).map(|_| Turn::default()).collect())
    }
}

impl Turns {
    fn of(&self, seat: &Seat) -> &Turn {
        let mut hash = DefaultHasher::new();
        (seat.node, &seat.room).hash(&mut hash);
        &self.0[hash.finish() as usize % self.0.len()]
    }

    /// Nothing is known of a node that is gone.
    fn forget(&self, node: NodeId) {
        self.0.iter().for_each(|turn| turn.known().retain(|(of, _), _| *of != node));
    }
}

impl Turn {
    fn seats(&self, seat: &Seat) -> u64 {
        self.known().get(&(seat.node, seat.room.clone())).copied().unwrap_or(0)
    }

    fn note(&self, seat: &Seat, seats: u64) {
        let key = (seat.node, seat.room.clone());
        match seats {
            0 => self.known().remove(&key),
            _ => self.known().insert(key, seats),
        };
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(NodeId, RoomId), u64>> {
        self.seats.lock().expect("nothing panics while it holds the numbers")
    }
}

#[async_trait]
impl Presence for RedisStore {
    async fn enter(&self, seat: &Seat, name: &DisplayName) -> StoreResult<Changed> {
        let turn = self.turns().of(seat);
        if 0 < turn.seats(seat)
            && let Some(changed) = self.take(seat, name, FirstSeat::Refused).await?
        {
            return Ok(changed);
        }
        let _turn = turn.turn.lock().await;
        let (mut index, mut node) = (cmd("SADD"), cmd("SADD"));
        index.arg(self.keys().rooms_of(seat.node)).arg(seat.room.as_str());
        node.arg(self.keys().nodes()).arg(seat.node.0);
        let (mut link, mut other) = (self.link(), self.link());
        try_join(index.query_async::<u64>(&mut link), node.query_async::<u64>(&mut other))
            .await
            .map_err(of_write)?;
        let taken = self.take(seat, name, FirstSeat::Allowed).await?;
        taken.ok_or_else(|| corrupt("a seat was refused"))
    }

    async fn leave(&self, seat: &Seat) -> StoreResult<Changed> {
        let turn = self.turns().of(seat);
        let is_among_others = 1 < turn.seats(seat);
        let mut guard = if is_among_others { None } else { Some(turn.turn.lock().await) };
        let call =
            self.call(&LEAVE, &seat.room, seat.node).arg(seat.user.as_str()).arg(seat.connection.as_str());
        let (version, edge, left): (u64, String, u64) =
            call.invoke_async(&mut self.link()).await.map_err(of_write)?;
        turn.note(seat, left);
        let is_empty = match guard {
            Some(_) => left == 0,
            // Whoever comes before it is one's turn finds the index as it was.
            None if left == 0 => {
                guard = Some(turn.turn.lock().await);
                let [.., seats] = self.keys().seats(&seat.room, seat.node);
                cmd("SCARD").arg(seats).query_async::<u64>(&mut self.link()).await == Ok(0)
            }
            None => false,
        };
        if is_empty {
            let mut index = cmd("SREM");
            index.arg(self.keys().rooms_of(seat.node)).arg(seat.room.as_str());
            // A room too many in the index costs one look when the node is evicted.
            let _: Result<u64, _> = index.query_async(&mut self.link()).await;
        }
        drop(guard);
        Ok(Changed { version, edge: edge_of(&edge) })
    }

    async fn renew(&self, node: NodeId, lease: Duration) -> StoreResult<Renewed> {
        // What a script can count, and more than anybody's patience.
        let lease = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).min(1 << 40);
        let held: u64 = RENEW
            .key(self.keys().leases())
            .arg(node.0)
            .arg(lease)
            .invoke_async(&mut self.link())
            .await
            .map_err(of_write)?;
        Ok(if held == 1 { Renewed::Held } else { Renewed::Lapsed })
    }

    async fn roster(&self, room: &RoomId, after: Option<&UserId>, limit: u32) -> StoreResult<Roster> {
        let call = self.call(&ROSTER, room, NodeId(0)).arg(after.map_or("", UserId::as_str)).arg(limit);
        let answer: Vec<Value> = call.invoke_async(&mut self.link()).await.map_err(of_read)?;
        let (head, members) = answer.split_at_checked(2).ok_or_else(|| corrupt("an answer is short"))?;
        let member = |of: &[Value]| {
            let (id, name, devices) = triple(of)?;
            Ok(Member {
                user: UserId::new(&id).map_err(|_| corrupt("a user's id is none"))?,
                name: DisplayName::new(&name).map_err(|_| corrupt("a user's name is none"))?,
                devices: u32::try_from(devices).map_err(|_| corrupt("too many connections"))?,
            })
        };
        Ok(Roster {
            version: number(&head[0])?,
            total: number(&head[1])?,
            members: members.chunks(3).map(member).collect::<StoreResult<_>>()?,
        })
    }

    async fn lapsed(&self, limit: u32) -> StoreResult<Vec<NodeId>> {
        let nodes: Vec<u64> = LAPSED
            .key(self.keys().leases())
            .key(self.keys().nodes())
            .invoke_async(&mut self.link())
            .await
            .map_err(of_read)?;
        let mut lapsed = Vec::new();
        for node in nodes.into_iter().map(NodeId) {
            if limit as usize <= lapsed.len() {
                break;
            }
            let mut count = cmd("SCARD");
            count.arg(self.keys().rooms_of(node));
            let rooms: u64 = count.query_async(&mut self.link()).await.map_err(of_read)?;
            if 0 < rooms {
                lapsed.push(node);
            }
        }
        Ok(lapsed)
    }

    async fn evict(&self, node: NodeId) -> StoreResult<Vec<Departure>> {
        let index = self.keys().rooms_of(node);
        let rooms: Vec<String> =
            cmd("SMEMBERS").arg(&index).query_async(&mut self.link()).await.map_err(of_read)?;
        let index = &index;
        let evictions = rooms.iter().map(|name| async move {
            let room = RoomId::reserved(name).map_err(|_| corrupt("a room's name is none"))?;
            let departures = self.evict_from(&room, node).await?;
            let mut done = cmd("SREM");
            done.arg(index).arg(name);
            let _: u64 = done.query_async(&mut self.link()).await.map_err(of_write)?;
            // A seat that the node took since the first look is in no index any more, and would stay.
            Ok([departures, self.evict_from(&room, node).await?].concat())
        });
        let departures = in_order(evictions.collect()).await?;
        self.turns().forget(node);
        let mut lease = cmd("ZREM");
        lease.arg(self.keys().leases()).arg(node.0);
        let _: u64 = lease.query_async(&mut self.link()).await.map_err(of_write)?;
        let mut known = cmd("SREM");
        known.arg(self.keys().nodes()).arg(node.0);
        let _: u64 = known.query_async(&mut self.link()).await.map_err(of_write)?;
        Ok(departures.into_iter().flatten().collect())
    }
}

/// Whether a seat may be the first one of its node in its room: then the index has to name the room.
#[derive(Clone, Copy)]
enum FirstSeat {
    Allowed,
    Refused,
}

impl RedisStore {
    async fn take(&self, seat: &Seat, name: &DisplayName, first: FirstSeat) -> StoreResult<Option<Changed>> {
        let call = self
            .call(&ENTER, &seat.room, seat.node)
            .arg(seat.user.as_str())
            .arg(seat.connection.as_str())
            .arg(name.as_str());
        let call = call.arg(match first {
            FirstSeat::Allowed => "",
            FirstSeat::Refused => "among others",
        });
        let (version, edge, seats): (u64, String, u64) =
            call.invoke_async(&mut self.link()).await.map_err(of_write)?;
        self.turns().of(seat).note(seat, seats);
        Ok((0 < seats).then(|| Changed { version, edge: edge_of(&edge) }))
    }

    fn call(&self, script: &'static Script, room: &RoomId, node: NodeId) -> Call {
        let [here, users, seats] = self.keys().seats(room, node);
        script.key(here).key(users).key(seats)
    }

    async fn evict_from(&self, room: &RoomId, node: NodeId) -> StoreResult<Vec<Departure>> {
        let mut departures = Vec::new();
        loop {
            let call = self.call(&EVICT, room, node).arg(EVICT_SEATS);
            let answer: Vec<Value> = call.invoke_async(&mut self.link()).await.map_err(of_write)?;
            let (left, gone) = answer.split_first().ok_or_else(|| corrupt("an answer is short"))?;
            for of in gone.chunks(3) {
                let (id, name, version) = triple(of)?;
                departures.push(Departure {
                    room: room.clone(),
                    user: UserId::new(&id).map_err(|_| corrupt("a user's id is none"))?,
                    name: DisplayName::new(&name).map_err(|_| corrupt("a user's name is none"))?,
                    version,
                });
            }
            if number(left)? == 0 {
                return Ok(departures);
            }
        }
    }
}

fn edge_of(text: &str) -> Option<Edge> {
    match text {
        "arrived" => Some(Edge::Arrived),
        "left" => Some(Edge::Left),
        "renamed" => Some(Edge::Renamed),
        _ => None,
    }
}

fn triple(of: &[Value]) -> StoreResult<(String, String, u64)> {
    let [id, name, count] = of else { return Err(corrupt("an answer is short")) };
    let text =
        |value: &Value| String::from_redis_value_ref(value).map_err(|_| corrupt("an answer is no text"));
    Ok((text(id)?, text(name)?, number(count)?))
}

fn number(value: &Value) -> StoreResult<u64> {
    u64::from_redis_value_ref(value).map_err(|_| corrupt("an answer is no number"))
}
