//! [`DatabaseFile`]: that the file is this process' alone, and that it is still where it was.
//!
//! Once SQLite has opened the database, nothing here does: closing any handle of it would drop the locks that SQLite holds in this process.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::connect_error::ConnectError;

/// How often a lock that another process holds is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// A database of which this process is the owner, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    /// Locked. The operating system releases it with the process, also after SIGKILL.
    lock: File,
    watched: Watched,
    log: Watched,
}

impl DatabaseFile {
    /// Becomes the owner of the database at `path`, which need not exist yet. Waits up to `timeout` for another owner.
    pub(crate) async fn own(path: &Path, timeout: Duration) -> Result<Self, ConnectError> {
        let path = resolve(path).map_err(|error| ConnectError::from_io(path.to_owned(), error))?;
        let deadline = Instant::now() + timeout;
        let mut lock = loop {
            let mut lock = open_lock(&path).map_err(|error| ConnectError::from_io(path.clone(), error))?;
            while let Err(error) = lock.try_lock() {
                match error {
                    TryLockError::WouldBlock if Instant::now() < deadline => {
                        tokio::time::sleep(LOCK_RETRY).await;
                    }
                    TryLockError::WouldBlock => {
                        return Err(ConnectError::InUse { process: holder(&mut lock), path });
                    }
                    TryLockError::Error(error) => return Err(ConnectError::from_io(path, error)),
                }
            }
            // While it was waited for, it may have been deleted, and another process may have made and locked a new one.
            if FileId::named(&lock_path(&path)) == FileId::open(&lock) {
                break lock;
            }
        };
        let names = names(&path).map_err(|error| ConnectError::from_io(path.clone(), error))?;
        if 1 < names {
            return Err(ConnectError::ManyNames { path, names });
        }
        let ready = check_writable(&path).and_then(|()| name_holder(&mut lock));
        ready.map_err(|error| ConnectError::from_io(path.clone(), error))?;
        Ok(Self { path, lock, watched: Watched::default(), log: Watched::default() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The write-ahead log's size, in bytes.
    pub(crate) fn log_bytes(&self) -> u64 {
        fs::metadata(beside(&self.path, "-wal")).map_or(0, |file| file.len())
    }

    /// From now on, the database and the lock are to stay the files that they are: to be called once the database exists.
    pub(crate) fn watch(&mut self) {
        self.watched = Watched::now([self.path.clone()]);
        self.watched.0.extend(FileId::open(&self.lock).map(|id| (lock_path(&self.path), id)));
    }

    /// From now on, the write-ahead log is to stay the file that it is: to be called once the writer has opened the database.
    pub(crate) fn watch_log(&mut self) {
        self.log = Watched::now([beside(&self.path, "-wal")]);
    }

    /// The writer's connection is gone, and the log may go with it.
    pub(crate) fn unwatch_log(&mut self) {
        self.log = Watched::default();
    }

    /// The database and the lock, for others to look at.
    pub(crate) fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Whether the files under their names are still the ones that are open. Costs three system calls.
    pub(crate) fn is_in_place(&self) -> bool {
        self.watched.are_in_place() && self.log.are_in_place()
    }
}

/// Files that are to stay the ones that they are. What is written to a file that was deleted or renamed is lost when it is closed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(Vec<(PathBuf, FileId)>);

impl Watched {
    /// Those of the files that exist.
    fn now(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().filter_map(|path| FileId::named(&path).map(|id| (path, id))).collect())
    }

    pub(crate) fn are_in_place(&self) -> bool {
        self.0.iter().all(|(path, id)| FileId::named(path) == Some(*id))
    }
}

/// Links that are followed, one after the other, to a file that does not exist yet. As many as Linux follows.
const LINKS_MAX: u32 = 40;

/// The path without symbolic links, so that two names of one file have one lock: also where the last link leads to a file that is yet to be made.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            resolved => return resolved,
        }
        let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.canonicalize()?;
        let here = folder.join(name);
        match fs::read_link(&here) {
            Ok(target) => path = folder.join(target),
            // There is nothing here, so it is no link.
            Err(_) => return Ok(here),
        }
    }
    Err(io::Error::other("too many links follow each other"))
}

/// How many names the file has; 1 if it does not exist. (Those of a folder are no hard links.)
#[cfg(unix)]
fn names(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    match fs::metadata(path) {
        Ok(file) if file.is_file() => Ok(file.nlink()),
        Ok(_) => Ok(1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(1),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn names(_path: &Path) -> io::Result<u64> {
    Ok(1)
}

/// Before SQLite looks at the file: it would open it read-only, and leave read-only files beside it.
fn check_writable(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

fn open_lock(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(lock_path(path))
}

/// The process that the lock file names. It is only told to people: what counts is the lock.
fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn name_holder(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// What tells two files of one name apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    /// `None` if there is no such file.
    fn named(path: &Path) -> Option<Self> {
        Self::of(&fs::metadata(path).ok()?)
    }

    fn open(file: &File) -> Option<Self> {
        Self::of(&file.metadata().ok()?)
    }

    #[cfg(unix)]
    fn of(file: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        Some(Self { device: file.dev(), number: file.ino() })
    }

    /// Open files cannot be replaced here.
    #[cfg(not(unix))]
    fn of(_file: &Metadata) -> Option<Self> {
        Some(Self { device: 0, number: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_file_under_another_name_has_the_same_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        fs::write(&path, "").unwrap();
        let _owner = DatabaseFile::own(&path, Duration::ZERO).await.unwrap();
        let around = folder.path().join(".").join("chat.db");
        assert!(matches!(
            DatabaseFile::own(&around, Duration::ZERO).await,
            Err(ConnectError::InUse { process: Some(id), .. }) if id == std::process::id()
        ));
        #[cfg(unix)]
        {
            let link = folder.path().join("link.db");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert!(matches!(
                DatabaseFile::own(&link, Duration::ZERO).await,
                Err(ConnectError::InUse { .. })
            ));
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_that_is_yet_to_be_made_has_the_same_lock_through_every_link_to_it() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let [path, near, far, round] =
            ["data/chat.db", "near.db", "links/far.db", "round.db"].map(|name| folder.path().join(name));
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::create_dir(folder.path().join("links")).unwrap();
        symlink("data/chat.db", &near).unwrap();
        symlink("../near.db", &far).unwrap();
        for (first, second) in [(&far, &path), (&path, &near), (&near, &far)] {
            let owner = DatabaseFile::own(first, Duration::ZERO).await.unwrap();
            assert!(owner.path().ends_with("data/chat.db"), "{:?}", owner.path());
            let refused = DatabaseFile::own(second, Duration::ZERO).await;
            assert!(
                matches!(refused, Err(ConnectError::InUse { .. })),
                "{first:?} and {second:?}: {refused:?}"
            );
        }
        symlink("round.db", &round).unwrap();
        assert!(DatabaseFile::own(&round, Duration::ZERO).await.is_err(), "it leads nowhere");
        symlink("nowhere/chat.db", folder.path().join("lost.db")).unwrap();
        let refused = DatabaseFile::own(&folder.path().join("lost.db"), Duration::ZERO).await;
        assert!(matches!(refused, Err(ConnectError::NoFolder { .. })), "{refused:?}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_lock_that_was_deleted_while_it_was_waited_for_is_worth_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let own = || Box::pin(DatabaseFile::own(&path, 5 * LOCK_RETRY));
        let first = own().await.unwrap();
        let mut second = own();
        assert!(futures_util::poll!(&mut second).is_pending());
        fs::remove_file(lock_path(&path)).unwrap();
        let third = own().await.unwrap();
        drop(first);
        let refused = second.await;
        assert!(matches!(refused, Err(ConnectError::InUse { .. })), "{refused:?}");
        drop(third);
        own().await.unwrap();
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_lock_that_was_replaced_before_the_database_was_opened_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let mut first = DatabaseFile::own(&path, Duration::ZERO).await.unwrap();
        fs::remove_file(lock_path(&path)).unwrap();
        let _second = DatabaseFile::own(&path, Duration::ZERO).await.unwrap();
        first.watch();
        assert!(!first.is_in_place());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_with_another_name_is_refused_until_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("chat.db"), folder.path().join("other.db"));
        fs::write(&path, "").unwrap();
        let owner = DatabaseFile::own(&path, Duration::ZERO).await.unwrap();
        fs::hard_link(&path, &other).unwrap();
        let refused = DatabaseFile::own(&other, Duration::ZERO).await.unwrap_err();
        assert!(matches!(refused, ConnectError::ManyNames { names: 2, .. }), "{refused:?}");
        drop(owner);
        let refused = DatabaseFile::own(&path, Duration::ZERO).await.unwrap_err();
        assert!(refused.to_string().contains("remove the others"), "{refused}");
        fs::remove_file(&other).unwrap();
        DatabaseFile::own(&path, Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_put_in_the_place_of_another_is_noticed_and_so_is_putting_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        fs::write(&path, "one").unwrap();
        let mut file = DatabaseFile::own(&path, Duration::ZERO).await.unwrap();
        file.watch();
        assert!(file.is_in_place());
        let aside = folder.path().join("aside.db");
        fs::rename(&path, &aside).unwrap();
        assert!(!file.is_in_place());
        fs::write(&path, "two").unwrap();
        assert!(!file.is_in_place());
        fs::rename(&aside, &path).unwrap();
        assert!(file.is_in_place());
    }
}
