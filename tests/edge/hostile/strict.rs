//! A reader of HTTP/1.1 requests that takes what RFC 9112 has a sender generate, and nothing else:
//! the judge of what an upstream got. It shares no code with the edge or with the rest of the
//! harness, and what it cannot read in exactly one way it calls unsound.

use std::fmt;

/// One request as an upstream has to understand it.
#[derive(Clone, Default)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// Names in lower case, in order.
    pub fields: Vec<(String, String)>,
    pub body: String,
    pub trailers: Vec<(String, String)>,
    /// Whether all of it came.
    pub whole: bool,
}

impl Request {
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?} (whole: {})", self.method, self.target, self.body, self.whole)
    }
}

/// All requests of a connection, the last of which may have been cut off; or why there are two ways
/// to read it.
pub fn requests(bytes: &[u8]) -> Result<Vec<Request>, String> {
    let mut requests = Vec::new();
    let mut rest = bytes;
    while let Some((request, used)) = next(rest)? {
        rest = &rest[used..];
        requests.push(request);
    }
    Ok(requests)
}

/// The first request and how many bytes it takes; `None` when its head is not all there.
pub fn next(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let mut reader = Reader { bytes, at: 0 };
    let Some(mut request) = reader.head()? else {
        return Ok(None);
    };
    request.whole = reader.body(&mut request)?;
    let used = if request.whole { reader.at } else { bytes.len() };
    Ok(Some((request, used)))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn head(&mut self) -> Result<Option<Request>, String> {
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        let parts: Vec<&str> = line.split(' ').collect();
        let [method, target, "HTTP/1.1"] = parts[..] else {
            return Err(format!("request line {line:?}"));
        };
        let in_form = target.starts_with('/') || (target == "*" && method == "OPTIONS");
        if !is_token(method)
            || !in_form
            || !target.bytes().all(|byte| byte.is_ascii_graphic())
            || target.contains('#')
        {
            return Err(format!("request line {line:?}"));
        }
        let mut request =
            Request { method: method.into(), target: target.into(), ..Request::default() };
        Ok(self.fields(&mut request.fields)?.then_some(request))
    }

    /// Whether the empty line was there.
    fn fields(&mut self, fields: &mut Vec<(String, String)>) -> Result<bool, String> {
        while let Some(line) = self.line()? {
            if line.is_empty() {
                return Ok(true);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| format!("field {line:?}"))?;
            if !is_token(name)
                || value.chars().any(|letter| letter.is_ascii_control() && letter != '\t')
            {
                return Err(format!("field {line:?}"));
            }
            fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
        Ok(false)
    }

    /// Whether all of the body was there.
    fn body(&mut self, request: &mut Request) -> Result<bool, String> {
        let (lengths, encodings) =
            (request.values("content-length"), request.values("transfer-encoding"));
        match (&lengths[..], &encodings[..]) {
            ([], []) => Ok(true),
            ([length], []) => {
                let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
                let length = length
                    .parse::<usize>()
                    .ok()
                    .filter(|_| digits)
                    .ok_or_else(|| format!("length {length:?}"))?;
                Ok(self.take(length, &mut request.body))
            }
            ([], ["chunked"]) => self.chunks(request),
            _ => Err(format!("lengths {lengths:?}, encodings {encodings:?}")),
        }
    }

    fn chunks(&mut self, request: &mut Request) -> Result<bool, String> {
        loop {
            let Some(line) = self.line()? else {
                return Ok(false);
            };
            let digits =
                (1..=8).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(&line, 16)
                .ok()
                .filter(|_| digits)
                .ok_or_else(|| format!("chunk size {line:?}"))?;
            if size == 0 {
                return self.fields(&mut request.trailers);
            }
            if !self.take(size, &mut request.body) {
                return Ok(false);
            }
            match self.line()? {
                None => return Ok(false),
                Some(line) if line.is_empty() => {}
                Some(line) => return Err(format!("{line:?} behind a chunk")),
            }
        }
    }

    fn take(&mut self, length: usize, into: &mut String) -> bool {
        let end = self.at.saturating_add(length).min(self.bytes.len());
        let piece = &self.bytes[self.at..end];
        self.at = end;
        into.push_str(&latin1(piece));
        piece.len() == length
    }

    /// A line without its CR LF; `None` when it is not all there. A CR, LF or NUL elsewhere is
    /// unsound.
    fn line(&mut self) -> Result<Option<String>, String> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)) else {
            return Ok(None);
        };
        let line = latin1(&rest[..end]);
        if rest[end..] == *b"\r" {
            return Ok(None);
        }
        if !rest[end..].starts_with(b"\r\n") {
            return Err(format!("a line end inside {line:?}"));
        }
        self.at += end + 2;
        Ok(Some(line))
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A character for every byte, so that nothing is lost.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

#[test]
fn the_judge_of_frames_is_strict() {
    let read = |text: &str| {
        let seen = requests(text.as_bytes())?;
        Ok::<_, String>(
            seen.iter()
                .map(|request| (request.target.clone(), request.body.clone(), request.whole))
                .collect::<Vec<_>>(),
        )
    };
    let row = |target: &str, body: &str, whole| (target.to_owned(), body.to_owned(), whole);
    for (text, expected) in [
        (
            "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nX: \r\n\r\n",
            vec![row("/a", "", true), row("/b", "", true)],
        ),
        (
            "POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nxyGET /b HTTP/1.1\r\n\r\n",
            vec![row("/a", "xy", true), row("/b", "", true)],
        ),
        (
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\nT: 1\r\n\r\n",
            vec![row("/a", "xy", true)],
        ),
        ("POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nxy", vec![row("/a", "xy", false)]),
        (
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy",
            vec![row("/a", "xy", false)],
        ),
        ("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", vec![row("/a", "", false)]),
        ("GET /a HTTP/1.1\r\nHost", vec![]),
    ] {
        assert_eq!(read(text), Ok(expected), "{text:?}");
    }
    for text in [
        "GET /a HTTP/1.1\n\n",
        "GET /a HTTP/1.0\r\n\r\n",
        "GET  /a HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\r\nX : 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nX: 1\r\n 2\r\n\r\n",
        "GET /a HTTP/1.1\r\nX: \u{1}\r\n\r\n",
        "GET /a HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
        "GET /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "GET /a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        "GET /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0;a\r\n\r\n",
        "GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        "GET /a HTTP/1.1\r\n\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\r\n\r\n0\r\n\r\n",
    ] {
        assert!(read(text).is_err(), "{text:?}");
    }
}
