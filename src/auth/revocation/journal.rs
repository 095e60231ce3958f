//! The list on disk: a log of changes, one a line, on the disk before a change is answered.
//!
//! A line is a CRC-32 in hexadecimal, a space, and JSON. What a crash can leave behind is a last
//! line that is not whole: it was never answered, and is cut off with a warning. Damage anywhere
//! else may have taken a revocation away, and is an error.
//!
//! Two processes write it while one takes over from the other: each writes under a lock, and reads
//! first what the other one wrote.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use private_files::{StateDir, StateError};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::entry::{Change, Deletion, Revocation};

const FILE: &str = "revocations.log";
const LOCK: &str = "revocations.lock";
const HEADER: &str = "harmony-edge revocations 1\n";
/// The largest file that is read.
const MAX_FILE: u64 = 1 << 30;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    Revoked(Revocation),
    Deleted(Deletion),
    Expired(Expired),
}

/// That entries of an issuer were dropped at the end of `keep_secs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expired {
    pub(crate) issuer: String,
    /// The last second whose tokens one of them may have named.
    pub(crate) before: u64,
}

impl From<Change> for Record {
    fn from(change: Change) -> Self {
        match change {
            Change::Revoked(entry) => Self::Revoked(entry),
            Change::Deleted(deletion) => Self::Deleted(deletion),
        }
    }
}

impl Record {
    /// What another node has to know of it.
    pub(super) fn change(&self) -> Option<Change> {
        match self {
            Self::Revoked(entry) => Some(Change::Revoked(entry.clone())),
            Self::Deleted(deletion) => Some(Change::Deleted(*deletion)),
            Self::Expired(_) => None,
        }
    }
}

/// How long a change waits for others that are written, by this process or another one.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Why the list cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no directory for it.
    #[error("there is no state directory to keep revocations in: set proxy.state_dir")]
    NoStateDir,
    /// Not to be trusted, or not to be read.
    #[error("revocations: {0}")]
    State(#[from] StateError),
    /// Not to be written.
    #[error("revocations: cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else writes, and does not end.
    #[error("revocations: {LOCK} is locked, for {LOCK_TIMEOUT:?} already: does a process hang?")]
    Locked,
    /// A line that is not the last one is not what was written.
    #[error(
        "{path}: line {line} is damaged: restore the file; without it, what was revoked is \
         accepted again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first damaged line, from 1.
        line: usize,
    },
}

/// What a log holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) records: Vec<Record>,
    /// How many bytes are whole, if the rest is what a crash left behind.
    pub(crate) torn_at: Option<usize>,
}

/// Reads a log. The line that is damaged, if it is not what a crash leaves behind.
pub(crate) fn parse(content: &[u8]) -> Result<Parsed, usize> {
    let mut parsed = Parsed {
        records: Vec::new(),
        torn_at: None,
    };
    let Some(mut rest) = content.strip_prefix(HEADER.as_bytes()) else {
        if HEADER.as_bytes().starts_with(content) {
            parsed.torn_at = (!content.is_empty()).then_some(0);
            return Ok(parsed);
        }
        return Err(1);
    };
    let mut line = 1;
    while !rest.is_empty() {
        line += 1;
        let end = memchr::memchr(b'\n', rest);
        match end.and_then(|end| decode(&rest[..end])) {
            Some(record) => parsed.records.push(record),
            None if is_torn(rest) => {
                parsed.torn_at = Some(content.len() - rest.len());
                break;
            }
            None => return Err(line),
        }
        rest = end.map_or(&[], |end| &rest[end + 1..]);
    }
    Ok(parsed)
}

/// Whether a crash can have left this at the end of the log: a line without its end, or zeros in
/// the place of what the disk never got; and no whole line after it.
fn is_torn(rest: &[u8]) -> bool {
    let cut = rest.last() != Some(&b'\n') || rest.contains(&0);
    cut && rest
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_suffix(b"\n"))
        .all(|line| decode(line).is_none())
}

fn decode(line: &[u8]) -> Option<Record> {
    let (sum, json) = line.split_at_checked(9)?;
    let sum = std::str::from_utf8(sum).ok()?.strip_suffix(' ')?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (sum == crc32fast::hash(json)).then(|| serde_json::from_slice(json).ok())?
}

fn encode<'r>(records: impl IntoIterator<Item = &'r Record>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for record in records {
        let json = serde_json::to_vec(record)?;
        write!(text, "{:08x} ", crc32fast::hash(&json))?;
        text.extend_from_slice(&json);
        text.push(b'\n');
    }
    Ok(text)
}

/// The log in a state directory.
#[derive(Debug)]
pub(super) struct Journal {
    state_dir: PathBuf,
    /// The file as it was read or written last: its inode and its length.
    known: Option<(u64, u64)>,
    torn_at: Option<u64>,
    lines: usize,
}

/// Keeps other processes from writing.
pub(super) struct JournalLock {
    directory: StateDir,
    _file: File,
}

impl Journal {
    pub(super) fn new(state_dir: PathBuf) -> Self {
        Self {
            state_dir,
            known: None,
            torn_at: None,
            lines: 0,
        }
    }

    /// How many records the file has.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Waits for another process that writes, within bounds.
    pub(super) fn lock(&self) -> Result<JournalLock, JournalError> {
        private_files::create_directory(&self.state_dir).map_err(|error| self.failed(error))?;
        let Some(directory) = StateDir::open(&self.state_dir)? else {
            return Err(self.failed(ErrorKind::NotFound.into()));
        };
        let file = directory.append(LOCK)?;
        let begun = Instant::now();
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            match error {
                Errno::WOULDBLOCK if begun.elapsed() >= LOCK_TIMEOUT => {
                    return Err(JournalError::Locked);
                }
                Errno::WOULDBLOCK => thread::sleep(LOCK_RETRY),
                Errno::INTR => {}
                error => return Err(self.failed(error.into())),
            }
        }
        Ok(JournalLock {
            directory,
            _file: file,
        })
    }

    /// Whether the file is another one than was read or written last.
    pub(super) fn has_changed(&self) -> bool {
        self.found() != self.known
    }

    /// Reads the file, if it is another one than was read or written last.
    pub(super) fn read(&mut self) -> Result<Vec<Record>, JournalError> {
        let found = self.found();
        if found == self.known {
            return Ok(Vec::new());
        }
        let directory = StateDir::open(&self.state_dir)?;
        let content = directory.map_or(Ok(None), |directory| directory.read(FILE, MAX_FILE))?;
        if content.as_ref().is_some_and(Vec::is_empty) {
            // As a crash before the first change leaves it, too.
            log::warn!(
                "{} is empty: if it held revocations, they are lost; restore the file, or revoke \
                 again",
                self.path().display()
            );
        }
        let content = content.unwrap_or_default();
        let path = self.path();
        let parsed = parse(&content).map_err(|line| JournalError::Damaged { path, line })?;
        if let Some(at) = parsed.torn_at {
            log::warn!(
                "{}: the last {} bytes are what a crash left behind of a change that was never \
                 answered; they do not count",
                self.path().display(),
                content.len() - at
            );
        }
        self.torn_at = parsed.torn_at.map(|at| at as u64);
        self.lines = parsed.records.len();
        // What another process wrote meanwhile is read the next time.
        self.known = found.map(|(inode, _)| (inode, content.len() as u64));
        Ok(parsed.records)
    }

    /// Writes records at the end, and has them on the disk. Everything in the file was read.
    pub(super) fn append(
        &mut self,
        lock: &JournalLock,
        records: &[Record],
    ) -> Result<(), JournalError> {
        let mut file = lock.directory.append(FILE)?;
        let written = self.write(&mut file, records);
        if written.is_err() {
            // Whatever is there now is read anew.
            let _ = file.set_len(self.known.map_or(0, |(_, length)| length));
            self.known = None;
        }
        written.map_err(|error| self.failed(error))
    }

    fn write(&mut self, file: &mut File, records: &[Record]) -> io::Result<()> {
        if let Some(whole) = self.torn_at.take() {
            file.set_len(whole)?;
        }
        let is_new = file.metadata()?.len() == 0;
        let mut text = encode(records)?;
        if is_new {
            text.splice(..0, HEADER.bytes());
        }
        file.write_all(&text)?;
        file.sync_data()?;
        if is_new {
            private_files::sync_directory(&self.state_dir)?;
        }
        let found = file.metadata()?;
        self.known = Some((found.ino(), found.len()));
        self.lines += records.len();
        Ok(())
    }

    /// Writes the file anew.
    pub(super) fn replace(
        &mut self,
        _: &JournalLock,
        records: &[Record],
    ) -> Result<(), JournalError> {
        let written = encode(records).and_then(|text| {
            let text = [HEADER.as_bytes(), &text].concat();
            private_files::replace(&self.path(), &text)
        });
        written.map_err(|error| self.failed(error))?;
        self.known = self.found();
        self.torn_at = None;
        self.lines = records.len();
        Ok(())
    }

    fn found(&self) -> Option<(u64, u64)> {
        let found = fs::symlink_metadata(self.path()).ok()?;
        Some((found.ino(), found.len()))
    }

    fn path(&self) -> PathBuf {
        Path::new(&self.state_dir).join(FILE)
    }

    fn failed(&self, source: io::Error) -> JournalError {
        let path = self.path();
        JournalError::Write { path, source }
    }
}

/// A log, for cargo-fuzz: its records and where it is torn, or the line that is damaged; and the
/// records as a log again.
#[cfg(fuzzing)]
#[allow(clippy::type_complexity, reason = "read in one place only")]
pub(crate) fn parse_and_encode(
    content: &[u8],
) -> Result<(Vec<serde_json::Value>, Option<usize>, Vec<u8>), usize> {
    let parsed = parse(content)?;
    let text = encode(&parsed.records).unwrap_or_default();
    let records = parsed
        .records
        .iter()
        .map(|record| serde_json::json!(record));
    Ok((
        records.collect(),
        parsed.torn_at,
        [HEADER.as_bytes(), &text].concat(),
    ))
}

#[cfg(test)]
mod tests;
