//! The audit log: who was refused, who changed what. One line of JSON for each event, under the
//! target `harmony::audit`, in the log or in a file of its own (`[audit] path`). Never a secret.

use std::fmt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::log_file::LogFormat;
use super::open::{LogError, open_writer};
use super::writer::LogWriter;

/// The kind of event that clients cause.
pub const REFUSAL: &str = "refusal";

/// What its lines are logged under.
pub(super) const TARGET: &str = "harmony::audit";

/// Where events go, once logging has started.
static LOG: OnceLock<Audit> = OnceLock::new();
/// Whether they are wanted: by the level of the log, unless they have a file of their own.
static ENABLED: AtomicBool = AtomicBool::new(false);

struct Audit {
    writer: LogWriter,
    /// Whether the file is its own.
    own: bool,
}

/// One event. Fields that do not apply are left out.
#[derive(Debug, Default, Serialize)]
pub struct Event<'a> {
    /// What kind of event: [`REFUSAL`], `management`, `revocation`, `configuration`, `certificate`,
    /// `token`.
    pub event: &'static str,
    /// What was done or asked for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'a str>,
    /// The address that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'a str>,
    /// Who, or by what credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<&'a str>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'a str>,
    /// The status that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The pipeline of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<&'a str>,
    /// The host that a request names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'a str>,
    /// The method of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
    /// Its path, without its query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// Its request id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
}

/// Sends events to this file, else to the log, from now on.
pub(super) fn start(path: Option<&Path>, log: &LogWriter) -> Result<(), LogError> {
    let (writer, own) = match path {
        Some(path) => (open_writer("audit.path", path, LogFormat::Json)?, true),
        None => (log.clone(), false),
    };
    // There is one.
    let _ = LOG.set(Audit { writer, own });
    Ok(())
}

/// Whether events are wanted at all.
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Whether the log wants events from now on.
pub(super) fn enable(enabled: bool) {
    let own = LOG.get().is_some_and(|log| log.own);
    ENABLED.store(enabled || own, Ordering::Relaxed);
}

/// Writes an event.
pub fn write(event: &Event<'_>) {
    let Some(log) = LOG.get().filter(|_| enabled()) else {
        return;
    };
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        level: &'static str,
        target: &'static str,
        #[serde(flatten)]
        event: &'a Event<'a>,
    }
    let line = Line {
        time: format!("{:.3}", jiff::Timestamp::now()),
        level: "INFO",
        target: TARGET,
        event,
    };
    if let Ok(mut line) = serde_json::to_vec(&line) {
        line.push(b'\n');
        match event.event {
            REFUSAL => log.writer.gather_flood(&line),
            _ => log.writer.gather(&line),
        }
    }
}

/// Writes that something of this kind was done, with what came of it.
pub fn note(event: &'static str, action: &str, outcome: &dyn fmt::Display) {
    write(&Event {
        event,
        action: Some(action),
        outcome: Some(&outcome.to_string()),
        ..Event::default()
    });
}

/// How many events a file of its own has lost since the start; `None`: it has none, and they count
/// as records of the log.
pub fn dropped() -> Option<u64> {
    let log = LOG.get().filter(|log| log.own)?;
    Some(log.writer.dropped())
}

/// Opens its own file anew, for one that was moved away.
pub fn reopen() {
    if let Some(log) = LOG.get().filter(|log| log.own) {
        log.writer.reopen();
    }
}

/// Waits until what is queued has been written, at most a second.
pub fn flush() {
    if let Some(log) = LOG.get().filter(|log| log.own) {
        log.writer.flush();
    }
}
