//! The service behind the edge over HTTP/2 with prior knowledge: one thread for each stream, which
//! answers as its script says.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::hpack::Field;
use super::http2_peer::{Gone, Peer, Stream, field, fields};
use super::ports::Port;
use super::server::Server;

/// An upstream that speaks HTTP/2 and nothing else.
pub struct Http2Upstream {
    port: Port,
    server: Server,
    calls: Arc<AtomicUsize>,
    peers: Arc<Mutex<Vec<Peer>>>,
}

/// One stream and its answer, in the hands of a script.
pub struct Call {
    pub peer: Peer,
    pub stream: u32,
    /// The number of the connection that it came on.
    pub connection: usize,
    /// How many calls came before it.
    pub number: usize,
    pub fields: Vec<Field>,
}

impl Http2Upstream {
    /// Answers every request with 200 and its target as the body.
    pub fn start() -> Self {
        Self::with(&[], |call| call.echo_target())
    }

    /// With these `SETTINGS`.
    pub fn with(settings: &[(u16, u32)], script: impl Fn(&Call) + Send + Sync + 'static) -> Self {
        let settings = settings.to_vec();
        Self::serving(Port::claim(), move |stream| Peer::accept(stream, &settings), script)
    }

    /// The beginning of every connection is in the hands of the test too; `None` ends it.
    pub fn serving(
        port: Port,
        accept: impl Fn(TcpStream) -> Option<Peer> + Send + Sync + 'static,
        script: impl Fn(&Call) + Send + Sync + 'static,
    ) -> Self {
        let calls = Arc::<AtomicUsize>::default();
        let peers = Arc::<Mutex<Vec<Peer>>>::default();
        let script = Arc::new(script);
        let server = Server::start(port.number(), {
            let (calls, peers) = (Arc::clone(&calls), Arc::clone(&peers));
            move |connection, stream| {
                let Some(peer) = accept(stream) else { return };
                peers.lock().unwrap().push(peer.clone());
                while let Some(stream) = peer.next_opened() {
                    let fields = peer.nth_head(stream, 0).unwrap_or_default();
                    let number = calls.fetch_add(1, Ordering::SeqCst);
                    let call = Call { peer: peer.clone(), stream, connection, number, fields };
                    let script = Arc::clone(&script);
                    thread::spawn(move || script(&call));
                }
            }
        });
        Self { port, server, calls, peers }
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn connections(&self) -> usize {
        self.server.accepted()
    }

    /// How many streams were opened on it.
    pub fn count(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Every connection that there was.
    pub fn peers(&self) -> Vec<Peer> {
        self.peers.lock().unwrap().clone()
    }
}

impl Drop for Http2Upstream {
    fn drop(&mut self) {
        for peer in self.peers() {
            peer.close();
        }
    }
}

impl Call {
    /// The only value of a field.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        field(&self.fields, name)
    }

    pub fn target(&self) -> String {
        String::from_utf8_lossy(self.field(":path").unwrap_or_default()).into_owned()
    }

    /// All of the body, and how the request ended.
    pub fn read_body(&self) -> (Vec<u8>, Stream) {
        (self.peer.take_all(self.stream), self.peer.stream(self.stream))
    }

    /// Sends a head with this status.
    pub fn head(&self, status: u16, more: &[(&str, &str)], end: bool) {
        let mut head = fields(&[(":status", &status.to_string())]);
        head.extend(fields(more));
        self.peer.head(self.stream, &head, end);
    }

    pub fn data(&self, bytes: &[u8], end: bool) -> Result<(), Gone> {
        self.peer.data(self.stream, bytes, end)
    }

    /// A whole answer; whoever does not take it is for the test to judge.
    pub fn answer(&self, status: u16, body: &[u8]) {
        self.head(status, &[], false);
        let _ = self.data(body, true);
    }

    /// The script of [`Http2Upstream::start`].
    pub fn echo_target(&self) {
        self.read_body();
        self.answer(200, self.target().as_bytes());
    }

    /// Writes each piece of the body back before it reads the next.
    pub fn echo_body(&self) {
        self.head(200, &[], false);
        while let Some(part) = self.peer.take(self.stream) {
            if self.data(&part, false).is_err() {
                return;
            }
        }
        if self.peer.stream(self.stream).ended {
            let _ = self.data(b"", true);
        }
    }
}
