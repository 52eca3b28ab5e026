//! Shapes of JSON documents as docs/commands.md writes them.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

/// What a document may be.
#[derive(Debug, Clone)]
pub enum Shape {
    Any,
    Null,
    Text,
    Number,
    Bool,
    List(Box<Shape>),
    /// Name, whether it may be absent, what it holds. `more`: what any other name holds.
    Members {
        members: Vec<(String, bool, Shape)>,
        more: Option<Box<Shape>>,
    },
    Either(Vec<Shape>),
    /// A shape that stands elsewhere.
    Named(String),
}

/// The shapes of commands, and those that others are made of.
pub struct Shapes {
    shapes: BTreeMap<String, Shape>,
}

impl Shapes {
    /// Reads lines `name    shape`; lines that begin with a blank go on with the one before.
    pub fn read(text: &str) -> Shapes {
        let mut entries: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match entries.last_mut() {
                Some(entry) if line.starts_with(' ') => entry.push_str(line),
                _ => entries.push(line.to_owned()),
            }
        }
        let shape = |entry: String| {
            let (name, text) = entry.split_once("  ").expect("a name, two blanks, a shape");
            let mut letters = text.chars().peekable();
            let shape = either(&mut letters);
            blanks(&mut letters);
            assert_eq!(letters.next(), None, "behind the shape of {name}");
            (name.to_owned(), shape)
        };
        Shapes { shapes: entries.into_iter().map(shape).collect() }
    }

    /// The commands, without the shapes that others are made of.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        let is_command = |name: &&str| name.starts_with(|first: char| first.is_lowercase());
        self.shapes.keys().map(String::as_str).filter(is_command)
    }

    /// Whether a document has the shape of that name.
    ///
    /// # Errors
    /// Where it has not.
    pub fn check(&self, name: &str, document: &Value) -> Result<(), String> {
        let shape = self.shapes.get(name).ok_or_else(|| format!("no shape is named {name}"))?;
        self.fits(shape, document, name)
    }

    fn fits(&self, shape: &Shape, value: &Value, at: &str) -> Result<(), String> {
        let simple = match shape {
            Shape::Any => true,
            Shape::Null => value.is_null(),
            Shape::Text => value.is_string(),
            Shape::Number => value.is_number(),
            Shape::Bool => value.is_boolean(),
            Shape::Named(name) => {
                return self.check(name, value).map_err(|why| format!("{at}: {why}"));
            }
            Shape::Either(shapes) => {
                let why: Vec<_> =
                    shapes.iter().map_while(|shape| self.fits(shape, value, at).err()).collect();
                return if why.len() < shapes.len() { Ok(()) } else { Err(why.join(" or ")) };
            }
            Shape::List(shape) => {
                let Some(items) = value.as_array() else { return Err(format!("{at} is {value}")) };
                return items
                    .iter()
                    .try_for_each(|item| self.fits(shape, item, &format!("{at}[]")));
            }
            Shape::Members { members, more } => {
                return self.has_members(members, more.as_deref(), value, at);
            }
        };
        if simple { Ok(()) } else { Err(format!("{at} is {value}, not {shape:?}")) }
    }

    fn has_members(
        &self,
        members: &[(String, bool, Shape)],
        more: Option<&Shape>,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        let Some(object) = value.as_object() else { return Err(format!("{at} is {value}")) };
        for (name, optional, shape) in members {
            match object.get(name) {
                Some(value) => self.fits(shape, value, &format!("{at}.{name}"))?,
                None if *optional => {}
                None => return Err(format!("{at} has no {name}")),
            }
        }
        for (name, value) in object {
            match more {
                _ if members.iter().any(|(known, ..)| known == name) => {}
                Some(shape) => self.fits(shape, value, &format!("{at}.{name}"))?,
                None => return Err(format!("{at} has {name} beside what is written")),
            }
        }
        Ok(())
    }
}

type Letters<'a> = Peekable<Chars<'a>>;

fn blanks(letters: &mut Letters) {
    while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
}

fn next_is(letters: &mut Letters, wanted: char) -> bool {
    blanks(letters);
    letters.next_if_eq(&wanted).is_some()
}

fn either(letters: &mut Letters) -> Shape {
    let mut shapes = vec![one(letters)];
    while next_is(letters, '|') {
        shapes.push(one(letters));
    }
    if shapes.len() == 1 { shapes.remove(0) } else { Shape::Either(shapes) }
}

fn one(letters: &mut Letters) -> Shape {
    if next_is(letters, '[') {
        let shape = either(letters);
        assert!(next_is(letters, ']'), "a list is not closed");
        return Shape::List(Box::new(shape));
    }
    if next_is(letters, '{') {
        return members(letters);
    }
    match word(letters).as_str() {
        "any" => Shape::Any,
        "null" => Shape::Null,
        "text" => Shape::Text,
        "number" => Shape::Number,
        "bool" => Shape::Bool,
        name => Shape::Named(name.to_owned()),
    }
}

/// Behind the opening brace.
fn members(letters: &mut Letters) -> Shape {
    let (mut members, mut more) = (Vec::new(), None);
    while !next_is(letters, '}') {
        if next_is(letters, '…') {
            more = Some(Box::new(Shape::Any));
        } else if next_is(letters, '*') {
            assert!(next_is(letters, ':'), "* stands for a name");
            more = Some(Box::new(either(letters)));
        } else {
            let name = word(letters);
            let optional = next_is(letters, '?');
            assert!(next_is(letters, ':'), "behind {name:?}");
            members.push((name, optional, either(letters)));
        }
        next_is(letters, ',');
    }
    Shape::Members { members, more }
}

fn word(letters: &mut Letters) -> String {
    blanks(letters);
    let mut word = String::new();
    while let Some(letter) = letters.next_if(|letter| letter.is_alphanumeric() || *letter == '_') {
        word.push(letter);
    }
    assert!(!word.is_empty(), "a word is missing before {:?}", letters.clone().collect::<String>());
    word
}

#[test]
fn a_document_has_a_shape_or_the_place_is_told_where_it_has_not() {
    let shapes = Shapes::read(
        "list   [ITEM]\n\nITEM  {name: text, size?: number|null,\n       tags: {*: bool}, kind: {what: any, …}}\n",
    );
    let check = |text: &str| shapes.check("list", &serde_json::from_str(text).unwrap());
    let item = r#""name":"a","tags":{"x":true},"kind":{"what":1,"more":2}"#;
    assert_eq!(check("[]"), Ok(()));
    assert_eq!(check(&format!("[{{{item}}},{{{item},\"size\":null}}]")), Ok(()));
    for (wrong, said) in [
        (format!("[{{{item},\"size\":\"3\"}}]"), "list[]: ITEM.size is \"3\""),
        (format!("[{{{item},\"weight\":3}}]"), "ITEM has weight beside"),
        (r#"[{"name":"a","kind":{"what":1}}]"#.to_owned(), "ITEM has no tags"),
        (item.replacen("true", "1", 1), "tags.x is 1"),
    ] {
        let wrong = if wrong.starts_with('[') { wrong } else { format!("[{{{wrong}}}]") };
        let why = check(&wrong).unwrap_err();
        assert!(why.contains(said), "{wrong}: {why}");
    }
    assert_eq!(shapes.commands().collect::<Vec<_>>(), ["list"]);
}
