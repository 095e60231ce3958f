//! The values of `WWW-Authenticate`, made once per group of steps (RFC 9110 section 11.6.1, RFC
//! 6750 section 3, RFC 9449 section 7.1, RFC 9728 section 5.1).

use std::sync::Arc;

use http::HeaderValue;

use super::outcome::Class;
use crate::config::JwtAlgorithm;

/// An authentication scheme that a step offers, with its realm.
#[derive(Debug, Clone, Copy)]
pub(super) enum Offer<'a> {
    /// RFC 6750.
    Bearer {
        realm: &'a str,
        /// What a token has to have been granted.
        scopes: &'a [String],
    },
    /// RFC 9449.
    Dpop {
        realm: &'a str,
        scopes: &'a [String],
        /// What a proof may be signed with.
        algorithms: &'a [JwtAlgorithm],
    },
    /// RFC 7617.
    Basic { realm: &'a str },
    /// Not registered; tells a client that an API key would do.
    ApiKey { realm: &'a str },
    /// Not registered either: RFC 9110 wants a challenge on every 401, and TLS has none to offer.
    ClientCertificate { realm: &'a str },
}

/// What a group answers, for every class of denial.
#[derive(Debug, Clone)]
pub(super) struct Challenges {
    not_presented: Arc<[HeaderValue]>,
    invalid_credential: Arc<[HeaderValue]>,
    invalid_proof: Arc<[HeaderValue]>,
    nonce_required: Arc<[HeaderValue]>,
    invalid_request: Arc<[HeaderValue]>,
    /// For each step of the group: it names the scopes that this one asks for.
    insufficient_scope: Box<[Arc<[HeaderValue]>]>,
    none: Arc<[HeaderValue]>,
}

impl Challenges {
    /// The challenges of what the steps of a group offer, each scheme once (as it comes first).
    /// `metadata` is where the resource describes itself. `None`: a realm that no header can carry.
    pub(super) fn new(steps: &[Vec<Offer<'_>>], metadata: Option<&str>) -> Option<Self> {
        let mut offers: Vec<Offer<'_>> = Vec::new();
        for offer in steps.iter().flatten() {
            if offers.iter().all(|known| known.scheme() != offer.scheme()) {
                offers.push(*offer);
            }
        }
        let with = |bearer: Option<&str>, dpop: Option<&str>, scopes: &[String]| {
            let error = |offer: &Offer<'_>| match offer {
                Offer::Bearer { .. } => bearer,
                Offer::Dpop { .. } => dpop,
                Offer::Basic { .. } | Offer::ApiKey { .. } | Offer::ClientCertificate { .. } => {
                    None
                }
            };
            let offers = offers.iter();
            offers
                .map(|offer| offer.challenge(error(offer), scopes, metadata))
                .collect::<Option<Arc<[_]>>>()
        };
        let both = |error| with(Some(error), Some(error), &[]);
        let insufficient_scope = steps.iter().map(|offers| {
            let scopes = offers.first().map_or(&[][..], Offer::scopes);
            with(
                Some("insufficient_scope"),
                Some("insufficient_scope"),
                scopes,
            )
        });
        Some(Self {
            not_presented: with(None, None, &[])?,
            invalid_credential: both("invalid_token")?,
            invalid_proof: with(None, Some("invalid_dpop_proof"), &[])?,
            nonce_required: with(None, Some("use_dpop_nonce"), &[])?,
            invalid_request: both("invalid_request")?,
            insufficient_scope: insufficient_scope.collect::<Option<_>>()?,
            none: Arc::new([]),
        })
    }

    /// The challenges for one class of denial, by the step of this number in the group.
    pub(super) fn of(&self, class: Class, step: usize) -> Arc<[HeaderValue]> {
        match class {
            Class::NotPresented => &self.not_presented,
            Class::InvalidCredential => &self.invalid_credential,
            Class::InvalidProof => &self.invalid_proof,
            Class::NonceRequired => &self.nonce_required,
            Class::InsufficientScope => self.insufficient_scope.get(step).unwrap_or(&self.none),
            Class::InvalidRequest => &self.invalid_request,
            Class::TooManyRequests | Class::Unavailable => &self.none,
        }
        .clone()
    }
}

impl Offer<'_> {
    fn scheme(&self) -> &'static str {
        match self {
            Self::Bearer { .. } => "Bearer",
            Self::Dpop { .. } => "DPoP",
            Self::Basic { .. } => "Basic",
            Self::ApiKey { .. } => "ApiKey",
            Self::ClientCertificate { .. } => "ClientCertificate",
        }
    }

    fn realm(&self) -> &str {
        match self {
            Self::Bearer { realm, .. }
            | Self::Dpop { realm, .. }
            | Self::Basic { realm }
            | Self::ApiKey { realm }
            | Self::ClientCertificate { realm } => realm,
        }
    }

    fn scopes(&self) -> &[String] {
        match self {
            Self::Bearer { scopes, .. } | Self::Dpop { scopes, .. } => scopes,
            Self::Basic { .. } | Self::ApiKey { .. } | Self::ClientCertificate { .. } => &[],
        }
    }

    /// One challenge. Only the schemes of tokens have errors, scopes and metadata.
    fn challenge(
        &self,
        error: Option<&str>,
        scopes: &[String],
        metadata: Option<&str>,
    ) -> Option<HeaderValue> {
        let mut text = format!("{} realm=\"{}\"", self.scheme(), self.realm());
        let mut add = |name: &str, value: &str| text.push_str(&format!(", {name}=\"{value}\""));
        match self {
            Self::Basic { .. } => add("charset", "UTF-8"),
            Self::ApiKey { .. } | Self::ClientCertificate { .. } => {}
            Self::Bearer { .. } | Self::Dpop { .. } => {
                if let Some(error) = error {
                    add("error", error);
                }
                let scopes: Vec<&str> =
                    scopes.iter().map(String::as_str).filter(is_scope).collect();
                if !scopes.is_empty() {
                    add("scope", &scopes.join(" "));
                }
                if let Self::Dpop { algorithms, .. } = self {
                    let names: Vec<_> = algorithms.iter().map(|it| it.name()).collect();
                    add("algs", &names.join(" "));
                }
                if let Some(url) = metadata {
                    add("resource_metadata", url);
                }
            }
        }
        HeaderValue::try_from(text).ok()
    }
}

/// Whether a scope can stand between quotes (RFC 6749 section 3.3).
fn is_scope(scope: &&str) -> bool {
    let is_sound = |byte: u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\');
    !scope.is_empty() && scope.bytes().all(is_sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(challenges: &Challenges, class: Class, step: usize) -> Vec<String> {
        let values = challenges.of(class, step);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        values.iter().map(text).collect()
    }

    #[test]
    fn each_scheme_is_offered_once_and_says_what_it_can() {
        let realm = "r";
        let (read, write) = (
            ["read".to_owned()],
            ["wr\"ite".to_owned(), "write".to_owned()],
        );
        let algorithms = &[JwtAlgorithm::Es256, JwtAlgorithm::EdDsa];
        let bearer = |scopes| Offer::Bearer { realm, scopes };
        let dpop = Offer::Dpop {
            realm,
            scopes: &read,
            algorithms,
        };
        let steps = [
            vec![bearer(&read), dpop],
            vec![Offer::Basic { realm }],
            vec![bearer(&write)],
        ];
        let challenges = Challenges::new(&steps, Some("https://a/m")).unwrap();
        let basic = "Basic realm=\"r\", charset=\"UTF-8\"";
        for (class, step, of_bearer, of_dpop) in [
            (Class::NotPresented, 0, "", ""),
            (
                Class::InvalidCredential,
                1,
                ", error=\"invalid_token\"",
                ", error=\"invalid_token\"",
            ),
            (Class::InvalidProof, 0, "", ", error=\"invalid_dpop_proof\""),
            (Class::NonceRequired, 0, "", ", error=\"use_dpop_nonce\""),
            (
                Class::InsufficientScope,
                0,
                ", error=\"insufficient_scope\", scope=\"read\"",
                ", error=\"insufficient_scope\", scope=\"read\"",
            ),
            (
                Class::InsufficientScope,
                2,
                ", error=\"insufficient_scope\", scope=\"write\"",
                ", error=\"insufficient_scope\", scope=\"write\"",
            ),
        ] {
            let metadata = ", resource_metadata=\"https://a/m\"";
            let expected = [
                format!("Bearer realm=\"r\"{of_bearer}{metadata}"),
                format!("DPoP realm=\"r\"{of_dpop}, algs=\"ES256 EdDSA\"{metadata}"),
                basic.to_owned(),
            ];
            assert_eq!(texts(&challenges, class, step), expected, "{class:?}");
        }
        assert!(texts(&challenges, Class::Unavailable, 0).is_empty());
        let plain = Challenges::new(&[vec![bearer(&[])]], None).unwrap();
        assert_eq!(
            texts(&plain, Class::NotPresented, 0),
            ["Bearer realm=\"r\""]
        );
        assert!(Challenges::new(&[vec![Offer::ApiKey { realm: "\n" }]], None).is_none());
    }
}
