//! `quorate test`: plays scenario files. Reads the files and prints; the stories are played by [`crate::scenario`].

use super::files::{text, yaml_files};
use crate::scenario::{self, Kind, NamedFile};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Scenario files, and folders of them; manifests in a folder are skipped.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
}

/// What came of all files together: its number is the exit code.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Outcome {
    /// Everything went as expected.
    Passed = 0,
    /// Something did not.
    Failed = 1,
    /// Something could not be read or played.
    Unreadable = 2,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome as u8)
    }
}

/// Plays every file, and writes a line for each, what is wrong with it, and a summary.
///
/// # Errors
/// When `out` cannot be written to.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> io::Result<Outcome> {
    let mut outcomes = Vec::new();
    for path in &arguments.paths {
        match scenarios(path) {
            Ok(files) => {
                for (path, text) in files {
                    outcomes.push(one(&path, &text, out)?);
                }
            }
            Err(why) => {
                writeln!(out, "ERROR {}\n      {why}", path.display())?;
                outcomes.push(Outcome::Unreadable);
            }
        }
    }
    let count = |outcome| outcomes.iter().filter(|found| **found == outcome).count();
    write!(out, "{} passed, {} failed", count(Outcome::Passed), count(Outcome::Failed))?;
    match count(Outcome::Unreadable) {
        0 => writeln!(out)?,
        number => writeln!(out, ", {number} could not be played")?,
    }
    Ok(outcomes.into_iter().max().unwrap_or(Outcome::Unreadable))
}

/// Plays one file of that text and writes what came of it.
fn one(path: &Path, text: &str, out: &mut impl Write) -> io::Result<Outcome> {
    let beside = path.parent().unwrap_or(Path::new(""));
    let read = scenario::read(text, |name| named_files(&beside.join(name)));
    let about = read.as_ref().map(|scenario| title(&scenario.about)).unwrap_or_default();
    let findings = read.and_then(|scenario| scenario::play(&scenario)).err().unwrap_or_default();
    let outcome = match findings.iter().any(|finding| finding.kind == Kind::Malformed) {
        true => Outcome::Unreadable,
        false if findings.is_empty() => Outcome::Passed,
        false => Outcome::Failed,
    };
    let word = match outcome {
        Outcome::Passed => "ok   ",
        Outcome::Failed => "FAIL ",
        Outcome::Unreadable => "ERROR",
    };
    writeln!(out, "{}", format!("{word} {}   {about}", path.display()).trim_end())?;
    for line in findings.iter().flat_map(|finding| finding.to_string().lines().map(str::to_owned).collect::<Vec<_>>()) {
        writeln!(out, "      {line}")?;
    }
    Ok(outcome)
}

/// As much of what a scenario is about as fits on a line.
fn title(about: &str) -> String {
    const LONGEST: usize = 80;
    let about = about.split_whitespace().collect::<Vec<_>>().join(" ");
    if about.chars().count() <= LONGEST {
        return about;
    }
    let cut: String = about.chars().take(LONGEST).collect();
    let words = cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words);
    format!("{words} …")
}

/// The scenarios at a path, with their texts.
fn scenarios(path: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    let mut found = Vec::new();
    for file in yaml_files(path)? {
        let text = text(&file)?;
        if file == path || !scenario::is_manifest(&text) {
            found.push((file, text));
        }
    }
    if found.is_empty() { Err("there are no scenarios".to_owned()) } else { Ok(found) }
}

/// What a scenario names: a file, or every file of a folder.
fn named_files(path: &Path) -> Result<Vec<NamedFile>, String> {
    let files = yaml_files(path)?.into_iter();
    files.map(|file| Ok(NamedFile { text: text(&file)?, name: file.display().to_string() })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn play(paths: &[&Path]) -> (Outcome, String) {
        let arguments = Arguments { paths: paths.iter().map(|path| (*path).to_owned()).collect() };
        let mut out = Vec::new();
        let outcome = run(&arguments, &mut out).expect("memory can be written to");
        (outcome, String::from_utf8(out).expect("text"))
    }

    /// A folder with these files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    fn repository(name: &str) -> String {
        text(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a file of this repository")
    }

    /// What people read in the documentation is what the command prints.
    fn is_documented(output: &str, pages: &[&str]) {
        for page in pages {
            assert!(repository(page).contains(output), "{page} does not have what the command prints:\n{output}");
        }
    }

    #[test]
    fn the_example_is_played_as_documented() {
        let (outcome, output) = play(&[Path::new("examples/tested-policy/tests")]);
        assert_eq!(outcome, Outcome::Passed, "{output}");
        is_documented(&output, &["README.md", "docs/scenarios.md"]);
    }

    #[test]
    fn every_example_passes_its_own_scenarios() {
        let examples = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).expect("examples");
        let examples: Vec<_> = examples.map(|entry| entry.expect("a folder").path().join("tests")).collect();
        let with_tests: Vec<&Path> = examples.iter().map(PathBuf::as_path).filter(|tests| tests.is_dir()).collect();
        assert!(with_tests.len() >= 2, "{examples:?}");
        let (outcome, output) = play(&with_tests);
        assert_eq!(outcome, Outcome::Passed, "{output}");
    }

    #[test]
    fn an_edited_policy_fails_as_documented() {
        let files = ["policy/people.yaml", "policy/release.yaml", "tests/two_managers.yaml"];
        let texts = files
            .map(|name| repository(&format!("examples/tested-policy/{name}")).replace("required: 2", "required: 1"));
        let files: Vec<_> = files.into_iter().zip(texts.iter().map(String::as_str)).collect();
        let folder = folder(&files);
        let (outcome, output) = play(&[&folder.path().join("tests")]);
        assert_eq!(outcome, Outcome::Failed, "{output}");
        is_documented(
            &output.replace(&format!("{}/", folder.path().display()), "examples/tested-policy/"),
            &["docs/scenarios.md"],
        );
    }

    #[test]
    fn manifests_of_a_folder_are_skipped_but_a_folder_without_scenarios_is_no_success() {
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n";
        let folder = folder(&[
            ("a/people.yaml", manifest),
            ("b/people.yaml", manifest),
            ("b/.hidden.yaml", "x"),
            ("b/deep/story.yml", "about: Nobody asks.\nexpect: {outcome: none}\n"),
        ]);
        let (outcome, output) = play(&[&folder.path().join("b")]);
        assert_eq!((outcome, output.lines().last()), (Outcome::Passed, Some("1 passed, 0 failed")), "{output}");
        let (outcome, output) = play(&[folder.path(), &folder.path().join("a")]);
        assert_eq!(outcome, Outcome::Unreadable, "{output}");
        assert!(output.contains("there are no scenarios"), "{output}");
        let (outcome, output) = play(&[&folder.path().join("a/people.yaml")]);
        assert_eq!(outcome, Outcome::Unreadable, "{output}");
        assert!(output.contains("line 1, apiVersion: unknown field `apiVersion`"), "{output}");
    }
}
