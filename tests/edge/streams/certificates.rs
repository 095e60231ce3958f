//! Streams that a certificate let in, or a token that is bound to one.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;

use super::{CLOSE, UPGRADE, assert_timely, bearer, ended, reload, soon, unix, upstream};
use crate::chain::step;
use crate::revocation::revoked_as;
use crate::support::authority::{Authority, Pair};
use crate::support::keys::base64url;
use crate::support::ports::Port;
use crate::support::settings::Route;
use crate::support::tls::{Offer, Secure};
use crate::support::{Edge, Issuer, Settings, Upstream};

/// An edge that asks for certificates of these authorities.
struct Asking {
    edge: Edge,
    authority: Authority,
    port: Port,
}

impl Asking {
    /// `step`: the table of the step `it`.
    fn start(clients: &Authority, upstream: &Upstream, step: &str) -> Self {
        let (authority, port) = (Authority::new("edge"), Port::claim());
        let pair = authority.server(&["localhost"]);
        let network = format!(
            "[network.secure.http]\nbind_address = \"127.0.0.1\"\nbind_port = {port}\ncert_path = \
             \"cert.pem\"\nkey_path = \"key.pem\"\nclient_ca_path = \"clients.pem\"\n\
             client_certificate = \"request\"\n"
        );
        let route = Route::to("api", upstream).prefix("/api").networks(&["secure"]).steps(&["it"]);
        let edge = Edge::configured(Settings::bare().and(&(network + &route.text() + step)))
            .file("cert.pem", &pair.certificate)
            .file("key.pem", &pair.key)
            .file("clients.pem", &clients.pem())
            .start();
        Self { edge, authority, port }
    }

    fn websocket(&self, pair: &Pair, fields: &str) -> Secure {
        let offer = Offer::with_certificate(&self.authority, pair);
        let mut client = offer.shake(self.port.number(), "localhost");
        let request = format!("GET /api/ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}{fields}\r\n");
        assert_eq!(client.unfinished(&request).expect("an answer").status, 101);
        client
    }
}

fn sha256(pair: &Pair) -> Vec<u8> {
    digest(&SHA256, &pair.chain()[0]).as_ref().to_vec()
}

/// An entry for a certificate.
fn revoke(asking: &Asking, pair: &Pair) {
    let digits: String = sha256(pair).iter().map(|byte| format!("{byte:02x}")).collect();
    revoked_as(&asking.edge, json!({ "certificate": digits }));
}

#[test]
fn one_that_expires_or_whose_authority_has_gone() {
    let (clients, upstream) = (Authority::new("clients"), upstream());
    let asking = Asking::start(&clients, &upstream, "[middleware.it]\ntype = \"mutual-tls\"\n");
    let due = soon() + 1;
    let expires_at = UNIX_EPOCH + Duration::from_secs(due.unsigned_abs());
    let short = clients.client_with("alice", |params| params.not_after = expires_at.into());
    let mut expires = asking.websocket(&short, "");
    let mut stays = asking.websocket(&clients.client("bob"), "");
    assert_eq!(expires.rest(), CLOSE);
    assert_timely(unix(), due as f64);
    let since = unix();
    let others = Authority::new("others").pem();
    fs::write(asking.edge.directory().join("clients.pem"), others).unwrap();
    reload(&asking.edge, |text| text);
    assert_eq!(stays.rest(), CLOSE);
    assert_timely(unix(), since);
    let ended = |cause| ended(&asking.edge, cause);
    assert_eq!((ended("expired"), ended("removed")), (Some(1.0), Some(1.0)));
}

#[test]
fn one_that_is_revoked() {
    let (clients, upstream) = (Authority::new("clients"), upstream());
    let asking = Asking::start(&clients, &upstream, "[middleware.it]\ntype = \"mutual-tls\"\n");
    let (alice, bob) = (clients.client("alice"), clients.client("bob"));
    let mut first = asking.websocket(&alice, "");
    let mut second = asking.websocket(&alice, "");
    let mut other = asking.websocket(&bob, "");
    let since = unix();
    revoke(&asking, &alice);
    for client in [&mut first, &mut second] {
        assert_eq!(client.rest(), CLOSE);
        assert_timely(unix(), since);
    }
    assert_eq!(ended(&asking.edge, "revoked"), Some(2.0), "and no other");
    let since = unix();
    revoke(&asking, &bob);
    assert_eq!(other.rest(), CLOSE);
    assert_timely(unix(), since);
}

#[test]
fn one_that_a_token_is_bound_to() {
    let (issuer, clients, upstream) = (Issuer::start(), Authority::new("clients"), upstream());
    let jwt = format!(
        "jwks_url = \"{}\"\nissuer = \"https://auth.example.com\"\naudience = \
         \"harmony-api\"\nleeway_secs = 0",
        issuer.url()
    );
    let asking = Asking::start(&clients, &upstream, &step("it", "jwt-auth", "", &jwt));
    // Nobody vouches for either.
    let pairs = ["mine", "theirs"].map(|name| Authority::new(name).client(name));
    let bound = |pair: &Pair| {
        let cnf = json!({ "x5t#S256": base64url(sha256(pair)) });
        issuer.token().claim("cnf", cnf)
    };
    let open = |pair, token: &str| asking.websocket(pair, &bearer(token));
    let due = soon() + 1;
    let mut expires = open(&pairs[0], &bound(&pairs[0]).claim("exp", due).sign());
    let mut mine = open(&pairs[0], &bound(&pairs[0]).sign());
    let mut theirs = open(&pairs[1], &bound(&pairs[1]).claim("jti", "j-1").sign());
    assert_eq!(expires.rest(), CLOSE);
    assert_timely(unix(), due as f64);
    let since = unix();
    revoke(&asking, &pairs[0]);
    assert_eq!(mine.rest(), CLOSE);
    assert_timely(unix(), since);
    assert_eq!(ended(&asking.edge, "revoked"), Some(1.0), "and no other");
    let since = unix();
    revoked_as(&asking.edge, json!({ "issuer": "https://auth.example.com", "jti": "j-1" }));
    assert_eq!(theirs.rest(), CLOSE);
    assert_timely(unix(), since);
}
