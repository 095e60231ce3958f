//! What this version refuses by name because a later one will serve it.
//!
//! The only place that knows: serving one of these is deleting its line here and reading it where it belongs.

/// A key, and what it would switch on.
pub(super) type Key = (&'static str, &'static str);

/// Step types, spelt with `-`.
pub(super) const STEPS: &[&str] = &["mutual-tls"];

/// Keys of a listener.
pub(super) const LISTENER: &[Key] = &[
    ("cert_path", "TLS on a listener (cert_path)"),
    ("key_path", "TLS on a listener (key_path)"),
    ("force_https", "TLS on a listener (force_https)"),
    ("client_ca_path", "TLS on a listener (client_ca_path)"),
];

/// Keys of a backend, a target or their connection.
pub(super) const UPSTREAM: &[Key] = &[(
    "ca_cert_path",
    "a certificate authority of one's own (ca_cert_path)",
)];
