//! The journal: what is not in it did not happen, what is in it is never trained again.
//!
//! A file header (magic, format version), then frames of length, CRC-32C and payload (postcard). The first frame is the
//! [`Header`]; every other is a batch of outcomes in columns, written and synced before anyone is told. A frame cut
//! short by a crash is cut off when the file is opened for writing; damage before a whole frame is an error that says what
//! could be kept.

use super::distribution::Bins;
use super::error::{JournalError, RunDirError};
use super::run_dir::write_whole;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"1000fold";
/// The format that this program reads and writes.
pub const VERSION: u32 = 3;
/// Magic and version.
const FILE_HEADER: usize = 12;
/// Length and checksum.
pub(super) const FRAME_HEADER: usize = 8;

/// What a journal belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Of every name and cell of the data.
    pub data_fingerprint: u64,
    /// Of all keys of the resolved study that change a result.
    pub study_fingerprint: u64,
    /// The program that began it.
    pub program: String,
    /// The backend it began on: "cpu" or "gpu".
    pub backend: String,
    /// Scores that a candidate has: folds times row sets.
    pub scores: u32,
    /// Values that a candidate has: 1, or more where there are several objectives.
    pub objectives: u32,
    /// The study's name: a run keeps it, whatever its directory is called.
    pub study: String,
}

/// What a frame holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Frame {
    /// The first frame.
    Header(Header),
    /// Outcomes of some candidates.
    Outcomes(Outcomes),
    /// The test score, read once.
    Test(TestScore),
    /// All that a search keeps that keeps little; the last one holds.
    Kept(Kept),
    /// Scores of candidates on their way.
    Rung(Rung),
    /// Why programs, or an objective in Rust, gave no value: candidates, whose outcomes follow, and their reasons.
    Reasons(Vec<(u64, String)>),
}

/// Scores of some candidates that have had a part of the budget.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rung {
    /// What each of their lanes has had; where they go fold by fold, how many of their lanes are done.
    pub budget: u64,
    /// As if they had come to their end there.
    pub outcomes: Outcomes,
}

/// Outcomes in columns. With one score a candidate takes 14 bytes, so ten million of them 140 MB.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outcomes {
    /// Ids as runs: the first one and how many follow each other. Ascending within a frame; frames come in the order in
    /// which candidates finished.
    pub candidates: Vec<(u64, u64)>,
    /// Statuses as runs: the byte of a [`super::history::TrialStatus`], and how many candidates have it.
    pub statuses: Vec<(u8, u64)>,
    /// `scores` numbers a candidate.
    pub scores: Vec<f64>,
    /// Values beside the score: of the other objectives, then of a command those that have a limit alone.
    pub others: Vec<f64>,
    /// Mean score on training rows.
    pub train: Vec<f32>,
    /// Seconds of training over all lanes: the upper half of an f32's bits, which is good to a 256th.
    pub seconds: Vec<[u8; 2]>,
    /// Units of budget that lanes used, as runs: a number and how many lanes used so much. A candidate's lanes stand in the
    /// order of the folds.
    pub used: Vec<(u64, u64)>,
    /// How the mean score changes with each encoded value, for strategies that have a use for it; empty where no candidate
    /// has a gradient, NaN in the rows of those that have none.
    pub gradients: Vec<f64>,
    /// Encoded values, for strategies whose proposals depend on outcomes. For others they follow from seed and id, and
    /// this is empty.
    pub points: Vec<f64>,
}

/// The state of a search that keeps the best candidates only.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Kept {
    /// Candidates with an outcome: those with smaller ids.
    pub done: u64,
    /// How many of them failed.
    pub failed: u64,
    /// The best ones' ids, best first.
    pub candidates: Vec<u64>,
    /// Their values.
    pub values: Vec<f64>,
    /// Their encoded values, one row after another.
    pub points: Vec<f64>,
    /// How many values lie where.
    pub bins: Bins,
}

/// What the locked test rows said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestScore {
    /// The candidate that was refitted on all other rows.
    pub candidate: u64,
    /// Its score; `None` without test rows.
    pub value: Option<f64>,
    /// Test rows.
    pub rows: u64,
    /// In nested cross-validation the candidate that each outer part's search chose, and its score there.
    pub outer: Vec<(u64, f64)>,
}

/// A journal open for writing.
pub struct Journal {
    file: File,
    path: PathBuf,
    /// End of the last whole frame.
    end: u64,
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> JournalError + '_ {
    |source| JournalError::Io(RunDirError::Io { path: path.to_owned(), source })
}

impl Journal {
    /// Begins a journal. The file appears with its header whole: whatever stops the machine, there is a journal to go
    /// on with, or none.
    pub fn create(path: &Path, header: Header) -> Result<Journal, JournalError> {
        let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
        bytes.extend(to_bytes(&Frame::Header(header)).map_err(io(path))?);
        write_whole(path, &bytes)?;
        Journal::at(path, bytes.len() as u64)
    }

    /// Opens a journal to go on with it: reads every frame and cuts a torn tail. With `salvage` everything from a
    /// damaged frame on is cut too.
    pub fn open(path: &Path, salvage: bool) -> Result<(Journal, Vec<Frame>), JournalError> {
        let (frames, end) = read(path, salvage)?;
        Ok((Journal::at(path, end)?, frames))
    }

    fn at(path: &Path, end: u64) -> Result<Journal, JournalError> {
        let mut file = File::options().write(true).open(path).map_err(io(path))?;
        file.set_len(end).map_err(io(path))?;
        file.seek(SeekFrom::Start(end)).map_err(io(path))?;
        Ok(Journal { file, path: path.to_owned(), end })
    }

    /// Writes a frame and waits until it is on the disk. After an error the file ends with its last whole frame.
    pub fn append(&mut self, frame: &Frame) -> Result<(), JournalError> {
        let bytes = to_bytes(frame).map_err(io(&self.path))?;
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // The error at hand is what the user must see; that cutting back may fail too changes nothing, because a
            // torn tail is cut when the file is opened again.
            drop(self.file.set_len(self.end));
            drop(self.file.seek(SeekFrom::Start(self.end)));
            return Err(io(&self.path)(source));
        }
        self.end += bytes.len() as u64;
        Ok(())
    }
}

/// A frame as the file holds it.
fn to_bytes(frame: &Frame) -> std::io::Result<Vec<u8>> {
    framed(&postcard::to_stdvec(frame).map_err(std::io::Error::other)?)
}

/// A payload behind its length and checksum.
pub(super) fn framed(payload: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = u32::try_from(payload.len()).map_err(std::io::Error::other)?;
    let mut bytes = Vec::with_capacity(payload.len() + FRAME_HEADER);
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32c::crc32c(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// Reads a journal's whole frames, and where the last of them ends.
pub fn read(path: &Path, salvage: bool) -> Result<(Vec<Frame>, u64), JournalError> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(io(path))?;
    let not_a_journal = || JournalError::NotAJournal { path: path.to_owned() };
    let rest = bytes.strip_prefix(&MAGIC).ok_or_else(not_a_journal)?;
    let version = rest.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(not_a_journal)?;
    if version > VERSION {
        return Err(JournalError::Newer { path: path.to_owned(), found: version, known: VERSION });
    }
    if version < VERSION {
        return Err(JournalError::Older { path: path.to_owned(), found: version, known: VERSION });
    }
    let mut frames = Vec::new();
    let mut offset = FILE_HEADER;
    while offset < bytes.len() {
        match frame_at(&bytes[offset..]) {
            Ok((frame, length)) => {
                // Of states the last one holds.
                if let (Frame::Kept(_), Some(Frame::Kept(_))) = (&frame, frames.last()) {
                    frames.pop();
                }
                frames.push(frame);
                offset += length;
            }
            Err(Broken::Torn) => break,
            Err(Broken::Damaged(_)) if salvage => break,
            Err(Broken::Damaged(what)) => {
                return Err(JournalError::Damaged {
                    path: path.to_owned(),
                    offset: offset as u64,
                    what,
                    frames: frames.len(),
                    lost: (bytes.len() - offset) as u64,
                });
            }
        }
    }
    match frames.first() {
        Some(Frame::Header(_)) => Ok((frames, offset as u64)),
        _ => Err(not_a_journal()),
    }
}

enum Broken {
    /// What a crash leaves: the last frame was not written whole. Its blocks, those of its header among them, reach the
    /// disk in any order, and a file that had grown already holds zeros for the others.
    Torn,
    Damaged(&'static str),
}

/// The frame at the start of `bytes`, and its length in the file.
fn frame_at(bytes: &[u8]) -> Result<(Frame, usize), Broken> {
    let word = |place: usize| bytes.get(place..place + 4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let (Some(length), Some(checksum)) = (word(0), word(4)) else { return Err(Broken::Torn) };
    let end = FRAME_HEADER + length as usize;
    // A frame is synced before the next one is begun: whatever a whole frame follows is no torn one. Whole frames are
    // known by their own checksums, wherever a damaged length says that they begin.
    let broken = |what: &'static str| {
        let is_followed =
            bytes.get(end..).is_some_and(is_whole_frame) || (1..bytes.len()).any(|skip| is_whole_frame(&bytes[skip..]));
        if is_followed { Broken::Damaged(what) } else { Broken::Torn }
    };
    // No frame is empty, and the checksum of nothing is that of zeros.
    let Some(payload) = bytes.get(FRAME_HEADER..end).filter(|payload| !payload.is_empty()) else {
        return Err(broken("its length is wrong"));
    };
    if crc32c::crc32c(payload) != checksum {
        return Err(broken("its checksum does not match"));
    }
    match postcard::from_bytes(payload) {
        Ok(frame) => Ok((frame, end)),
        Err(_) => Err(Broken::Damaged("its content cannot be read")),
    }
}

fn is_whole_frame(bytes: &[u8]) -> bool {
    let word = |place: usize| bytes.get(place..place + 4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let (Some(length), Some(checksum)) = (word(0), word(4)) else { return false };
    let payload = bytes.get(FRAME_HEADER..FRAME_HEADER + length as usize);
    length > 0 && payload.is_some_and(|payload| crc32c::crc32c(payload) == checksum)
}
