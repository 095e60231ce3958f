//! Apache httpd behind the edge, which offers HTTP/2 on every answer over HTTP/1.1.

use super::running::Running;
use super::{body, edge_to};

const SETTINGS: &str = "\
ServerRoot {dir}
PidFile {dir}/pid
DefaultRuntimeDir {dir}
ServerName localhost
Listen 127.0.0.1:{port}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
<IfFile /usr/lib/apache2/modules/mod_unixd.so>
LoadModule unixd_module /usr/lib/apache2/modules/mod_unixd.so
</IfFile>
User www-data
Group www-data
Protocols h2c http/1.1
MaxKeepAliveRequests 20
DocumentRoot {dir}/files
ErrorLog {dir}/error.log
";

#[test]
fn what_it_offers_is_not_passed_on_and_both_versions_work() {
    let text = String::from_utf8(body(300_000).iter().map(|byte| byte % 64 + 32).collect());
    let text = text.expect("text");
    let files = [("apache.conf", SETTINGS), ("files/a", "hello"), ("files/large", &text)];
    let arguments = ["-f", "{dir}/apache.conf", "-DFOREGROUND"];
    let Some(apache) = Running::start("apache2", &arguments, &files) else { return };
    for version in ["1.1", "2"] {
        let edge = edge_to(apache.port(), version).start();
        for number in 0..50 {
            let row = format!("HTTP/{version}, {number}");
            let request = edge.get("/api/a");
            let response = if number % 2 == 0 { request.http2() } else { request }.send();
            assert_eq!((response.status, response.text().as_str()), (200, "hello"), "{row}");
            assert!(!response.head.has("upgrade"), "{row}: {:?}", response.head);
        }
        for http2 in [false, true] {
            let request = |method: &str, target: &str| {
                let request = edge.request(method, target);
                if http2 { request.http2() } else { request }
            };
            assert_eq!(request("GET", "/api/large").send().text(), text);
            let head = request("HEAD", "/api/large").send();
            assert_eq!((head.body.len(), head.field("content-length")), (0, Some("300000")));
            assert_eq!(request("GET", "/api/none").send().status, 404);
            // Nobody takes it: the answer may come before it has been sent.
            let upload = request("POST", "/api/a").body(body(1024 * 1024)).send();
            assert!(upload.complete && matches!(upload.status, 200 | 405), "{upload:?}");
        }
    }
}
