//! OpenID Connect Back-Channel Logout 1.0.

use std::time::Duration;

use serde_json::{Value, json};

use super::{audited, page, revoke, status};
use crate::support::keys::{RsaKey, Signer};
use crate::support::poll::becomes_true;
use crate::support::provider::KEYS;
use crate::support::settings::Route;
use crate::support::token::{AUDIENCE, Token, now};
use crate::support::{Edge, Program, Provider, Response, Settings, Upstream};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn settings(provider: &Provider, upstream: &Upstream, options: &str) -> Settings {
    let tables = format!(
        "[middleware.jwt]\ntype = \"jwt-auth\"\nconfig = {{ issuer = \"{}\", audience = \
         \"{AUDIENCE}\" }}\n\
         [pipelines.logout]\nnetworks = [\"public\"]\nendpoints = [\"logout\"]\n\
         [endpoints.logout]\nservice = \"backchannel-logout\"\n\
         options = {{ path_prefix = \"/logout\", step = \"jwt\", \
         client_id = \"edge\"{options} }}\n",
        provider.url()
    );
    Settings::bare()
        .and(&Route::to("api", upstream).prefix("/api").steps(&["jwt"]).text())
        .and(&tables)
}

fn logout_token(provider: &Provider, jti: &str) -> Token {
    provider
        .token("k1", 0)
        .header("typ", "logout+jwt")
        .claim("aud", "edge")
        .claim("jti", jti)
        .claim("exp", now() + 120)
        .claim("events", json!({ EVENT: {} }))
        .without("sub")
        .without("nbf")
        .claim("sid", "s-1")
}

fn post(edge: &Edge, token: &str) -> Response {
    edge.post("/logout", format!("logout_token={token}"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .send()
}

#[test]
fn a_session_ends_and_no_other() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = Edge::configured(settings(&provider, &upstream, "")).start();
    let session = |sid: &str| provider.token("k1", 0).claim("sid", sid).sign();
    let (ours, other, without) = (session("s-1"), session("s-2"), provider.token("k1", 0).sign());
    for token in [&ours, &other, &without] {
        assert_eq!(status(&edge, token), 200);
    }
    let logout = logout_token(&provider, "l-1").claim("sub", "alice").sign();
    let answer = post(&edge, &logout);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert_eq!([&ours, &other, &without].map(|token| status(&edge, token)), [401, 200, 200]);
    let refused = post(&edge, &logout);
    assert_eq!(refused.status, 400, "a logout token counts once");
    let id = refused.field("x-request-id").expect("an id");
    let words =
        format!("request {id}: endpoint logout: post from 127.0.0.1, answered invalid_request");
    assert!(becomes_true(Duration::from_secs(5), || edge.log().contains(&words)), "{words}");
    let words = format!("endpoint logout: \"{}\" revoked sid \"s-1\"", provider.url());
    assert!(becomes_true(Duration::from_secs(20), || edge.log().contains(&words)), "{words}");
    let events = audited(&edge, "revocation");
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0];
    assert_eq!(
        (&event["action"], &event["from"]),
        (&json!("backchannel-logout"), &json!("127.0.0.1"))
    );
    assert_eq!((&event["who"], &event["path"]), (&json!(provider.url()), &json!("/logout")));
    assert_eq!(event["id"].as_str(), answer.field("x-request-id"));
    assert!(event["outcome"].as_str().is_some_and(|it| it.starts_with("revoked sid \"s-1\"")));
    assert!(!edge.log().contains(&logout));
}

#[test]
fn a_subject_ends_with_what_was_issued_until_then() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = Edge::configured(settings(&provider, &upstream, "")).start();
    let at = |iat: i64| provider.token("k1", 0).claim("iat", iat).claim("sid", "s-9");
    let (then, later) = (at(now() - 30).sign(), at(now() - 29).sign());
    let bob = at(now() - 40).claim("sub", "bob").sign();
    let logout = logout_token(&provider, "l-1")
        .without("sid")
        .claim("sub", "alice")
        .claim("iat", now() - 30);
    assert_eq!(post(&edge, &logout.sign()).status, 200);
    assert_eq!([&then, &later, &bob].map(|token| status(&edge, token)), [401, 200, 200]);
}

#[test]
fn the_fallback_reaches_tokens_without_a_session() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = Edge::configured(settings(&provider, &upstream, ", fallback = \"sub\"")).start();
    let without = provider.token("k1", 0).sign();
    let bob = provider.token("k1", 0).claim("sub", "bob").sign();
    let logout = logout_token(&provider, "l-1").claim("sub", "alice");
    assert_eq!(post(&edge, &logout.sign()).status, 200);
    assert_eq!([&without, &bob].map(|token| status(&edge, token)), [401, 200]);
    assert_eq!(page(&edge, "")["total"], 2);
}

#[test]
fn everything_that_is_no_logout_token_is_400_and_changes_nothing() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = Edge::configured(settings(&provider, &upstream, "")).start();
    let good = || logout_token(&provider, "l-1");
    let session = provider.token("k1", 0).claim("sid", "s-1").sign();
    let mut rows: Vec<(&str, String)> = [
        ("another audience", good().claim("aud", "other")),
        ("no audience", good().without("aud")),
        ("another issuer", good().claim("iss", "https://x")),
        ("another key", good().signed_by(Signer::Rs256(RsaKey::number(1)))),
        ("a nonce", good().claim("nonce", "n")),
        ("no event", good().claim("events", json!({}))),
        ("another event", good().claim("events", json!({ "x": {} }))),
        ("an event that is no object", good().claim("events", json!({ EVENT: true }))),
        ("no events", good().without("events")),
        ("neither session nor subject", good().without("sid")),
        ("a session that is no string", good().claim("sid", 7)),
        ("no id", good().without("jti")),
        ("no time", good().without("iat")),
        ("no end", good().without("exp")),
        ("expired", good().expired()),
        ("of the future", good().claim("iat", now() + 600)),
        ("another type", good().header("typ", "JWT")),
        ("no type", good().without_header("typ")),
        ("no signature", good().header("alg", "none")),
        ("critical", good().header("crit", json!(["x"]))),
    ]
    .into_iter()
    .map(|(row, token)| (row, token.sign()))
    .collect();
    rows.push(("an access token", session.clone()));
    rows.push(("garbage", "a.b.c".to_owned()));
    rows.push(("nothing", String::new()));
    for (row, token) in &rows {
        let answer = post(&edge, token);
        assert_eq!(answer.status, 400, "{row}");
        assert_eq!(answer.field("cache-control"), Some("no-store"), "{row}");
        assert_eq!(
            answer.json(),
            json!({ "error": "Bad Request", "message": "the logout token is not valid" }),
            "{row}: one answer to all of them"
        );
    }
    let refused = post(&edge, "a.b.c");
    let id = refused.field("x-request-id").expect("an id");
    let words = format!("request {id}: endpoint logout: post from 127.0.0.1, answered ");
    assert!(becomes_true(Duration::from_secs(5), || edge.log().contains(&words)), "{words}");
    let token = good().sign();
    for (row, body, media_type) in [
        ("JSON", format!("{{\"logout_token\":\"{token}\"}}"), "application/json"),
        ("no type", format!("logout_token={token}"), "text/plain"),
        ("twice", format!("logout_token={token}&logout_token={token}"), FORM),
        ("another field", format!("id_token={token}"), FORM),
    ] {
        let answer = edge.post("/logout", body).header("Content-Type", media_type).send();
        assert_eq!(answer.status, 400, "{row}");
    }
    for method in ["GET", "PUT", "DELETE", "HEAD"] {
        let answer = edge.request(method, &format!("/logout?logout_token={token}")).send();
        assert_eq!((answer.status, answer.field("allow")), (405, Some("POST")), "{method}");
    }
    assert_eq!(post(&edge, &"x".repeat(70_000)).status, 413);
    assert_eq!((page(&edge, "")["total"].clone(), status(&edge, &session)), (json!(0), 200));
    assert_eq!(post(&edge, &token).status, 200, "it was not used up");
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn failed_posts_of_one_address_are_limited() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = Edge::configured(settings(&provider, &upstream, "")).quiet().start();
    assert_eq!(post(&edge, &logout_token(&provider, "l-1").sign()).status, 200);
    for number in 0..60 {
        assert_eq!(post(&edge, "a.b.c").status, 400, "{number}");
    }
    let good = logout_token(&provider, "l-2").sign();
    for token in ["a.b.c", &good] {
        let answer = post(&edge, token);
        assert_eq!(answer.status, 429);
        let seconds = answer.field("retry-after").and_then(|it| it.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)));
    }
    let metrics = edge.manage("/metrics").send().text();
    for (result, count) in [("accepted", 1), ("refused", 60), ("turned_away", 2)] {
        let line = format!(
            "harmony_revocation_notices_total{{service=\"backchannel-logout\",\
             result=\"{result}\"}} \
             {count}"
        );
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
}

#[test]
fn good_ones_at_the_same_time_are_not_limited() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = Edge::configured(settings(&provider, &upstream, "")).quiet().start();
    let tokens: Vec<_> =
        (0..100).map(|number| logout_token(&provider, &format!("l-{number}")).sign()).collect();
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let posts = tokens.iter().map(|token| scope.spawn(|| post(&edge, token).status));
        let posts: Vec<_> = posts.collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 100]);
}

#[test]
fn a_token_within_the_leeway_of_its_end_counts_once_too() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = Edge::configured(settings(&provider, &upstream, "")).start();
    let token = logout_token(&provider, "l-1").claim("exp", now() - 10).sign();
    assert_eq!([post(&edge, &token).status, post(&edge, &token).status], [200, 400]);
}

#[test]
fn without_room_or_keys_it_is_503_and_may_come_again() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let settings = settings(&provider, &upstream, "").and("[revocations]\nmax_revocations = 1\n");
    let edge = Edge::configured(settings).start();
    assert_eq!(revoke(&edge, &json!({ "key": "x" })).status, 201);
    let token = logout_token(&provider, "l-1").sign();
    for _ in 0..2 {
        let answer = post(&edge, &token);
        assert_eq!(answer.status, 503);
        assert!(answer.field("retry-after").is_some());
    }
    let words = "endpoint logout: post from 127.0.0.1, answered 503: ";
    assert!(becomes_true(Duration::from_secs(5), || edge.log().contains(words)), "{words}");
    let why =
        edge.log().lines().filter(|line| line.contains(words)).all(|it| it.contains("(1 of 1)"));
    assert!(why, "{}", edge.log());
    let id = page(&edge, "")["revocations"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(super::delete(&edge, &id), 204);
    assert_eq!(post(&edge, &token).status, 200);
    drop(edge);
    provider.answer(KEYS, crate::support::provider::Reply::Status(500));
    let edge = Edge::configured(self::settings(&provider, &upstream, "")).start();
    assert_eq!(post(&edge, &logout_token(&provider, "l-2").sign()).status, 503);
    let words = "post from 127.0.0.1, answered 503: no_keys";
    assert!(becomes_true(Duration::from_secs(5), || edge.log().contains(words)), "{words}");
}

#[test]
fn it_needs_no_backend_is_not_open_and_has_no_chain() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let text = settings(&provider, &upstream, "").text();
    let chained = text.replace("[middleware.jwt]\n", "[[middleware]]\nname = \"jwt\"\n");
    for text in [text.clone(), chained] {
        let ran = Program::check(&text.replace("{port}", "1").replace("{mport}", "2")).run();
        ran.assert_ok("a pipeline of one logout endpoint");
        assert!(!ran.stderr.contains("open"), "{}", ran.stderr);
    }
    let edge = Edge::configured(settings(&provider, &upstream, "")).start();
    assert!(!edge.log().contains("pipeline logout (open"), "{}", edge.log());
    assert!(edge.log().contains("-> backchannel-logout"), "{}", edge.log());
}

#[test]
fn options_that_make_no_sense() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let check = |from: &str, to: &str| {
        let text = settings(&provider, &upstream, "").text().replace(from, to);
        let ran = Program::check(&text.replace("{port}", "1").replace("{mport}", "2")).run();
        assert_eq!(ran.status, Some(1), "{from} -> {to}: {}", ran.stderr);
        ran
    };
    check(", step = \"jwt\"", "").error_with(&["endpoints.logout", "step"]);
    check("step = \"jwt\"", "step = \"jwd\"").error_with(&["step", "jwd"]);
    check(", client_id = \"edge\"", "").error_with(&["client_id"]);
    check("client_id = \"edge\"", "client_id = \"\"").error_with(&["client_id: is empty"]);
    check("client_id = \"edge\"", "client_id = \"edge\", fallback = \"sid\"")
        .error_with(&["fallback", "sid"]);
    check("client_id = \"edge\"", "client_id = \"edge\", methods = [\"GET\"]")
        .error_with(&["methods"]);
    check("client_id = \"edge\"", "client_id = \"edge\", nonsense = 1").error_with(&["nonsense"]);
    check("[pipelines.logout]\n", "[pipelines.logout]\nbackends = [\"api\"]\nmiddleware = []\n")
        .error_with(&["pipelines.logout", "backends"]);
    check("endpoints = [\"logout\"]", "endpoints = [\"logout\", \"api\"]")
        .error_with(&["pipelines.logout", "endpoint"]);
    check("step = \"jwt\"", "step = \"key\"").error_with(&["step", "key"]);
}

#[test]
fn explain_says_what_answers_and_revokes_nothing() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let text = settings(&provider, &upstream, "").text();
    let text = text.replace("{port}", "8080").replace("{mport}", "9090");
    let ran = Program::with(&["explain", "-c", "harmony.toml", "--request", "POST /logout"])
        .file("harmony.toml", &text)
        .run();
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("pipeline logout, endpoint logout"), "{}", ran.stdout);
    assert!(ran.stdout.contains("200"), "{}", ran.stdout);
}

/// What a token that is revoked is told to `explain`, which reads the log of the process that runs.
#[test]
fn explain_names_a_revoked_token() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = Edge::configured(settings(&provider, &upstream, "")).start();
    let session: Value = json!({ "issuer": provider.url(), "sid": "s-1" });
    assert_eq!(revoke(&edge, &session).status, 201);
    let token = provider.token("k1", 0).claim("sid", "s-1").sign();
    let mut command = crate::support::edge::command(edge.directory());
    let field = format!("Authorization: Bearer {token}");
    command.args(["explain", "-c", "harmony.toml", "--request", "GET /api/x"]);
    let output = command.args(["--header", &field]).output().expect("the binary runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("revoked"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}
