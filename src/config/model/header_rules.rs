//! `headers`: what a pipeline changes in the header fields of requests and of their answers.

use std::fmt;

use http::{HeaderName, HeaderValue};

/// Settings of `headers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRules {
    /// `request`: what the upstream gets.
    pub request: HeaderChanges,
    /// `response`: what the client gets, also of the edge's own answers.
    pub response: HeaderChanges,
    /// `security_headers`: whether an answer gets the usual five where it has none of its own.
    pub security_headers: bool,
}

impl HeaderRules {
    /// Every value that it sets or adds.
    pub fn templates(&self) -> impl Iterator<Item = &HeaderTemplate> {
        let changes = [&self.request, &self.response].into_iter();
        let values = changes.flat_map(|changes| changes.set.iter().chain(&changes.add));
        values.map(|(_, template)| template)
    }
}

/// What is changed: first what is removed, then what is set, then what is added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// `remove`.
    pub remove: Vec<HeaderName>,
    /// `set`: in the place of whatever is there.
    pub set: Vec<(HeaderName, HeaderTemplate)>,
    /// `add`: beside what is there.
    pub add: Vec<(HeaderName, HeaderTemplate)>,
}

impl HeaderChanges {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Every name that is removed, set or added.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let filled = self.set.iter().chain(&self.add).map(|(name, _)| name);
        self.remove.iter().chain(filled)
    }

    /// The names that nothing of what was there is kept of: what a client writes there could be
    /// taken for what a rule does.
    pub fn cleared(&self) -> impl Iterator<Item = &HeaderName> {
        let set = self.set.iter().map(|(name, _)| name);
        let identity = self.add.iter().filter(|(_, value)| value.reads_identity());
        let identity = identity.map(|(name, _)| name);
        self.remove.iter().chain(set).chain(identity)
    }
}

/// The value of a header that a rule sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderTemplate {
    /// Always the same. Marked as sensitive where a reference (`${NAME}`) was filled in.
    Fixed(HeaderValue),
    /// Parts, of which some come from the request; without one of these there is no field.
    Filled {
        /// Joined without anything between.
        parts: Vec<TemplatePart>,
        /// Whether a reference (`${NAME}`) was filled in.
        sensitive: bool,
    },
}

impl HeaderTemplate {
    /// Whether a reference (`${NAME}`) was filled in, so that nothing may show it.
    pub fn is_sensitive(&self) -> bool {
        match self {
            Self::Fixed(value) => value.is_sensitive(),
            Self::Filled { sensitive, .. } => *sensitive,
        }
    }

    /// Whether it says who a request is from.
    pub fn reads_identity(&self) -> bool {
        self.parts()
            .iter()
            .any(|part| matches!(part, TemplatePart::Subject | TemplatePart::Claim(_)))
    }

    /// Whether it reads a claim.
    pub fn reads_claims(&self) -> bool {
        self.parts()
            .iter()
            .any(|part| matches!(part, TemplatePart::Claim(_)))
    }

    fn parts(&self) -> &[TemplatePart] {
        match self {
            Self::Fixed(_) => &[],
            Self::Filled { parts, .. } => parts,
        }
    }
}

/// A part of a header's value.
#[derive(Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// As it is written, `{{` and `}}` as one brace.
    Text(String),
    /// `{client_ip}`: the client's address, behind trusted proxies.
    ClientIp,
    /// `{host}`: the host that was asked for, without port.
    Host,
    /// `{request_id}`.
    RequestId,
    /// `{subject}`: what `X-Auth-Subject` says.
    Subject,
    /// `{claim:NAME}`: a claim of the token, in the form of `claims_to_headers`.
    Claim(String),
}

/// Without the text, which may hold a secret.
impl fmt::Debug for TemplatePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::ClientIp => "ClientIp",
            Self::Host => "Host",
            Self::RequestId => "RequestId",
            Self::Subject => "Subject",
            Self::Claim(_) => "Claim",
        })
    }
}
