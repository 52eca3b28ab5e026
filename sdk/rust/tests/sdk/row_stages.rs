//! Stages written as functions over rows, as an author writes them.

use gristmill::native::NativeStage;
use gristmill::serde_json::{Value, json};
use gristmill::{Batch, ColumnView, DataType, Row, Schema, Stage};
use serde::Deserialize;

use crate::support::{all_types, all_types_columns, rows_to_json};

/// Row numbers, rows, and failures.
type Answered = (Option<Vec<u32>>, Vec<Value>, Vec<(usize, String)>);

/// What a stage answers for the batch of every type, or the error of the batch.
fn run<S: Stage>(config: Value) -> Result<Answered, String> {
    let mut stage = NativeStage::<S>::new(&config.to_string(), Schema::new(all_types()))
        .map_err(|why| why.to_string())?;
    let mut columns = all_types_columns();
    let reads: Vec<String> = stage.reads().iter().map(|field| field.name.clone()).collect();
    let views: Vec<ColumnView<'_>> = columns.iter_mut().map(|column| column.view()).collect();
    let index = |name: &String| all_types().iter().position(|field| field.name == *name).unwrap();
    let views = reads.iter().map(|name| views[index(name)].clone()).collect();
    let batch = Batch { row_count: 3, columns: views };
    stage
        .process(&batch, |output| {
            let rows = rows_to_json(output.columns(), output.row_count());
            let failures = output.failures().map(|(row, reason)| (row, reason.to_owned()));
            (output.row_numbers().map(<[u32]>::to_vec), rows, failures.collect())
        })
        .map_err(|why| why.to_string())
}

mod keep {
    use super::*;

    #[gristmill::stage(reads = ["s"])]
    fn keep(row: Row) -> bool {
        row.str("s") == Some("Chicago")
    }

    #[test]
    fn a_bool_keeps_or_drops() {
        assert_eq!(run::<KeepStage>(json!({})).unwrap(), (Some(vec![0]), vec![json!([])], vec![]));
        let stage = NativeStage::<KeepStage>::new("{}", Schema::new(all_types())).unwrap();
        assert_eq!(stage.description().name, "keep");
        assert_eq!(stage.description().reads, ["s"]);
        assert_eq!(
            run::<KeepStage>(json!({"x": 1})).unwrap_err(),
            "config.x: unknown key; there are no keys"
        );
    }
}

mod with_config {
    use super::*;

    #[derive(Deserialize)]
    pub struct Config {
        at_least: i64,
    }

    #[gristmill::stage(name = "at-least", reads = ["l", "i"])]
    fn keep(row: Row, config: &Config) -> Result<bool, String> {
        let value = row.get::<i64>("l").ok_or("l is null")?;
        Ok(value >= config.at_least && row.get::<i64>("i").is_some())
    }

    #[test]
    fn an_err_refuses_the_row() {
        let (rows, _, failures) = run::<KeepStage>(json!({"at_least": i64::MAX - 1})).unwrap();
        assert_eq!(rows, Some(vec![0]));
        assert_eq!(failures, [(1, "l is null".to_owned())]);
        assert_eq!(
            run::<KeepStage>(json!({})).unwrap_err(),
            "config.at_least: this key is required"
        );
    }
}

mod map {
    use super::*;

    #[derive(gristmill::Row)]
    pub struct Inner {
        tags: Vec<String>,
        half: f64,
    }

    #[derive(gristmill::Row)]
    pub struct Made {
        #[row(name = "type")]
        kind: &'static str,
        length: Option<i64>,
        inner: Option<Inner>,
    }

    #[gristmill::stage]
    fn describe_row(row: Row) -> Made {
        let half = row.get::<f64>("f").map(|value| value / 2.0);
        Made {
            kind: if row.is_null("b") { "none" } else { "some" },
            length: row.bytes("x").map(|bytes| bytes.len() as i64),
            inner: half.map(|half| Inner {
                tags: row.list::<i64>("a").unwrap().iter().map(|tag| format!("{tag:?}")).collect(),
                half,
            }),
        }
    }

    #[test]
    fn a_struct_makes_columns_of_every_row() {
        let stage = NativeStage::<DescribeRowStage>::new("{}", Schema::new(all_types())).unwrap();
        assert_eq!(
            Schema::new(stage.description().columns.clone()).to_string(),
            "type string, length long, inner struct<tags: array<string>, half: double>"
        );
        let (rows, made, _) = run::<DescribeRowStage>(json!({})).unwrap();
        assert_eq!(rows, None);
        assert_eq!(made[0], json!(["some", 3, {"tags": [], "half": 0.75}]));
        assert_eq!(made[1], json!(["none", null, null]));
        assert_eq!(made[2], json!(["some", 3, {"tags": ["Some(0)", "Some(1)"], "half": 1.75}]));
    }
}

mod flatten {
    use super::*;

    #[derive(gristmill::Row)]
    pub struct Item {
        id: i64,
        tag: Option<String>,
    }

    #[gristmill::stage(reads = ["items"])]
    fn items<'a>(row: Row<'a>) -> impl Iterator<Item = Item> + use<'a> {
        row.rows("items").map(|item| Item {
            id: item.get("id").unwrap_or(-1),
            tag: item.list::<&str>("tags").and_then(|tags| tags[0].map(str::to_owned)),
        })
    }

    #[test]
    fn an_iterator_gives_many_rows() {
        let (rows, made, _) = run::<ItemsStage>(json!({})).unwrap();
        assert_eq!(rows, Some(vec![0, 2, 2, 2]));
        assert_eq!(
            made,
            [json!([0, "new"]), json!([0, "new"]), json!([1, "new"]), json!([2, "new"])]
        );
    }
}

mod many_or_none {
    use super::*;

    #[derive(gristmill::Row)]
    pub struct Made {
        p: i64,
    }

    #[gristmill::stage(reads = ["st"])]
    fn twice(row: Row) -> Vec<Result<Option<Made>, &'static str>> {
        let Some(p) = row.row("st").and_then(|st| st.get("p")) else { return vec![Ok(None)] };
        vec![Ok(Some(Made { p })), if p == 0 { Err("p is 0") } else { Ok(Some(Made { p: -p })) }]
    }

    #[test]
    fn rows_given_before_an_err_are_taken_back() {
        let (rows, made, failures) = run::<TwiceStage>(json!({})).unwrap();
        assert_eq!(rows, Some(vec![2, 2]));
        assert_eq!(made, [json!([2]), json!([-2])]);
        assert_eq!(failures, [(0, "p is 0".to_owned())]);
    }
}

mod mistakes {
    use super::*;

    #[gristmill::stage]
    fn misspelt(row: Row) -> bool {
        row.str("citi").is_some() || row.get::<i64>("ss").is_some()
    }

    mod wrong_type {
        use super::*;
        #[gristmill::stage]
        fn mistyped(row: Row) -> bool {
            row.get::<i64>("s").is_some()
        }
        #[test]
        fn a_column_of_another_type_refuses_the_batch() {
            assert_eq!(
                run::<MistypedStage>(json!({})).unwrap_err(),
                "column `s` is string, not long"
            );
        }
    }

    mod absent {
        use super::*;
        #[gristmill::stage(reads = ["itemz"])]
        fn reads_what_is_not_there(_row: Row) -> bool {
            true
        }
        #[test]
        fn reads_are_checked_at_load() {
            let error = run::<ReadsWhatIsNotThereStage>(json!({})).unwrap_err();
            assert!(
                error.starts_with(
                    "the stage reads `itemz`, and there is no such column; did you mean `items`?"
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn a_column_that_is_not_there_refuses_the_batch() {
        let error = run::<MisspeltStage>(json!({})).unwrap_err();
        assert!(error.starts_with("no column `citi`; columns: `b`, `i`"), "{error}");
    }
}

#[test]
fn types_of_derived_columns() {
    use gristmill::rows::Cell;
    assert_eq!(<Vec<u8>>::data_type(), DataType::Binary);
    assert_eq!(<Vec<Option<i32>>>::data_type().to_string(), "array<int>");
}
