//! The header of a record batch, format version 2 (KIP-98), as it travels and as it lies on disk.
//!
//! ```text
//! byte  0  baseOffset            i64   set by the broker, outside the CRC
//!       8  batchLength           i32   bytes from byte 12 to the end
//!      12  partitionLeaderEpoch  i32   set by the broker, outside the CRC
//!      16  magic                 i8    2
//!      17  crc                   u32   CRC-32C of byte 21 to the end
//!      21  attributes            i16   0-2 compression, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon
//!      23  lastOffsetDelta       i32
//!      27  baseTimestamp         i64   ms
//!      35  maxTimestamp          i64   ms
//!      43  producerId            i64   -1: none
//!      51  producerEpoch         i16
//!      53  baseSequence          i32
//!      57  recordsCount          i32
//!      61  records
//! ```
//!
//! All numbers are big endian. Responsible for reading, checking and patching headers; the records
//! themselves are in [`super::records`].

use super::error::AppendError;

/// Bytes in front of the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes in front of what `batchLength` counts.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// The first bytes of a batch, which the broker rewrites: baseOffset, batchLength,
/// partitionLeaderEpoch.
pub(super) const PATCHED_BYTES: usize = 16;
/// Where the checksummed part begins.
const CRC_FROM: usize = 21;
/// The only format stored.
const MAGIC: i8 = 2;
/// "No producer" and "no sequence" in a batch that is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// "No timestamp".
pub const NO_TIMESTAMP: i64 = -1;

const COMPRESSION_MASK: i16 = 0b111;
const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// The codec of the records, attributes bits 0-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Stored plain.
    None,
    /// gzip.
    Gzip,
    /// snappy in the framing of xerial's snappy-java.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

/// Why bytes are not a record batch. Found on the wire it is the client's mistake, on disk damage
/// or a torn write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer bytes than a header or than `batchLength` says.
    Short { have: usize, need: usize },
    /// `batchLength` below the header's own size, or negative.
    Length(i32),
    /// A format other than 2.
    Magic(i8),
    /// The checksum in the header and that of the bytes.
    Crc { stored: u32, computed: u32 },
    /// `recordsCount` is not `lastOffsetDelta + 1`, or that is negative.
    Count { records: i32, last_offset_delta: i32 },
    /// A compression code that Kafka doesn't know.
    Codec(i16),
    /// A base offset that is impossible, or on disk not the one that must follow.
    Offset(i64),
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Malformed::Short { have, need } => write!(f, "{have} bytes where {need} are needed"),
            Malformed::Length(length) => write!(f, "impossible batch length {length}"),
            Malformed::Magic(magic) => write!(f, "record format {magic}, only 2 is known"),
            Malformed::Crc { stored, computed } => {
                write!(f, "checksum {computed:08x} where the header says {stored:08x}")
            }
            Malformed::Count { records, last_offset_delta } => {
                write!(f, "{records} records with last offset delta {last_offset_delta}")
            }
            Malformed::Codec(code) => write!(f, "unknown compression code {code}"),
            Malformed::Offset(offset) => write!(f, "impossible base offset {offset}"),
        }
    }
}

impl std::error::Error for Malformed {}

/// A decoded header. `size_bytes` covers the whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub base_offset: i64,
    pub size_bytes: usize,
    pub partition_leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl Header {
    /// Reads the first [`HEADER_BYTES`] of `bytes`. Checks that they can be a header of format 2
    /// with a possible length and possible offsets; neither the checksum nor whether the records
    /// are there.
    pub fn parse(bytes: &[u8]) -> Result<Header, Malformed> {
        let Some(fixed) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(Malformed::Short { have: bytes.len(), need: HEADER_BYTES });
        };
        let length = i32_at(fixed, 8);
        let size_bytes = usize::try_from(length)
            .ok()
            .map(|length| length + LENGTH_PREFIX_BYTES)
            .filter(|size| *size >= HEADER_BYTES)
            .ok_or(Malformed::Length(length))?;
        if fixed[16] as i8 != MAGIC {
            return Err(Malformed::Magic(fixed[16] as i8));
        }
        let header = Header {
            base_offset: i64_at(fixed, 0),
            size_bytes,
            partition_leader_epoch: i32_at(fixed, 12),
            crc: i32_at(fixed, 17) as u32,
            attributes: i16_at(fixed, 21),
            last_offset_delta: i32_at(fixed, 23),
            base_timestamp_ms: i64_at(fixed, 27),
            max_timestamp_ms: i64_at(fixed, 35),
            producer_id: i64_at(fixed, 43),
            producer_epoch: i16_at(fixed, 51),
            base_sequence: i32_at(fixed, 53),
            record_count: i32_at(fixed, 57),
        };
        if header.base_offset < 0 || header.base_offset.checked_add(1 << 31).is_none() {
            return Err(Malformed::Offset(header.base_offset));
        }
        if header.last_offset_delta < 0 {
            let (records, last_offset_delta) = (header.record_count, header.last_offset_delta);
            return Err(Malformed::Count { records, last_offset_delta });
        }
        Ok(header)
    }

    /// Reads the first batch of `bytes` and checks its length and checksum. Returns the header; the
    /// batch is `bytes[..header.size_bytes]`. The count is not checked: compaction leaves gaps.
    pub fn parse_whole(bytes: &[u8]) -> Result<Header, Malformed> {
        let header = Header::parse(bytes)?;
        let Some(batch) = bytes.get(..header.size_bytes) else {
            return Err(Malformed::Short { have: bytes.len(), need: header.size_bytes });
        };
        let computed = crc32c::crc32c(&batch[CRC_FROM..]);
        if computed != header.crc {
            return Err(Malformed::Crc { stored: header.crc, computed });
        }
        Ok(header)
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset of the batch that follows.
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// The sequence number of the last record; wraps to 0 after `i32::MAX` as the clients' do.
    pub fn last_sequence(&self) -> i32 {
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        if last > i64::from(i32::MAX) {
            (last - i64::from(i32::MAX) - 1) as i32
        } else {
            last as i32
        }
    }

    /// True when an idempotent producer wrote the batch.
    pub fn has_producer(&self) -> bool {
        self.producer_id != NO_PRODUCER_ID
    }

    /// True for a batch inside a transaction, and for the marker that ends one.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// True for a marker, which clients skip.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// True when every record's time is `max_timestamp_ms`, set by the broker.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & TIMESTAMP_TYPE_BIT != 0
    }

    /// When compaction may drop the tombstones of the batch, or the marker that it is, ms since
    /// 1970 (KIP-534). It stands in place of the base time.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp_ms)
    }

    /// How the records are compressed.
    pub fn codec(&self) -> Result<Codec, Malformed> {
        match self.attributes & COMPRESSION_MASK {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            code => Err(Malformed::Codec(code)),
        }
    }
}

/// What the broker puts in front of a stored batch in place of the producer's first bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patch {
    bytes: [u8; HEADER_BYTES],
    len: usize,
}

impl Patch {
    /// New offset and leader epoch; neither is covered by the checksum.
    pub(super) fn offset(batch: &[u8; HEADER_BYTES], base_offset: i64, leader_epoch: i32) -> Patch {
        let mut bytes = *batch;
        bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
        Patch { bytes, len: PATCHED_BYTES }
    }

    /// The same, and the broker's time for every record, which means a new checksum over the whole
    /// `batch`.
    pub(super) fn append_time(mut self, batch: &[u8], now_ms: i64) -> Patch {
        let attributes = i16_at(&self.bytes, 21) | TIMESTAMP_TYPE_BIT;
        self.bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
        self.bytes[35..43].copy_from_slice(&now_ms.to_be_bytes());
        let head = crc32c::crc32c(&self.bytes[CRC_FROM..]);
        let crc = crc32c::crc32c_append(head, &batch[HEADER_BYTES..]);
        self.bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        self.len = HEADER_BYTES;
        self
    }

    /// The bytes to write first.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Where in the producer's batch the untouched rest begins.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// Splits `records` into batches and checks each as Kafka checks a client's
/// (UnifiedLog.analyzeAndValidateRecords): lengths, format, checksum, count. An empty input has no
/// batch and is refused.
pub(super) fn split(records: &[u8], size_max: u32) -> Result<Vec<Header>, AppendError> {
    let mut headers = Vec::with_capacity(1);
    let mut rest = records;
    while !rest.is_empty() {
        let header = Header::parse(rest).map_err(AppendError::from)?;
        if header.size_bytes > size_max as usize {
            return Err(AppendError::TooLarge { size_bytes: header.size_bytes, size_max });
        }
        let header = Header::parse_whole(rest).map_err(AppendError::from)?;
        if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
            let (records, last_offset_delta) = (header.record_count, header.last_offset_delta);
            return Err(Malformed::Count { records, last_offset_delta }.into());
        }
        header.codec().map_err(AppendError::from)?;
        rest = &rest[header.size_bytes..];
        headers.push(header);
    }
    if headers.is_empty() {
        return Err(AppendError::Invalid("no record batch in the request".into()));
    }
    Ok(headers)
}

/// What compaction changes in a batch: fewer records, under the same offsets and sequence numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remainder<'a> {
    /// The records that stay, compressed as the batch was; empty: none.
    pub records: &'a [u8],
    pub record_count: i32,
    pub max_timestamp_ms: i64,
    /// Replaces the base time, to which the times of `records` must refer.
    pub delete_horizon_ms: Option<i64>,
}

/// The batch with this header and what remains of its records. A batch without records tells no
/// more than which offsets and sequence numbers its producer has used.
pub(super) fn rebuild(header: &[u8; HEADER_BYTES], remainder: &Remainder<'_>) -> Vec<u8> {
    let mut batch = Vec::with_capacity(HEADER_BYTES + remainder.records.len());
    batch.extend_from_slice(header);
    batch.extend_from_slice(remainder.records);
    let length = (batch.len() - LENGTH_PREFIX_BYTES) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let mut attributes = i16_at(header, 21);
    if remainder.record_count == 0 {
        attributes &= !COMPRESSION_MASK;
    }
    if let Some(horizon_ms) = remainder.delete_horizon_ms {
        attributes |= DELETE_HORIZON_BIT;
        batch[27..35].copy_from_slice(&horizon_ms.to_be_bytes());
    }
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[35..43].copy_from_slice(&remainder.max_timestamp_ms.to_be_bytes());
    batch[57..61].copy_from_slice(&remainder.record_count.to_be_bytes());
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn i16_at(bytes: &[u8; HEADER_BYTES], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn i32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> i32 {
    i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn i64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> i64 {
    (i64::from(i32_at(bytes, at)) << 32) | i64::from(i32_at(bytes, at + 4) as u32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::super::batch_builder::BatchBuilder;
    use super::*;
    use proptest::prelude::*;

    /// A header of one record without a producer.
    pub(in super::super) fn header() -> Header {
        let mut builder = BatchBuilder::new();
        builder.push(0, None, None);
        Header::parse_whole(&builder.build()).unwrap()
    }

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.push(5, Some(b"key"), Some(b"value"));
        builder.push(6, Some(b"key"), Some(b"value"));
        builder.build().to_vec()
    }

    #[test]
    fn every_flipped_bit_of_the_checksummed_part_is_noticed() {
        let good = batch();
        for at in 16..good.len() {
            for bit in 0..8 {
                let mut flipped = good.clone();
                flipped[at] ^= 1 << bit;
                assert!(split(&flipped, u32::MAX).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let good = batch();
        for len in 0..good.len() {
            assert!(split(&good[..len], u32::MAX).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_batch_above_the_limit_is_refused_before_its_checksum_is_computed() {
        let mut large = batch();
        let size = large.len();
        large[30] ^= 1;
        let error = split(&large, size as u32 - 1).unwrap_err();
        assert!(matches!(error, AppendError::TooLarge { .. }));
    }

    #[test]
    fn the_brokers_time_goes_in_with_a_right_checksum() {
        let bytes = batch();
        let fixed = bytes.first_chunk::<HEADER_BYTES>().unwrap();
        let patch = Patch::offset(fixed, 77, 3).append_time(&bytes, 123_456);
        let patched = [patch.as_bytes(), &bytes[patch.len()..]].concat();
        let header = Header::parse_whole(&patched).unwrap();
        assert_eq!((header.base_offset, header.partition_leader_epoch), (77, 3));
        assert_eq!(header.max_timestamp_ms, 123_456);
        assert!(header.is_log_append_time());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert!(split(&bytes, 1000).is_err());
        }

        #[test]
        fn damaged_batches_are_refused_without_a_panic(
            at in 0usize..80, byte in any::<u8>(), len in 0usize..200,
        ) {
            let mut bytes = batch().repeat(2);
            let index = at % bytes.len();
            bytes[index] = byte;
            bytes.truncate(len);
            let _ = split(&bytes, u32::MAX);
        }
    }
}
