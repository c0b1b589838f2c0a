//! Nothing lies upon anything: measured on graphs of every kind, up to the largest.

use super::{Input, Line, Placed, Point, place};

/// A row of numbers that looks like chance and is always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn size(&mut self, least: u32, most: u32) -> f64 {
        f64::from(least) + f64::from(u32::try_from(self.below((most - least) as usize)).expect("small"))
    }
}

/// A chain with this many further lines from anywhere to anywhere, itself included.
fn graph(boxes: usize, more: usize, seed: u64) -> Input {
    let mut numbers = Numbers(seed);
    let mut lines: Vec<_> = (1..boxes).map(|to| (to - 1, to)).filter(|(from, _)| from % 17 != 16).collect();
    lines.extend((0..more).map(|_| (numbers.below(boxes), numbers.below(boxes))));
    Input {
        boxes: (0..boxes).map(|_| (numbers.size(72, 300), numbers.size(30, 160))).collect(),
        lines: lines
            .into_iter()
            .map(|(from, to)| Line { from, to, label: (numbers.size(20, 120), 18.0), main: to == from + 1 })
            .collect(),
    }
}

fn overlap(one: (Point, Point), other: (Point, Point)) -> bool {
    let apart = |a: f64, b: f64, sizes: f64| (a - b).abs() >= sizes / 2.0 - 0.6;
    !apart(one.0.0, other.0.0, one.1.0 + other.1.0) && !apart(one.0.1, other.0.1, one.1.1 + other.1.1)
}

/// Whether a line from point to point goes through a box, looked at in small steps.
fn crosses(from: Point, to: Point, the_box: (Point, Point)) -> bool {
    (1..40).map(f64::from).any(|part| {
        let at = (from.0 + (to.0 - from.0) * part / 40.0, from.1 + (to.1 - from.1) * part / 40.0);
        overlap((at, (0.0, 0.0)), the_box)
    })
}

#[track_caller]
fn nothing_overlaps(input: &Input, placed: &Placed, what: &str) {
    let boxes: Vec<_> = placed.boxes.iter().copied().zip(input.boxes.iter().copied()).collect();
    let labels: Vec<_> = placed.labels.iter().copied().zip(input.lines.iter().map(|line| line.label)).collect();
    for (place, one) in boxes.iter().enumerate() {
        for (other_place, other) in boxes.iter().enumerate().skip(place + 1) {
            assert!(!overlap(*one, *other), "{what}: boxes {place} and {other_place}");
        }
        for (line, label) in labels.iter().enumerate() {
            assert!(!overlap(*one, *label), "{what}: box {place} and the label of {line}");
        }
        for (line, points) in placed.lines.iter().enumerate() {
            for pair in points.windows(2) {
                assert!(!crosses(pair[0], pair[1], *one), "{what}: box {place} and line {line}: {pair:?} {one:?}");
            }
        }
    }
    for (place, one) in labels.iter().enumerate() {
        for (other_place, other) in labels.iter().enumerate().skip(place + 1) {
            assert!(!overlap(*one, *other), "{what}: labels of {place} and {other_place}");
        }
        for (line, points) in placed.lines.iter().enumerate().filter(|(line, _)| *line != place) {
            for pair in points.windows(2) {
                assert!(!crosses(pair[0], pair[1], *one), "{what}: the label of {place} and line {line}");
            }
        }
    }
    let inside = |(x, y): Point| x >= -0.1 && y >= -0.1 && x <= placed.size.0 + 0.1 && y <= placed.size.1 + 0.1;
    assert!(placed.lines.iter().flatten().copied().all(inside), "{what}: a line leaves the picture");
}

#[test]
fn nothing_lies_upon_anything() {
    for seed in 0..60 {
        let boxes = 1 + usize::try_from(seed).expect("small") / 3;
        let input = graph(boxes, boxes / 2 + 1, seed);
        nothing_overlaps(&input, &place(&input).expect("placed"), &format!("graph {seed}"));
    }
}

#[test]
fn a_line_ends_at_its_boxes_and_straight() {
    let input = graph(12, 8, 7);
    let placed = place(&input).expect("placed");
    for (line, points) in input.lines.iter().zip(&placed.lines).filter(|(line, _)| line.from != line.to) {
        let [first, second, .., before, last] = points[..] else { panic!("a line of {} points", points.len()) };
        for (place, point) in [(line.from, first), (line.to, last)] {
            let ((x, y), (width, height)) = (placed.boxes[place], input.boxes[place]);
            assert!((point.0 - x).abs() <= width / 2.0 && ((point.1 - y).abs() - height / 2.0).abs() < 0.1);
        }
        assert!((first.0 - second.0).abs() < 0.1 && (before.0 - last.0).abs() < 0.1);
    }
}

#[test]
fn two_hundred_boxes_are_placed_and_hundreds_of_lines_without_order_are_not() {
    assert!(place(&graph(200, 200, 1)).is_some());
    assert!(place(&graph(200, 800, 1)).is_none());
    assert!(place(&graph(200, 6000, 1)).is_none());
}
