//! How a new process takes the listeners over from the one that runs, so that no connection is
//! refused.
//!
//! The two meet in a private directory. The one that runs has its process id there, in a file that
//! it holds locked while it may be asked. The new one, once it is built, listens on a socket there
//! and sends SIGQUIT; the old one connects, sends its listeners, and waits. Only when the new one
//! says that it serves does the old one begin to drain; if the new one ends without a word, the old
//! one goes on as if nothing had been.

mod error;
mod successor;
mod transfer;

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::sockets::{InheritedSocket, Sockets};

pub use error::TakeOverError;
pub(super) use successor::start_successor;
use transfer::{DrainedUpstream, Received};

/// How long the new process waits for the old one's sockets.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the old process looks for the new one: whoever sends SIGQUIT by hand may be a little
/// early.
const SEARCH: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(20);
/// What the new process says when it serves.
const SERVING: &[u8] = b"serving\n";
/// How many bytes of counts are taken.
const MOST_COUNTS: u64 = 256 * 1024 * 1024;

/// The private directory where processes meet.
#[derive(Debug, Clone)]
pub(crate) struct HandoverDirectory(PathBuf);

/// The PID file of a process that may be asked for its listeners, held locked. The lock ends with
/// the value, or with the process.
#[derive(Debug)]
pub(super) struct PidFile(#[allow(dead_code, reason = "held for its lock")] File);

/// What the old process gives to the new one.
#[derive(Debug)]
pub(super) struct HandedOver {
    pub(super) sockets: Vec<InheritedSocket>,
    pub(super) drained: Vec<DrainedUpstream>,
}

/// The old process, waiting for the word of the new one.
#[derive(Debug)]
pub(super) struct PendingTakeover {
    stream: UnixStream,
    socket: PathBuf,
    /// Keeps other upgrades out.
    _lock: File,
}

impl HandoverDirectory {
    /// `$RUNTIME_DIRECTORY`, else the state directory, else `$XDG_RUNTIME_DIR`, else one of this
    /// user's own among the temporary files. `None`, and a line in the log, if it cannot be had or
    /// others could get in.
    pub(crate) fn choose(state_dir: Option<&Path>) -> Option<Self> {
        let env = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let given = env("RUNTIME_DIRECTORY").and_then(|list| {
            let first = list.to_string_lossy().split(':').next()?.to_owned();
            Some(PathBuf::from(first))
        });
        let path = given
            .or_else(|| state_dir.map(Path::to_owned))
            .or_else(|| Some(PathBuf::from(env("XDG_RUNTIME_DIR")?).join("harmony-edge")))
            .unwrap_or_else(|| {
                let name = format!("harmony-edge-{}", geteuid().as_raw());
                std::env::temp_dir().join(name)
            });
        match make_private(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                log::warn!(
                    "no hand-over to a later process: {}: {error}",
                    path.display()
                );
                None
            }
        }
    }

    /// Lets the next process find this one.
    pub(super) fn write_pid_file(&self) -> io::Result<PidFile> {
        let pid = std::process::id();
        let path = self.0.join(format!("harmony-edge.pid.{pid}"));
        let mut file = create(&path)?;
        file.try_lock().map_err(io::Error::from)?;
        writeln!(file, "{pid}")?;
        std::fs::rename(&path, self.pid_file())?;
        Ok(PidFile(file))
    }

    /// The process that may be asked; `None`: the PID file is of one that is gone.
    pub(super) fn running_process(&self) -> io::Result<Option<Pid>> {
        let mut file = match File::open(self.pid_file()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        if file.try_lock_shared().is_ok() {
            return Ok(None);
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text.trim().parse().ok().and_then(Pid::from_raw))
    }

    /// Asks the running process for its listeners and gets them.
    pub(super) fn take_over(&self) -> Result<(HandedOver, PendingTakeover), TakeOverError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| TakeOverError::File { path, source }
        };
        let path = self.0.join("upgrade.lock");
        let lock = create(&path).map_err(failed(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TakeOverError::UnderWay(self.0.clone())),
            Err(TryLockError::Error(error)) => return Err(failed(&path)(error)),
        }
        let running = self.running_process().map_err(failed(&self.pid_file()))?;
        let pid = running.ok_or_else(|| TakeOverError::NobodyRuns(self.0.clone()))?;
        let socket = self.socket();
        let listener = listen(&socket).map_err(failed(&socket))?;
        let (_lock, raw) = (lock, pid.as_raw_nonzero().get());
        let outcome = kill_process(pid, Signal::QUIT)
            .map_err(|error| TakeOverError::Signal {
                pid: raw,
                source: error.into(),
            })
            .and_then(|()| accept(&listener).ok_or(TakeOverError::Silence(raw)))
            .and_then(|stream| {
                let received = receive(&stream).map_err(TakeOverError::Transfer)?;
                Ok((stream, received))
            });
        match outcome {
            Ok((stream, Received { sockets, drained })) => {
                let sockets = sockets.into_iter();
                let sockets = sockets.map(|(address, fd)| InheritedSocket::received(fd, &address));
                let handed_over = HandedOver {
                    sockets: sockets.collect(),
                    drained,
                };
                let taken = PendingTakeover {
                    stream,
                    socket,
                    _lock,
                };
                Ok((handed_over, taken))
            }
            Err(error) => {
                let _ = std::fs::remove_file(&socket);
                Err(error)
            }
        }
    }

    /// Gives the listeners to the process that waits for them, with the drained upstreams, and once
    /// that one serves, what `counts` returns. An error means that this process continues.
    pub(super) async fn hand_over(
        &self,
        sockets: &Sockets,
        drained: &[DrainedUpstream],
        counts: impl FnOnce() -> Vec<u8>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + SEARCH;
        let stream = loop {
            match UnixStream::connect(self.socket()) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= deadline => {
                    let text = format!("nobody waits at {}: {error}", self.socket().display());
                    return Err(io::Error::new(error.kind(), text));
                }
                Err(_) => tokio::time::sleep(STEP).await,
            }
        };
        check_peer(&stream)?;
        transfer::send(&stream, &sockets.copies()?, drained)?;
        stream.set_nonblocking(true)?;
        let mut stream = tokio::net::UnixStream::from_std(stream)?;
        let mut word = [0; SERVING.len()];
        match stream.read_exact(&mut word).await {
            Ok(_) if word == SERVING => {
                // Whether they arrive or not: that process serves.
                let sent = timeout(ANSWER, stream.write_all(&counts())).await;
                if !matches!(sent, Ok(Ok(()))) {
                    log::warn!("hand-over: the new process did not take the counts of limits");
                }
                Ok(())
            }
            Ok(_) => Err(ErrorKind::InvalidData.into()),
            Err(_) => Err(io::Error::other("the new process ended before it served")),
        }
    }

    fn pid_file(&self) -> PathBuf {
        self.0.join("harmony-edge.pid")
    }

    fn socket(&self) -> PathBuf {
        self.0.join("upgrade.sock")
    }
}

impl PendingTakeover {
    /// Tells the old process that this one serves, and gets what that one has counted: nothing, if
    /// it is of a version that sends none. Blocks for a moment.
    pub(super) fn confirm(mut self) -> io::Result<Vec<u8>> {
        self.stream.write_all(SERVING)?;
        let mut counts = Vec::new();
        (&self.stream).take(MOST_COUNTS).read_to_end(&mut counts)?;
        Ok(counts)
    }
}

impl Drop for PendingTakeover {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Makes the directory, readable by this user only; one that is there must be this user's, and
/// nobody else may write in it.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let found = std::fs::metadata(path)?;
    if found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(io::Error::other(
            "others can write there; it must be this user's own, mode 0700",
        ));
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    options.open(path)
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn accept(listener: &UnixListener) -> Option<UnixStream> {
    let deadline = Instant::now() + ANSWER;
    while Instant::now() < deadline {
        match listener.accept() {
            Ok((stream, _)) if check_peer(&stream).is_ok() => return Some(stream),
            _ => std::thread::sleep(STEP),
        }
    }
    None
}

fn receive(stream: &UnixStream) -> io::Result<Received> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ANSWER))?;
    transfer::receive(stream)
}

/// Listeners go to, and come from, this user (or root) alone.
fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    if peer.uid == geteuid() || peer.uid.is_root() {
        Ok(())
    } else {
        Err(ErrorKind::PermissionDenied.into())
    }
}

#[cfg(test)]
mod tests;
