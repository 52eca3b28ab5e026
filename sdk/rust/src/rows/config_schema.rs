//! The JSON Schema of a configuration struct, found by letting the struct read itself out of nothing: what it
//! asks for, key by key, is what it takes.

use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde_json::{Map, Value, json};

/// Null: the configuration is not a struct.
pub(super) fn config_schema<T: DeserializeOwned>() -> Value {
    let mut whole = Struct::default();
    // What comes out is of no interest, only what was asked for.
    let _ = T::deserialize(Root(&mut whole));
    let Some(keys) = whole.keys else { return Value::Null };
    let mut properties: Map<String, Value> = whole.properties;
    keys.iter().for_each(|key| {
        properties.entry(*key).or_insert_with(|| json!({}));
    });
    let required: Vec<&str> = keys.iter().copied().filter(|key| is_required::<T>(key)).collect();
    json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    })
}

/// Whether the struct cannot do without a key.
fn is_required<T: DeserializeOwned>(key: &'static str) -> bool {
    let mut without = Struct { left_out: Some(key), ..Struct::default() };
    matches!(T::deserialize(Root(&mut without)), Err(Nothing { missing: Some(missing) }) if missing == key)
}

/// What a struct asks for.
#[derive(Default)]
struct Struct {
    keys: Option<&'static [&'static str]>,
    properties: Map<String, Value>,
    left_out: Option<&'static str>,
}

/// The struct could not be made of nothing.
#[derive(Debug)]
struct Nothing {
    missing: Option<&'static str>,
}

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing to read")
    }
}

impl std::error::Error for Nothing {}

impl serde::de::Error for Nothing {
    fn custom<T: fmt::Display>(_: T) -> Nothing {
        Nothing { missing: None }
    }

    fn missing_field(field: &'static str) -> Nothing {
        Nothing { missing: Some(field) }
    }
}

struct Root<'a>(&'a mut Struct);

impl<'de> Deserializer<'de> for Root<'_> {
    type Error = Nothing;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Nothing> {
        Err(Nothing::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Nothing> {
        self.0.keys = Some(fields);
        visitor.visit_map(Members { of: self.0, fields: fields.iter(), key: "" })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Members<'a> {
    of: &'a mut Struct,
    fields: std::slice::Iter<'static, &'static str>,
    key: &'static str,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Nothing;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Nothing> {
        let left_out = self.of.left_out;
        let Some(key) = self.fields.find(|key| Some(**key) != left_out) else { return Ok(None) };
        self.key = key;
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Nothing> {
        let mut schema = json!({});
        let value = seed.deserialize(Member(&mut schema));
        self.of.properties.insert(self.key.to_owned(), schema);
        value
    }
}

/// A value that is whatever is asked for, and notes what that was.
struct Member<'a>(&'a mut Value);

macro_rules! asked {
    ($($method:ident $kind:literal $visit:ident $value:expr),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Nothing> {
            *self.0 = json!({ "type": $kind });
            visitor.$visit($value)
        })*
    };
}

impl<'de> Deserializer<'de> for Member<'_> {
    type Error = Nothing;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Nothing> {
        visitor.visit_unit()
    }

    asked! {
        deserialize_bool "boolean" visit_bool false,
        deserialize_i8 "integer" visit_i8 0, deserialize_i16 "integer" visit_i16 0,
        deserialize_i32 "integer" visit_i32 0, deserialize_i64 "integer" visit_i64 0,
        deserialize_u8 "integer" visit_u8 0, deserialize_u16 "integer" visit_u16 0,
        deserialize_u32 "integer" visit_u32 0, deserialize_u64 "integer" visit_u64 0,
        deserialize_f32 "number" visit_f32 0.0, deserialize_f64 "number" visit_f64 0.0,
        deserialize_char "string" visit_char ' ',
        deserialize_str "string" visit_borrowed_str "",
        deserialize_string "string" visit_borrowed_str "",
        deserialize_seq "array" visit_seq Empty,
        deserialize_map "object" visit_map Empty,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Nothing> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Nothing> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Nothing> {
        let mut inner = Struct::default();
        let value = visitor.visit_map(Members { of: &mut inner, fields: fields.iter(), key: "" });
        *self.0 = json!({ "type": "object", "properties": inner.properties });
        value
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Nothing> {
        *self.0 = json!({ "enum": variants });
        visitor.visit_enum(Variant(variants.first().copied().unwrap_or_default()))
    }

    serde::forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Empty;

impl<'de> SeqAccess<'de> for Empty {
    type Error = Nothing;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        _: T,
    ) -> Result<Option<T::Value>, Nothing> {
        Ok(None)
    }
}

impl<'de> MapAccess<'de> for Empty {
    type Error = Nothing;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        _: K,
    ) -> Result<Option<K::Value>, Nothing> {
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, _: V) -> Result<V::Value, Nothing> {
        Err(Nothing::custom("no value without a key"))
    }
}

/// A variant that takes no value; one that does ends the search.
struct Variant(&'static str);

impl<'de> EnumAccess<'de> for Variant {
    type Error = Nothing;
    type Variant = Variant;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Variant), Nothing> {
        let variant = seed.deserialize(StrDeserializer::new(self.0))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant {
    type Error = Nothing;

    fn unit_variant(self) -> Result<(), Nothing> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Nothing> {
        Err(Nothing::custom("a variant with a value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Nothing> {
        Err(Nothing::custom("a variant with a value"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Nothing> {
        Err(Nothing::custom("a variant with a value"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Config {
        city: String,
        limit: Option<u32>,
        #[serde(default)]
        factor: f64,
        mode: Mode,
        names: Vec<String>,
        inner: Inner,
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        on: bool,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        Fast,
        #[allow(dead_code)]
        VerySafe,
    }

    #[test]
    fn a_struct_tells_its_keys_with_their_types() {
        assert_eq!(
            config_schema::<Config>(),
            json!({
                "type": "object",
                "properties": {
                    "city": { "type": "string" },
                    "limit": { "type": "integer" },
                    "factor": { "type": "number" },
                    "mode": { "enum": ["fast", "very-safe"] },
                    "names": { "type": "array" },
                    "inner": { "type": "object", "properties": { "on": { "type": "boolean" } } },
                },
                "required": ["city", "mode", "names", "inner"],
                "additionalProperties": false,
            })
        );
        assert_eq!(config_schema::<String>(), Value::Null);
    }
}
