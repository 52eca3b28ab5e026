//! Mistakes that the user can mend: exit code 2, where a failure while running is 1.

use std::fmt;

use gristmill_engine::failure::Rewind;

/// A message that names the thing and the mend. Put into an `anyhow::Error`, it makes `main` exit with 2.
#[derive(Debug)]
pub struct UserError {
    message: String,
    is_listing: bool,
}

impl UserError {
    pub fn new(message: impl Into<String>) -> UserError {
        UserError { message: message.into(), is_listing: false }
    }

    /// Mistakes in a file, each with its place and its own `error:`.
    pub fn listing(mistakes: impl Into<String>) -> UserError {
        UserError { message: mistakes.into(), is_listing: true }
    }

    /// Marks a whole error, causes and all, as one that the user can mend.
    pub fn from_error(error: anyhow::Error) -> UserError {
        UserError::new(told(&error))
    }
}

/// An error that lists mistakes, with a line below them; any other as it is.
pub fn with_note(error: anyhow::Error, note: &str) -> anyhow::Error {
    match error.downcast_ref::<UserError>() {
        Some(UserError { message, is_listing: true }) => {
            UserError::listing(format!("{message}\n{note}")).into()
        }
        _ => error,
    }
}

/// What is printed on standard error of an error that ends the program.
pub fn report(error: &anyhow::Error) -> String {
    match error.downcast_ref::<UserError>() {
        Some(UserError { message, is_listing: true }) => message.clone(),
        _ => format!("error: {}", told(error)),
    }
}

/// An error with its causes, for people: without the mark that a pipeline may try again, which means nothing to them.
pub fn told(error: &anyhow::Error) -> String {
    let mark = Rewind::MayPass.to_string();
    let causes = error.chain().map(ToString::to_string).filter(|cause| *cause != mark);
    causes.collect::<Vec<_>>().join(": ")
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UserError {}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_list_of_mistakes_has_its_own_marks() {
        let listed = UserError::listing("a.toml:1:1: error: no such key");
        let noted = with_note(listed.into(), "nothing was changed");
        assert_eq!(report(&noted), "a.toml:1:1: error: no such key\nnothing was changed");
        let error = anyhow::Error::from(UserError::new("no topic `a`")).context("cannot list");
        let error = with_note(error, "nothing was changed");
        assert_eq!(report(&error), "error: cannot list: no topic `a`");
    }

    #[test]
    fn the_mark_of_what_may_pass_is_not_told() {
        let error = anyhow!("connection refused").context(Rewind::MayPass).context("cannot list");
        assert_eq!(told(&error), "cannot list: connection refused");
    }
}
