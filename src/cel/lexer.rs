//! Text into words: names, literals and signs, each with its place.

use super::fault::Fault;

/// A word and the byte it begins at.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// The byte of the source.
    pub at: usize,
    /// The word.
    pub word: Word,
}

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// A name.
    Name(String),
    /// A field name between backticks.
    Escaped(String),
    /// A whole number, without its sign.
    Int(u64),
    /// A whole number with the suffix u.
    Uint(u64),
    /// A number with a fraction or an exponent.
    Double(f64),
    /// A string literal.
    Text(String),
    /// A bytes literal.
    Bytes(Vec<u8>),
    /// An operator or a bracket.
    Sign(&'static str),
    /// The end of the source.
    End,
}

/// Longer ones first.
const SIGNS: [&str; 25] = [
    "==", "!=", "<=", ">=", "&&", "||", ".", ",", "(", ")", "[", "]", "{", "}", "?", ":", "+", "-", "*", "/", "%", "!",
    "<", ">", "=",
];

impl Word {
    /// The word as it is called in a message.
    pub fn told(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Escaped(name) => format!("`{name}`"),
            Self::Int(_) | Self::Uint(_) | Self::Double(_) => "a number".to_owned(),
            Self::Text(_) => "a string".to_owned(),
            Self::Bytes(_) => "bytes".to_owned(),
            Self::Sign(sign) => (*sign).to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

/// The words of a source, the last one its end.
pub fn words(source: &str) -> Result<Vec<Token>, Fault> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some((token, next)) = next(source, at)? {
        words.push(token);
        at = next;
    }
    words.push(Token { at: source.len(), word: Word::End });
    Ok(words)
}

/// Where the brace is closed that was opened before this source began: braces and quotes within are skipped. None when it never
/// is.
pub fn closing_brace(source: &str) -> Result<Option<usize>, Fault> {
    let (mut at, mut open) = (0, 0_usize);
    while let Some((token, next)) = next(source, at)? {
        match token.word {
            Word::Sign("{") => open += 1,
            Word::Sign("}") if open == 0 => return Ok(Some(token.at)),
            Word::Sign("}") => open -= 1,
            _ => {}
        }
        at = next;
    }
    Ok(None)
}

/// The first word from a byte on, and the byte behind it; none at the end.
fn next(source: &str, mut at: usize) -> Result<Option<(Token, usize)>, Fault> {
    while at < source.len() {
        let rest = &source[at..];
        let first = rest.as_bytes()[0];
        if first.is_ascii_whitespace() || first == 0x0b {
            at += 1;
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else {
            let (word, length) = word(rest).map_err(|message| Fault::at(at, format!("syntax error: {message}")))?;
            return Ok(Some((Token { at, word }, at + length)));
        }
    }
    Ok(None)
}

/// The first word and its length.
fn word(rest: &str) -> Result<(Word, usize), String> {
    let bytes = rest.as_bytes();
    let fraction = bytes[0] == b'.' && bytes.get(1).is_some_and(u8::is_ascii_digit);
    if bytes[0].is_ascii_digit() || fraction {
        return number(rest);
    }
    if let Some((prefix, quote)) = quoted(rest) {
        return literal(rest, prefix, quote);
    }
    if bytes[0] == b'`' {
        let end = rest[1..].find('`').ok_or("a ` is never closed")?;
        let name = &rest[1..=end];
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.-/ ".contains(letter);
        if name.is_empty() || !name.chars().all(fits) {
            return Err("between ` stands a field name of letters, digits, and _.-/".to_owned());
        }
        return Ok((Word::Escaped(name.to_owned()), end + 2));
    }
    let length = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
    if length > 0 {
        return Ok((Word::Name(rest[..length].to_owned()), length));
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(&"=") => Err("= is no operator; to compare, write ==".to_owned()),
        Some(sign) => Ok((Word::Sign(sign), sign.len())),
        None => Err(format!("{} is no part of the language", rest.chars().next().unwrap_or_default())),
    }
}

fn number(rest: &str) -> Result<(Word, usize), String> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let hexadecimal = rest.starts_with("0x") || rest.starts_with("0X");
    let (mut end, mut whole) = (digits(0), true);
    let value = if hexadecimal {
        end = 2 + bytes[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        u64::from_str_radix(&rest[2..end], 16).ok()
    } else {
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            (end, whole) = (digits(end + 1), false);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                (end, whole) = (digits(end + 1 + sign), false);
            }
        }
        rest[..end].parse().ok()
    };
    let unsigned = whole && matches!(bytes.get(end), Some(b'u' | b'U'));
    let word = match value {
        _ if !whole => match rest[..end].parse::<f64>() {
            Ok(value) if value.is_finite() => Word::Double(value),
            _ => return Err(format!("the number {} is too large", &rest[..end])),
        },
        Some(value) if unsigned => Word::Uint(value),
        Some(value) => Word::Int(value),
        None => return Err(format!("the number {} is too large or has no digits", &rest[..end])),
    };
    end += usize::from(unsigned);
    if bytes.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return Err(format!("the number {} is followed by a letter or a digit", &rest[..end]));
    }
    Ok((word, end))
}

/// The prefix of a string or bytes literal and its quotes, if one begins here.
fn quoted(rest: &str) -> Option<(&str, &str)> {
    let length = rest.find(['"', '\'']).filter(|length| *length <= 2)?;
    let prefix = &rest[..length];
    let known = matches!(prefix.to_ascii_lowercase().as_str(), "" | "r" | "b" | "br" | "rb");
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest[length..].starts_with(quote))?;
    known.then_some((prefix, quote))
}

fn literal(rest: &str, prefix: &str, quote: &str) -> Result<(Word, usize), String> {
    let raw = prefix.contains(['r', 'R']);
    let bytes = prefix.contains(['b', 'B']);
    let begin = prefix.len() + quote.len();
    let mut letters = rest[begin..].char_indices();
    let mut built = Vec::new();
    while let Some((position, letter)) = letters.next() {
        if rest[begin + position..].starts_with(quote) {
            let length = begin + position + quote.len();
            let word = if bytes {
                Word::Bytes(built)
            } else {
                Word::Text(String::from_utf8(built).map_err(|_| "a string is no valid text")?)
            };
            return Ok((word, length));
        }
        match letter {
            '\\' if !raw => escape(&mut letters, bytes, &mut built)?,
            '\n' if quote.len() == 1 => break,
            letter => built.extend(letter.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Err(format!("a {} is never closed", if bytes { "bytes literal" } else { "string" }))
}

/// What follows a backslash.
fn escape(letters: &mut std::str::CharIndices<'_>, bytes: bool, built: &mut Vec<u8>) -> Result<(), String> {
    let letter = letters.next().map(|(_, letter)| letter).ok_or("a string is never closed")?;
    let mut code = |first: &str, count: usize, radix: u32| {
        let digits = letters.by_ref().take(count).map(|(_, digit)| digit);
        let digits: String = first.chars().chain(digits).collect();
        let complete = digits.len() == first.len() + count && digits.chars().all(|digit| digit.is_digit(radix));
        complete.then(|| u32::from_str_radix(&digits, radix).ok()).flatten()
    };
    let value = match letter {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(10),
        'r' => Some(13),
        't' => Some(9),
        'v' => Some(11),
        '\\' | '?' | '"' | '\'' | '`' => Some(letter.into()),
        'x' | 'X' => code("", 2, 16),
        'u' if !bytes => code("", 4, 16),
        'U' if !bytes => code("", 8, 16),
        '0'..='3' => code(letter.encode_utf8(&mut [0; 4]), 2, 8),
        _ => None,
    };
    let value = value.ok_or_else(|| format!("\\{letter} is no escape sequence; write \\\\ for a backslash"))?;
    match (u8::try_from(value), char::from_u32(value)) {
        (Ok(byte), _) if bytes => built.push(byte),
        (_, Some(letter)) => built.extend(letter.encode_utf8(&mut [0; 4]).bytes()),
        _ => return Err("an escape sequence is no character".to_owned()),
    }
    Ok(())
}
