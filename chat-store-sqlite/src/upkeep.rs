//! [`Upkeep`]: what the writer does between commits, one small step at a time, so that posts wait for a step at most.

use std::time::Duration;

use chat_core::Timestamp;
use sqlx::SqliteConnection;
use tokio::time::Instant;

use crate::error::{Failed, Stage};
use crate::file::DatabaseFile;
use crate::forget;
use crate::open::LOG_BYTES_MAX;
use crate::options::SqliteOptions;
use crate::retention::Sweep;
use crate::rooms::Rooms;

/// How long something that could not be done now is put off; and how often upkeep has a turn while there are commits.
const SHORTLY: Duration = Duration::from_secs(1);

/// What is to be done, and when next.
#[derive(Debug)]
pub(crate) struct Upkeep {
    due: Instant,
    sweep: Sweep,
    sweep_at: Instant,
    /// There may be trimmed entries to erase.
    erase: bool,
    /// Where erasing goes on, behind rooms that it failed in: [`forget::erase_step`].
    passed: i64,
    /// There may be keys to forget.
    purge: bool,
    /// The last step erased something.
    erased: bool,
    /// When to empty the write-ahead log, if it may hold content that has left the file.
    scrub_at: Option<Instant>,
}

impl Upkeep {
    /// An earlier run may have left all sorts of things undone.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            due: now,
            sweep: Sweep::default(),
            sweep_at: now,
            erase: true,
            passed: 0,
            erased: false,
            purge: true,
            scrub_at: None,
        }
    }

    /// When the next step is to be taken.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// There was a commit: the log has grown.
    pub(crate) fn soon(&mut self) {
        self.due = self.due.min(Instant::now() + SHORTLY);
    }

    /// Entries were trimmed.
    pub(crate) fn erase_now(&mut self) {
        self.erase = true;
        self.due = Instant::now();
    }

    /// An entry was redacted.
    pub(crate) fn scrub_now(&mut self) {
        let now = Instant::now();
        (self.scrub_at, self.due) = (Some(now), now);
    }

    /// A step failed.
    pub(crate) fn postpone(&mut self) {
        self.due = Instant::now() + SHORTLY;
    }

    /// The one thing that is most urgent.
    pub(crate) async fn step(
        &mut self,
        connection: &mut SqliteConnection,
        rooms: &mut Rooms,
        file: &DatabaseFile,
        options: &SqliteOptions,
    ) -> Result<(), Failed> {
        let keys_since = Timestamp::now().minus(options.keep_keys_for);
        let now = Instant::now();
        // The log is emptied by itself in quiet moments; under many reads there may be none.
        if self.scrub_at.is_none() && 2 * LOG_BYTES_MAX < file.log_bytes() {
            self.scrub_at = Some(now);
        }
        if self.scrub_at.is_some_and(|at| at <= now) {
            let done = forget::scrub(connection, options).await.map_err(Failed::at(Stage::BeforeCommit))?;
            self.scrub_at = (!done).then(|| Instant::now() + SHORTLY);
        } else if self.erase {
            let (before, outcome) =
                (self.passed, forget::erase_step(connection, keys_since, &mut self.passed).await);
            let more = outcome.map_err(Failed::at(Stage::Commit)).inspect_err(|failed| {
                // Behind a room that is damaged the others have their turn; what fails for all is tried again as it is.
                if !failed.is_about_one_row() {
                    self.passed = before;
                }
            })?;
            if self.erased && !more {
                // Once at the end is enough.
                self.scrub_at = Some(now);
            }
            (self.erase, self.erased) = (more, more);
        } else if self.purge {
            let outcome = forget::purge_step(connection, keys_since).await;
            self.purge = outcome.map_err(Failed::at(Stage::Commit)).inspect_err(|failed| {
                // What is damaged must not keep rooms from being trimmed.
                self.purge = !failed.is_about_one_row();
            })?;
        } else if self.sweep_at <= Instant::now() {
            let swept = self.sweep.step(connection, rooms, options).await?;
            self.erase |= swept.trimmed;
            if !swept.more {
                self.sweep_at = Instant::now() + options.retention_interval;
                // Also what could not be done before.
                (self.erase, self.purge) = (true, true);
            }
        }
        self.due = if self.erase || self.purge {
            now
        } else {
            self.sweep_at.min(self.scrub_at.unwrap_or(self.sweep_at))
        };
        Ok(())
    }
}
