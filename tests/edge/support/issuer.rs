//! An issuer of tokens: real RSA keys, served as a JWKS over HTTP on loopback. It can rotate and
//! withdraw keys, stop, come back, and answer in every wrong way.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::keys::{RsaKey, Signer};
use super::ports::Port;
use super::server::Server;
use super::token::Token;
use super::wire::Wire;

/// The path of the key set.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

/// How many bytes an endless answer has.
const ENDLESS: usize = 1_000_000_000;

pub struct Issuer {
    port: Port,
    state: Arc<State>,
    server: Option<Server>,
    signing: (String, Arc<RsaKey>),
}

/// How the issuer answers a fetch.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The key set, with these further fields in the head.
    Keys(Vec<(&'static str, String)>),
    /// The key set, after a while.
    Slowly(Duration),
    Status(u16),
    /// 200 with something that is no JSON.
    Garbage,
    /// 200 with far more than a key set may have.
    Huge,
    /// 200 without a length, and 1 GB for whoever takes it.
    Endless,
    /// Nothing, while the connection stays open.
    Silence,
    Redirect(String),
}

struct State {
    keys: Mutex<Vec<Value>>,
    answer: Mutex<Answer>,
    fetches: AtomicUsize,
    endless: AtomicUsize,
}

impl Issuer {
    /// An issuer with one key, `k1`.
    pub fn start() -> Self {
        Self::with_key("k1", 0)
    }

    /// An issuer with the key of that number, so that two issuers have different keys.
    pub fn with_key(kid: &str, number: usize) -> Self {
        let key = RsaKey::number(number);
        let state = Arc::new(State {
            keys: Mutex::new(vec![key.jwk(kid)]),
            answer: Mutex::new(Answer::Keys(Vec::new())),
            fetches: AtomicUsize::new(0),
            endless: AtomicUsize::new(0),
        });
        let mut issuer =
            Self { port: Port::claim(), state, server: None, signing: (kid.to_owned(), key) };
        issuer.restart();
        issuer
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{JWKS_PATH}", self.port)
    }

    /// A good token of the newest key.
    pub fn token(&self) -> Token {
        self.token_of(&self.signing.0, &self.signing.1)
    }

    pub fn token_of(&self, kid: &str, key: &Arc<RsaKey>) -> Token {
        Token::new("RS256", Signer::Rs256(Arc::clone(key))).kid(kid)
    }

    pub fn signing_key(&self) -> Arc<RsaKey> {
        Arc::clone(&self.signing.1)
    }

    /// A new key takes the place of all old ones.
    pub fn rotate(&mut self, kid: &str, number: usize) {
        let key = RsaKey::number(number);
        *self.state.keys.lock().unwrap() = vec![key.jwk(kid)];
        self.signing = (kid.to_owned(), key);
    }

    /// The key set as it is from now on; `token()` goes on signing with the key it had.
    pub fn publish(&self, keys: Vec<Value>) {
        *self.state.keys.lock().unwrap() = keys;
    }

    pub fn answer(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    pub fn answer_well(&self) {
        self.answer(Answer::Keys(Vec::new()));
    }

    pub fn fetches(&self) -> usize {
        self.state.fetches.load(Ordering::SeqCst)
    }

    /// How many bytes of endless answers were taken off its hands.
    pub fn endless_written(&self) -> usize {
        self.state.endless.load(Ordering::SeqCst)
    }

    /// Nobody listens any more; the port stays reserved.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Listens again where it did.
    pub fn restart(&mut self) {
        let state = Arc::clone(&self.state);
        self.server = Some(Server::start(self.port.number(), move |_, stream| {
            // A client that goes away is no matter of the issuer's.
            let _ = state.serve(stream);
        }));
    }
}

impl State {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut wire = Wire::new(stream);
        if wire.head()?.is_none() {
            return Ok(());
        }
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        let (status, fields, body) = match answer {
            Answer::Keys(fields) => (200, fields, self.key_set()),
            Answer::Slowly(pause) => {
                std::thread::sleep(pause);
                (200, Vec::new(), self.key_set())
            }
            Answer::Status(status) => (status, Vec::new(), b"{}".to_vec()),
            Answer::Garbage => (200, Vec::new(), b"<html>not a key set</html>".to_vec()),
            Answer::Huge => (200, Vec::new(), self.huge_key_set()),
            Answer::Redirect(to) => (302, vec![("Location", to)], Vec::new()),
            Answer::Endless => return self.serve_without_end(&mut wire),
            Answer::Silence => {
                // Ends when the client gives up or the server is stopped.
                let _ = wire.some();
                return Ok(());
            }
        };
        let mut head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n",
            body.len()
        );
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        wire.write(format!("{head}\r\n").as_bytes())?;
        wire.write(&body)
    }

    fn serve_without_end(&self, wire: &mut Wire) -> std::io::Result<()> {
        wire.write(
            b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n\
              {\"keys\": [",
        )?;
        let piece = [b' '; 64 * 1024];
        for _ in 0..ENDLESS / piece.len() {
            wire.write(&piece)?;
            self.endless.fetch_add(piece.len(), Ordering::SeqCst);
        }
        Ok(())
    }

    fn key_set(&self) -> Vec<u8> {
        json!({ "keys": *self.keys.lock().unwrap() }).to_string().into_bytes()
    }

    /// The real keys, and 20 MB that JSON allows after them: only a limit on the size can refuse
    /// it.
    fn huge_key_set(&self) -> Vec<u8> {
        let mut body = self.key_set();
        body.resize(body.len() + 20_000_000, b' ');
        body
    }
}
