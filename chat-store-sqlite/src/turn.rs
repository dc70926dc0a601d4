//! [`Turns`]: what the writer does next: which jobs share a commit, what goes alone, and when there is time for upkeep.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::{Instant, sleep_until};

use crate::job::{Advance, Group, Job, Post, Solo};
use crate::options::SqliteOptions;

/// What there is to do next.
pub(crate) enum Turn {
    Group(Group),
    Solo(Solo),
    Upkeep,
}

/// The queue of jobs, in the order in which they were asked for.
pub(crate) struct Turns {
    jobs: mpsc::Receiver<Job>,
    /// Ended the group before it, and is next.
    held: Option<Solo>,
    batch_rows_max: usize,
    batch_bytes_max: usize,
}

impl Turns {
    pub(crate) fn new(jobs: mpsc::Receiver<Job>, options: &SqliteOptions) -> Self {
        let (batch_rows_max, batch_bytes_max) = (options.batch_rows_max, options.batch_bytes_max);
        Self { jobs, held: None, batch_rows_max, batch_bytes_max }
    }

    /// What was queued by now still has its turn; what comes later is refused.
    pub(crate) fn close(&mut self) {
        self.jobs.close();
    }

    /// Waits for jobs, or until `upkeep_due`. `None` once it is closed, or no handle of the store is left, and all jobs had their turn.
    pub(crate) async fn next(&mut self, upkeep_due: Instant) -> Option<Turn> {
        if let Some(solo) = self.held.take() {
            return Some(Turn::Solo(solo));
        }
        let first = if upkeep_due <= Instant::now() && !self.jobs.is_closed() {
            match self.jobs.try_recv() {
                Ok(job) => job,
                Err(TryRecvError::Empty) => return Some(Turn::Upkeep),
                Err(TryRecvError::Disconnected) => return None,
            }
        } else {
            tokio::select! {
                biased;
                job = self.jobs.recv() => job?,
                () = sleep_until(upkeep_due) => return Some(Turn::Upkeep),
            }
        };
        // Those who were just answered may have more to ask for: with them, groups are twice as large under load.
        tokio::task::yield_now().await;
        Some(self.gather(first))
    }

    /// `first`, with the jobs behind it that can share its commit.
    fn gather(&mut self, first: Job) -> Turn {
        let (mut group, mut bytes) = (Group::default(), 0);
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Job::Append { room, draft, answer } => {
                    bytes += draft.body.bytes();
                    group.appends.push((Post { room, draft }, answer));
                }
                Job::Advance { reader, upto, answer } => {
                    group.advances.push((Advance { reader, upto }, answer))
                }
                Job::Solo(solo) if group.len() == 0 => return Turn::Solo(solo),
                Job::Solo(solo) => {
                    self.held = Some(solo);
                    break;
                }
            }
            if group.len() < self.batch_rows_max && bytes < self.batch_bytes_max {
                next = self.jobs.try_recv().ok();
            }
        }
        Turn::Group(group)
    }
}
