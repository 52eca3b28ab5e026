//! Refuses dependencies under a licence that `deny.toml` doesn't allow, with nothing but cargo.
//!
//! Not here: advisories, bans and sources, which `cargo deny check` reads from the same file.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

use crate::tool;

/// Checks every package that the workspace builds, on all platforms.
pub fn check() -> Result<()> {
    let deny = std::fs::read_to_string(tool::root().join("deny.toml"))?;
    let allowed =
        allowed_licences(&deny).context("deny.toml has no `allow = [` under [licenses]")?;
    let format = ["--prefix", "none", "--format", "{p}|{l}", "--no-dedupe"];
    let mut cargo =
        tool::cargo(&["tree", "--workspace", "--target", "all", "--edges", "normal,build"]);
    let tree = tool::output(cargo.args(format))?;
    let refused: BTreeSet<&str> = tree
        .lines()
        .filter(|line| line.split_once('|').is_some_and(|(_, text)| !permits(text, &allowed)))
        .collect();
    if !refused.is_empty() {
        let list = refused.into_iter().collect::<Vec<_>>().join("\n  ");
        bail!("packages whose licence deny.toml doesn't allow:\n  {list}");
    }
    Ok(())
}

/// The strings of the first `allow = [ … ]` after `[licenses]`.
fn allowed_licences(deny: &str) -> Option<BTreeSet<&str>> {
    let section = deny.split_once("[licenses]")?.1;
    let list = section.split_once("allow = [")?.1.split_once(']')?.0;
    Some(list.split('"').skip(1).step_by(2).collect())
}

/// Whether an SPDX expression can be met with the allowed licences alone. `AND` binds tighter than
/// `OR`; the old `MIT/Apache-2.0` means `OR`.
fn permits(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.into_iter().peekable();
    let met = either(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::vec::IntoIter<&'a str>>;

fn either(words: &mut Words, allowed: &BTreeSet<&str>) -> bool {
    let mut met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed);
    }
    met
}

fn both(words: &mut Words, allowed: &BTreeSet<&str>) -> bool {
    let mut met = licence(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= licence(words, allowed);
    }
    met
}

fn licence(words: &mut Words, allowed: &BTreeSet<&str>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = either(words, allowed);
        return words.next_if_eq(&")").is_some() && met;
    }
    let Some(name) = words.next() else { return false };
    // An exception only adds permissions.
    if words.next_if_eq(&"WITH").is_some() {
        words.next();
    }
    allowed.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_says() {
        let allowed = BTreeSet::from(["MIT", "Apache-2.0"]);
        let table = [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("(GPL-3.0 OR MIT) AND Apache-2.0", true),
            ("GPL-3.0 OR MIT AND GPL-2.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("", false),
            ("(MIT", false),
            ("MIT MIT", false),
        ];
        for (expression, expected) in table {
            assert_eq!(permits(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn the_list_is_found_in_its_section() {
        let deny =
            "[bans]\nallow = [\"x\"]\n[licenses]\n# why\nallow = [\n  \"MIT\",\n  \"ISC\",\n]\n";
        assert_eq!(allowed_licences(deny), Some(BTreeSet::from(["ISC", "MIT"])));
        assert_eq!(allowed_licences("[bans]"), None);
    }
}
