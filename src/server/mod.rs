//! The one composition root: a configuration becomes a Pingora server with its services.

mod clock_steps;
mod connection_limits;
mod drain;
mod file_watcher;
mod handover;
mod lifecycle;
mod self_check;
mod service_manager;
mod signals;
mod sockets;

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::Response;
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::apps::{HttpServerOptions, ServerApp};
use pingora::listeners::ListenerConfig;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::ServiceHandle;
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::signal::unix::SignalKind;
use tokio::sync::watch;

use crate::auth::{Shared, SharedError};
use crate::config::{self, Bind, Config, Network, Source};
use crate::control::{Agent, AgentEnv};
use crate::gateway::{self, Live, RootsError};
use crate::listener::{Connection, ConnectionLimiters, GuardedApp, WRITE_TIMEOUT, http2_options};
use crate::management::{AccessControl, ManagementApi};
use crate::proxy::{Edge, HealthChecks, Probe, UpstreamPool};
use crate::telemetry::LogWriter;

use connection_limits::ConnectionLimits;
use drain::GracefulApp;
use lifecycle::Lifecycle;
use self_check::SelfCheck;
use sockets::{Placing, Sockets};

pub(crate) use handover::Directory;
pub use handover::TakeOverError;
pub use sockets::Inherited;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not build.
    #[error("{0}")]
    Config(#[from] config::Errors),
    /// What authentication keeps for the life of the process cannot be made.
    #[error("{0}")]
    Shared(#[from] SharedError),
    /// The system's certificate authorities cannot be used.
    #[error("{0}")]
    Roots(#[from] RootsError),
    /// A listener's address cannot be bound.
    #[error(
        "network.{network}: cannot listen on {address}: {source}{}",
        sockets::hint(source)
    )]
    Bind {
        /// Name of the network.
        network: Arc<str>,
        /// Its address, as configured.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A socket that systemd passed bears a network's name and another address.
    #[error(
        "network.{network}: the socket of this name that systemd passed is bound to {found}, not \
         to {address}; make ListenStream= and bind_address with bind_port the same"
    )]
    Misnamed {
        /// Name of the network.
        network: Arc<str>,
        /// Its address, as configured.
        address: String,
        /// That of the socket.
        found: String,
    },
    /// The running process did not hand its listeners over. It goes on.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
}

impl StartError {
    fn bind(network: &Network, source: std::io::Error) -> Self {
        Self::Bind {
            network: network.name.clone(),
            address: network.bind.to_string(),
            source,
        }
    }

    fn misnamed(network: &Network, found: &Bind) -> Self {
        Self::Misnamed {
            network: network.name.clone(),
            address: network.bind.to_string(),
            found: found.to_string(),
        }
    }
}

/// What a start takes from its surroundings: where the listeners come from, who may get them, and
/// what the environment says of the cloud.
#[derive(Debug, Default)]
pub struct Start {
    /// Sockets of systemd's.
    pub(crate) inherited: Vec<Inherited>,
    /// Where this process and the next one meet; `None`: there is no hand-over.
    pub(crate) directory: Option<Directory>,
    /// Whether to take over from the process that runs.
    pub(crate) take_over: bool,
    /// What the connection to the cloud takes from the environment.
    pub(crate) agent_env: AgentEnv,
}

/// A server that is ready to run.
pub struct EdgeServer {
    server: Server,
    /// What puts the sockets where the listeners look for them.
    placing: ServiceHandle,
    live: Arc<Live>,
    lifecycle: Arc<Lifecycle>,
}

impl EdgeServer {
    /// Builds everything, and opens the listeners last: what is wrong before leaves a running
    /// process alone. Fetches nothing. `config` is what `source` says.
    pub fn build(
        source: Source,
        config: &Config,
        log: LogWriter,
        start: Start,
    ) -> Result<Self, StartError> {
        // Pingora reads them too, and can only panic.
        gateway::system_roots()?;
        let shared = Shared::new(config.state_dir.clone())?;
        let live = Arc::new(Live::start(source, shared)?);
        let config = live.config();
        let config = &*config;
        let in_flight = live.metrics().in_flight().clone();
        let probe = Probe::new();
        let (inherited, taken_over) = match (&start.directory, start.take_over) {
            (_, false) => (start.inherited, None),
            (None, true) => return Err(TakeOverError::NoDirectory.into()),
            (Some(directory), true) => {
                let (sockets, taken_over) = directory.take_over()?;
                (sockets, Some(taken_over))
            }
        };
        let sockets = Arc::new(Sockets::open(&config.networks, inherited)?);
        let listening = watch::Sender::new(false);
        let placing = Placing {
            sockets: sockets.clone(),
            warm: taken_over.is_some().then(|| live.clone()),
            listening: listening.subscribe(),
        };
        let lifecycle = Arc::new(Lifecycle {
            sockets,
            directory: start.directory,
            taken_over: Mutex::new(taken_over),
            self_check: probe
                .as_ref()
                .and_then(|probe| SelfCheck::new(config, probe)),
            armed: watch::Sender::new(false),
            listening,
            given: false.into(),
            in_flight: Arc::clone(&in_flight),
            grace: config.grace,
            log,
        });
        let pool = Arc::<UpstreamPool>::default();
        let limits = ConnectionLimits::new(config);
        pool.set_limit(limits.upstreams());
        let upkeep = Upkeep {
            agent: Arc::new(Agent::new(live.clone(), start.agent_env)),
            live: live.clone(),
            limiters: Arc::new(ConnectionLimiters::new(&live, limits.networks())),
            pool,
            limits,
            lifecycle: lifecycle.clone(),
        };
        let mut server = Server::new_with_opt_and_conf(None, server_conf(config));
        let edge = Edge::new(upkeep.live.clone(), upkeep.pool.clone());
        let edge = edge.with_probe(probe);
        let placing = server.add_service(placing);
        let proxy = proxy_service(config, edge, &upkeep, &server.configuration);
        server.add_service(proxy).add_dependency(&placing);
        if let Some(settings) = &config.management {
            let management = management_service(config, settings, &upkeep);
            server.add_service(management).add_dependency(&placing);
        }
        let mut upkeep = background_service("upkeep", upkeep);
        upkeep.threads = Some(1);
        server.add_service(upkeep);
        Ok(Self {
            server,
            placing,
            live,
            lifecycle,
        })
    }

    /// The configuration that it starts with, what the cloud sent before included.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.live.config()
    }

    /// Adds a service of the demonstration's, which accepts from this socket.
    pub(crate) fn add_service<A>(
        &mut self,
        mut service: Service<A>,
        listener: TcpListener,
    ) -> std::io::Result<()>
    where
        A: ServerApp + Send + Sync + 'static,
    {
        service.add_tcp(&self.lifecycle.sockets.add(listener)?);
        self.server
            .add_service(service)
            .add_dependency(&self.placing);
        Ok(())
    }

    /// Serves until told to stop.
    pub fn run(self) {
        let shutdown_signal = Box::new(signals::Endings(self.lifecycle));
        self.server.run(RunArgs { shutdown_signal });
    }
}

fn server_conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: config.threads,
        // Nobody is there to take work from.
        work_stealing: config.threads > 1,
        // Draining ends the process as soon as nothing is in flight; Pingora would sleep through
        // the whole of it.
        grace_period_seconds: Some(config.grace.as_secs().saturating_add(5)),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}

/// All networks but the management one, in one service: they share its threads and its connections
/// to upstreams.
fn proxy_service(
    config: &Config,
    edge: Edge,
    upkeep: &Upkeep,
    conf: &Arc<ServerConf>,
) -> Service<GuardedApp<GracefulApp<HttpProxy<Edge>>>> {
    let mut proxy = http_proxy(conf, edge);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    proxy.server_options = Some(options);
    proxy.h2_options = Some(http2_options());
    let app = GracefulApp(Arc::new(proxy));
    let app = GuardedApp::new(app, upkeep.live.clone(), upkeep.limiters.clone());
    let mut service = Service::new("proxy".to_owned(), app);
    let management = config.management.as_ref().map(|settings| &settings.network);
    for network in &config.networks {
        if let (Bind::Tcp(_), true) = (&network.bind, management != Some(&network.name)) {
            service.add_listener(listener(network));
        }
    }
    service
}

/// A listener without Pingora's buffer of 64 KiB for each connection: what is read goes where it is
/// wanted. TLS comes in records, most of which fit.
fn listener(network: &Network) -> ListenerConfig {
    let buffer = if network.tls.is_some() { 16 * 1024 } else { 0 };
    let settings = L4BufferSettings::default().read(buffer);
    ListenerConfig::tcp(sockets::address(&network.bind)).l4_buffer(settings)
}

fn management_service(
    config: &Config,
    settings: &config::Management,
    upkeep: &Upkeep,
) -> Service<GuardedApp<GracefulApp<HttpServer<ManagementApp>>>> {
    let access = AccessControl {
        hosts: settings.hosts.clone(),
        allow_from: settings.allow_from.clone(),
        token_hash: settings.token_hash,
        client_certificate: config
            .networks
            .iter()
            .filter(|network| network.name == settings.network)
            .filter_map(|network| network.tls.as_ref())
            .any(|tls| tls.client_ca_path.is_some()),
    };
    let api = ManagementApi::new(
        settings.base_path.clone(),
        access,
        upkeep.live.clone(),
        upkeep.agent.clone(),
        upkeep.lifecycle.log.clone(),
    );
    let app = GracefulApp(Arc::new(HttpServer::new_app(ManagementApp(api))));
    let app = GuardedApp::new(app, upkeep.live.clone(), upkeep.limiters.clone());
    let mut service = Service::new("management".to_owned(), app);
    service.threads = Some(1);
    for network in &config.networks {
        match &network.bind {
            _ if network.name != settings.network => {}
            Bind::Tcp(_) => service.add_listener(listener(network)),
            Bind::Unix(_) => {
                let group = Permissions::from_mode(0o660);
                service.add_uds(&sockets::address(&network.bind), Some(group));
            }
        }
    }
    service
}

/// The Management API, which lets the guard know when it was called.
struct ManagementApp(ManagementApi);

#[async_trait]
impl ServeHttp for ManagementApp {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        if let Some(connection) = Connection::of(session.digest())
            && !session.is_http2()
        {
            connection.state().head_complete();
        }
        session.set_write_timeout(Some(WRITE_TIMEOUT));
        self.0.response(session).await
    }
}

/// Everything that goes on beside the requests, and the end of it all.
struct Upkeep {
    live: Arc<Live>,
    agent: Arc<Agent>,
    pool: Arc<UpstreamPool>,
    limiters: Arc<ConnectionLimiters>,
    limits: ConnectionLimits,
    lifecycle: Arc<Lifecycle>,
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, shutdown: ShutdownWatch) {
        let resolver = self.live.resolver().run(shutdown.clone());
        let key_sets = self.live.key_sets().run(shutdown.clone());
        let checks = HealthChecks::new(self.live.clone(), &self.pool);
        let agent = self.agent.clone().run(shutdown.clone());
        let stopping = shutdown.clone();
        // First what a signal would end the process without; last what takes a moment before it
        // first waits. A process that others have taken over from follows no files any more.
        let mut stopped = shutdown.clone();
        let watching = async {
            tokio::select! {
                () = file_watcher::run(self.live.clone()) => {}
                _ = stopped.wait_for(|stopping| *stopping) => {}
            }
        };
        tokio::join!(
            self.reload_on_hangup(),
            self.lifecycle.run(shutdown),
            async { self.lifecycle.listening.send_replace(true) },
            resolver,
            key_sets,
            self.pool.run(),
            self.limiters.run(),
            self.limits.run(&self.live, &self.limiters, &self.pool),
            checks.run(stopping),
            watching,
            agent
        );
    }
}

impl Upkeep {
    /// SIGHUP: reload.
    async fn reload_on_hangup(&self) {
        let Some(mut hangups) = signals::listen(SignalKind::hangup()) else {
            return;
        };
        while hangups.recv().await.is_some() {
            service_manager::reloading();
            let live = self.live.clone();
            // The outcome is logged where it is decided.
            let _ = tokio::task::spawn_blocking(move || live.reload()).await;
            match self.live.status().last_error {
                None => service_manager::reloaded("serving"),
                Some(error) => {
                    service_manager::reloaded(&format!("serving; reload refused: {error}"))
                }
            }
        }
    }
}
