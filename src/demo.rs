//! `harmony-edge demo`: issuer, upstream and the real proxy in one process, for a first look. It
//! keeps nothing and talks to loopback only.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Response, StatusCode, header};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::protocols::http::ServerSession;
use pingora::services::listening::Service;
use serde_json::json;
use zeroize::Zeroizing;

use crate::config::{Config, Source};
use crate::server::{EdgeServer, StartOptions};
use crate::telemetry::LogWriter;

/// The proxy's port, unless another is asked for.
pub(crate) const PORT: u16 = 8080;
/// The management port; a free one where it is taken.
const MANAGEMENT_PORT: u16 = 9090;
const ISSUER: &str = "https://issuer.demo";
const AUDIENCE: &str = "demo-api";
const KEY_ID: &str = "demo-key";

/// A demonstration that is ready to run.
pub(crate) struct Demo {
    /// What the proxy in it runs on.
    pub(crate) config: Config,
    source: Source,
    issuer: Issuer,
    issuer_listener: TcpListener,
    upstream_listener: TcpListener,
    proxy: SocketAddr,
    management: SocketAddr,
}

impl Demo {
    /// Makes a key and chooses addresses. Issuer and upstream listen from here on, so that the
    /// proxy's first fetch of the key set finds a listener whichever service starts first.
    pub(crate) fn new(port: u16) -> anyhow::Result<Self> {
        let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let management = management_address()?;
        let issuer_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let upstream_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let text = configuration(
            proxy,
            management,
            upstream_listener.local_addr()?,
            issuer_listener.local_addr()?,
        );
        // Nothing of the environment: it keeps nothing, not even below $HOME.
        let nothing = BTreeMap::<String, String>::new();
        let source = Source::text("demo.toml", &text).with_environment(nothing);
        Ok(Self {
            config: source.load()?,
            source,
            issuer: Issuer::new()?,
            issuer_listener,
            upstream_listener,
            proxy,
            management,
        })
    }

    /// Runs until it is stopped.
    pub(crate) fn run(self, log: LogWriter) -> anyhow::Result<()> {
        let Self {
            config,
            source,
            issuer,
            issuer_listener,
            upstream_listener,
            proxy,
            management,
        } = self;
        let lines = issuer.curl_lines(proxy)?;
        let mut server = EdgeServer::build(source, &config, log, StartOptions::default())?;
        server.add_service(service("issuer", issuer), issuer_listener)?;
        server.add_service(service("upstream", Upstream), upstream_listener)?;
        thread::spawn(move || print_instructions(proxy, management, &lines));
        server.run();
        Ok(())
    }
}

fn service<T>(name: &str, app: T) -> Service<HttpServer<T>>
where
    T: ServeHttp + Send + Sync + 'static,
{
    let mut service = Service::new(name.to_owned(), HttpServer::new_app(app));
    service.threads = Some(1);
    service
}

fn management_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, MANAGEMENT_PORT))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?
        .local_addr()
}

fn configuration(
    proxy: SocketAddr,
    management: SocketAddr,
    upstream: SocketAddr,
    issuer: SocketAddr,
) -> String {
    let mut text = String::from(
        "[proxy]\nid = \"demo\"\n[logging]\nlog_level = \"warn,harmony::access=info\"\n",
    );
    for (name, address) in [("public", proxy), ("management", management)] {
        let (ip, port) = (address.ip(), address.port());
        let _ = writeln!(
            text,
            "[network.{name}.http]\nbind_address = \"{ip}\"\nbind_port = {port}"
        );
    }
    let _ = write!(
        text,
        r#"
[management]
enabled = true
base_path = "admin"
network = "management"

[pipelines.api]
networks = ["public"]
endpoints = ["api"]
middleware = ["jwt"]
backends = ["upstream"]

[endpoints.api]
service = "http"
options = {{ path_prefix = "/api" }}

[middleware.jwt]
type = "jwt-auth"
config = {{ jwks_url = "http://{issuer}/.well-known/jwks.json", issuer = "{ISSUER}", audience = "{AUDIENCE}" }}

[backends.upstream]
service = "http"
options = {{ base_url = "http://{upstream}" }}
"#
    );
    text
}

#[allow(clippy::print_stdout, reason = "what the demonstration is for")]
fn print_instructions(proxy: SocketAddr, management: SocketAddr, lines: &str) {
    while !is_ready(management).unwrap_or(false) {
        thread::sleep(Duration::from_millis(20));
    }
    println!("harmony-edge demo: http://{proxy}/api accepts only requests with a valid token.");
    println!("Status page: http://{management}/admin/");
    println!("Health and readiness: http://{management}/health and /ready. Stop with Ctrl-C.\n");
    println!("{lines}");
}

/// Whether the key set has been fetched, and the listeners are open. Asked of the Management API:
/// a request through the proxy would come before the banner in the access log.
fn is_ready(management: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&management, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(6)))?;
    write!(
        stream,
        "GET /ready HTTP/1.1\r\nHost: {management}\r\nConnection: close\r\n\r\n"
    )?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(&status == b"HTTP/1.1 200")
}

/// A key that was made a moment ago, and what it signs.
struct Issuer {
    key: EncodingKey,
    key_set: Vec<u8>,
}

impl Issuer {
    fn new() -> anyhow::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).context("generating a key")?;
        let der: Pkcs8V1Der<'_> = pair.as_der().context("encoding a key")?;
        let body = STANDARD.encode(der.as_ref());
        let pem = Zeroizing::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
        ));
        let key = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let mut public = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
        public.common.key_id = Some(KEY_ID.to_owned());
        let key_set = serde_json::to_vec(&JwkSet { keys: vec![public] })?;
        Ok(Self { key, key_set })
    }

    fn sign(&self, expires_in: i64) -> anyhow::Result<String> {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(KEY_ID.to_owned());
        let issued = now.min(now + expires_in - 60);
        let claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": issued,
            "exp": now + expires_in });
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
    }

    /// Four requests and what each is answered. The expected answer stands above its line, not
    /// behind it: an interactive zsh takes no comments.
    fn curl_lines(&self, proxy: SocketAddr) -> anyhow::Result<String> {
        let good = self.sign(3600)?;
        let url = format!("http://{proxy}/api/hello");
        let with = |token: &str| format!("curl -i {url} -H 'Authorization: Bearer {token}'");
        let requests = [
            ("A valid token: 200", with(&good)),
            ("No token: 401", format!("curl -i {url}")),
            (
                "A token that expired ten minutes ago: 401",
                with(&self.sign(-600)?),
            ),
            (
                "The valid token with its subject changed: 401",
                with(&tamper(&good)?),
            ),
        ];
        Ok(requests
            .map(|(expected, line)| format!("{expected}\n{line}"))
            .join("\n\n"))
    }
}

fn tamper(token: &str) -> anyhow::Result<String> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature)) = (parts.next(), parts.next(), parts.next())
    else {
        anyhow::bail!("a token has three parts");
    };
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(claims)?)?.replace("alice", "admin");
    Ok(format!(
        "{header}.{}.{signature}",
        URL_SAFE_NO_PAD.encode(claims)
    ))
}

#[async_trait]
impl ServeHttp for Issuer {
    async fn response(&self, _: &mut ServerSession) -> Response<Vec<u8>> {
        Response::builder()
            .status(StatusCode::OK)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, self.key_set.len())
            .body(self.key_set.clone())
            .unwrap_or_default()
    }
}

/// Shows what it got, but for the credential.
struct Upstream;

#[async_trait]
impl ServeHttp for Upstream {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let mut text = format!("The upstream got {} {} with\n", request.method, request.uri);
        for (name, value) in &request.headers {
            if name != header::AUTHORIZATION {
                let _ = writeln!(
                    text,
                    "  {name}: {}",
                    String::from_utf8_lossy(value.as_bytes())
                );
            }
        }
        Response::builder()
            .header(header::CONTENT_TYPE, "text/plain")
            .header(header::CONTENT_LENGTH, text.len())
            .body(text.into_bytes())
            .unwrap_or_default()
    }
}
