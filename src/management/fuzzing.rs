//! What `fuzz/` needs of the Management API: the bodies of calls.

use super::body::Fields;
use super::token;
use runbeam_sdk::MachineToken;

/// The gateway code, the metadata and the encryption key of a body of `/authorize`; or what the
/// caller is told.
#[allow(clippy::type_complexity, reason = "read in one place only")]
pub fn authorize_body(
    body: &[u8],
) -> Result<(String, Option<Vec<String>>, Option<String>), String> {
    let fields = Fields::parse(body).map_err(|answer| answer.message)?;
    let read = token::authorization(&fields).map_err(|answer| answer.message)?;
    Ok((
        read.gateway_code,
        read.metadata,
        read.encryption_key.map(|key| key.as_str().to_owned()),
    ))
}

/// The token of a body of `/token`; or what the caller is told.
pub fn token_body(body: &[u8]) -> Result<MachineToken, String> {
    let fields = Fields::parse(body).map_err(|answer| answer.message)?;
    token::machine_token(&fields, "edge").map_err(|answer| answer.message)
}
