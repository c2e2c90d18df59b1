//! The run directory: study.toml, journal.tfj, lock, and at the end result.json with model.safetensors, or best.csv where
//! only the best candidates were kept, and recipe.toml with lineage.csv, where they were a population.

use super::error::RunDirError;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What to do with a directory that holds a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// Refuse.
    #[default]
    Refuse,
    /// Go on with it.
    Resume,
    /// Delete it and start again.
    Fresh,
}

/// A run directory that this process holds the lock of.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Kept open: the lock goes with the process, however it ends.
    lock: File,
}

const STUDY: &str = "study.toml";
const JOURNAL: &str = "journal.tfj";
const LOCK: &str = "lock";
const RESULT: &str = "result.json";
const MODEL: &str = "model.safetensors";
const BEST: &str = "best.csv";
const LINEAGE: &str = "lineage.csv";
const RECIPE: &str = "recipe.toml";
const STATE: &str = "generations.state";
const LANES: &str = "lanes.state";
const CHECKPOINTS: &str = "checkpoints";

impl RunDir {
    /// Opens or makes a directory and locks it. A run in it is left as it is: see [`RunDir::clear`].
    pub fn open(path: &Path, existing: Existing) -> Result<RunDir, RunDirError> {
        let unusable = |source: std::io::Error| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => io(path)(source),
            _ => RunDirError::Unusable { dir: path.to_owned(), source },
        };
        std::fs::create_dir_all(path).map_err(unusable)?;
        let lock_path = path.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RunDirError::Locked { dir: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(io(&lock_path)(source)),
        }
        let dir = RunDir { path: path.to_owned(), lock };
        match existing {
            Existing::Refuse if dir.has_run() => Err(RunDirError::Exists { dir: path.to_owned() }),
            _ => Ok(dir),
        }
    }

    /// Whether a run was begun in it.
    pub fn has_run(&self) -> bool {
        self.journal().exists()
    }

    /// Deletes what a run has left; nothing else in the directory is touched. Wherever it is stopped, no result is left
    /// without its journal, and no journal without its study.
    pub fn clear(&self) -> Result<(), RunDirError> {
        for name in [RESULT, MODEL, BEST, LINEAGE, RECIPE, STATE, LANES, JOURNAL, STUDY] {
            let path = self.path.join(name);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != ErrorKind::NotFound => return Err(io(&path)(source)),
                _ => {}
            }
        }
        let checkpoints = checkpoints_path(&self.path);
        match std::fs::remove_dir_all(&checkpoints) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(io(&checkpoints)(source)),
            _ => Ok(()),
        }
    }

    /// Deletes the states of lanes, where there are any.
    pub fn forget_lanes(&self) -> Result<(), RunDirError> {
        let path = self.lanes();
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(io(&path)(source)),
            _ => Ok(()),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal's path.
    pub fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// The model file's path.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// The table of the best candidates, where the others were not kept.
    pub fn best(&self) -> PathBuf {
        self.path.join(BEST)
    }

    /// The table of who took over from whom in a population.
    pub fn lineage(&self) -> PathBuf {
        self.path.join(LINEAGE)
    }

    /// The study of a population's winner.
    pub fn recipe(&self) -> PathBuf {
        self.path.join(RECIPE)
    }

    /// The state of a search by whole generations.
    pub fn state(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// The states of lanes that stand on rungs.
    pub fn lanes(&self) -> PathBuf {
        self.path.join(LANES)
    }

    /// Writes the resolved study.
    pub fn write_study(&self, text: &str) -> Result<(), RunDirError> {
        write_whole(&self.path.join(STUDY), text.as_bytes())
    }

    /// Writes the result.
    pub fn write_result(&self, text: &str) -> Result<(), RunDirError> {
        write_whole(&self.path.join(RESULT), text.as_bytes())
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // Closing the file would do, but that a program which is just being started has a copy of it until it runs. What goes
        // wrong here leaves the lock to go with the file.
        let _ = self.lock.unlock();
    }
}

/// The resolved study in a run directory.
pub fn study_path(dir: &Path) -> PathBuf {
    dir.join(STUDY)
}

/// The result in a run directory.
pub fn result_path(dir: &Path) -> PathBuf {
    dir.join(RESULT)
}

/// The model in a run directory.
pub fn model_path(dir: &Path) -> PathBuf {
    dir.join(MODEL)
}

/// What programs go on from, in a run directory: a directory a trial.
pub fn checkpoints_path(dir: &Path) -> PathBuf {
    dir.join(CHECKPOINTS)
}

/// The journal in a run directory.
pub fn journal_path(dir: &Path) -> PathBuf {
    dir.join(JOURNAL)
}

/// Checks that a directory holds a run.
pub fn expect_run(dir: &Path) -> Result<(), RunDirError> {
    if journal_path(dir).exists() {
        return Ok(());
    }
    let is_bare = dir.parent().is_none_or(|parent| parent.as_os_str().is_empty());
    let folder = if is_bare { Path::new(".") } else { dir.parent().unwrap_or(dir) };
    let names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().filter(|entry| journal_path(&entry.path()).exists()))
        .map(|entry| dir.with_file_name(entry.file_name()).display().to_string())
        .collect();
    let wanted = dir.display().to_string();
    let near = crate::base::registry::nearest(&wanted, names.iter().map(String::as_str)).map(str::to_owned);
    Err(RunDirError::NoRun { dir: dir.to_owned(), near })
}

/// Writes a file so that it is either the old or the new one, whole, whenever the machine stops. What is no file (a
/// pipe, a device) is written to and not replaced.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RunDirError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = std::fs::metadata(path);
    if found.as_ref().is_ok_and(|found| found.is_dir()) {
        return Err(io(path)(ErrorKind::IsADirectory.into()));
    }
    if found.is_ok_and(|found| !found.is_file()) {
        return std::fs::write(path, bytes).map_err(io(path));
    }
    let write = || {
        let mut builder = tempfile::Builder::new();
        // As open to others as any file that the user makes: the system takes his umask off.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.prefix(".thousandfold-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // The new name is on the disk when its folder is.
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        Ok(())
    };
    write().map_err(io(path))
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> RunDirError + '_ {
    |source| RunDirError::Io { path: path.to_owned(), source }
}
