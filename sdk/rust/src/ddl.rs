//! Schemas as people write them: Spark's DDL (`order_id long, line_items array<struct<item_id:
//! long>>`), or Spark's schema JSON if the text begins with `{`.
//!
//! Types are read without regard to case, with Spark's aliases. `NOT NULL` is accepted and ignored,
//! as `from_json` does: data decide what is null. `COMMENT '…'` is accepted and dropped.

use crate::error::Error;
use crate::nearest::nearest;
use crate::schema::{DataType, Field, Schema, TYPE_DEPTH_MAX};

/// Reads a schema. Err: the message names the place, counted in characters from 1.
pub fn parse_schema(text: &str) -> Result<Schema, Error> {
    if text.trim_start().starts_with('{') {
        let value = serde_json::from_str(text).map_err(|why| Error::new(why.to_string()));
        return value
            .and_then(|value| Schema::from_json(&value))
            .map_err(|why| Error::new(format!("not a schema as JSON: {why}")));
    }
    let mut parser = Parser { text, at: 0 };
    let fields = parser.fields(Style::Columns, 0)?;
    match fields.is_empty() {
        true => Err(Error::new("the schema is empty; write it as `name type, name type`")),
        false => Ok(Schema { fields }),
    }
}

/// Reads one type, as in `decimal(10,2)` or `array<string>`.
pub fn parse_type(text: &str) -> Result<DataType, Error> {
    let mut parser = Parser { text, at: 0 };
    let data_type = parser.data_type(0)?;
    parser.skip_blanks();
    match parser.rest().is_empty() {
        true => Ok(data_type),
        false => Err(parser.expected("the end of the type")),
    }
}

/// A type without children by its name in the schema JSON.
pub(crate) fn scalar_type(name: &str) -> Result<DataType, String> {
    parse_type(name).map_err(|why| why.to_string())
}

const TYPE_NAMES: &[&str] = &[
    "boolean",
    "int",
    "integer",
    "long",
    "bigint",
    "float",
    "real",
    "double",
    "string",
    "varchar",
    "char",
    "binary",
    "date",
    "timestamp",
    "decimal",
    "array",
    "struct",
    "map",
];

/// The words that end the members: columns stand at the top, members of a struct within `<…>`.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    Columns,
    Members,
}

struct Parser<'a> {
    text: &'a str,
    /// Byte position of what comes next, always at a character boundary.
    at: usize,
}

impl<'a> Parser<'a> {
    /// `name type` or `name: type`, separated by commas, up to the end of the text or the closing
    /// `>`.
    fn fields(&mut self, style: Style, depth: usize) -> Result<Vec<Field>, Error> {
        let mut fields: Vec<Field> = Vec::new();
        self.skip_blanks();
        if self.at_end_of(style) {
            return Ok(fields);
        }
        loop {
            self.skip_blanks();
            let start = self.at;
            let name = self.name()?;
            if fields.iter().any(|field| field.name == name) {
                return Err(self.error_at(start, format!("`{name}` is named twice")));
            }
            self.eat(":");
            let data_type = self.data_type(depth)?;
            self.constraints()?;
            fields.push(Field { name, data_type, nullable: true });
            if self.eat(",") {
                continue;
            }
            self.skip_blanks();
            if self.at_end_of(style) {
                return Ok(fields);
            }
            let what = if style == Style::Columns { "`,` or the end" } else { "`,` or `>`" };
            return Err(self.expected(what));
        }
    }

    fn at_end_of(&self, style: Style) -> bool {
        match style {
            Style::Columns => self.rest().is_empty(),
            Style::Members => self.rest().starts_with('>'),
        }
    }

    /// A word, or anything between back quotes (two of them stand for one).
    fn name(&mut self) -> Result<String, Error> {
        let start = self.at;
        if !self.eat("`") {
            return match self.word() {
                "" => Err(self.expected("a name")),
                word => Ok(word.to_owned()),
            };
        }
        let mut name = String::new();
        loop {
            let Some(end) = self.rest().find('`') else {
                return Err(self.error_at(start, "the back quote is not closed"));
            };
            name.push_str(&self.rest()[..end]);
            self.at += end + 1;
            if !self.rest().starts_with('`') {
                break;
            }
            name.push('`');
            self.at += 1;
        }
        if name.is_empty() {
            return Err(self.error_at(start, "the name is empty"));
        }
        Ok(name)
    }

    fn data_type(&mut self, depth: usize) -> Result<DataType, Error> {
        self.skip_blanks();
        let start = self.at;
        if depth > TYPE_DEPTH_MAX {
            let message = format!("types are nested more than {TYPE_DEPTH_MAX} deep");
            return Err(self.error_at(start, message));
        }
        let word = self.word();
        match word.to_ascii_lowercase().as_str() {
            "" => Err(self.expected("a type")),
            "boolean" => Ok(DataType::Boolean),
            "int" | "integer" => Ok(DataType::Integer),
            "long" | "bigint" => Ok(DataType::Long),
            "float" | "real" => Ok(DataType::Float),
            "double" => Ok(DataType::Double),
            "string" => Ok(DataType::String),
            "varchar" | "char" | "character" => {
                self.arguments(1)?;
                Ok(DataType::String)
            }
            "binary" => Ok(DataType::Binary),
            "date" => Ok(DataType::Date),
            "timestamp" | "timestamp_ltz" => Ok(DataType::Timestamp),
            "decimal" | "dec" | "numeric" => self.decimal(start),
            "array" => self.array(depth),
            "map" => self.map(depth),
            "struct" => self.structure(depth),
            _ => Err(self.error_at(start, unknown_type(word))),
        }
    }

    fn array(&mut self, depth: usize) -> Result<DataType, Error> {
        self.need("<", "as in `array<string>`")?;
        let element = Box::new(self.data_type(depth + 1)?);
        self.need(">", "at the end of the array's type")?;
        Ok(DataType::Array { element, contains_null: true })
    }

    fn map(&mut self, depth: usize) -> Result<DataType, Error> {
        self.need("<", "as in `map<string, long>`")?;
        let key = Box::new(self.data_type(depth + 1)?);
        self.need(",", "between the types of key and value")?;
        let value = Box::new(self.data_type(depth + 1)?);
        self.need(">", "at the end of the map's type")?;
        Ok(DataType::Map { key, value, value_contains_null: true })
    }

    fn structure(&mut self, depth: usize) -> Result<DataType, Error> {
        self.need("<", "as in `struct<id: long>`")?;
        let fields = self.fields(Style::Members, depth + 1)?;
        self.need(">", "at the end of the struct's type")?;
        Ok(DataType::Struct(fields))
    }

    /// `decimal`, `decimal(p)` or `decimal(p, s)`; Spark's default is (10,0).
    fn decimal(&mut self, start: usize) -> Result<DataType, Error> {
        let arguments = self.arguments(2)?;
        let precision = arguments.first().copied().unwrap_or(10);
        let scale = arguments.get(1).copied().unwrap_or(0);
        if !(1..=38).contains(&precision) || scale > precision {
            let message = format!(
                "decimal({precision},{scale}) cannot be: 1 to 38 digits, no more behind the point than in all"
            );
            return Err(self.error_at(start, message));
        }
        Ok(DataType::Decimal { precision: precision as u8, scale: scale as i8 })
    }

    /// Numbers between parentheses, if any.
    fn arguments(&mut self, count_max: usize) -> Result<Vec<u32>, Error> {
        let mut arguments = Vec::new();
        if !self.eat("(") {
            return Ok(arguments);
        }
        loop {
            self.skip_blanks();
            let start = self.at;
            let number = self.word();
            match number.parse() {
                Ok(number) if arguments.len() < count_max => arguments.push(number),
                Ok(_) => return Err(self.error_at(start, "too many numbers")),
                Err(_) => return Err(self.error_at(start, "expected a number")),
            }
            if self.eat(")") {
                return Ok(arguments);
            }
            self.need(",", "or `)` after a number")?;
        }
    }

    /// `NOT NULL` and `COMMENT 'text'`, in any order.
    fn constraints(&mut self) -> Result<(), Error> {
        loop {
            self.skip_blanks();
            let start = self.at;
            match self.word().to_ascii_lowercase().as_str() {
                "not" => {
                    self.skip_blanks();
                    if !self.word().eq_ignore_ascii_case("null") {
                        return Err(self.error_at(start, "expected `NOT NULL`"));
                    }
                }
                "comment" => self.comment()?,
                _ => {
                    self.at = start;
                    return Ok(());
                }
            }
        }
    }

    /// A text between quotes; a backslash takes the next character as it is.
    fn comment(&mut self) -> Result<(), Error> {
        self.skip_blanks();
        let start = self.at;
        let mut letters = self.rest().char_indices();
        let quote = match letters.next() {
            Some((_, quote @ ('\'' | '"'))) => quote,
            _ => return Err(self.expected("the comment's text in quotes")),
        };
        while let Some((at, letter)) = letters.next() {
            if letter == '\\' {
                letters.next();
            } else if letter == quote {
                self.at += at + 1;
                return Ok(());
            }
        }
        Err(self.error_at(start, "the comment's quote is not closed"))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Letters of any script, digits and `_`.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Steps over `token`, if it is next after blanks.
    fn eat(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn need(&mut self, token: &str, where_: &str) -> Result<(), Error> {
        match self.eat(token) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{token}` {where_}"))),
        }
    }

    fn expected(&self, what: &str) -> Error {
        let found = match self.rest().chars().next() {
            Some(letter) => format!("found `{letter}`"),
            None => "found the end".to_owned(),
        };
        self.error_at(self.at, format!("expected {what}, {found}"))
    }

    fn error_at(&self, at: usize, message: impl std::fmt::Display) -> Error {
        let position = self.text[..at].chars().count() + 1;
        Error::new(format!("at character {position}: {message}"))
    }
}

fn unknown_type(word: &str) -> String {
    match word.to_ascii_lowercase().as_str() {
        "byte" | "tinyint" | "short" | "smallint" => {
            format!("type `{word}` is not supported, use `int`")
        }
        "timestamp_ntz" => format!("type `{word}` is not supported, use `timestamp`"),
        _ => match nearest(word, TYPE_NAMES.iter().copied()) {
            Some(name) => format!("unknown type `{word}`, did you mean `{name}`?"),
            None => format!("unknown type `{word}`; types: {}", TYPE_NAMES.join(", ")),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse_schema(text).unwrap_err().to_string()
    }

    #[test]
    fn the_orders_of_the_course() {
        let text = "order_id LONG, `line items` ARRAY<struct<a: bigint, b real>> NOT NULL COMMENT 'it\\'s', m map<string,decimal(10, 2)>";
        let schema = parse_schema(text).unwrap();
        assert_eq!(
            schema.to_string(),
            "order_id long, `line items` array<struct<a: long, b: float>>, m map<string, decimal(10,2)>"
        );
        assert_eq!(parse_schema(&schema.to_string()).unwrap(), schema);
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(parse_schema(&json).unwrap(), schema);
    }

    #[test]
    fn every_alias_is_known() {
        let text = "a boolean, b int, c integer, d long, e bigint, f float, g real, h double, i string, j varchar(10), \
                    k char(3), l binary, m date, n timestamp, o decimal, p decimal(5), q dec(5,1), r numeric(38,38), s struct<>";
        let types: Vec<String> =
            parse_schema(text).unwrap().fields.iter().map(|f| f.data_type.to_string()).collect();
        assert_eq!(
            types.join(" "),
            "boolean int int long long float float double string string string binary date timestamp \
             decimal(10,0) decimal(5,0) decimal(5,1) decimal(38,38) struct<>"
        );
    }

    #[test]
    fn back_quotes_hold_any_name() {
        let schema = parse_schema("`a``b` long, `größe, in cm` double, größe int").unwrap();
        let names: Vec<&str> = schema.names().collect();
        assert_eq!(names, ["a`b", "größe, in cm", "größe"]);
        assert_eq!(parse_schema(&schema.to_string()).unwrap(), schema);
    }

    #[test]
    fn mistakes_name_the_character() {
        let cases = [
            ("", "the schema is empty; write it as `name type, name type`"),
            ("a", "at character 2: expected a type, found the end"),
            ("a long,", "at character 8: expected a name, found the end"),
            ("a lang", "at character 3: unknown type `lang`, did you mean `long`?"),
            ("a smallint", "at character 3: type `smallint` is not supported, use `int`"),
            ("a long b long", "at character 8: expected `,` or the end, found `b`"),
            ("a long, a int", "at character 9: `a` is named twice"),
            (
                "a array<long",
                "at character 13: expected `>` at the end of the array's type, found the end",
            ),
            ("a array long", "at character 9: expected `<` as in `array<string>`, found `l`"),
            ("a struct<b: long c: int>", "at character 18: expected `,` or `>`, found `c`"),
            (
                "a map<string>",
                "at character 13: expected `,` between the types of key and value, found `>`",
            ),
            (
                "a decimal(39,2)",
                "at character 3: decimal(39,2) cannot be: 1 to 38 digits, no more behind the point than in all",
            ),
            ("a decimal(x)", "at character 11: expected a number"),
            ("`a long", "at character 1: the back quote is not closed"),
            ("größe lang", "at character 7: unknown type `lang`, did you mean `long`?"),
            ("a long not", "at character 8: expected `NOT NULL`"),
            (
                "a long comment x",
                "at character 16: expected the comment's text in quotes, found `x`",
            ),
            ("a long comment 'x", "at character 16: the comment's quote is not closed"),
        ];
        for (text, message) in cases {
            assert_eq!(refused(text), message, "{text}");
        }
        assert!(
            refused("{\"type\":\"struct\"}")
                .starts_with("not a schema as JSON: a type lacks `fields`")
        );
        let deep = format!("a {}long{}", "array<".repeat(80), ">".repeat(80));
        assert!(refused(&deep).ends_with("types are nested more than 64 deep"));
    }
}
