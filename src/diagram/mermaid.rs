//! A drawing as Mermaid flowchart text.
//!
//! Whatever people wrote stands between quotes, with every character that Mermaid, Markdown or HTML could read otherwise written
//! as an entity; ids are numbers of our own. The text stays below what Mermaid takes (50,000 characters, 500 edges): the
//! larger the drawing, the less is said of each node.

use super::{Drawing, Edge, Node, Shape, State, text};
use crate::api::Outcome;
use std::fmt::Write;

/// The longest text, in bytes: Mermaid refuses more than 50,000 characters.
const MAX_BYTES: usize = 48_000;

/// The most edges: Mermaid refuses more than 500.
const MAX_EDGES: usize = 490;

/// How much is said of each node, from everything to next to nothing: characters of the title, lines of notes, characters of each.
const DETAIL: [(usize, usize, usize); 4] = [(120, 8, 120), (60, 3, 60), (40, 0, 0), (12, 0, 0)];

/// The look of each class of nodes. Text and fill keep their contrast on light pages and on dark ones.
const CLASSES: &str = "  classDef start fill:#334155,stroke:#334155,color:#ffffff
  classDef plain fill:#ffffff,stroke:#64748b,color:#1e293b
  classDef current fill:#fef3c7,stroke:#b45309,color:#1e293b,stroke-width:4px
  classDef taken fill:#dbeafe,stroke:#1d4ed8,color:#1e293b,stroke-width:2px
  classDef skipped fill:#f8fafc,stroke:#94a3b8,color:#64748b,stroke-dasharray:4 4
  classDef Approved fill:#15803d,stroke:#14532d,color:#ffffff,stroke-width:3px
  classDef Rejected fill:#b91c1c,stroke:#7f1d1d,color:#ffffff,stroke-width:3px
  classDef Expired fill:#b45309,stroke:#78350f,color:#ffffff,stroke-width:3px
  classDef Cancelled fill:#475569,stroke:#1e293b,color:#ffffff,stroke-width:3px
  classDef Failed fill:#7e22ce,stroke:#581c87,color:#ffffff,stroke-width:3px
";

/// The drawing as Mermaid flowchart text, under 50 KB whatever it shows.
#[must_use]
pub fn mermaid(drawing: &Drawing) -> String {
    let mut drawing = drawing.tidied();
    let left_out = drawing.edges.len().saturating_sub(MAX_EDGES);
    if left_out > 0 {
        // Those that were taken stay.
        drawing.edges.sort_by_key(|edge| !edge.taken);
        drawing.edges.truncate(MAX_EDGES);
    }
    let texts = DETAIL.iter().map(|detail| write(&drawing, *detail, left_out));
    texts.into_iter().find(|text| text.len() <= MAX_BYTES).unwrap_or_else(|| {
        format!("flowchart TD\n  n0[\"{} nodes are too many for a picture\"]\n", drawing.nodes.len())
    })
}

fn write(drawing: &Drawing, (title, lines, characters): (usize, usize, usize), left_out: usize) -> String {
    let mut out = String::from("flowchart TD\n");
    let _ = writeln!(out, "  accTitle: {}", plain(&text::cut(&drawing.heading(), title)));
    let _ = writeln!(out, "  accDescr: {}", plain(&text::cut(&drawing.in_words(), title * 4)));
    for (place, node) in drawing.nodes.iter().enumerate() {
        let mut label = vec![escape(&text::cut(&text::clean(&node.title), title))];
        label.extend(node.notes.iter().take(lines).map(|note| escape(&text::cut(&text::clean(note), characters))));
        if lines > 0 && node.notes.len() > lines {
            label.push(format!("… and {} more", node.notes.len() - lines));
        }
        let (open, close) = brackets(node.shape);
        let _ = writeln!(out, "  n{place}{open}\"{}\"{close}:::{}", label.join("<br/>"), class(node));
    }
    if left_out > 0 {
        let _ = writeln!(out, "  more[\"{left_out} more edges are not drawn\"]:::skipped");
    }
    for (edge, (from, to)) in drawing.edges.iter().zip(drawing.ends()) {
        let _ = writeln!(out, "  n{from} {} n{to}", arrow(edge));
    }
    for look in CLASSES.lines() {
        if look.split_whitespace().nth(1).is_some_and(|class| out.contains(&format!(":::{class}\n"))) {
            let _ = writeln!(out, "{look}");
        }
    }
    out
}

fn brackets(shape: Shape) -> (&'static str, &'static str) {
    match shape {
        Shape::Start | Shape::End(_) => ("([", "])"),
        Shape::Step => ("[", "]"),
        Shape::Condition => ("{{", "}}"),
        Shape::Execute => ("[[", "]]"),
    }
}

fn class(node: &Node) -> &'static str {
    match (node.state, node.shape) {
        (State::Untouched | State::Taken, Shape::Start) => "start",
        (State::Taken, Shape::End(outcome)) => match outcome {
            Outcome::Approved => "Approved",
            Outcome::Rejected => "Rejected",
            Outcome::Expired => "Expired",
            Outcome::Cancelled => "Cancelled",
            Outcome::Failed => "Failed",
        },
        (State::Untouched, _) => "plain",
        (State::Current, _) => "current",
        (State::Taken, _) => "taken",
        (State::Skipped, _) => "skipped",
    }
}

/// A way that was taken is a thick line.
fn arrow(edge: &Edge) -> String {
    let line = if edge.taken { "==>" } else { "-->" };
    let label = escape(&text::cut(&text::clean(&edge.label), 40));
    if label.is_empty() { line.to_owned() } else { format!("{line}|\"{label}\"|") }
}

/// Letters, digits and spaces as they are, all other ASCII as an entity, except where it can mean nothing.
fn escape(text: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    for character in text.chars() {
        let word = before.is_alphabetic();
        let harmless = match character {
            ',' => true,
            ':' | '-' => word,
            _ => !character.is_ascii() || character.is_ascii_alphanumeric() || character == ' ',
        };
        if (before, character) == ('$', '$') {
            // Two in a row would be a formula, however they are written.
            out.push('\u{200c}');
        }
        if harmless {
            out.push(character);
        } else {
            let _ = write!(out, "#{};", u32::from(character));
        }
        before = character;
    }
    out
}

/// For a line that is not between quotes, where Mermaid knows no entities: what is special is left out.
fn plain(text: &str) -> String {
    let kept = text.chars().filter(|character| {
        !character.is_ascii() || character.is_ascii_alphanumeric() || matches!(character, ' ' | ',' | '.' | ':')
    });
    kept.collect()
}
