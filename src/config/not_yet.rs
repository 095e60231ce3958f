//! What this version refuses by name because a later one will serve it.
//!
//! The only place that knows: serving one of these is deleting its line here and reading it where it belongs.

/// A key, and what it would switch on.
pub(super) type Key = (&'static str, &'static str);

/// Step types, spelt with `-`.
pub(super) const STEPS: &[&str] = &["mutual-tls"];

/// Algorithms of JWT.
pub(super) const ALGORITHMS: &[&str] = &[
    "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS384",
    "HS512",
];

/// Keys of a listener.
pub(super) const LISTENER: &[Key] = &[
    ("cert_path", "TLS on a listener (cert_path)"),
    ("key_path", "TLS on a listener (key_path)"),
    ("force_https", "TLS on a listener (force_https)"),
    ("client_ca_path", "TLS on a listener (client_ca_path)"),
];

/// Keys of a `jwt-auth` step.
pub(super) const JWT: &[Key] = &[
    (
        "token_header",
        "another place for the token than Authorization (token_header)",
    ),
    (
        "token_cookie",
        "another place for the token than Authorization (token_cookie)",
    ),
    (
        "token_query",
        "another place for the token than Authorization (token_query)",
    ),
];

/// Keys of a backend, a target or their connection.
pub(super) const UPSTREAM: &[Key] = &[(
    "ca_cert_path",
    "a certificate authority of one's own (ca_cert_path)",
)];
