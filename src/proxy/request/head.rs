//! The request head as it came: what HTTP itself forbids, refused before anything is matched or
//! forwarded.
//!
//! Pingora reads leniently (it takes bare line feeds, drops a `Content-Length` beside a
//! `Transfer-Encoding`, forwards a missing `Host`), so the raw bytes are judged here. Routes and
//! credentials are other modules' business.

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Version, header};
use pingora::http::RequestHeader;
use pingora_proxy::Session;

use super::authority::{is_authority, split_port};
use super::hop_by_hop::connection_options;
use super::reserved_headers::is_identity;
use crate::auth::is_tchar;
use crate::listener::{MAX_FIELDS, MAX_HEAD};

/// Most fields that `Connection` may name.
const MAX_NOMINATIONS: usize = 9;
/// Fields that it may not name.
const PROTECTED: [&[u8]; 5] = [
    b"authorization",
    b"host",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
];

/// Why a head is refused. Every one of them closes the connection: what follows such a head cannot
/// be trusted either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("header block over {MAX_HEAD} bytes or {MAX_FIELDS} fields")]
    TooLarge,
    #[error("carriage return or line feed on its own, a folded line, or NUL")]
    BadLine,
    #[error("more than one content-length, or one that is not a number")]
    ContentLength,
    #[error("transfer-encoding other than chunked, or beside content-length")]
    TransferEncoding,
    #[error("host missing, repeated or malformed")]
    Host,
    #[error("malformed request target")]
    Target,
    #[error(
        "connection names a field that must not be dropped, something that is no field, or too many"
    )]
    Nomination,
}

impl HeadError {
    /// 431 for size (RFC 6585 section 5), 400 for the rest.
    pub(crate) fn status(self) -> u16 {
        if self == Self::TooLarge { 431 } else { 400 }
    }

    /// Stable label for logs and metrics.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "head_too_large",
            Self::BadLine => "bad_line",
            Self::ContentLength => "content_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::Host => "host",
            Self::Target => "target",
            Self::Nomination => "nomination",
        }
    }
}

/// What routing and forwarding need of a head that is sound.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Host and port as the client named them: from an absolute-form target if there is one (RFC
    /// 9112 section 3.2.2), else from `Host` or `:authority`.
    pub(crate) authority: Bytes,
    /// The path as it came.
    pub(crate) path: Bytes,
    /// The query as it came, without its `?`.
    pub(crate) query: Option<Bytes>,
}

impl Head {
    /// Judges the head of a request.
    pub(crate) fn read(session: &Session) -> Result<Self, HeadError> {
        let header = session.req_header();
        let head = match session.as_http1() {
            Some(http1) => read_http1(&http1.get_headers_raw_bytes())?,
            None => read_http2(header)?,
        };
        check_nominations(header)?;
        Ok(head)
    }

    /// The host as the client wrote it, without port.
    pub(crate) fn written_host(&self) -> &str {
        std::str::from_utf8(split_port(&self.authority).0).unwrap_or_default()
    }

    /// The port as the client wrote it.
    pub(crate) fn port(&self) -> Option<u16> {
        let port = split_port(&self.authority).1?;
        std::str::from_utf8(port).ok()?.parse().ok()
    }

    /// The host for the route table: in lower case, without port, brackets and the root's dot.
    pub(crate) fn host(&self) -> Cow<'_, str> {
        let host = self.written_host();
        let host = host.strip_suffix('.').unwrap_or(host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        }
    }
}

/// How long the body of the request is; `None`: it does not say.
pub(crate) fn body_length(session: &mut Session) -> Option<u64> {
    if session.is_body_empty() {
        return Some(0);
    }
    let length = session.get_header(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Whether the client sends its body only when it is told to (RFC 9110 section 10.1.1).
pub(crate) fn expects_continue(session: &mut Session) -> bool {
    let expected = session.get_header(header::EXPECT);
    expected.is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        && session.req_header().version >= Version::HTTP_11
        && !session.is_body_empty()
}

/// Whether a request expects something else than to be told to go on: nothing else is known (RFC
/// 9110 section 10.1.1).
pub(crate) fn has_unknown_expectation(headers: &HeaderMap) -> bool {
    let expected = headers.get_all(header::EXPECT).iter();
    expected
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|expected| !expected.is_empty() && !expected.eq_ignore_ascii_case(b"100-continue"))
}

pub(crate) fn read_http1(raw: &Bytes) -> Result<Head, HeadError> {
    if raw.len() > MAX_HEAD {
        return Err(HeadError::TooLarge);
    }
    let mut lines = Lines(raw).skip_while(|line| matches!(line, Ok(line) if line.is_empty()));
    let request_line = lines.next().ok_or(HeadError::Target)??;
    let mut fields = 0;
    let mut hosts = 0;
    let mut host = None;
    let mut content_length = false;
    let mut transfer_encoding = false;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        fields += 1;
        if fields > MAX_FIELDS {
            return Err(HeadError::TooLarge);
        }
        let colon = memchr::memchr(b':', line).ok_or(HeadError::BadLine)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                hosts += 1;
                host = Some(value);
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                if content_length || !number {
                    return Err(HeadError::ContentLength);
                }
                content_length = true;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if transfer_encoding || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                transfer_encoding = true;
            }
            _ => {}
        }
    }
    if content_length && transfer_encoding {
        return Err(HeadError::TransferEncoding);
    }
    let host = host
        .filter(|host| hosts == 1 && is_authority(host))
        .ok_or(HeadError::Host)?;
    let target = request_line
        .split(|&byte| byte == b' ')
        .nth(1)
        .ok_or(HeadError::Target)?;
    let (authority, target) = split_absolute(target)?;
    let (path, query) = split_query(target)?;
    Ok(Head {
        authority: raw.slice_ref(authority.unwrap_or(host)),
        // An absolute-form target may have no path (RFC 9112 section 3.2.2).
        path: match path {
            b"" => Bytes::from_static(b"/"),
            path => raw.slice_ref(path),
        },
        query: query.map(|query| raw.slice_ref(query)),
    })
}

/// HTTP/2 has framing of its own; what is left is the authority, which `:authority` and `Host` must
/// agree on (RFC 9113 section 8.3.1).
fn read_http2(header: &RequestHeader) -> Result<Head, HeadError> {
    if fields_of_http2(&header.headers) > MAX_FIELDS {
        return Err(HeadError::TooLarge);
    }
    let mut hosts = header.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(http::HeaderValue::as_bytes);
    let pseudo = header
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let authority = match (pseudo, host) {
        (Some(pseudo), Some(host)) if !pseudo.eq_ignore_ascii_case(host) => {
            return Err(HeadError::Host);
        }
        (pseudo, host) => pseudo.or(host).ok_or(HeadError::Host)?,
    };
    if hosts.next().is_some() || !is_authority(authority) {
        return Err(HeadError::Host);
    }
    if header
        .headers
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .count()
        > 1
    {
        return Err(HeadError::ContentLength);
    }
    let target = header
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    let (path, query) = split_query(target.as_bytes())?;
    Ok(Head {
        authority: Bytes::copy_from_slice(authority),
        path: Bytes::copy_from_slice(path),
        query: query.map(Bytes::copy_from_slice),
    })
}

/// How many fields there are. `Cookie` is one however many crumbs it comes in: clients split it for
/// the compression's sake (RFC 9113 section 8.2.3), and a browser sends each cookie on its own.
fn fields_of_http2(headers: &HeaderMap) -> usize {
    let fields = headers.len();
    if fields <= MAX_FIELDS {
        return fields;
    }
    let crumbs = headers.get_all(header::COOKIE).iter().count();
    fields - crumbs.saturating_sub(1)
}

/// Lines that end in CR LF and hold neither of them nor NUL; a line that begins with white space is
/// a folded one (RFC 9112 section 5.2).
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], HeadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr::memchr3(b'\r', b'\n', 0, self.0);
        let Some((line, rest)) = end.and_then(|end| {
            let rest = self.0[end..].strip_prefix(b"\r\n")?;
            Some((&self.0[..end], rest))
        }) else {
            self.0 = &[];
            return Some(Err(HeadError::BadLine));
        };
        self.0 = rest;
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Some(Err(HeadError::BadLine));
        }
        Some(Ok(line))
    }
}

/// Takes the authority off an absolute-form target; what is left may be empty.
fn split_absolute(target: &[u8]) -> Result<(Option<&[u8]>, &[u8]), HeadError> {
    if target.starts_with(b"/") || target == b"*" {
        return Ok((None, target));
    }
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start
                .eq_ignore_ascii_case(scheme.as_bytes())
                .then_some(rest)
        })
        .ok_or(HeadError::Target)?;
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !is_authority(authority) {
        return Err(HeadError::Target);
    }
    match path.first() {
        Some(b'/') | None => Ok((Some(authority), path)),
        Some(_) => Err(HeadError::Target),
    }
}

fn split_query(target: &[u8]) -> Result<(&[u8], Option<&[u8]>), HeadError> {
    if target.contains(&b'#') {
        return Err(HeadError::Target);
    }
    Ok(match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    })
}

/// Takes the parts out of a request, to be put back as `RequestHeader::from(parts)`. Pingora keeps
/// the spelling of every field name in a second map, which costs a second look-up for each change
/// and is copied for each attempt; without it, names go out in lower case.
pub(crate) fn take_parts(request: &mut RequestHeader) -> Parts {
    let empty = Request::new(()).into_parts().0;
    std::mem::replace(request, empty.into()).into()
}

/// The hops that the request may still make (RFC 9110 section 7.6.2).
pub(crate) fn max_forwards(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::MAX_FORWARDS)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// `Connection` drops what it names before a request goes on: not what decides who the request is
/// from or for (RFC 9110 section 7.6.1).
fn check_nominations(header: &RequestHeader) -> Result<(), HeadError> {
    if header.version == Version::HTTP_2 {
        return Ok(());
    }
    let names = connection_options(&header.headers);
    for (place, name) in names.enumerate() {
        let protected =
            PROTECTED.iter().any(|it| name.eq_ignore_ascii_case(it)) || is_identity(name);
        if protected || place >= MAX_NOMINATIONS || !name.iter().all(|&byte| is_tchar(byte)) {
            return Err(HeadError::Nomination);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
