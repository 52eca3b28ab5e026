//! Who reads from whom: `from` resolved, stages put in order, circles and dead ends found.
//!
//! A stage has one upstream and may stand before it in the file, so the stages are a forest unless
//! some of them read from each other in a circle.

use std::collections::BTreeMap;
use std::ops::Range;

use super::document::{SinkTable, StageTable, Written};
use super::pipeline::Upstream;
use super::report::Report;
use super::suggestion::{listed, nearest};

/// The name that stands for the records of the source in `from`.
pub(super) const SOURCE_NAME: &str = "source";

/// The stages in the order they run, and who reads what.
pub(super) struct Flow {
    /// Places in the file of the stages, each after the one it reads from.
    pub order: Vec<usize>,
    /// By place in the file. `Stage` is a place in `order`.
    pub stage_upstreams: Vec<Upstream>,
    /// By place in the file. `Stage` is a place in `order`.
    pub sink_upstreams: Vec<Upstream>,
}

/// `None` if a `from` leads nowhere or in a circle, which is reported.
pub(super) fn resolve_flow(
    stages: &[StageTable],
    sinks: &[SinkTable],
    report: &Report,
) -> Option<Flow> {
    let names = Names::new(stages, sinks);
    let stage_froms = stages.iter().enumerate().map(|(index, stage)| match &stage.from {
        Some(from) => names.find(from, report),
        None => Some(index.checked_sub(1).map_or(Upstream::Source, Upstream::Stage)),
    });
    let stage_froms: Vec<_> = stage_froms.collect();
    let last = stages.len().checked_sub(1).map_or(Upstream::Source, Upstream::Stage);
    let sink_froms = sinks.iter().map(|sink| match &sink.from {
        Some(from) => names.find(from, report),
        None => Some(last),
    });
    let sink_froms: Vec<_> = sink_froms.collect();
    let stage_froms: Vec<Upstream> = stage_froms.into_iter().collect::<Option<_>>()?;
    let sink_froms: Vec<Upstream> = sink_froms.into_iter().collect::<Option<_>>()?;
    let order = order(stages, &stage_froms, report)?;
    warn_of_dead_ends(stages, &stage_froms, &sink_froms, report);
    let mut place_in_order = vec![0; stages.len()];
    order.iter().enumerate().for_each(|(place, index)| place_in_order[*index] = place);
    let placed = |from: Upstream| match from {
        Upstream::Source => Upstream::Source,
        Upstream::Stage(index) => Upstream::Stage(place_in_order[index]),
    };
    Some(Flow {
        order,
        stage_upstreams: stage_froms.into_iter().map(placed).collect(),
        sink_upstreams: sink_froms.into_iter().map(placed).collect(),
    })
}

/// What a `from` can name.
struct Names<'d> {
    stages: BTreeMap<&'d str, usize>,
    /// In the order of the file.
    listed: Vec<&'d str>,
    sinks: Vec<&'d str>,
}

impl<'d> Names<'d> {
    fn new(stages: &'d [StageTable], sinks: &'d [SinkTable]) -> Names<'d> {
        let names = stages.iter().enumerate().filter_map(|(index, stage)| {
            stage.name.as_ref().map(|name| (name.value.as_str(), index))
        });
        let listed = names.clone().map(|(name, _)| name).chain([SOURCE_NAME]).collect();
        let sinks = sinks.iter().filter_map(|sink| Some(sink.name.as_ref()?.value.as_str()));
        Names { stages: names.rev().collect(), listed, sinks: sinks.collect() }
    }

    fn find(&self, from: &Written<String>, report: &Report) -> Option<Upstream> {
        let name = from.value.as_str();
        if name == SOURCE_NAME {
            return Some(Upstream::Source);
        }
        if let Some(index) = self.stages.get(name) {
            return Some(Upstream::Stage(*index));
        }
        let choices = format!("`from` can be {}", listed(self.listed.iter().copied(), "or"));
        let help = match nearest(name, self.listed.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? {choices}"),
            None => choices,
        };
        let message = if self.sinks.contains(&name) {
            format!("`{name}` is a sink, nothing can be read from it")
        } else {
            format!("no stage is named `{name}`")
        };
        report.error_with_help(from.span.clone(), message, help);
        None
    }
}

/// Upstream first, else as in the file.
fn order(stages: &[StageTable], froms: &[Upstream], report: &Report) -> Option<Vec<usize>> {
    let mut depths: Vec<Option<usize>> = vec![None; stages.len()];
    let mut has_circle = false;
    for start in 0..stages.len() {
        let mut path = Vec::new();
        let mut at = Upstream::Stage(start);
        while let Upstream::Stage(index) = at
            && depths[index].is_none()
        {
            if let Some(entered) = path.iter().position(|on_path| *on_path == index) {
                report_circle(stages, &path[entered..], report);
                has_circle = true;
                break;
            }
            path.push(index);
            at = froms[index];
        }
        let mut depth = match at {
            Upstream::Stage(index) => depths[index].map_or(0, |depth| depth + 1),
            Upstream::Source => 0,
        };
        while let Some(index) = path.pop() {
            depths[index] = Some(depth);
            depth += 1;
        }
    }
    let mut order: Vec<usize> = (0..stages.len()).collect();
    let is_ordered = |(index, from): (usize, &Upstream)| match from {
        Upstream::Stage(before) => *before < index,
        Upstream::Source => true,
    };
    if !froms.iter().enumerate().all(is_ordered) {
        order.sort_by_key(|index| depths[*index]);
    }
    (!has_circle).then_some(order)
}

/// `circle`: each stage reads from the next one, the last from the first.
fn report_circle(stages: &[StageTable], circle: &[usize], report: &Report) {
    let name = |index: &usize| stages[*index].name.as_ref().map_or("?", |name| &name.value);
    let place = |index: &usize| stages[*index].from.as_ref().map(|from| from.span.clone());
    // One of them at least is written: what is implied leads upwards only.
    let span: Option<Range<usize>> = circle.iter().filter_map(place).min_by_key(|span| span.start);
    let message = match circle {
        [only] => format!("stage `{}` reads from itself", name(only)),
        circle => {
            let first = circle.iter().min().and_then(|min| circle.iter().position(|i| i == min));
            let first = first.unwrap_or(0);
            let round = circle[first..].iter().chain(&circle[..=first]).map(name);
            let round: Vec<_> = round.map(|name| format!("`{name}`")).collect();
            format!("stages read from each other in a circle: {}", round.join(" from "))
        }
    };
    let help = format!("let one of them read from `{SOURCE_NAME}` or from a stage outside");
    report.error_with_help(span.unwrap_or(0..0), message, help);
}

fn warn_of_dead_ends(
    stages: &[StageTable],
    stage_froms: &[Upstream],
    sink_froms: &[Upstream],
    report: &Report,
) {
    for (index, stage) in stages.iter().enumerate() {
        let reads = |from: &Upstream| *from == Upstream::Stage(index);
        if stage_froms.iter().chain(sink_froms).any(reads) {
            continue;
        }
        if let Some(name) = &stage.name {
            let message = format!("nothing reads from stage `{}`", name.value);
            let help = format!("add `from = \"{}\"` to a stage or a sink", name.value);
            report.warning(name.span.clone(), message, help);
        }
    }
}
