//! Proofs and bound tokens made to slip through. Each is good but for the one thing that its row
//! names, so that nothing else can be what refuses it.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{challenge, edge, token, url};
use crate::support::keys::{RsaKey, Signer, base64url};
use crate::support::proof::{EcKey, Sender};
use crate::support::request::Request;
use crate::support::token::{Token, now};
use crate::support::{Edge, Issuer, Upstream};

struct World {
    issuer: Issuer,
    upstream: Upstream,
    sender: Sender,
    edge: Edge,
}

/// A name, a request that must not pass, and the error of its challenge.
type Row = (String, Request, &'static str);

const PROOF: &str = "invalid_dpop_proof";
const TOKEN: &str = "invalid_token";

impl World {
    fn new() -> Self {
        let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
        let edge = edge("require", &issuer, &upstream).start();
        Self { issuer, upstream, sender, edge }
    }

    fn token(&self) -> String {
        token(&self.issuer, &self.sender)
    }

    /// A good proof for a `GET` of `/api/x` with this token.
    fn proof(&self, token: &str) -> Token {
        self.sender.proof(&url(&self.edge, "/api/x"), token)
    }

    fn get(&self) -> Request {
        self.edge.get("/api/x")
    }

    /// A row of a good token and a spoilt proof.
    fn row(&self, name: impl Into<String>, spoil: impl FnOnce(Token) -> Token) -> Row {
        let token = self.token();
        let proof = spoil(self.proof(&token)).sign();
        (name.into(), self.get().dpop(&token, &proof), PROOF)
    }

    /// All rows are refused over both versions of HTTP, with the answer of their kind, and nothing
    /// reaches the upstream.
    #[track_caller]
    fn assert_refused(&self, rows: Vec<Row>) {
        let mut passed = Vec::new();
        for (name, request, error) in rows {
            for http2 in [false, true] {
                let request = request.clone();
                let response = if http2 { request.http2() } else { request }.send();
                let told = response.fields("www-authenticate");
                if response.status != 401 || told != [challenge(error)] {
                    passed.push(format!("{name}: {} {told:?}", response.head.first_line));
                }
            }
        }
        assert!(passed.is_empty(), "not refused as it should be:\n{}", passed.join("\n"));
        assert_eq!(self.upstream.connections(), 0);
        // Else nothing that is refused would mean anything.
        let token = self.token();
        assert_eq!(self.get().dpop(&token, &self.proof(&token).sign()).send().status, 200);
    }
}

#[test]
fn a_proof_that_is_for_something_else() {
    let world = World::new();
    let port = world.edge.port();
    let mut rows = Vec::new();
    for (name, claim, value) in [
        ("another method", "htm", json!("POST")),
        ("the method in lower case", "htm", json!("get")),
        ("several methods", "htm", json!(["GET"])),
        ("any method", "htm", json!("*")),
        ("no text as a method", "htm", json!(1)),
        ("another path", "htu", json!(format!("http://127.0.0.1:{port}/api/y"))),
        ("a path above", "htu", json!(format!("http://127.0.0.1:{port}/api"))),
        ("a path below", "htu", json!(format!("http://127.0.0.1:{port}/api/x/y"))),
        ("a slash more", "htu", json!(format!("http://127.0.0.1:{port}/api/x/"))),
        ("a path in upper case", "htu", json!(format!("http://127.0.0.1:{port}/API/X"))),
        ("a path escaped twice", "htu", json!(format!("http://127.0.0.1:{port}/api/%2578"))),
        ("the path that the upstream gets", "htu", json!(format!("http://127.0.0.1:{port}/x"))),
        ("another host", "htu", json!("http://api.example.com/api/x")),
        ("another name of the host", "htu", json!(format!("http://localhost:{port}/api/x"))),
        ("the host without its port", "htu", json!("http://127.0.0.1/api/x")),
        ("another port", "htu", json!(format!("http://127.0.0.1:{}/api/x", port ^ 1))),
        ("another scheme", "htu", json!(format!("https://127.0.0.1:{port}/api/x"))),
        ("no scheme", "htu", json!(format!("//127.0.0.1:{port}/api/x"))),
        ("a path alone", "htu", json!("/api/x")),
        ("a user in the URL", "htu", json!(format!("http://u@127.0.0.1:{port}/api/x"))),
        ("the host as a user", "htu", json!(format!("http://127.0.0.1:{port}@b/api/x"))),
        ("a space before the URL", "htu", json!(format!(" http://127.0.0.1:{port}/api/x"))),
        ("several URLs", "htu", json!([format!("http://127.0.0.1:{port}/api/x")])),
        ("an empty URL", "htu", json!("")),
        ("another token", "ath", json!(base64url(digest(&SHA256, b"another")))),
        ("no token at all", "ath", json!(base64url(digest(&SHA256, b"")))),
        ("an empty hash", "ath", json!("")),
        ("several hashes", "ath", json!([])),
        ("long ago", "iat", json!(now() - 90)),
        ("another age", "iat", json!(0)),
        ("before 1970", "iat", json!(-1)),
        ("the future", "iat", json!(now() + 30)),
        ("the far future", "iat", json!(now() + 1_000_000_000)),
        ("milliseconds", "iat", json!(now() * 1000)),
        ("a time as text", "iat", json!(now().to_string())),
        ("no time", "iat", json!(null)),
        ("a time that has ended", "exp", json!(now() - 60)),
        ("a time that has not begun", "nbf", json!(now() + 60)),
        ("an empty id", "jti", json!("")),
        ("an id that is a number", "jti", json!(7)),
        ("an id that is null", "jti", json!(null)),
    ] {
        rows.push(world.row(name, |proof| proof.claim(claim, value)));
    }
    for claim in ["htm", "htu", "ath", "iat", "jti"] {
        rows.push(world.row(format!("without {claim}"), |proof| proof.without(claim)));
    }
    rows.push(world.row("two methods", |proof| {
        let text = proof.claims_text().replacen('{', "{\"htm\":\"GET\",", 1);
        proof.raw_claims(text)
    }));
    rows.push(world.row("claims that are an array", |proof| proof.raw_claims("[]")));
    rows.push(world.row("claims that are nothing", |proof| proof.raw_claims("")));
    world.assert_refused(rows);
}

#[test]
fn a_proof_that_is_not_what_it_says() {
    let world = World::new();
    let jwk = || world.sender.jwk.clone();
    let with = |name: &str, value: Value| {
        let mut jwk = jwk();
        jwk[name] = value;
        jwk
    };
    let mut rows = Vec::new();
    for (name, member, value) in [
        ("the type of a token", "typ", json!("JWT")),
        ("the type of an access token", "typ", json!("at+jwt")),
        ("a type in upper case", "typ", json!("DPOP+JWT")),
        ("a type with its tree", "typ", json!("application/dpop+jwt")),
        ("several types", "typ", json!(["dpop+jwt"])),
        ("no type", "typ", json!(null)),
        ("none as the algorithm", "alg", json!("none")),
        ("a secret's algorithm", "alg", json!("HS256")),
        ("another curve's algorithm", "alg", json!("ES384")),
        ("another family's algorithm", "alg", json!("RS256")),
        ("an unknown algorithm", "alg", json!("ES256K")),
        ("an algorithm in lower case", "alg", json!("es256")),
        ("several algorithms", "alg", json!(["ES256"])),
        ("something critical", "crit", json!(["exp"])),
        ("a payload that is not encoded", "b64", json!(false)),
        ("a compressed payload", "zip", json!("DEF")),
        ("a nested token", "cty", json!("JWT")),
        ("a key that is no object", "jwk", json!("key")),
        ("several keys", "jwk", json!([jwk()])),
        ("a key set", "jwk", json!({ "keys": [jwk()] })),
        ("an empty key", "jwk", json!({})),
        ("a private key", "jwk", with("d", json!(base64url([7; 32])))),
        ("an empty private member", "jwk", with("d", json!(""))),
        ("a private member that is null", "jwk", with("d", json!(null))),
        ("a private member of RSA", "jwk", with("p", json!("AQAB"))),
        ("a symmetric member", "jwk", with("k", json!("AAAA"))),
        ("a symmetric key", "jwk", json!({ "kty": "oct", "k": base64url([7; 32]) })),
        ("a key for encryption", "jwk", with("use", json!("enc"))),
        ("a key that only signs", "jwk", with("key_ops", json!(["sign"]))),
        ("a key of another algorithm", "jwk", with("alg", json!("ES384"))),
        ("a key of another curve", "jwk", with("crv", json!("P-384"))),
        ("a point off the curve", "jwk", with("y", json!(base64url([7; 32])))),
        ("a point at infinity", "jwk", with("x", json!(""))),
        ("a coordinate that is too long", "jwk", with("x", json!(base64url([0; 33])))),
        ("another key, signed by the right one", "jwk", Sender::new().jwk),
        ("a key of another type", "jwk", Sender::with_rsa(3).jwk),
    ] {
        rows.push(world.row(name, |proof| proof.header(member, value)));
    }
    for name in ["typ", "alg", "jwk"] {
        rows.push(world.row(format!("no {name}"), |proof| proof.without_header(name)));
    }
    rows.push(world.row("a key by its URL", |proof| {
        proof.without_header("jwk").header("jku", "http://127.0.0.1:1/keys")
    }));
    rows.push(
        world.row("a key by its id", |proof| proof.without_header("jwk").header("kid", "k1")),
    );
    rows.push(world.row("the algorithm twice", |proof| {
        let text = proof.header_text().replacen('{', "{\"alg\":\"ES256\",", 1);
        proof.raw_header(text)
    }));
    rows.push(world.row("a header that is an array", |proof| proof.raw_header("[]")));
    rows.push(world.row("no signature", |proof| proof.signed_by(Signer::Nothing)));
    let stranger = || Signer::Es256(EcKey::new());
    rows.push(world.row("a stranger's signature", |proof| proof.signed_by(stranger())));
    let rsa = || Signer::Rs256(RsaKey::number(0));
    rows.push(world.row("the issuer's signature", |proof| proof.signed_by(rsa())));
    rows.push(world.row("the key as a secret", |proof| {
        let secret = world.sender.jwk.to_string().into_bytes();
        proof.header("alg", "HS256").signed_by(Signer::Hs256(secret))
    }));
    world.assert_refused(rows);
}

#[test]
fn a_field_that_is_not_one_proof() {
    let world = World::new();
    let token = world.token();
    let good = || world.proof(&token).sign();
    let with = |proof: &str| world.get().dpop(&token, proof);
    let mut rows: Vec<Row> = vec![
        ("no proof".into(), world.get().header("Authorization", format!("DPoP {token}")), PROOF),
        ("two proofs".into(), with(&good()).header("DPoP", good()), PROOF),
        (
            "one proof twice".into(),
            {
                let proof = good();
                with(&proof).header("dpop", proof.as_str())
            },
            PROOF,
        ),
        ("two proofs in one field".into(), with(&format!("{}, {}", good(), good())), PROOF),
        ("an empty proof".into(), with(""), PROOF),
        ("the token as its proof".into(), with(&token), PROOF),
        ("a proof with a scheme".into(), with(&format!("DPoP {}", good())), PROOF),
        ("a proof in quotes".into(), with(&format!("\"{}\"", good())), PROOF),
        ("a part too many".into(), with(&format!("{}.", good())), PROOF),
        ("a part too few".into(), with(good().rsplit_once('.').unwrap().0), PROOF),
        ("padding".into(), with(&format!("{}=", good())), PROOF),
        ("a proof that is too long".into(), with(&"a".repeat(9000)), PROOF),
        ("dots alone".into(), with(".."), PROOF),
        ("text".into(), with("a.b.c"), PROOF),
    ];
    let mut spoilt = good();
    let byte = spoilt.len() - 10..spoilt.len() - 9;
    let other = if &spoilt[byte.clone()] == "A" { "B" } else { "A" };
    spoilt.replace_range(byte, other);
    rows.push(("another byte in the signature".into(), with(&spoilt), PROOF));
    let used = good();
    assert_eq!(with(&used).send().status, 200);
    world.upstream.close_connections();
    let (connections, request) = (world.upstream.connections(), with(&used));
    rows.push(("a proof that was used".into(), request, PROOF));
    rows.push((
        "a proof that was used, with a query".into(),
        { world.edge.get("/api/x?again").dpop(&token, &used) },
        PROOF,
    ));
    let mut passed = Vec::new();
    for (name, request, error) in rows {
        let response = request.send();
        if response.status != 401 || response.fields("www-authenticate") != [challenge(error)] {
            passed.push(format!("{name}: {}", response.head.first_line));
        }
    }
    assert!(passed.is_empty(), "{}", passed.join("\n"));
    assert_eq!(world.upstream.connections(), connections);
}

#[test]
fn a_bound_token_in_other_hands() {
    let world = World::new();
    let (token, thief) = (world.token(), Sender::new());
    let url = url(&world.edge, "/api/x");
    let good = || world.proof(&token).sign();
    let bound = |cnf: Value| world.issuer.token().claim("cnf", cnf).sign();
    let with_proof = |token: String| {
        let proof = world.proof(&token).sign();
        world.get().dpop(&token, &proof)
    };
    let jkt = world.sender.cnf()["jkt"].clone();
    let text = jkt.as_str().unwrap().to_owned();
    let mut rows: Vec<Row> = vec![
        ("as a bearer token".into(), world.get().bearer(&token), TOKEN),
        (
            "as a bearer token with a proof".into(),
            { world.get().bearer(&token).header("DPoP", good()) },
            TOKEN,
        ),
        (
            "with a thief's proof".into(),
            { world.get().dpop(&token, &thief.proof(&url, &token).sign()) },
            TOKEN,
        ),
        (
            "with a proof of another type of key".into(),
            { world.get().dpop(&token, &Sender::with_rsa(3).proof(&url, &token).sign()) },
            TOKEN,
        ),
        (
            "with the proof for another token of the sender's".into(),
            { world.get().dpop(&token, &world.proof(&world.issuer.token().sign()).sign()) },
            PROOF,
        ),
        ("a plain token".into(), with_proof(world.issuer.token().sign()), TOKEN),
        (
            "a plain token as a bearer token".into(),
            { world.get().bearer(&world.issuer.token().sign()) },
            TOKEN,
        ),
        (
            "an expired one".into(),
            { with_proof(world.issuer.token().claim("cnf", world.sender.cnf()).expired().sign()) },
            TOKEN,
        ),
        (
            "one of another issuer".into(),
            {
                let token = world.issuer.token().claim("cnf", world.sender.cnf());
                with_proof(token.claim("iss", "https://b").sign())
            },
            TOKEN,
        ),
        (
            "one that a stranger signed".into(),
            {
                let token = world.issuer.token().claim("cnf", world.sender.cnf());
                with_proof(token.signed_by(Signer::Rs256(RsaKey::number(4))).sign())
            },
            TOKEN,
        ),
        (
            "one that its sender signed".into(),
            {
                let token = world.issuer.token().claim("cnf", world.sender.cnf());
                with_proof(token.signed_by(world.sender.signer()).sign())
            },
            TOKEN,
        ),
    ];
    for (name, cnf) in [
        ("to nothing", json!({})),
        ("to null", json!(null)),
        ("to a text", json!(text)),
        ("to an array", json!([{ "jkt": jkt }])),
        ("to a thumbprint that is an array", json!({ "jkt": [jkt] })),
        ("to no thumbprint", json!({ "jkt": null })),
        ("to an empty thumbprint", json!({ "jkt": "" })),
        ("to a padded thumbprint", json!({ "jkt": format!("{text}=") })),
        ("to a shorter thumbprint", json!({ "jkt": text[..42] })),
        ("to another thumbprint", json!({ "jkt": base64url([7; 32]) })),
        ("to a member in upper case", json!({ "JKT": jkt })),
        ("to the key itself", json!({ "jwk": world.sender.jwk })),
        ("to the key's id", json!({ "kid": "k1" })),
        ("to something more", json!({ "jkt": jkt, "kid": "k1" })),
        ("to a certificate, too", json!({ "jkt": jkt, "x5t#S256": base64url([7; 32]) })),
        ("to a certificate alone", json!({ "x5t#S256": base64url([7; 32]) })),
    ] {
        rows.push((format!("bound {name}"), with_proof(bound(cnf)), TOKEN));
    }
    for (name, authorization) in [
        ("a scheme without a token", "DPoP".to_owned()),
        ("a tab after the scheme", format!("DPoP\t{token}")),
        ("something after the token", format!("DPoP {token} x")),
        ("two credentials", format!("DPoP {token}, DPoP {token}")),
        ("a token in quotes", format!("DPoP \"{token}\"")),
    ] {
        let request = world.get().header("Authorization", authorization);
        rows.push((name.into(), request.header("DPoP", good()), TOKEN));
    }
    world.assert_refused(rows);
    let both = world.get().dpop(&token, &good()).bearer(&token).send();
    assert_eq!(both.status, 400, "two fields of Authorization");
    for spelling in ["dpop", "DPOP", "dPoP"] {
        let request = world.get().header("Authorization", format!("{spelling}   {token}"));
        assert_eq!(request.header("dpop", good()).send().status, 200, "{spelling}");
    }
}
