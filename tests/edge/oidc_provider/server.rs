//! The issuer: `server.mjs` under Node.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::peers::running::{Running, skip};
use crate::support::authority::{Authority, Pair};
use crate::support::ports::Port;
use crate::support::request::Request;
use crate::support::secrets;

/// The secret of every client that has one.
pub const SECRET: &str = "the-secret-of-every-client-of-the-tests";

/// A resource whose access tokens are JSON Web Tokens,
pub const JWT: &str = "https://api.example/jwt";
/// and one whose access tokens are opaque. The audience of both is that of the tests.
pub const OPAQUE: &str = "https://api.example/opaque";

pub struct OidcProvider {
    pub node: Running,
    /// Where clients may show certificates.
    pub secure: Port,
    /// Who vouches for that.
    pub authority: Authority,
    /// What the client `mtls` shows.
    pub certificate: Pair,
}

impl OidcProvider {
    /// `None` after saying what is not here.
    #[track_caller]
    pub fn start() -> Option<Self> {
        Self::with_clients(&json!([]))
    }

    /// With clients besides those for access tokens of their own.
    #[track_caller]
    pub fn with_clients(clients: &Value) -> Option<Self> {
        secrets::remember(SECRET);
        let packages = packages();
        if !packages.join("oidc-provider").is_dir() {
            return skip("npm's oidc-provider");
        }
        let authority = Authority::new("root");
        let (own, certificate) = (authority.server(&["localhost"]), authority.client("client"));
        let (secure, clients) = (Port::claim(), clients.to_string());
        let packages = packages.to_str().expect("a path in UTF-8");
        let node = Running::start(
            "node",
            &["server.mjs", packages, "{port}", &secure.to_string()],
            &[
                ("server.mjs", include_str!("server.mjs")),
                ("clients.json", &clients),
                ("tls.key", &own.key),
                ("tls.pem", &own.certificate),
                ("client.pem", &certificate.certificate),
            ],
        )?;
        Some(Self { node, secure, authority, certificate })
    }

    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.node.port())
    }

    /// From now on these keys are published, and the first of them signs.
    pub fn rotate(&self, kids: &str) {
        let request = Request::new(self.node.port(), "GET", &format!("/test/keys/{kids}"));
        assert_eq!(request.send().status, 200);
    }

    /// A form for an endpoint, as a client with its secret sends it.
    pub fn form(&self, client: &str, path: &str, form: &str) -> Request {
        let pair = STANDARD.encode(format!("{client}:{SECRET}"));
        secrets::remember(&pair);
        Request::new(self.node.port(), "POST", path)
            .header("Authorization", format!("Basic {pair}"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form)
    }

    /// An access token of the client `plain` for a resource.
    #[track_caller]
    pub fn token(&self, resource: &str) -> String {
        access_token(&self.form("plain", "/token", &grant(resource)).send().json())
    }

    /// Makes an opaque token inactive.
    #[track_caller]
    pub fn revoke(&self, token: &str) {
        let revoked = self.form("plain", "/token/revocation", &format!("token={token}")).send();
        assert_eq!(revoked.status, 200);
    }
}

/// What asks for an access token in the client's own name.
pub fn grant(resource: &str) -> String {
    format!("grant_type=client_credentials&scope=read&resource={resource}")
}

/// The one in an answer. It must not be seen in the log of an edge of this test.
#[track_caller]
pub fn access_token(answer: &Value) -> String {
    let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}"));
    secrets::remember(token);
    token.to_owned()
}

/// Where `.ci/run` installs what `package.json` beside this file names.
pub fn packages() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = || {
        let home = || variable("HOME").unwrap_or_default().join(".cache");
        variable("XDG_CACHE_HOME").unwrap_or_else(home).join("harmony-edge/oidc-provider")
    };
    variable("OIDC_PROVIDER").unwrap_or_else(cache).join("node_modules")
}
