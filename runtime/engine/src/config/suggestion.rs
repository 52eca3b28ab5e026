//! "Did you mean": the nearest of the words that would have been right.

/// Of a longer list only the beginning is compared: a hostile file must not cost quadratic time.
const KNOWN_WORDS_MAX: usize = 100;
/// As much of a word is compared.
const COMPARED_CHARS_MAX: usize = 64;
/// A list in a message names no more words than these.
const LISTED_MAX: usize = 20;

/// The known word that `written` was probably meant to be; `None` if none is near.
///
/// Near: at most one edit in three characters (insertion, deletion, substitution, swap of
/// neighbours), letter case and `-`/`_` counting for nothing.
pub(super) fn nearest<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let plain_written = plain(written);
    let edits_max = (plain_written.len() / 3).max(1);
    known
        .into_iter()
        .take(KNOWN_WORDS_MAX)
        .filter(|word| word.chars().count().abs_diff(plain_written.len()) <= edits_max)
        .map(|word| (edits(&plain_written, &plain(word)), word))
        .filter(|(edits, word)| *edits <= edits_max.min(word.chars().count().saturating_sub(1)))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

/// "did you mean `x`?", or else what `otherwise` says.
pub(super) fn did_you_mean<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    nearest(written, known).map_or_else(otherwise, |word| format!("did you mean `{word}`?"))
}

/// "`a`, `b` and `c`"
pub(super) fn listed<'k>(words: impl IntoIterator<Item = &'k str>, last: &str) -> String {
    let mut words = words.into_iter();
    let mut listed: Vec<_> = words.by_ref().take(LISTED_MAX).map(|w| format!("`{w}`")).collect();
    match words.count() {
        0 => {}
        more => listed.push(format!("{more} more")),
    }
    match listed.split_last() {
        Some((only, [])) => only.clone(),
        Some((end, others)) => format!("{} {last} {end}", others.join(", ")),
        None => String::new(),
    }
}

fn plain(word: &str) -> Vec<char> {
    let fold = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    word.chars().take(COMPARED_CHARS_MAX).map(fold).collect()
}

/// Optimal string alignment distance.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substituted = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            next[j] = substituted.min(row[j] + 1).min(next[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["topics", "topic_pattern", "brokers", "start", "name"];
        for (written, expected) in [
            ("topic", Some("topics")),
            ("tpoics", Some("topics")),
            ("Topics", Some("topics")),
            ("topic-pattern", Some("topic_pattern")),
            ("broker", Some("brokers")),
            ("nmae", Some("name")),
            ("x", None),
            ("", None),
            ("parallelism", None),
        ] {
            assert_eq!(nearest(written, known), expected, "{written}");
        }
    }

    #[test]
    fn a_list_reads_as_a_sentence() {
        assert_eq!(listed(["a", "b", "c"], "and"), "`a`, `b` and `c`");
        assert_eq!(listed(["a"], "or"), "`a`");
    }
}
