//! Where log lines end: a file or standard error, in the hands of one thread.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

/// Where lines go.
pub(super) type Sink = Box<dyn Write + Send>;
/// Opens the sink anew.
pub(super) type Opener = Box<dyn Fn() -> io::Result<Sink> + Send>;

/// The form of the records in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogFormat {
    /// `TIME LEVEL TARGET: MESSAGE`.
    Text,
    /// An object of JSON a line.
    Json,
}

/// The sink in the hands of its thread. What goes wrong with it is reported on standard error,
/// once: that may be the same sink, and then nobody can be reported.
pub(super) struct LogFile {
    out: Sink,
    format: LogFormat,
    reopen: Option<Opener>,
    /// Dropped records that a notice has told of.
    reported: u64,
    /// Records since the sink last took one.
    lost: u64,
    /// Whether the sink took the beginning of a line, and not its end.
    torn: bool,
}

impl LogFile {
    pub(super) fn new(out: Sink, format: LogFormat, reopen: Option<Opener>) -> Self {
        Self {
            out,
            format,
            reopen,
            reported: 0,
            lost: 0,
            torn: false,
        }
    }

    pub(super) fn flush(&mut self) {
        let _ = self.out.flush();
    }

    /// Says how many records were dropped before they came here.
    pub(super) fn report(&mut self, dropped: &AtomicU64) {
        let dropped = dropped.load(Ordering::Relaxed);
        if dropped != self.reported {
            let count = dropped - self.reported;
            let notice = self.notice(&format!(
                "{count} log records dropped: they came faster than they could be written"
            ));
            if self.put(&notice).is_ok() {
                self.reported = dropped;
            }
        }
    }

    /// A record of the log about itself.
    fn notice(&self, message: &str) -> Vec<u8> {
        let time = format!("{:.3}", jiff::Timestamp::now());
        let (level, target) = ("WARN", module_path!());
        let record = match self.format {
            LogFormat::Text => format!("{time} {level:5} {target}: {message}\n"),
            LogFormat::Json => {
                let record = json!({
                    "time": time,
                    "level": level,
                    "target": target,
                    "message": message,
                });
                format!("{record}\n")
            }
        };
        record.into_bytes()
    }

    /// Writes whole lines. Those that cannot be written are counted.
    pub(super) fn write_lines(&mut self, lines: &[u8], dropped: &AtomicU64) {
        let reported = match self.lost {
            0 => Ok(()),
            lost => {
                let notice = self.notice(&format!(
                    "{lost} log records lost: the log could not be written"
                ));
                self.put(&notice).map(|()| {
                    self.lost = 0;
                    let text = format!("the log can be written again; {lost} records were lost");
                    eprint_line(&text);
                })
            }
        };
        let failed = match reported {
            Ok(()) => self.put(lines).err(),
            Err((_, error)) => Some((lines.len(), error)),
        };
        if let Some((left, error)) = failed {
            if self.lost == 0 {
                eprint_line(&format!(
                    "the log cannot be written, records are lost until it can: {error}"
                ));
            }
            let lost = records(&lines[lines.len() - left..]);
            self.lost += lost;
            dropped.fetch_add(lost, Ordering::Relaxed);
            self.reported += lost;
        }
    }

    /// Writes whole lines, beginning on a line of their own. On an error, says how many bytes are
    /// left.
    fn put(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        if self.torn && !lines.is_empty() {
            let ended = self.out.write_all(b"\n");
            ended.map_err(|error| (lines.len(), error))?;
            self.torn = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            let error = match self.out.write(rest) {
                Ok(written @ 1..) => {
                    rest = &rest[written..];
                    continue;
                }
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let (taken, left) = lines.split_at(lines.len() - rest.len());
            self.torn = taken.last().is_some_and(|&byte| byte != b'\n');
            return Err((left.len(), error));
        }
        Ok(())
    }

    /// What cannot be opened is reported on standard error, where the log then goes.
    pub(super) fn open_anew(&mut self) {
        let Some(reopen) = &self.reopen else {
            return;
        };
        self.torn = false;
        match reopen() {
            Ok(out) => self.out = out,
            Err(error) => {
                self.out = Box::new(io::stderr());
                let _ = writeln!(
                    self.out,
                    "the log file cannot be reopened, the log continues here: {error}"
                );
            }
        }
    }
}

/// Records that end in these lines: a line that begins with a blank belongs to the record before
/// it.
fn records(lines: &[u8]) -> u64 {
    let ends = memchr::memchr_iter(b'\n', lines);
    let ends = ends.filter(|end| lines.get(end + 1) != Some(&b' '));
    u64::try_from(ends.count()).unwrap_or(u64::MAX)
}

/// For whoever keeps standard error, when the log itself cannot be written.
fn eprint_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
