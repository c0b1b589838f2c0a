//! Our CEL and cel-go agree: `tests/cel/table.yaml` is evaluated by both, and where they differ the table says why.

use quorate::cel::{Expression, Input, Scope};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

static SCOPE: Scope = Scope { variables: &["object", "oldObject", "now"], directory: false };

#[derive(Deserialize)]
struct Table {
    now: String,
    input: serde_json::Map<String, Value>,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    expression: String,
    /// What it comes to; a null that is written is a value.
    #[serde(default, deserialize_with = "written")]
    value: Option<Value>,
    error: Option<String>,
    differs: Option<String>,
    #[serde(rename = "cel-go")]
    cel_go: Option<Value>,
}

fn written<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cel"))
}

fn table() -> Table {
    let text = std::fs::read_to_string(folder().join("table.yaml")).expect("the table");
    serde_saphyr::from_str(&text).expect("a table")
}

#[test]
fn every_expression_comes_to_what_the_table_says() {
    let table = table();
    let now = Some(table.now.parse().expect("a moment"));
    let input = Input { variables: table.input, now, directory: None };
    let mut wrong = Vec::new();
    for entry in &table.entries {
        let outcome = Expression::compile(&entry.expression, &SCOPE).and_then(|compiled| compiled.evaluate(&input));
        let expected = entry.value.clone().ok_or_else(|| entry.error.clone().unwrap_or_default());
        if outcome != expected {
            wrong.push(format!("{}\n  expected {expected:?}\n  came to  {outcome:?}", entry.expression));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(table.entries.len() >= 150, "the table has lost its expressions");
}

#[test]
fn cel_go_comes_to_the_same() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cel-reference");
    let built = Command::new("go")
        .args(["build", "-buildvcs=false", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(folder())
        .output();
    let built = built.expect("Go, which the tests need: https://go.dev/doc/install");
    assert!(built.status.success(), "cel-go was not built: {}", String::from_utf8_lossy(&built.stderr));
    let run = Command::new(&program).arg(folder().join("table.yaml")).output().expect("cel-go runs");
    assert!(run.status.success(), "cel-go failed: {}", String::from_utf8_lossy(&run.stderr));
    let lines: Vec<Value> =
        String::from_utf8_lossy(&run.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let table = table();
    assert_eq!(lines.len(), table.entries.len(), "one line for each expression");
    let mut wrong = Vec::new();
    for (entry, line) in table.entries.iter().zip(lines) {
        let same = entry.value.clone();
        let expected = match (&entry.differs, &entry.cel_go) {
            (None, None) => same,
            (Some(_), Some(reference)) => {
                let reference = reference.get("value").cloned();
                assert_ne!(reference, same, "{}: this is no difference", entry.expression);
                reference
            }
            _ => panic!("{}: differs and cel-go belong together", entry.expression),
        };
        if line.get("value") != expected.as_ref() {
            wrong.push(format!("{}\n  expected {expected:?}\n  cel-go   {line}", entry.expression));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
