//! Runbeam Cloud: how it is reached, and what it may do.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

/// `[runbeam]`, enabled.
#[derive(Debug, Clone, PartialEq)]
pub struct Runbeam {
    /// `cloud_api_base_url`: https, or http to loopback; no trailing slash. Default
    /// `https://api.runbeam.cloud`.
    pub cloud_api_base_url: String,
    /// `api_base_urls`: further bases that count as the same cloud; same form.
    pub api_base_urls: Vec<String>,
    /// `poll_interval_secs`: `None` for 0 (no polling), else 5 s to 1 h. Default 30 s.
    pub poll_interval: Option<Duration>,
    /// `token_store`. Default [`TokenStore::Auto`].
    pub token_store: TokenStore,
    /// `renew_before_days`. Default 5 days.
    pub renew_before: Duration,
    /// `report_status`. Default true.
    pub report_status: bool,
    /// `apply_changes`. Default true.
    pub apply_changes: bool,
}

/// What of `[runbeam]` says what the cloud may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudRights {
    /// `backend_allow`: the networks that its pipelines may connect to. `None`: not narrowed.
    pub backend_allow: Option<Vec<IpNet>>,
    /// `cloud_owns_uploaded`: it may change pipelines that an upload carried. Default false.
    pub owns_uploaded: bool,
}

/// Who wrote something. What the two count and strip is kept apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The operator, in the local files.
    #[default]
    Local,
    /// Runbeam Cloud.
    Cloud,
}

/// `runbeam.token_store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStore {
    /// The keyring where one answers, else the encrypted file.
    Auto,
    /// The operating system's keyring.
    Keyring,
    /// The age-encrypted file.
    File,
    /// Nothing is kept across a restart.
    Memory,
}

/// As the file names it.
impl fmt::Display for TokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Keyring => "keyring",
            Self::File => "file",
            Self::Memory => "memory",
        })
    }
}
