//! What was measured: a table for people, JSON for programs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
}

impl Goal {
    fn met(self, measured: f64) -> bool {
        match self {
            Self::AtLeast(goal) => measured >= goal,
            Self::AtMost(goal) => measured <= goal,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtLeast(goal) => format!("≥ {}", with_unit(goal, unit)),
            Self::AtMost(goal) => format!("≤ {}", with_unit(goal, unit)),
        }
    }
}

struct Row {
    what: String,
    measured: f64,
    unit: &'static str,
    goal: Option<Goal>,
}

/// Rows for people, and everything that they come from.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    raw: Map<String, Value>,
}

/// The nearest peer on the same kind of machine, for orientation.
const PEER: &str = "\
For orientation, the nearest peer on the same kind of machine: 0.84 instances/s by default and 23/s with its client
limits raised; 6.0 writes per instance; 19 ms (p50) and 80 ms (p99) quiet; 188 MB with 5,000 live tasks; of 50
simultaneous approvals 49 refused.";

impl Report {
    /// Adds a figure that has no goal.
    pub fn figure(&mut self, what: &str, measured: f64, unit: &'static str) {
        self.rows.push(Row { what: what.to_owned(), measured, unit, goal: None });
    }

    /// Adds a figure that has one.
    pub fn goal(&mut self, what: &str, measured: f64, unit: &'static str, goal: Goal) {
        self.rows.push(Row { what: what.to_owned(), measured, unit, goal: Some(goal) });
    }

    /// Keeps what figures come from.
    pub fn raw(&mut self, name: &str, figures: &impl Serialize) {
        self.raw.insert(name.to_owned(), json!(figures));
    }

    /// Prints the table.
    pub fn show(&self) {
        println!("{:<50} {:>12}  {:>10}  met", "what", "measured", "goal");
        for Row { what, measured, unit, goal } in &self.rows {
            let met = goal.map_or("", |goal| if goal.met(*measured) { "yes" } else { "no" });
            let goal = goal.map(|goal| goal.text(unit)).unwrap_or_default();
            println!("{what:<50} {:>12}  {goal:>10}  {met}", with_unit(*measured, unit));
        }
        println!("\n{PEER}");
    }

    /// Writes everything to a file and gives its path.
    pub fn save(&self, path: &Path) -> Result<PathBuf> {
        let row = |row: &Row| {
            json!({
                "what": row.what,
                "measured": row.measured,
                "unit": row.unit,
                "goal": row.goal.map(|goal| goal.text(row.unit)),
                "met": row.goal.map(|goal| goal.met(row.measured)),
            })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        let text = serde_json::to_string_pretty(&json!({ "figures": rows, "raw": self.raw }))?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.to_owned())
    }
}

fn with_unit(number: f64, unit: &str) -> String {
    let number = match number.abs() {
        _ if number.fract() == 0.0 => format!("{number:.0}"),
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    };
    if unit.starts_with('/') { format!("{number}{unit}") } else { format!("{number} {unit}").trim_end().to_owned() }
}

/// The middle and the end of a distribution of milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Distribution {
    /// How many there are.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// Half are below.
    pub p50: f64,
    /// Nine of ten are below.
    pub p90: f64,
    /// Ninety-nine of a hundred are below.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

impl Distribution {
    /// Of these durations.
    pub fn of(durations: impl IntoIterator<Item = std::time::Duration>) -> Result<Self> {
        let mut ms: Vec<f64> = durations.into_iter().map(|duration| duration.as_secs_f64() * 1000.0).collect();
        anyhow::ensure!(!ms.is_empty(), "nothing was measured");
        ms.sort_by(f64::total_cmp);
        let at = |percent: usize| ms[(ms.len() * percent).div_ceil(100).max(1) - 1];
        Ok(Self { count: ms.len(), min: ms[0], p50: at(50), p90: at(90), p99: at(99), max: at(100) })
    }
}
