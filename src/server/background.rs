//! Everything that runs beside the requests.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::SignalKind;

use super::connection_limits::ConnectionLimits;
use super::lifecycle::Lifecycle;
use super::{file_watcher, service_manager, signals};
use crate::control::Agent;
use crate::gateway::Live;
use crate::listener::ConnectionLimiters;
use crate::management::History;
use crate::proxy::{HealthChecks, OpenStreams, UpstreamPool};
use crate::telemetry::spans::SpanExport;

/// Everything that runs beside the requests.
pub(super) struct BackgroundTasks {
    pub(super) live: Arc<Live>,
    pub(super) agent: Arc<Agent>,
    pub(super) pool: Arc<UpstreamPool>,
    pub(super) streams: Arc<OpenStreams>,
    pub(super) limiters: Arc<ConnectionLimiters>,
    pub(super) limits: ConnectionLimits,
    /// Present until the start.
    pub(super) spans: Mutex<Option<SpanExport>>,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) history: Arc<History>,
}

#[async_trait]
impl BackgroundService for BackgroundTasks {
    async fn start(&self, shutdown: ShutdownWatch) {
        let resolver = self.live.resolver().run(shutdown.clone());
        let key_sets = self.live.auth().key_sets().run(shutdown.clone());
        let revocations = self.live.auth().revocations().run();
        let store = self.run_shared_store(shutdown.clone());
        let checks = HealthChecks::new(self.live.clone(), &self.pool);
        let agent = self.agent.clone().run(shutdown.clone());
        let stopping = shutdown.clone();
        let counting = shutdown.clone();
        // A process that another one took over from does not reload any more.
        let mut stopped = shutdown.clone();
        let watching = async {
            tokio::select! {
                () = file_watcher::run(self.live.clone()) => {}
                _ = stopped.wait_for(|stopping| *stopping) => {}
            }
        };
        let export = self
            .spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let stopped = shutdown.clone();
        let spans = async {
            if let Some(export) = export {
                export.run(|| *stopped.borrow()).await;
            }
        };
        // In this order: first what listens for signals, last what takes a moment before it first
        // waits.
        tokio::join!(
            self.reload_on_hangup(),
            self.lifecycle.run(shutdown),
            // All of the above have been polled once, so their signals are listened for.
            async { self.lifecycle.other_signals.send_replace(true) },
            resolver,
            key_sets,
            revocations,
            store,
            self.pool.run(),
            self.streams.run(),
            self.limiters.run(),
            self.limits.run(&self.live, &self.limiters, &self.pool),
            checks.run(stopping),
            self.history.run(&self.live, &self.lifecycle.log, counting),
            watching,
            spans,
            agent
        );
    }
}

impl BackgroundTasks {
    /// Keeps in touch with the store of `[shared]`, if there is one.
    async fn run_shared_store(&self, shutdown: ShutdownWatch) {
        if let Some(store) = self.live.shared_store() {
            tokio::join!(
                store.run(shutdown.clone()),
                store.follow_revocations(self.live.auth().revocations(), shutdown),
            );
        }
    }

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
