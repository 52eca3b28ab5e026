//! The progress bars of a producer: how much has been read, and how much has arrived.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const RECORDS_TEMPLATE: &str = "{bar:30} {human_pos}/{human_len} records  {msg}  {eta} left";
const BYTES_TEMPLATE: &str = "{bar:30} {bytes}/{total_bytes}  {msg}  {eta} left";

/// Of as many records.
pub fn of_records(count: u64) -> ProgressBar {
    bar(count, RECORDS_TEMPLATE)
}

/// Of a file; the length is set when it is open.
pub fn of_bytes() -> ProgressBar {
    bar(0, BYTES_TEMPLATE)
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// What stands beside a bar: `12000 acknowledged, 3998/s`, and how many failed if any did.
pub fn message(acknowledged: u64, failed: u64, since_begin: Duration) -> String {
    let rate = acknowledged as f64 / since_begin.as_secs_f64().max(1e-3);
    match failed {
        0 => format!("{acknowledged} acknowledged, {rate:.0}/s"),
        failed => format!("{acknowledged} acknowledged, {rate:.0}/s, {failed} FAILED"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid() {
        for template in [RECORDS_TEMPLATE, BYTES_TEMPLATE] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }

    #[test]
    fn failures_are_not_overlooked() {
        assert_eq!(message(12_000, 0, Duration::from_secs(3)), "12000 acknowledged, 4000/s");
        assert_eq!(message(1, 2, Duration::from_secs(1)), "1 acknowledged, 1/s, 2 FAILED");
    }
}
