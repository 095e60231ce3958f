//! Discovery documents: one that is believed is the configured issuer's, and leads to https or to
//! this machine, without a password in sight.

#![no_main]

use harmony::fuzzing::discovery_document;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use url::{Host, Url};

const TENANTS: [&str; 2] = ["t-1", "t-2"];

fuzz_target!(|text: &[u8]| {
    for issuer in ["https://i.example/common/v2.0", "http://127.0.0.1:1/i", "https://i.example/"] {
        let (issuers, urls) = match discovery_document(text, issuer, &TENANTS) {
            Ok(read) => read,
            Err(said) => {
                assert!(!said.is_empty() && said.len() < 2000, "{said}");
                continue;
            }
        };
        // Any other parser of JSON takes it, and sees the same.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let whole: Value = serde_json::from_slice(text).expect("JSON");
        let named = whole["issuer"].as_str().expect("an issuer");
        let of_tenant = |tenant: &str| issuer.replace("common", tenant);
        match whole["access_token_issuer"].as_str() {
            Some(other) => assert_eq!(issuers, [other]),
            None if named == issuer => assert_eq!(issuers, [issuer]),
            None => assert_eq!(issuers, TENANTS.map(of_tenant)),
        }
        assert!(named == issuer || named == of_tenant("{tenantid}"), "{named}");
        for url in urls {
            let found =
                ["jwks_uri", "introspection_endpoint"].iter().any(|name| whole[name] == *url);
            assert!(found, "{url}");
            let url = Url::parse(&url).expect("a URL");
            let near = match url.host().expect("a host") {
                Host::Domain(name) => name == "localhost",
                Host::Ipv4(address) => address.is_loopback(),
                Host::Ipv6(address) => address.is_loopback(),
            };
            let plain = url.scheme() == "http" && near && issuer.starts_with("http:");
            assert!(url.scheme() == "https" || plain, "{url}");
            assert!(url.username().is_empty() && url.password().is_none(), "{url}");
        }
    }
});
