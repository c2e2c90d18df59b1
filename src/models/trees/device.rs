//! What models made of trees share on a GPU.

use crate::backend::BackendError;
use crate::space::Space;

/// Numbers of bins that a study may search on a device: each is a copy of the data.
const MOST_BINNINGS: usize = 16;

/// The numbers of bins that a space's candidates have, ascending. `default` is what they have where the space has no
/// `bins`.
pub fn binnings(model: &'static str, space: &Space, default: u32) -> Result<Vec<u32>, BackendError> {
    let mut bins: Vec<u32> = space.numbers("bins").into_iter().map(|bins| bins as u32).collect();
    bins.push(default);
    bins.sort_unstable();
    bins.dedup();
    if bins.len() > MOST_BINNINGS {
        return Err(BackendError::Unsuited {
            model,
            reason: format!("each of {} numbers of bins would be a copy of the data on the device", bins.len()),
            alternative: format!(
                "Search a few of them, such as bins = {{ ordinal = [15, 63, 255] }} ({MOST_BINNINGS} at most), or \
                 train on the processor: --backend cpu"
            ),
        });
    }
    Ok(bins)
}

/// The places of the parts of a lane's state, one after the other.
pub struct Places {
    /// Words taken so far.
    pub words: usize,
}

impl Places {
    /// The place of so many words.
    pub fn take(&mut self, words: usize) -> u32 {
        self.words += words;
        (self.words - words) as u32
    }
}
