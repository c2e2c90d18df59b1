//! A search by whole generations: the machine that searches also computes the function, so no candidate goes through the
//! study. What is kept is the course's state, in a file beside the journal that each later one replaces, and in the end the
//! best of what was found.

use super::backend::OpenedCourse;
use super::error::{RunDirError, StudyError};
use super::events::{BestSoFar, Event, Progress};
use super::history::History;
use super::resolve::Study;
use super::run_dir::{RunDir, write_whole};
use super::search::Ports;
use super::stopping::{StopReason, Stopping};
use super::sweep::{Cadence, mean_value, trial};
use crate::backend::BackendError;
use crate::functions::Evaluator;
use crate::strategies::generation::Course;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Generations are made in one go for about so long: the next look at the clock is that far away.
const AT_A_TIME: Duration = Duration::from_millis(50);
/// What a state file begins with: what it is, and the version of its layout.
const MAGIC: [u8; 8] = *b"TFSTATE1";

/// A search under way.
pub(super) struct Generations<'a> {
    study: &'a Study,
    evaluator: &'a Evaluator,
    pool: rayon::ThreadPool,
    course: Box<dyn Course>,
    members: u64,
    /// Candidates that are kept.
    most: usize,
    /// Where the state is kept.
    file: PathBuf,
    stopping: Stopping,
    /// Candidates of earlier sessions.
    resumed: u64,
    leader: Option<BestSoFar>,
    began: Instant,
}

impl<'a> Generations<'a> {
    /// A search of `members` a generation that keeps the `most` best, and goes on from the state that its directory has.
    pub(super) fn new(
        study: &'a Study,
        evaluator: &'a Evaluator,
        (course, members): OpenedCourse,
        most: usize,
        dir: &RunDir,
    ) -> Result<Generations<'a>, StudyError> {
        let failed = |error: rayon::ThreadPoolBuildError| StudyError::Threads { reason: error.to_string() };
        let mut search = Generations {
            study,
            evaluator,
            pool: rayon::ThreadPoolBuilder::new().num_threads(study.config.run.threads).build().map_err(failed)?,
            course,
            members,
            most,
            file: dir.state(),
            stopping: Stopping::new(study.direction(), &study.config.stop, study.parts.clone()),
            resumed: 0,
            leader: None,
            began: Instant::now(),
        };
        search.restore(dir)?;
        Ok(search)
    }

    fn restore(&mut self, dir: &RunDir) -> Result<(), StudyError> {
        let bytes = match std::fs::read(&self.file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(RunDirError::Io { path: self.file.clone(), source }.into()),
        };
        let other = |what: String| StudyError::from(RunDirError::Other { dir: dir.path().to_owned(), what });
        let words = decode(&bytes).ok_or_else(|| other(format!("{} that is damaged", self.file.display())))?;
        if !self.course.restore(&words) {
            return Err(other("generations of another size".to_owned()));
        }
        let (done, wanted) = (self.course.evaluated(), self.study.config.search.candidates);
        if done > wanted.max(self.members) {
            let what = format!("{done} candidates, and cannot go back to {wanted}: the others were not kept");
            return Err(other(what));
        }
        self.resumed = done;
        self.look();
        Ok(())
    }

    /// Makes generations until there is a reason to stop.
    pub(super) fn run(&mut self, ports: &mut Ports<'_>) -> Result<StopReason, StudyError> {
        self.began = Instant::now();
        let stop_options = &self.study.config.stop;
        let deadline = stop_options.time.and_then(|span| self.began.checked_add(span.0));
        let stop = ports.stop.until(deadline);
        let total = self.total();
        let mut cadence = Cadence::new();
        let mut at_a_time = 1;
        let reason = loop {
            if let Some(reason) = self.leader.and_then(|best| self.stopping.tell(best.value, &[best.value])) {
                break reason;
            }
            if stop.is_raised() {
                break if ports.stop.is_raised() { StopReason::Interrupted } else { StopReason::Time };
            }
            let left = total.saturating_sub(self.course.generation());
            if left == 0 {
                break StopReason::Candidates;
            }
            let begun = Instant::now();
            let (pool, course) = (&self.pool, &mut self.course);
            // A target is looked at after every generation, so that the clock decides nothing.
            let count = if stop_options.target.is_some() { 1 } else { left.min(at_a_time) };
            pool.install(|| course.advance(count)).map_err(|error| BackendError::DeviceFailed {
                device: "the search's device".to_owned(),
                reason: error.to_string(),
            })?;
            let took = begun.elapsed().max(Duration::from_micros(1));
            at_a_time = ((count as f64 * AT_A_TIME.as_secs_f64() / took.as_secs_f64()) as u64).clamp(1, 2 * count);
            self.look();
            ports.observers.notify(&Event::Lane(self.progress()));
            if cadence.is_due() {
                self.keep()?;
                cadence.reset();
            }
        };
        self.keep()?;
        Ok(reason)
    }

    /// Generations of the whole search: as many as the candidates are enough for, one at least.
    fn total(&self) -> u64 {
        // They are numbered by 32 bits, of which the last few numbers are tags of keys.
        (self.study.config.search.candidates / self.members).clamp(1, u64::from(u32::MAX) - 8)
    }

    /// Takes note of the best value so far.
    fn look(&mut self) {
        // By its point: a device's own value is f32, and may be without a part that all have.
        if let Some((_, point)) = self.course.best(1).first() {
            let value = mean_value(self.evaluator, point, self.study.objective.lanes());
            self.leader = Some(BestSoFar { candidate: 0, value, std_error: None });
        }
    }

    fn keep(&self) -> Result<(), StudyError> {
        Ok(write_whole(&self.file, &encode(&self.course.state()))?)
    }

    pub(super) fn progress(&self) -> Progress {
        let (done, total) = (self.course.evaluated(), self.total() * self.members);
        let session = done.saturating_sub(self.resumed);
        Progress {
            candidates: done,
            total,
            lanes: session * self.study.objective.lanes() as u64,
            share: session as f64 / total.saturating_sub(self.resumed).max(1) as f64,
            resumed: self.resumed,
            seconds: self.began.elapsed().as_secs_f64(),
            limit: self.study.config.stop.time.map(|span| span.0.as_secs_f64()),
            best: self.leader,
            failed: 0,
            pruned: 0,
            trained: 0,
            saved: 0.0,
            rungs: None,
            remaining: None,
        }
    }

    /// What is searched how, in a sentence.
    pub(super) fn described(&self) -> String {
        format!(
            "{} searches by whole generations of {} candidates; of those that are kept, number 0 is the best",
            self.study.strategy.name(),
            self.members
        )
    }

    /// What was found: the best with the values that the host computes of their points, numbered from the best one on.
    pub(super) fn into_history(self) -> History {
        let (direction, repeats) = (self.study.direction(), self.study.objective.lanes());
        let exact = |(_, point): (f64, Vec<f64>)| (mean_value(self.evaluator, &point, repeats), point);
        let mut best: Vec<(f64, Vec<f64>)> = self.course.best(self.most).into_iter().map(exact).collect();
        best.sort_by(|a, b| direction.compare(a.0, b.0));
        // How many failed is not counted, but whether all did.
        let failed = if best.is_empty() { self.course.evaluated() } else { 0 };
        let trials = (0..).zip(best).map(|(number, (value, point))| (trial(number, value), point));
        History::of_the_best(trials, self.course.evaluated(), failed, None)
    }
}

/// A state's words as its file holds them: with a checksum at the end.
fn encode(words: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + 4 * words.len() + 4);
    bytes.extend_from_slice(&MAGIC);
    words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// The words of a file; nothing where it is not whole.
fn decode(bytes: &[u8]) -> Option<Vec<u32>> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    let words = body.strip_prefix(&MAGIC)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*sum) || !words.len().is_multiple_of(4) {
        return None;
    }
    Some(words.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_file_that_is_not_whole_is_none() {
        let words = [7, u32::MAX, 0];
        let bytes = encode(&words);
        assert_eq!(decode(&bytes).as_deref(), Some(&words[..]));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert_eq!(decode(&flipped), None, "byte {at}");
            assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
