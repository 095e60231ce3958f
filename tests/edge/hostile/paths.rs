//! One canonical path: what is matched is what is authenticated is what is forwarded. `/api` wants
//! a token, and everything else is open: the worst case for a path that the edge reads in one way
//! and an upstream in another.

use super::PATIENCE;
use super::spellings::Expected::{self, Harmless, Open, Protected, Refused};
use super::spellings::SPELLINGS;
use crate::support::frames::{Connection, END_HEADERS, END_STREAM, HEADERS, block, frame};
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Settings, Upstream};

/// `/api` with a token in front of one upstream, everything else open in front of another.
struct Place {
    issuer: Issuer,
    protected: Upstream,
    open: Upstream,
    edge: Edge,
}

impl Place {
    fn start() -> Self {
        let (issuer, protected, open) = (Issuer::start(), Upstream::start(), Upstream::start());
        let edge = Edge::configured(
            Settings::with_jwt(&issuer, &protected)
                .and(&Route::to("open", &open).prefix("/").text()),
        )
        .start();
        Self { issuer, protected, open, edge }
    }

    /// What is wrong with how `target` is answered without a token; `None` when nothing is.
    fn judge(&self, target: &str, expected: &Expected, http2: bool) -> Option<String> {
        self.open.clear();
        let status = if http2 {
            let fields: [(&[u8], &[u8]); 4] = [
                (b":method", b"GET"),
                (b":scheme", b"http"),
                (b":authority", b"127.0.0.1"),
                (b":path", target.as_bytes()),
            ];
            let mut connection = Connection::open(self.edge.port(), PATIENCE);
            connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields)));
            connection.read_until(1).stream(1).status.unwrap_or(0)
        } else {
            let (responses, _) = self.edge.raw(format!(
                "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            ));
            responses.first().map_or(0, |response| response.status)
        };
        let forwarded: Vec<String> =
            self.open.requests().iter().map(|request| request.target().to_owned()).collect();
        let seen =
            format!("{target:?} (HTTP/2: {http2}): {status}, the open upstream got {forwarded:?}");
        if self.protected.connections() > 0 {
            return Some(format!("{seen}, and the protected upstream was asked"));
        }
        if forwarded.iter().any(|path| is_protected_for_a_server(path)) {
            return Some(format!("{seen}, which it takes for the protected place"));
        }
        let right = match expected {
            Protected => status == 401 && forwarded.is_empty(),
            // Raw bytes that HTTP/2 itself forbids never become a response.
            Refused => (status == 400 || (http2 && status == 0)) && forwarded.is_empty(),
            Open(path) => status == 200 && forwarded == [*path],
            Harmless => true,
        };
        (!right).then_some(seen)
    }
}

#[test]
fn no_spelling_of_a_protected_place_gets_around_the_token() {
    assert!(SPELLINGS.len() >= 250, "{}", SPELLINGS.len());
    let place = Place::start();
    let wrong: Vec<String> = SPELLINGS
        .iter()
        .filter_map(|(target, expected)| place.judge(target, expected, false))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn nor_over_http2() {
    let place = Place::start();
    // The library of the edge cuts fragments off before anybody else sees them.
    let sayable =
        SPELLINGS.iter().filter(|(target, _)| target.starts_with('/') && !target.contains('#'));
    let wrong: Vec<String> =
        sayable.filter_map(|(target, expected)| place.judge(target, expected, true)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A path of another route's, by whatever reading, is no way around a filter either.
#[test]
fn a_rule_about_paths_holds_for_every_reading() {
    let upstream = Upstream::start();
    let filter = "[middleware.filter]\ntype = \"path-filter\"\n\
                  rules = [{ deny = \"/admin\" }, { deny = \"/admin/{*rest}\" }, \"/{*rest}\"]\n";
    let edge = Edge::configured(
        Settings::bare()
            .and(&Route::to("open", &upstream).prefix("/").steps(&["filter"]).text())
            .and(filter),
    )
    .start();
    for (target, status) in [
        ("/x", 200),
        ("/x;y/z", 200),
        ("/admin/x", 404),
        ("/x/../admin", 404),
        ("/admin;x", 404),
        ("/admin;x/y", 404),
        ("/;/admin", 404),
        ("/admin%3bx/y", 404),
        ("/admin%3fx", 404),
        ("/ADMIN", 404),
        ("/Admin/x", 404),
        ("/%41dmin;x/y", 404),
        ("/admin%2fx", 404),
        ("/ADMIN%2Fx", 404),
        ("/ADMIN;y%2Fx", 404),
        ("/x%2fadmin", 200),
        ("/X", 200),
        ("/%2561dmin", 400),
    ] {
        assert_eq!(edge.get(target).send().status, status, "{target}");
    }
}

#[test]
fn what_is_matched_is_what_is_forwarded() {
    let place = Place::start();
    let token = place.issuer.token().sign();
    let rows = [
        ("/api", "/"),
        ("/api/", "/"),
        ("//api//x", "/x"),
        ("/x/../api/./y//z", "/y/z"),
        ("/%61pi/%7Eu/%2e%2e/v", "/v"),
        ("/api/x/../y/", "/y/"),
        ("/api/x/.", "/x/"),
        ("/api/x/..", "/"),
        ("/api/a%20b", "/a%20b"),
        ("/api/a%3Fb", "/a%3Fb"),
        ("/api/a%25b", "/a%25b"),
        ("/api/a%2Fb%2fc/d", "/a%2Fb%2fc/d"),
        ("/%61pi/A%2F%62", "/A%2Fb"),
        ("/api/X/Y", "/X/Y"),
        ("/api/x;y=1,2:@!$&'()*+=", "/x;y=1,2:@!$&'()*+="),
        ("/x/../api/y?q=%2f../..//&%zz", "/y?q=%2f../..//&%zz"),
    ];
    for (target, forwarded) in rows {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\n\r\n"
        );
        let (responses, _) = place.edge.raw(request);
        assert_eq!(responses.first().map(|response| response.status), Some(200), "{target}");
        assert_eq!(place.protected.only().target(), forwarded, "{target}");
        place.protected.clear();
    }
    assert_eq!(place.open.connections(), 0);
}

/// Whether some server takes this target for `/api` or something below it: nginx, which decodes
/// once, merges slashes and resolves dots, or one that decodes again, takes a backslash for a
/// slash, cuts parameters off, takes an escaped `?` or `#` for the real one, or folds case.
fn is_protected_for_a_server(target: &str) -> bool {
    let mut path = target.split(['?', '#']).next().unwrap_or_default().as_bytes().to_vec();
    for _ in 0..4 {
        path = percent_decoded(&path);
        let text = String::from_utf8_lossy(&path).into_owned();
        let text = [text.clone(), text.replace('\\', "/")];
        let cut = text.iter().flat_map(|text| {
            [text.as_str(), text.split(['?', '#', '\0']).next().unwrap_or_default()]
        });
        if cut.into_iter().any(|text| is_below_api(text, false) || is_below_api(text, true)) {
            return true;
        }
    }
    false
}

fn is_below_api(path: &str, parameters: bool) -> bool {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        let name = segment.split(';').next().filter(|_| parameters).unwrap_or(segment);
        match name {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    segments.first().is_some_and(|first| first.eq_ignore_ascii_case("api"))
}

fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let escape = tail
            .get(..2)
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escape {
            Some(byte) if *first == b'%' => {
                out.push(byte);
                rest = &tail[2..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[test]
fn the_judge_of_targets_is_right() {
    for (target, protected) in [
        ("/api", true),
        ("//api", true),
        ("/x/%2e%2e/api/y", true),
        ("/x\\..\\api", true),
        ("/%61pi?x", true),
        ("/%2561pi", true),
        ("/x/..%252fapi", true),
        ("/;/api", true),
        ("/api;x", true),
        ("/x/..;/api", true),
        ("/api%3Fx", true),
        ("/Api", true),
        ("/x/..%2f%41pi", true),
        ("/apix", false),
        ("/x/api", false),
        ("/x;/api", false),
        ("/x?/../api", false),
    ] {
        assert_eq!(is_protected_for_a_server(target), protected, "{target}");
    }
}
