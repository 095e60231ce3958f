//! Tokens that are bound to a certificate (RFC 8705).

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::support::Issuer;
use crate::support::authority::{Authority, Pair, expired};
use crate::support::keys::base64url;
use crate::support::proof::Sender;
use crate::support::tls::{Offer, Secure};
use crate::tls::Listening;

fn cnf(pair: &Pair) -> Value {
    json!({ "x5t#S256": base64url(digest(&SHA256, &pair.chain()[0])) })
}

fn listening(network: &str, issuer: &Issuer, dpop: &str, steps: &str) -> Listening {
    let step = format!(
        "[middleware.jwt]\ntype = \"jwt-auth\"\n[middleware.jwt.config]\njwks_url = \"{}\"\n\
         issuer = \"https://auth.example.com\"\naudience = \"harmony-api\"\ndpop = \"{dpop}\"\n\
         [middleware.m]\ntype = \"mutual-tls\"\noptional = true\n",
        issuer.url()
    );
    let listening = Listening::with().network(network).and(&step);
    listening.pipeline(&format!("middleware = {steps}")).start()
}

fn get(client: &mut Secure, token: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    client.request("/s", &[("Authorization", &authorization)]).expect("an answer").status
}

#[test]
fn only_the_certificate_that_a_token_names_lets_it_in() {
    let issuer = Issuer::start();
    let request = "client_certificate = \"request\"";
    let listening = listening(request, &issuer, "off", "[\"jwt\"]");
    let port = listening.port();
    // Nobody vouches for either, and the second has expired, too.
    let (mine, other) = (
        Authority::new("mine").client("alice"),
        Authority::new("other").client_with("alice", expired),
    );
    let with = |pair: &Pair| Offer::with_certificate(&listening.authority, pair);
    let bound = |pair: &Pair| issuer.token().claim("cnf", cnf(pair)).sign();
    let (of_mine, of_other, plain) = (bound(&mine), bound(&other), issuer.token().sign());
    let mut connections = [
        (with(&mine).shake(port, "localhost"), [200, 401, 200]),
        (with(&other).shake(port, "localhost"), [401, 200, 200]),
        (listening.offer().shake(port, "localhost"), [401, 401, 200]),
    ];
    // Twice: what is remembered of a token counts for no other certificate.
    for _ in 0..2 {
        for (client, expected) in &mut connections {
            let found = [&of_mine, &of_other, &plain].map(|token| get(client, token));
            assert_eq!(found, *expected);
        }
    }
    for (name, cnf) in [
        ("in upper case", json!({ "X5T#S256": cnf(&mine)["x5t#S256"] })),
        ("a SHA-1", json!({ "x5t": cnf(&mine)["x5t#S256"] })),
        ("in hex", json!({ "x5t#S256": "00".repeat(32) })),
        (
            "with padding",
            json!({ "x5t#S256": format!("{}=", cnf(&mine)["x5t#S256"].as_str().unwrap()) }),
        ),
        ("of the key, too", {
            let mut both = cnf(&mine);
            both["jkt"] = Sender::new().cnf()["jkt"].clone();
            both
        }),
        ("with another member", {
            let mut both = cnf(&mine);
            both["kid"] = json!("x");
            both
        }),
    ] {
        let token = issuer.token().claim("cnf", cnf).sign();
        let mut client = with(&mine).shake(port, "localhost");
        assert_eq!(get(&mut client, &token), 401, "{name}");
    }
}

#[test]
fn a_header_is_no_certificate() {
    let issuer = Issuer::start();
    let request = "client_certificate = \"request\"";
    let listening = listening(request, &issuer, "off", "[\"jwt\"]");
    let mine = Authority::new("mine").client("alice");
    let token = issuer.token().claim("cnf", cnf(&mine)).sign();
    let authorization = format!("Bearer {token}");
    let certificate = format!(":{}:", base64url(&mine.chain()[0]));
    let fields = [("Authorization", authorization.as_str()), ("Client-Cert", certificate.as_str())];
    let mut client = listening.offer().shake(listening.port(), "localhost");
    assert_eq!(client.request("/s", &fields).expect("an answer").status, 401);
}

#[test]
fn a_certificate_of_nobody_is_no_identity() {
    let issuer = Issuer::start();
    let clients = Authority::new("clients");
    let network = "client_certificate = \"request\"\nclient_ca_path = \"clients.pem\"";
    let step = format!(
        "[middleware.jwt]\ntype = \"jwt-auth\"\n[middleware.jwt.config]\njwks_url = \"{}\"\n\
         issuer = \"https://auth.example.com\"\naudience = \"harmony-api\"\n\
         [middleware.m]\ntype = \"mutual-tls\"\noptional = true\n",
        issuer.url()
    );
    let listening = Listening::with()
        .network(network)
        .file("clients.pem", &clients.pem())
        .and(&step)
        .pipeline("middleware = [\"m\", \"jwt\"]")
        .start();
    let stranger = Authority::new("strangers").client("mallory");
    let known = clients.client("alice");
    let port = listening.port();
    let with = |pair: &Pair| Offer::with_certificate(&listening.authority, pair);
    assert_eq!(with(&known).get(port, "/s").unwrap().json()["headers"]["x-auth-subject"], "alice");
    assert_eq!(with(&stranger).get(port, "/s").unwrap().status, 401);
    let token = issuer.token().claim("cnf", cnf(&stranger)).sign();
    let mut client = with(&stranger).shake(port, "localhost");
    assert_eq!(get(&mut client, &token), 200);
}

#[test]
fn a_token_that_is_bound_to_both_needs_both() {
    let issuer = Issuer::start();
    let request = "client_certificate = \"request\"";
    let listening = listening(request, &issuer, "allow", "[\"jwt\"]");
    let (mine, sender) = (Authority::new("mine").client("alice"), Sender::new());
    let mut both = cnf(&mine);
    both["jkt"] = sender.cnf()["jkt"].clone();
    let token = issuer.token().claim("cnf", both).sign();
    let port = listening.port();
    let with_certificate = Offer::with_certificate(&listening.authority, &mine);
    for (certificate, proof, expected) in
        [(true, true, 200), (true, false, 401), (false, true, 401), (false, false, 401)]
    {
        let offer = if certificate { with_certificate.clone() } else { listening.offer() };
        let mut client = offer.shake(port, "localhost");
        let scheme = if proof { "DPoP" } else { "Bearer" };
        let authorization = format!("{scheme} {token}");
        let signed = sender.proof("https://localhost/s", &token).sign();
        let mut fields = vec![("Authorization", authorization.as_str())];
        if proof {
            fields.push(("DPoP", &signed));
        }
        let status = client.request("/s", &fields).expect("an answer").status;
        assert_eq!(status, expected, "{certificate} {proof}");
    }
}
