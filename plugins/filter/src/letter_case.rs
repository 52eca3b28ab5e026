//! Case that does not count: every character in its simple lower case (Unicode, one character to
//! one), as Java's `Character.toLowerCase` has it. So `STRASSE` does not equal `straße`, and Σ
//! becomes σ wherever it stands.

/// The simple lower case of one character.
pub fn lower(character: char) -> char {
    // İ is the one character whose full lower case is two; its simple one is a plain i.
    if character == '\u{130}' { 'i' } else { character.to_lowercase().next().unwrap_or(character) }
}

/// Replaces what is in `folded` by the lower case of `text`.
pub fn fold_into(text: &str, folded: &mut String) {
    folded.clear();
    if text.is_ascii() {
        folded.push_str(text);
        folded.make_ascii_lowercase();
    } else {
        folded.extend(text.chars().map(lower));
    }
}

/// The lower case of `text`.
pub fn folded(text: &str) -> String {
    let mut folded = String::new();
    fold_into(text, &mut folded);
    folded
}

/// Whether the lower case of `text` is `folded`. `scratch` is overwritten.
pub fn equals_folded(text: &str, folded: &str, scratch: &mut String) -> bool {
    // If even ASCII's rule makes them equal, so does Unicode's; only texts beyond ASCII need the
    // slow way.
    if text.len() == folded.len() && text.eq_ignore_ascii_case(folded) {
        return true;
    }
    if text.is_ascii() {
        return false;
    }
    fold_into(text, scratch);
    scratch == folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_count_beyond_ascii_either() {
        let mut scratch = String::new();
        let table = [
            ("CHICAGO", "chicago", true),
            ("Chicago ", "chicago", false),
            ("ÄÖÜ", "äöü", true),
            ("ΟΔΟΣ", "οδοσ", true),
            ("\u{212a}", "k", true),
            ("\u{130}", "i", true),
            ("STRASSE", "straße", false),
        ];
        for (text, lower, expected) in table {
            assert_eq!(equals_folded(text, &folded(lower), &mut scratch), expected, "{text}");
        }
    }
}
