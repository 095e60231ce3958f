//! The access log: one record a request, at `info` under the target `harmony::access`. No query, no
//! credential, and of the header what browsers say of themselves.
//!
//! It has the form of every other record, but is put together here: there is one for each request,
//! and the way through `log` costs as much as half of the proxying.

mod line;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::Version;

use super::writer::LogWriter;
use crate::common::PeerAddress;
use line::LogLine;
pub use line::push_address;

pub(super) const TARGET: &str = "harmony::access";

/// Where records go, once logging has started.
static LOG: OnceLock<Log> = OnceLock::new();
/// Whether the level of the log lets them through.
static ENABLED: AtomicBool = AtomicBool::new(false);

struct Log {
    writer: LogWriter,
    json: bool,
}

/// One request, as it ended.
#[derive(Debug)]
pub struct Record<'a> {
    /// The client behind trusted proxies.
    pub client: Option<IpAddr>,
    /// The host that the request names, without port.
    pub host: Option<&'a str>,
    /// As the client sent it.
    pub method: &'a str,
    /// The canonical path, or the one that was refused as it came. Never a query.
    pub path: Option<&'a str>,
    /// The client's version of HTTP.
    pub version: Version,
    /// The version of TLS that the client speaks; `None`: none.
    pub tls: Option<&'a str>,
    /// The status that the client got; `None` when it was gone before.
    pub status: Option<u16>,
    /// Bytes of response body.
    pub bytes: usize,
    /// From the request's head to the response's end.
    pub duration: Duration,
    /// From the request's head to that of the upstream's response; `None`: none came.
    pub time_to_head: Option<Duration>,
    /// The one whose route the request took; `None`: no route matched.
    pub pipeline: Option<&'a str>,
    /// The one that the last attempt went to; `None`: there was no attempt.
    pub backend: Option<&'a str>,
    /// The address of the upstream that the last attempt went to.
    pub upstream: Option<&'a PeerAddress>,
    /// The version of HTTP that was spoken there.
    pub upstream_protocol: Option<Version>,
    /// How often the request was sent, or tried to be.
    pub attempts: u32,
    /// The status of gRPC that the client got; `None`: it made no call of gRPC, or got none.
    pub grpc_status: Option<u32>,
    /// The method of authentication.
    pub auth: Option<&'a str>,
    /// Who authenticated.
    pub subject: Option<&'a str>,
    /// Why the request was refused or failed: a stable label.
    pub reason: Option<&'a str>,
    /// What steps in shadow would have refused: `STEP:REASON`, with commas between.
    pub shadow: Option<&'a str>,
    /// What `X-Request-Id` carries to the upstream and back to the client.
    pub request_id: Option<&'a str>,
    /// The trace that it belongs to.
    pub trace: Option<u128>,
    /// `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// `Referer`; its query is left out.
    pub referer: Option<&'a [u8]>,
}

/// Sends records there from now on.
pub(super) fn start(writer: LogWriter, json: bool) {
    // There is one logger.
    let _ = LOG.set(Log { writer, json });
}

/// Whether records are wanted at all.
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Whether records are wanted from now on.
pub(super) fn enable(enabled: bool) {
    ENABLED.store(enabled, Ordering::Relaxed);
}

/// Writes a record.
pub fn write(record: &Record<'_>) {
    with_line(record, |line, log| log.writer.gather(line.end()));
}

/// Prepares a record whose `shadow` is not known yet.
pub fn defer(record: &Record<'_>) -> Option<DeferredRecord> {
    with_line(record, |line, _| DeferredRecord(line.split_at_shadow()))
}

/// A record without its `shadow`.
#[derive(Debug)]
pub struct DeferredRecord([String; 2]);

impl DeferredRecord {
    /// Writes it with what steps in shadow would have refused.
    pub fn write(self, shadow: Option<&str>) {
        let Some(log) = LOG.get() else { return };
        LINE.with_borrow_mut(|line| {
            line.join_at_shadow(self.0, shadow, log.json);
            log.writer.gather(line.end());
        });
    }
}

/// Hands a record over as a line that lacks its end only. `None`: nobody wants it.
fn with_line<T>(record: &Record<'_>, hand: impl FnOnce(&mut LogLine, &Log) -> T) -> Option<T> {
    let log = LOG.get()?;
    Some(LINE.with_borrow_mut(|line| {
        let now = SystemTime::now();
        let now = now.duration_since(SystemTime::UNIX_EPOCH);
        line.begin(now.unwrap_or_default(), log.json);
        record.visit(line);
        hand(line, log)
    }))
}

/// A field's name as it stands before its value, in text and in JSON.
macro_rules! key {
    ($name:literal) => {
        [concat!(" ", $name, "="), concat!(",\"", $name, "\":")]
    };
}

impl Record<'_> {
    /// Shows every field, in the order of the log.
    fn visit(&self, line: &mut LogLine) {
        line.address(key!("client"), self.client, None);
        line.text(key!("host"), self.host);
        line.word(key!("method"), Some(self.method));
        line.text(key!("path"), self.path);
        line.word(key!("version"), Some(version(self.version)));
        line.word(key!("tls"), self.tls);
        line.number(key!("status"), self.status.map(u64::from));
        line.number(key!("bytes"), u64::try_from(self.bytes).ok());
        line.micros(key!("duration_us"), Some(self.duration));
        line.micros(key!("head_us"), self.time_to_head);
        line.text(key!("pipeline"), self.pipeline);
        line.text(key!("backend"), self.backend);
        line.upstream(key!("upstream"), self.upstream);
        let protocol = self.upstream_protocol.map(version);
        line.word(key!("upstream_protocol"), protocol);
        line.number(key!("attempts"), Some(u64::from(self.attempts)));
        let grpc_status = self.grpc_status.map(u64::from);
        line.number(key!("grpc_status"), grpc_status);
        line.word(key!("auth"), self.auth);
        line.quoted(key!("subject"), self.subject);
        line.word(key!("reason"), self.reason);
        line.shadow(self.shadow);
        line.text(key!("id"), self.request_id);
        line.trace(key!("trace_id"), self.trace);
        line.cut(key!("user_agent"), self.user_agent);
        let referer = self.referer.map(without_secrets);
        line.cut(key!("referer"), referer.as_deref());
    }
}

/// A URL without user name, password, query and fragment.
fn without_secrets(url: &[u8]) -> Cow<'_, [u8]> {
    let end = memchr::memchr2(b'?', b'#', url);
    let url = &url[..end.unwrap_or(url.len())];
    let Some(start) = memchr::memmem::find(url, b"//").map(|at| at + 2) else {
        return Cow::Borrowed(url);
    };
    let (scheme, rest) = url.split_at(start);
    let end = memchr::memchr2(b'/', b'\\', rest);
    match memchr::memrchr(b'@', &rest[..end.unwrap_or(rest.len())]) {
        Some(at) => Cow::Owned([scheme, &rest[at + 1..]].concat()),
        None => Cow::Borrowed(url),
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
    static LINE: RefCell<LogLine> = RefCell::default();
}
