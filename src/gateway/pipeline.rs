//! A pipeline at run time: its stages, and the backends that share its load.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;

use crate::auth::{Chain, CredentialPlace, Shared};
use crate::config::{self, BackendTarget, HttpBackend};
use crate::telemetry::{BackendMetrics, Metrics, PipelineMetrics};

use super::names::{Addresses, Names};
use super::stage::{self, Stage, Stages};
use super::tls::Roots;

/// One pipeline: what a request must pass, and where it goes then.
#[derive(Debug)]
pub struct Pipeline {
    /// The table's name.
    pub name: Arc<str>,
    /// What it was built from.
    pub settings: config::Pipeline,
    /// Its counters, which a reload keeps.
    pub metrics: Arc<PipelineMetrics>,
    stages: Stages,
    backends: Vec<Backend>,
    next: AtomicUsize,
}

/// One backend of a pipeline.
#[derive(Debug)]
pub struct Backend {
    /// The table's name.
    pub name: Arc<str>,
    /// What answers.
    pub target: Target,
    /// Its counters, which a reload keeps.
    pub metrics: Arc<BackendMetrics>,
}

/// What answers.
#[derive(Debug)]
pub enum Target {
    /// This process, with the request as JSON.
    Echo,
    /// An HTTP server.
    Http(Box<Upstream>),
}

/// An HTTP upstream, with everything that a request needs made ready.
#[derive(Debug)]
pub struct Upstream {
    /// The settings.
    pub settings: HttpBackend,
    /// The resolved addresses of its host.
    pub addresses: Arc<Addresses>,
    /// The upstream's own `Host`, for `host = "upstream"`.
    pub authority: HeaderValue,
    /// The `Authorization` that it gets.
    pub credential: Option<HeaderValue>,
    /// Whose certificates are trusted, if not the system's.
    pub roots: Option<Arc<Roots>>,
    /// The listener of the Management API, for pipelines from the cloud.
    guarded: Option<SocketAddr>,
}

impl Pipeline {
    pub(super) fn build(
        settings: &config::Pipeline,
        shared: &Shared,
        names: &Names,
        metrics: &Metrics,
        guarded: Option<SocketAddr>,
    ) -> Result<Self, Vec<config::Error>> {
        let mut errors = Vec::new();
        let mut backends = Vec::new();
        for backend in &settings.backends {
            match Backend::build(backend, names, metrics, guarded) {
                Ok(backend) => backends.push(backend),
                Err(error) => errors.push(config::Error::new(
                    format!("backends.{}", backend.name),
                    error,
                )),
            }
        }
        match Stages::build(&settings.steps, shared) {
            Ok(stages) if errors.is_empty() => Ok(Self {
                name: settings.name.clone(),
                settings: settings.clone(),
                metrics: metrics.pipeline(&settings.name),
                stages,
                backends,
                next: AtomicUsize::new(0),
            }),
            Ok(_) => Err(errors),
            Err(found) => {
                errors.extend(found);
                Err(errors)
            }
        }
    }

    /// What a request must pass, in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages.stages
    }

    /// The credentials that must not travel to the upstream, of all its chains.
    pub fn withheld(&self) -> &[CredentialPlace] {
        &self.stages.withheld
    }

    /// Where its steps look for credentials.
    pub fn credential_places(&self) -> impl Iterator<Item = &CredentialPlace> {
        stage::chains(&self.stages.stages).flat_map(Chain::places)
    }

    /// Takes the next turn of the round robin.
    pub fn turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The backend for a turn and an attempt: each attempt of one request goes to another backend, while there is one.
    pub fn backend(&self, turn: usize, attempt: usize) -> Option<&Backend> {
        let index = turn
            .wrapping_add(attempt)
            .checked_rem(self.backends.len())?;
        self.backends.get(index)
    }

    /// How many backends share the load.
    pub fn backends(&self) -> usize {
        self.backends.len()
    }

    /// The backends that share the load.
    pub fn all_backends(&self) -> &[Backend] {
        &self.backends
    }
}

impl Backend {
    fn build(
        settings: &config::Backend,
        names: &Names,
        metrics: &Metrics,
        guarded: Option<SocketAddr>,
    ) -> Result<Self, String> {
        Ok(Self {
            name: settings.name.clone(),
            metrics: metrics.backend(&settings.name),
            target: match &settings.target {
                BackendTarget::Echo => Target::Echo,
                BackendTarget::Http(http) => {
                    Target::Http(Box::new(Upstream::build(http, names, guarded)?))
                }
            },
        })
    }
}

impl Upstream {
    /// An address to connect to; `None` while the name is not resolved, and where it is that of a listener which this upstream must not be.
    pub fn address(&self) -> Option<SocketAddr> {
        let address = self.addresses.next()?;
        let guarded = |listener| config::reaches(address, listener) || is_here(address, listener);
        if self.guarded.is_some_and(guarded) {
            log::warn!(
                "upstream {}: {address} is the Management API, which no pipeline from the cloud may reach",
                self.settings.host
            );
            return None;
        }
        Some(address)
    }

    fn build(
        settings: &HttpBackend,
        names: &Names,
        guarded: Option<SocketAddr>,
    ) -> Result<Self, String> {
        let unfit = |error: http::header::InvalidHeaderValue| error.to_string();
        let credential = settings
            .credential
            .as_ref()
            .map(|credential| {
                let mut value = HeaderValue::from_str(credential.0.expose()).map_err(unfit)?;
                value.set_sensitive(true);
                Ok::<_, String>(value)
            })
            .transpose()?;
        Ok(Self {
            settings: settings.clone(),
            addresses: names.addresses(&settings.host, settings.port),
            authority: HeaderValue::from_str(&authority(settings)).map_err(unfit)?,
            credential,
            roots: match &settings.ca_cert_path {
                Some(path) => Some(Arc::new(Roots::load(path)?)),
                None => None,
            },
            guarded,
        })
    }
}

/// Whether an address is one of this machine's, where every one of them is listened on.
fn is_here(address: SocketAddr, listener: SocketAddr) -> bool {
    let all = listener.ip().is_unspecified() && listener.port() == address.port();
    all && UdpSocket::bind((address.ip(), 0)).is_ok()
}

fn authority(settings: &HttpBackend) -> String {
    let host = if settings.host.contains(':') {
        format!("[{}]", settings.host)
    } else {
        settings.host.clone()
    };
    let default_port = if settings.tls { 443 } else { 80 };
    if settings.port == default_port {
        host
    } else {
        format!("{host}:{}", settings.port)
    }
}
