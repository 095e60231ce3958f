//! What is taken, what is refused and where, and what evaluating comes to.

use std::time::{Duration, Instant};

use super::*;

fn parsed(text: &str) -> Expression {
    Expression::parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}"))
}

fn refused(text: &str) -> String {
    match Expression::parse(text) {
        Ok(_) => panic!("taken: {text}"),
        Err(mistake) => mistake.to_string(),
    }
}

fn list(elements: impl IntoIterator<Item = Value>) -> Value {
    Value::List(Arc::new(elements.into_iter().collect()))
}

/// Over these claims, and what else a dry run has.
fn over(text: &str, claims: Value) -> Result<bool, EvaluationError> {
    parsed(text).is_true(|variable| match variable {
        Variable::Claims => claims.clone(),
        other => check::sample(other),
    })
}

#[test]
fn verdicts() {
    let claims = map_of([
        ("plan", "gold".into()),
        ("level", Value::Int(3)),
        ("groups", list(["dev".into(), "ops".into()])),
        ("realm", map_of([("roles", list(["admin".into()]))])),
    ]);
    for (text, expected) in [
        ("claims.plan == 'gold' && request.method == 'GET'", Ok(true)),
        ("claims.plan == 'free'", Ok(false)),
        ("claims['plan'] in ['gold', 'silver']", Ok(true)),
        ("'ops' in claims.groups", Ok(true)),
        (
            "claims.groups.exists(group, group.startsWith('op'))",
            Ok(true),
        ),
        (
            "claims.groups.all(g, g.size() == 3) && claims.level > 2",
            Ok(true),
        ),
        (
            "claims.groups.filter(g, g != 'dev').map(g, g + '!') == ['ops!']",
            Ok(true),
        ),
        ("'admin' in claims.realm.roles", Ok(true)),
        ("has(claims.plan) && !has(claims.other)", Ok(true)),
        ("has(claims.other) && claims.other == 'x'", Ok(false)),
        (
            "'read' in identity.scopes && identity.key_id == 'key'",
            Ok(true),
        ),
        (
            "certificate.sans.exists(san, san == 'DNS:client.example')",
            Ok(true),
        ),
        ("claims.level == 3.0 && claims.level == 3u", Ok(true)),
        ("claims.other == 'x'", Err(EvaluationError::Missing)),
        (
            "request.headers['x-a'] == 'b'",
            Err(EvaluationError::Missing),
        ),
        ("claims.plan > 1", Err(EvaluationError::WrongType)),
        ("claims.plan.size() > 'x'", Err(EvaluationError::WrongType)),
        (
            "claims.level / (claims.level - 3) == 1",
            Err(EvaluationError::Failed),
        ),
        ("claims.groups[7] == 'dev'", Err(EvaluationError::Failed)),
        (
            "claims.level + 9223372036854775807 > 0",
            Err(EvaluationError::Failed),
        ),
        ("claims.plan", Err(EvaluationError::NotBoolean)),
        ("claims.groups", Err(EvaluationError::NotBoolean)),
    ] {
        assert_eq!(over(text, claims.clone()), expected, "{text}");
    }
}

#[test]
fn mistakes_have_a_place() {
    for (text, want) in [
        (
            "claims.plan = 'gold'",
            "column 13: unexpected `=`: write == to compare",
        ),
        ("claims.plan == 'gold' &&", "column 25: ends too early"),
        ("", "is empty"),
        ("  \n", "is empty"),
        (
            "a\n && = b",
            "line 2, column 5: unexpected `=`: write == to compare",
        ),
        (
            "claims.a and claims.b",
            "column 10: unexpected `and`: write &&",
        ),
        ("claims.a OR true", "column 10: unexpected `OR`: write ||"),
        (
            "not claims.a",
            "column 5: unexpected `claims`: write ! for not",
        ),
        (
            "claims.a not in ['x']",
            "column 10: unexpected `not`: write !(a in b)",
        ),
        (
            "“x” == claims.a",
            "column 1: unexpected `“`: write straight quotes",
        ),
        ("claims.a == 'x", "column 13: a string has no closing quote"),
        ("(claims.a", "column 10: `)` is missing"),
        ("claims.a b", "column 10: unexpected `b`"),
        ("claims.a ~ b", "column 10: unexpected `~`"),
        ("true ? false", "column 1: is incomplete"),
        ("if claims.a", "column 1: `if` is a reserved word"),
        ("has(claims)", "column 5: has() takes a member"),
        (
            "claims.a == 'ä' && foo(1)",
            "column 20: there is no function \"foo\"",
        ),
        (
            "claims.a.matches('x')",
            "column 10: there is no function \"matches\"",
        ),
        (
            "claims.a == plan",
            "column 13: there is no variable \"plan\"; there are claims,",
        ),
        (
            "request.metod == 'GET'",
            "column 8: request has no \"metod\"; it has method, path,",
        ),
        ("identity['name'] == 'x'", "identity has no \"name\""),
        ("has(request.body)", "request has no \"body\""),
        (
            "request.headers['X-A'] == 'x'",
            "names of header fields are in lower case: write \"x-a\"",
        ),
        (
            "claims.a.exists(x, claims.b.exists(y, x == y))",
            "column 35: a comprehension within another",
        ),
        (
            "claims.a.all(x, x.map(y, y) == [])",
            "a comprehension within another",
        ),
        ("optional.of(1) == 1", "there is no"),
        ("claims.?a == 1", "column 7: "),
        ("claims == Thing{a: 1}", "there are no messages"),
        ("1 + 1", "its result is not a boolean"),
        ("request.path", "its result is not a boolean"),
        ("request.path > 1", "column 14: an operator or a function"),
        (
            "request.path == '/' && size(request.path) > 'a'",
            "column 43: an operator or a function does not take a value",
        ),
        (
            "request.method == 'GET' && int(request.path) == 1",
            "column 28: ",
        ),
        ("1 / 0 == 1", "column 3: it fails"),
    ] {
        let found = refused(text);
        assert!(found.contains(want), "{text}: {found}");
    }
}

#[test]
fn chains_of_comprehensions_are_not_nested() {
    parsed("[].all(x, x == claims.a)");
    parsed("claims.a.filter(x, x != 'y').exists(x, x == 'z') && claims.b.all(x, x == 1)");
}

/// Each of these recurses deep in the parser or the interpreter, or runs long.
#[test]
fn what_could_recurse_or_run_long_is_refused_at_once() {
    let repeated = |part: &str, times: usize| part.repeat(times);
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    for text in [
        repeated("(", MAX_BYTES),
        nested("(", "1", ")", 511),
        nested("[", "", "]", 512),
        nested("{1:", "1", "}", 255),
        nested("!(", "true", ")", 300),
        nested("size(", "1", ")", 170),
        format!("{}1 == 1", repeated("1+", 500)),
        format!("claims{} == 1", repeated(".a", 500)),
        format!("claims{} == 1", repeated("[0]", 330)),
        format!("{}true", repeated("true?true:", 100)),
        format!("claims.a{}", repeated(".size()", 140)),
        format!("claims.a{} == []", repeated(".filter(x,true)", 60)),
        format!("{}claims.a == ''", repeated("claims.a+", 100)),
        format!("claims.a.map(x, {}x) == []", repeated("claims.a+", 20)),
        format!(
            "claims.a.all(x, {}true)",
            repeated("claims.a==claims.a&&", 48)
        ),
        repeated("]})?:&&||,.=<>!", 68),
        repeated("a?!-(a[{a:", 100),
        "x".repeat(MAX_BYTES + 1),
    ] {
        let start = Instant::now();
        let found = Expression::parse(&text);
        assert!(found.is_err(), "{text}");
        assert!(start.elapsed() < Duration::from_secs(5), "{text}");
    }
    // Not deep, whatever it looks like.
    parsed(&format!("{}true", repeated("!", 900)));
    parsed(&format!("{}true", repeated("true && ", 100)));
}

#[test]
fn nothing_that_is_evaluated_runs_long() {
    let texts = |count: usize, bytes: usize| {
        list((0..count).map(|number| format!("{number:0bytes$}").into()))
    };
    for text in [
        "claims.a.exists(x, x in claims.a)",
        "claims.a.map(x, x) == claims.a",
        "claims.a.filter(x, true) == claims.a",
        "claims.a.exists(x, claims.a == [x])",
        "claims.a.all(x, claims.a + [x] != [])",
        "claims.a == claims.a && claims.a == claims.a",
    ] {
        let expression = parsed(text);
        for (count, bytes) in [
            (10, 10),
            (200, 36),
            (1000, 6),
            (3000, 1),
            (30_000, 1),
            (10, 60_000),
        ] {
            let claims = map_of([("a", texts(count, bytes))]);
            let start = Instant::now();
            let verdict = expression.is_true(|_| claims.clone());
            let took = start.elapsed();
            assert!(
                took < Duration::from_secs(1),
                "{text}: {count} of {bytes}: {took:?}"
            );
            match verdict {
                Ok(_) => {}
                Err(error) => assert_eq!(error, EvaluationError::TooMuch, "{text}"),
            }
            if count <= 10 && bytes <= 10 {
                assert!(verdict.is_ok(), "{text}");
            }
        }
    }
    let usual = map_of([("a", texts(200, 36))]);
    for text in [
        "claims.a.exists(x, x == 'q')",
        "'q' in claims.a",
        "claims.a.all(x, x.size() > 1)",
    ] {
        assert!(parsed(text).is_true(|_| usual.clone()).is_ok(), "{text}");
    }
}

#[test]
fn what_is_nested_too_deep_is_not_evaluated() {
    let mut value = Value::Int(1);
    for _ in 0..100 {
        value = list([value]);
    }
    let claims = map_of([("a", value)]);
    assert_eq!(
        over("claims.a == claims.a", claims),
        Err(EvaluationError::TooMuch)
    );
}

/// A worker's stack in its size, and the deepest expressions that are taken.
#[test]
fn the_deepest_expression_fits_on_a_workers_stack() {
    let nested = |open: &str, inner: &str, close: &str| {
        let deepest = (1..64).rev().find_map(|times| {
            let text = format!("{}{inner}{}", open.repeat(times), close.repeat(times));
            Expression::parse(&text).ok()
        });
        deepest.unwrap_or_else(|| panic!("{open}{close}"))
    };
    let expressions = vec![
        nested("1+", "1 == 1", ""),
        nested("[", "", "] != []"),
        nested("(false ? false : ", "true", ")"),
        nested("!(", "true", ")"),
        nested("string(", "'a'", ") == 'a'"),
        nested("claims.a.exists(x, !(x == x || ", "x", "))"),
        nested("{1: ", "1", "} != {}"),
    ];
    let thread = thread::Builder::new().stack_size(1024 * 1024);
    let evaluated = thread.spawn(move || {
        for expression in &expressions {
            let _ = expression.is_true(|_| map_of([("a", list([Value::Bool(true)]))]));
        }
    });
    evaluated.unwrap().join().unwrap();
}

#[test]
fn what_it_looks_at() {
    let expression = parsed(
        "claims.a.b == 'x' || claims['a']['b'] == 'y' || request.headers['x-y'] == claims.c[0]",
    );
    let paths: Vec<String> = expression
        .paths()
        .iter()
        .map(|(variable, path)| format!("{} {}", variable.name(), path.join(" ")))
        .collect();
    assert_eq!(paths, ["claims a b", "request headers x-y", "claims c"]);
    assert!(expression.reads(Variable::Request) && !expression.reads(Variable::Identity));
    assert!(expression.reads_claims());
    for (text, reads_headers) in [
        ("request.method == 'GET' && request.path == '/'", false),
        ("request.path == claims.headers", false),
        ("request.headers['x'] == 'y'", true),
        ("request['headers']['x'] == 'y'", true),
        ("request.headers.exists(name, name == 'x')", true),
        ("has(request.headers.x)", true),
        ("has(request.headers)", true),
        ("'headers' in request", true),
        ("size(request) == 5", true),
        ("request.exists(name, name == 'headers')", true),
        ("request[claims.name] == 'y'", true),
    ] {
        let expression = parsed(text);
        assert_eq!(
            expression.reads_member(Variable::Request, "headers"),
            reads_headers,
            "{text}"
        );
    }
    let shadowed = parsed("[1].exists(claims, claims == 1)");
    assert!(!shadowed.reads_claims());
    assert!(!parsed("request.method == 'GET'").reads_claims());
}
