//! That a file is this store's, and brought to the newest version: `application_id` says whose it is, `user_version` which version.

use std::path::Path;

use chat_core::StoreIdentity;
use sqlx::{AssertSqlSafe, Row, SqliteConnection, query, query_scalar, raw_sql};

use crate::connect_error::ConnectError;

/// Marks a file as this store's, for `file(1)` and for us.
const APPLICATION_ID: i64 = 0x4368_6174;

/// Version n is what the first n of these make.
const MIGRATIONS: [&str; 2] =
    [include_str!("../migrations/0001_rooms.sql"), include_str!("../migrations/0002_redactions.sql")];

/// Refuses a file that is not ours, without changing it.
pub(crate) async fn check(path: &Path, connection: &mut SqliteConnection) -> Result<(), ConnectError> {
    let failed = |error| ConnectError::from_sqlx(path.to_owned(), error);
    let sql = "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema) \
               FROM pragma_application_id AS a, pragma_user_version AS v";
    let row = query(sql).fetch_one(connection).await.map_err(failed)?;
    let [application, version, tables] = [0, 1, 2].map(|column| row.try_get::<i64, _>(column));
    let (application, version) = (application.map_err(failed)?, version.map_err(failed)?);
    let new = application == 0 && version == 0 && tables.map_err(failed)? == 0;
    if !new && application != APPLICATION_ID {
        return Err(ConnectError::Foreign { path: path.to_owned() });
    }
    let found = u32::try_from(version).unwrap_or(u32::MAX);
    let known = MIGRATIONS.len() as u32;
    if known < found {
        return Err(ConnectError::SchemaTooNew { path: path.to_owned(), found, known });
    }
    Ok(())
}

/// Brings a file that was checked to the newest version, all or nothing, and answers its identity. The connection must be dropped after an error.
pub(crate) async fn migrate(
    path: &Path,
    connection: &mut SqliteConnection,
) -> Result<StoreIdentity, sqlx::Error> {
    // Immediate, so that a file that cannot be written is found out now.
    raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let version: i64 = query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    for migration in MIGRATIONS.iter().skip(done) {
        raw_sql(*migration).execute(&mut *connection).await?;
    }
    if done < MIGRATIONS.len() {
        let marks =
            format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}", MIGRATIONS.len());
        raw_sql(AssertSqlSafe(marks)).execute(&mut *connection).await?;
    }
    let identity = rand::random::<[u8; 16]>();
    query("INSERT INTO store (only_row, identity) VALUES (1, ?) ON CONFLICT DO NOTHING")
        .bind(identity.as_slice())
        .execute(&mut *connection)
        .await?;
    let identity: Vec<u8> = query_scalar("SELECT identity FROM store").fetch_one(&mut *connection).await?;
    let identity =
        identity.try_into().map_err(|_| sqlx::Error::Decode("the identity is not 16 bytes".into()))?;
    raw_sql("COMMIT").execute(&mut *connection).await?;
    if 0 < done && done < MIGRATIONS.len() {
        tracing::info!(path = %path.display(), from = done, to = MIGRATIONS.len(), "the database was upgraded");
    }
    Ok(StoreIdentity(identity))
}
