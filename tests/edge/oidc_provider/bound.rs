//! Tokens that are bound to their sender: to a key, by a proof with each request (RFC 9449), or to
//! the certificate of the connection (RFC 8705).

use std::thread;
use std::time::Duration;

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{digest, signature};
use serde_json::{Value, json};

use super::server::{JWT, OPAQUE, OidcProvider, SECRET, access_token, grant};
use super::{CLIENT, edge, step};
use crate::support::authority::Authority;
use crate::support::keys::base64url;
use crate::support::request::Request;
use crate::support::tls::Offer;
use crate::support::token::now;
use crate::support::{Response, Upstream};
use crate::tls::Listening;

/// Kinds of steps, what they have to be told besides, and the resource whose tokens they take.
const STEPS: [(&str, &str, &str); 2] = [("jwt-auth", "", JWT), ("introspection", CLIENT, OPAQUE)];

/// A client's key.
struct Prover(EcdsaKeyPair);

impl Prover {
    fn new() -> Self {
        let algorithm: &'static signature::EcdsaSigningAlgorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        Self(EcdsaKeyPair::generate(algorithm).unwrap())
    }

    fn jwk(&self) -> Value {
        // 4, then both coordinates.
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) })
    }

    /// A proof for one request.
    fn prove(&self, method: &str, url: &str, token: Option<&str>, nonce: Option<&str>) -> String {
        let mut id = [0; 16];
        rand::fill(&mut id).unwrap();
        let mut claims = json!({ "htm": method, "htu": url, "iat": now(), "jti": base64url(id) });
        if let Some(token) = token {
            claims["ath"] = base64url(digest::digest(&digest::SHA256, token.as_bytes())).into();
        }
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() });
        let [header, claims] = [header, claims].map(|part| base64url(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", base64url(signature))
    }

    /// A token of this key's.
    fn token(&self, provider: &OidcProvider, resource: &str) -> String {
        let url = format!("{}/token", provider.issuer());
        let ask = |nonce: Option<&str>| {
            let proof = self.prove("POST", &url, None, nonce);
            provider.form("dpop", "/token", &grant(resource)).header("DPoP", proof).send()
        };
        let told = ask(None);
        let answer = ask(told.field("dpop-nonce")).json();
        assert_eq!(answer["token_type"], "DPoP", "{answer}");
        access_token(&answer)
    }
}

fn error(response: &Response) -> (u16, String) {
    (response.status, response.fields("www-authenticate").join(", "))
}

#[test]
fn a_token_of_a_key_passes_with_its_proof_and_the_nonce_that_is_asked_for() {
    let (Some(provider), upstream) = (OidcProvider::start(), Upstream::start()) else { return };
    let (prover, stranger) = (Prover::new(), Prover::new());
    for (kind, client, resource) in STEPS {
        let lines = format!("dpop = \"require\"\ndpop_nonce = true\n{client}");
        let edge = edge(kind, &provider.issuer(), &lines, &upstream).env("SECRET", SECRET).start();
        let token = prover.token(&provider, resource);
        // Proofs of the second in which the process began could be older than it.
        thread::sleep(Duration::from_secs(1));
        let url = format!("http://127.0.0.1:{}/api/x", edge.port());
        let get = |proof: &str| -> Request {
            let get = edge.get("/api/x").header("Authorization", format!("DPoP {token}"));
            get.header("DPoP", proof)
        };
        let prove =
            |prover: &Prover, nonce: &str| prover.prove("GET", &url, Some(&token), Some(nonce));

        let told = get(&prover.prove("GET", &url, Some(&token), None)).send();
        let (status, challenge) = error(&told);
        assert_eq!(status, 401, "{kind}");
        assert!(challenge.contains("error=\"use_dpop_nonce\""), "{kind}: {challenge}");
        let nonce = told.field("dpop-nonce").unwrap().to_owned();
        for http2 in [false, true] {
            let proof = prove(&prover, &nonce);
            let send = || match http2 {
                true => get(&proof).http2().send(),
                false => get(&proof).send(),
            };
            let (first, again) = (send(), send());
            assert_eq!(first.status, 200, "{kind}: {:?}", error(&first));
            assert_eq!(upstream.last().head.field("dpop"), None);
            assert_eq!(again.status, 401, "{kind}: replayed");
        }
        let made_up = get(&prove(&prover, "made-up")).send();
        assert!(error(&made_up).1.contains("use_dpop_nonce"), "{kind}: {:?}", error(&made_up));
        assert_eq!(get(&prove(&stranger, &nonce)).send().status, 401, "{kind}: another key");
        let bearer = edge.get("/api/x").bearer(&token);
        assert_eq!(bearer.clone().send().status, 401, "{kind}: as a bearer token");
        let proof = prove(&prover, &nonce);
        assert_eq!(bearer.header("DPoP", proof).send().status, 401, "{kind}: by name of Bearer");
        let unbound = provider.token(resource);
        let proof = prover.prove("GET", &url, Some(&unbound), Some(&nonce));
        let get = edge.get("/api/x").header("Authorization", format!("DPoP {unbound}"));
        assert_eq!(get.header("DPoP", proof).send().status, 401, "{kind}: bound to nothing");
    }
}

#[test]
fn a_token_of_a_certificate_passes_on_connections_with_it_alone() {
    let Some(provider) = OidcProvider::start() else { return };
    let stranger = Authority::new("others").client("client");
    for (kind, client, resource) in STEPS {
        let form = format!("client_id=mtls&{}", grant(resource));
        let asked = format!(
            "POST /token HTTP/1.1\r\nHost: localhost:{}\r\nContent-Length: {}\r\nContent-Type: \
             application/x-www-form-urlencoded\r\n\r\n{form}",
            provider.secure.number(),
            form.len()
        );
        let mut connection = Offer::with_certificate(&provider.authority, &provider.certificate)
            .shake(provider.secure.number(), "localhost");
        let token = access_token(&connection.unfinished(&asked).unwrap().json());
        let listening = Listening::with()
            .network("client_certificate = \"request\"")
            .pipeline("middleware = [\"step\"]")
            .and(&step(kind, &provider.issuer(), client))
            .env("SECRET", SECRET)
            .start();
        let status = |offer: Offer| {
            let mut connection = offer.shake(listening.port(), "localhost");
            let bearer = format!("Bearer {token}");
            connection.request("/s/x", &[("Authorization", &bearer)]).unwrap().status
        };
        let showing = |pair| Offer::with_certificate(&listening.authority, pair);
        assert_eq!(status(showing(&provider.certificate)), 200, "{kind}");
        assert_eq!(status(listening.offer()), 401, "{kind}: without a certificate");
        assert_eq!(status(showing(&stranger)), 401, "{kind}: with another one");
    }
}
