//! Which pattern decides, and over which part of the path.

use super::*;
use crate::config::{Step, StepKind};
use crate::policy::Denial;
use crate::policy::testing::{Request, read_as, steps};

fn filter(rules: &str) -> PathFilter {
    let table = format!("[middleware.f]\ntype = \"path_filter\"\noptions.rules = [{rules}]\n");
    match &steps("[\"f\"]", &table)[..] {
        [
            Step {
                kind: StepKind::PathFilter(settings),
                enforce: true,
                ..
            },
        ] => PathFilter::new(&"f".into(), settings),
        other => panic!("{other:?}"),
    }
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
    }
    for (request, why) in [
        (
            read_as("/x", &["/y", "/admin"]),
            "pattern \"/admin/{*rest}\" denies the path read as /admin",
        ),
        (
            read_as("/admin/x", &["/y"]),
            "pattern \"/admin/{*rest}\" denies",
        ),
        (
            read_as("/x", &["/"]),
            "no pattern matches the path read as /",
        ),
    ] {
        assert_eq!(
            filter.decide(&request.facts()).unwrap_err().to_string(),
            why
        );
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
            Err(Denial::ByPathFilter)
        };
        let filter = filter(rules);
        let request = Request::get(path);
        let decided = filter.decide(&request.facts()).map(|_| ());
        assert_eq!(decided.map_err(Denial::from), expected, "{rules} {path}");
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
