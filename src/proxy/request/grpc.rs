//! What the edge knows of gRPC: which requests are calls, how long their clients wait, and the
//! status that a call ends with where HTTP has another one (gRPC over HTTP/2, "Requests" and
//! "Responses"; github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md).

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use pingora::http::RequestHeader;

use super::context::Context;

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// How long a client that would call again has to wait: `Retry-After` for gRPC (gRFC A6).
const GRPC_RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const CONTENT_TYPE: &[u8] = b"application/grpc";
/// Most digits of a time-out.
const MAX_DIGITS: usize = 8;
/// What a message may not hold as it is; everything outside of ASCII is escaped anyway.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// A call, and how it was answered.
#[derive(Debug)]
pub(crate) struct Call {
    /// How long its client waits for the whole of it; `None`: it does not say.
    timeout: Option<Duration>,
    /// The status of the answer, once there is one.
    pub(crate) status: Option<u32>,
    /// The HTTP status that its rejection stands for: what was sent has 200.
    pub(crate) rejected_with: Option<u16>,
}

impl Call {
    /// The call that a request is; `None`: it is none, or comes over HTTP/1, which has no place for
    /// its answer.
    pub(crate) fn of(request: &RequestHeader) -> Option<Self> {
        let is_call = request.version == Version::HTTP_2
            && request.method == Method::POST
            && is_grpc(&request.headers);
        is_call.then(|| Self {
            timeout: request.headers.get(GRPC_TIMEOUT).and_then(parse_timeout),
            status: None,
            rejected_with: None,
        })
    }

    /// Ends it by a status of HTTP: the fields that tell so, in a head or as trailers.
    pub(crate) fn end(
        &mut self,
        http_status: StatusCode,
        message: &str,
        retry_after: Option<u32>,
    ) -> HeaderMap {
        let status = status_for(http_status.as_u16());
        self.status = Some(status);
        let message = match message {
            "" => http_status.canonical_reason().unwrap_or_default(),
            message => message,
        };
        let message = utf8_percent_encode(message, ESCAPED).to_string();
        let mut fields = HeaderMap::new();
        fields.insert(GRPC_STATUS, HeaderValue::from(status));
        fields.extend(HeaderValue::try_from(message).map(|message| (GRPC_MESSAGE, message)));
        if let Some(seconds) = retry_after {
            let millis = u64::from(seconds) * 1000;
            fields.insert(GRPC_RETRY_PUSHBACK, HeaderValue::from(millis));
        }
        fields
    }
}

impl Context {
    /// Takes note of the status of a call, in the last fields of its answer.
    pub(crate) fn note_grpc_status(&mut self, fields: &HeaderMap) {
        if let Some(call) = &mut self.grpc {
            call.status = status_of(fields);
        }
    }

    /// When an exchange of at most `total` must be over; a call's client may wait for less.
    pub(crate) fn total_deadline(&self, total: Option<Duration>) -> Option<Instant> {
        let timeout = self.grpc.as_ref().and_then(|call| call.timeout);
        let shorter = [total, timeout].into_iter().flatten().min();
        shorter.and_then(|limit| self.started.checked_add(limit))
    }

    /// Whether the client of a call has stopped waiting, which is nobody's failure.
    pub(crate) fn grpc_deadline_exceeded(&self) -> bool {
        let timeout = self.grpc.as_ref().and_then(|call| call.timeout);
        timeout.is_some_and(|timeout| self.started.elapsed() >= timeout)
    }
}

/// Whether a message is one of gRPC, by its content type: `application/grpc`, alone or followed by
/// `+` and a format or by parameters. `application/grpc-web` is another protocol.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map_or(&b""[..], HeaderValue::as_bytes);
    let parts = content_type.split_at_checked(CONTENT_TYPE.len());
    parts.is_some_and(|(name, rest)| {
        name.eq_ignore_ascii_case(CONTENT_TYPE) && matches!(rest.first(), None | Some(b'+' | b';'))
    })
}

/// The status of gRPC that stands for one of HTTP.
fn status_for(http_status: u16) -> u32 {
    match http_status {
        400 | 415 | 417 => 3, // INVALID_ARGUMENT
        401 => 16,            // UNAUTHENTICATED
        403 => 7,             // PERMISSION_DENIED
        404 | 405 => 12,      // UNIMPLEMENTED
        408 | 504 => 4,       // DEADLINE_EXCEEDED
        413 | 429 | 431 => 8, // RESOURCE_EXHAUSTED
        502 | 503 => 14,      // UNAVAILABLE
        _ => 2,               // UNKNOWN
    }
}

/// The status that a head or trailers name; `None`: they name none.
pub(crate) fn status_of(fields: &HeaderMap) -> Option<u32> {
    fields.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// One to eight digits and a unit. What is malformed is the server's to refuse: it gets the field
/// as it is, and sets no deadline here, as with Envoy.
fn parse_timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    let decimal = digits.len() <= MAX_DIGITS && digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| decimal)?;
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, version: Version, content_type: &str) -> RequestHeader {
        let mut request = RequestHeader::build(method, b"/a.B/C", None).unwrap();
        request.set_version(version);
        request
            .insert_header(header::CONTENT_TYPE, content_type)
            .unwrap();
        request
    }

    #[test]
    fn a_call_is_a_post_over_http_2_with_its_content_type() {
        let is_call = |method, version, content_type| {
            Call::of(&request(method, version, content_type)).is_some()
        };
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;a=b",
            "Application/GRPC+json",
        ] {
            assert!(
                is_call("POST", Version::HTTP_2, content_type),
                "{content_type}"
            );
        }
        for content_type in [
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpcx",
            "application/grp",
            "text/plain; application/grpc",
            "",
        ] {
            assert!(
                !is_call("POST", Version::HTTP_2, content_type),
                "{content_type}"
            );
        }
        assert!(!is_call("GET", Version::HTTP_2, "application/grpc"));
        assert!(!is_call("POST", Version::HTTP_11, "application/grpc"));
    }

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        let parsed = |text: &'static str| parse_timeout(&HeaderValue::from_static(text));
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("0S", Duration::ZERO),
            ("100m", Duration::from_millis(100)),
            ("00000100m", Duration::from_millis(100)),
            ("99999999u", Duration::from_micros(99_999_999)),
            ("7n", Duration::from_nanos(7)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(parsed(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "1",
            "S",
            "1s",
            "1h",
            "1 S",
            " 1S",
            "-1S",
            "+1S",
            "1.5S",
            "123456789S",
            "1S1S",
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_status_of_http_has_one_of_grpc() {
        let all = [
            (2, &[301, 406, 409, 500, 501][..]),
            (3, &[400, 415, 417]),
            (4, &[408, 504]),
            (7, &[403]),
            (8, &[413, 429, 431]),
            (12, &[404, 405]),
            (14, &[502, 503]),
            (16, &[401]),
        ];
        for (status, of_http) in all {
            for &http in of_http {
                assert_eq!(status_for(http), status, "{http}");
            }
        }
    }

    #[test]
    fn a_message_is_printable_ascii_and_can_be_read_back() {
        let told = |status: u16, text| {
            let mut call = Call::of(&request("POST", Version::HTTP_2, "application/grpc")).unwrap();
            let fields = call.end(StatusCode::from_u16(status).unwrap(), text, None);
            assert_eq!(fields[GRPC_STATUS], call.status.unwrap().to_string());
            fields[GRPC_MESSAGE].to_str().unwrap().to_owned()
        };
        assert_eq!(told(401, "a valid credential"), "a valid credential");
        assert_eq!(told(500, "100% \"~"), "100%25 \"~");
        assert_eq!(told(500, "é\n"), "%C3%A9%0A");
        assert_eq!(told(404, ""), "Not Found");
    }
}
