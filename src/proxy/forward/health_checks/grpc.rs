//! `grpc.health.v1.Health/Check` (github.com/grpc/grpc, doc/health-checking.md). Its two messages
//! have one field each.

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Response, StatusCode};

use crate::proxy::request::grpc;

/// The method that is called.
pub(super) const PATH: &[u8] = b"/grpc.health.v1.Health/Check";
/// Largest answer that is read. A real one has seven bytes.
const MAX_ANSWER: usize = 16 * 1024;
/// What goes before a message: whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;
/// `1: string` and `1: varint`, as a field of protobuf begins.
const STRING_1: u8 = 0x0a;
const VARINT_1: u8 = 0x08;

/// `HealthCheckRequest { service = 1 }` as a body.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(STRING_1);
        let mut length = service.len();
        while length > 0x7f {
            message.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut body = BytesMut::with_capacity(PREFIX + message.len());
    body.put_u8(0);
    body.put_u32(message.len() as u32);
    body.put(message);
    body.freeze()
}

/// Whether a response says that the service is healthy, or why not.
pub(super) async fn read(response: Response<RecvStream>) -> Result<Result<(), String>, h2::Error> {
    let (head, mut stream) = response.into_parts();
    if head.status != StatusCode::OK {
        return Ok(Err(format!("it answered {}", head.status.as_u16())));
    }
    let mut body = BytesMut::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        if body.len() + part.len() > MAX_ANSWER {
            return Ok(Err("its answer is no health check's".to_owned()));
        }
        body.put(part);
    }
    let trailers = stream.trailers().await?;
    Ok(check_status(
        trailers.as_ref().unwrap_or(&head.headers),
        &body,
    ))
}

fn check_status(trailers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    match grpc::status_of(trailers) {
        Some(0) => {}
        Some(5) => return Err("it does not know the service (grpc-status 5)".to_owned()),
        Some(12) => return Err("it has no grpc.health.v1.Health (grpc-status 12)".to_owned()),
        Some(status) => return Err(format!("it answered with grpc-status {status}")),
        None => return Err("it answered without a grpc-status".to_owned()),
    }
    match status(body) {
        Some(1) => Ok(()),
        Some(0) => Err("it answered UNKNOWN".to_owned()),
        Some(2) => Err("it answered NOT_SERVING".to_owned()),
        Some(3) => Err("it answered SERVICE_UNKNOWN".to_owned()),
        _ => Err("its answer is no health check's".to_owned()),
    }
}

/// The status in `HealthCheckResponse { status = 1 }`; a field that is not there is 0.
fn status(body: &[u8]) -> Option<u64> {
    let (prefix, message) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    if prefix[0] != 0 || usize::try_from(length) != Ok(message.len()) {
        return None;
    }
    match message {
        [] => Some(0),
        [VARINT_1, status] if *status < 0x80 => Some(u64::from(*status)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_names_the_service_if_there_is_one() {
        assert_eq!(request(""), &b"\0\0\0\0\0"[..]);
        assert_eq!(request("a.B"), &b"\0\0\0\0\x05\x0a\x03a.B"[..]);
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], *b"\0\0\0\x01\x2f\x0a\xac\x02");
        assert_eq!(long.len(), 8 + 300);
    }

    #[test]
    fn only_serving_is_healthy() {
        let checked = |status: Option<u32>, body: &[u8]| {
            let mut trailers = HeaderMap::new();
            trailers.extend(status.map(|it| (grpc::GRPC_STATUS, HeaderValue::from(it))));
            check_status(&trailers, body)
        };
        assert_eq!(checked(Some(0), b"\0\0\0\0\x02\x08\x01"), Ok(()));
        for (status, body, why) in [
            (Some(0), &b"\0\0\0\0\x02\x08\x02"[..], "NOT_SERVING"),
            (Some(0), b"\0\0\0\0\x02\x08\x03", "SERVICE_UNKNOWN"),
            (Some(0), b"\0\0\0\0\x02\x08\x00", "UNKNOWN"),
            (Some(0), b"\0\0\0\0\0", "UNKNOWN"),
            (Some(0), b"", "no health check's"),
            (Some(0), b"\x01\0\0\0\x02\x08\x01", "no health check's"),
            (Some(0), b"\0\0\0\0\x03\x08\x01", "no health check's"),
            (Some(0), b"\0\0\0\0\x03\x08\x81\x00", "no health check's"),
            (Some(5), b"", "does not know the service"),
            (Some(12), b"", "has no grpc.health.v1.Health"),
            (Some(14), b"\0\0\0\0\x02\x08\x01", "grpc-status 14"),
            (None, b"\0\0\0\0\x02\x08\x01", "without a grpc-status"),
        ] {
            let outcome = checked(status, body);
            assert!(
                outcome.as_ref().is_err_and(|outcome| outcome.contains(why)),
                "{why}: {outcome:?}"
            );
        }
    }
}
