//! The boxes of a picture, and the words in them.

use super::super::layout::Point;
use super::super::{Node, Shape, State, text};
use super::{BOLD, FAINT, INK, Letters, TOOLTIP, WAY, colour, escape, number, words_at};
use std::fmt::Write;

/// Sizes of letters and heights of lines, in pixels.
const TITLE: (f64, f64) = (13.0, 17.0);
const NOTE: (f64, f64) = (11.0, 15.0);
/// The widest line, in pixels.
const WIDEST: f64 = 264.0;
const TITLE_LINES: usize = 3;
const NOTES: usize = 10;
const NOTE_LINES: usize = 2;
/// How far the second line of a note is set in.
const INSET: f64 = 10.0;
/// The room around the words.
const PADDING: Point = (14.0, 9.0);
/// The pointed, or double, sides of a box.
const SIDE: f64 = 12.0;

/// The words of a box as they are broken into lines, and how large they make it.
pub(super) struct Face {
    title: Vec<String>,
    /// Each line, and how far it is set in.
    notes: Vec<(String, f64)>,
    pub(super) size: Point,
}

impl Face {
    pub(super) fn of(node: &Node) -> Self {
        let title = text::wrap(&text::clean(&node.title), WIDEST / TITLE.0 / BOLD, TITLE_LINES);
        let mut notes = Vec::new();
        for note in node.notes.iter().take(NOTES) {
            let lines = text::wrap(&text::clean(note), (WIDEST - INSET) / NOTE.0, NOTE_LINES);
            notes.extend(
                lines.into_iter().enumerate().map(|(place, line)| (line, if place == 0 { 0.0 } else { INSET })),
            );
        }
        if node.notes.len() > NOTES {
            notes.push((format!("… and {} more", node.notes.len() - NOTES), 0.0));
        }
        let titles = title.iter().map(|line| text::ems(line) * TITLE.0 * BOLD);
        let widths = titles.chain(notes.iter().map(|(line, inset)| text::ems(line) * NOTE.0 + inset));
        let side = if matches!(node.shape, Shape::Condition | Shape::Execute) { 2.0 * SIDE } else { 0.0 };
        let width = widths.fold(0.0, f64::max) + 2.0 * PADDING.0 + side;
        let height = number(title.len()) * TITLE.1 + number(notes.len()) * NOTE.1 + 2.0 * PADDING.1;
        Self { title, notes, size: (width.max(72.0).ceil(), height.ceil()) }
    }
}

pub(super) fn draw(out: &mut String, node: &Node, face: &Face, (x, y): Point) {
    let (width, height) = face.size;
    let (left, top) = (x - width / 2.0, y - height / 2.0);
    let look = Look::of(node);
    let _ = writeln!(out, "<g><title>{}</title>", escape(&tooltip(node)));
    draw_shape(out, node.shape, (left, top), face.size, &look);
    let mut baseline = top + PADDING.1 + TITLE.0;
    for line in &face.title {
        let letters = Letters { size: TITLE.0, bold: true, ink: look.ink, middle: true };
        words_at(out, (x, baseline), line, &letters);
        baseline += TITLE.1;
    }
    // Several notes begin below each other, a single one stands below the title.
    let middle = node.notes.len() == 1;
    let widest = face.notes.iter().map(|(line, inset)| text::ems(line) * NOTE.0 + inset).fold(0.0, f64::max);
    for (line, inset) in &face.notes {
        let letters = Letters { size: NOTE.0, bold: false, ink: look.ink, middle };
        let begin = if middle { x } else { x - widest / 2.0 + inset };
        words_at(out, (begin, baseline), line, &letters);
        baseline += NOTE.1;
    }
    badge(out, node, (left + width, top));
    out.push_str("</g>\n");
}

fn draw_shape(out: &mut String, shape: Shape, (left, top): Point, (width, height): Point, look: &Look) {
    let Look { fill, border, thick, dashed, .. } = look;
    let dashes = if *dashed { " stroke-dasharray=\"5 4\"" } else { "" };
    let stroke = format!("stroke=\"{border}\" stroke-width=\"{thick}\"{dashes}");
    let (right, bottom) = (left + width, top + height);
    if shape == Shape::Condition {
        let (inner, outer, middle) = (left + SIDE, right - SIDE, top + height / 2.0);
        let _ = writeln!(
            out,
            "<path d=\"M{inner:.1} {top:.1}H{outer:.1}L{right:.1} {middle:.1}L{outer:.1} {bottom:.1}H{inner:.1}L{left:.1} {middle:.1}Z\" fill=\"{fill}\" {stroke}/>"
        );
        return;
    }
    let round = if matches!(shape, Shape::Start | Shape::End(_)) { (height / 2.0).min(20.0) } else { 5.0 };
    let _ = writeln!(
        out,
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{round:.1}\" fill=\"{fill}\" {stroke}/>"
    );
    if shape == Shape::Execute {
        let (one, other) = (left + SIDE * 0.6, right - SIDE * 0.6);
        let _ = writeln!(out, "<path d=\"M{one:.1} {top:.1}v{height:.1}M{other:.1} {top:.1}v{height:.1}\" {stroke}/>");
    }
}

/// How a box looks.
struct Look {
    fill: &'static str,
    border: &'static str,
    ink: &'static str,
    thick: f64,
    dashed: bool,
}

impl Look {
    fn of(node: &Node) -> Self {
        let look = |fill, border, ink, thick| Self { fill, border, ink, thick, dashed: false };
        match (node.state, node.shape) {
            (State::Untouched | State::Taken, Shape::Start) => look("#334155", "#334155", "#ffffff", 1.5),
            (State::Taken, Shape::End(outcome)) => look(colour(outcome).0, colour(outcome).1, "#ffffff", 3.0),
            (State::Untouched, Shape::End(outcome)) => look("#ffffff", colour(outcome).0, INK, 1.5),
            (State::Untouched, _) => look("#f8fafc", FAINT, INK, 1.5),
            (State::Current, _) => look("#fef3c7", "#b45309", INK, 3.5),
            (State::Taken, _) => look("#dbeafe", WAY, INK, 2.0),
            (State::Skipped, _) => Self { dashed: true, ..look("#ffffff", "#94a3b8", FAINT, 1.5) },
        }
    }
}

/// Where it stands, and where it has been, for those who cannot tell the colours.
fn badge(out: &mut String, node: &Node, (right, top): Point) {
    let (width, fill) = match (node.state, node.shape) {
        (State::Current, _) => (32.0, "#b45309"),
        (State::Taken, Shape::Step | Shape::Condition | Shape::Execute) => (16.0, WAY),
        _ => return,
    };
    let left = right - width - 6.0;
    let _ = writeln!(
        out,
        "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{width}\" height=\"16\" rx=\"8\" fill=\"{fill}\"/>",
        top - 8.0
    );
    if node.state == State::Current {
        let letters = Letters { size: 10.0, bold: true, ink: "#ffffff", middle: true };
        words_at(out, (left + width / 2.0, top + 3.5), "now", &letters);
    } else {
        let _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{top:.1}\" r=\"3\" fill=\"#ffffff\"/>", left + width / 2.0);
    }
}

fn tooltip(node: &Node) -> String {
    let all = [&node.title].into_iter().chain(&node.notes).map(|line| text::clean(line));
    text::cut(&all.collect::<Vec<_>>().join("; "), TOOLTIP)
}
