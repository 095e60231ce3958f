//! Upstreams at unix sockets.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Edge, Settings, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// An application at a socket, which keeps its connections.
struct Application {
    directory: TempDir,
    heads: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Application {
    fn start() -> Self {
        let application = Self { directory: TempDir::new().unwrap(), heads: Arc::default() };
        application.listen();
        application
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("app.sock")
    }

    fn url(&self) -> String {
        format!("unix:{}", self.path().display())
    }

    fn listen(&self) {
        let listener = UnixListener::bind(self.path()).unwrap();
        let heads = self.heads.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let heads = heads.clone();
                std::thread::spawn(move || serve(&mut stream.unwrap(), number, &heads));
            }
        });
    }

    /// What was received, each head with the number of its connection.
    fn heads(&self) -> Vec<(usize, String)> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(stream: &mut UnixStream, number: usize, heads: &Mutex<Vec<(usize, String)>>) {
    loop {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        heads.lock().unwrap().push((number, String::from_utf8(head).unwrap()));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix").unwrap();
    }
}

fn behind(url: &str, options: &str) -> Settings {
    Settings::bare().and(&format!(
        "[pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\nmiddleware = []\n\
         backends = [\"app\"]\n[endpoints.e]\nservice = \"http\"\n[backends.app]\n\
         service = \"http\"\n[backends.app.options]\nbase_url = \"{url}\"\n{options}\n"
    ))
}

#[test]
fn requests_reach_a_socket_over_kept_connections() {
    let application = Application::start();
    let url = format!("{}:/base", application.url());
    let edge = Edge::configured(behind(&url, "host = \"upstream\"")).start();
    for number in 0..10 {
        let response = edge.get(&format!("/x/{number}?q")).send();
        assert_eq!((response.status, response.text().as_str()), (200, "unix"));
    }
    let heads = application.heads();
    assert_eq!(heads.len(), 10);
    assert!(heads.iter().all(|(connection, _)| *connection < 5), "{heads:?}");
    for (number, (_, head)) in heads.iter().enumerate() {
        assert!(head.starts_with(&format!("GET /base/x/{number}?q HTTP/1.1\r\n")), "{head}");
        assert!(head.to_lowercase().contains("\r\nhost: localhost\r\n"), "{head}");
    }
    let upstream = format!(" upstream={} ", application.url());
    eventually("the access log", PATIENCE, || edge.log().contains(&upstream).then_some(()));
    let told = edge.manage("/admin/backends").send().json();
    let told = &told["backends"][0]["upstreams"][0];
    assert_eq!(told["url"], url);
    assert_eq!(told["addresses"][0], application.url());
}

#[test]
fn checks_and_failures_of_a_socket_are_those_of_any_upstream() {
    for check in ["type = \"tcp\"", "type = \"http\""] {
        let application = Application::start();
        let check = format!(
            "max_retries = 0\nhealth_check = {{ {check}, interval_secs = 1, unhealthy_after = 1 }}"
        );
        let edge = Edge::configured(behind(&application.url(), &check)).start();
        let told =
            || edge.manage("/admin/backends").send().json()["backends"][0]["upstreams"][0].clone();
        let becomes = |state: &str| {
            eventually(state, PATIENCE, || (told()["state"] == state).then_some(()));
        };
        becomes("healthy");
        assert_eq!(edge.get("/x").send().status, 200);
        std::fs::remove_file(application.path()).unwrap();
        becomes("unhealthy");
        application.listen();
        becomes("healthy");
    }
}

#[test]
fn a_socket_that_is_not_there_is_502() {
    let edge = Edge::configured(behind("unix:/nonexistent/app.sock", "max_retries = 0")).start();
    assert_eq!(edge.post("/x", "once").send().status, 502);
    let failed = "failed on attempt 1: unix:/nonexistent/app.sock: ";
    eventually(failed, PATIENCE, || edge.log().contains(failed).then_some(()));
}
