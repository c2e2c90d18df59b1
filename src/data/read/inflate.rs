//! Gzip on a thread of its own: blocks of decompressed bytes wait in a short queue, so that memory stays bounded.

use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};

const BLOCK_BYTES: usize = 256 << 10;
const BLOCKS_WAITING: usize = 8;

/// The decompressed bytes of a gzip file.
pub(super) struct Inflate {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    taken: usize,
}

impl Inflate {
    /// Starts decompressing. The thread ends with the file, or when this reader is dropped.
    pub(super) fn new(file: File) -> Inflate {
        let (send, blocks) = sync_channel(BLOCKS_WAITING);
        std::thread::spawn(move || {
            let mut decoder = MultiGzDecoder::new(io::BufReader::with_capacity(BLOCK_BYTES, file));
            loop {
                let mut block = Vec::with_capacity(BLOCK_BYTES);
                let result = decoder.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block);
                let is_end = !matches!(result, Ok(1..));
                if send.send(result.map(|_| block)).is_err() || is_end {
                    return;
                }
            }
        });
        Inflate { blocks, block: Vec::new(), taken: 0 }
    }
}

impl Read for Inflate {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.block.len() {
            // A closed queue is the end of the file: the thread says so with an empty block, then goes.
            self.block = self.blocks.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            self.taken = 0;
        }
        let n = buffer.len().min(self.block.len() - self.taken);
        buffer[..n].copy_from_slice(&self.block[self.taken..][..n]);
        self.taken += n;
        Ok(n)
    }
}
