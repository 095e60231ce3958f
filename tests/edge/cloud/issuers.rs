//! What a cloud can reach by way of an issuer: its document, its keys, and where tokens are asked
//! about.

use serde_json::json;

use super::{authorize, await_log, await_status, edge, guarded, reports, runbeam};
use crate::support::provider::{Asked, DOCUMENT, Reply};
use crate::support::token::AUDIENCE;
use crate::support::{Cloud, Edge, Provider, Upstream};

const JWT: &str = "jwt-auth";
const INTROSPECTION: &str = "introspection";
const ENDPOINT: &str = "/introspect";

/// A step of this kind for the pipeline of its name.
fn step(name: &str, kind: &str, lines: &str) -> String {
    let client = match kind {
        INTROSPECTION => "client_id = \"edge\"\nclient_secret = \"the-secret-of-the-edge\"\n",
        _ => "",
    };
    format!(
        "[middleware.{name}]\ntype = \"{kind}\"\n[middleware.{name}.config]\n\
         audience = \"{AUDIENCE}\"\n{client}{lines}\n"
    )
}

/// A provider that says of every token that it is active.
fn provider() -> Provider {
    let provider = Provider::start();
    let answer = json!({ "active": true, "iss": provider.url(), "aud": AUDIENCE, "sub": "bob" });
    provider.script(ENDPOINT, move |_: &Asked| Reply::Json(answer.clone()));
    provider
}

#[test]
fn an_issuer_out_of_reach_is_refused() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    let management = format!("http://localhost:{}", edge.management_port());
    let address = format!("http://127.0.0.1:{}", edge.management_port());
    let metadata = "https://169.254.169.254".to_owned();
    let mapped = "https://[::ffff:a9fe:a9fe]".to_owned();
    let mut changes = Vec::new();
    for place in [&management, &address, &metadata, &mapped] {
        let issuer = format!("issuer = \"{place}\"");
        let endpoint = format!("introspection_url = \"{place}/introspect\"");
        let besides = format!(
            "issuer = \"https://i.example\"\nintrospect = true\nclient_id = \"edge\"\n{endpoint}"
        );
        changes.push((JWT, issuer.clone()));
        changes.push((JWT, besides));
        changes.push((INTROSPECTION, issuer));
        changes.push((INTROSPECTION, endpoint));
    }
    for (number, (kind, lines)) in changes.iter().enumerate() {
        let name = format!("x{number}");
        let toml = guarded(&name, "http://127.0.0.1:1", &step(&name, kind, lines));
        cloud.add_change(&format!("c{number}"), "pipeline", &toml);
    }
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_status(&cloud, &format!("c{}", changes.len() - 1), "failed");
    for (number, (kind, lines)) in changes.iter().enumerate() {
        let reported = reports(&cloud, &format!("c{number}"));
        let said = reported[0].1.to_string();
        assert_eq!(reported[0].0, "failed", "{kind}: {lines}");
        assert!(said.contains("points at"), "{kind}: {lines}: {said}");
    }
}

#[test]
fn a_document_leads_to_nothing_out_of_reach() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    let url = format!("http://127.0.0.1:{}", upstream.port());
    let (good, keys, endpoint) = (provider(), provider(), provider());
    for (provider, member) in [(&keys, "jwks_uri"), (&endpoint, "introspection_endpoint")] {
        let mut document = provider.document();
        document[member] = json!(format!("http://127.0.0.1:{}/ready", edge.management_port()));
        provider.serve(DOCUMENT, document);
    }
    let all = [
        ("jwt", JWT, &good, 200),
        ("opaque", INTROSPECTION, &good, 200),
        ("keys", JWT, &keys, 503),
        ("endpoint", INTROSPECTION, &endpoint, 503),
    ];
    for (name, kind, provider, _) in all {
        let step = step(name, kind, &format!("issuer = \"{}\"", provider.url()));
        cloud.add_change(name, "pipeline", &guarded(name, &url, &step));
    }
    assert_eq!(authorize(&edge, &cloud).status, 201);
    for (name, _, provider, want) in all {
        await_status(&cloud, name, "applied");
        let token = provider.token("k1", 0).sign();
        let answer = edge.get(&format!("/{name}/x")).bearer(&token).send();
        assert_eq!(answer.status, want, "{name}");
    }
    assert_eq!(good.asked(ENDPOINT).len(), 1);
    await_log(&edge, "a configuration from the cloud may not connect to 127.0.0.1");
}

#[test]
fn an_issuer_whose_name_leads_out_of_reach_is_not_asked() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let narrowed = format!("{}\nbackend_allow = [\"192.0.2.0/24\"]", runbeam(&cloud));
    let edge = Edge::open(&upstream).and(&narrowed).start();
    let provider = provider();
    let named = provider.url().replace("127.0.0.1", "localhost");
    let all = [
        ("jwt", JWT, format!("issuer = \"{named}\"")),
        ("opaque", INTROSPECTION, format!("issuer = \"{named}\"")),
        ("url", INTROSPECTION, format!("introspection_url = \"{named}{ENDPOINT}\"")),
    ];
    for (name, kind, lines) in &all {
        let toml = guarded(name, "http://192.0.2.1", &step(name, kind, lines));
        cloud.add_change(name, "pipeline", &toml);
    }
    assert_eq!(authorize(&edge, &cloud).status, 201);
    for (name, ..) in &all {
        await_status(&cloud, name, "applied");
        let token = provider.token("k1", 0).claim("iss", named.clone()).sign();
        assert_eq!(edge.get(&format!("/{name}/x")).bearer(&token).send().status, 503, "{name}");
    }
    assert_eq!((provider.asked(DOCUMENT).len(), provider.asked(ENDPOINT).len()), (0, 0));
}
