//! A pipeline drawn: source, stages and sinks from left to right, with what passes on every edge.

use gristmill_engine::config::{ModuleRef, SinkKind, Topics, Upstream};
use gristmill_engine::plan::Plan;
use gristmill_engine::status::Snapshot;
use maud::{Markup, PreEscaped, html};

use super::format;
use super::live::Values;
use crate::http::history::Rates;

const WIDTH: i32 = 190;
const HEIGHT: i32 = 76;
const GAP_X: i32 = 66;
const GAP_Y: i32 = 22;
const MARGIN: i32 = 4;
/// Characters that fit into a node.
const TITLE_CHARACTERS: usize = 22;
const SMALL_CHARACTERS: usize = 30;

/// What a node is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Source,
    Stage(usize),
    Sink(usize),
}

/// A node and its place.
#[derive(Debug)]
struct Node {
    kind: Kind,
    title: String,
    small: String,
    /// Index of the node before it.
    from: Option<usize>,
    column: i32,
    /// In halves of a row.
    row: i32,
}

impl Node {
    fn x(&self) -> i32 {
        MARGIN + self.column * (WIDTH + GAP_X)
    }

    fn y(&self) -> i32 {
        MARGIN + self.row * (HEIGHT + GAP_Y) / 2
    }

    /// Of the elements that show its live values.
    fn id(&self) -> String {
        match self.kind {
            Kind::Source => "source".to_string(),
            Kind::Stage(index) => format!("stage-{index}"),
            Kind::Sink(index) => format!("sink-{index}"),
        }
    }

    fn class(&self) -> &'static str {
        match self.kind {
            Kind::Source => "source",
            Kind::Stage(_) => "stage",
            Kind::Sink(_) => "sink",
        }
    }
}

/// The drawing. A node of which rows can be seen leads there; `chosen` is the one that is seen.
pub fn draw(plan: &Plan, values: &Values, chosen: Option<&str>) -> Markup {
    let nodes = place(nodes(plan));
    let width = nodes.iter().map(|node| node.x() + WIDTH).max().unwrap_or(0) + MARGIN;
    let height = nodes.iter().map(|node| node.y() + HEIGHT).max().unwrap_or(0) + MARGIN;
    html! {
        div.graph tabindex="0" role="region" aria-label="Graph of the pipeline" {
            svg width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="group" aria-label="Source, stages and sinks" {
                @for node in &nodes {
                    @if let Some(from) = node.from { (edge(&nodes[from], node, values)) }
                }
                @for node in &nodes { (draw_node(node, values, chosen)) }
            }
        }
    }
}

fn draw_node(node: &Node, values: &Values, chosen: Option<&str>) -> Markup {
    let tapped = match node.kind {
        Kind::Source => Some("source"),
        Kind::Stage(_) => Some(node.title.as_str()),
        Kind::Sink(_) => None,
    };
    let is_chosen = tapped.is_some() && tapped == chosen;
    let (x, y, id) = (node.x(), node.y(), node.id());
    let text = |class: &str, at: i32, content: Markup, id: Option<String>| {
        html! { text class=(class) id=[id] x=(x + 12) y=(y + at) { (content) } }
    };
    let content = html! {
        rect x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="8" {}
        (text("title", 21, html! { (cut(&node.title, TITLE_CHARACTERS)) }, None))
        (text("small", 37, html! { (cut(&node.small, SMALL_CHARACTERS)) }, None))
        (text("", 53, values.inner(&format!("{id}-rate")), Some(format!("{id}-rate"))))
        (text("small", 68, values.inner(&format!("{id}-more")), Some(format!("{id}-more"))))
    };
    let class = format!("{}{}", node.class(), if is_chosen { " chosen" } else { "" });
    html! {
        g class=(class) {
            @match tapped {
                Some(stage) => a href={ "?rows=" (super::layout::segment(stage)) "#rows" } { (content) },
                None => (content),
            }
        }
    }
}

fn edge(from: &Node, to: &Node, values: &Values) -> Markup {
    let (x1, y1) = (from.x() + WIDTH, from.y() + HEIGHT / 2);
    let (x2, y2) = (to.x(), to.y() + HEIGHT / 2);
    let middle = (x1 + x2) / 2;
    let id = format!("edge-{}", to.id());
    // On the side that the curve does not come from.
    let text_y = if y2 > y1 { y2 + 15 } else { y2 - 7 };
    html! {
        path d={ "M" (x1) " " (y1) " C" (middle) " " (y1) " " (middle) " " (y2) " " (x2) " " (y2) } {}
        text.edge-rate id=(id) x=(x2 - GAP_X / 2) y=(text_y) { (values.inner(&id)) }
    }
}

/// In the order of the file: the source first, each node behind the one that it reads from.
fn nodes(plan: &Plan) -> Vec<Node> {
    let index = |from: Upstream| match from {
        Upstream::Source => 0,
        Upstream::Stage(index) => index + 1,
    };
    let node = |kind, title: &str, small: String, from| Node {
        kind,
        title: title.to_string(),
        small,
        from,
        column: 0,
        row: 0,
    };
    let topics = match &plan.pipeline.source.topics {
        Topics::Names(names) => names.join(", "),
        Topics::Pattern(pattern) => pattern.clone(),
    };
    let mut nodes = vec![node(Kind::Source, "source", topics, None)];
    for (number, (stage, config)) in plan.stages.iter().zip(&plan.pipeline.stages).enumerate() {
        let module = match &config.module {
            ModuleRef::Shipped(name) => name.clone(),
            ModuleRef::File(path) => {
                path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned())
            }
        };
        nodes.push(node(Kind::Stage(number), &stage.name, module, Some(index(stage.from))));
    }
    for (number, sink) in plan.pipeline.sinks.iter().enumerate() {
        let small = match &sink.kind {
            SinkKind::Topic(topic) => format!("topic {}", topic.topic),
            SinkKind::Delta(delta) => format!("table {}", last_segment(&delta.table)),
        };
        nodes.push(node(Kind::Sink(number), &sink.name, small, Some(index(sink.from))));
    }
    nodes
}

fn last_segment(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// Columns by the way from the source, rows by the leaves; a node stands in the middle of those behind it.
fn place(mut nodes: Vec<Node>) -> Vec<Node> {
    for index in 1..nodes.len() {
        let from = nodes[index].from.unwrap_or(0);
        nodes[index].column = nodes[from].column + 1;
    }
    let mut next_row = 0;
    place_rows(&mut nodes, 0, &mut next_row);
    nodes
}

fn place_rows(nodes: &mut [Node], index: usize, next_row: &mut i32) {
    let behind: Vec<usize> = (0..nodes.len()).filter(|it| nodes[*it].from == Some(index)).collect();
    if behind.is_empty() {
        nodes[index].row = *next_row;
        *next_row += 2;
        return;
    }
    for child in &behind {
        place_rows(nodes, *child, next_row);
    }
    let (first, last) = (nodes[behind[0]].row, nodes[behind[behind.len() - 1]].row);
    nodes[index].row = (first + last) / 2;
}

fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some(_) => text.chars().take(characters_max - 1).chain(['…']).collect(),
        None => text.to_string(),
    }
}

/// The live values of the drawing.
pub fn values(plan: &Plan, snapshot: &Snapshot, rates: &Rates, values: &mut Values) {
    let of = |rates: &[f64], index: usize| rates.get(index).copied().unwrap_or(0.0);
    values.set("source-rate", format!("{} read", format::rate(rates.records)));
    values.set("source-more", format!("{} behind", format::count(snapshot.lag)));
    for (index, stage) in snapshot.stages.iter().enumerate() {
        values.set(
            format!("stage-{index}-rate"),
            format!(
                "{} → {}",
                format::rate(of(&rates.stages_in, index)),
                format::rate(of(&rates.stages_out, index))
            ),
        );
        let cost = html! {
            (microseconds(stage.busy_ms, stage.counts.rows_in)) " a row"
            @if stage.counts.rows_failed > 0 {
                (PreEscaped("<tspan class=\"failed\">")) " · " (format::count(stage.counts.rows_failed)) " failed" (PreEscaped("</tspan>"))
            }
        };
        values.set(format!("stage-{index}-more"), cost);
    }
    for (index, sink) in snapshot.sinks.iter().enumerate() {
        values.set(
            format!("sink-{index}-rate"),
            format!("{} rows committed", format::count(sink.rows_committed)),
        );
        let latency = match sink.last_commit_ms {
            Some(_) => {
                format!("durable after {}", format::milliseconds(sink.last_commit_latency_ms))
            }
            None => "no commit yet".to_string(),
        };
        values.set(format!("sink-{index}-more"), latency);
        values.set(format!("edge-sink-{index}"), format::rate(of(&rates.sinks, index)));
    }
    for (index, stage) in plan.stages.iter().enumerate() {
        let rate = match stage.from {
            Upstream::Source => rates.records,
            Upstream::Stage(from) => of(&rates.stages_out, from),
        };
        values.set(format!("edge-stage-{index}"), format::rate(rate));
    }
}

/// Mean time of a row in a stage since the start.
fn microseconds(busy_ms: f64, rows: u64) -> String {
    match rows {
        0 => "—".to_string(),
        rows => format!("{:.1} µs", busy_ms * 1e3 / rows as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(from: Option<usize>) -> Node {
        let (title, small) = (String::new(), String::new());
        Node { kind: Kind::Source, title, small, from, column: 0, row: 0 }
    }

    #[test]
    fn branches_stand_apart_and_their_root_between_them() {
        let froms = [None, Some(0), Some(1), Some(1), Some(3), Some(2)];
        let nodes = place(froms.into_iter().map(node).collect());
        let places: Vec<_> = nodes.iter().map(|node| (node.column, node.row)).collect();
        assert_eq!(places, [(0, 1), (1, 1), (2, 0), (2, 2), (3, 2), (3, 0)]);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }
}
