//! Finding the token in a request: in the one location where the step looks for it.

use std::borrow::Cow;

use jose::{MAX_TOKEN, TokenError};

use super::bearer::{self, BearerToken};
use super::extractor;
use super::request::AuthRequest;
use crate::config::CredentialLocation;

/// A token, and how it is presented.
type Found<'a> = (Cow<'a, [u8]>, TokenScheme);

/// How a token is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenScheme {
    /// As one of whoever has it (RFC 6750), or outside of `Authorization`.
    Bearer,
    /// With a proof (RFC 9449 section 7.1).
    Dpop,
}

/// Looks for a token; `takes_proofs`: under the scheme `DPoP` too. That there is only one, the
/// chain has seen to. `None`: nothing is there, or in `Authorization` another scheme.
///
/// # Errors
///
/// What is there cannot be a token, or is longer than one may be.
pub(super) fn find<'a>(
    request: &AuthRequest<'a>,
    location: &CredentialLocation,
    takes_proofs: bool,
) -> Result<Option<Found<'a>>, TokenError> {
    let (token, scheme) = if *location == CredentialLocation::Authorization {
        let (found, scheme) = match bearer::find(request.headers) {
            BearerToken::Absent if takes_proofs => {
                let found = bearer::find_of(b"dpop", request.headers);
                (found, TokenScheme::Dpop)
            }
            found => (found, TokenScheme::Bearer),
        };
        match found {
            BearerToken::Absent => return Ok(None),
            BearerToken::Malformed => return Err(TokenError::Malformed),
            BearerToken::Token(token) => (Cow::Borrowed(token), scheme),
        }
    } else {
        let token = match (extractor::find(location, request), location) {
            (extractor::Found::Nothing, _) => return Ok(None),
            (extractor::Found::Repeated, _) => return Err(TokenError::Malformed),
            (extractor::Found::One(value), CredentialLocation::Header(_)) => without_scheme(value),
            (extractor::Found::One(value), _) => value,
        };
        (token, TokenScheme::Bearer)
    };
    match token.len() {
        0 => Err(TokenError::Malformed),
        1..=MAX_TOKEN => Ok(Some((token, scheme))),
        _ => Err(TokenError::TooLong),
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
