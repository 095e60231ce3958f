//! Who reads the claims of tokens, and from where on an identity keeps them.

use super::*;

const KEY: &str = "[middleware.key]\ntype = \"api-key\"\n\
                   keys = [\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"]\n";
const RULE: &str = "type = \"claims\", mode = \"allow\", claims = { role = \"admin\" }";

/// A pipeline of these steps, of which `s` has this rule.
fn with(middleware: &str, rule: &str) -> String {
    let pipeline = PIPELINE.replace("middleware = []", &format!("middleware = {middleware}"));
    let step = format!("[middleware.s]\ntype = \"policies\"\nrules = [{{ {rule} }}]\n");
    format!("{BASE}{pipeline}{JWT}{KEY}{step}")
}

fn keeps(text: &str) -> Vec<bool> {
    let config = ok(text);
    let steps = config.pipelines[0].steps.iter();
    let settings = steps.filter_map(|step| match &step.kind.auth()?.settings {
        AuthSettings::Jwt(settings) => Some(settings.rules.keeps_claims),
        _ => None,
    });
    settings.collect()
}

#[test]
fn claims_are_kept_where_a_rule_reads_them() {
    for (rule, kept) in [
        (RULE, true),
        ("type = \"allow_all\"", false),
        (&format!("{RULE}, enforce = false"), true),
        (&format!("{RULE}, enabled = false"), false),
    ] {
        assert_eq!(keeps(&with("[\"jwt\", \"s\"]", rule)), [kept], "{rule}");
    }
}

#[test]
fn what_the_rule_compares() {
    let rule = "type = \"claims\", mode = \"deny\", \
                claims = { role = [\"a\", 1, true], \"realm_access.roles\" = \"ops\" }";
    let config = ok(&with("[\"jwt\", \"s\"]", rule));
    let StepKind::Policies(settings) = &config.pipelines[0].steps[1].kind else {
        panic!("{config:?}");
    };
    let wanted = |path: &str, values: &[serde_json::Value]| ClaimMatch {
        path: path.to_owned(),
        values: values.to_vec(),
    };
    let claims = vec![
        wanted("role", &["a".into(), 1.into(), true.into()]),
        wanted("realm_access.roles", &["ops".into()]),
    ];
    let effect = Effect::Deny;
    let check = &settings.policies[0].rules[0].check;
    assert_eq!(*check, Check::Claims { effect, claims });
}

#[test]
fn rules_that_are_refused() {
    for (rule, want) in [
        (
            "mode = \"allow\"",
            "middleware.s.rules[0].claims: is missing",
        ),
        (
            "claims = { a = 1 }",
            "middleware.s.rules[0].mode: is missing",
        ),
        ("mode = \"deny\", claims = {}", "claims: is empty"),
        ("mode = \"deny\", claims = { a = [] }", "claims.a: is empty"),
        ("mode = \"deny\", claims = { \"\" = 1 }", "names no claim"),
        (
            "mode = \"deny\", claims = { a = { b = 1 } }",
            "claims.a: expected a string",
        ),
        (
            "mode = \"deny\", claims = [\"a\"]",
            "claims: expected a table",
        ),
    ] {
        let rule = format!("type = \"claims\", {rule}");
        one_error(&with("[\"jwt\", \"s\"]", &rule), want);
    }
}

#[test]
fn a_limit_by_the_identity_needs_one() {
    let limit = "type = \"rate_limit\", max_requests = 1, window_seconds = 1";
    let want = "rule \"rules[0]\" of step \"s\" counts by the identity, and no step";
    for (middleware, by, warned) in [
        ("[\"s\"]", "by = \"subject\"", true),
        ("[\"s\"]", "by = [\"route\", \"key\"]", true),
        ("[\"s\"]", "limits = { \"claim:a\" = { b = 2 } }", true),
        ("[\"s\"]", "by = [\"client\", \"route\"]", false),
        ("[\"jwt\", \"s\"]", "by = \"subject\"", false),
    ] {
        let config = ok(&with(middleware, &format!("{limit}, {by}")));
        let warnings = warnings(&config);
        let found = warnings.iter().any(|note| note.contains(want));
        assert_eq!(found, warned, "{middleware} {by}: {warnings:?}");
    }
}

#[test]
fn a_rule_that_reads_claims_stands_after_the_authentication() {
    let want = "rule \"rules[0]\" of step \"s\" looks at claims, and no step before it";
    one_error(&with("[\"s\", \"jwt\"]", RULE), want);
    one_error(&with("[\"s\"]", RULE), want);
    let in_shadow = JWT.replace("type", "enforce = false\ntype");
    one_error(
        &with("[\"jwt\", \"s\"]", RULE).replace(JWT, &in_shadow),
        want,
    );
    let known = ["[\"jwt\", \"s\"]", "[\"jwt\", \"key\", \"s\"]"];
    for middleware in known {
        let config = ok(&with(middleware, RULE));
        assert!(
            !warnings(&config)
                .iter()
                .any(|note| note.contains("looks at"))
        );
    }
    for middleware in ["[\"key\", \"s\"]", "[\"key\", \"jwt\", \"s\"]"] {
        let config = ok(&with(middleware, RULE));
        let warnings = warnings(&config);
        let found = warnings.iter().any(|note| note.contains("takes no tokens"));
        assert!(found, "{middleware}: {warnings:?}");
    }
}
