//! The one composition root: a configuration becomes a Pingora server with its services.

mod watcher;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::apps::http_app::HttpServer;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::ServiceWithDependents;
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use pingora_proxy::{HttpProxy, http_proxy_service_with_name};
use tokio::signal::unix::{SignalKind, signal};

use crate::auth::{Shared, SharedError};
use crate::config::{self, Bind, Config, Network, Source};
use crate::gateway::Live;
use crate::management::{ManagementApi, Protection};
use crate::proxy::{Deadlines, Edge};
use crate::runbeam::agent::{Agent, Surroundings};
use crate::telemetry::{LogWriter, Reports};

/// Tries of Pingora's for one request. Ours are counted per backend; this only bounds how many dead kept connections one request may meet.
const MAX_TRIES: usize = 16;
/// Idle connections to upstreams that are kept.
const KEPT_CONNECTIONS: usize = 1024;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not build.
    #[error("{0}")]
    Config(#[from] config::Errors),
    /// What authentication keeps for the life of the process cannot be made.
    #[error("{0}")]
    Shared(#[from] SharedError),
    /// A listener's address cannot be bound.
    #[error(
        "network.{network}: cannot listen on {address}: {source}; is another process using it?"
    )]
    Bind {
        /// Name of the network.
        network: Arc<str>,
        /// Its address, as configured.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A server that is ready to run.
pub struct EdgeServer {
    server: Server,
    live: Arc<Live>,
}

impl EdgeServer {
    /// Builds everything. Opens no listener that stays, fetches nothing. `config` is what `source` says; `surroundings` is what the connection to the cloud takes from
    /// the environment.
    pub fn build(
        source: Source,
        config: &Config,
        surroundings: Surroundings,
        log: LogWriter,
    ) -> Result<Self, StartError> {
        let shared = Shared::new(config.state_dir.clone())?;
        let live = Arc::new(Live::start(source, shared)?);
        let config = live.config();
        let config = &*config;
        for network in &config.networks {
            try_to_bind(network)?;
        }
        let upkeep = Upkeep {
            agent: Arc::new(Agent::new(live.clone(), surroundings)),
            live: live.clone(),
            deadlines: Arc::default(),
            in_flight: live.metrics().in_flight().clone(),
            grace: config.grace,
            log,
        };
        let mut server = Server::new_with_opt_and_conf(None, server_conf(config));
        server.add_service(proxy_service(config, &upkeep, &server.configuration));
        if let Some(settings) = &config.management {
            server.add_service(management_service(config, settings, &upkeep));
        }
        let mut upkeep = background_service("upkeep", upkeep);
        upkeep.threads = Some(1);
        server.add_service(upkeep);
        Ok(Self { server, live })
    }

    /// The configuration that it starts with, what the cloud sent before included.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.live.config()
    }

    /// Adds a service of the demonstration's.
    pub(crate) fn add_service(&mut self, service: impl ServiceWithDependents + 'static) {
        self.server.add_service(service);
    }

    /// Serves until told to stop.
    pub fn run(self) {
        self.server.run(RunArgs::default());
    }
}

fn server_conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: config.threads,
        max_retries: MAX_TRIES,
        upstream_keepalive_pool_size: KEPT_CONNECTIONS,
        // Draining ends the process as soon as nothing is in flight; Pingora would sleep through the whole of it.
        grace_period_seconds: Some(config.grace.as_secs().saturating_add(5)),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}

/// All networks but the management one, in one service: they share its threads and its connections to upstreams.
fn proxy_service(
    config: &Config,
    upkeep: &Upkeep,
    conf: &Arc<ServerConf>,
) -> Service<HttpProxy<Edge>> {
    let edge = Edge::new(
        upkeep.live.clone(),
        upkeep.deadlines.clone(),
        upkeep.in_flight.clone(),
    );
    let mut service = http_proxy_service_with_name(conf, edge, "proxy");
    if let Some(app) = service.app_logic_mut() {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        app.server_options = Some(options);
    }
    let management = config.management.as_ref().map(|settings| &settings.network);
    for network in &config.networks {
        if let (Bind::Tcp(address), true) = (&network.bind, management != Some(&network.name)) {
            service.add_tcp(&address.to_string());
        }
    }
    service
}

fn management_service(
    config: &Config,
    settings: &config::Management,
    upkeep: &Upkeep,
) -> Service<HttpServer<ManagementApi>> {
    let protection = Protection {
        hosts: settings.hosts.clone(),
        allow_from: settings.allow_from.clone(),
        token_hash: settings.token_hash,
    };
    let api = ManagementApi::new(
        settings.base_path.clone(),
        protection,
        upkeep.live.clone(),
        upkeep.agent.clone(),
        Reports {
            log: Some(upkeep.log.clone()),
            ..Reports::default()
        },
    );
    let mut service = Service::new("management".to_owned(), HttpServer::new_app(api));
    service.threads = Some(1);
    for network in &config.networks {
        match &network.bind {
            _ if network.name != settings.network => {}
            Bind::Tcp(address) => service.add_tcp(&address.to_string()),
            Bind::Unix(path) => service.add_uds(&path.to_string_lossy(), None),
        }
    }
    service
}

/// How long an address may still be taken by a process that is just ending.
const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// Binds and lets go: Pingora binds in its own threads, where an address that is taken could only be a panic.
fn try_to_bind(network: &Network) -> Result<(), StartError> {
    let Bind::Tcp(address) = &network.bind else {
        return Ok(());
    };
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match TcpListener::bind(address) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(BIND_PATIENCE / 20);
            }
            Err(source) => {
                return Err(StartError::Bind {
                    network: network.name.clone(),
                    address: address.to_string(),
                    source,
                });
            }
        }
    }
}

/// Everything that goes on beside the requests, and the end of it all.
struct Upkeep {
    live: Arc<Live>,
    agent: Arc<Agent>,
    deadlines: Arc<Deadlines>,
    in_flight: Arc<AtomicUsize>,
    grace: Duration,
    log: LogWriter,
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, shutdown: ShutdownWatch) {
        let names = self.live.names().run(shutdown.clone());
        let key_sets = self.live.key_sets().run(shutdown.clone());
        let agent = self.agent.clone().run(shutdown.clone());
        tokio::join!(
            names,
            key_sets,
            agent,
            self.deadlines.run(),
            self.reload_on_hangup(),
            watcher::run(self.live.clone()),
            self.drain(shutdown)
        );
    }
}

impl Upkeep {
    /// SIGHUP: reload.
    async fn reload_on_hangup(&self) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => {
                log::error!("SIGHUP cannot be listened for, and will end the process: {error}");
                return;
            }
        };
        while hangups.recv().await.is_some() {
            let live = self.live.clone();
            // The outcome is logged where it is decided.
            let _ = tokio::task::spawn_blocking(move || live.reload()).await;
        }
    }

    /// Waits for the shutdown, then until nothing is in flight or the grace period is over, and ends the process.
    async fn drain(&self, mut shutdown: ShutdownWatch) {
        if shutdown.wait_for(|stopping| *stopping).await.is_err() {
            return;
        }
        log::info!(
            "stopping: {} requests in flight",
            self.in_flight.load(Ordering::Relaxed)
        );
        let started = Instant::now();
        let mut idle = 0;
        // Twice in a row: a request whose head has just been read is not counted yet.
        while idle < 2 && started.elapsed() < self.grace {
            tokio::time::sleep(Duration::from_millis(20)).await;
            idle = if self.in_flight.load(Ordering::Relaxed) == 0 {
                idle + 1
            } else {
                0
            };
        }
        match self.in_flight.load(Ordering::Relaxed) {
            0 => log::info!("stopped"),
            cut => log::warn!("stopped: grace period over, {cut} requests cut off"),
        }
        self.log.flush();
        std::process::exit(0);
    }
}

/// A free loopback address for a listener that has no configured one.
pub fn free_loopback_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
