//! `[shared]`: what a store is reached by, and what is refused.

use std::time::Duration;

use super::*;
use crate::config::{StoreServer, StoreTopology};

fn with(table: &str) -> String {
    format!("{BASE}{PIPELINE}\n[shared]\n{table}")
}

fn server(host: &str, port: u16) -> StoreServer {
    StoreServer {
        host: host.to_owned(),
        port,
    }
}

#[test]
fn a_store_and_its_defaults() {
    let store = ok(&with("url = \"redis://store\"\n")).shared.unwrap();
    assert_eq!(store.servers, [server("store", 6379)]);
    assert_eq!(store.topology, StoreTopology::Single);
    assert_eq!((store.tls, store.database), (false, 0));
    assert_eq!((&store.username, &store.password), (&None, &None));
    assert_eq!(store.connect_timeout, Duration::from_secs(1));
    assert_eq!(store.key_prefix, "harmony");
    let store = ok(&with(
        "url = [\"rediss://u:p%40@a:1/3\", \"rediss://[::1]\"]\nsentinel_master = \"m\"\n\
         connect_timeout_ms = 50\nkey_prefix = \"edge:eu\"\n",
    ));
    let store = store.shared.unwrap();
    assert_eq!(store.servers, [server("a", 1), server("::1", 26_379)]);
    assert_eq!(store.topology, StoreTopology::Sentinel("m".to_owned()));
    assert_eq!((store.tls, store.database), (true, 3));
    assert_eq!(store.username.as_deref(), Some("u"));
    assert_eq!(store.password.unwrap().expose(), "p@");
}

#[test]
fn what_is_refused() {
    for (table, want) in [
        ("", "shared.url: is missing"),
        ("url = []\n", "shared.url: is empty"),
        (
            "url = \"http://store\"\n",
            "does not begin with redis:// or rediss://: \"http://store\"",
        ),
        (
            "url = \"redis://u:secret@store/x\"\n",
            "has no number of a database: (not shown: it has credentials)",
        ),
        (
            "url = [\"redis://a\", \"redis://b\"]\n",
            "shared.url: names several servers",
        ),
        (
            "url = [\"redis://a\", \"rediss://b\"]\ncluster = true\n",
            "has servers with and without TLS",
        ),
        ("url = \"redis://a:0\"\n", "shared.url: has no port"),
        (
            "url = \"redis://a\"\nusername = \"u\"\n",
            "shared.username: has no password; add password",
        ),
        (
            "url = \"redis://a\"\npassword = \"${EMPTY}\"\n",
            "shared.password: is empty after filling in",
        ),
        ("url = \"redis://a/-1\"\n", "has no number of a database"),
        (
            "url = [\"redis://a/1\", \"redis://b/2\"]\nsentinel_master = \"m\"\n",
            "has servers with different databases",
        ),
        (
            "url = \"redis://a/1\"\ncluster = true\n",
            "names a database, and a cluster has only one",
        ),
        (
            "url = [\"redis://a\", \"redis://:p@127.0.0.1\"]\ncluster = true\n",
            "has credentials that are not used; write `username` and `password`",
        ),
        (
            "url = \"redis://a\"\nsentinel_master = \"\"\n",
            "shared.sentinel_master: is empty",
        ),
        (
            "url = \"redis://a\"\ncluster = true\nsentinel_master = \"m\"\n",
            "has both `sentinel_master` and `cluster`",
        ),
        (
            "url = \"redis://a\"\nkey_prefix = \"{x}\"\n",
            "shared.key_prefix: \"{x}\" is no prefix of a key",
        ),
        (
            "url = \"redis://a\"\nconnect_timeout_ms = 1\n",
            "shared.connect_timeout_ms: must be from 10 to",
        ),
        (
            "url = \"redis://a\"\nhost = \"b\"\n",
            "shared.host: unknown key",
        ),
    ] {
        one_error(&with(table), want);
    }
}

#[test]
fn a_shared_limit_needs_a_store() {
    let rule = "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\nscope = \"shared\"\n";
    one_error(
        &policies::with_rule(rule),
        "rules.r: is shared, and there is no [shared]",
    );
}
