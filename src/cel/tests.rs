//! What the comparison with cel-go cannot tell: faults in words, bounds, bombs, and the functions that are ours.

use super::{Directory, Expression, Input, MAX_INPUT, Scope, functions};
use serde_json::{Value, json};
use std::sync::Arc;

static SCOPE: Scope = Scope { variables: &["object", "oldObject", "now"], directory: false };
static WITH_DIRECTORY: Scope = Scope { variables: &["role", "subject"], directory: true };

struct Names;

impl Directory for Names {
    fn members(&self, role: &str) -> Vec<String> {
        vec![format!("{role}-member")]
    }
    fn guarantors(&self, role: &str, type_: Option<&str>) -> Vec<String> {
        vec![format!("{role}-guarantor-{}", type_.unwrap_or("any"))]
    }
    fn managers(&self, identity: &str) -> Vec<String> {
        vec![format!("{identity}-manager")]
    }
}

fn input(variables: Value) -> Input {
    let Value::Object(variables) = variables else { panic!("variables are an object") };
    Input { variables, ..Input::default() }
}

fn over(source: &str, variables: Value) -> Result<Value, String> {
    Expression::compile(source, &SCOPE)?.evaluate(&input(variables))
}

fn evaluated(source: &str) -> Result<Value, String> {
    let object = json!({"spec": {"usages": ["client auth"], "n": 3, "whole": 2.0}, "name": "x"});
    over(source, json!({"object": object}))
}

#[test]
fn conditions_and_lists_of_text() {
    let object = input(json!({"object": {"n": 3, "names": ["a", "b"]}}));
    let compiled = |source| Expression::compile(source, &SCOPE);
    assert_eq!(compiled("object.n > 2").and_then(|it| it.holds(&object)), Ok(true));
    assert_eq!(
        compiled("object.n").and_then(|it| it.holds(&object)),
        Err("it yields a number, not true or false".into())
    );
    assert_eq!(compiled("object.names").and_then(|it| it.strings(&object)), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(
        compiled("[1]").and_then(|it| it.strings(&object)),
        Err("it yields a list with a number, not a list of strings".into())
    );
}

#[test]
fn faults_are_told_with_their_place() {
    for (source, told) in [
        (
            "object.spec.",
            "line 1, column 13: syntax error: expected a field or a function after the dot, found the end",
        ),
        (
            "true &&\n  request.x",
            "line 2, column 3: there is no variable request; variables are object, oldObject, now",
        ),
        ("'éé' + nosuch(1)", "line 1, column 8: there is no function nosuch; functions are added, all,"),
        ("object.name.startsWith()", "line 1, column 13: startsWith takes 1 argument, not 0"),
        ("object.name.substring(1, 2, 3)", "line 1, column 13: substring takes 1 to 2 arguments, not 3"),
        ("size(object.name) + object.spec.missing", "line 1, column 33: there is no field missing"),
        ("object.spec.n + 'a'", "line 1, column 15: + is not defined for int and string"),
        ("object.spec.n.startsWith('a')", "line 1, column 15: startsWith is not defined for int, string"),
        ("1 / 0", "line 1, column 3: division by zero"),
        ("object.spec.n && true", "line 1, column 13: && stands between bools, not int"),
        ("object.name.matches('a{1000}{1000}')", "line 1, column 21: the pattern is too large; repeat fewer times"),
        ("startsWith(object.name)", "line 1, column 1: startsWith is called on a value, as in x.startsWith(…)"),
        ("object.name.all(x)", "line 1, column 13: all takes 2 arguments, a name first, not 1"),
        ("members('x')", "line 1, column 1: there is no function members"),
        ("object.?name", "line 1, column 9: it yields a value that may be absent: end it with .orValue(…) or .value()"),
        ("{'a': 1}.map(k, k)[3]", "line 1, column 19: the list has 1 elements, none at that place"),
    ] {
        let error = evaluated(source).expect_err(source);
        assert!(error.starts_with(told), "{source}: {error}");
    }
}

#[test]
fn numbers_keep_their_type() {
    assert_eq!(evaluated("type(object.spec.whole) == double && type(object.spec.n) == int"), Ok(json!(true)));
    let big = json!({"object": u64::MAX, "oldObject": i64::MAX});
    assert_eq!(over("type(object) == uint && type(oldObject) == int", big), Ok(json!(true)));
}

#[test]
fn a_variable_is_named_where_it_is_meant() {
    let compiled = Expression::compile("[1].all(object, object == 1) && now != null", &SCOPE).expect("it compiles");
    assert!(!compiled.references("object"), "it is the variable of all");
    assert!(compiled.references("now"));
    assert!(!compiled.references("oldObject"));
}

#[test]
fn now_is_the_moment_that_is_given() {
    let given = Input { now: Some("2026-03-01T12:00:00Z".parse().expect("a moment")), ..Input::default() };
    let compiled = Expression::compile("now - duration('1h')", &SCOPE).expect("it compiles");
    assert_eq!(compiled.evaluate(&given), Ok(json!("2026-03-01T11:00:00Z")));
    assert_eq!(evaluated("now == null && oldObject == null"), Ok(json!(true)), "what is missing is null");
}

#[test]
fn the_directory_is_asked_by_name_and_by_object() {
    let asked = |source| {
        let variables = json!({"role": {"metadata": {"name": "dba"}}, "subject": {"name": "mary"}});
        let input = Input { directory: Some(Arc::new(Names)), ..input(variables) };
        Expression::compile(source, &WITH_DIRECTORY)?.evaluate(&input)
    };
    assert_eq!(asked("members('dba')"), Ok(json!(["dba-member"])));
    assert_eq!(asked("members(role) + managers(subject)"), Ok(json!(["dba-member", "mary-manager"])));
    assert_eq!(asked("guarantors(role)"), Ok(json!(["dba-guarantor-any"])));
    assert_eq!(asked("guarantors(role, 'Security')"), Ok(json!(["dba-guarantor-Security"])));
    assert_eq!(asked("members({})"), Err("line 1, column 1: the object has neither metadata.name nor name".into()));
    assert_eq!(asked("members(1)"), Err("line 1, column 1: members is not defined for int".into()));
}

#[test]
fn r20_differences_of_two_lists() {
    let lists = json!({
        "object": [{"name": "b", "n": 1}, {"name": "c", "n": 3}, {"name": "d"}, {"name": "d"}],
        "oldObject": [{"name": "a"}, {"name": "b", "n": 1.0}, {"name": "c", "n": 2}],
    });
    for (source, expected) in [
        ("added(object, oldObject).map(s, s.name)", json!(["c", "d"])),
        ("removed(object, oldObject).map(s, s.name)", json!(["a", "c"])),
        ("modified(object, oldObject, 'name')", json!([{"name": "c", "n": 3}])),
        ("added(object, null).size()", json!(3)),
        ("removed(object, null)", json!([])),
        ("modified(object, oldObject, 'nosuch')", json!([])),
        ("added(object, oldObject.?subjects.orValue([])).size()", json!(3)),
    ] {
        let lists = if source.contains('?') { json!({"object": lists["object"]}) } else { lists.clone() };
        assert_eq!(over(source, lists), Ok(expected), "{source}");
    }
    assert_eq!(
        over("modified([1], [1], 'name')", json!({})),
        Err("line 1, column 1: the lists have int where maps with the field name belong".into())
    );
}

#[test]
fn a38_bombs_are_refused_before_they_are_evaluated() {
    let long = "1 + ".repeat(1100);
    for (bomb, told) in [
        (format!("{}true{}", "(".repeat(2000), ")".repeat(2000)), "it is nested deeper than 32"),
        (format!("{}1", "true ? 1 : ".repeat(300)), "it is nested deeper than 32"),
        (format!("{}1", "1+".repeat(2000)), "more than 128 operators, fields or calls build on each other"),
        (format!("object{}", ".b".repeat(2000)), "more than 128"),
        (format!("object{}", "[0]".repeat(1300)), "more than 128"),
        ("!".repeat(4000), "syntax error"),
        (format!("{}true", "!".repeat(4000)), "more than 128"),
        (format!("{long}1"), "the expression has 4401 bytes, at most 4096 are allowed"),
        ("[1].all(a, [1].all(b, [1].all(c, true)))".to_owned(), "may be nested 2 deep at most"),
        ("'a'.matches('((a{100}){100}){100}')".to_owned(), "the pattern is too large"),
        (format!("'a'.matches('{}')", "(".repeat(500)), "the pattern is no regular expression"),
        ((0..30).map(|n| format!("'a'.matches('{n}')")).collect::<Vec<_>>().join("||"), "at most 20 patterns"),
    ] {
        let error = Expression::compile(&bomb, &SCOPE).expect_err(&bomb);
        assert!(error.contains(told), "{error}");
    }
    assert!(
        evaluated(&format!("{}true", "object.spec.n > 2 && ".repeat(190))).is_ok(),
        "a long flat condition is fine"
    );
}

#[test]
fn a38_bombs_run_out_of_their_budget() {
    let numbers: Vec<usize> = (0..25_000).collect();
    let letters: String =
        (0..50_000_u32).map(|n| if n.wrapping_mul(2_654_435_761) >> 31 == 0 { 'a' } else { 'b' }).collect();
    let variables = json!({"object": {"l": numbers, "s": letters, "zeros": "0".repeat(40_000)}});
    for bomb in [
        "object.l.all(x, object.l.all(y, x + y >= 0))",
        "object.l.all(x, !(x + 1000000 in object.l))",
        "object.l.all(x, object == object)",
        "object.l.map(x, object.l.map(y, string(y) + 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'))",
        "[object.s].map(a, a+a).map(a, a+a).map(a, a+a).map(a, a+a).map(a, a+a).map(a, a+a).map(a, a+a).map(a, a+a)",
        "[object].map(a,[a,a,a,a,a,a,a,a,a,a]).map(a,[a,a,a,a,a,a,a,a,a,a]).map(a,[a,a,a,a,a,a,a,a,a,a])",
        "lists.range(1000000000)",
        "object.s.replace('', object.s)",
        "object.l.map(x, object.l.map(y, 'x').join(object.s))",
        "lists.range(60000).all(x, object.s.lastIndexOf('nosuch') < 0)",
        "object.l.all(x, object.l.distinct().size() > 0)",
        "object.l.all(x, added(object.l, object.l) == [])",
        "object.l.all(x, int(object.zeros) == 0)",
        "object.l.all(x, {object.s: x}[object.s] == x)",
        "object.l.all(x, timestamp(object.zeros) == now) || object.l.all(x, object.l.all(y, true))",
        "object.l.all(x, !object.s.matches('[ab]*a[ab]{30}c'))",
        "object.s.findAll('.*c|a').size()",
        "object.l.exists(x, 'a'.matches('a{50}' + string(x)))",
        "true || false ? object.l.all(x, object.l.all(y, true)) || true : false",
    ] {
        let error = over(bomb, variables.clone()).expect_err(bomb);
        assert!(error.ends_with("make it simpler or its input smaller"), "{bomb}: {error}");
        assert_eq!(Err(error), over(bomb, variables.clone()), "it stops at the same place every time");
    }
}

#[test]
fn an_honest_expression_over_a_large_input_is_within_its_budget() {
    let names: Vec<_> = (0..5000).map(|n| format!("user-{n}@example.com")).collect();
    let variables = json!({"object": names, "oldObject": names[10..]});
    for (source, expected) in [
        ("object.all(x, x.matches('^[a-z0-9-]+@example[.]com$') && x.endsWith('.com'))", json!(true)),
        ("added(object, oldObject).size()", json!(10)),
        ("object.filter(x, x.startsWith('user-49')).sort().size()", json!(111)),
        ("object.map(x, x.split('@')[0]).distinct().size()", json!(5000)),
    ] {
        assert_eq!(over(source, variables.clone()), Ok(expected), "{source}");
    }
}

#[test]
fn too_large_an_input_is_refused() {
    let error = over("true", json!({"object": "x".repeat(MAX_INPUT)})).expect_err("it is too large");
    assert_eq!(error, "what it is evaluated over has more than the 262144 bytes that are allowed");
}

/// A test has a stack of 2 MiB, as the threads have that evaluate.
#[test]
fn the_deepest_expression_fits_a_small_stack() {
    let sources = [
        format!("object{}", ".?b".repeat(127)),
        format!("{}1", "1+".repeat(127)),
        format!("{}1{}", "[".repeat(31), "]".repeat(31)),
        format!("{}1{}", "(1 + ".repeat(31), ")".repeat(31)),
        format!("{}1", "true ? 1 : ".repeat(31)),
        format!("{}true", "!".repeat(127)),
        format!("{}1{}", "{'a': ".repeat(31), "}".repeat(31)),
        format!("{}1{}", "math.abs(".repeat(31), ")".repeat(31)),
    ];
    for source in sources {
        drop(Expression::compile(&source, &SCOPE).expect(&source).evaluate(&Input::default()));
    }
}

#[test]
fn what_is_no_expression_never_panics() {
    let parts = [
        "a", "object", "(", ")", "[", "]", "{", "}", ".", "?", ":", "+", "-", "!", "&&", "||", "'", "\"", "1", "1.",
        "0x", "u", "9", " ", "\n", "in", "\\", "r'", "b'", "`", "é", "//", "1e", "''", "'''", "\\u12", "true", "null",
        "=", "==", "<", "%", "/", "*", ",", "has(", ".all(", ".?", "[?", ".map(x,", "size(", "x",
    ];
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or_default()
    };
    for _ in 0..20_000 {
        let source: String = (0..next() % 14).map(|_| parts[next() % parts.len()]).collect();
        if let Ok(compiled) = Expression::compile(&source, &SCOPE) {
            drop(compiled.evaluate(&Input::default()));
        }
    }
}

#[test]
fn every_function_is_documented() {
    let page = include_str!("../../docs/cel.md");
    let missing: Vec<_> =
        functions::names(true).into_iter().filter(|name| !page.contains(&format!("{name}("))).collect();
    assert!(missing.is_empty(), "docs/cel.md does not mention {}", missing.join(", "));
}

#[test]
fn the_examples_of_the_page_hold() {
    static EVERYTHING: Scope = Scope { variables: &["object", "subjects", "role", "now"], directory: true };
    let page = include_str!("../../docs/cel.md");
    let functions =
        page.split("## Functions").nth(1).and_then(|rest| rest.split("## Limits").next()).expect("functions");
    let rows = functions.lines().filter_map(|line| line.strip_prefix("| `")?.trim_end_matches(" |").rsplit_once(" | "));
    let mut held = 0;
    for (_, examples) in rows {
        let spans: Vec<&str> = examples.split('`').collect();
        for at in (1..spans.len()).step_by(2) {
            let compiled = Expression::compile(spans[at], &EVERYTHING);
            assert!(compiled.is_ok(), "{}: {}", spans[at], compiled.expect_err("it fails"));
            if spans[at + 1] == " is " {
                assert_eq!(
                    evaluated(&format!("({}) == ({})", spans[at], spans[at + 2])),
                    Ok(json!(true)),
                    "{}",
                    spans[at]
                );
                held += 1;
            }
        }
    }
    assert!(held > 50, "the page has lost its examples: {held}");
}
