//! Tokens made to slip through. Each is good but for the one thing that its row names, so that
//! nothing else can be what refuses it.

use std::sync::Arc;

use aws_lc_rs::digest;
use serde_json::{Value, json};

use super::INVALID;
use crate::support::keys::{OtherRsa, RsaKey, Signer, base64url};
use crate::support::ports::Port;
use crate::support::server::Server;
use crate::support::token::{ISSUER, Token};
use crate::support::{Edge, Issuer, Upstream};

type Row = (String, String);

/// Signs what a row describes.
fn row(name: impl Into<String>, token: &Token) -> Row {
    (name.into(), token.sign())
}

/// All rows are refused with the same bytes, and nothing reaches the upstream.
#[track_caller]
fn assert_refused(edge: &Edge, upstream: &Upstream, rows: Vec<Row>) {
    let reference = edge.get("/api/x").bearer("abc").send().without_date_and_id();
    let mut passed = Vec::new();
    for (name, token) in rows {
        let response = edge.get("/api/x").bearer(&token).send();
        if response.status != 401
            || response.fields("www-authenticate") != [INVALID]
            || response.without_date_and_id() != reference
        {
            passed.push(format!("{name}: {}", response.head.first_line));
        }
    }
    assert!(passed.is_empty(), "not refused like every other token:\n{}", passed.join("\n"));
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn the_algorithm_is_never_chosen_by_the_token() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let key = issuer.signing_key();
    let mut rows = Vec::new();
    for none in ["none", "None", "NONE", "nOnE", "null", ""] {
        rows.push(row(
            format!("alg {none:?} without a signature"),
            &issuer.token().header("alg", none).signed_by(Signer::Nothing),
        ));
        rows.push(row(
            format!("alg {none:?} with a good signature"),
            &issuer.token().header("alg", none),
        ));
    }
    let pem = key.public_pem();
    let secrets: [(&str, Vec<u8>); 7] = [
        ("the PEM", pem.clone().into_bytes()),
        ("the PEM without its last newline", pem.trim_end().as_bytes().to_vec()),
        ("the PEM with CRLF", pem.replace('\n', "\r\n").into_bytes()),
        ("the DER", key.public_der()),
        ("the modulus", key.modulus()),
        ("the JWK", key.jwk("k1").to_string().into_bytes()),
        ("nothing", Vec::new()),
    ];
    for (name, secret) in secrets {
        rows.push(row(
            format!("HS256 with {name} as the secret"),
            &issuer.token().header("alg", "HS256").signed_by(Signer::Hs256(secret.clone())),
        ));
        rows.push(row(
            format!("RS256 in the header, HMAC with {name}"),
            &issuer.token().signed_by(Signer::Hs256(secret.clone())),
        ));
        rows.push(row(
            format!("HS512 with {name} as the secret"),
            &issuer.token().header("alg", "HS512").signed_by(Signer::Hs512(secret)),
        ));
    }
    for (name, other) in
        [("RS384", &OtherRsa::Rs384), ("RS512", &OtherRsa::Rs512), ("PS256", &OtherRsa::Ps256)]
    {
        let signer = Signer::Rsa(Arc::clone(&key), other);
        rows.push(row(
            format!("{name} of the right key"),
            &issuer.token().header("alg", name).signed_by(signer.clone()),
        ));
        rows.push(row(
            format!("RS256 in the header, {name} in the signature"),
            &issuer.token().signed_by(signer),
        ));
        rows.push(row(
            format!("{name} in the header, RS256 in the signature"),
            &issuer.token().header("alg", name),
        ));
    }
    for alg in [
        json!("rs256"),
        json!("RS256 "),
        json!("ES256"),
        json!("EdDSA"),
        json!("dir"),
        json!(null),
        json!(["RS256"]),
        json!({}),
        json!(256),
    ] {
        rows.push(row(format!("alg {alg}"), &issuer.token().header("alg", alg)));
    }
    rows.push(row("no alg", &issuer.token().without_header("alg")));
    assert_refused(&edge, &upstream, rows);
}

#[test]
fn the_header_may_ask_for_nothing_that_is_not_understood() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let mut rows = Vec::new();
    for crit in [
        json!(["exp"]),
        json!(["b64"]),
        json!(["exp", "exp"]),
        json!([]),
        json!("exp"),
        json!(null),
        json!({}),
        json!(true),
        json!([1]),
        json!(["kid"]),
    ] {
        rows.push(row(format!("crit {crit}"), &issuer.token().header("crit", crit)));
    }
    for (name, value) in [
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("cty", json!("JWT")),
    ] {
        rows.push(row(format!("{name} {value}"), &issuer.token().header(name, value)));
    }
    rows.push(row(
        "crit and b64",
        &issuer.token().header("crit", vec!["b64"]).header("b64", false),
    ));
    for typ in [
        json!("logout+jwt"),
        json!("dpop+jwt"),
        json!("JWE"),
        json!("JOSE"),
        json!("secevent+jwt"),
        json!("id_token"),
        json!(""),
        json!(1),
        json!(null),
        json!(["JWT"]),
    ] {
        rows.push(row(format!("typ {typ}"), &issuer.token().header("typ", typ)));
    }
    assert_refused(&edge, &upstream, rows);
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT"] {
        assert_eq!(
            edge.get("/api/x").bearer(&issuer.token().header("typ", typ).sign()).send().status,
            200,
            "typ {typ}"
        );
    }
    assert_eq!(
        edge.get("/api/x").bearer(&issuer.token().without_header("typ").sign()).send().status,
        200,
        "no typ"
    );
}

#[test]
fn claims_have_their_types_and_their_exact_values() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let mut rows = Vec::new();
    let issuers = [
        json!([ISSUER]),
        json!([ISSUER, "x"]),
        json!(null),
        json!(1),
        json!(true),
        json!({}),
        json!(""),
        json!(format!("{ISSUER}/")),
        json!(ISSUER.to_uppercase()),
        json!(format!(" {ISSUER}")),
        json!("https://auth.example.com.evil.com"),
        json!("https://auth.example.co"),
    ];
    for iss in issuers {
        rows.push(row(format!("iss {iss}"), &issuer.token().claim("iss", iss)));
    }
    let audiences = [
        json!(null),
        json!(1),
        json!(true),
        json!({}),
        json!({ "harmony-api": true }),
        json!(""),
        json!([]),
        json!([1]),
        json!(["other"]),
        json!([["harmony-api"]]),
        json!(["harmony-api", 1]),
        json!(["harmony-api", null]),
        json!("harmony-api "),
        json!("Harmony-API"),
        json!("harmony"),
        json!("harmony-api other"),
    ];
    for aud in audiences {
        rows.push(row(format!("aud {aud}"), &issuer.token().claim("aud", aud)));
    }
    for sub in [json!(1), json!(true), json!(["alice"]), json!({ "name": "alice" })] {
        rows.push(row(format!("sub {sub}"), &issuer.token().claim("sub", sub)));
    }
    for absent in ["iss", "aud", "exp"] {
        rows.push(row(format!("no {absent}"), &issuer.token().without(absent)));
    }
    assert_refused(&edge, &upstream, rows);
    for (name, token) in [
        ("a list of audiences", issuer.token().claim("aud", vec!["other", "harmony-api"])),
        ("no sub", issuer.token().without("sub")),
    ] {
        assert_eq!(edge.get("/api/x").bearer(&token.sign()).send().status, 200, "{name}");
    }
}

#[test]
fn a_member_may_not_come_twice() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token();
    let before = |text: String, member: &str| format!("{{{member},{}", &text[1..]);
    let after = |text: String, member: &str| format!("{},{member}}}", &text[..text.len() - 1]);
    let mut rows = Vec::new();
    for member in [
        r#""alg":"none""#,
        r#""alg":"RS256""#,
        r#""kid":"k2""#,
        r#""typ":"JWT""#,
        r#""\u0061lg":"none""#,
    ] {
        rows.push(row(
            format!("{member} first in the header"),
            &token.clone().raw_header(before(token.header_text(), member)),
        ));
        rows.push(row(
            format!("{member} last in the header"),
            &token.clone().raw_header(after(token.header_text(), member)),
        ));
    }
    for member in [
        r#""sub":"root""#,
        r#""sub":"alice""#,
        r#""iss":"https://auth.example.com""#,
        r#""aud":"harmony-api""#,
        r#""exp":99999999999"#,
        r#""s\u0075b":"root""#,
    ] {
        rows.push(row(
            format!("{member} first in the claims"),
            &token.clone().raw_claims(before(token.claims_text(), member)),
        ));
        rows.push(row(
            format!("{member} last in the claims"),
            &token.clone().raw_claims(after(token.claims_text(), member)),
        ));
    }
    rows.push(row(
        "a member of one's own twice",
        &token.clone().raw_claims(after(after(token.claims_text(), r#""x":1"#), r#""x":1"#)),
    ));
    assert_refused(&edge, &upstream, rows);
}

#[test]
fn the_text_of_a_token_has_one_form() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token();
    let good = token.sign();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { panic!("three segments") };
    let text = |name: &str, text: String| (name.to_owned(), text);
    let rows = vec![
        text("no dots", good.replace('.', "")),
        text("one segment", (*header).to_owned()),
        text("two segments and a dot", format!("{header}.{claims}.")),
        text("empty header", format!(".{claims}.{signature}")),
        text("empty claims", format!("{header}..{signature}")),
        text("only dots", "..".to_owned()),
        text("a dot in front", format!(".{good}")),
        text("a dot behind", format!("{good}.")),
        text("five segments", format!("{good}.{claims}.{signature}")),
        text("padding", format!("{good}==")),
        text("padding in the header", format!("{header}=.{claims}.{signature}")),
        text(
            "the alphabet of plain base64",
            format!("{header}.{claims}.{}", signature.replace('-', "+").replace('_', "/")) + "+",
        ),
        text("a space inside", format!("{header}.{claims} .{signature}")),
        text("a tab inside", format!("{header}.{claims}\t.{signature}")),
        text("percent-encoded dots", good.replace('.', "%2E")),
        text("stray bits at the end", with_stray_bits(&good)),
        text("quotes around it", format!("\"{good}\"")),
        text(
            "the JSON serialization",
            json!({ "payload": claims, "protected": header, "signature": signature }).to_string(),
        ),
        text("a signature cut short", good[..good.len() - 4].to_owned()),
        text("a signature and more", format!("{good}AAAA")),
        text("a signature of zeros", format!("{header}.{claims}.{}", base64url([0; 256]))),
        text("an empty signature", format!("{header}.{claims}.")),
        text("letters outside ASCII", format!("{header}.{claims}.{signature}é")),
    ];
    assert_refused(&edge, &upstream, rows);

    let raw = |text: &str| text.as_bytes().to_vec();
    let headers: [(&str, Vec<u8>); 8] = [
        ("not JSON", raw("nonsense")),
        ("a list", raw(r#"["RS256"]"#)),
        ("a string", raw(r#""RS256""#)),
        ("null", raw("null")),
        ("empty", Vec::new()),
        ("something behind it", [token.header_text().as_bytes(), b"{}"].concat()),
        (
            "a byte order mark",
            [b"\xef\xbb\xbf".as_slice(), token.header_text().as_bytes()].concat(),
        ),
        (
            "not UTF-8",
            [b"{\"x\":\"\xff\",".as_slice(), &token.header_text().as_bytes()[1..]].concat(),
        ),
    ];
    let mut rows: Vec<Row> = headers
        .into_iter()
        .map(|(name, bytes)| row(format!("header: {name}"), &token.clone().raw_header(bytes)))
        .collect();
    let bodies: [(&str, Vec<u8>); 9] = [
        ("not JSON", raw("nonsense")),
        ("a list", raw("[1]")),
        ("a string", raw(r#""alice""#)),
        ("null", raw("null")),
        ("a number", raw("1")),
        ("a comma too many", raw(&token.claims_text().replace('}', ",}"))),
        ("something behind it", [token.claims_text().as_bytes(), b"x"].concat()),
        (
            "a byte order mark",
            [b"\xef\xbb\xbf".as_slice(), token.claims_text().as_bytes()].concat(),
        ),
        (
            "not UTF-8",
            [b"{\"x\":\"\xff\",".as_slice(), &token.claims_text().as_bytes()[1..]].concat(),
        ),
    ];
    rows.extend(
        bodies
            .into_iter()
            .map(|(name, bytes)| row(format!("claims: {name}"), &token.clone().raw_claims(bytes))),
    );
    let nested = [vec![b'['; 5000], vec![b']'; 5000]].concat();
    rows.push(row(
        "claims: nested too deep",
        &token
            .clone()
            .raw_claims([br#"{"x":"#.as_slice(), nested[2000..8000].as_ref(), b"}"].concat()),
    ));
    assert_refused(&edge, &upstream, rows);
}

/// The last character of a signature of 256 bytes carries four bits that mean nothing; here they
/// are not zero.
fn with_stray_bits(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = token
        .chars()
        .last()
        .and_then(|last| ALPHABET.find(last))
        .expect("a character of base64url");
    format!("{}{}", &token[..token.len() - 1], &ALPHABET[last + 1..=last + 1])
}

#[test]
fn a_token_has_at_most_eight_kibibytes() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let of_length = |length: usize| {
        let empty = issuer.token().claim("filler", "").sign().len();
        let token = issuer.token().claim("filler", "x".repeat((length - empty) * 3 / 4)).sign();
        assert!(
            token.len().abs_diff(length) <= 3,
            "a token of {} bytes instead of {length}",
            token.len()
        );
        token
    };
    for (length, status) in
        [(4096, 200), (8180, 200), (8200, 401), (9000, 401), (20_000, 401), (60_000, 401)]
    {
        assert_eq!(
            edge.get("/api/x").bearer(&of_length(length)).send().status,
            status,
            "{length} bytes"
        );
    }
    assert_eq!(
        edge.get("/api/x").bearer(&of_length(70_000)).send().status,
        431,
        "more than a head may have"
    );
    assert_eq!(upstream.count(), 2);
}

#[test]
fn a_key_is_found_by_its_id_and_never_brought_along() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let (one, two, attacker) = (RsaKey::number(0), RsaKey::number(1), RsaKey::number(5));
    issuer.publish(vec![one.jwk("k1"), two.jwk("k2")]);
    let edge = Edge::with_jwt(&issuer, &upstream).start();

    let port = Port::claim();
    let attacker_keys = attacker.jwk("evil");
    let trap = Server::start(port.number(), |_, _| {});
    let url = format!("http://127.0.0.1:{port}/jwks.json");
    let by_attacker = issuer.token_of("k1", &attacker);
    let mut rows = vec![
        row("no kid, two keys", &issuer.token().without_header("kid")),
        row("the kid of another key", &issuer.token().kid("k2")),
        row("the other key under this kid", &issuer.token_of("k1", &two)),
        row("x5c", &by_attacker.clone().header("x5c", vec!["MIIB"])),
        row(
            "x5t",
            &by_attacker.clone().kid("evil").header(
                "x5t",
                base64url(digest::digest(
                    &digest::SHA1_FOR_LEGACY_USE_ONLY,
                    &attacker.public_der(),
                )),
            ),
        ),
        row("jku inside the kid", &by_attacker.clone().kid(&url)),
    ];
    for name in ["jku", "x5u"] {
        rows.push(row(
            format!("{name} of the attacker"),
            &by_attacker.clone().header(name, url.as_str()),
        ));
        rows.push(row(
            format!("{name} and an unknown kid"),
            &by_attacker.clone().kid("evil").header(name, url.as_str()),
        ));
    }
    for kid in ["k1", "evil"] {
        rows.push(row(
            format!("jwk of the attacker, kid {kid}"),
            &by_attacker.clone().kid(kid).header("jwk", attacker_keys.clone()),
        ));
    }
    rows.push(row(
        "jwk and no kid",
        &by_attacker.without_header("kid").header("jwk", attacker_keys),
    ));
    let kids: [Value; 12] = [
        json!(""),
        json!(1),
        json!(null),
        json!(["k1"]),
        json!({ "k1": 1 }),
        json!("K1"),
        json!(" k1"),
        json!("k1\0"),
        json!("../../../../etc/passwd"),
        json!("' OR 1=1 --"),
        json!("k1\r\nX-Evil: 1"),
        json!("x".repeat(4000)),
    ];
    for kid in kids {
        rows.push(row(format!("kid {:.40}", kid.to_string()), &issuer.token().header("kid", kid)));
    }
    assert_refused(&edge, &upstream, rows);

    let good = issuer.token().header("jku", url.as_str()).header("x5u", url.as_str()).sign();
    edge.get("/api/x").bearer(&good).send();
    assert_eq!(trap.accepted(), 0, "no connection because of jku, x5u or kid");
}

#[test]
fn a_set_with_one_key_serves_a_token_without_an_id() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    assert_eq!(
        edge.get("/api/x").bearer(&issuer.token().without_header("kid").sign()).send().status,
        200
    );
    assert_eq!(
        edge.get("/api/x")
            .bearer(&issuer.token_of("k1", &RsaKey::number(1)).without_header("kid").sign())
            .send()
            .status,
        401
    );
}
