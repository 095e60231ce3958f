//! The issuer's name alone leads to its keys.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::server::{JWT, OPAQUE, OidcProvider};
use super::{SOON, edge, status};
use crate::support::edge::EdgeBuilder;
use crate::support::{Upstream, eventually};

/// How soon a second unknown key is looked for.
const COOLDOWN: Duration = Duration::from_millis(1100);

fn alone(issuer: &str, upstream: &Upstream) -> EdgeBuilder {
    edge("jwt-auth", issuer, "jwks_cooldown_secs = 1", upstream)
}

#[test]
fn its_tokens_pass_and_no_others() {
    let (Some(provider), upstream) = (OidcProvider::start(), Upstream::start()) else { return };
    let Some(other) = OidcProvider::start() else { return };
    let edge = alone(&provider.issuer(), &upstream).start();
    let token = provider.token(JWT);
    assert_eq!(status(&edge, &token), 200);
    assert_eq!(upstream.last().head.field("x-auth-subject"), Some("plain"));
    assert_eq!(status(&edge, &other.token(JWT)), 401, "of another issuer");
    assert_eq!(status(&edge, &provider.token(OPAQUE)), 401, "opaque");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature: String = signature.chars().rev().collect();
    assert_eq!(status(&edge, &format!("{signed}.{signature}")), 401, "another signature");
}

#[test]
fn its_tokens_are_as_rfc_9068_asks() {
    let (Some(provider), upstream) = (OidcProvider::start(), Upstream::start()) else { return };
    let edge = edge("jwt-auth", &provider.issuer(), "profile = \"at+jwt\"", &upstream).start();
    assert_eq!(status(&edge, &provider.token(JWT)), 200);
}

#[test]
fn a_document_with_another_issuer_is_refused() {
    let (Some(provider), upstream) = (OidcProvider::start(), Upstream::start()) else { return };
    // The same server under another name of its host: the document goes on naming its own.
    let alias = provider.issuer().replace("127.0.0.1", "localhost");
    let edge = alone(&alias, &upstream).start();
    assert_eq!(status(&edge, &provider.token(JWT)), 503);
    eventually("the reason in the log", SOON, || {
        edge.log().contains("not the configured one").then_some(())
    });
}

#[test]
fn down_at_the_start_it_is_503_and_well_by_itself() {
    let (Some(mut provider), upstream) = (OidcProvider::start(), Upstream::start()) else { return };
    let token = provider.token(JWT);
    provider.node.stop();
    let edge = alone(&provider.issuer(), &upstream).start();
    let answer = edge.get("/api/x").bearer(&token).send();
    assert_eq!((answer.status, answer.head.has("retry-after")), (503, true));
    provider.node.restart();
    eventually("the token passes", SOON, || (status(&edge, &token) == 200).then_some(()));
}

#[test]
fn a_rotation_refuses_no_valid_token_and_ends_those_of_a_withdrawn_key() {
    let (Some(provider), upstream) = (OidcProvider::start(), Upstream::start()) else { return };
    let edge = alone(&provider.issuer(), &upstream).start();
    let first = provider.token(JWT);
    let (stop, begun) = (AtomicBool::new(false), Instant::now());
    let (second, third) = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) && begun.elapsed() < SOON {
                assert_eq!(status(&edge, &first), 200, "its key is still published");
            }
        });
        thread::sleep(COOLDOWN);
        // Signs at once, without having been published before.
        provider.rotate("k2,k1");
        let second = provider.token(JWT);
        for _ in 0..20 {
            assert_eq!(status(&edge, &second), 200);
        }
        thread::sleep(COOLDOWN);
        provider.rotate("k3,k2,k1");
        let third = provider.token(JWT);
        assert_eq!(status(&edge, &third), 200);
        stop.store(true, Ordering::Relaxed);
        (second, third)
    });
    assert_eq!([&first, &second, &third].map(|token| status(&edge, token)), [200; 3]);
    provider.rotate("k3");
    assert_eq!(edge.steer("POST", "/admin/keys/refresh").send().status, 200);
    assert_eq!([&first, &second, &third].map(|token| status(&edge, token)), [401, 401, 200]);
}
