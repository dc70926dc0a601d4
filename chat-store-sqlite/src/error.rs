//! What can go wrong with a file, in words that say what to do; and which failed writes have certainly not happened.

use std::fmt;
use std::path::PathBuf;

use chat_core::StoreError;

/// How this store is called in errors.
pub(crate) const STORE: &str = "sqlite";

/// Why a store could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Another process, or another store of this one, has it open.
    #[error("{} is in use by another process{}: stop that one, or choose another file", path.display(), holder(*process))]
    InUse {
        /// The database.
        path: PathBuf,
        /// The other process, if it could be learnt.
        process: Option<u32>,
    },
    /// The folder of the file does not exist.
    #[error("the folder of {} does not exist: create it, or choose another path", path.display())]
    NoFolder {
        /// The database.
        path: PathBuf,
    },
    /// The file or its folder may not be written to.
    #[error("{} cannot be written: give this user the right to write the file and its folder", path.display())]
    NotWritable {
        /// The database.
        path: PathBuf,
        /// What was reported.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is no SQLite database, or a damaged one.
    #[error("{} is not a SQLite database, or is damaged: choose another path, or restore a backup", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite reported.
        #[source]
        source: sqlx::Error,
    },
    /// A database that something else has made.
    #[error("{} is a database of another program: choose another path", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A database that a newer version of this crate has written.
    #[error(
        "{} has schema version {found}, but this program understands versions up to {known}: \
         use the newer program, or restore a backup from before the upgrade",
        path.display()
    )]
    SchemaTooNew {
        /// The database.
        path: PathBuf,
        /// The file's version.
        found: u32,
        /// The newest version this crate understands.
        known: u32,
    },
    /// Another program holds a lock on the file for longer than the busy timeout.
    #[error("{} is locked by another program that writes to it: close that one and try again", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
        /// What SQLite reported.
        #[source]
        source: sqlx::Error,
    },
    /// The disk is full.
    #[error("there is no room to write {}: free some space", path.display())]
    Full {
        /// The database.
        path: PathBuf,
        /// What SQLite reported.
        #[source]
        source: sqlx::Error,
    },
    /// Anything else.
    #[error("{} cannot be opened", path.display())]
    Other {
        /// The database.
        path: PathBuf,
        /// What was reported.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(String::new, |id| format!(" (number {id})"))
}

impl ConnectError {
    pub(crate) fn from_sqlx(path: PathBuf, source: sqlx::Error) -> Self {
        match Code::of(&source).map(Code::primary) {
            Some(Code::BUSY | Code::LOCKED) => Self::Locked { path, source },
            Some(Code::FULL) => Self::Full { path, source },
            Some(Code::NOTADB | Code::CORRUPT) => Self::Damaged { path, source },
            Some(Code::READONLY | Code::CANTOPEN | Code::PERM) => {
                Self::NotWritable { path, source: source.into() }
            }
            _ => Self::Other { path, source: source.into() },
        }
    }

    pub(crate) fn from_io(path: PathBuf, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NoFolder { path },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { path, source: source.into() }
            }
            _ => Self::Other { path, source: source.into() },
        }
    }
}

/// What SQLite reported, with what can be done about it: the source of the [`StoreError`]s of this store.
#[derive(Debug)]
pub struct Problem {
    advice: &'static str,
    source: Option<sqlx::Error>,
}

impl Problem {
    pub(crate) const CLOSED: &'static str = "the store was closed";
    pub(crate) const REPLACED: &'static str = "the database file, its write-ahead log or its lock file was moved, replaced or \
                                               deleted while it was open: put it back or restart the server";

    fn new(source: sqlx::Error) -> Self {
        let advice = match Code::of(&source).map(Code::primary) {
            Some(Code::BUSY | Code::LOCKED) => "another program writes to the database: close that one",
            Some(Code::FULL) => "the disk is full or the file has reached its largest size: free some space",
            Some(Code::READONLY | Code::PERM) => {
                "the database cannot be written: give this user the right to write the file and its folder"
            }
            Some(Code::CANTOPEN) => "the database file cannot be opened: is it still there?",
            Some(Code::CORRUPT | Code::NOTADB) => {
                "the database is damaged: stop the server and restore a backup"
            }
            Some(Code::IOERR) => "the disk reported an error: look at the system's log",
            Some(Code::NOMEM) => "there was not enough memory",
            _ => "the database refused a statement",
        };
        Self { advice, source: Some(source) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice)
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// How far a write had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Inside a transaction that has not been told to commit: without its commit, nothing of it counts.
    BeforeCommit,
    /// During a commit, also that of a statement outside of a transaction.
    Commit,
}

/// A write that failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// In a statement.
    Statement { stage: Stage, source: sqlx::Error },
    /// Otherwise, and before anything could happen.
    Store(StoreError),
}

impl Failed {
    /// For `map_err`.
    pub(crate) fn at(stage: Stage) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Statement { stage, source }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Statement { stage, source } => write_failed(stage, source),
            Failed::Store(error) => error,
        }
    }
}

/// Whether a write that failed so may have happened, and which error says that.
///
/// SQLite undoes what it could not commit, but an I/O error while the commit was on its way to the disk leaves open what a crash would find there.
pub(crate) fn write_failed(stage: Stage, source: sqlx::Error) -> StoreError {
    let code = Code::of(&source).map(Code::primary);
    let certain = stage == Stage::BeforeCommit
        || code.is_some_and(|code| {
            use Code as C;
            matches!(
                code,
                C::ERROR | C::PERM | C::BUSY | C::LOCKED | C::READONLY | C::CORRUPT | C::FULL | C::CANTOPEN
            ) || matches!(code, C::SCHEMA | C::TOOBIG | C::CONSTRAINT | C::MISMATCH | C::NOTADB)
        });
    match code {
        Some(Code::CORRUPT | Code::NOTADB) => StoreError::corrupt(STORE, Problem::new(source)),
        _ if certain => StoreError::unavailable(STORE, Problem::new(source)),
        _ => StoreError::indeterminate(STORE, Problem::new(source)),
    }
}

/// A failed read: nothing can have changed.
pub(crate) fn read_failed(source: sqlx::Error) -> StoreError {
    match source {
        // A stored value of a type or form that this crate never writes.
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            StoreError::corrupt(STORE, Problem::new(source))
        }
        _ => write_failed(Stage::BeforeCommit, source),
    }
}

/// Something is stored that this crate never writes.
pub(crate) fn corrupt(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::corrupt(STORE, what)
}

/// Nothing happened, for a reason of this store's own.
pub(crate) fn refused(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::unavailable(STORE, why)
}

/// A result code of SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(i32);

impl Code {
    const ERROR: Self = Self(1);
    const PERM: Self = Self(3);
    const BUSY: Self = Self(5);
    const LOCKED: Self = Self(6);
    const NOMEM: Self = Self(7);
    const READONLY: Self = Self(8);
    const IOERR: Self = Self(10);
    const CORRUPT: Self = Self(11);
    const FULL: Self = Self(13);
    const CANTOPEN: Self = Self(14);
    const SCHEMA: Self = Self(17);
    const TOOBIG: Self = Self(18);
    const CONSTRAINT: Self = Self(19);
    const MISMATCH: Self = Self(20);
    const NOTADB: Self = Self(26);
    const CONSTRAINT_UNIQUE: Self = Self(2067);

    fn of(error: &sqlx::Error) -> Option<Self> {
        error.as_database_error()?.code()?.parse().ok().map(Self)
    }

    /// Without what the extended code adds.
    fn primary(self) -> Self {
        Self(self.0 & 0xff)
    }
}

/// A row with the same key or offset is there already.
pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    Code::of(error) == Some(Code::CONSTRAINT_UNIQUE)
}

/// Whether it was about one of the rows that were written, so that the others may be written without it.
pub(crate) fn is_about_one_row(error: &sqlx::Error) -> bool {
    matches!(Code::of(error).map(Code::primary), Some(Code::TOOBIG | Code::CONSTRAINT | Code::MISMATCH))
}

/// Whether the connection can be used further after this error. Otherwise it is opened anew.
pub(crate) fn leaves_connection_usable(error: &sqlx::Error) -> bool {
    matches!(
        Code::of(error).map(Code::primary),
        Some(
            Code::BUSY
                | Code::LOCKED
                | Code::FULL
                | Code::CONSTRAINT
                | Code::TOOBIG
                | Code::MISMATCH
                | Code::READONLY
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Reported(i32);
    impl fmt::Display for Reported {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "code {}", self.0)
        }
    }
    impl std::error::Error for Reported {}
    impl sqlx::error::DatabaseError for Reported {
        fn message(&self) -> &str {
            "reported"
        }
        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.to_string().into())
        }
        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }
        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }
        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }
    }

    fn reported(code: i32) -> sqlx::Error {
        sqlx::Error::Database(Box::new(Reported(code)))
    }

    const IOERR_FSYNC: i32 = 10 | (4 << 8);
    const BUSY_SNAPSHOT: i32 = 5 | (2 << 8);

    #[test]
    fn an_io_error_during_a_commit_leaves_open_whether_it_happened() {
        assert!(matches!(
            write_failed(Stage::Commit, reported(IOERR_FSYNC)),
            StoreError::Indeterminate { .. }
        ));
        assert!(matches!(
            write_failed(Stage::Commit, sqlx::Error::WorkerCrashed),
            StoreError::Indeterminate { .. }
        ));
        // Of a code that is not known to be harmless, the worst is assumed.
        assert!(matches!(write_failed(Stage::Commit, reported(9)), StoreError::Indeterminate { .. }));
    }

    #[test]
    fn an_error_before_the_commit_means_that_nothing_happened() {
        for error in [reported(IOERR_FSYNC), sqlx::Error::WorkerCrashed, reported(9)] {
            assert!(matches!(write_failed(Stage::BeforeCommit, error), StoreError::Unavailable { .. }));
        }
    }

    #[test]
    fn a_commit_that_found_the_file_busy_full_or_read_only_did_not_happen() {
        for code in [5, 6, BUSY_SNAPSHOT, 13, 8] {
            assert!(
                matches!(write_failed(Stage::Commit, reported(code)), StoreError::Unavailable { .. }),
                "{code}"
            );
        }
        assert!(matches!(write_failed(Stage::Commit, reported(11)), StoreError::Corrupt { .. }));
    }

    #[test]
    fn a_failure_to_open_says_what_to_do() {
        let open = |code| ConnectError::from_sqlx("chat.db".into(), reported(code)).to_string();
        assert!(open(8).contains("the right to write"), "{}", open(8));
        assert!(open(14).contains("the right to write"), "{}", open(14));
        assert!(open(13).contains("free some space"), "{}", open(13));
        assert!(open(26).contains("restore a backup"), "{}", open(26));
    }
}
