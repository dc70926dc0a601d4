//! Appends that are answered only when replicas have them: `WAIT`, once for all that came together.
//!
//! `WAIT` is about what was written over the same connection, and blocks it. So these have one of their own, on which scripts and the `WAIT`
//! behind them travel in one piece: were it replaced in between, `WAIT` would answer for nothing.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use chat_core::{StoreError, StoreResult};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use redis::aio::ConnectionLike;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, FromRedisValue, Pipeline, RedisResult, Value, cmd};
use tokio::sync::{mpsc, oneshot};

use crate::error::{STORE, of_write};
use crate::line::Line;
use crate::link::{Connection, Connector, Link};
use crate::options::RedisOptions;
use crate::script::{Call, is_unknown};

/// Appends that wait for their turn; further ones wait to be taken.
const QUEUE_MAX: usize = 1_024;
/// Appends that share one `WAIT`.
const BATCH_MAX: usize = 256;

/// Connections in a cluster, where a batch is what came for one room: more rooms of one shard would wait for each other on fewer.
const LINES: usize = 8;

#[derive(Debug)]
pub(crate) struct Replicated {
    /// A room always has the same one.
    queues: Vec<mpsc::Sender<Job>>,
}

struct Job {
    key: String,
    call: Call,
    answer: oneshot::Sender<StoreResult<Value>>,
}

struct Writer {
    line: Arc<Line>,
    replicas: u32,
    timeout_ms: u64,
}

impl Replicated {
    pub(crate) async fn start(connector: &Connector, options: &RedisOptions) -> RedisResult<Self> {
        // An answer must come before it is given up.
        let timeout = options.response_timeout / 2;
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        let lines = if options.cluster { LINES } else { 1 };
        let lines = try_join_all((0..lines).map(|_| Line::open(connector))).await?;
        let begin = |line| {
            let (queue, jobs) = mpsc::channel(QUEUE_MAX);
            tokio::spawn(Writer { line, replicas: options.replicas_min, timeout_ms }.run(jobs));
            queue
        };
        Ok(Self { queues: lines.into_iter().map(begin).collect() })
    }

    /// What `append.lua` answers, once enough replicas have it.
    pub(crate) async fn append(&self, key: String, call: Call) -> StoreResult<Value> {
        let (answer, answered) = oneshot::channel();
        let gone = || StoreError::unavailable(STORE, "the store is closed");
        let mut hash = DefaultHasher::new();
        key.hash(&mut hash);
        let queue = &self.queues[hash.finish() as usize % self.queues.len()];
        queue.send(Job { key, call, answer }).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(StoreError::indeterminate(STORE, "the store was closed")))
    }
}

impl Writer {
    /// Ends when the store is dropped.
    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut taken = Vec::new();
        // One batch of each is under way, and these have come since. They wait for nothing but that one: another group's server may be away.
        let mut groups: BTreeMap<String, Vec<Job>> = BTreeMap::new();
        let mut waiting = 0;
        let mut under_way = FuturesUnordered::new();
        loop {
            let ready: Vec<String> = tokio::select! {
                count = jobs.recv_many(&mut taken, BATCH_MAX), if waiting < QUEUE_MAX => {
                    if count == 0 {
                        return;
                    }
                    waiting += count;
                    self.sort(&mut taken, &mut groups)
                }
                Some(group) = under_way.next() => vec![group],
            };
            for group in ready {
                let Some(mut batch) = groups.remove(&group).filter(|batch| !batch.is_empty()) else {
                    continue;
                };
                let later = batch.split_off(batch.len().min(BATCH_MAX));
                waiting -= batch.len();
                groups.insert(group.clone(), later);
                under_way.push(async {
                    self.write(batch).await;
                    group
                });
            }
        }
    }

    /// Puts each where it belongs. Answers the groups of which nothing is under way.
    fn sort(&self, taken: &mut Vec<Job>, groups: &mut BTreeMap<String, Vec<Job>>) -> Vec<String> {
        // In a cluster only what has one key is sure to be on one connection: if one key of a pipeline has moved, all of it is sent elsewhere.
        let is_cluster = matches!(self.line.link().connection, Connection::Cluster(_));
        let mut idle = Vec::new();
        for job in taken.drain(..) {
            let group = if is_cluster { job.key.clone() } else { String::new() };
            let batch = groups.entry(group).or_insert_with_key(|group| {
                idle.push(group.clone());
                Vec::new()
            });
            batch.push(job);
        }
        idle
    }

    async fn write(&self, jobs: Vec<Job>) {
        let link = self.line.link();
        let outcome = match self.send(&link, &jobs, Call::by_hash).await {
            // The server is another one, or was restarted. The first call tells it the script for those behind.
            Ok(values) if values.iter().any(is_unknown_script) => {
                self.send(&link, &jobs, Call::by_text).await
            }
            outcome => outcome,
        };
        let mut values = match outcome {
            Ok(values) => values,
            Err(error) => {
                let failed = jobs.into_iter().map(|job| (job.answer, Err(of_write(error.clone()))));
                return failed.for_each(|(answer, failure)| drop(answer.send(failure)));
            }
        };
        let replicas = values.pop().and_then(|count| u32::from_redis_value(count).ok()).unwrap_or(0);
        for (job, value) in jobs.into_iter().zip(values) {
            let answer = match value.extract_error() {
                Err(error) => Err(of_write(error)),
                Ok(_) if replicas < self.replicas => {
                    let what = format!("{replicas} of {} replicas have it so far", self.replicas);
                    Err(StoreError::indeterminate(STORE, what))
                }
                Ok(value) => Ok(value),
            };
            // Whoever has gone need not know.
            drop(job.answer.send(answer));
        }
    }

    /// The answer to each, and last how many replicas have all of it.
    async fn send(&self, link: &Link, jobs: &[Job], first: fn(&Call) -> Cmd) -> RedisResult<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(jobs.len() + 1);
        let mut form = first;
        for job in jobs {
            pipeline.add_command(form(&job.call));
            form = Call::by_hash;
        }
        let mut wait = cmd("WAIT");
        wait.arg(self.replicas).arg(self.timeout_ms);
        pipeline.add_command(wait);
        let count = jobs.len() + 1;
        let mut link = link.clone();
        match &mut link.connection {
            Connection::One(_) => link.req_packed_commands(&pipeline, 0, count).await,
            Connection::Cluster(connection) => {
                let key = jobs.first().map_or("", |job| job.key.as_str());
                let route = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                connection.route_pipeline(pipeline, 0, count, route).await
            }
        }
    }
}

fn is_unknown_script(value: &Value) -> bool {
    value.clone().extract_error().is_err_and(|error| is_unknown(&error))
}
