//! A real nginx behind the edge, which says itself where it takes each spelling of a path to be.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::spellings::SPELLINGS;
use crate::support::poll::becomes_true;
use crate::support::ports::Port;
use crate::support::request::Request;
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Settings, Upstream};

#[test]
fn nginx_behind_the_edge_is_not_deceived() {
    let Some(nginx) = Nginx::start() else { return };
    let (issuer, protected) = (Issuer::start(), Upstream::start());
    let open = Route::to_url("open", &format!("http://127.0.0.1:{}", nginx.port)).prefix("/");
    let edge = Edge::configured(Settings::with_jwt(&issuer, &protected).and(&open.text())).start();
    let status = |target: &str| {
        let (responses, _) = edge
            .raw(format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"));
        responses.first().map_or(0, |response| response.status)
    };
    let reached: Vec<&str> = SPELLINGS
        .iter()
        .map(|(target, _)| *target)
        .filter(|target| status(target) == Nginx::PROTECTED)
        .collect();
    assert!(reached.is_empty(), "{reached:?}");
    assert_eq!((status("/x"), protected.connections()), (200, 0));
    // The judge itself: without the edge, nginx is where it is said to be.
    assert_eq!(Request::new(nginx.port, "GET", "/x/%2e%2e//api").send().status, Nginx::PROTECTED);
}

/// A real nginx with a place for `/api` and one for everything else.
struct Nginx {
    port: u16,
    process: Child,
    _claim: Port,
    _directory: tempfile::TempDir,
}

impl Nginx {
    const PROTECTED: u16 = 299;

    /// `None` after saying that it is not here.
    fn start() -> Option<Self> {
        let (claim, directory) = (Port::claim(), tempfile::tempdir().unwrap());
        let (port, status) = (claim.number(), Self::PROTECTED);
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {kind};\n"))
            .collect();
        let settings = format!(
            "daemon off;\nmaster_process off;\npid pid;\nerror_log error.log;\nevents {{}}\n\
             http {{\n{temporary}access_log off;\nserver {{\nlisten 127.0.0.1:{port};\n\
             location = /api {{ return {status} protected; }}\n\
             location /api/ {{ return {status} protected; }}\nlocation / {{ return 200 open; }}\n\
             }}\n}}\n"
        );
        std::fs::write(directory.path().join("nginx.conf"), settings).unwrap();
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(directory.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(process) = command.spawn() else {
            eprintln!("skipped: nginx is not installed");
            return None;
        };
        let nginx = Self { port, process, _claim: claim, _directory: directory };
        assert!(
            becomes_true(Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", port))
                .is_ok()),
            "nginx listens"
        );
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
