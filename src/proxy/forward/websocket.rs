//! Where the frames of a WebSocket begin and end (RFC 6455 section 5.2), so that a frame of our own
//! can be put between two of them.

use http::{HeaderMap, HeaderValue, header};

/// Close, with the status 1008: "policy violation" (RFC 6455 section 7.4.1). Servers do not mask.
pub(super) const CLOSE_POLICY_VIOLATION: &[u8] = b"\x88\x02\x03\xf0";

/// The longest header: two bytes, a length of eight, a mask of four.
const MAX_HEADER: usize = 14;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x8;
const MASKED: u8 = 0x80;

/// The frames of one direction. Their headers are read, and nothing of what is in them: an
/// extension may have its bits and its own payload, and any frame may be one of several.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    header: [u8; MAX_HEADER],
    /// How many bytes of the header have been read. 0: a frame has ended, or none has begun.
    read: usize,
    /// How many bytes of the payload are still to come, once the header has been read.
    left: u64,
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// A close frame has come: no other one follows.
    Closed,
    /// A length that no frame has: what follows is no WebSocket.
    Lost,
}

/// Both directions of a WebSocket.
#[derive(Debug, Default)]
pub(super) struct WebSocket {
    pub(super) from_upstream: FrameReader,
    pub(super) from_client: FrameReader,
}

impl WebSocket {
    /// The WebSocket that a 101 with these fields begins; `None`: another protocol.
    pub(super) fn begun(fields: &HeaderMap) -> Option<Self> {
        let is_websocket =
            |protocol: &HeaderValue| protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        let mut protocols = fields.get_all(header::UPGRADE).iter();
        let found = protocols.next().is_some_and(is_websocket) && protocols.next().is_none();
        found.then(Self::default)
    }
}

impl FrameReader {
    /// The next bytes of this direction.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while self.state == State::Open && !bytes.is_empty() {
            if self.left > 0 {
                let payload =
                    usize::try_from(self.left).map_or(bytes.len(), |it| it.min(bytes.len()));
                bytes = &bytes[payload..];
                self.left -= payload as u64;
            } else {
                let missing = self.header_length() - self.read;
                let (part, rest) = bytes.split_at(missing.min(bytes.len()));
                self.header[self.read..self.read + part.len()].copy_from_slice(part);
                self.read += part.len();
                bytes = rest;
                if self.read < self.header_length() {
                    continue;
                }
                self.left = self.payload_length();
                if self.left > u64::MAX / 2 {
                    self.state = State::Lost;
                }
            }
            if self.left == 0 && self.state == State::Open {
                self.read = 0;
                if self.header[0] & OPCODE == CLOSE {
                    self.state = State::Closed;
                }
            }
        }
    }

    /// Whether a frame of our own may follow: none is half read, and the last one did not close.
    pub(super) fn is_at_boundary(&self) -> bool {
        self.state == State::Open && self.read == 0
    }

    /// Whether a close frame was read to its end.
    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// As far as what was read of it tells.
    fn header_length(&self) -> usize {
        if self.read < 2 {
            return 2;
        }
        let length = match self.header[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = match self.header[1] & MASKED {
            0 => 0,
            _ => 4,
        };
        2 + length + mask
    }

    fn payload_length(&self) -> u64 {
        let bytes = &self.header[2..];
        match self.header[1] & !MASKED {
            126 => u64::from(u16::from_be_bytes([bytes[0], bytes[1]])),
            127 => bytes[..8]
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
            length => u64::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame: its first byte, whether it is masked, and how long it is.
    fn frame(first: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut bytes = vec![first];
        match u16::try_from(length) {
            Ok(short) if short < 126 => bytes.push(mask | short.to_be_bytes()[1]),
            Ok(medium) => {
                bytes.push(mask | 126);
                bytes.extend(medium.to_be_bytes());
            }
            Err(_) => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        // Payload that would be a close frame.
        bytes.extend(std::iter::repeat_n(0x88, length));
        bytes
    }

    #[test]
    fn frames_are_told_apart_however_they_arrive() {
        let kinds = [
            (0x82, false, 0),
            (0x02, false, 5),
            (0x89, false, 125),
            (0x00, true, 126),
            (0xf1, false, 1000),
            (0x80, false, 65_535),
            (0xc1, true, 70_000),
        ];
        let frames: Vec<_> = kinds
            .map(|(first, masked, length)| frame(first, masked, length))
            .into();
        let bytes = frames.concat();
        let ends: Vec<_> = frames
            .iter()
            .scan(0, |at, frame| {
                *at += frame.len();
                Some(*at)
            })
            .collect();
        for step in [1, 2, 3, 7, 1024, bytes.len()] {
            let (mut reader, mut at) = (FrameReader::default(), 0);
            assert!(reader.is_at_boundary(), "before the first one");
            for part in bytes.chunks(step) {
                reader.read(part);
                at += part.len();
                assert_eq!(
                    reader.is_at_boundary(),
                    ends.contains(&at),
                    "{at} by {step}"
                );
                assert!(!reader.is_closed());
            }
        }
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        let mut reader = FrameReader::default();
        let close = frame(0x88, true, 2);
        reader.read(&close[..close.len() - 1]);
        assert!(!reader.is_closed() && !reader.is_at_boundary());
        reader.read(&close[close.len() - 1..]);
        assert!(reader.is_closed() && !reader.is_at_boundary());
        reader.read(&frame(0x82, false, 3));
        assert!(reader.is_closed() && !reader.is_at_boundary());
        let mut empty = FrameReader::default();
        empty.read(CLOSE_POLICY_VIOLATION);
        assert!(empty.is_closed());
    }

    #[test]
    fn a_length_that_no_frame_has_ends_the_reading() {
        let mut reader = FrameReader::default();
        reader.read(b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff");
        reader.read(&[0; 1024]);
        assert!(!reader.is_at_boundary() && !reader.is_closed());
        let mut longest = FrameReader::default();
        longest.read(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff");
        longest.read(&[0x88; 1024]);
        assert!(!longest.is_at_boundary() && !longest.is_closed());
    }

    #[test]
    fn a_websocket_is_told_from_other_protocols() {
        let begun = |values: &[&'static str]| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(header::UPGRADE, HeaderValue::from_static(value));
            }
            WebSocket::begun(&fields).is_some()
        };
        assert!(begun(&["websocket"]) && begun(&["WebSocket"]));
        assert!(!begun(&[]) && !begun(&["h2c"]) && !begun(&["websocket, h2c"]));
        assert!(!begun(&["websocket", "h2c"]));
    }
}
