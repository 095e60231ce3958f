//! One canonical path: what is matched is what is authenticated is what is forwarded. `/api` wants a token, and everything else is open: the worst case for a path
//! that the edge reads in one way and an upstream in another.

use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Settings, Upstream};

/// What a spelling must lead to when no token comes with it.
enum Expected {
    /// It is the protected place.
    Protected,
    /// It is refused as malformed.
    Refused,
    /// It is another place, and the open upstream gets exactly this target.
    Open(&'static str),
    /// The specification leaves it open; what an upstream gets must still not be the protected place.
    Harmless,
}

use Expected::{Harmless, Open, Protected, Refused};

const SPELLINGS: &[(&str, Expected)] = &[
    // The place itself.
    ("/api", Protected),
    ("/api/", Protected),
    ("/api/x", Protected),
    ("/api?x", Protected),
    ("/api?../x", Protected),
    ("/api/x/y/z", Protected),
    // Slashes.
    ("//api", Protected),
    ("//api/x", Protected),
    ("///api", Protected),
    ("/api//x", Protected),
    ("//api//", Protected),
    // Dot segments.
    ("/./api", Protected),
    ("/././api/x", Protected),
    ("/.//api", Protected),
    ("/x/../api", Protected),
    ("/x/../api/x", Protected),
    ("/x/y/../../api", Protected),
    ("/x/./../api", Protected),
    ("/x/..//api", Protected),
    ("/x//../api", Protected),
    ("/../api", Protected),
    ("/../../../api", Protected),
    ("/api/.", Protected),
    ("/api/./x", Protected),
    ("/api/x/..", Protected),
    ("/api/../api", Protected),
    ("/api/x/../../api/y", Protected),
    // Escapes of letters, slashes excepted.
    ("/%61pi", Protected),
    ("/%61%70%69", Protected),
    ("/a%70i/x", Protected),
    ("/ap%69", Protected),
    ("//%61pi", Protected),
    ("/./%61pi/", Protected),
    // Escapes of dots.
    ("/%2e/api", Protected),
    ("/%2E/api", Protected),
    ("/x/%2e%2e/api", Protected),
    ("/x/%2E%2E/api", Protected),
    ("/x/%2e%2E/api", Protected),
    ("/x/.%2e/api", Protected),
    ("/x/%2e./api", Protected),
    ("/%2e%2e/api", Protected),
    ("/x/%2e%2e/%61pi", Protected),
    // Absolute-form.
    ("http://127.0.0.1/api", Protected),
    ("http://127.0.0.1//api", Protected),
    ("http://127.0.0.1/x/../api/x", Protected),
    ("HTTP://127.0.0.1/%61pi", Protected),
    // Escapes that no path may have.
    ("/%2fapi", Refused),
    ("/%2Fapi", Refused),
    ("/x/..%2fapi", Refused),
    ("/x%2f..%2fapi", Refused),
    ("/x%2F%2e%2e%2Fapi", Refused),
    ("/api%2fx", Refused),
    ("/.%2fapi", Refused),
    ("/%5capi", Refused),
    ("/%5Capi", Refused),
    ("/x/..%5capi", Refused),
    ("/api%5cx", Refused),
    ("/api%00", Refused),
    ("/%00/api", Refused),
    ("/x%00/../api", Refused),
    ("/%0aapi", Refused),
    ("/%0d%0aapi", Refused),
    ("/%09/api", Refused),
    ("/%1f/api", Refused),
    ("/%7f/api", Refused),
    // Malformed escapes.
    ("/%", Refused),
    ("/%6", Refused),
    ("/%zz/api", Refused),
    ("/%6gpi", Refused),
    ("/api%", Refused),
    ("/%u0061pi", Refused),
    ("/%%361pi", Refused),
    ("/%+1/api", Refused),
    // Bytes that no path may have.
    ("/\\api", Refused),
    ("\\api", Refused),
    ("/x\\..\\api", Refused),
    ("/x/..\\api", Refused),
    ("/api\\x", Refused),
    ("/api#x", Refused),
    ("/#/api", Refused),
    ("/x#/../api", Refused),
    ("/\x01/api", Refused),
    ("/\x7f/api", Refused),
    ("/\tapi", Refused),
    // Path parameters on dot segments.
    ("/..;/api", Refused),
    ("/x/..;/api", Refused),
    ("/x/..;a=b/api", Refused),
    ("/api/..;/x", Refused),
    ("/x/%2e%2e;/api", Refused),
    ("/x/..%3b/api", Refused),
    // No path at all.
    ("api", Refused),
    ("http:api", Refused),
    ("ftp://127.0.0.1/api", Refused),
    // Other places.
    ("/", Open("/")),
    ("/x", Open("/x")),
    ("/apix", Open("/apix")),
    ("/api-x", Open("/api-x")),
    ("/api.x", Open("/api.x")),
    ("/ap/i", Open("/ap/i")),
    ("/x/api", Open("/x/api")),
    ("/API", Open("/API")),
    ("/Api/x", Open("/Api/x")),
    ("/%41PI", Open("/API")),
    ("/ap%69x", Open("/apix")),
    ("/.api", Open("/.api")),
    ("/api..", Open("/api..")),
    ("/..api", Open("/..api")),
    ("/.../api", Open("/.../api")),
    ("/api/..", Open("/")),
    ("/api/../x", Open("/x")),
    ("/api/x/../../y", Open("/y")),
    ("/api/%2e%2e/x", Open("/x")),
    ("/x/./y", Open("/x/y")),
    ("/x/.", Open("/x/")),
    ("/x/..", Open("/")),
    ("/%7eapi", Open("/~api")),
    ("/%2561pi", Open("/%2561pi")),
    ("/%252fapi", Open("/%252fapi")),
    ("/x/%252e%252e/api", Open("/x/%252e%252e/api")),
    ("/%20api", Open("/%20api")),
    ("/x?/../api", Open("/x?/../api")),
    ("/?/api", Open("/?/api")),
    ("/x?y=%2f%00%zz/..//\\", Open("/x?y=%2f%00%zz/..//\\")),
    // Not settled, but harmless either way.
    ("/;/api", Harmless),
    ("/;x/api", Harmless),
    ("/.;/api", Harmless),
    ("/api;x", Harmless),
    ("/api;x/y", Harmless),
    ("/%3b/api", Harmless),
    ("/%c0%afapi", Harmless),
    ("/x/%c0%ae%c0%ae/api", Harmless),
    ("/%e0%80%afapi", Harmless),
    ("/%ef%bc%8fapi", Harmless),
    ("/%c4%b1api", Harmless),
    ("/é/api", Harmless),
    ("http://127.0.0.1", Harmless),
    ("http://127.0.0.1?/api", Harmless),
    ("http://user@127.0.0.1/api", Harmless),
    ("https://127.0.0.1/api", Harmless),
    ("http:///api", Harmless),
    ("?/api", Harmless),
    ("*", Harmless),
    ("/:/api", Harmless),
    ("//127.0.0.1/api", Harmless),
];

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
        let edge = Edge::configured(Settings::with_jwt(&issuer, &protected).and(&Route::to("open", &open).prefix("/").text())).start();
        Self { issuer, protected, open, edge }
    }

    /// What is wrong with how `target` is answered without a token; `None` when nothing is.
    fn judge(&self, target: &str, expected: &Expected, http2: bool) -> Option<String> {
        self.open.clear();
        let status = if http2 {
            self.edge.get(target).http2().send().status
        } else {
            let (responses, _) = self.edge.raw(format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"));
            responses.first().map_or(0, |response| response.status)
        };
        let forwarded: Vec<String> = self.open.requests().iter().map(|request| request.target().to_owned()).collect();
        let seen = format!("{target:?} (HTTP/2: {http2}): {status}, the open upstream got {forwarded:?}");
        if self.protected.connections() > 0 {
            return Some(format!("{seen}, and the protected upstream was asked"));
        }
        if forwarded.iter().any(|path| is_protected_for_a_server(path)) {
            return Some(format!("{seen}, which it takes for the protected place"));
        }
        let right = match expected {
            Protected => status == 401 && forwarded.is_empty(),
            // Raw bytes that HTTP/2 itself forbids never become a response.
            Refused => status == 400 && forwarded.is_empty(),
            Open(path) => status == 200 && forwarded == [*path],
            Harmless => true,
        };
        (!right).then_some(seen)
    }
}

#[test]
fn no_spelling_of_a_protected_place_gets_around_the_token() {
    assert!(SPELLINGS.len() >= 70);
    let place = Place::start();
    let wrong: Vec<String> = SPELLINGS.iter().filter_map(|(target, expected)| place.judge(target, expected, false)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn nor_over_http2() {
    let place = Place::start();
    // What the client's library can say at all.
    let sayable = SPELLINGS.iter().filter(|(target, _)| {
        target.starts_with('/') && format!("http://h{target}").parse::<http::Uri>().is_ok_and(|uri| uri.path_and_query().is_some_and(|path| path == target))
    });
    let wrong: Vec<String> = sayable.filter_map(|(target, expected)| place.judge(target, expected, true)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
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
        ("/api/x;y=1,2:@!$&'()*+=", "/x;y=1,2:@!$&'()*+="),
        ("/x/../api/y?q=%2f../..//&%zz", "/y?q=%2f../..//&%zz"),
    ];
    for (target, forwarded) in rows {
        let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
        let (responses, _) = place.edge.raw(request);
        assert_eq!(responses.first().map(|response| response.status), Some(200), "{target}");
        assert_eq!(place.protected.only().target(), forwarded, "{target}");
        place.protected.clear();
    }
    assert_eq!(place.open.connections(), 0);
}

/// Whether a server that decodes, merges slashes and resolves dots once, as nginx does, takes this target for `/api` or something below it.
fn is_protected_for_a_server(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let decoded = String::from_utf8_lossy(&percent_decoded(path.as_bytes())).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    segments.first() == Some(&"api")
}

fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let escape = tail.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
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
        ("/apix", false),
        ("/x/api", false),
        ("/%2561pi", false),
        ("/x?/../api", false),
    ] {
        assert_eq!(is_protected_for_a_server(target), protected, "{target}");
    }
}
