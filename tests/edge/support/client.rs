//! A small HTTP/1.1 client: exact bytes out, parsed responses in, one connection for as long as the
//! test wants.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use super::message::{Framing, Head};
use super::response::Response;
use super::wire::Wire;

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection to the edge.
pub struct Client {
    wire: Wire,
}

impl Client {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .unwrap_or_else(|error| panic!("connect to port {port}: {error}"));
        let wire = Wire::new(stream);
        wire.set_patience(PATIENCE);
        Self { wire }
    }

    /// How long to wait for bytes before it counts as silence.
    pub fn patience(self, patience: Duration) -> Self {
        self.wire.set_patience(patience);
        self
    }

    /// Sends what it can: the edge may have answered and closed before the end, which is for the
    /// test to judge.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.wire.write(bytes.as_ref());
        self
    }

    pub fn finish_writing(&mut self) -> &mut Self {
        self.wire.finish_writing();
        self
    }

    /// Another hand that writes on the same connection, for a thread of its own.
    pub fn writer(&self) -> TcpStream {
        self.wire.stream().try_clone().expect("another handle")
    }

    /// The response to a request of any method but `HEAD`.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    #[track_caller]
    pub fn response_to(&mut self, method: &str) -> Response {
        match self.try_response(method) {
            Ok(Some(response)) => response,
            Ok(None) => panic!("the connection was closed without a response"),
            Err(error) => panic!("no response: {error}"),
        }
    }

    /// The next response; `None` when the connection was closed before one began.
    pub fn try_response(&mut self, method: &str) -> io::Result<Option<Response>> {
        let Some(mut response) = self.try_head()? else {
            return Ok(None);
        };
        let mut body = Vec::new();
        let trailers =
            self.read_to_end(&response, method, &mut |piece| body.extend_from_slice(piece));
        response.complete = trailers.is_ok();
        response.trailers = String::from_utf8_lossy(&trailers.unwrap_or_default()).into_owned();
        response.body = body;
        Ok(Some(response))
    }

    /// The next head that is not interim. Its body is still to be read.
    #[track_caller]
    pub fn head(&mut self) -> Response {
        self.try_head().expect("a head").expect("a head before the connection ends")
    }

    fn try_head(&mut self) -> io::Result<Option<Response>> {
        let mut interim = Vec::new();
        loop {
            let Some(raw) = self.wire.head()? else {
                return Ok(None);
            };
            let head = Head::parse(&raw);
            let status = head.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
            let status = status.ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("not a status line: {:?}", head.first_line),
                )
            })?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let (body, trailers) = (Vec::new(), String::new());
            return Ok(Some(Response { status, head, body, trailers, complete: true, interim }));
        }
    }

    /// Reads the body of `response`; whether it came to the end that its frame promised.
    pub fn read_body(
        &mut self,
        response: &Response,
        method: &str,
        sink: &mut dyn FnMut(&[u8]),
    ) -> bool {
        self.read_to_end(response, method, sink).is_ok()
    }

    /// Reads the body; the trailers behind it, as they came.
    fn read_to_end(
        &mut self,
        response: &Response,
        method: &str,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Vec<u8>> {
        if method == "HEAD" || matches!(response.status, 101 | 204 | 304) {
            return Ok(Vec::new());
        }
        match response.head.framing() {
            Framing::Length(length) => self.wire.exactly(length, sink).map(|()| Vec::new()),
            Framing::Chunked => self.wire.chunked(sink),
            Framing::None => self.wire.rest(sink).map(|()| Vec::new()),
            // No reader can know.
            Framing::Ambiguous => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Everything up to the end of the connection, outside any frame.
    pub fn rest(&mut self, sink: &mut dyn FnMut(&[u8])) {
        self.wire.rest(sink).expect("bytes up to the end");
    }

    /// Exactly that many bytes, outside any frame.
    #[track_caller]
    pub fn raw_exactly(&mut self, length: usize) -> Vec<u8> {
        let bytes = self.wire.up_to(length).expect("bytes");
        assert_eq!(
            bytes.len(),
            length,
            "the connection ended early: {:?}",
            String::from_utf8_lossy(&bytes)
        );
        bytes
    }

    /// Whether the edge ends the connection within the patience, sending nothing more before.
    pub fn is_closed(&mut self) -> bool {
        match self.wire.some() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Whether the edge neither sends anything nor ends the connection within the patience.
    pub fn is_silent(&mut self) -> bool {
        let kind = self.wire.some().err().map(|error| error.kind());
        matches!(kind, Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    /// Every response until the connection ends or there is silence; and whether it ended.
    pub fn drain(&mut self, method: &str) -> (Vec<Response>, bool) {
        let mut responses = Vec::new();
        loop {
            match self.try_response(method) {
                Ok(Some(response)) => responses.push(response),
                Ok(None) => return (responses, true),
                Err(error) => {
                    return (
                        responses,
                        !matches!(
                            error.kind(),
                            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                        ),
                    );
                }
            }
        }
    }
}
