//! What is compared with what.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::contestants::{Contestant, DPOP, Edge, JWT, Jwt, KEY, OTHER_CORE, Upstream};
use crate::credentials::{API_KEY, Credentials};
use crate::drive::{H2load, Load, Outcome, Proofs, Tokens};
use crate::features::Store;
use crate::process::{Process, free_port, program};
use crate::upstream;

/// Contestants under one load.
pub struct Case {
    pub name: &'static str,
    /// Ours first.
    pub contestants: Vec<Contestant>,
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
    /// Small responses, and the key set.
    pub nginx_upstream: Upstream,
    /// Bodies, HTTP/2 and gRPC: [`upstream`].
    own_upstream: Upstream,
    _upstreams: [Process; 2],
    /// Where nodes share their counts.
    pub store: Option<Store>,
    pub nginx: String,
    pub haproxy: Option<String>,
    pub envoy: Option<String>,
}

/// The case that needs many tokens.
pub const NEW_TOKENS: &str = "JWT new every time";

impl Bench {
    /// `tokens`: how many distinct ones are needed.
    pub fn prepare(tokens: usize) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let nginx = program("nginx")
            .ok_or_else(|| anyhow::anyhow!("nginx is not installed; it is an upstream"))?;
        for client in ["wrk", "h2load"] {
            anyhow::ensure!(program(client).is_some(), "{client} is not installed; it is a client");
        }
        println!("signing {tokens} tokens");
        let credentials = Credentials::make(directory.path(), tokens)?;
        let (small, own) = (free_port()?, free_port()?);
        std::fs::write(directory.path().join("keys.json"), &credentials.key_set)?;
        let conf = directory.path().join("nginx.conf");
        let text = format!(
            "daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx.log; \
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path \
             {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path \
             {dir}/u; scgi_temp_path {dir}/s;\n\
             server {{ listen 127.0.0.1:{small}; location = /jwks.json {{ alias \
             {dir}/keys.json; }} location = /v1/traces {{ return 200; }} \
             location / {{ return 200 \"hello from the upstream\\n\
             \"; }} }} }}\n",
            dir = directory.path().display()
        );
        std::fs::write(&conf, text)?;
        let command = [
            nginx.clone(),
            "-c".to_owned(),
            conf.display().to_string(),
            "-p".to_owned(),
            directory.path().display().to_string(),
        ];
        let small_upstream = Process::start("nginx", OTHER_CORE, &command, small)?;
        let command = [
            std::env::current_exe()?.display().to_string(),
            upstream::ARGUMENT.to_owned(),
            own.to_string(),
        ];
        let own_upstream = Process::start("the upstream", OTHER_CORE, &command, own)?;
        let store = Store::start(directory.path())?;
        Ok(Self {
            directory,
            credentials,
            nginx_upstream: Upstream { port: small, h2c: false },
            own_upstream: Upstream { port: own, h2c: false },
            _upstreams: [small_upstream, own_upstream],
            store,
            nginx,
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
        if self.store.is_none() {
            missing.push("redis-server");
        }
        missing
    }

    pub fn cases(&self) -> Vec<Case> {
        let small = self.nginx_upstream;
        let edge = || Edge::new(small);
        let jwt = || self.jwt();
        let none = |port: u16| self.load(port, None);
        let token = |port: u16| self.token(port);
        let many = |port: u16| Load {
            tokens: Some(Tokens { file: self.credentials.many.clone(), again: false }),
            ..self.load(port, None)
        };
        let proven = |port: u16| Load { proofs: Some(self.proofs()), ..self.load(port, None) };
        let key = |port: u16| self.load(port, Some(format!("X-API-Key: {API_KEY}")));
        let tls = |load: Load| Load { url: load.url.replacen("http:", "https:", 1), ..load };
        let close = |load: Load| Load { close: true, ..load };
        let mut cases = vec![
            self.against_all("no authentication", small, none),
            self.against_all("512 connections", small, |port| Load {
                connections: 512,
                ..none(port)
            }),
            Case {
                name: "echo",
                contestants: vec![
                    self.edge(Edge { echo: true, ..edge() }, none),
                    self.bare(small, false, none),
                ],
            },
            Case {
                name: "JWT seen before",
                contestants: [
                    Some(self.edge(jwt(), token)),
                    Some(self.bare(small, false, token)),
                    self.haproxy(small, &self.haproxy_jwt(), false, token),
                    self.envoy(small, Jwt::Remembered, token),
                ]
                .into_iter()
                .flatten()
                .collect(),
            },
            Case {
                name: NEW_TOKENS,
                contestants: [
                    Some(self.edge(jwt(), many)),
                    Some(self.bare(small, false, many)),
                    self.haproxy(small, &self.haproxy_jwt(), false, many),
                    self.envoy(small, Jwt::Verified, many),
                ]
                .into_iter()
                .flatten()
                .collect(),
            },
            Case {
                name: "DPoP",
                contestants: vec![
                    self.edge(Edge { steps: DPOP, ..edge() }, proven),
                    self.bare(small, false, proven),
                ],
            },
            Case {
                name: "API key",
                contestants: vec![
                    self.edge(Edge { steps: KEY, ..edge() }, key),
                    self.bare(small, false, key),
                ],
            },
            Case {
                name: "routes",
                contestants: vec![
                    self.edge(Edge { routes: 10, name: "10 routes", ..edge() }, none),
                    self.edge(Edge { routes: 100_000, name: "100,000 routes", ..edge() }, none),
                ],
            },
            Case {
                name: "threads",
                contestants: vec![
                    self.edge(Edge { name: "one worker", cores: "0,1", ..jwt() }, token),
                    self.edge(
                        Edge { name: "two workers", cores: "0,1", threads: 2, ..jwt() },
                        token,
                    ),
                ],
            },
            Case {
                name: "TLS with JWT",
                contestants: [
                    Some(self.edge(Edge { tls: true, ..jwt() }, |port| tls(token(port)))),
                    Some(self.bare(small, true, |port| tls(token(port)))),
                    self.haproxy(small, &self.haproxy_jwt(), true, |port| tls(token(port))),
                ]
                .into_iter()
                .flatten()
                .collect(),
            },
            Case {
                name: "TLS handshake each time",
                contestants: [
                    Some(self.edge(Edge { tls: true, ..edge() }, |port| close(tls(none(port))))),
                    Some(self.bare(small, true, |port| close(tls(none(port))))),
                    self.haproxy(small, "", true, |port| close(tls(none(port)))),
                ]
                .into_iter()
                .flatten()
                .collect(),
            },
        ];
        cases.retain(|case| case.contestants.len() > 1);
        cases.extend(self.cases_of_features());
        cases.extend(self.cases_of_bodies());
        cases.extend(self.cases_over_http2());
        cases
    }

    /// Bodies over HTTP/1.1, in either direction.
    fn cases_of_bodies(&self) -> Vec<Case> {
        const KIB: usize = 1 << 10;
        const MIB: usize = 1 << 20;
        let down = |name, bytes: usize, rate| {
            self.against_all(name, self.own_upstream, move |port| Load {
                url: format!("http://127.0.0.1:{port}/api/bytes/{bytes}"),
                connections: 16,
                h2load: Some(H2load { streams: None, rate, body: None, response: bytes }),
                ..self.load(port, None)
            })
        };
        let body = self.file("body", &"x".repeat(MIB));
        let up = self.against_all("1 MiB up", self.own_upstream, |port| Load {
            connections: 16,
            h2load: Some(H2load {
                streams: None,
                rate: 400,
                body: Some(body.clone()),
                response: upstream::GREETING.len(),
            }),
            ..self.load(port, None)
        });
        vec![
            down("64 KiB down", 64 * KIB, 4000),
            down("1 MiB down", MIB, 400),
            down("16 MiB down", 16 * MIB, 25),
            up,
        ]
    }

    /// HTTP/2 from the client to the upstream, without TLS.
    fn cases_over_http2(&self) -> Vec<Case> {
        const MESSAGE: usize = 100;
        let upstream = Upstream { h2c: true, ..self.own_upstream };
        let load = |port: u16, body: Option<&PathBuf>, response: usize| Load {
            connections: 8,
            h2load: Some(H2load { streams: Some(16), rate: 6000, body: body.cloned(), response }),
            ..self.load(port, None)
        };
        let plain = |port: u16| load(port, None, upstream::GREETING.len());
        // Not compressed, and its length.
        let message = format!("\0\0\0\0\x64{}", "m".repeat(MESSAGE));
        let file = self.file("message", &message);
        let call = |port: u16| Load {
            field: Some("content-type: application/grpc\nte: trailers".to_owned()),
            ..load(port, Some(&file), message.len())
        };
        let mut http2 = self.against_all("HTTP/2 to h2c", upstream, plain);
        // It has gRPC over HTTP/2 to upstreams, and nothing else.
        http2.contestants.retain(|contestant| contestant.name != "nginx");
        vec![http2, self.against_all("gRPC unary", upstream, call)]
    }

    /// Without authentication, beside every peer.
    fn against_all(
        &self,
        name: &'static str,
        upstream: Upstream,
        load: impl Fn(u16) -> Load + Copy,
    ) -> Case {
        let contestants = [
            Some(self.edge(Edge::new(upstream), load)),
            Some(self.bare(upstream, false, load)),
            self.haproxy(upstream, "", false, load),
            self.envoy(upstream, Jwt::None, load),
            self.nginx(upstream, load),
        ];
        Case { name, contestants: contestants.into_iter().flatten().collect() }
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

    /// An edge that asks for a JSON Web Token.
    pub fn jwt(&self) -> Edge {
        Edge { steps: JWT, ..Edge::new(self.nginx_upstream) }
    }

    /// The same token each time.
    pub fn token(&self, port: u16) -> Load {
        self.load(port, Some(format!("Authorization: Bearer {}", self.credentials.token)))
    }

    /// A proof for each request.
    fn proofs(&self) -> Proofs {
        let Credentials { sender, bound_token, .. } = &self.credentials;
        Proofs { sender: sender.clone(), token: bound_token.clone() }
    }

    pub fn load(&self, port: u16, field: Option<String>) -> Load {
        Load {
            url: format!("http://127.0.0.1:{port}/api/items/7?page=2"),
            field,
            tokens: None,
            proofs: None,
            connections: 64,
            close: false,
            h2load: None,
        }
    }
}
