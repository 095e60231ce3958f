//! An identity provider: a discovery document, a key set and whatever else a test has it serve, by
//! path, over HTTP on loopback.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::keys::{RsaKey, Signer};
use super::message::{Framing, Head};
use super::ports::Port;
use super::server::Server;
use super::token::Token;
use super::wire::Wire;

/// The path of the document of OpenID Connect.
pub const DOCUMENT: &str = "/.well-known/openid-configuration";
/// The path of the first key set.
pub const KEYS: &str = "/keys";

pub struct Provider {
    port: Port,
    server: Option<Server>,
    state: Arc<State>,
}

/// What is answered at a path.
#[derive(Debug, Clone)]
pub enum Reply {
    Json(Value),
    Status(u16),
    Redirect(String),
    /// Nothing, while the connection stays open.
    Silence,
    /// That, after a while.
    After(Duration, Box<Self>),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub head: Head,
    pub body: String,
}

impl Asked {
    pub fn path(&self) -> &str {
        self.head.first_line.split(' ').nth(1).unwrap_or_default()
    }
}

type Script = Box<dyn Fn(&Asked) -> Reply + Send + Sync>;

#[derive(Default)]
struct State {
    replies: Mutex<HashMap<String, Arc<Script>>>,
    asked: Mutex<Vec<Asked>>,
}

impl Provider {
    /// With a document that names its own URL, and the key `k1`.
    pub fn start() -> Self {
        Self::with_key("k1", 0)
    }

    pub fn with_key(kid: &str, number: usize) -> Self {
        let mut provider =
            Self { port: Port::claim(), server: None, state: Arc::new(State::default()) };
        provider.serve(DOCUMENT, provider.document());
        provider.serve(KEYS, key_set(kid, number));
        provider.restart();
        provider
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A document that is right.
    pub fn document(&self) -> Value {
        json!({
            "issuer": self.url(),
            "jwks_uri": format!("{}{KEYS}", self.url()),
            "introspection_endpoint": format!("{}/introspect", self.url()),
        })
    }

    pub fn serve(&self, path: &str, json: Value) {
        self.answer(path, Reply::Json(json));
    }

    pub fn answer(&self, path: &str, reply: Reply) {
        self.script(path, move |_| reply.clone());
    }

    /// Answers each request to a path by what it says.
    pub fn script(&self, path: &str, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        self.state.replies.lock().unwrap().insert(path.to_owned(), Arc::new(Box::new(script)));
    }

    /// A good token of this issuer, under a key of [`RsaKey::number`].
    pub fn token(&self, kid: &str, number: usize) -> Token {
        Token::new("RS256", Signer::Rs256(RsaKey::number(number))).kid(kid).claim("iss", self.url())
    }

    /// What was asked at a path so far.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|one| one.path() == path).cloned().collect()
    }

    /// Nobody listens any more; the port stays reserved.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Listens again where it did.
    pub fn restart(&mut self) {
        let state = Arc::clone(&self.state);
        self.server = Some(Server::start(self.port.number(), move |_, stream| {
            // A client that goes away is no matter of the provider's.
            let _ = state.serve(stream);
        }));
    }
}

/// A key set with one key of [`RsaKey::number`].
pub fn key_set(kid: &str, number: usize) -> Value {
    json!({ "keys": [RsaKey::number(number).jwk(kid)] })
}

impl State {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut wire = Wire::new(stream);
        while let Some(raw) = wire.head()? {
            let head = Head::parse(&raw);
            let mut body = Vec::new();
            if let Framing::Length(length) = head.framing() {
                wire.exactly(length, &mut |piece| body.extend_from_slice(piece))?;
            }
            let asked = Asked { head, body: String::from_utf8_lossy(&body).into_owned() };
            let script = self.replies.lock().unwrap().get(asked.path()).cloned();
            self.asked.lock().unwrap().push(asked.clone());
            let mut reply = script.map_or(Reply::Status(404), |script| script(&asked));
            while let Reply::After(pause, then) = reply {
                std::thread::sleep(pause);
                reply = *then;
            }
            let (status, field, body) = match reply {
                Reply::Json(json) => (200, String::new(), json.to_string()),
                Reply::Status(status) => (status, String::new(), "{}".to_owned()),
                Reply::Redirect(to) => (302, format!("Location: {to}\r\n"), String::new()),
                Reply::Silence | Reply::After(..) => {
                    // Ends when the client gives up or the server is stopped.
                    let _ = wire.some();
                    return Ok(());
                }
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{field}\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            wire.write(format!("{head}{body}").as_bytes())?;
        }
        Ok(())
    }
}
