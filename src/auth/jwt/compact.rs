//! The compact form: three segments of base64url (RFC 7515 sections 2 and 7.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::outcome::Reason;

/// The longest token that is looked at, in bytes.
pub(super) const MAX_TOKEN: usize = 8 * 1024;

/// A token, split and decoded, but not yet believed.
pub(super) struct Compact<'a> {
    /// What was signed: the first two segments as they came, with the dot between them.
    pub(super) signing_input: &'a [u8],
    pub(super) header: Vec<u8>,
    pub(super) claims: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Splits a token of exactly three segments. The alphabet is strict: no padding, no white
    /// space, no bits left over.
    pub(super) fn split(token: &'a [u8]) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN {
            return Err(Reason::TooLong);
        }
        let mut dots = token
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'.')
            .map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(Reason::Malformed);
        };
        let decode = |segment: &[u8]| {
            URL_SAFE_NO_PAD
                .decode(segment)
                .map_err(|_| Reason::Malformed)
        };
        Ok(Self {
            signing_input: &token[..second],
            header: decode(&token[..first])?,
            claims: decode(&token[first + 1..second])?,
            signature: decode(&token[second + 1..])?,
        })
    }
}
