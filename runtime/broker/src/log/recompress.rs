//! Records in another codec than they came in, for topics whose `compression.type` names one. The
//! only place on the way in that takes a client's records apart.

use std::borrow::Cow;

use bytes::BytesMut;

use super::compression;
use super::error::AppendError;
use super::record_batch::{self, Codec, HEADER_BYTES, Header, LENGTH_PREFIX_BYTES};
use super::records;

/// Bits 0-2 of the attributes.
const CODEC_MASK: i16 = 0b111;

/// The same batches, each in `codec`. Those that are in it already stay as they are.
pub(super) fn recompress(
    records: &[u8],
    codec: Codec,
    size_max: u32,
) -> Result<Cow<'_, [u8]>, AppendError> {
    let headers = record_batch::split(records, size_max)?;
    if headers.iter().all(|header| header.codec() == Ok(codec)) {
        return Ok(Cow::Borrowed(records));
    }
    let mut changed = Vec::with_capacity(records.len());
    let mut rest = records;
    for header in &headers {
        let (batch, behind) = rest.split_at(header.size_bytes);
        rest = behind;
        match header.codec()? {
            present if present == codec => changed.extend_from_slice(batch),
            _ => changed.extend_from_slice(&change(header, batch, codec)?),
        }
    }
    Ok(Cow::Owned(changed))
}

/// One batch in another codec. What is in front of the records keeps all but its length, its codec
/// and its checksum.
pub(super) fn change(header: &Header, batch: &[u8], codec: Codec) -> Result<Vec<u8>, AppendError> {
    let payload =
        records::payload(header, batch).map_err(|error| AppendError::Invalid(error.to_string()))?;
    let stored = compression::compress(codec, BytesMut::from(&*payload))
        .ok_or_else(|| AppendError::Invalid(format!("records that {codec:?} cannot compress")))?;
    let mut changed = batch[..HEADER_BYTES].to_vec();
    changed.extend_from_slice(&stored);
    let length = i32::try_from(changed.len() - LENGTH_PREFIX_BYTES)
        .map_err(|_| AppendError::Invalid("a batch of more than 2 GiB".into()))?;
    let attributes = header.attributes & !CODEC_MASK | codec as i16;
    changed[8..12].copy_from_slice(&length.to_be_bytes());
    changed[21..23].copy_from_slice(&attributes.to_be_bytes());
    let crc = crc32c::crc32c(&changed[21..]);
    changed[17..21].copy_from_slice(&crc.to_be_bytes());
    Ok(changed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::batch_builder::BatchBuilder;
    use super::*;

    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        (0..50).for_each(|time| builder.push(time, Some(b"key"), Some(&[7; 100])));
        builder.build().to_vec()
    }

    #[test]
    fn every_codec_becomes_every_other() {
        let plain = batch();
        for from in CODECS {
            let stored = recompress(&plain, from, u32::MAX).unwrap();
            for to in CODECS {
                let changed = recompress(&stored, to, u32::MAX).unwrap();
                let header = Header::parse_whole(&changed).unwrap();
                assert_eq!(header.codec(), Ok(to), "from {from:?}");
                let back = recompress(&changed, Codec::None, u32::MAX).unwrap();
                assert_eq!(back, plain, "from {from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn several_batches_stay_in_their_order_and_damage_is_refused() {
        let mut two = recompress(&batch(), Codec::Lz4, u32::MAX).unwrap().into_owned();
        two.extend_from_slice(&batch());
        let changed = recompress(&two, Codec::Lz4, u32::MAX).unwrap();
        assert_eq!(changed[..changed.len() / 2], changed[changed.len() / 2..]);
        *two.last_mut().unwrap() ^= 1;
        assert!(recompress(&two, Codec::Lz4, u32::MAX).is_err());
    }
}
