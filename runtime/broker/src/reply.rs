//! One answer on its way to the socket: its size, the encoded message, and record bytes in between
//! that are referred to and never copied.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use anyhow::{Context, Result};
use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::Encodable;
use kafka_protocol::protocol::buf::ByteBufMut;

use crate::quotas::FetchMemory;

/// Record bytes shorter than this are copied: a piece of its own would cost more than the copy.
const PIECE_BYTES_MIN: usize = 4096;

/// The bytes of one answer, size prefix first, ready for a vectored write.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pieces: VecDeque<Bytes>,
    remaining: usize,
    /// What the record bytes count as until they are sent.
    memory: Option<FetchMemory>,
}

impl Reply {
    /// Keeps hold of the memory until the answer is sent or dropped.
    pub(crate) fn hold(mut self, memory: Option<FetchMemory>) -> Reply {
        self.memory = memory;
        self
    }

    /// Encodes header and message. `records` are the byte fields of the message that may be sent
    /// from where they lie, in the order in which the message holds them.
    pub(crate) fn encode<M: Encodable>(
        correlation_id: i32,
        header_version: i16,
        message: &M,
        version: i16,
        records: VecDeque<Bytes>,
    ) -> Result<Reply> {
        let mut out = PieceBuffer { records, ..PieceBuffer::default() };
        let header = ResponseHeader::default().with_correlation_id(correlation_id);
        header.encode(&mut out, header_version).context("cannot encode a response header")?;
        message.encode(&mut out, version).context("cannot encode a response")?;
        out.finish()
    }

    /// A frame of these bytes and nothing else.
    pub(crate) fn bare(bytes: Bytes) -> Result<Reply> {
        let mut out = PieceBuffer::default();
        out.push(bytes);
        out.finish()
    }
}

impl Buf for Reply {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.pieces.iter().zip(slices);
        pieces.map(|(piece, slice)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        self.remaining -= count;
        while let Some(front) = self.pieces.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.pieces.pop_front();
        }
    }
}

/// What the codec writes into. Bytes that it would copy from one of `records` become a piece.
#[derive(Default)]
struct PieceBuffer {
    pieces: VecDeque<Bytes>,
    pieces_bytes: usize,
    tail: BytesMut,
    records: VecDeque<Bytes>,
}

impl PieceBuffer {
    fn finish(mut self) -> Result<Reply> {
        self.end_piece();
        let size = i32::try_from(self.pieces_bytes).context("a response of more than 2 GiB")?;
        self.pieces.push_front(Bytes::copy_from_slice(&size.to_be_bytes()));
        Ok(Reply { pieces: self.pieces, remaining: self.pieces_bytes + 4, memory: None })
    }

    fn end_piece(&mut self) {
        if !self.tail.is_empty() {
            let piece = self.tail.split().freeze();
            self.push(piece);
        }
    }

    fn push(&mut self, piece: Bytes) {
        self.pieces_bytes += piece.len();
        self.pieces.push_back(piece);
    }

    /// The next of `records`, if `source` is that very memory.
    fn take_record(&mut self, source: &[u8]) -> Option<Bytes> {
        let next = self.records.front()?;
        if next.as_ptr() != source.as_ptr() || next.len() != source.len() {
            return None;
        }
        self.records.pop_front()
    }
}

// SAFETY: everything is forwarded to `BytesMut`, whose implementation upholds the contract;
// `put_slice` is a provided method and writes through safe methods only.
unsafe impl BufMut for PieceBuffer {
    fn remaining_mut(&self) -> usize {
        self.tail.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller promises that `count` bytes of `chunk_mut` are initialised.
        unsafe { self.tail.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.tail.chunk_mut()
    }

    fn put_slice(&mut self, source: &[u8]) {
        match self.take_record(source) {
            Some(record) if record.len() >= PIECE_BYTES_MIN => {
                self.end_piece();
                self.push(record);
            }
            _ => self.tail.extend_from_slice(source),
        }
    }
}

/// Positions count from the last piece; the codec looks back only while it encodes record batches,
/// which no response does.
impl ByteBufMut for PieceBuffer {
    fn offset(&self) -> usize {
        self.tail.offset()
    }

    fn seek(&mut self, offset: usize) {
        self.tail.seek(offset);
    }

    fn range(&mut self, range: Range<usize>) -> &mut [u8] {
        self.tail.range(range)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use kafka_protocol::messages::FetchResponse;
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};

    fn fetch_response(records: &[Bytes]) -> FetchResponse {
        let partitions = records
            .iter()
            .map(|records| PartitionData::default().with_records(Some(records.clone())))
            .collect();
        FetchResponse::default()
            .with_responses(vec![FetchableTopicResponse::default().with_partitions(partitions)])
    }

    #[test]
    fn pieces_read_like_the_plain_encoding() {
        for version in [4, 11, 12, 17] {
            let records: Vec<Bytes> =
                [0, 10, 5000, 9000].map(|size| Bytes::from(vec![7u8; size])).to_vec();
            let response = fetch_response(&records);
            let mut reply =
                Reply::encode(9, 0, &response, version, records.clone().into()).unwrap();
            let pieces = reply.pieces.len();
            let mut plain = BytesMut::new();
            plain.put_i32(0);
            plain.put_i32(9);
            response.encode(&mut plain, version).unwrap();
            let size = plain.len() as i32 - 4;
            plain[..4].copy_from_slice(&size.to_be_bytes());
            assert_eq!(reply.copy_to_bytes(reply.remaining()), plain, "version {version}");
            assert!(pieces >= 5, "large records are pieces of their own: {pieces}");
        }
    }

    #[test]
    fn advancing_by_any_step_visits_every_byte_once() {
        let records = vec![Bytes::from(vec![1u8; 5000]), Bytes::from(vec![2u8; 6000])];
        let response = fetch_response(&records);
        let mut whole = Reply::encode(1, 1, &response, 12, records.clone().into()).unwrap();
        let whole = whole.copy_to_bytes(whole.remaining());
        let mut stepped = Reply::encode(1, 1, &response, 12, records.into()).unwrap();
        let mut seen = vec![];
        while stepped.has_remaining() {
            let step = stepped.chunk().len().min(777);
            seen.extend_from_slice(&stepped.chunk()[..step]);
            stepped.advance(step);
        }
        assert_eq!(seen, whole);
    }
}
