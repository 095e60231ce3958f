//! What `fuzz/` needs of the guard: where a request ends.

use super::http1::Head;

/// Where the head of an HTTP/1 request ends, and where its body does, read in pieces of `step`
/// bytes. `None`: more must come; an error: it is none, for this reason.
pub fn request_end(bytes: &[u8], step: usize) -> Result<Option<(usize, usize)>, &'static str> {
    let mut head = Head::default();
    let mut have = 0;
    let end = loop {
        have = (have + step).min(bytes.len());
        match head.read(&bytes[..have]) {
            Ok(Some(end)) => break end,
            Ok(None) if have < bytes.len() => {}
            Ok(None) => return Ok(None),
            Err(malformed) => return Err(malformed.reason()),
        }
    };
    let (mut rest, mut at) = (head.rest(), end);
    while !rest.is_nothing() && at < bytes.len() {
        let piece = &bytes[at..bytes.len().min(at + step)];
        at += rest.take(piece).map_err(|malformed| malformed.reason())?;
    }
    Ok(rest.is_nothing().then_some((end, at)))
}
