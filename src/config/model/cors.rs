//! `cors`: which pages of other origins may use a pipeline (Fetch standard, "CORS protocol").

use std::time::Duration;

use http::{HeaderName, Method};

/// Settings of `cors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// `allow_origins`.
    pub origins: AllowedOrigins,
    /// `allow_methods`; `*` is all, without credentials only. Default GET, HEAD and POST.
    pub methods: Vec<Method>,
    /// `allow_headers`; `*` is all but `Authorization`, without credentials only. Default: those
    /// that every page may send.
    pub headers: Vec<HeaderName>,
    /// `expose_headers`: what of an answer a page may read besides what every page may and what
    /// the edge asks of it (`WWW-Authenticate`, `Retry-After`); `*` is all, without credentials
    /// only.
    pub exposed: Vec<HeaderName>,
    /// `allow_credentials`: whether a page may send cookies. Never with a `*`. Default false.
    pub credentials: bool,
    /// `max_age_secs`: how long a browser need not ask again. `None`: as long as it likes (5 s).
    pub max_age: Option<Duration>,
}

/// `allow_origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// `["*"]`: every page.
    Any,
    /// These.
    Listed(Vec<OriginPattern>),
}

/// One of `allow_origins`, as browsers write origins: in lower case, without the scheme's own port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `https://app.example`.
    Exact(String),
    /// `https://*.example.com`: every host below the name, by one label or more.
    Below {
        /// `https://`.
        scheme: String,
        /// `.example.com`, with the port if there is one.
        suffix: String,
    },
}

impl AllowedOrigins {
    /// Whether a page of this origin may use the pipeline.
    pub fn allow(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(patterns) => patterns.iter().any(|pattern| pattern.is_match(origin)),
        }
    }
}

impl OriginPattern {
    fn is_match(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(allowed) => origin == allowed.as_bytes(),
            Self::Below { scheme, suffix } => {
                let labels = origin.strip_prefix(scheme.as_bytes());
                let labels = labels.and_then(|rest| rest.strip_suffix(suffix.as_bytes()));
                labels.is_some_and(|labels| {
                    let mut labels = labels.split(|&byte| byte == b'.');
                    labels.all(is_label)
                })
            }
        }
    }
}

/// Whether nothing in it could end the host for somebody who reads the origin as a URL.
fn is_label(label: &[u8]) -> bool {
    let sound = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    !label.is_empty() && label.iter().all(sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_that_are_listed() {
        let listed = AllowedOrigins::Listed(vec![
            OriginPattern::Exact("https://app.example".to_owned()),
            OriginPattern::Below {
                scheme: "https://".to_owned(),
                suffix: ".apps.example".to_owned(),
            },
            OriginPattern::Below {
                scheme: "http://".to_owned(),
                suffix: ".dev.example:8080".to_owned(),
            },
        ]);
        for allowed in [
            "https://app.example",
            "https://x.apps.example",
            "https://x.y-1_z.apps.example",
            "http://x.dev.example:8080",
        ] {
            assert!(listed.allow(allowed.as_bytes()), "{allowed}");
            assert!(AllowedOrigins::Any.allow(allowed.as_bytes()));
        }
        for refused in [
            "",
            "null",
            "*",
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://app.example/",
            "https://APP.example",
            "https://apps.example",
            "https://.apps.example",
            "https://x..apps.example",
            "https://evilapps.example",
            "https://evil.example?.apps.example",
            "https://evil.example/.apps.example",
            "https://evil.example#.apps.example",
            "https://evil.example\\.apps.example",
            "https://evil.example:1.apps.example",
            "https://u@x.apps.example",
            "https://x.apps.example:8443",
            "http://x.apps.example",
            "https://x.apps.example.evil.example",
            "https://x.apps.example https://evil.example",
            "http://x.dev.example",
        ] {
            assert!(!listed.allow(refused.as_bytes()), "{refused}");
        }
    }
}
