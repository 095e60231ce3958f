//! `harmony-edge explain`: one request through the real chain, without a client and without an
//! upstream.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::Method;
use serde_json::Value;
use tokio::sync::watch;

use crate::auth::Shared;
use crate::config::{Bind, Config, Network, Source};
use crate::gateway::Live;
use crate::proxy::Edge;

use super::management_client::{ManagementClient, NoAnswer};
use super::{config_path, secrets};

/// How long key sets may take.
const KEY_SETS: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Configuration file (default: /etc/harmony/harmony.toml or /etc/harmony/config.toml)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Method and target, for example 'GET /api/x' or 'GET https://api.example.com/api/x'
    #[arg(long, value_name = "REQUEST")]
    request: String,
    /// Read a bearer token from standard input, to keep it out of the shell history and the
    /// process list
    #[arg(long)]
    token_stdin: bool,
    /// Header field, for example 'Authorization: Bearer ...'; may be repeated
    #[arg(long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// Network that receives the request (default: the first one with a pipeline)
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Address of the client
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    from: IpAddr,
    /// File whose first line is the management token, to ask the running process which upstreams
    /// are drained (default: $HARMONY_MANAGEMENT_TOKEN)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Explains, and prints the explanation.
#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what the command is for"
)]
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let request = Request::parse(&arguments.request)?;
    let token = match arguments.token_stdin {
        true => Some(secrets::read_token()?),
        false => None,
    };
    let head = head(
        &request,
        &arguments.headers,
        token.as_deref().map(String::as_str),
    )?;
    let source = Source::file(config_path::config(arguments.config.as_deref())?);
    let config = source.load()?;
    let shared = Shared::new(config.state_dir.clone())?;
    let key_sets = shared.key_sets().clone();
    let live = Arc::new(Live::start(source, shared)?);
    let asked = drain_as_running(&live, arguments.token_file.as_deref());
    if let Err(error) = asked {
        eprintln!("which upstreams are drained is not known: {error}");
    }
    let local = listener(&live.config(), arguments.network.as_deref(), &request)?;
    let edge = Edge::new(live, Arc::default());
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

/// Drains the upstreams that are drained in the process that runs, if there is one.
fn drain_as_running(live: &Live, token_file: Option<&Path>) -> anyhow::Result<()> {
    let Some(address) = live.config().management_address() else {
        return Ok(());
    };
    let client = ManagementClient::new(&address, token_file)?;
    let answer = match client.call(Method::GET, "/backends", None) {
        Err(error) if is_not_there(&error) => return Ok(()),
        answer => answer?,
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for backend in list(&answer["backends"]) {
        let drained = list(&backend["upstreams"]).into_iter();
        for upstream in drained.filter(|upstream| upstream["drained"] == true) {
            if let (Some(name), Some(url)) = (backend["name"].as_str(), upstream["url"].as_str()) {
                // One that this configuration does not have any more is none of its business.
                let _ = live.drain(name, url, true);
            }
        }
    }
    Ok(())
}

fn is_not_there(error: &anyhow::Error) -> bool {
    let no_answer = error.downcast_ref::<NoAnswer>();
    no_answer.is_some_and(|error| error.unreachable)
}

/// `--request`, taken apart.
struct Request {
    method: String,
    /// As it stands in the request line.
    target: String,
    /// Host and port of a whole URL.
    authority: Option<String>,
    /// Whether a whole URL is https, and its port.
    listener: Option<(bool, u16)>,
}

impl Request {
    /// Takes `METHOD TARGET`, where the target may be a whole URL; a URL alone is got.
    fn parse(request: &str) -> anyhow::Result<Self> {
        let is_url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
        let (method, target) = match request.split_once(' ') {
            Some((method, target)) if !is_url(method) => (method, target),
            None if is_url(request) => ("GET", request),
            _ => anyhow::bail!(
                "--request {request:?}: expected a method and a target, as in 'GET /api/x'"
            ),
        };
        let mut parsed = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            authority: None,
            listener: None,
        };
        // Split by hand: http::Uri would refuse or repair the oddities that are to be explained.
        let Some((scheme, rest)) = target.split_once("://").filter(|_| is_url(target)) else {
            return Ok(parsed);
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let uri = authority.parse::<http::uri::Authority>();
        let uri = uri.with_context(|| format!("--request: {authority:?} is no host"))?;
        let https = scheme == "https";
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        parsed.authority = Some(authority.to_owned());
        parsed.listener = Some((https, port));
        parsed.target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        Ok(parsed)
    }
}

fn head(request: &Request, fields: &[String], token: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    let names = |field: &String, name: &str| field.to_ascii_lowercase().starts_with(name);
    if !fields.iter().any(|field| names(field, "host:")) {
        let host = request.authority.as_deref().unwrap_or("localhost");
        head.push_str(&format!("Host: {host}\r\n"));
    }
    if let Some(token) = token {
        anyhow::ensure!(
            !fields.iter().any(|field| names(field, "authorization:")),
            "--token-stdin and --header 'Authorization: ...' exclude each other"
        );
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    for field in fields {
        // Not shown: it may hold a credential.
        anyhow::ensure!(field.contains(':'), "--header: expected 'Name: value'");
        head.push_str(field);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    Ok(head.into_bytes())
}

/// The listener of the network that is asked for; else of one that serves a pipeline: the one at
/// the port of the URL, else one that speaks TLS as the URL says, else the first.
fn listener(
    config: &Config,
    wanted: Option<&str>,
    request: &Request,
) -> anyhow::Result<SocketAddr> {
    let serves = |network: &&Network| {
        let mut pipelines = config.pipelines.iter();
        pipelines.any(|pipeline| pipeline.networks.contains(&network.name))
    };
    let network = match wanted {
        Some(wanted) => config
            .networks
            .iter()
            .find(|network| *network.name == *wanted),
        None => {
            let fits = |network: &&Network| match (request.listener, &network.bind) {
                (None, _) => 0,
                (Some((_, port)), Bind::Tcp(address)) if address.port() == port => 0,
                (Some((https, _)), _) if https == network.tls.is_some() => 1,
                (Some(_), _) => 2,
            };
            config.networks.iter().filter(serves).min_by_key(fits)
        }
    };
    match (network.map(|network| &network.bind), wanted) {
        (Some(Bind::Tcp(address)), _) => Ok(*address),
        (_, Some(wanted)) => anyhow::bail!("--network {wanted:?}: no such network for clients"),
        (_, None) => anyhow::bail!("no network has a pipeline"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_whole_urls() {
        for (text, head_of, listener) in [
            (
                "GET /api/x?q=1",
                "GET /api/x?q=1 HTTP/1.1\r\nHost: localhost",
                None,
            ),
            (
                "POST https://api.example.com/api/x",
                "POST /api/x HTTP/1.1\r\nHost: api.example.com",
                Some((true, 443)),
            ),
            (
                "http://[::1]:8080?q=/",
                "GET /?q=/ HTTP/1.1\r\nHost: [::1]:8080",
                Some((false, 8080)),
            ),
            (
                "DELETE http://h/a%2f..//b",
                "DELETE /a%2f..//b HTTP/1.1\r\nHost: h",
                Some((false, 80)),
            ),
        ] {
            let request = Request::parse(text).unwrap();
            assert_eq!(request.listener, listener, "{text}");
            let head = head(&request, &[], None).unwrap();
            assert_eq!(
                String::from_utf8(head).unwrap(),
                format!("{head_of}\r\n\r\n")
            );
        }
        for text in ["GET", "/api/x", "GET https:///x", "GET http://a b/"] {
            assert!(Request::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_is_given_once() {
        let request = Request::parse("GET /").unwrap();
        let field = |text: &str| vec![text.to_owned()];
        let head = |fields: &[String]| super::head(&request, fields, Some("t.o.k"));
        let sent = String::from_utf8(head(&field("host: h")).unwrap()).unwrap();
        assert_eq!(
            sent,
            "GET / HTTP/1.1\r\nAuthorization: Bearer t.o.k\r\nhost: h\r\n\r\n"
        );
        let error = head(&field("authorization: Bearer hidden")).unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}
