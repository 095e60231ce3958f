//! The proxies that are compared, and how each is configured.

use std::path::PathBuf;

use crate::bare;
use crate::cases::Bench;
use crate::credentials::{AUDIENCE, ISSUER};
use crate::drive::Load;
use crate::process::free_port;

/// The program under test, as this profile built it.
pub const EDGE: &str = env!("CARGO_BIN_EXE_harmony-edge");

/// The core of a proxy, and that of its clients and upstreams.
pub const PROXY_CORE: &str = "0";
pub const OTHER_CORE: &str = "1";

/// One proxy, set up for a case.
pub struct Contestant {
    pub name: &'static str,
    pub cores: &'static str,
    pub port: u16,
    pub command: Vec<String>,
    pub load: Load,
}

/// Where a proxy sends its requests.
#[derive(Debug, Clone, Copy)]
pub struct Upstream {
    pub port: u16,
    /// HTTP/2 by prior knowledge, which its clients speak then, too.
    pub h2c: bool,
}

impl Bench {
    pub fn bare(&self, upstream: Upstream, tls: bool, load: impl Fn(u16) -> Load) -> Contestant {
        let port = free_port().unwrap_or_default();
        let program = std::env::current_exe().unwrap_or_default().display().to_string();
        let mut command = vec![
            program,
            bare::ARGUMENT.to_owned(),
            port.to_string(),
            upstream.port.to_string(),
            "1".to_owned(),
            if upstream.h2c { "h2c" } else { "http1" }.to_owned(),
        ];
        if tls {
            command.extend(
                [&self.credentials.certificate, &self.credentials.certificate_key]
                    .map(|path| path.display().to_string()),
            );
        }
        Contestant { name: bare::NAME, cores: PROXY_CORE, port, command, load: load(port) }
    }

    pub fn edge(&self, edge: Edge, load: impl Fn(u16) -> Load) -> Contestant {
        let port = free_port().unwrap_or_default();
        self.edge_at(port, edge, load)
    }

    pub fn edge_at(&self, port: u16, edge: Edge, load: impl Fn(u16) -> Load) -> Contestant {
        let text = self.edge_configuration(&edge, port);
        let file = self.file(&format!("edge-{port}.toml"), &text);
        let command = vec![EDGE.to_owned(), "-c".to_owned(), file.display().to_string()];
        Contestant { name: edge.name, cores: edge.cores, port, command, load: load(port) }
    }

    pub fn edge_configuration(&self, edge: &Edge, port: u16) -> String {
        let Edge { threads, steps, upstream, .. } = edge;
        let upstream_port = upstream.port;
        let version = if upstream.h2c { "http_version = \"2\"\n" } else { "" };
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
             [backends.app]\nservice = \"http\"\nbase_url = \"http://127.0.0.1:{upstream_port}\"\n\
             {version}[middleware.jwt]\ntype = \"jwt-auth\"\nconfig = {{ jwks_url = \
             \"http://127.0.0.1:{upstream}/jwks.json\", issuer = \"{ISSUER}\", audience = \
             \"{AUDIENCE}\" }}\n\
             [middleware.dpop]\ntype = \"jwt-auth\"\nconfig = {{ jwks_url = \
             \"http://127.0.0.1:{upstream}/jwks.json\", issuer = \"{ISSUER}\", audience = \
             \"{AUDIENCE}\", dpop = \"require\" }}\n\
             [middleware.key]\ntype = \"api-key\"\nconfig = {{ keys = [\"{hash}\"] }}\n\
             [pipelines.api]\nnetworks = [\"public\"]\nendpoints = [{endpoints}]\n\
             middleware = {steps}\nbackends = [\"app\"]\n[endpoints.api]\n\
             service = \"{service}\"\npath_prefix = \"/api\"\n",
            state = self.edge_state(port),
            upstream = self.nginx_upstream.port,
            hash = self.credentials.key_hash,
            endpoints = (1..edge.routes)
                .fold("\"api\"".to_owned(), |all, route| all + &format!(", \"e{route}\"")),
        );
        text += &edge.more;
        for route in 1..edge.routes {
            text += &format!(
                "[endpoints.e{route}]\nservice = \"http\"\npath_prefix = \"/route{route}/x\"\n"
            );
        }
        text
    }

    /// Where an edge at this port keeps its state.
    pub fn edge_state(&self, port: u16) -> PathBuf {
        self.directory.path().join(format!("state-{port}"))
    }

    pub fn haproxy(
        &self,
        upstream: Upstream,
        rules: &str,
        tls: bool,
        load: impl Fn(u16) -> Load,
    ) -> Option<Contestant> {
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
             backend b\n server u 127.0.0.1:{} {}\n",
            upstream.port,
            if upstream.h2c { "proto h2" } else { "" }
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
    pub fn haproxy_jwt(&self) -> String {
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

    pub fn envoy(
        &self,
        upstream: Upstream,
        jwt: Jwt,
        load: impl Fn(u16) -> Load,
    ) -> Option<Contestant> {
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
        let protocol = if upstream.h2c {
            "
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }"
        } else {
            ""
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
             {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }}] }}] }}{protocol}
",
            upstream.port
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

    /// nginx in front of an upstream: `grpc_pass` is what it has over HTTP/2.
    pub fn nginx(&self, upstream: Upstream, load: impl Fn(u16) -> Load) -> Option<Contestant> {
        let port = free_port().ok()?;
        let (listen, pass) = match upstream.h2c {
            true => ("http2", "grpc_pass grpc://u; grpc_socket_keepalive off;"),
            false => (
                "",
                "proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                 proxy_request_buffering off; proxy_max_temp_file_size 0;",
            ),
        };
        let text = format!(
            "daemon off; master_process off; pid {dir}/nginx-{port}.pid; error_log \
             {dir}/nginx-{port}.log; events {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 1000000000; client_max_body_size 100m; \
             client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; \
             uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
             upstream u {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests \
             1000000000; }}\n\
             server {{ listen 127.0.0.1:{port} {listen}; location / {{ {pass} }} }} }}\n",
            dir = self.directory.path().display(),
            upstream = upstream.port,
        );
        let file = self.file(&format!("nginx-{port}.conf"), &text);
        let command = vec![
            self.nginx.clone(),
            "-c".to_owned(),
            file.display().to_string(),
            "-p".to_owned(),
            self.directory.path().display().to_string(),
        ];
        Some(Contestant { name: "nginx", cores: PROXY_CORE, port, command, load: load(port) })
    }

    /// HAProxy for the idle connections.
    pub fn plain_haproxy(&self) -> Option<(Vec<String>, u16)> {
        let contestant =
            self.haproxy(self.nginx_upstream, "", false, |port| self.load(port, None))?;
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
pub enum Jwt {
    None,
    Verified,
    Remembered,
}

pub const JWT: &str = r#"["jwt"]"#;
pub const DPOP: &str = r#"["dpop"]"#;
pub const KEY: &str = r#"["key"]"#;

/// How harmony-edge is to be set up.
pub struct Edge {
    pub name: &'static str,
    pub cores: &'static str,
    pub threads: usize,
    pub steps: &'static str,
    pub routes: usize,
    pub tls: bool,
    pub echo: bool,
    pub upstream: Upstream,
    /// Further tables of its configuration.
    pub more: String,
}

impl Edge {
    pub fn new(upstream: Upstream) -> Self {
        Self {
            name: "harmony-edge",
            cores: PROXY_CORE,
            threads: 1,
            steps: "[]",
            routes: 1,
            tls: false,
            echo: false,
            upstream,
            more: String::new(),
        }
    }
}
