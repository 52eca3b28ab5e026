//! The patterns of `like`: `%` stands for any characters, `_` for one.
//!
//! A pattern is cut at its `%` into segments. The first must begin the text, the last must end it,
//! and each between them is taken where it is found first; so matching never goes back, and its
//! time is bounded by text times pattern.

/// A pattern, ready to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// One more than there are runs of `%`.
    segments: Vec<Segment>,
    /// Texts are folded to lower case before they are matched; the pattern already is.
    pub ignore_case: bool,
}

/// What stands between two `%`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Segment {
    pieces: Vec<Piece>,
    /// Characters that it matches, always the same number.
    character_count: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    AnyCharacter,
}

impl Pattern {
    /// Reads a pattern. Err: the escape character is followed by something that needs no escape
    /// (Spark refuses it too).
    pub fn new(pattern: &str, escape: char, ignore_case: bool) -> Result<Self, String> {
        let mut segments = vec![Segment::default()];
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            // `segments` is never empty, so the last one is always there.
            let last = segments.len() - 1;
            if character == escape {
                match characters.next() {
                    Some(literal) if matches!(literal, '%' | '_') || literal == escape => {
                        segments[last].push(literal);
                    }
                    Some(other) => {
                        return Err(format!("`{escape}` before `{other}` in the pattern"));
                    }
                    None => return Err(format!("the pattern ends with its escape `{escape}`")),
                }
            } else if character == '%' {
                segments.push(Segment::default());
            } else if character == '_' {
                segments[last].character_count += 1;
                segments[last].pieces.push(Piece::AnyCharacter);
            } else {
                let folded =
                    if ignore_case { crate::letter_case::lower(character) } else { character };
                segments[last].push(folded);
            }
        }
        Ok(Self { segments, ignore_case })
    }

    /// Whether the whole of `text` fits.
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.segments.split_first() else { return text.is_empty() };
        let Some(mut remaining) = first.strip_from(text) else { return false };
        let Some((last, middle)) = rest.split_last() else { return remaining.is_empty() };
        for segment in middle {
            match segment.find_in(remaining) {
                Some(behind) => remaining = behind,
                None => return false,
            }
        }
        last.ends(remaining)
    }
}

impl Segment {
    fn push(&mut self, character: char) {
        self.character_count += 1;
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(character),
            _ => self.pieces.push(Piece::Text(character.into())),
        }
    }

    /// What is left of `text` behind this segment, if it begins with it.
    fn strip_from<'a>(&self, mut text: &'a str) -> Option<&'a str> {
        for piece in &self.pieces {
            text = match piece {
                Piece::Text(literal) => text.strip_prefix(literal.as_str())?,
                Piece::AnyCharacter => {
                    let mut characters = text.chars();
                    characters.next()?;
                    characters.as_str()
                }
            };
        }
        Some(text)
    }

    /// What is left of `text` behind the first place where this segment stands.
    fn find_in<'a>(&self, text: &'a str) -> Option<&'a str> {
        if let [Piece::Text(literal)] = self.pieces.as_slice() {
            return text.find(literal.as_str()).map(|at| &text[at + literal.len()..]);
        }
        let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        starts.map(|at| &text[at..]).find_map(|tail| self.strip_from(tail))
    }

    /// Whether `text` ends with this segment.
    fn ends(&self, text: &str) -> bool {
        let start = match self.character_count {
            0 => Some(text.len()),
            count => text.char_indices().rev().nth(count - 1).map(|(at, _)| at),
        };
        start.is_some_and(|start| self.strip_from(&text[start..]) == Some(""))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        let table = [
            ("Chicago", "Chicago", true),
            ("Chicago", "chicago", false),
            ("Chi%", "Chicago", true),
            ("%ago", "Chicago", true),
            ("%ica%", "Chicago", true),
            ("Chi", "Chicago", false),
            ("C_i%", "Chicago", true),
            ("%a_o", "Chicago", true),
            ("%_", "", false),
            ("%", "", true),
            ("", "", true),
            ("", "x", false),
            ("_", "ü", true),
            ("__", "ü", false),
            ("%ab%ab", "ab", false),
            ("%ab%ab", "abab", true),
            ("%aab", "aaab", true),
            ("%a%b%", "xbxa", false),
            ("100\\%", "100%", true),
            ("100\\%", "1000", false),
            ("a\\_b", "a_b", true),
            ("a\\_b", "axb", false),
            ("%%a%%", "bab", true),
        ];
        for (pattern, text, expected) in table {
            let matched = Pattern::new(pattern, '\\', false).unwrap().matches(text);
            assert_eq!(matched, expected, "{text:?} like {pattern:?}");
        }
    }

    #[test]
    fn the_escape_stands_only_before_what_needs_it() {
        assert!(Pattern::new("a!%", '!', false).unwrap().matches("a%"));
        assert!(Pattern::new("a\\b", '\\', false).is_err());
        assert!(Pattern::new("a\\", '\\', false).is_err());
    }
}
