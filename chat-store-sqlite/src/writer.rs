//! [`Writer`]: the one task that changes the database. What waits while a commit is under way shares the next one.
//!
//! What is next is said by `turn.rs`; what is written is the business of `batch.rs`, `delivery.rs`, `forget.rs`, `retention.rs`. Here is what follows: the
//! commit, the answers, and what a failure leaves behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chat_core::{Appended, LocalNews, News, Position, RoomId, StoreError, StoreIdentity, Timestamp};
use sqlx::{SqliteConnection, query_scalar, raw_sql};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::error::{Failed, Problem, STORE, Stage, leaves_connection_usable, refused};
use crate::file::DatabaseFile;
use crate::job::{Advance, Group, Job, Post, Solo};
use crate::options::SqliteOptions;
use crate::rooms::Rooms;
use crate::store::Counters;
use crate::turn::{Turn, Turns};
use crate::upkeep::Upkeep;
use crate::{delivery, forget, open};

/// Owns the file and the connection that writes.
pub(crate) struct Writer {
    file: DatabaseFile,
    /// `None` after an error that it did not survive.
    connection: Option<SqliteConnection>,
    identity: StoreIdentity,
    options: SqliteOptions,
    rooms: Rooms,
    pub(crate) upkeep: Upkeep,
    news: LocalNews,
    counters: Arc<Counters>,
    /// What was found last, so that a change is told once.
    in_place: bool,
}

impl Writer {
    pub(crate) fn new(
        file: DatabaseFile,
        connection: SqliteConnection,
        identity: StoreIdentity,
        options: SqliteOptions,
        news: LocalNews,
        counters: Arc<Counters>,
    ) -> Self {
        let upkeep = Upkeep::new(Instant::now());
        let connection = Some(connection);
        Self {
            file,
            connection,
            identity,
            options,
            rooms: Rooms::default(),
            upkeep,
            news,
            counters,
            in_place: true,
        }
    }

    /// Works until it is told to close or no handle of the store is left.
    pub(crate) async fn run(mut self, jobs: mpsc::Receiver<Job>) {
        let mut turns = Turns::new(jobs, &self.options);
        let mut closing = Vec::new();
        while let Some(turn) = turns.next(self.upkeep.due()).await {
            match turn {
                Turn::Group(group) => self.settle(group).await,
                Turn::Solo(Solo::Close { answer }) => {
                    turns.close();
                    closing.push(answer);
                }
                Turn::Solo(solo) => self.settle_solo(solo).await,
                Turn::Upkeep => {}
            }
            self.keep_up().await;
        }
        self.finish().await;
        for answer in closing {
            answer.send(Ok(())).ok();
        }
    }

    /// Writes a group and answers everyone in it.
    async fn settle(&mut self, group: Group) {
        let failed = match self.write(&group).await {
            Ok((appended, advanced)) => {
                for ((post, answer), appended) in group.appends.into_iter().zip(appended) {
                    self.tell(&post.room, &appended);
                    answer.send(Ok(appended)).ok();
                }
                for ((_, answer), reached) in group.advances.into_iter().zip(advanced) {
                    answer.send(Ok(reached)).ok();
                }
                return;
            }
            Err(failed) => failed,
        };
        self.recover(&failed).await;
        if failed.is_about_one_row() && 1 < group.len() {
            // One row must not take the others with it. By halves, because what is damaged stays so: each group that it is in costs some
            // commits more, and not one for each write.
            for half in group.halves() {
                Box::pin(self.settle(half)).await;
            }
            return;
        }
        let error = StoreError::from(failed);
        for (_, answer) in group.appends {
            answer.send(Err(error.clone())).ok();
        }
        for (_, answer) in group.advances {
            answer.send(Err(error.clone())).ok();
        }
    }

    /// Before the answer, so that news comes in the order of the log.
    fn tell(&self, room: &RoomId, appended: &Appended) {
        if let Appended::Fresh { entry, .. } = appended {
            self.news.announce(&News::Appended { room: room.clone(), entry: Arc::new(entry.clone()) });
        }
    }

    /// One commit, or none if there is nothing new.
    async fn write(&mut self, group: &Group) -> Result<(Vec<Appended>, Vec<Position>), Failed> {
        let posts: Vec<&Post> = group.appends.iter().map(|(post, _)| post).collect();
        let advances: Vec<&Advance> = group.advances.iter().map(|(advance, _)| advance).collect();
        let (connection, rooms) = self.ready().await?;
        let written = write(connection, rooms, &posts, &advances).await?;
        if written.commits {
            self.committed()?;
            let fresh = written.appended.iter().filter(|appended| matches!(appended, Appended::Fresh { .. }));
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
            self.counters.entries.fetch_add(fresh.count() as u64, Ordering::Relaxed);
        }
        Ok((written.appended, written.advanced))
    }

    /// A step of upkeep, if it is due.
    pub(crate) async fn keep_up(&mut self) {
        if Instant::now() < self.upkeep.due() {
            return;
        }
        let outcome = match self.ready().await {
            Ok(_) => {
                let connection = self.connection.as_mut().expect("it is ready");
                self.upkeep.step(connection, &mut self.rooms, &self.file, &self.options).await
            }
            Err(failed) => Err(failed),
        };
        if let Err(failed) = outcome {
            self.recover(&failed).await;
            self.upkeep.postpone();
            tracing::debug!(error = %StoreError::from(failed), "upkeep of the database failed and is tried again");
        }
    }

    /// The connection and what is known of rooms; opens a connection if the last one was lost.
    pub(crate) async fn ready(&mut self) -> Result<(&mut SqliteConnection, &mut Rooms), Failed> {
        let in_place = self.file.is_in_place();
        if in_place != self.in_place {
            self.in_place = in_place;
            if in_place {
                tracing::info!(path = %self.file.path().display(), "the database is back in its place");
            } else {
                tracing::error!(path = %self.file.path().display(), "refusing to write: {}", Problem::REPLACED);
            }
        }
        if !in_place {
            return Err(refused(Problem::REPLACED).into());
        }
        if self.connection.is_none() {
            self.connection = Some(self.reopen().await?);
            self.file.watch_log();
        }
        let connection = self.connection.as_mut().expect("it was just opened");
        Ok((connection, &mut self.rooms))
    }

    async fn reopen(&mut self) -> Result<SqliteConnection, Failed> {
        let failed = Failed::at(Stage::BeforeCommit);
        let mut connection = open::writer(self.file.path(), &self.options).await.map_err(failed)?;
        let identity: Result<Vec<u8>, _> =
            query_scalar("SELECT identity FROM store").fetch_one(&mut connection).await;
        match identity {
            Ok(identity) if identity == self.identity.0 => Ok(connection),
            Ok(_) => {
                open::close(connection).await;
                Err(refused(Problem::REPLACED).into())
            }
            Err(source) => {
                open::close(connection).await;
                Err(Failed::Statement { stage: Stage::BeforeCommit, source })
            }
        }
    }

    /// To be called after each commit and before its answer: what went into a file that nobody will find again was not stored.
    pub(crate) fn committed(&mut self) -> Result<(), Failed> {
        self.upkeep.soon();
        if self.file.is_in_place() {
            Ok(())
        } else {
            Err(StoreError::indeterminate(STORE, Problem::REPLACED).into())
        }
    }

    /// After a failure: nothing of it stays, neither in a transaction nor in what is known of rooms.
    pub(crate) async fn recover(&mut self, failed: &Failed) {
        self.rooms.clear();
        let Some(mut connection) = self.connection.take() else { return };
        // Fails if no transaction is open, which is as well.
        raw_sql("ROLLBACK").execute(&mut connection).await.ok();
        let usable = match failed {
            Failed::Statement { source, .. } => leaves_connection_usable(source),
            Failed::Store(_) => true,
        };
        if usable {
            self.connection = Some(connection);
        } else {
            self.file.unwatch_log();
            open::close(connection).await;
        }
    }

    async fn finish(mut self) {
        if let Some(mut connection) = self.connection.take() {
            if let Err(error) = forget::scrub(&mut connection, &self.options).await {
                // The next one to open the file finds the log and goes on from there.
                tracing::debug!(%error, "the write-ahead log was not emptied");
            }
            open::close(connection).await;
        }
    }
}

/// What a group has come to.
struct Written {
    appended: Vec<Appended>,
    advanced: Vec<Position>,
    /// Whether anything was stored.
    commits: bool,
}

/// All of it or nothing. What takes one statement is committed by it, without a transaction around it: with one client, that is twice as fast.
async fn write(
    connection: &mut SqliteConnection,
    rooms: &mut Rooms,
    posts: &[&Post],
    advances: &[&Advance],
) -> Result<Written, Failed> {
    rooms.load(connection, posts.iter().map(|post| &post.room)).await?;
    let mut batch = Batch::new(posts, rooms, Timestamp::now());
    let progress = delivery::look_up(connection, advances).await?;
    let statements = usize::from(!posts.is_empty()) + usize::from(progress.is_news());
    let joined = 1 < statements || batch.has_new_rooms();
    let stage = if joined { Stage::BeforeCommit } else { Stage::Commit };
    if joined {
        raw_sql("BEGIN IMMEDIATE")
            .execute(&mut *connection)
            .await
            .map_err(Failed::at(Stage::BeforeCommit))?;
    }
    let mut commits = progress.is_news();
    if !posts.is_empty() {
        commits |= batch.store(connection, stage).await?;
    }
    progress.store(connection).await.map_err(Failed::at(stage))?;
    if joined {
        raw_sql("COMMIT").execute(&mut *connection).await.map_err(Failed::at(Stage::Commit))?;
    }
    Ok(Written { appended: batch.finish(rooms), advanced: progress.reached, commits })
}
