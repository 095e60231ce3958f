//! Requests that servers read in more than one way: they are allowed less and denied more.

use super::*;

#[test]
fn a_denied_tree_has_no_gap() {
    for (mode, root) in [("allow", None), ("deny", DENY)] {
        says(
            &format!("{{ type = \"path\", mode = \"{mode}\", paths = [\"/admin/{{*path}}\"] }}"),
            [
                (Request::get("/admin"), root),
                (Request::get("/admin/"), root),
                (Request::get("/admin;v=1/users"), root),
                (Request::get("/;x/admin%3Bv=1/;/users"), root),
                (Request::get("/admin;v=1"), root),
                (Request::get("/admins;v=1/users"), None),
                (Request::get("/admi"), None),
                (Request::get("/"), None),
            ],
        );
    }
    says(
        "{ type = \"path\", mode = \"deny\", paths = [\"/{*rest}\"] }",
        [(Request::get("/"), DENY), (Request::get("/x"), DENY)],
    );
}

#[test]
fn a_path_is_denied_in_every_case_and_allowed_in_its_own() {
    let exact = |path| Request {
        case_sensitive_paths: true,
        ..Request::get(path)
    };
    let paths = "paths = [\"/admin/{*path}\", \"/Users/{Id}\", \"/health\", \"/%C3%A4\"]";
    for (path, as_written) in [
        ("/health", true),
        ("/Health", false),
        ("/HEALTH/", false),
        ("/admin/X", true),
        ("/Admin/x", false),
        ("/ADMIN/x;y/z", false),
        ("/Users/7", true),
        ("/users/7", false),
        ("/USERS/A", false),
        ("/%C3%A4", true),
    ] {
        let allowed = Some(Effect::Allow).filter(|_| as_written);
        says(
            &format!("{{ type = \"path\", mode = \"allow\", {paths} }}"),
            [(Request::get(path), allowed)],
        );
        says(
            &format!("{{ type = \"path\", mode = \"deny\", {paths} }}"),
            [
                (Request::get(path), DENY),
                (exact(path), DENY.filter(|_| as_written)),
            ],
        );
    }
    says(
        &format!("{{ type = \"path\", mode = \"deny\", {paths} }}"),
        [
            (Request::get("/ADMIN"), DENY),
            (Request::get("/Admin;x"), DENY),
            (exact("/ADMIN"), None),
            (Request::get("/USERS"), None),
            (Request::get("/Healthy"), None),
        ],
    );
}

#[test]
fn a_method_is_denied_in_every_case_and_allowed_in_its_own() {
    let with = |method: &str| Request {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        ..get()
    };
    says(
        "{ type = \"method\", mode = \"deny\", methods = [\"DELETE\", \"Purge\"] }",
        [
            (with("DELETE"), DENY),
            (with("delete"), DENY),
            (with("Delete"), DENY),
            (with("purge"), DENY),
            (with("DELETES"), None),
            (with("get"), None),
        ],
    );
    says(
        "{ type = \"method\", mode = \"allow\", methods = [\"GET\"] }",
        [(with("GET"), ALLOW), (with("get"), None)],
    );
}

#[test]
fn names_that_some_servers_take_for_the_one_that_is_meant() {
    let exact = || get().header("x-tenant", "acme");
    for (mode, alone, beside) in [("allow", None, None), ("deny", DENY, DENY)] {
        let rule = format!(
            "{{ type = \"header\", mode = \"{mode}\", headers = [{{ name = \"X-Tenant\", \
             match_type = \"exact\", value = \"acme\" }}] }}"
        );
        let both = if mode == "allow" { ALLOW } else { DENY };
        says(
            &rule,
            [
                (get().header("x_tenant", "acme"), alone),
                (get().header("x!tenant", "acme"), alone),
                (exact().header("x_tenant", "evil"), beside),
                (exact().header("x.tenant", "ACME"), both),
                (exact().header("x-tenants", "evil"), both),
                (exact().header("xatenant", "evil"), both),
                (get().header("xatenant", "acme"), None),
            ],
        );
        let rule = format!(
            "{{ type = \"query_parameter\", mode = \"{mode}\", parameters = [{{ name = \"v\", \
             match_type = \"exact\", value = \"1\" }}] }}"
        );
        says(
            &rule,
            [
                (get().query("V=1"), alone),
                (get().query("v=1&%56=2"), beside),
                (get().query("v=1&V=1"), both),
                (get().query("v=1&w=2"), both),
            ],
        );
        let rule =
            format!("{{ type = \"user_agent\", mode = \"{mode}\", patterns = [\"^good\"] }}");
        let agent = || get().header("user-agent", "good");
        says(
            &rule,
            [
                (get().header("user_agent", "good"), alone),
                (agent().header("user_agent", "evil"), beside),
                (agent(), both),
            ],
        );
    }
}

#[test]
fn what_comes_twice_allows_less_and_denies_more() {
    let twice = || get().header("x-tenant", "acme").header("x-tenant", "evil");
    for (mode, expected) in [("allow", None), ("deny", DENY)] {
        says(
            &format!(
                "{{ type = \"header\", mode = \"{mode}\", headers = [{{ name = \"x-tenant\", \
                 match_type = \"exact\", value = \"acme\" }}] }}"
            ),
            [(twice(), expected)],
        );
        says(
            &format!(
                "{{ type = \"query_parameter\", mode = \"{mode}\", parameters = [{{ name = \"v\", \
                 match_type = \"exact\", value = \"1\" }}] }}"
            ),
            [
                (get().query("v=1&v=2"), expected),
                (get().query("v=2&v=1"), expected),
            ],
        );
    }
}
