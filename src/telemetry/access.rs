//! The access log: one record a request, at `info` under the target `harmony::access`. No query, no
//! header, no credential.
//!
//! It has the form of every other record, but is put together here: there is one for each request,
//! and the way through `log` costs as much as half of the proxying.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use http::Version;

use super::logger::is_harmful;
use super::writer::LogWriter;

pub(super) const TARGET: &str = "harmony::access";

/// Where records go, once logging has started and wants them.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    writer: LogWriter,
    json: bool,
}

/// What is known of a request at its end.
#[derive(Debug)]
pub struct Record<'a> {
    /// The client behind trusted proxies.
    pub client: Option<IpAddr>,
    /// The host that the request names, without port.
    pub host: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The canonical path, or the one that was refused as it came. Never a query.
    pub path: Option<&'a str>,
    /// The client's version of HTTP.
    pub version: Version,
    /// The status that the client got; `None` when it was gone before.
    pub status: Option<u16>,
    /// Bytes of response body.
    pub bytes: usize,
    /// From the request's head to the response's end.
    pub duration: Duration,
    /// The pipeline.
    pub pipeline: Option<&'a str>,
    /// The backend.
    pub backend: Option<&'a str>,
    /// The address of the upstream that the last attempt went to.
    pub upstream: Option<SocketAddr>,
    /// The method of authentication.
    pub auth: Option<&'a str>,
    /// Who authenticated.
    pub subject: Option<&'a str>,
    /// Why the request was refused or failed: a stable label.
    pub reason: Option<&'a str>,
    /// The request's id.
    pub request_id: Option<&'a str>,
}

/// Sends records there from now on.
pub(super) fn start(writer: LogWriter, json: bool) {
    // There is one logger.
    let _ = LOG.set(Log { writer, json });
}

/// Whether records are wanted at all.
pub fn enabled() -> bool {
    LOG.get().is_some()
}

/// Writes a record.
pub fn write(record: &Record<'_>) {
    let Some(log) = LOG.get() else { return };
    LINE.with_borrow_mut(|line| {
        let now = SystemTime::now();
        let now = now.duration_since(SystemTime::UNIX_EPOCH);
        line.begin(now.unwrap_or_default(), log.json);
        record.visit(line);
        log.writer.gather(line.end());
    });
}

/// Adds an address as its `Display` would, in a tenth of the time for IPv4.
pub fn push_address(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (at, part) in address.octets().into_iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "." });
                text.push_str(itoa::Buffer::new().format(part));
            }
        }
        IpAddr::V6(address) => {
            // Writing to a string cannot fail.
            let _ = write!(text, "{address}");
        }
    }
}

/// A field's name as it stands before its value, in text and in JSON.
macro_rules! key {
    ($name:literal) => {
        [concat!(" ", $name, "="), concat!(",\"", $name, "\":")]
    };
}

impl Record<'_> {
    /// Shows every field, in the order of the log.
    fn visit(&self, line: &mut Line) {
        line.address(key!("client"), self.client, None);
        line.text(key!("host"), self.host);
        line.word(key!("method"), Some(self.method));
        line.text(key!("path"), self.path);
        line.word(key!("version"), Some(version(self.version)));
        line.number(key!("status"), self.status.map(u64::from));
        line.number(key!("bytes"), u64::try_from(self.bytes).ok());
        let duration = u64::try_from(self.duration.as_micros());
        line.number(key!("duration_us"), duration.ok());
        line.text(key!("pipeline"), self.pipeline);
        line.text(key!("backend"), self.backend);
        let upstream = self
            .upstream
            .map(|upstream| (upstream.ip(), upstream.port()));
        line.address(
            key!("upstream"),
            upstream.map(|(ip, _)| ip),
            upstream.map(|(_, port)| port),
        );
        line.word(key!("auth"), self.auth);
        line.quoted(key!("subject"), self.subject);
        line.word(key!("reason"), self.reason);
        line.text(key!("id"), self.request_id);
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

thread_local! {
    static LINE: RefCell<Line> = RefCell::default();
}

/// One record in the making. Kept for the next one, and with it the text of the second at hand.
#[derive(Default)]
struct Line {
    text: String,
    json: bool,
    second: u64,
    /// Up to the seconds.
    date: String,
}

impl Line {
    fn begin(&mut self, now: Duration, json: bool) {
        if self.second != now.as_secs() || self.date.is_empty() {
            self.second = now.as_secs();
            let second = i64::try_from(self.second).ok();
            let second = second.and_then(|second| jiff::Timestamp::from_second(second).ok());
            let date = second.unwrap_or_default().to_string();
            date.trim_end_matches('Z').clone_into(&mut self.date);
        }
        self.json = json;
        self.text.clear();
        self.text.push_str(if json { "{\"time\":\"" } else { "" });
        self.text.push_str(&self.date);
        let millis = now.subsec_millis();
        self.text.push('.');
        for digit in [millis / 100, millis / 10 % 10, millis % 10] {
            self.text.push(char::from_digit(digit, 10).unwrap_or('0'));
        }
        self.text.push_str(if json {
            "Z\",\"level\":\"INFO\",\"target\":\"harmony::access\",\"message\":\"request\""
        } else {
            "Z INFO  harmony::access: request"
        });
    }

    fn key(&mut self, key: [&str; 2]) {
        self.text.push_str(key[usize::from(self.json)]);
    }

    /// What is not known: `-` in text, `null` in JSON.
    fn absent(&mut self) {
        self.text.push_str(if self.json { "null" } else { "-" });
    }

    fn number(&mut self, key: [&str; 2], value: Option<u64>) {
        self.key(key);
        match value {
            Some(value) => self.text.push_str(itoa::Buffer::new().format(value)),
            None => self.absent(),
        }
    }

    /// An address, in brackets where it is IPv6 and has a port (RFC 3986 section 3.2.2).
    fn address(&mut self, key: [&str; 2], value: Option<IpAddr>, port: Option<u16>) {
        self.key(key);
        let Some(value) = value else {
            return self.absent();
        };
        let quote = if self.json { "\"" } else { "" };
        let brackets = if port.is_some() && value.is_ipv6() {
            ["[", "]"]
        } else {
            ["", ""]
        };
        self.text.push_str(quote);
        self.text.push_str(brackets[0]);
        push_address(&mut self.text, value);
        self.text.push_str(brackets[1]);
        if let Some(port) = port {
            self.text.push(':');
            self.text.push_str(itoa::Buffer::new().format(port));
        }
        self.text.push_str(quote);
    }

    /// A word without any character that means something to somebody: a token of HTTP or a label of
    /// ours.
    fn word(&mut self, key: [&str; 2], value: Option<&str>) {
        self.key(key);
        match value {
            Some(value) if self.json => self.in_quotes(value),
            Some(value) => self.text.push_str(value),
            None => self.absent(),
        }
    }

    /// In text, without quotes: a blank in it is escaped, so that it cannot pass as the end of the
    /// value, and what follows as a field of its own.
    fn text(&mut self, key: [&str; 2], value: Option<&str>) {
        self.key(key);
        match value {
            None => self.absent(),
            Some(value) if self.json => self.json(value),
            Some(value) if is_plain(value) && !value.contains(' ') => self.text.push_str(value),
            Some(value) => {
                for c in value.chars() {
                    match c {
                        ' ' => self.text.push_str("\\u{20}"),
                        '"' | '\\' => self.text.extend(['\\', c]),
                        _ if is_harmful(c) => self.text.extend(c.escape_default()),
                        _ => self.text.push(c),
                    }
                }
            }
        }
    }

    /// In text, what may hold blanks stands in quotes.
    fn quoted(&mut self, key: [&str; 2], value: Option<&str>) {
        self.key(key);
        match value {
            None => self.absent(),
            Some(value) if self.json => self.json(value),
            Some(value) if is_plain(value) => self.in_quotes(value),
            Some(value) => {
                for c in format!("{value:?}").chars() {
                    if is_harmful(c) {
                        self.text.extend(c.escape_default());
                    } else {
                        self.text.push(c);
                    }
                }
            }
        }
    }

    fn json(&mut self, value: &str) {
        if is_plain(value) {
            self.in_quotes(value);
        } else {
            let _ = write!(self.text, "{}", serde_json::Value::from(value));
        }
    }

    fn in_quotes(&mut self, value: &str) {
        self.text.push('"');
        self.text.push_str(value);
        self.text.push('"');
    }

    fn end(&mut self) -> &[u8] {
        self.text.push_str(if self.json { "}\n" } else { "\n" });
        self.text.as_bytes()
    }
}

/// Whether a text is printable ASCII without quotes and backslashes, as most of what is logged:
/// then it is written as it is.
fn is_plain(text: &str) -> bool {
    // Without a way out in the middle, several bytes are looked at at once.
    text.bytes().fold(true, |plain, byte| {
        plain & matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            client: Some([192, 0, 2, 7].into()),
            host: Some("edge.example"),
            method: "GET",
            path: Some("/api/é\u{202e}"),
            version: Version::HTTP_2,
            status: Some(200),
            bytes: 12,
            duration: Duration::from_micros(1500),
            pipeline: Some("api"),
            backend: Some("app"),
            upstream: Some(([10, 0, 0, 5], 3000).into()),
            auth: Some("jwt"),
            subject: Some("al\"ice\u{1b}"),
            reason: None,
            request_id: Some("id-1"),
        }
    }

    fn line(record: &Record<'_>, now: Duration, json: bool) -> String {
        let mut line = Line::default();
        line.begin(now, json);
        record.visit(&mut line);
        String::from_utf8(line.end().to_vec()).unwrap()
    }

    #[test]
    fn a_record_in_text() {
        let now = Duration::from_millis(1_795_000_000_047);
        assert_eq!(
            line(&record(), now, false),
            "2026-11-18T11:06:40.047Z INFO  harmony::access: request client=192.0.2.7 \
             host=edge.example method=GET path=/api/é\\u{202e} version=HTTP/2.0 status=200 bytes=12 \
             duration_us=1500 pipeline=api backend=app upstream=10.0.0.5:3000 auth=jwt \
             subject=\"al\\\"ice\\u{1b}\" reason=- id=id-1\n"
        );
    }

    #[test]
    fn a_record_in_json() {
        let now = Duration::from_millis(1_795_000_001_999);
        let client = Some("2001:db8::1".parse().unwrap());
        let upstream = Some("[2001:db8::2]:80".parse().unwrap());
        let text = line(
            &Record {
                client,
                upstream,
                ..record()
            },
            now,
            true,
        );
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "time": "2026-11-18T11:06:41.999Z",
            "level": "INFO",
            "target": TARGET,
            "message": "request",
            "client": "2001:db8::1",
            "host": "edge.example",
            "method": "GET",
            "path": "/api/é\u{202e}",
            "version": "HTTP/2.0",
            "status": 200,
            "bytes": 12,
            "duration_us": 1500,
            "pipeline": "api",
            "backend": "app",
            "upstream": "[2001:db8::2]:80",
            "auth": "jwt",
            "subject": "al\"ice\u{1b}",
            "reason": null,
            "id": "id-1"
        });
        assert_eq!(found, expected);
        assert_eq!(text.matches('\n').count(), 1);
    }

    fn nothing() -> Record<'static> {
        Record {
            client: None,
            host: None,
            path: None,
            status: None,
            pipeline: None,
            backend: None,
            upstream: None,
            auth: None,
            subject: None,
            request_id: None,
            ..record()
        }
    }

    #[test]
    fn what_is_not_known_is_a_dash_or_null() {
        let now = Duration::from_secs(1_795_000_000);
        let text = line(&nothing(), now, false);
        assert!(text.contains(" client=- host=- "), "{text}");
        assert!(text.contains(" status=- bytes=12 "), "{text}");
        assert!(text.contains(" subject=- reason=- "), "{text}");
        let json: serde_json::Value = serde_json::from_str(&line(&nothing(), now, true)).unwrap();
        for key in [
            "client", "host", "path", "status", "pipeline", "backend", "upstream", "auth",
            "subject", "reason", "id",
        ] {
            assert_eq!(json.get(key), Some(&serde_json::Value::Null), "{key}");
        }
    }

    #[test]
    fn nothing_that_a_client_sends_passes_as_a_field_of_its_own() {
        let now = Duration::from_secs(1_795_000_000);
        for blank in [
            " ", "\t", "\n", "\r", "\u{a0}", "\u{2003}", "\u{2028}", "\u{3000}",
        ] {
            let forged = format!("/x{blank}status=200{blank}subject=\"root\"");
            let record = Record {
                host: Some(&forged),
                path: Some(&forged),
                subject: Some(&forged),
                request_id: Some(&forged),
                status: Some(400),
                ..record()
            };
            let text = line(&record, now, false);
            let outside: String = without_quoted(&text);
            let named = |key: &str| {
                let fields = outside.split_whitespace();
                fields.filter(|field| field.starts_with(key)).count()
            };
            assert_eq!((named("status="), named("subject=")), (1, 1), "{text}");
            assert!(outside.contains(" status=400 "), "{text}");
            assert_eq!(text.matches('\n').count(), 1, "{text}");
        }
    }

    /// A line without what stands in quotes, as a parser of `key=value` reads it.
    fn without_quoted(line: &str) -> String {
        let (mut quoted, mut escaped) = (false, false);
        line.chars()
            .filter(|&c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                quoted ^= ends;
                !quoted && !ends
            })
            .collect()
    }

    #[test]
    fn the_time_goes_on() {
        let mut line = Line::default();
        for (millis, expected) in [(999, "00.999Z"), (1000, "01.000Z"), (61_010, "01.010Z")] {
            line.begin(Duration::from_millis(millis), false);
            assert_eq!(line.text.get(17..24), Some(expected));
        }
    }
}
