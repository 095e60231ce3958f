//! A browser in front of the edge: fetches, server-sent events, a WebSocket and 150 cookies, over
//! HTTP/2 as browsers speak it (with TLS) and over HTTP/1.1; and pages of other origins.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::running::skip;
use crate::support::authority::Authority;
use crate::support::poll::becomes_true;
use crate::support::ports::Port;
use crate::support::settings::Route;
use crate::support::upstream::Exchange;
use crate::support::{Edge, Issuer, Settings, Upstream};

/// Does everything, and says how it went.
const PAGE: &str = r#"<!doctype html><script>
const found = {};
const events = () => new Promise(done => {
  const source = new EventSource("/api/events"), got = [];
  source.onmessage = event => {
    got.push(event.data);
    if (got.length === 3) { source.close(); done(got.join()); }
  };
});
const socket = () => new Promise((done, fail) => {
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/api/socket");
  socket.onopen = () => socket.send("over there");
  socket.onmessage = event => { socket.close(); done(event.data); };
  socket.onerror = () => fail("the socket failed");
});
const run = async () => {
  for (let number = 0; number < 150; number++) document.cookie = `c${number}=${number}; path=/`;
  const body = "x".repeat(300000);
  found.echo = (await (await fetch("/api/echo", { method: "POST", body })).text()) === body;
  found.cookies = await (await fetch("/api/cookies")).text();
  found.events = await events();
  found.socket = await socket();
  found.protocol = performance.getEntriesByType("navigation")[0].nextHopProtocol;
};
run().catch(error => found.error = String(error))
  .then(() => fetch("/api/found", { method: "POST", body: JSON.stringify(found) }));
</script>"#;

fn serve(exchange: &mut Exchange, found: &Mutex<Option<String>>) {
    match exchange.target().to_owned().as_str() {
        "/page" => exchange.answer(200, &[("Content-Type", "text/html")], PAGE.as_bytes()),
        "/echo" => {
            let body = exchange.read_body().to_vec();
            exchange.answer(200, &[], &body);
        }
        "/cookies" => {
            // One field, whatever the browser made of it: a second one would be a failure here.
            let count = exchange.field("cookie").map_or(0, |cookies| cookies.split("; ").count());
            exchange.answer(200, &[], count.to_string().as_bytes());
        }
        "/events" => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                        Transfer-Encoding: chunked\r\n\r\n";
            exchange.write(head.as_bytes());
            for number in 0..3 {
                exchange.chunk(format!("data: {number}\n\n").as_bytes());
                exchange.pause(Duration::from_millis(50));
            }
            // Until the browser has what it wants.
            let _ = exchange.read_raw();
            exchange.close();
        }
        "/socket" => {
            let key = exchange.field("sec-websocket-key").unwrap_or_default().to_owned();
            let key = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
            let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
            let accept = base64::engine::general_purpose::STANDARD.encode(accept);
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            exchange.write(head.as_bytes());
            // One short frame of text under its mask, unmasked for the way back.
            let frame = exchange.read_raw().unwrap_or_default();
            if let [0x81, length, a, b, c, d, text @ ..] = &frame[..] {
                let mask = [a, b, c, d];
                let text: Vec<u8> = text
                    .iter()
                    .zip(mask.iter().cycle())
                    .map(|(byte, mask)| byte ^ **mask)
                    .collect();
                exchange.write(&[&[0x81, length & 0x7f], &text[..]].concat());
            }
            let _ = exchange.read_raw();
            exchange.close();
        }
        "/found" => {
            let body = exchange.read_body().to_vec();
            *found.lock().unwrap() = Some(String::from_utf8_lossy(&body).into_owned());
            exchange.answer(200, &[], b"");
        }
        _ => exchange.answer(404, &[], b""),
    }
}

/// A browser that is ended with the test.
struct Browser(Child, #[allow(dead_code, reason = "removed with it")] tempfile::TempDir);

impl Browser {
    fn open(url: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let started = Command::new("chromium")
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-extensions",
                "--disable-dev-shm-usage",
                "--ignore-certificate-errors",
                "--password-store=basic",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            ])
            .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
            .arg(url)
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(process) => Some(Self(process, directory)),
            Err(_) => skip("chromium"),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_page_gets_all_that_browsers_ask_for() {
    let found = Arc::<Mutex<Option<String>>>::default();
    let upstream = Upstream::with({
        let found = Arc::clone(&found);
        move |exchange| serve(exchange, &found)
    });
    let (authority, tls) = (Authority::new("the test's authority"), Port::claim());
    let pair = authority.server(&["localhost"]);
    let edge = Edge::configured(Settings::open(&upstream))
        .file("cert.pem", &pair.certificate)
        .file("key.pem", &pair.key)
        .and(&format!(
            "[network.tls.http]\nbind_address = \"127.0.0.1\"\nbind_port = {tls}\n\
             cert_path = \"cert.pem\"\nkey_path = \"key.pem\"\n\
             [pipelines.secure]\nnetworks = [\"tls\"]\nendpoints = [\"secure\"]\n\
             backends = [\"app\"]\nmiddleware = []\n\
             [endpoints.secure]\nservice = \"http\"\noptions = {{ path_prefix = \"/api\" }}\n"
        ))
        .quiet()
        .start();
    for (origin, protocol) in [
        (format!("https://localhost:{tls}"), "h2"),
        (format!("http://127.0.0.1:{}", edge.port()), "http/1.1"),
    ] {
        found.lock().unwrap().take();
        let Some(_browser) = Browser::open(&format!("{origin}/api/page")) else { return };
        becomes_true(Duration::from_secs(40), || found.lock().unwrap().is_some());
        let found = found.lock().unwrap().clone().unwrap_or_default();
        let found: serde_json::Value = serde_json::from_str(&found).unwrap_or_default();
        let expected = serde_json::json!({
            "echo": true, "cookies": "150", "events": "0,1,2", "socket": "over there",
            "protocol": protocol,
        });
        assert_eq!(found, expected, "{origin}");
    }
}

/// Asks an edge at another origin, in every way that a page can, and says what it could read.
const OTHER_ORIGIN: &str = r#"<!doctype html><script>
const edge = "http://127.0.0.1:EDGE/api", found = {};
const ask = async (path, options) => {
  try {
    const answer = await fetch(edge + path, options);
    return `${answer.status} ${(await answer.text()).trim()} ${answer.headers.get("X-Total")}`;
  } catch (error) {
    return "blocked";
  }
};
const run = async () => {
  document.cookie = "session=1; path=/";
  const token = { Authorization: "Bearer TOKEN" };
  found.simple = await ask("/simple?token=TOKEN");
  found.preflighted = await ask("/preflighted", { method: "PUT", headers: token, body: "x" });
  found.credentialed = await ask("/credentialed", { headers: token, credentials: "include" });
  found.refused = await ask("/refused", { headers: { Authorization: "Bearer a.b.c" } });
  found.method = await ask("/method", { method: "DELETE", headers: token });
  found.header = await ask("/header", { headers: { ...token, "X-Other": "1" } });
};
run().catch(error => found.error = String(error))
  .then(() => fetch("/found", { method: "POST", body: JSON.stringify(found) }));
</script>"#;

#[test]
fn a_page_of_another_origin_reads_what_it_may() {
    let found = Arc::<Mutex<Option<String>>>::default();
    let pages = Arc::<Mutex<String>>::default();
    let page_server = Upstream::with({
        let (found, pages) = (Arc::clone(&found), Arc::clone(&pages));
        move |exchange| match exchange.target() {
            "/found" => {
                let body = exchange.read_body().to_vec();
                *found.lock().unwrap() = Some(String::from_utf8_lossy(&body).into_owned());
                exchange.answer(200, &[], b"");
            }
            _ => {
                let page = pages.lock().unwrap().clone();
                exchange.answer(200, &[("Content-Type", "text/html")], page.as_bytes());
            }
        }
    });
    // It knows better, and is not heard.
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        let cookie = exchange.field("cookie").unwrap_or("-").to_owned();
        let body = format!("{} {cookie}", exchange.target().split('?').next().unwrap_or_default());
        let fields = [("Access-Control-Allow-Origin", "*"), ("X-Total", "7")];
        exchange.answer(200, &fields, body.as_bytes());
    });
    let issuer = Issuer::start();
    let (good, evil) = (
        format!("http://127.0.0.1:{}", page_server.port()),
        format!("http://localhost:{}", page_server.port()),
    );
    let jwt = |name: &str, place: &str| {
        format!(
            "[middleware.{name}]\ntype = \"jwt-auth\"\noptional = {}\nconfig = {{ jwks_url = \
             \"{}\", issuer = \"https://auth.example.com\", audience = \"harmony-api\"{place} }}\n",
            place.is_empty(),
            issuer.url()
        )
    };
    let tables = Route::to("api", &upstream).prefix("/api").steps(&["cors", "jwt", "query"]).text()
        + &jwt("jwt", "")
        + &jwt("query", ", token_query = \"token\"")
        + &format!(
            "[middleware.cors]\ntype = \"cors\"\n[middleware.cors.config]\nallow_origins = \
             [\"{good}\"]\nallow_methods = [\"GET\", \"PUT\"]\nallow_headers = \
             [\"authorization\"]\nexpose_headers = [\"X-Total\"]\nallow_credentials = true\n"
        );
    let edge = Edge::configured(Settings::bare().and(&tables)).quiet().start();
    *pages.lock().unwrap() = OTHER_ORIGIN
        .replace("EDGE", &edge.port().to_string())
        .replace("TOKEN", &issuer.token().sign());
    let unauthorized = "401 {\"error\":\"Unauthorized\",\"message\":\"a valid credential is \
                        required\"} null";
    let blocked = "blocked";
    for (origin, expected, seen) in [
        (
            good,
            serde_json::json!({
                "simple": "200 /simple - 7",
                "preflighted": "200 /preflighted - 7",
                "credentialed": "200 /credentialed session=1 7",
                "refused": unauthorized,
                "method": blocked,
                "header": blocked,
            }),
            vec!["GET /simple", "PUT /preflighted", "GET /credentialed"],
        ),
        (
            evil,
            serde_json::json!({
                "simple": blocked, "preflighted": blocked, "credentialed": blocked,
                "refused": blocked, "method": blocked, "header": blocked,
            }),
            // What needs no preflight is sent, and only its answer is kept from the page.
            vec!["GET /simple"],
        ),
    ] {
        found.lock().unwrap().take();
        upstream.clear();
        let Some(_browser) = Browser::open(&format!("{origin}/page")) else { return };
        becomes_true(Duration::from_secs(40), || found.lock().unwrap().is_some());
        let found = found.lock().unwrap().clone().unwrap_or_default();
        let found: serde_json::Value = serde_json::from_str(&found).unwrap_or_default();
        assert_eq!(found, expected, "{origin}");
        let requests = upstream.requests();
        let lines = requests.iter().map(|request| {
            let path = request.target().split('?').next().unwrap_or_default();
            format!("{} {path}", request.method())
        });
        assert_eq!(lines.collect::<Vec<_>>(), seen, "{origin}");
    }
}
