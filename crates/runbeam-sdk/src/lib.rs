//! The SDK for Runbeam Cloud: a client for its API, user tokens, machine tokens, the schemas of its
//! configuration files.
//!
//! It needs neither a proxy nor a configuration. All but [`validation`] is asynchronous and runs
//! inside a Tokio runtime.
//!
//! # Authorizing a gateway
//!
//! A user's token is exchanged for a machine token, with which a gateway acts on its own for about
//! 30 days.
//!
//! ```no_run
//! use runbeam_sdk::{MachineToken, RunbeamClient, validate_jwt_token};
//!
//! # async fn example(user_token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! // Refused unless it is signed by an issuer that is trusted; see below.
//! let claims = validate_jwt_token(user_token, 24).await?;
//! let client = RunbeamClient::new(claims.api_base_url());
//! let answer = client.authorize_gateway(user_token, "my-gateway", None, None).await?;
//! let token = MachineToken::new(
//!     answer.machine_token,
//!     answer.expires_at,
//!     answer.gateway.id,
//!     answer.gateway.code,
//!     answer.abilities,
//! );
//! assert!(token.is_valid());
//! # Ok(())
//! # }
//! ```
//!
//! A Sanctum token (`{id}|{text}`, [`is_sanctum_token`]) cannot be verified here: it is sent to the
//! cloud as it is, and the cloud decides.
//!
//! # Calling the API
//!
//! [`RunbeamClient`] takes the token of every call, whichever kind it is: a user's JWT, a Sanctum
//! token or a machine token.
//!
//! ```no_run
//! use runbeam_sdk::RunbeamClient;
//!
//! # async fn example(token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let client = RunbeamClient::new("https://api.runbeam.cloud");
//! for gateway in client.list_gateways(token).await?.data {
//!     println!("{} ({})", gateway.name, gateway.code);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Storing the token
//!
//! [`save_token`], [`load_token`] and [`clear_token`] keep the machine token of an instance in the
//! keyring of the operating system, or in a file encrypted with age, in `~/.runbeam/<instance>/`;
//! never unencrypted. [`save_token_as`] and its like do the same for tokens of other types.
//! [`TokenStore`] is for a program that says where and how, [`StorageBackend`] for one that brings
//! a place of its own.
//!
//! ```no_run
//! use runbeam_sdk::{MachineToken, load_token, save_token};
//!
//! # async fn example(token: MachineToken) -> Result<(), Box<dyn std::error::Error>> {
//! save_token("my-gateway", &token).await?;
//! let kept = load_token("my-gateway").await?;
//! assert!(kept.is_some_and(|token| token.is_valid()));
//! # Ok(())
//! # }
//! ```
//!
//! # Trust
//!
//! A JWT is verified only against a *trusted issuer*: the scheme, host and port of its `iss` are
//! exactly those of an address that the caller named. Without options that is `RUNBEAM_API_URL`,
//! else [`DEFAULT_BASE_URL`]. No key set is fetched from anywhere else. RS256 alone is accepted,
//! and HS256 only while a secret is given (`RUNBEAM_JWT_SECRET`). More under
//! [`JwtValidationOptions`]; a long-running program keeps a [`UserTokens`].
//!
//! # Checking configuration files
//!
//! [`validate_config_toml`], [`validate_pipeline_toml`] and [`validate_toml`] check TOML against
//! schemas in Runbeam's DSL; see [`validation`]. `harmony-edge --check` is stricter.
//!
//! # Limits
//!
//! A call ends within its time limit (30 s with everything that belongs to it), reads at most 1
//! MiB, never leaves the host it was given, and speaks https unless that host is this machine. It
//! is tried again after network errors, 429 and 5xx, if a second attempt can do no harm; see
//! [`RunbeamClient`].
//!
//! # Errors
//!
//! All are [`RunbeamError`]. Its text is for a log; what a program does about it, it decides by
//! [`RunbeamError::status`], [`RunbeamError::is_rejected`], [`RunbeamError::is_timeout`] and their
//! like. No token is in any error, log line or `Debug` of this crate.

mod backoff;
mod client;
mod env;
mod error;
mod fields;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod machine_token;
mod origin;
mod resources;
mod responses;
mod store;
mod tls;
mod user_token;
pub mod validation;

pub use backoff::{Backoff, between};
pub use client::{ClientOptions, RunbeamClient};
pub use error::{ApiError, JwtError, RunbeamError};
pub use machine_token::MachineToken;
pub use origin::PUBLISHED_DEFAULT_HOST;
pub use resources::{
    Authentication, Backend, Endpoint, Gateway, GatewayConfiguration, Middleware, Network,
    PaginatedResponse, PaginationLinks, PaginationMeta, Pipeline, Policy, ResourceResponse,
    Service, Transform, TransformOptions,
};
pub use responses::{
    AcknowledgeChangesResponse, AuthorizeResponse, BaseUrlResponse, Change, ChangeStatusResponse,
    GatewayInfo, ResolutionMeta, ResolveResourceResponse, ResolvedResource, StoreConfigResponse,
    StoredConfig, UserInfo,
};
pub use store::{
    EncryptedFileStorage, EncryptionKeys, EnvironmentToken, EnvironmentTokenError, KeyError,
    KeyringError, KeyringStorage, MemoryStorage, StorageBackend, StorageError, StoreKind,
    StoreSettings, TokenStore, clear_token, clear_token_as, environment_token, load_token,
    load_token_as, save_token, save_token_as, save_token_with_key,
};
pub use store::{
    clear_token as clear_machine_token, load_token as load_machine_token,
    save_token as save_machine_token,
};
pub use user_token::{
    JwtClaims, JwtValidationOptions, TeamInfo, UserToken, UserTokens, extract_bearer_token,
    is_sanctum_token, validate_jwt_token,
};

pub use validation::{
    ValidationError, validate_config_toml, validate_pipeline_toml, validate_toml,
};

pub use jose::Algorithm as JwtAlgorithm;

/// Runbeam Cloud, where nobody names another address.
pub const DEFAULT_BASE_URL: &str = "https://api.runbeam.cloud";

/// What the client and the fetches of key sets call themselves.
const USER_AGENT: &str = concat!("harmony-edge/", env!("CARGO_PKG_VERSION"));

/// The example of the guide compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/sdk.md")]
struct Guide;
