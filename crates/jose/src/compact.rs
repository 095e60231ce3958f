//! The compact form: three segments of base64url (RFC 7515 sections 2 and 7.1).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Claims, TokenError};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

/// A token, split and decoded. Nothing in it has been verified.
pub struct CompactJws<'a> {
    /// What was signed: the first two segments as they came, with the dot between them.
    pub(crate) signing_input: &'a [u8],
    pub(crate) header: Vec<u8>,
    pub(crate) claims: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl<'a> CompactJws<'a> {
    /// Splits a token of exactly three segments. The alphabet is strict: no padding, no white
    /// space, no bits left over.
    ///
    /// # Errors
    ///
    /// [`TokenError::TooLong`], [`TokenError::Malformed`].
    pub fn split(token: &'a [u8]) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let mut dots = token
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'.')
            .map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(TokenError::Malformed);
        };
        let decode = |segment: &[u8]| {
            URL_SAFE_NO_PAD
                .decode(segment)
                .map_err(|_| TokenError::Malformed)
        };
        Ok(Self {
            signing_input: &token[..second],
            header: decode(&token[..first])?,
            claims: decode(&token[first + 1..second])?,
            signature: decode(&token[second + 1..])?,
        })
    }

    /// The text of the header.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// What the token claims, before any key has verified it: enough to choose the issuer whose
    /// keys are to do so, and for nothing else.
    ///
    /// # Errors
    ///
    /// [`TokenError::Malformed`].
    pub fn unverified_claims(&self) -> Result<Claims, TokenError> {
        Claims::parse(&self.claims)
    }
}

/// Shows nothing of the token.
impl fmt::Debug for CompactJws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompactJws").finish_non_exhaustive()
    }
}
