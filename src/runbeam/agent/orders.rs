//! What an operator asks of the agent: to exchange a user's token, to take a machine token, to forget it.

use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::Agent;
use super::held::{Held, Source};
use crate::gateway::Runbeam;
use crate::runbeam::{
    EncryptionKeys, KeyError, MachineToken, RunbeamError, StoreError, UserTokens,
    ValidationOptions, is_sanctum_token,
};

/// A user's token that may be sent to the configured cloud.
pub struct UserToken(Zeroizing<String>);

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
pub struct Taken {
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
pub enum OrderError {
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
        "the token is from {given}, and this gateway is configured for {configured}: set runbeam.cloud_api_base_url (or add it to runbeam.api_base_urls), or point the client to {configured} with `runbeam config:set api-url {configured}`"
    )]
    OtherCloud {
        /// What the caller named.
        given: String,
        /// What the configuration names.
        configured: String,
    },
    /// The encryption key that came along is none.
    #[error("encryption_key: {0}")]
    Key(#[from] KeyError),
    /// The token cannot be stored. The old one is untouched.
    #[error("the machine token cannot be stored: {0}")]
    Store(#[from] StoreError),
}

impl Agent {
    /// Checks a user's token. A JWT must be of a trusted issuer: the configured cloud, and nobody else is asked anything. A Sanctum token only the cloud can check.
    pub async fn check_user(&self, token: &str) -> Result<UserToken, OrderError> {
        let settings = self.live.runbeam().ok_or(OrderError::Disabled)?;
        if !is_sanctum_token(token) {
            let users = self.users.of(&settings, self)?;
            users.validate(token).await.map_err(|error| {
                if error.is_unreachable() || error.is_timeout() {
                    OrderError::Cloud(error)
                } else {
                    OrderError::UserToken(error)
                }
            })?;
        }
        Ok(UserToken(Zeroizing::new(token.to_owned())))
    }

    /// Exchanges a user's token for a machine token of the configured cloud, and uses it.
    pub async fn authorize(
        &self,
        user: UserToken,
        authorization: Authorization,
    ) -> Result<Taken, OrderError> {
        let settings = self.live.runbeam().ok_or(OrderError::Disabled)?;
        let key = authorization
            .encryption_key
            .as_ref()
            .map(|key| key.as_str());
        key.map(EncryptionKeys::parse).transpose()?;
        let client = self.client_of_order(&settings).map_err(OrderError::Cloud)?;
        let answer = client
            .authorize_gateway(
                user.0.as_str(),
                authorization.gateway_code,
                authorization.machine_public_key,
                authorization.metadata,
            )
            .await
            .map_err(OrderError::Cloud)?;
        let taken = Taken {
            gateway_id: answer.gateway.id.clone(),
            gateway_code: answer.gateway.code.clone(),
            gateway_name: answer.gateway.name,
            expires_at: answer.expires_at.clone(),
            expires_in: answer.expires_in,
        };
        let token = MachineToken::new(
            answer.machine_token,
            answer.expires_at,
            answer.gateway.id,
            answer.gateway.code,
            answer.abilities,
        );
        self.use_from_now_on(&settings, token, key).await?;
        Ok(taken)
    }

    /// Takes a machine token that somebody else has obtained. `base` is the cloud that it was obtained from, as far as that is known.
    pub async fn take(
        &self,
        token: MachineToken,
        key: Option<&str>,
        base: Option<&str>,
    ) -> Result<(), OrderError> {
        let settings = self.live.runbeam().ok_or(OrderError::Disabled)?;
        if let Some(given) = base
            && !is_of_this_cloud(&settings, given)
        {
            return Err(OrderError::OtherCloud {
                given: shown(given),
                configured: settings.cloud_api_base_url.clone(),
            });
        }
        self.use_from_now_on(&settings, token, key).await
    }

    /// Forgets the machine token, in memory and in every store. The cloud is not told.
    pub async fn forget(&self) -> Result<(), OrderError> {
        let settings = self.live.runbeam();
        let store = self.keeper.store(settings.as_ref()).await?;
        store.clear().await?;
        let mut facts = self.facts();
        facts.replace(None);
        facts.environment_forgotten = true;
        drop(facts);
        self.news.send_replace(());
        Ok(())
    }

    /// Stores a token, and only then uses it.
    async fn use_from_now_on(
        &self,
        settings: &Runbeam,
        token: MachineToken,
        key: Option<&str>,
    ) -> Result<(), OrderError> {
        key.map(EncryptionKeys::parse).transpose()?;
        self.keeper.save(settings, &token, key).await?;
        if token.is_expired() {
            log::warn!(
                "runbeam: the machine token that was handed over has expired at {}",
                token.expires_at
            );
        }
        self.facts().replace(Held::new(token, Source::Api, true));
        self.news.send_replace(());
        Ok(())
    }
}

/// The verifier of user tokens, with its key sets, kept while the settings stay the same.
#[derive(Default)]
pub(super) struct Users(Mutex<Option<(Vec<String>, Arc<UserTokens>)>>);

impl Users {
    fn of(&self, settings: &Runbeam, agent: &Agent) -> Result<Arc<UserTokens>, OrderError> {
        let trusted = bases(settings);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, users)) = &*kept
            && *of == trusted
        {
            return Ok(users.clone());
        }
        let options = ValidationOptions {
            trusted_issuers: trusted.clone(),
            jwt_secret: agent
                .surroundings
                .jwt_secret
                .as_ref()
                .map(|secret| secret.to_string()),
            ..ValidationOptions::default()
        };
        let users = Arc::new(UserTokens::new(options).map_err(OrderError::Cloud)?);
        *kept = Some((trusted, users.clone()));
        Ok(users)
    }
}

/// The addresses of the configured cloud.
fn bases(settings: &Runbeam) -> Vec<String> {
    let first = std::iter::once(&settings.cloud_api_base_url);
    first.chain(&settings.api_base_urls).cloned().collect()
}

/// Whether an address means the configured cloud. It is compared only; nothing is ever sent to it.
fn is_of_this_cloud(settings: &Runbeam, given: &str) -> bool {
    let given = compared(given);
    given.is_some() && bases(settings).iter().any(|base| compared(base) == given)
}

/// Scheme, host, port and path, without a last `/` or `/api`.
fn compared(base: &str) -> Option<(String, String, Option<u16>, String)> {
    let url = reqwest::Url::parse(base.trim()).ok()?;
    let strange = !url.username().is_empty() || url.password().is_some();
    if strange || url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/api").unwrap_or(path);
    Some((
        url.scheme().to_owned(),
        url.host_str()?.to_owned(),
        url.port_or_known_default(),
        path.trim_end_matches('/').to_owned(),
    ))
}

/// An address as a message may show it: no user name, password, query; not too long.
fn shown(base: &str) -> String {
    let shown = match reqwest::Url::parse(base.trim()) {
        Ok(mut url) => {
            // Cannot fail for an address with a host; without one there is nothing to hide.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.set_fragment(None);
            url.as_str().trim_end_matches('/').to_owned()
        }
        Err(_) => "something that is no address".to_owned(),
    };
    shown.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_the_cloud_only_if_all_of_it_does() {
        let same = compared("https://api.runbeam.cloud");
        for base in [
            "https://api.runbeam.cloud/",
            "https://api.runbeam.cloud/api",
            "https://api.runbeam.cloud/api/",
            "https://API.runbeam.cloud:443/api",
            " https://api.runbeam.cloud ",
        ] {
            assert_eq!(compared(base), same, "{base}");
        }
        for base in [
            "http://api.runbeam.cloud",
            "https://api.runbeam.cloud.evil.example",
            "https://api.runbeam.cloud:8443",
            "https://api.runbeam.cloud/other",
            "https://api.runbeam.cloud@evil.example",
            "https://user@api.runbeam.cloud",
            "https://api.runbeam.cloud?x",
            "api.runbeam.cloud",
            "",
        ] {
            assert_ne!(compared(base), same, "{base}");
        }
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        assert_eq!(
            shown("https://u:p@h.example/x/?t=1#f"),
            "https://h.example/x"
        );
        assert_eq!(shown("nonsense"), "something that is no address");
        assert!(shown(&format!("https://h/{}", "x".repeat(1000))).len() <= 200);
    }
}
