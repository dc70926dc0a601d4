//! Real `redis-server` processes, each with a folder of its own, ended with the test.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod proxy;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use proxy::Proxy;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// Kept through a crash of the server, entry by entry.
pub(crate) const DURABLE: [&str; 6] = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];

const PATIENCE: Duration = Duration::from_secs(20);

/// One server. Dropping it kills it.
pub(crate) struct Server {
    pub(crate) port: u16,
    folder: TempDir,
    options: Vec<String>,
    process: Child,
}

impl Server {
    /// Keeps nothing on the disk.
    pub(crate) async fn start() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "no"]).await
    }

    pub(crate) async fn start_with(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options).await
    }

    async fn start_in(folder: TempDir, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        loop {
            let port = free_port();
            let mut process = spawn(port, &folder, &options);
            if answers(port, &mut process).await {
                return Self { port, folder, options, process };
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        // By itself it gives up after half a second, and a busy machine's disk may take longer.
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
    }

    /// As a power cut would, but for what the operating system still writes.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// On the same port, with what it has kept.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.port, &self.folder, &self.options);
        assert!(answers(self.port, &mut self.process).await, "the port was taken meanwhile");
    }

    /// Its process stands still, or goes on.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.id().expect("it runs").to_string();
        let done = std::process::Command::new("kill").args([format!("-{signal}"), id]).status().unwrap();
        assert!(done.success());
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

/// A primary with two replicas, and three sentinels that know all of them, and by which name they know it.
pub(crate) struct Watched {
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

impl Watched {
    pub(crate) const NAME: &str = "chat-primary";

    pub(crate) async fn start() -> Self {
        let primary = Server::start().await;
        let replicas = [replica_of(&primary).await, replica_of(&primary).await];
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(sentinel_of(&primary, 2, "").await);
        }
        for sentinel in &sentinels {
            let connection = sentinel.connection().await;
            eventually("the sentinels know everybody", async || {
                let mut ask = redis::cmd("SENTINEL");
                ask.arg("MASTER").arg(Self::NAME);
                let about: BTreeMap<String, String> = ask.query_async(&mut connection.clone()).await.unwrap();
                about["num-slaves"] == "2" && about["num-other-sentinels"] == "2"
            })
            .await;
        }
        Self { servers: [primary].into_iter().chain(replicas).collect(), sentinels }
    }
}

/// So many of them must agree that the primary is gone.
pub(crate) async fn sentinel_of(primary: &Server, quorum: u32, more: &str) -> Server {
    let (name, port) = (Watched::NAME, primary.port);
    let config = format!(
        "sentinel monitor {name} 127.0.0.1 {port} {quorum}\nsentinel down-after-milliseconds {name} 1000\n\
         sentinel failover-timeout {name} 5000\n{more}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sentinel.conf");
    // It writes down there what it finds out.
    std::fs::write(&path, config).unwrap();
    Server::start_in(folder, &[path.to_str().unwrap(), "--sentinel"]).await
}

/// In step with `primary` when this returns.
pub(crate) async fn replica_of(primary: &Server) -> Server {
    let port = primary.port.to_string();
    let replica =
        Server::start_with(&["--save", "", "--appendonly", "no", "--replicaof", "127.0.0.1", &port]).await;
    until_in_step(&replica).await;
    let connection = primary.connection().await;
    eventually("the primary counts it", async || {
        let info: String =
            redis::cmd("INFO").arg("replication").query_async(&mut connection.clone()).await.unwrap();
        info.contains("state=online")
    })
    .await;
    replica
}

pub(crate) async fn until_in_step(replica: &Server) {
    let connection = replica.connection().await;
    eventually("the replica is in step", async || {
        let info: String =
            redis::cmd("INFO").arg("replication").query_async(&mut connection.clone()).await.unwrap();
        info.contains("master_link_status:up")
    })
    .await;
}

fn free_port() -> u16 {
    // The cluster's bus has a port 10,000 above.
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

fn spawn(port: u16, folder: &TempDir, options: &[String]) -> Child {
    // Another server that speaks the same, such as Valkey's.
    let program = std::env::var_os("CHAT_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
    Command::new(program)
        // Where there is a file, it comes first.
        .args(options)
        // A replica need not wait for others to come.
        .args([
            "--repl-diskless-sync-delay",
            "0",
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--logfile",
            "log",
            "--dir",
        ])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server is installed, or CHAT_REDIS_SERVER names another one")
}

/// False: it has ended, since somebody else has the port.
async fn answers(port: u16, process: &mut Child) -> bool {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        let answer = match client.get_multiplexed_async_connection().await {
            Ok(mut connection) => redis::cmd("PING").query_async::<()>(&mut connection).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(()) => return true,
            // One that wants a password has answered, too.
            Err(error) if matches!(error.code(), Some("NOAUTH")) => return true,
            Err(_) => {}
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("redis-server does not answer");
}

/// Shards, each of one primary, and a replica if wanted.
pub(crate) struct Cluster {
    pub(crate) primaries: Vec<Server>,
    pub(crate) replicas: Vec<Server>,
}

impl Cluster {
    pub(crate) async fn start(shards: usize) -> Self {
        Self::of(Self::servers(shards).await).await
    }

    /// What clients send to the first shard goes through a proxy.
    pub(crate) async fn start_with_proxy(shards: usize) -> (Self, Proxy) {
        let primaries = Self::servers(shards).await;
        let first = &primaries[0];
        let proxy = Proxy::start(first.port).await;
        let mut announce = redis::cmd("CONFIG");
        announce.arg("SET").arg("cluster-announce-port").arg(proxy.address.port());
        announce.arg("cluster-announce-bus-port").arg(first.port + 10_000);
        announce.query_async::<()>(&mut first.connection().await).await.unwrap();
        (Self::of(primaries).await, proxy)
    }

    async fn servers(shards: usize) -> Vec<Server> {
        let mut primaries = Vec::new();
        for _ in 0..shards {
            primaries.push(Server::start_with(&CLUSTERED).await);
        }
        primaries
    }

    async fn of(primaries: Vec<Server>) -> Self {
        let shards = primaries.len();
        let slots = 16_384 / shards + 1;
        for (index, primary) in primaries.iter().enumerate() {
            let mut connection = primary.connection().await;
            let (from, to) = (index * slots, ((index + 1) * slots).min(16_384) - 1);
            let run = |command: &str| {
                let mut all = redis::cmd("CLUSTER");
                all.arg(command.split(' ').collect::<Vec<_>>());
                all
            };
            for command in [
                format!("SET-CONFIG-EPOCH {}", index + 1),
                format!("ADDSLOTSRANGE {from} {to}"),
                format!("MEET 127.0.0.1 {}", primaries[0].port),
            ] {
                run(&command).query_async::<()>(&mut connection).await.unwrap();
            }
        }
        let cluster = Self { primaries, replicas: Vec::new() };
        for primary in &cluster.primaries {
            until_ready(primary, shards).await;
        }
        cluster
    }

    /// Each primary gets a replica, which is in step with it when this returns.
    pub(crate) async fn with_replicas(mut self) -> Self {
        for primary in &self.primaries {
            let replica = Server::start_with(&CLUSTERED).await;
            let mut connection = replica.connection().await;
            let port = primary.port.to_string();
            redis::cmd("CLUSTER")
                .arg("MEET")
                .arg("127.0.0.1")
                .arg(port)
                .query_async::<()>(&mut connection)
                .await
                .unwrap();
            let id: String =
                redis::cmd("CLUSTER").arg("MYID").query_async(&mut primary.connection().await).await.unwrap();
            eventually("the replica follows", async || {
                redis::cmd("CLUSTER")
                    .arg("REPLICATE")
                    .arg(&id)
                    .query_async::<()>(&mut connection.clone())
                    .await
                    .is_ok()
            })
            .await;
            eventually("the replica is in step", async || {
                let info: String =
                    redis::cmd("INFO").arg("replication").query_async(&mut connection.clone()).await.unwrap();
                info.contains("master_link_status:up")
            })
            .await;
            self.replicas.push(replica);
        }
        // One that does not know its primary's slots is never elected.
        let nodes = self.primaries.len() + self.replicas.len();
        for node in self.primaries.iter().chain(&self.replicas) {
            until_ready(node, nodes).await;
        }
        self
    }

    /// Moves the slot of `key` from the shard that has it to the other one, with what is in it.
    pub(crate) async fn move_slot_of(&self, key: &str) {
        let mut connections = Vec::new();
        let mut ids = Vec::new();
        for primary in &self.primaries {
            let mut connection = primary.connection().await;
            ids.push(redis::cmd("CLUSTER").arg("MYID").query_async::<String>(&mut connection).await.unwrap());
            connections.push(connection);
        }
        let slot: u16 =
            redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).query_async(&mut connections[0]).await.unwrap();
        let is_first =
            redis::cmd("EXISTS").arg(key).query_async::<u64>(&mut connections[0].clone()).await.is_ok();
        let (from, to) = if is_first { (0, 1) } else { (1, 0) };
        for (node, state, id) in [(to, "IMPORTING", &ids[from]), (from, "MIGRATING", &ids[to])] {
            let mut set = redis::cmd("CLUSTER");
            set.arg("SETSLOT").arg(slot).arg(state).arg(id);
            set.query_async::<()>(&mut connections[node]).await.unwrap();
        }
        let mut keys = redis::cmd("CLUSTER");
        keys.arg("GETKEYSINSLOT").arg(slot).arg(1_000);
        let keys: Vec<String> = keys.query_async(&mut connections[from]).await.unwrap();
        let mut migrate = redis::cmd("MIGRATE");
        migrate
            .arg("127.0.0.1")
            .arg(self.primaries[to].port)
            .arg("")
            .arg(0)
            .arg(5_000)
            .arg("KEYS")
            .arg(&keys);
        migrate.query_async::<()>(&mut connections[from]).await.unwrap();
        for node in [to, from] {
            let mut set = redis::cmd("CLUSTER");
            set.arg("SETSLOT").arg(slot).arg("NODE").arg(&ids[to]);
            set.query_async::<()>(&mut connections[node]).await.unwrap();
        }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.primaries.iter().map(Server::url).collect()
    }
}

const CLUSTERED: [&str; 8] =
    ["--save", "", "--appendonly", "no", "--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];

async fn until_ready(server: &Server, nodes: usize) {
    let connection = server.connection().await;
    eventually("the cluster is ready", async || {
        let info: String =
            redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection.clone()).await.unwrap();
        info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{nodes}"))
    })
    .await;
}

pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
