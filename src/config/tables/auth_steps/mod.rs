//! Steps that authenticate, whether they are written as `[middleware.*]` or as
//! `[authentications.*]`: what all of them have, and one file for what each scheme needs.

mod api_key;
pub(super) mod basic;
mod claims;
mod discovery;
mod dpop;
mod introspection;
mod issuers;
mod jwt;
mod key_source;
mod mutual_tls;
mod token_location;

use std::time::Duration;

use crate::config::model::{AuthSettings, AuthStep, JwtAlgorithm, JwtIssuer};
use crate::config::reader::{Entry, Reader};

/// A scheme as it is written.
pub(super) struct Scheme {
    /// `type` of a step, in its first spelling.
    pub(super) type_name: &'static str,
    /// `method` of a table of `[authentications.*]`.
    pub(super) method: &'static str,
    /// Reads the settings; the default of `jwks_cache_secs` comes with them.
    read: fn(&Reader<'_>, Duration) -> Option<AuthSettings>,
}

/// Every scheme.
pub(super) const SCHEMES: [Scheme; 5] = [
    Scheme {
        type_name: "jwt-auth",
        method: "jwt",
        read: |reader, jwks_fresh| jwt::read(reader, jwks_fresh).map(Into::into),
    },
    Scheme {
        type_name: "introspection",
        method: "introspection",
        read: |reader, jwks_fresh| introspection::read(reader, jwks_fresh).map(Into::into),
    },
    Scheme {
        type_name: "basic-auth",
        method: "basic",
        read: |reader, _| basic::read(reader).map(Into::into),
    },
    Scheme {
        type_name: "api-key",
        method: "api_key",
        read: |reader, _| api_key::read(reader).map(Into::into),
    },
    Scheme {
        type_name: "mutual-tls",
        method: "mutual_tls",
        read: |reader, _| mutual_tls::read(reader).map(Into::into),
    },
];

impl Scheme {
    /// The whole step.
    pub(super) fn step(&self, reader: &Reader<'_>, jwks_fresh: Duration) -> Option<AuthStep> {
        let common = CommonSettings::read(reader);
        Some(common.over(AuthStep::new((self.read)(reader, jwks_fresh)?)))
    }
}

/// Who signs security event tokens, and how: `issuer`, `algorithm` and one source of keys, or none
/// where the issuer is to be discovered.
pub(super) fn transmitter(
    reader: &Reader<'_>,
    jwks_fresh: Duration,
) -> Option<(JwtAlgorithm, JwtIssuer)> {
    let algorithm = jwt::algorithm(reader);
    let issuer = issuers::transmitter(reader, algorithm, jwks_fresh);
    Some((algorithm?, issuer?))
}

/// What every authentication step may say, as far as it is written.
pub(super) struct CommonSettings {
    optional: Option<bool>,
    fallback_on_failed: Option<bool>,
    forward_credential: Option<bool>,
    realm: Option<String>,
    ends_streams: Option<bool>,
    ends_downloads: Option<bool>,
}

impl CommonSettings {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        let ends_streams = reader
            .get("stream_end")
            .and_then(|entry| stream_end(&entry));
        let downloads = reader.get("end_downloads");
        let ends_downloads = downloads.as_ref().and_then(Entry::boolean);
        if let (Some(entry), Some(true), Some(false)) = (&downloads, ends_downloads, ends_streams) {
            entry.warning("has no effect beside stream_end = \"never\": remove one of them");
        }
        Self {
            optional: reader.get("optional").and_then(|entry| entry.boolean()),
            fallback_on_failed: reader
                .get("fallback_on")
                .and_then(|entry| fallback_on(&entry)),
            forward_credential: reader
                .get("forward_credential")
                .and_then(|entry| entry.boolean()),
            realm: reader.get("realm").and_then(|entry| realm(&entry)),
            ends_streams,
            ends_downloads,
        }
    }

    /// What is written, over what the step has.
    pub(super) fn over(self, step: AuthStep) -> AuthStep {
        AuthStep {
            optional: self.optional.unwrap_or(step.optional),
            fallback_on_failed: self.fallback_on_failed.unwrap_or(step.fallback_on_failed),
            forward_credential: self.forward_credential.unwrap_or(step.forward_credential),
            realm: self.realm.unwrap_or(step.realm),
            ends_streams: self.ends_streams.unwrap_or(step.ends_streams),
            ends_downloads: self.ends_downloads.unwrap_or(step.ends_downloads),
            settings: step.settings,
        }
    }
}

fn fallback_on(entry: &Entry<'_>) -> Option<bool> {
    let text = entry.text()?;
    match &*text {
        "missing" => Some(false),
        "failed" => Some(true),
        _ => {
            entry.unknown("fallback", &text, &["missing", "failed"]);
            None
        }
    }
}

fn stream_end(entry: &Entry<'_>) -> Option<bool> {
    let text = entry.text()?;
    match &*text {
        "credential" => Some(true),
        "never" => Some(false),
        _ => {
            entry.unknown("end of streams", &text, &["credential", "never"]);
            None
        }
    }
}

/// It stands between quotes in a header.
fn realm(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    let fits = !text.is_empty()
        && text
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
    if !fits {
        entry.error("must be visible ASCII without quotes and backslashes");
    }
    fits.then(|| text.to_string())
}
