//! [`SqliteStore`]: opening, closing, and what its parts share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_core::{LocalNews, LocalPresence, StoreError, StoreIdentity, StoreResult};
use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use crate::connect_error::ConnectError;
use crate::error::{Problem, STORE, refused};
use crate::file::DatabaseFile;
use crate::job::{Answer, Job, Solo};
use crate::options::SqliteOptions;
use crate::readers::Readers;
use crate::writer::Writer;
use crate::{open, schema};

/// Rooms in a SQLite file; see [the crate](crate). Cloning gives another handle to the same store.
///
/// When the last handle is dropped, what was asked for is still written, in the background, as long as the runtime runs; [`close`](Self::close) waits for it.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: SqliteOptions,
    identity: StoreIdentity,
    jobs: mpsc::Sender<Job>,
    readers: Readers,
    news: LocalNews,
    seats: LocalPresence,
    counters: Arc<Counters>,
}

/// What the writer has done since the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Commits that stored entries or positions; each waited once for the disk.
    pub commits: u64,
    /// Entries that were stored.
    pub entries: u64,
}

/// [`Figures`] while they grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) entries: AtomicU64,
}

impl SqliteStore {
    /// Opens the file at `path` with the defaults of [`SqliteOptions`]; creates it if there is none.
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        SqliteOptions::new(path).connect().await
    }

    /// Finishes every write that was asked for, and every read; empties the write-ahead log into the file; lets go of it. Further calls on any handle
    /// fail as unavailable. When this returns, another process can open the file.
    pub async fn close(&self) {
        self.shared.readers.close().await;
        // The one failure is that it was closed before.
        let _: StoreResult<()> = self.write(|answer| Job::Solo(Solo::Close { answer })).await;
    }

    /// What the writer has done so far.
    pub fn figures(&self) -> Figures {
        let Counters { commits, entries } = &*self.shared.counters;
        Figures { commits: commits.load(Ordering::Relaxed), entries: entries.load(Ordering::Relaxed) }
    }

    pub(crate) async fn open(options: SqliteOptions) -> Result<Self, ConnectError> {
        let mut file = DatabaseFile::own(&options.path, options.lock_timeout).await?;
        let path = file.path().to_owned();
        let failed = |error| ConnectError::from_sqlx(path.clone(), error);
        let mut connection = open::unchanged(&path, &options).await.map_err(failed)?;
        let identity = match prepare(&path, &mut connection, &options).await {
            Ok(identity) => identity,
            Err(error) => {
                open::close(connection).await;
                return Err(error);
            }
        };
        file.watch();
        file.watch_log();
        let readers = Readers::new(path, file.watched(), options.clone());
        let (jobs, queue) = mpsc::channel(options.queue_jobs_max);
        let (news, counters) = (LocalNews::default(), Arc::<Counters>::default());
        let writer = Writer::new(file, connection, identity, options.clone(), news.clone(), counters.clone());
        tokio::spawn(writer.run(queue));
        let seats = LocalPresence::default();
        Ok(Self { shared: Arc::new(Shared { options, identity, jobs, readers, news, seats, counters }) })
    }

    /// Queues a job, waiting for a place, and waits for its answer. Jobs are done in the order in which this was called.
    pub(crate) async fn write<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> StoreResult<T> {
        let (answer, outcome) = oneshot::channel();
        self.shared.jobs.send(job(answer)).await.map_err(|_| refused(Problem::CLOSED))?;
        // The writer answers every job; its task ends early only with the runtime.
        outcome.await.unwrap_or_else(|_| Err(StoreError::indeterminate(STORE, "the writer's task was ended")))
    }

    pub(crate) fn options(&self) -> &SqliteOptions {
        &self.shared.options
    }

    pub(crate) fn known_identity(&self) -> StoreIdentity {
        self.shared.identity
    }

    pub(crate) fn readers(&self) -> &Readers {
        &self.shared.readers
    }

    pub(crate) fn news(&self) -> &LocalNews {
        &self.shared.news
    }

    pub(crate) fn seats(&self) -> &LocalPresence {
        &self.shared.seats
    }
}

/// Refuses what is not ours; makes the writer's connection of the first one.
async fn prepare(
    path: &Path,
    connection: &mut SqliteConnection,
    options: &SqliteOptions,
) -> Result<StoreIdentity, ConnectError> {
    schema::check(path, connection).await?;
    let failed = |error| ConnectError::from_sqlx(path.to_owned(), error);
    open::make_writer(connection, options).await.map_err(failed)?;
    schema::migrate(path, connection).await.map_err(failed)
}
