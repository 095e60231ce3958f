//! An edge with a TLS listener beside the plain one: `/s` on the network `tls` leads to an echo.

use std::fs;

use crate::support::authority::{Authority, Pair};
use crate::support::edge::EdgeBuilder;
use crate::support::ports::Port;
use crate::support::tls::Offer;
use crate::support::{Edge, Settings};

pub struct Listening {
    pub edge: Edge,
    pub authority: Authority,
    /// The certificate that the edge was started with: for `localhost` and `first.example`.
    pub pair: Pair,
    port: Port,
}

/// A listening edge to be.
pub struct Builder {
    edge: EdgeBuilder,
    authority: Authority,
    pair: Pair,
    port: Port,
    network: String,
    pipeline: String,
}

impl Listening {
    pub fn with() -> Builder {
        let authority = Authority::new("the test's authority");
        let pair = authority.server(&["localhost", "first.example"]);
        Builder {
            edge: Edge::configured(Settings::bare()),
            authority,
            pair,
            port: Port::claim(),
            network: "cert_path = \"tls/cert.pem\"\nkey_path = \"tls/key.pem\"\n".into(),
            pipeline: String::new(),
        }
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn offer(&self) -> Offer {
        Offer::trusting(&self.authority)
    }

    /// Puts other files under the running process.
    pub fn replace(&self, pair: &Pair) {
        self.write("tls/cert.pem", &pair.certificate);
        self.write("tls/key.pem", &pair.key);
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.edge.directory().join(name), content).expect("a file of the edge's");
    }

    /// Asks for a reload: the status and the answer.
    pub fn reload(&self) -> (u16, String) {
        let answer = self.edge.steer("POST", "/admin/reload").send();
        (answer.status, answer.text())
    }
}

impl Builder {
    /// Lines in `[network.tls.http]`.
    pub fn network(mut self, lines: &str) -> Self {
        self.network += lines;
        self.network += "\n";
        self
    }

    /// Lines in `[pipelines.secure]`, such as its middleware.
    pub fn pipeline(mut self, lines: &str) -> Self {
        self.pipeline += lines;
        self.pipeline += "\n";
        self
    }

    /// Files are watched, as they are by default.
    pub fn watching(mut self) -> Self {
        self.edge = self.edge.watching();
        self
    }

    /// Further tables.
    pub fn and(mut self, tables: &str) -> Self {
        self.edge = self.edge.and(tables);
        self
    }

    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.edge = self.edge.file(name, content);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.edge = self.edge.env(name, value);
        self
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    #[track_caller]
    pub fn start(self) -> Listening {
        let Self { edge, authority, pair, port, network, pipeline } = self;
        let tables = format!(
            "[network.tls.http]\nbind_address = \"127.0.0.1\"\nbind_port = {port}\n{network}\n\
             [pipelines.secure]\nnetworks = [\"tls\"]\nendpoints = [\"secure\"]\n{pipeline}\n\
             [endpoints.secure]\nservice = \"echo\"\noptions = {{ path_prefix = \"/s\" }}\n"
        );
        let edge = edge
            .file("tls/cert.pem", &pair.certificate)
            .file("tls/key.pem", &pair.key)
            .and(&tables)
            .start();
        Listening { edge, authority, pair, port }
    }
}
