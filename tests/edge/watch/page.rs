//! The status page: in chromium, against the real binary. What it shows, that it asks nobody else,
//! and that nothing in the configuration becomes markup.

use std::fs;
use std::process::Command;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::has;
use crate::oidc_provider::packages;
use crate::support::request::Request;
use crate::support::{Edge, Issuer, Settings, Upstream, poll};

const CHROMIUM: &str = "chromium";

/// What the browser made of a page.
struct Seen {
    document: String,
    /// What scripts and policies wrote to the console.
    console: Vec<String>,
    /// Every address that the page asked for; the browser's own business is not the page's.
    asked: Vec<String>,
}

fn look_at(url: &str) -> Seen {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let output = Command::new(CHROMIUM)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--disable-sync",
            "--disable-default-apps",
            "--disable-extensions",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--v=0",
        ])
        .args([
            format!("--user-data-dir={}", path("profile")),
            format!("--log-net-log={}", path("net.json")),
            "--password-store=basic".to_owned(),
        ])
        // Nothing but loopback has an address.
        .args([
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--virtual-time-budget=7000",
            "--dump-dom",
            url,
        ])
        .env("HOME", directory.path())
        .output()
        .expect("chromium");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    let net: Value = serde_json::from_str(&fs::read_to_string(path("net.json")).unwrap()).unwrap();
    let start = &net["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"];
    let events = net["events"].as_array().unwrap().iter().filter(|event| &event["type"] == start);
    Seen {
        document: String::from_utf8_lossy(&output.stdout).into_owned(),
        console: log.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect(),
        asked: events
            .filter(|event| {
                event["params"]["initiator"]
                    .as_str()
                    .is_some_and(|initiator| initiator != "not an origin")
            })
            .filter_map(|event| Some(event["params"]["url"].as_str()?.to_owned()))
            .collect(),
    }
}

impl Seen {
    #[track_caller]
    fn assert_quiet(&self, origin: &str) {
        assert!(self.console.is_empty(), "{:#?}", self.console);
        assert!(self.asked.len() > 1, "it asks again: {:?}", self.asked);
        for url in &self.asked {
            let path = url.strip_prefix(origin);
            assert!(matches!(path, Some("/admin/status" | "/admin/status/history")), "{url}");
        }
    }

    /// The text between tags, one piece a line.
    fn text(&self) -> String {
        let body = self.document.split("<main>").nth(1).unwrap_or_default();
        let body = body.split("<script>").next().unwrap_or_default();
        body.split('<')
            .filter_map(|part| Some(part.split_once('>')?.1.trim()))
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[track_caller]
    fn assert_shows(&self, text: &str) {
        assert!(self.text().contains(text), "no {text:?} in\n{}", self.text());
    }
}

#[test]
fn it_shows_what_goes_on_and_what_is_wrong() {
    if !has(CHROMIUM, "--version") {
        return;
    }
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let foul = r#"<script>document.title = "taken"</script><img src=x onerror="document.title = 'taken'">"#;
    let open = "[pipelines.open-door]\nnetworks = [\"public\"]\nendpoints = [\"door\"]\n\
                [endpoints.door]\nservice = \"echo\"\n[endpoints.door.options]\n\
                path_prefix = \"/door\"\n";
    let text = Settings::with_jwt(&issuer, &upstream).and(open).text().replacen(
        "[pipelines.api]",
        &format!("[pipelines.api]\ndescription = '''{foul}'''"),
        1,
    );
    let edge = Edge::configured(Settings::of_text(&text)).start();
    let origin = edge.management_origin();
    let token = issuer.token().sign();
    for _ in 0..7 {
        assert_eq!(edge.get("/api/x").bearer(&token).send().status, 200);
    }
    for _ in 0..5 {
        assert_eq!(edge.get("/api/x").send().status, 401);
    }

    let seen = look_at(&format!("{origin}/admin/"));
    seen.assert_quiet(&origin);
    for text in [
        "All well",
        "api",
        "/api",
        "2xx 7",
        "4xx 5",
        "open-door",
        "OPEN",
        "missing",
        "p50",
        "p99",
        issuer.url().as_str(),
        "jwt",
        "app",
    ] {
        seen.assert_shows(text);
    }
    seen.assert_shows("&lt;script&gt;document.title");
    assert!(seen.document.contains("<title>edge-1") && !seen.document.contains("taken</title>"));

    edge.rewrite(|text| text.replace("audience", "audiance"));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 422);
    // Without the last slash it is the same page.
    let seen = look_at(&format!("{origin}/admin"));
    seen.assert_quiet(&origin);
    for text in ["One thing needs you", "The last reload was refused", "audiance", " refused"] {
        seen.assert_shows(text);
    }
}

#[test]
fn it_shows_each_upstream_and_which_of_them_is_down() {
    if !has(CHROMIUM, "--version") {
        return;
    }
    let (good, dead) = (Upstream::start(), crate::support::ports::Port::claim());
    let urls = [good.port(), dead.number()].map(|port| format!("http://127.0.0.1:{port}"));
    let tables = format!(
        "[pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\nmiddleware = []\n\
         backends = [\"app\"]\n[endpoints.e]\nservice = \"http\"\n\
         [backends.app]\nservice = \"http\"\nupstreams = {urls:?}\neject_secs = 600\n"
    );
    let edge = Edge::configured(Settings::bare().and(&tables)).start();
    for _ in 0..8 {
        assert_eq!(edge.get("/x").send().status, 200);
    }
    let origin = edge.management_origin();
    let seen = look_at(&format!("{origin}/admin/"));
    seen.assert_quiet(&origin);
    seen.assert_shows(&format!(
        "Upstream app is down at http://127.0.0.1:{dead} (ejected: connection refused)."
    ));
    for text in [format!("127.0.0.1:{dead} ejected"), format!("127.0.0.1:{} healthy", good.port())]
    {
        seen.assert_shows(&text);
    }

    // Whoever drains an upstream may stop it: that needs nobody.
    let drain = |port: u16| {
        let named = serde_json::json!({
            "backend": "app", "upstream": format!("127.0.0.1:{port}"),
        });
        let request = edge.steer("POST", "/admin/upstreams/drain");
        let request = request.header("Content-Type", "application/json").body(named.to_string());
        assert_eq!(request.send().status, 200);
    };
    drain(dead.number());
    let seen = look_at(&format!("{origin}/admin/"));
    seen.assert_shows(&format!("127.0.0.1:{dead} drained"));
    assert!(!seen.text().contains("is down at"), "{}", seen.text());
    drain(good.port());
    let seen = look_at(&format!("{origin}/admin/"));
    seen.assert_shows("Upstream app gets no requests: all of it is drained.");
}

#[test]
fn it_shows_spans_and_proofs() {
    if !has(CHROMIUM, "--version") {
        return;
    }
    let (upstream, receiver) = (Upstream::start(), Upstream::start());
    let nobody = crate::support::ports::Port::claim();
    let status = |edge: &Edge| edge.manage("/admin/status").send().json();
    let tracing = |port: u16| format!("[tracing]\nendpoint = \"http://127.0.0.1:{port}\"\n");
    for (port, result, shown) in
        [(receiver.port(), "exported", "3 exported, "), (nobody.number(), "failed", "3 not taken")]
    {
        let settings = Settings::open(&upstream).and(&tracing(port));
        let edge = Edge::configured(settings).start();
        assert_eq!(status(&edge)["spans"][result], 0);
        for _ in 0..3 {
            assert_eq!(edge.get("/api/x").send().status, 200);
        }
        let done = || status(&edge)["spans"][result] == 3;
        assert!(poll::becomes_true(Duration::from_secs(30), done), "{}", status(&edge)["spans"]);
        let seen = look_at(&format!("{}/admin/", edge.management_origin()));
        seen.assert_shows(shown);
        seen.assert_shows("0 remembered, 0 replayed, 0 without room");
        let lost = seen.text().contains("3 spans did not reach the receiver of traces");
        assert_eq!(lost, result == "failed", "{}", seen.text());
    }
    let edge = Edge::open(&upstream).start();
    assert!(status(&edge)["spans"].is_null());
}

#[test]
fn it_tells_of_the_minute_before_it_was_opened() {
    if !has(CHROMIUM, "--version") {
        return;
    }
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let history = || edge.manage("/admin/status/history").send().json()["samples"].clone();
    let sampled = || history().as_array().is_some_and(|samples| !samples.is_empty());
    assert!(poll::becomes_true(Duration::from_secs(10), sampled));
    for _ in 0..27 {
        assert_eq!(edge.get("/api/x").send().status, 401);
    }
    assert_eq!(edge.get("/api/x").bearer(&issuer.token().sign()).send().status, 200);

    let origin = edge.management_origin();
    let seen = look_at(&format!("{origin}/admin/"));
    seen.assert_quiet(&origin);
    seen.assert_shows(
        "Pipeline api refused or failed 96 % of the last minute's 28 requests, mostly missing.",
    );
    let samples = history();
    let first = &samples[0];
    assert_eq!(first["pipelines"][0]["name"], "api");
    assert_eq!(first["pipelines"][0]["codes"], serde_json::json!({}));
    assert_eq!(edge.manage("/admin/status").send().json()["key_sets"][0]["pipelines"][0], "api");
}

/// What axe finds in the page: served anew without its policy, with axe in it.
fn barriers(edge: &Edge, axe: &str) -> String {
    let management = edge.management_port();
    let axe = axe.to_owned();
    let front = Upstream::with(move |exchange| {
        let target = exchange.target().to_owned();
        let answer = Request::new(management, "GET", &target).send();
        let body = answer.text();
        if target != "/admin/" {
            return exchange.answer(200, &[("Content-Type", "application/json")], body.as_bytes());
        }
        let run = "setTimeout(() => axe.run().then((found) => { const list = document\
                   .createElement('pre'); list.id = 'barriers'; list.textContent = found\
                   .violations.map((one) => one.id + ' ' + one.nodes.map((node) => node.html))\
                   .join('\\n'); document.body.append(list); }), 3000);";
        let page = body.replace("</body>", &format!("<script>{axe}\n{run}</script></body>"));
        exchange.answer(200, &[("Content-Type", "text/html; charset=utf-8")], page.as_bytes());
    });
    let seen = look_at(&format!("http://127.0.0.1:{}/admin/", front.port()));
    let found = seen.document.split("<pre id=\"barriers\">").nth(1).expect("axe has run");
    found.split("</pre>").next().unwrap_or_default().to_owned()
}

#[test]
fn axe_finds_no_barrier_in_it() {
    if !has(CHROMIUM, "--version") {
        return;
    }
    let path = packages().join("axe-core/axe.min.js");
    let Ok(axe) = fs::read_to_string(path) else {
        eprintln!("skipped: axe-core is not installed");
        return;
    };
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    let open = "[pipelines.open-door]\nnetworks = [\"public\"]\nendpoints = [\"door\"]\n\
                [endpoints.door]\nservice = \"echo\"\n[endpoints.door.options]\n\
                path_prefix = \"/door\"\n";
    let edge = Edge::configured(Settings::with_jwt(&issuer, &upstream).and(open)).start();
    for _ in 0..30 {
        assert_eq!(edge.get("/api/x").send().status, 401);
    }
    issuer.stop();
    assert_eq!(edge.steer("POST", "/admin/keys/refresh").send().status, 502);
    assert_eq!(barriers(&edge, &axe), "");
}

#[test]
fn with_a_token_it_asks_for_it_and_shows_nothing_before() {
    let hash: String =
        digest(&SHA256, b"open sesame").as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let text = Settings::bare()
        .text()
        .replace("[management]", &format!("[management]\ntoken_hash = \"sha256:{hash}\""));
    let edge = Edge::configured(Settings::of_text(&text)).start();
    let page = edge.manage("/admin/").send();
    assert_eq!(
        (page.status, page.head.field("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert_eq!(edge.manage("/admin/status").send().status, 401);
    assert_eq!(
        edge.manage("/admin/status").header("X-Management-Token", "open sesame").send().status,
        200
    );
    for (path, expected) in [("/metrics", 200), ("/admin/metrics", 200), ("/admin/status", 401)] {
        let answer = edge.manage(path).header("Authorization", "Bearer open sesame").send();
        assert_eq!(answer.status, expected, "{path}");
    }
    let refused = edge.manage("/metrics").header("Authorization", "Bearer wrong").send();
    assert_eq!(
        (refused.status, refused.head.fields("www-authenticate")),
        (401, vec!["Management-Token", "Bearer realm=\"management\""])
    );
    if !has(CHROMIUM, "--version") {
        return;
    }
    let seen = look_at(&format!("{}/admin/", edge.management_origin()));
    assert!(seen.document.contains(r#"<form id="ask">"#), "{}", seen.document);
    assert!(!seen.document.contains("edge-1"), "{}", seen.document);
}

#[test]
fn it_lets_no_other_page_near() {
    let edge = Edge::configured(Settings::bare()).start();
    let page = edge.manage("/admin/").send();
    let policy = page.head.field("content-security-policy").expect("a policy");
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'none'",
    ] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(
        (page.head.field("x-frame-options"), page.head.field("cache-control")),
        (Some("DENY"), Some("no-store"))
    );
    for path in ["/admin/", "/admin", "/admin/status"] {
        let ask = || edge.manage(path);
        assert_eq!(ask().host("evil.example").send().status, 403, "{path}");
        assert_eq!(ask().header("Origin", "http://evil.example").send().status, 403, "{path}");
        assert_eq!(ask().header("Sec-Fetch-Site", "cross-site").send().status, 403, "{path}");
        // What the page itself asks with.
        assert_eq!(ask().header("Sec-Fetch-Site", "same-origin").send().status, 200, "{path}");
        assert_eq!(edge.steer("POST", path).send().status, 405, "{path}");
    }
    assert_eq!(edge.get("/admin/").send().status, 404, "not on the public network");
}

#[test]
fn the_status_has_what_the_page_shows_and_no_secret() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let status = edge.manage("/admin/status").send().json();
    let pipeline = &status["pipelines"][0];
    assert_eq!((pipeline["name"].as_str(), pipeline["open"].as_bool()), (Some("api"), Some(false)));
    assert_eq!(pipeline["steps"][0]["type"], "jwt-auth");
    assert_eq!(pipeline["endpoints"][0]["path_prefix"], "/api");
    assert_eq!(pipeline["backends"][0]["target"], format!("http://127.0.0.1:{}", upstream.port()));
    assert_eq!(
        (status["config"]["generation"].as_u64(), status["config"]["last_error"].is_null()),
        (Some(1), true)
    );
    assert_eq!(
        (status["key_sets"][0]["url"].as_str(), status["key_sets"][0]["keys"].as_u64()),
        (Some(issuer.url().as_str()), Some(1))
    );
    assert_eq!(
        status["duration_bounds"].as_array().unwrap().len() + 1,
        pipeline["duration"]["cumulative"].as_array().unwrap().len()
    );
}
