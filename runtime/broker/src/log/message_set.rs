//! Message sets, the formats 0 and 1 of Kafka before 0.11, as Produce up to version 2 carries them.
//! They are made record batches of format 2 before anything else happens, in the codec in which they
//! came; nothing of them is stored.
//!
//! ```text
//! a message: offset i64 | size i32 | crc u32 | magic i8 | attributes i8 | timestamp i64 (format 1)
//!            keyLength i32 (-1: null) | key | valueLength i32 (-1: null) | value
//! ```
//! The checksum (CRC-32) covers what follows it. Attributes: bits 0-2 are the codec; the value of a
//! compressed message is a message set, whose messages are not compressed again.

use bytes::Bytes;

use super::batch_builder::BatchBuilder;
use super::compression::{self, DECOMPRESSED_BYTES_MAX};
use super::error::AppendError;
use super::recompress;
use super::record_batch::{Codec, Header, Malformed, NO_TIMESTAMP};

/// Offset and size, which `size` does not count.
const PREFIX_BYTES: usize = 12;
/// Checksum, magic, attributes and the lengths of key and value.
const MESSAGE_BYTES_MIN: usize = 14;
const CODEC_MASK: u8 = 0b111;

/// One record batch with the messages of a set, which must hold at least one.
pub(crate) fn to_record_batch(set: &[u8]) -> Result<Bytes, AppendError> {
    let mut batch = BatchBuilder::new();
    let mut codec = Codec::None;
    for message in messages(set) {
        let message = message?;
        match message.codec {
            Codec::None => push(&mut batch, &message)?,
            outer => {
                codec = outer;
                push_nested(&mut batch, &message)?;
            }
        }
    }
    if batch.record_count() == 0 {
        return Err(AppendError::Invalid("a message set without messages".into()));
    }
    let batch = batch.build();
    match codec {
        Codec::None => Ok(batch),
        codec => {
            let header = Header::parse(&batch)?;
            recompress::change(&header, &batch, codec).map(Bytes::from)
        }
    }
}

fn push_nested(batch: &mut BatchBuilder, outer: &Message<'_>) -> Result<(), AppendError> {
    let stored = outer.value.unwrap_or_default();
    let repaired = (outer.codec == Codec::Lz4 && outer.magic == 0).then(|| repair_lz4(stored));
    let plain = compression::decompress(outer.codec, repaired.as_deref().unwrap_or(stored))
        .map_err(|error| AppendError::Invalid(error.to_string()))?;
    for message in messages(&plain) {
        let message = message?;
        if message.codec != Codec::None {
            return Err(AppendError::Invalid("a compressed message inside another".into()));
        }
        push(batch, &message)?;
    }
    Ok(())
}

fn push(batch: &mut BatchBuilder, message: &Message<'_>) -> Result<(), AppendError> {
    batch.push(message.timestamp_ms, message.key, message.value);
    if batch.size_bytes() > DECOMPRESSED_BYTES_MAX {
        return Err(AppendError::Invalid("more than 128 MiB of messages at once".into()));
    }
    Ok(())
}

/// One message, borrowed from its set.
struct Message<'a> {
    magic: u8,
    codec: Codec,
    /// -1 in format 0.
    timestamp_ms: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

/// Walks over a set. Ends after the first error.
fn messages(set: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    let mut rest = set;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = next(&mut rest);
        if message.is_err() {
            rest = &[];
        }
        Some(message)
    })
}

fn next<'a>(rest: &mut &'a [u8]) -> Result<Message<'a>, Malformed> {
    let mut prefix = Fields(take(rest, PREFIX_BYTES)?);
    prefix.number::<8>()?;
    let length = i32::from_be_bytes(prefix.number()?);
    let size = usize::try_from(length).ok().filter(|size| *size >= MESSAGE_BYTES_MIN);
    let body = take(rest, size.ok_or(Malformed::Length(length))?)?;
    let mut fields = Fields(body);
    let stored = u32::from_be_bytes(fields.number()?);
    let mut crc = flate2::Crc::new();
    crc.update(fields.0);
    if crc.sum() != stored {
        return Err(Malformed::Crc { stored, computed: crc.sum() });
    }
    let [magic, attributes] = fields.number()?;
    let timestamp_ms = match magic {
        0 => NO_TIMESTAMP,
        1 => i64::from_be_bytes(fields.number()?),
        other => return Err(Malformed::Magic(other as i8)),
    };
    let codec = match attributes & CODEC_MASK {
        0 => Codec::None,
        1 => Codec::Gzip,
        2 => Codec::Snappy,
        3 => Codec::Lz4,
        code => return Err(Malformed::Codec(code.into())),
    };
    Ok(Message { magic, codec, timestamp_ms, key: fields.nullable()?, value: fields.nullable()? })
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let short = Malformed::Short { have: rest.len(), need: len };
    let (taken, behind) = rest.split_at_checked(len).ok_or(short)?;
    *rest = behind;
    Ok(taken)
}

/// The fields of a message, read from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Malformed> {
        let mut number = [0; BYTES];
        number.copy_from_slice(take(&mut self.0, BYTES)?);
        Ok(number)
    }

    fn nullable(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match i32::from_be_bytes(self.number()?) {
            -1 => Ok(None),
            length => {
                let size = usize::try_from(length).map_err(|_| Malformed::Length(length))?;
                take(&mut self.0, size).map(Some)
            }
        }
    }
}

/// In format 0 the checksum of an LZ4 frame's header covers the frame's magic too, by a mistake of
/// Kafka's that became the format (KAFKA-3160). Puts the right one in its place.
fn repair_lz4(frame: &[u8]) -> Vec<u8> {
    const MAGIC_BYTES: usize = 4;
    const CONTENT_SIZE_FLAG: u8 = 1 << 3;
    const CONTENT_SIZE_BYTES: usize = 8;
    let mut repaired = frame.to_vec();
    let has_size = frame.get(MAGIC_BYTES).is_some_and(|flags| flags & CONTENT_SIZE_FLAG != 0);
    let place = MAGIC_BYTES + 2 + if has_size { CONTENT_SIZE_BYTES } else { 0 };
    if let Some(descriptor) = frame.get(MAGIC_BYTES..place)
        && let Some(checksum) = repaired.get_mut(place)
    {
        *checksum = (xxh32_short(descriptor) >> 8) as u8;
    }
    repaired
}

/// xxHash of 32 bits with seed 0 for fewer than 16 bytes (xxhash_spec.md).
fn xxh32_short(bytes: &[u8]) -> u32 {
    const PRIMES: [u32; 5] = [0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D, 0x27D4_EB2F, 0x1656_67B1];
    debug_assert!(bytes.len() < 16);
    let mut hash = PRIMES[4].wrapping_add(bytes.len() as u32);
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIMES[2]));
        hash = hash.rotate_left(17).wrapping_mul(PRIMES[3]);
    }
    for byte in rest {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIMES[4]));
        hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIMES[1]);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 16)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::records;
    use super::*;
    use bytes::BytesMut;

    fn message(
        magic: u8,
        codec: u8,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> Vec<u8> {
        let mut body = vec![magic, codec];
        if magic == 1 {
            body.extend_from_slice(&timestamp_ms.to_be_bytes());
        }
        body.extend_from_slice(&key.map_or(-1, |key| key.len() as i32).to_be_bytes());
        body.extend_from_slice(key.unwrap_or_default());
        body.extend_from_slice(&(value.len() as i32).to_be_bytes());
        body.extend_from_slice(value);
        let mut crc = flate2::Crc::new();
        crc.update(&body);
        let mut message = vec![0; 8];
        message.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
        message.extend_from_slice(&crc.sum().to_be_bytes());
        message.extend_from_slice(&body);
        message
    }

    /// Time, key and value of each record.
    type Plain = Vec<(i64, Option<Vec<u8>>, Option<Vec<u8>>)>;

    fn decoded(batch: &[u8]) -> (Codec, Plain) {
        let header = Header::parse_whole(batch).unwrap();
        let payload = records::payload(&header, batch).unwrap();
        let plain = records::iter(&payload).map(|record| {
            let record = record.unwrap();
            let time_ms = header.base_timestamp_ms + record.timestamp_delta_ms;
            (time_ms, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec))
        });
        (header.codec().unwrap(), plain.collect())
    }

    #[test]
    fn both_formats_become_records() {
        for (magic, times) in [(0, [-1, -1]), (1, [70, 60])] {
            let mut set = message(magic, 0, 70, None, b"first");
            set.extend(message(magic, 0, 60, Some(b"key"), b""));
            let (codec, records) = decoded(&to_record_batch(&set).unwrap());
            assert_eq!(codec, Codec::None);
            let first = (times[0], None, Some(b"first".to_vec()));
            let second = (times[1], Some(b"key".to_vec()), Some(vec![]));
            assert_eq!(records, [first, second], "format {magic}");
        }
    }

    #[test]
    fn a_compressed_set_stays_compressed() {
        for (code, codec) in [(1, Codec::Gzip), (2, Codec::Snappy), (3, Codec::Lz4)] {
            let mut inner = message(1, 0, 5, None, &[1; 100]);
            inner.extend(message(1, 0, 6, None, &[2; 100]));
            let stored = compression::compress(codec, BytesMut::from(&inner[..])).unwrap();
            let set = message(1, code, 6, None, &stored);
            let (found, records) = decoded(&to_record_batch(&set).unwrap());
            assert_eq!((found, records.len(), records[1].0), (codec, 2, 6));
        }
    }

    #[test]
    fn the_old_checksum_of_lz4_frames_is_understood() {
        let inner = message(0, 0, 0, None, &[1; 100]);
        let mut stored = compression::compress(Codec::Lz4, BytesMut::from(&inner[..])).unwrap();
        let place = 6 + if stored[4] & 8 != 0 { 8 } else { 0 };
        assert_eq!(repair_lz4(&stored), stored, "a right checksum is found again");
        stored[place] ^= 0x55;
        let (_, records) = decoded(&to_record_batch(&message(0, 3, 0, None, &stored)).unwrap());
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn damage_is_refused_wherever_it_is() {
        let set = message(1, 0, 5, Some(b"key"), b"value");
        for end in 0..set.len() {
            assert!(to_record_batch(&set[..end]).is_err(), "cut at {end}");
        }
        for place in 8..set.len() {
            let mut damaged = set.clone();
            damaged[place] ^= 1;
            assert!(to_record_batch(&damaged).is_err(), "byte {place}");
        }
        let nested = message(1, 1, 5, None, &set);
        assert!(to_record_batch(&nested).is_err(), "no gzip");
    }
}
