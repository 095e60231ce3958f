//! What processes before this one may have used: their memory of proofs ended with them (RFC 9449
//! section 11.1).
//!
//! A file in the state directory says from which `iat` on no proof was used. Without a state
//! directory, nobody knows what was used until the process began, and a client's clock may have
//! been ahead then.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jose::clock::UnixTime;
use private_files::StateDir;

use super::AHEAD;

const FILE: &str = "dpop-unused-from";
/// More is no number of seconds.
const MAX_FILE: u64 = 32;

/// The proofs that earlier processes may have used. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct EarlierProcesses(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// They have used no proof that was made from this second on.
    unused_from: AtomicU64,
    /// The same of all processes, this one included.
    recorded: AtomicU64,
    /// Where that is written, and the number that this process wrote last. `None`: nowhere.
    file: Option<(PathBuf, Mutex<u64>)>,
    has_failed: AtomicBool,
}

impl EarlierProcesses {
    /// Those of which a state directory tells.
    pub(super) fn of(state_dir: Option<&Path>, now: UnixTime) -> Self {
        // Whatever they have used was at most so far ahead.
        let any = next_second(now + AHEAD.as_secs_f64());
        let unused_from = match state_dir.map(StateDir::open) {
            None | Some(Err(_)) => any,
            Some(Ok(None)) => now as u64,
            Some(Ok(Some(directory))) => match read(&directory) {
                Ok(recorded) => recorded.unwrap_or(0).max(now as u64),
                Err(_) => any,
            },
        };
        let path = state_dir.map(|state_dir| state_dir.join(FILE));
        Self::with(unused_from, path)
    }

    /// None that matter, for what nobody is refused for.
    pub(super) fn none(now: UnixTime) -> Self {
        Self::with(now as u64, None)
    }

    fn with(unused_from: u64, path: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner {
            unused_from: AtomicU64::new(unused_from),
            recorded: AtomicU64::new(unused_from),
            file: path.map(|path| (path, Mutex::new(unused_from))),
            has_failed: AtomicBool::new(false),
        }))
    }

    /// Whether one of them may have used a proof that was made at this moment.
    pub(super) fn may_have_used(&self, made: UnixTime) -> bool {
        made < self.0.unused_from.load(Ordering::Relaxed) as UnixTime
    }

    /// Tells later processes that a proof is used which was made at this moment. The first one of
    /// each second is waited for.
    pub(super) async fn record(&self, made: UnixTime) {
        let next = next_second(made);
        if self.0.recorded.fetch_max(next, Ordering::Relaxed) >= next || self.0.file.is_none() {
            return;
        }
        let inner = self.0.clone();
        let written = tokio::task::spawn_blocking(move || inner.write()).await;
        if let Ok(Err(error)) = written
            && !self.0.has_failed.swap(true, Ordering::Relaxed)
        {
            log::warn!(
                "dpop: cannot record which proofs were used, after a restart they can be used \
                 again: {error}"
            );
        }
    }
}

impl Inner {
    fn write(&self) -> Result<(), String> {
        let Some((path, last)) = &self.file else {
            return Ok(());
        };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        // A process that this one took over from still serves its connections.
        let directory = path.parent().map(StateDir::open).transpose();
        let directory = directory.map_err(|error| error.to_string())?.flatten();
        let known = directory.map_or(Ok(None), |directory| read(&directory))?;
        let known = known.unwrap_or(0);
        if known > *last {
            self.unused_from.fetch_max(known, Ordering::Relaxed);
        }
        let recorded = self.recorded.fetch_max(known, Ordering::Relaxed).max(known);
        private_files::replace_unsynced(path, recorded.to_string().as_bytes())
            .map_err(|error| format!("{}: {error}", path.display()))?;
        *last = recorded;
        Ok(())
    }
}

/// `None`: nothing is recorded.
fn read(directory: &StateDir) -> Result<Option<u64>, String> {
    let content = directory.read(FILE, MAX_FILE);
    let Some(content) = content.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&content).ok();
    let number = text.and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| format!("{FILE} holds no number of seconds"))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a moment after 1970, near now"
)]
fn next_second(at: UnixTime) -> u64 {
    at as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = 1_800_000_000.5;

    fn doubted(earlier: &EarlierProcesses) -> Vec<f64> {
        let all = [-2.0, -1.0, -0.5, 0.0, 1.0, 3.0, 5.0, 6.0];
        let doubted = all
            .into_iter()
            .filter(|ahead| earlier.may_have_used(NOW + ahead));
        doubted.collect()
    }

    #[tokio::test]
    async fn a_later_process_knows_up_to_when_proofs_were_used() {
        let home = tempfile::tempdir().unwrap();
        let state_dir = home.path().join("state");
        let at = |now| EarlierProcesses::of(Some(&state_dir), now);
        let first = at(NOW);
        assert_eq!(doubted(&first), [-2.0, -1.0], "nobody has used any");
        first.record(NOW + 3.0).await;
        first.record(NOW - 1.0).await;
        assert_eq!(
            doubted(&first),
            [-2.0, -1.0],
            "what it uses itself it remembers"
        );
        let second = at(NOW);
        assert_eq!(doubted(&second), [-2.0, -1.0, -0.5, 0.0, 1.0, 3.0]);
        assert_eq!(
            doubted(&at(NOW + 5.0)).last(),
            Some(&3.0),
            "later, by the clock alone"
        );
    }

    #[tokio::test]
    async fn what_the_process_before_uses_while_it_drains_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let state_dir = home.path().join("state");
        let at = || EarlierProcesses::of(Some(&state_dir), NOW);
        let (before, after) = (at(), at());
        before.record(NOW + 1.0).await;
        assert!(!after.may_have_used(NOW + 1.0), "nothing has made it look");
        after.record(NOW + 1.0).await;
        assert!(after.may_have_used(NOW + 1.0));
        after.record(NOW + 2.0).await;
        assert!(!after.may_have_used(NOW + 2.0), "that was its own");
        assert_eq!(doubted(&at()).last(), Some(&1.0));
    }

    #[test]
    fn without_knowledge_all_that_could_have_been_used_is_doubted() {
        let all = [-2.0, -1.0, -0.5, 0.0, 1.0, 3.0, 5.0];
        assert_eq!(doubted(&EarlierProcesses::of(None, NOW)), all);
        let home = tempfile::tempdir().unwrap();
        private_files::replace(&home.path().join("state").join(FILE), b"soon").unwrap();
        let unreadable = EarlierProcesses::of(Some(&home.path().join("state")), NOW);
        assert_eq!(doubted(&unreadable), all);
    }
}
