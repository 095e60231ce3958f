//! A browser in front of the edge: fetches, server-sent events, a WebSocket and 150 cookies, over
//! HTTP/2 as browsers speak it (with TLS) and over HTTP/1.1.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::running::skip;
use crate::support::authority::Authority;
use crate::support::poll::becomes_true;
use crate::support::ports::Port;
use crate::support::upstream::Exchange;
use crate::support::{Edge, Settings, Upstream};

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
