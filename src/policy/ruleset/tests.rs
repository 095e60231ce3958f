//! Verdicts over several rules, limits, and the filter of paths.

use super::*;
use crate::config::{Step, StepKind};
use crate::policy::testing::{Request, policies, steps};

const LIMIT: &str =
    "{ id = \"limit\", type = \"rate_limit\", max_requests = 2, window_seconds = 60 }";

fn ruleset(rules: &str) -> Ruleset {
    Ruleset::build(&"s".into(), &policies(rules))
}

fn verdict(rules: &str, request: &Request) -> Result<(), Refused> {
    ruleset(rules).decide(&request.facts(), &Limiters::default())
}

#[test]
fn one_allows_and_none_denies() {
    let allow = "{ id = \"a\", type = \"ip_allow\", ip_addresses = [\"10.0.0.0/8\"] }";
    let deny = "{ id = \"d\", type = \"path\", mode = \"deny\", paths = [\"/admin\"], weight = 0 }";
    let get =
        "{ id = \"g\", type = \"method\", mode = \"allow\", methods = [\"GET\"], weight = 1000 }";
    let inside = |path| Request::get(path).from("10.0.0.1");
    let outside = |path| Request::get(path).from("192.0.2.1");
    let denied = Err(Refused::Denied);
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
        let (passes, why) = ruleset(&rules).explain(&request.facts());
        assert_eq!(passes, expected.is_ok(), "{rules}: {why}");
    }
}

#[test]
fn what_is_not_enabled_does_not_count() {
    let rules = "{ id = \"a\", type = \"allow_all\" }, { id = \"d\", type = \"deny_all\", enabled = false }";
    assert_eq!(verdict(rules, &Request::get("/")), Ok(()));
    let tables = "[middleware.s]\ntype = \"policies\"\noptions.policies = [\"open\", \"shut\"]\n\
        [policies.open]\nrules = [\"all\"]\n[policies.shut]\nenabled = false\nrules = [\"none\"]\n\
        [rules.all]\ntype = \"allow_all\"\n[rules.none]\ntype = \"deny_all\"\n";
    let decide = |tables: &str| {
        let steps = steps("[\"s\"]", tables);
        let StepKind::Policies(settings) = &steps[0].kind else {
            panic!()
        };
        Ruleset::build(&"s".into(), settings)
            .decide(&Request::get("/").facts(), &Limiters::default())
    };
    assert_eq!(decide(tables), Ok(()));
    let enabled = tables.replace("enabled = false", "enabled = true");
    assert_eq!(decide(&enabled), Err(Refused::Denied));
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
        rules.decide(&request.facts(), &limiters)
    };
    assert_eq!(ask(&first, 0), Ok(()));
    assert_eq!(ask(&first, 1), Ok(()));
    let refused = ask(&first, 500).unwrap_err();
    assert_eq!(refused, Refused::Limited { retry_after: 60 });
    assert_eq!((refused.status(), refused.as_str()), (429, "rate_limited"));
    assert_eq!(
        ask(&first, 59_999),
        Err(Refused::Limited { retry_after: 1 })
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
        assert_eq!(rules.decide(&post.facts(), &limiters), Err(Refused::Denied));
    }
    assert_eq!(rules.decide(&get.facts(), &limiters), Ok(()));
    assert_eq!(rules.decide(&get.facts(), &limiters), Ok(()));
    assert!(matches!(
        rules.decide(&get.facts(), &limiters),
        Err(Refused::Limited { .. })
    ));
    assert_eq!(rules.decide(&post.facts(), &limiters), Err(Refused::Denied));
}

#[test]
fn a_heavier_limit_comes_first_and_spares_the_others() {
    let narrow = "{ id = \"narrow\", type = \"rate_limit\", max_requests = 1, window_seconds = 1, weight = 200 }";
    let rules = ruleset(&format!("{LIMIT}, {{ type = \"allow_all\" }}, {narrow}"));
    let limiters = Limiters::default();
    let first = Request::get("/");
    let ask = |after| {
        let request = Request {
            now: first.now + Duration::from_secs(after),
            ..first.clone()
        };
        rules.decide(&request.facts(), &limiters)
    };
    assert_eq!(ask(0), Ok(()));
    for _ in 0..5 {
        assert_eq!(ask(0), Err(Refused::Limited { retry_after: 1 }));
    }
    assert_eq!(ask(1), Ok(()));
    assert_eq!(ask(2), Err(Refused::Limited { retry_after: 58 }));
}

#[test]
fn counts_survive_the_rules_that_they_are_counted_for() {
    let text = format!("{{ type = \"allow_all\" }}, {LIMIT}");
    let limiters = Limiters::default();
    let request = Request::get("/");
    for expected in [true, true, false] {
        let anew = ruleset(&text);
        assert_eq!(anew.decide(&request.facts(), &limiters).is_ok(), expected);
    }
    let wider = ruleset(&text.replace("= 2", "= 3"));
    assert!(wider.decide(&request.facts(), &limiters).is_ok());
    assert!(wider.decide(&request.facts(), &limiters).is_err());
}

/// A request that servers may take for one to another path, too.
fn read_as(path: &str, others: &[&str]) -> Request {
    Request {
        other_paths: others.iter().map(|&other| other.to_owned()).collect(),
        ..Request::get(path)
    }
}

#[test]
fn every_reading_has_to_pass_and_one_is_counted() {
    let rules = ruleset(&format!(
        "{{ id = \"a\", type = \"path\", mode = \"allow\", paths = [\"/a/{{*rest}}\", \"/b\"] }}, \
         {{ id = \"d\", type = \"path\", mode = \"deny\", paths = [\"/a/secret\"] }}, {LIMIT}"
    ));
    let limiters = Limiters::default();
    let ask = |request: &Request| {
        let verdict = rules.decide(&request.facts(), &limiters);
        if !matches!(verdict, Err(Refused::Limited { .. })) {
            assert_eq!(rules.explain(&request.facts()).0, verdict.is_ok());
        }
        verdict
    };
    for (path, others) in [
        ("/a/x", &["/a/secret"][..]),
        ("/a/x", &["/b", "/a/Secret"]),
        ("/a/secret", &["/b"]),
        ("/a/x", &["/c"]),
        ("/c", &["/a/x"]),
    ] {
        assert_eq!(
            ask(&read_as(path, others)),
            Err(Refused::Denied),
            "{path} {others:?}"
        );
    }
    assert_eq!(ask(&read_as("/a/x", &["/b", "/a/y"])), Ok(()));
    assert_eq!(ask(&read_as("/b", &["/a/y"])), Ok(()));
    assert!(matches!(
        ask(&read_as("/b", &[])),
        Err(Refused::Limited { .. })
    ));
}

#[test]
fn every_reading_has_to_pass_the_filter() {
    let filter = filter("\"/a/{x}\", { deny = \"/admin/{*rest}\" }, \"/{*rest}\"");
    for (request, passes) in [
        (read_as("/x", &["/y/z"]), true),
        (read_as("/x", &["/y", "/admin"]), false),
        (read_as("/x", &["/y", "/Admin/x"]), false),
        (read_as("/ADMIN/x", &[]), false),
        (read_as("/admin/x", &["/y"]), false),
        (read_as("/x", &["/"]), false),
    ] {
        assert_eq!(
            filter.decide(&request.facts()).is_ok(),
            passes,
            "{:?}",
            request.path
        );
        assert_eq!(
            filter.explain(&request.facts()).0,
            passes,
            "{:?}",
            request.path
        );
    }
}

fn filter(rules: &str) -> Filter {
    let table = format!("[middleware.f]\ntype = \"path_filter\"\noptions.rules = [{rules}]\n");
    match &steps("[\"f\"]", &table)[..] {
        [
            Step {
                kind: StepKind::PathFilter(settings),
                ..
            },
        ] => Filter::new(&"f".into(), settings),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_pattern_that_matches_decides() {
    let example = "{ allow = \"/api/{*path}\" }, { allow = \"/health\" }, { deny = \"/{*rest}\" }";
    let except = "{ deny = \"/api/keys/{*rest}\" }, \"/api/{*path}\"";
    for (rules, path, passes) in [
        (example, "/api/x", true),
        (example, "/health", true),
        (example, "/health/", true),
        (example, "/healthy", false),
        (example, "/", false),
        (example, "/other", false),
        (except, "/api/x", true),
        (except, "/api/keys/1", false),
        (except, "/api/keys", false),
        (except, "/api/keys/", false),
        (except, "/api/keysx", true),
        (
            "\"/api/keys\", { deny = \"/api/keys/{*rest}\" }",
            "/api/keys",
            true,
        ),
        ("\"/Patient\", \"/Patient/{id}\"", "/Patient/7", true),
        ("\"/Patient\", \"/Patient/{id}\"", "/Patient/7/x", false),
        ("{ deny = \"*\" }, \"/x\"", "/x", false),
        ("\"*\"", "/", true),
        ("\"/\"", "/", true),
        ("\"/\"", "/x", false),
    ] {
        let expected = if passes {
            Ok(())
        } else {
            Err(Refused::Filtered)
        };
        let request = Request::get(path);
        assert_eq!(
            filter(rules).decide(&request.facts()),
            expected,
            "{rules} {path}"
        );
        let (explained, why) = filter(rules).explain(&request.facts());
        assert_eq!(explained, passes, "{rules} {path}: {why}");
    }
}

#[test]
fn a_filter_sees_what_follows_the_prefix() {
    let filter = filter("\"/x\", \"/\"");
    for (prefix, path, passes) in [
        ("/api", "/api/x", true),
        ("/api", "/api", true),
        ("/api", "/api/", true),
        ("/api", "/api/api/x", false),
        ("/x", "/x", true),
        ("/y", "/y/y", false),
    ] {
        let request = Request {
            prefix: prefix.to_owned(),
            ..Request::get(path)
        };
        assert_eq!(
            filter.decide(&request.facts()).is_ok(),
            passes,
            "{prefix} {path}"
        );
    }
}
