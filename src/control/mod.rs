//! The gateway's own connection to the cloud: obtains, renews and watches the machine token, pulls
//! configuration, tells how things stand.
//!
//! [`Agent`] is what the rest of the process sees: the Management API hands tokens over and asks how things stand. [`Agent::run`] is one task that never ends before
//! shutdown; `service` is its loop, `poll`, `changes` and `renewal` are what it does, `keeper` is
//! where it keeps its token. The proxy serves, whatever happens here.

mod address;
mod backoff;
mod changes;
mod held;
mod keeper;
mod orders;
mod poll;
mod renewal;
mod service;
mod state;
mod surroundings;
mod tokens;
mod upload;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use zeroize::Zeroizing;

use self::held::Held;
use self::keeper::Keeper;
use self::orders::Users;
use crate::gateway::{Live, Runbeam};
use crate::runbeam::{ClientOptions, RunbeamClient, RunbeamError};

pub use orders::{Authorization, OrderError, Taken, UserToken};
pub use state::{Counters, State, Status};
pub use surroundings::{Surroundings, SurroundingsError};
pub use upload::{UploadError, Uploaded};

/// How long the cloud may take for what an operator waits for.
const ORDER: Duration = Duration::from_secs(15);
/// How long it may take for a call of the background service.
const CALL: Duration = Duration::from_secs(30);

/// The connection of this gateway to the cloud.
pub struct Agent {
    live: Arc<Live>,
    surroundings: Surroundings,
    keeper: Keeper,
    facts: Mutex<Facts>,
    /// Told when somebody handed a token over, or took it away.
    news: watch::Sender<()>,
    users: Users,
    /// Held by whoever replaces the token, so that memory and store agree.
    turn: tokio::sync::Mutex<()>,
    /// Held while a change is put in service, so that a poll that was broken off and the next one
    /// do not both apply it.
    applying: Arc<tokio::sync::Mutex<()>>,
    /// Whether the upload at start (`RUNBEAM_PUSH_CONFIG_ON_STARTUP`) is still to be made.
    push: AtomicBool,
    /// Whether the cloud knows the status call, as far as is known.
    reports: AtomicBool,
    started_at: SystemTime,
}

/// What is known at the moment.
#[derive(Default)]
struct Facts {
    held: Option<Held>,
    last_poll: Option<SystemTime>,
    last_error: Option<String>,
    /// What is wrong with the token store, whatever the cloud says.
    store_error: Option<String>,
    pending: usize,
    counters: Counters,
    /// When the operator was last told that the token is not renewed.
    reminded: Option<Instant>,
    /// Tokens that the cloud did not take, since it last took one.
    refused: Vec<Zeroizing<String>>,
    /// The operator has told to forget the token, that of the environment too.
    environment_forgotten: bool,
}

impl Agent {
    /// An agent of a live gateway. Nothing happens before [`Agent::run`].
    pub fn new(live: Arc<Live>, surroundings: Surroundings) -> Self {
        Self {
            keeper: Keeper::new(&surroundings),
            push: AtomicBool::new(surroundings.push_on_startup),
            surroundings,
            live,
            facts: Mutex::default(),
            news: watch::Sender::new(()),
            users: Users::default(),
            turn: tokio::sync::Mutex::default(),
            applying: Arc::default(),
            reports: AtomicBool::new(true),
            started_at: SystemTime::now(),
        }
    }

    /// `proxy.id`, the gateway's code where nobody says another one.
    pub fn instance(&self) -> &str {
        &self.surroundings.instance
    }

    /// Whether `[runbeam]` is on.
    pub fn is_enabled(&self) -> bool {
        self.live.runbeam().is_some()
    }

    /// How the connection stands.
    pub fn status(&self) -> Status {
        let settings = self.live.runbeam();
        let facts = self.facts();
        let held = facts.held.as_ref();
        let state = match (&settings, held) {
            (None, _) => State::Disabled,
            (Some(_), None) => State::Unauthorized,
            (Some(settings), Some(held)) => held.state(settings.renew_before),
        };
        let told = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let enabled = settings.is_some();
        Status {
            enabled,
            state,
            gateway_id: held.and_then(|held| told(&held.token.gateway_id)),
            token_expires_at: held.and_then(|held| told(&held.token.expires_at)),
            token_expires: held.and_then(|held| held.token.expires()),
            token_source: held.map(|held| held.source.name()),
            token_store: match held {
                Some(held) if held.is_in_store() => self.keeper.location(),
                Some(_) => Some("memory".to_owned()),
                None => self.keeper.description(),
            },
            last_poll: facts.last_poll,
            last_error: settings.and_then(|_| {
                facts
                    .store_error
                    .as_ref()
                    .or(facts.last_error.as_ref())
                    .cloned()
            }),
            pending_changes: facts.pending,
            counters: facts.counters,
        }
    }

    /// A client of the configured cloud, for what somebody waits for.
    fn client_of_order(&self, settings: &Runbeam) -> Result<RunbeamClient, RunbeamError> {
        self.client(settings, ORDER)
    }

    /// A client of the configured cloud.
    fn client(&self, settings: &Runbeam, limit: Duration) -> Result<RunbeamClient, RunbeamError> {
        let options = ClientOptions {
            timeout: limit,
            accept_invalid_certs: self.surroundings.accepts_invalid_certs(settings),
            ..ClientOptions::default()
        };
        RunbeamClient::with_options(&settings.cloud_api_base_url, options)
    }

    /// The token in use.
    fn held(&self) -> Option<Held> {
        self.facts().held.clone()
    }

    /// Never held across an await.
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Facts::change`].
    fn note(&self, held: &Held, change: impl FnOnce(&mut Held)) {
        self.facts().change(held, change);
    }

    /// See [`Facts::complain`].
    fn complain(&self, error: String) {
        self.facts().complain(error);
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Facts {
    /// Changes what is known of a token, if it is still the one in use.
    fn change(&mut self, held: &Held, change: impl FnOnce(&mut Held)) {
        if let Some(current) = &mut self.held
            && current.token.machine_token == held.token.machine_token
        {
            change(current);
        }
    }

    /// Keeps an error for `/info` and logs it, unless it is the same as before.
    fn complain(&mut self, error: String) {
        if self.last_error.as_ref() != Some(&error) {
            log::warn!("runbeam: {error}");
        }
        self.last_error = Some(error);
    }
}
