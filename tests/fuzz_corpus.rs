//! A short run of the fuzzer in the ordinary test command: what `fuzz/` fuzzes, over its corpus and over mutations of it. The same
//! mutations every time; `make fuzz` looks further. `FUZZ_EXECUTIONS` and `FUZZ_SEED` change how many, and which.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[path = "../fuzz/targets.rs"]
mod targets;

/// What bytes become: what YAML and CEL are made of.
const LETTERS: &[u8] = b" \n:{}[]()<>=!,.-'\"0123456789azAZ_%#&*|?";

/// Per target.
const EXECUTIONS: u64 = 2_000;

#[test]
fn definition() {
    run("definition", &["fuzz/corpus/definition"], targets::definition);
}

#[test]
fn story() {
    run("story", &["fuzz/corpus/story", "tests/scenarios"], targets::story);
}

#[test]
fn cel() {
    run("cel", &["fuzz/corpus/cel"], targets::cel);
}

/// Plays every file of the folders, then mutations of them.
fn run(name: &str, folders: &[&str], target: fn(&[u8])) {
    let corpus: Vec<(PathBuf, Vec<u8>)> = folders.iter().flat_map(|folder| files(folder)).collect();
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for (path, input) in &corpus {
        play(name, &path.display().to_string(), input, target);
    }
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let mut chance = Chance(number("FUZZ_SEED").unwrap_or(0x9E37_79B9_7F4A_7C15).max(1));
    for execution in 0..number("FUZZ_EXECUTIONS").unwrap_or(EXECUTIONS) {
        let (path, input) = &corpus[chance.below(corpus.len())];
        let other = &corpus[chance.below(corpus.len())].1;
        let input = mutated(input, other, &mut chance);
        play(name, &format!("mutation {execution} of {}", path.display()), &input, target);
    }
}

fn play(name: &str, what: &str, input: &[u8], target: fn(&[u8])) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_ok() {
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("fuzz-{name}"));
    let kept = fs::write(&file, input).map_or_else(|error| error.to_string(), |()| file.display().to_string());
    panic!(
        "{what} is a fault of Quorate; the panic above says which. The input is in {kept}: copy it to fuzz/corpus/{name}/ to keep it \
         tested, and see it again with: cargo test --test fuzz_corpus {name}"
    );
}

fn files(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    paths.sort();
    let read = |path: PathBuf| fs::read(&path).ok().map(|bytes| (path, bytes));
    paths.into_iter().filter_map(read).collect()
}

/// Xorshift: chance that is the same on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).expect("64 bits");
        usize::try_from(self.next() % limit).expect("less than the limit")
    }
}

/// A few changes: in the bytes, in the words, in the lines.
fn mutated(input: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=chance.below(4) {
        if bytes.is_empty() {
            return other.to_vec();
        }
        let at = chance.below(bytes.len());
        match chance.below(8) {
            0 => bytes[at] ^= 1 << chance.below(7),
            1 => bytes[at] = LETTERS[chance.below(LETTERS.len())],
            2 => {
                bytes.remove(at);
            }
            // A word becomes another word of the two files.
            3 | 4 => {
                let from = if chance.below(2) == 0 { other } else { input };
                let word = words(from).get(chance.below(words(from).len())).map(|range| from[range.clone()].to_vec());
                let target = words(&bytes).get(chance.below(words(&bytes).len())).cloned();
                if let (Some(word), Some(target)) = (word, target) {
                    bytes.splice(target, word);
                }
            }
            5 => {
                let numbers =
                    ["0", "1", "-1", "20", "9999999999", "18446744073709551616", "1e400", "-1h", "null", "true"];
                let target = words(&bytes).get(chance.below(words(&bytes).len())).cloned();
                if let Some(target) = target {
                    bytes.splice(target, numbers[chance.below(numbers.len())].bytes());
                }
            }
            // A line comes twice, is gone, or comes from elsewhere.
            6 => {
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                let line = chance.below(lines.len());
                if chance.below(2) == 0 {
                    lines.insert(line, lines[chance.below(lines.len())]);
                } else {
                    lines.remove(line);
                }
                bytes = lines.concat();
            }
            _ => {
                let lines: Vec<&[u8]> = other.split_inclusive(|byte| *byte == b'\n').collect();
                if let Some(line) = lines.get(chance.below(lines.len())) {
                    let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                    bytes.splice(start..start, line.iter().copied());
                }
            }
        }
    }
    bytes
}

/// Where the words of a text are.
fn words(text: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, byte) in text.iter().chain(b" ").enumerate() {
        let inside = byte.is_ascii_alphanumeric() || b"-_.%@".contains(byte);
        match start {
            None if inside => start = Some(at),
            Some(from) if !inside => {
                words.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    words
}
