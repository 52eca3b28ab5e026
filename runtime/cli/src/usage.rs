//! A command line that makes no sense: what is wrong, then what would be right, each in one line.

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::flags::Flags;
use crate::{DONE, WRONG_INPUT};

/// Prints help and version as they are, and mistakes in two lines. Returns the exit code.
pub fn report(error: &clap::Error) -> u8 {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if asked_for || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // A reader that went away is no failure.
        let _ = error.print();
    } else {
        eprintln!("{}", brief(&error.render().to_string(), &command_line(std::env::args())));
    }
    if asked_for { DONE } else { WRONG_INPUT }
}

/// Of clap's text, which has its parts in paragraphs: the mistake with what belongs to it, and the first mend.
fn brief(text: &str, command: &str) -> String {
    let mut mistake = Vec::new();
    let mut help = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with("tip: to pass '-") {
            // A negative number: what may stand there is in the help.
        } else if let Some(tip) = line.strip_prefix("tip: ") {
            help.get_or_insert_with(|| tip.to_owned());
        } else if line.starts_with("Usage: ") || line.starts_with("For more information") {
            break;
        } else if help.is_none() {
            mistake.push(line);
        }
    }
    let help = help.unwrap_or_else(|| format!("see '{command} --help'"));
    format!("{}\nhelp: {}", quoted(&wanted(&mistake.join(" "))), quoted(&help))
}

/// What the standard library's parsers call their mistakes, and what is wanted instead.
const WANTED: [(&str, &str); 5] = [
    ("invalid digit found in string", "expected a whole number"),
    ("cannot parse integer from empty string", "expected a whole number"),
    ("number too large to fit in target type", "expected a smaller number"),
    ("number too small to fit in target type", "expected a larger number"),
    ("invalid socket address syntax", "expected IP:PORT, such as 127.0.0.1:9092"),
];

/// Says what is wanted where clap says what is not.
fn wanted(mistake: &str) -> String {
    let Some((before, reason)) = mistake.rsplit_once(": ") else { return mistake.to_owned() };
    if let Some((_, wanted)) = WANTED.iter().find(|(said, _)| *said == reason) {
        return format!("{before}: {wanted}");
    }
    match reason.split_once(" is not in ").and_then(|(_, range)| range_text(range)) {
        Some(range) => format!("{before}: expected a whole number {range}"),
        None => mistake.to_owned(),
    }
}

/// `1..=1000` as `from 1 to 1000`, `1..18446744073709551615` as `from 1`.
fn range_text(range: &str) -> Option<String> {
    let (first, last) = range.split_once("..")?;
    let last = last.strip_prefix('=').unwrap_or(last);
    let largest = [i64::from(i32::MAX).to_string(), i64::MAX.to_string(), u64::MAX.to_string()];
    let is_bound = !last.is_empty() && !largest.iter().any(|largest| largest == last);
    Some(if is_bound { format!("from {first} to {last}") } else { format!("from {first}") })
}

/// The words that name the command: `gristmill kafka topic list`.
fn command_line(words: impl Iterator<Item = String>) -> String {
    let root = Flags::command();
    let (mut command, mut names) = (&root, vec![root.get_name().to_owned()]);
    for word in words.skip(1) {
        if let Some(found) = command.find_subcommand(&word) {
            command = found;
            names.push(word);
        }
    }
    names.join(" ")
}

/// Clap quotes with apostrophes, our other messages with backquotes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    let mut before = ' ';
    let mut open = false;
    while let Some(letter) = letters.next() {
        let opens = !open && letter == '\'' && matches!(before, ' ' | '(' | '[');
        let closes = open
            && letter == '\''
            && letters.peek().is_none_or(|next| matches!(next, ' ' | ',' | ':' | '.' | ')' | ']'));
        if opens || closes {
            open = opens;
            out.push('`');
        } else {
            out.push(letter);
        }
        before = letter;
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn said(line: &str) -> String {
        let error = Flags::try_parse_from(line.split_whitespace()).err();
        let text = error.map(|error| error.render().to_string()).unwrap_or_default();
        brief(&text, &command_line(line.split_whitespace().map(str::to_owned)))
    }

    #[test]
    fn a_mistake_and_its_mend_take_two_lines() {
        for (line, expected) in [
            (
                "gristmill topic consume orders --form-beginning",
                "error: unexpected argument `--form-beginning` found\n\
                 help: a similar argument exists: `--from-beginning`",
            ),
            (
                "gristmill kafka topc list",
                "error: unrecognized subcommand `topc`\nhelp: a similar subcommand exists: `topic`",
            ),
            (
                "gristmill --output json kafka topic describe",
                "error: the following required arguments were not provided: <TOPIC>\n\
                 help: see `gristmill kafka topic describe --help`",
            ),
            (
                "gristmill topic create orders --partitions many",
                "error: invalid value `many` for `--partitions <N>`: expected a whole number\n\
                 help: see `gristmill topic create --help`",
            ),
            (
                "gristmill topic list --output yaml",
                "error: invalid value `yaml` for `--output <OUTPUT>` [possible values: text, json]\n\
                 help: see `gristmill topic list --help`",
            ),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
    }

    #[test]
    fn a_number_out_of_range_is_told_the_range() {
        for (line, expected) in [
            ("gristmill run a --drain-limit 0", "expected a whole number from 1"),
            ("gristmill tap a b --rate 0", "expected a whole number from 1 to 1000"),
            ("gristmill topic create a --partitions 0", "expected a whole number from 1 to 100000"),
            ("gristmill demo --listen x", "expected IP:PORT, such as 127.0.0.1:9092"),
        ] {
            let said = said(line);
            assert!(said.contains(&format!("{expected}\n")), "{line}: {said}");
        }
        let said = said("gristmill table vacuum a --retain-hours -1");
        assert!(said.ends_with("help: see `gristmill table vacuum --help`"), "{said}");
    }

    #[test]
    fn only_quotes_become_backquotes() {
        assert_eq!(quoted("the user's 'a b' and 'it's'"), "the user's `a b` and `it's`");
    }
}
