//! "Did you mean": the name in a list that is nearest to one that was written.

/// The nearest of `names` by edit distance, if it is near enough to be a slip of the pen: at most a
/// third of the letters differ. Case does not count.
///
/// ```
/// assert_eq!(gristmill::nearest("citi", ["city", "state"]), Some("city"));
/// assert_eq!(gristmill::nearest("zip", ["city", "state"]), None);
/// ```
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_ascii_lowercase();
    let slips_max = (written.chars().count() / 3).max(1);
    names
        .into_iter()
        .map(|name| (edit_distance(&written, &name.to_ascii_lowercase()), name))
        .filter(|&(distance, name)| distance <= slips_max && distance < name.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// The tail of a message about an unknown name: the names that exist, and the nearest if there is
/// one. `noun` is the plural of what is listed, as in "columns".
pub fn hint<'a>(written: &str, noun: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let listed: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match (nearest(written, names.iter().copied()), listed.is_empty()) {
        (Some(name), _) => format!("did you mean `{name}`? {noun}: {}", listed.join(", ")),
        (None, false) => format!("{noun}: {}", listed.join(", ")),
        (None, true) => format!("there are no {noun}"),
    }
}

/// Levenshtein's distance with one row of memory. Names are short; the cost does not matter.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
