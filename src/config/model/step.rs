//! Steps of a pipeline, typed.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderName;

use super::{
    Cors, HeaderRules, Introspection, Jwt, LogDump, Owner, PathFilter, Policies, Rule, Secret,
};

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The table's name, or the entry's `name`, or `middleware[INDEX]`.
    pub name: Arc<str>,
    /// What it does.
    pub kind: StepKind,
    /// `enforce`: whether what it decides counts. False: it is in shadow, where it is evaluated,
    /// logged and counted, and changes nothing for a request. Default true.
    pub enforce: bool,
}

impl Step {
    /// The settings of an authentication step that counts.
    pub fn enforced_auth(&self) -> Option<&AuthStep> {
        self.kind.auth().filter(|_| self.enforce)
    }

    /// The settings of a step that changes header fields.
    pub fn header_rules(&self) -> Option<&Arc<HeaderRules>> {
        match &self.kind {
            StepKind::Headers(rules) => Some(rules),
            _ => None,
        }
    }

    /// The settings of a step that answers preflights.
    pub fn cors(&self) -> Option<&Arc<Cors>> {
        match &self.kind {
            StepKind::Cors(cors) => Some(cors),
            _ => None,
        }
    }

    /// Whether no request passes it without being authenticated, or being anonymous where the
    /// step is optional.
    pub fn authenticates(&self) -> bool {
        self.enforced_auth().is_some()
    }

    /// The names of its rules that are in shadow.
    pub fn rules_in_shadow(&self) -> impl Iterator<Item = &str> {
        let rules = self.kind.rules().filter(|rule| !rule.enforce);
        rules.map(|rule| &*rule.name)
    }

    /// Whether it can refuse a request without authenticating it.
    pub fn restricts(&self) -> bool {
        self.enforce && matches!(self.kind, StepKind::Policies(_) | StepKind::PathFilter(_))
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// `jwt-auth`, `introspection`, `basic-auth`, `api-key`, `mutual-tls`.
    Auth(AuthStep),
    /// `policies`.
    Policies(Arc<Policies>),
    /// `path-filter`.
    PathFilter(Arc<PathFilter>),
    /// `log_dump`.
    LogDump(Arc<LogDump>),
    /// `cors`.
    Cors(Arc<Cors>),
    /// `headers`.
    Headers(Arc<HeaderRules>),
    /// `passthru`: nothing.
    Passthru,
}

impl StepKind {
    /// The value of `type`, in its first spelling.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Auth(step) => step.settings.type_name(),
            Self::Policies(_) => "policies",
            Self::PathFilter(_) => "path-filter",
            Self::LogDump(_) => "log_dump",
            Self::Cors(_) => "cors",
            Self::Headers(_) => "headers",
            Self::Passthru => "passthru",
        }
    }

    /// The step, if it authenticates.
    pub fn auth(&self) -> Option<&AuthStep> {
        match self {
            Self::Auth(step) => Some(step),
            _ => None,
        }
    }

    /// The rules of a `policies` step.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let policies = match self {
            Self::Policies(settings) => settings.policies.as_slice(),
            _ => &[],
        };
        policies.iter().flat_map(|policy| &policy.rules)
    }

    /// Whether the step after it belongs to the same group.
    pub fn is_optional(&self) -> bool {
        self.auth().is_some_and(|step| step.optional)
    }
}

/// An authentication step: how it joins its group, and its settings.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthStep {
    /// `optional`: the step after it belongs to the same group. Default false.
    pub optional: bool,
    /// `fallback_on = "failed"`: a rejection here lets the rest of the group try. Default false
    /// (`"missing"`).
    pub fallback_on_failed: bool,
    /// `forward_credential`: the upstream gets the credential too. Default true for tokens, false
    /// for the others. A credential in the query never travels.
    pub forward_credential: bool,
    /// `realm` of the challenge: visible ASCII without `"` and `\`. Default `harmony`.
    pub realm: String,
    /// `stream_end`: WebSockets, server-sent events and calls of gRPC end when the credential that
    /// let them in does: it expires, is revoked, or is taken out of the configuration. Default true
    /// (`"credential"`); false (`"never"`): nothing ends with it.
    pub ends_streams: bool,
    /// `end_downloads`: so does any other response. Default false.
    pub ends_downloads: bool,
    /// What the scheme itself needs.
    pub settings: AuthSettings,
}

impl AuthStep {
    /// A required step that sets nothing but what its scheme needs.
    pub fn new(settings: impl Into<AuthSettings>) -> Self {
        let settings = settings.into();
        Self {
            optional: false,
            fallback_on_failed: false,
            forward_credential: matches!(
                settings,
                AuthSettings::Jwt(_) | AuthSettings::Introspection(_)
            ),
            realm: "harmony".to_owned(),
            ends_streams: true,
            ends_downloads: false,
            settings,
        }
    }
}

/// What each scheme needs. Shared: caches key on its content.
#[derive(Debug, Clone, PartialEq)]
pub enum AuthSettings {
    /// `jwt-auth`.
    Jwt(Arc<Jwt>),
    /// `introspection`.
    Introspection(Arc<Introspection>),
    /// `basic-auth`.
    Basic(Arc<Basic>),
    /// `api-key`.
    ApiKey(Arc<ApiKey>),
    /// `mutual-tls`.
    MutualTls(Arc<MutualTls>),
}

impl AuthSettings {
    /// The value of `type`, in its first spelling.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Jwt(_) => "jwt-auth",
            Self::Introspection(_) => "introspection",
            Self::Basic(_) => "basic-auth",
            Self::ApiKey(_) => "api-key",
            Self::MutualTls(_) => "mutual-tls",
        }
    }
}

impl From<Jwt> for AuthSettings {
    fn from(settings: Jwt) -> Self {
        Self::Jwt(Arc::new(settings))
    }
}

impl From<Introspection> for AuthSettings {
    fn from(settings: Introspection) -> Self {
        Self::Introspection(Arc::new(settings))
    }
}

impl From<Basic> for AuthSettings {
    fn from(settings: Basic) -> Self {
        Self::Basic(Arc::new(settings))
    }
}

impl From<ApiKey> for AuthSettings {
    fn from(settings: ApiKey) -> Self {
        Self::ApiKey(Arc::new(settings))
    }
}

impl From<MutualTls> for AuthSettings {
    fn from(settings: MutualTls) -> Self {
        Self::MutualTls(Arc::new(settings))
    }
}

/// Where a credential stands in a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CredentialLocation {
    /// `Authorization`, under the step's scheme.
    Authorization,
    /// A header of its own, the whole value.
    Header(HeaderName),
    /// A cookie of this name.
    Cookie(String),
    /// A parameter of the query of this name.
    Query(String),
}

/// Settings of `basic-auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic {
    /// `username` with `password_hash` (or `password`), and `users`. Names are unique and hold no
    /// colon.
    pub users: Vec<BasicUser>,
    /// `htpasswd_path`: a file that exists; further users, bcrypt only.
    pub htpasswd_path: Option<PathBuf>,
    /// `max_failures`: failures of one client address in a minute before it is answered 429. 0: no
    /// limit. Default 10.
    pub max_failures: u32,
    /// Whose step it is: passwords for the cloud's steps wait in a queue of their own.
    pub owner: Owner,
}

/// One user of `basic-auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicUser {
    /// The name.
    pub name: String,
    /// What the password is checked against.
    pub password: StoredPassword,
}

/// What a password is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredPassword {
    /// `password_hash`: `$2a$`, `$2b$` or `$2y$`, cost 4 to 31, well formed.
    Bcrypt(Secret),
    /// `password`, as the older Harmony has it (a warning was noted).
    Plain(Secret),
}

/// Settings of `api-key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// `header` (default `X-API-Key`), `query` or `cookie`. Never
    /// [`CredentialLocation::Authorization`].
    pub location: CredentialLocation,
    /// `keys`: at least one; no digest twice.
    pub keys: Vec<ApiKeyEntry>,
    /// `pepper`: the key of the `hmac-sha256:` digests.
    pub pepper: Option<Secret>,
    /// `required_scopes`: the key must have all of them.
    pub required_scopes: Vec<String>,
    /// `max_failures`: unknown keys of one client address in a minute before it is answered 429. 0:
    /// no limit. Default 100.
    pub max_failures: u32,
}

/// One key of `api-key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyEntry {
    /// `id`, or the first 8 digits of the digest: the subject.
    pub id: String,
    /// What the presented key is hashed to.
    pub digest: KeyDigest,
    /// `expires_at`, seconds since 1970; `None`: it does not expire.
    pub expires_at: Option<i64>,
    /// `scopes`.
    pub scopes: Vec<String>,
}

/// How a key is stored.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum KeyDigest {
    /// SHA-256 of the key.
    Sha256([u8; 32]),
    /// HMAC-SHA-256 of the key under the pepper.
    HmacSha256([u8; 32]),
}

impl KeyDigest {
    /// The digest itself.
    pub fn bytes(&self) -> &[u8; 32] {
        match self {
            Self::Sha256(bytes) | Self::HmacSha256(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Settings of `mutual-tls`. The certificate itself is verified in the handshake, against the
/// `client_ca_path` of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutualTls {
    /// `subject_from`: what of the certificate is the subject. Default
    /// [`CertificateSubject::CommonName`].
    pub subject: CertificateSubject,
    /// `subjects`: who may pass. Empty: whoever has a certificate of the authority.
    pub subjects: Vec<String>,
    /// `sans`: the certificate must bear one of these names. Empty: any.
    pub names: Vec<AlternativeName>,
}

/// What of a certificate is the subject. A certificate that has none of it, or several, does not
/// pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateSubject {
    /// `common_name` of the subject.
    CommonName,
    /// The alternative name that is a URI (SPIFFE).
    Uri,
    /// The alternative name that is a DNS name.
    Dns,
    /// The alternative name that is a mail address.
    Email,
}

/// A subject alternative name (RFC 5280 section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlternativeName {
    /// `DNS:`, in lower case.
    Dns(String),
    /// `URI:`.
    Uri(String),
    /// `email:`.
    Email(String),
    /// `IP:`.
    Ip(IpAddr),
}
