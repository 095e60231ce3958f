//! The right proof passes, over either version of HTTP, and in every spelling of its URL.

use std::time::Duration;

use serde_json::json;

use super::{DPOP, challenge, edge, token, url};
use crate::grpc::raw::call;
use crate::support::proof::Sender;
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Program, Settings, Upstream};

#[test]
fn the_right_proof_passes_once_and_never_goes_upstream() {
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let edge = edge("require", &issuer, &upstream).start();
    let token = token(&issuer, &sender);
    for http2 in [false, true] {
        let get = |proof: &str| {
            let request = edge.get("/api/x").dpop(&token, proof);
            if http2 { request.http2() } else { request }.send()
        };
        let proof = sender.proof(&url(&edge, "/api/x"), &token).sign();
        assert_eq!(get(&proof).status, 200, "http2: {http2}");
        let seen = upstream.last();
        assert!(!seen.head.has("dpop"), "{:?}", seen.head);
        assert_eq!(seen.head.field("authorization"), Some(&*format!("DPoP {token}")));
        assert_eq!(seen.head.field("x-auth-subject"), Some("alice"));
        let again = get(&proof);
        assert_eq!(again.status, 401);
        assert_eq!(again.fields("www-authenticate"), [challenge("invalid_dpop_proof")]);
    }
    let metrics = edge.manage("/metrics").send().text();
    assert!(metrics.contains("harmony_dpop_proofs 2"), "{metrics}");
    let replayed = "harmony_dpop_proofs_refused_total{reason=\"replayed\"} 2";
    assert!(metrics.contains(replayed), "{metrics}");
    let status = edge.manage("/admin/status").send().json();
    assert_eq!(
        (&status["dpop"]["remembered"], &status["dpop"]["replayed"]),
        (&2.into(), &2.into())
    );
}

#[test]
fn neither_query_nor_spelling_counts() {
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let edge = edge("allow", &issuer, &upstream).start();
    let token = token(&issuer, &sender);
    let port = edge.port();
    for (target, url) in [
        ("/api/x?a=1", format!("http://127.0.0.1:{port}/api/x")),
        ("/api/x", format!("http://127.0.0.1:{port}/api/x?b=2#c")),
        ("/api/x", format!("HTTP://127.0.0.1:{port}/api/%78")),
        ("/api/%78", format!("http://127.0.0.1:{port}/api/x")),
        ("/api//x", format!("http://127.0.0.1:{port}/api/x")),
        ("/api/y/../x", format!("http://127.0.0.1:{port}/api/x")),
        ("/api/x", format!("http://127.0.0.1:{port}/./api//y/%2e%2e/x")),
        ("/api/%c3%a9", format!("http://127.0.0.1:{port}/api/%C3%A9")),
    ] {
        let proof = sender.proof(&url, &token).sign();
        let status = edge.get(target).dpop(&token, &proof).send().status;
        assert_eq!(status, 200, "{target} {url}");
    }
    let proof = sender.proof("https://API.example.com:80/api/x", &token).sign();
    let request = edge.get("/api/x").host("api.example.com").dpop(&token, &proof);
    assert_eq!(request.send().status, 401, "another scheme");
    let proof = sender.proof("http://API.example.com:80/api/x", &token).sign();
    let request = edge.get("/api/x").host("api.example.com").dpop(&token, &proof);
    assert_eq!(request.send().status, 200);
}

#[test]
fn behind_a_trusted_proxy_the_url_is_that_of_its_client() {
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let trusting = edge("require", &issuer, &upstream);
    let trusting = trusting.proxy("trusted_proxies = [\"127.0.0.1\"]").start();
    let strict = edge("require", &issuer, &upstream).start();
    let token = token(&issuer, &sender);
    let public = "https://public.example/api/x";
    for (edge, url, expected) in [
        (&trusting, public.to_owned(), 200),
        (&trusting, url(&trusting, "/api/x"), 401),
        (&strict, public.to_owned(), 401),
        (&strict, url(&strict, "/api/x"), 200),
    ] {
        let proof = sender.proof(&url, &token).sign();
        let request = edge.get("/api/x").dpop(&token, &proof);
        let request = request.header("X-Forwarded-Proto", "https");
        let response = request.header("X-Forwarded-Host", "public.example").send();
        assert_eq!(response.status, expected, "{url}");
    }
}

#[test]
fn what_a_step_takes_besides() {
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let (bound, plain) = (token(&issuer, &sender), issuer.token().sign());
    for (dpop, of_plain, of_bound) in
        [("off", 200, 401), ("allow", 200, 401), ("require", 401, 401)]
    {
        let edge = edge(dpop, &issuer, &upstream).start();
        let get = || edge.get("/api/x");
        assert_eq!(get().bearer(&plain).send().status, of_plain, "{dpop}");
        assert_eq!(get().bearer(&bound).send().status, of_bound, "{dpop}");
        let proof = sender.proof(&url(&edge, "/api/x"), &bound).sign();
        let as_bearer = get().bearer(&bound).header("DPoP", proof.as_str()).send();
        assert_eq!(as_bearer.status, 401, "{dpop}");
        let with_proof = get().dpop(&bound, &proof).send().status;
        assert_eq!(with_proof, if dpop == "off" { 401 } else { 200 }, "{dpop}");
        let schemes = get().send();
        let bearer = "Bearer realm=\"harmony\"";
        match dpop {
            "off" => assert_eq!(schemes.fields("www-authenticate"), [bearer]),
            "allow" => assert_eq!(schemes.fields("www-authenticate"), [bearer, DPOP]),
            _ => assert_eq!(schemes.fields("www-authenticate"), [DPOP]),
        }
    }
}

#[test]
fn a_proof_of_another_algorithm_and_one_that_two_steps_ask_for() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let (ec, rsa) = (Sender::new(), Sender::with_rsa(3));
    let second = format!(
        "[middleware.second]\ntype = \"jwt-auth\"\n[middleware.second.config]\n\
         jwks_url = \"{}\"\nissuer = \"https://auth.example.com\"\naudience = \"harmony-api\"\n\
         dpop = \"require\"\n",
        issuer.url()
    );
    let both = Route::to("both", &upstream).prefix("/both").steps(&["jwt", "second"]);
    let edge = edge("allow", &issuer, &upstream).jwt("dpop_algorithms = [\"RS256\"]");
    let edge = edge.and(&second).and(&both.text()).start();
    for (sender, path, expected) in
        [(&rsa, "/api/x", 200), (&ec, "/api/x", 401), (&rsa, "/both/x", 200)]
    {
        let token = token(&issuer, sender);
        let proof = sender.proof(&url(&edge, path), &token).sign();
        assert_eq!(edge.get(path).dpop(&token, &proof).send().status, expected, "{path}");
        assert_eq!(edge.get(path).dpop(&token, &proof).send().status, 401, "{path}, again");
    }
}

#[test]
fn the_field_never_goes_upstream_whoever_asks_for_it() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for name in ["DPoP", "dpop", "DPOP"] {
        assert_eq!(edge.get("/api/x").header(name, "a.b.c").send().status, 200);
        assert!(!upstream.last().head.has("dpop"));
    }
}

#[test]
fn a_call_of_grpc_is_told_in_its_own_terms() {
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let edge = edge("require", &issuer, &upstream).jwt("dpop_nonce = true").start();
    let token = token(&issuer, &sender);
    let proof = sender.proof(&url(&edge, "/api/a.B/C"), &token).claim("htm", "POST").sign();
    let authorization = format!("DPoP {token}");
    let fields = [("authorization", authorization.as_str()), ("dpop", proof.as_str())];
    let rejected = call(edge.port(), "/api/a.B/C", &fields);
    assert_eq!(rejected.field("grpc-status"), Some("16"));
    assert_eq!(rejected.field("www-authenticate"), Some(&*challenge("use_dpop_nonce")));
    assert!(rejected.field("dpop-nonce").is_some_and(|nonce| nonce.len() == 22));
}

#[test]
fn an_opaque_token_is_bound_by_what_its_issuer_says() {
    use crate::support::Provider;
    use crate::support::provider::Reply;
    use crate::support::token::{AUDIENCE, now};
    let (provider, upstream, sender) = (Provider::start(), Upstream::start(), Sender::new());
    let cnf = sender.cnf();
    let issuer = provider.url();
    provider.script("/introspect", move |_| {
        Reply::Json(json!({
            "active": true, "iss": issuer, "aud": AUDIENCE, "sub": "bob", "exp": now() + 600,
            "cnf": cnf,
        }))
    });
    let step = format!(
        "[middleware.op]\ntype = \"introspection\"\n[middleware.op.config]\nissuer = \"{}\"\n\
         client_id = \"edge\"\nclient_secret = \"secret\"\naudience = \"{AUDIENCE}\"\n\
         dpop = \"allow\"\n",
        provider.url()
    );
    let route = Route::to("op", &upstream).prefix("/op").steps(&["op"]).text();
    let edge = Edge::configured(Settings::bare().and(&step).and(&route)).start();
    let get = || edge.get("/op/x");
    for _ in 0..2 {
        assert_eq!(get().bearer("opaque-token").send().status, 401);
        let proof = sender.proof(&url(&edge, "/op/x"), "opaque-token").sign();
        assert_eq!(get().dpop("opaque-token", &proof).send().status, 200);
        assert_eq!(get().dpop("opaque-token", &proof).send().status, 401);
    }
    assert_eq!(provider.asked("/introspect").len(), 1);
    let other = Sender::new().proof(&url(&edge, "/op/x"), "opaque-token").sign();
    assert_eq!(get().dpop("opaque-token", &other).send().status, 401);
}

#[test]
fn a_proof_from_before_the_start_is_refused() {
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let mut edge = edge("require", &issuer, &upstream).start();
    let token = token(&issuer, &sender);
    let get = |edge: &Edge, proof: &str| edge.get("/api/x").dpop(&token, proof).send().status;
    let begun = crate::support::token::now();
    std::thread::sleep(Duration::from_millis(1100));
    let proof = sender.proof(&url(&edge, "/api/x"), &token).claim("iat", begun + 1).sign();
    assert_eq!(get(&edge, &proof), 200);
    let ahead = sender.proof(&url(&edge, "/api/x"), &token).claim("iat", begun + 5).sign();
    assert_eq!(get(&edge, &ahead), 200);
    edge.restart();
    for used in [&proof, &ahead] {
        assert_eq!(get(&edge, used), 401);
    }
    // In the seconds of which the process before has used proofs, a new one has to hold a nonce.
    let proof = || sender.proof(&url(&edge, "/api/x"), &token).claim("iat", begun + 2);
    let doubted = edge.get("/api/x").dpop(&token, &proof().sign()).send();
    assert_eq!(doubted.fields("www-authenticate"), [challenge("use_dpop_nonce")]);
    let nonce = doubted.head.field("dpop-nonce").expect("a nonce");
    let response = edge.get("/api/x").dpop(&token, &proof().claim("nonce", nonce).sign()).send();
    assert_eq!((response.status, response.head.field("dpop-nonce")), (200, None));
    let later = sender.proof(&url(&edge, "/api/x"), &token).claim("iat", begun + 6).sign();
    assert_eq!(get(&edge, &later), 200, "none of them was used before");
    let told = || edge.log().contains("dpop_before_start");
    assert!(crate::support::poll::becomes_true(Duration::from_secs(10), told));
}

#[test]
fn a_proof_that_the_process_before_uses_is_used() {
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let mut edge = edge("require", &issuer, &upstream).start();
    let token = token(&issuer, &sender);
    let proof = |ahead: i64| {
        let proof = sender.proof(&url(&edge, "/api/x"), &token);
        proof.claim("iat", crate::support::token::now() + ahead).sign()
    };
    let (before, draining, other) = (proof(3), proof(4), proof(4));
    let get = |edge: &Edge, proof: &str| edge.get("/api/x").dpop(&token, proof);
    let mut idle = edge.connect();
    idle.send(get(&edge, &before).bytes());
    assert_eq!(idle.response().status, 200);
    let mut old = edge.upgrade();
    idle.send(get(&edge, &draining).bytes());
    let answer = idle.response();
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    for used in [&before, &draining] {
        let refused = get(&edge, used).send();
        assert_eq!(refused.fields("www-authenticate"), [challenge("use_dpop_nonce")]);
    }
    assert_eq!(get(&edge, &other).send().status, 401, "it may be one of them");
    let _ = old.wait();
}

#[test]
fn steps_of_one_group_share_what_was_used_whatever_their_ages() {
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let step = |name: &str, lines: &str| {
        format!(
            "[middleware.{name}]\ntype = \"jwt-auth\"\n{lines}\n[middleware.{name}.config]\n\
             jwks_url = \"{}\"\nissuer = \"https://auth.example.com\"\n\
             audience = \"harmony-api\"\ndpop = \"require\"\n",
            issuer.url()
        )
    };
    let tables = step("brief", "optional = true\nfallback_on = \"failed\"")
        + "dpop_max_age_secs = 1\n"
        + &step("long", "")
        + "dpop_max_age_secs = 600\n";
    let route = Route::to("api", &upstream).prefix("/api").steps(&["brief", "long"]);
    let edge = Edge::configured(Settings::bare().and(&route.text()).and(&tables)).start();
    let token = token(&issuer, &sender);
    let proof = sender.proof(&url(&edge, "/api/x"), &token).sign();
    assert_eq!(edge.get("/api/x").dpop(&token, &proof).send().status, 200);
    std::thread::sleep(Duration::from_millis(8500));
    // Something that is used has the first step forget what it may.
    let other = sender.proof(&url(&edge, "/api/x"), &token).sign();
    assert_eq!(edge.get("/api/x").dpop(&token, &other).send().status, 200);
    assert_eq!(edge.get("/api/x").dpop(&token, &proof).send().status, 401);
}

#[test]
fn explain_says_what_is_wrong_with_a_proof() {
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let text = Settings::with_jwt(&issuer, &upstream).jwt("dpop = \"require\"").text();
    let text = text.replace("{port}", "18080").replace("{mport}", "19090");
    let token = token(&issuer, &sender);
    let explain = |proof: &str| {
        let (authorization, dpop) =
            (format!("Authorization: DPoP {token}"), format!("DPoP: {proof}"));
        let arguments = [
            "explain",
            "-c",
            "harmony.toml",
            "--request",
            "GET /api/x",
            "--header",
            "Host: a.example",
            "--header",
            &authorization,
            "--header",
            &dpop,
        ];
        Program::with(&arguments).file("harmony.toml", &text).run().stdout
    };
    let told = explain(&sender.proof("http://b.example/api/x", &token).sign());
    let said = "rejected: dpop_wrong_url: htu is Some(\"http://b.example/api/x\"), the request is \
                for http://a.example/api/x";
    assert!(told.contains(said), "{told}");
    let told = explain(&sender.proof("http://a.example/api/x", &token).sign());
    assert!(told.contains("jwt: authenticated as alice by Authorization"), "{told}");
    assert!(told.contains("whether the proof was used before is not looked at"), "{told}");
    assert!(!told.contains(&token), "{told}");
}
