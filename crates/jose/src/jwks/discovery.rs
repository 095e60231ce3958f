//! The document in which an issuer publishes where its keys are (OpenID Connect Discovery 1.0
//! section 4, RFC 8414 section 3), and what of it is believed.

use std::sync::Arc;

use reqwest::Url;
use serde_json::{Map, Value};

use super::IssuerUrl;
use super::parse::BYTE_ORDER_MARK;
use crate::strict_json;

/// What Entra ID has in place of a tenant, in the document of all of them.
const TENANT: &str = "{tenantid}";
/// What stands in the path of such a document's issuer where a tenant would.
const ALL_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];
/// As much of another issuer as a log shows.
const SHOWN: usize = 200;

/// What an issuer says of itself, after everything in it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it was fetched from.
    pub url: Arc<str>,
    /// `iss` of the tokens that its keys sign: itself, one for each tenant, or the
    /// `access_token_issuer` of AD FS.
    pub token_issuers: Vec<String>,
    /// Where its key set is.
    pub jwks_uri: Option<Arc<str>>,
    /// Where it can be asked about a token (RFC 7662).
    pub introspection_endpoint: Option<Arc<str>>,
    issuer: String,
    access_token_issuer: Option<String>,
}

/// Why a document is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not a JSON object, or one that names a member twice.
    #[error("not a JSON object, or one that names a member twice")]
    NotAnObject,
    /// A member that has to be a string, and is none.
    #[error("`{0}` is not a string")]
    NotAString(&'static str),
    /// The document is that of another issuer, whose beginning this is.
    #[error("its `issuer` is {0:?}, which is not the configured one")]
    OtherIssuer(String),
    /// It is that of all tenants, and the step does not say which of them it takes.
    #[error("its `issuer` is of any tenant (`{TENANT}`): list those that may pass in `tenants`")]
    NoTenants,
    /// A URL in it does not do.
    #[error("`{member}` {why}")]
    Url {
        /// Which one.
        member: &'static str,
        /// Why not.
        why: &'static str,
    },
}

impl Document {
    /// Reads the document that was fetched from `url`.
    ///
    /// # Errors
    ///
    /// Why it is not believed.
    pub fn parse(text: &[u8], url: &str, expected: &IssuerUrl) -> Result<Self, DocumentError> {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let object = strict_json::object(text).ok_or(DocumentError::NotAnObject)?;
        let issuer = string(&object, "issuer")?.ok_or(DocumentError::NotAString("issuer"))?;
        let access_token_issuer = string(&object, "access_token_issuer")?;
        let own = token_issuers(issuer, expected)?;
        let near = is_loopback(&expected.issuer);
        let endpoint = |member| match string(&object, member)? {
            None => Ok(None),
            Some(url) => match check(url, near) {
                Ok(()) => Ok(Some(Arc::from(url))),
                Err(why) => Err(DocumentError::Url { member, why }),
            },
        };
        Ok(Self {
            url: url.into(),
            token_issuers: access_token_issuer.map_or(own, |other| vec![other.to_owned()]),
            jwks_uri: endpoint("jwks_uri")?,
            introspection_endpoint: endpoint("introspection_endpoint")?,
            issuer: issuer.to_owned(),
            access_token_issuer: access_token_issuer.map(str::to_owned),
        })
    }

    /// The members that [`Self::parse`] looks at.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let members = [
            ("issuer", Some(self.issuer.as_str())),
            ("access_token_issuer", self.access_token_issuer.as_deref()),
            ("jwks_uri", self.jwks_uri.as_deref()),
            (
                "introspection_endpoint",
                self.introspection_endpoint.as_deref(),
            ),
        ];
        let members = members.into_iter();
        members
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
            .collect()
    }
}

/// Where the document of an issuer is looked for, in this order: the second one where the first is
/// not found. `None`: the issuer is no URL that has one.
pub(super) fn locations(issuer: &str) -> Option<[String; 2]> {
    let url = Url::parse(issuer).ok()?;
    check(issuer, true).ok()?;
    if url.query().is_some() {
        return None;
    }
    let path = url.path().strip_suffix('/').unwrap_or(url.path());
    let origin = url.origin().ascii_serialization();
    Some([
        format!("{origin}{path}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ])
}

/// Whether a document is the configured issuer's, and whose tokens that issuer signs.
fn token_issuers(found: &str, expected: &IssuerUrl) -> Result<Vec<String>, DocumentError> {
    let wanted = expected.issuer.as_str();
    let other = || DocumentError::OtherIssuer(found.chars().take(SHOWN).collect());
    let Some((before, after)) = found.split_once(TENANT) else {
        return match found == wanted {
            true => Ok(vec![wanted.to_owned()]),
            false => Err(other()),
        };
    };
    let configured = wanted
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after))
        .ok_or_else(other)?;
    if expected.tenants.is_empty() {
        return Err(DocumentError::NoTenants);
    }
    if expected.tenants.iter().any(|tenant| tenant == configured) {
        return Ok(vec![wanted.to_owned()]);
    }
    if !ALL_TENANTS.contains(&configured) {
        return Err(other());
    }
    let filled = |tenant: &String| format!("{before}{tenant}{after}");
    Ok(expected.tenants.iter().map(filled).collect())
}

/// A member that is a string. `None`: it is absent, or `null`.
fn string<'a>(
    object: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, DocumentError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(DocumentError::NotAString(name)),
    }
}

/// Whether a URL may be asked: https, or http on this machine where the issuer is (`near`).
fn check(url: &str, near: bool) -> Result<(), &'static str> {
    let parsed = Url::parse(url).map_err(|_| "is not a URL")?;
    match parsed.scheme() {
        _ if !parsed.has_host() => return Err("is not a URL with a host"),
        "https" => {}
        "http" if near && is_loopback(url) => {}
        _ => return Err("is not https"),
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("holds a user name or a password");
    }
    if parsed.fragment().is_some() {
        return Err("has a fragment");
    }
    Ok(())
}

/// Whether a URL leads to this machine.
fn is_loopback(url: &str) -> bool {
    let host = Url::parse(url).ok();
    let host = host.as_ref().and_then(Url::host_str).unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    literal == "localhost"
        || literal
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
