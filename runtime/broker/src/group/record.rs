//! Keys and values of the records in `__consumer_offsets`, in Kafka's own encoding, so that Kafka's
//! tools can print them and a migration can copy them.
//!
//! | record | key | value |
//! |---|---|---|
//! | committed offset | version 1: group, topic, partition | version 3: offset, leader epoch, metadata, commit time |
//! | group | version 2: group | version 3: protocol type, generation, protocol, leader, time of the state, members |
//!
//! A null value removes what the key names. Source: the schemas `OffsetCommitKey`/`Value` and
//! `GroupMetadataKey`/`Value` of Apache Kafka's group coordinator; values down to version 0 are
//! read.

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};

use super::member::{Member, SavedGroup};

const OFFSET_KEY_VERSION: i16 = 1;
const GROUP_KEY_VERSION: i16 = 2;
const OFFSET_VALUE_VERSION: i16 = 3;
const GROUP_VALUE_VERSION: i16 = 3;
/// Members of one group that a record is read for; far above what a group can hold.
const MEMBERS_MAX: i32 = 1_000_000;

/// What a record of the offsets topic is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Offset {
        group: String,
        topic: String,
        partition: i32,
    },
    Group {
        group: String,
    },
    /// A kind that this broker doesn't know (a newer Kafka's): left alone.
    Unknown {
        version: i16,
    },
}

/// A committed offset: where a consumer group goes on reading a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The next offset to read.
    pub(crate) offset: i64,
    /// The leader epoch of the last record read, -1 when the client said none.
    pub(crate) leader_epoch: i32,
    /// The client's own words.
    pub(crate) metadata: String,
    pub(crate) commit_time_ms: i64,
}

impl Key {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Key::Offset { group, topic, partition } => {
                out.put_i16(OFFSET_KEY_VERSION);
                put_string(&mut out, group);
                put_string(&mut out, topic);
                out.put_i32(*partition);
            }
            Key::Group { group } => {
                out.put_i16(GROUP_KEY_VERSION);
                put_string(&mut out, group);
            }
            Key::Unknown { version } => out.put_i16(*version),
        }
        out.freeze()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Key> {
        let mut rest = Fields(bytes);
        Ok(match rest.i16()? {
            0 | OFFSET_KEY_VERSION => {
                Key::Offset { group: rest.string()?, topic: rest.string()?, partition: rest.i32()? }
            }
            GROUP_KEY_VERSION => Key::Group { group: rest.string()? },
            version => Key::Unknown { version },
        })
    }
}

impl CommittedOffset {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(OFFSET_VALUE_VERSION);
        out.put_i64(self.offset);
        out.put_i32(self.leader_epoch);
        put_string(&mut out, &self.metadata);
        out.put_i64(self.commit_time_ms);
        out.freeze()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<CommittedOffset> {
        let mut rest = Fields(bytes);
        let version = rest.i16()?;
        ensure!((0..=3).contains(&version), "committed offset of version {version}");
        Ok(CommittedOffset {
            offset: rest.i64()?,
            leader_epoch: if version >= 3 { rest.i32()? } else { -1 },
            metadata: rest.string()?,
            commit_time_ms: rest.i64()?,
        })
    }
}

pub(crate) fn encode_group(group: &SavedGroup) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(GROUP_VALUE_VERSION);
    put_string(&mut out, group.protocol_type.as_deref().unwrap_or(""));
    out.put_i32(group.generation);
    put_nullable(&mut out, group.protocol.as_deref());
    put_nullable(&mut out, group.leader.as_deref());
    out.put_i64(group.state_since_ms);
    out.put_i32(group.members.len() as i32);
    for member in &group.members {
        put_string(&mut out, &member.id);
        put_nullable(&mut out, member.instance_id.as_deref());
        put_string(&mut out, &member.client_id);
        put_string(&mut out, &member.client_host);
        out.put_i32(member.rebalance_timeout_ms);
        out.put_i32(member.session_timeout_ms);
        put_bytes(&mut out, &member.metadata(group.protocol.as_deref()));
        put_bytes(&mut out, &member.assignment);
    }
    out.freeze()
}

pub(crate) fn decode_group(bytes: &[u8]) -> Result<SavedGroup> {
    let mut rest = Fields(bytes);
    let version = rest.i16()?;
    ensure!((0..=3).contains(&version), "group of version {version}");
    let mut group = SavedGroup {
        protocol_type: Some(rest.string()?).filter(|text| !text.is_empty()),
        generation: rest.i32()?,
        protocol: rest.nullable()?,
        leader: rest.nullable()?,
        state_since_ms: if version >= 2 { rest.i64()? } else { -1 },
        members: Vec::new(),
    };
    let members = rest.i32()?;
    ensure!((0..=MEMBERS_MAX).contains(&members), "a group of {members} members");
    for _ in 0..members {
        let member = decode_member(&mut rest, version, group.protocol.as_deref())?;
        group.members.push(member);
    }
    Ok(group)
}

/// Only the metadata of the chosen strategy is stored, as in Kafka.
fn decode_member(rest: &mut Fields<'_>, version: i16, protocol: Option<&str>) -> Result<Member> {
    let mut member = Member::named(rest.string()?);
    if version >= 3 {
        member.instance_id = rest.nullable()?;
    }
    member.client_id = rest.string()?;
    member.client_host = rest.string()?;
    let rebalance_timeout_ms = if version >= 1 { Some(rest.i32()?) } else { None };
    member.session_timeout_ms = rest.i32()?;
    member.rebalance_timeout_ms = rebalance_timeout_ms.unwrap_or(member.session_timeout_ms);
    let metadata = rest.bytes()?;
    member.protocols = vec![(protocol.unwrap_or("").to_owned(), metadata)];
    member.assignment = rest.bytes()?;
    Ok(member)
}

fn put_string(out: &mut BytesMut, text: &str) {
    // Strings come from requests, whose own limit is the same.
    let bytes = &text.as_bytes()[..text.len().min(i16::MAX as usize)];
    out.put_i16(bytes.len() as i16);
    out.put_slice(bytes);
}

fn put_nullable(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => out.put_i16(-1),
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

/// Reads fields from the front; every read is checked against what is left.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take(&mut self, size: usize) -> Result<&[u8]> {
        let (taken, rest) =
            self.0.split_at_checked(size).context("a record that ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16> {
        let bytes = self.take(2)?;
        Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn i32(&mut self) -> Result<i32> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn i64(&mut self) -> Result<i64> {
        let high = self.i32()?;
        let low = self.i32()?;
        Ok((i64::from(high) << 32) | i64::from(low as u32))
    }

    fn nullable(&mut self) -> Result<Option<String>> {
        let size = self.i16()?;
        if size < -1 {
            bail!("a string of {size} bytes");
        }
        let Ok(size) = usize::try_from(size) else { return Ok(None) };
        let text = std::str::from_utf8(self.take(size)?).context("a string that is not UTF-8")?;
        Ok(Some(text.to_owned()))
    }

    fn string(&mut self) -> Result<String> {
        self.nullable()?.context("a string that is null")
    }

    fn bytes(&mut self) -> Result<Bytes> {
        let size = self.i32()?;
        let size = usize::try_from(size).with_context(|| format!("{size} bytes"))?;
        Ok(Bytes::copy_from_slice(self.take(size)?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_written_as_kafka_writes_it() {
        let key = Key::Offset { group: "g".into(), topic: "ab".into(), partition: 7 };
        assert_eq!(&key.encode()[..], b"\0\x01\0\x01g\0\x02ab\0\0\0\x07");
        let value = CommittedOffset {
            offset: 258,
            leader_epoch: -1,
            metadata: "m".into(),
            commit_time_ms: 3,
        };
        let expected =
            b"\0\x03\0\0\0\0\0\0\x01\x02\xff\xff\xff\xff\0\x01m\0\0\0\0\0\0\0\x03".as_slice();
        assert_eq!(value.encode(), expected);
        assert_eq!(Key::decode(&key.encode()).unwrap(), key);
        assert_eq!(CommittedOffset::decode(expected).unwrap(), value);
    }

    fn group() -> SavedGroup {
        let mut member = Member::named("m-1".into());
        member.instance_id = Some("i".into());
        member.client_id = "c".into();
        member.client_host = "/127.0.0.1".into();
        member.session_timeout_ms = 45_000;
        member.rebalance_timeout_ms = 300_000;
        member.protocols = vec![("range".into(), Bytes::from_static(b"meta"))];
        member.assignment = Bytes::from_static(b"assigned");
        SavedGroup {
            generation: 4,
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            leader: Some("m-1".into()),
            state_since_ms: 99,
            members: vec![member],
        }
    }

    #[test]
    fn a_group_comes_back_as_it_was_written() {
        let key = Key::Group { group: "g".into() };
        assert_eq!(Key::decode(&key.encode()).unwrap(), key);
        assert_eq!(decode_group(&encode_group(&group())).unwrap(), group());
        let empty = SavedGroup { generation: 5, state_since_ms: 1, ..SavedGroup::default() };
        assert_eq!(decode_group(&encode_group(&empty)).unwrap(), empty);
    }

    #[test]
    fn a_record_cut_anywhere_is_an_error_and_no_panic() {
        let value = encode_group(&group());
        for end in 0..value.len() {
            decode_group(&value[..end]).unwrap_err();
        }
        Key::decode(&[0, 1, 0xff, 0xfe]).unwrap_err();
        assert_eq!(Key::decode(&[0, 9]).unwrap(), Key::Unknown { version: 9 });
    }
}
