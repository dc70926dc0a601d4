//! [`ConnectError`]: why a file could not be opened, in words that say what to do.

use std::path::PathBuf;

use crate::error::Code;

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
    /// The file has other names (hard links). Each would have a lock and a write-ahead log of its own, and whoever opens another one does not see
    /// what is only in the log of the first.
    #[error(
        "{} has {names} names (hard links), and the database must have one: remove the others, or copy the file and use the copy",
        path.display()
    )]
    ManyNames {
        /// The database.
        path: PathBuf,
        /// How many names it has.
        names: u64,
    },
    /// The folder of the file does not exist.
    #[error("the folder of {} does not exist: create it, or choose another path", path.display())]
    NoFolder {
        /// The database.
        path: PathBuf,
    },
    /// There is a folder of this name.
    #[error("{} is a folder: name a file in it", path.display())]
    Folder {
        /// The folder.
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
            ErrorKind::IsADirectory => Self::Folder { path },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { path, source: source.into() }
            }
            _ => Self::Other { path, source: source.into() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::tests::reported;

    #[test]
    fn a_failure_to_open_says_what_to_do() {
        let open = |code| ConnectError::from_sqlx("chat.db".into(), reported(code)).to_string();
        assert!(open(8).contains("the right to write"), "{}", open(8));
        assert!(open(14).contains("the right to write"), "{}", open(14));
        assert!(open(13).contains("free some space"), "{}", open(13));
        assert!(open(26).contains("restore a backup"), "{}", open(26));
    }
}
