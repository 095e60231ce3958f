//! The canonical path: what is matched is what is forwarded is what a server behind the edge
//! resolves.

#![no_main]

use harmony::fuzzing::upstream_target;
use harmony::gateway::{RouteSpec, RouteTable, canonical, has_encoded_slash, other_readings};
use harmony_fuzz::nginx;
use http::Method;
use libfuzzer_sys::fuzz_target;

const PREFIXES: [&str; 5] = ["/", "/api", "/api/v1", "/a", "/~user/%C3%A4"];

fuzz_target!(|path: &str| {
    let Ok(found) = canonical(path) else {
        return;
    };
    // A fixed point, which costs no copy.
    let again = canonical(&found).expect("what is canonical is a path");
    assert_eq!(again, found);
    assert!(matches!(again, std::borrow::Cow::Borrowed(_)) || found.contains(['%', '.']));

    // nginx finds nothing to resolve in it: all that it does is decode, escaped slashes too.
    let behind = nginx::resolve(found.as_bytes()).expect("nginx takes it");
    let slashes = |path: &[u8]| path.iter().filter(|byte| **byte == b'/').count();
    let slashed = found.replace("%2F", "/").replace("%2f", "/");
    assert_eq!(slashes(&behind), slashes(slashed.as_bytes()));
    // How it reads them is known to be a reading, which is canonical itself.
    assert_eq!(has_encoded_slash(&found), slashed != found);
    let others = other_readings(&found);
    assert!(slashed == found || others.contains(&slashed), "{slashed} {others:?}");
    for other in &others {
        assert!(has_encoded_slash(other) || canonical(other).is_ok(), "{other}");
        assert!(*other != found && !other.contains("//"), "{other}");
    }
    assert!(behind.is_ascii() || found.contains('%'));
    // And where nginx takes the path as it came, it is the same place.
    if let Some(direct) = nginx::resolve(path.as_bytes()) {
        assert_eq!(direct, behind, "{path} {found}");
    }

    // The prefix that matched is where nginx finds it too, and the forwarded target stays below the
    // base.
    let mut routes = RouteTable::default();
    for prefix in PREFIXES {
        routes.insert(&RouteSpec { prefix, ..RouteSpec::default() }, prefix);
    }
    let prefix = routes.find("", &found, &Method::GET).map(|found| *found.route);
    let prefix = prefix.expect("`/` takes everything");
    let of_nginx = nginx::resolve(prefix.as_bytes()).expect("a prefix is a path");
    let of_nginx = of_nginx.strip_suffix(b"/").unwrap_or(&of_nginx);
    let rest = behind.strip_prefix(of_nginx).expect("matched here, matched there");
    assert!(rest.is_empty() || rest.starts_with(b"/"), "whole segments only");
    for base in ["/", "/base", "/base/"] {
        let target = upstream_target(base, prefix, &found, Some(b"../../q?x"));
        let split = target.iter().position(|byte| *byte == b'?').expect("the query is there");
        assert_eq!(&target[split..], b"?../../q?x");
        let there = nginx::resolve(&target).expect("nginx takes what is forwarded");
        let mut expected = base.trim_end_matches('/').as_bytes().to_vec();
        expected.extend_from_slice(rest);
        if expected.is_empty() {
            expected.push(b'/');
        }
        assert_eq!(there, expected);
    }
});
