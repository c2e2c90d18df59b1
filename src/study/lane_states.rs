//! The states of lanes that stand on rungs, in a file beside the journal: with `[run] checkpoint` a run that was killed goes on
//! between two rungs.
//!
//! A file header, then frames as the journal has them: what the states belong to, then a candidate's lanes each. The journal is
//! the truth: a state without an outcome saves training, an outcome without a state costs some, and nothing else. So writes
//! are not waited for, and what cannot be read is as good as not there.
//!
//! A state is found by what made it: the points that its lanes were trained with so far, and how long. In a population whoever
//! takes over another's training thus finds the other's states.
//!
//! A study has such states where its scheduler scores models on their way and lets them go on.

use super::config::StudyConfig;
use super::error::ConfigError;
use super::journal::{FRAME_HEADER, framed};
use super::objective::{Models, Objective};
use super::recipe::Recipe;
use super::resolve::Study;
use crate::base::hash::Hasher;
use crate::schedulers::{SchedulerEntry, Unit};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, BufWriter, Error, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"1000lane";
/// The format that this program reads and writes.
const VERSION: u32 = 1;
/// Bytes of dead states that are not worth a rewrite.
const FEW: u64 = 1 << 20;

/// Whether anything of a study could be kept so; a note where there will be nothing.
pub(super) fn check(
    config: &StudyConfig,
    scheduler: &dyn SchedulerEntry,
    objective: &Objective,
) -> Result<Option<String>, ConfigError> {
    let refused = |need: &'static str| {
        Err(ConfigError::OutOfRange { key: "run.checkpoint", value: "true".to_owned(), need: need.into() })
    };
    match objective {
        _ if !config.run.checkpoint => Ok(None),
        Objective::Function(_) | Objective::Wgsl(_) => {
            refused("a function is evaluated at once, and leaves nothing to go on from. Leave the key out")
        }
        Objective::Rust(_) => refused(
            "what Rust code goes on from is its own, and nothing here knows how to write it; it stays in memory between rungs. Leave \
             the key out",
        ),
        Objective::Command(_) => refused(
            "what a command's programs go on from they write themselves, into the directory that they find in \
             THOUSANDFOLD_CHECKPOINT; it is kept without this key. Leave it out",
        ),
        Objective::Models(models) if has_states(scheduler, models) => Ok(None),
        Objective::Models(_) => Ok(Some(format!(
            "run.checkpoint has nothing to keep: under the scheduler \"{}\" no lane goes on from where it was scored",
            scheduler.name()
        ))),
    }
}

/// Whether lanes go on from where they were scored.
fn has_states(scheduler: &dyn SchedulerEntry, models: &Models) -> bool {
    // On more rows a fit is another one.
    let goes_on = models.pipelines.iter().any(|pipeline| pipeline.rows.is_none());
    scheduler.ends_early() && scheduler.unit() == Unit::Epoch && goes_on
}

impl Study {
    /// Whether the states of lanes that stand on rungs are kept on the disk.
    pub(super) fn keeps_states(&self) -> bool {
        self.config.run.checkpoint && self.objective.models().is_ok_and(|models| has_states(self.scheduler, models))
    }
}

/// What states belong to: on anything else lanes do not go on from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Binding {
    /// As in the journal's header.
    pub(super) data_fingerprint: u64,
    /// As in the journal's header.
    pub(super) study_fingerprint: u64,
    /// The program that wrote them.
    pub(super) program: String,
    /// The backend, and of a GPU which one.
    pub(super) backend: String,
}

/// A candidate's lanes where they stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head {
    candidate: u64,
    /// Hash of what its lanes were trained with.
    recipe: u64,
    /// Units of budget that they have had, as the scheduler counts them.
    had: u64,
    /// Seconds of training over all lanes.
    seconds: f32,
    /// Units of budget that each lane used.
    used: Vec<u64>,
    /// Bytes of each lane's state; the states follow.
    bytes: Vec<u64>,
}

/// What lanes go on from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    /// Units of budget that they have had, as the scheduler counts them.
    pub(super) had: u64,
    /// Seconds of training over all lanes.
    pub(super) seconds: f32,
    /// Units of budget that each lane used.
    pub(super) used: Vec<u64>,
    /// Each lane's state, as a trainer reported it.
    pub(super) states: Vec<Vec<u8>>,
}

/// Where in the file a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: u64,
    bytes: u64,
}

/// By how much lanes have had, and what they were trained with.
type Known = BTreeMap<u64, HashMap<u64, Place>>;

/// The file, open for reading and writing.
pub(super) struct LaneStates {
    file: File,
    path: PathBuf,
    /// End of the last whole frame, and of the first, before which no state is.
    end: u64,
    first: u64,
    known: Known,
    /// Of each candidate that may go on the last state: when, with what, and how long its frame is.
    last: HashMap<u64, (u64, u64, u64)>,
}

impl LaneStates {
    /// Opens the file, or begins it; what it holds of other studies or backends, or cannot be read, is dropped with a note.
    pub(super) fn open(path: &Path, binding: &Binding) -> std::io::Result<(LaneStates, Option<String>)> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let length = file.metadata()?.len();
        let head = head_of(binding)?;
        let first = head.len() as u64;
        let mut states =
            LaneStates { file, path: path.to_owned(), end: first, first, known: BTreeMap::new(), last: HashMap::new() };
        let lost = match length {
            0 => None,
            _ => states.read(&head, length)?,
        };
        if states.end == first {
            states.file.set_len(0)?;
            states.file.seek(SeekFrom::Start(0))?;
            states.file.write_all(&head)?;
        }
        states.file.set_len(states.end)?;
        let name = path.display();
        let note =
            lost.map(|why| format!("{name} {why}: where there is no other, lanes are trained from their beginning"));
        Ok((states, note))
    }

    /// Takes what the file holds; what is wrong with the rest, if anything is.
    fn read(&mut self, head: &[u8], length: u64) -> std::io::Result<Option<String>> {
        let mut reader = BufReader::new(&self.file);
        let mut found = vec![0; head.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
        reader.read_exact(&mut found)?;
        if found.len() < head.len() && head.starts_with(&found) {
            // The machine stopped while it was begun.
            return Ok(None);
        }
        if found != head {
            return Ok(Some("is of another program, backend or study".to_owned()));
        }
        let mut payload = Vec::new();
        let mut heads = Vec::new();
        let mut end = self.end;
        while end < length {
            let Some(bytes) = frame_of(&mut reader, length - end, &mut payload)? else { break };
            let Some((head, _)) = parted(&payload) else { break };
            heads.push((head, Place { offset: end, bytes }));
            end += bytes;
        }
        drop(reader);
        heads.into_iter().for_each(|(head, place)| self.know(&head, place));
        self.end = end;
        Ok((end < length).then(|| format!("cannot be read from byte {end} on")))
    }

    fn know(&mut self, head: &Head, place: Place) {
        self.known.entry(head.had).or_default().insert(head.recipe, place);
        self.last.insert(head.candidate, (head.had, head.recipe, place.bytes));
    }

    /// Adds a candidate's lanes, which stand there. After an error the file ends with its last whole frame.
    pub(super) fn write(&mut self, candidate: u64, recipe: &Recipe, standing: &Standing) -> std::io::Result<()> {
        let Standing { had, seconds, used, states } = standing;
        let bytes = states.iter().map(|state| state.len() as u64).collect();
        let recipe = hash_of(recipe, *had);
        let head = Head { candidate, recipe, had: *had, seconds: *seconds, used: used.clone(), bytes };
        let encoded = postcard::to_stdvec(&head).map_err(Error::other)?;
        let length = u32::try_from(encoded.len()).map_err(Error::other)?.to_le_bytes();
        let parts = [&length[..], &encoded].into_iter().chain(states.iter().map(Vec::as_slice));
        let frame = framed(&parts.collect::<Vec<&[u8]>>().concat())?;
        let written = self.file.seek(SeekFrom::Start(self.end)).and_then(|_| self.file.write_all(&frame));
        if let Err(error) = written {
            // Where that fails too, a torn tail is cut when the file is opened again.
            drop(self.file.set_len(self.end));
            return Err(error);
        }
        let place = Place { offset: self.end, bytes: frame.len() as u64 };
        self.know(&head, place);
        self.end += place.bytes;
        Ok(())
    }

    /// What lanes that are trained so go on from to come to a budget: the furthest that is whole.
    pub(super) fn find(&mut self, recipe: &Recipe, budget: u64) -> Option<Standing> {
        let near = self.known.range(..=budget).rev();
        let places = near.filter_map(|(had, places)| Some((*had, *places.get(&hash_of(recipe, *had))?)));
        let places: Vec<(u64, Place)> = places.collect();
        places.into_iter().find_map(|(had, place)| self.load(place).filter(|standing| standing.had == had))
    }

    fn load(&mut self, place: Place) -> Option<Standing> {
        self.file.seek(SeekFrom::Start(place.offset)).ok()?;
        let mut payload = Vec::new();
        frame_of(&mut (&self.file).take(place.bytes), place.bytes, &mut payload).ok()??;
        let (head, mut left) = parted(&payload)?;
        let mut states = Vec::with_capacity(head.bytes.len());
        for bytes in &head.bytes {
            let (state, rest) = left.split_at_checked(usize::try_from(*bytes).ok()?)?;
            states.push(state.to_vec());
            left = rest;
        }
        Some(Standing { had: head.had, seconds: head.seconds, used: head.used, states })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes it from the disk, as far as that can be done: what stays is read or overwritten when the run is resumed.
    pub(super) fn delete(self) {
        let LaneStates { file, path, .. } = self;
        drop(file);
        drop(std::fs::remove_file(path));
    }

    /// Nobody goes on from where a candidate stands.
    pub(super) fn forget(&mut self, candidate: u64) {
        self.last.remove(&candidate);
    }

    /// Writes the file anew without states that nobody goes on from, where these are most of it.
    pub(super) fn tidy(&mut self) -> std::io::Result<()> {
        let live: u64 = self.last.values().map(|(.., bytes)| bytes).sum();
        if (self.end - self.first).saturating_sub(live) <= live.max(FEW) {
            return Ok(());
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut next = BufWriter::new(tempfile::Builder::new().prefix(".thousandfold-").tempfile_in(folder)?);
        let mut copy = |place: Place| {
            self.file.seek(SeekFrom::Start(place.offset))?;
            match std::io::copy(&mut (&self.file).take(place.bytes), &mut next)? {
                bytes if bytes == place.bytes => Ok(()),
                _ => Err(Error::from(ErrorKind::UnexpectedEof)),
            }
        };
        copy(Place { offset: 0, bytes: self.first })?;
        let (mut end, mut known) = (self.first, Known::new());
        let mut places: Vec<(u64, u64)> = self.last.values().map(|(had, recipe, _)| (*had, *recipe)).collect();
        places.sort_unstable();
        places.dedup();
        for (had, recipe) in places {
            let Some(place) = self.known.get(&had).and_then(|places| places.get(&recipe)) else { continue };
            copy(*place)?;
            known.entry(had).or_default().insert(recipe, Place { offset: end, ..*place });
            end += place.bytes;
        }
        let file = next.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        self.file = file.persist(&self.path).map_err(|error| error.error)?;
        (self.end, self.known) = (end, known);
        Ok(())
    }
}

/// The beginning of a file of these states.
fn head_of(binding: &Binding) -> std::io::Result<Vec<u8>> {
    let frame = framed(&postcard::to_stdvec(binding).map_err(Error::other)?)?;
    Ok([&MAGIC[..], &VERSION.to_le_bytes(), &frame].concat())
}

/// Reads the next frame's payload, and gives its bytes in the file, of which so many are left; `None` where it is not whole.
fn frame_of(reader: &mut impl Read, left: u64, payload: &mut Vec<u8>) -> std::io::Result<Option<u64>> {
    let mut header = [0; FRAME_HEADER];
    if left < FRAME_HEADER as u64 {
        return Ok(None);
    }
    reader.read_exact(&mut header)?;
    let word = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let (length, sum) = (u64::from(word(0)), word(4));
    if length > left - FRAME_HEADER as u64 {
        return Ok(None);
    }
    payload.clear();
    reader.take(length).read_to_end(payload)?;
    // The checksum of nothing is that of zeros.
    let is_whole = payload.len() as u64 == length && length > 0 && crc32c::crc32c(payload) == sum;
    Ok(is_whole.then_some(FRAME_HEADER as u64 + length))
}

/// A payload's head, and the states behind it.
fn parted(payload: &[u8]) -> Option<(Head, &[u8])> {
    let (length, rest) = payload.split_first_chunk::<4>()?;
    let (head, states) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let head: Head = postcard::from_bytes(head).ok()?;
    (head.used.len() == head.bytes.len()).then_some((head, states))
}

/// Of what lanes are trained with as long as they have had no more than `had`: a turn there has changed nothing yet.
fn hash_of(recipe: &Recipe, had: u64) -> u64 {
    let mut hash = Hasher::default();
    let mut take = |from: u64, point: &[f64]| {
        hash.word(from);
        point.iter().for_each(|value| hash.word(if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }));
    };
    take(0, &recipe.first);
    recipe.turns.iter().take_while(|(at, _)| *at < had).for_each(|(at, point)| take(*at, point));
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> Binding {
        Binding { data_fingerprint: 1, study_fingerprint: 2, program: "1.0".to_owned(), backend: "cpu".to_owned() }
    }

    fn standing(candidate: u64, had: u64, bytes: usize) -> Standing {
        let states = (0..2).map(|lane| vec![(candidate + had + lane) as u8; bytes]).collect();
        Standing { had, seconds: 0.5, used: vec![had, had + 1], states }
    }

    fn recipe(candidate: u64) -> Recipe {
        Recipe::of(&[candidate as f64, f64::NAN])
    }

    #[test]
    fn a_state_is_found_by_what_it_was_trained_with_and_how_far() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lanes.state");
        let (mut states, note) = LaneStates::open(&path, &binding()).unwrap();
        assert_eq!(note, None);
        for had in [3, 9] {
            states.write(0, &recipe(0), &standing(0, had, 50)).unwrap();
        }
        states.write(1, &recipe(1), &standing(1, 3, 50)).unwrap();
        for reopened in [false, true] {
            if reopened {
                drop(states);
                states = LaneStates::open(&path, &binding()).unwrap().0;
            }
            assert_eq!(states.find(&recipe(0), 27), Some(standing(0, 9, 50)));
            assert_eq!(states.find(&recipe(0), 9), Some(standing(0, 9, 50)));
            assert_eq!(states.find(&recipe(0), 8), Some(standing(0, 3, 50)));
            assert_eq!(states.find(&recipe(0), 2), None);
            assert_eq!(states.find(&recipe(2), 27), None);
            // Who takes over at 9 stands where its parent did; who did so at 8 has been trained otherwise since.
            let at = |from: u64| Recipe { turns: vec![(from, vec![5.0, 5.0])], ..recipe(0) };
            assert_eq!(states.find(&at(9), 27).map(|standing| standing.had), Some(9));
            assert_eq!(states.find(&at(8), 27).map(|standing| standing.had), Some(3));
        }
        let other = Binding { backend: "gpu, some device".to_owned(), ..binding() };
        let (mut states, note) = LaneStates::open(&path, &other).unwrap();
        assert!(note.unwrap().contains("another program, backend or study"));
        assert_eq!(states.find(&recipe(0), 27), None);
    }

    #[test]
    fn a_file_does_not_grow_without_bound_and_keeps_who_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lanes.state");
        let (mut states, _) = LaneStates::open(&path, &binding()).unwrap();
        let mut largest = 0;
        for had in 1..=200 {
            for candidate in 0..5 {
                states.write(candidate, &recipe(candidate), &standing(candidate, had, 5000)).unwrap();
            }
            states.tidy().unwrap();
            largest = largest.max(std::fs::metadata(&path).unwrap().len());
        }
        assert!(largest < 3 * FEW / 2, "{largest} bytes, of 10 MB that were written");
        states.forget(4);
        for reopened in [false, true] {
            if reopened {
                drop(states);
                let (opened, note) = LaneStates::open(&path, &binding()).unwrap();
                assert_eq!(note, None);
                states = opened;
            }
            let found = |states: &mut LaneStates, one: u64| states.find(&recipe(one), 500).map(|standing| standing.had);
            assert!((0..4).all(|one| found(&mut states, one) == Some(200)));
        }
    }

    #[test]
    fn a_state_that_cannot_be_written_leaves_those_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lanes.state");
        let (mut states, _) = LaneStates::open(&path, &binding()).unwrap();
        states.write(0, &recipe(0), &standing(0, 3, 50)).unwrap();
        states.file = File::open(&path).unwrap();
        assert!(states.write(0, &recipe(0), &standing(0, 9, 50)).is_err());
        assert_eq!(states.find(&recipe(0), 27), Some(standing(0, 3, 50)));
    }
}
