//! The servers that are measured, and how each is started.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::clock;
use crate::load::Dialect;
use crate::process;

/// Several, since a pair of addresses has only so many ports for connections between them.
const ADDRESSES: u8 = 8;
const START_SECONDS: f64 = 20.0;
const STOP_SECONDS: f64 = 10.0;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) dialect: Dialect,
    /// Whether an acknowledged post survives a power cut.
    pub(crate) durable: bool,
    /// Whether whoever comes back gets what was missed.
    pub(crate) resumes: bool,
    /// Whether everybody is in one room, whatever they ask for.
    pub(crate) one_room: bool,
    program: Program,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Ours(Store),
    Peer(&'static str, &'static [&'static str], Data),
    Node(&'static str, &'static [&'static str], Data),
    Bun(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Memory,
    Sqlite,
    /// With so many of our nodes.
    Redis(usize),
}

/// Whether a peer is given a file to keep messages in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    None,
    File,
}

const FULL: Dialect = Dialect::Full { recovery: true };
const FULL_WITHOUT_RECOVERY: Dialect = Dialect::Full { recovery: false };

pub(crate) const BARE_SQLITE: &str = "bare-sqlite";

/// All that there are, in the order in which they take their turns.
pub(crate) const SERVERS: &[Server] = &[
    ours("ours-memory", "chat-server, messages in memory", FULL, Store::Memory),
    ours("ours-memory-bare", "the same, clients without recovery", FULL_WITHOUT_RECOVERY, Store::Memory),
    ours("ours-sqlite", "chat-server, SQLite with synchronous=FULL", FULL, Store::Sqlite),
    ours("ours-redis", "chat-server, one node, Redis with appendfsync always", FULL, Store::Redis(1)),
    ours("ours-redis-2", "the same, two nodes", FULL, Store::Redis(2)),
    Server {
        resumes: true,
        ..peer(
            "bare-singly",
            "writes the same bytes, each at once",
            FULL,
            "bare",
            &["--frame", "ours", "--mode", "singly", "--history", "1000"],
        )
    },
    Server {
        resumes: true,
        ..peer(
            "bare-coalesced",
            "writes the same bytes, as many as there are",
            FULL,
            "bare",
            &["--frame", "ours", "--mode", "coalesced", "--history", "1000"],
        )
    },
    // Its program measures by itself: see scenarios/durable.rs.
    Server {
        durable: true,
        ..peer(BARE_SQLITE, "batched inserts into SQLite with synchronous=FULL", FULL, "bare-sqlite", &[])
    },
    Server {
        program: Program::Bun("bun.js"),
        ..node("bun", "Bun's own WebSocket server and topics", "", &[], Data::None)
    },
    peer("socketioxide", "socketioxide, no database", Dialect::Tutorial, "socketioxide", &[]),
    Server {
        durable: true,
        resumes: true,
        program: Program::Peer("socketioxide", &[], Data::File),
        ..peer(
            "socketioxide-sqlite",
            "socketioxide and SQLite with synchronous=FULL",
            Dialect::Tutorial,
            "",
            &[],
        )
    },
    node("node", "socket.io on Node, no database", "plain.js", &[], Data::None),
    node(
        "node-recovery",
        "the same, with connection state recovery",
        "plain.js",
        &["--recovery"],
        Data::None,
    ),
    Server {
        durable: true,
        resumes: true,
        one_room: true,
        ..node("tutorial", "the tutorial's server on Node, as it is", "tutorial.js", &[], Data::File)
    },
    Server {
        durable: true,
        resumes: true,
        one_room: true,
        ..node("tutorial-wal", "the same, with SQLite's WAL", "tutorial.js", &["--wal"], Data::File)
    },
];

const fn ours(name: &'static str, what: &'static str, dialect: Dialect, store: Store) -> Server {
    let durable = !matches!(store, Store::Memory);
    Server { name, what, dialect, durable, resumes: true, one_room: false, program: Program::Ours(store) }
}

const fn peer(
    name: &'static str,
    what: &'static str,
    dialect: Dialect,
    binary: &'static str,
    arguments: &'static [&'static str],
) -> Server {
    let program = Program::Peer(binary, arguments, Data::None);
    Server { name, what, dialect, durable: false, resumes: false, one_room: false, program }
}

const fn node(
    name: &'static str,
    what: &'static str,
    script: &'static str,
    arguments: &'static [&'static str],
    data: Data,
) -> Server {
    let program = Program::Node(script, arguments, data);
    Server {
        name,
        what,
        dialect: Dialect::Tutorial,
        durable: false,
        resumes: false,
        one_room: false,
        program,
    }
}

impl Server {
    pub(crate) fn is_one_of(&self, names: &[&str]) -> bool {
        names.contains(&self.name)
    }

    /// Whether nobody can connect to it, since it does its work by itself.
    pub(crate) fn measures_itself(&self) -> bool {
        self.name == BARE_SQLITE
    }

    fn nodes(&self) -> usize {
        match self.program {
            Program::Ours(Store::Redis(nodes)) => nodes,
            _ => 1,
        }
    }

    /// The room that is the `nth`.
    pub(crate) fn room(&self, nth: usize) -> String {
        format!("r{nth}")
    }
}

/// Where the programs are, and where they may write.
pub(crate) struct Place {
    pub(crate) ours: PathBuf,
    /// The folder of the peers' programs.
    pub(crate) peers: PathBuf,
    pub(crate) node: PathBuf,
    pub(crate) data: PathBuf,
    /// The core that servers run on; none: any.
    pub(crate) core: Option<usize>,
}

impl Place {
    fn bun(&self) -> PathBuf {
        self.node.join("node_modules/.bin/bun")
    }

    /// The server's own binary; none where it is a script.
    pub(crate) fn binary(&self, server: &Server) -> Option<PathBuf> {
        match server.program {
            Program::Ours(_) => Some(self.ours.clone()),
            Program::Peer(binary, ..) => Some(self.peers.join(binary)),
            Program::Node(..) | Program::Bun(_) => None,
        }
    }

    /// What a program says that measures by itself, with a new file to do that in.
    pub(crate) fn output_alone(&self, server: &Server, arguments: &[&str]) -> Result<Vec<u8>> {
        self.empty()?;
        let mut command = Command::new(self.binary(server).context("it has no binary")?);
        command.args(arguments).arg("--db").arg(self.data.join("messages.db"));
        let output = self.on_core(|| command.output())??;
        ensure!(output.status.success(), "it ended with {}", output.status);
        Ok(output.stdout)
    }

    /// A new thread has the cores of the one that starts it, and so has a new process; whoever calls this stays on its own.
    fn on_core<T: Send>(&self, start: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let started = scope.spawn(|| {
                self.core.map_or(Ok(()), process::pin)?;
                Ok(start())
            });
            started.join().expect("starting a process does not panic")
        })
    }

    fn empty(&self) -> Result<()> {
        if self.data.exists() {
            fs::remove_dir_all(&self.data)?;
        }
        Ok(fs::create_dir_all(&self.data)?)
    }

    /// Whether the program is there.
    pub(crate) fn has(&self, server: &Server) -> bool {
        match server.program {
            Program::Ours(Store::Redis(_)) => {
                self.ours.exists() && Command::new("redis-server").arg("--version").output().is_ok()
            }
            Program::Ours(_) => self.ours.exists(),
            Program::Peer(binary, ..) => self.peers.join(binary).exists(),
            Program::Bun(_) => self.bun().exists(),
            Program::Node(script, ..) => {
                self.node.join(script).exists() && self.node.join("node_modules").exists()
            }
        }
    }
}

/// A server that runs, with nothing stored at first. Ends with the value.
pub(crate) struct Running {
    nodes: Vec<(Child, u16)>,
    /// Redis.
    store: Option<Child>,
    /// From the start of the (first) process until it could be connected to.
    pub(crate) start_seconds: f64,
}

impl Running {
    pub(crate) fn start(server: &Server, place: &Place) -> Result<Self> {
        place.empty()?;
        let mut running = Self { nodes: Vec::new(), store: None, start_seconds: 0.0 };
        let mut redis = None;
        if let Program::Ours(Store::Redis(_)) = server.program {
            let port = free_port()?;
            let mut command = Command::new("redis-server");
            command.args([
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--save",
                "",
                "--bind",
                "127.0.0.1",
            ]);
            command.args(["--port", &port.to_string()]).arg("--dir").arg(&place.data);
            running.store = Some(spawn(command, place, "redis")?);
            redis = Some(port);
            let child = running.store.as_mut().context("just started")?;
            wait_until_listening(child, port, &place.data.join("redis.log"))?;
        }
        for _ in 0..server.nodes() {
            let port = free_port()?;
            let begun = clock::now();
            let child = spawn(command(server, place, port, redis), place, server.name)?;
            running.nodes.push((child, port));
            let (child, _) = running.nodes.last_mut().context("just started")?;
            wait_until_listening(child, port, &place.data.join(format!("{}.log", server.name)))?;
            if running.nodes.len() == 1 {
                running.start_seconds = clock::seconds(clock::now() - begun);
            }
        }
        Ok(running)
    }

    /// Where to connect, in turn.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let hosts = (1..=ADDRESSES).map(|host| Ipv4Addr::new(127, 0, 0, host));
        hosts
            .flat_map(|host| self.nodes.iter().map(move |&(_, port)| SocketAddr::from((host, port))))
            .collect()
    }

    pub(crate) fn processor_seconds(&self) -> Result<f64> {
        self.nodes.iter().map(|(child, _)| process::processor_seconds(child.id())).sum()
    }

    /// What the store's own process has used.
    pub(crate) fn store_seconds(&self) -> Result<f64> {
        self.store.as_ref().map_or(Ok(0.0), |child| process::processor_seconds(child.id()))
    }

    /// Of all nodes, once it has stopped moving.
    pub(crate) fn settled_bytes(&self) -> Result<u64> {
        self.nodes.iter().map(|(child, _)| process::settled_bytes(child.id())).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let nodes = self.nodes.iter_mut().map(|(child, _)| child);
        for child in nodes.chain(&mut self.store) {
            // What does not end in time, or at all, is killed; what cannot be killed has ended.
            let asked = clock::now();
            let mut ended = process::terminate(child.id()).is_err();
            while !ended && clock::seconds(clock::now() - asked) < STOP_SECONDS {
                ended = matches!(child.try_wait(), Ok(Some(_)));
                thread::sleep(Duration::from_millis(10));
            }
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn command(server: &Server, place: &Place, port: u16, redis: Option<u16>) -> Command {
    let file = place.data.join("messages.db");
    let (mut command, arguments, data) = match server.program {
        Program::Ours(store) => {
            let store = match (store, redis) {
                (Store::Memory, _) => "memory:".to_owned(),
                (Store::Sqlite, _) => format!("sqlite:{}", file.display()),
                (Store::Redis(_), port) => format!("redis://127.0.0.1:{}", port.unwrap_or_default()),
            };
            let mut command = Command::new(&place.ours);
            command.args([
                "--store",
                &store,
                "--requests-per-second",
                "0",
                "--user-connections",
                "0",
                "--log",
                "warn",
            ]);
            (command, &[][..], Data::None)
        }
        Program::Peer(binary, arguments, data) => (Command::new(place.peers.join(binary)), arguments, data),
        Program::Node(script, arguments, data) => {
            let mut command = Command::new("node");
            command.env("NODE_ENV", "production").arg(place.node.join(script));
            (command, arguments, data)
        }
        Program::Bun(script) => {
            let mut command = Command::new(place.bun());
            command.arg(place.node.join(script));
            (command, &[][..], Data::None)
        }
    };
    command.args(arguments).args(["--listen", &format!("0.0.0.0:{port}")]);
    if data == Data::File {
        command.arg("--db").arg(file);
    }
    command
}

fn spawn(mut command: Command, place: &Place, name: &str) -> Result<Child> {
    let log = File::create(place.data.join(format!("{name}.log")))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    place.on_core(|| command.spawn())?.with_context(|| format!("{name} cannot be started"))
}

fn wait_until_listening(child: &mut Child, port: u16, log: &Path) -> Result<()> {
    let begun = clock::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("it has ended at once with {status}: {}", fs::read_to_string(log)?);
        }
        if START_SECONDS < clock::seconds(clock::now() - begun) {
            bail!("it does not listen after {START_SECONDS} s: {}", fs::read_to_string(log)?);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port())
}
