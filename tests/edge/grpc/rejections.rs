//! A call that the edge rejects ends with a status of gRPC in a head that ends the stream; logs and
//! metrics have the status of HTTP.

use std::time::Duration;

use super::raw::{self, PATIENCE, call};
use crate::support::edge::EdgeBuilder;
use crate::support::poll::becomes_true;
use crate::support::ports::Port;
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Settings, Upstream};
use crate::tls::Listening;

/// `/api` with a token, and one place for each way to fail.
fn edge(issuer: &Issuer, upstream: &Upstream) -> EdgeBuilder {
    let nobody = Port::claim();
    let routes = [
        Route::to_url("dead", &format!("http://127.0.0.1:{nobody}")).prefix("/dead"),
        Route::to_url("unknown", "http://does-not-exist.invalid:80").prefix("/unknown"),
        Route::to("slow", upstream).prefix("/slow").backend("timeout_secs = 1"),
        Route::to("get", upstream).prefix("/get").endpoint("methods = [\"GET\"]"),
        Route::to("small", upstream).prefix("/small").endpoint("max_body_size = 3"),
        Route::to("limited", upstream).prefix("/limited").steps(&["limit"]),
        Route::to("denied", upstream).prefix("/denied").steps(&["deny"]),
        Route::to("filtered", upstream).prefix("/filtered").steps(&["filter"]),
    ];
    let tables: String = routes.iter().map(Route::text).collect();
    let steps = "[middleware.limit]\ntype = \"policies\"\npolicies = [\"limit\"]\n\
                 [policies.limit]\nrules = [{ type = \"allow_all\" }, \
                 { type = \"rate_limit\", max_requests = 1, window_seconds = 600 }]\n\
                 [middleware.deny]\ntype = \"policies\"\npolicies = [\"deny\"]\n\
                 [policies.deny]\nrules = [{ type = \"method\", mode = \"deny\", \
                 methods = [\"POST\"] }]\n\
                 [middleware.filter]\ntype = \"path-filter\"\nrules = [\"/status\"]\n";
    Edge::configured(Settings::with_jwt(issuer, upstream).and(&tables).and(steps))
}

#[test]
fn every_rejection_is_a_status_of_grpc_and_the_log_has_that_of_http() {
    let issuer = Issuer::start();
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        if exchange.target().contains("stall") {
            exchange.pause(Duration::from_secs(3));
        }
        exchange.close();
    });
    let edge = edge(&issuer, &upstream).start();
    let limited = call(edge.port(), "/limited/a.B/C", &[]);
    assert_eq!(limited.field("grpc-status"), Some("14"), "the first one reaches the upstream");
    let many: Vec<(String, String)> =
        (0..120).map(|number| (format!("x-{number}"), "1".to_owned())).collect();
    let many: Vec<(&str, &str)> =
        many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (path, fields, grpc, http, reason) in [
        ("/api/a.B/C", &[][..], 16, 401, "missing"),
        ("/api/a.B/C", &[("authorization", "Bearer a.b.c")], 16, 401, ""),
        ("/denied/a.B/C", &[], 7, 403, ""),
        ("/nowhere/a.B/C", &[], 12, 404, "no_route"),
        ("/filtered/a.B/C", &[], 12, 404, "path_filter"),
        ("/get/a.B/C", &[], 12, 405, "method"),
        ("/small/a.B/C", &[("content-length", "6")], 8, 413, "body_too_large"),
        ("/small/a.B/C", &[], 8, 413, "body_too_large"),
        ("/limited/a.B/C", &[], 8, 429, ""),
        ("/api/a.B/C", &many, 8, 431, "head_too_large"),
        ("/api/%2e%2e%2fa.B/C", &[], 3, 400, "path"),
        ("/slow/fails", &[], 14, 502, "upstream_error"),
        ("/dead/a.B/C", &[], 14, 502, "upstream_unreachable"),
        ("/unknown/a.B/C", &[], 14, 503, "upstream_unresolved"),
        ("/slow/stall", &[], 4, 504, "upstream_timeout"),
    ] {
        let row = format!("{path} {http}");
        let before = edge.log().len();
        let answer = call(edge.port(), path, fields);
        assert_eq!(answer.field("grpc-status"), Some(&*grpc.to_string()), "{row}");
        assert_eq!(answer.field("content-type"), Some("application/grpc"), "{row}");
        assert_eq!((answer.status, answer.ends_with_head), (200, true), "{row}");
        assert!(answer.field("grpc-message").is_some_and(|message| !message.is_empty()), "{row}");
        for absent in ["content-length", "allow", "location"] {
            assert_eq!(answer.field(absent), None, "{row}");
        }
        assert!(answer.field("x-request-id").is_some(), "{row}");
        assert_eq!(answer.field("www-authenticate").is_some(), http == 401, "{row}");
        let wait = answer.field("retry-after").map(|seconds| format!("{seconds}000"));
        assert_eq!(answer.field("grpc-retry-pushback-ms").map(str::to_owned), wait, "{row}");
        assert_eq!(wait.is_some(), matches!(http, 429 | 503), "{row}");
        let logged = || {
            let log = edge.log();
            log[before..].lines().any(|line| {
                line.contains("harmony::access")
                    && line.contains(&format!(" path={path} "))
                    && line.contains(&format!(" status={http} "))
                    && line.contains(&format!(" reason={reason}"))
            })
        };
        assert!(becomes_true(PATIENCE, logged), "{row}: {}", &edge.log()[before..]);
    }
    let metrics = edge.manage("/metrics").send().text();
    for counted in ["{pipeline=\"api\",code=\"401\"} 2", "{pipeline=\"slow\",code=\"504\"} 1"] {
        assert!(metrics.contains(&format!("harmony_http_requests_total{counted}")), "{metrics}");
    }
}

#[test]
fn what_is_no_call_gets_the_answer_of_http() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    for content_type in ["application/grpc-web", "application/grpcx", "text/plain"] {
        let answer = call(edge.port(), "/api/a.B/C", &[("content-type", content_type)]);
        assert_eq!(answer.status, 401, "{content_type}");
        assert_eq!(answer.field("grpc-status"), None, "{content_type}");
    }
    for content_type in ["application/grpc+proto", "Application/gRPC; x=y"] {
        let answer = call(edge.port(), "/api/a.B/C", &[("content-type", content_type)]);
        assert_eq!((answer.status, answer.field("grpc-status")), (200, Some("16")));
    }
    let grpc = |method: &str| {
        edge.request(method, "/api/a.B/C").header("Content-Type", "application/grpc").body("x")
    };
    assert_eq!(grpc("POST").send().status, 401, "HTTP/1.1 has no trailers that all clients read");
    assert_eq!(grpc("PUT").http2().send().status, 401, "a call is a POST");
}

#[test]
fn a_redirect_to_https_is_an_unknown_error_to_a_call() {
    let (plain, upstream) = (Port::claim(), Upstream::start());
    let network = format!(
        "[network.plain.http]\nbind_address = \"127.0.0.1\"\nbind_port = {plain}\n\
         force_https = true\n"
    );
    let route = Route::to("plain", &upstream).prefix("/").networks(&["plain"]);
    let _listening = Listening::with().and(&(network + &route.text())).start();
    let answer = call(plain.number(), "/a.B/C", &[]);
    assert_eq!((answer.status, answer.field("grpc-status")), (200, Some("2")));
    assert_eq!((answer.field("location"), answer.ends_with_head), (None, true));
}

#[test]
fn an_answer_of_grpc_that_is_cut_short_ends_with_a_status() {
    // Whatever speaks: the head says what it is.
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        let content_type = match exchange.target() {
            "/grpc" => "application/grpc",
            _ => "text/plain",
        };
        exchange.write(
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n6\r\n\0\0\0\0\x01x\r\n"
            )
            .as_bytes(),
        );
        exchange.pause(Duration::from_millis(200));
        exchange.reset();
    });
    let edge = Edge::open(&upstream).start();
    let ended = |path| raw::end_of_call(edge.port(), path, &[]);
    let trailers = ended("/api/grpc").expect("trailers");
    assert_eq!(trailers.get("grpc-status").unwrap(), "14");
    assert!(trailers.contains_key("grpc-message"));
    assert!(ended("/api/other").is_none(), "of another protocol, the stream is reset");
    let logged = || edge.log().contains(" status=200 ") && edge.log().contains("upstream_error");
    assert!(becomes_true(PATIENCE, logged), "{}", edge.log());
}
