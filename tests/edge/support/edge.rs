//! The edge itself: the real binary under a configuration of the test, in a directory of its own.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::client::Client;
use super::issuer::Issuer;
use super::poll::{becomes_true, eventually};
use super::ports::Port;
use super::request::Request;
use super::response::Response;
use super::secrets;
use super::settings::Settings;
use super::upstream::Upstream;

/// The binary that the tests are about.
pub const BINARY: &str = env!("CARGO_BIN_EXE_harmony-edge");

/// How long a start may take on a busy machine. `/ready` itself may wait 10 s for a key set.
const START: Duration = Duration::from_secs(30);

/// A running edge. When it is dropped, its process is ended and all that it wrote is searched for
/// the secrets of the test.
pub struct Edge {
    place: Place,
    process: Child,
}

/// An edge to be: [`Settings`] by the same words, and [`EdgeBuilder::start`].
pub struct EdgeBuilder {
    settings: Settings,
    /// Ports that were claimed for a text that names them itself.
    ports: Option<(Port, Port)>,
    environment: Vec<(String, String)>,
    files: Vec<(String, String)>,
    launcher: Vec<String>,
}

/// What stays the same when the process is started again.
struct Place {
    directory: TempDir,
    port: Port,
    management: Port,
    environment: Vec<(String, String)>,
    /// A program with arguments that starts the binary; none: the binary is started itself.
    launcher: Vec<String>,
}

impl Edge {
    pub fn with_jwt(issuer: &Issuer, upstream: &Upstream) -> EdgeBuilder {
        Self::configured(Settings::with_jwt(issuer, upstream))
    }

    pub fn open(upstream: &Upstream) -> EdgeBuilder {
        Self::configured(Settings::open(upstream))
    }

    pub fn configured(settings: Settings) -> EdgeBuilder {
        EdgeBuilder {
            settings,
            ports: None,
            environment: Vec::new(),
            files: Vec::new(),
            launcher: Vec::new(),
        }
    }

    /// A whole configuration, which names these ports itself.
    pub fn of_text(text: &str, public: Port, management: Port) -> EdgeBuilder {
        EdgeBuilder {
            ports: Some((public, management)),
            ..Self::configured(Settings::of_text(text))
        }
    }

    pub fn port(&self) -> u16 {
        self.place.port.number()
    }

    pub fn management_port(&self) -> u16 {
        self.place.management.number()
    }

    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    pub fn post(&self, target: &str, body: impl Into<Vec<u8>>) -> Request {
        self.request("POST", target).body(body)
    }

    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.port(), method, target)
    }

    /// Where a browser finds the management network.
    pub fn management_origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.place.management)
    }

    /// A request to the management network.
    pub fn manage(&self, target: &str) -> Request {
        self.steer("GET", target)
    }

    /// The same, by another method.
    pub fn steer(&self, method: &str, target: &str) -> Request {
        Request::new(self.place.management.number(), method, target)
    }

    /// Changes the configuration file under the running process.
    pub fn rewrite(&self, change: impl FnOnce(String) -> String) {
        let path = self.place.path("harmony.toml");
        let text = fs::read_to_string(&path).expect("the configuration");
        fs::write(path, change(text)).expect("the configuration");
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.port())
    }

    /// Sends exactly these bytes; the responses until the edge closes or is silent for a second,
    /// and whether it closed.
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> (Vec<Response>, bool) {
        let mut client = self.connect().patience(Duration::from_secs(1));
        client.send(bytes);
        client.drain("GET")
    }

    pub fn directory(&self) -> &Path {
        self.place.directory.path()
    }

    /// Everything that it wrote to standard output and error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.place.output()).into_owned()
    }

    pub fn signal(&self, signal: Signal) {
        signal_process(&self.process, signal);
    }

    #[track_caller]
    pub fn exit_status(&mut self, within: Duration) -> ExitStatus {
        eventually("the end of the edge", within, || {
            self.process.try_wait().expect("the status of a child")
        })
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The directory for what outlives the process.
    pub fn state(&self) -> PathBuf {
        self.place.path("home/.runbeam/edge-1")
    }

    /// Another process of the same configuration, directory and log, with these arguments besides.
    pub fn launch(&self, arguments: &[&str]) -> Child {
        self.place.launch(arguments)
    }

    /// Lets a new process take over, and goes on with that one. The old one is the caller's, to see
    /// it end.
    #[track_caller]
    pub fn upgrade(&mut self) -> Child {
        let words = || self.log().matches(": took over").count();
        let before = words();
        let mut new = self.launch(&["--upgrade"]);
        let took_over =
            becomes_true(START, || words() > before || matches!(new.try_wait(), Ok(Some(_))));
        assert!(took_over && words() > before, "the new process did not take over\n{}", self.log());
        std::mem::replace(&mut self.process, new)
    }

    /// Ends the process and starts another one on the same ports, configuration and directory.
    #[track_caller]
    pub fn restart(&mut self) {
        self.end();
        self.process = self.place.spawn();
        self.await_ready();
    }

    #[track_caller]
    fn await_listening(&mut self) {
        let port = self.port();
        self.await_start("a listener", move |_| {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    #[track_caller]
    fn await_ready(&mut self) {
        self.await_listening();
        let port = self.place.management.number();
        self.await_start("200 from /ready", move |_| {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
                && Request::new(port, "GET", "/ready").send().status == 200
        });
    }

    #[track_caller]
    fn await_start(&mut self, what: &str, ready: impl Fn(&Self) -> bool) {
        let mut ended = None;
        let started = becomes_true(START, || {
            ended = self.process.try_wait().expect("the status of a child");
            ended.is_some() || ready(self)
        });
        assert!(
            started && ended.is_none(),
            "the edge did not start: no {what}; ended: {ended:?}\n{}",
            self.log()
        );
    }

    /// Waits until nothing more is written: the log is, beside the answers, and the last lines are
    /// as telling as the first.
    fn settle(&self) {
        let mut before = None;
        becomes_true(Duration::from_secs(1), || {
            std::thread::sleep(Duration::from_millis(40));
            let now = fs::metadata(self.place.path("log")).map_or(0, |file| file.len());
            before.replace(now) == Some(now)
        });
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.settle();
        self.end();
        let output = self.place.output();
        if std::thread::panicking() {
            eprintln!("--- the end of the edge's log ---\n{}", tail(&output, 4000));
        } else if let Some(line) = secrets::leak_in(&output) {
            panic!("the edge wrote a secret of the test: {line}");
        }
    }
}

impl EdgeBuilder {
    /// See the method of the same name of [`Settings`].
    pub fn proxy(self, lines: &str) -> Self {
        self.adjust(|settings| settings.proxy(lines))
    }

    pub fn watching(self) -> Self {
        self.adjust(Settings::watching)
    }

    pub fn endpoint(self, lines: &str) -> Self {
        self.adjust(|settings| settings.endpoint(lines))
    }

    pub fn jwt(self, lines: &str) -> Self {
        self.adjust(|settings| settings.jwt(lines))
    }

    pub fn jwt_flags(self, lines: &str) -> Self {
        self.adjust(|settings| settings.jwt_flags(lines))
    }

    pub fn backend(self, lines: &str) -> Self {
        self.adjust(|settings| settings.backend(lines))
    }

    pub fn and(self, tables: &str) -> Self {
        self.adjust(|settings| settings.and(tables))
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts the binary by another program, whose arguments these are; `{port}` and `{mport}` in
    /// them are filled in.
    pub fn under(mut self, launcher: &[&str]) -> Self {
        self.launcher = launcher.iter().map(|&word| word.into()).collect();
        self
    }

    /// A file in the edge's directory, for configurations that name one (as `{dir}/name`, or by the
    /// name alone).
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.into(), content.into()));
        self
    }

    /// Ports that were claimed for a text that names them itself.
    pub fn on_ports(mut self, public: Port, management: Port) -> Self {
        self.ports = Some((public, management));
        self
    }

    /// For tests that move a lot: a trace of every read and write would be most of their work.
    pub fn quiet(self) -> Self {
        self.env("RUST_LOG", "info")
    }

    /// Starts it and waits until it is ready, key sets included.
    #[track_caller]
    pub fn start(self) -> Edge {
        let mut edge = self.spawn();
        edge.await_ready();
        edge
    }

    /// Starts it and waits for its listener only: for issuers that keep `/ready` waiting.
    #[track_caller]
    pub fn start_listening(self) -> Edge {
        let mut edge = self.spawn();
        edge.await_listening();
        edge
    }

    fn spawn(self) -> Edge {
        let (port, management) = self.ports.unwrap_or_else(|| (Port::claim(), Port::claim()));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = Place {
            directory,
            port,
            management,
            environment: self.environment,
            launcher: self.launcher,
        };
        fs::create_dir(place.path("home")).expect("a home directory");
        for (name, content) in &self.files {
            let path = place.path(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("the file's directory");
            fs::write(path, place.fill(content)).expect("a file in the temporary directory");
        }
        fs::write(place.path("harmony.toml"), place.fill(&self.settings.text()))
            .expect("the configuration");
        let process = place.spawn();
        Edge { place, process }
    }

    fn adjust(mut self, change: impl FnOnce(Settings) -> Settings) -> Self {
        self.settings = change(self.settings);
        self
    }
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn fill(&self, text: &str) -> String {
        let directory = self.directory.path().to_str().expect("a directory in UTF-8");
        text.replace("{port}", &self.port.to_string())
            .replace("{mport}", &self.management.to_string())
            .replace("{dir}", directory)
    }

    fn spawn(&self) -> Child {
        let Some((program, arguments)) = self.launcher.split_first() else {
            return self.launch(&[]);
        };
        let mut command = Command::new(program);
        command
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(arguments.iter().map(|argument| self.fill(argument))).arg(BINARY);
        self.spawn_with_log(command)
    }

    fn launch(&self, arguments: &[&str]) -> Child {
        let mut command = command(self.directory.path());
        command.envs(self.environment.iter().cloned());
        command.args(arguments);
        self.spawn_with_log(command)
    }

    fn spawn_with_log(&self, mut command: Command) -> Child {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("the log file");
        command.args(["-c", "harmony.toml"]);
        command.stdout(clone(&log)).stderr(clone(&log)).spawn().expect("the binary starts")
    }

    fn output(&self) -> Vec<u8> {
        fs::read(self.path("log")).unwrap_or_default()
    }
}

/// The binary in `directory`, with its home there and nothing of the machine's own settings.
pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .current_dir(directory)
        .env_clear()
        .env("HOME", directory.join("home"))
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // Everything that can be logged is, so that a secret has no place to hide.
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    // Where coverage is measured, this process's counts too.
    command.envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)));
    command
}

pub fn signal_process(process: &Child, signal: Signal) {
    let id = i32::try_from(process.id()).expect("a process id");
    kill(Pid::from_raw(id), signal).expect("a signal to a child");
}

fn clone(file: &File) -> File {
    file.try_clone().expect("a second handle of the log")
}

fn tail(output: &[u8], length: usize) -> String {
    String::from_utf8_lossy(&output[output.len().saturating_sub(length)..]).into_owned()
}
