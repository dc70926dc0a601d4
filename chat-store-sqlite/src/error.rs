//! What can go wrong with an open file, in words that say what to do; and which failed writes have certainly not happened.

use std::fmt;

use chat_core::StoreError;

/// How this store is called in errors.
pub(crate) const STORE: &str = "sqlite";

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

    /// Whether it may be about one of the rows that were written or looked at, so that the others may be written without it. Damage is: it is in
    /// one place of the file.
    pub(crate) fn is_about_one_row(&self) -> bool {
        match self {
            Self::Statement { source, .. } => matches!(
                Code::of(source).map(Code::primary),
                Some(Code::TOOBIG | Code::CONSTRAINT | Code::MISMATCH | Code::CORRUPT)
            ),
            Self::Store(error) => matches!(error, StoreError::Corrupt { .. }),
        }
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
    pub(crate) const ERROR: Self = Self(1);
    pub(crate) const PERM: Self = Self(3);
    pub(crate) const BUSY: Self = Self(5);
    pub(crate) const LOCKED: Self = Self(6);
    pub(crate) const NOMEM: Self = Self(7);
    pub(crate) const READONLY: Self = Self(8);
    pub(crate) const IOERR: Self = Self(10);
    pub(crate) const CORRUPT: Self = Self(11);
    pub(crate) const FULL: Self = Self(13);
    pub(crate) const CANTOPEN: Self = Self(14);
    pub(crate) const SCHEMA: Self = Self(17);
    pub(crate) const TOOBIG: Self = Self(18);
    pub(crate) const CONSTRAINT: Self = Self(19);
    pub(crate) const MISMATCH: Self = Self(20);
    pub(crate) const NOTADB: Self = Self(26);
    pub(crate) const CONSTRAINT_UNIQUE: Self = Self(2067);

    pub(crate) fn of(error: &sqlx::Error) -> Option<Self> {
        error.as_database_error()?.code()?.parse().ok().map(Self)
    }

    /// Without what the extended code adds.
    pub(crate) fn primary(self) -> Self {
        Self(self.0 & 0xff)
    }
}

/// A row with the same key or offset is there already.
pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    Code::of(error) == Some(Code::CONSTRAINT_UNIQUE)
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
pub(crate) mod tests {
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

    /// An error as SQLite would report it.
    pub(crate) fn reported(code: i32) -> sqlx::Error {
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
}
