//! `harmony-edge explain`: one request through the real chain, without a client and without an
//! upstream.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use crate::auth::Shared;
use crate::config::{Bind, Config, Source};
use crate::gateway::Live;
use crate::proxy::Edge;

/// How long key sets may take.
const KEY_SETS: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Configuration file
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "/etc/harmony/harmony.toml"
    )]
    config: PathBuf,
    /// Method and target, as in 'GET /api/x'
    #[arg(long, value_name = "REQUEST")]
    request: String,
    /// A header field, as in 'Authorization: Bearer ...'; may be repeated
    #[arg(long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// The network that it comes in on; by default the first that serves a pipeline
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    from: IpAddr,
}

/// Explains, and prints the explanation.
#[allow(clippy::print_stdout, reason = "what the command is for")]
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let source = Source::file(&arguments.config);
    let config = source.load()?;
    let shared = Shared::new(config.state_dir.clone())?;
    let key_sets = shared.key_sets().clone();
    let live = Arc::new(Live::start(source, shared)?);
    let local = listener(&live.config(), arguments.network.as_deref())?;
    let edge = Edge::new(live, Arc::default());
    let head = head(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let explanation = runtime.block_on(async {
        // Dropped at the end of this block, which ends the task.
        let (_running, shutdown) = watch::channel(false);
        let fetching = key_sets.clone();
        tokio::spawn(async move { fetching.run(shutdown).await });
        key_sets.first_tried(KEY_SETS).await;
        edge.explain(&head, local, SocketAddr::new(arguments.from, 0))
            .await
    });
    let explanation =
        explanation.map_err(|error| anyhow::anyhow!("the request is not HTTP: {error}"))?;
    print!("{explanation}");
    Ok(())
}

fn head(arguments: &Arguments) -> anyhow::Result<Vec<u8>> {
    let (method, target) = arguments.request.split_once(' ').with_context(|| {
        format!(
            "--request {:?}: expected a method and a target, as in 'GET /api/x'",
            arguments.request
        )
    })?;
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let names_host = |field: &String| field.to_ascii_lowercase().starts_with("host:");
    if !arguments.headers.iter().any(names_host) {
        head.push_str("Host: localhost\r\n");
    }
    for field in &arguments.headers {
        // Not shown: it may hold a credential.
        anyhow::ensure!(field.contains(':'), "--header: expected 'Name: value'");
        head.push_str(field);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    Ok(head.into_bytes())
}

fn listener(config: &Config, wanted: Option<&str>) -> anyhow::Result<SocketAddr> {
    let serves = |name: &Arc<str>| {
        config
            .pipelines
            .iter()
            .any(|pipeline| pipeline.networks.contains(name))
    };
    let network = match wanted {
        Some(wanted) => config
            .networks
            .iter()
            .find(|network| *network.name == *wanted),
        None => config.networks.iter().find(|network| serves(&network.name)),
    };
    match (network.map(|network| &network.bind), wanted) {
        (Some(Bind::Tcp(address)), _) => Ok(*address),
        (_, Some(wanted)) => anyhow::bail!("--network {wanted:?}: no such network for clients"),
        (_, None) => anyhow::bail!("no network serves a pipeline"),
    }
}
