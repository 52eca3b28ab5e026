//! A pipeline file for people to read: its lines, without the secrets that somebody may have written into it.

use super::diagnostic::secret_values;

/// Stands for a secret.
const HIDDEN: &str = "•••";

/// The lines of a file's text; what stands in quotes beside a key with a secret's name is hidden, but for `"${VAR}"`.
pub fn lines_without_secrets(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    // The quotes that will end a secret of several lines.
    let mut open: Option<&str> = None;
    for line in text.lines() {
        let (shown, still_open) = match open {
            Some(quotes) => inside(line, quotes),
            None => outside(line),
        };
        lines.push(shown);
        open = still_open;
    }
    lines
}

fn inside<'a>(line: &str, quotes: &'a str) -> (String, Option<&'a str>) {
    match line.find(quotes) {
        Some(at) => (format!("{HIDDEN}{}", &line[at..]), None),
        None => (HIDDEN.to_string(), Some(quotes)),
    }
}

fn outside(line: &str) -> (String, Option<&'static str>) {
    let hidden = secret_values(line);
    let Some(first) = hidden.first() else { return (line.to_string(), None) };
    for quotes in ["\"\"\"", "'''"] {
        if let Some((before, after)) = line.split_once(quotes)
            && before.len() <= first.start
        {
            return match after.split_once(quotes) {
                Some((_, rest)) => (format!("{before}{quotes}{HIDDEN}{quotes}{rest}"), None),
                None => (format!("{before}{quotes}{HIDDEN}"), Some(quotes)),
            };
        }
    }
    let mut shown = line.to_string();
    for range in hidden.into_iter().rev() {
        shown.replace_range(range, HIDDEN);
    }
    (shown, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_their_variables_are_not() {
        let text = "name = \"p\"\n\"sasl.password\" = \"hunter2\"\n\"sasl.password\" = \"${PASSWORD}\"\n\
                    kafka = { \"sasl.username\" = \"u\", \"sasl.password\" = 'hunter2' }";
        let expected = [
            "name = \"p\"",
            "\"sasl.password\" = \"•••\"",
            "\"sasl.password\" = \"${PASSWORD}\"",
            "kafka = { \"sasl.username\" = \"u\", \"sasl.password\" = '•••' }",
        ];
        assert_eq!(lines_without_secrets(text), expected);
    }

    #[test]
    fn a_secret_of_several_lines_is_hidden_to_its_end() {
        let text = "\"ssl.key.pem\" = '''\n-----BEGIN\nabc\n-----END''' # key\nx = \"\"\"a\nb\"\"\"\n\
                    token = \"\"\"one\"\"\"";
        let expected = [
            "\"ssl.key.pem\" = '''•••",
            "•••",
            "•••",
            "•••''' # key",
            "x = \"\"\"a",
            "b\"\"\"",
            "token = \"\"\"•••\"\"\"",
        ];
        assert_eq!(lines_without_secrets(text), expected);
    }
}
