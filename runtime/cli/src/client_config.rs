//! The file of `--client-config`: properties for librdkafka, as its own tools take them.

use std::collections::BTreeMap;
use std::fmt;

/// Properties by name. Not printed by `Debug`: they may hold secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    pub properties: BTreeMap<String, String>,
}

impl ClientConfig {
    /// Reads a file.
    pub fn read(path: &str) -> Result<ClientConfig, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        ClientConfig::parse(&text)
    }

    /// Lines `key=value`; empty ones and those that begin with `#` say nothing.
    fn parse(text: &str) -> Result<ClientConfig, String> {
        let mut properties = BTreeMap::new();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // Not the line itself: it may hold a secret.
            let wrong = || format!("line {}: expected key=value", index + 1);
            let (key, value) = line.split_once('=').ok_or_else(wrong)?;
            properties.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        Ok(ClientConfig { properties })
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.properties.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_line_by_line_and_their_values_never_shown() {
        let config = ClientConfig::parse("# me\nsasl.username = app\n\nsasl.password=a=b\n");
        let config = config.expect("a good file");
        assert_eq!(config.properties["sasl.username"], "app");
        assert_eq!(config.properties["sasl.password"], "a=b");
        assert!(!format!("{config:?}").contains("a=b"));
        let error = ClientConfig::parse("a=b\nsecret").expect_err("no key=value");
        assert_eq!(error, "line 2: expected key=value");
    }
}
