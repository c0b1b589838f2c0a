//! Where the boxes of a picture stand and how the lines between them run.
//!
//! The places come from dagre's method (layers from top to bottom, as few crossings as can be found), which keeps room for the
//! labels of lines too. How lines run in between is decided here: within a layer straight down, slanting only in the gaps
//! between layers, where nothing else is. So no line crosses a box or another line's label.

use dugong::graphlib::{Graph, GraphOptions};
use dugong::{EdgeLabel, GraphLabel, NodeLabel, WorkControl, WorkError, layout_controlled};
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// How much work a picture may cost, in the layout's own units: about a second.
/// It is counted, not timed, so that the same drawing always gives the same picture.
const BUDGET: usize = 15_000_000;

/// The most lines: with more, no picture is readable, and the budget is looked at too seldom.
const MOST_LINES: usize = 1000;

/// The room between a box and the lines that lead from it to itself.
const LOOP: f64 = 22.0;

/// The first and the last of a line, which are straight, so that it is seen where it begins and its head is.
const TAIL: f64 = 7.0;
const HEAD: f64 = 14.0;

/// How far apart the ends of lines stand at a box.
const APART: f64 = 14.0;

/// What is to be placed.
pub(super) struct Input {
    /// Width and height of each box.
    pub boxes: Vec<(f64, f64)>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line that is to be placed.
pub(super) struct Line {
    /// The box where it begins.
    pub from: usize,
    /// The box where it leads.
    pub to: usize,
    /// Width and height of its label; zero for none.
    pub label: (f64, f64),
    /// Whether it is the usual way, to be drawn as straight as can be.
    pub main: bool,
}

/// Where everything is.
pub(super) struct Placed {
    /// Width and height of the whole.
    pub size: Point,
    /// The middle of each box.
    pub boxes: Vec<Point>,
    /// The corners of each line.
    pub lines: Vec<Vec<Point>>,
    /// The middle of each line's label.
    pub labels: Vec<Point>,
}

/// A place, from the upper left corner, or a width and a height.
pub(super) type Point = (f64, f64);

struct Budget(usize);

impl WorkControl for Budget {
    fn charge(&mut self, units: usize) -> Result<(), WorkError> {
        self.0 = self.0.checked_sub(units).ok_or(WorkError::Interrupted)?;
        Ok(())
    }
}

/// Places everything; none when that would cost too much.
///
/// The method knows five ways to line boxes up, and which of them is good depends on the graph: the narrowest picture is taken
/// of those that the budget allows.
pub(super) fn place(input: &Input) -> Option<Placed> {
    if input.lines.len() > MOST_LINES {
        return None;
    }
    let mut budget = Budget(BUDGET);
    let mut best: Option<Placed> = None;
    for align in [None, Some("UR"), Some("DR"), Some("UL"), Some("DL")] {
        let Some(placed) = placed(input, align, &mut budget) else { break };
        if best.as_ref().is_none_or(|best| placed.size.0 < best.size.0 - 1.0) {
            best = Some(placed);
        }
    }
    best
}

fn placed(input: &Input, align: Option<&str>, budget: &mut Budget) -> Option<Placed> {
    let mut graph: Graph<NodeLabel, EdgeLabel, GraphLabel> =
        Graph::new(GraphOptions { directed: true, multigraph: true, compound: false });
    let align = align.map(str::to_owned);
    graph.set_graph(GraphLabel { nodesep: 32.0, edgesep: 18.0, ranksep: 72.0, align, ..GraphLabel::default() });
    for (place, (width, height)) in input.boxes.iter().enumerate() {
        graph.set_node(box_name(place), NodeLabel { width: *width, height: *height, ..NodeLabel::default() });
    }
    for (place, line) in input.lines.iter().enumerate() {
        // A line from a box to itself stands beside it, its label right of it.
        let beside = if line.from == line.to { LOOP } else { 0.0 };
        let label = EdgeLabel {
            width: line.label.0.max(1.0) + beside,
            height: line.label.1.max(1.0),
            weight: if line.main { 4.0 } else { 1.0 },
            ..EdgeLabel::default()
        };
        graph.set_edge_named(box_name(line.from), box_name(line.to), Some(line_name(place)), Some(label));
    }
    layout_controlled(&mut graph, budget).ok()?;

    let boxes: Option<Vec<Point>> = (0..input.boxes.len())
        .map(|place| graph.node(&box_name(place)).and_then(|node| Some((node.x?, node.y?))))
        .collect();
    let found: Option<Vec<&EdgeLabel>> = input
        .lines
        .iter()
        .enumerate()
        .map(|(place, line)| graph.edge(&box_name(line.from), &box_name(line.to), Some(&line_name(place))))
        .collect();
    let (boxes, found) = (boxes?, found?);
    let labels: Vec<Point> = found.iter().map(|line| (line.x.unwrap_or(0.0), line.y.unwrap_or(0.0))).collect();
    let layers = layers(input, &boxes, &labels);
    let between = |found: &EdgeLabel| -> Vec<Point> {
        let inner = found.points.get(1..found.points.len().saturating_sub(1)).unwrap_or_default();
        inner.iter().map(|point| (point.x, point.y)).collect()
    };
    let between: Vec<Vec<Point>> = found.iter().map(|found| between(found)).collect();
    let doors = doors(input, &boxes, &between);
    let lines = input.lines.iter().enumerate().map(|(place, line)| {
        if line.from == line.to {
            let x = labels[place].0 - found[place].width / 2.0 + LOOP / 2.0;
            return around(boxes[line.from], input.boxes[line.from], x);
        }
        run(doors[place], [boxes[line.from].1, boxes[line.to].1], &between[place], &layers)
    });
    let lines: Vec<_> = lines.collect();
    let labels = input
        .lines
        .iter()
        .zip(labels)
        .map(|(line, (x, y))| (if line.from == line.to { x + LOOP / 2.0 - 6.0 } else { x }, y));
    Some(framed(input, boxes, lines, labels.collect()))
}

fn box_name(place: usize) -> String {
    format!("b{place}")
}

fn line_name(place: usize) -> String {
    format!("l{place}")
}

/// The horizontal bands that boxes and labels stand in, from the top: upper and lower border.
fn layers(input: &Input, boxes: &[Point], labels: &[Point]) -> Vec<(f64, f64)> {
    let mut bands: Vec<(f64, f64)> = boxes
        .iter()
        .zip(&input.boxes)
        .map(|((_, y), (_, height))| (y - height / 2.0, y + height / 2.0))
        .chain(
            labels
                .iter()
                .zip(&input.lines)
                .filter(|(_, line)| line.label.1 > 0.0)
                .map(|((_, y), line)| (y - line.label.1 / 2.0, y + line.label.1 / 2.0)),
        )
        .collect();
    bands.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut layers: Vec<(f64, f64)> = Vec::new();
    for (top, bottom) in bands {
        match layers.last_mut() {
            Some(last) if top <= last.1 + 1.0 => last.1 = last.1.max(bottom),
            _ => layers.push((top, bottom)),
        }
    }
    layers
}

/// How far right a line would like to leave or reach a box.
struct Wish {
    x: f64,
    line: usize,
    /// 0: where it leaves; 1: where it arrives.
    end: usize,
}

/// Where each line leaves its box and where it reaches the other: straight towards its next place as far as the box is wide,
/// and apart from its neighbours as far as there is room.
fn doors(input: &Input, boxes: &[Point], between: &[Vec<Point>]) -> Vec<[Point; 2]> {
    let mut doors = vec![[(0.0, 0.0); 2]; input.lines.len()];
    let mut sides: BTreeMap<(usize, bool), Vec<Wish>> = BTreeMap::new();
    for (place, line) in input.lines.iter().enumerate().filter(|(_, line)| line.from != line.to) {
        let down = boxes[line.from].1 <= boxes[line.to].1;
        let middle = (boxes[line.from].0, boxes[line.to].0);
        let first = between[place].first().map_or(middle.1, |point| point.0);
        let last = between[place].last().map_or(middle.0, |point| point.0);
        sides.entry((line.from, down)).or_default().push(Wish { x: first, line: place, end: 0 });
        sides.entry((line.to, !down)).or_default().push(Wish { x: last, line: place, end: 1 });
    }
    for ((place, lower), mut wishes) in sides {
        let ((x, y), (width, height)) = (boxes[place], input.boxes[place]);
        let room = (width / 2.0 - 16.0).max(0.0);
        wishes.sort_by(|one, other| one.x.total_cmp(&other.x));
        let gaps = wishes.len() - 1;
        let apart = if gaps == 0 { 0.0 } else { APART.min(2.0 * room / number(gaps)) };
        let mut free = x - room;
        for (order, wish) in wishes.into_iter().enumerate() {
            let door = wish.x.min(x + room - apart * number(gaps - order)).max(free);
            free = door + apart;
            doors[wish.line][wish.end] = (door, if lower { y + height / 2.0 } else { y - height / 2.0 });
        }
    }
    doors
}

/// A count, to multiply distances with.
fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// A line from door to door through the places that the layout kept free for it. `middles` are how far down the two boxes stand.
fn run([from, to]: [Point; 2], middles: [f64; 2], between: &[Point], layers: &[(f64, f64)]) -> Vec<Point> {
    let down = middles[0] <= middles[1];
    // Where a line enters the layer that is that far down, and where it leaves it.
    let through = |y: f64| {
        let layer = layers.iter().copied().find(|(top, bottom)| (*top..=*bottom).contains(&y));
        let (top, bottom) = layer.unwrap_or((y, y));
        if down { (top, bottom) } else { (bottom, top) }
    };
    let ahead = if down { 1.0 } else { -1.0 };
    let mut points = vec![from, (from.0, through(middles[0]).1 + TAIL * ahead)];
    for (x, y) in between {
        let (entry, exit) = through(*y);
        points.extend([(*x, entry), (*x, exit)]);
    }
    points.extend([(to.0, through(middles[1]).0 - HEAD * ahead), to]);
    points.dedup_by(|one, other| (one.0 - other.0).abs() + (one.1 - other.1).abs() < 0.5);
    points
}

/// A line from the right side of a box round to it again, at `x`.
fn around((middle, y): Point, (width, height): Point, x: f64) -> Vec<Point> {
    let right = middle + width / 2.0;
    // The further out, the wider: lines within lines.
    let reach = (height / 4.0 + (x - right) / 20.0).min(height / 2.0 - 3.0);
    vec![(right, y - reach), (x, y - reach), (x, y + reach), (right, y + reach)]
}

/// Everything moved to the upper left corner, and how large it is.
fn framed(input: &Input, boxes: Vec<Point>, lines: Vec<Vec<Point>>, labels: Vec<Point>) -> Placed {
    let corners = |(x, y): Point, (width, height): Point| {
        [(x - width / 2.0, y - height / 2.0), (x + width / 2.0, y + height / 2.0)]
    };
    let of_boxes = boxes.iter().zip(&input.boxes).flat_map(|(place, size)| corners(*place, *size));
    let of_labels = labels.iter().zip(&input.lines).flat_map(|(place, line)| corners(*place, line.label));
    let all: Vec<Point> = of_boxes.chain(of_labels).chain(lines.iter().flatten().copied()).collect();
    let left = all.iter().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let top = all.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let right = all.iter().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max);
    let bottom = all.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    let moved = |points: Vec<Point>| points.into_iter().map(|(x, y)| (x - left, y - top)).collect::<Vec<_>>();
    Placed {
        size: if all.is_empty() { (0.0, 0.0) } else { (right - left, bottom - top) },
        boxes: moved(boxes),
        lines: lines.into_iter().map(moved).collect(),
        labels: moved(labels),
    }
}
