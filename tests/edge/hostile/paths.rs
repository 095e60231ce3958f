//! One canonical path: what is matched is what is authenticated is what is forwarded. `/api` wants a token, and everything else is open: the worst case for a path
//! that the edge reads in one way and an upstream in another.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::poll::becomes_true;
use crate::support::ports::Port;
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
    ("/%2561pi", Refused),
    ("/%252fapi", Refused),
    ("/x/%252e%252e/api", Refused),
    ("/%20api", Open("/%20api")),
    ("/x?/../api", Open("/x?/../api")),
    ("/?/api", Open("/?/api")),
    ("/x?y=%2f%00%zz/..//\\", Open("/x?y=%2f%00%zz/..//\\")),
    // Escapes within escapes.
    ("/%25%36%31pi", Refused),
    ("/%252561pi", Refused),
    ("/x/%252e%252e%252fapi", Refused),
    ("/x/..%252fapi", Refused),
    ("/x/.%252e/api", Refused),
    ("/x/%2e%252e/api", Refused),
    ("/x/%25%32%65%25%32%65/api", Refused),
    ("/%255capi", Refused),
    ("/x%255c..%255capi", Refused),
    ("/%2500/api", Refused),
    ("/%253b/api", Refused),
    ("/api%253bx", Refused),
    ("/%25c0%25afapi", Refused),
    ("/%2525252561pi", Refused),
    ("/%25/api", Open("/%25/api")),
    ("/100%25", Open("/100%25")),
    // Parameters, and what looks like the end of the path to somebody.
    ("/;", Open("/;")),
    ("/x;/api", Open("/x;/api")),
    ("/x;a=b;c/y", Open("/x;a=b;c/y")),
    ("/api;", Refused),
    ("/api;/", Refused),
    ("/api;/x", Refused),
    ("/api;a=b/x", Refused),
    ("/api%3b", Refused),
    ("/api%3Ba=b/x", Refused),
    ("//;/api", Refused),
    ("/;;/api", Refused),
    ("/;a=b/;c/api", Refused),
    ("/./;/api", Refused),
    ("/x/../;/api", Refused),
    ("/x;/../api", Protected),
    ("/x;a/../api/y", Protected),
    ("/;x/../api", Protected),
    ("/..;x/api", Refused),
    ("/...;/api", Open("/...;/api")),
    ("/..;/..;/api", Refused),
    ("/x/.;a/../api", Refused),
    ("/api%3f", Refused),
    ("/api%3Fx=y", Refused),
    ("/api%23", Refused),
    ("/api%23x", Refused),
    ("/api%3fx/../y", Open("/y")),
    ("/%3f/api", Open("/%3F/api")),
    ("/x%3f/../api", Protected),
    ("/x%23/../api", Protected),
    ("/x?/api/../../api", Open("/x?/api/../../api")),
    ("/api??", Protected),
    // Dots, more of them and other ones.
    ("/....//api", Open("/..../api")),
    ("/x/.../api", Open("/x/.../api")),
    ("/x/. ./api", Harmless),
    ("/x/..%20/api", Open("/x/..%20/api")),
    ("/x/%2e%2e%20/api", Open("/x/..%20/api")),
    ("/x/%20../api", Open("/x/%20../api")),
    ("/x/..x/api", Open("/x/..x/api")),
    ("/x/..%09/api", Refused),
    ("/x/..%00/api", Refused),
    ("/x/..%0d/api", Refused),
    ("/x/..%ff/api", Refused),
    ("/x/..%fe%ff/api", Refused),
    ("/x/%c0%2e%c0%2e/api", Refused),
    ("/x/%c0%ae%c0%ae%c0%afapi", Refused),
    ("/x/%e0%80%ae%e0%80%ae/api", Refused),
    ("/x/%f0%80%80%ae%f0%80%80%ae/api", Refused),
    ("/x/%f8%80%80%80%ae/api", Refused),
    ("/x/%u002e%u002e/api", Refused),
    ("/x/%uff0e%uff0e/api", Refused),
    ("/x/%ef%bc%8e%ef%bc%8e/api", Harmless),
    ("/x/%e2%80%a5/api", Harmless),
    ("/x/%e2%80%a4%e2%80%a4/api", Harmless),
    ("/x/\u{ff0e}\u{ff0e}/api", Harmless),
    ("/\u{2215}api", Harmless),
    ("/%e2%88%95api", Harmless),
    ("/%e2%81%84api", Harmless),
    ("/%e2%80%8bapi", Harmless),
    ("/%ef%bb%bfapi", Harmless),
    ("/%c2%a0api", Harmless),
    ("/%ef%bd%81pi", Harmless),
    // Slashes, more of them.
    ("////////api", Protected),
    ("/x////../api", Protected),
    ("/x/y//..//../api", Protected),
    ("/.//.//./api", Protected),
    ("/../..//../api/../api", Protected),
    ("/x/../y/../api", Protected),
    ("/%2e/%2e%2e/%2e/api", Protected),
    ("/api/%2e", Protected),
    ("/api/%2e%2e/api", Protected),
    ("/api//..", Open("/")),
    ("/api/./..//x", Open("/x")),
    ("/%2f%2fapi", Refused),
    ("/x%2f/api", Refused),
    ("/%2F..%2Fapi", Refused),
    ("/%5c%2e%2e%5capi", Refused),
    ("/\\/api", Refused),
    ("/./\\api", Refused),
    // Ends that some systems cut off, and letters that some fold: other places for everybody else.
    ("/api.", Open("/api.")),
    ("/api%20", Open("/api%20")),
    ("/api/x%20", Protected),
    ("/api::$DATA", Open("/api::$DATA")),
    ("/api~1", Open("/api~1")),
    ("/aPi", Open("/aPi")),
    ("/%41%50%49", Open("/API")),
    // Absolute-form.
    ("http://127.0.0.1/%2e%2e/api", Protected),
    ("http://127.0.0.1/x/..%2fapi", Refused),
    ("http://127.0.0.1/;/api", Refused),
    ("http://127.0.0.1\\api", Refused),
    ("http://127.0.0.1#/api", Refused),
    ("http://127.0.0.1/http://127.0.0.1/api", Open("/http:/127.0.0.1/api")),
    ("http:\\\\127.0.0.1\\api", Refused),
    ("//127.0.0.1/../api", Protected),
    // Not settled, but harmless either way.
    ("/;/api", Refused),
    ("/;x/api", Refused),
    ("/.;/api", Refused),
    ("/api;x", Refused),
    ("/api;x/y", Refused),
    ("/%3b/api", Refused),
    ("/%c0%afapi", Refused),
    ("/x/%c0%ae%c0%ae/api", Refused),
    ("/%e0%80%afapi", Refused),
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
    assert!(SPELLINGS.len() >= 250, "{}", SPELLINGS.len());
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

/// A path of another route's, by whatever reading, is no way around a filter either.
#[test]
fn a_rule_about_paths_holds_for_every_reading() {
    let upstream = Upstream::start();
    let filter = "[middleware.filter]\ntype = \"path-filter\"\nrules = [{ deny = \"/admin\" }, { deny = \"/admin/{*rest}\" }, \"/{*rest}\"]\n";
    let edge = Edge::configured(Settings::bare().and(&Route::to("open", &upstream).prefix("/").steps(&["filter"]).text()).and(filter)).start();
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
        ("/%2561dmin", 400),
    ] {
        assert_eq!(edge.get(target).send().status, status, "{target}");
    }
}

/// The last word has a real server: it says itself where it takes each spelling to be.
#[test]
fn nginx_behind_the_edge_is_not_deceived() {
    let Some(nginx) = Nginx::start() else { return };
    let (issuer, protected) = (Issuer::start(), Upstream::start());
    let open = Route::to_url("open", &format!("http://127.0.0.1:{}", nginx.port)).prefix("/");
    let edge = Edge::configured(Settings::with_jwt(&issuer, &protected).and(&open.text())).start();
    let status = |target: &str| {
        let (responses, _) = edge.raw(format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"));
        responses.first().map_or(0, |response| response.status)
    };
    let reached: Vec<&str> = SPELLINGS.iter().map(|(target, _)| *target).filter(|target| status(target) == Nginx::PROTECTED).collect();
    assert!(reached.is_empty(), "{reached:?}");
    assert_eq!((status("/x"), protected.connections()), (200, 0));
    // The judge itself: without the edge, nginx is where it is said to be.
    assert_eq!(crate::support::request::Request::new(nginx.port, "GET", "/x/%2e%2e//api").send().status, Nginx::PROTECTED);
}

/// A real nginx with a place for `/api` and one for everything else.
struct Nginx {
    port: u16,
    process: Child,
    _claim: Port,
    _directory: tempfile::TempDir,
}

impl Nginx {
    const PROTECTED: u16 = 299;

    /// `None` after saying that it is not here.
    fn start() -> Option<Self> {
        let (claim, directory) = (Port::claim(), tempfile::tempdir().unwrap());
        let (port, status) = (claim.number(), Self::PROTECTED);
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].iter().map(|kind| format!("{kind}_temp_path {kind};\n")).collect();
        let settings = format!(
            "daemon off;\nmaster_process off;\npid pid;\nerror_log error.log;\nevents {{}}\nhttp {{\n{temporary}access_log off;\nserver {{\nlisten 127.0.0.1:{port};\n\
             location = /api {{ return {status} protected; }}\nlocation /api/ {{ return {status} protected; }}\nlocation / {{ return 200 open; }}\n}}\n}}\n"
        );
        std::fs::write(directory.path().join("nginx.conf"), settings).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory.path()).args(["-c", "nginx.conf", "-e", "error.log"]).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(process) = command.spawn() else {
            eprintln!("skipped: nginx is not installed");
            return None;
        };
        let nginx = Self { port, process, _claim: claim, _directory: directory };
        assert!(becomes_true(Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", port)).is_ok()), "nginx listens");
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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

/// Whether some server takes this target for `/api` or something below it: nginx, which decodes once, merges slashes and resolves dots, or one that decodes again, takes a
/// backslash for a slash, cuts parameters off, or takes an escaped `?` or `#` for the real one.
fn is_protected_for_a_server(target: &str) -> bool {
    let mut path = target.split(['?', '#']).next().unwrap_or_default().as_bytes().to_vec();
    for _ in 0..4 {
        path = percent_decoded(&path);
        let text = String::from_utf8_lossy(&path).into_owned();
        let text = [text.clone(), text.replace('\\', "/")];
        let cut = text.iter().flat_map(|text| [text.as_str(), text.split(['?', '#', '\0']).next().unwrap_or_default()]);
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
        ("/%2561pi", true),
        ("/x/..%252fapi", true),
        ("/;/api", true),
        ("/api;x", true),
        ("/x/..;/api", true),
        ("/api%3Fx", true),
        ("/apix", false),
        ("/x/api", false),
        ("/x;/api", false),
        ("/x?/../api", false),
    ] {
        assert_eq!(is_protected_for_a_server(target), protected, "{target}");
    }
}
