//! Whole lines of a file, a block at a time, up to where the first quote is: without quotes a line break ends a row, and
//! cells can be read in place.

use memchr::{memchr, memrchr};
use std::io::{self, Cursor, Read};

const BLOCK_BYTES: u64 = 256 << 10;

/// Cuts bytes into blocks of whole lines.
pub(super) struct Lines<R> {
    source: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were handed out.
    taken: usize,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R) -> Lines<R> {
        Lines { source, buffer: Vec::new(), taken: 0 }
    }

    /// The next whole lines; `None` at the end, and where a quote is near.
    pub(super) fn next_block(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        loop {
            let seen = self.buffer.len();
            let read = self.source.by_ref().take(BLOCK_BYTES).read_to_end(&mut self.buffer)?;
            if memchr(b'"', &self.buffer[seen..]).is_some() || self.buffer.is_empty() {
                return Ok(None);
            }
            let is_over = (read as u64) < BLOCK_BYTES;
            let end = if is_over { Some(self.buffer.len()) } else { memrchr(b'\n', &self.buffer).map(|end| end + 1) };
            // A line longer than a block: read on.
            let Some(end) = end else { continue };
            self.taken = end;
            return Ok(Some(&self.buffer[..end]));
        }
    }

    /// All that was not handed out.
    pub(super) fn rest(mut self) -> impl Read {
        self.buffer.drain(..self.taken);
        Cursor::new(self.buffer).chain(self.source)
    }
}
