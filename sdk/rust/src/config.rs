//! From the `with` table of the pipeline file to the stage's configuration struct, with errors that
//! name the key.
//!
//! A deserializer over `serde_json::Value` whose mistakes collect the keys on their way out, so
//! that each reads `config.KEY: …`. A key that the struct does not have is refused with the nearest
//! that it has.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde_json::Value;

use crate::error::Error;
use crate::nearest::hint;

/// Reads a configuration.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, Error> {
    T::deserialize(Config(value)).map_err(|mistake| match mistake.key {
        Some(key) => Error::config(&key, mistake.message),
        None => Error::new(mistake.message),
    })
}

#[derive(Debug)]
struct Mistake {
    /// The keys from the value at hand to the mistake, dotted. Elements of a list share the key of
    /// the list.
    key: Option<String>,
    message: String,
}

impl Mistake {
    /// The same mistake, seen from the table that holds `key`.
    fn below(self, key: &str) -> Mistake {
        let key = match self.key {
            Some(inner) => format!("{key}.{inner}"),
            None => key.to_owned(),
        };
        Mistake { key: Some(key), ..self }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Mistake {
        Mistake { key: None, message: message.to_string() }
    }

    fn missing_field(field: &'static str) -> Mistake {
        Mistake { key: Some(field.to_owned()), message: "this key is required".to_owned() }
    }
}

#[derive(Clone, Copy)]
struct Config<'a>(&'a Value);

impl Config<'_> {
    fn refuse_unknown_keys(self, fields: &'static [&'static str]) -> Result<(), Mistake> {
        let keys = self.0.as_object().into_iter().flat_map(|object| object.keys());
        match keys.into_iter().find(|key| !fields.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let hint = hint(key, "keys", fields.iter().copied());
                Err(Mistake { key: Some(key.clone()), message: format!("unknown key; {hint}") })
            }
        }
    }
}

impl<'de> Deserializer<'de> for Config<'de> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::Object(object) => {
                visitor.visit_map(Members { members: object.iter(), value: None })
            }
            Value::Array(list) => visitor.visit_seq(Elements(list.iter())),
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.refuse_unknown_keys(fields)?;
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// A variant by its name, or `{ name = value }`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(Variant { name, value: None }),
            Value::Object(object) if object.len() == 1 => {
                let (name, value) = object.iter().next().unwrap_or_else(|| unreachable!());
                visitor.visit_enum(Variant { name, value: Some(value) })
            }
            _ => Err(de::Error::custom("expected the name of a variant")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Variant<'a> {
    name: &'a str,
    value: Option<&'a Value>,
}

impl Variant<'_> {
    fn wrong(&self) -> Mistake {
        let takes = if self.value.is_some() { "takes no value" } else { "needs a value" };
        de::Error::custom(format!("`{}` {takes}", self.name))
    }
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Mistake;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Mistake> {
        let variant = seed.deserialize(StrDeserializer::new(self.name))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        if self.value.is_some() { Err(self.wrong()) } else { Ok(()) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mistake> {
        let value = self.value.ok_or_else(|| self.wrong())?;
        seed.deserialize(Config(value)).map_err(|mistake: Mistake| mistake.below(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mistake> {
        let value = self.value.ok_or_else(|| self.wrong())?;
        Config(value).deserialize_any(visitor).map_err(|mistake| mistake.below(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let value = self.value.ok_or_else(|| self.wrong())?;
        let read = Config(value).deserialize_struct("", fields, visitor);
        read.map_err(|mistake| mistake.below(self.name))
    }
}

struct Members<'a> {
    members: serde_json::map::Iter<'a>,
    value: Option<(&'a str, &'a Value)>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        self.value = self.members.next().map(|(key, value)| (key.as_str(), value));
        let Some((key, _)) = self.value else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        match self.value.take() {
            Some((key, value)) => {
                seed.deserialize(Config(value)).map_err(|mistake: Mistake| mistake.below(key))
            }
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

struct Elements<'a>(std::slice::Iter<'a, Value>);

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mistake> {
        self.0.next().map(|value| seed.deserialize(Config(value))).transpose()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Inner {
        depth: u8,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Outer {
        column: String,
        #[serde(default)]
        ignore_case: bool,
        inner: Option<Inner>,
        #[serde(default)]
        rename: BTreeMap<String, String>,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        any: Value,
        #[serde(default)]
        mode: Mode,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        #[default]
        Strict,
        Loose,
        Level(u8),
        Both {
            low: u8,
            high: u8,
        },
    }

    fn refused(value: Value) -> String {
        from_value::<Outer>(&value).unwrap_err().to_string()
    }

    #[test]
    fn a_config_that_fits_is_read() {
        let value = json!({"column": "city", "inner": {"depth": 3}, "rename": {"a": "b"}, "list": [{"depth": 1}],
            "any": {"x": [1, null]}, "mode": "loose"});
        let outer: Outer = from_value(&value).unwrap();
        assert_eq!(outer.inner, Some(Inner { depth: 3 }));
        assert_eq!(outer.rename["a"], "b");
        assert_eq!(outer.list, [Inner { depth: 1 }]);
        assert_eq!(outer.any, json!({"x": [1, null]}));
        assert_eq!(outer.mode, Mode::Loose);
        let mode =
            |mode: Value| from_value::<Outer>(&json!({"column": "a", "mode": mode})).unwrap().mode;
        assert_eq!(mode(json!({"level": 3})), Mode::Level(3));
        assert_eq!(mode(json!({"both": {"low": 1, "high": 2}})), Mode::Both { low: 1, high: 2 });
    }

    #[test]
    fn mistakes_name_their_key() {
        let keys = "keys: `column`, `ignore_case`, `inner`, `rename`, `list`, `any`, `mode`";
        let cases = [
            (
                json!({"colum": "a"}),
                format!("config.colum: unknown key; did you mean `column`? {keys}"),
            ),
            (json!({"column": "a", "zzzzzz": 1}), format!("config.zzzzzz: unknown key; {keys}")),
            (json!({}), "config.column: this key is required".to_owned()),
            (
                json!({"column": 3}),
                "config.column: invalid type: integer `3`, expected a string".to_owned(),
            ),
            (
                json!({"column": "a", "inner": {}}),
                "config.inner.depth: this key is required".to_owned(),
            ),
            (
                json!({"column": "a", "inner": {"deep": 1}}),
                "config.inner.deep: unknown key; keys: `depth`".to_owned(),
            ),
            (
                json!({"column": "a", "rename": {"x": 1}}),
                "config.rename.x: invalid type: integer `1`, expected a string".to_owned(),
            ),
            (
                json!({"column": "a", "list": [{"depth": 300}]}),
                "config.list.depth: invalid value: integer `300`, expected u8".to_owned(),
            ),
            (
                json!({"column": "a", "mode": "lose"}),
                "config.mode: unknown variant `lose`, expected one of `strict`, `loose`, `level`, `both`".to_owned(),
            ),
            (json!({"column": "a", "mode": "level"}), "config.mode: `level` needs a value".to_owned()),
            (json!({"column": "a", "mode": {"loose": 1}}), "config.mode: `loose` takes no value".to_owned()),
            (json!({"column": "a", "mode": {"both": {"low": 1, "hi": 2}}}),
                "config.mode.both.hi: unknown key; keys: `low`, `high`".to_owned()),
            (json!({"column": "a", "mode": 3}), "config.mode: expected the name of a variant".to_owned()),
            (json!("x"), "invalid type: string \"x\", expected struct Outer".to_owned()),
        ];
        for (value, message) in cases {
            assert_eq!(refused(value.clone()), message, "{value}");
        }
    }
}
