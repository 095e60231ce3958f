//! What the cloud answers to the calls of a gateway.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::Fields;
use super::machine_token::rfc3339;

/// Reads a response. An error is the end of a sentence about the response, without any value of it.
pub(super) trait FromResponse: Sized {
    fn from_response(response: Value) -> Result<Self, String>;
}

/// A machine token, fresh from the cloud. `Debug` does not show the token; serializing does.
#[derive(Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuthorizeResponse {
    /// The token: a secret.
    pub machine_token: String,
    /// For how many seconds it is valid; 0 if the cloud did not say.
    pub expires_in: f64,
    /// When it expires, in RFC 3339. Made from `expires_in` if the cloud left it out; empty if
    /// nothing is known.
    pub expires_at: String,
    /// The gateway that it is for.
    pub gateway: GatewayInfo,
    /// What it may be used for.
    pub abilities: Vec<String>,
}

/// The gateway of an [`AuthorizeResponse`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GatewayInfo {
    /// Its id in the cloud.
    pub id: String,
    /// Its code. Empty if the cloud did not say.
    pub code: String,
    /// Its name. Empty if the cloud did not say.
    pub name: String,
    /// The user who authorized it.
    pub authorized_by: Option<UserInfo>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// The user's id.
    pub id: String,
    /// The user's e-mail address; empty if it is not known.
    #[serde(default)]
    pub email: String,
    /// The user's name; empty if it is not known.
    #[serde(default)]
    pub name: String,
}

impl UserInfo {
    /// `None` for what is no object with an `id`.
    pub(super) fn read(user: Value) -> Option<Self> {
        let mut user = Fields::of(user)?;
        Some(Self {
            id: user.text("id")?,
            email: user.text("email").unwrap_or_default(),
            name: user.text("name").unwrap_or_default(),
        })
    }
}

impl FromResponse for AuthorizeResponse {
    fn from_response(response: Value) -> Result<Self, String> {
        let mut fields = Fields::from_object(response, "authorization")?;
        let machine_token = fields.required("machine_token")?;
        let expires_in = fields.number("expires_in").unwrap_or(0.0);
        let expires_at = fields
            .text("expires_at")
            .unwrap_or_else(|| in_seconds(expires_in));
        let gateway = fields.take("gateway").unwrap_or_default();
        let mut gateway = Fields::from_object(gateway, "`gateway`")?;
        Ok(Self {
            machine_token,
            expires_in,
            expires_at,
            gateway: GatewayInfo {
                id: gateway.required("id")?,
                code: gateway.text("code").unwrap_or_default(),
                name: gateway.text("name").unwrap_or_default(),
                authorized_by: gateway.take("authorized_by").and_then(UserInfo::read),
            },
            abilities: fields.strings("abilities"),
        })
    }
}

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
        .and_then(|remaining| Timestamp::now().checked_add(remaining).ok())
        .map(rfc3339)
        .unwrap_or_default()
}

/// A change of configuration that waits for a gateway. `Debug` does not show the configuration,
/// which may hold secrets.
#[derive(Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// Its id.
    pub id: String,
    /// What it changes: `gateway`, `pipeline`, ...
    #[serde(rename = "type")]
    pub resource_type: String,
    /// `pending`, `acknowledged`, `applied`, `failed`; empty if the cloud did not say.
    pub status: String,
    /// The gateway that it is for; empty if the cloud did not say.
    pub gateway_id: String,
    /// The pipeline that it changes.
    pub pipeline_id: Option<String>,
    /// The configuration. Lists leave it out; [`super::RunbeamClient::get_change`] has it.
    pub toml_config: Option<String>,
    /// When it was made, in RFC 3339; empty if the cloud did not say.
    pub created_at: String,
    /// When a gateway acknowledged it.
    pub acknowledged_at: Option<String>,
    /// When it was applied.
    pub applied_at: Option<String>,
    /// When it failed.
    pub failed_at: Option<String>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// The same at length.
    pub error_details: Option<Value>,
    /// Whatever else the cloud keeps with it.
    pub metadata: Option<Value>,
}

impl FromResponse for Change {
    fn from_response(response: Value) -> Result<Self, String> {
        let mut fields = Fields::from_object(response, "change")?;
        Ok(Self {
            id: fields.required("id")?,
            resource_type: fields.text("type").unwrap_or_default(),
            status: fields.text("status").unwrap_or_default(),
            gateway_id: fields.text("gateway_id").unwrap_or_default(),
            pipeline_id: fields.text("pipeline_id"),
            toml_config: fields.text("toml_config"),
            created_at: fields.text("created_at").unwrap_or_default(),
            acknowledged_at: fields.text("acknowledged_at"),
            applied_at: fields.text("applied_at"),
            failed_at: fields.text("failed_at"),
            error_message: fields.text("error_message"),
            error_details: fields.take("error_details"),
            metadata: fields.take("metadata"),
        })
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("id", &self.id)
            .field("resource_type", &self.resource_type)
            .field("status", &self.status)
            .field("gateway_id", &self.gateway_id)
            .field("pipeline_id", &self.pipeline_id)
            .field("toml_config", &self.toml_config.as_ref().map(String::len))
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// Which changes are acknowledged now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AcknowledgeChangesResponse {
    /// The ids of those that are.
    pub acknowledged: Vec<String>,
    /// The ids of those that are not.
    pub failed: Vec<String>,
}

impl FromResponse for AcknowledgeChangesResponse {
    fn from_response(response: Value) -> Result<Self, String> {
        let mut fields = Fields::from_object(response, "acknowledgement")?;
        Ok(Self {
            acknowledged: fields.strings("acknowledged"),
            failed: fields.strings("failed"),
        })
    }
}

/// The cloud's answer to a change that is reported as applied or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChangeStatusResponse {
    /// Whether the cloud took it; true if it did not say.
    pub success: bool,
    /// What the cloud said.
    pub message: String,
}

impl FromResponse for ChangeStatusResponse {
    fn from_response(response: Value) -> Result<Self, String> {
        let mut fields = Fields::from_object(response, "result")?;
        Ok(Self {
            success: fields.boolean("success").unwrap_or(true),
            message: fields.text("message").unwrap_or_default(),
        })
    }
}

/// The cloud's answer to an uploaded configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoredConfig {
    /// The id of the resource.
    pub id: String,
    /// `type`: `gateway` or `pipeline`.
    #[serde(rename = "type")]
    pub model_type: String,
    /// `created` or `updated`.
    pub action: String,
}

impl FromResponse for StoreConfigResponse {
    fn from_response(response: Value) -> Result<Self, String> {
        let mut fields = Fields::from_object(response, "result")?;
        let stored = fields.take("data").and_then(|data| {
            let mut data = Fields::of(data)?;
            Some(StoredConfig {
                id: data.text("id").unwrap_or_default(),
                model_type: data.text("type").unwrap_or_default(),
                action: data.text("action").unwrap_or_default(),
            })
        });
        Ok(Self {
            success: fields.boolean("success").unwrap_or(true),
            message: fields.text("message").unwrap_or_default(),
            data: stored,
        })
    }
}

/// Where the cloud says that its API is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BaseUrlResponse {
    /// Where the API begins.
    pub base_url: String,
    /// Where the calls for changes are below it.
    pub changes_path: Option<String>,
    /// The two put together.
    pub full_url: Option<String>,
}

impl FromResponse for BaseUrlResponse {
    fn from_response(response: Value) -> Result<Self, String> {
        let mut fields = Fields::from_object(response, "base URL")?;
        let full_url = fields.text("full_url");
        let base_url = fields.text("base_url").or_else(|| full_url.clone());
        Ok(Self {
            base_url: base_url.ok_or("has no usable `base_url`")?,
            changes_path: fields.text("changes_path"),
            full_url,
        })
    }
}

/// What a reference to a resource means.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ResolveResourceResponse {
    /// The resource.
    pub data: ResolvedResource,
    /// Who resolved the reference.
    pub meta: ResolutionMeta,
}

/// The resource that a reference means.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ResolvedResource {
    /// `ingress`, `egress`, `pipeline`, `endpoint`, `backend`, `mesh`, ...
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is in use. Default true.
    pub enabled: bool,
    /// Where it is reached.
    pub urls: Vec<String>,
    /// Everything else, as the cloud has it.
    #[serde(flatten)]
    pub other: serde_json::Map<String, Value>,
}

/// Who resolved a reference, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ResolutionMeta {
    /// The provider; empty if the cloud did not say.
    pub provider: String,
    /// In RFC 3339; empty if the cloud did not say.
    pub resolved_at: String,
}

impl FromResponse for ResolveResourceResponse {
    fn from_response(response: Value) -> Result<Self, String> {
        let mut fields = Fields::from_object(response, "resolved reference")?;
        let data = fields.take("data").ok_or("has no `data`")?;
        let mut data = Fields::from_object(data, "`data`")?;
        let meta = fields.take("meta").and_then(Fields::of);
        Ok(Self {
            data: ResolvedResource {
                resource_type: data.text("type").unwrap_or_default(),
                id: data.required("id")?,
                name: data.text("name").unwrap_or_default(),
                enabled: data.boolean("enabled").unwrap_or(true),
                urls: data.strings("urls"),
                other: data.remaining(),
            },
            meta: meta.map_or_else(ResolutionMeta::default, |mut meta| ResolutionMeta {
                provider: meta.text("provider").unwrap_or_default(),
                resolved_at: meta.text("resolved_at").unwrap_or_default(),
            }),
        })
    }
}
