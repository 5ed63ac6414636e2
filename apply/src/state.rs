//! The folder that remembers transactions: the journal of the pending one, those that were kept, a
//! lock, and a log.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use crate::fault::point;
use crate::journal::Journal;

/// Where the state is, unless told otherwise.
pub const STATE_FOLDER: &str = "/var/lib/nattrace";

/// How long somebody who holds the lock is waited for.
const PATIENCE: Duration = Duration::from_secs(40);

const PENDING: &str = "pending.json";
const KEPT: &str = "kept";
const LOG: &str = "log";
const LOCK: &str = "lock";
const WATCHDOG: &str = "watchdog";

/// Why the folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It can't be made, read or written.
    #[error("can't {does} `{}`: {}", .path.display(), cause(.error))]
    Io {
        /// What was tried.
        does: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A journal is none.
    #[error("`{}` is no journal: {cause}", .path.display())]
    NoJournal {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// Another process works with it.
    #[error("another nattrace is at work: `{}` is locked", .0.display())]
    Busy(PathBuf),
}

/// Opens a file that only its owner may read, empty.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// The folder.
#[derive(Clone, Debug)]
pub struct State {
    folder: PathBuf,
}

/// The right to change rules and the state. It ends with this value, but not before the programs
/// that were started with it lent to them.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Does something whose programs keep the lock until they end, even if this process dies: then
    /// nobody takes back a change that is still being loaded.
    pub(crate) fn lend<T>(&self, does: impl FnOnce() -> T) -> T {
        // Where this fails, the programs do not keep the lock; nothing else is lost.
        let _ = fcntl_setfd(&self.0, FdFlags::empty());
        let done = does();
        let _ = fcntl_setfd(&self.0, FdFlags::CLOEXEC);
        done
    }
}

/// What became of a transaction, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It was loaded and waits.
    Loaded,
    /// It was confirmed.
    Confirmed,
    /// It was taken back.
    RolledBack,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Seconds since 1970, by the clock of the host.
    pub time: u64,
    /// The transaction.
    pub id: String,
    /// What became of it.
    pub event: Event,
    /// Why, or by whom.
    pub reason: String,
}

impl State {
    /// A folder, which need not exist.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Its path.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn kept_path(&self, id: &str) -> PathBuf {
        self.folder.join(KEPT).join(format!("{id}.json"))
    }

    fn io<'s>(
        &'s self,
        does: &'static str,
        path: &'s Path,
    ) -> impl Fn(io::Error) -> StateError + 's {
        move |error| StateError::Io { does, path: path.to_owned(), error }
    }

    /// Whether there is such a folder.
    pub(crate) fn exists(&self) -> bool {
        self.folder.is_dir()
    }

    /// Makes the folder where it is missing.
    pub(crate) fn create(&self) -> Result<(), StateError> {
        let kept = self.path(KEPT);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&kept);
        made.map_err(self.io("make", &kept))
    }

    fn lock_file(&self, name: &str) -> Result<File, StateError> {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(&path).map_err(self.io("write", &path))
    }

    /// The lock, if nobody holds it for long.
    pub(crate) fn lock(&self) -> Result<Lock, StateError> {
        let file = self.lock_file(LOCK)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(StateError::Busy(self.path(LOCK))),
                Err(TryLockError::Error(error)) => {
                    return Err(self.io("lock", &self.path(LOCK))(error));
                }
            }
        }
    }

    /// The lock, if nobody holds it now.
    pub(crate) fn try_lock(&self) -> Result<Lock, StateError> {
        let file = self.lock_file(LOCK)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(StateError::Busy(self.path(LOCK))),
            Err(TryLockError::Error(error)) => Err(self.io("lock", &self.path(LOCK))(error)),
        }
    }

    /// What a watchdog holds as long as it lives; `None` where there is one already.
    pub(crate) fn watch(&self) -> Result<Option<File>, StateError> {
        let file = self.lock_file(WATCHDOG)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(self.io("lock", &self.path(WATCHDOG))(error)),
        }
    }

    /// Whether a watchdog lives.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        // Only looking must not make the file.
        let opened = OpenOptions::new().write(true).open(self.path(WATCHDOG));
        opened.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// The journal of the pending transaction.
    ///
    /// # Errors
    ///
    /// Where it can't be read.
    pub fn pending(&self) -> Result<Option<Journal>, StateError> {
        self.journal(&self.path(PENDING))
    }

    /// The journal of a transaction that was confirmed.
    ///
    /// # Errors
    ///
    /// Where it can't be read.
    pub fn kept(&self, id: &str) -> Result<Option<Journal>, StateError> {
        self.journal(&self.kept_path(id))
    }

    /// Every transaction that was confirmed, by name.
    ///
    /// # Errors
    ///
    /// Where one can't be read.
    pub fn all_kept(&self) -> Result<Vec<Journal>, StateError> {
        let folder = self.path(KEPT);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(self.io("read", &folder))?,
        };
        let mut paths: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let journals = paths.iter().map(|path| self.journal(path));
        Ok(journals.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// The pending transaction and those that were confirmed, in the order in which they are taken
    /// back.
    pub(crate) fn newest_first(&self) -> Result<Vec<Journal>, StateError> {
        let entries = self.entries();
        let confirmed = |journal: &Journal| {
            let is_it = |entry: &Entry| entry.id == journal.id && entry.event == Event::Confirmed;
            entries.iter().rposition(is_it)
        };
        let mut kept = self.all_kept()?;
        kept.sort_by_key(confirmed);
        Ok(self.pending()?.into_iter().chain(kept.into_iter().rev()).collect())
    }

    fn journal(&self, path: &Path) -> Result<Option<Journal>, StateError> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(self.io("read", path))?,
        };
        let none = |error: serde_json::Error| StateError::NoJournal {
            path: path.to_owned(),
            cause: error.to_string(),
        };
        serde_json::from_str(&text).map(Some).map_err(none)
    }

    /// Writes the journal of the pending transaction: after a crash at any instant there is the old
    /// one or the new one.
    pub(crate) fn write_pending(&self, journal: &Journal) -> Result<(), StateError> {
        self.write(&self.path(PENDING), journal)
    }

    /// The same for one that was kept.
    pub(crate) fn write_kept(&self, journal: &Journal) -> Result<(), StateError> {
        self.write(&self.kept_path(&journal.id), journal)
    }

    fn write(&self, path: &Path, journal: &Journal) -> Result<(), StateError> {
        let new = self.path("new");
        let text = serde_json::to_string(journal).map_err(io::Error::from);
        let written = text.and_then(|text| {
            let mut file = create(&new)?;
            point("journal-created");
            file.write_all(text.as_bytes())?;
            point("journal-written");
            file.sync_all()?;
            point("journal-synced");
            fs::rename(&new, path)?;
            point("journal-renamed");
            self.sync(path)
        });
        written.map_err(|error| {
            drop(fs::remove_file(&new));
            self.io("write", path)(error)
        })
    }

    /// Makes sure that a renamed or removed file stays so.
    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path.parent().unwrap_or(&self.folder))?.sync_all()
    }

    /// Makes the pending transaction one that is kept, in one step.
    pub(crate) fn keep_pending(&self, id: &str) -> Result<(), StateError> {
        let (from, to) = (self.path(PENDING), self.kept_path(id));
        let kept = fs::rename(&from, &to);
        let kept = kept.and_then(|()| self.sync(&to)).and_then(|()| self.sync(&from));
        kept.map_err(self.io("write", &to))
    }

    /// Forgets the pending transaction.
    pub(crate) fn remove_pending(&self) -> Result<(), StateError> {
        self.remove(&self.path(PENDING))
    }

    /// Forgets one that was kept.
    pub(crate) fn remove_kept(&self, id: &str) -> Result<(), StateError> {
        self.remove(&self.kept_path(id))
    }

    fn remove(&self, path: &Path) -> Result<(), StateError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.and_then(|()| self.sync(path)).map_err(self.io("remove", path)),
        }
    }

    /// Writes a line into the log. What it tells has happened: that it can't be written is no
    /// reason to fail.
    pub(crate) fn log(&self, id: &str, event: Event, reason: &str) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let entry = Entry { time, id: id.to_owned(), event, reason: reason.to_owned() };
        let mut line = serde_json::to_string(&entry).unwrap_or_default();
        line.push('\n');
        let mut options = OpenOptions::new();
        let opened = options.append(true).create(true).mode(0o600).open(self.path(LOG));
        drop(opened.and_then(|mut file| file.write_all(line.as_bytes())));
    }

    /// The lines of the log; those that can't be read are left out.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let text = fs::read_to_string(self.path(LOG)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Removes the folder and what nattrace wrote into it.
    pub(crate) fn remove_all(&self) -> Result<(), StateError> {
        let gone = |path: &Path, removed: io::Result<()>| match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(self.io("remove", path)),
        };
        for name in [PENDING, LOG, WATCHDOG, LOCK, "new"] {
            let path = self.path(name);
            gone(&path, fs::remove_file(&path))?;
        }
        let kept = self.path(KEPT);
        gone(&kept, fs::remove_dir(&kept))?;
        gone(&self.folder, fs::remove_dir(&self.folder))
    }
}

impl State {
    /// Whether something can be written that lasts.
    pub(crate) fn probe(&self) -> Result<(), StateError> {
        let path = self.path("new");
        let written = create(&path).and_then(|mut file| {
            file.write_all(&[b' '; 4_096])?;
            file.sync_all()
        });
        drop(fs::remove_file(&path));
        written.map_err(self.io("write", &path))
    }
}
