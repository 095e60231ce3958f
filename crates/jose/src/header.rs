//! The token's header (RFC 7515 section 4). It may name a key by its id; nothing else in it decides
//! anything.

use serde_json::{Map, Value};

use crate::{Algorithm, CompactJws, TokenError, strict_json};

/// What is taken from a header that passed.
#[derive(Debug)]
pub struct Header {
    /// `alg`, one of those that are accepted.
    pub algorithm: Algorithm,
    /// `kid`.
    pub kid: Option<String>,
    /// Whether it has a `typ`, which then is one of those that are accepted.
    pub has_type: bool,
}

impl Header {
    /// Members that no token may have, whatever their values: `crit` (RFC 7515 section 4.1.11) and
    /// `b64` (RFC 7797) change what the signature means, `zip` and `enc` (RFC 7516) belong to
    /// encryption, and `cty` to a nested token (RFC 8725 section 3.6).
    pub const UNSUPPORTED: [&str; 5] = ["crit", "b64", "zip", "enc", "cty"];

    /// Reads the header of a token. `jku`, `x5u`, `jwk` and `x5c` are passed over: they never lead
    /// to a connection or a key (RFC 8725 section 3.10). `algorithms` and `types` are those that
    /// are accepted.
    ///
    /// # Errors
    ///
    /// [`TokenError::WrongAlgorithm`], [`TokenError::UnsupportedHeader`],
    /// [`TokenError::WrongType`], [`TokenError::Malformed`].
    pub fn read(
        jws: &CompactJws<'_>,
        algorithms: &[Algorithm],
        types: &[impl AsRef<str>],
    ) -> Result<Self, TokenError> {
        let mut header = strict_json::object(&jws.header).ok_or(TokenError::Malformed)?;
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => algorithms.iter().find(|accepted| name == accepted.name()),
            _ => None,
        };
        let algorithm = *algorithm.ok_or(TokenError::WrongAlgorithm)?;
        if Self::has_unsupported(&header) {
            return Err(TokenError::UnsupportedHeader);
        }
        match header.get("typ") {
            None => {}
            Some(Value::String(typ)) if is_accepted(typ, types) => {}
            Some(_) => return Err(TokenError::WrongType),
        }
        let kid = match header.remove("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid),
            Some(_) => return Err(TokenError::Malformed),
        };
        Ok(Self {
            algorithm,
            kid,
            has_type: header.contains_key("typ"),
        })
    }

    /// Whether a header has one of [`Self::UNSUPPORTED`].
    pub(crate) fn has_unsupported(header: &Map<String, Value>) -> bool {
        let mut names = Self::UNSUPPORTED.iter();
        names.any(|name| header.contains_key(*name))
    }
}

/// RFC 7515 section 4.1.9: a media type, in which case does not matter and `application/` may be
/// left out. `accepted` is in lower case.
fn is_accepted(typ: &str, accepted: &[impl AsRef<str>]) -> bool {
    const PREFIX: &str = "application/";
    let short = match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => typ,
    };
    accepted
        .iter()
        .map(AsRef::as_ref)
        .any(|known| known.eq_ignore_ascii_case(short) || known.eq_ignore_ascii_case(typ))
}

#[cfg(test)]
mod tests {
    use super::is_accepted;

    #[test]
    fn a_media_type_may_leave_out_application_and_nothing_else() {
        let accepted = ["at+jwt"];
        for typ in [
            "at+jwt",
            "AT+JWT",
            "application/at+jwt",
            "Application/at+JWT",
        ] {
            assert!(is_accepted(typ, &accepted), "{typ}");
        }
        for typ in [
            "",
            "jwt",
            "application/",
            "application/jwt",
            "applicatiom/at+jwt",
            "application/application/at+jwt",
            "at+jwt ",
        ] {
            assert!(!is_accepted(typ, &accepted), "{typ}");
        }
    }
}
