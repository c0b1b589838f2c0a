//! A workflow as a picture: what leads where, where an instance stands, and how it came there.
//!
//! Pure. A [`Drawing`] says what is to be seen, [`Drawing::of`] makes it from a graph and a status; [`mermaid()`] and [`svg()`] write
//! it, as text for whatever renders Mermaid (GitHub does) and as a picture that needs nothing else. Both may be shown to
//! anybody who may see the workflow: they name roles and groups, never who decided what. The same drawing gives the same bytes.
//!
//! Titles are whatever people wrote, so that nothing of them is trusted: `text` cleans them, and each writer escapes.

mod layout;
mod mermaid;
mod of;
mod svg;
mod text;

pub use mermaid::mermaid;
pub use svg::svg;

use crate::api::Outcome;
use std::collections::BTreeMap;

/// An end that more edges lead to is drawn once for each of them, so that no line crosses the whole picture.
const SHARED_END: usize = 3;

/// What is to be seen, independent of how it is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawing {
    /// What people call the workflow; may be empty.
    pub title: String,
    /// The nodes, in reading order.
    pub nodes: Vec<Node>,
    /// The edges; of each node the usual way out first.
    pub edges: Vec<Edge>,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
}

/// A box of a [`Drawing`].
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What edges call it: unique in the drawing, never shown.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// More about it, each a short line: `2 of role reviewers`.
    pub notes: Vec<String>,
    /// What kind of node it is.
    pub shape: Shape,
    /// Whether the workflow has been there.
    pub state: State,
}

/// What kind of node a box stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// Where it begins.
    Start,
    /// People decide.
    Step,
    /// A question that facts answer.
    Condition,
    /// What was asked for is done, or the operator does something by itself.
    Execute,
    /// It ends so.
    End(Outcome),
}

/// Whether the workflow has been at a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Not yet, or nothing has started.
    Untouched,
    /// It is there now.
    Current,
    /// It has been there.
    Taken,
    /// It ended without having been there.
    Skipped,
}

/// A line of a [`Drawing`], from one node to another or to itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// The id of the node where it begins.
    pub from: String,
    /// The id of the node where it leads.
    pub to: String,
    /// The output that it stands for: `approved`; may be empty.
    pub label: String,
    /// Whether the workflow went this way.
    pub taken: bool,
}

impl Drawing {
    /// The drawing as it is easier to read: edges between the same nodes that were not taken are one line, and an end that many
    /// edges lead to is drawn beside each of them. Edges to nodes that do not exist are left out.
    fn tidied(&self) -> Self {
        let places = self.places();
        let mut edges: Vec<Edge> = Vec::new();
        let mut untaken: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for edge in &self.edges {
            if !places.contains_key(edge.from.as_str()) || !places.contains_key(edge.to.as_str()) {
                continue;
            }
            let same = untaken.get(&(edge.from.as_str(), edge.to.as_str())).filter(|_| !edge.taken);
            if let Some(same) = same {
                edges[*same].label = format!("{}, {}", edges[*same].label, edge.label);
                continue;
            }
            if !edge.taken {
                untaken.insert((&edge.from, &edge.to), edges.len());
            }
            edges.push(edge.clone());
        }
        let mut nodes: Vec<Vec<Node>> = self.nodes.iter().map(|node| vec![node.clone()]).collect();
        for (place, end) in self.nodes.iter().enumerate() {
            let leading = edges.iter().filter(|edge| edge.to == end.id).count();
            if !matches!(end.shape, Shape::End(_)) || leading <= SHARED_END {
                continue;
            }
            nodes[place].clear();
            for (number, edge) in edges.iter_mut().filter(|edge| edge.to == end.id).enumerate() {
                let state = match end.state {
                    State::Taken if !edge.taken => State::Skipped,
                    state => state,
                };
                // A line feed is in no name, so that no node has this id already.
                edge.to = format!("{}\n{number}", end.id);
                nodes[places[edge.from.as_str()]].push(Node { id: edge.to.clone(), state, ..end.clone() });
            }
        }
        Self { title: self.title.clone(), nodes: nodes.into_iter().flatten().collect(), edges, outcome: self.outcome }
    }

    /// Where each node stands in the list.
    fn places(&self) -> BTreeMap<&str, usize> {
        self.nodes.iter().enumerate().map(|(place, node)| (node.id.as_str(), place)).collect()
    }

    /// For each edge where its two ends stand in the list of nodes; of a tidied drawing, where no end is missing.
    fn ends(&self) -> Vec<(usize, usize)> {
        let places = self.places();
        let place = |id: &str| places.get(id).copied();
        self.edges.iter().filter_map(|edge| place(&edge.from).zip(place(&edge.to))).collect()
    }

    /// What the picture is about, in one line.
    fn heading(&self) -> String {
        let title = text::clean(&self.title);
        if title.is_empty() { "Approval workflow".to_owned() } else { title }
    }

    /// The picture in words, for who cannot see it.
    fn in_words(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        let names = |state: State| {
            let steps = self.nodes.iter().filter(|node| node.state == state && node.shape != Shape::Start);
            let names: Vec<_> = steps.map(|node| text::clean(&node.title)).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        let steps = self.nodes.iter().filter(|node| matches!(node.shape, Shape::Step)).count();
        words.push(format!("{steps} {} for people to decide.", if steps == 1 { "step" } else { "steps" }));
        words.extend(names(State::Taken).map(|names| format!("Passed: {names}.")));
        words.extend(names(State::Current).map(|names| format!("Now: {names}.")));
        words.extend(self.outcome.map(|outcome| format!("Outcome: {outcome}.")));
        words.join(" ")
    }
}
