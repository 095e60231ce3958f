//! What the agent takes from the process's environment, read once at the start. None of it is ever
//! shown.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::gateway::{Runbeam, StoreChoice};
use runbeam_sdk::{
    EncryptionKeys, EnvironmentToken, EnvironmentTokenError, KeyError, environment_token,
};

/// What HS256 asks of a shared secret, in bytes.
const MIN_SECRET_BYTES: usize = 32;
/// The token store's file in the state directory.
const TOKEN_FILE: &str = "auth.json";

/// The environment of an agent.
#[derive(Clone, Default)]
pub struct AgentEnv {
    pub(super) instance: String,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) machine_token: Option<EnvironmentToken>,
    pub(super) encryption_key: Option<Zeroizing<String>>,
    pub(super) jwt_secret: Option<Zeroizing<String>>,
    pub(super) push_on_startup: bool,
    accept_invalid_certs: bool,
}

/// What is wrong with the environment. Names variable and field, never a value.
#[derive(Debug, thiserror::Error)]
pub enum AgentEnvError {
    /// `RUNBEAM_MACHINE_TOKEN`.
    #[error(transparent)]
    MachineToken(#[from] EnvironmentTokenError),
    /// `RUNBEAM_ENCRYPTION_KEY`.
    #[error("RUNBEAM_ENCRYPTION_KEY: {0}")]
    EncryptionKey(#[from] KeyError),
}

impl AgentEnv {
    /// Reads the variables. `instance` is `proxy.id`; tokens are kept in `state_dir`, where there
    /// is one.
    ///
    /// # Errors
    ///
    /// A token or a key that is none. An expired token is no error.
    pub fn read(
        instance: &str,
        state_dir: Option<PathBuf>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, AgentEnvError> {
        let set = |name| {
            variable(name)
                .map(Zeroizing::new)
                .filter(|value| !value.trim().is_empty())
        };
        let on = |name| set(name).is_some_and(|value| matches!(value.trim(), "1" | "true"));
        let machine_token = set("RUNBEAM_MACHINE_TOKEN");
        let encryption_key = set("RUNBEAM_ENCRYPTION_KEY");
        if let Some(key) = &encryption_key {
            EncryptionKeys::parse(key)?;
        }
        let machine_token = environment_token(machine_token.as_ref().map(|token| token.as_str()))?;
        Ok(Self {
            instance: instance.to_owned(),
            state_dir,
            machine_token: machine_token.map(|token| token.with_default_code(instance)),
            encryption_key,
            jwt_secret: set("RUNBEAM_JWT_SECRET"),
            push_on_startup: on("RUNBEAM_PUSH_CONFIG_ON_STARTUP"),
            accept_invalid_certs: on("RUNBEAM_ACCEPT_INVALID_CERTS"),
        })
    }

    /// What deserves a word before the agent runs: a secret that can be guessed, and no way in
    /// which this gateway could ever be authorized. `managed`: there is a Management API, whose
    /// callers can authorize it.
    pub fn warnings(&self, settings: &Runbeam, managed: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        let secret = self.jwt_secret.as_ref();
        if secret.is_some_and(|secret| secret.len() < MIN_SECRET_BYTES) {
            warnings.push(format!(
                "RUNBEAM_JWT_SECRET is shorter than {MIN_SECRET_BYTES} bytes (RFC 7518 section \
                 3.2): no HS256 user token is accepted with it; make one with `openssl rand \
                 -base64 48`"
            ));
        }
        let stores = settings.token_store != StoreChoice::Memory;
        let stored = self
            .state_dir
            .as_ref()
            .filter(|_| stores)
            .is_some_and(|state_dir| {
                let left = [TOKEN_FILE, "runbeam/auth.json"];
                left.iter().any(|file| state_dir.join(file).exists())
            });
        if !managed && self.machine_token.is_none() && !stored {
            let unless = match settings.token_store {
                StoreChoice::Auto | StoreChoice::Keyring => ", unless its keyring holds a token",
                StoreChoice::File | StoreChoice::Memory => "",
            };
            warnings.push(format!(
                "Runbeam Cloud is on, and nothing can authorize this gateway{unless}: \
                 [management] is off, RUNBEAM_MACHINE_TOKEN is not set, and no token is stored; \
                 set management.enabled = true or RUNBEAM_MACHINE_TOKEN"
            ));
        }
        warnings
    }

    /// Whether the cloud's certificate may be anybody's: only if it is on this machine.
    pub(super) fn accepts_invalid_certs(&self, settings: &Runbeam) -> bool {
        let asked = self.accept_invalid_certs;
        let near = is_loopback(&settings.cloud_api_base_url);
        if asked && !near {
            log::warn!(
                "RUNBEAM_ACCEPT_INVALID_CERTS has no effect: {} is not on this machine",
                settings.cloud_api_base_url
            );
        }
        asked && near
    }
}

/// Whether an address is on this machine.
pub(super) fn is_loopback(base: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(base) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || literal.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Tells which variables are set.
impl fmt::Debug for AgentEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentEnv")
            .field("instance", &self.instance)
            .field("machine_token", &self.machine_token.is_some())
            .field("encryption_key", &self.encryption_key.is_some())
            .field("jwt_secret", &self.jwt_secret.is_some())
            .field("push_on_startup", &self.push_on_startup)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<AgentEnv, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        AgentEnv::read("edge", None, &variable).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_blank_is_unset_and_what_is_wrong_is_named() {
        let empty = read(&[
            ("RUNBEAM_MACHINE_TOKEN", " \n"),
            ("RUNBEAM_ENCRYPTION_KEY", ""),
        ])
        .unwrap();
        assert!(empty.machine_token.is_none() && empty.encryption_key.is_none());
        for (name, value) in [
            (
                "RUNBEAM_MACHINE_TOKEN",
                "{\"machine_token\": \"mt_secret\"}",
            ),
            ("RUNBEAM_ENCRYPTION_KEY", "secret passphrase"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(&format!("{name}: ")), "{error}");
            assert!(
                !error.contains("secret passphrase") && !error.contains("mt_"),
                "{error}"
            );
        }
        let redacted = format!(
            "{:?}",
            read(&[("RUNBEAM_MACHINE_TOKEN", "mt_secret")]).unwrap()
        );
        assert!(!redacted.contains("mt_"), "{redacted}");
    }

    #[test]
    fn what_deserves_a_word() {
        let home = tempfile::tempdir().unwrap();
        let text =
            "[proxy]\nid = \"t\"\n[network.n.http]\nbind_port = 1\n[runbeam]\nenabled = true\n";
        let nothing = std::collections::BTreeMap::<String, String>::new();
        let config = crate::config::parse("t.toml".as_ref(), text, &nothing).unwrap();
        let warnings = |variables: &[(&str, &str)], managed: bool, store: StoreChoice| {
            let mut read = read(variables).unwrap();
            read.state_dir = Some(home.path().to_owned());
            let mut settings = config.runbeam.clone().unwrap();
            settings.token_store = store;
            read.warnings(&settings, managed)
        };
        let secret = |bytes: usize| ("RUNBEAM_JWT_SECRET", "s".repeat(bytes));
        for (bytes, expected) in [(1, 1), (31, 1), (32, 0), (64, 0)] {
            let (name, value) = secret(bytes);
            let found = warnings(&[(name, &value)], true, StoreChoice::Auto);
            assert_eq!(found.len(), expected, "{bytes}: {found:?}");
            assert!(
                !found.iter().any(|warning| warning.contains("sss")),
                "{found:?}"
            );
        }
        let alone = warnings(&[], false, StoreChoice::File);
        assert!(alone[0].contains("nothing can authorize this gateway: [management] is off"));
        assert!(warnings(&[], false, StoreChoice::Auto)[0].contains("unless its keyring"));
        let token = r#"{"machine_token":"mt_x","expires_at":"2099-01-01T00:00:00Z",
            "gateway_id":"g","gateway_code":"c","abilities":[]}"#;
        let given = [("RUNBEAM_MACHINE_TOKEN", token)];
        assert!(warnings(&given, false, StoreChoice::File).is_empty());
        std::fs::write(home.path().join(TOKEN_FILE), "").unwrap();
        assert!(warnings(&[], false, StoreChoice::File).is_empty());
        assert_eq!(warnings(&[], false, StoreChoice::Memory).len(), 1);
    }

    #[test]
    fn switches_are_true_or_one() {
        for (value, on) in [
            ("true", true),
            ("1", true),
            ("0", false),
            ("yes", false),
            ("", false),
        ] {
            let read = read(&[("RUNBEAM_PUSH_CONFIG_ON_STARTUP", value)]).unwrap();
            assert_eq!(read.push_on_startup, on, "{value}");
        }
    }

    #[test]
    fn only_this_machine_may_have_any_certificate() {
        for (base, near) in [
            ("https://localhost:8443", true),
            ("https://127.0.0.1", true),
            ("https://[::1]:1", true),
            ("https://localhost.evil.example", false),
            ("https://127.0.0.1.evil.example", false),
            ("https://api.runbeam.cloud", false),
        ] {
            assert_eq!(is_loopback(base), near, "{base}");
        }
    }
}
