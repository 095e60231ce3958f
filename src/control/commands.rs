//! What an operator asks of the agent: to exchange a user's token, to take a machine token, to
//! forget it.

use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::Agent;
use super::active_token::{ActiveToken, Source, issued};
use super::address::{configured_addresses, is_configured_cloud, redacted, settable_address};
use crate::gateway::Runbeam;
use crate::telemetry::audit;
use runbeam_sdk::{
    EncryptionKeys, JwtValidationOptions, KeyError, MachineToken, RunbeamError, StorageError,
    UserTokens, is_sanctum_token,
};

/// A user's token that may be sent to the configured cloud.
pub struct CheckedUserToken(Zeroizing<String>);

/// What goes to the cloud with it.
pub struct Authorization {
    /// The gateway's code; the cloud makes one if there is none.
    pub gateway_code: String,
    /// Passed on.
    pub machine_public_key: Option<String>,
    /// Passed on.
    pub metadata: Option<Vec<String>>,
    /// An age key for the token's file.
    pub encryption_key: Option<Zeroizing<String>>,
}

/// A token that was taken, without itself.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedToken {
    /// The gateway's id in the cloud.
    pub gateway_id: String,
    /// Its code.
    pub gateway_code: String,
    /// Its name.
    pub gateway_name: String,
    /// When the token expires, as the cloud wrote it.
    pub expires_at: String,
    /// The same in seconds from now.
    pub expires_in: f64,
}

/// Why the agent does not do as told.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// `[runbeam]` is off.
    #[error("runbeam is off")]
    Disabled,
    /// The user's token does not pass.
    #[error("{0}")]
    UserToken(RunbeamError),
    /// The cloud does not give a machine token, or cannot be asked.
    #[error("{0}")]
    Cloud(RunbeamError),
    /// The token is for another cloud than the configured one.
    #[error(
        "the token is from {given}, and this gateway is configured for {configured}: set \
         runbeam.cloud_api_base_url to {settable} (or add that to runbeam.api_base_urls), or \
         point the client to {configured} with `runbeam config:set api-url {configured}`"
    )]
    OtherCloud {
        /// What the caller named.
        given: String,
        /// The same as the configuration can name it: by https, unless it is on this machine.
        settable: String,
        /// What the configuration names.
        configured: String,
    },
    /// The encryption key that came along is none.
    #[error("encryption_key: {0}")]
    Key(#[from] KeyError),
    /// The token cannot be stored. The old one is untouched.
    #[error("the machine token cannot be stored: {0}")]
    Store(#[from] StorageError),
}

impl Agent {
    /// Checks a user's token. A JWT must be of a trusted issuer: the configured cloud, and nobody
    /// else is asked anything. A Sanctum token only the cloud can check.
    pub async fn check_user(&self, token: &str) -> Result<CheckedUserToken, CommandError> {
        let settings = self.live.runbeam().ok_or(CommandError::Disabled)?;
        if !is_sanctum_token(token) {
            let users = self.users.of(&settings, self)?;
            users.validate(token).await.map_err(|error| {
                if error.is_unreachable() || error.is_timeout() {
                    CommandError::Cloud(error)
                } else {
                    CommandError::UserToken(error)
                }
            })?;
        }
        Ok(CheckedUserToken(Zeroizing::new(token.to_owned())))
    }

    /// Exchanges a user's token for a machine token of the configured cloud, and uses it.
    pub async fn authorize(
        &self,
        user: CheckedUserToken,
        authorization: Authorization,
    ) -> Result<AcceptedToken, CommandError> {
        let settings = self.live.runbeam().ok_or(CommandError::Disabled)?;
        let key = authorization
            .encryption_key
            .as_ref()
            .map(|key| key.as_str());
        key.map(EncryptionKeys::parse).transpose()?;
        let client = self
            .command_client(&settings)
            .map_err(CommandError::Cloud)?;
        let answer = client
            .authorize_gateway(
                user.0.as_str(),
                authorization.gateway_code,
                authorization.machine_public_key,
                authorization.metadata,
            )
            .await
            .map_err(CommandError::Cloud)?;
        let taken = AcceptedToken {
            gateway_id: answer.gateway.id.clone(),
            gateway_code: answer.gateway.code.clone(),
            gateway_name: answer.gateway.name.clone(),
            expires_at: answer.expires_at.clone(),
            expires_in: answer.expires_in,
        };
        let token = issued(answer);
        self.store_and_activate(&settings, "authorization", token, key)
            .await?;
        Ok(taken)
    }

    /// Takes a machine token that somebody else has obtained. `base` is the cloud that it was
    /// obtained from, as far as that is known.
    pub async fn take(
        &self,
        token: MachineToken,
        key: Option<&str>,
        base: Option<&str>,
    ) -> Result<(), CommandError> {
        let settings = self.live.runbeam().ok_or(CommandError::Disabled)?;
        if let Some(given) = base
            && !is_configured_cloud(&settings, given)
        {
            return Err(CommandError::OtherCloud {
                given: redacted(given),
                settable: settable_address(given),
                configured: settings.cloud_api_base_url.clone(),
            });
        }
        key.map(EncryptionKeys::parse).transpose()?;
        self.store_and_activate(&settings, "handover", token, key)
            .await
    }

    /// Forgets the machine token, in memory and in every store. The cloud is not told.
    pub async fn forget(&self) -> Result<(), CommandError> {
        let settings = self.live.runbeam();
        let _lock = self.token_lock.lock().await;
        let store = self.keeper.store(settings.as_ref()).await?;
        store.clear().await?;
        audit::note("token", "deauthorization", &"forgotten");
        let mut state = self.state();
        state.replace(None);
        state.environment_token_forgotten = true;
        drop(state);
        self.token_changes.send_replace(());
        Ok(())
    }

    /// Stores a token, and only then uses it. `action`: how it came, for the audit log. The caller
    /// has looked at `key`.
    async fn store_and_activate(
        &self,
        settings: &Runbeam,
        action: &str,
        token: MachineToken,
        key: Option<&str>,
    ) -> Result<(), CommandError> {
        let _lock = self.token_lock.lock().await;
        let saved = self.keeper.save(settings, &token, key).await;
        match &saved {
            Ok(()) => audit::note(
                "token",
                action,
                &format_args!(
                    "of gateway {}, until {}",
                    token.gateway_id, token.expires_at
                ),
            ),
            Err(error) => audit::note("token", action, &format_args!("failed: {error}")),
        }
        saved?;
        if token.is_expired() {
            log::warn!(
                "runbeam: the machine token that was handed over has expired at {}",
                token.expires_at
            );
        }
        self.state()
            .replace(ActiveToken::new(token, Source::Api, true));
        self.token_changes.send_replace(());
        Ok(())
    }
}

/// The verifier of user tokens, with its key sets, kept while the settings stay the same.
#[derive(Default)]
pub(super) struct VerifierCache(Mutex<Option<(Vec<String>, Arc<UserTokens>)>>);

impl VerifierCache {
    fn of(&self, settings: &Runbeam, agent: &Agent) -> Result<Arc<UserTokens>, CommandError> {
        let trusted = configured_addresses(settings);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, users)) = &*kept
            && *of == trusted
        {
            return Ok(users.clone());
        }
        let options = JwtValidationOptions {
            trusted_issuers: trusted.clone(),
            jwt_secret: agent
                .env
                .jwt_secret
                .as_ref()
                .map(|secret| secret.to_string()),
            ..JwtValidationOptions::default()
        };
        let users = Arc::new(UserTokens::new(options).map_err(CommandError::Cloud)?);
        *kept = Some((trusted, users.clone()));
        Ok(users)
    }
}
