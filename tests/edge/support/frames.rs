//! HTTP/2 frames as bytes, for what no client library would send: every name and value goes out as
//! it is, literally and without Huffman coding (RFC 7541 section 6.2.2). What comes back is read
//! only as far as a test needs it: statuses, bodies, and how a stream or the connection ended.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame's length");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literals that are never indexed.
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0x10);
        string(&mut bytes, name);
        string(&mut bytes, value);
    }
    bytes
}

fn string(bytes: &mut Vec<u8>, text: &[u8]) {
    let Some(mut rest) = text.len().checked_sub(127) else {
        bytes.push(u8::try_from(text.len()).expect("seven bits"));
        bytes.extend(text);
        return;
    };
    bytes.push(127);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("seven bits"));
    bytes.extend(text);
}

/// What came back on one stream.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    pub status: Option<u16>,
    pub body: Vec<u8>,
    /// Ended in good order.
    pub ended: bool,
    pub reset: bool,
}

/// Everything that came back.
#[derive(Debug, Default)]
pub struct Answers {
    pub streams: BTreeMap<u32, Stream>,
    /// The edge said that it is done with the connection, or ended it.
    pub closed: bool,
}

impl Answers {
    pub fn stream(&self, number: u32) -> Stream {
        self.streams.get(&number).cloned().unwrap_or_default()
    }

    fn is_settled(&self, number: u32) -> bool {
        self.closed || self.streams.get(&number).is_some_and(|stream| stream.ended || stream.reset)
    }
}

/// A connection after its preface.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    answers: Answers,
}

impl Connection {
    pub fn open(port: u16, patience: Duration) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(patience)).expect("a read timeout");
        // No dynamic table, so that every header block can be read by itself.
        let settings = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
        stream.write_all(&[PREFACE, &settings].concat()).expect("the preface");
        Self { stream, buffer: Vec::new(), answers: Answers::default() }
    }

    /// Sends what it can: the edge may have closed before the end.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.stream.write_all(bytes);
        self
    }

    /// Reads until the stream has ended in one way or another, the connection too, or there is
    /// silence.
    pub fn read_until(&mut self, number: u32) -> &Answers {
        while !self.answers.is_settled(number) {
            if !self.read_frame() {
                break;
            }
        }
        &self.answers
    }

    fn read_frame(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        loop {
            if let Some(head) = self.buffer.get(..9) {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let (kind, flags) = (head[3], head[4]);
                let number = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
                if self.buffer.len() >= 9 + length {
                    let payload: Vec<u8> = self.buffer.drain(..9 + length).skip(9).collect();
                    self.take(kind, flags, number, &payload);
                    return true;
                }
            }
            match self.stream.read(&mut piece) {
                Ok(0) => self.answers.closed = true,
                Ok(read) => {
                    self.buffer.extend_from_slice(&piece[..read]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.answers.closed |=
                        !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
                }
            }
            return false;
        }
    }

    fn take(&mut self, kind: u8, flags: u8, number: u32, payload: &[u8]) {
        match kind {
            SETTINGS if flags & ACK == 0 => {
                drop(self.stream.write_all(&frame(SETTINGS, ACK, 0, &[])))
            }
            PING if flags & ACK == 0 => drop(self.stream.write_all(&frame(PING, ACK, 0, payload))),
            // Error 0 lets the streams that are open go on.
            GOAWAY => self.answers.closed |= payload.get(4..8) != Some(&[0; 4]),
            HEADERS | DATA | RST_STREAM => {
                let stream = self.answers.streams.entry(number).or_default();
                match kind {
                    HEADERS => stream.status = status(payload).or(stream.status),
                    DATA => stream.body.extend_from_slice(payload),
                    _ => stream.reset = true,
                }
                stream.ended |= kind != RST_STREAM && flags & END_STREAM != 0;
            }
            _ => {}
        }
    }
}

/// The status at the beginning of a header block, by its index (RFC 7541 appendix A) or by its
/// digits, in Huffman code (appendix B).
fn status(block: &[u8]) -> Option<u16> {
    let mut block = block;
    // Changes of the table's size.
    while let [0x20..=0x3f, rest @ ..] = block {
        block = rest;
    }
    match *block {
        [first @ 0x88..=0x8e, ..] => {
            Some([200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)])
        }
        [0x48 | 0x08 | 0x18, length, ref rest @ ..] => {
            let text = rest.get(..usize::from(length & 0x7f))?;
            let digits = if length & 0x80 == 0 { text.to_vec() } else { huffman_digits(text) };
            std::str::from_utf8(&digits).ok()?.parse().ok()
        }
        _ => None,
    }
}

fn huffman_digits(text: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> =
        text.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number << 1 | bit);
    let (mut at, mut digits) = (0, Vec::new());
    while at + 5 <= bits.len() {
        match number(&bits[at..at + 5]) {
            code @ 0..=2 => {
                digits.push(b'0' + code);
                at += 5;
            }
            0x0c..=0x0f if at + 6 <= bits.len() => {
                digits.push(b'3' + number(&bits[at..at + 6]) - 0x19);
                at += 6;
            }
            _ => break,
        }
    }
    digits
}

#[test]
fn blocks_and_statuses_are_as_the_rfc_has_them() {
    assert_eq!(block(&[(b"a", b"bc")]), [0x10, 1, b'a', 2, b'b', b'c']);
    assert_eq!(block(&[(b"a", &[b'x'; 300])])[3..6], [127, 0xad, 0x01]);
    for (block, expected) in [
        (&[0x88][..], 200),
        (&[0x20, 0x8c], 400),
        (&[0x48, 0x03, b'5', b'0', b'2'], 502),
        (&[0x48, 0x82, 0x68, 0x01], 401),
    ] {
        assert_eq!(status(block), Some(expected), "{block:x?}");
    }
}
