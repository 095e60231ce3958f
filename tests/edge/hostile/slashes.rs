//! `%2F` in a path: GitLab, Matrix and npm need it within a segment, some servers take it for `/`.
//! It passes where both readings are one route's and pass its rules, and keeps its spelling.

use crate::support::settings::Route;
use crate::support::{Edge, Settings, Upstream};

const TABLES: &str = "[middleware.key]\ntype = \"api-key\"\n\
    keys = [\"61d034473102d7dac305902770471fd50f4c5b26f6831a56dd90b5184b3c30fc\"]\n\
    [middleware.filter]\ntype = \"path-filter\"\n\
    rules = [{ deny = \"/secret/{*rest}\" }, \"/{one}\", \"/{one}/{two}\"]\n\
    [middleware.few]\ntype = \"policies\"\n\
    rules = [{ id = \"a\", type = \"path\", mode = \"allow\", paths = [\"*\"] }, \
    { id = \"d\", type = \"path\", mode = \"deny\", paths = [\"/few/secret/{*rest}\"] }, \
    { id = \"r\", type = \"rate_limit\", max_requests = 3, window_seconds = 3600 }]\n";

fn edge(routes: &[Route]) -> Edge {
    let routes: String = routes.iter().map(Route::text).collect();
    Edge::configured(Settings::bare().and(&routes).and(TABLES)).start()
}

#[test]
fn an_escaped_slash_passes_where_it_changes_nothing() {
    let upstream = Upstream::start();
    let edge = edge(&[
        Route::to("open", &upstream).prefix("/"),
        Route::to("git", &upstream).prefix("/git"),
        Route::to("admin", &upstream).prefix("/git/group/admin").steps(&["key"]),
        Route::to("strict", &upstream).prefix("/strict").pipeline("encoded_slashes = \"reject\""),
        Route::to("kept", &upstream).prefix("/kept").pipeline("encoded_slashes = \"keep\""),
    ]);
    for (target, forwarded) in [
        ("/git/group%2Fproject", Some("/group%2Fproject")),
        ("/git/group%2fproject/x?y=%2F", Some("/group%2fproject/x?y=%2F")),
        ("/git/group%2Fproject/", Some("/group%2Fproject/")),
        ("/@scope%2Fpackage", Some("/@scope%2Fpackage")),
        ("/_matrix/room/%23a%3Ab%2Fc", Some("/_matrix/room/%23a%3Ab%2Fc")),
        ("/kept/a%2Fb", Some("/a%2Fb")),
        ("/strict/a/b", Some("/a/b")),
        ("/strict/a%2Fb", None),
        ("/strict/a%2fb", None),
        // Another route's, by one of the readings.
        ("/git%2Fx", None),
        ("/git/group%2Fadmin", None),
        ("/git/group%2Fadmin/x", None),
        ("/git/GROUP%2FAdmin", None),
        ("/git/group%2Fadmin;x", None),
        ("/git/group;y%2Fadmin", None),
        ("/strict%2Fa", None),
        // Something to resolve.
        ("/git/a%2F..%2Fb", None),
        ("/git/a%2F%2E%2E", None),
        ("/git/.%2Fa", None),
        ("/git/a%2F/b", None),
        ("/git/a%2F%2Fb", None),
        ("/git/%2Fa", None),
        ("/git/a%2F", None),
        ("/git/a%2Fb/../c", None),
        ("/git//a%2Fb", None),
        ("/git/a%252Fb", None),
        ("/git/a%5Cb", None),
    ] {
        for http2 in [false, true] {
            upstream.clear();
            let request = edge.get(target);
            let request = if http2 { request.http2() } else { request };
            let status = request.send().status;
            let seen: Vec<String> =
                upstream.requests().iter().map(|request| request.target().to_owned()).collect();
            let expected: Vec<&str> = forwarded.into_iter().collect();
            let right = if forwarded.is_some() { 200 } else { 400 };
            assert_eq!((status, seen), (right, named(&expected)), "{target}, HTTP/2: {http2}");
        }
    }
}

fn named(targets: &[&str]) -> Vec<String> {
    targets.iter().map(|&target| target.to_owned()).collect()
}

#[test]
fn every_reading_has_to_pass_the_filter() {
    let upstream = Upstream::start();
    let edge = edge(&[Route::to("filtered", &upstream).prefix("/f").steps(&["filter"])]);
    for (target, status) in [
        ("/f/a%2Fb", 200),
        ("/f/a/b", 200),
        ("/f/a%2Fb/c", 404),
        ("/f/a%2Fb%2Fc", 404),
        ("/f/secret%2Fb", 404),
        ("/f/SECRET%2Fb", 404),
        ("/f/secret;a%2Fb", 404),
    ] {
        assert_eq!(edge.get(target).send().status, status, "{target}");
    }
}

#[test]
fn two_readings_take_one_token_of_a_limit() {
    let upstream = Upstream::start();
    let edge = edge(&[Route::to("few", &upstream).prefix("/few").steps(&["few"])]);
    for (target, status) in [
        ("/few/secret%2Fx", 403),
        ("/few/secret%2Fx", 403),
        ("/few/SECRET%2Fx;y", 403),
        ("/few/a;b%2Fc", 200),
        ("/few/a%2Fb", 200),
        ("/few/a;b", 200),
        ("/few/a%2Fb", 429),
        ("/few/secret/x", 403),
    ] {
        assert_eq!(edge.get(target).send().status, status, "{target}");
    }
}
