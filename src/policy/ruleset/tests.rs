//! Verdicts over several rules, and limits.

use std::time::Duration;

use super::*;
use crate::config::StepKind;
use crate::policy::testing::{Request, policies, read_as, steps};
use crate::policy::{Denial, Limiters, RateLimits};

const LIMIT: &str =
    "{ id = \"limit\", type = \"rate_limit\", max_requests = 2, window_seconds = 60 }";

fn ruleset(rules: &str) -> Ruleset {
    Ruleset::build(&"s".into(), &policies(rules))
}

/// As a pipeline of this step alone has it: what passes the rules is counted under the limits.
fn judge(rules: &Ruleset, request: &Request, limiters: &Limiters) -> Result<(), Denial> {
    rules.decide(&request.facts(), |_| {})?;
    let mut limits = RateLimits::default();
    limits.add(rules.rate_limits(), false, std::iter::empty());
    limits.take(limiters, &request.requester(), request.now).1
}

fn verdict(rules: &str, request: &Request) -> Result<(), Denial> {
    judge(&ruleset(rules), request, &Limiters::default())
}

/// What is said of a request.
fn told(rules: &Ruleset, request: &Request) -> String {
    match rules.decide(&request.facts(), |_| {}) {
        Ok(rule) => format!("rule {rule:?} allows"),
        Err(denied) => denied.to_string(),
    }
}

#[test]
fn one_allows_and_none_denies() {
    let allow = "{ id = \"a\", type = \"ip_allow\", ip_addresses = [\"10.0.0.0/8\"] }";
    let deny = "{ id = \"d\", type = \"path\", mode = \"deny\", paths = [\"/admin\"], weight = 0 }";
    let get =
        "{ id = \"g\", type = \"method\", mode = \"allow\", methods = [\"GET\"], weight = 1000 }";
    let inside = |path| Request::get(path).from("10.0.0.1");
    let outside = |path| Request::get(path).from("192.0.2.1");
    let denied = Err(Denial::ByPolicy);
    for (rules, request, expected) in [
        (format!("{allow}, {deny}"), inside("/"), Ok(())),
        (format!("{allow}, {deny}"), inside("/admin"), denied),
        (format!("{deny}, {allow}"), inside("/admin"), denied),
        (format!("{allow}, {deny}"), outside("/"), denied),
        (format!("{allow}, {deny}"), outside("/admin"), denied),
        (format!("{allow}, {get}"), outside("/"), Ok(())),
        (format!("{get}, {deny}, {allow}"), outside("/admin"), denied),
        (deny.to_owned(), inside("/"), denied),
        (LIMIT.to_owned(), inside("/"), denied),
    ] {
        assert_eq!(verdict(&rules, &request), expected, "{rules}");
    }
}

#[test]
fn every_rule_that_is_looked_at_is_told_of() {
    let rules = ruleset(
        "{ id = \"get\", type = \"method\", mode = \"allow\", methods = [\"GET\"] }, \
         { id = \"all\", type = \"allow_all\" }, \
         { id = \"no\", type = \"path\", mode = \"deny\", paths = [\"/no/{*rest}\"] }, \
         { id = \"last\", type = \"deny_all\", enabled = false }",
    );
    let (allow, deny) = (Some(Effect::Allow), Some(Effect::Deny));
    for (request, why, looked_at) in [
        (
            read_as("/x", &["/y"]),
            "rule \"get\" allows",
            vec![
                ("get", "/x", allow),
                ("all", "/x", allow),
                ("no", "/x", None),
                ("get", "/y", allow),
                ("all", "/y", allow),
                ("no", "/y", None),
            ],
        ),
        (
            read_as("/x", &["/no/y"]),
            "rule \"no\" denies the path read as /no/y",
            vec![
                ("get", "/x", allow),
                ("all", "/x", allow),
                ("no", "/x", None),
                ("get", "/no/y", allow),
                ("all", "/no/y", allow),
                ("no", "/no/y", deny),
            ],
        ),
    ] {
        let mut findings = Vec::new();
        let _ = rules.decide(&request.facts(), |finding| {
            let Finding {
                rule,
                facts,
                effect,
            } = finding;
            findings.push((rule.name.to_string(), facts.path.to_owned(), effect));
        });
        let looked_at = looked_at.into_iter();
        let looked_at: Vec<_> = looked_at
            .map(|(rule, path, effect)| (rule.to_owned(), path.to_owned(), effect))
            .collect();
        assert_eq!(findings, looked_at);
        assert_eq!(told(&rules, &request), why);
    }
    assert_eq!(told(&ruleset(LIMIT), &Request::get("/")), "no rule allows");
}

#[test]
fn what_is_not_enabled_does_not_count() {
    let rules = "{ id = \"a\", type = \"allow_all\" }, { id = \"d\", type = \"deny_all\", enabled \
                 = false }";
    assert_eq!(verdict(rules, &Request::get("/")), Ok(()));
    let tables = "[middleware.s]\ntype = \"policies\"\noptions.policies = [\"open\", \"shut\"]\n\
        [policies.open]\nrules = [\"all\"]\n[policies.shut]\nenabled = false\nrules = [\"none\"]\n\
        [rules.all]\ntype = \"allow_all\"\n[rules.none]\ntype = \"deny_all\"\n";
    let decide = |tables: &str| {
        let steps = steps("[\"s\"]", tables);
        let StepKind::Policies(settings) = &steps[0].kind else {
            panic!()
        };
        let rules = Ruleset::build(&"s".into(), settings);
        judge(&rules, &Request::get("/"), &Limiters::default())
    };
    assert_eq!(decide(tables), Ok(()));
    let enabled = tables.replace("enabled = false", "enabled = true");
    assert_eq!(decide(&enabled), Err(Denial::ByPolicy));
}

#[test]
fn over_its_count_a_client_waits() {
    let rules = ruleset(&format!("{{ type = \"allow_all\" }}, {LIMIT}"));
    let limiters = Limiters::default();
    let first = Request::get("/");
    let ask = |request: &Request, after_ms| {
        let request = Request {
            now: first.now + Duration::from_millis(after_ms),
            ..request.clone()
        };
        judge(&rules, &request, &limiters)
    };
    assert_eq!(ask(&first, 0), Ok(()));
    assert_eq!(ask(&first, 1), Ok(()));
    let refused = ask(&first, 500).unwrap_err();
    assert_eq!(refused, Denial::RateLimited { retry_after: 60 });
    assert_eq!((refused.status(), refused.as_str()), (429, "rate_limited"));
    assert_eq!(
        ask(&first, 59_999),
        Err(Denial::RateLimited { retry_after: 1 })
    );
    assert_eq!(ask(&first.clone().from("192.0.2.2"), 500), Ok(()));
    assert_eq!(ask(&first, 60_000), Ok(()));
}

#[test]
fn what_is_denied_anyway_takes_no_room_under_a_limit() {
    let rules = ruleset(&format!(
        "{{ id = \"a\", type = \"method\", mode = \"allow\", methods = [\"GET\"] }}, {LIMIT}"
    ));
    let limiters = Limiters::default();
    let get = Request::get("/");
    let post = Request {
        method: http::Method::POST,
        ..get.clone()
    };
    for _ in 0..5 {
        assert_eq!(judge(&rules, &post, &limiters), Err(Denial::ByPolicy));
    }
    assert_eq!(judge(&rules, &get, &limiters), Ok(()));
    assert_eq!(judge(&rules, &get, &limiters), Ok(()));
    assert!(matches!(
        judge(&rules, &get, &limiters),
        Err(Denial::RateLimited { .. })
    ));
    assert_eq!(judge(&rules, &post, &limiters), Err(Denial::ByPolicy));
}

#[test]
fn a_heavier_limit_comes_first_and_spares_the_others() {
    let narrow = "{ id = \"narrow\", type = \"rate_limit\", max_requests = 1, window_seconds = 1, \
                  weight = 200 }";
    let rules = ruleset(&format!("{LIMIT}, {{ type = \"allow_all\" }}, {narrow}"));
    let limiters = Limiters::default();
    let first = Request::get("/");
    let ask = |after| {
        let request = Request {
            now: first.now + Duration::from_secs(after),
            ..first.clone()
        };
        judge(&rules, &request, &limiters)
    };
    assert_eq!(ask(0), Ok(()));
    for _ in 0..5 {
        assert_eq!(ask(0), Err(Denial::RateLimited { retry_after: 1 }));
    }
    assert_eq!(ask(1), Ok(()));
    assert_eq!(ask(2), Err(Denial::RateLimited { retry_after: 58 }));
}

#[test]
fn counts_survive_the_rules_that_they_are_counted_for() {
    let text = format!("{{ type = \"allow_all\" }}, {LIMIT}");
    let limiters = Limiters::default();
    let request = Request::get("/");
    for expected in [true, true, false] {
        let anew = ruleset(&text);
        assert_eq!(judge(&anew, &request, &limiters).is_ok(), expected);
    }
    let wider = ruleset(&text.replace("= 2", "= 3"));
    assert!(judge(&wider, &request, &limiters).is_ok());
    assert!(judge(&wider, &request, &limiters).is_err());
}

#[test]
fn every_reading_has_to_pass_and_one_is_counted() {
    let rules = ruleset(&format!(
        "{{ id = \"a\", type = \"path\", mode = \"allow\", paths = [\"/a/{{*rest}}\", \"/b\"] }}, \
         {{ id = \"d\", type = \"path\", mode = \"deny\", paths = [\"/a/secret\"] }}, {LIMIT}"
    ));
    let limiters = Limiters::default();
    let ask = |request: &Request| judge(&rules, request, &limiters);
    for (path, others) in [
        ("/a/x", &["/a/secret"][..]),
        ("/a/x", &["/b", "/a/Secret"]),
        ("/a/secret", &["/b"]),
        ("/a/x", &["/c"]),
        ("/c", &["/a/x"]),
    ] {
        assert_eq!(
            ask(&read_as(path, others)),
            Err(Denial::ByPolicy),
            "{path} {others:?}"
        );
    }
    assert_eq!(ask(&read_as("/a/x", &["/b", "/a/y"])), Ok(()));
    assert_eq!(ask(&read_as("/b", &["/a/y"])), Ok(()));
    assert!(matches!(
        ask(&read_as("/b", &[])),
        Err(Denial::RateLimited { .. })
    ));
}
