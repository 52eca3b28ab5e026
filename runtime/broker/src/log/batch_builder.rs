//! Builds the record batches that the broker itself writes: group offsets, transaction markers. Not
//! compressed.

use bytes::Bytes;

use super::record_batch::{HEADER_BYTES, LENGTH_PREFIX_BYTES, NO_PRODUCER_ID};
use super::records::put_varint;

/// The producer of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchProducer {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// -1 in markers.
    pub base_sequence: i32,
    pub is_transactional: bool,
}

/// One batch in the making; offsets are given by the log.
#[derive(Debug)]
pub struct BatchBuilder {
    attributes: i16,
    producer: Option<BatchProducer>,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    record_count: i32,
    payload: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    /// A batch without a producer id.
    pub fn new() -> BatchBuilder {
        BatchBuilder {
            attributes: 0,
            producer: None,
            base_timestamp_ms: 0,
            max_timestamp_ms: i64::MIN,
            record_count: 0,
            payload: Vec::new(),
        }
    }

    /// A batch of an idempotent or transactional producer.
    pub fn with_producer(producer: BatchProducer) -> BatchBuilder {
        let attributes = if producer.is_transactional { 1 << 4 } else { 0 };
        BatchBuilder { attributes, producer: Some(producer), ..BatchBuilder::new() }
    }

    /// The marker that ends a producer's transaction, as one control batch (KIP-98).
    pub fn marker(
        producer_id: i64,
        producer_epoch: i16,
        commit: bool,
        coordinator_epoch: i32,
        now_ms: i64,
    ) -> Bytes {
        let (base_sequence, is_transactional) = (-1, true);
        let mut builder = BatchBuilder::with_producer(BatchProducer {
            producer_id,
            producer_epoch,
            base_sequence,
            is_transactional,
        });
        builder.attributes |= 1 << 5;
        let key = [0, 0, 0, u8::from(commit)];
        let mut value = vec![0, 0];
        value.extend_from_slice(&coordinator_epoch.to_be_bytes());
        builder.push(now_ms, Some(&key), Some(&value));
        builder.build()
    }

    /// Adds a record without headers. None is Kafka's null; a null value deletes the key in a
    /// compacted topic.
    pub fn push(&mut self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        if self.record_count == 0 {
            self.base_timestamp_ms = timestamp_ms;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        let mut record = vec![0]; // attributes
        put_varint(&mut record, timestamp_ms.wrapping_sub(self.base_timestamp_ms));
        put_varint(&mut record, i64::from(self.record_count));
        put_nullable(&mut record, key);
        put_nullable(&mut record, value);
        put_varint(&mut record, 0); // headers
        put_varint(&mut self.payload, record.len() as i64);
        self.payload.extend_from_slice(&record);
        self.record_count += 1;
    }

    /// Number of records so far.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Bytes of the finished batch.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    /// The finished batch. One without a record is refused by the log.
    pub fn build(self) -> Bytes {
        let mut batch = Vec::with_capacity(self.size_bytes());
        let length = (self.size_bytes() - LENGTH_PREFIX_BYTES) as i32;
        let producer = self.producer.unwrap_or(BatchProducer {
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: -1,
            is_transactional: false,
        });
        batch.extend_from_slice(&0i64.to_be_bytes());
        batch.extend_from_slice(&length.to_be_bytes());
        batch.extend_from_slice(&(-1i32).to_be_bytes());
        batch.push(2);
        batch.extend_from_slice(&[0; 4]);
        batch.extend_from_slice(&self.attributes.to_be_bytes());
        batch.extend_from_slice(&(self.record_count - 1).to_be_bytes());
        batch.extend_from_slice(&self.base_timestamp_ms.to_be_bytes());
        batch.extend_from_slice(&self.max_timestamp_ms.to_be_bytes());
        batch.extend_from_slice(&producer.producer_id.to_be_bytes());
        batch.extend_from_slice(&producer.producer_epoch.to_be_bytes());
        batch.extend_from_slice(&producer.base_sequence.to_be_bytes());
        batch.extend_from_slice(&self.record_count.to_be_bytes());
        batch.extend_from_slice(&self.payload);
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(batch)
    }
}

fn put_nullable(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(into, -1),
        Some(bytes) => {
            put_varint(into, bytes.len() as i64);
            into.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::record_batch::Header;
    use super::super::records;
    use super::*;
    use kafka_protocol::records::RecordBatchDecoder;

    #[test]
    fn the_protocol_crate_reads_what_we_build() {
        let mut builder = BatchBuilder::new();
        builder.push(1000, Some(b"key"), Some(b"value"));
        builder.push(900, None, None);
        let mut bytes = builder.build();
        let header = Header::parse_whole(&bytes).unwrap();
        assert_eq!((header.base_timestamp_ms, header.max_timestamp_ms), (1000, 1000));
        let payload = records::payload(&header, &bytes).unwrap().into_owned();
        let own: Vec<_> = records::iter(&payload).map(Result::unwrap).collect();
        assert_eq!((own[1].offset_delta, own[1].timestamp_delta_ms, own[1].key), (1, -100, None));

        let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
        assert_eq!(set.records.len(), 2);
        assert_eq!(set.records[0].key.as_deref(), Some(&b"key"[..]));
        assert_eq!((set.records[1].timestamp, set.records[1].value.clone()), (900, None));
    }

    #[test]
    fn a_marker_reads_back() {
        let bytes = BatchBuilder::marker(7, 3, false, 12, 5);
        let header = Header::parse_whole(&bytes).unwrap();
        assert!(header.is_control() && header.is_transactional());
        let marker = records::marker(&header, &bytes).unwrap().unwrap();
        assert!(marker.aborted);
        assert_eq!(marker.coordinator_epoch, 12);
    }
}
