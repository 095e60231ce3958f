//! A program that serves until the test ends.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::poll::becomes_true;
use crate::support::ports::Port;

pub struct Running {
    command: Command,
    process: Child,
    port: Port,
    directory: TempDir,
}

impl Running {
    /// Starts a program that is to listen on a port; `{port}` and `{dir}` in its arguments and
    /// files are filled in. `None` after saying that it is not here.
    #[track_caller]
    pub fn start(program: &str, arguments: &[&str], files: &[(&str, &str)]) -> Option<Self> {
        Self::start_when(&[program, "--version"], program, arguments, files)
            .or_else(|| skip(program))
    }

    /// The same for a script of `python3` that imports `module`.
    #[track_caller]
    pub fn python(module: &str, script: &str) -> Option<Self> {
        let import = format!("import {module}");
        Self::start_when(
            &["python3", "-c", &import],
            "python3",
            &["server.py", "{port}"],
            &[("server.py", script)],
        )
        .or_else(|| skip(&format!("python3 with {module}")))
    }

    #[track_caller]
    fn start_when(
        probe: &[&str],
        program: &str,
        arguments: &[&str],
        files: &[(&str, &str)],
    ) -> Option<Self> {
        let mut trial = Command::new(probe[0]);
        trial.args(&probe[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Some know no `--version`, but are there.
        let found = trial.status().ok()?;
        if probe[0] == "python3" && !found.success() {
            return None;
        }
        let (port, directory) = (Port::claim(), tempfile::tempdir().expect("a directory"));
        let path = directory.path();
        // Some servers serve as another user.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("a directory that others may enter");
        let fill = |text: &str| {
            text.replace("{port}", &port.to_string())
                .replace("{dir}", path.to_str().expect("a path in UTF-8"))
        };
        for (name, content) in files {
            let file = path.join(name);
            std::fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
            std::fs::write(file, fill(content)).expect("a file");
        }
        let log = std::fs::File::create(path.join("output")).expect("a log");
        let mut command = Command::new(program);
        command
            .args(arguments.iter().map(|argument| fill(argument)))
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("another handle"))
            .stderr(log);
        let process = command.spawn().expect("the program starts");
        let mut running = Self { command, process, port, directory };
        running.await_listening();
        Some(running)
    }

    /// Nobody listens any more; the port stays reserved.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Listens again where it did.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.process = self.command.spawn().expect("the program starts");
        self.await_listening();
    }

    #[track_caller]
    fn await_listening(&mut self) {
        let port = self.port();
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(becomes_true(Duration::from_secs(30), listens), "{}", self.output());
        assert!(self.process.try_wait().expect("a status").is_none(), "{}", self.output());
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.directory().join("output")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- the output of the peer ---\n{}", self.output());
        }
    }
}

pub fn skip<T>(program: &str) -> Option<T> {
    eprintln!("skipped: needs {program}");
    None
}
