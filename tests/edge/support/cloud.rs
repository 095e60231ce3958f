//! A stand-in for Runbeam Cloud on loopback: it speaks the wire of the real one, records every
//! request, and can be made to fail in every way.
//!
//! `api` holds what it answers when all is well.

mod api;

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use super::keys::{RsaKey, Signer};
use super::ports::Port;
use super::secrets;
use super::server::Server;
use super::token::Token;
use super::wire::Wire;

pub use api::GATEWAY_ID;

/// The `kid` of the key that it signs with.
pub const KID: &str = "cloud-1";

/// How many bytes an endless answer has.
pub const ENDLESS: usize = 1_000_000_000;

pub struct Cloud {
    port: Port,
    key: Arc<RsaKey>,
    shared: Arc<Shared>,
    server: Option<Server>,
}

/// What the cloud does instead of its work.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Closes the connection without an answer.
    Down,
    /// Answers well, after this time.
    Slow(Duration),
    /// Accepts, and never answers.
    Silence,
    /// 200 with this many bytes that are no JSON.
    Garbage(usize),
    /// 200 without a length, and far more than anybody should read.
    Endless,
    /// 200 with this.
    Body(String),
    /// A status with the cloud's message, and further fields in the head.
    Status(u16, Vec<(&'static str, String)>),
    /// A redirect with this status to this URL.
    Redirect(u16, String),
}

impl Fault {
    pub fn status(status: u16) -> Self {
        Self::Status(status, Vec::new())
    }

    pub fn retry_after(status: u16, seconds: u64) -> Self {
        Self::Status(status, vec![("Retry-After", seconds.to_string())])
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: String,
    /// With its query.
    pub path: String,
    pub authorization: Option<String>,
    pub user_agent: Option<String>,
    pub content_type: Option<String>,
    /// `null` without a body.
    pub body: Value,
    /// The whole head, for those who look for what must not be there.
    pub head: String,
}

/// A fault that meets requests whose path holds `part`, so many times.
struct Planned {
    part: String,
    fault: Fault,
    left: usize,
}

/// What the handle and the threads of the server share.
struct Shared {
    requests: Mutex<Vec<Recorded>>,
    faults: Mutex<Vec<Planned>>,
    api: Mutex<api::Api>,
    endless: AtomicUsize,
}

impl Cloud {
    pub fn start() -> Self {
        let port = Port::claim();
        let key = RsaKey::number(5);
        // Made here, since only the test's own thread can remember a secret.
        let tokens: Vec<String> = (0..16)
            .map(|number| {
                format!("mt_{:016x}{:016x}{number:04}", fastrand::u64(..), fastrand::u64(..))
            })
            .collect();
        tokens.iter().for_each(|token| secrets::remember(token));
        let api = api::Api::new(format!("http://127.0.0.1:{port}"), key.jwk(KID), tokens);
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            faults: Mutex::default(),
            api: Mutex::new(api),
            endless: AtomicUsize::new(0),
        });
        let mut cloud = Self { port, key, shared, server: None };
        cloud.restart();
        cloud
    }

    /// The base address, without `/api`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Nobody listens any more; the port stays reserved.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Listens again where it did, with what it knew.
    pub fn restart(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.server = Some(Server::start(self.port.number(), move |_, stream| {
            // A client that goes away is no matter of the cloud's.
            let _ = shared.serve(stream);
        }));
    }

    /// A good user token, to be spoiled by whoever needs a bad one.
    pub fn user_token(&self) -> Token {
        Token::new("RS256", Signer::Rs256(Arc::clone(&self.key)))
            .kid(KID)
            .without("aud")
            .claim("iss", format!("{}/api/cli/check-login/xyz", self.url()))
            .claim("sub", "user-1")
            .claim("user", json!({ "id": "u1", "email": "op@example.com", "name": "Op" }))
            .claim("team", json!({ "id": "t1", "name": "Team" }))
    }

    pub fn signing_key(&self) -> Arc<RsaKey> {
        Arc::clone(&self.key)
    }

    /// From now on every request meets this fault, until [`Self::recover`].
    pub fn fail(&self, fault: Fault) {
        self.fail_at("", usize::MAX, fault);
    }

    /// The next `times` requests whose path holds `part` meet this fault. Faults that were planned
    /// earlier come first.
    pub fn fail_at(&self, part: &str, times: usize, fault: Fault) {
        self.shared.faults.lock().unwrap().push(Planned {
            part: part.to_owned(),
            fault,
            left: times,
        });
    }

    /// All is well again.
    pub fn recover(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Those whose path holds `part`.
    pub fn requests_to(&self, part: &str) -> Vec<Recorded> {
        self.requests().into_iter().filter(|request| request.path.contains(part)).collect()
    }

    pub fn forget_requests(&self) {
        self.shared.requests.lock().unwrap().clear();
    }

    /// A change that waits for the gateway; changes are as old as their order.
    pub fn add_change(&self, id: &str, change_type: &str, toml: &str) {
        self.api().add_change(id, change_type, toml);
    }

    /// `pending`, `acknowledged`, `applied` or `failed`; `None` for a change that is not there.
    pub fn change_status(&self, id: &str) -> Option<String> {
        self.api().change_status(id)
    }

    /// How many elements a page of a list has. As many as there are, at first.
    pub fn page_size(&self, size: usize) {
        self.api().page_size = size;
    }

    /// For how many seconds machine tokens count that are issued from now on. 30 days, at first.
    pub fn token_ttl(&self, seconds: i64) {
        self.api().token_ttl = seconds;
    }

    /// The machine tokens that were issued so far, oldest first.
    pub fn issued_tokens(&self) -> Vec<String> {
        self.api().issued.clone()
    }

    /// Machine tokens that were issued so far are answered 401.
    pub fn revoke_issued_tokens(&self) {
        self.api().revoke();
    }

    /// Whether a machine token may be renewed with itself. It may, at first.
    pub fn allow_renewal(&self, allowed: bool) {
        self.api().renewal = allowed;
    }

    /// A device login ends with this user token, at once.
    pub fn log_in_with(&self, user_token: &str) {
        self.api().login = Some(user_token.to_owned());
    }

    /// What it answers when it is asked for its base address; `None`: 404.
    pub fn base_url_answer(&self, answer: Option<Value>) {
        self.api().base_url = answer;
    }

    /// Puts a resource into a collection: `gateways`, `services`, `endpoints`, `backends` or
    /// `pipelines`.
    pub fn add(&self, collection: &str, resource: Value) {
        self.api().add(collection, resource);
    }

    /// How many bytes of endless answers were taken off its hands.
    pub fn endless_written(&self) -> usize {
        self.shared.endless.load(Ordering::SeqCst)
    }

    fn api(&self) -> MutexGuard<'_, api::Api> {
        self.shared.api.lock().unwrap()
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut wire = Wire::new(stream);
        let Some(head) = wire.head()? else {
            return Ok(());
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = Vec::new();
        wire.exactly(length, &mut |piece| body.extend_from_slice(piece))?;
        let mut first = head.split(' ');
        let request = Recorded {
            method: first.next().unwrap_or_default().to_owned(),
            path: first.next().unwrap_or_default().to_owned(),
            authorization: field("authorization"),
            user_agent: field("user-agent"),
            content_type: field("content-type"),
            body: serde_json::from_slice(&body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&body).into()),
            head: head.clone(),
        };
        let request =
            if body.is_empty() { Recorded { body: Value::Null, ..request } } else { request };
        self.requests.lock().unwrap().push(request.clone());
        let well = || {
            let (status, answer) = self.api.lock().unwrap().answer(&request);
            (
                status,
                Vec::new(),
                if answer.is_null() { Vec::new() } else { answer.to_string().into_bytes() },
            )
        };
        let (status, fields, body) = match self.fault(&request.path) {
            None => well(),
            Some(Fault::Down) => return Ok(()),
            Some(Fault::Silence) => {
                // Ends when the client gives up or the server is stopped.
                let _ = wire.some();
                return Ok(());
            }
            Some(Fault::Endless) => return self.serve_without_end(&mut wire),
            Some(Fault::Slow(pause)) => {
                std::thread::sleep(pause);
                well()
            }
            Some(Fault::Garbage(bytes)) => (
                200,
                Vec::new(),
                format!("<html>{}", "A".repeat(bytes.saturating_sub(6))).into_bytes(),
            ),
            Some(Fault::Body(body)) => (200, Vec::new(), body.into_bytes()),
            Some(Fault::Status(status, fields)) => (
                status,
                fields,
                json!({ "message": format!("The cloud says {status}.") }).to_string().into_bytes(),
            ),
            Some(Fault::Redirect(status, to)) => (status, vec![("Location", to)], Vec::new()),
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
            b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[",
        )?;
        let piece = [b' '; 64 * 1024];
        while self.endless.load(Ordering::SeqCst) < ENDLESS {
            wire.write(&piece)?;
            self.endless.fetch_add(piece.len(), Ordering::SeqCst);
        }
        Ok(())
    }

    fn fault(&self, path: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let planned =
            faults.iter_mut().find(|planned| planned.left > 0 && path.contains(&planned.part))?;
        planned.left -= 1;
        Some(planned.fault.clone())
    }
}
