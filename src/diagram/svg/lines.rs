//! The lines of a picture: round corners, a head, a label on its own background.

use super::super::layout::Point;
use super::super::{Edge, text};
use super::{BOLD, Letters, WAY, words_at};
use std::fmt::Write;

/// Size of a label's letters and height of its background, in pixels.
const LABEL: (f64, f64) = (11.0, 18.0);
/// The longest label, in characters.
const LONGEST: usize = 40;
/// How far from a corner its rounding begins.
const ROUND: f64 = 8.0;

pub(super) fn draw(out: &mut String, edge: &Edge, points: &[Point]) {
    let [.., before, end] = points else { return };
    let (colour, thick, long, wide) = if edge.taken { (WAY, 3.0, 11.0, 6.0) } else { ("#94a3b8", 1.5, 9.0, 4.5) };
    let length = (end.0 - before.0).hypot(end.1 - before.1).max(0.1);
    let (dx, dy) = ((end.0 - before.0) / length, (end.1 - before.1) / length);
    // The line ends where the head begins, so that its tip is a point.
    let neck = (end.0 - dx * long, end.1 - dy * long);
    let mut path = points.to_vec();
    path.pop();
    path.push(neck);
    let _ =
        writeln!(out, "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{thick}\"/>", rounded(&path));
    let (left, right) = ((neck.0 - dy * wide, neck.1 + dx * wide), (neck.0 + dy * wide, neck.1 - dx * wide));
    let _ = writeln!(
        out,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z\" fill=\"{colour}\"/>",
        end.0, end.1, left.0, left.1, right.0, right.1
    );
}

/// A path through these points, with round corners.
fn rounded(points: &[Point]) -> String {
    let mut path = String::new();
    for (place, point) in points.iter().enumerate() {
        let around = place.checked_sub(1).and_then(|before| Some((points[before], *points.get(place + 1)?)));
        if let Some((before, after)) = around {
            let (start, end) = (towards(*point, before), towards(*point, after));
            let _ =
                write!(path, "L{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}", start.0, start.1, point.0, point.1, end.0, end.1);
        } else {
            let _ = write!(path, "{}{:.1} {:.1}", if place == 0 { 'M' } else { 'L' }, point.0, point.1);
        }
    }
    path
}

/// The place a little way off towards another.
fn towards(from: Point, to: Point) -> Point {
    let length = (to.0 - from.0).hypot(to.1 - from.1);
    let part = if length > 0.0 { (ROUND / length).min(0.5) } else { 0.0 };
    (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part)
}

/// Width and height of a label; zero for none.
pub(super) fn label_size(edge: &Edge) -> Point {
    let label = label(edge);
    if label.is_empty() { (0.0, 0.0) } else { (text::ems(&label) * LABEL.0 * BOLD + 8.0, LABEL.1) }
}

pub(super) fn draw_label(out: &mut String, edge: &Edge, (x, y): Point) {
    let (width, height) = label_size(edge);
    if width == 0.0 {
        return;
    }
    let _ = writeln!(
        out,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height}\" rx=\"4\" fill=\"#ffffff\"/>",
        x - width / 2.0,
        y - height / 2.0
    );
    let letters =
        Letters { size: LABEL.0, bold: edge.taken, ink: if edge.taken { WAY } else { "#475569" }, middle: true };
    words_at(out, (x, y + 4.0), &label(edge), &letters);
}

fn label(edge: &Edge) -> String {
    text::cut(&text::clean(&edge.label), LONGEST)
}
