//! Decompression with a limit, for the few places that look inside a batch, and compression for the
//! one that leaves records out of it. A batch of 1 MiB may
//! claim to hold gigabytes; nothing here allocates more than [`DECOMPRESSED_BYTES_MAX`].

use std::borrow::Cow;
use std::io::Read;

use bytes::BytesMut;
use kafka_protocol::compression::{Compressor, Gzip, Lz4, Snappy, Zstd};

use super::record_batch::Codec;
use super::records::Undecodable;

/// More decompressed bytes than this in one batch are not looked at.
pub const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;
/// The header of xerial's snappy framing; after it come blocks, each behind its length as u32.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;

/// The records of a batch in plain.
pub(super) fn decompress(codec: Codec, stored: &[u8]) -> Result<Cow<'_, [u8]>, Undecodable> {
    let plain = match codec {
        Codec::None => return Ok(Cow::Borrowed(stored)),
        Codec::Gzip => read_all(flate2::read::MultiGzDecoder::new(stored))?,
        Codec::Lz4 => read_all(lz4::Decoder::new(stored).map_err(|_| Undecodable("lz4"))?)?,
        Codec::Zstd => {
            read_all(zstd::stream::read::Decoder::new(stored).map_err(|_| Undecodable("zstd"))?)?
        }
        Codec::Snappy => snappy(stored)?,
    };
    Ok(Cow::Owned(plain))
}

/// The records of a batch as the codec stores them. None: the codec failed.
pub(super) fn compress(codec: Codec, plain: BytesMut) -> Option<BytesMut> {
    match codec {
        Codec::None => Some(plain),
        Codec::Gzip => compress_with::<Gzip>(&plain),
        Codec::Snappy => compress_with::<Snappy>(&plain),
        Codec::Lz4 => compress_with::<Lz4>(&plain),
        Codec::Zstd => compress_with::<Zstd>(&plain),
    }
}

fn compress_with<C: Compressor<BytesMut, BufMut = BytesMut>>(plain: &[u8]) -> Option<BytesMut> {
    let mut stored = BytesMut::new();
    let fill = |buffer: &mut BytesMut| {
        buffer.extend_from_slice(plain);
        Ok(())
    };
    C::compress(&mut stored, fill).ok()?;
    Some(stored)
}

fn read_all(reader: impl Read) -> Result<Vec<u8>, Undecodable> {
    let mut plain = Vec::new();
    let mut limited = reader.take(DECOMPRESSED_BYTES_MAX as u64 + 1);
    limited.read_to_end(&mut plain).map_err(|_| Undecodable("compressed bytes are damaged"))?;
    if plain.len() > DECOMPRESSED_BYTES_MAX {
        return Err(Undecodable("more than 128 MiB when decompressed"));
    }
    Ok(plain)
}

fn snappy(stored: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let mut plain = Vec::new();
    if !stored.starts_with(XERIAL_MAGIC) {
        snappy_block(stored, &mut plain)?;
        return Ok(plain);
    }
    let mut rest = stored.get(XERIAL_HEADER_BYTES..).ok_or(Undecodable("snappy header"))?;
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let len = u32::from_be_bytes(*len) as usize;
        let (block, behind) = behind.split_at_checked(len).ok_or(Undecodable("snappy block"))?;
        snappy_block(block, &mut plain)?;
        rest = behind;
    }
    if rest.is_empty() { Ok(plain) } else { Err(Undecodable("snappy block length")) }
}

fn snappy_block(block: &[u8], plain: &mut Vec<u8>) -> Result<(), Undecodable> {
    let len = snap::raw::decompress_len(block).map_err(|_| Undecodable("snappy length"))?;
    let start = plain.len();
    // Snappy packs at most about 21 bytes into one, so a claim beyond is a lie
    // (format_description.txt).
    if len > DECOMPRESSED_BYTES_MAX - start || len / 64 > block.len() {
        return Err(Undecodable("more snappy bytes than allowed"));
    }
    plain.resize(start + len, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut plain[start..])
        .map_err(|_| Undecodable("snappy bytes are damaged"))?;
    plain.truncate(start + written);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn all_four_codecs_come_back() {
        let plain: Vec<u8> = (0..100_000u32).flat_map(|n| (n / 7).to_be_bytes()).collect();
        for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd, Codec::Snappy, Codec::None] {
            let stored = compress(codec, BytesMut::from(&plain[..])).unwrap();
            assert_eq!(*decompress(codec, &stored).unwrap(), *plain, "{codec:?}");
            // The LZ4 reader takes the end of its input for the end of the frame.
            let cut = decompress(codec, &stored[..stored.len() / 2]);
            let unnoticed = [Codec::Lz4, Codec::None].contains(&codec);
            assert!(cut.is_err() || unnoticed, "{codec:?} cut");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let zeros = BytesMut::zeroed(DECOMPRESSED_BYTES_MAX + 1);
        let bomb = compress(Codec::Zstd, zeros).unwrap();
        assert!(bomb.len() < 1 << 20);
        assert!(decompress(Codec::Zstd, &bomb).is_err());
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
        assert!(decompress(Codec::Snappy, &claim).is_err());
    }
}
