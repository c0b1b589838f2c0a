//! Reads manifests from files and folders, for the commands that look at them without a cluster.

use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One object of a manifest.
pub struct Manifest {
    /// Its kind.
    pub kind: String,
    /// metadata.name.
    pub name: String,
    /// The spec.
    pub spec: Value,
}

/// The text of a file.
///
/// # Errors
/// Which file cannot be read, and why.
pub fn text(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// The files of a path: itself, or every YAML file below it, in order.
///
/// # Errors
/// Which path cannot be read, and why.
pub fn manifests(path: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    if !path.is_dir() {
        return Ok(vec![(path.to_owned(), text(path)?)]);
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let yaml = entry.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if entry.is_dir() || yaml {
            found.extend(manifests(&entry)?);
        }
    }
    Ok(found)
}

/// The objects of a file.
///
/// # Errors
/// What is no YAML.
pub fn objects(file: &Path, text: &str) -> io::Result<Vec<Manifest>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?;
    let listed = documents.into_iter().flat_map(|mut document| match document["items"].take() {
        Value::Array(items) => items,
        _ => vec![document],
    });
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let read = |mut object: Value| Manifest {
        kind: word(&object["kind"]),
        name: word(&object["metadata"]["name"]),
        spec: object["spec"].take(),
    };
    Ok(listed.filter(Value::is_object).map(read).collect())
}
