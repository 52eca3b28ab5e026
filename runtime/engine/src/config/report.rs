//! Where reading a file puts what it finds wrong, so that all mistakes are told at once.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use super::diagnostic::{Diagnostic, Severity};

/// Nobody reads more at once, and showing one takes time in proportion to the file.
const DIAGNOSTICS_MAX: usize = 100;

/// The diagnostics of one file, as they are found.
pub(super) struct Report<'f> {
    file: &'f Path,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'f> Report<'f> {
    pub fn new(file: &'f Path) -> Report<'f> {
        Report { file, found: RefCell::default() }
    }

    pub fn error(&self, span: Range<usize>, message: impl Into<String>) {
        self.add(Diagnostic::error(self.file, span, message));
    }

    pub fn error_with_help(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Diagnostic::error(self.file, span, message).help(help));
    }

    pub fn warning(&self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.add(Diagnostic::warning(self.file, span, message).help(help));
    }

    pub fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(|found| found.severity == Severity::Error)
    }

    /// Everything found, in the order of the file; beyond [`DIAGNOSTICS_MAX`] only how many.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|found| (found.span.start, found.severity));
        if let Some(next) = found.get(DIAGNOSTICS_MAX) {
            let message = format!("and {} more from here on", found.len() - DIAGNOSTICS_MAX);
            let more = Diagnostic::error(self.file, next.span.clone(), message);
            found.truncate(DIAGNOSTICS_MAX);
            found.push(more);
        }
        found
    }

    fn add(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }
}
