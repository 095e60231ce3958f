//! Opaque tokens, which it is asked about.

use std::thread;
use std::time::{Duration, Instant};

use super::server::{OPAQUE, OidcProvider, SECRET, access_token};
use super::{CLIENT, SOON, edge, status};
use crate::support::edge::EdgeBuilder;
use crate::support::{Upstream, eventually, secrets};

fn asking(provider: &OidcProvider, lines: &str, upstream: &Upstream) -> EdgeBuilder {
    let lines = format!("{CLIENT}{lines}");
    edge("introspection", &provider.issuer(), &lines, upstream).env("SECRET", SECRET)
}

#[test]
fn an_active_token_passes_and_its_end_is_seen_in_time() {
    let (Some(provider), upstream) = (OidcProvider::start(), Upstream::start()) else { return };
    let lines = "cache_secs = 2\nrequired_scopes = [\"read\"]\n\
                 claims_to_headers = { client_id = \"X-Client\" }";
    let edge = asking(&provider, lines, &upstream).start();
    let token = provider.token(OPAQUE);
    assert_eq!(status(&edge, &token), 200);
    assert_eq!(upstream.last().head.field("x-client"), Some("plain"));
    let unknown = token.chars().rev().collect::<String>();
    secrets::remember(&unknown);
    assert_eq!(status(&edge, &unknown), 401);
    provider.revoke(&token);
    let revoked = Instant::now();
    eventually("the token is refused", SOON, || (status(&edge, &token) == 401).then_some(()));
    assert!(revoked.elapsed() < Duration::from_secs(3), "{:?}", revoked.elapsed());
}

#[test]
fn a_scope_or_an_audience_that_it_does_not_name_is_refused() {
    let (Some(provider), upstream) = (OidcProvider::start(), Upstream::start()) else { return };
    let token = provider.token(OPAQUE);
    for (lines, want) in [("required_scopes = [\"write\"]", 403), ("", 200)] {
        assert_eq!(status(&asking(&provider, lines, &upstream).start(), &token), want, "{lines}");
    }
    // For itself alone: such a token is of no audience.
    let form = "grant_type=client_credentials";
    let answer = provider.form("plain", "/token", form).send().json();
    let aimless = access_token(&answer);
    assert_eq!(status(&asking(&provider, "", &upstream).start(), &aimless), 401);
}

#[test]
fn down_it_is_503_and_well_by_itself() {
    let (Some(mut provider), upstream) = (OidcProvider::start(), Upstream::start()) else { return };
    let edge = asking(&provider, "cache_secs = 2", &upstream).start();
    let token = provider.token(OPAQUE);
    assert_eq!(status(&edge, &token), 200);
    provider.node.stop();
    assert_eq!(status(&edge, &token), 200, "an answer counts for its time");
    thread::sleep(Duration::from_millis(2100));
    assert_eq!(status(&edge, &token), 503);
    provider.node.restart();
    // It keeps its tokens in memory.
    eventually("an answer", SOON, || (status(&edge, &token) == 401).then_some(()));
    assert_eq!(status(&edge, &provider.token(OPAQUE)), 200);
}
