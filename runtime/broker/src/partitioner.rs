//! Which partition a record key belongs to: murmur2, as the Java client, Spark and Kafka's tools
//! do it.
//!
//! Every producer that we ship hashes with this function, so that equal keys meet in one partition
//! whoever writes them. librdkafka's own default is CRC-32 and agrees only by chance; with
//! `partitioner=murmur2_random` it agrees always.

/// Seed of the hash; source: `org.apache.kafka.common.utils.Utils.murmur2`.
const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// The partition of a record with this record key in a topic of `partitions` partitions.
///
/// An empty key is hashed like any other; a record without a key has no fixed partition and
/// isn't asked about here. A topic without partitions is treated as one partition.
pub fn partition_for_key(record_key: &[u8], partitions: u32) -> u32 {
    (murmur2(record_key) & 0x7fff_ffff) % partitions.max(1)
}

/// The 32-bit murmur2 hash with Kafka's seed, reading the bytes in little-endian words.
pub fn murmur2(data: &[u8]) -> u32 {
    let mut hash = SEED ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(MULTIPLIER);
        k ^= k >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ k.wrapping_mul(MULTIPLIER);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (place, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * place);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_agree_with_the_vectors_of_other_clients() {
        let vectors: [(&str, u32); 5] = [
            ("kafka", 0xd067_cf64),
            ("giberish123456789", 0x8f55_2b0c),
            ("1234", 0x9fc9_7b14),
            ("", 0x106e_08d9),
            ("11599", 0x77a1_1cac),
        ];
        for (key, expected) in vectors {
            assert_eq!(murmur2(key.as_bytes()), expected, "key {key:?}");
        }
    }

    #[test]
    fn partitions_agree_with_those_of_the_java_client() {
        let vectors: [(&str, u32, u32); 11] = [
            ("100:48069", 12, 9),
            (r#"Struct{documentKey={"_id": "638d1b94ce8def06be68b439"}}"#, 50, 40),
            ("354afe16-939a-4ea8-8e17-8bb0840b6886", 10, 4),
            ("f562ac3b-2224-4e25-a0ab-56094e10c239", 10, 5),
            ("fd7af248-ce5c-46a5-93d7-1c0c9005b99d", 32, 26),
            ("TT0124", 15, 10),
            ("11599", 12, 0),
            ("256", 2, 1),
            ("256", 6, 3),
            ("256", 12, 9),
            ("12111", 12, 8),
        ];
        for (key, partitions, expected) in vectors {
            assert_eq!(partition_for_key(key.as_bytes(), partitions), expected, "key {key:?}");
        }
    }

    #[test]
    fn a_topic_without_partitions_does_not_divide_by_zero() {
        assert_eq!(partition_for_key(b"x", 0), 0);
    }
}
