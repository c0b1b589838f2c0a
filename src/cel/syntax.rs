//! An expression as it is written: what [`super::parser`] makes of words, and [`super::check`] resolves.

use super::fault::Fault;
use super::lexer::Word;

/// How high the tree may be: chains such as `a.b.c` and `1 + 2 + 3` are deep to the left.
pub const MAX_HEIGHT: usize = 128;

/// A part of an expression.
#[derive(Debug)]
pub struct Syntax {
    /// The byte it is best pointed at.
    pub at: usize,
    /// How high the tree under it is.
    pub height: usize,
    /// What it is.
    pub form: Form,
}

/// What a part of an expression can be.
#[derive(Debug)]
pub enum Form {
    /// A literal.
    Literal(Word),
    /// A literal with its sign.
    Int(i64),
    /// true, false.
    Bool(bool),
    /// null.
    Null,
    /// A name.
    Name(String),
    /// `operand.field`, or `operand.?field`.
    Select {
        /// What has the field.
        operand: Box<Syntax>,
        /// The field.
        field: String,
        /// Whether it may be absent.
        optional: bool,
    },
    /// `operand[index]`, or `operand[?index]`.
    Index {
        /// What is looked into.
        operand: Box<Syntax>,
        /// The position or key.
        index: Box<Syntax>,
        /// Whether it may be absent.
        optional: bool,
    },
    /// A call.
    Call {
        /// What stands before the dot.
        target: Option<Box<Syntax>>,
        /// The function.
        name: String,
        /// What stands in the brackets.
        arguments: Vec<Syntax>,
    },
    /// A list; whether each element may be absent.
    List(Vec<(bool, Syntax)>),
    /// A map; whether each entry may be absent.
    Map(Vec<(bool, Syntax, Syntax)>),
    /// `!` or `-`.
    Unary(&'static str, Box<Syntax>),
    /// An operator between two operands.
    Binary(&'static str, Box<(Syntax, Syntax)>),
    /// `&&` or `||` between two or more.
    Chain(&'static str, Vec<Syntax>),
    /// `condition ? then : otherwise`.
    Conditional(Box<(Syntax, Syntax, Syntax)>),
}

/// The height of the highest.
pub fn highest(parts: &[Syntax]) -> usize {
    parts.iter().map(|part| part.height).max().unwrap_or_default()
}

/// A part above others, which are so high.
pub fn node(at: usize, below: usize, form: Form) -> Result<Syntax, Fault> {
    match below + 1 {
        height if height > MAX_HEIGHT => {
            Err(Fault::at(at, format!("more than {MAX_HEIGHT} operators, fields or calls build on each other")))
        }
        height => Ok(Syntax { at, height, form }),
    }
}
