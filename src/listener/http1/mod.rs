//! The requests of an HTTP/1 connection as they arrive: where each of them ends, and whether it is
//! well-formed.
//!
//! Pingora's parser is lenient where it does not matter to a server alone. It escapes a space in a
//! target, takes a chunk without a size for the last one, and anything for an extension or for a
//! trailer section; another server may read such bytes in another way. So they are checked here, as
//! they arrived, and nothing behind the end of a request reaches whoever serves it. What a field
//! says is checked in other modules.

mod absolute_form;
mod chunks;
mod heads;

use super::malformed::Malformed;
use crate::auth::is_tchar;

pub use chunks::ChunkedBody;
pub use heads::first_head;

/// Largest header block, bytes.
pub const MAX_HEAD: usize = 64 * 1024;
/// Most header fields.
pub const MAX_FIELDS: usize = 100;

/// Scans one head for its end, continuing where it stopped when more bytes arrive.
#[derive(Debug, Default)]
pub(super) struct HeadScanner {
    /// Where the current line begins.
    line: usize,
    /// Up to where there is no further line end.
    searched: usize,
    /// Whole lines: the request line and the fields.
    lines: usize,
    /// Whether the target has a scheme and an authority, or is none that Pingora takes.
    absolute: bool,
    length: Option<u64>,
    chunked: bool,
    /// Whether the fields contradict each other on where the body ends. The proxy refuses that.
    undelimited: bool,
}

/// What is still to come of the current request.
#[derive(Debug)]
pub(super) enum RemainingBody {
    /// So many bytes.
    Length(u64),
    /// As many as its chunks say.
    Chunked(ChunkedBody),
    /// Nothing: its chunks have ended, with these trailers.
    Ended(Vec<u8>),
    /// Of unknown length: everything belongs to it, and no further request is read.
    Undelimited,
    /// It cannot be read on.
    Malformed(Malformed),
}

impl HeadScanner {
    /// Where the head ends; `None`: more must arrive. `bytes` are all since the head began.
    pub(super) fn find_head_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        if bytes
            .first()
            .is_some_and(|byte| !is_tchar(*byte) && *byte != b'\r')
        {
            return Err(Malformed::Line);
        }
        while let Some(end) = memchr::memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + end;
            let line = bytes[self.line..end].strip_suffix(b"\r");
            let line = line.ok_or(Malformed::Line)?;
            (self.line, self.searched) = (end + 1, end + 1);
            if line.is_empty() && self.lines > 0 {
                return if end < MAX_HEAD {
                    Ok(Some(end + 1))
                } else {
                    Err(Malformed::TooLarge)
                };
            }
            match self.lines {
                0 => self.absolute = !request_line(line)?.starts_with(b"/"),
                // A folded line is the proxy's to refuse, and none of the fields that are counted.
                _ if line.starts_with(b" ") || line.starts_with(b"\t") => continue,
                _ => self.field(line),
            }
            self.lines += 1;
            if self.lines > MAX_FIELDS + 1 {
                return Err(Malformed::TooLarge);
            }
        }
        self.searched = bytes.len();
        if bytes.len() > MAX_HEAD {
            Err(Malformed::TooLarge)
        } else {
            Ok(None)
        }
    }

    /// Whether the target is not in origin form, as nearly every one is.
    pub(super) fn is_absolute(&self) -> bool {
        self.absolute
    }

    /// The body that follows.
    pub(super) fn remaining_body(&self) -> RemainingBody {
        match (self.undelimited, self.chunked, self.length) {
            (false, false, length) => RemainingBody::Length(length.unwrap_or(0)),
            (false, true, None) => RemainingBody::Chunked(ChunkedBody::default()),
            _ => RemainingBody::Undelimited,
        }
    }

    /// Notes the fields that frame the body.
    fn field(&mut self, line: &[u8]) {
        let value = |name: &[u8]| {
            let (start, rest) = line.split_at_checked(name.len())?;
            let value = rest.strip_prefix(b":")?;
            start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
        };
        match line.first() {
            Some(b'c' | b'C') => {
                if let Some(length) = value(b"content-length") {
                    let before = self.length.replace(number(length).unwrap_or_default());
                    self.undelimited |= before.is_some() || number(length).is_none();
                }
            }
            Some(b't' | b'T') => {
                if let Some(coding) = value(b"transfer-encoding") {
                    self.undelimited |= self.chunked || !coding.eq_ignore_ascii_case(b"chunked");
                    self.chunked = true;
                }
            }
            _ => {}
        }
    }
}

impl RemainingBody {
    /// That between two requests.
    pub(super) const COMPLETE: Self = Self::Length(0);

    /// Whether the request has arrived whole.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Ended(_))
    }

    /// How many of these bytes belong to the request.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let malformed = match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= taken as u64;
                return Ok(taken);
            }
            Self::Chunked(chunks) => match chunks.take(bytes) {
                Ok((taken, ended)) => {
                    if ended {
                        *self = Self::Ended(std::mem::take(chunks).into_trailers());
                    }
                    return Ok(taken);
                }
                Err(malformed) => malformed,
            },
            Self::Ended(_) => return Ok(0),
            Self::Undelimited => return Ok(bytes.len()),
            Self::Malformed(malformed) => return Err(*malformed),
        };
        *self = Self::Malformed(malformed);
        Err(malformed)
    }
}

/// The target of a line of a method, a target and a version, with one space in between (RFC 9112
/// section 3).
fn request_line(line: &[u8]) -> Result<&[u8], Malformed> {
    let method = memchr::memchr(b' ', line).ok_or(Malformed::Line)?;
    let version = memchr::memrchr(b' ', line).ok_or(Malformed::Line)?;
    let (method, version, target) = match line.get(method + 1..version) {
        Some(target) if !target.is_empty() => (&line[..method], &line[version + 1..], target),
        _ => return Err(Malformed::Line),
    };
    if !method.iter().all(|byte| is_tchar(*byte)) || !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err(Malformed::Line);
    }
    let query = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(query);
    let sound = path.iter().all(|&byte| is_of_target(byte) && byte != b'`')
        && query.iter().all(|&byte| is_of_target(byte) && byte != b'"')
        && std::str::from_utf8(target).is_ok();
    if sound {
        Ok(target)
    } else {
        Err(Malformed::Target)
    }
}

/// Whether a byte may stand in a target. That is more than RFC 3986 allows, since clients send
/// more: whatever Pingora keeps as it arrived. It does not keep `"` in a query, nor invalid UTF-8.
fn is_of_target(byte: u8) -> bool {
    byte > b' ' && !matches!(byte, b'<' | b'>' | 0x7f)
}

fn number(digits: &[u8]) -> Option<u64> {
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| sound)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests;
