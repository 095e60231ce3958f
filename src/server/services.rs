//! Pingora's services: the proxy with all of its listeners, and the Management API.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use async_trait::async_trait;
use http::Response;
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::listeners::ListenerConfig;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;

use super::background::BackgroundTasks;
use super::graceful_app::GracefulApp;
use super::sockets;
use crate::config::{self, Bind, Config, Network};
use crate::listener::{Connection, GuardedApp, WRITE_TIMEOUT};
use crate::management::{AccessControl, ManagementApi};
use crate::proxy::{App, Edge};

pub(super) fn server_conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: config.threads,
        // A single thread has none to take work from.
        work_stealing: config.threads > 1,
        // Draining ends the process as soon as nothing is in flight; Pingora would wait for the
        // whole grace period.
        grace_period_seconds: Some(config.grace.as_secs().saturating_add(5)),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}

/// All networks but the management one, in one service: they share its threads and its connections
/// to upstreams.
pub(super) fn proxy_service(
    config: &Config,
    edge: Edge,
    tasks: &BackgroundTasks,
) -> Service<GuardedApp<GracefulApp<App>>> {
    let app = GracefulApp(Arc::new(App::new(edge)));
    let app = GuardedApp::new(app, tasks.live.clone(), tasks.limiters.clone());
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

pub(super) fn management_service(
    config: &Config,
    settings: &config::Management,
    tasks: &BackgroundTasks,
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
        tasks.live.clone(),
        tasks.agent.clone(),
        tasks.lifecycle.log.clone(),
        tasks.history.clone(),
        tasks.lifecycle.stopping.clone(),
    );
    let app = GracefulApp(Arc::new(HttpServer::new_app(ManagementApp(api))));
    let app = GuardedApp::new(app, tasks.live.clone(), tasks.limiters.clone());
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

/// The Management API, as an application that updates the state of its connection.
pub(super) struct ManagementApp(ManagementApi);

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
