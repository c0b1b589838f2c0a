//! The CRDs that are installed are those that the code has: `make crds` was not forgotten.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn crds_of_the_repository_are_current() {
    is_current("crds");
}

#[test]
fn crds_of_the_chart_are_current() {
    is_current("charts/quorate/files/crds");
}

fn is_current(folder: &str) {
    let generated: BTreeMap<String, String> =
        quorate::runtime::manifests::manifests().expect("manifests").into_iter().collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make crds`", path.display()));
    let written: BTreeMap<String, String> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_name().expect("a name").to_string_lossy().into_owned(), text)
        })
        .collect();
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&written),
        names(&generated),
        "files of {folder} (left) and kinds of the code (right); run `make crds`"
    );
    for (name, text) in &generated {
        let differs = written[name].lines().zip(text.lines()).position(|(one, other)| one != other);
        assert!(
            written[name] == *text,
            "{folder}/{name} is not what src/api gives, from line {}; run `make crds`",
            differs.map_or(0, |line| line + 1)
        );
    }
}
