//! What a module writes to WASI's standard output and error, as log lines with the stage's name.
//!
//! Lines are bounded in length and, per call, in number: a flood costs the host nothing but a
//! count.

use std::sync::Arc;

/// Longest line; the rest of a longer one is dropped.
const LINE_BYTES_MAX: usize = 4096;

/// The lines of one instance.
#[derive(Debug)]
pub(crate) struct LogLines {
    stage: Arc<str>,
    lines_max: usize,
    lines_left: usize,
    lines_dropped: u64,
    /// The line that is not ended yet, per descriptor (1 and 2).
    open: [Vec<u8>; 2],
    /// The last line written to standard error in this call: a panic's message, most often.
    last_error_line: Option<String>,
}

impl LogLines {
    pub(crate) fn new(stage: Arc<str>, lines_max: usize) -> Self {
        Self {
            stage,
            lines_max,
            lines_left: lines_max,
            lines_dropped: 0,
            open: [Vec::new(), Vec::new()],
            last_error_line: None,
        }
    }

    /// Gives the call that begins now its own allowance of lines.
    pub(crate) fn begin_call(&mut self) {
        self.lines_left = self.lines_max;
        self.last_error_line = None;
    }

    /// Ends open lines and says how many were dropped.
    pub(crate) fn end_call(&mut self) {
        for error in [false, true] {
            if !self.open[usize::from(error)].is_empty() {
                self.end_line(error);
            }
        }
        if self.lines_dropped > 0 {
            tracing::warn!(
                target: "gristmill::stage",
                stage = &*self.stage,
                "{} more log lines of this batch were dropped", self.lines_dropped
            );
            self.lines_dropped = 0;
        }
    }

    /// The last line on standard error since the call began, an unfinished one included.
    pub(crate) fn last_error_line(&mut self) -> Option<String> {
        self.end_call();
        self.last_error_line.take()
    }

    pub(crate) fn write(&mut self, error: bool, bytes: &[u8]) {
        let mut parts = bytes.split(|&byte| byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let open = &mut self.open[usize::from(error)];
            let room = LINE_BYTES_MAX - open.len();
            open.extend_from_slice(&part[..part.len().min(room)]);
            if parts.peek().is_some() {
                self.end_line(error);
            }
        }
    }

    fn end_line(&mut self, error: bool) {
        if self.lines_left == 0 {
            self.lines_dropped += 1;
            self.open[usize::from(error)].clear();
            return;
        }
        self.lines_left -= 1;
        let line = String::from_utf8_lossy(&self.open[usize::from(error)]).trim_end().to_owned();
        self.open[usize::from(error)].clear();
        let stage = &*self.stage;
        if error {
            tracing::warn!(target: "gristmill::stage", stage, "{line}");
            self.last_error_line = Some(line);
        } else {
            tracing::info!(target: "gristmill::stage", stage, "{line}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_counted_and_not_kept() {
        let mut lines = LogLines::new("s".into(), 3);
        lines.begin_call();
        lines.write(true, "x\n".repeat(1000).as_bytes());
        assert_eq!(lines.lines_dropped, 997);
        lines.end_call();
        assert_eq!(lines.lines_dropped, 0);
        lines.begin_call();
        lines.write(true, b"panicked");
        assert_eq!(lines.last_error_line().unwrap(), "panicked");
    }

    #[test]
    fn an_endless_line_takes_bounded_memory() {
        let mut lines = LogLines::new("s".into(), 3);
        for _ in 0..1000 {
            lines.write(false, &[b'a'; 1000]);
        }
        assert_eq!(lines.open[0].len(), LINE_BYTES_MAX);
    }
}
