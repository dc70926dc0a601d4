//! [`Presence`]: seats per room, and per node an index of the rooms it has seats in, which is written before a seat is taken.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    Changed, Departure, DisplayName, Edge, Member, NodeId, Presence, Renewed, RoomId, Roster, Seat,
    StoreResult, UserId,
};
use redis::{FromRedisValue, ScriptInvocation, Value, cmd};
use tokio::sync::{Mutex, MutexGuard};

use crate::error::{corrupt, of_read, of_write};
use crate::script::{ENTER, EVICT, LAPSED, LEAVE, RENEW, ROSTER};
use crate::store::RedisStore;

/// Seats that one step of an eviction gives up: nobody else is served meanwhile.
const EVICT_SEATS: usize = 200;

/// Keeps a node's index of its rooms in step with its seats: who takes the first seat and who gives up the last one take turns.
#[derive(Debug)]
pub(crate) struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..64).map(|_| Mutex::default()).collect())
    }
}

impl Turns {
    async fn take(&self, node: NodeId, room: &RoomId) -> MutexGuard<'_, ()> {
        let mut hash = DefaultHasher::new();
        (node, room).hash(&mut hash);
        let index = hash.finish() as usize % self.0.len();
        self.0[index].lock().await
    }
}

#[async_trait]
impl Presence for RedisStore {
    async fn enter(&self, seat: &Seat, name: &DisplayName) -> StoreResult<Changed> {
        let _turn = self.turns().take(seat.node, &seat.room).await;
        let mut index = cmd("SADD");
        index.arg(self.keys().rooms_of(seat.node)).arg(seat.room.as_str());
        let added: u64 = index.query_async(&mut self.link()).await.map_err(of_write)?;
        if added == 1 {
            let mut node = cmd("SADD");
            node.arg(self.keys().nodes()).arg(seat.node.0);
            let _: u64 = node.query_async(&mut self.link()).await.map_err(of_write)?;
        }
        let mut call = ENTER.prepare_invoke();
        self.add_keys(&mut call, &seat.room, seat.node);
        call.arg(seat.user.as_str()).arg(seat.connection.as_str()).arg(name.as_str());
        let (version, edge): (u64, String) = call.invoke_async(&mut self.link()).await.map_err(of_write)?;
        Ok(Changed { version, edge: edge_of(&edge) })
    }

    async fn leave(&self, seat: &Seat) -> StoreResult<Changed> {
        let _turn = self.turns().take(seat.node, &seat.room).await;
        let mut call = LEAVE.prepare_invoke();
        self.add_keys(&mut call, &seat.room, seat.node);
        call.arg(seat.user.as_str()).arg(seat.connection.as_str());
        let (version, edge, left): (u64, String, u64) =
            call.invoke_async(&mut self.link()).await.map_err(of_write)?;
        if left == 0 {
            let mut index = cmd("SREM");
            index.arg(self.keys().rooms_of(seat.node)).arg(seat.room.as_str());
            // A room too many in the index costs one look when the node is evicted.
            let _: Result<u64, _> = index.query_async(&mut self.link()).await;
        }
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
        let mut call = ROSTER.prepare_invoke();
        self.add_keys(&mut call, room, NodeId(0));
        call.arg(after.map_or("", UserId::as_str)).arg(limit);
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
        let mut departures = Vec::new();
        for name in rooms {
            let room = RoomId::reserved(&name).map_err(|_| corrupt("a room's name is none"))?;
            self.evict_from(&room, node, &mut departures).await?;
            let mut done = cmd("SREM");
            done.arg(&index).arg(&name);
            let _: u64 = done.query_async(&mut self.link()).await.map_err(of_write)?;
        }
        let mut lease = cmd("ZREM");
        lease.arg(self.keys().leases()).arg(node.0);
        let _: u64 = lease.query_async(&mut self.link()).await.map_err(of_write)?;
        let mut known = cmd("SREM");
        known.arg(self.keys().nodes()).arg(node.0);
        let _: u64 = known.query_async(&mut self.link()).await.map_err(of_write)?;
        Ok(departures)
    }
}

impl RedisStore {
    fn add_keys(&self, call: &mut ScriptInvocation<'_>, room: &RoomId, node: NodeId) {
        let [here, users, seats] = self.keys().seats(room, node);
        call.key(here).key(users).key(seats);
    }

    async fn evict_from(
        &self,
        room: &RoomId,
        node: NodeId,
        departures: &mut Vec<Departure>,
    ) -> StoreResult<()> {
        loop {
            let mut call = EVICT.prepare_invoke();
            self.add_keys(&mut call, room, node);
            call.arg(EVICT_SEATS);
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
                return Ok(());
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
