//! The response to a head that is never served: it came too slowly, or is malformed. Like every
//! other refusal, it does not name the software.

use std::io;
use std::time::Duration;

use http::StatusCode;
use pingora::protocols::http::date::get_cached_date;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How much, and for how long, is read from a client that was refused and may still be sending:
/// closing at once would reset the connection, and the response would be lost.
const DRAIN_BYTES: usize = 256 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A response after which the connection is closed.
pub fn error_response(status: u16) -> Vec<u8> {
    let message = match status {
        405 => "the method is not served here",
        408 => "the head did not arrive within 10 seconds",
        431 => "the header is too large",
        _ => "the request is malformed",
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let reason = status.canonical_reason().unwrap_or("Error");
    let body = format!("{{\"error\":\"{reason}\",\"message\":\"{message}\"}}");
    let date = get_cached_date();
    let date = date.to_str().unwrap_or_default();
    format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n\
         Content-Length: {}\r\nDate: {date}\r\nConnection: close\r\n\r\n{body}",
        status.as_u16(),
        body.len()
    )
    .into_bytes()
}

/// Writes the last response of a connection, and closes it so that the client can read that.
pub(super) async fn respond_and_close<S>(stream: &mut S, response: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let responding = async {
        stream.write_all(response).await?;
        stream.shutdown().await?;
        let (mut room, mut read) = ([0; 1024], 0);
        while read < DRAIN_BYTES {
            match stream.read(&mut room).await? {
                0 => break,
                some => read += some,
            }
        }
        io::Result::Ok(())
    };
    // Whether it arrives is up to the client.
    let _ = tokio::time::timeout(DRAIN_TIME, responding).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_length_is_right_and_it_does_not_name_the_software() {
        for status in [400, 405, 408, 431] {
            let text = String::from_utf8(error_response(status)).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
            assert!(
                head.contains(&format!("Content-Length: {}\r\n", body.len())),
                "{text}"
            );
            assert!(
                head.contains("\r\nDate: ") && !head.contains("Server"),
                "{text}"
            );
            assert!(
                serde_json::from_str::<serde_json::Value>(body).is_ok(),
                "{text}"
            );
        }
    }
}
