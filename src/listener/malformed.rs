//! What is wrong with a malformed HTTP/1 request. It is found before Pingora's more lenient parser
//! reads it.

use std::io;

use pingora::Error;

/// Label of a well-formed head that Pingora does not accept, CONNECT among them.
pub const UNREADABLE: &str = "unreadable_head";

/// Why such a request is refused. The connection is closed: where the next one begins is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The request line or a field line is malformed, or does not end in CR LF.
    #[error("a line of the head is malformed")]
    Line,
    /// A byte that has to be percent-encoded, such as white space or a control byte.
    #[error("the request target has a byte that must be percent-encoded")]
    Target,
    /// The header block is over its limits.
    #[error("the header is too large")]
    TooLarge,
    /// Not a chunk as in RFC 9112 section 7.1.
    #[error("a chunk of the body is malformed")]
    Chunk,
    /// Not a trailer section as in RFC 9112 section 7.1.2.
    #[error("the trailer section is malformed")]
    Trailer,
}

impl Malformed {
    /// 431 for size (RFC 6585 section 5), 400 for the rest.
    pub fn status(self) -> u16 {
        if self == Self::TooLarge { 431 } else { 400 }
    }

    /// Stable label for logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Line => "bad_line",
            Self::Target => "target",
            Self::TooLarge => "head_too_large",
            Self::Chunk => "chunk",
            Self::Trailer => "trailer",
        }
    }

    /// Whether this is why the body of a request could not be read.
    pub fn of(error: &Error) -> Option<Self> {
        let error = error.root_cause().downcast_ref::<io::Error>()?;
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::ErrorType;

    #[test]
    fn it_is_found_inside_pingoras_errors() {
        let cause = io::Error::from(Malformed::Chunk);
        let read = Error::because(ErrorType::ReadError, "reading body", cause);
        let error = read.more_context("while forwarding").into_down();
        assert_eq!(Malformed::of(&error), Some(Malformed::Chunk));
        let other = io::Error::from(io::ErrorKind::InvalidData);
        let other = Error::because(ErrorType::ReadError, "reading body", other);
        assert_eq!(Malformed::of(&other), None);
    }
}
