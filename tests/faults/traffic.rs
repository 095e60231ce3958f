//! Requests that go on beside a fault: good ones, each of which counts as lost unless it is
//! answered 200, and bad ones, which nothing may admit.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::SOON;
use crate::support::request::Request;
use crate::support::{Client, Edge, Issuer, eventually};

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(20);

/// Clients that go on until they are stopped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    admitted: AtomicUsize,
    lost: Mutex<Vec<String>>,
}

/// What became of the requests.
pub struct Outcome {
    pub requests: usize,
    /// Why, for each request that was lost.
    pub lost: Vec<String>,
    pub admitted: usize,
}

impl Traffic {
    /// To a `path` behind a `jwt` step: tokens that were seen and tokens that were not, on a kept
    /// connection and on new ones; and tokens that are expired, of an unknown key, or signed by
    /// another one.
    pub fn with_tokens(edge: &Edge, issuer: &Issuer, path: &str) -> Self {
        let request = |token: String| edge.get(path).bearer(&token);
        let good =
            (0..40).map(|number| request(issuer.token().claim("jti", number).sign())).collect();
        let other = crate::support::keys::RsaKey::number(3);
        let bad = [
            issuer.token().expired(),
            issuer.token().kid("unknown"),
            issuer.token_of("k1", &other),
        ]
        .map(|token| request(token.sign()));
        Self::start(good, bad.to_vec())
    }

    /// `good` requests on a kept connection; and, unless there are no `bad` ones, both on new
    /// connections too.
    pub fn start(good: Vec<Request>, bad: Vec<Request>) -> Self {
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let client = |requests: Vec<Request>, step: fn(&Counts, &mut Option<Client>, &Request)| {
            let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
            thread::spawn(move || {
                let mut kept = None;
                for request in requests.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed))
                {
                    step(&counts, &mut kept, request);
                    thread::sleep(PAUSE);
                }
            })
        };
        let mut clients = vec![client(good.clone(), Counts::take)];
        if !bad.is_empty() {
            clients.push(client(good, Counts::take_on_a_new_connection));
            clients.push(client(bad, Counts::take_bad));
        }
        Self { stop, counts, clients }
    }

    /// Waits until so many more were answered.
    pub fn await_requests(&self, number: usize) {
        let so_far = self.counts.requests.load(Ordering::Relaxed);
        eventually("traffic", SOON, || {
            (self.counts.requests.load(Ordering::Relaxed) >= so_far + number).then_some(())
        });
    }

    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().expect("a client"));
        let lost = std::mem::take(&mut *self.counts.lost.lock().unwrap());
        Outcome {
            requests: self.counts.requests.load(Ordering::Relaxed),
            lost,
            admitted: self.counts.admitted.load(Ordering::Relaxed),
        }
    }
}

impl Counts {
    fn take(&self, kept: &mut Option<Client>, request: &Request) {
        match answer(kept, request) {
            Ok(200) => drop(self.requests.fetch_add(1, Ordering::Relaxed)),
            Ok(status) => self.lost.lock().unwrap().push(format!("status {status}")),
            Err(why) => self.lost.lock().unwrap().push(why),
        }
    }

    fn take_on_a_new_connection(&self, _: &mut Option<Client>, request: &Request) {
        self.take(&mut None, request);
    }

    /// A bad request is lost only if it gets no answer.
    fn take_bad(&self, _: &mut Option<Client>, request: &Request) {
        match answer(&mut None, request) {
            Ok(status) => {
                self.requests.fetch_add(1, Ordering::Relaxed);
                self.admitted.fetch_add(usize::from(status < 400), Ordering::Relaxed);
            }
            Err(why) => self.lost.lock().unwrap().push(why),
        }
    }
}

/// The status of the answer. The connection stays in `kept` if it may be used again.
fn answer(kept: &mut Option<Client>, request: &Request) -> Result<u16, String> {
    let mut client = kept.take().unwrap_or_else(|| Client::connect(request.port()));
    match client.send(request.bytes()).try_response("GET") {
        Ok(Some(response)) if !response.complete => {
            Err(format!("status {} and half a body", response.status))
        }
        Ok(Some(response)) => {
            if !response
                .fields("connection")
                .iter()
                .any(|value| value.eq_ignore_ascii_case("close"))
            {
                *kept = Some(client);
            }
            Ok(response.status)
        }
        Ok(None) => Err("closed without an answer".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
