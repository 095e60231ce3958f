//! The chunks of a body (RFC 9112 section 7.1), read strictly.

use super::MAX_HEAD;
use crate::auth::is_tchar;
use crate::listener::malformed::Malformed;

/// Most digits of a chunk's size: what fits into 64 bits.
const MAX_DIGITS: u8 = 16;

/// How far a chunked body has been read.
#[derive(Debug, Default)]
pub struct ChunkedBody {
    position: Position,
    /// Bytes of data that are still to come in the current chunk.
    size: u64,
    /// The lines of the trailer section, as far as they have come.
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// In the size, after so many digits.
    Size(u8),
    /// In white space after the size.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a line after the last chunk.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
}

impl Position {
    fn is_in_trailers(self) -> bool {
        matches!(
            self,
            Self::Trailer | Self::TrailerName | Self::TrailerValue | Self::TrailerLf
        )
    }
}

impl Default for Position {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl ChunkedBody {
    /// The lines of the trailer section, each with its line end.
    pub fn into_trailers(self) -> Vec<u8> {
        self.trailers
    }

    /// How many of these bytes belong to the body, and whether they end it.
    ///
    /// # Errors
    ///
    /// They are no chunks, or the trailer section is larger than a head may be.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if self.position == Position::Data {
                let rest = bytes.len() - taken;
                let data = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest);
                taken += data;
                self.size -= data as u64;
                if self.size == 0 {
                    self.position = Position::DataCr;
                }
                continue;
            }
            taken += 1;
            let next = self.next(byte)?;
            if self.position.is_in_trailers() {
                if self.trailers.len() == MAX_HEAD {
                    return Err(Malformed::Trailer);
                }
                self.trailers.push(byte);
            }
            match next {
                Some(next) => self.position = next,
                None => return Ok((taken, true)),
            }
        }
        Ok((taken, false))
    }

    /// What comes after a byte; `None`: nothing, the body has ended.
    fn next(&mut self, byte: u8) -> Result<Option<Position>, Malformed> {
        Ok(Some(match (self.position, byte) {
            (Position::Size(digits), byte) if byte.is_ascii_hexdigit() && digits < MAX_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.size = self.size << 4 | u64::from(digit);
                Position::Size(digits + 1)
            }
            (Position::Size(1..) | Position::Space | Position::Extension, b'\r') => {
                Position::SizeLf
            }
            (Position::Size(1..) | Position::Space, b' ' | b'\t') => Position::Space,
            (Position::Size(1..) | Position::Space, b';') => Position::Extension,
            (Position::Extension, byte) if is_text(byte) => Position::Extension,
            (Position::SizeLf, b'\n') if self.size == 0 => Position::Trailer,
            (Position::SizeLf, b'\n') => Position::Data,
            (Position::DataCr, b'\r') => Position::DataLf,
            (Position::DataLf, b'\n') => Position::Size(0),
            (Position::Trailer, b'\r') => Position::LastLf,
            (Position::Trailer | Position::TrailerName, byte) if is_tchar(byte) => {
                Position::TrailerName
            }
            (Position::TrailerName, b':') => Position::TrailerValue,
            (Position::TrailerValue, b'\r') => Position::TrailerLf,
            (Position::TrailerValue, byte) if is_text(byte) => Position::TrailerValue,
            (Position::TrailerLf, b'\n') => Position::Trailer,
            (Position::LastLf, b'\n') => return Ok(None),
            (Position::LastLf, _) => return Err(Malformed::Trailer),
            (position, _) if position.is_in_trailers() => return Err(Malformed::Trailer),
            _ => return Err(Malformed::Chunk),
        }))
    }
}

/// Whether a byte may stand in a field's value or in an extension, whose quoted text has the same.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
