//! What an operator does at run time: drains upstreams, turns the log up, reads who did what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{END, ended};
use crate::support::edge::command;
use crate::support::poll::{becomes_true, eventually};
use crate::support::ports::Port;
use crate::support::{Cloud, Edge, Issuer, Settings, Upstream};

fn post(edge: &Edge, target: &str, body: &Value) -> (u16, Value) {
    let request = edge.steer("POST", target).header("Content-Type", "application/json");
    let answer = request.body(body.to_string()).send();
    (answer.status, answer.json())
}

fn two(first: &Upstream, second: &Upstream) -> Settings {
    let text = Settings::open(first).text();
    let base = format!("base_url = \"http://127.0.0.1:{}\"", first.port());
    let both = format!(
        "upstreams = [\"http://127.0.0.1:{}\", \"http://127.0.0.1:{}\"]",
        first.port(),
        second.port()
    );
    Settings::of_text(&text.replace(&base, &both))
}

#[test]
fn a_drained_upstream_gets_no_new_requests_and_none_fails() {
    let slow = |hold: &Arc<AtomicBool>| {
        let hold = hold.clone();
        Upstream::with(move |exchange| {
            while exchange.target().contains("hold") && hold.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
            exchange.echo_target();
        })
    };
    let hold = Arc::new(AtomicBool::new(true));
    let (first, second) = (slow(&hold), slow(&hold));
    let edge = Edge::configured(two(&first, &second)).quiet().start();
    // One request at each, which stay while the first is drained.
    let mut held: Vec<_> = (0..2).map(|_| edge.connect()).collect();
    for client in &mut held {
        client.send("GET /api/hold HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    eventually("both are busy", END, || (first.count() + second.count() == 2).then_some(()));
    let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, failed, port) = (stop.clone(), failed.clone(), edge.port());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let request = crate::support::request::Request::new(port, "GET", "/api/x");
                    if request.send().status != 200 {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let named = json!({"backend": "app", "upstream": format!("127.0.0.1:{}", first.port())});
    let (status, answer) = post(&edge, "/admin/upstreams/drain", &named);
    assert_eq!((status, &answer["drained"]), (200, &json!(true)), "{answer}");
    assert!(answer["in_flight"].as_u64() >= Some(1), "{answer}");
    thread::sleep(Duration::from_millis(200));
    let before = first.count();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(first.count(), before, "nothing new comes to it");
    // A reload keeps to it.
    edge.rewrite(|text| text.replace("watch_files", "# reloaded\nwatch_files"));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(first.count(), before);
    let backends = edge.manage("/admin/backends").send().json();
    let upstreams = &backends["backends"][0]["upstreams"];
    assert_eq!((&upstreams[0]["drained"], &upstreams[1]["drained"]), (&json!(true), &json!(false)));
    hold.store(false, Ordering::Relaxed);
    for client in &mut held {
        assert_eq!(client.response().status, 200, "what was in flight ends as it would have");
    }
    assert_eq!(post(&edge, "/admin/upstreams/enable", &named).0, 200);
    assert!(becomes_true(END, || first.count() > before), "it gets requests again");
    stop.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().unwrap();
    }
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    // Where all are drained, somebody is told so.
    for upstream in [&first, &second] {
        let url = format!("http://127.0.0.1:{}", upstream.port());
        let named = json!({"backend": "app", "upstream": url});
        assert_eq!(post(&edge, "/admin/upstreams/drain", &named).0, 200);
    }
    assert_eq!(edge.get("/api/x").send().status, 503);
    let more = json!({"backend": "app", "upstream": "x", "force": true});
    assert_eq!(post(&edge, "/admin/upstreams/drain", &more).0, 400);
    let unknown = json!({"backend": "app", "upstream": "127.0.0.1:1"});
    assert_eq!(post(&edge, "/admin/upstreams/drain", &unknown).0, 404);
    assert_eq!(post(&edge, "/admin/upstreams/drain", &json!({"backend": "app"})).0, 400);
}

#[test]
fn an_upgrade_keeps_upstreams_drained() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let mut edge = Edge::configured(two(&first, &second)).quiet().start();
    let named = json!({"backend": "app", "upstream": format!("127.0.0.1:{}", first.port())});
    assert_eq!(post(&edge, "/admin/upstreams/drain", &named).0, 200);
    let mut old = edge.upgrade();
    assert_eq!(ended(&mut old).code(), Some(0));
    for _ in 0..10 {
        assert_eq!(edge.get("/api/x").send().status, 200);
    }
    assert_eq!((first.count(), second.count()), (0, 10));
    assert_eq!(post(&edge, "/admin/upstreams/enable", &named).0, 200);
    for _ in 0..4 {
        assert_eq!(edge.get("/api/x").send().status, 200);
    }
    assert!(first.count() > 0);
}

#[test]
fn a_drained_upstream_is_no_reason_to_try_the_other_one_again() {
    let (first, second) = (Port::claim(), Upstream::start());
    let text = Settings::open_to(first.number()).backend("max_retries = 0").text();
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let base = format!("base_url = \"{}\"", url(first.number()));
    assert!(text.contains(&base), "{text}");
    let both = format!("upstreams = [\"{}\", \"{}\"]", url(first.number()), url(second.port()));
    let edge = Edge::configured(Settings::of_text(&text.replace(&base, &both))).start();
    let named = json!({"backend": "app", "upstream": url(second.port())});
    assert_eq!(post(&edge, "/admin/upstreams/drain", &named).0, 200);
    assert_eq!(edge.get("/api/x").send().status, 502);
    let record = eventually("the access record", END, || {
        let log = edge.log();
        log.lines().find(|line| line.contains(" path=/api/x ")).map(str::to_owned)
    });
    assert!(record.contains(" attempts=1 "), "{record}");
    assert_eq!(second.count(), 0);
}

#[test]
fn connections_are_listed() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).quiet().start();
    let mut client = edge.connect();
    client.send(edge.get("/api/x").bytes());
    assert_eq!(client.response().status, 200);
    let listed = edge.manage("/admin/connections").send().json();
    let public = &listed["clients"][0];
    assert_eq!((&public["network"], &public["open"]), (&json!("public"), &json!(1)), "{listed}");
    let app = &listed["upstreams"][0];
    assert_eq!((&app["backend"], &app["open"]), (&json!("app"), &json!(1)), "{listed}");
}

#[test]
fn the_level_of_the_log_changes_while_it_runs() {
    let upstream = Upstream::start();
    let edge =
        Edge::open(&upstream).env("RUST_LOG", "").and("[logging]\nlog_level = \"warn\"").start();
    let tells = |path: &str| {
        edge.get(path).send();
        let words = [format!("path={path} "), "endpoint api".to_owned()];
        thread::sleep(Duration::from_millis(300));
        let log = edge.log();
        (log.contains(&words[0]), log.contains(&words[1]))
    };
    assert_eq!(tells("/api/quiet"), (false, false));
    // The audit log has no file of its own, and goes on whatever the level.
    assert_eq!(post(&edge, "/admin/log-level", &json!({"level": "off", "for_secs": 60})).0, 200);
    let audited = || edge.log().lines().filter(|line| line.contains("harmony::audit")).count();
    assert!(becomes_true(END, || edge.log().contains("level off for 60 s")), "{}", edge.log());
    let before = audited();
    assert_eq!(post(&edge, "/admin/log-level", &json!({"level": "loud"})).0, 400);
    assert!(becomes_true(END, || audited() > before), "{}", edge.log());
    let (status, answer) =
        post(&edge, "/admin/log-level", &json!({"level": "debug", "for_secs": 2}));
    assert_eq!((status, answer), (200, json!({"level": "debug", "for_secs": 2})));
    assert_eq!(tells("/api/loud"), (true, true));
    let again = "the log has its configured level again";
    thread::sleep(Duration::from_millis(2500));
    assert!(!tells("/api/quiet-again").0, "{again}");
    edge.rewrite(|text| text.replace("log_level = \"warn\"", "log_level = \"info\""));
    let reloaded = edge.steer("POST", "/admin/reload").send();
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert!(tells("/api/info").0);
    for body in [
        json!({}),
        json!({"level": "loud"}),
        json!({"level": "info", "for_secs": 0}),
        json!({"level": "info", "for": 1}),
    ] {
        assert_eq!(post(&edge, "/admin/log-level", &body).0, 400, "{body}");
    }
}

#[test]
fn debug_tells_the_story_of_a_request_and_trace_its_fields() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).env("RUST_LOG", "harmony=trace").start();
    let token = issuer.token().sign();
    let answer =
        edge.get("/api/x?secret=1").bearer(&token).header("X-Mine", "value-of-mine").send();
    let id = answer.field("x-request-id").expect("an id").to_owned();
    let told = |id: &str, words: &str| {
        let log = edge.log();
        let lines = log.lines().filter(|line| line.contains(&format!("request {id}: ")));
        lines.filter(|line| line.contains(words)).count()
    };
    let address = format!("127.0.0.1:{}", upstream.port());
    eventually("the end", END, || (told(&id, " 200 after ") == 1).then_some(()));
    for words in [
        "fields ",
        "x-mine",
        "pipeline api, endpoint api",
        "step jwt: ",
        &format!("upstream {address}"),
        &format!("attempt 1 at {address} over HTTP/1.1, on a new connection"),
    ] {
        assert_eq!(told(&id, words), 1, "{words}\n{}", edge.log());
    }
    let refused = edge.get("/api/x").send();
    let id = refused.field("x-request-id").expect("an id").to_owned();
    eventually("the end", END, || (told(&id, " 401 after ") == 1).then_some(()));
    assert_eq!(told(&id, "rejected: missing"), 1, "{}", edge.log());
    let refused = edge.get("/api/%00").send();
    let id = refused.field("x-request-id").expect("an id").to_owned();
    eventually("why", END, || (told(&id, ": refused: ") == 1).then_some(()));
    let log = edge.log();
    assert!(!log.contains("value-of-mine") && !log.contains("secret=1") && !log.contains(&token));
}

#[test]
fn the_audit_log_says_who_did_what() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream)
        .and("[audit]\npath = \"{dir}/audit.log\"\n[logging]\nlog_level = \"error\"")
        .env("RUST_LOG", "")
        .start();
    let path = edge.directory().join("audit.log");
    let events = || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        lines.collect::<Vec<Value>>()
    };
    let find = |event: &str, outcome: &str| {
        eventually(event, END, || {
            events().into_iter().find(|it| {
                it["event"] == event
                    && it["outcome"].as_str().is_some_and(|found| found.contains(outcome))
            })
        })
    };
    let refused = edge.get("/api/x?token=secret-in-query").send();
    assert_eq!(refused.status, 401);
    let event = find("refusal", "missing");
    assert_eq!(event["target"], "harmony::audit");
    assert_eq!((&event["status"], &event["path"]), (&json!(401), &json!("/api/x")));
    assert_eq!(event["id"].as_str(), refused.field("x-request-id"));
    assert_eq!(event["from"], "127.0.0.1");
    assert_eq!(edge.get("/api/x").bearer(&issuer.token().sign()).send().status, 200);
    edge.rewrite(|text| text.replace("path_prefix = \"/api\"", "path_prefix = \"/other\""));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    let event = find("configuration", "pipelines changed [\"api\"]");
    assert_eq!(event["action"], "reload");
    let event = find("management", "");
    assert_eq!((&event["path"], &event["status"]), (&json!("/admin/reload"), &json!(200)));
    let forged = edge.manage("/admin/status").header("Origin", "https://evil.example").send();
    assert_eq!(forged.status, 403);
    eventually("the refusal", END, || events().iter().any(|it| it["status"] == 403).then_some(()));
    // Calls that change nothing are told of too, but for those that programs repeat.
    for polled in ["/admin/", "/admin/status", "/admin/status/history", "/metrics", "/ready"] {
        assert_eq!(edge.manage(polled).send().status, 200, "{polled}");
    }
    for (path, status) in [("/admin/revocations?limit=secret-in-query", 400), ("/admin/x", 404)] {
        assert_eq!(edge.manage(path).send().status, status, "{path}");
    }
    assert_eq!(edge.manage("/admin/reload").send().status, 405);
    assert_eq!(edge.manage("/admin/info").send().status, 200);
    let calls = || {
        let called = events().into_iter().filter(|it| it["event"] == "management");
        let called = called.map(|it| format!("{} {} {}", it["method"], it["path"], it["status"]));
        called.map(|it| it.replace('"', "")).collect::<Vec<_>>()
    };
    eventually("the last call", END, || {
        calls().contains(&"GET /admin/info 200".to_owned()).then_some(())
    });
    let expected = [
        "POST /admin/reload 200",
        "GET /admin/status 403",
        "GET /admin/revocations 400",
        "GET /admin/x 404",
        "GET /admin/reload 405",
        "GET /admin/info 200",
    ];
    assert_eq!(calls(), expected);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("secret-in-query"));
    assert!(!edge.log().contains("harmony::audit"), "it has a file of its own");
}

#[test]
fn ctl_makes_the_calls() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let edge = Edge::configured(two(&first, &second)).quiet().start();
    let ctl = |arguments: &[&str]| {
        let mut command = command(edge.directory());
        command.args(["ctl", "-c", "harmony.toml"]).args(arguments);
        let output = command.output().expect("ctl runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let name = format!("app/127.0.0.1:{}", first.port());
    let line = format!("app/http://127.0.0.1:{}", first.port());
    let upstreams = || {
        let (status, out, err) = ctl(&["upstreams"]);
        assert_eq!(status, Some(0), "{err}");
        out.lines().find(|it| it.starts_with(&line)).expect("the upstream").to_owned()
    };
    assert!(upstreams().ends_with("0 in flight"), "{}", upstreams());
    let (status, out, err) = ctl(&["drain", &name]);
    assert_eq!((status, out.contains("\"drained\": true")), (Some(0), true), "{out}{err}");
    assert!(upstreams().contains("\tdrained\t"), "{}", upstreams());
    assert_eq!(ctl(&["enable", &name]).0, Some(0));
    for arguments in [
        &["status"][..],
        &["connections"],
        &["reload"],
        &["keys", "refresh"],
        &["log-level", "warn", "--for", "1"],
    ] {
        let (status, out, err) = ctl(arguments);
        assert_eq!(status, Some(0), "{arguments:?}: {out}{err}");
        assert!(serde_json::from_str::<Value>(&out).is_ok(), "{arguments:?}: {out}");
    }
    let (status, _, err) = ctl(&["drain", "app/127.0.0.1:1"]);
    assert!(status == Some(1) && err.contains("404"), "{err}");
    assert_eq!(ctl(&["drain", "app"]).0, Some(1));
    // The file that names the process is the one before the command, and may come behind it.
    let (status, out, err) = ctl(&["revoke", "--issuer", "https://i.example", "--jti", "j"]);
    assert_eq!((status, out.trim().len()), (Some(0), 32), "{out}{err}");
    let mut behind = command(edge.directory());
    behind.args(["ctl", "revoke", "--list", "-c", "harmony.toml"]);
    let listed = behind.output().expect("ctl runs");
    assert!(String::from_utf8_lossy(&listed.stdout).contains(out.trim()), "{listed:?}");
}

#[test]
fn ctl_says_why_there_is_no_answer() {
    let upstream = Upstream::start();
    let mut edge = Edge::configured(Settings::open(&upstream)).quiet().start();
    let ctl = |edge: &Edge, more: &[&str]| {
        let mut command = command(edge.directory());
        command.args(["ctl", "upstreams"]).args(more);
        if !more.contains(&"-c") {
            command.args(["-c", "harmony.toml"]);
        }
        let output = command.output().expect("ctl runs");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let other = edge.directory().join("other.toml");
    let text = std::fs::read_to_string(edge.directory().join("harmony.toml")).unwrap();
    let taken = Upstream::with(|exchange| exchange.answer(200, &[], b"<html>"));
    let management = edge.management_port().to_string();
    std::fs::write(other, text.replace(&management, &taken.port().to_string())).unwrap();
    let stranger = ctl(&edge, &["-c", "other.toml"]);
    assert!(stranger.contains("not as the Management API does"), "{stranger}");
    // What the process alone knows is no matter of the command's.
    edge.rewrite(|text| text + "[middleware.m]\ntype = \"api-key\"\nkeys = [\"${NOT_HERE}\"]\n");
    let mut command = command(edge.directory());
    command.args(["ctl", "-c", "harmony.toml", "upstreams"]);
    assert!(command.output().expect("ctl runs").status.success());
    let missing = ctl(&edge, &["--token-file", "nowhere"]);
    assert!(missing.contains("cannot read nowhere: No such file"), "{missing}");
    edge.signal(Signal::SIGTERM);
    assert!(edge.exit_status(END).success());
    let stopped = ctl(&edge, &[]);
    assert!(stopped.contains(" does not answer: ") && stopped.contains("refused"), "{stopped}");
}

#[test]
fn explain_and_the_list_tell_what_is_drained() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let edge = Edge::configured(two(&first, &second)).quiet().start();
    let run = |arguments: &[&str]| {
        let mut command = command(edge.directory());
        let output = command.args(arguments).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let explain = || run(&["explain", "-c", "harmony.toml", "--request", "GET /api/x"]);
    let drain = |upstream: &Upstream| {
        let url = format!("http://127.0.0.1:{}", upstream.port());
        let named = json!({"backend": "app", "upstream": url});
        assert_eq!(post(&edge, "/admin/upstreams/drain", &named).0, 200);
    };
    let (told, complaint) = explain();
    assert!(!told.contains("drained") && complaint.is_empty(), "{told}{complaint}");
    drain(&first);
    let server = |upstream: &Upstream| format!("127.0.0.1:{}", upstream.port());
    for _ in 0..2 {
        let told = explain().0;
        let drained = format!("drained   app ({}): gets no new requests", server(&first));
        let chosen = format!("forwarded to app ({})", server(&second));
        assert!(told.contains(&drained) && told.contains(&chosen), "{told}");
    }
    drain(&second);
    let told = explain().0;
    assert_eq!(told.matches("drained   app").count(), 2, "{told}");
    assert!(told.contains("HTTP/1.1 503"), "{told}");
    // Nothing is known where the process does not say.
    let hash = "[management]\ntoken_hash = \"".to_owned() + &"0".repeat(64) + "\"";
    let guarded = Settings::open(&first).text().replace("[management]", &hash);
    let edge = Edge::configured(Settings::of_text(&guarded)).quiet().start();
    let mut command = command(edge.directory());
    command.args(["explain", "-c", "harmony.toml", "--request", "GET /api/x"]);
    let output = command.output().expect("it runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("which upstreams are drained is not known"), "{complaint}");
    assert!(output.status.success());
}

#[test]
fn debug_tells_of_every_call_to_others() {
    let (issuer, upstream, cloud) = (Issuer::start(), Upstream::start(), Cloud::start());
    let runbeam = format!(
        "[runbeam]\nenabled = true\ncloud_api_base_url = \"{}\"\npoll_interval_secs = 5",
        cloud.url()
    );
    let query = issuer.url() + "?secret-in-query";
    let text = Settings::with_jwt(&issuer, &upstream).and(&runbeam).text();
    let text = text.replace(&issuer.url(), &query);
    let edge = Edge::configured(Settings::of_text(&text)).env("RUST_LOG", "harmony=debug").start();
    let body = json!({ "machine_token": "mt_secret", "expires_at": "2099-01-01T00:00:00Z",
        "gateway_id": "g", "gateway_code": "g" });
    assert_eq!(post(&edge, "/admin/token", &body).0, 200);
    let ends_in_time = |line: &str| line.contains(" after ") && line.trim_end().ends_with('s');
    for words in [
        format!("GET {}: 200 after ", issuer.url()),
        "token store: ".to_owned(),
        format!("GET {}/", cloud.url()),
    ] {
        eventually(&words, END, || {
            let log = edge.log();
            let told = log.lines().any(|line| line.contains(&words) && ends_in_time(line));
            told.then_some(())
        });
    }
    let log = edge.log();
    assert!(!log.contains("secret-in-query") && !log.contains("mt_secret"), "{log}");
}
