//! Addresses of the cloud: which ones mean the configured one, and how one is shown. Nothing is
//! ever sent to an address that somebody else names.

use super::env::is_loopback;
use crate::gateway::Runbeam;
use runbeam_sdk::PUBLISHED_DEFAULT_HOST;

/// The addresses of the configured cloud.
pub(super) fn configured_addresses(settings: &Runbeam) -> Vec<String> {
    let first = std::iter::once(&settings.cloud_api_base_url);
    first.chain(&settings.api_base_urls).cloned().collect()
}

/// Whether an address means the configured cloud. It is compared only; nothing is ever sent to it.
pub(super) fn is_configured_cloud(settings: &Runbeam, given: &str) -> bool {
    let given = comparable(given);
    given.is_some()
        && configured_addresses(settings)
            .iter()
            .any(|base| comparable(base) == given)
}

/// Scheme, host, port and path, without a last `/` or `/api`.
fn comparable(base: &str) -> Option<(String, String, Option<u16>, String)> {
    let url = reqwest::Url::parse(base.trim()).ok()?;
    let strange = !url.username().is_empty() || url.password().is_some();
    if strange || url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/api").unwrap_or(path);
    let host = url.host_str()?.to_owned();
    let (scheme, port) = match (url.scheme(), url.port_or_known_default()) {
        ("http", Some(80)) if host == PUBLISHED_DEFAULT_HOST => ("https", Some(443)),
        other => other,
    };
    let path = path.trim_end_matches('/').to_owned();
    Some((scheme.to_owned(), host, port, path))
}

/// An address as the configuration can name it, which takes no http to another machine.
pub(super) fn settable_address(base: &str) -> String {
    let redacted = redacted(base);
    let Ok(mut url) = reqwest::Url::parse(&redacted) else {
        return redacted;
    };
    if url.scheme() == "http" && !is_loopback(&redacted) && url.set_scheme("https").is_ok() {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    redacted
}

/// An address as a message may show it: no user name, password, query; not too long.
pub(super) fn redacted(base: &str) -> String {
    let parsed = reqwest::Url::parse(base.trim()).ok();
    let redacted = match parsed.filter(reqwest::Url::has_host) {
        Some(mut url) => {
            // Cannot fail for an address with a host; without one there is nothing to hide.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.set_fragment(None);
            url.as_str().trim_end_matches('/').to_owned()
        }
        None => {
            let end = base.find(['?', '#']).unwrap_or(base.len());
            let address = base[..end].rsplit('@').next().unwrap_or_default();
            address.chars().filter(char::is_ascii_graphic).collect()
        }
    };
    redacted.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_the_cloud_only_if_all_of_it_does() {
        let same = comparable("https://api.runbeam.cloud");
        for base in [
            "https://api.runbeam.cloud/",
            "https://api.runbeam.cloud/api",
            "https://api.runbeam.cloud/api/",
            "https://API.runbeam.cloud:443/api",
            " https://api.runbeam.cloud ",
        ] {
            assert_eq!(comparable(base), same, "{base}");
        }
        for base in [
            "http://api.runbeam.cloud",
            "https://api.runbeam.cloud.evil.example",
            "https://api.runbeam.cloud:8443",
            "https://api.runbeam.cloud/other",
            "https://api.runbeam.cloud@evil.example",
            "https://user@api.runbeam.cloud",
            "https://api.runbeam.cloud?x",
            "api.runbeam.cloud",
            "",
        ] {
            assert_ne!(comparable(base), same, "{base}");
        }
    }

    #[test]
    fn the_published_clients_default_is_its_https_origin() {
        let same = comparable("https://app.runbeam.io");
        for base in [
            "http://app.runbeam.io/api",
            "http://app.runbeam.io",
            "http://APP.runbeam.io:80/api/",
            "https://app.runbeam.io/api",
        ] {
            assert_eq!(comparable(base), same, "{base}");
            assert_eq!(comparable(&settable_address(base)), same, "{base}");
            assert!(settable_address(base).starts_with("https://app.runbeam.io"));
        }
        for base in [
            "http://app.runbeam.io:8080/api",
            "http://app.runbeam.io.evil.example/api",
            "http://api.runbeam.io/api",
            "http://app.runbeam.io@evil.example",
        ] {
            assert_ne!(comparable(base), same, "{base}");
        }
        for (base, settable) in [
            ("http://other.example/api", "https://other.example/api"),
            ("http://other.example:81", "https://other.example:81"),
            ("http://127.0.0.1:8080/api", "http://127.0.0.1:8080/api"),
            ("https://u:p@other.example/", "https://other.example"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(settable_address(base), settable, "{base}");
        }
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        assert_eq!(
            redacted("https://u:p@h.example/x/?t=1#f"),
            "https://h.example/x"
        );
        assert_eq!(redacted("u:p@non sense\n?t=1"), "nonsense");
        assert!(redacted(&format!("https://h/{}", "x".repeat(1000))).len() <= 200);
    }
}
