//! Finds and reads the files that people name, for the commands that look at them without a cluster.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file at a path, or every YAML file of the folder and of the folders in it, by name; hidden ones are skipped.
///
/// # Errors
/// Which folder cannot be read, and why.
pub fn yaml_files(path: &Path) -> Result<BTreeSet<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(BTreeSet::from([path.to_owned()]));
    }
    let mut found = BTreeSet::new();
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    for entry in entries.map_err(|error| format!("{}: {error}", path.display()))? {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            found.extend(yaml_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            found.insert(path);
        }
    }
    Ok(found)
}

/// What a file says.
///
/// # Errors
/// Which file cannot be read, and why.
pub fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
