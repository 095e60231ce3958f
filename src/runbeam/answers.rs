//! What the cloud answers to the calls of a gateway.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::fields::Fields;

/// What an answer becomes; an error is the end of a sentence about the answer, without any value of
/// it.
pub(super) trait Answer: Sized {
    fn read(answer: Value) -> Result<Self, String>;
}

/// A machine token, fresh from the cloud.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct AuthorizeResponse {
    /// The token: a secret.
    pub machine_token: String,
    /// For how many seconds it counts; 0 if the cloud did not say.
    pub expires_in: f64,
    /// When it expires, in RFC 3339. Made from `expires_in` if the cloud left it out; empty if
    /// nothing is known.
    pub expires_at: String,
    /// The gateway that it is for.
    pub gateway: AuthorizedGateway,
    /// What it may be used for.
    pub abilities: Vec<String>,
}

/// The gateway of an [`AuthorizeResponse`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorizedGateway {
    /// Its id in the cloud.
    pub id: String,
    /// Its code. Empty if the cloud did not say.
    pub code: String,
    /// Its name. Empty if the cloud did not say.
    pub name: String,
    /// Who authorized it.
    pub authorized_by: Option<AuthorizedBy>,
}

/// A user, as an [`AuthorizedGateway`] names them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorizedBy {
    /// The user's id.
    pub id: String,
    /// The user's name.
    pub name: String,
    /// The user's address.
    pub email: String,
}

impl Answer for AuthorizeResponse {
    fn read(answer: Value) -> Result<Self, String> {
        let mut fields = Fields::of(answer, "authorization")?;
        let machine_token = fields.needed("machine_token")?;
        let expires_in = fields.number("expires_in").unwrap_or(0.0);
        let expires_at = fields
            .text("expires_at")
            .unwrap_or_else(|| in_seconds(expires_in));
        let mut gateway = Fields::of(fields.take("gateway").unwrap_or_default(), "`gateway`")?;
        let by = gateway.take("authorized_by");
        Ok(Self {
            machine_token,
            expires_in,
            expires_at,
            gateway: AuthorizedGateway {
                id: gateway.needed("id")?,
                code: gateway.text("code").unwrap_or_default(),
                name: gateway.text("name").unwrap_or_default(),
                authorized_by: by.and_then(|by| {
                    let mut by = Fields::of(by, "").ok()?;
                    Some(AuthorizedBy {
                        id: by.text("id").unwrap_or_default(),
                        name: by.text("name").unwrap_or_default(),
                        email: by.text("email").unwrap_or_default(),
                    })
                }),
            },
            abilities: fields.texts("abilities"),
        })
    }
}

/// Shows everything but the token.
impl fmt::Debug for AuthorizeResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeResponse")
            .field("machine_token", &"[redacted]")
            .field("expires_in", &self.expires_in)
            .field("expires_at", &self.expires_at)
            .field("gateway", &self.gateway)
            .field("abilities", &self.abilities)
            .finish()
    }
}

/// That many seconds from now in RFC 3339. Empty for what is no time to come.
fn in_seconds(seconds: f64) -> String {
    Some(seconds)
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok())
        .and_then(|left| Timestamp::now().checked_add(left).ok())
        .map(|end| end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

/// A change of configuration that waits for a gateway.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigChange {
    /// Its id.
    pub id: String,
    /// `type`: `gateway`, `pipeline`, ...
    pub change_type: String,
    /// `pending`, `acknowledged`, `applied`, `failed`; empty if the cloud did not say.
    pub status: String,
    /// The gateway that it is for; empty if the cloud did not say.
    pub gateway_id: String,
    /// The pipeline that it is about.
    pub pipeline_id: Option<String>,
    /// The configuration. A list does not hold it; [`super::RunbeamClient::get_change`] does.
    pub toml_config: Option<String>,
    /// When it was made, in RFC 3339; empty if the cloud did not say.
    pub created_at: String,
}

impl Answer for ConfigChange {
    fn read(answer: Value) -> Result<Self, String> {
        let mut fields = Fields::of(answer, "change")?;
        Ok(Self {
            id: fields.needed("id")?,
            change_type: fields.text("type").unwrap_or_default(),
            status: fields.text("status").unwrap_or_default(),
            gateway_id: fields.text("gateway_id").unwrap_or_default(),
            pipeline_id: fields.text("pipeline_id"),
            toml_config: fields.text("toml_config"),
            created_at: fields.text("created_at").unwrap_or_default(),
        })
    }
}

/// Shows everything but the configuration, which may hold secrets.
impl fmt::Debug for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigChange")
            .field("id", &self.id)
            .field("change_type", &self.change_type)
            .field("status", &self.status)
            .field("gateway_id", &self.gateway_id)
            .field("pipeline_id", &self.pipeline_id)
            .field("toml_config", &self.toml_config.as_ref().map(String::len))
            .field("created_at", &self.created_at)
            .finish()
    }
}

/// Which changes are acknowledged now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcknowledgeResponse {
    /// The ids of those that are.
    pub acknowledged: Vec<String>,
    /// The ids of those that are not.
    pub failed: Vec<String>,
}

impl Answer for AcknowledgeResponse {
    fn read(answer: Value) -> Result<Self, String> {
        let mut fields = Fields::of(answer, "acknowledgement")?;
        Ok(Self {
            acknowledged: fields.texts("acknowledged"),
            failed: fields.texts("failed"),
        })
    }
}

/// What became of marking a change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeResponse {
    /// Whether the cloud took it; true if it did not say.
    pub success: bool,
    /// What the cloud said.
    pub message: String,
}

impl Answer for ChangeResponse {
    fn read(answer: Value) -> Result<Self, String> {
        let mut fields = Fields::of(answer, "result")?;
        Ok(Self {
            success: fields.truth("success").unwrap_or(true),
            message: fields.text("message").unwrap_or_default(),
        })
    }
}

/// What became of a configuration that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreConfigResponse {
    /// Whether the cloud took it; true if it did not say.
    pub success: bool,
    /// What the cloud said.
    pub message: String,
    /// What it was stored as.
    pub data: Option<StoredConfig>,
}

/// What an uploaded configuration was stored as.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredConfig {
    /// The id of the resource.
    pub id: String,
    /// `type`: `gateway` or `pipeline`.
    pub config_type: String,
    /// `created` or `updated`.
    pub action: String,
}

impl Answer for StoreConfigResponse {
    fn read(answer: Value) -> Result<Self, String> {
        let mut fields = Fields::of(answer, "result")?;
        let data = fields.take("data");
        Ok(Self {
            success: fields.truth("success").unwrap_or(true),
            message: fields.text("message").unwrap_or_default(),
            data: data.and_then(|data| {
                let mut data = Fields::of(data, "`data`").ok()?;
                Some(StoredConfig {
                    id: data.text("id").unwrap_or_default(),
                    config_type: data.text("type").unwrap_or_default(),
                    action: data.text("action").unwrap_or_default(),
                })
            }),
        })
    }
}
