//! What is compared with what.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::bare;
use crate::credentials::{API_KEY, AUDIENCE, Credentials, ISSUER};
use crate::drive::{Load, Outcome};
use crate::process::{Process, free_port, program};

/// The program under test, as this profile built it.
pub const EDGE: &str = env!("CARGO_BIN_EXE_harmony-edge");

/// Contestants under one load.
pub struct Case {
    pub name: &'static str,
    /// Ours first.
    pub contestants: Vec<Contestant>,
}

/// One proxy, set up for a case.
pub struct Contestant {
    pub name: &'static str,
    cores: &'static str,
    pub port: u16,
    pub command: Vec<String>,
    pub load: Load,
}

/// What a contestant showed in one round.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub outcome: Outcome,
    /// Microseconds of CPU time a request.
    pub cpu: f64,
    /// MB resident at the end.
    pub memory: f64,
}

/// All rounds of a case.
pub struct Measured {
    pub case: &'static str,
    pub contestants: Vec<(&'static str, Vec<Sample>)>,
}

/// What all cases share: the upstream, the files, and which peers there are.
pub struct Bench {
    pub directory: TempDir,
    pub credentials: Credentials,
    upstream: u16,
    _nginx: Process,
    haproxy: Option<String>,
    envoy: Option<String>,
}

const PROXY_CORE: &str = "0";
const OTHER_CORE: &str = "1";

impl Bench {
    pub fn prepare() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let nginx = program("nginx")
            .ok_or_else(|| anyhow::anyhow!("nginx is not installed; it is the upstream"))?;
        anyhow::ensure!(program("wrk").is_some(), "wrk is not installed; it is the client");
        println!("signing {} tokens", crate::credentials::TOKENS);
        let credentials = Credentials::make(directory.path())?;
        let upstream = free_port()?;
        std::fs::write(directory.path().join("keys.json"), &credentials.key_set)?;
        let conf = directory.path().join("nginx.conf");
        let text = format!(
            "daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx.log; \
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path \
             {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path \
             {dir}/u; scgi_temp_path {dir}/s;\n\
             server {{ listen 127.0.0.1:{upstream}; location = /jwks.json {{ alias \
             {dir}/keys.json; }} location / {{ return 200 \"hello from the upstream\\n\
             \"; }} }} }}\n",
            dir = directory.path().display()
        );
        std::fs::write(&conf, text)?;
        let command = [
            nginx,
            "-c".to_owned(),
            conf.display().to_string(),
            "-p".to_owned(),
            directory.path().display().to_string(),
        ];
        let nginx = Process::start("nginx", OTHER_CORE, &command, upstream)?;
        Ok(Self {
            directory,
            credentials,
            upstream,
            _nginx: nginx,
            haproxy: program("haproxy"),
            envoy: program("envoy"),
        })
    }

    /// Peers that are not installed.
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.haproxy.is_none() {
            missing.push("HAProxy");
        }
        if self.envoy.is_none() {
            missing.push("Envoy");
        }
        missing
    }

    pub fn cases(&self) -> Vec<Case> {
        let none = |port: u16| self.load(port, None);
        let token = |port: u16| {
            self.load(port, Some(format!("Authorization: Bearer {}", self.credentials.token)))
        };
        let many = |port: u16| Load {
            tokens: Some(self.credentials.many.clone()),
            ..self.load(port, None)
        };
        let key = |port: u16| self.load(port, Some(format!("X-API-Key: {API_KEY}")));
        let tls = |load: Load| Load { url: load.url.replacen("http:", "https:", 1), ..load };
        let close = |load: Load| Load { close: true, ..load };
        let mut cases = vec![
            Case {
                name: "no authentication",
                contestants: [
                    Some(self.edge(Edge::default(), none)),
                    Some(self.bare(1, false, none)),
                    self.haproxy("", false, none),
                    self.envoy(Jwt::None, none),
                ]
                .into_iter()
                .flatten()
                .collect(),
            },
            Case {
                name: "echo",
                contestants: vec![
                    self.edge(Edge { echo: true, ..Edge::default() }, none),
                    self.bare(1, false, none),
                ],
            },
            Case {
                name: "JWT seen before",
                contestants: [
                    Some(self.edge(Edge::with(JWT), token)),
                    Some(self.bare(1, false, token)),
                    self.haproxy(&self.haproxy_jwt(), false, token),
                    self.envoy(Jwt::Remembered, token),
                ]
                .into_iter()
                .flatten()
                .collect(),
            },
            Case {
                name: "JWT new every time",
                contestants: [
                    Some(self.edge(Edge::with(JWT), many)),
                    Some(self.bare(1, false, many)),
                    self.haproxy(&self.haproxy_jwt(), false, many),
                    self.envoy(Jwt::Verified, many),
                ]
                .into_iter()
                .flatten()
                .collect(),
            },
            Case {
                name: "API key",
                contestants: vec![self.edge(Edge::with(KEY), key), self.bare(1, false, key)],
            },
            Case {
                name: "routes",
                contestants: vec![
                    self.edge(Edge { routes: 10, name: "10 routes", ..Edge::default() }, none),
                    self.edge(
                        Edge { routes: 100_000, name: "100,000 routes", ..Edge::default() },
                        none,
                    ),
                ],
            },
            Case {
                name: "threads",
                contestants: vec![
                    self.edge(Edge { name: "one worker", cores: "0,1", ..Edge::with(JWT) }, token),
                    self.edge(
                        Edge { name: "two workers", cores: "0,1", threads: 2, ..Edge::with(JWT) },
                        token,
                    ),
                ],
            },
            Case {
                name: "TLS with JWT",
                contestants: [
                    Some(self.edge(Edge { tls: true, ..Edge::with(JWT) }, |port| tls(token(port)))),
                    Some(self.bare(1, true, |port| tls(token(port)))),
                    self.haproxy(&self.haproxy_jwt(), true, |port| tls(token(port))),
                ]
                .into_iter()
                .flatten()
                .collect(),
            },
            Case {
                name: "TLS handshake each time",
                contestants: [
                    Some(self.edge(Edge { tls: true, ..Edge::default() }, |port| {
                        close(tls(none(port)))
                    })),
                    Some(self.bare(1, true, |port| close(tls(none(port))))),
                    self.haproxy("", true, |port| close(tls(none(port)))),
                ]
                .into_iter()
                .flatten()
                .collect(),
            },
        ];
        cases.retain(|case| case.contestants.len() > 1);
        cases
    }

    /// All rounds of a case, its contestants taking turns.
    pub fn measure(&self, case: &Case, rounds: usize, seconds: usize) -> anyhow::Result<Measured> {
        let mut contestants: Vec<(&'static str, Vec<Sample>)> =
            case.contestants.iter().map(|contestant| (contestant.name, Vec::new())).collect();
        for round in 1..=rounds {
            println!("{}: round {round} of {rounds}", case.name);
            for (contestant, (_, samples)) in case.contestants.iter().zip(&mut contestants) {
                samples.push(self.turn(contestant, seconds)?);
            }
        }
        Ok(Measured { case: case.name, contestants })
    }

    fn turn(&self, contestant: &Contestant, seconds: usize) -> anyhow::Result<Sample> {
        const WARM_UP_TOKENS: usize = 10_000;
        let process = Process::start(
            contestant.name,
            contestant.cores,
            &contestant.command,
            contestant.port,
        )?;
        let send = |duration, first| {
            contestant.load.send(OTHER_CORE, self.directory.path(), duration, first)
        };
        std::thread::sleep(Duration::from_millis(300));
        send(Duration::from_secs(1), crate::credentials::TOKENS - WARM_UP_TOKENS)?;
        let before = process.cpu()?;
        let outcome = send(Duration::from_secs(seconds as u64), 0)?;
        let cpu = process.cpu()? - before;
        Ok(Sample {
            outcome,
            cpu: cpu.as_secs_f64() * 1e6 / outcome.requests,
            memory: process.resident()?,
        })
    }

    fn load(&self, port: u16, field: Option<String>) -> Load {
        Load {
            url: format!("http://127.0.0.1:{port}/api/items/7?page=2"),
            field,
            tokens: None,
            connections: 64,
            close: false,
        }
    }

    fn bare(&self, threads: usize, tls: bool, load: impl Fn(u16) -> Load) -> Contestant {
        let port = free_port().unwrap_or_default();
        let program = std::env::current_exe().unwrap_or_default().display().to_string();
        let mut command = vec![
            program,
            bare::ARGUMENT.to_owned(),
            port.to_string(),
            self.upstream.to_string(),
            threads.to_string(),
        ];
        if tls {
            command.extend(
                [&self.credentials.certificate, &self.credentials.certificate_key]
                    .map(|path| path.display().to_string()),
            );
        }
        Contestant { name: bare::NAME, cores: PROXY_CORE, port, command, load: load(port) }
    }

    fn edge(&self, edge: Edge, load: impl Fn(u16) -> Load) -> Contestant {
        let port = free_port().unwrap_or_default();
        let text = self.edge_configuration(&edge, port);
        let file = self.file(&format!("edge-{port}.toml"), &text);
        let command = vec![EDGE.to_owned(), "-c".to_owned(), file.display().to_string()];
        Contestant { name: edge.name, cores: edge.cores, port, command, load: load(port) }
    }

    pub fn edge_configuration(&self, edge: &Edge, port: u16) -> String {
        let Edge { threads, steps, .. } = edge;
        let tls = if edge.tls {
            format!(
                "cert_path = {:?}\nkey_path = {:?}\n",
                self.credentials.certificate, self.credentials.certificate_key
            )
        } else {
            String::new()
        };
        let service = if edge.echo { "echo" } else { "http" };
        let mut text = format!(
            "[proxy]\nid = \"bench\"\nthreads = {threads}\nstate_dir = {state:?}\n\
             [network.public.http]\nbind_address = \"127.0.0.1\"\nbind_port = {port}\n{tls}\
             [backends.app]\nservice = \"http\"\nbase_url = \"http://127.0.0.1:{upstream}\"\n\
             [middleware.jwt]\ntype = \"jwt-auth\"\nconfig = {{ jwks_url = \
             \"http://127.0.0.1:{upstream}/jwks.json\", issuer = \"{ISSUER}\", audience = \
             \"{AUDIENCE}\" }}\n\
             [middleware.key]\ntype = \"api-key\"\nconfig = {{ keys = [\"{hash}\"] }}\n\
             [pipelines.api]\nnetworks = [\"public\"]\nendpoints = [{endpoints}]\n\
             middleware = {steps}\nbackends = [\"app\"]\n[endpoints.api]\n\
             service = \"{service}\"\npath_prefix = \"/api\"\n",
            state = self.directory.path().join(format!("state-{port}")),
            upstream = self.upstream,
            hash = self.credentials.key_hash,
            endpoints = (1..edge.routes)
                .fold("\"api\"".to_owned(), |all, route| all + &format!(", \"e{route}\"")),
        );
        for route in 1..edge.routes {
            text += &format!(
                "[endpoints.e{route}]\nservice = \"http\"\npath_prefix = \"/route{route}/x\"\n"
            );
        }
        text
    }

    fn haproxy(&self, rules: &str, tls: bool, load: impl Fn(u16) -> Load) -> Option<Contestant> {
        let port = free_port().ok()?;
        let bind = if tls {
            format!("ssl crt {} alpn h2,http/1.1", self.credentials.certificate_with_key.display())
        } else {
            String::new()
        };
        let text = format!(
            "global\n nbthread 1\n no strict-limits\n maxconn 12000\n ssl-default-bind-options \
             ssl-min-ver TLSv1.2\ndefaults\n mode http\n timeout client 60s\n timeout server \
             60s\n timeout connect 5s\n option forwardfor\n http-reuse always\n\
             frontend f\n bind 127.0.0.1:{port} {bind}\n{rules} default_backend b\n\
             backend b\n server u 127.0.0.1:{}\n",
            self.upstream
        );
        let file = self.file(&format!("haproxy-{port}.cfg"), &text);
        let command = vec![
            self.haproxy.clone()?,
            "-db".to_owned(),
            "-f".to_owned(),
            file.display().to_string(),
        ];
        Some(Contestant { name: "HAProxy", cores: PROXY_CORE, port, command, load: load(port) })
    }

    /// Its documentation's own recipe: algorithm, issuer, audience, expiry and signature.
    fn haproxy_jwt(&self) -> String {
        format!(
            " http-request deny deny_status 401 unless {{ req.hdr(authorization) -m found }}\n\
             \x20http-request set-var(txn.alg) http_auth_bearer,jwt_header_query('$.alg')\n\
             \x20http-request set-var(txn.iss) http_auth_bearer,jwt_payload_query('$.iss')\n\
             \x20http-request set-var(txn.aud) http_auth_bearer,jwt_payload_query('$.aud')\n\
             \x20http-request set-var(txn.exp) http_auth_bearer,jwt_payload_query('$.exp','int')\n\
             \x20http-request set-var(txn.now) date()\n\
             \x20http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}\n\
             \x20http-request deny deny_status 401 unless {{ var(txn.iss) -m str {ISSUER} }}\n\
             \x20http-request deny deny_status 401 unless {{ var(txn.aud) -m str {AUDIENCE} }}\n\
             \x20http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}\n\
             \x20http-request deny deny_status 401 unless {{ \
             http_auth_bearer,jwt_verify(txn.alg,\"{}\") -m int 1 }}\n",
            self.credentials.public_pem.display()
        )
    }

    fn envoy(&self, jwt: Jwt, load: impl Fn(u16) -> Load) -> Option<Contestant> {
        let port = free_port().ok()?;
        let cache = if matches!(jwt, Jwt::Remembered) {
            "\n              jwt_cache_config: { jwt_cache_size: 1000 }"
        } else {
            ""
        };
        let filter = match jwt {
            Jwt::None => String::new(),
            _ => format!(
                "
          - name: envoy.filters.http.jwt_authn
            typed_config:
              '@type': type.googleapis.com/\
                 envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                p:
                  issuer: {ISSUER}
                  audiences: [{AUDIENCE}]
                  forward: true
                  local_jwks: {{ filename: {keys} }}{cache}
              rules: [{{ match: {{ prefix: / }}, requires: {{ provider_name: p }} }}]",
                keys = self.directory.path().join("keys.json").display(),
                cache = cache.replace("\n              ", "\n                  "),
            ),
        };
        let text = format!(
            "static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/\
             envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: i
          route_config: {{ virtual_hosts: [{{ name: v, domains: ['*'], routes: [{{ match: {{ \
             prefix: / }}, route: {{ cluster: u }} }}] }}] }}
          http_filters:{filter}
          - name: envoy.filters.http.router
            typed_config: {{ '@type': \
             type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: u
    type: STATIC
    load_assignment: {{ cluster_name: u, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: \
             {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }}] }}] }}
",
            self.upstream
        );
        let file = self.file(&format!("envoy-{port}.yaml"), &text);
        let command = vec![
            self.envoy.clone()?,
            "-c".to_owned(),
            file.display().to_string(),
            "--concurrency".to_owned(),
            "1".to_owned(),
            "--use-dynamic-base-id".to_owned(),
            "-l".to_owned(),
            "error".to_owned(),
        ];
        Some(Contestant { name: "Envoy", cores: PROXY_CORE, port, command, load: load(port) })
    }

    /// HAProxy for the idle connections.
    pub fn plain_haproxy(&self) -> Option<(Vec<String>, u16)> {
        let contestant = self.haproxy("", false, |port| self.load(port, None))?;
        Some((contestant.command, contestant.port))
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        if let Err(error) = std::fs::write(&path, text) {
            println!("cannot write {}: {error}", path.display());
        }
        path
    }
}

/// How Envoy is to take tokens.
enum Jwt {
    None,
    Verified,
    Remembered,
}

const JWT: &str = r#"["jwt"]"#;
const KEY: &str = r#"["key"]"#;

/// How harmony-edge is to be set up.
pub struct Edge {
    pub name: &'static str,
    pub cores: &'static str,
    pub threads: usize,
    pub steps: &'static str,
    pub routes: usize,
    pub tls: bool,
    pub echo: bool,
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            name: "harmony-edge",
            cores: PROXY_CORE,
            threads: 1,
            steps: "[]",
            routes: 1,
            tls: false,
            echo: false,
        }
    }
}

impl Edge {
    fn with(steps: &'static str) -> Self {
        Self { steps, ..Self::default() }
    }
}
