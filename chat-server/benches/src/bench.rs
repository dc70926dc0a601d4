//! What every scenario works with: a server, a load on it, and what both cost.

use anyhow::{Result, bail};

use crate::load::{Amiss, Connect, Connected};
use crate::loader::Load;
use crate::metric::Metric;
use crate::server::{Place, Running, Server};

/// How large the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// To see that everything works.
    Quick,
    Full,
}

pub(crate) struct Bench {
    pub(crate) place: Place,
    /// The core that load processes run on; none: any.
    pub(crate) load_core: Option<usize>,
    pub(crate) size: Size,
}

/// What one scenario found out about one server in one round.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) values: Vec<(Metric, f64)>,
    pub(crate) amiss: Amiss,
    /// What a reader has to know to understand the values.
    pub(crate) note: Option<String>,
}

impl Outcome {
    /// What came of nothing, such as a cost per message where no message came, is no value.
    pub(crate) fn value(&mut self, metric: Metric, value: f64) {
        if value.is_finite() {
            self.values.push((metric, value));
        }
    }
}

/// A server that runs, and a load process that has nothing to do yet.
pub(crate) struct Pair {
    // Ends first: a server that is told to stop waits for its clients.
    pub(crate) load: Load,
    pub(crate) server: Running,
    kind: Server,
}

/// Processor time, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) server: f64,
    pub(crate) store: f64,
    pub(crate) load: f64,
}

impl Bench {
    pub(crate) fn start(&self, kind: &Server) -> Result<Pair> {
        Ok(Pair { server: Running::start(kind, &self.place)?, load: self.load()?, kind: *kind })
    }

    pub(crate) fn load(&self) -> Result<Load> {
        Load::start(self.load_core)
    }

    /// Either of two, by size.
    pub(crate) fn sized<T>(&self, quick: T, full: T) -> T {
        match self.size {
            Size::Quick => quick,
            Size::Full => full,
        }
    }
}

impl Pair {
    /// What to connect with, to `rooms` rooms of `members`, or as many in one where the server has only that; the first room is the `first`.
    pub(crate) fn connection(&self, first: usize, rooms: usize, members: usize) -> Connect {
        let rooms = match self.kind.one_room {
            true => vec![(self.kind.room(first), rooms * members)],
            false => (first..first + rooms).map(|nth| (self.kind.room(nth), members)).collect(),
        };
        let addresses = self.server.addresses();
        Connect { dialect: self.kind.dialect, addresses, rooms, under_way: 100, remember: false }
    }

    /// Connects, all of them.
    pub(crate) fn connect(&mut self, connect: Connect) -> Result<Connected> {
        let wanted: usize = connect.rooms.iter().map(|(_, members)| members).sum();
        let connected = self.load.connect(connect)?;
        if connected.clients < wanted {
            bail!("{} of {wanted} clients were let in: {:?}", connected.clients, connected.stopped);
        }
        Ok(connected)
    }

    /// Does something, and says what it cost.
    pub(crate) fn cost<T>(&mut self, work: impl FnOnce(&mut Load) -> Result<T>) -> Result<(T, Cost)> {
        let before = self.used()?;
        let done = work(&mut self.load)?;
        let after = self.used()?;
        let cost = Cost {
            server: after.server - before.server,
            store: after.store - before.store,
            load: after.load - before.load,
        };
        Ok((done, cost))
    }

    fn used(&self) -> Result<Cost> {
        Ok(Cost {
            server: self.server.processor_seconds()?,
            store: self.server.store_seconds()?,
            load: self.load.processor_seconds()?,
        })
    }
}
