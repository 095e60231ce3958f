//! `harmony-edge token`: looks at the machine token in its store, encrypts it anew, or removes it,
//! while no process runs.

use std::path::PathBuf;

use anyhow::bail;

use super::{agent_env, config_path};
use crate::config::Source;
use crate::control::open_store;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Configuration file (default: /etc/harmony/harmony.toml or /etc/harmony/config.toml)
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print where the machine token is stored, its gateway and its expiry; never the token itself
    Show,
    /// Encrypt the machine token again, with the first key of RUNBEAM_ENCRYPTION_KEY
    Rekey,
    /// Remove the machine token from every store
    Clear,
}

/// Opens the store as the process would.
#[allow(clippy::print_stdout, reason = "the answer of the command")]
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let path = config_path::config(arguments.config.as_deref())?;
    let config = Source::file(path).load()?;
    let env = agent_env(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let store = open_store(&env, config.runbeam.as_ref()).await?;
        if matches!(arguments.command, Command::Clear) {
            store.clear().await?;
            println!("removed from every store");
            return Ok(());
        }
        let Some(token) = store.load().await? else {
            bail!("no machine token is stored");
        };
        if matches!(arguments.command, Command::Rekey) {
            store.save(&token, None).await?;
        }
        println!(
            "gateway {} ({}), until {}{}, in {}",
            token.gateway_id,
            token.gateway_code,
            token.expires_at,
            if token.is_expired() { " (expired)" } else { "" },
            store.location().unwrap_or_else(|| store.description())
        );
        Ok(())
    })
}
