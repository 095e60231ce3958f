//! The client of the cloud's API: one method per call; those for resources stand in [`resources`].
//!
//! [`transport`] sends a [`request`] within its limits, [`response`] reads what comes back,
//! [`retry`] decides about another attempt, [`discovery`] finds where the API begins, [`pages`]
//! puts lists together.

mod discovery;
mod options;
mod pages;
mod request;
mod resources;
mod response;
mod retry;
mod transport;

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};

use self::request::Request;
use self::transport::Transport;
use super::error::{ApiError, RunbeamError};
use super::fields::Fields;
use super::machine_token::has_passed;
use super::resources::{PaginatedResponse, ResourceResponse};
use super::responses::{
    AcknowledgeChangesResponse, AuthorizeResponse, BaseUrlResponse, Change, ChangeStatusResponse,
    FromResponse, ResolveResourceResponse, StoreConfigResponse,
};

pub use options::ClientOptions;

/// What is not percent-encoded in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A client of the API. A clone is the same client.
///
/// Every call takes the token that it is to be made with; the client keeps none. The token goes
/// into the `Authorization` header and nowhere else ([`Self::authorize_gateway`] also has it in the
/// body, as the cloud wants it), and only to the scheme, host and port of the base address.
///
/// Where the API begins is asked of the cloud at the first call (`/api/harmony/base-url`, then
/// `/harmony/base-url`), kept, and asked again after a failure. The cloud's answer is used only if
/// it is on the same host; otherwise the API begins at `{base}/api`.
///
/// # Limits
///
/// A call with everything that belongs to it (discovery, further attempts, the pauses between them)
/// ends within [`ClientOptions::timeout`]. A response of more than 1 MiB is not read. A redirect is
/// followed within the host only.
///
/// # Retries
///
/// After network errors, 429 (when `Retry-After` says, if that is soon) and 5xx, up to
/// [`ClientOptions::attempts`], with growing pauses; never after another 4xx. The calls that create
/// something ([`Self::authorize_gateway`], [`Self::store_config`] and those whose names begin with
/// `create_`) are tried again only if the cloud cannot have carried them out: the connection never
/// stood, or the response was 429 or 503.
#[derive(Clone)]
pub struct RunbeamClient(Arc<Inner>);

struct Inner {
    base_url: String,
    transport: Result<Transport, options::SetupFailure>,
}

impl RunbeamClient {
    /// A client with default options for the API at an address, with or without `/api` at its end.
    /// An address that cannot be used is an error of the first call.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self::build(base_url.into(), &ClientOptions::default())
    }

    /// A client with options.
    ///
    /// # Errors
    ///
    /// If the address or an option cannot be used.
    pub fn with_options(
        base_url: impl Into<String>,
        options: ClientOptions,
    ) -> Result<Self, RunbeamError> {
        let client = Self::build(base_url.into(), &options);
        client.transport()?;
        Ok(client)
    }

    fn build(base_url: String, options: &ClientOptions) -> Self {
        let base_url = base_url.trim().trim_end_matches('/').to_owned();
        Self(Arc::new(Inner {
            transport: Transport::new(&base_url, options),
            base_url,
        }))
    }

    /// The address that the client was made with, without a slash at its end.
    pub fn base_url(&self) -> &str {
        &self.0.base_url
    }

    /// Exchanges a user's token for a machine token of the gateway with this code, which the cloud
    /// makes if there is none.
    ///
    /// `machine_public_key` and `metadata` are passed on as they are.
    pub async fn authorize_gateway(
        &self,
        user_token: impl AsRef<str>,
        gateway_code: impl Into<String>,
        machine_public_key: Option<String>,
        metadata: Option<Vec<String>>,
    ) -> Result<AuthorizeResponse, RunbeamError> {
        let (token, code) = (user_token.as_ref(), gateway_code.into());
        let mut body = json!({ "token": token, "gateway_code": code });
        if let Some(key) = machine_public_key {
            body["machine_public_key"] = key.into();
        }
        if let Some(metadata) = metadata {
            body["metadata"] = metadata.into();
        }
        let request = Request::creating("authorize", "/harmony/authorize").with(body);
        let mut authorized: AuthorizeResponse = self.call(&request, token).await?;
        if authorized.gateway.code.is_empty() {
            authorized.gateway.code = code;
        }
        if has_passed(&authorized.expires_at) {
            let problem = "holds a token that has expired, or whose expires_at is no time";
            return Err(request.malformed(problem.to_owned()));
        }
        Ok(authorized)
    }

    /// The changes of all gateways, in the order of the cloud. They do not hold their
    /// configuration.
    pub async fn list_changes(
        &self,
        token: impl AsRef<str>,
    ) -> Result<PaginatedResponse<Change>, RunbeamError> {
        self.list("list changes", "/harmony/changes", token.as_ref())
            .await
    }

    /// The changes that wait for one gateway, in the order of the cloud. They do not hold their
    /// configuration.
    pub async fn list_changes_for_gateway(
        &self,
        token: impl AsRef<str>,
        gateway_id: impl AsRef<str>,
    ) -> Result<PaginatedResponse<Change>, RunbeamError> {
        let path = join("/harmony/changes", gateway_id.as_ref())?;
        self.list("list changes", path, token.as_ref()).await
    }

    /// One change with its configuration.
    pub async fn get_change(
        &self,
        token: impl AsRef<str>,
        id: impl AsRef<str>,
    ) -> Result<ResourceResponse<Change>, RunbeamError> {
        let request = Request::get("get change", join("/harmony/change", id.as_ref())?);
        self.resource(&request, token.as_ref()).await
    }

    /// Tells the cloud that changes were received.
    pub async fn acknowledge_changes<I: Into<String>>(
        &self,
        token: impl AsRef<str>,
        ids: impl IntoIterator<Item = I>,
    ) -> Result<AcknowledgeChangesResponse, RunbeamError> {
        let ids: Vec<String> = ids.into_iter().map(Into::into).collect();
        let request = Request::post("acknowledge changes", "/harmony/changes/acknowledge")
            .with(json!({ "change_ids": ids }));
        self.call(&request, token.as_ref()).await
    }

    /// Tells the cloud that a change is applied.
    pub async fn mark_change_applied(
        &self,
        token: impl AsRef<str>,
        id: impl AsRef<str>,
    ) -> Result<ChangeStatusResponse, RunbeamError> {
        let path = join("/harmony/change", id.as_ref())? + "/applied";
        self.call(&Request::post("mark change applied", path), token.as_ref())
            .await
    }

    /// Tells the cloud that a change could not be applied, and why.
    pub async fn mark_change_failed(
        &self,
        token: impl AsRef<str>,
        id: impl AsRef<str>,
        error: impl Into<String>,
        details: Option<Vec<String>>,
    ) -> Result<ChangeStatusResponse, RunbeamError> {
        let path = join("/harmony/change", id.as_ref())? + "/failed";
        let mut body = json!({ "error": error.into() });
        if let Some(details) = details {
            body["details"] = details.into();
        }
        let request = Request::post("mark change failed", path).with(body);
        self.call(&request, token.as_ref()).await
    }

    /// Stores a configuration in the cloud: `config_type` is `gateway` or `pipeline`, `id` that of
    /// what it replaces, `config` TOML.
    pub async fn store_config(
        &self,
        token: impl AsRef<str>,
        config_type: impl Into<String>,
        id: Option<String>,
        config: impl Into<String>,
    ) -> Result<StoreConfigResponse, RunbeamError> {
        let mut body = json!({ "type": config_type.into(), "config": config.into() });
        if let Some(id) = id {
            body["id"] = id.into();
        }
        let request = Request::creating("store configuration", "/harmony/update").with(body);
        self.call(&request, token.as_ref()).await
    }

    /// Where the cloud says that its API is. The client finds this out by itself; a program needs
    /// the call only to show the address.
    ///
    /// # Errors
    ///
    /// Besides those of every call: the cloud names another host, which is never contacted.
    pub async fn get_base_url(
        &self,
        token: impl AsRef<str>,
    ) -> Result<BaseUrlResponse, RunbeamError> {
        self.transport()?.base_url(token.as_ref()).await
    }

    /// Resolves a reference to a resource, such as `runbeam.acme.ingress.name.patient_api`.
    pub async fn resolve_reference(
        &self,
        token: impl AsRef<str>,
        reference: impl AsRef<str>,
    ) -> Result<ResolveResourceResponse, RunbeamError> {
        let reference = utf8_percent_encode(reference.as_ref(), SEGMENT);
        let path = format!("/harmony/resources/resolve?ref={reference}");
        self.call(&Request::get("resolve reference", path), token.as_ref())
            .await
    }

    /// Reports the status of a gateway. A cloud that does not know the call answers 404 or 405.
    pub async fn report_status(
        &self,
        token: impl AsRef<str>,
        status: &Value,
    ) -> Result<(), RunbeamError> {
        let request = Request::post("report status", "/harmony/status").with(status.clone());
        self.call_for_status(&request, token.as_ref()).await
    }

    fn transport(&self) -> Result<&Transport, RunbeamError> {
        self.0.transport.as_ref().map_err(RunbeamError::from)
    }

    async fn call<T: FromResponse>(
        &self,
        request: &Request,
        token: &str,
    ) -> Result<T, RunbeamError> {
        let response = self.transport()?.call(request, token).await?;
        T::from_response(response).map_err(|problem| request.malformed(problem))
    }

    /// A call whose response says nothing but its status.
    async fn call_for_status(&self, request: &Request, token: &str) -> Result<(), RunbeamError> {
        self.transport()?.call(request, token).await.map(drop)
    }

    async fn resource<T: FromResponse>(
        &self,
        request: &Request,
        token: &str,
    ) -> Result<ResourceResponse<T>, RunbeamError> {
        let response = self.transport()?.call(request, token).await?;
        let read = |response| {
            let data = Fields::from_object(response, "answer")?.take("data");
            T::from_response(data.ok_or("has no `data`")?)
        };
        let data = read(response).map_err(|problem| request.malformed(problem))?;
        Ok(ResourceResponse { data })
    }

    async fn list<T: FromResponse>(
        &self,
        call: &'static str,
        path: impl Into<String>,
        token: &str,
    ) -> Result<PaginatedResponse<T>, RunbeamError> {
        pages::all(self.transport()?, call, &path.into(), token).await
    }
}

impl fmt::Debug for RunbeamClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunbeamClient")
            .field("base_url", &super::origin::shown(&self.0.base_url))
            .finish_non_exhaustive()
    }
}

/// A path with one more segment, in which every character stands for itself.
fn join(path: &str, segment: &str) -> Result<String, ApiError> {
    // Percent-encoded or not, these are a step in the tree, or no segment at all.
    if matches!(segment, "" | "." | "..") {
        return Err(ApiError::InvalidId(segment.to_owned()));
    }
    Ok(format!("{path}/{}", utf8_percent_encode(segment, SEGMENT)))
}

/// A resource as a body.
fn to_json(resource: &impl Serialize) -> Result<Value, RunbeamError> {
    serde_json::to_value(resource)
        .map_err(|_| RunbeamError::Setup("a resource cannot be written as JSON".to_owned()))
}
