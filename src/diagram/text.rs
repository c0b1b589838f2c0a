//! Words that fit: how wide they are at most, where they are broken, what is left out of them.
//!
//! There is no font here, and the reader's is not known. Widths are those of the widest common one (Verdana and its kin),
//! so that words fit their boxes in any.

/// No more of a text than this is looked at, in characters: no name is longer.
const LONGEST: usize = 600;

/// What stands for what was left out.
const ELLIPSIS: char = '…';

/// Without what cannot be shown, or would show the rest otherwise than it is: control characters, and those that turn the
/// direction of writing. Line breaks and runs of spaces become one space.
pub(super) fn clean(text: &str) -> String {
    let shown = text.chars().take(LONGEST).map(|character| if character.is_whitespace() { ' ' } else { character });
    let shown = shown.filter(|character| !character.is_control() && !misleads(*character));
    shown.collect::<String>().split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Marks that are not seen, those that turn the direction of writing, and those that XML may not hold.
fn misleads(character: char) -> bool {
    let unseen = matches!(character, '\u{61c}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    unseen || u32::from(character) & 0xfffe == 0xfffe
}

/// The first so many characters, the last of them an ellipsis where something is left out.
pub(super) fn cut(text: &str, characters: usize) -> String {
    if text.chars().nth(characters).is_none() {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{}{ELLIPSIS}", kept.trim_end())
}

/// How wide a text is at most, in ems.
pub(super) fn ems(text: &str) -> f64 {
    text.chars().map(em).sum()
}

fn em(character: char) -> f64 {
    match character {
        '\u{300}'..='\u{36f}' | '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0.0,
        'i' | 'j' | 'l' | '\'' | '|' | 'í' => 0.34,
        ' ' | '.' | ',' | ':' | ';' | 'f' | 't' | 'I' | '!' | '(' | ')' | '[' | ']' | '-' | '/' => 0.42,
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '—' | '…' | '&' => 1.0,
        'a'..='z' | '0'..='9' => 0.64,
        'A'..='Z' => 0.72,
        '\0'..='\u{2ff}' => 0.7,
        '\u{370}'..='\u{10ff}' => 0.9,
        // Everything from the wide scripts of East Asia to emoji, and what is rare enough to be as wide.
        _ => 1.3,
    }
}

/// The text in lines no wider than so many ems, at most so many of them; the last ends in an ellipsis where something is left
/// out. Broken between words, and within a word that is wider than a line.
pub(super) fn wrap(text: &str, width: f64, lines: usize) -> Vec<String> {
    let mut done: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && ems(&line) + em(' ') + ems(word) > width {
            done.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            if ems(&line) + em(character) > width && !line.is_empty() {
                done.push(std::mem::take(&mut line));
            }
            line.push(character);
            if done.len() > lines {
                break;
            }
        }
        if done.len() > lines {
            break;
        }
    }
    done.push(line);
    if done.len() > lines {
        done.truncate(lines);
        if let Some(last) = done.last_mut() {
            while ems(last) + em(ELLIPSIS) > width && last.pop().is_some() {}
            last.truncate(last.trim_end().len());
            last.push(ELLIPSIS);
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::{clean, cut, ems, wrap};

    #[test]
    fn a_title_is_cleaned() {
        assert_eq!(clean("  a\tb\r\n\u{0}c \u{202e}txt.exe\u{200b}\u{feff} "), "a b c txt.exe");
        assert_eq!(clean("žluťoučký kůň 👩‍👩‍👧"), "žluťoučký kůň 👩‍👩‍👧");
        assert_eq!(clean("\u{fffe}\u{ffff}\u{1fffe}\u{1b}[31m"), "[31m");
    }

    #[test]
    fn a_text_is_cut_by_characters() {
        assert_eq!(cut("schválení", 9), "schválení");
        assert_eq!(cut("schválení žádosti", 11), "schválení…");
    }

    #[test]
    fn lines_are_as_wide_as_they_may_be() {
        for text in [
            "one two three four five six",
            "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
            "日本語日本語日本語",
        ] {
            for width in [4.0, 9.0, 20.0] {
                let lines = wrap(text, width, 3);
                assert!(lines.len() <= 3 && lines.iter().all(|line| ems(line) <= width), "{lines:?}");
            }
        }
        assert_eq!(wrap("one two three", 100.0, 1), ["one two three"]);
        assert_eq!(wrap("one two three", 5.0, 2), ["one two", "three"]);
        assert_eq!(wrap("one two three", 5.0, 1), ["one tw…"]);
        assert_eq!(wrap("", 5.0, 1), [""]);
    }
}
