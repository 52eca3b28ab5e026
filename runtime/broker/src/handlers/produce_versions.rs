//! Produce in versions 0 to 2, which the codec crate does not know: they are version 3 without the
//! transactional id, and answers without what came later. Their records are message sets; see
//! [`crate::log::message_set`].

use anyhow::{Context, Result};
use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

/// The first version that the codec knows.
const CODEC_VERSION_MIN: i16 = 3;
/// The length of a string that is null.
const NULL: i16 = -1;

/// A request of any version.
pub(super) struct AnyRequest(pub(super) ProduceRequest);

impl Decodable for AnyRequest {
    fn decode<B: ByteBuf>(body: &mut B, version: i16) -> Result<Self> {
        if version >= CODEC_VERSION_MIN {
            return ProduceRequest::decode(body, version).map(AnyRequest);
        }
        let mut with_id = BytesMut::with_capacity(2 + body.remaining());
        with_id.put_i16(NULL);
        with_id.put(body);
        ProduceRequest::decode(&mut with_id.freeze(), CODEC_VERSION_MIN).map(AnyRequest)
    }
}

/// An answer to a request of any version.
pub(super) struct AnyResponse(pub(super) ProduceResponse);

impl HeaderVersion for AnyResponse {
    fn header_version(version: i16) -> i16 {
        ProduceResponse::header_version(version.max(CODEC_VERSION_MIN))
    }
}

impl Encodable for AnyResponse {
    fn encode<B: ByteBufMut>(&self, into: &mut B, version: i16) -> Result<()> {
        match version {
            0 | 1 => self.encode_old(into, version),
            _ => self.0.encode(into, version.max(CODEC_VERSION_MIN)),
        }
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        let mut encoded = BytesMut::new();
        self.encode(&mut encoded, version)?;
        Ok(encoded.len())
    }
}

impl AnyResponse {
    /// Without the time of the append; before version 1 without the throttle time too.
    fn encode_old<B: ByteBufMut>(&self, into: &mut B, version: i16) -> Result<()> {
        into.put_i32(i32::try_from(self.0.responses.len())?);
        for topic in &self.0.responses {
            let name = topic.name.as_bytes();
            into.put_i16(i16::try_from(name.len()).context("a topic's name is too long")?);
            into.put_slice(name);
            into.put_i32(i32::try_from(topic.partition_responses.len())?);
            for partition in &topic.partition_responses {
                put_partition(into, partition);
            }
        }
        if version >= 1 {
            into.put_i32(self.0.throttle_time_ms);
        }
        Ok(())
    }
}

fn put_partition<B: BufMut>(into: &mut B, partition: &PartitionProduceResponse) {
    into.put_i32(partition.index);
    into.put_i16(partition.error_code);
    into.put_i64(partition.base_offset);
}
