//! A checked expression: what is to be done, with every name resolved. [`super::check`] makes it, [`super::evaluate`] walks it.

use super::functions::Function;

/// A part of an expression that can be evaluated.
#[derive(Debug)]
pub struct Node {
    /// The byte of the source it is pointed at.
    pub at: usize,
    /// What is to be done.
    pub task: Task,
}

/// What is to be done.
#[derive(Debug)]
pub enum Task {
    /// null.
    Null,
    /// A literal.
    Bool(bool),
    /// A literal.
    Int(i64),
    /// A literal.
    Uint(u64),
    /// A literal.
    Double(f64),
    /// A literal.
    Text(String),
    /// A literal.
    Bytes(Vec<u8>),
    /// A type, by its name.
    Type(&'static str),
    /// A variable of the scope.
    Variable(&'static str),
    /// The moment.
    Now,
    /// The variable of a macro, counted from the outermost.
    Local(usize),
    /// `operand.field`.
    Select(Box<Node>, String),
    /// `operand.?field`.
    OptionalSelect(Box<Node>, String),
    /// `has(operand.field)`.
    Has(Box<Node>, String),
    /// `operand[index]`.
    Index(Box<(Node, Node)>),
    /// `operand[?index]`.
    OptionalIndex(Box<(Node, Node)>),
    /// A list; whether each element may be absent.
    List(Vec<(bool, Node)>),
    /// A map; whether each entry may be absent.
    Map(Vec<(bool, Node, Node)>),
    /// `!operand`.
    Not(Box<Node>),
    /// `-operand`.
    Negate(Box<Node>),
    /// An operator between two operands.
    Binary(&'static str, Box<(Node, Node)>),
    /// `&&`, which any false decides, or `||`, which any true decides.
    Chain(bool, Vec<Node>),
    /// `condition ? then : otherwise`.
    Conditional(Box<(Node, Node, Node)>),
    /// A call; what stands before the dot is the first argument.
    Call(&'static Function, Vec<Node>),
    /// `optional.or(other)` and, unwrapped, `optional.orValue(other)`: the other one is looked at only when it is needed.
    Otherwise {
        /// The optional and the other.
        operands: Box<(Node, Node)>,
        /// Whether the other is a value rather than an optional.
        unwrap: bool,
    },
    /// `optional.optMap(name, body)`, or flat, `optFlatMap`.
    OptionalMap(bool, Box<(Node, Node)>),
    /// A comprehension.
    Loop(Loop),
}

/// A comprehension.
#[derive(Debug)]
pub struct Loop {
    /// Which one.
    pub kind: Comprehension,
    /// What it goes over.
    pub range: Box<Node>,
    /// What each element must fulfil first; `map` with three arguments.
    pub filter: Option<Box<Node>>,
    /// What is done with each element.
    pub body: Box<Node>,
}

/// Which comprehension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comprehension {
    /// `all`.
    All,
    /// `exists`.
    Exists,
    /// `exists_one`.
    ExistsOne,
    /// `map`.
    Map,
    /// `filter`.
    Filter,
    /// `sortBy`.
    SortBy,
}
