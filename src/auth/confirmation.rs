//! What a token is bound to: `cnf` (RFC 7800 section 3.1). Whoever has stolen a bound token does
//! not have what it is bound to.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::Claims;
use serde_json::Value;

use super::outcome::Reason;

/// What the sender of a token has to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Confirmation {
    /// `jkt`: the thumbprint of a key (RFC 9449 section 6.1).
    pub(super) key: Option<[u8; 32]>,
    /// `x5t#S256`: the SHA-256 of a certificate (RFC 8705 section 3.1).
    pub(super) certificate: Option<[u8; 32]>,
}

impl Confirmation {
    /// What claims say. `None`: the token is bound to nothing. An error: there is a member that is
    /// not known here, or none at all, so that nobody can tell whether it holds.
    pub(super) fn of(claims: &Claims) -> Result<Option<Self>, Reason> {
        let Some(cnf) = claims.get("cnf") else {
            return Ok(None);
        };
        let mut confirmation = Self::default();
        let members = cnf.as_object().filter(|members| !members.is_empty());
        for (name, value) in members.ok_or(Reason::SenderBound)? {
            let bound_to = match name.as_str() {
                "jkt" => &mut confirmation.key,
                "x5t#S256" => &mut confirmation.certificate,
                _ => return Err(Reason::SenderBound),
            };
            *bound_to = Some(digest(value).ok_or(Reason::SenderBound)?);
        }
        Ok(Some(confirmation))
    }

    /// Both of what was said of one token. An error: no sender could have all of it.
    pub(super) fn and(self, other: Self) -> Result<Self, Reason> {
        let both = |one: Option<[u8; 32]>, other: Option<[u8; 32]>| match (one, other) {
            (Some(one), Some(other)) if one != other => Err(Reason::SenderBound),
            (one, other) => Ok(one.or(other)),
        };
        Ok(Self {
            key: both(self.key, other.key)?,
            certificate: both(self.certificate, other.certificate)?,
        })
    }
}

/// A SHA-256 in base64url.
fn digest(value: &Value) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD
        .decode(value.as_str()?)
        .ok()?
        .try_into()
        .ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(cnf: Value) -> Result<Option<Confirmation>, Reason> {
        let claims = json!({ "cnf": cnf });
        Confirmation::of(&claims.as_object().unwrap().clone().into())
    }

    #[test]
    fn only_known_members_that_are_digests_can_hold() {
        let digest = URL_SAFE_NO_PAD.encode([7; 32]);
        let confirmation = |key, certificate| Ok(Some(Confirmation { key, certificate }));
        assert_eq!(
            of(json!({ "jkt": digest })),
            confirmation(Some([7; 32]), None)
        );
        assert_eq!(
            of(json!({ "x5t#S256": digest })),
            confirmation(None, Some([7; 32]))
        );
        let both = json!({ "x5t#S256": digest, "jkt": digest });
        assert_eq!(of(both), confirmation(Some([7; 32]), Some([7; 32])));
        assert_eq!(Confirmation::of(&Claims::default()), Ok(None));
        for cnf in [
            json!({}),
            json!(null),
            json!("x"),
            json!([]),
            json!({ "kid": "x" }),
            json!({ "jwk": { "kty": "oct" } }),
            json!({ "jkt": digest, "kid": "x" }),
            json!({ "jkt": digest, "x5t#S256": null }),
            json!({ "jkt": "" }),
            json!({ "jkt": 7 }),
            json!({ "jkt": [digest] }),
            json!({ "jkt": format!("{digest}=") }),
            json!({ "jkt": URL_SAFE_NO_PAD.encode([7; 31]) }),
            json!({ "jkt": URL_SAFE_NO_PAD.encode([7; 33]) }),
            json!({ "JKT": digest }),
            json!({ "x5t": digest }),
            json!({ "x5t#s256": digest }),
        ] {
            assert_eq!(of(cnf.clone()), Err(Reason::SenderBound), "{cnf}");
        }
    }

    #[test]
    fn what_two_say_has_to_hold_together() {
        let of = |key: Option<u8>, certificate: Option<u8>| Confirmation {
            key: key.map(|byte| [byte; 32]),
            certificate: certificate.map(|byte| [byte; 32]),
        };
        assert_eq!(
            of(Some(1), None).and(of(None, Some(2))),
            Ok(of(Some(1), Some(2)))
        );
        assert_eq!(
            of(Some(1), None).and(of(Some(1), None)),
            Ok(of(Some(1), None))
        );
        assert!(of(Some(1), None).and(of(Some(2), None)).is_err());
        assert!(of(Some(1), Some(1)).and(of(Some(1), Some(2))).is_err());
    }
}
