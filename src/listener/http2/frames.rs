//! Counts the frames of an HTTP/2 connection that tell whether it makes progress: header blocks,
//! and streams that are reset.
//!
//! Nothing is checked or changed here: h2 reads the same bytes, and refuses what is malformed.

/// `PRI * HTTP/2.0 ...` (RFC 9113 section 3.4).
pub(in crate::listener) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADER: usize = 9;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

/// What some bytes contained.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameCounts {
    /// Header blocks that began.
    pub(super) header_blocks_begun: u32,
    pub(super) header_blocks_ended: u32,
    /// Streams that the client reset.
    pub(super) resets: u32,
}

/// Follows the frames through the bytes of a connection.
#[derive(Debug)]
pub(super) struct FrameCounter {
    header: [u8; HEADER],
    /// Bytes of `header` that have arrived.
    have: usize,
    /// Bytes of the payload, or of the preface, that are still to come.
    rest: usize,
    /// Whether the current payload ends a header block.
    ends_block: bool,
    in_block: bool,
}

impl FrameCounter {
    /// For a connection whose next byte is the first one of the preface.
    pub(super) fn new() -> Self {
        Self {
            header: [0; HEADER],
            have: 0,
            rest: PREFACE.len(),
            ends_block: false,
            in_block: false,
        }
    }

    /// Counts what these bytes contain.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> FrameCounts {
        let mut counts = FrameCounts::default();
        while !bytes.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len());
                self.rest -= skipped;
                bytes = &bytes[skipped..];
            } else {
                let taken = (HEADER - self.have).min(bytes.len());
                self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                bytes = &bytes[taken..];
                if self.have < HEADER {
                    break;
                }
                self.have = 0;
                self.begin(&mut counts);
            }
            if self.rest == 0 && self.ends_block {
                (self.ends_block, self.in_block) = (false, false);
                counts.header_blocks_ended += 1;
            }
        }
        counts
    }

    /// Whether a header block has begun and not ended.
    pub(super) fn in_header_block(&self) -> bool {
        self.in_block
    }

    fn begin(&mut self, counts: &mut FrameCounts) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.rest = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        match kind {
            HEADERS | CONTINUATION => {
                if !self.in_block {
                    self.in_block = true;
                    counts.header_blocks_begun += 1;
                }
                self.ends_block = flags & END_HEADERS != 0;
            }
            RST_STREAM => counts.resets += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    fn conversation() -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, b""));
        bytes.extend(frame(HEADERS, END_HEADERS, b"whole"));
        bytes.extend(frame(HEADERS, 1, b"first part"));
        bytes.extend(frame(CONTINUATION, 0, b""));
        bytes.extend(frame(CONTINUATION, END_HEADERS, b""));
        bytes.extend(frame(0, 0, &[7; 300]));
        bytes.extend(frame(RST_STREAM, 0, &[0; 4]));
        bytes.extend(frame(HEADERS, 0, b"no end"));
        bytes
    }

    #[test]
    fn counts_do_not_depend_on_how_bytes_are_split() {
        let bytes = conversation();
        let whole = FrameCounts {
            header_blocks_begun: 3,
            header_blocks_ended: 2,
            resets: 1,
        };
        for size in [1, 2, 7, 9, 10, 100, bytes.len()] {
            let mut frames = FrameCounter::new();
            let mut sum = FrameCounts::default();
            for piece in bytes.chunks(size) {
                let counts = frames.read(piece);
                sum.header_blocks_begun += counts.header_blocks_begun;
                sum.header_blocks_ended += counts.header_blocks_ended;
                sum.resets += counts.resets;
            }
            assert_eq!(sum, whole, "in pieces of {size}");
            assert!(frames.in_header_block());
        }
    }

    #[test]
    fn a_header_block_ends_with_its_last_byte() {
        let mut frames = FrameCounter::new();
        frames.read(PREFACE);
        let bytes = frame(HEADERS, END_HEADERS, b"abc");
        let (all_but_one, last) = bytes.split_at(bytes.len() - 1);
        assert_eq!(frames.read(all_but_one).header_blocks_ended, 0);
        assert_eq!(frames.read(last).header_blocks_ended, 1);
    }
}
