//! The logger: `log` and `env_logger`, filtered by `RUST_LOG`, as text or JSON.
//!
//! Other crates are held at `info` whatever the filter says: at `debug` and `trace`, HTTP libraries
//! write request heads, and those hold credentials.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use env_logger::fmt::Formatter;
use env_logger::{Builder, Logger, Target};
use log::kv::{Error as KvError, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde_json::{Map, json};

use super::escape::EscapedText;
use super::log_file::LogFormat;
use super::open::{LogError, open_writer};
use super::writer::LogWriter;
use super::{access, audit};

/// What everything of this program is logged under, and what a filter of its lines begins with.
const PROGRAM: &str = "harmony";

/// The client of the shared store logs what servers answer, and one that does not know a command
/// answers with all of it, the password too. What there is to say, this program says.
const SILENCED: &str = "redis";

/// The other crates of this program, and the targets that their lines get.
const OTHER_CRATES: [(&str, &str); 3] = [
    ("jose", "harmony::jose"),
    ("private_files", "harmony::private_files"),
    ("runbeam_sdk", "harmony::runbeam_sdk"),
];

/// How to log.
#[derive(Debug, Clone, Copy)]
pub struct LogSettings<'a> {
    /// Filter in the form of `RUST_LOG`, which wins when it is set.
    pub level: &'a str,
    /// JSON rather than text.
    pub json: bool,
    /// A file to append to, mode 0640, instead of standard error.
    pub file: Option<&'a Path>,
    /// The audit log's own file.
    pub audit: Option<&'a Path>,
}

/// The logger, once it has started.
static CONTROL: OnceLock<Control> = OnceLock::new();

/// What is needed to change its level.
struct Control {
    output: Output,
    levels: Mutex<Levels>,
    logger: ProgramLogger,
}

/// Filters, in the form of `RUST_LOG`.
#[derive(Clone)]
struct Levels {
    /// `RUST_LOG`, which wins over the configuration.
    environment: Option<String>,
    configured: String,
    /// Wins over both.
    temporary: Option<LevelFilter>,
}

/// Where lines go, and how.
struct Output {
    writer: LogWriter,
    json: bool,
}

impl Output {
    fn build(&self, levels: &Levels) -> Logger {
        let mut builder = Builder::new();
        match (&levels.temporary, &levels.environment) {
            // Pingora says at `info` what the start-up summary says better.
            // The audit log is no part of it: whoever may set the level could else act unseen.
            (Some(level), _) => builder.parse_filters(&format!(
                "{level},pingora=warn,{audit}=info",
                audit = audit::TARGET
            )),
            (None, Some(filter)) => builder.parse_filters(filter),
            (None, None) => builder.parse_filters(&format!("{},pingora=warn", levels.configured)),
        };
        let format = if self.json { write_json } else { write_text };
        let pipe = Target::Pipe(Box::new(self.writer.clone()));
        builder.format(format).target(pipe).build()
    }
}

impl Control {
    fn levels(&self) -> MutexGuard<'_, Levels> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, levels: &Levels) {
        let logger = self.output.build(levels);
        let wants = |target| logger.enabled(&Metadata::builder().target(target).build());
        access::enable(wants(access::TARGET));
        audit::enable(wants(audit::TARGET));
        log::set_max_level(logger.filter());
        self.logger.0.store(Arc::new(logger));
    }
}

/// Takes over what the configuration says after a reload; `RUST_LOG` still wins.
pub fn configure_level(filter: &str) {
    let Some(control) = CONTROL.get() else { return };
    let mut levels = control.levels();
    filter.clone_into(&mut levels.configured);
    control.apply(&levels);
}

/// Logs at this level whatever else says; `None`: as before.
pub fn set_level(level: Option<LevelFilter>) {
    let Some(control) = CONTROL.get() else { return };
    let mut levels = control.levels();
    levels.temporary = level;
    control.apply(&levels);
}

/// Starts logging for the whole process. Call once.
///
/// # Errors
///
/// A file cannot be written, or a thread cannot be started.
pub fn start(settings: LogSettings<'_>) -> Result<LogWriter, LogError> {
    let format = match settings.json {
        true => LogFormat::Json,
        false => LogFormat::Text,
    };
    let writer = match settings.file {
        Some(path) => open_writer("logging.log_file_path", path, format)?,
        None => LogWriter::start(Box::new(io::stderr()), format, None)?,
    };
    let output = Output {
        writer: writer.clone(),
        json: settings.json,
    };
    let levels = Levels {
        environment: std::env::var("RUST_LOG")
            .ok()
            .filter(|filter| !filter.is_empty()),
        configured: settings.level.to_owned(),
        temporary: None,
    };
    let logger = ProgramLogger::new(output.build(&levels));
    access::start(writer.clone(), settings.json);
    audit::start(settings.audit, &writer)?;
    let control = Control {
        output,
        levels: Mutex::new(levels),
        logger,
    };
    // There is one for the whole process.
    let control = CONTROL.get_or_init(|| control);
    control.apply(&control.levels());
    log::set_logger(&control.logger).map_err(io::Error::other)?;
    Ok(writer)
}

/// One log for the crates of this program; others never log below `info`, whatever the filter, and
/// one not at all.
struct ProgramLogger(ArcSwap<Logger>);

impl ProgramLogger {
    fn new(logger: Logger) -> Self {
        Self(ArcSwap::from_pointee(logger))
    }
}

impl Log for ProgramLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = program_target(metadata.target());
        let level = metadata.level();
        (target.is_some() || level <= Level::Info && crate_of(metadata.target()) != SILENCED)
            && self.0.load().enabled(
                &Metadata::builder()
                    .level(level)
                    .target(target.unwrap_or(metadata.target()))
                    .build(),
            )
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        match program_target(record.target()) {
            Some(target) if target != record.target() => self.0.load().log(
                &Record::builder()
                    .level(record.level())
                    .target(target)
                    .args(*record.args())
                    .key_values(record.key_values())
                    .build(),
            ),
            _ => self.0.load().log(record),
        }
    }

    fn flush(&self) {
        self.0.load().flush();
    }
}

/// The target of a line of this program; `None`: it is another crate's.
fn program_target(target: &str) -> Option<&str> {
    let name = crate_of(target);
    if name == PROGRAM {
        return Some(target);
    }
    let (_, under_program) = OTHER_CRATES.iter().find(|(other, _)| *other == name)?;
    Some(under_program)
}

fn crate_of(target: &str) -> &str {
    target.split("::").next().unwrap_or(target)
}

fn write_text(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    write!(
        out,
        "{:.3} {:5} {}: ",
        jiff::Timestamp::now(),
        record.level(),
        record.target(),
    )?;
    let mut plain = EscapedText { out, indents: true };
    plain.write_fmt(*record.args()).map_err(io::Error::other)?;
    plain.indents = false;
    record
        .key_values()
        .visit(&mut plain)
        .map_err(io::Error::other)?;
    writeln!(out)
}

impl<'kvs> VisitSource<'kvs> for EscapedText<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), KvError> {
        let value = value.to_string();
        if value.contains([' ', '"', '\\', '=']) {
            write!(self, " {key}={value:?}")?;
        } else {
            write!(self, " {key}={value}")?;
        }
        Ok(())
    }
}

fn write_json(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let mut fields = Map::new();
    fields.insert(
        "time".to_owned(),
        json!(format!("{:.3}", jiff::Timestamp::now())),
    );
    fields.insert("level".to_owned(), json!(record.level().as_str()));
    fields.insert("target".to_owned(), json!(record.target()));
    fields.insert("message".to_owned(), json!(record.args().to_string()));
    record
        .key_values()
        .visit(&mut Json(&mut fields))
        .map_err(io::Error::other)?;
    serde_json::to_writer(&mut *out, &fields)?;
    writeln!(out)
}

struct Json<'a>(&'a mut Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Json<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), KvError> {
        let value = match (value.to_u64(), value.to_f64()) {
            (Some(number), _) => json!(number),
            (None, Some(number)) => json!(number),
            (None, None) => json!(value.to_string()),
        };
        self.0.insert(key.to_string(), value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_logged_makes_a_record_of_its_own() {
        use std::sync::{Arc, Mutex};

        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let logger = Builder::new()
            .parse_filters("info")
            .format(write_text)
            .target(Target::Pipe(Box::new(kept.clone())))
            .build();
        let pairs = [("pipeline", "a\nERROR forged\u{1b}[31m\u{202e}")];
        let record = Record::builder()
            .level(Level::Info)
            .target("harmony")
            .args(format_args!("one: é\r\n2026 ERROR two\u{7}"))
            .key_values(&pairs)
            .build();
        logger.log(&record);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let (_, text) = text.split_once("harmony: ").unwrap();
        assert_eq!(
            text,
            "one: é\\r\n    2026 ERROR two\\u{7} \
             pipeline=\"a\\nERROR forged\\u{1b}[31m\\u{202e}\"\n"
        );
    }

    #[test]
    fn other_crates_stay_at_info() {
        let logger = ProgramLogger::new(Builder::new().parse_filters("trace").build());
        let enabled = |target: &str, level| {
            logger.enabled(&Metadata::builder().target(target).level(level).build())
        };
        assert!(enabled("harmony::proxy", Level::Trace));
        assert!(enabled("harmony", Level::Debug));
        assert!(enabled("runbeam_sdk::store", Level::Debug));
        assert!(!enabled("harmony:proxy", Level::Debug));
        assert!(enabled("pingora_core", Level::Info));
        assert!(!enabled("pingora_proxy", Level::Debug));
        assert!(!enabled("harmonyx", Level::Trace));
        assert!(!enabled("josephine", Level::Trace));
        assert!(!enabled("h2::codec", Level::Trace));
        assert!(!enabled("redis::cluster", Level::Error));
    }

    #[test]
    fn no_temporary_level_switches_the_audit_log_off() {
        let output = Output {
            writer: LogWriter::start(Box::new(io::sink()), LogFormat::Text, None).unwrap(),
            json: false,
        };
        for level in LevelFilter::iter() {
            let logger = output.build(&Levels {
                environment: None,
                configured: "info".to_owned(),
                temporary: Some(level),
            });
            let enabled = |target: &str| {
                logger.enabled(
                    &Metadata::builder()
                        .target(target)
                        .level(Level::Info)
                        .build(),
                )
            };
            assert!(enabled(audit::TARGET), "{level}");
            assert_eq!(enabled("harmony::proxy"), level >= Level::Info, "{level}");
        }
    }

    #[test]
    fn a_filter_for_the_program_holds_for_all_of_its_crates() {
        let logger = ProgramLogger::new(Builder::new().parse_filters("harmony=info").build());
        let enabled = |target: &str, level| {
            logger.enabled(&Metadata::builder().target(target).level(level).build())
        };
        for target in [
            "harmony::proxy",
            "jose::jwks::set",
            "runbeam_sdk",
            "private_files",
        ] {
            assert!(enabled(target, Level::Info), "{target}");
            assert!(!enabled(target, Level::Debug), "{target}");
        }
        assert!(!enabled("pingora_core", Level::Error));
        assert_eq!(program_target("jose::jwks::set"), Some("harmony::jose"));
    }
}
