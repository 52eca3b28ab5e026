//! The records inside a record batch. Only what has to look inside uses this: look-ups by time,
//! markers, topics that are compacted. The way in and the way out of ordinary records does not.
//!
//! ```text
//! a record: length varint | attributes i8 | timestampDelta varlong | offsetDelta varint
//!           keyLength varint (-1: null) | key | valueLength varint (-1: null) | value | headers
//! ```
//! All varints are zigzag encoded.

use std::borrow::Cow;

use bytes::BufMut;

use super::compression;
use super::producer_state::Marker;
use super::record_batch::{HEADER_BYTES, Header};

/// The key of a control record: version i16, then 0 for abort or 1 for commit.
const CONTROL_ABORT: i16 = 0;
const CONTROL_COMMIT: i16 = 1;

/// One record, borrowed from the decompressed bytes. Headers are not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// The whole record, with its length in front.
    pub raw: &'a [u8],
    /// From the length of the key to the end: all that doesn't depend on the batch around it.
    pub from_key: &'a [u8],
    pub attributes: u8,
    pub offset_delta: i32,
    pub timestamp_delta_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// Why records cannot be read although the batch's checksum holds: the producer wrote nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable(pub &'static str);

impl std::fmt::Display for Undecodable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "records cannot be decoded: {}", self.0)
    }
}

/// The records of `batch`, decompressed where needed; at most
/// [`compression::DECOMPRESSED_BYTES_MAX`].
pub fn payload<'a>(header: &Header, batch: &'a [u8]) -> Result<Cow<'a, [u8]>, Undecodable> {
    let stored = batch.get(HEADER_BYTES..header.size_bytes).ok_or(Undecodable("cut off"))?;
    let codec = header.codec().map_err(|_| Undecodable("unknown compression"))?;
    compression::decompress(codec, stored)
}

/// Walks over a payload. Ends after the first error.
pub fn iter(payload: &[u8]) -> impl Iterator<Item = Result<RecordView<'_>, Undecodable>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = next(&mut rest);
        if record.is_err() {
            rest = &[];
        }
        Some(record)
    })
}

fn next<'a>(rest: &mut &'a [u8]) -> Result<RecordView<'a>, Undecodable> {
    let whole = *rest;
    let len = varint(rest)?;
    let mut record = take(rest, len)?;
    let raw = &whole[..whole.len() - rest.len()];
    let attributes = take(&mut record, 1)?[0]; // unused so far
    let timestamp_delta_ms = varint(&mut record)?;
    let offset_delta =
        i32::try_from(varint(&mut record)?).map_err(|_| Undecodable("offset delta"))?;
    let from_key = record;
    let key = nullable(&mut record)?;
    let value = nullable(&mut record)?;
    Ok(RecordView { raw, from_key, attributes, offset_delta, timestamp_delta_ms, key, value })
}

fn nullable<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Undecodable> {
    match varint(rest)? {
        -1 => Ok(None),
        len => take(rest, len).map(Some),
    }
}

fn take<'a>(rest: &mut &'a [u8], len: i64) -> Result<&'a [u8], Undecodable> {
    let len = usize::try_from(len).map_err(|_| Undecodable("negative length"))?;
    let (taken, behind) = rest.split_at_checked(len).ok_or(Undecodable("length past the end"))?;
    *rest = behind;
    Ok(taken)
}

/// A zigzag varint of up to 64 bits.
fn varint(rest: &mut &[u8]) -> Result<i64, Undecodable> {
    let mut raw = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first().ok_or(Undecodable("cut off"))?;
        *rest = behind;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    Err(Undecodable("varint of more than 10 bytes"))
}

/// Writes a number as [`varint`] reads it.
pub(super) fn put_varint(into: &mut impl BufMut, number: i64) {
    let mut raw = ((number << 1) ^ (number >> 63)) as u64;
    while raw >= 0x80 {
        into.put_u8(raw as u8 | 0x80);
        raw >>= 7;
    }
    into.put_u8(raw as u8);
}

/// Writes a record as it is, but for the distance of its time from the batch's.
pub(super) fn put_moved(into: &mut impl BufMut, record: &RecordView<'_>, timestamp_delta_ms: i64) {
    let mut front = Vec::with_capacity(16);
    front.push(record.attributes);
    put_varint(&mut front, timestamp_delta_ms);
    put_varint(&mut front, i64::from(record.offset_delta));
    put_varint(into, (front.len() + record.from_key.len()) as i64);
    into.put_slice(&front);
    into.put_slice(record.from_key);
}

/// Whether a control batch commits its producer's transaction. `Ok(None)`: it is another kind of
/// control batch.
pub fn commits(header: &Header, batch: &[u8]) -> Result<Option<bool>, Undecodable> {
    Ok(marker(header, batch)?.map(|marker| !marker.aborted))
}

/// What a control batch says. `Ok(None)`: a control record of another kind than commit or abort.
pub(super) fn marker(header: &Header, batch: &[u8]) -> Result<Option<Marker>, Undecodable> {
    let payload = payload(header, batch)?;
    let record = iter(&payload).next().ok_or(Undecodable("control batch without a record"))??;
    let key = record.key.ok_or(Undecodable("control record without a key"))?;
    let kind = match key {
        [_, _, high, low, ..] => i16::from_be_bytes([*high, *low]),
        _ => return Err(Undecodable("control key of less than 4 bytes")),
    };
    if kind != CONTROL_ABORT && kind != CONTROL_COMMIT {
        return Ok(None);
    }
    let coordinator_epoch = match record.value {
        Some([_, _, a, b, c, d, ..]) => i32::from_be_bytes([*a, *b, *c, *d]),
        _ => return Err(Undecodable("marker without a coordinator epoch")),
    };
    Ok(Some(Marker { aborted: kind == CONTROL_ABORT, coordinator_epoch }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn varints_read_as_the_protocol_writes_them() {
        for (bytes, number) in [
            (&[0x00][..], 0),
            (&[0x01], -1),
            (&[0x02], 1),
            (&[0x7f], -64),
            (&[0x80, 0x01], 64),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], i64::MIN),
        ] {
            assert_eq!(varint(&mut &bytes[..]).unwrap(), number);
        }
        assert!(varint(&mut &[0xffu8; 11][..]).is_err());
        assert!(varint(&mut &[0x80u8][..]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_payloads_end_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(iter(&bytes).count() <= bytes.len());
        }
    }
}
