//! The orders of one case.

use gristmill_orders::{Order, Orders, SEED};
use serde_json::{Map, Value};

/// What is special about the orders, or about the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// As the course has them: keys in the schema's order, no white space.
    Course,
    ShuffledKeys,
    WhiteSpace,
    /// A name with escapes in every order.
    Escapes,
    /// A third of the fields is null.
    Nulls,
    /// The filter lets every row through.
    PassesAll,
}

impl Case {
    pub const ALL: [Case; 6] = [
        Case::Course,
        Case::ShuffledKeys,
        Case::WhiteSpace,
        Case::Escapes,
        Case::Nulls,
        Case::PassesAll,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Case::Course => "as in the course",
            Case::ShuffledKeys => "shuffled keys",
            Case::WhiteSpace => "white space",
            Case::Escapes => "escapes",
            Case::Nulls => "nulls",
            Case::PassesAll => "the filter passes all",
        }
    }
}

pub struct Input {
    pub case: Case,
    pub keys: Vec<String>,
    pub values: Vec<String>,
}

impl Input {
    pub fn new(case: Case, count: usize) -> Input {
        let (mut keys, mut values) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (index, Order { customer_id, json }) in Orders::new(SEED).take(count).enumerate() {
            keys.push(customer_id.to_string());
            values.push(altered(case, json, index));
        }
        Input { case, keys, values }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the filter of this case keeps a city.
    pub fn keeps(&self, city: Option<&str>) -> bool {
        self.case == Case::PassesAll || city == Some("Chicago")
    }
}

fn altered(case: Case, json: String, index: usize) -> String {
    match case {
        Case::Course | Case::PassesAll => json,
        Case::WhiteSpace => spaced(&json),
        Case::Escapes => json.replacen(
            "\"customer_fname\":\"",
            "\"customer_fname\":\"Jos\\u00e9 \\\"Pepe\\\" \\n",
            1,
        ),
        Case::ShuffledKeys => fields(&json, |fields| fields.rotate_left(index % 7 + 1)),
        Case::Nulls => fields(&json, |fields| {
            for (_, value) in
                fields.iter_mut().skip(index % 3).step_by(3).filter(|(_, value)| !value.is_array())
            {
                *value = Value::Null;
            }
        }),
    }
}

/// A blank after every `:` and `,` (no string of the generator holds one).
fn spaced(json: &str) -> String {
    json.replace(':', ": ").replace(',', ", ")
}

fn fields(json: &str, alter: impl Fn(&mut Vec<(String, Value)>)) -> String {
    let object: Map<String, Value> = serde_json::from_str(json).expect("the generator writes JSON");
    let names = [
        "order_id",
        "customer_id",
        "customer_fname",
        "customer_lname",
        "city",
        "state",
        "zipcode",
        "line_items",
    ];
    let mut fields: Vec<_> =
        names.iter().map(|name| (name.to_string(), object[*name].clone())).collect();
    alter(&mut fields);
    let texts: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", texts.join(","))
}
