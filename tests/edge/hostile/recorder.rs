//! An upstream that keeps every byte that it gets: a tape for each connection, from which nothing
//! is taken away. It answers only what the strict reader understands.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::strict::{self, Request};
use crate::support::poll::becomes_true;
use crate::support::ports::Port;
use crate::support::server::Server;

/// How long what is under way may take on a busy machine.
const SETTLING: Duration = Duration::from_secs(5);

/// What came on one connection.
#[derive(Debug, Clone, Default)]
struct Tape {
    bytes: Vec<u8>,
    ended: bool,
}

/// The answer to a request, byte for byte.
pub enum Reply {
    Keep(Vec<u8>),
    Close(Vec<u8>),
}

pub struct Recorder {
    port: Port,
    _server: Server,
    tapes: Arc<Mutex<Vec<Tape>>>,
}

/// A moment on the tapes.
pub struct Mark(Vec<usize>);

impl Recorder {
    /// Answers every request with its target.
    pub fn start() -> Self {
        Self::with(|request| Reply::Keep(own_answer(request)))
    }

    pub fn with(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let port = Port::claim();
        let tapes = Arc::new(Mutex::new(Vec::new()));
        let server = Server::start(port.number(), {
            let tapes = Arc::clone(&tapes);
            move |_, stream| {
                let number = {
                    let mut tapes = tapes.lock().unwrap();
                    tapes.push(Tape::default());
                    tapes.len() - 1
                };
                record(&tapes, number, stream, &script);
                tapes.lock().unwrap()[number].ended = true;
            }
        });
        Self { port, _server: server, tapes }
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn mark(&self) -> Mark {
        Mark(self.tapes.lock().unwrap().iter().map(|tape| tape.bytes.len()).collect())
    }

    /// The requests since the mark, once nothing is half there on a connection that is still open;
    /// or how they can be misread.
    pub fn since(&self, mark: &Mark) -> Result<Vec<Request>, String> {
        becomes_true(SETTLING, || self.news(mark).iter().all(is_settled));
        let mut seen = Vec::new();
        for tape in self.news(mark) {
            seen.extend(
                strict::requests(&tape.bytes).map_err(|why| {
                    format!("{why} in {:?}", String::from_utf8_lossy(&tape.bytes))
                })?,
            );
        }
        Ok(seen)
    }

    fn news(&self, mark: &Mark) -> Vec<Tape> {
        let tapes = self.tapes.lock().unwrap();
        let news = tapes.iter().enumerate().map(|(number, tape)| Tape {
            bytes: tape.bytes[mark.0.get(number).copied().unwrap_or(0)..].to_vec(),
            ended: tape.ended,
        });
        news.filter(|tape| !tape.bytes.is_empty()).collect()
    }
}

fn is_settled(tape: &Tape) -> bool {
    let ends_whole = |requests: Vec<Request>| requests.last().is_some_and(|request| request.whole);
    tape.ended || strict::requests(&tape.bytes).is_ok_and(ends_whole)
}

fn record(
    tapes: &Mutex<Vec<Tape>>,
    number: usize,
    mut stream: TcpStream,
    script: &impl Fn(&Request) -> Reply,
) {
    let (mut used, mut piece) = (0, [0; 64 * 1024]);
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        let bytes = {
            let mut tapes = tapes.lock().unwrap();
            tapes[number].bytes.extend_from_slice(&piece[..read]);
            tapes[number].bytes.clone()
        };
        loop {
            let (request, length) = match strict::next(&bytes[used..]) {
                Ok(Some((request, length))) if request.whole => (request, length),
                Ok(_) => break,
                Err(_) => return drop(stream.shutdown(Shutdown::Both)),
            };
            used += length;
            let (answer, close) = match script(&request) {
                Reply::Keep(answer) => (answer, false),
                Reply::Close(answer) => (answer, true),
            };
            if stream.write_all(&answer).is_err() || close {
                return drop(stream.shutdown(Shutdown::Write));
            }
        }
    }
}

/// 200, with the target as the body.
pub fn own_answer(request: &Request) -> Vec<u8> {
    let body = if request.method == "HEAD" { "" } else { &request.target };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", request.target.len())
        .into_bytes()
}
