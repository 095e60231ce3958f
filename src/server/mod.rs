//! The one composition root: a configuration becomes a Pingora server with its services.

mod background;
mod clock_steps;
mod connection_limits;
mod drain;
mod error;
mod file_watcher;
mod graceful_app;
mod handover;
mod lifecycle;
mod self_check;
mod service_manager;
mod services;
mod signals;
mod sockets;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use pingora::apps::ServerApp;
use pingora::server::{RunArgs, Server};
use pingora::services::ServiceHandle;
use pingora::services::background::background_service;
use pingora::services::listening::Service;
use tokio::sync::watch;

use crate::auth::Shared;
use crate::config::{Config, Source};
use crate::control::{Agent, AgentEnv};
use crate::gateway::{self, Live};
use crate::listener::ConnectionLimiters;
use crate::proxy::{Edge, Probe, UpstreamPool};
use crate::telemetry::LogWriter;
use crate::telemetry::spans::{self, SpanSettings};

use background::BackgroundTasks;
use connection_limits::ConnectionLimits;
use lifecycle::{Lifecycle, ShutdownSignals};
use self_check::SelfCheck;
use services::{management_service, proxy_service, server_conf};
use sockets::{SocketPlacement, Sockets};

pub use error::StartError;
pub(crate) use handover::HandoverDirectory;
pub use handover::TakeOverError;
pub use sockets::{InheritedSocket, SocketError};

/// How a process starts: where its listeners come from, where a later process can take them over,
/// and what the environment says about the cloud.
#[derive(Debug, Default)]
pub struct StartOptions {
    /// Sockets that systemd passed.
    pub(crate) inherited: Vec<InheritedSocket>,
    /// Where this process and the next one meet; `None`: there is no hand-over.
    pub(crate) directory: Option<HandoverDirectory>,
    /// Whether to take over from the process that runs.
    pub(crate) take_over: bool,
    /// What the environment says about the cloud.
    pub(crate) agent_env: AgentEnv,
}

/// A server that is ready to run.
pub struct EdgeServer {
    server: Server,
    /// What the listeners depend on.
    placement: ServiceHandle,
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
        start: StartOptions,
    ) -> Result<Self, StartError> {
        // Pingora reads them too, and can only panic.
        gateway::system_roots()?;
        let shared = Shared::new(config.state_dir.clone())?;
        let live = Arc::new(Live::start(source, shared)?);
        let config = live.config();
        let config = &*config;
        let probe = Probe::new();
        let (inherited, taken_over) = match (&start.directory, start.take_over) {
            (_, false) => (start.inherited, None),
            (None, true) => return Err(TakeOverError::NoDirectory.into()),
            (Some(directory), true) => {
                let (handed_over, taken_over) = directory.take_over()?;
                live.take_over_drained(&handed_over.drained);
                (handed_over.sockets, Some(taken_over))
            }
        };
        let sockets = Arc::new(Sockets::open(&config.networks, inherited)?);
        let [shutdown_signals, other_signals] = [(); 2].map(|()| watch::Sender::new(false));
        let placement = SocketPlacement {
            sockets: sockets.clone(),
            warm: taken_over.is_some().then(|| live.clone()),
            signals: [shutdown_signals.subscribe(), other_signals.subscribe()],
        };
        let lifecycle = Arc::new(Lifecycle {
            sockets,
            directory: start.directory,
            taken_over: Mutex::new(taken_over),
            self_check: probe
                .as_ref()
                .and_then(|probe| SelfCheck::new(config, probe)),
            shutdown_signals,
            other_signals,
            stopping: Arc::default(),
            shutdown_delay: config.shutdown_delay,
            handed_over: false.into(),
            live: live.clone(),
            in_flight: live.metrics().in_flight().clone(),
            grace: config.grace,
            log,
        });
        let spans = match &config.tracing {
            Some(tracing) => Some(spans::start(&SpanSettings {
                url: &tracing.url,
                service_name: &tracing.service_name,
                instance: &config.id,
                sample_ratio: tracing.sample_ratio,
                include_subject: tracing.include_subject,
            })?),
            None => None,
        };
        let pool = Arc::<UpstreamPool>::default();
        let limits = ConnectionLimits::new(config);
        pool.set_limit(limits.upstreams());
        let edge = Edge::new(live.clone(), pool.clone()).with_probe(probe);
        let tasks = BackgroundTasks {
            streams: edge.streams().clone(),
            agent: Arc::new(Agent::new(live.clone(), start.agent_env)),
            live: live.clone(),
            limiters: Arc::new(ConnectionLimiters::new(&live, limits.networks())),
            pool,
            limits,
            spans: Mutex::new(spans),
            lifecycle: lifecycle.clone(),
            history: Arc::default(),
        };
        let mut server = Server::new_with_opt_and_conf(None, server_conf(config));
        let placement = server.add_service(placement);
        let proxy = proxy_service(config, edge, &tasks);
        server.add_service(proxy).add_dependency(&placement);
        if let Some(settings) = &config.management {
            let management = management_service(config, settings, &tasks);
            server.add_service(management).add_dependency(&placement);
        }
        let mut tasks = background_service("background", tasks);
        tasks.threads = Some(1);
        server.add_service(tasks);
        Ok(Self {
            server,
            placement,
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
            .add_dependency(&self.placement);
        Ok(())
    }

    /// Serves until told to stop.
    pub fn run(self) {
        let shutdown_signal = Box::new(ShutdownSignals(self.lifecycle));
        self.server.run(RunArgs { shutdown_signal });
    }
}
