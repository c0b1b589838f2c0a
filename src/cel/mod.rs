//! The one door to CEL: expressions are compiled and bounded here, and evaluated over JSON.
//!
//! Pure. Whoever evaluates does it off the async threads and with a limit of time ([`crate::controllers`] does); what bounds the
//! work itself is the length of the text, the nesting of comprehensions and the size of the input.

use cel::common::ast::Expr;
use cel::{Context, IdedExpr, Program};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The longest expression, in bytes.
pub const MAX_LENGTH: usize = 4096;

/// The deepest nesting of comprehensions (`all`, `exists`, `map`, `filter`).
pub const MAX_COMPREHENSIONS: usize = 2;

/// The largest input, as JSON, in bytes.
pub const MAX_INPUT: usize = 256 * 1024;

/// The deepest nesting of anything: of an expression, and of the brackets in its text.
const MAX_DEPTH: usize = 64;

/// The functions of the standard library, as they may be called.
const FUNCTIONS: [&str; 22] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "timestamp",
    "duration",
    "type",
    "dyn",
    "min",
    "max",
    "has",
    "all",
    "exists",
    "map",
    "filter",
];

/// What an expression may name.
#[derive(Debug)]
pub struct Scope {
    /// The variables.
    pub variables: &'static [&'static str],
    /// Whether the functions over the directory may be called: `members`, `guarantors`, `managers`.
    pub directory: bool,
}

/// What the functions over the directory ask. Identities are named by their metadata.name.
pub trait Directory: Send + Sync {
    /// The Identities that hold a role.
    fn members(&self, role: &str) -> Vec<String>;
    /// The Identities that guarantee a role; of one type, or of any.
    fn guarantors(&self, role: &str, type_: Option<&str>) -> Vec<String>;
    /// The managers of an Identity.
    fn managers(&self, identity: &str) -> Vec<String>;
}

/// What an expression is evaluated over.
#[derive(Clone, Default)]
pub struct Input {
    /// One field for each variable of the scope; what is missing is null.
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// The variable `now`, where the scope has it.
    pub now: Option<Timestamp>,
    /// The directory, where the scope has it.
    pub directory: Option<Arc<dyn Directory>>,
}

/// An expression that compiled, within its bounds.
#[derive(Clone, Debug)]
pub struct Expression {
    source: String,
    program: Arc<Program>,
    scope: &'static Scope,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && std::ptr::eq(self.scope, other.scope)
    }
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, for people: syntax, an unknown name or function, or a bound that it exceeds.
    pub fn compile(source: &str, scope: &'static Scope) -> Result<Self, String> {
        if source.len() > MAX_LENGTH {
            return Err(format!("the expression has {} bytes, at most {MAX_LENGTH} are allowed", source.len()));
        }
        // The parser recurses: what is nested deeper than this never reaches it.
        if brackets(source) > MAX_DEPTH {
            return Err(format!("brackets are nested deeper than {MAX_DEPTH}"));
        }
        let program = Program::compile(source).map_err(|error| error.to_string().replace('\n', " "))?;
        let mut comprehensions = BTreeSet::new();
        bounded(program.expression(), 0, 0, &mut comprehensions)?;
        let references = program.references();
        for name in references.variables() {
            if !scope.variables.contains(&name) && !comprehensions.contains(name) {
                return Err(format!("there is no variable {name}; variables are {}", scope.variables.join(", ")));
            }
        }
        for name in references.functions() {
            let operator = !name.starts_with(|letter: char| letter.is_ascii_alphabetic());
            if !operator && !FUNCTIONS.contains(&name) {
                return Err(format!("there is no function {name}; functions are {}", FUNCTIONS.join(", ")));
            }
        }
        Ok(Self { source: source.to_owned(), program: Arc::new(program), scope })
    }

    /// The text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the expression names a variable.
    #[must_use]
    pub fn references(&self, variable: &str) -> bool {
        self.program.references().has_variable(variable)
    }

    /// What the expression comes to, as JSON.
    ///
    /// # Errors
    /// Why it cannot be told, for people.
    pub fn evaluate(&self, input: &Input) -> Result<serde_json::Value, String> {
        let size = serde_json::to_string(&input.variables).map_err(|error| error.to_string())?.len();
        if size > MAX_INPUT {
            return Err(format!("what it is evaluated over has {size} bytes, at most {MAX_INPUT} are allowed"));
        }
        let mut context = Context::default();
        for name in self.scope.variables {
            let value = input.variables.get(*name).cloned().unwrap_or_default();
            context.add_variable(*name, value).map_err(|error| error.to_string())?;
        }
        let value = self.program.execute(&context).map_err(|error| error.to_string())?;
        value.json().map_err(|error| error.to_string())
    }

    /// Whether the condition holds.
    ///
    /// # Errors
    /// Why it cannot be told, for people.
    pub fn holds(&self, input: &Input) -> Result<bool, String> {
        match self.evaluate(input)? {
            serde_json::Value::Bool(holds) => Ok(holds),
            other => Err(format!("it yields {}, not true or false", type_of(&other))),
        }
    }

    /// The list of strings that the expression comes to.
    ///
    /// # Errors
    /// Why it cannot be told, for people; anything but a list of strings is an error.
    pub fn strings(&self, input: &Input) -> Result<Vec<String>, String> {
        let serde_json::Value::Array(items) = self.evaluate(input)? else {
            return Err("it does not yield a list of strings".to_owned());
        };
        let strings = items.into_iter().map(|item| match item {
            serde_json::Value::String(text) => Ok(text),
            other => Err(format!("it yields a list with {}, not a list of strings", type_of(&other))),
        });
        strings.collect()
    }
}

fn type_of(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a bool",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "a map",
    }
}

/// How deep brackets are nested, whatever they stand in.
fn brackets(source: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for letter in source.chars() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn bounded(
    expression: &IdedExpr,
    depth: usize,
    comprehensions: usize,
    names: &mut BTreeSet<String>,
) -> Result<(), String> {
    // Chains such as a && b && c are deep to the left, so this is looser than the bound on brackets.
    if depth > 16 * MAX_DEPTH {
        return Err("the expression is nested too deeply".to_owned());
    }
    let mut inside = |expression: &IdedExpr, comprehensions| bounded(expression, depth + 1, comprehensions, names);
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Ok(()),
        Expr::Select(select) => inside(&select.operand, comprehensions),
        Expr::List(list) => list.elements.iter().try_for_each(|element| inside(element, comprehensions)),
        Expr::Call(call) => {
            call.target.iter().try_for_each(|target| inside(target, comprehensions))?;
            call.args.iter().try_for_each(|argument| inside(argument, comprehensions))
        }
        Expr::Map(_) | Expr::Struct(_) => Err("maps and structs cannot be written in a condition".to_owned()),
        Expr::Comprehension(comprehension) => {
            if comprehensions == MAX_COMPREHENSIONS {
                return Err(format!("all, exists, map and filter may be nested {MAX_COMPREHENSIONS} deep at most"));
            }
            inside(&comprehension.iter_range, comprehensions)?;
            for part in
                [&comprehension.accu_init, &comprehension.loop_cond, &comprehension.loop_step, &comprehension.result]
            {
                inside(part, comprehensions + 1)?;
            }
            names.insert(comprehension.iter_var.clone());
            names.extend(comprehension.iter_var2.clone());
            names.insert(comprehension.accu_var.clone());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Expression, Input, Scope};
    use serde_json::json;

    static SCOPE: Scope = Scope { variables: &["object"], directory: false };

    fn holds(source: &str) -> Result<bool, String> {
        let object =
            json!({"spec": {"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"], "n": 3}});
        let variables = [("object".to_owned(), object)].into_iter().collect();
        Expression::compile(source, &SCOPE)?.holds(&Input { variables, ..Input::default() })
    }

    #[test]
    fn conditions_over_objects() {
        assert_eq!(holds("object.spec.signerName == 'kubernetes.io/kube-apiserver-client'"), Ok(true));
        assert_eq!(holds("object.spec.usages.exists(u, u == 'server auth')"), Ok(false));
        assert_eq!(
            holds("'client auth' in object.spec.usages && object.spec.signerName.startsWith('kubernetes.io/')"),
            Ok(true)
        );
        assert_eq!(holds("has(object.spec.missing)"), Ok(false));
        assert_eq!(holds("object.spec.n > 2 && size(object.spec.usages) == 1"), Ok(true));
    }

    #[test]
    fn faults_are_told() {
        for (source, told) in [
            ("object.spec.", "Syntax"),
            ("request.x == 1", "there is no variable request"),
            ("nosuch(object)", "there is no function nosuch"),
            ("object.spec.n", "not true or false"),
            ("object.spec.missing == 1", "missing"),
            ("[1].all(a, [1].all(b, [1].all(c, true)))", "2 deep at most"),
        ] {
            let error = holds(source).expect_err(source);
            assert!(error.to_lowercase().contains(&told.to_lowercase()), "{source}: {error}");
        }
    }

    #[test]
    fn bombs_are_refused() {
        assert!(holds(&format!("{}true{}", "(".repeat(2000), ")".repeat(2000))).is_err());
        assert!(holds(&"!".repeat(4000)).is_err());
        assert!(
            holds(&format!("{}true", "object.spec.n > 2 && ".repeat(190))).is_ok(),
            "a long flat condition is fine"
        );
        assert!(holds(&"a".repeat(5000)).is_err());
    }
}
