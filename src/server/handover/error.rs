//! How taking over can fail, and what the operator can do about it.

use std::io;
use std::path::PathBuf;

/// Why nothing was taken over. Except for the last three, the running process has noticed nothing;
/// and it goes on serving after all of them.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// There is no place to meet.
    #[error("--upgrade: no directory to meet the running process in: set proxy.state_dir")]
    NoDirectory,
    /// Nobody is there.
    #[error(
        "--upgrade: no running process has a PID file in {}; start without --upgrade, or, under \
         systemd, use \"systemctl kill --signal=SIGUSR2 --kill-whom=main UNIT\"",
        .0.display()
    )]
    NobodyRuns(PathBuf),
    /// Another upgrade has not ended.
    #[error("--upgrade: another upgrade is under way in {}", .0.display())]
    UnderWay(PathBuf),
    /// A file of the directory.
    #[error("--upgrade: {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The signal was refused.
    #[error("--upgrade: cannot signal process {pid}: {source}; run as the same user")]
    Signal {
        /// The running process.
        pid: i32,
        /// What the system said.
        source: io::Error,
    },
    /// It got the signal and did not come.
    #[error("--upgrade: process {0} sent nothing within 10 s; it goes on serving")]
    Silence(i32),
    /// It came, and what it sent was wrong.
    #[error("--upgrade: the listeners did not arrive: {0}; the running process goes on serving")]
    Transfer(#[source] io::Error),
}
