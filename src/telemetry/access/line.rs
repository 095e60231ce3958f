//! One line of the access log while it is written, as text or JSON: without an allocation, unless
//! something has to be escaped or the upstream is a unix socket.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use crate::common::{PeerAddress, write_hex};
use crate::telemetry::escape::is_harmful;

/// Most characters of a field that a client may fill as it likes.
const MAX_CHARS: usize = 256;

/// One record while it is written. Each thread keeps one, and with it the text of the current
/// second.
#[derive(Default)]
pub(super) struct LogLine {
    pub(super) text: String,
    json: bool,
    second: u64,
    /// Up to the seconds.
    date: String,
    /// Where `shadow` stands.
    shadow: Range<usize>,
}

/// As [`key!`](super::key) has it.
const SHADOW: [&str; 2] = [" shadow=", ",\"shadow\":"];

impl LogLine {
    pub(super) fn begin(&mut self, now: Duration, json: bool) {
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

    /// A missing value: `-` in text, `null` in JSON.
    fn absent(&mut self) {
        self.text.push_str(if self.json { "null" } else { "-" });
    }

    pub(super) fn number(&mut self, key: [&str; 2], value: Option<u64>) {
        self.key(key);
        match value {
            Some(value) => self.text.push_str(itoa::Buffer::new().format(value)),
            None => self.absent(),
        }
    }

    pub(super) fn micros(&mut self, key: [&str; 2], value: Option<Duration>) {
        let micros = value.and_then(|value| u64::try_from(value.as_micros()).ok());
        self.number(key, micros);
    }

    /// The number of a trace, as 32 digits.
    pub(super) fn trace(&mut self, key: [&str; 2], value: Option<u128>) {
        self.key(key);
        let Some(value) = value else {
            return self.absent();
        };
        let quote = if self.json { "\"" } else { "" };
        self.text.push_str(quote);
        let mut digits = [0; 32];
        write_hex(&mut digits, &value.to_be_bytes());
        self.text.extend(digits.map(char::from));
        self.text.push_str(quote);
    }

    /// What a client says at any length, of which the first [`MAX_CHARS`] are shown.
    pub(super) fn cut(&mut self, key: [&str; 2], value: Option<&[u8]>) {
        let value = value.map(|bytes| &bytes[..bytes.len().min(4 * MAX_CHARS)]);
        let text = value.map(String::from_utf8_lossy);
        let text = text.as_deref().map(|text| match text.len() {
            ..=MAX_CHARS => text,
            _ => {
                let end = text.char_indices().nth(MAX_CHARS).map(|(at, _)| at);
                &text[..end.unwrap_or(text.len())]
            }
        });
        self.quoted(key, text);
    }

    /// An address, in brackets where it is IPv6 and has a port (RFC 3986 section 3.2.2).
    pub(super) fn address(&mut self, key: [&str; 2], value: Option<IpAddr>, port: Option<u16>) {
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

    pub(super) fn upstream(&mut self, key: [&str; 2], value: Option<&PeerAddress>) {
        match value {
            Some(PeerAddress::Inet(address)) => {
                self.address(key, Some(address.ip()), Some(address.port()));
            }
            Some(socket) => self.text(key, Some(&socket.to_string())),
            None => self.text(key, None),
        }
    }

    /// A value that needs no escaping: a token of HTTP or one of our labels.
    pub(super) fn word(&mut self, key: [&str; 2], value: Option<&str>) {
        self.key(key);
        match value {
            Some(value) if self.json => self.in_quotes(value),
            Some(value) => self.text.push_str(value),
            None => self.absent(),
        }
    }

    /// A value without quotes in text: a space in it is escaped, or else it would end the value and
    /// what follows could pass for a field of its own.
    pub(super) fn text(&mut self, key: [&str; 2], value: Option<&str>) {
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

    /// A value that stands in quotes in text, since it often holds spaces.
    pub(super) fn quoted(&mut self, key: [&str; 2], value: Option<&str>) {
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
            let mut units = [0; 2];
            for c in serde_json::Value::from(value).to_string().chars() {
                if is_harmful(c) {
                    for unit in c.encode_utf16(&mut units) {
                        // Writing to a string cannot fail.
                        let _ = write!(self.text, "\\u{unit:04x}");
                    }
                } else {
                    self.text.push(c);
                }
            }
        }
    }

    fn in_quotes(&mut self, value: &str) {
        self.text.push('"');
        self.text.push_str(value);
        self.text.push('"');
    }

    pub(super) fn shadow(&mut self, value: Option<&str>) {
        let start = self.text.len();
        self.text(SHADOW, value);
        self.shadow = start..self.text.len();
    }

    /// What stands before `shadow`, and what behind it.
    pub(super) fn split_at_shadow(&self) -> [String; 2] {
        let (before, behind) = (
            &self.text[..self.shadow.start],
            &self.text[self.shadow.end..],
        );
        [before.to_owned(), behind.to_owned()]
    }

    pub(super) fn join_at_shadow(&mut self, parts: [String; 2], value: Option<&str>, json: bool) {
        let [before, behind] = parts;
        self.json = json;
        self.text = before;
        self.text(SHADOW, value);
        self.text.push_str(&behind);
    }

    pub(super) fn end(&mut self) -> &[u8] {
        self.text.push_str(if self.json { "}\n" } else { "\n" });
        self.text.as_bytes()
    }
}

/// Whether a text is printable ASCII without quotes and backslashes, as most values are: it needs
/// no escaping.
fn is_plain(text: &str) -> bool {
    // Without an early exit, the compiler examines several bytes at once.
    text.bytes().fold(true, |plain, byte| {
        plain & matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
    })
}

/// Appends an address as its `Display` would, in a tenth of the time for IPv4.
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
