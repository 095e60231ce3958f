//! A request to be: the same words for HTTP/1.1 and HTTP/2.

use super::client::Client;
use super::http2;
use super::response::Response;

/// A request; nothing happens before [`Request::send`].
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) port: u16,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) host: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Option<Vec<u8>>,
    chunked: bool,
    http2: bool,
}

impl Request {
    pub fn new(port: u16, method: &str, target: &str) -> Self {
        let host = format!("127.0.0.1:{port}");
        Self {
            port,
            method: method.into(),
            target: target.into(),
            host,
            fields: Vec::new(),
            body: None,
            chunked: false,
            http2: false,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The body in chunks instead of with its length.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    #[track_caller]
    pub fn send(self) -> Response {
        if self.http2 {
            return http2::send(&self).unwrap_or_else(|error| {
                panic!("{} {} over HTTP/2: {error}", self.method, self.target)
            });
        }
        Client::connect(self.port).send(self.bytes()).response_to(&self.method)
    }

    /// The same over HTTP/2, for requests that a library may refuse to send or that the edge may
    /// cut off.
    pub fn try_send(&self) -> Result<Response, Box<dyn std::error::Error>> {
        http2::send(self)
    }

    /// Over the version that it is for; `None`: the library of HTTP/2 does not send it, or the edge
    /// does not answer it.
    pub fn try_send_either(self) -> Option<Response> {
        match self.http2 {
            true => self.try_send().ok(),
            false => Some(self.send()),
        }
    }

    /// The request as HTTP/1.1 has it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host);
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        match &self.body {
            Some(_) if self.chunked => head += "Transfer-Encoding: chunked\r\n",
            Some(body) => head += &format!("Content-Length: {}\r\n", body.len()),
            None => {}
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        match &self.body {
            Some(body) if self.chunked => {
                for piece in body.chunks(1000) {
                    bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    bytes.extend_from_slice(piece);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
            Some(body) => bytes.extend_from_slice(body),
            None => {}
        }
        bytes
    }
}
