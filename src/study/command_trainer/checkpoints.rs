//! Where programs keep what they go on from: a directory of the run's for each trial. Of trials that have come to their end only
//! the best one's is kept, of several objectives those that no other one beats.
//!
//! To make and to remove a directory takes milliseconds on some disks, longer than many a program; to rename one takes none.
//! What a trial has left empty becomes the next one's.

use crate::study::run_dir::checkpoints_path;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The directories of a run.
#[derive(Debug)]
pub(in crate::study) struct Checkpoints {
    folder: PathBuf,
    /// Runs of a candidate, each with a directory of its own.
    repeats: usize,
    /// Empty ones of trials that are over, under these trials' names.
    spare: Vec<PathBuf>,
    /// The best trial that has come to its end in this session; of several objectives those that no other one beats.
    best: Vec<Leader>,
}

/// A trial that none is better than.
#[derive(Debug)]
struct Leader {
    candidate: u64,
    /// One value for each objective, all to be minimised.
    values: Vec<f64>,
}

impl Leader {
    /// Whether another one is no choice beside this one. Of equal ones with one objective the earlier is taken.
    fn beats(&self, other: &Leader) -> bool {
        let is_no_worse = self.values.iter().zip(&other.values).all(|(own, other)| own <= other);
        let is_earlier = self.values.len() == 1 && self.candidate < other.candidate;
        is_no_worse && (is_earlier || self.values != other.values)
    }
}

impl Checkpoints {
    /// Those of a run directory. Nothing is made yet.
    pub(in crate::study) fn new(run: &Path, repeats: usize) -> Checkpoints {
        // Programs run elsewhere: a path from here would not lead there.
        let run = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
        Checkpoints { folder: checkpoints_path(&run), repeats, spare: Vec::new(), best: Vec::new() }
    }

    /// Where that of one of a candidate's runs lies.
    pub(in crate::study) fn of(&self, candidate: u64, repeat: usize) -> PathBuf {
        self.folder.join(if repeat == 0 { candidate.to_string() } else { format!("{candidate}-{repeat}") })
    }

    /// Makes it, if it is not there.
    pub(super) fn make(&mut self, candidate: u64, repeat: usize) -> io::Result<PathBuf> {
        let folder = self.of(candidate, repeat);
        if folder.is_dir() {
            self.spare.retain(|spare| *spare != folder);
            return Ok(folder);
        }
        while let Some(spare) = self.spare.pop() {
            // One that somebody has taken away is not missed.
            if std::fs::rename(spare, &folder).is_ok() {
                return Ok(folder);
            }
        }
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// One of a candidate's runs has come to its end: if it has kept nothing, another may have the directory. What it has kept
    /// stays until its outcome is journalled.
    pub(super) fn is_done(&mut self, candidate: u64, repeat: usize) {
        let folder = self.of(candidate, repeat);
        if std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none()) {
            self.spare.push(folder);
        }
    }

    /// A candidate has come to its end with these values, all to be minimised, or is no choice: what it has kept goes, or what
    /// those that it beats had kept.
    pub(super) fn is_over(&mut self, candidate: u64, values: Option<Vec<f64>>) {
        let mut out = Vec::new();
        match values.map(|values| Leader { candidate, values }) {
            Some(one) if !self.best.iter().any(|best| best.beats(&one)) => {
                out.extend(self.best.extract_if(.., |best| one.beats(best)).map(|beaten| beaten.candidate));
                self.best.push(one);
            }
            _ => out.push(candidate),
        }
        for (out, repeat) in out.into_iter().flat_map(|out| (0..self.repeats).map(move |repeat| (out, repeat))) {
            let folder = self.of(out, repeat);
            if !self.spare.contains(&folder) {
                remove(&folder);
            }
        }
    }

    /// Removes what is empty and over.
    pub(super) fn clear(&mut self) {
        self.spare.drain(..).for_each(|spare| remove(&spare));
        // There is something in it, or there was none of them.
        drop(std::fs::remove_dir(&self.folder));
    }

    /// Leaves those of the candidates that are `wanted`, as far as there is anything in them.
    pub(in crate::study) fn keep(&self, wanted: impl Fn(u64) -> bool) {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let candidate = name.to_str().and_then(|name| name.split('-').next()?.parse().ok());
            match candidate {
                Some(candidate) if !wanted(candidate) => remove(&entry.path()),
                // Only what is empty goes.
                Some(_) => drop(std::fs::remove_dir(entry.path())),
                None => {}
            }
        }
        drop(std::fs::remove_dir(&self.folder));
    }
}

/// Removes a directory with all that is in it.
fn remove(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!("{} cannot be removed: {error}", folder.display());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(checkpoints: &Checkpoints) -> Vec<String> {
        let entries = std::fs::read_dir(&checkpoints.folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn of_trials_at_their_end_the_best_one_s_is_kept() {
        let run = tempfile::tempdir().unwrap();
        let mut checkpoints = Checkpoints::new(run.path(), 1);
        for candidate in 0..6 {
            let folder = checkpoints.make(candidate, 0).unwrap();
            std::fs::write(folder.join("state"), "x").unwrap();
        }
        for (candidate, value) in [(2, Some(1.0)), (1, Some(1.0)), (0, None), (3, Some(2.0)), (4, Some(0.5))] {
            checkpoints.is_over(candidate, value.map(|value| vec![value]));
        }
        assert_eq!(names(&checkpoints), ["4", "5"], "the best, and who is on the way");
        assert!(checkpoints.make(5, 0).unwrap().join("state").exists(), "what is there stays");
        checkpoints.keep(|candidate| candidate == 5);
        assert_eq!(names(&checkpoints), ["5"]);
        std::fs::remove_file(checkpoints.of(5, 0).join("state")).unwrap();
        checkpoints.keep(|_| true);
        assert!(!checkpoints.folder.exists(), "nothing is left of what is empty");
    }

    #[test]
    fn of_several_objectives_those_that_no_other_one_beats_are_kept() {
        let run = tempfile::tempdir().unwrap();
        let mut checkpoints = Checkpoints::new(run.path(), 1);
        for (candidate, values) in
            [[3.0, 3.0], [1.0, 5.0], [4.0, 4.0], [5.0, 1.0], [1.0, 5.0], [2.0, 2.0]].iter().enumerate()
        {
            let candidate = candidate as u64;
            std::fs::write(checkpoints.make(candidate, 0).unwrap().join("state"), "x").unwrap();
            checkpoints.is_over(candidate, Some(values.to_vec()));
        }
        assert_eq!(names(&checkpoints), ["1", "3", "4", "5"]);
    }

    #[test]
    fn what_is_left_empty_becomes_the_next_one_s() {
        let run = tempfile::tempdir().unwrap();
        let mut checkpoints = Checkpoints::new(run.path(), 2);
        for candidate in 0..100 {
            for repeat in 0..2 {
                let folder = checkpoints.make(candidate, repeat).unwrap();
                assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "candidate {candidate}");
            }
            if candidate == 50 {
                std::fs::write(checkpoints.of(50, 1).join("state"), "x").unwrap();
            }
            (0..2).for_each(|repeat| checkpoints.is_done(candidate, repeat));
            // The outcomes of some are journalled later than others have begun.
            if candidate % 10 == 9 {
                let over = candidate - 9..=candidate;
                over.for_each(|over| checkpoints.is_over(over, Some(vec![((over as f64) - 50.0).abs()])));
            }
            assert!(names(&checkpoints).len() <= 4, "{:?}", names(&checkpoints));
        }
        assert!(checkpoints.of(50, 1).join("state").exists(), "the best one's is kept");
        assert_eq!(checkpoints.make(99, 0).unwrap(), checkpoints.of(99, 0), "one that is spare under its own name");
        checkpoints.is_done(99, 0);
        checkpoints.clear();
        assert_eq!(names(&checkpoints), ["50-1"]);
        checkpoints.keep(|_| false);
        assert!(!checkpoints.folder.exists());
    }
}
