//! The service behind the edge: it records every request byte for byte as it was received, and
//! answers as its script says.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::message::{Framing, Head};
use super::poll::eventually;
use super::ports::Port;
use super::server::Server;
use super::wire::Wire;

/// A request as the upstream received it.
#[derive(Debug, Clone)]
pub struct Received {
    /// The number of the connection that it came on.
    pub connection: usize,
    /// The head, byte for byte.
    pub raw: Vec<u8>,
    pub head: Head,
    /// The body without its framing, as far as it was read.
    pub body: Vec<u8>,
    pub trailers: Vec<u8>,
    /// Whether the body came to its end.
    pub complete: bool,
    /// Whether nothing more of it will come, whole or not.
    pub ended: bool,
}

impl Received {
    pub fn method(&self) -> &str {
        self.head.first_line.split(' ').next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.head.first_line.split(' ').nth(1).unwrap_or_default()
    }
}

pub struct Upstream {
    port: Port,
    server: Server,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Upstream {
    /// Answers every request with 200 and its target as the body.
    pub fn start() -> Self {
        Self::with(Exchange::echo_target)
    }

    /// Answers every request with these bytes, whatever they are, and closes.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::with(move |exchange| {
            exchange.read_body();
            exchange.write(&bytes);
            exchange.close();
        })
    }

    pub fn with(script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        Self::at(Port::claim(), script)
    }

    /// In a place that was claimed before, or that another upstream has left.
    pub fn at(port: Port, script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let server = Server::start(port.number(), {
            let received = Arc::clone(&received);
            move |number, stream| Exchange::serve(number, stream, &received, &script)
        });
        Self { port, server, received }
    }

    /// Ends it, with every connection: from now on nobody is there. Its place, and what it
    /// received.
    pub fn stop(self) -> (Port, Vec<Received>) {
        let Self { port, server, received } = self;
        drop(server);
        let received = received.lock().unwrap().clone();
        (port, received)
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn connections(&self) -> usize {
        self.server.accepted()
    }

    pub fn close_connections(&self) {
        self.server.close_connections();
    }

    pub fn requests(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        self.received.lock().unwrap().clear();
    }

    /// The one request that came since the last `clear`, with its body as far as it is there.
    #[track_caller]
    pub fn only(&self) -> Received {
        let requests = self.requests();
        assert_eq!(
            requests.len(),
            1,
            "requests at the upstream: {:?}",
            requests
                .iter()
                .map(|request| String::from_utf8_lossy(&request.raw).into_owned())
                .collect::<Vec<_>>()
        );
        requests.into_iter().next().unwrap()
    }

    /// The last request, waiting a little for it.
    #[track_caller]
    pub fn last(&self) -> Received {
        eventually("a request at the upstream", Duration::from_secs(20), || self.requests().pop())
    }
}

/// One request and its answer, in the hands of a script.
pub struct Exchange {
    wire: Wire,
    received: Arc<Mutex<Vec<Received>>>,
    request: Received,
    body_read: bool,
    closed: bool,
}

impl Exchange {
    fn serve(
        connection: usize,
        stream: TcpStream,
        received: &Arc<Mutex<Vec<Received>>>,
        script: &impl Fn(&mut Self),
    ) {
        let mut wire = Wire::new(stream);
        while let Ok(Some(raw)) = wire.head() {
            let head = Head::parse(&raw);
            let complete = head.framing() == Framing::None;
            let request = Received {
                connection,
                raw,
                head,
                body: Vec::new(),
                trailers: Vec::new(),
                complete,
                ended: complete,
            };
            received.lock().unwrap().push(request.clone());
            let mut exchange = Self {
                wire,
                received: Arc::clone(received),
                request,
                body_read: complete,
                closed: false,
            };
            script(&mut exchange);
            // What the script left of the body would else be taken for the next request.
            exchange.read_body();
            if exchange.closed {
                return;
            }
            wire = exchange.wire;
        }
    }

    pub fn target(&self) -> &str {
        self.request.target()
    }

    /// The request as far as it was read.
    pub fn request(&self) -> &Received {
        &self.request
    }

    /// The number of the connection that it came on.
    pub fn connection(&self) -> usize {
        self.request.connection
    }

    /// The only value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.request.head.field(name)
    }

    /// The script of [`Upstream::start`].
    pub fn echo_target(&mut self) {
        self.read_body();
        let target = self.target().to_owned();
        self.answer(200, &[("Content-Type", "text/plain")], target.as_bytes());
    }

    /// Reads the body to its end and records it.
    pub fn read_body(&mut self) -> &[u8] {
        let mut body = Vec::new();
        self.read_body_into(&mut |piece| body.extend_from_slice(piece));
        if !body.is_empty() {
            self.request.body = body;
            self.record();
        }
        &self.request.body
    }

    /// Reads the body to its end, piece by piece, and records only how it ended: for bodies that
    /// are too large to keep.
    pub fn read_body_into(&mut self, sink: &mut dyn FnMut(&[u8])) {
        if self.body_read || self.closed {
            return;
        }
        self.body_read = true;
        let ended = match self.request.head.framing() {
            Framing::None => Ok(Vec::new()),
            Framing::Length(length) => self.wire.exactly(length, sink).map(|()| Vec::new()),
            // Of an ambiguous frame the chunked reading is one; the test that sees it fails anyway.
            Framing::Chunked | Framing::Ambiguous => self.wire.chunked(sink),
        };
        match ended {
            Ok(trailers) => {
                self.request.complete = true;
                self.request.trailers = trailers;
            }
            Err(_) => self.closed = true,
        }
        self.request.ended = true;
        self.record();
    }

    /// Reads the body to its end and writes each piece back as a chunk before it reads the next.
    pub fn echo_body(&mut self) {
        let mut other = self.writer();
        self.read_body_into(&mut |piece| {
            let size = format!("{:x}\r\n", piece.len());
            let _ = io::Write::write_all(&mut other, &[size.as_bytes(), piece, b"\r\n"].concat());
        });
    }

    /// Another hand that writes on the same connection.
    pub fn writer(&self) -> TcpStream {
        self.wire.stream().try_clone().expect("another handle")
    }

    /// A whole answer with its length; without a body for `HEAD`.
    pub fn answer(&mut self, status: u16, fields: &[(&str, &str)], body: &[u8]) {
        let mut answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in fields {
            answer += &format!("{name}: {value}\r\n");
        }
        answer += "\r\n";
        let mut answer = answer.into_bytes();
        if self.request.method() != "HEAD" {
            answer.extend_from_slice(body);
        }
        self.write(&answer);
    }

    pub fn write(&mut self, bytes: &[u8]) {
        if self.wire.write(bytes).is_err() {
            self.closed = true;
        }
    }

    pub fn chunk(&mut self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.write(&chunk);
    }

    pub fn pause(&self, duration: Duration) {
        thread::sleep(duration);
    }

    /// What the client sends next, outside any frame; empty when it is gone.
    pub fn read_raw(&mut self) -> io::Result<Vec<u8>> {
        self.wire.some()
    }

    /// Whether nothing has ended it that is known of.
    pub fn is_open(&self) -> bool {
        !self.closed
    }

    /// Says that nothing more will be written, and goes on reading.
    pub fn half_close(&self) {
        self.wire.finish_writing();
    }

    /// Ends the connection in good order after what was written.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Ends the connection with a reset.
    pub fn reset(&mut self) {
        let _ = socket2::SockRef::from(self.wire.stream()).set_linger(Some(Duration::ZERO));
        self.closed = true;
    }

    fn record(&self) {
        let mut received = self.received.lock().unwrap();
        let same = |other: &&mut Received| {
            other.connection == self.request.connection && other.raw == self.request.raw
        };
        if let Some(entry) = received.iter_mut().rev().find(same) {
            *entry = self.request.clone();
        }
    }
}
