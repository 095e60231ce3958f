//! What features cost: each beside the same edge without it, with a token seen before.

use std::path::Path;

use harmony::auth::{Revocation, Revocations, Target, TokenSelector};

use crate::cases::{Bench, Case};
use crate::contestants::{Contestant, Edge};
use crate::credentials::ISSUER;
use crate::drive::{Load, Tokens};
use crate::process::{Process, free_port, program};

/// As many as a list takes by default.
const REVOCATIONS: usize = 100_000;

/// A Redis of our own.
pub struct Store {
    pub port: u16,
    _process: Process,
}

impl Store {
    /// `None`: it is not installed.
    pub fn start(directory: &Path) -> anyhow::Result<Option<Self>> {
        let Some(server) = program("redis-server") else {
            return Ok(None);
        };
        let port = free_port()?;
        let command = format!(
            "{server} --bind 127.0.0.1 --port {port} --save --appendonly no --dir {}",
            directory.display()
        );
        let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let process = Process::start("Redis", "1", &command, port)?;
        Ok(Some(Self { port, _process: process }))
    }
}

impl Bench {
    pub fn cases_of_features(&self) -> Vec<Case> {
        let subjects = |port: u16| Load {
            tokens: Some(Tokens { file: self.credentials.subjects.clone(), again: true }),
            ..self.load(port, None)
        };
        let limited = |rule: &str, store: &str| Edge {
            steps: r#"["jwt", "limit"]"#,
            more: format!(
                "[middleware.limit]\ntype = \"policies\"\npolicies = [\"limit\"]\n\
                 [policies.limit]\nrules = [\"everybody\", \"often\"]\n\
                 [rules.everybody]\ntype = \"allow_all\"\n\
                 [rules.often]\ntype = \"rate_limit\"\nmax_requests = 100000\n\
                 window_seconds = 600\nby = \"subject\"\n{rule}\n{store}"
            ),
            ..self.jwt()
        };
        let traced = || Edge {
            more: format!(
                "[tracing]\nendpoint = \"http://127.0.0.1:{}\"\nsample_ratio = 0.01\n",
                self.nginx_upstream.port
            ),
            ..self.jwt()
        };
        let token = |port: u16| self.token(port);
        let mut cases = vec![
            self.feature("limit by subject", self.edge(limited("", ""), subjects), subjects),
            self.feature(
                "limit without fields",
                self.edge(limited("headers = false", ""), subjects),
                subjects,
            ),
            self.feature("spans of one in a hundred", self.edge(traced(), token), token),
        ];
        if let Some(store) = &self.store {
            let url = format!("[shared]\nurl = \"redis://127.0.0.1:{}\"\n", store.port);
            let edge = self.edge(limited("scope = \"shared\"", &url), subjects);
            cases.push(self.feature("shared limit by subject", edge, subjects));
        }
        match self.revoking(token) {
            Ok(edge) => cases.push(self.feature("100,000 revocations", edge, token)),
            Err(error) => println!("100,000 revocations: not measured: {error:#}"),
        }
        cases
    }

    fn feature(&self, name: &'static str, edge: Contestant, load: impl Fn(u16) -> Load) -> Case {
        let without = self.edge(Edge { name: "without", ..self.jwt() }, load);
        Case { name, contestants: vec![edge, without] }
    }

    /// An edge with a full list, none of which is about the token.
    fn revoking(&self, load: impl Fn(u16) -> Load) -> anyhow::Result<Contestant> {
        let port = free_port()?;
        let list = Revocations::open(Some(self.edge_state(port)))?;
        let revoked = (0..REVOCATIONS).map(|id| {
            let token = TokenSelector::TokenId(format!("revoked-{id}").into());
            Revocation::new(Target::Tokens(ISSUER.into(), token), None, None)
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(list.revoke(revoked.collect()))?;
        Ok(self.edge_at(port, self.jwt(), load))
    }
}
