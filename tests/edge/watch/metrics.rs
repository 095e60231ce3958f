//! `/metrics`: what is counted, how it is written, what a reload does to it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::exposition::Exposition;
use super::has;
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Settings, Upstream, eventually};

fn scrape(edge: &Edge) -> Exposition {
    let answer = edge.manage("/metrics").send();
    assert_eq!(
        (answer.status, answer.head.field("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    Exposition::parse(&answer.text())
}

/// Requests are counted when they have ended, just after their answer.
#[track_caller]
fn eventually_counted(edge: &Edge, sample: &str, expected: f64) -> Exposition {
    let mut last = 0.0;
    eventually(&format!("{sample} {expected}"), Duration::from_secs(20), || {
        let all = scrape(edge);
        last = all.value(sample);
        (last == expected).then_some(all)
    })
}

#[test]
fn requests_are_counted_by_pipeline_and_code_and_refusals_by_reason() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token().sign();
    for _ in 0..3 {
        assert_eq!(edge.get("/api/x").bearer(&token).send().status, 200);
    }
    assert_eq!(edge.get("/api/x").send().status, 401);
    assert_eq!(edge.get("/api/x").bearer("a.b.c").send().status, 401);
    assert_eq!(edge.get("/nowhere").send().status, 404);
    assert_eq!(edge.get("/api%2f").send().status, 400);
    // They are counted when they have been answered.
    eventually_counted(&edge, "harmony_http_requests_total{code=\"404\",pipeline=\"\"}", 1.0);
    eventually_counted(&edge, "harmony_http_requests_total{code=\"401\",pipeline=\"api\"}", 2.0);
    let all =
        eventually_counted(&edge, "harmony_http_requests_total{code=\"400\",pipeline=\"\"}", 1.0);
    for (sample, expected) in [
        ("harmony_http_requests_total{code=\"200\",pipeline=\"api\"}", 3.0),
        ("harmony_http_requests_total{code=\"401\",pipeline=\"api\"}", 2.0),
        ("harmony_http_requests_total{code=\"404\",pipeline=\"\"}", 1.0),
        ("harmony_http_refusals_total{pipeline=\"api\",reason=\"missing\"}", 1.0),
        ("harmony_http_refusals_total{pipeline=\"api\",reason=\"malformed\"}", 1.0),
        ("harmony_http_refusals_total{pipeline=\"\",reason=\"no_route\"}", 1.0),
        ("harmony_http_refusals_total{pipeline=\"\",reason=\"path\"}", 1.0),
        ("harmony_http_request_duration_seconds_count{pipeline=\"api\"}", 5.0),
        ("harmony_http_request_duration_seconds_count{pipeline=\"\"}", 2.0),
        (
            &format!(
                "harmony_upstream_addresses{{backend=\"app\",upstream=\"http://127.0.0.1:{}\"}}",
                upstream.port()
            ),
            1.0,
        ),
        (
            &format!(
                "harmony_upstream_healthy{{backend=\"app\",upstream=\"http://127.0.0.1:{}\"}}",
                upstream.port()
            ),
            1.0,
        ),
        ("harmony_config_last_reload_successful", 1.0),
        ("harmony_log_records_dropped_total{log=\"log\"}", 0.0),
        ("harmony_runbeam_state{state=\"disabled\"}", 1.0),
        (&format!("harmony_jwks_last_fetch_successful{{url=\"{}\"}}", issuer.url()), 1.0),
    ] {
        all.assert(sample, expected);
    }
    assert!(all.value("harmony_http_request_duration_seconds_sum{pipeline=\"api\"}") > 0.0);
    eventually_counted(&edge, "harmony_http_requests_in_flight", 0.0);
    for (process, least) in [
        ("cpu_seconds_total", 0.001),
        ("resident_memory_bytes", 1e6),
        ("open_fds", 5.0),
        ("max_fds", 100.0),
        ("start_time_seconds", 1.7e9),
    ] {
        assert!(all.value(&format!("process_{process}")) > least, "{process}");
    }
}

#[test]
fn audit_events_that_are_lost_are_counted() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).and("[audit]\npath = \"/dev/full\"\n").quiet().start();
    assert_eq!(edge.get("/nowhere").send().status, 404);
    let all = eventually_counted(&edge, "harmony_log_records_dropped_total{log=\"audit\"}", 1.0);
    all.assert("harmony_log_records_dropped_total{log=\"log\"}", 0.0);
    assert_eq!(edge.manage("/admin/status").send().json()["log"]["dropped"], 1);
}

#[test]
fn a_request_in_flight_and_a_slow_one_are_told() {
    let upstream = Upstream::with(|exchange| {
        std::thread::sleep(Duration::from_millis(600));
        exchange.echo_target();
    });
    let edge = Edge::open(&upstream).start();
    let mut client = edge.connect();
    client.send(edge.get("/api/x").bytes());
    eventually_counted(&edge, "harmony_http_requests_in_flight", 1.0);
    assert_eq!(client.response().status, 200);
    let all = eventually_counted(&edge, "harmony_http_requests_in_flight", 0.0);
    all.assert("harmony_http_request_duration_seconds_bucket{le=\"0.5\",pipeline=\"api\"}", 0.0);
    all.assert("harmony_http_request_duration_seconds_bucket{le=\"30\",pipeline=\"api\"}", 1.0);
}

#[test]
fn failures_of_an_upstream_are_counted_by_kind() {
    let (gone, silent) =
        (Upstream::start(), Upstream::with(|_| std::thread::sleep(Duration::from_secs(5))));
    let (port, slow) = (gone.port(), format!("http://127.0.0.1:{}", silent.port()));
    drop(gone);
    let slow = Route::to_url("slow", &slow)
        .prefix("/slow")
        .text()
        .replace("base_url", "timeout_secs = 1\nbase_url");
    let edge = Edge::configured(Settings::open_to(port).and(&slow)).start();
    assert_eq!(edge.post("/api/x", "body").send().status, 502);
    assert_eq!(edge.post("/slow/x", "body").send().status, 504);
    let all = eventually_counted(
        &edge,
        "harmony_upstream_failures_total{backend=\"slow\",kind=\"timeout\"}",
        1.0,
    );
    // A connection that could not be made is tried again.
    assert!(
        all.value("harmony_upstream_failures_total{backend=\"app\",kind=\"unreachable\"}") >= 1.0
    );
    let all = eventually_counted(
        &edge,
        "harmony_http_refusals_total{pipeline=\"slow\",reason=\"upstream_timeout\"}",
        1.0,
    );
    all.assert(
        "harmony_http_refusals_total{pipeline=\"api\",reason=\"upstream_unreachable\"}",
        1.0,
    );
    all.assert("harmony_http_requests_total{code=\"502\",pipeline=\"api\"}", 1.0);
}

#[test]
fn a_reload_keeps_the_counts_and_drops_those_of_a_pipeline_that_is_gone() {
    let upstream = Upstream::start();
    let other = Route::to("other", &upstream).prefix("/other").text();
    let edge = Edge::configured(Settings::open(&upstream).and(&other)).start();
    assert_eq!(edge.get("/api/x").send().status, 200);
    assert_eq!(edge.get("/other/x").send().status, 200);
    let (api, gone) = (
        "harmony_http_requests_total{code=\"200\",pipeline=\"api\"}",
        "harmony_http_requests_total{code=\"200\",pipeline=\"other\"}",
    );
    eventually_counted(&edge, api, 1.0);
    eventually_counted(&edge, gone, 1.0);

    edge.rewrite(|text| text.replace("[proxy]", "[oops]"));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 422);
    let all = scrape(&edge);
    // The watcher of the files may have tried as well.
    assert!(all.value("harmony_config_reloads_total{result=\"refused\"}") >= 1.0);
    all.assert("harmony_config_last_reload_successful", 0.0);
    all.assert(gone, 1.0);

    edge.rewrite(|text| text.replace("[oops]", "[proxy]").replace(&other, ""));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    assert_eq!(edge.get("/api/x").send().status, 200);
    let all = eventually_counted(&edge, api, 2.0);
    all.assert("harmony_config_reloads_total{result=\"reloaded\"}", 1.0);
    all.assert("harmony_config_last_reload_successful", 1.0);
    all.assert("harmony_config_generation", 2.0);
    // A request that was still under way could hold them for a moment.
    let of_other = |edge: &Edge| {
        scrape(edge).beginning("harmony_http").iter().any(|name| name.contains("other"))
    };
    eventually("the series of the removed pipeline are gone", Duration::from_secs(20), || {
        (!of_other(&edge)).then_some(())
    });
}

#[test]
fn two_key_sets_that_look_the_same_do_not_spoil_the_scrape() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let second = Route::to("second", &upstream).prefix("/second").steps(&["second"]).text();
    let step = format!(
        "[middleware.second]\ntype = \"jwt-auth\"\n[middleware.second.config]\n\
         jwks_url = \"{}?tenant=2\"\nissuer = \"i\"\naudience = \"a\"\n",
        issuer.url()
    );
    let edge =
        Edge::configured(Settings::with_jwt(&issuer, &upstream).and(&second).and(&step)).start();
    assert_eq!(scrape(&edge).beginning("harmony_jwks_keys{").len(), 2);
}

#[test]
fn the_certificate_of_a_listener_and_its_end_are_told() {
    let mut params = rcgen::CertificateParams::new(vec!["edge.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2099, 1, 2);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let text = Settings::bare().text().replace(
        "bind_port = {port}",
        "bind_port = {port}\ncert_path = \"cert.pem\"\nkey_path = \"key.pem\"",
    );
    let edge = Edge::configured(Settings::of_text(&text))
        .file("cert.pem", &certificate.pem())
        .file("key.pem", &key.serialize_pem())
        .start();
    scrape(&edge).assert(
        "harmony_certificate_expiry_timestamp_seconds{name=\"edge.example\",network=\"public\"}",
        4_070_995_200.0,
    );
    let status = edge.manage("/admin/status").send().json();
    assert_eq!(status["certificates"][0]["not_after"], 4_070_995_200_i64);
}

#[test]
fn head_is_answered_and_any_accept_gets_the_text() {
    let edge = Edge::configured(Settings::bare()).start();
    let head = edge.steer("HEAD", "/metrics").send();
    let length = head.head.field("content-length").and_then(|length| length.parse::<usize>().ok());
    assert!(head.status == 200 && head.body.is_empty() && length > Some(1000), "{:?}", head.head);
    for accept in [
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "text/html",
    ] {
        let answer = edge.manage("/admin/metrics").header("Accept", accept).send();
        assert_eq!(
            answer.head.field("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8"),
            "{accept}"
        );
    }
    let refused = edge.steer("POST", "/metrics").send();
    assert_eq!((refused.status, refused.head.field("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    if !has("promtool", "--version") {
        return;
    }
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    assert_eq!(edge.get("/api/x").send().status, 401);
    let text = edge.manage("/metrics").send().text();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    promtool.stdin.take().expect("its input").write_all(text.as_bytes()).expect("the scrape");
    let output = promtool.wait_with_output().expect("its output");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
