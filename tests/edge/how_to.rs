//! The pages of `docs/how-to`: the configuration of each loads, and does what its page says.

use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

use crate::grpc::raw;
use crate::support::authority::Authority;
use crate::support::ports::Port;
use crate::support::request::Request;
use crate::support::tls::Offer;
use crate::support::upstream::Exchange;
use crate::support::{Client, Edge, Issuer, Program, Provider, Upstream};

const KEY: &str = "a-key-of-the-partner";
/// `correct horse`.
const USERS: &str = "alice:$2b$10$8YGsiF6uVGyQ355X1c06Bu7/GCpimf.nB3jtWf7G9w.9sazxm19ii\n";

type Try = fn(&Edge, &Around);

/// What each page is tried with.
const PAGES: [(&str, Try); 15] = [
    ("jwt-by-key-set", |edge, around| {
        around.only_with_token(edge);
        assert_eq!(around.app.last().target(), "/orders");
        assert_eq!(around.app.last().head.field("x-auth-subject"), Some("alice"));
    }),
    ("jwt-or-key", |edge, around| {
        around.only_with_token(edge);
        let with_key = || edge.get("/api/orders").header("X-API-Key", KEY);
        assert_eq!(with_key().send().status, 200);
        assert_eq!(around.app.last().head.field("x-auth-method"), Some("api-key"));
        assert_eq!(with_key().bearer("a.b.c").send().status, 401);
    }),
    ("htpasswd", |edge, _| {
        let with = |credential: &str| {
            edge.get("/api/orders").header("Authorization", format!("Basic {credential}"))
        };
        assert_eq!(edge.get("/api/orders").send().status, 401);
        assert_eq!(with("YWxpY2U6Y29ycmVjdCBob3JzZQ==").send().status, 200);
        assert_eq!(with("YWxpY2U6d3Jvbmc=").send().status, 401);
    }),
    ("discovery", |edge, around| {
        assert_eq!(edge.get("/api/orders").send().status, 401);
        let token = around.provider.token("k1", 0).sign();
        assert_eq!(edge.get("/api/orders").bearer(&token).send().status, 200);
    }),
    ("tls-names", |edge, around| {
        for name in ["a.example", "b.example"] {
            let mut secure = Offer::trusting(&around.authority).shake(edge.port(), name);
            assert_eq!(secure.get("/api/orders").unwrap().status, 401, "{name}");
        }
        let plain = Request::new(around.plain.number(), "GET", "/api/orders").send();
        assert_eq!(plain.status, 301);
    }),
    ("upstreams", |edge, around| {
        let token = around.issuer.token().sign();
        for _ in 0..6 {
            assert_eq!(edge.get("/api/orders").bearer(&token).send().status, 200);
        }
        assert!(around.canary.count() > 0 && around.app.count() > around.canary.count());
    }),
    ("policies", |edge, around| {
        let token = around.issuer.token().sign();
        around.only_with_token(edge);
        assert_eq!(edge.post("/api/orders", "x").bearer(&token).send().status, 403);
        let statuses: Vec<u16> =
            (0..101).map(|_| edge.get("/api/orders").bearer(&token).send().status).collect();
        assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    }),
    ("limit-per-user", |edge, around| {
        let status = |subject: &str| {
            let token = around.issuer.token().claim("sub", subject).sign();
            move || edge.get("/api/orders").bearer(&token).send().status
        };
        let (alice, bob) = (status("alice"), status("bob"));
        let statuses: Vec<u16> = (0..101).map(|_| alice()).collect();
        assert_eq!((statuses[0], statuses[100]), (200, 429), "{statuses:?}");
        assert_eq!(bob(), 200);
        let gold = around.issuer.token().claim("sub", "carol").claim("plan", "gold").sign();
        for _ in 0..101 {
            assert_eq!(edge.get("/api/orders").bearer(&gold).send().status, 200);
        }
    }),
    ("canary", |edge, around| {
        let token = around.issuer.token().sign();
        let get = || edge.get("/api/orders").bearer(&token);
        for _ in 0..10 {
            assert_eq!(get().header("X-Canary", "1").send().status, 200);
        }
        assert_eq!((around.app.count(), around.canary.count()), (0, 10));
        for _ in 0..40 {
            assert_eq!(get().send().status, 200);
        }
        assert_eq!((around.app.count(), around.canary.count()), (38, 12));
    }),
    ("cors", |edge, around| {
        let preflight = |origin: &str| {
            edge.request("OPTIONS", "/api/orders")
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "PUT")
                .send()
        };
        assert_eq!(preflight("https://app.example").status, 204);
        assert_eq!(preflight("https://evil.example").status, 403);
        let refused = edge.get("/api/orders").header("Origin", "https://app.example").send();
        assert_eq!(refused.status, 401);
        assert_eq!(refused.field("access-control-allow-origin"), Some("https://app.example"));
        around.only_with_token(edge);
    }),
    ("redirects-and-headers", |edge, around| {
        let moved = edge.get("/v1/orders?page=2").send();
        assert_eq!(moved.status, 308);
        let place = Some("https://api.example.com/v1/orders?page=2");
        assert_eq!(moved.field("location"), place);
        let answer = edge.get("/api/orders").header("X-Debug", "1").send();
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        let head = around.app.last().head;
        assert_eq!((head.field("x-client"), head.field("x-debug")), (Some("127.0.0.1"), None));
    }),
    ("websocket", |edge, around| {
        let token = around.issuer.token().sign();
        let handshake = |target: &str| {
            format!(
                "GET {target} HTTP/1.1\r\nHost: edge.example\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Version: 13\r\n\r\n"
            )
        };
        let status = |target: &str| edge.connect().send(handshake(target)).response().status;
        assert_eq!(status("/api/events"), 401);
        assert_eq!(status(&format!("/api/events?token={token}")), 101);
        assert_eq!(around.app.last().target(), "/events");
    }),
    ("grpc", |edge, around| {
        let path = "/example.v1.Orders/List";
        assert_eq!(raw::call(edge.port(), path, &[]).field("grpc-status"), Some("16"));
        let bearer = format!("Bearer {}", around.issuer.token().sign());
        let answer = raw::call(edge.port(), path, &[("authorization", &bearer)]);
        // It has come as far as an upstream, which speaks no HTTP/2 here.
        assert_eq!(answer.field("grpc-status"), Some("14"));
    }),
    ("load-balancer", |edge, around| {
        let token = around.issuer.token().sign();
        let request =
            format!("GET /api/orders HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
        let header = "PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n";
        let response = Client::connect(edge.port()).send(format!("{header}{request}")).response();
        assert_eq!(response.status, 200);
        assert_eq!(around.app.last().head.field("x-forwarded-for"), Some("203.0.113.7"));
        let (responses, closed) = edge.raw(request);
        assert!(responses.iter().all(|response| response.status != 200) && closed);
    }),
    ("probes", |edge, around| {
        assert_eq!(edge.manage("/health").send().status, 200);
        assert_eq!(edge.manage("/ready").send().status, 200);
        around.only_with_token(edge);
    }),
];

/// Everybody around the edge.
struct Around {
    issuer: Issuer,
    provider: Provider,
    authority: Authority,
    app: Upstream,
    canary: Upstream,
    plain: Port,
}

impl Around {
    fn new() -> Self {
        Self {
            issuer: Issuer::start(),
            provider: Provider::start(),
            authority: Authority::new("an authority"),
            app: Upstream::with(serve),
            canary: Upstream::with(serve),
            plain: Port::claim(),
        }
    }

    fn only_with_token(&self, edge: &Edge) {
        assert_eq!(edge.get("/api/orders").send().status, 401);
        let token = self.issuer.token().sign();
        assert_eq!(edge.get("/api/orders").bearer(&token).send().status, 200);
    }

    /// The configuration of a page, with what is here in the place of what it names.
    fn fill(&self, page: &str, public: &Port, management: &Port) -> String {
        let discovered = page.contains("config = { issuer =");
        let (secure, plain) = match page.contains("bind_port = 8443") {
            true => (public, &self.plain),
            false => (public, public),
        };
        let mut text = page
            .replace("\"0.0.0.0\"", "\"127.0.0.1\"")
            .replace("bind_port = 8443", &format!("bind_port = {secure}"))
            .replace("bind_port = 8080", &format!("bind_port = {plain}"))
            .replace("bind_port = 9090", &format!("bind_port = {management}"))
            .replace("10.0.0.5:3000", &format!("127.0.0.1:{}", self.app.port()))
            .replace("10.0.0.6:3000", &format!("127.0.0.1:{}", self.canary.port()))
            .replace("10.0.0.0/8", "127.0.0.1/32")
            .replace("https://auth.example.com/.well-known/jwks.json", &self.issuer.url());
        if discovered {
            text = text.replace("https://auth.example.com", &self.provider.url());
        }
        if !text.contains("[management]") {
            text += &format!(
                "\n[network.management.http]\nbind_address = \"127.0.0.1\"\nbind_port = \
                 {management}\n[management]\nenabled = true\nnetwork = \"management\"\n"
            );
        }
        text
    }

    /// The files that the pages name.
    fn files(&self) -> [(&'static str, String); 5] {
        let (one, other) =
            (self.authority.server(&["a.example"]), self.authority.server(&["b.example"]));
        [
            ("tls/cert.pem", one.certificate),
            ("tls/key.pem", one.key),
            ("tls/other.pem", other.certificate),
            ("tls/other.key", other.key),
            ("users.htpasswd", USERS.to_owned()),
        ]
    }
}

fn serve(exchange: &mut Exchange) {
    if exchange.field("upgrade").is_none() {
        return exchange.echo_target();
    }
    exchange.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    );
    exchange.close();
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/how-to")
}

/// The one configuration of a page.
fn configuration(page: &str) -> String {
    let text = fs::read_to_string(directory().join(format!("{page}.md")))
        .unwrap_or_else(|error| panic!("{page}: {error}"));
    let mut pieces = text.split("```toml\n").skip(1).filter_map(|it| it.split("```").next());
    let piece = pieces.next().unwrap_or_else(|| panic!("{page}: no configuration"));
    assert_eq!(pieces.next(), None, "{page}: one configuration");
    piece.to_owned()
}

#[test]
fn every_page_is_tried() {
    let files = fs::read_dir(directory()).expect("docs/how-to");
    let mut pages: Vec<String> = files
        .filter_map(|file| {
            Some(file.unwrap().file_name().to_str()?.strip_suffix(".md")?.to_owned())
        })
        .filter(|page| page != "README")
        .collect();
    pages.sort();
    let mut tried = PAGES.map(|(page, _)| page.to_owned());
    tried.sort();
    assert_eq!(pages, tried);
    let index = fs::read_to_string(directory().join("README.md")).expect("the index");
    for page in pages {
        assert!(index.contains(&format!("({page}.md)")), "{page} is not in the index");
    }
}

#[test]
fn what_a_page_shows_loads_and_does_what_it_says() {
    let hash = digest(&SHA256, KEY.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    for (page, try_it) in PAGES {
        let around = Around::new();
        let (public, management) = (Port::claim(), Port::claim());
        let shown = configuration(page);
        let text = around.fill(&shown, &public, &management);
        for text in [&shown, &text] {
            let checked = around.files().iter().fold(
                Program::check(text).env("PARTNER_KEY_HASH", &hash),
                |program, (name, content)| program.file(name, content),
            );
            checked.run().assert_ok(page);
        }
        let builder = Edge::of_text(&text, public, management).env("PARTNER_KEY_HASH", &hash);
        let files = around.files();
        let builder = files.iter().fold(builder, |it, (name, content)| it.file(name, content));
        let edge = builder.quiet().start();
        println!("{page}");
        try_it(&edge, &around);
    }
}
