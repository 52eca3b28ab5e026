//! Walks over the batches of a segment from a place on, checking each: recovery, rebuilding of
//! indexes, look-ups by time.

use std::io;

use crate::disk::DiskFile;

use super::record_batch::{HEADER_BYTES, Header, Malformed};

/// Bytes read at once. A larger batch is read whole, which is bounded by the file's size.
const CHUNK_BYTES: usize = 1 << 20;

/// Read at once where only a batch or two are looked at.
pub(super) const LOOK_BYTES: usize = 8 << 10;

/// A walk over `file` up to `end`.
pub(super) struct Scan<'a> {
    file: &'a dyn DiskFile,
    /// Of the next batch.
    position: u64,
    end: u64,
    chunk_bytes: usize,
    buffer: Vec<u8>,
    /// Where the next batch begins in the buffer.
    at: usize,
}

/// What stands at the place where the walk is.
#[derive(Debug)]
pub(super) enum Step<'b> {
    /// A batch whose checksum holds.
    Batch { position: u64, header: Header, bytes: &'b [u8] },
    /// No batch, or one with a wrong checksum. The walk stays here.
    Bad { position: u64, why: Malformed },
    /// Nothing; the walk has reached `end`.
    End,
}

impl<'a> Scan<'a> {
    /// A walk that reads about `chunk_bytes` at a time; None: a size for long walks.
    pub(super) fn new(
        file: &'a dyn DiskFile,
        position: u64,
        end: u64,
        chunk_bytes: Option<usize>,
    ) -> Scan<'a> {
        let chunk_bytes = chunk_bytes.unwrap_or(CHUNK_BYTES);
        Scan { file, position, end, chunk_bytes, buffer: Vec::new(), at: 0 }
    }

    /// The next batch.
    pub(super) fn next(&mut self) -> io::Result<Step<'_>> {
        let position = self.position;
        if position >= self.end {
            return Ok(Step::End);
        }
        self.fill(HEADER_BYTES)?;
        let header = match Header::parse(&self.buffer[self.at..]) {
            Ok(header) => header,
            Err(why) => return Ok(Step::Bad { position, why }),
        };
        let left = self.end - position;
        if header.size_bytes as u64 > left {
            let (have, need) = (left as usize, header.size_bytes);
            return Ok(Step::Bad { position, why: Malformed::Short { have, need } });
        }
        self.fill(header.size_bytes)?;
        let start = self.at;
        if let Err(why) = Header::parse_whole(&self.buffer[start..]) {
            return Ok(Step::Bad { position, why });
        }
        self.at += header.size_bytes;
        self.position += header.size_bytes as u64;
        Ok(Step::Batch { position, header, bytes: &self.buffer[start..self.at] })
    }

    /// Makes `len` bytes from the current place available, fewer at the end.
    fn fill(&mut self, len: usize) -> io::Result<()> {
        if self.buffer.len() - self.at >= len {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let from = self.position + self.buffer.len() as u64;
        let wanted = (len - self.buffer.len()).max(self.chunk_bytes) as u64;
        let wanted = wanted.min(self.end.saturating_sub(from)) as usize;
        self.file.read_at(from, wanted, &mut self.buffer)?;
        Ok(())
    }
}
