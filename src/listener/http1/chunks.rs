//! The chunks of a body (RFC 9112 section 7.1), read strictly.

use crate::auth::is_tchar;
use crate::listener::malformed::Malformed;

/// Most digits of a chunk's size: what fits into 64 bits.
const MAX_DIGITS: u8 = 16;

/// Where in which chunk the body is.
#[derive(Debug, Default)]
pub(in crate::listener) struct Chunks {
    at: At,
    /// Bytes of data that are still to come in the chunk at hand.
    size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the size, of which so many digits are there.
    Size(u8),
    /// In white space behind the size.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a line behind the last chunk.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
}

impl Default for At {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl Chunks {
    /// How many of these bytes belong to the body, and whether they end it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if self.at == At::Data {
                let rest = bytes.len() - taken;
                let data = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest);
                taken += data;
                self.size -= data as u64;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            taken += 1;
            match self.next(byte)? {
                Some(at) => self.at = at,
                None => return Ok((taken, true)),
            }
        }
        Ok((taken, false))
    }

    /// What comes behind a byte; `None`: nothing, the body has ended.
    fn next(&mut self, byte: u8) -> Result<Option<At>, Malformed> {
        Ok(Some(match (self.at, byte) {
            (At::Size(digits), byte) if byte.is_ascii_hexdigit() && digits < MAX_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.size = self.size << 4 | u64::from(digit);
                At::Size(digits + 1)
            }
            (At::Size(1..) | At::Space | At::Extension, b'\r') => At::SizeLf,
            (At::Size(1..) | At::Space, b' ' | b'\t') => At::Space,
            (At::Size(1..) | At::Space, b';') => At::Extension,
            (At::Extension, byte) if is_text(byte) => At::Extension,
            (At::SizeLf, b'\n') if self.size == 0 => At::Trailer,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size(0),
            (At::Trailer, b'\r') => At::LastLf,
            (At::Trailer | At::TrailerName, byte) if is_tchar(byte) => At::TrailerName,
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerValue, b'\r') => At::TrailerLf,
            (At::TrailerValue, byte) if is_text(byte) => At::TrailerValue,
            (At::TrailerLf, b'\n') => At::Trailer,
            (At::LastLf, b'\n') => return Ok(None),
            (At::Trailer | At::TrailerName | At::TrailerValue | At::TrailerLf | At::LastLf, _) => {
                return Err(Malformed::Trailer);
            }
            _ => return Err(Malformed::Chunk),
        }))
    }
}

/// Whether a byte may stand in a field's value or in an extension, whose quoted text has the same.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
