//! Headers that every record gets.

/// A header as a flag gives it.
pub type Header = (String, Option<Vec<u8>>);

/// Reads `NAME:VALUE`, or several with commas between.
pub fn parse(text: &str) -> Result<Vec<Header>, String> {
    let header = |part: &str| match part.split_once(':') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.to_owned(), Some(value.as_bytes().to_vec())))
        }
        _ => Err(format!("`{part}`: expected NAME:VALUE")),
    };
    text.split(',').map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_names_and_values() {
        let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        assert_eq!(parse("a:1,b:x:y"), Ok(vec![header("a", "1"), header("b", "x:y")]));
        assert_eq!(parse("a:"), Ok(vec![header("a", "")]));
        for wrong in ["a", ":1", "a:1,,b:2", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
