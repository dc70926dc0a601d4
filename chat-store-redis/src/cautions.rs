//! What the settings of the server mean for the promises, in plain words. The judging is pure.

use std::collections::BTreeMap;
use std::fmt;

use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{Cmd, FromRedisValue, Value, cmd};

use crate::link::Connection;
use crate::store::RedisStore;

/// A setting of Redis under which a promise does not hold, or nobody can tell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Caution {
    /// Nothing is written to a disk.
    NotPersistent,
    /// What was acknowledged within the last second or so may be lost.
    LateToDisk,
    /// Redis throws away keys when its memory is full.
    Evicts(String),
    /// Redis has no bound for its memory, so the machine's is the bound.
    NoMemoryBound,
    /// The settings may not be read.
    Unknown,
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPersistent => f.write_str(
                "Redis keeps nothing on its disk: when it restarts all messages are gone (clients are told). Set appendonly yes and appendfsync always",
            ),
            Self::LateToDisk => f.write_str(
                "Redis writes to its disk after it has answered: a crash may take the messages of the last second (clients are told). Set appendonly yes and appendfsync always to keep each one",
            ),
            Self::Evicts(policy) => write!(
                f,
                "Redis throws rooms away when its memory is full (maxmemory-policy {policy}): set it to noeviction, so that posts fail instead"
            ),
            Self::NoMemoryBound => f.write_str(
                "Redis has no memory limit: set maxmemory below what the machine has, so that posts fail before Redis is killed",
            ),
            Self::Unknown => f.write_str(
                "the settings of Redis cannot be read, so what it keeps in a crash is not known: see appendonly, appendfsync and maxmemory-policy there",
            ),
        }
    }
}

/// The settings that matter here.
const ASKED: [&str; 5] = ["appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy"];

impl RedisStore {
    /// Looks at the settings of the server, or of every primary of the cluster, and answers what to know about them, each thing once.
    pub async fn cautions(&self) -> Vec<Caution> {
        let mut ask = cmd("CONFIG");
        ask.arg("GET").arg(&ASKED);
        let answers = match self.link().connection {
            Connection::One(mut connection) => {
                ask.query_async::<Value>(&mut connection).await.map(|answer| vec![answer])
            }
            Connection::Cluster(connection) => of_every_primary(connection, ask).await,
        };
        let Ok(answers) = answers else { return vec![Caution::Unknown] };
        let mut found: Vec<Caution> = answers
            .iter()
            .flat_map(|answer| match BTreeMap::<String, String>::from_redis_value_ref(answer) {
                Ok(settings) => judge(&settings),
                Err(_) => vec![Caution::Unknown],
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }
}

async fn of_every_primary(
    mut connection: redis::cluster_async::ClusterConnection,
    ask: Cmd,
) -> redis::RedisResult<Vec<Value>> {
    let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    Ok(match connection.route_command(ask, everywhere).await? {
        Value::Map(answers) => answers.into_iter().map(|(_, answer)| answer).collect(),
        Value::Array(answers) => answers,
        other => vec![other],
    })
}

fn judge(settings: &BTreeMap<String, String>) -> Vec<Caution> {
    let setting = |name: &str| settings.get(name).map_or("", String::as_str);
    let mut found = Vec::new();
    match (setting("appendonly"), setting("appendfsync"), setting("save")) {
        ("yes", "always", _) => {}
        ("yes", ..) => found.push(Caution::LateToDisk),
        ("", ..) => found.push(Caution::Unknown),
        (_, _, "") => found.push(Caution::NotPersistent),
        _ => found.push(Caution::LateToDisk),
    }
    match setting("maxmemory-policy") {
        "" | "noeviction" => {}
        policy => found.push(Caution::Evicts(policy.to_owned())),
    }
    if setting("maxmemory") == "0" {
        found.push(Caution::NoMemoryBound);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_that_breaks_a_promise_is_named() {
        let judged = |settings: &[(&str, &str)]| {
            judge(&settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let sound = [
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("save", ""),
            ("maxmemory-policy", "noeviction"),
            ("maxmemory", "1"),
        ];
        assert_eq!(judged(&sound), []);
        for (name, value, caution) in [
            ("appendfsync", "everysec", Caution::LateToDisk),
            ("appendonly", "no", Caution::NotPersistent),
            ("maxmemory-policy", "allkeys-lru", Caution::Evicts("allkeys-lru".to_owned())),
            ("maxmemory", "0", Caution::NoMemoryBound),
        ] {
            let settings = sound.map(|(known, sound)| (known, if known == name { value } else { sound }));
            assert_eq!(judged(&settings), [caution]);
        }
        assert_eq!(judged(&[("appendonly", "no"), ("save", "3600 1")]), [Caution::LateToDisk]);
        assert_eq!(judged(&[]), [Caution::Unknown]);
    }
}
