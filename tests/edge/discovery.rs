//! `issuer` alone: its document says where the keys are (OpenID Connect Discovery 1.0, RFC 8414).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::edge::EdgeBuilder;
use crate::support::provider::{DOCUMENT, KEYS, Reply, key_set};
use crate::support::settings::Route;
use crate::support::token::AUDIENCE;
use crate::support::{Edge, Issuer, Program, Provider, Response, Settings, Upstream, eventually};

const SOON: Duration = Duration::from_secs(15);

/// The pipeline `api`, whose step has these lines besides its audience.
fn text_with(lines: &str, upstream: &Upstream) -> Settings {
    let step = format!(
        "[middleware.jwt]\ntype = \"jwt-auth\"\n[middleware.jwt.config]\n\
         audience = \"{AUDIENCE}\"\njwks_cooldown_secs = 1\n{lines}\n"
    );
    Settings::bare()
        .and(&Route::to("api", upstream).prefix("/api").steps(&["jwt"]).text())
        .and(&step)
}

fn with(lines: &str, upstream: &Upstream) -> EdgeBuilder {
    Edge::configured(text_with(lines, upstream))
}

fn alone(provider: &Provider, upstream: &Upstream) -> EdgeBuilder {
    with(&format!("issuer = \"{}\"", provider.url()), upstream)
}

fn get(edge: &Edge, token: &str) -> Response {
    edge.get("/api/x").bearer(token).send()
}

fn status(edge: &Edge, token: &str) -> u16 {
    get(edge, token).status
}

#[track_caller]
fn passes_soon(edge: &Edge, token: &str) {
    eventually("the token passes", SOON, || (status(edge, token) == 200).then_some(()));
}

#[test]
fn with_the_issuer_alone_its_tokens_pass_and_no_others() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = alone(&provider, &upstream).start();
    assert_eq!(status(&edge, &provider.token("k1", 0).sign()), 200);
    for (name, token) in [
        ("another issuer", provider.token("k1", 0).claim("iss", "https://x")),
        ("no issuer", provider.token("k1", 0).without("iss")),
        ("with a slash", provider.token("k1", 0).claim("iss", provider.url() + "/")),
        ("another key", provider.token("k1", 1)),
        ("another audience", provider.token("k1", 0).claim("aud", "x")),
    ] {
        assert_eq!(status(&edge, &token.sign()), 401, "{name}");
    }
    assert_eq!(provider.asked(DOCUMENT).len(), 1);
}

#[test]
fn status_and_metrics_show_issuer_document_and_key_set() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = alone(&provider, &upstream).start();
    let url = provider.url();
    let status = edge.manage("/admin/status").send().json();
    let issuer = &status["issuers"][0];
    for (member, want) in [
        ("issuer", url.clone()),
        ("document", format!("{url}{DOCUMENT}")),
        ("jwks_uri", format!("{url}{KEYS}")),
        ("introspection_endpoint", format!("{url}/introspect")),
    ] {
        assert_eq!(issuer[member], want, "{issuer}");
    }
    assert_eq!((&issuer["fetches"], &issuer["last_error"]), (&json!(1), &Value::Null));
    let set = &status["key_sets"][0];
    assert_eq!((&set["issuer"], &set["url"]), (&json!(url), &json!(format!("{url}{KEYS}"))));
    let metrics = edge.manage("/metrics").send().text();
    for line in [
        format!("harmony_discovery_last_fetch_successful{{issuer=\"{url}\"}} 1"),
        format!("harmony_discovery_fetches_total{{issuer=\"{url}\"}} 1"),
        format!("harmony_jwks_keys{{url=\"{url}{KEYS}\"}} 1"),
    ] {
        assert!(metrics.contains(&line), "{line}");
    }
}

#[test]
fn the_document_of_rfc_8414_is_asked_for_where_the_first_is_not_found() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let issuer = format!("{}/t2/", provider.url());
    let keys = format!("{}{KEYS}", provider.url());
    let document = json!({ "issuer": issuer, "jwks_uri": keys });
    provider.serve("/.well-known/oauth-authorization-server/t2", document);
    let edge = with(&format!("issuer = \"{issuer}\""), &upstream).start();
    let of = |issuer: &str| provider.token("k1", 0).claim("iss", issuer).sign();
    assert_eq!(status(&edge, &of(&issuer)), 200);
    assert_eq!(status(&edge, &of(&provider.url())), 401);
    assert_eq!(provider.asked("/t2/.well-known/openid-configuration").len(), 1);

    // Any other failure is none that a second place could mend.
    provider.answer("/t3/.well-known/openid-configuration", Reply::Status(500));
    let issuer = format!("{}/t3", provider.url());
    let second = "/.well-known/oauth-authorization-server/t3";
    provider.serve(second, json!({ "issuer": issuer, "jwks_uri": keys }));
    let edge = with(&format!("issuer = \"{issuer}\""), &upstream).start();
    assert_eq!(status(&edge, &of(&issuer)), 503);
    assert_eq!(provider.asked(second).len(), 0);
}

#[test]
fn a_document_that_is_not_to_be_believed_is_503_until_it_is() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let (good, trap) = (provider.document(), Provider::start());
    let token = provider.token("k1", 0).sign();
    let change = |member: &str, value: &str| {
        let mut document = good.clone();
        document[member] = json!(value);
        Reply::Json(document)
    };
    for (name, reply, said) in [
        ("another issuer", change("issuer", "https://other.example"), "not the configured one"),
        ("a slash more", change("issuer", &(provider.url() + "/")), "not the configured one"),
        ("any tenant", change("issuer", "{tenantid}"), "list those that may pass in `tenants`"),
        ("keys over http", change("jwks_uri", "http://192.0.2.1/k"), "`jwks_uri` is not https"),
        ("no URL", change("jwks_uri", "keys"), "`jwks_uri` is not a URL"),
        (
            "introspection over http",
            change("introspection_endpoint", "http://192.0.2.1/i"),
            "`introspection_endpoint` is not https",
        ),
        ("no keys", Reply::Json(json!({ "issuer": provider.url() })), "names no `jwks_uri`"),
        ("no object", Reply::Json(json!([])), "not a JSON object"),
        ("a redirect", Reply::Redirect(format!("{}{DOCUMENT}", trap.url())), "redirect"),
        ("an error", Reply::Status(500), "the status is 500"),
        ("nowhere", Reply::Status(404), "the status is 404"),
    ] {
        provider.answer(DOCUMENT, reply);
        let edge = alone(&provider, &upstream).start();
        let answer = get(&edge, &token);
        let told = (answer.status, answer.head.has("retry-after"));
        assert_eq!(told, (503, true), "{name}: {}", edge.log());
        eventually(&format!("{name}: {said}"), SOON, || edge.log().contains(said).then_some(()));
        provider.serve(DOCUMENT, good.clone());
        passes_soon(&edge, &token);
    }
    assert_eq!(trap.asked(DOCUMENT).len(), 0, "nothing was followed to another host");
}

#[test]
fn an_issuer_that_is_down_at_the_start_is_503_and_well_by_itself() {
    let (mut provider, upstream) = (Provider::start(), Upstream::start());
    let token = provider.token("k1", 0).sign();
    provider.stop();
    let edge = alone(&provider, &upstream).start();
    let answer = get(&edge, &token);
    assert_eq!((answer.status, answer.head.has("retry-after")), (503, true));
    let issuer = edge.manage("/admin/status").send().json()["issuers"][0].clone();
    assert!(issuer["last_error"].is_string() && issuer["age_secs"].is_null(), "{issuer}");
    provider.restart();
    passes_soon(&edge, &token);
}

#[test]
fn what_was_discovered_serves_after_a_restart_without_the_issuer() {
    let (mut provider, upstream) = (Provider::start(), Upstream::start());
    let token = provider.token("k1", 0).sign();
    let mut edge = alone(&provider, &upstream).start();
    assert_eq!(status(&edge, &token), 200);
    eventually("document and keys are on the disk", SOON, || {
        let files = std::fs::read_dir(edge.state().join("jwks")).ok()?.flatten();
        let whole = files.filter(|file| file.path().extension().is_some_and(|end| end == "json"));
        (whole.count() == 2).then_some(())
    });
    provider.stop();
    edge.restart();
    assert_eq!(status(&edge, &token), 200);
    assert_eq!(status(&edge, &provider.token("k1", 0).claim("iss", "x").sign()), 401);
}

#[test]
fn after_a_rotation_no_valid_token_is_refused() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = alone(&provider, &upstream).start();
    let old = provider.token("k1", 0).sign();
    assert_eq!(status(&edge, &old), 200);
    provider.serve(KEYS, key_set("k2", 1));
    assert_eq!(status(&edge, &provider.token("k2", 1).sign()), 200);
    assert_eq!(status(&edge, &old), 401, "its key is gone, though its verdict was cached");
}

#[test]
fn a_new_place_of_the_keys_is_followed() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = alone(&provider, &upstream).start();
    let old = provider.token("k1", 0).sign();
    assert_eq!(status(&edge, &old), 200);
    let mut document = provider.document();
    document["jwks_uri"] = json!(format!("{}/moved", provider.url()));
    provider.serve("/moved", key_set("k2", 1));
    provider.serve(DOCUMENT, document.clone());
    // By an unknown key, without anybody's order.
    assert_eq!(status(&edge, &provider.token("k2", 1).sign()), 200);
    assert_eq!(status(&edge, &old), 401);

    // By an order.
    document["jwks_uri"] = json!(format!("{}/again", provider.url()));
    provider.serve("/again", key_set("k2", 2));
    provider.serve(DOCUMENT, document);
    let told = edge.steer("POST", "/admin/keys/refresh").send();
    assert_eq!(told.status, 200);
    assert_eq!(told.json()["key_sets"][0]["url"], format!("{}/again", provider.url()));
    assert_eq!(status(&edge, &provider.token("k2", 1).sign()), 401);
    assert_eq!(status(&edge, &provider.token("k2", 2).sign()), 200);
}

#[test]
fn keys_that_moved_to_where_there_are_none_leave_the_old_ones_in_service() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let edge = alone(&provider, &upstream).start();
    let token = provider.token("k1", 0).sign();
    let mut document = provider.document();
    document["jwks_uri"] = json!(format!("{}/nowhere", provider.url()));
    provider.serve(DOCUMENT, document);
    assert_eq!(edge.steer("POST", "/admin/keys/refresh").send().status, 502);
    assert_eq!(status(&edge, &token), 200);
}

#[test]
fn without_its_document_the_last_one_goes_on_leading_to_new_keys() {
    for reply in [Reply::Status(500), Reply::Silence, Reply::Json(json!({ "issuer": "x" }))] {
        let (provider, upstream) = (Provider::start(), Upstream::start());
        let edge = alone(&provider, &upstream).start();
        assert_eq!(status(&edge, &provider.token("k1", 0).sign()), 200);
        provider.answer(DOCUMENT, reply.clone());
        provider.serve(KEYS, key_set("k2", 1));
        let begun = Instant::now();
        assert_eq!(status(&edge, &provider.token("k2", 1).sign()), 200, "{reply:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{reply:?}: {:?}", begun.elapsed());
    }
}

#[test]
fn each_issuer_has_its_own_document_and_its_own_keys() {
    let (one, mut two) = (Provider::with_key("k", 0), Provider::with_key("k", 1));
    let upstream = Upstream::start();
    let edge = with(&format!("issuer = [{:?}, {:?}]", one.url(), two.url()), &upstream).start();
    assert_eq!(status(&edge, &one.token("k", 0).sign()), 200);
    assert_eq!(status(&edge, &two.token("k", 1).sign()), 200);
    assert_eq!(status(&edge, &one.token("k", 1).sign()), 401, "signed with the other's key");
    assert_eq!(status(&edge, &two.token("k", 0).sign()), 401, "signed with the other's key");
    assert_eq!(status(&edge, &one.token("k", 0).claim("iss", "https://x").sign()), 401);

    two.stop();
    let edge = with(&format!("issuer = [{:?}, {:?}]", two.url(), one.url()), &upstream).start();
    assert_eq!(status(&edge, &one.token("k", 0).sign()), 200, "the other one is down");
    assert_eq!(status(&edge, &two.token("k", 1).sign()), 503);
    two.restart();
    passes_soon(&edge, &two.token("k", 1).sign());
}

#[test]
fn a_document_of_all_tenants_lets_those_in_that_are_listed() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let url = provider.url();
    let document = json!({
        "issuer": format!("{url}/{{tenantid}}/v2.0"),
        "jwks_uri": format!("{url}{KEYS}"),
    });
    for place in ["common", "t-1", "t-2"] {
        provider.serve(&format!("/{place}/v2.0{DOCUMENT}"), document.clone());
    }
    for (issuer, passing) in
        [("common", &["t-1", "t-2"][..]), ("{tenantid}", &["t-1", "t-2"]), ("t-1", &["t-1"])]
    {
        let lines = format!("issuer = \"{url}/{issuer}/v2.0\"\ntenants = [\"t-1\", \"t-2\"]");
        let edge = with(&lines, &upstream).start();
        for tenant in ["t-1", "t-2", "t-3", "common", "{tenantid}"] {
            let token = provider.token("k1", 0).claim("iss", format!("{url}/{tenant}/v2.0"));
            let want = if passing.contains(&tenant) { 200 } else { 401 };
            assert_eq!(status(&edge, &token.sign()), want, "{issuer}: {tenant}");
        }
    }
}

#[test]
fn tokens_carry_the_access_token_issuer_where_there_is_one() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let mut document = provider.document();
    let other = "http://adfs.example.com/adfs/services/trust";
    document["access_token_issuer"] = json!(other);
    provider.serve(DOCUMENT, document);
    let second = Issuer::start();
    let token = provider.token("k1", 0).claim("iss", other).sign();
    let plain = format!("issuer = {:?}", provider.url());
    let several = format!(
        "issuers = [{{ issuer = \"https://s.example\", jwks_url = {:?} }}, {{ issuer = {:?} }}]",
        second.url(),
        provider.url()
    );
    for lines in [plain, several] {
        let edge = with(&lines, &upstream).start();
        assert_eq!(status(&edge, &token), 200, "{lines}");
        assert_eq!(status(&edge, &provider.token("k1", 0).sign()), 401, "{lines}");
    }
}

#[test]
fn check_fetches_nothing_and_explain_says_why_there_are_no_keys() {
    let upstream = Upstream::start();
    let provider = Provider::start();
    let text = text_with(&format!("issuer = \"{}\"", provider.url()), &upstream).text();
    let text = text.replace("{port}", "18080").replace("{mport}", "19090");
    let ran = Program::check(&text).run();
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert_eq!(provider.asked(DOCUMENT).len(), 0);

    let mut document = provider.document();
    document["issuer"] = json!("https://other.example");
    provider.serve(DOCUMENT, document);
    let token = provider.token("k1", 0).sign();
    let arguments = ["explain", "-c", "harmony.toml", "--request", "GET /api/x", "--token-stdin"];
    let ran = Program::with(&arguments).file("harmony.toml", &text).stdin(&token).run();
    for part in ["rejected: no_keys", "\"https://other.example\", which is not the configured one"]
    {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
}

#[test]
fn an_issuer_that_is_silent_holds_up_neither_the_start_nor_other_tokens() {
    let (provider, issuer) = (Provider::start(), Issuer::start());
    let upstream = Upstream::start();
    provider.answer(DOCUMENT, Reply::Silence);
    let lines = format!(
        "issuers = [{{ issuer = {:?} }}, {{ issuer = \"https://auth.example.com\", \
         jwks_url = {:?} }}]",
        provider.url(),
        issuer.url()
    );
    let edge = with(&lines, &upstream).start_listening();
    let begun = Instant::now();
    assert_eq!(status(&edge, &issuer.token().sign()), 200);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(status(&edge, &provider.token("k1", 0).sign()), 503);
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[test]
fn the_keys_may_be_on_another_host() {
    let (provider, upstream, keys) = (Provider::start(), Upstream::start(), Issuer::start());
    let mut document = provider.document();
    document["jwks_uri"] = json!(keys.url());
    provider.serve(DOCUMENT, document);
    let edge = alone(&provider, &upstream).start();
    let token = keys.token().claim("iss", provider.url()).sign();
    assert_eq!(status(&edge, &token), 200);
    assert_eq!(provider.asked(KEYS).len(), 0);
}
