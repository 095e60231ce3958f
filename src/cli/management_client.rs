//! A client of the Management API of the process that runs, for commands that are given by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use http::{Method, StatusCode};
use jose::with_causes;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{config_path, own_certificate};
use crate::config::{Bind, Environment, ManagementAddress, ProcessEnvironment, Source};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the management token is looked for, if no file is named.
const TOKEN: &str = "HARMONY_MANAGEMENT_TOKEN";

/// Where the process is found, and what it is shown.
#[derive(Debug, clap::Args)]
pub(super) struct ManagementArguments {
    /// Configuration file, for the address of the Management API (default:
    /// /etc/harmony/harmony.toml or /etc/harmony/config.toml)
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// File whose first line is the management token (default: $HARMONY_MANAGEMENT_TOKEN)
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

impl ManagementArguments {
    pub(super) fn client(&self) -> anyhow::Result<ManagementClient> {
        let path = config_path::config(self.config.as_deref())?;
        let address = Source::file(path).management_address()?;
        let address =
            address.context("the Management API is off: set enabled = true in [management]")?;
        ManagementClient::new(&address, self.token_file.as_deref())
    }
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{place} does not answer: {why}")]
pub(super) struct NoAnswer {
    place: String,
    why: String,
    /// Whether nothing listens there.
    pub(super) unreachable: bool,
}

/// Calls the Management API at the address that the configuration says.
pub(super) struct ManagementClient {
    client: reqwest::Client,
    base: String,
    /// For messages: the base, or the socket.
    place: String,
    token: Option<Zeroizing<String>>,
}

impl ManagementClient {
    /// The management token is the first line of `token_file`, else
    /// `$HARMONY_MANAGEMENT_TOKEN`.
    pub(super) fn new(
        address: &ManagementAddress,
        token_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let network = &address.network;
        let mut builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let mut base = "http://localhost".to_owned();
        let mut socket = None;
        match &network.bind {
            Bind::Unix(path) => {
                socket = Some(path.display().to_string());
                builder = builder.unix_socket(path.clone());
            }
            Bind::Tcp(address) => {
                builder = builder.resolve_to_addrs("localhost", &reachable(*address));
                let scheme = if network.tls.is_some() {
                    "https"
                } else {
                    "http"
                };
                base = format!("{scheme}://localhost:{}", address.port());
            }
        }
        if let Some(tls) = &network.tls {
            ensure!(
                tls.client_ca_path.is_none(),
                "the management network asks for client certificates: call the Management API \
                 with curl --cert"
            );
            let files = tls.certificates.iter().map(|files| &*files.cert_path);
            builder = builder.tls_backend_preconfigured(own_certificate::client_config(files)?);
        }
        let base = base + &address.base_path;
        Ok(Self {
            client: builder.build()?,
            place: socket.unwrap_or_else(|| base.clone()),
            base,
            token: token(token_file)?,
        })
    }

    /// Calls a route, and gives what it answers; null without a body.
    ///
    /// # Errors
    ///
    /// There is no answer, or an error; its message.
    pub(super) fn call(
        &self,
        method: Method,
        route: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut request = self.client.request(method, format!("{}{route}", self.base));
            if let Some(token) = &self.token {
                request = request.header("x-management-token", token.as_str());
            }
            if let Some(body) = body {
                request = request
                    .header(http::header::CONTENT_TYPE, "application/json")
                    .body(body.to_string());
            }
            let answer = request.send().await;
            let answer = answer.map_err(|error| self.no_answer(error))?;
            let status = answer.status();
            let body = answer.bytes().await;
            let body = body.map_err(|error| self.no_answer(error))?;
            let parsed: Option<Value> = serde_json::from_slice(&body).ok();
            if status.is_success() && (parsed.is_some() || body.is_empty()) {
                return Ok(parsed.unwrap_or_default());
            }
            let Some(parsed) = parsed else {
                let status = status.as_u16();
                bail!(
                    "{} answers {status}, and not as the Management API does",
                    self.place
                );
            };
            let message = parsed["message"].as_str().unwrap_or_default();
            match status {
                StatusCode::UNAUTHORIZED => {
                    bail!("{message}: set {TOKEN}, or name a file with --token-file")
                }
                _ => bail!("{} {message}", status.as_u16()),
            }
        })
    }

    fn no_answer(&self, error: reqwest::Error) -> NoAnswer {
        NoAnswer {
            place: self.place.clone(),
            unreachable: error.is_connect(),
            why: with_causes(&error.without_url()),
        }
    }
}

fn token(file: Option<&Path>) -> anyhow::Result<Option<Zeroizing<String>>> {
    let given = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
            Some(Zeroizing::new(text))
        }
        None => ProcessEnvironment.var(TOKEN).map(Zeroizing::new),
    };
    let line = |text: &str| text.lines().next().unwrap_or_default().trim().to_owned();
    let token = given.map(|text| Zeroizing::new(line(&text)));
    ensure!(
        file.is_none() || token.as_ref().is_some_and(|token| !token.is_empty()),
        "the token file is empty"
    );
    Ok(token.filter(|token| !token.is_empty()))
}

/// A listener on every address is also on the loopback one, of one family at least.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    both.map(|ip| SocketAddr::new(ip, address.port())).to_vec()
}
