//! `POST /authorize`, `/token` and `/deauthorize`: how a gateway comes by its machine token, and
//! loses it. No answer and no log line holds one.

use http::StatusCode;
use pingora::protocols::http::ServerSession;
use serde_json::json;

use super::body::{self, Fields, bad};
use super::cloud::{cloud_error, disabled};
use super::response::ApiResponse;
use crate::control::{Agent, Authorization, CommandError};
use crate::gateway::{RepeatedAuthorization, single_bearer};
use runbeam_sdk::MachineToken;

/// Longest values, in bytes.
const MAX_NAME: usize = 255;
const MAX_TOKEN: usize = 8192;
const MAX_KEY: usize = 64 * 1024;

/// Exchanges a user's token for a machine token. The user's token is checked before the body is
/// read.
pub(super) async fn authorize(
    agent: &Agent,
    session: &mut ServerSession,
) -> Result<ApiResponse, ApiResponse> {
    let presented = bearer(session)?;
    let user = agent
        .check_user(&presented)
        .await
        .map_err(|error| command_error(&error))?;
    let body = body::read(session).await?;
    let taken = agent
        .authorize(user, authorization(&Fields::parse(&body)?)?)
        .await
        .map_err(|error| command_error(&error))?;
    let body = json!({
        "success": true,
        "message": "this gateway is authorized",
        "gateway": {
            "id": taken.gateway_id,
            "code": taken.gateway_code,
            "name": taken.gateway_name,
        },
        "expires_at": taken.expires_at,
        "expires_in": taken.expires_in,
    });
    let mut answer = ApiResponse::json(StatusCode::CREATED, &body);
    answer.message = format!("gateway {:?}", taken.gateway_code);
    Ok(answer)
}

/// Takes a machine token that somebody else has obtained from the cloud.
pub(super) async fn take(
    agent: &Agent,
    session: &mut ServerSession,
) -> Result<ApiResponse, ApiResponse> {
    let body = body::read(session).await?;
    let fields = Fields::parse(&body)?;
    let token = machine_token(&fields, agent.instance())?;
    let key = fields.optional_lines("encryption_key", MAX_KEY)?;
    let base = fields.optional_text("api_base_url", MAX_TOKEN)?;
    let code = token.gateway_code.clone();
    let expired = token.is_expired();
    agent
        .take(token, key, base)
        .await
        .map_err(|error| command_error(&error))?;
    let message = if expired {
        "the token is saved, but it has expired"
    } else {
        "the token is saved"
    };
    let mut answer = ApiResponse::ok(&json!({ "success": true, "message": message }));
    answer.message = format!("gateway {code:?}");
    Ok(answer)
}

/// Forgets the machine token, here only: the cloud is not told.
pub(super) async fn forget(agent: &Agent) -> ApiResponse {
    match agent.forget().await {
        Ok(()) => ApiResponse::ok(&json!({
            "success": true,
            "message": "the machine token is forgotten here; revoke it in Runbeam Cloud too",
        })),
        Err(error) => command_error(&error),
    }
}

/// What `/authorize` is told.
pub(super) fn authorization(fields: &Fields) -> Result<Authorization, ApiResponse> {
    Ok(Authorization {
        gateway_code: fields.text("gateway_code", MAX_NAME)?.to_owned(),
        machine_public_key: fields
            .optional_lines("machine_public_key", MAX_TOKEN)?
            .map(str::to_owned),
        metadata: fields.texts_or_pairs("metadata")?,
        encryption_key: fields
            .optional_lines("encryption_key", MAX_KEY)?
            .map(|key| key.to_owned().into()),
    })
}

/// The token that `/token` brings. Newer clients leave `gateway_code` out: then it is that of
/// `instance`, `proxy.id`.
pub(super) fn machine_token(fields: &Fields, instance: &str) -> Result<MachineToken, ApiResponse> {
    let code = fields.optional_text("gateway_code", MAX_NAME)?;
    let token = MachineToken::new(
        fields.token("machine_token", MAX_TOKEN)?,
        fields.token("expires_at", MAX_NAME)?,
        fields.token("gateway_id", MAX_NAME)?,
        code.unwrap_or(instance),
        fields.texts("abilities")?,
    );
    if token.expires().is_none() {
        return Err(bad(
            "expires_at must be a time such as 2026-12-31T23:59:59Z",
        ));
    }
    Ok(token)
}

/// The token of `Authorization: Bearer`, once and not empty.
fn bearer(session: &ServerSession) -> Result<String, ApiResponse> {
    let token = single_bearer(&session.req_header().headers)
        .map_err(|RepeatedAuthorization| bad("Authorization was sent twice"))?;
    let token = token.and_then(|token| std::str::from_utf8(token).ok());
    let fits = |token: &&str| token.is_ascii() && (1..=MAX_TOKEN).contains(&token.len());
    let token = token.filter(fits);
    token.map(str::to_owned).ok_or_else(|| {
        ApiResponse::unauthorized(
            "send the user token that `runbeam login` got: Authorization: Bearer TOKEN",
        )
    })
}

/// What the caller gets when the agent does not do as told. The log has the details.
fn command_error(error: &CommandError) -> ApiResponse {
    match error {
        CommandError::Disabled => disabled(),
        CommandError::UserToken(error) => {
            log::warn!("management: {error}");
            ApiResponse::unauthorized("the user token is not valid here")
        }
        CommandError::Cloud(error) => cloud_error(error),
        CommandError::OtherCloud { .. } => {
            ApiResponse::error(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
        CommandError::Key(_) => bad(&error.to_string()),
        CommandError::Store(problem) => {
            log::error!(
                "management: the new machine token is not taken, what was stored before is still \
                 there: {problem}"
            );
            ApiResponse::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the token cannot be stored; what was stored before is still there",
            )
        }
    }
}
