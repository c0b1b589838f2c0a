//! Which templates are let in: those that end soon, whatever they are given.
//!
//! Fuel counts steps, but one step of a template can build a text twice as long as the one before, and the parser calls itself
//! for some chains. So what can make values grow is not part of the language here: no joining of texts, no captured blocks, no
//! lists of lists, no copies of lists, no functions. Values are written one after the other instead, and the length of the whole is bounded.

use minijinja::Error;
use minijinja::machinery::ast::{BinOpKind, CallArg, CompareOpKind, Expr, Stmt};
use minijinja::machinery::{Span, Token, parse, tokenize};
use minijinja::syntax::SyntaxConfig;
use std::collections::BTreeSet;

/// How many words and signs there may be between `{{` and `}}`, or `{%` and `%}`.
const MAX_TOKENS: usize = 200;
/// How many `elif` a template may have: the parser calls itself for each.
const MAX_ELIF: usize = 200;
/// How long a text in quotes may be.
const MAX_LITERAL: usize = 2048;

/// Why a template is not let in.
pub(super) struct Refusal {
    /// Where, in bytes.
    pub(super) offset: usize,
    /// What is wrong and what to do about it.
    pub(super) why: String,
}

/// The names that a template may use.
pub(super) struct Names<'a> {
    pub(super) filters: &'a [&'a str],
    pub(super) tests: &'a [&'a str],
}

/// The variables that a template reads and does not set, with the place of the first use of each.
pub(super) type Variables = Vec<(String, usize)>;

/// Looks a template over.
pub(super) fn look_over(source: &str, syntax: &SyntaxConfig, names: &Names<'_>) -> Result<Variables, Refusal> {
    bounded(source, syntax)?;
    let tree = parse(source, "template", syntax.clone()).map_err(|error| syntax_error(source, &error))?;
    let mut look = Look { names, read: Vec::new(), set: BTreeSet::from(["loop".to_owned()]) };
    look.statement(&tree)?;
    let Look { mut read, set, .. } = look;
    read.retain(|(name, _)| !set.contains(name));
    let mut seen = BTreeSet::new();
    read.retain(|(name, _)| seen.insert(name.clone()));
    Ok(read)
}

/// Nothing is so long that parsing it would go too deep.
fn bounded(source: &str, syntax: &SyntaxConfig) -> Result<(), Refusal> {
    let (mut tokens, mut branches) = (0, 0);
    for token in tokenize(source, false, syntax.clone()) {
        let (token, span) = token.map_err(|error| syntax_error(source, &error))?;
        tokens += 1;
        match token {
            Token::TemplateData(_) | Token::VariableStart | Token::BlockStart => tokens = 0,
            Token::Ident("elif") => branches += 1,
            Token::Str(text) if text.len() > MAX_LITERAL => return Err(too_long(span)),
            Token::String(text) if text.len() > MAX_LITERAL => return Err(too_long(span)),
            _ => {}
        }
        if tokens > MAX_TOKENS {
            return refuse(span, format!("this expression is too long: it has more than {MAX_TOKENS} words and signs"));
        }
        if branches > MAX_ELIF {
            return refuse(span, format!("there are too many elif: at most {MAX_ELIF}"));
        }
    }
    Ok(())
}

fn too_long(span: Span) -> Refusal {
    let why = format!("this text in quotes is too long: at most {MAX_LITERAL} bytes; write it outside of the braces");
    Refusal { offset: span.start_offset as usize, why }
}

fn syntax_error(source: &str, error: &Error) -> Refusal {
    let offset = match error.range() {
        Some(range) => range.start,
        None => line_start(source, error.line().unwrap_or(1)),
    };
    Refusal { offset, why: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned) }
}

/// Where a line starts, in bytes.
pub(super) fn line_start(source: &str, line: usize) -> usize {
    source.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}

fn refuse<T>(span: Span, why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { offset: span.start_offset as usize, why: why.into() })
}

struct Look<'a> {
    names: &'a Names<'a>,
    read: Vec<(String, usize)>,
    set: BTreeSet<String>,
}

impl Look<'_> {
    fn all(&mut self, statements: &[Stmt<'_>]) -> Result<(), Refusal> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Stmt<'_>) -> Result<(), Refusal> {
        match statement {
            Stmt::Template(template) => self.all(&template.children),
            Stmt::EmitExpr(emit) => self.expression(&emit.expr),
            Stmt::EmitRaw(_) => Ok(()),
            Stmt::IfCond(condition) => {
                self.expression(&condition.expr)?;
                self.all(&condition.true_body)?;
                self.all(&condition.false_body)
            }
            Stmt::ForLoop(each) if each.recursive => {
                refuse(each.span(), "a loop cannot be recursive here; leave the word out")
            }
            Stmt::ForLoop(each) => {
                self.bind(&each.target)?;
                self.expression(&each.iter)?;
                each.filter_expr.iter().try_for_each(|filter| self.expression(filter))?;
                self.all(&each.body)?;
                self.all(&each.else_body)
            }
            Stmt::WithBlock(with) => {
                for (target, value) in &with.assignments {
                    self.bind(target)?;
                    self.expression(value)?;
                }
                self.all(&with.body)
            }
            Stmt::Set(set) => {
                self.bind(&set.target)?;
                self.expression(&set.expr)
            }
            Stmt::SetBlock(block) => {
                refuse(block.span(), "a block cannot be captured here; write {% set name = value %}")
            }
            Stmt::FilterBlock(block) => {
                refuse(block.span(), "a filter takes a value here, not a block: {{ value|filter }}")
            }
            Stmt::AutoEscape(block) => refuse(
                block.span(),
                "escaping cannot be changed: values are escaped in html, and nowhere else; leave it out",
            ),
            Stmt::Do(statement) => refuse(statement.span(), "there are no functions to call here; leave it out"),
        }
    }

    /// A name that a template gives itself.
    fn bind(&mut self, target: &Expr<'_>) -> Result<(), Refusal> {
        match target {
            Expr::Var(name) => {
                self.set.insert(name.id.to_owned());
                Ok(())
            }
            Expr::List(names) => names.items.iter().try_for_each(|name| self.bind(name)),
            Expr::Tuple(names) => names.items.iter().try_for_each(|name| self.bind(name)),
            other => refuse(other.span(), "only a plain name can be given a value here"),
        }
    }

    fn expression(&mut self, expression: &Expr<'_>) -> Result<(), Refusal> {
        match expression {
            Expr::Var(name) => {
                self.read.push((name.id.to_owned(), name.span().start_offset as usize));
                Ok(())
            }
            Expr::Const(_) => Ok(()),
            Expr::Slice(slice) => refuse(
                slice.span(),
                "a part of a list or text cannot be taken by [:] here; take truncate, or loop.index in a loop",
            ),
            Expr::UnaryOp(operation) => self.expression(&operation.expr),
            Expr::BinOp(operation) => {
                match operation.op {
                    BinOpKind::Concat | BinOpKind::Mul | BinOpKind::Pow => {
                        return refuse(
                            operation.span(),
                            "~, * and ** are not part of templates here; write the values one after the other: {{ a }}{{ b }}",
                        );
                    }
                    BinOpKind::Add if !is_number(&operation.left) && !is_number(&operation.right) => {
                        return refuse(
                            operation.span(),
                            "+ adds a number here, as in {{ loop.index + 1 }}; write texts one after the other: {{ a }}{{ b }}",
                        );
                    }
                    BinOpKind::In => written_list(&operation.right)?,
                    _ => {}
                }
                self.expression(&operation.left)?;
                self.expression(&operation.right)
            }
            Expr::Compare(compare) => {
                self.expression(&compare.expr)?;
                compare.ops.iter().try_for_each(|with| {
                    if matches!(with.op, CompareOpKind::In | CompareOpKind::NotIn) {
                        written_list(&with.expr)?;
                    }
                    self.expression(&with.expr)
                })
            }
            Expr::IfExpr(choice) => {
                self.expression(&choice.test_expr)?;
                self.expression(&choice.true_expr)?;
                choice.false_expr.iter().try_for_each(|otherwise| self.expression(otherwise))
            }
            Expr::Filter(filter) => {
                known("filter", filter.name, self.names.filters, filter.span())?;
                filter.expr.iter().try_for_each(|value| self.expression(value))?;
                self.arguments(&filter.args)
            }
            Expr::Test(test) => {
                known("test", test.name, self.names.tests, test.span())?;
                self.expression(&test.expr)?;
                self.arguments(&test.args)
            }
            Expr::GetAttr(attribute) => self.expression(&attribute.expr),
            Expr::GetItem(item) => {
                self.expression(&item.expr)?;
                self.expression(&item.subscript_expr)
            }
            Expr::Call(call) => {
                refuse(call.span(), "there are no functions to call here; docs/notifications.md lists the filters")
            }
            Expr::List(list) => plain(&list.items, list.span()),
            Expr::Tuple(tuple) => plain(&tuple.items, tuple.span()),
            Expr::Map(map) => refuse(map.span(), "a map cannot be written here; leave it out"),
        }
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) -> Result<(), Refusal> {
        arguments.iter().try_for_each(|argument| match argument {
            CallArg::Pos(value) | CallArg::Kwarg(_, value) => self.expression(value),
            CallArg::PosSplat(value) | CallArg::KwargSplat(value) => {
                refuse(value.span(), "arguments are written one by one here, without *")
            }
        })
    }
}

/// Whether it is a number as it is written.
fn is_number(expression: &Expr<'_>) -> bool {
    matches!(expression, Expr::Const(constant) if constant.value.is_number())
}

/// A value is looked for only in a list of the template's own: one step may not go through a thousand tasks.
fn written_list(list: &Expr<'_>) -> Result<(), Refusal> {
    if matches!(list, Expr::List(_) | Expr::Tuple(_)) {
        return Ok(());
    }
    refuse(list.span(), "in takes a list that is written here, as in {% if event in [\"approved\", \"rejected\"] %}")
}

/// A list is of plain texts and numbers: one of lists could stand for more than a machine can hold.
fn plain(items: &[Expr<'_>], span: Span) -> Result<(), Refusal> {
    if items.iter().all(|item| matches!(item, Expr::Const(_))) {
        return Ok(());
    }
    refuse(span, "a list may hold texts in quotes and numbers only")
}

fn known(what: &str, name: &str, known: &[&str], span: Span) -> Result<(), Refusal> {
    if known.contains(&name) {
        return Ok(());
    }
    refuse(span, format!("there is no {what} {name}; there are {}", known.join(", ")))
}
