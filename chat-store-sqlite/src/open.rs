//! How a connection to the file is opened: the pragmas of the writer and of readers, each with its reason.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, query_scalar, raw_sql};

use crate::options::{Durability, SqliteOptions};

/// Bytes of a page; SQLite's default, which is what file systems write at once.
const PAGE_BYTES: u64 = 4096;
/// The write-ahead log is copied into the file after so many pages (16 MB): larger than the default, since pages of hot rooms are written again and again.
const CHECKPOINT_PAGES: u32 = 4000;
/// The write-ahead log is cut down to this after it had to grow further.
pub(crate) const LOG_BYTES_MAX: u64 = 64 << 20;

fn base(path: &Path, options: &SqliteOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(options.busy_timeout)
        .foreign_keys(false)
        // Statements hold nothing to be secretive about, but are many.
        .disable_statement_logging()
        // Content must not get into temporary files, where nobody would erase it.
        .pragma("temp_store", "MEMORY")
}

/// A connection that changes nothing by being opened, for a first look.
pub(crate) async fn unchanged(path: &Path, options: &SqliteOptions) -> Result<SqliteConnection, sqlx::Error> {
    base(path, options).create_if_missing(true).connect().await
}

/// Makes the writer of a connection to a file that is ours.
pub(crate) async fn make_writer(
    connection: &mut SqliteConnection,
    options: &SqliteOptions,
) -> Result<(), sqlx::Error> {
    let mode: String = query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await?;
    if mode != "wal" {
        return Err(sqlx::Error::Configuration("write-ahead logging cannot be used here".into()));
    }
    let synchronous = match options.durability {
        Durability::PowerCut => "FULL",
        Durability::ProcessCrash => "NORMAL",
    };
    // `secure_delete`: what is deleted is overwritten. `fullfsync` counts on macOS alone, where fsync does not reach the disk.
    let mut pragmas = format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; \
         PRAGMA secure_delete = ON; PRAGMA cache_size = -65536; \
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA journal_size_limit = {LOG_BYTES_MAX};"
    );
    if let Some(bytes) = options.file_bytes_max {
        pragmas
            .push_str(&format!(" PRAGMA max_page_count = {};", (bytes / PAGE_BYTES).clamp(1, 0xffff_fffe)));
    }
    raw_sql(AssertSqlSafe(pragmas)).execute(connection).await?;
    Ok(())
}

/// The writer's connection to an existing file.
pub(crate) async fn writer(path: &Path, options: &SqliteOptions) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = base(path, options).connect().await?;
    make_writer(&mut connection, options).await?;
    Ok(connection)
}

/// A connection that can only read.
pub(crate) async fn reader(path: &Path, options: &SqliteOptions) -> Result<SqliteConnection, sqlx::Error> {
    // Four megabytes of pages each: the system's cache holds the rest.
    base(path, options)
        .read_only(true)
        .pragma("query_only", "ON")
        .pragma("cache_size", "-4096")
        .connect()
        .await
}

/// Waits until the connection has let go of the file.
pub(crate) async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        // Nothing depends on it: what was committed is in the file or its log.
        tracing::debug!(%error, "a connection to the database was not closed cleanly");
    }
}
