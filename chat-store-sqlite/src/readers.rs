//! [`Readers`]: the connections that read, a bounded number, opened when they are first needed.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use chat_core::StoreResult;
use sqlx::SqliteConnection;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{Problem, leaves_connection_usable, read_failed, refused};
use crate::file::Watched;
use crate::open;
use crate::options::SqliteOptions;

/// Connections that read. In a write-ahead log, they and the writer never wait for each other.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    watched: Watched,
    options: SqliteOptions,
    permits: Semaphore,
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Readers {
    /// `watched` is the database at `path`.
    pub(crate) fn new(path: PathBuf, watched: Watched, options: SqliteOptions) -> Self {
        let permits = Semaphore::new(options.readers as usize);
        Self { path, watched, options, permits, idle: Mutex::default() }
    }

    /// Waits for a connection that is free.
    pub(crate) async fn get(&self) -> StoreResult<Reading<'_>> {
        let permit = self.permits.acquire().await.map_err(|_| refused(Problem::CLOSED))?;
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            // Another file may have taken its place, such as a backup: it would show another past.
            None => {
                let opened = open::reader(&self.path, &self.options).await.map_err(read_failed)?;
                if !self.watched.are_in_place() {
                    open::close(opened).await;
                    return Err(refused(Problem::REPLACED));
                }
                opened
            }
        };
        Ok(Reading { connection: Some(connection), usable: true, readers: self, _permit: permit })
    }

    /// Waits for the reads that are under way; refuses those that come later.
    pub(crate) async fn close(&self) {
        // In turn: whoever asks later waits behind this, and is refused.
        let all = self.permits.acquire_many(self.options.readers).await;
        self.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            open::close(connection).await;
        }
    }

    // A std mutex: never held across an await.
    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().expect("a panic while holding the connections is a bug")
    }
}

/// A connection while it reads. Dropping it in the midst of a read is fine.
pub(crate) struct Reading<'a> {
    /// There until the drop.
    connection: Option<SqliteConnection>,
    usable: bool,
    readers: &'a Readers,
    _permit: SemaphorePermit<'a>,
}

impl Reading<'_> {
    /// The outcome of a read; after some errors the connection is not used again.
    pub(crate) fn outcome<T>(&mut self, outcome: Result<T, sqlx::Error>) -> StoreResult<T> {
        outcome.map_err(|error| {
            self.usable = leaves_connection_usable(&error);
            read_failed(error)
        })
    }
}

impl Deref for Reading<'_> {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("it is taken only on drop")
    }
}

impl DerefMut for Reading<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("it is taken only on drop")
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.usable
            && !self.readers.permits.is_closed()
        {
            self.readers.idle().push(connection);
        }
    }
}
