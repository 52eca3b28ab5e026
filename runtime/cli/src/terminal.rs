//! Questions to whoever sits at the terminal; scripts are asked nothing.

use std::io::{IsTerminal, stderr, stdin};

use anyhow::{Context, Result, bail};

use crate::user_error::UserError;

/// Asks before something is lost, if somebody is there to answer: standard input and error are a terminal.
///
/// # Errors
/// The answer is not `y` or `yes`.
pub fn confirm(question: &str) -> Result<()> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Ok(());
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer).context("cannot read the answer")?;
    match is_yes(&answer) {
        true => Ok(()),
        false => bail!(UserError::new("nothing was done")),
    }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y", "Y\n", " yes "].iter().all(|answer| is_yes(answer)));
        assert!(!["", "\n", "n", "yep", "no"].iter().any(|answer| is_yes(answer)));
    }
}
