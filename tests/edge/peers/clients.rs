//! `curl` and `h2load` in front of the edge, with an upstream of either version.

use std::process::{Command, Stdio};

use super::running::skip;
use super::{body, edge_to};
use crate::support::{Edge, Http2Upstream, Upstream};

/// What it says; `None` after saying that it is not here.
#[track_caller]
fn run(program: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let Ok(output) = output else { return skip(program) };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    Some([output.stdout, output.stderr].concat())
}

/// An upstream of each version that sends back what it gets, and an edge in front of it.
fn edges() -> (Upstream, Http2Upstream, [Edge; 2]) {
    let http1 = Upstream::with(|exchange| {
        let body = exchange.read_body().to_vec();
        exchange.answer(200, &[], &body);
    });
    let http2 = Http2Upstream::with(&[], |call| {
        let (body, _) = call.read_body();
        call.answer(200, &body);
    });
    let edges = [
        edge_to(http1.port(), "1.1").endpoint("max_body_size = 10_000_000").start(),
        edge_to(http2.port(), "2").endpoint("max_body_size = 10_000_000").start(),
    ];
    (http1, http2, edges)
}

#[test]
fn curl() {
    let (_http1, _http2, edges) = edges();
    for edge in &edges {
        let (url, sent) = (format!("http://127.0.0.1:{}/api/x", edge.port()), body(2_000_000));
        let file = edge.directory().join("body");
        std::fs::write(&file, &sent).unwrap();
        let upload = format!("@{}", file.to_str().unwrap());
        // `--http2` asks for an upgrade, which nobody has to grant. Over HTTP/1.1, a body of this
        // size waits for `100 Continue`.
        for version in ["--http1.1", "--http2", "--http2-prior-knowledge"] {
            let arguments = ["-sS", version, "--data-binary", &upload, &url];
            let Some(said) = run("curl", &arguments) else { return };
            assert!(said == sent, "{version}: {} bytes", said.len());
            let chunked = ["-H", "Transfer-Encoding: chunked"];
            if version == "--http1.1" {
                let arguments = [&arguments[..], &chunked].concat();
                assert!(run("curl", &arguments).expect("curl was here") == sent);
            }
            let head = run("curl", &["-sS", "-I", version, &url]).expect("curl was here");
            assert!(String::from_utf8_lossy(&head).contains("200"), "{version}");
        }
    }
}

#[test]
fn h2load() {
    let (_http1, _http2, edges) = edges();
    for edge in &edges {
        let url = format!("http://127.0.0.1:{}/api/x", edge.port());
        let file = edge.directory().join("body");
        std::fs::write(&file, body(1000)).unwrap();
        let upload = ["-d", file.to_str().unwrap()];
        for more in [&[][..], &upload] {
            let load = ["-n", "1000", "-c", "4", "-m", "20"];
            let Some(said) = run("h2load", &[&load, more, &[&url]].concat()) else { return };
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(said.contains("1000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
        }
    }
}
