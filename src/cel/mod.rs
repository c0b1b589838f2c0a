//! The one door to CEL: expressions are compiled and bounded here, and evaluated over JSON.
//!
//! Pure. Whoever evaluates does it off the async threads and with a limit of time ([`crate::controllers`] does); what bounds the
//! work itself is the length of the text, the nesting of comprehensions and the size of the input.

use cel::common::ast::Expr;
use cel::{Context, IdedExpr, Program, Value};
use std::collections::BTreeSet;

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

/// A condition that compiled, within its bounds.
#[derive(Debug)]
pub struct Condition {
    program: Program,
    variables: &'static [&'static str],
}

impl Condition {
    /// Compiles a condition over these variables.
    ///
    /// # Errors
    /// What is wrong with it, for people: syntax, an unknown name or function, or a bound that it exceeds.
    pub fn compile(source: &str, variables: &'static [&'static str]) -> Result<Self, String> {
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
            if !variables.contains(&name) && !comprehensions.contains(name) {
                return Err(format!("there is no variable {name}; variables are {}", variables.join(", ")));
            }
        }
        for name in references.functions() {
            let operator = !name.starts_with(|letter: char| letter.is_ascii_alphabetic());
            if !operator && !FUNCTIONS.contains(&name) {
                return Err(format!("there is no function {name}; functions are {}", FUNCTIONS.join(", ")));
            }
        }
        Ok(Self { program, variables })
    }

    /// Whether the condition holds; `input` has one field for each variable.
    ///
    /// # Errors
    /// Why it cannot be told, for people.
    pub fn holds(&self, input: &serde_json::Value) -> Result<bool, String> {
        if input.to_string().len() > MAX_INPUT {
            return Err(format!("the object has more than {MAX_INPUT} bytes"));
        }
        let mut context = Context::default();
        for name in self.variables {
            context.add_variable(*name, input[*name].clone()).map_err(|error| error.to_string())?;
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("it yields {}, not true or false", other.type_of())),
            Err(error) => Err(error.to_string()),
        }
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
    use super::Condition;
    use serde_json::json;

    fn holds(source: &str) -> Result<bool, String> {
        let input = json!({"object": {"spec": {"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"], "n": 3}}});
        Condition::compile(source, &["object"])?.holds(&input)
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
