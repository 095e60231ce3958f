//! Finding the token in a request: in the one place where the step looks for it.

use std::borrow::Cow;

use super::bearer::{self, BearerToken};
use super::extractor::{self, Found};
use super::request::AuthRequest;
use crate::config::CredentialLocation;

/// What stands in that place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FoundToken<'a> {
    /// Nothing, or in `Authorization` another scheme.
    Nothing,
    /// Something that cannot be a token.
    Malformed,
    Token(Cow<'a, [u8]>, TokenScheme),
}

/// How a token is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenScheme {
    /// As one of whoever has it (RFC 6750), or outside of `Authorization`.
    Bearer,
    /// With a proof (RFC 9449 section 7.1).
    Dpop,
}

/// Looks for a token; `takes_proofs`: under the scheme `DPoP` too. That there is only one, the
/// chain has seen to.
pub(super) fn find<'a>(
    request: &AuthRequest<'a>,
    place: &CredentialLocation,
    takes_proofs: bool,
) -> FoundToken<'a> {
    if *place == CredentialLocation::Authorization {
        let found = |token, scheme| match token {
            BearerToken::Absent => FoundToken::Nothing,
            BearerToken::Malformed => FoundToken::Malformed,
            BearerToken::Token(token) => FoundToken::Token(Cow::Borrowed(token), scheme),
        };
        return match bearer::find(request.headers) {
            BearerToken::Absent if takes_proofs => {
                found(bearer::find_of(b"dpop", request.headers), TokenScheme::Dpop)
            }
            token => found(token, TokenScheme::Bearer),
        };
    }
    let token = match extractor::find(place, request) {
        Found::Nothing => return FoundToken::Nothing,
        Found::Repeated => return FoundToken::Malformed,
        Found::One(value) => match place {
            CredentialLocation::Header(_) => without_scheme(value),
            _ => value,
        },
    };
    if token.is_empty() {
        FoundToken::Malformed
    } else {
        FoundToken::Token(token, TokenScheme::Bearer)
    }
}

/// In a header of its own, the word `Bearer` before the token is tolerated.
fn without_scheme(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    const SCHEME: &[u8] = b"bearer ";
    match (&value, value.split_at_checked(SCHEME.len())) {
        (Cow::Borrowed(borrowed), Some((scheme, _))) if scheme.eq_ignore_ascii_case(SCHEME) => {
            borrowed[SCHEME.len()..].trim_ascii_start().into()
        }
        _ => value,
    }
}
