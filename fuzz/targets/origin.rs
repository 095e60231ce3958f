//! Whom a user's token is from, and where a token may go: an origin is what is written, or nothing.

#![no_main]

use harmony::fuzzing::{exact_origin, named_origin, printable};
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|address: &str| {
    if let Some(origin) = exact_origin(address) {
        assert_eq!(exact_origin(&origin).as_deref(), Some(&*origin), "a fixed point");
        // A parser of URLs that repairs what it reads finds the same host, or refuses the rest of
        // it.
        if let Ok(url) = Url::parse(&origin) {
            assert_eq!(url.origin().ascii_serialization(), origin);
        }
        if let Ok(url) = Url::parse(address) {
            assert_eq!(url.origin().ascii_serialization(), origin);
            assert!(url.username().is_empty() && url.password().is_none());
        }
    }
    match named_origin(address) {
        Ok(origin) => {
            assert_eq!(exact_origin(&origin).as_deref(), Some(&*origin));
            if let Ok(url) = Url::parse(address) {
                assert_eq!(url.origin().ascii_serialization(), origin);
                let local = match url.host() {
                    Some(url::Host::Domain(name)) => name == "localhost",
                    Some(url::Host::Ipv4(address)) => address.is_loopback(),
                    Some(url::Host::Ipv6(address)) => address.is_loopback(),
                    None => false,
                };
                assert!(url.scheme() == "https" || local, "no token in the clear");
            }
        }
        Err(said) => {
            assert!(!said.chars().any(char::is_control), "{said:?}");
            // Neither what stands before an `@` in the authority, nor a query, is shown.
            if let Some((_, rest)) = address.split_once("://") {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if let Some((user, _)) = authority.rsplit_once('@') {
                    assert!(!shows(&said, user, address), "{said}");
                }
                if let Some((_, query)) = address.split_once('?') {
                    assert!(!shows(&said, query, address), "{said}");
                }
            }
        }
    }
    let shown = printable(address, 100);
    assert!(shown.chars().count() <= 100 && !shown.chars().any(char::is_control));
    assert_eq!(printable(&shown, 100), shown);
});

/// Whether a message about the address shows this part of it. Only parts that no escaping changes
/// tell; they may stand elsewhere in it, once what is not printed is left out.
fn shows(said: &str, part: &str, address: &str) -> bool {
    let plain: String = address.chars().filter(char::is_ascii_alphanumeric).collect();
    let tells = part.len() >= 24 && part.chars().all(|character| character.is_ascii_alphanumeric());
    tells && said.contains(part) && plain.matches(part).count() == 1
}
