//! What must be there in the end: every record of the source in each sink once, each where it
//! belongs, those of one key in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use rdkafka::Message;
use rdkafka::message::{Headers, OwnedMessage};

use crate::client::{self, place};
use crate::record::{self, Fate, Identity};
use crate::support;

/// Where a record of the source stands: partition and offset.
type Place = (i32, i64);

/// The records of the source.
struct Source {
    records: BTreeMap<Place, OwnedMessage>,
}

/// How many there were.
#[derive(Debug)]
pub struct Tally {
    pub kept: usize,
    pub filtered: usize,
    pub rejected: usize,
}

/// A Delta table, and options of its object store.
pub struct Table {
    pub address: String,
    pub storage: serde_json::Value,
}

/// Compares topic, tables and dead letters with the source; panics on the first difference. `sent`:
/// records by owner.
pub fn judge(address: &str, tables: &[Table], sent: &[usize]) -> Tally {
    let source = Source::read(address, sent);
    let kept = source.of(|fate| fate == Fate::Kept);
    topic(&client::read(address, "out"), &source, &kept);
    tables.iter().for_each(|table| table_rows(table, &source, &kept));
    letters(&client::read(address, "letters"), &source);
    let rejected = source.of(|fate| matches!(fate, Fate::Rejected(_))).len();
    let filtered = source.records.len() - kept.len() - rejected;
    Tally { kept: kept.len(), filtered, rejected }
}

impl Source {
    /// The workload must be sound itself: every owner's records once and in order.
    fn read(address: &str, sent: &[usize]) -> Source {
        let records: BTreeMap<Place, OwnedMessage> =
            client::read(address, "in").into_iter().map(|it| (place(&it), it)).collect();
        let mut next = vec![0; sent.len()];
        for record in records.values() {
            let id = identity(record);
            assert_eq!(id.number, next[id.owner], "the source itself: {id:?} {:?}", place(record));
            next[id.owner] += 1;
        }
        assert_eq!(next, sent, "records of each owner in the source");
        Source { records }
    }

    /// The places of the records that have this fate.
    fn of(&self, wanted: impl Fn(Fate) -> bool) -> BTreeSet<Place> {
        let wanted = |(_, record): &(&Place, &OwnedMessage)| wanted(record::fate(value(record)));
        self.records.iter().filter(wanted).map(|(place, _)| *place).collect()
    }

    fn identities(&self, places: &BTreeSet<Place>) -> Vec<Identity> {
        places.iter().map(|place| identity(&self.records[place])).collect()
    }
}

fn value(record: &OwnedMessage) -> &[u8] {
    record.payload().unwrap_or_default()
}

fn identity(record: &OwnedMessage) -> Identity {
    let found = record::identity(value(record));
    found.unwrap_or_else(|| panic!("none of ours: {record:?}"))
}

fn topic(found: &[OwnedMessage], source: &Source, kept: &BTreeSet<Place>) {
    same("topic", found.iter().map(identity).collect(), source.identities(kept));
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    for record in found {
        let id = identity(record);
        let before = last.insert(id.owner, id.number);
        assert!(before < Some(id.number), "topic: {id:?} at {:?} after {before:?}", place(record));
    }
    let values: BTreeMap<Identity, &[u8]> =
        found.iter().map(|record| (identity(record), value(record))).collect();
    for place in kept {
        let record = &source.records[place];
        assert_eq!(values[&identity(record)], value(record), "topic: the value at {place:?}");
    }
}

fn table_rows(table: &Table, source: &Source, kept: &BTreeSet<Place>) {
    let Table { address, storage } = table;
    let rows = support::table_rows_at(address, "owner,number,partition,offset", storage);
    let mut found = Vec::new();
    for row in rows {
        let number = |name: &str| row[name].as_i64().unwrap_or_else(|| panic!("{name} of {row}"));
        let place = (number("partition") as i32, number("offset"));
        let id = Identity { owner: number("owner") as usize, number: number("number") as usize };
        let of_source = source.records.get(&place).map(identity);
        assert_eq!(of_source, Some(id), "{address}: the row of {place:?}");
        found.push(place);
    }
    same(address, found, kept.iter().copied().collect());
}

fn letters(found: &[OwnedMessage], source: &Source) {
    let mut places = Vec::new();
    for letter in found {
        let partition = header(letter, "gristmill.partition").parse().unwrap();
        let place = (partition, header(letter, "gristmill.offset").parse().unwrap());
        let record = source.records.get(&place);
        let record = record.unwrap_or_else(|| panic!("a dead letter of nothing: {place:?}"));
        assert_eq!((letter.key(), value(letter)), (record.key(), value(record)), "{place:?}");
        let stage = header(letter, "gristmill.stage");
        let fate = record::fate(value(record));
        let rejected = matches!(fate, Fate::Rejected(by) if by == stage);
        assert!(rejected, "{place:?} is {fate:?}, and a dead letter of `{stage}`");
        places.push(place);
    }
    let expected = source.of(|fate| matches!(fate, Fate::Rejected(_)));
    same("dead letters", places, expected.into_iter().collect());
}

fn header(letter: &OwnedMessage, name: &str) -> String {
    let headers = letter.headers().expect("a dead letter has headers");
    let value = headers.iter().find(|header| header.key == name).and_then(|header| header.value);
    String::from_utf8(value.unwrap_or_default().to_vec()).expect("ours are text")
}

/// Both have the same things, each once.
fn same<T: Ord + Copy + Debug>(what: &str, mut found: Vec<T>, expected: Vec<T>) {
    found.sort_unstable();
    let twice: Vec<_> =
        found.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).take(5).collect();
    assert!(twice.is_empty(), "{what}: more than once: {twice:?}");
    let (found, expected): (BTreeSet<T>, BTreeSet<T>) =
        (found.into_iter().collect(), expected.into_iter().collect());
    let lost: Vec<_> = expected.difference(&found).take(5).collect();
    assert!(lost.is_empty(), "{what}: lost: {lost:?}");
    let more: Vec<_> = found.difference(&expected).take(5).collect();
    assert!(more.is_empty(), "{what}: not expected: {more:?}");
}
