//! nginx behind the edge: files, uploads, ranges, refusals; over HTTP/1.1 and over HTTP/2 with
//! prior knowledge.

use std::thread;

use super::running::Running;
use super::{body, edge_to};
use crate::support::Edge;

/// Serves and takes files below `/files/`.
fn nginx(listen: &str, more: &str) -> Option<Running> {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {{dir}}/{kind};\n"))
        .collect();
    let settings = format!(
        "daemon off;\nmaster_process off;\npid {{dir}}/pid;\nerror_log {{dir}}/error.log;\n\
         worker_rlimit_nofile 4096;\nevents {{ worker_connections 1000; }}\n\
         http {{\n{temporary}access_log off;\nclient_max_body_size 1m;\n\
         server {{\nlisten 127.0.0.1:{{port}} {listen};\n{more}\n\
         location /files/ {{ root {{dir}}; dav_methods PUT DELETE; create_full_put_path on; }}\n\
         location / {{ return 200 hello; }}\n}}\n}}\n"
    );
    let arguments = ["-p", "{dir}", "-c", "nginx.conf", "-e", "{dir}/error.log"];
    Running::start("nginx", &arguments, &[("nginx.conf", &settings), ("files/a", "abcdef")])
}

fn files_go_both_ways(edge: &Edge) {
    for http2 in [false, true] {
        let request = |method: &str, target: &str| {
            let request = edge.request(method, target);
            if http2 { request.http2() } else { request }
        };
        // Not 0: over HTTP/2 its answer to an empty file is 500.
        for size in [1, 65_536, 1024 * 1024] {
            let target = format!("/api/files/{http2}/{size}");
            let put = request("PUT", &target).body(body(size)).send();
            assert!(matches!(put.status, 201 | 204), "{target}: {put:?}");
            let got = request("GET", &target).send();
            assert!(got.complete && got.body == body(size), "{target}: {}", got.body.len());
            let head = request("HEAD", &target).send();
            let length = size.to_string();
            assert_eq!((head.field("content-length"), head.body.len()), (Some(&*length), 0));
        }
        let got = request("GET", "/api/files/a").send();
        let tag = got.field("etag").expect("an entity tag").to_owned();
        let same = request("GET", "/api/files/a").header("If-None-Match", tag).send();
        assert_eq!((same.status, same.body.len(), same.complete), (304, 0, true));
        let part = request("GET", "/api/files/a").header("Range", "bytes=2-3").send();
        assert_eq!((part.status, part.text().as_str()), (206, "cd"));
        // It answers before it has read this, and reads no further.
        let refused = request("PUT", "/api/files/large").body(body(3 * 1024 * 1024)).send();
        assert_eq!((refused.status, refused.complete), (413, true), "HTTP/2: {http2}");
        assert_eq!(request("GET", "/api/x").send().text(), "hello");
    }
}

#[test]
fn over_http1() {
    let Some(nginx) = nginx("", "") else { return };
    files_go_both_ways(&edge_to(nginx.port(), "1.1").start());
}

#[test]
fn over_http2() {
    let Some(nginx) = nginx("http2", "") else { return };
    files_go_both_ways(&edge_to(nginx.port(), "2").start());
}

#[test]
fn no_request_fails_when_it_closes_its_connections_after_a_few() {
    for (listen, version) in [("", "1.1"), ("http2", "2")] {
        let Some(nginx) = nginx(listen, "keepalive_requests 10;") else { return };
        let edge = edge_to(nginx.port(), version).start();
        thread::scope(|scope| {
            for client in 0..4 {
                let edge = &edge;
                scope.spawn(move || {
                    for number in 0..50 {
                        let size = [1, 1000, 65_536][number % 3];
                        let target = format!("/api/files/{client}/{number}");
                        let request = edge.request("PUT", &target).body(body(size));
                        let put = if number % 2 == 0 { request.http2() } else { request }.send();
                        assert!(matches!(put.status, 201 | 204), "{version} {target}: {put:?}");
                        let got = edge.get(&target).send();
                        assert!(got.complete && got.body == body(size), "{version} {target}");
                    }
                });
            }
        });
    }
}
