//! Reads columns of every type and makes them anew, value by value.

use gristmill::{Date, Decimal, Map, Row, Timestamp};

#[derive(gristmill::Row)]
struct EveryType {
    id: i32,
    flag: Option<bool>,
    small: Option<i32>,
    large: Option<i64>,
    single: Option<f32>,
    wide: Option<f64>,
    amount: Option<Decimal<10, 2>>,
    huge: Option<Decimal<38, 10>>,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    day: Option<Date>,
    time: Option<Timestamp>,
    point: Option<Point>,
    longs: Option<Vec<Option<i64>>>,
    flags: Option<Vec<Option<bool>>>,
    names: Option<Vec<Option<Vec<Option<String>>>>>,
    items: Option<Vec<Option<Item>>>,
    counts: Option<Map<String, Option<i64>>>,
    by_id: Option<Map<i64, Option<Stamp>>>,
}

#[derive(gristmill::Row)]
struct Point {
    x: Option<i64>,
    label: Option<String>,
    deep: Option<Deep>,
}

#[derive(gristmill::Row)]
struct Deep {
    y: Option<Decimal<5, 1>>,
}

#[derive(gristmill::Row)]
struct Item {
    id: i64,
    tags: Option<Vec<String>>,
}

#[derive(gristmill::Row)]
struct Stamp {
    at: Option<Timestamp>,
    raw: Option<Vec<u8>>,
}

#[gristmill::stage]
fn every_type(row: Row) -> Result<EveryType, String> {
    let items = row.structs("items");
    let by_id = row.map_of_structs("by_id");
    let stamp = |row: Row| Stamp { at: row.get("at"), raw: row.get("raw") };
    Ok(EveryType {
        id: row.get("id").ok_or("no id")?,
        flag: row.get("flag"),
        small: row.get("small"),
        large: row.get("large"),
        single: row.get("single"),
        wide: row.get("wide"),
        amount: row.get("amount"),
        huge: row.get("huge"),
        text: row.get("text"),
        bytes: row.get("bytes"),
        day: row.get("day"),
        time: row.get("time"),
        point: row.row("point").map(point),
        longs: row.get("longs"),
        flags: row.get("flags"),
        names: row.get("names"),
        items: items.map(|items| items.into_iter().map(|row| row.and_then(item)).collect()),
        counts: row.get("counts"),
        by_id: by_id
            .map(|map| Map(map.into_iter().map(|(key, row)| (key, row.map(stamp))).collect())),
    })
}

fn point(row: Row) -> Point {
    let deep = row.row("deep").map(|deep| Deep { y: deep.get("y") });
    Point { x: row.get("x"), label: row.get("label"), deep }
}

fn item(row: Row) -> Option<Item> {
    let tags: Option<Vec<Option<String>>> = row.get("tags");
    Some(Item { id: row.get("id")?, tags: tags.map(|tags| tags.into_iter().flatten().collect()) })
}
