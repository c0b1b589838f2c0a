//! The rules of the code map, as tests: what decides may not reach outside (`src/engine`, `src/directory`, `src/calendar`,
//! `src/cel`, `src/change`, `src/diagram`, `src/notify`, and `src/scenario`, which plays stories to the engine), and every file of `src` says in its header
//! what it is for.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that no decision may depend on, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("kube", "the client: take plain data instead"),
    ("tokio", "an async runtime: decisions do not wait"),
    ("futures", "an async runtime: decisions do not wait"),
    ("tracing", "a log: return a note instead"),
    ("std::fs", "files"),
    ("std::io", "input and output"),
    ("std::net", "the network"),
    ("std::env", "the environment: take settings instead"),
    ("std::process", "other programs"),
    ("std::thread", "threads"),
    ("std::time", "a clock: take the moment as an argument"),
    ("SystemTime", "a clock: take the moment as an argument"),
    ("Instant::", "a clock: take the moment as an argument"),
    ("Timestamp::now", "a clock: take the moment as an argument"),
    ("Zoned::now", "a clock: take the moment as an argument"),
    ("rand", "chance: the same facts must give the same plan"),
    ("getrandom", "chance: the same facts must give the same plan"),
    ("RandomState", "chance: the same facts must give the same plan"),
    ("println", "output: return a note instead"),
    ("crate::controllers", "a layer above"),
    ("crate::runtime", "a layer above"),
    ("crate::proof", "a layer above"),
];

#[test]
fn what_decides_reaches_nothing_outside() {
    let mut found = Vec::new();
    for folder in [
        "src/engine",
        "src/directory",
        "src/calendar",
        "src/cel",
        "src/change",
        "src/diagram",
        "src/notify",
        "src/scenario",
    ] {
        for path in sources(folder) {
            let text = fs::read_to_string(&path).expect("a source file");
            for (number, line) in statements(&text) {
                let code = code_of(&line);
                for (word, why) in FORBIDDEN.iter().filter(|(word, _)| names(&code, word)) {
                    found.push(format!("{}:{}: {word} is {why}", path.display(), number));
                }
            }
        }
    }
    assert!(found.is_empty(), "decisions may not reach outside:\n{}", found.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = sources("src")
        .into_iter()
        .filter(|path| !fs::read_to_string(path).expect("a source file").starts_with("//! "))
        .map(|path| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "these files begin without a //! header:\n{}", silent.join("\n"));
}

#[test]
fn the_words_are_found_and_nothing_else() {
    for code in [
        "use kube::Client;",
        "use ::kube::Api;",
        "kube::Client::new()",
        "use std::{fs, net};",
        "let now = Timestamp::now();",
        "use {tokio, jiff};",
    ] {
        assert!(FORBIDDEN.iter().any(|(word, _)| names(&code_of(code), word)), "{code}");
    }
    for code in [
        "use k8s_openapi::Resource;",
        "// kube::Client",
        "let kubeconfig = 1;",
        "operand.rand_of()",
        "/// tokio",
        "let operand = 1;",
    ] {
        assert!(!FORBIDDEN.iter().any(|(word, _)| names(&code_of(code), word)), "{code}");
    }
}

/// A line without its comment, with the names of `use std::{fs, net}` written out so that paths are found in it.
fn code_of(line: &str) -> String {
    let code = line.split("//").next().unwrap_or_default();
    if !code.trim_start().starts_with("use ") || !code.contains("std::{") {
        return code.to_owned();
    }
    let names =
        code.split(|character: char| !character.is_alphanumeric() && character != '_').filter(|name| !name.is_empty());
    names.fold(code.to_owned(), |code, name| format!("{code} std::{name}"))
}

/// The lines with their numbers, an import that spans several of them as one.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        match found.last_mut() {
            Some((_, import)) if inside => import.push_str(line.split("//").next().unwrap_or_default().trim()),
            _ => found.push((number + 1, line.to_owned())),
        }
        let import = line.trim_start().strip_prefix("pub ").unwrap_or(line.trim_start()).starts_with("use ");
        inside = (inside || import) && !line.contains(';');
    }
    found
}

/// Whether the code names that word or path: whole, and not as a field, a variable or the end of another path.
fn names(code: &str, word: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(position, _)| {
        let before = code[..position].trim_end_matches("::").chars().next_back();
        let after = code[position + word.len()..].chars().next();
        let whole = !before.is_some_and(|before| part(before) || before == '.')
            && (word.ends_with(':') || !after.is_some_and(part));
        // A bare word is a crate only where a path or an import goes on from it.
        let path = word.contains("::")
            || word.starts_with(char::is_uppercase)
            || code.trim_start().starts_with("use ")
            || after == Some(':')
            || after == Some('!');
        whole && path
    })
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no sources");
    found
}
