//! The gateway's own connection to the cloud: obtains, renews and watches the machine token, pulls
//! configuration, reports status.
//!
//! [`Agent`] is what the rest of the process sees: the Management API passes tokens to it and reads
//! its [`Status`]. [`Agent::run`] is one task that ends only at shutdown: `schedule` is its loop,
//! `poll`, `changes` and `renewal` are the work, `token_selection` decides which token is used and
//! `token_keeper` stores it. The proxy serves requests whatever happens here.

mod active_token;
mod address;
mod changes;
mod commands;
mod env;
mod error;
mod poll;
mod poll_pacing;
mod renewal;
mod schedule;
mod status;
mod token_keeper;
mod token_selection;
mod upload;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use zeroize::Zeroizing;

use self::active_token::ActiveToken;
use self::commands::VerifierCache;
use self::token_keeper::TokenKeeper;
use crate::gateway::{Live, Runbeam};
use runbeam_sdk::{ClientOptions, RunbeamClient, RunbeamError};

pub use commands::{AcceptedToken, Authorization, CheckedUserToken, CommandError};
pub use env::{AgentEnv, AgentEnvError};
pub use status::{Counters, State, Status};
pub use token_keeper::open_store;
pub use upload::{UploadError, Uploaded};

/// The limit of a cloud call that a Management API request waits for.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);
/// The limit of a cloud call of the background service.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The connection of this gateway to the cloud.
pub struct Agent {
    live: Arc<Live>,
    env: AgentEnv,
    keeper: TokenKeeper,
    state: Mutex<AgentState>,
    /// Notified when a command replaced the token or removed it.
    token_changes: watch::Sender<()>,
    users: VerifierCache,
    /// Held while the token is replaced, so that memory and store agree.
    token_lock: tokio::sync::Mutex<()>,
    /// Held while a change is applied, so that a cancelled poll and the next one do not both apply
    /// it.
    apply_lock: Arc<tokio::sync::Mutex<()>>,
    /// Whether the upload at startup (`RUNBEAM_PUSH_CONFIG_ON_STARTUP`) is still to be made.
    push_pending: AtomicBool,
    /// False once the cloud answered that it does not know the status call.
    status_supported: AtomicBool,
    started_at: SystemTime,
}

/// What changes while the agent runs.
#[derive(Default)]
struct AgentState {
    active_token: Option<ActiveToken>,
    last_poll: Option<SystemTime>,
    last_error: Option<String>,
    /// The last failure of the token store, kept apart from the cloud's errors.
    store_error: Option<String>,
    pending: usize,
    counters: Counters,
    /// When the log last warned that the token is not renewed.
    last_renewal_warning: Option<Instant>,
    /// Tokens that the cloud rejected since a poll last succeeded.
    rejected_tokens: Vec<Zeroizing<String>>,
    /// A `deauthorize` also covers the token of the environment.
    environment_token_forgotten: bool,
}

impl Agent {
    /// An agent of a live gateway. Nothing happens before [`Agent::run`].
    pub fn new(live: Arc<Live>, env: AgentEnv) -> Self {
        Self {
            keeper: TokenKeeper::new(&env),
            push_pending: AtomicBool::new(env.push_on_startup),
            env,
            live,
            state: Mutex::default(),
            token_changes: watch::Sender::new(()),
            users: VerifierCache::default(),
            token_lock: tokio::sync::Mutex::default(),
            apply_lock: Arc::default(),
            status_supported: AtomicBool::new(true),
            started_at: SystemTime::now(),
        }
    }

    /// `proxy.id`, the default of the gateway's code.
    pub fn instance(&self) -> &str {
        &self.env.instance
    }

    /// Whether `[runbeam]` is on.
    pub fn is_enabled(&self) -> bool {
        self.live.runbeam().is_some()
    }

    /// The state of the connection.
    pub fn status(&self) -> Status {
        let settings = self.live.runbeam();
        let known = self.state();
        let active = known.active_token.as_ref();
        let state = match (&settings, active) {
            (None, _) => State::Disabled,
            (Some(_), None) => State::Unauthorized,
            (Some(settings), Some(active)) => active.state(settings.renew_before),
        };
        let non_empty = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let enabled = settings.is_some();
        Status {
            enabled,
            state,
            gateway_id: active.and_then(|active| non_empty(&active.token.gateway_id)),
            token_expires_at: active.and_then(|active| non_empty(&active.token.expires_at)),
            token_expires: active.and_then(|active| active.token.expires()),
            token_source: active.map(|active| active.source.name()),
            token_store: match active {
                Some(active) if active.is_in_store() => self.keeper.location(),
                Some(_) => Some("memory".to_owned()),
                None => self.keeper.description(),
            },
            last_poll: known.last_poll,
            last_error: settings.and_then(|_| {
                known
                    .store_error
                    .as_ref()
                    .or(known.last_error.as_ref())
                    .cloned()
            }),
            pending_changes: known.pending,
            counters: known.counters,
        }
    }

    /// A client for a call that a Management API request waits for.
    fn command_client(&self, settings: &Runbeam) -> Result<RunbeamClient, RunbeamError> {
        self.client(settings, COMMAND_TIMEOUT)
    }

    /// A client of the configured cloud.
    fn client(&self, settings: &Runbeam, limit: Duration) -> Result<RunbeamClient, RunbeamError> {
        let options = ClientOptions {
            timeout: limit,
            accept_invalid_certs: self.env.accepts_invalid_certs(settings),
            ..ClientOptions::default()
        };
        RunbeamClient::with_options(&settings.cloud_api_base_url, options)
    }

    /// The token in use.
    fn active_token(&self) -> Option<ActiveToken> {
        self.state().active_token.clone()
    }

    /// Never held across an await.
    fn state(&self) -> MutexGuard<'_, AgentState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`AgentState::change`].
    fn update_active(&self, active: &ActiveToken, change: impl FnOnce(&mut ActiveToken)) {
        self.state().change(active, change);
    }

    /// See [`AgentState::record_error`].
    fn record_error(&self, error: String) {
        self.state().record_error(error);
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl AgentState {
    /// Changes what is known of a token, if it is still the one in use.
    fn change(&mut self, active: &ActiveToken, change: impl FnOnce(&mut ActiveToken)) {
        if let Some(current) = &mut self.active_token
            && current.token.machine_token == active.token.machine_token
        {
            change(current);
        }
    }

    /// Keeps an error for `/info` and logs it, unless it is the same as before.
    fn record_error(&mut self, error: String) {
        if self.last_error.as_ref() != Some(&error) {
            log::warn!("runbeam: {error}");
        }
        self.last_error = Some(error);
    }
}
