//! Messages as the cells have them, whatever the protocol: what is to be sent, and what was seen.

use crate::support::hpack::Field;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

/// How a message says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    NoBody,
    Length,
    /// Over HTTP/2: a body without a length.
    Chunked,
    /// With the connection; responses of HTTP/1.1 only.
    Close,
}

/// Where a message is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Before its first byte. A client: behind its request, before any of the response.
    BeforeHead,
    InHead,
    /// Behind its head. A client: behind its request and the head of the response.
    AfterHead,
    /// In the middle of the body, at the end of a chunk if there are any.
    InBody,
    InChunk,
}

/// How it is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// With the connection, in good order.
    Close,
    /// HTTP/1.1: a reset of the connection; HTTP/2: `RST_STREAM`.
    Reset,
    /// Over HTTP/2: `END_STREAM`, though more was announced.
    EndStream,
    /// Nothing more is sent, until the other end has left.
    Wait,
}

/// The beginning of a chunk that is broken off.
const IN_CHUNK: &[u8] = b"abc";

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct Message {
    pub framing: Framing,
    pub size: usize,
    /// Beside those that every message has.
    pub fields: Vec<(&'static str, &'static str)>,
    pub trailers: Vec<(&'static str, &'static str)>,
    pub breaks_off: Option<(At, How)>,
}

impl Message {
    pub fn new(framing: Framing, size: usize) -> Self {
        Self { framing, size, fields: Vec::new(), trailers: Vec::new(), breaks_off: None }
    }

    /// A body in which every place differs from its neighbours and from the places a piece away.
    pub fn body(&self) -> Vec<u8> {
        (0..self.size).map(|at| (at.wrapping_mul(31) ^ at >> 7 ^ at >> 13) as u8).collect()
    }

    /// What is sent of the body.
    pub fn sent_body(&self) -> Vec<u8> {
        let mut body = self.body();
        body.truncate(self.sent());
        if let Some((At::InChunk, _)) = self.breaks_off {
            body.extend_from_slice(IN_CHUNK);
        }
        body
    }

    /// How much of the body is sent, in whole chunks.
    pub fn sent(&self) -> usize {
        match self.breaks_off {
            Some((At::BeforeHead | At::InHead | At::AfterHead, _)) => 0,
            Some((At::InBody | At::InChunk, _)) => self.size / 2,
            None => self.size,
        }
    }
}

/// Fields that go through: their order, repetition and bytes are kept.
pub fn end_to_end() -> Vec<Field> {
    [
        (&b"x-first"[..], &b"1"[..]),
        (b"x-twice", b"a"),
        (b"x-bytes", b"caf\xe9 \"\\,;="),
        (b"x-twice", b"b"),
        (b"x-empty", b""),
    ]
    .map(|(name, value)| (name.to_vec(), value.to_vec()))
    .to_vec()
}

/// The same as they arrive: all values of a name stand where its first one stood, which RFC 9110
/// section 5.3 allows.
pub fn received_order() -> Vec<Field> {
    let mut fields = end_to_end();
    fields.swap(2, 3);
    fields
}

/// What a connection of HTTP/1.1 has besides, and what must not leave it.
pub const HOP_BY_HOP: &str = "Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                              Proxy-Connection: keep-alive\r\n";

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// Not yet.
    #[default]
    Open,
    /// Where its framing says.
    Whole,
    /// With the connection.
    Cut,
    /// With `RST_STREAM` of this code.
    Reset(u32),
}

/// A message as one end saw it. Heads have the pseudo fields of HTTP/2, over HTTP/1.1 too.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub interim: Vec<Vec<Field>>,
    pub head: Vec<Field>,
    pub body: Vec<u8>,
    pub trailers: Vec<Field>,
    pub end: End,
    /// Upstream: the number of the connection.
    pub connection: usize,
    /// Upstream: the client's end has left after the request was whole.
    pub left: bool,
    /// What came behind the end of the message.
    pub behind: Vec<u8>,
}

impl Seen {
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.head.iter().filter(|field| field.0 == name.as_bytes());
        values.next().map(|field| &field.1[..])
    }

    pub fn status(&self) -> u16 {
        self.field(":status")
            .and_then(|status| std::str::from_utf8(status).ok()?.parse().ok())
            .unwrap_or(0)
    }

    /// The fields of [`end_to_end`] and nothing else that begins as they do.
    pub fn end_to_end(&self) -> Vec<Field> {
        let own = |name: &[u8]| {
            name.starts_with(b"x-forwarded-") || name == b"x-request-id" || !name.starts_with(b"x-")
        };
        self.head.iter().filter(|(name, _)| !own(name)).cloned().collect()
    }
}

/// A raw head of HTTP/1.1 as fields.
pub fn parse_head(raw: &[u8]) -> Vec<Field> {
    let mut lines = raw.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(|byte| *byte == b' ').map(<[u8]>::to_vec);
    let (one, two) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut fields = match one.starts_with(b"HTTP/") {
        true => vec![(b":status".to_vec(), two)],
        false => vec![(b":method".to_vec(), one), (b":path".to_vec(), two)],
    };
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        fields.push((line[..colon].to_ascii_lowercase(), value.to_vec()));
    }
    fields
}

/// A head of HTTP/1.1, with what belongs to the connection.
pub fn head_bytes(first_line: &str, fields: &[Field], more: &str, message: &Message) -> Vec<u8> {
    let mut bytes = format!("{first_line}\r\n").into_bytes();
    for (name, value) in fields {
        bytes.extend([&name[..], b": ", value, b"\r\n"].concat());
    }
    for (name, value) in &message.fields {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes.extend_from_slice(more.as_bytes());
    match message.framing {
        Framing::Length => {
            bytes.extend(format!("Content-Length: {}\r\n", message.size).into_bytes());
        }
        Framing::Chunked => bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::NoBody | Framing::Close => {}
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// The body as HTTP/1.1 frames it, as far as it is sent.
pub fn body_bytes(message: &Message) -> Vec<u8> {
    let body = &message.body()[..message.sent()];
    if message.framing != Framing::Chunked {
        return body.to_vec();
    }
    let mut bytes = Vec::new();
    for part in body.chunks(10_000) {
        bytes.extend(format!("{:x}\r\n", part.len()).into_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    match message.breaks_off {
        Some((At::InChunk, _)) => bytes.extend_from_slice(&[b"1000\r\n", IN_CHUNK].concat()),
        Some(_) => {}
        None => {
            bytes.extend_from_slice(b"0\r\n");
            for (name, value) in &message.trailers {
                bytes.extend(format!("{name}: {value}\r\n").into_bytes());
            }
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes
}

/// The fields of a head of HTTP/2.
pub fn head_fields(pseudo: &[(&str, &str)], message: &Message) -> Vec<Field> {
    let text = |(name, value): &(&str, &str)| {
        (name.to_ascii_lowercase().into_bytes(), value.as_bytes().to_vec())
    };
    let mut fields: Vec<Field> = pseudo.iter().map(text).collect();
    fields.extend(end_to_end());
    fields.extend(message.fields.iter().map(text));
    if message.framing == Framing::Length {
        fields.push((b"content-length".to_vec(), message.size.to_string().into_bytes()));
    }
    fields
}

pub fn trailer_fields(message: &Message) -> Vec<Field> {
    let field = |(name, value): &(&str, &str)| {
        (name.to_ascii_lowercase().into_bytes(), value.as_bytes().to_vec())
    };
    message.trailers.iter().map(field).collect()
}
