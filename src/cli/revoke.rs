//! `harmony-edge revoke`: puts an entry on the list of revocations of the process that runs, shows
//! the list, or takes an entry off.

use anyhow::Context as _;
use http::Method;
use serde_json::{Map, Value, json};

use super::management_client::{ManagementArguments, ManagementClient};

/// How many entries are asked for at a time.
const PAGE: usize = 1000;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    management: ManagementArguments,
    #[command(flatten)]
    change: Change,
}

/// What is to be done to the list.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what")
    .required(true)
    .args(["issuer", "key", "certificate", "delete", "list"]))]
#[command(group = clap::ArgGroup::new("tokens").args(["jti", "sid", "sub", "client_id"]))]
pub(super) struct Change {
    /// Issuer of the tokens to revoke; used alone: all of its tokens
    #[arg(long, value_name = "ISS")]
    issuer: Option<String>,
    /// The token with this jti
    #[arg(long, requires = "issuer")]
    jti: Option<String>,
    /// The tokens of the session with this sid
    #[arg(long, requires = "issuer")]
    sid: Option<String>,
    /// The tokens of this subject
    #[arg(long, requires = "issuer")]
    sub: Option<String>,
    /// The tokens of this client
    #[arg(long, requires = "issuer", value_name = "ID")]
    client_id: Option<String>,
    /// The API key with this id
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// The client certificate with this SHA-256 digest, in hexadecimal
    #[arg(long, value_name = "SHA256")]
    certificate: Option<String>,
    /// Only tokens issued up to this time, in seconds since 1970 or as 2026-12-31T23:59:59Z
    /// (default: now; for --jti and --sid: any time)
    #[arg(long, value_name = "TIME", value_parser = time)]
    #[arg(conflicts_with_all = ["key", "certificate", "delete", "list"])]
    before: Option<i64>,
    /// When the entry expires, in the same form
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["delete", "list"])]
    until: Option<i64>,
    /// Remove the entry with this id from the list
    #[arg(long, value_name = "ID")]
    delete: Option<String>,
    /// Print the list, one JSON object per line
    #[arg(long)]
    list: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    make(&arguments.change, &arguments.management.client()?)
}

/// Asks the process that runs, and prints the ids of new entries, or the list.
#[allow(clippy::print_stdout, reason = "the answer of the command")]
pub(super) fn make(change: &Change, client: &ManagementClient) -> anyhow::Result<()> {
    if let Some(id) = &change.delete {
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        anyhow::ensure!(is_id, "--delete {id:?}: not the id of a revocation");
        client.call(Method::DELETE, &format!("/revocations/{id}"), None)?;
        return Ok(());
    }
    if change.list {
        let mut route = format!("/revocations?limit={PAGE}");
        loop {
            let page = client.call(Method::GET, &route, None)?;
            for entry in page["revocations"].as_array().into_iter().flatten() {
                println!("{entry}");
            }
            let Some(next) = page["next"].as_str() else {
                return Ok(());
            };
            route = format!("/revocations?limit={PAGE}&after={next}");
        }
    }
    let answer = client.call(Method::POST, "/revocations", Some(&change.entry()))?;
    let ids = answer["ids"].as_array().context("the answer has no ids")?;
    for id in ids {
        println!("{}", id.as_str().unwrap_or_default());
    }
    Ok(())
}

impl Change {
    /// The entry that is asked for, as the Management API takes it.
    fn entry(&self) -> Value {
        let texts = [
            ("issuer", &self.issuer),
            ("jti", &self.jti),
            ("sid", &self.sid),
            ("sub", &self.sub),
            ("client_id", &self.client_id),
            ("key", &self.key),
            ("certificate", &self.certificate),
        ];
        let texts = texts.into_iter();
        let texts = texts.filter_map(|(name, text)| Some((name, json!(text.as_ref()?))));
        let times = [("before", self.before), ("until", self.until)].into_iter();
        let times = times.filter_map(|(name, time)| Some((name, json!(time?))));
        let members: Map<_, _> = texts
            .chain(times)
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        members.into()
    }
}

/// Seconds since 1970, or a time of RFC 3339.
fn time(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        "neither seconds since 1970 nor a time like 2026-12-31T23:59:59Z".to_owned()
    })?;
    Ok(time.as_second())
}
