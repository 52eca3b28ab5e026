//! What a module writes to WASI's standard output and error, as lines with a level and, where the
//! module gives one, the row that they speak of (sdk/contract/log.md).
//!
//! Lines are bounded in length and, per call, in number: a flood costs the host nothing but a
//! count.

/// Longest line; the rest of a longer one is dropped.
const LINE_BYTES_MAX: usize = 4096;

/// How bad a line is, in its module's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// One line of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub level: LogLevel,
    /// Row of the batch.
    pub row: Option<u32>,
    pub text: String,
}

/// The lines of one instance that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct LogLines {
    lines_max: usize,
    lines_left: usize,
    lines_dropped: u64,
    /// The line that is not ended yet, per descriptor (1 and 2).
    open: [Vec<u8>; 2],
    lines: Vec<LogLine>,
    /// The last line written to standard error in this call: a panic's message, most often.
    last_error_line: Option<String>,
}

impl LogLines {
    pub(crate) fn new(lines_max: usize) -> Self {
        Self {
            lines_max,
            lines_left: lines_max,
            lines_dropped: 0,
            open: [Vec::new(), Vec::new()],
            lines: Vec::new(),
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
            self.lines.push(LogLine::dropped(self.lines_dropped));
            self.lines_dropped = 0;
        }
    }

    /// The lines since the last taking.
    pub(crate) fn take(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.lines)
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
        let level = if error { LogLevel::Warn } else { LogLevel::Info };
        self.lines.push(LogLine::read(&line, level));
        if error {
            self.last_error_line = Some(line);
        }
    }
}

impl LogLine {
    /// `LEVEL: row N: text`; both may be missing. `level` is the descriptor's.
    fn read(line: &str, level: LogLevel) -> Self {
        let (level, rest) = split_level(line).unwrap_or((level, line));
        let (row, text) = split_row(rest).map_or((None, rest), |(row, text)| (Some(row), text));
        Self { level, row, text: text.to_owned() }
    }

    pub(crate) fn dropped(count: u64) -> Self {
        let text = format!("{count} more log lines of this batch were dropped");
        Self { level: LogLevel::Warn, row: None, text }
    }
}

fn split_level(line: &str) -> Option<(LogLevel, &str)> {
    let (word, text) = line.split_once(": ")?;
    let level = match word.to_ascii_lowercase().as_str() {
        "error" => LogLevel::Error,
        "warn" | "warning" => LogLevel::Warn,
        "info" => LogLevel::Info,
        "debug" => LogLevel::Debug,
        _ => return None,
    };
    Some((level, text))
}

fn split_row(text: &str) -> Option<(u32, &str)> {
    let (row, text) = text.strip_prefix("row ")?.split_once(": ")?;
    Some((row.parse().ok()?, text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_say_its_level_and_its_row() {
        for (line, level, row, text) in [
            ("error: row 17: no city", LogLevel::Error, Some(17), "no city"),
            ("WARNING: slow", LogLevel::Warn, None, "slow"),
            ("row 3: odd", LogLevel::Info, Some(3), "odd"),
            ("debug: x: y", LogLevel::Debug, None, "x: y"),
            ("row x: odd", LogLevel::Info, None, "row x: odd"),
            ("errors: 3", LogLevel::Info, None, "errors: 3"),
            ("row 99999999999: odd", LogLevel::Info, None, "row 99999999999: odd"),
        ] {
            let read = LogLine::read(line, LogLevel::Info);
            assert_eq!((read.level, read.row, read.text.as_str()), (level, row, text), "{line}");
        }
    }

    #[test]
    fn a_flood_of_lines_is_counted_and_not_kept() {
        let mut lines = LogLines::new(3);
        lines.begin_call();
        lines.write(true, "x\n".repeat(1000).as_bytes());
        lines.end_call();
        let taken = lines.take();
        assert_eq!((taken.len(), &taken[3]), (4, &LogLine::dropped(997)));
        lines.begin_call();
        lines.write(true, b"panicked");
        assert_eq!(lines.last_error_line().unwrap(), "panicked");
    }

    #[test]
    fn an_endless_line_takes_bounded_memory() {
        let mut lines = LogLines::new(3);
        for _ in 0..1000 {
            lines.write(false, &[b'a'; 1000]);
        }
        assert_eq!(lines.open[0].len(), LINE_BYTES_MAX);
    }
}
