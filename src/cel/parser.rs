//! Words into a tree, by the grammar of CEL. No recursion goes deeper than the bounds of this file, whatever the source.

use super::fault::Fault;
use super::lexer::{Token, Word, words};
use super::syntax::{Form, Syntax, highest, node};

/// How deep brackets, conditionals and signs before an operand may be nested.
pub const MAX_NESTING: usize = 32;

/// Words that no name may be.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Operators between two operands, by how loosely they bind.
const BINARY: [&[&str]; 3] = [&["==", "!=", "<", "<=", ">", ">=", "in"], &["+", "-"], &["*", "/", "%"]];

/// The tree of a source.
pub fn parse(source: &str) -> Result<Syntax, Fault> {
    let mut parser = Parser { words: words(source)?, next: 0, nesting: 0 };
    let tree = parser.expression()?;
    match parser.peek() {
        Word::End => Ok(tree),
        _ => Err(parser.expected("an operator or the end")),
    }
}

struct Parser {
    words: Vec<Token>,
    next: usize,
    nesting: usize,
}

impl Parser {
    fn peek(&self) -> &Word {
        &self.words[self.next].word
    }

    fn at(&self) -> usize {
        self.words[self.next].at
    }

    /// The next word; the end stays where it is.
    fn take(&mut self) -> Token {
        let token = self.words[self.next].clone();
        self.next = (self.next + 1).min(self.words.len() - 1);
        token
    }

    /// Takes a sign if it is the next word.
    fn taken(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Word::Sign(next) if *next == sign);
        if found {
            self.take();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.taken(sign) { Ok(()) } else { Err(self.expected(sign)) }
    }

    fn expected(&self, what: &str) -> Fault {
        Fault::at(self.at(), format!("syntax error: expected {what}, found {}", self.peek().told()))
    }

    fn expression(&mut self) -> Result<Syntax, Fault> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(Fault::at(self.at(), format!("it is nested deeper than {MAX_NESTING}")));
        }
        let condition = self.chain(true)?;
        let at = self.at();
        let tree = if self.taken("?") {
            let then = self.chain(true)?;
            self.expect(":")?;
            let otherwise = self.expression()?;
            let height = condition.height.max(then.height).max(otherwise.height);
            node(at, height, Form::Conditional(Box::new((condition, then, otherwise))))?
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(tree)
    }

    /// A chain of `||`, or of `&&`.
    fn chain(&mut self, or: bool) -> Result<Syntax, Fault> {
        let operand = |parser: &mut Self| if or { parser.chain(false) } else { parser.binary(0) };
        let sign = if or { "||" } else { "&&" };
        let first = operand(self)?;
        let at = self.at();
        let mut operands = vec![first];
        while self.taken(sign) {
            operands.push(operand(self)?);
        }
        match operands.len() {
            1 => operands.pop().ok_or_else(|| self.expected("an operand")),
            _ => node(at, highest(&operands), Form::Chain(sign, operands)),
        }
    }

    fn binary(&mut self, level: usize) -> Result<Syntax, Fault> {
        let Some(signs) = BINARY.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            let found = match self.peek() {
                Word::Sign(sign) => signs.iter().find(|other| *other == sign),
                Word::Name(name) => signs.iter().find(|other| *other == name),
                _ => None,
            };
            let Some(sign) = found else { return Ok(left) };
            let at = self.take().at;
            let right = self.binary(level + 1)?;
            left = node(at, left.height.max(right.height), Form::Binary(sign, Box::new((left, right))))?;
        }
    }

    fn unary(&mut self) -> Result<Syntax, Fault> {
        let sign = match self.peek() {
            Word::Sign("!") => "!",
            Word::Sign("-") => "-",
            _ => return self.member(),
        };
        let mut places = Vec::new();
        while matches!(self.peek(), Word::Sign(next) if *next == sign) {
            places.push(self.take().at);
        }
        if sign == "-" {
            // The smallest whole number has no positive counterpart, so that a literal takes its sign with it.
            let at = places[places.len() - 1];
            let literal = match *self.peek() {
                Word::Int(value) => Some(Form::Int(
                    0_i64.checked_sub_unsigned(value).ok_or_else(|| Fault::at(at, "the number is too small"))?,
                )),
                Word::Double(value) => Some(Form::Literal(Word::Double(-value))),
                _ => None,
            };
            if let Some(form) = literal {
                self.take();
                places.pop();
                let literal = self.members(node(at, 0, form)?)?;
                return signed(sign, &places, literal);
            }
        }
        let operand = self.member()?;
        signed(sign, &places, operand)
    }

    fn member(&mut self) -> Result<Syntax, Fault> {
        let primary = self.primary()?;
        self.members(primary)
    }

    /// Fields, indices and calls after an operand.
    fn members(&mut self, mut operand: Syntax) -> Result<Syntax, Fault> {
        loop {
            let dot = self.at();
            if self.taken(".") {
                let optional = self.taken("?");
                let token = self.take();
                let (at, field, escaped) = match token.word {
                    Word::Name(name) => (token.at, name, false),
                    Word::Escaped(name) => (token.at, name, true),
                    other => {
                        let found = other.told();
                        let message =
                            format!("syntax error: expected a field or a function after the dot, found {found}");
                        return Err(Fault::at(token.at, message));
                    }
                };
                let height = operand.height;
                let operand_box = Box::new(operand);
                operand = if !optional && !escaped && self.taken("(") {
                    let arguments = self.arguments()?;
                    let height = height.max(highest(&arguments));
                    node(at, height, Form::Call { target: Some(operand_box), name: field, arguments })?
                } else {
                    node(at, height, Form::Select { operand: operand_box, field, optional })?
                };
            } else if self.taken("[") {
                let optional = self.taken("?");
                let index = self.expression()?;
                self.expect("]")?;
                let height = operand.height.max(index.height);
                let form = Form::Index { operand: Box::new(operand), index: Box::new(index), optional };
                operand = node(dot, height, form)?;
            } else if matches!(self.peek(), Word::Sign("{"))
                && matches!(operand.form, Form::Name(_) | Form::Select { .. })
            {
                return Err(Fault::at(dot, "messages cannot be written, only maps: {'name': value}"));
            } else {
                return Ok(operand);
            }
        }
    }

    fn primary(&mut self) -> Result<Syntax, Fault> {
        let token = self.words[self.next].clone();
        let at = token.at;
        let form = match token.word {
            Word::Sign("(") => {
                self.take();
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Word::Sign("[") => {
                self.take();
                let items = self.items("]", true)?;
                let height = items.iter().map(|(_, item)| item.height).max().unwrap_or_default();
                return node(at, height, Form::List(items));
            }
            Word::Sign("{") => {
                self.take();
                return self.map(at);
            }
            Word::Int(value) => Form::Int(i64::try_from(value).map_err(|_| {
                Fault::at(at, "the number is too large for int; write it with the suffix u or as a double")
            })?),
            Word::Uint(_) | Word::Double(_) | Word::Text(_) | Word::Bytes(_) => Form::Literal(token.word),
            // A dot before the first name means the outermost scope, which is the only one.
            Word::Sign(".") if matches!(self.words[self.next + 1].word, Word::Name(_)) => {
                self.take();
                return self.primary();
            }
            Word::Name(name) => match name.as_str() {
                "true" => Form::Bool(true),
                "false" => Form::Bool(false),
                "null" => Form::Null,
                "in" => return Err(self.expected("an operand")),
                reserved if RESERVED.contains(&reserved) => {
                    return Err(Fault::at(at, format!("syntax error: {reserved} is a reserved word")));
                }
                _ => {
                    self.take();
                    if !self.taken("(") {
                        return node(at, 0, Form::Name(name));
                    }
                    let arguments = self.arguments()?;
                    return node(at, highest(&arguments), Form::Call { target: None, name, arguments });
                }
            },
            _ => return Err(self.expected("an operand")),
        };
        self.take();
        node(at, 0, form)
    }

    fn arguments(&mut self) -> Result<Vec<Syntax>, Fault> {
        Ok(self.items(")", false)?.into_iter().map(|(_, argument)| argument).collect())
    }

    /// What stands between brackets, with commas between; the opening one is taken.
    fn items(&mut self, close: &str, list: bool) -> Result<Vec<(bool, Syntax)>, Fault> {
        let mut items = Vec::new();
        loop {
            if (list || items.is_empty()) && self.taken(close) {
                return Ok(items);
            }
            let optional = list && self.taken("?");
            items.push((optional, self.expression()?));
            if !self.taken(",") {
                self.expect(close)?;
                return Ok(items);
            }
        }
    }

    fn map(&mut self, at: usize) -> Result<Syntax, Fault> {
        let (mut entries, mut height) = (Vec::new(), 0);
        while !self.taken("}") {
            let optional = self.taken("?");
            let key = self.expression()?;
            self.expect(":")?;
            let value = self.expression()?;
            height = height.max(key.height).max(value.height);
            entries.push((optional, key, value));
            if !self.taken(",") {
                self.expect("}")?;
                break;
            }
        }
        node(at, height, Form::Map(entries))
    }
}

/// The signs before an operand, from the inside out.
fn signed(sign: &'static str, places: &[usize], mut operand: Syntax) -> Result<Syntax, Fault> {
    for at in places.iter().rev() {
        let height = operand.height;
        operand = node(*at, height, Form::Unary(sign, Box::new(operand)))?;
    }
    Ok(operand)
}
