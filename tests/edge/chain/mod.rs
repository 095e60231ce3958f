//! Passwords and API keys, chains of several steps, and the policies before and after them.

mod api_key;
mod basic;
mod expressions;
mod limits;
mod limits_by_identity;
mod mixed;
mod order;
mod policies;
mod removed;
mod unverified;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::bearer::assert_generic_denial;
use crate::support::edge::EdgeBuilder;
use crate::support::request::Request;
use crate::support::settings::Route;
use crate::support::upstream::Received;
use crate::support::{Edge, Response, Settings, Upstream, secrets};

/// The challenges of the three kinds of step.
const BEARER: &str = r#"Bearer realm="harmony""#;
const BASIC: &str = r#"Basic realm="harmony", charset="UTF-8""#;
const API_KEY: &str = r#"ApiKey realm="harmony""#;

/// A user of a Basic step. The hashes are of `harmony-edge hash-password --cost 4`: quick, and good
/// enough for a test.
pub struct User {
    name: &'static str,
    password: &'static str,
    pub hash: &'static str,
}

pub const ALICE: User = User {
    name: "alice",
    password: "correcthorsebatterystaplealice",
    hash: "$2b$04$n8S8NFpb9wwCa50UMUTBK.K2.8lfkIUeiPIxY2EZK7BLlw6SGO/VC",
};
pub const BOB: User = User {
    name: "bob",
    password: "wronghorsewronghorsewrongbobby00",
    hash: "$2b$04$1vb2dK28fNKKuqqPQgMPVuKMtoSuhORWAfrEgagMQPr8dWx1rnOPu",
};

impl User {
    /// The member of `users = [...]`. Neither the hash nor the password may be seen in the log from
    /// here on.
    pub fn entry(&self) -> String {
        secrets::remember(self.hash);
        format!("{{ username = \"{}\", password_hash = \"{}\" }}", self.name, self.hash)
    }

    pub fn credential(&self) -> String {
        basic(self.name, self.password)
    }
}

/// An API key. The digests are of `harmony-edge hash-key`.
pub struct Key {
    id: &'static str,
    key: &'static str,
    digest: &'static str,
}

pub const BILLING: Key = Key {
    id: "billing",
    key: "hk_goodkeygoodkeygoodkeygood0001",
    digest: "sha256:0ebdb30199e3bbb6301173e87cc4e5448e6249d7dc3a9043b41718255002f943",
};
pub const REPORTS: Key = Key {
    id: "reports",
    key: "hk_secondkeysecondkeysecond00002",
    digest: "sha256:8b17d8e70557eabe71c832e2cb65017d573e3f013c0719bea2eb169e5d459e75",
};
const BYGONE: Key = Key {
    id: "bygone",
    key: "hk_expiredkeyexpiredkeyexpired03",
    digest: "sha256:0b2387276a5f99c0214247b128a6c21170e4ef71e945fe4ad5ba44da9aae4cb4",
};

impl Key {
    /// The member of `keys = [...]`, with these further settings. The key may not be seen in the
    /// log from here on.
    pub fn entry(&self, further: &str) -> String {
        format!("{{ id = \"{}\", hash = \"{}\"{further} }}", self.id, self.digest)
    }

    pub fn key(&self) -> &'static str {
        secret(self.key)
    }
}

/// Remembers it, also without its first letter, which a query may hold in escaped form.
fn secret(text: &str) -> &str {
    secrets::remember(text);
    secrets::remember(&text[1..]);
    text
}

/// The value of `Authorization` for this user and password, which may not be seen in the log from
/// here on, in either form.
fn basic(user: &str, password: &str) -> String {
    let encoded = STANDARD.encode(format!("{user}:{password}"));
    secrets::remember(password);
    secrets::remember(&encoded);
    format!("Basic {encoded}")
}

/// A step as it stands in the file.
pub fn step(name: &str, kind: &str, flags: &str, config: &str) -> String {
    format!(
        "[middleware.{name}]\ntype = \"{kind}\"\n{flags}\n[middleware.{name}.config]\n{config}\n"
    )
}

/// `/api` with these steps, whose tables follow.
pub fn edge_of(upstream: &Upstream, steps: &[&str], tables: &str) -> EdgeBuilder {
    Edge::configured(
        Settings::bare()
            .and(&Route::to("api", upstream).prefix("/api").steps(steps).text())
            .and(tables),
    )
}

/// A request in one of the shapes that all have to authenticate.
struct Form {
    name: String,
    method: &'static str,
    body: &'static str,
    request: Request,
}

/// HTTP/1.1 and HTTP/2, with and without a body, and an upgrade.
fn forms(edge: &Edge) -> Vec<Form> {
    let mut forms = Vec::new();
    for http2 in [false, true] {
        for (method, body) in [("GET", ""), ("HEAD", ""), ("OPTIONS", ""), ("POST", "a body")] {
            let request = edge.request(method, "/api/x");
            let request = if http2 { request.http2() } else { request };
            let request = if body.is_empty() { request } else { request.body(body) };
            forms.push(Form { name: format!("{method}, HTTP/2: {http2}"), method, body, request });
        }
    }
    let upgrade = edge
        .get("/api/x")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    forms.push(Form { name: "an upgrade".into(), method: "GET", body: "", request: upgrade });
    forms
}

impl Form {
    /// Sends it with these fields besides; the response, and what it is called in assertions.
    fn send(&self, row: &str, fields: &[(&str, &str)]) -> (String, Response) {
        let request = fields
            .iter()
            .fold(self.request.clone(), |request, (name, value)| request.header(name, *value));
        (format!("{row}; {}", self.name), request.send())
    }

    /// Denied with this status and exactly these challenges. The bytes of the answer, for those
    /// that have to be the same.
    #[track_caller]
    fn assert_denied(
        &self,
        row: &str,
        fields: &[(&str, &str)],
        status: u16,
        challenges: &[&str],
    ) -> String {
        let (row, response) = self.send(row, fields);
        assert_eq!(response.status, status, "{row}");
        assert_eq!(response.fields("www-authenticate"), challenges, "{row}");
        if self.method == "HEAD" {
            assert!(response.body.is_empty(), "{row}: HEAD has no body");
            assert_eq!(response.field("cache-control"), Some("no-store"), "{row}");
        } else {
            assert_generic_denial(&row, &response);
        }
        response.without_date_and_id()
    }

    /// Let through, once, as this subject by this method.
    #[track_caller]
    fn assert_passes(
        &self,
        row: &str,
        fields: &[(&str, &str)],
        upstream: &Upstream,
        identity: (&str, &str),
    ) -> Received {
        upstream.clear();
        let (row, response) = self.send(row, fields);
        assert_eq!(response.status, 200, "{row}");
        let received = upstream.only();
        assert_eq!(
            (received.method(), received.body.as_slice()),
            (self.method, self.body.as_bytes()),
            "{row}"
        );
        assert_eq!(identity_of(&received), (Some(identity.0), Some(identity.1)), "{row}");
        upstream.clear();
        received
    }
}

/// The method and the subject that the upstream was told.
fn identity_of(received: &Received) -> (Option<&str>, Option<&str>) {
    (received.head.field("x-auth-method"), received.head.field("x-auth-subject"))
}

/// Nothing of the secret is in the head that the upstream received.
#[track_caller]
fn assert_absent(row: &str, received: &Received, secret: &str) {
    let head = String::from_utf8_lossy(&received.raw);
    assert!(!head.contains(secret), "{row}: the credential reached the upstream: {head}");
}

/// Loads the configuration anew, which has to succeed.
#[track_caller]
fn reload(edge: &Edge) {
    let answer = edge.steer("POST", "/admin/reload").send();
    assert_eq!(answer.status, 200, "{}", answer.text());
}
