//! Keys and values of the records in `__transaction_state`, in Kafka's own encoding, so that
//! Kafka's tools can print them.
//!
//! | record | version | fields |
//! |---|---|---|
//! | key | 0 | transactional id |
//! | value | 0 | producer id, epoch, time-out, state, partitions by topic (null in state Empty), time of the last change, time of the start |
//!
//! A null value forgets the id. Source: the schemas `TransactionLogKey`/`Value` of Apache Kafka.

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::state::{NO_TIME, Partitions, Producer, State, Transaction};

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 0;

pub(super) fn encode_key(transactional_id: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(KEY_VERSION);
    put_string(&mut out, transactional_id);
    out.freeze()
}

/// None: a kind of record that this broker doesn't know.
pub(super) fn decode_key(mut bytes: &[u8]) -> Result<Option<String>> {
    match bytes.try_get_i16()? {
        KEY_VERSION => take_string(&mut bytes).map(Some),
        _ => Ok(None),
    }
}

pub(super) fn encode_value(transaction: &Transaction) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(VALUE_VERSION);
    out.put_i64(transaction.producer.id);
    out.put_i16(transaction.producer.epoch);
    out.put_i32(transaction.timeout_ms);
    out.put_i8(transaction.state as i8);
    // Kafka's tools take null in this state, and no other for none.
    match transaction.state {
        State::Empty => out.put_i32(-1),
        _ => out.put_i32(transaction.partitions.len() as i32),
    }
    for (topic, numbers) in &transaction.partitions {
        put_string(&mut out, topic);
        out.put_i32(numbers.len() as i32);
        numbers.iter().for_each(|number| out.put_i32(*number));
    }
    out.put_i64(transaction.updated_ms);
    out.put_i64(transaction.started_ms);
    out.freeze()
}

pub(super) fn decode_value(mut bytes: &[u8]) -> Result<Transaction> {
    let version = bytes.try_get_i16()?;
    ensure!(version == VALUE_VERSION, "a transaction of version {version}");
    let producer = Producer { id: bytes.try_get_i64()?, epoch: bytes.try_get_i16()? };
    let timeout_ms = bytes.try_get_i32()?;
    let code = bytes.try_get_i8()?;
    let state = State::from_code(code).with_context(|| format!("a transaction in state {code}"))?;
    let mut partitions = Partitions::new();
    for _ in 0..bytes.try_get_i32()?.max(0) {
        let topic = take_string(&mut bytes)?;
        let numbers = partitions.entry(topic).or_default();
        for _ in 0..bytes.try_get_i32()? {
            numbers.insert(bytes.try_get_i32()?);
        }
    }
    let (updated_ms, started_ms) = (bytes.try_get_i64()?, bytes.try_get_i64()?);
    let mut transaction = Transaction::new(producer.id, timeout_ms, updated_ms);
    transaction.producer = producer;
    transaction.state = state;
    transaction.partitions = partitions;
    transaction.started_ms = started_ms.max(NO_TIME);
    Ok(transaction)
}

fn put_string(out: &mut BytesMut, text: &str) {
    // Strings come from requests, whose own limit is the same.
    let bytes = &text.as_bytes()[..text.len().min(i16::MAX as usize)];
    out.put_i16(bytes.len() as i16);
    out.put_slice(bytes);
}

fn take_string(bytes: &mut &[u8]) -> Result<String> {
    let size = bytes.try_get_i16()?;
    let size = usize::try_from(size).with_context(|| format!("a string of {size} bytes"))?;
    let (text, rest) =
        bytes.split_at_checked(size).context("a string that ends behind its record")?;
    *bytes = rest;
    let text = std::str::from_utf8(text).context("a string that is not UTF-8")?;
    Ok(text.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn transaction() -> Transaction {
        let mut transaction = Transaction::new(258, 60_000, 3);
        transaction.producer.epoch = 5;
        transaction.state = State::Ongoing;
        transaction.partitions.insert("ab".into(), [1, 2].into());
        transaction.started_ms = 2;
        transaction
    }

    #[test]
    fn a_transaction_is_written_as_kafka_writes_it() {
        assert_eq!(&encode_key("t1")[..], b"\0\0\0\x02t1");
        assert_eq!(decode_key(b"\0\0\0\x02t1").unwrap(), Some("t1".to_owned()));
        let expected = b"\0\0\0\0\0\0\0\0\x01\x02\0\x05\0\0\xea\x60\x01\
            \0\0\0\x01\0\x02ab\0\0\0\x02\0\0\0\x01\0\0\0\x02\
            \0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02";
        assert_eq!(&encode_value(&transaction())[..], expected.as_slice());
        assert_eq!(decode_value(expected).unwrap(), transaction());
        let empty = Transaction::new(1, 2, 3);
        assert_eq!(&encode_value(&empty)[17..21], b"\xff\xff\xff\xff", "null, not empty");
        assert_eq!(decode_value(&encode_value(&empty)).unwrap(), empty);
        let complete = Transaction { state: State::CompleteCommit, ..empty };
        assert_eq!(&encode_value(&complete)[17..21], b"\0\0\0\0", "empty, not null");
        assert_eq!(decode_value(&encode_value(&complete)).unwrap(), complete);
    }

    #[test]
    fn a_record_cut_anywhere_is_an_error_and_no_panic() {
        let value = encode_value(&transaction());
        for end in 0..value.len() {
            decode_value(&value[..end]).unwrap_err();
        }
        decode_key(&[0, 0, 0, 9, 1]).unwrap_err();
        assert_eq!(decode_key(&[0, 4]).unwrap(), None);
        let mut unknown = value.to_vec();
        unknown[16] = 9;
        decode_value(&unknown).unwrap_err();
    }
}
