//! The topics that a consumer subscribes to, out of the metadata that it joins its group with.
//!
//! ```text
//! version i16 | topics i32, then each: length i16, UTF-8 | … (user data and more in later versions)
//! ```
//!
//! The broker passes metadata on unread; only OffsetDelete looks inside. Source: the schema
//! `ConsumerProtocolSubscription` of Apache Kafka.

use bytes::Buf;

/// None: the bytes are no subscription.
pub(super) fn topics(mut metadata: &[u8]) -> Option<Vec<String>> {
    let _version = metadata.try_get_i16().ok()?;
    let count = metadata.try_get_i32().ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let size = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        let (topic, rest) = metadata.split_at_checked(size)?;
        topics.push(std::str::from_utf8(topic).ok()?.to_owned());
        metadata = rest;
    }
    Some(topics)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_cut_bytes_are_none() {
        let metadata = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";
        assert_eq!(topics(metadata).unwrap(), ["a", "bc"]);
        for end in 0..13 {
            assert_eq!(topics(&metadata[..end]), None, "{end} bytes");
        }
        assert_eq!(topics(b"\0\0\x7f\xff\xff\xff\0\x01a"), None);
    }
}
