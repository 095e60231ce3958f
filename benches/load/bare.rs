//! Bare Pingora: the least that passes requests on. In this binary, so that its profile is that of
//! the program under test.

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// As reports call it.
pub const NAME: &str = "bare Pingora";

/// `--serve-bare PORT UPSTREAM-PORT THREADS (http1|h2c) [CERTIFICATE KEY]`.
pub const ARGUMENT: &str = "--serve-bare";

struct Bare(HttpPeer);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.0.clone()))
    }
}

pub fn serve(arguments: &[String]) -> anyhow::Result<()> {
    let [port, upstream, threads, protocol, tls @ ..] = arguments else {
        anyhow::bail!("{ARGUMENT} PORT UPSTREAM-PORT THREADS (http1|h2c) [CERTIFICATE KEY]");
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let upstream = std::net::SocketAddr::from(([127, 0, 0, 1], upstream.parse()?));
    let conf = ServerConf {
        threads: threads.parse()?,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut peer = HttpPeer::new(upstream, false, String::new());
    let mut options = HttpServerOptions::default();
    if protocol == "h2c" {
        options.h2c = true;
        peer.options.set_http_version(2, 2);
        peer.options.max_h2_streams = 1000;
    }
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let mut service = http_proxy_service(&server.configuration, Bare(peer));
    if let Some(logic) = service.app_logic_mut() {
        logic.server_options = Some(options);
    }
    let address = format!("127.0.0.1:{port}");
    match tls {
        [certificate, key] => service
            .add_tls(&address, certificate, key)
            .map_err(|error| anyhow::anyhow!("{error}"))?,
        _ => service.add_tcp(&address),
    }
    server.add_service(service);
    server.run(Default::default());
    Ok(())
}
