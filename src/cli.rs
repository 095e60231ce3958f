//! The command line: arguments, exit codes, and the small commands.
//!
//! Exit status: 0 stopped as asked, 1 configuration or start-up error (on standard error, one line
//! each), 2 wrong usage.

mod config_path;
mod ctl;
mod explain;
mod management_client;
mod own_certificate;
mod revoke;
mod secrets;
mod summary;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use rustix::process::{Pid, Signal, kill_process};

use crate::auth::Shared;
use crate::config::{Config, Environment, LogFormat, ProcessEnvironment, Source};
use crate::control::{AgentEnv, AgentEnvError};
use crate::demo::{self, Demo};
use crate::gateway::Live;
use crate::server::{EdgeServer, HandoverDirectory, InheritedSocket, StartOptions};
use crate::telemetry::{self, LogSettings, LogWriter};

/// An authenticating reverse proxy.
#[derive(Debug, Parser)]
#[command(name = "harmony-edge", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Configuration file (default: /etc/harmony/harmony.toml or /etc/harmony/config.toml)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, print every error, and exit
    #[arg(short = 't', long)]
    check: bool,
    /// Replace the running process: take over its listeners without refusing a connection
    #[arg(long, conflicts_with = "check")]
    upgrade: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a demo: issuer, upstream and proxy in one process, and four curl commands to try
    Demo {
        /// Port of the proxy on 127.0.0.1
        #[arg(long, value_name = "N", default_value_t = demo::PORT)]
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
    /// Show how a request would be handled: its route, the result of each step, and what the
    /// upstream would get
    Explain(explain::Arguments),
    /// Read an API key (or the Management API's token) from standard input and print its hash for
    /// the configuration
    HashKey {
        /// Environment variable that holds the pepper of the api-key step
        #[arg(long, value_name = "NAME")]
        pepper_env: Option<String>,
    },
    /// Read a password from standard input and print its bcrypt hash for a basic-auth step
    HashPassword {
        /// bcrypt cost: each increment doubles the time
        #[arg(long, value_name = "N", default_value_t = secrets::COST)]
        #[arg(value_parser = clap::value_parser!(u32).range(4..=31))]
        cost: u32,
    },
    /// Print a new key for RUNBEAM_ENCRYPTION_KEY: an age identity in base64
    Keygen,
    /// Control the running process through its Management API
    Ctl(ctl::Arguments),
    /// Revoke tokens, an API key or a client certificate in the running process, through its
    /// Management API
    Revoke(revoke::Arguments),
    /// Show the stored machine token, encrypt it with another key, or remove it
    Token(token::Arguments),
    /// Send SIGHUP to a running process, which reloads its configuration: for ExecReload= in a
    /// systemd unit
    Reload {
        /// Process id of the running harmony-edge
        #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(2..))]
        pid: i32,
    },
}

/// Runs the program to its end.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = install_crypto().and_then(|()| match arguments.command {
        Some(Command::Demo { port }) => demo(port),
        Some(Command::Explain(explain)) => explain::run(&explain),
        Some(Command::HashKey { pepper_env }) => secrets::hash_key(pepper_env.as_deref()),
        Some(Command::HashPassword { cost }) => secrets::hash_password(cost),
        Some(Command::Keygen) => {
            secrets::keygen();
            Ok(())
        }
        Some(Command::Token(token)) => token::run(&token),
        Some(Command::Reload { pid }) => reload(pid),
        Some(Command::Ctl(ctl)) => ctl::run(&ctl),
        Some(Command::Revoke(revoke)) => revoke::run(&revoke),
        None => config_path::config(arguments.config.as_deref()).and_then(|path| {
            match arguments.check {
                true => check(&path),
                false => serve(&path, arguments.upgrade),
            }
        }),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// One provider for the whole process: Pingora, reqwest and jsonwebtoken all use it.
fn install_crypto() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a cryptography provider is installed already"))
}

fn serve(path: &std::path::Path, take_over: bool) -> anyhow::Result<()> {
    let inherited =
        InheritedSocket::from_systemd().context("LISTEN_FDS: not a listening socket")?;
    let source = Source::file(path);
    let config = source.load()?;
    let agent_env = agent_env(&config)?;
    let warnings = runbeam_warnings(&config, &agent_env);
    let log = start_log(&config)?;
    let start = StartOptions {
        inherited,
        directory: HandoverDirectory::choose(config.state_dir.as_deref()),
        take_over,
        agent_env,
    };
    let server = EdgeServer::build(source, &config, log.clone(), start)?;
    summary::log(&server.config());
    for warning in warnings {
        log::warn!("{warning}");
    }
    server.run();
    log.flush();
    Ok(())
}

fn reload(pid: i32) -> anyhow::Result<()> {
    Pid::from_raw(pid)
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|process| kill_process(process, Signal::HUP))
        .map_err(|error| anyhow::anyhow!("process {pid} cannot be sent SIGHUP: {error}"))
}

fn demo(port: u16) -> anyhow::Result<()> {
    let demo = Demo::new(port)?;
    let log = start_log(&demo.config)?;
    demo.run(log)
}

#[allow(clippy::print_stdout, reason = "the answer of --check")]
fn check(path: &std::path::Path) -> anyhow::Result<()> {
    let live = Live::start(Source::file(path), Shared::new(None)?)?;
    let config = live.config();
    let runbeam_warnings = runbeam_warnings(&config, &agent_env(&config)?);
    for note in &config.notes {
        if note.warning {
            print_error(&format_args!("warning: {}", note.text));
        }
    }
    for warning in live.gateway().warnings() {
        print_error(&format_args!("warning: {warning}"));
    }
    for warning in runbeam_warnings {
        print_error(&format_args!("warning: {warning}"));
    }
    for entry in live.set_aside() {
        print_error(&format_args!("warning: {entry}"));
    }
    println!("configuration ok");
    Ok(())
}

/// What the connection to the cloud takes from the environment.
fn agent_env(config: &Config) -> Result<AgentEnv, AgentEnvError> {
    let variable = |name: &str| ProcessEnvironment.var(name);
    AgentEnv::read(&config.id, config.state_dir.clone(), &variable)
}

/// What deserves a word about the connection to the cloud, where it is on.
fn runbeam_warnings(config: &Config, agent_env: &AgentEnv) -> Vec<String> {
    let runbeam = config.runbeam.as_ref();
    let managed = config.management.is_some();
    runbeam.map_or_else(Vec::new, |runbeam| agent_env.warnings(runbeam, managed))
}

/// Starts logging as the configuration says.
fn start_log(config: &Config) -> anyhow::Result<LogWriter> {
    let logging = &config.logging;
    let settings = LogSettings {
        level: &logging.level,
        json: logging.format == LogFormat::Json,
        file: logging.file.as_deref(),
        audit: config.audit_path.as_deref(),
    };
    Ok(telemetry::start(settings)?)
}

#[allow(
    clippy::print_stderr,
    reason = "start-up errors go to standard error, log or no log"
)]
fn print_error(error: &dyn std::fmt::Display) {
    eprintln!("{error}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{SocketError, StartError};
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn errors_name_the_network() {
        let error = StartError::from(SocketError::Bind {
            network: "public".into(),
            address: "127.0.0.1:80".to_owned(),
            source: std::io::Error::from(std::io::ErrorKind::AddrInUse),
        });
        assert!(
            error
                .to_string()
                .starts_with("network.public: cannot listen on 127.0.0.1:80: ")
        );
    }
}
