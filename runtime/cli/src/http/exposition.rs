//! Readings in Prometheus' text format (version 0.0.4).
//!
//! Counters end in `_total`, units are seconds and bytes, one `# HELP` and `# TYPE` before a family's samples.

use std::fmt::Write as _;

/// What a family's numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, until the process ends.
    Counter,
    Gauge,
}

/// Samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub samples: Vec<Sample>,
}

/// One number, and what it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

impl Family {
    pub fn counter(name: &'static str, help: &'static str) -> Family {
        Family { name, help, kind: Kind::Counter, samples: Vec::new() }
    }

    pub fn gauge(name: &'static str, help: &'static str) -> Family {
        Family { name, help, kind: Kind::Gauge, samples: Vec::new() }
    }

    pub fn add<const N: usize>(
        &mut self,
        labels: [(&'static str, &str); N],
        value: impl Into<Number>,
    ) {
        let labels = labels.map(|(name, value)| (name, value.to_string())).to_vec();
        self.samples.push(Sample { labels, value: value.into().0 });
    }

    pub fn with(mut self, value: impl Into<Number>) -> Family {
        self.add([], value);
        self
    }
}

/// Counts beyond 2^53 lose their last digits, as in Prometheus itself.
pub struct Number(f64);

macro_rules! numbers {
    ($($kind:ty),*) => {
        $(impl From<$kind> for Number {
            fn from(value: $kind) -> Number {
                Number(value as f64)
            }
        })*
    };
}
numbers!(f64, u64, i64, usize, i32, u32);

/// The whole text. Families without samples are left out.
pub fn text(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let Family { name, help, .. } = family;
        // Writing into a string cannot fail.
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for sample in &family.samples {
            out.push_str(name);
            write_labels(&mut out, &sample.labels);
            let _ = writeln!(out, " {}", sample.value);
        }
    }
    out
}

fn write_labels(out: &mut String, labels: &[(&'static str, String)]) {
    for (index, (name, value)) in labels.iter().enumerate() {
        out.push(if index == 0 { '{' } else { ',' });
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(out, "{name}=\"{value}\"");
    }
    if !labels.is_empty() {
        out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut lag = Family::gauge("lag_records", "Records not yet committed.");
        lag.add([("pipeline", "a\"b\\c\nd"), ("topic", "t")], 7_u64);
        lag.add([("pipeline", "p"), ("topic", "t")], 0.5);
        let none = Family::counter("none_total", "Nothing.");
        let up = Family::gauge("up", "Whether it is up.").with(1_u64);
        let expected = "# HELP lag_records Records not yet committed.\n# TYPE lag_records gauge\n\
                        lag_records{pipeline=\"a\\\"b\\\\c\\nd\",topic=\"t\"} 7\n\
                        lag_records{pipeline=\"p\",topic=\"t\"} 0.5\n\
                        # HELP up Whether it is up.\n# TYPE up gauge\nup 1\n";
        assert_eq!(text(&[lag, none, up]), expected);
    }
}
