//! `[shared]`: the store that several nodes count in together.

use std::time::Duration;

use http::Uri;

use super::values::address::host;
use super::values::filled_secret;
use crate::config::model::{Secret, SharedStore, StoreServer, StoreTopology};
use crate::config::reader::{Entry, Reader, Text};

/// Where a server's URL leads.
struct Url {
    tls: bool,
    server: StoreServer,
    database: i64,
    username: Option<String>,
    password: Option<Secret>,
}

impl Url {
    fn has_credentials(&self) -> bool {
        self.username.is_some() || self.password.is_some()
    }
}

/// Reads the table; `None` when it is absent or something is wrong.
pub(crate) fn read(root: &Reader<'_>) -> Option<SharedStore> {
    root.optional_table("shared", read_table)
}

fn read_table(reader: Reader<'_>) -> Option<SharedStore> {
    let sentinel_master = reader.get("sentinel_master").and_then(|entry| {
        let name = entry.text()?.to_string();
        if name.is_empty() {
            entry.error_help("is empty", "write the name that the Sentinels know");
        }
        Some(name)
    });
    let cluster = reader.flag("cluster", false);
    let topology = match sentinel_master {
        Some(_) if cluster => {
            reader.error(
                "has both `sentinel_master` and `cluster`",
                "keep one of them",
            );
            return None;
        }
        Some(master) => StoreTopology::Sentinel(master),
        None if cluster => StoreTopology::Cluster,
        None => StoreTopology::Single,
    };
    let urls = urls(&reader, &topology);
    let username = reader.text("username").map(|text| text.to_string());
    let password = reader.get("password").map(|entry| filled_secret(&entry));
    if let (Some(entry), None) = (reader.get("username"), &password) {
        entry.error_help("has no password", "add password = \"${STORE_PASSWORD}\"");
    }
    let password = match password {
        Some(password) => Some(password?),
        None => None,
    };
    let connect_timeout = reader.number("connect_timeout_ms", 10..=60_000, 1000);
    let key_prefix = key_prefix(&reader);
    reader.finish();
    let mut urls = urls?.into_iter();
    let first = urls.next()?;
    let mut servers = vec![first.server];
    servers.extend(urls.map(|url| url.server));
    Some(SharedStore {
        servers,
        topology,
        tls: first.tls,
        database: first.database,
        username: username.or(first.username),
        password: password.or(first.password),
        connect_timeout: Duration::from_millis(connect_timeout),
        key_prefix: key_prefix?,
    })
}

/// What begins every key; braces in it would be a hash tag of a cluster.
fn key_prefix(reader: &Reader<'_>) -> Option<String> {
    let Some(entry) = reader.get("key_prefix") else {
        return Some("harmony".to_owned());
    };
    let text = entry.text()?;
    let fits = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    if !fits {
        entry.error_help(
            format!("{} is no prefix of a key", text.shown()),
            "use letters, digits, \"-\", \"_\", \".\" and \":\"",
        );
    }
    fits.then(|| text.to_string())
}

fn urls(reader: &Reader<'_>, topology: &StoreTopology) -> Option<Vec<Url>> {
    let Some(entry) = reader.get("url") else {
        reader.missing("url", "add url = \"redis://127.0.0.1:6379\"");
        return None;
    };
    if !entry.is_not_empty() {
        return None;
    }
    let port = match topology {
        StoreTopology::Sentinel(_) => 26_379,
        StoreTopology::Single | StoreTopology::Cluster => 6379,
    };
    let written = entry.one_or_more();
    let mut urls = Vec::with_capacity(written.len());
    for (text, item) in &written {
        match parse(text, port) {
            Ok(url) => {
                warn_of_secret(&url, text, item);
                urls.push(url);
            }
            Err(why) => {
                item.error_help(
                    format!("{why}: {}", shown(text)),
                    "write it like \"redis://127.0.0.1:6379\", or rediss:// for TLS",
                );
            }
        }
    }
    if urls.len() != written.len() || urls.is_empty() {
        return None;
    }
    if urls.len() > 1 && *topology == StoreTopology::Single {
        entry.error_help(
            "names several servers",
            "add sentinel_master = \"NAME\" for Sentinels, or cluster = true for a cluster",
        );
        return None;
    }
    let databases = [0, urls[0].database];
    let refused = if urls.iter().any(|url| url.tls != urls[0].tls) {
        "has servers with and without TLS"
    } else if urls.iter().any(|url| !databases.contains(&url.database)) {
        "has servers with different databases"
    } else if *topology == StoreTopology::Cluster && urls[0].database != 0 {
        "names a database, and a cluster has only one"
    } else if urls[1..].iter().any(Url::has_credentials) {
        "has credentials that are not used; write `username` and `password` for all servers"
    } else {
        return Some(urls);
    };
    entry.error(refused);
    None
}

/// An address may hold a password, which no error shows.
fn shown(text: &Text) -> String {
    if text.contains('@') {
        "(not shown: it has credentials)".to_owned()
    } else {
        text.shown()
    }
}

fn warn_of_secret(url: &Url, text: &Text, entry: &Entry<'_>) {
    if url.password.is_some() && !text.filled {
        entry.warning(
            "the password stands in the file as it is: write it as password = \"${NAME}\", or \
             \"${file:PATH}\"",
        );
    }
    if url.password.is_some() && !url.tls && !super::values::address::is_loopback(&url.server.host)
    {
        entry.warning("the password goes over the network in the clear: use rediss://");
    }
}

fn parse(text: &str, default_port: u16) -> Result<Url, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "is no URL")?;
    let tls = match uri.scheme_str() {
        Some("redis") => false,
        Some("rediss") => true,
        _ => return Err("does not begin with redis:// or rediss://"),
    };
    let authority = uri.authority().ok_or("names no server")?.as_str();
    let (credentials, _) = authority.rsplit_once('@').unwrap_or_default();
    let (username, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let decoded = |part: &str| {
        let part = percent_encoding::percent_decode_str(part).decode_utf8_lossy();
        (!part.is_empty()).then(|| part.into_owned())
    };
    let database = match uri.path().trim_start_matches('/') {
        "" => 0,
        number => {
            let number: u32 = number.parse().map_err(|_| "has no number of a database")?;
            number.into()
        }
    };
    let port = uri.port_u16().unwrap_or(default_port);
    if port == 0 {
        return Err("has no port");
    }
    if uri.query().is_some() {
        return Err("has a query");
    }
    Ok(Url {
        tls,
        server: StoreServer {
            host: host(uri.host().unwrap_or_default()).ok_or("names no server")?,
            port,
        },
        database,
        username: decoded(username),
        password: decoded(password).map(Secret::new),
    })
}
