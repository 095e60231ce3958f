//! A server under measurement: started on a core of its own, accounted by the kernel, ended with
//! its value.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

/// A running server.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `command` on these cores, and waits until it listens.
    pub fn start(name: &str, cores: &str, command: &[String], port: u16) -> anyhow::Result<Self> {
        let mut taskset = Command::new("taskset");
        taskset
            .args(["-c", cores])
            .args(command)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // The access log is written, as it is where it counts, but nobody needs to see it.
        taskset.stderr(Stdio::null());
        let child = taskset.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut process = Self { child, name: name.to_owned() };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!("{name} ended: {status}: {command:?}");
            }
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("{name} does not listen: {command:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all its threads so far.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let accounts =
                std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanoseconds += accounts
                .split(' ')
                .next()
                .and_then(|on_cpu| on_cpu.parse::<u64>().ok())
                .unwrap_or_default();
        }
        if nanoseconds == 0 {
            bail!(
                "no accounts of {}: is it running, and does the kernel keep schedstat?",
                self.name
            );
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Resident memory in MB.
    pub fn resident(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()
        });
        Ok(kib.context("no VmRSS")? / 1000.0)
    }

    /// How many descriptors it has open, and how many threads it runs.
    pub fn descriptors_and_threads(&self) -> anyhow::Result<(usize, usize)> {
        let count = |what: &str| {
            Ok::<_, std::io::Error>(
                std::fs::read_dir(format!("/proc/{}/{what}", self.child.id()))?.count(),
            )
        };
        Ok((count("fd")?, count("task")?))
    }

    /// Whether it has not ended.
    pub fn is_alive(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    pub fn signal_hangup(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGHUP)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        Ok(nix::sys::signal::kill(id, signal)?)
    }
}

/// It has a moment to end by itself: a build that is instrumented writes its profile then.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.signal(Signal::SIGTERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(3)
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Where a program is, by the variable `name` in upper case or on the path.
pub fn program(name: &str) -> Option<String> {
    if let Ok(given) = std::env::var(name.to_ascii_uppercase()) {
        return Some(given);
    }
    let paths = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&paths)
        .chain(["/usr/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())?;
    found.to_str().map(str::to_owned)
}
