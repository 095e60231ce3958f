//! The binary as a command: started with arguments, run to its end, judged by what it printed.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use super::edge::command;
use super::poll::becomes_true;

/// How long a command may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run to be, in a directory of its own.
pub struct Program {
    directory: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A run that ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    pub fn with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("home")).expect("a home directory");
        Self {
            directory,
            arguments: arguments.iter().map(|&argument| argument.into()).collect(),
            environment: Vec::new(),
        }
    }

    /// `-c harmony.toml --check` with this text in the file.
    pub fn check(text: &str) -> Self {
        Self::with(&["-c", "harmony.toml", "--check"]).file("harmony.toml", text)
    }

    /// A file in the directory, which is also the working directory. `{dir}` in it is filled in.
    pub fn file(self, name: &str, content: &str) -> Self {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("the file's directory");
        fs::write(
            path,
            content.replace("{dir}", self.directory().to_str().expect("a directory in UTF-8")),
        )
        .expect("a file");
        self
    }

    /// What it reads from standard input; by default there is nothing.
    pub fn stdin(self, content: &str) -> Self {
        self.file("stdin", content)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    #[track_caller]
    pub fn run(&self) -> Ran {
        let path = |name: &str| self.directory.path().join(name);
        let create = |name: &str| fs::File::create(path(name)).expect("a file for the output");
        let mut command = command(self.directory.path());
        command.env_remove("RUST_LOG").args(&self.arguments).envs(self.environment.iter().cloned());
        let stdin = fs::File::open(path("stdin")).map_or_else(|_| Stdio::null(), Stdio::from);
        let mut process = command
            .stdin(stdin)
            .stdout(Stdio::from(create("stdout")))
            .stderr(Stdio::from(create("stderr")))
            .spawn()
            .expect("the binary starts");
        let mut status = None;
        let ended = becomes_true(PATIENCE, || {
            status = process.try_wait().expect("the status of a child");
            status.is_some()
        });
        let read = |name: &str| {
            String::from_utf8_lossy(&fs::read(path(name)).unwrap_or_default()).into_owned()
        };
        let ran = Ran {
            status: status.and_then(|status| status.code()),
            stdout: read("stdout"),
            stderr: read("stderr"),
        };
        if !ended {
            let _ = process.kill();
            let _ = process.wait();
            panic!("did not end by itself: {:?}\n{ran:?}", self.arguments);
        }
        ran
    }
}

impl Ran {
    /// The line of standard error that holds all of these words.
    #[track_caller]
    pub fn error_with(&self, words: &[&str]) -> &str {
        let line = self.stderr.lines().find(|line| words.iter().all(|word| line.contains(word)));
        line.unwrap_or_else(|| panic!("no line with {words:?} on standard error:\n{}", self.stderr))
    }

    #[track_caller]
    pub fn assert_ok(&self, row: &str) {
        assert_eq!(self.status, Some(0), "{row}:\n{}{}", self.stdout, self.stderr);
        assert!(
            self.stdout.lines().any(|line| line == "configuration ok"),
            "{row}: {}",
            self.stdout
        );
    }
}
