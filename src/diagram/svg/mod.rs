//! A drawing as an SVG picture that needs nothing else: no font, style sheet, script or id.
//!
//! It brings its own background, so that it reads the same on light pages and on dark ones, and says by shape, thickness and
//! sign what it says by colour. Words that are cut stand whole in the tooltip.

mod boxes;
mod lines;

use super::layout::{Input, Line, Placed, Point, place};
use super::{Drawing, Node, text};
use crate::api::Outcome;
use boxes::Face;
use std::fmt::Write;

const FONT: &str = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
/// Size of the heading's letters and height of its lines, in pixels.
const HEADING: (f64, f64) = (16.0, 22.0);
/// How much wider bold letters are.
const BOLD: f64 = 1.1;
/// The room around everything.
const MARGIN: f64 = 20.0;
/// The narrowest picture, so that there is room for a heading.
const NARROWEST: f64 = 320.0;
/// The longest tooltip, in characters.
const TOOLTIP: usize = 600;

const INK: &str = "#1e293b";
const FAINT: &str = "#64748b";
const WAY: &str = "#1d4ed8";

/// The drawing as an SVG picture.
#[must_use]
pub fn svg(drawing: &Drawing) -> String {
    let tidied = drawing.tidied();
    let (drawing, faces, placed) = arranged(tidied).unwrap_or_else(|| column(listed(drawing)));
    let width = placed.size.0.max(NARROWEST);
    let heading = text::wrap(&drawing.heading(), width / HEADING.0 / BOLD, 2);
    let lines = heading.len() + usize::from(drawing.outcome.is_some());
    let head = number(lines) * HEADING.1 + 14.0;
    let (full_width, full_height) = (width + 2.0 * MARGIN, placed.size.1 + head + 2.0 * MARGIN);

    let name = escape(&text::cut(&drawing.heading(), TOOLTIP));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"{name}\" width=\"{full_width:.0}\" height=\"{full_height:.0}\" viewBox=\"0 0 {full_width:.0} {full_height:.0}\" font-family=\"{FONT}\">\n<title>{name}</title>\n"
    );
    let _ = writeln!(out, "<desc>{}</desc>", escape(&text::cut(&drawing.in_words(), TOOLTIP)));
    let _ = writeln!(
        out,
        "<rect x=\"0.5\" y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"8\" fill=\"#ffffff\" stroke=\"#cbd5e1\"/>",
        full_width - 1.0,
        full_height - 1.0
    );
    let outcome = drawing.outcome.map(|outcome| (outcome.to_string(), colour(outcome).1));
    let lines = heading.into_iter().map(|line| (line, INK)).chain(outcome);
    for (place, (line, ink)) in lines.enumerate() {
        let y = MARGIN + HEADING.1 * number(place) + HEADING.0;
        let letters = Letters { size: HEADING.0, bold: true, ink, middle: true };
        words_at(&mut out, (full_width / 2.0, y), &line, &letters);
    }
    let left = MARGIN + (width - placed.size.0) / 2.0;
    let _ = writeln!(out, "<g transform=\"translate({left:.1} {:.1})\">", MARGIN + head);
    // Ways that were taken lie above the others, labels above all lines, boxes above everything.
    for taken in [false, true] {
        for (edge, line) in drawing.edges.iter().zip(&placed.lines).filter(|(edge, _)| edge.taken == taken) {
            lines::draw(&mut out, edge, line);
        }
    }
    for (edge, place) in drawing.edges.iter().zip(&placed.labels) {
        lines::draw_label(&mut out, edge, *place);
    }
    for ((node, face), place) in drawing.nodes.iter().zip(&faces).zip(&placed.boxes) {
        boxes::draw(&mut out, node, face, *place);
    }
    out.push_str("</g>\n</svg>\n");
    out
}

fn arranged(drawing: Drawing) -> Option<(Drawing, Vec<Face>, Placed)> {
    let faces: Vec<_> = drawing.nodes.iter().map(Face::of).collect();
    let mut left = vec![false; faces.len()];
    let lines = drawing.edges.iter().zip(drawing.ends()).map(|(edge, (from, to))| {
        let main = !std::mem::replace(&mut left[from], true) || edge.taken;
        Line { from, to, label: lines::label_size(edge), main }
    });
    let lines = lines.collect();
    let placed = place(&Input { lines, boxes: faces.iter().map(|face| face.size).collect() })?;
    Some((drawing, faces, placed))
}

/// Without lines, every node saying where it leads: for what would take too long to lay out.
fn listed(drawing: &Drawing) -> Drawing {
    let title = |id: &str| drawing.nodes.iter().find(|node| node.id == id).map_or("", |node| node.title.as_str());
    let nodes = drawing.nodes.iter().map(|node| {
        let leading = drawing.edges.iter().filter(|edge| edge.from == node.id);
        let leading = leading.map(|edge| {
            let taken = if edge.taken { " (taken)" } else { "" };
            format!("{} leads to {}{taken}", edge.label, title(&edge.to))
        });
        Node { notes: leading.chain(node.notes.iter().cloned()).collect(), ..node.clone() }
    });
    Drawing { nodes: nodes.collect(), edges: Vec::new(), ..drawing.clone() }
}

fn column(drawing: Drawing) -> (Drawing, Vec<Face>, Placed) {
    let faces: Vec<_> = drawing.nodes.iter().map(Face::of).collect();
    let width = faces.iter().map(|face| face.size.0).fold(0.0, f64::max);
    let mut bottom = 0.0;
    let mut boxes = Vec::new();
    for face in &faces {
        boxes.push((width / 2.0, bottom + face.size.1 / 2.0));
        bottom += face.size.1 + MARGIN;
    }
    let placed = Placed { size: (width, bottom), boxes, lines: Vec::new(), labels: Vec::new() };
    (drawing, faces, placed)
}

/// The colour of an outcome, and a darker one.
fn colour(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Approved => ("#15803d", "#14532d"),
        Outcome::Rejected => ("#b91c1c", "#7f1d1d"),
        Outcome::Expired => ("#b45309", "#78350f"),
        Outcome::Cancelled => ("#475569", "#1e293b"),
        Outcome::Failed => ("#7e22ce", "#581c87"),
    }
}

/// How words look.
struct Letters {
    size: f64,
    bold: bool,
    ink: &'static str,
    /// Whether the place is their middle, not their beginning.
    middle: bool,
}

fn words_at(out: &mut String, (x, y): Point, words: &str, letters: &Letters) {
    let anchor = if letters.middle { " text-anchor=\"middle\"" } else { "" };
    let weight = if letters.bold { " font-weight=\"600\"" } else { "" };
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\"{anchor} font-size=\"{}\"{weight} fill=\"{}\">{}</text>",
        letters.size,
        letters.ink,
        escape(words)
    );
}

/// A count, to multiply sizes with.
fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}
