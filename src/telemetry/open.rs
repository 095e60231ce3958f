//! Opens the files that logs go to.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::log_file::{LogFormat, Sink};
use super::writer::LogWriter;

/// Why logging cannot start.
#[derive(Debug, Error)]
pub enum LogError {
    /// A file cannot be written.
    #[error("{key}: cannot write {}: {source}", path.display())]
    File {
        /// What names it in the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something else than a file.
    #[error("logging: {0}")]
    Other(#[from] io::Error),
}

/// A writer of lines of this format to the file that a key names, which it can open anew.
pub(super) fn open_writer(
    key: &'static str,
    path: &Path,
    format: LogFormat,
) -> Result<LogWriter, LogError> {
    let sink = open(path).map_err(|source| LogError::File {
        key,
        path: path.to_owned(),
        source,
    })?;
    let named = path.to_owned();
    let writer = LogWriter::start(sink, format, Some(Box::new(move || reopen(&named))));
    writer.map_err(LogError::from)
}

/// Opens a log file. A pipe is opened for reading too: else this would wait until somebody reads
/// it.
fn open(path: &Path) -> io::Result<Sink> {
    let is_pipe = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    let mut options = OpenOptions::new();
    if is_pipe {
        options.read(true).write(true);
    } else {
        options.create(true).append(true).mode(0o640);
    }
    Ok(Box::new(options.open(path)?))
}

fn reopen(path: &Path) -> io::Result<Sink> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    open(path).map_err(named)
}
