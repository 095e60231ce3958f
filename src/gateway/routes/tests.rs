//! Which route a request belongs to, and which ones it could be taken to belong to.

use super::*;

fn table(routes: &[(&[&str], &str, &[Method], u32)]) -> RouteTable<u32> {
    let mut table = RouteTable::default();
    for (hosts, prefix, methods, route) in routes {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        table.insert(
            &RouteSpec {
                hosts: &hosts,
                prefix,
                methods,
                ..RouteSpec::default()
            },
            *route,
        );
    }
    table
}

fn route(table: &RouteTable<u32>, host: &str, path: &str) -> Option<u32> {
    table
        .find(host, path, &Method::GET)
        .map(|found| *found.route)
}

#[test]
fn the_longest_prefix_of_whole_segments_wins() {
    let table = table(&[
        (&[], "/", &[], 0),
        (&[], "/api", &[], 1),
        (&[], "/api/v1/users", &[], 2),
    ]);
    for (path, expected) in [
        ("/", 0),
        ("/apix", 0),
        ("/ap", 0),
        ("/api", 1),
        ("/api/", 1),
        ("/api/v1", 1),
        ("/api/v1/usersx", 1),
        ("/api/v1/users", 2),
        ("/api/v1/users/7/a/b/c", 2),
    ] {
        assert_eq!(route(&table, "h", path), Some(expected), "{path}");
    }
}

#[test]
fn a_named_host_beats_none_and_falls_back() {
    let table = table(&[
        (&[], "/api", &[], 0),
        (&["a.example", "b.example"], "/", &[], 1),
        (&["c.example"], "/only", &[], 2),
    ]);
    assert_eq!(route(&table, "a.example", "/api"), Some(1));
    assert_eq!(route(&table, "b.example", "/x"), Some(1));
    assert_eq!(route(&table, "c.example", "/only/x"), Some(2));
    assert_eq!(route(&table, "c.example", "/api"), Some(0));
    assert_eq!(route(&table, "d.example", "/x"), None);
}

#[test]
fn the_method_decides_last() {
    let table = table(&[
        (&[], "/x", &[Method::GET, Method::HEAD], 1),
        (&[], "/x", &[Method::POST], 2),
        (&[], "/", &[], 0),
    ]);
    let post = table.find("h", "/x/y", &Method::POST).unwrap();
    assert_eq!((post.route, post.allowed), (&2, None));
    let delete = table.find("h", "/x/y", &Method::DELETE).unwrap();
    assert_eq!(delete.route, &1);
    assert_eq!(
        delete.allowed.unwrap(),
        [&Method::GET, &Method::HEAD, &Method::POST]
    );
}

#[test]
fn a_wildcard_takes_what_is_below_its_name() {
    let table = table(&[
        (&["a.example.com"], "/only", &[], 1),
        (&["*.example.com"], "/", &[], 2),
        (&["*.deep.example.com"], "/", &[], 3),
        (&[], "/", &[], 4),
    ]);
    for (host, expected) in [
        ("b.example.com", 2),
        ("x.b.example.com", 2),
        ("deep.example.com", 2),
        ("x.deep.example.com", 3),
        ("y.x.deep.example.com", 3),
        ("a.example.com", 2),
        ("x.a.example.com", 2),
        ("example.com", 4),
        ("aexample.com", 4),
        ("com", 4),
        ("", 4),
        ("a.example.com.evil.example", 4),
        // Labels without a character are none.
        (".example.com", 4),
        ("..example.com", 4),
        ("a..example.com", 4),
        ("a.example.com.", 4),
        (".a.example.com", 4),
    ] {
        assert_eq!(route(&table, host, "/x"), Some(expected), "{host}");
    }
    assert_eq!(route(&table, "a.example.com", "/only/x"), Some(1));
    assert_eq!(route(&table, &"a.".repeat(120), "/x"), Some(4));
}

#[test]
fn case_is_folded_across_wildcards_too() {
    let table = table(&[
        (&["a.example.com"], "/Exact", &[], 1),
        (&["*.example.com"], "/Below", &[], 2),
        (&["*.other.com"], "/Elsewhere", &[], 3),
        (&[], "/", &[], 4),
    ]);
    for (host, path, route, confusable) in [
        ("a.example.com", "/exact", 4, Some(1)),
        ("a.example.com", "/below", 4, Some(2)),
        ("b.example.com", "/below/x", 4, Some(2)),
        ("b.example.com", "/exact", 4, None),
        ("b.example.com", "/Below/x", 2, None),
        ("b.example.com", "/elsewhere", 4, None),
        ("c.com", "/below", 4, None),
    ] {
        reads(&table, host, path, (route, confusable));
    }
}

#[test]
fn an_empty_table_finds_nothing() {
    assert_eq!(route(&RouteTable::default(), "h", "/"), None);
}

/// Routes of any host and method, in this order: 0, 1 and so on; those after `!` tell case apart.
fn prefixes(prefixes: &[&str]) -> RouteTable<u32> {
    let mut table = RouteTable::default();
    for (prefix, route) in prefixes.iter().zip(0..) {
        let (prefix, case_sensitive) = match prefix.strip_prefix('!') {
            Some(prefix) => (prefix, true),
            None => (*prefix, false),
        };
        table.insert(
            &RouteSpec {
                prefix,
                case_sensitive,
                ..RouteSpec::default()
            },
            route,
        );
    }
    table
}

#[track_caller]
fn reads(table: &RouteTable<u32>, host: &str, path: &str, expected: (u32, Option<u32>)) {
    let found = table.find(host, path, &Method::GET).unwrap();
    assert_eq!(
        (*found.route, found.confusable.copied()),
        expected,
        "{host} {path}"
    );
}

#[test]
fn a_path_is_told_apart_from_another_route_that_differs_in_case_only() {
    let table = prefixes(&[
        "/",
        "/admin",
        "/admin/Keys",
        "/Patient/x",
        "/API",
        "/api",
        "/%C3%A4",
    ]);
    for (path, expected) in [
        ("/", (0, None)),
        ("/x/ADMIN", (0, None)),
        ("/ADMINS", (0, None)),
        ("/admin", (1, None)),
        ("/admin/X", (1, None)),
        ("/admin/Keys/x", (2, None)),
        ("/ADMIN", (0, Some(1))),
        ("/Admin/", (0, Some(1))),
        ("/aDmin/x/Y", (0, Some(1))),
        ("/admin/keys", (1, Some(2))),
        ("/ADMIN/KEYS/1", (0, Some(2))),
        ("/patient/x", (0, Some(3))),
        ("/patient/y", (0, None)),
        ("/Patient", (0, None)),
        ("/API/x", (4, None)),
        ("/api/x", (5, None)),
        ("/Api/x", (0, Some(4))),
        ("/%C3%A4/X", (6, None)),
        ("/%C3%84", (0, None)),
    ] {
        reads(&table, "h", path, expected);
    }
}

#[test]
fn case_counts_where_the_route_that_is_reached_says_so() {
    let table = prefixes(&[
        "!/",
        "/admin",
        "!/shop",
        "!/admin/Open",
        "!/shop/Till",
        "/shop/cash",
    ]);
    for (path, expected) in [
        ("/ADMIN", (0, Some(1))),
        ("/SHOP/x", (0, None)),
        ("/shop/TILL", (2, None)),
        ("/shop/CASH", (2, Some(5))),
        ("/SHOP/CASH", (0, Some(5))),
        // Beside the case-sensitive prefix, the one above it is still reached.
        ("/ADMIN/Open", (0, Some(1))),
        ("/admin/open", (1, None)),
    ] {
        reads(&table, "h", path, expected);
    }
}

#[test]
fn case_is_folded_across_hosts_too() {
    let table = table(&[
        (&[], "/", &[], 0),
        (&[], "/API/v1", &[], 1),
        (&["a.example"], "/api", &[], 2),
        (&["b.example"], "/", &[], 3),
        (&[], "/x", &[], 4),
    ]);
    for (host, path, expected) in [
        ("a.example", "/api/V1", (2, None)),
        ("a.example", "/API", (0, Some(2))),
        ("a.example", "/API/v1", (1, None)),
        ("a.example", "/X", (0, Some(4))),
        // The host's own `/` takes everything, whatever its case.
        ("b.example", "/X", (3, None)),
        ("c.example", "/API", (0, None)),
        ("c.example", "/api/v1", (0, Some(1))),
    ] {
        reads(&table, host, path, expected);
    }
}

#[test]
fn a_method_that_differs_in_case_only_is_told_apart() {
    let mut table = table(&[
        (&[], "/x", &[], 0),
        (&[], "/x", &[Method::DELETE], 1),
        (&[], "/y", &[Method::GET], 2),
        (&[], "/", &[], 3),
    ]);
    let methods = &[Method::DELETE];
    let sensitive = RouteSpec {
        prefix: "/y",
        methods,
        case_sensitive: true,
        ..RouteSpec::default()
    };
    table.insert(&sensitive, 4);
    let found = |method: &str, path| {
        let found = table.find("h", path, &Method::from_bytes(method.as_bytes()).unwrap());
        let found = found.unwrap();
        (
            *found.route,
            found.confusable.copied(),
            found.allowed.is_some(),
        )
    };
    assert_eq!(found("GET", "/x"), (0, None, false));
    assert_eq!(found("DELETE", "/x"), (1, None, false));
    assert_eq!(found("delete", "/x"), (0, Some(1), false));
    assert_eq!(found("get", "/x"), (0, None, false));
    assert_eq!(found("Delete", "/X"), (3, Some(0), false));
    // Not forwarded at all.
    assert_eq!(found("get", "/y"), (2, None, true));
    assert_eq!(found("GET", "/Y"), (3, Some(2), false));
    assert_eq!(found("DELETE", "/Y"), (3, None, false));
    assert_eq!(found("PUT", "/Y"), (3, Some(2), false));
}

#[test]
fn a_prefix_may_end_with_its_word() {
    let mut table = prefixes(&["/", "/admin.json", "/api"]);
    for (prefix, case_sensitive, route) in [("/admin", false, 3), ("/api/v1", true, 4)] {
        let boundary = PrefixBoundary::Word;
        table.insert(
            &RouteSpec {
                prefix,
                case_sensitive,
                boundary,
                ..RouteSpec::default()
            },
            route,
        );
    }
    for (path, expected) in [
        ("/admin", (3, None)),
        ("/admin/x.y", (3, None)),
        ("/admin.", (0, Some(3))),
        ("/admin./x", (0, Some(3))),
        ("/admin%20", (0, Some(3))),
        ("/ADMIN.xml", (0, Some(3))),
        ("/admin::$DATA", (0, Some(3))),
        ("/admin~1/x", (0, Some(3))),
        ("/admin.json", (1, None)),
        ("/admin.json/x", (1, None)),
        ("/administrator", (0, None)),
        ("/admin-x", (0, None)),
        ("/admin_x", (0, None)),
        ("/admi.n", (0, None)),
        ("/api.", (0, None)),
        ("/api/v1.", (2, Some(4))),
        ("/api./v1", (0, Some(4))),
        ("/api./v1/x", (0, Some(4))),
        ("/api./V1", (0, None)),
        ("/api./v", (0, None)),
    ] {
        reads(&table, "h", path, expected);
    }
}
