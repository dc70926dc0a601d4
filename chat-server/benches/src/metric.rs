//! What is measured: names, units, and which way is better.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
}

const fn less(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, better: Better::Less }
}

const fn more(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, better: Better::More }
}

pub(crate) const SERVER_PER_DELIVERY: Metric = less("server CPU per delivery", "µs");
pub(crate) const STORE_PER_DELIVERY: Metric = less("Redis' CPU per delivery", "µs");
pub(crate) const LOAD_PER_DELIVERY: Metric = less("generator's CPU per delivery", "µs");
pub(crate) const DELIVERIES: Metric = more("deliveries", "/s");
pub(crate) const PER_READ: Metric = more("deliveries in a read", "");
pub(crate) const POSTS: Metric = more("posts", "/s");
pub(crate) const SERVER_PER_POST: Metric = less("server CPU per post", "µs");
pub(crate) const STORE_PER_POST: Metric = less("Redis' CPU per post", "µs");
pub(crate) const LOAD_PER_POST: Metric = less("generator's CPU per post", "µs");
pub(crate) const DELIVERY_P50: Metric = less("post to delivery, p50", "ms");
pub(crate) const DELIVERY_P99: Metric = less("post to delivery, p99", "ms");
pub(crate) const DELIVERY_P999: Metric = less("post to delivery, p99.9", "ms");
pub(crate) const DELIVERY_MAX: Metric = less("post to delivery, longest", "ms");
pub(crate) const BESIDE_P99: Metric = less("post to delivery beside it, p99", "ms");
pub(crate) const BESIDE_P50: Metric = less("post to delivery beside it, p50", "ms");
pub(crate) const BESIDE_MAX: Metric = less("post to delivery beside it, longest", "ms");
pub(crate) const ALONE_P99: Metric = less("post to delivery alone, p99", "ms");
pub(crate) const ALONE_P50: Metric = less("post to delivery alone, p50", "ms");
pub(crate) const LOUD_POSTS: Metric = more("posts beside which", "/s");
pub(crate) const HISTORY_POSTS: Metric = more("posts with a long history", "/s");
pub(crate) const EMPTY_POSTS: Metric = more("posts with none", "/s");
pub(crate) const HISTORY_SHARE: Metric = more("with a long history against none", "");
pub(crate) const ANSWER_P50: Metric = less("post to answer, p50", "ms");
pub(crate) const ANSWER_P99: Metric = less("post to answer, p99", "ms");
pub(crate) const CONNECTION_BYTES: Metric = less("resident memory per connection", "bytes");
pub(crate) const STALLED_BYTES: Metric = less("more resident memory per reader that does not read", "bytes");
pub(crate) const CONNECTIONS: Metric = more("connections", "");
pub(crate) const CONNECTS: Metric = more("connects", "/s");
pub(crate) const SERVER_PER_CONNECT: Metric = less("server CPU per connect", "µs");
pub(crate) const RESUMED: Metric = more("messages resumed", "/s");
pub(crate) const SERVER_PER_RESUMED: Metric = less("server CPU per message resumed", "µs");
pub(crate) const LOAD_PER_RESUMED: Metric = less("generator's CPU per message resumed", "µs");
pub(crate) const START: Metric = less("start to listening", "ms");
pub(crate) const RESIDENT_AFTER: Metric = less("resident memory in the end", "MB");
pub(crate) const RESIDENT: Metric = less("resident memory with nobody there", "MB");
pub(crate) const PROGRAM: Metric = less("program, stripped", "MB");

/// By name, as results are stored.
pub(crate) const ALL: &[Metric] = &[
    SERVER_PER_DELIVERY,
    STORE_PER_DELIVERY,
    LOAD_PER_DELIVERY,
    DELIVERIES,
    PER_READ,
    POSTS,
    SERVER_PER_POST,
    STORE_PER_POST,
    LOAD_PER_POST,
    DELIVERY_P50,
    DELIVERY_P99,
    DELIVERY_P999,
    DELIVERY_MAX,
    BESIDE_P99,
    BESIDE_P50,
    BESIDE_MAX,
    ALONE_P99,
    ALONE_P50,
    LOUD_POSTS,
    HISTORY_POSTS,
    EMPTY_POSTS,
    HISTORY_SHARE,
    ANSWER_P50,
    ANSWER_P99,
    CONNECTION_BYTES,
    STALLED_BYTES,
    CONNECTIONS,
    CONNECTS,
    SERVER_PER_CONNECT,
    RESUMED,
    SERVER_PER_RESUMED,
    LOAD_PER_RESUMED,
    START,
    RESIDENT_AFTER,
    RESIDENT,
    PROGRAM,
];
