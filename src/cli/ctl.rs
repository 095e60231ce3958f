//! `harmony-edge ctl`: what an operator asks of the process that runs, through its Management API.

use anyhow::Context as _;
use http::Method;
use serde_json::{Value, json};

use super::management_client::ManagementArguments;
use super::revoke;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    management: ManagementArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the status of the process, as JSON
    Status,
    /// List the upstreams: backend, URL, state, requests in flight
    Upstreams,
    /// Stop sending new requests to an upstream
    Drain {
        /// For example `app/10.0.0.5:3000` or `app/http://10.0.0.5:3000`
        #[arg(value_name = "BACKEND/UPSTREAM")]
        upstream: String,
    },
    /// Send requests to a drained upstream again
    Enable {
        /// For example `app/10.0.0.5:3000` or `app/http://10.0.0.5:3000`
        #[arg(value_name = "BACKEND/UPSTREAM")]
        upstream: String,
    },
    /// Reload the configuration, and print what changed
    Reload,
    /// Revoke tokens, API keys and certificates, as `harmony-edge revoke` does
    Revoke(Box<revoke::Change>),
    /// Manage key sets
    Keys {
        #[command(subcommand)]
        command: Keys,
    },
    /// Print the open connections, as JSON
    Connections,
    /// Change the log level for a while
    LogLevel {
        /// off, error, warn, info, debug or trace
        level: String,
        /// How long
        #[arg(long = "for", value_name = "SECONDS", default_value_t = 600)]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
        seconds: u64,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Keys {
    /// Fetch every key set now
    Refresh,
}

/// Asks the process that runs, and prints its answer.
#[allow(clippy::print_stdout, reason = "the answer of the command")]
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let client = arguments.management.client()?;
    let get = |route| client.call(Method::GET, route, None);
    let post = |route, body| client.call(Method::POST, route, body);
    let answer = match &arguments.command {
        Command::Status => get("/status")?,
        Command::Upstreams => {
            for line in upstreams(&get("/backends")?) {
                println!("{line}");
            }
            return Ok(());
        }
        Command::Drain { upstream } => post("/upstreams/drain", Some(&named(upstream)?))?,
        Command::Enable { upstream } => post("/upstreams/enable", Some(&named(upstream)?))?,
        Command::Reload => post("/reload", None)?,
        Command::Keys {
            command: Keys::Refresh,
        } => post("/keys/refresh", None)?,
        Command::Connections => get("/connections")?,
        Command::LogLevel { level, seconds } => {
            let body = json!({ "level": level, "for_secs": seconds });
            post("/log-level", Some(&body))?
        }
        Command::Revoke(change) => return revoke::make(change, &client),
    };
    println!("{answer:#}");
    Ok(())
}

/// A backend, and the upstream behind the first slash.
fn named(text: &str) -> anyhow::Result<Value> {
    let (backend, upstream) = text
        .split_once('/')
        .context("name it as BACKEND/UPSTREAM: `harmony-edge ctl upstreams` lists them")?;
    Ok(json!({ "backend": backend, "upstream": upstream }))
}

/// One line for each upstream.
fn upstreams(answer: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for backend in list(&answer["backends"]) {
        let name = backend["name"].as_str().unwrap_or_default();
        for upstream in list(&backend["upstreams"]) {
            let state = match upstream["drained"].as_bool() {
                Some(true) => "drained",
                _ => upstream["state"].as_str().unwrap_or_default(),
            };
            let url = upstream["url"].as_str().unwrap_or_default();
            lines.push(format!(
                "{name}/{url}\t{state}\t{} in flight",
                upstream["in_flight"]
            ));
        }
    }
    lines
}
