//! What `fuzz/` needs of this room: where a request ends.

use super::http1::HeadScanner;

/// Where the head of an HTTP/1 request ends, and where its body does, read in pieces of `step`
/// bytes. `None`: more must come; an error: it is none, for this reason.
pub fn request_end(bytes: &[u8], step: usize) -> Result<Option<(usize, usize)>, &'static str> {
    let mut head = HeadScanner::default();
    let mut have = 0;
    let end = loop {
        have = (have + step).min(bytes.len());
        match head.find_head_end(&bytes[..have]) {
            Ok(Some(end)) => break end,
            Ok(None) if have < bytes.len() => {}
            Ok(None) => return Ok(None),
            Err(malformed) => return Err(malformed.reason()),
        }
    };
    let (mut rest, mut at) = (head.remaining_body(), end);
    while !rest.is_complete() && at < bytes.len() {
        let piece = &bytes[at..bytes.len().min(at + step)];
        at += rest.take(piece).map_err(|malformed| malformed.reason())?;
    }
    Ok(rest.is_complete().then_some((end, at)))
}
